//! The Delta sink: one Delta table a source table, one commit a run and table.
//!
//! Partitions write Parquet files that nothing refers to; the commit names them all in one log entry, together with the
//! `txn` action that names the state's document (docs/state.md). What was not committed is invisible to every reader. The unit of retry is the partition: its files are simply not named.
//!
//! - [`config`]: where and how;
//! - [`names`]: columns and directories, reversibly;
//! - `schema`: Arrow columns as Delta columns; `drift`: columns of a load that are not those of the table;
//! - `encode`: the few columns that change their form, a column at a time;
//! - `partitioning`: tables that are partitioned by the values of columns;
//! - `commit`: the log entry;
//! - `merge`: loads that are merged by key;
//! - `first_entry`: the first of a table on a disk, which comes with its folder;
//! - `state`: the documents of a table's state;
//! - `receipt`: files read back before the log names them;
//! - `tables`: the tables below the root; `records`: the records of runs there;
//! - `values`: the values of columns of a table that is there;
//! - `protocol`: table features;
//! - `stores`: logs in S3 and Azure; `storage`: what stores and file systems say, as errors;
//! - `sink`: the traits.

mod commit;
pub mod config;
mod connector;
mod drift;
mod encode;
mod first_entry;
mod merge;
pub mod names;
mod once;
mod partitioning;
mod probe;
mod protocol;
mod receipt;
mod records;
mod schema;
mod settings;
mod sink;
mod slots;
mod state;
mod storage;
mod stores;
mod tables;
mod unfinished;
mod values;

pub use config::DeltaConfig;
pub use connector::Delta;
pub use datakit_stores::StoreOptions;
pub use settings::DeltaSettings;
pub use sink::DeltaSink;
pub use state::STATE_KEY;
