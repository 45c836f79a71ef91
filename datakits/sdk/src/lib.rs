//! What a datakit author writes against.
//!
//! A datakit is a component: it says which tables a source has, how to read them, and what shape their rows take. The host
//! holds everything else. This crate turns the WIT (`wit/`, package `datakit:kit`) into one trait, [`Datakit`], and a macro
//! that exports it, [`export_datakit!`]; docs/wit.md starts with a whole datakit.
//!
//! - [`datakit`]: the trait, its parts and the macro; [`plans`]: what it tells the host;
//! - [`bindings`]: the WIT as Rust, for whatever the rest does not cover;
//! - [`queries`]: small results of a source, as rows the guest can look at; behind a trait, for tests without a host;
//! - [`files`]: the same of files; [`changes`]: of what changed in a table;
//! - [`projections`]: the shape of batches; [`projected`]: the rows of a reader in that shape;
//! - [`rows`]: values of an Arrow IPC stream; [`columns`]: columns that a datakit makes itself;
//! - [`bronze`]: the columns every Bronze table ends with;
//! - [`masking`]: columns that give away less than their source columns;
//! - [`names`]: names of tables; [`patterns`]: names with wildcards;
//! - [`selection`]: which tables and columns the settings select;
//! - [`quality`]: what must hold of the rows, checked by the host;
//! - [`ranges`]: parts of a large table, by its key; [`state`]: the state of partitions;
//! - [`relational`]: what datakits of relational databases share; [`sqlserver`], [`postgres`]: names in their SQL;
//! - [`errors`], [`log`]: what the operator gets to see; [`testing`]: what tests share.
//!
//! Whatever a datakit decides is plain data, which tests make and compare natively. It becomes the host's resources at the
//! boundary, in the module of each interface.
//!
//! Everything but the host's resources works natively, so that a datakit's logic is tested by plain `cargo test`.

pub mod bindings;
pub mod bronze;
pub mod changes;
pub mod columns;
pub mod datakit;
pub mod errors;
pub mod files;
pub mod log;
pub mod masking;
pub mod names;
pub mod patterns;
pub mod plans;
pub mod postgres;
pub mod projected;
pub mod projections;
pub mod quality;
pub mod queries;
pub mod ranges;
pub mod relational;
pub mod rows;
pub mod selection;
pub mod sqlserver;
pub mod state;
pub mod testing;

pub use bindings::datakit::kit::batches::{Batch, Reader};
pub use bindings::datakit::kit::projections::Projection;
pub use bindings::datakit::kit::sql::{Connection, Isolation, Value, ValueType};
pub use bindings::datakit::kit::types::{Error, ErrorKind, Field, Retry, Schema, TableId};
pub use datakit::{Datakit, Extraction, Run, watermark};
pub use plans::{
    Description, DiscoveryRequest, FixedRows, Partition, PlannedPartition, Role, Table, TableKind, TablePlan, WriteMode,
};
pub use projected::ProjectedRows;
pub use projections::{Column, Expression};
pub use quality::{Check, QualityRule};
pub use queries::{Queries, QueryOptions};
pub use rows::Rows;
// For the derives of a datakit's settings.
pub use schemars;
pub use serde;

/// docs/wit.md, whose examples compile.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/wit.md")]
struct WitForAuthors;
