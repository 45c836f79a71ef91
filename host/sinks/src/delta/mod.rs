//! The Delta sink: one Delta table a source table, one commit a run and table.
//!
//! Partitions write Parquet files that nothing refers to; the commit names them all in one log entry, together with the
//! `txn` action and the state (`metaData.configuration`, key [`STATE_KEY`]). What was not committed is invisible to
//! every reader. The unit of retry is the partition: its files are simply not named.
//!
//! - [`config`]: where and how;
//! - [`names`]: columns and directories, reversibly;
//! - `schema`: Arrow columns as Delta columns, and whether they fit the table that is there;
//! - `encode`: the few columns that change their form, a column at a time;
//! - `encoding_memory`: what row groups being encoded may hold, over all partitions;
//! - `file`: Parquet files, encoded and uploaded beside the caller;
//! - `statistics`: the bounds that let readers skip files;
//! - `commit`: the log entry;
//! - `first_entry`: the first of a table on a disk, which comes with its folder;
//! - `protocol`: table features;
//! - `stores`: logs in S3 and Azure;
//! - `sink`: the traits.

mod commit;
pub mod config;
mod dictionary;
mod encode;
mod encoding_memory;
mod file;
mod first_entry;
pub mod names;
mod probe;
mod protocol;
mod schema;
mod sink;
mod statistics;
mod stores;

pub use commit::STATE_KEY;
pub use config::DeltaConfig;
pub use datakit_stores::StoreOptions;
pub use sink::DeltaSink;
