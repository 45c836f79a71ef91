//! The SQL Server source against servers.

mod common;
mod replay;
