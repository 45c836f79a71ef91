//! The wire half against its witnesses: recorded conversations, two drivers and FreeTDS.

mod agreement;
mod bad_input;
mod cancel;
mod captures;
mod codecs;
mod common;
mod erp;
mod fast;
mod logins;
mod program;
mod replay;
mod requests;
mod tsql;
mod types;
