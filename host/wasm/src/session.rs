//! What goes into a datakit and what comes out, as plain data that has passed the checks.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datakit_model::memory::ByteLimit;
use datakit_model::source::Source;
use datakit_model::{Failure, MemoryBudget, RunIdentity, TableId, TablePatterns};

pub use crate::state::RunLog;

/// One run's side of the boundary: what a datakit may know and reach.
#[derive(Clone)]
pub struct Session {
    /// Who is running.
    pub run: RunIdentity,
    /// The operator's settings for the datakit: one JSON object, already valid against [`Info::settings_schema`].
    pub settings: String,
    /// The connections the operator mapped to roles. A role that is not here cannot be opened.
    pub roles: HashMap<String, Arc<dyn Source>>,
    /// The tables a query may name.
    pub tables: TablePatterns,
    /// What batches are charged to.
    pub memory: MemoryBudget,
    /// What rows are charged to that sources set aside, until their table is committed.
    pub set_aside: ByteLimit,
    /// What all instances of the run have logged.
    pub log: RunLog,
    /// What earlier commits left.
    pub watermarks: Arc<dyn Watermarks>,
}

/// Where watermarks come from: the sink is the state store.
#[async_trait]
pub trait Watermarks: Send + Sync {
    /// The watermark the last commit of `table` left; none when there is none, or when this run replaces what it stands
    /// for.
    ///
    /// # Errors
    /// What kept the sink's state from being read. The error ends the instance.
    async fn watermark(&self, table: &TableId) -> Result<Option<String>, Failure>;
}

/// What a datakit is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Lower-case letters, digits, hyphens: the name it is published by.
    pub name: String,
    /// A semantic version.
    pub version: String,
    /// What it does, in a sentence.
    pub summary: String,
    /// Every role it may open.
    pub roles: Vec<Role>,
    /// A JSON Schema of its settings: valid JSON, but not yet known to be a valid schema.
    pub settings_schema: String,
}

/// A connection a datakit needs, by the part it plays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// Its name: `source`.
    pub name: String,
    /// The kinds of connection that will do; at least one.
    pub kinds: Vec<String>,
    /// What it is used for.
    pub purpose: String,
}

/// What a datakit discovered. The checks of one table do not affect another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discovery {
    /// The tables whose description is valid.
    pub tables: Vec<Table>,
    /// The tables whose description is invalid. They cannot be read, and the others can.
    pub invalid: Vec<InvalidTable>,
}

/// A discovered table that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidTable {
    /// Its names.
    pub id: TableId,
    /// What is wrong with its description.
    pub failure: Failure,
}

/// A table a datakit can read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Its names.
    pub id: TableId,
    /// Table or view.
    pub kind: TableKind,
    /// The source's columns the datakit would read.
    pub columns: SchemaRef,
    /// Names of columns, in key order; empty: no key.
    pub primary_key: Vec<String>,
    /// Rows, as the source estimates them.
    pub estimated_rows: Option<u64>,
    /// Bytes, as the source estimates them.
    pub estimated_bytes: Option<u64>,
}

/// What kind of relation a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TableKind {
    /// Stored rows.
    Table,
    /// A view.
    View,
}

/// How a table is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePlan {
    /// The table.
    pub table: TableId,
    /// At least one, in the order of their ordinals.
    pub partitions: Vec<Partition>,
    /// Commits with the rows.
    pub watermark_after: Option<String>,
}

/// A part of a table that is read on its own; may be extracted more than once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The table it is a part of.
    pub table: TableId,
    /// 0, 1, 2, … without gaps.
    pub ordinal: u32,
    /// The datakit's own.
    pub state: Vec<u8>,
    /// Rows, as far as the datakit can tell.
    pub estimated_rows: Option<u64>,
}
