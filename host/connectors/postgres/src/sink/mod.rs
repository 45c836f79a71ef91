//! The Postgres sink: one table a source table, one transaction a run and table.
//!
//! Opening a table takes a connection of its own, begins the transaction, takes an advisory lock that keeps a second run
//! out, and creates the table if it is not there. All partitions feed one binary COPY in the order in which their batches
//! arrive; the commit writes the ledger's row in the same transaction. Until then nobody sees anything, and whatever ends
//! the connection rolls it back. The unit of retry is the table.
//!
//! - [`names`]: schemas, tables, columns;
//! - `types`: Arrow columns as Postgres columns; `drift`: columns of a load that are not those of the table;
//! - `copy`: rows on their way by COPY; `encode`: rows in the binary form of COPY;
//! - `connection`: connecting, and what the server says as an error of ours;
//! - `ledger`: what an earlier commit left;
//! - `kept`: the states of all tables, for people;
//! - `merge`: loads that are merged by key;
//! - `receipt`: rows read back before the commit;
//! - `records`: the records of runs;
//! - `rows`: how many rows a table holds;
//! - `transaction`: the task that owns the connection;
//! - `unfinished`: loads that a run goes on with;
//! - `values`: the values of columns of a table that is there;
//! - `writer`: the traits.

mod connection;
mod copy;
mod drift;
mod encode;
mod kept;
mod ledger;
mod merge;
pub mod names;
mod probe;
mod receipt;
mod records;
mod rows;
mod transaction;
mod types;
mod unfinished;
mod values;
mod writer;

pub(crate) use connection::DEFAULT_MAX_CONNECTIONS;
pub use writer::PostgresSink;
