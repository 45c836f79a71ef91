//! Columns of a load that are not those of the table that is there (docs/drift.md).
//!
//! Decided once when a table is opened, by the same rules for every sink. A sink says which columns its table has, which ones it
//! would make for the load, and which types it can widen. It is told the shape of the rows that it gets, and the alterations that
//! have to commit with them.
//!
//! - `decide`: the rules;
//! - `fit`: batches of the load in the shape of the table;
//! - `holds`: which type holds all values of another.

mod decide;
mod fit;
mod holds;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use arrow::datatypes::DataType;
use datakit_model::StateDocument;

pub use fit::Fit;
pub use holds::holds;

/// A column of a table, or one that a sink would make for a column of a load.
#[derive(Debug, Clone, PartialEq)]
pub struct SinkColumn {
    /// As the table calls it.
    pub name: String,
    /// Its type, in the words of the sink. Columns of one text are of one type.
    pub type_name: String,
    /// The Arrow type of its values; none: the sink writes no such column.
    pub data_type: Option<DataType>,
    /// Whether it may be null.
    pub nullable: bool,
    /// Where its value comes from in a row that has none.
    pub default: DefaultValue,
}

/// Where the value of a column comes from in a row that has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultValue {
    /// There is none: null.
    Null,
    /// The server gives a default.
    Server,
    /// The server alone gives values: no row may have one.
    Generated,
    /// The writer has to give it, which this host does not.
    Writer,
}

/// What is known of a table when a load opens it.
pub struct Table<'a> {
    /// Its columns.
    pub columns: &'a [SinkColumn],
    /// Those by which it is partitioned.
    pub partition_columns: &'a [String],
    /// The columns of the last load, by [`last_load`].
    pub last: HashMap<String, String>,
    /// Whether the sink can give the first column the type of the second with the commit of this load.
    pub widens: &'a dyn Fn(&SinkColumn, &SinkColumn) -> bool,
}

/// The Arrow type of each column of the last load, by its name in the table; empty: it is not known.
pub fn last_load(document: Option<&StateDocument>, name: impl Fn(&str) -> Option<String>) -> HashMap<String, String> {
    let columns = document.into_iter().flat_map(|document| &document.schema);
    columns.filter_map(|column| Some((name(&column.name)?, column.r#type.clone()))).collect()
}

/// What the commit of a load changes in a table, by the table's names of the columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alteration {
    /// The table gets a column of the load. It may be null.
    Add(String),
    /// A column gets the type that the load has.
    Retype(String),
    /// A column may be null.
    Relax(String),
    /// A column goes. Only where all rows are replaced.
    Drop(String),
}

/// The columns of a load against those of a table.
pub struct Load<'a> {
    /// What the sink would make of each column, in the order of the rows.
    pub columns: &'a [SinkColumn],
    /// Whether the rows have more columns than these: then columns that only the table has are not looked at.
    pub is_part: bool,
}
