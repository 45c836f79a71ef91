//! The wire half against its witnesses: recorded conversations, two drivers, FreeTDS, and the clients people use from
//! Python.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod agreement;
mod bad_input;
mod cancel;
mod captures;
mod changes;
mod clients;
mod codecs;
mod collations;
mod common;
mod describe;
mod erp;
mod fast;
mod logins;
mod places;
mod program;
mod replay;
mod requests;
mod tsql;
mod types;
