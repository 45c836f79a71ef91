//! The SQL Server source against servers.

mod certificates;
mod common;
mod replay;
mod standin;
mod world;
