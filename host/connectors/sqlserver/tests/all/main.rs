//! The SQL Server source against servers.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests, outside of the functions that clippy knows as tests"
)]

mod boundary;
mod captured;
mod catalog;
mod certificates;
mod changes;
mod collations;
mod common;
mod decimals;
mod described;
mod fake_sqlserver;
mod feeds;
mod foreign;
mod grants;
mod named;
mod offers;
mod places;
mod pool;
mod replay;
mod row_versions;
mod tracking;
mod world;
