//! Sources: connect, pool, read into Arrow batches.
//!
//! One module a kind of source, each behind the traits of [`datakit_model::source`]:
//!
//! - [`sqlserver`]: SQL Server and everything that speaks TDS 7.4.

pub mod sqlserver;
