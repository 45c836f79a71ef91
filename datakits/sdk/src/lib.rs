//! What a datakit author writes against.
//!
//! A datakit is a component: it says which tables a source has, how to read them, and what shape their rows take. The host
//! holds everything else. This crate turns the WIT (`wit/`, package `datakit:kit`) into one trait, [`Datakit`], and a macro
//! that exports it, [`export_datakit!`]; docs/wit.md starts with a whole datakit.
//!
//! - [`datakit`]: the trait, its parts and the macro;
//! - [`bindings`]: the WIT as Rust, for whatever the rest does not cover;
//! - [`queries`]: small results of a source, as rows the guest can look at; behind a trait, for tests without a host;
//! - [`rows`]: values of an Arrow IPC stream;
//! - [`bronze`]: the columns every Bronze table ends with;
//! - [`masking`]: columns that give away less than their source columns;
//! - [`patterns`]: names with wildcards;
//! - [`selection`]: which tables and columns the settings select;
//! - [`ranges`]: parts of a large table, by its key;
//! - [`sqlserver`], [`postgres`]: names in their SQL;
//! - [`errors`], [`log`]: what the operator gets to see.
//!
//! Everything but the host's resources works natively, so that a datakit's logic is tested by plain `cargo test`.

pub mod bindings;
pub mod bronze;
pub mod datakit;
pub mod errors;
pub mod log;
pub mod masking;
pub mod patterns;
pub mod postgres;
pub mod queries;
pub mod ranges;
pub mod rows;
pub mod selection;
pub mod sqlserver;

pub use bindings::datakit::kit::batches::{Batch, Column, Expression, Projection};
pub use bindings::datakit::kit::connections::{Connection, Isolation, QueryOptions, Reader};
pub use bindings::datakit::kit::types::{Error, ErrorKind, Field, Retry, Schema, TableId, Value};
pub use bindings::exports::datakit::kit::datakit::{Partition, Role, Table, TableKind, TablePlan};
pub use datakit::{Datakit, Description, Extraction, Run};
pub use queries::Queries;
pub use rows::Rows;
// For the derives of a datakit's settings.
pub use schemars;
pub use serde;

/// docs/wit.md, whose examples compile.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/wit.md")]
struct WitForAuthors;
