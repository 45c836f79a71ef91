//! Tables and columns as the catalog knows them, and which of them are read.

use serde::{Deserialize, Serialize};

use super::Dialect;
use crate::bindings::datakit::kit::types::{Error, Field, Schema, TableId};
use crate::plans::{Table, TableKind};
use crate::ranges::KeyType;
use crate::selection::Selection;

/// A column, as the catalog knows it.
pub trait SourceColumn {
    /// The operator's settings.
    type Settings;

    /// Its name.
    fn name(&self) -> &str;

    /// The column as the host lists it, with those the settings add; empty: it cannot be represented.
    fn fields(&self, settings: &Self::Settings) -> Vec<Field>;

    /// Its type as that of a key which ranges can be cut from; none: it is not such a key.
    fn key_type(&self) -> Option<KeyType>;
}

/// A table or view, as the catalog knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceTable<C> {
    /// Its names.
    pub id: TableId,
    /// What it is.
    pub kind: TableKind,
    /// Its columns that can be named in a query, in the table's order.
    pub columns: Vec<C>,
    /// Names of the primary key's columns, in key order.
    pub primary_key: Vec<String>,
    /// How large it is.
    pub size: Size,
}

/// How large a table is by the server's last count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// Rows; none for a view, and for what was never counted.
    pub rows: Option<u64>,
    /// Pages of its file, of the largest where it has several; none where rows have no place in a file, or it is not known.
    pub pages: Option<u64>,
    /// Bytes of all its files, indexes aside; none where it is not known.
    pub bytes: Option<u64>,
}

/// A column of the rows that are read, and what it is read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[serde(bound(serialize = "R: Serialize + Default + PartialEq"))]
#[serde(bound(deserialize = "R: Deserialize<'de> + Default"))]
pub struct ReadColumn<R> {
    /// Its name in the result.
    pub name: String,
    /// How it is read.
    #[serde(default, skip_serializing_if = "is_default")]
    pub read: R,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl<C: SourceColumn> SourceTable<C> {
    /// A column by its name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&C> {
        self.columns.iter().find(|column| column.name() == name)
    }

    /// The primary key, if all of it is among these columns.
    pub(super) fn key_among<'n>(&self, names: impl Iterator<Item = &'n str> + Clone) -> Vec<String> {
        let has_all = self.primary_key.iter().all(|key| names.clone().any(|name| name == key));
        if has_all { self.primary_key.clone() } else { Vec::new() }
    }
}

/// The columns the settings select, in the table's order.
///
/// # Errors
/// A rule for this table that names a column it lacks, or a selection that leaves none.
pub(super) fn selected<'a, D: Dialect>(
    table: &'a SourceTable<D::Column>,
    selection: &Selection,
) -> Result<Vec<&'a D::Column>, Error> {
    let id = &table.id;
    let names: Vec<&str> = table.columns.iter().map(SourceColumn::name).collect();
    if let Some(unknown) = selection.unknown_column(id, &names) {
        return Err(unknown_column::<D>(id, &unknown)
            .with_hint("see `columns` in the settings; names with wildcards may match nothing")
            .with_context("table", id)
            .with_context("column", unknown));
    }
    let columns: Vec<&D::Column> =
        table.columns.iter().filter(|column| selection.has_column(id, column.name())).collect();
    if columns.is_empty() {
        return Err(Error::config(D::CODES.no_columns, format!("the settings leave no column of {id}"))
            .with_hint("exclude the table by `exclude`, or read some of its columns")
            .with_context("table", id));
    }
    Ok(columns)
}

pub(super) fn unknown_column<D: Dialect>(id: &TableId, name: &str) -> Error {
    let message = format!("the settings name the column `{name}`, which {id} does not have");
    Error::config(D::CODES.unknown_column, message)
}

/// The table as the host lists it. Columns of a type that cannot be represented are left out: planning refuses them, but a
/// database with one such table must still be listed. So are rules that do not fit, for the same reason.
pub(super) fn listed<D: Dialect>(
    table: &SourceTable<D::Column>,
    selection: &Selection,
    settings: &D::Settings,
) -> Table {
    let columns = table.columns.iter().filter(|column| selection.has_column(&table.id, column.name()));
    let schema: Schema = columns.flat_map(|column| column.fields(settings)).collect();
    Table {
        id: table.id.clone(),
        kind: table.kind,
        primary_key: table.key_among(schema.iter().map(|field| field.name.as_str())),
        columns: schema,
        estimated_rows: table.size.rows,
        estimated_bytes: table.size.bytes,
    }
}
