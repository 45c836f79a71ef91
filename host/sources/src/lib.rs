//! Sources: connect, pool, read into Arrow batches.
//!
//! One module a kind of source, each behind the traits of [`datakit_model::source`]:
//!
//! - [`files`]: delimited fields and JSON lines, of folders and object stores;
//! - [`sqlserver`]: SQL Server and everything that speaks TDS 7.4;
//! - [`postgres`]: PostgreSQL 12 and later.
//!
//! They share rooms that know no server: `guard` (which SQL may pass), `pool`, `delivery` and `reader` (batches from the task
//! that decodes to whoever asks), `tls` (why a handshake failed), `arrays` (vectors that become Arrow), [`config`],
//! [`permissions`] (which tables may be read) and `fault`.

mod arrays;
pub mod config;
mod delivery;
mod fault;
pub mod files;
mod guard;
pub mod permissions;
mod pool;
pub mod postgres;
pub mod presented;
mod reader;
pub mod sqlserver;
mod tls;
