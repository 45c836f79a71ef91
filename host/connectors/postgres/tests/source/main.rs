//! The PostgreSQL source against a real server.

#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of the functions that clippy knows as tests")]

mod boundary;
mod changed_tables;
mod changes;
mod grants;
mod logical;
mod replica;
mod search_path;
mod snapshots_of_runs;
mod trouble;
mod types;
mod world;
