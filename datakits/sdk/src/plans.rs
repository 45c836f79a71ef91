//! What a datakit tells the host of itself, its tables and how to read them, as plain data, and its way to the host.

use crate::bindings::datakit::kit::plans as host;
pub use crate::bindings::datakit::kit::plans::{FixedRows, WriteMode};
use crate::bindings::datakit::kit::types::{Schema, TableId};
use crate::quality::QualityRule;

/// What a datakit is, but for its settings, which [`crate::Datakit::Settings`] describes.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// Lower-case letters, digits, hyphens.
    pub name: String,
    /// A semantic version, usually `env!("CARGO_PKG_VERSION")`.
    pub version: String,
    /// What it does, in a sentence.
    pub summary: String,
    /// The connections it needs.
    pub roles: Vec<Role>,
}

/// A connection a datakit may open, by the part it plays.
#[derive(Debug, Clone, PartialEq)]
pub struct Role {
    /// Its name, for `open` and the operator's `roles`.
    pub name: String,
    /// The kinds of connection that will do; at least one.
    pub kinds: Vec<String>,
    /// What it is used for, in a sentence for the operator.
    pub purpose: String,
}

/// What the host wants to know of the tables there are.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DiscoveryRequest {
    /// The operator's patterns of tables. A datakit may leave out tables that none of them matches, and need not.
    pub include: Vec<String>,
    /// The patterns of tables that are not selected, whatever `include` says.
    pub exclude: Vec<String>,
}

/// A table the datakit can read.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Its names.
    pub id: TableId,
    /// What it is.
    pub kind: TableKind,
    /// The source's columns the datakit would read, without those it adds.
    pub columns: Schema,
    /// The names of the primary key's columns, in key order; empty: there is none, or not all of them are read.
    pub primary_key: Vec<String>,
    /// Rows, as the source estimates them.
    pub estimated_rows: Option<u64>,
    /// Bytes in the source, as it estimates them.
    pub estimated_bytes: Option<u64>,
}

/// What a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableKind {
    /// A table.
    Table,
    /// A view: no key and no estimates.
    View,
}

/// How a table is read, and a proposal of how it is written.
///
/// The partitions together cover every row, null keys included, and no row twice.
#[derive(Debug, Clone, PartialEq)]
pub struct TablePlan {
    /// The table.
    pub table: TableId,
    /// Its parts, in order; at least one.
    pub partitions: Vec<PlannedPartition>,
    /// How the rows should be written; none: as the operator says.
    pub write: Option<WriteMode>,
    /// The output's columns that identify a row, in key order; empty: none are known.
    pub keys: Vec<String>,
    /// The output's columns by whose values the sink parts the table, in order.
    pub partition_by: Vec<String>,
    /// How the table is read, in a word or two for the operator.
    pub strategy: Option<String>,
    /// Why it is read so, in a sentence for the operator.
    pub why: Option<String>,
    /// Bounds every partition, and is committed with the rows; none: what the extraction says, or none.
    pub watermark: Option<String>,
    /// The output's column of the role `load-id`.
    pub load_id_column: Option<String>,
    /// The output's column of the role `operation`.
    pub operation_column: Option<String>,
    /// The output's column of the role `change-version`.
    pub version_column: Option<String>,
    /// The output's column of the role `commit-time`.
    pub commit_time_column: Option<String>,
    /// The output's column of the role `missing-columns`.
    pub missing_columns_column: Option<String>,
    /// What fixes the rows of each partition; none: the moment at which it is read.
    pub fixed_rows: Option<FixedRows>,
    /// What must hold of the rows before they are committed.
    pub rules: Vec<QualityRule>,
}

/// A part of a table that is read on its own.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedPartition {
    /// Whatever the datakit needs to read it; opaque to the host, limited in bytes.
    pub state: Vec<u8>,
    /// Rows, as estimated.
    pub estimated_rows: Option<u64>,
}

/// A part of a table that is to be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Partition {
    /// The table it is a part of.
    pub table: TableId,
    /// Its place among the table's partitions: 0, 1, 2, …
    pub ordinal: u32,
    /// The state of its [`PlannedPartition`].
    pub state: Vec<u8>,
}

impl TablePlan {
    /// A plan of this table, without partitions.
    #[must_use]
    pub fn new(table: TableId) -> Self {
        Self {
            table,
            partitions: Vec::new(),
            write: None,
            keys: Vec::new(),
            partition_by: Vec::new(),
            strategy: None,
            why: None,
            watermark: None,
            load_id_column: None,
            operation_column: None,
            version_column: None,
            commit_time_column: None,
            missing_columns_column: None,
            fixed_rows: None,
            rules: Vec::new(),
        }
    }

    pub(crate) fn to_host(&self) -> host::TablePlan {
        let plan = host::TablePlan::new(&self.table);
        for PlannedPartition { state, estimated_rows } in &self.partitions {
            plan.add_partition(state, *estimated_rows);
        }
        if !self.keys.is_empty() {
            plan.set_keys(&self.keys);
        }
        if !self.partition_by.is_empty() {
            plan.set_partition_by(&self.partition_by);
        }
        self.write.iter().for_each(|mode| plan.set_write(*mode));
        self.strategy.iter().for_each(|strategy| plan.set_strategy(strategy));
        self.why.iter().for_each(|why| plan.set_why(why));
        self.watermark.iter().for_each(|watermark| plan.set_watermark(watermark));
        self.load_id_column.iter().for_each(|name| plan.set_load_id_column(name));
        self.operation_column.iter().for_each(|name| plan.set_operation_column(name));
        self.version_column.iter().for_each(|name| plan.set_version_column(name));
        self.commit_time_column.iter().for_each(|name| plan.set_commit_time_column(name));
        self.missing_columns_column.iter().for_each(|name| plan.set_missing_columns_column(name));
        self.fixed_rows.iter().for_each(|by| plan.set_fixed_rows(*by));
        self.rules.iter().for_each(|rule| plan.add_rule(rule.to_host()));
        plan
    }
}

impl Description {
    pub(crate) fn to_host(&self, settings_schema: &str) -> host::Description {
        let description = host::Description::new(&self.name, &self.version, &self.summary);
        for Role { name, kinds, purpose } in &self.roles {
            description.add_role(name, kinds, purpose);
        }
        description.set_settings_schema(settings_schema);
        description
    }
}

impl DiscoveryRequest {
    pub(crate) fn from_host(request: &host::DiscoveryRequest) -> Self {
        Self { include: request.include(), exclude: request.exclude() }
    }
}

impl Table {
    pub(crate) fn to_host(&self) -> host::TableDescription {
        let table = host::TableDescription::new(&self.id);
        if self.kind == TableKind::View {
            table.set_view();
        }
        table.set_columns(&self.columns);
        if !self.primary_key.is_empty() {
            table.set_primary_key(&self.primary_key);
        }
        if let Some(rows) = self.estimated_rows {
            table.set_estimated_rows(rows);
        }
        if let Some(bytes) = self.estimated_bytes {
            table.set_estimated_bytes(bytes);
        }
        table
    }
}

impl Partition {
    pub(crate) fn from_host(partition: &host::Partition) -> Self {
        Self { table: partition.table(), ordinal: partition.ordinal(), state: partition.state() }
    }
}
