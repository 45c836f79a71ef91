//! Which columns of a table are read, and as what.

use datakit_sdk::{Error, Field, Schema, Table};

use crate::discovery::{SourceColumn, SourceTable};
use crate::errors;
use crate::settings::{Selection, Settings};
use crate::statement::{ReadAs, ReadColumn};

/// The columns the settings select, in the table's order.
///
/// # Errors
/// A rule for this table that names a column it lacks, or a selection that leaves none.
pub fn selected<'a>(table: &'a SourceTable, selection: &Selection) -> Result<Vec<&'a SourceColumn>, Error> {
    let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    if let Some(unknown) = selection.unknown_column(&table.id, &names) {
        return Err(about(table, errors::UNKNOWN_COLUMN, &format!("the settings name the column `{unknown}`, which"))
            .with_hint("see `columns` in the settings; names with wildcards may match nothing")
            .with_context("column", unknown));
    }
    let columns: Vec<&SourceColumn> =
        table.columns.iter().filter(|column| selection.has_column(&table.id, &column.name)).collect();
    if columns.is_empty() {
        let (schema, name) = (&table.id.schema, &table.id.name);
        let error = Error::config(errors::NO_COLUMNS, format!("the settings leave no column of {schema}.{name}"));
        return Err(error
            .with_hint("exclude the table by `exclude`, or read some of its columns")
            .with_context("table", format!("{schema}.{name}")));
    }
    Ok(columns)
}

/// The columns to read, and how.
///
/// # Errors
/// As [`selected`]; a numeric that the settings refuse.
pub fn read_columns(table: &SourceTable, selection: &Selection, settings: &Settings) -> Result<Vec<ReadColumn>, Error> {
    selected(table, selection)?
        .into_iter()
        .map(|column| match column.sql_type.reading(settings) {
            Some(reading) => Ok(ReadColumn { name: column.name.clone(), read: reading.read }),
            None => Err(unsupported(table, column)),
        })
        .collect()
}

/// The table as the host lists it. Columns of a type that cannot be represented are left out: planning refuses them, but a
/// database with one such table must still be listed. So are rules that do not fit, for the same reason.
#[must_use]
pub fn listed(table: &SourceTable, selection: &Selection, settings: &Settings) -> Table {
    let columns: Vec<&SourceColumn> =
        table.columns.iter().filter(|column| selection.has_column(&table.id, &column.name)).collect();
    let schema: Schema = columns.iter().filter_map(|column| field(column, settings)).collect();
    let all_read = table.primary_key.iter().all(|key| schema.iter().any(|field| field.name == *key));
    Table {
        id: table.id.clone(),
        kind: table.kind,
        columns: schema,
        primary_key: if all_read { table.primary_key.clone() } else { Vec::new() },
        estimated_rows: table.size.rows,
        estimated_bytes: table.size.bytes,
    }
}

fn field(column: &SourceColumn, settings: &Settings) -> Option<Field> {
    let reading = column.sql_type.reading(settings)?;
    Some(Field {
        name: column.name.clone(),
        arrow_type: reading.arrow_type,
        // What an expression makes of a column is not declared NOT NULL any more.
        nullable: column.nullable || reading.read != ReadAs::Value,
        metadata: column.sql_type.metadata(),
    })
}

fn about(table: &SourceTable, code: &str, what: &str) -> Error {
    let table = format!("{}.{}", table.id.schema, table.id.name);
    Error::config(code, format!("{what} {table} does not have")).with_context("table", table)
}

fn unsupported(table: &SourceTable, column: &SourceColumn) -> Error {
    let name = format!("{}.{}", table.id.schema, table.id.name);
    Error::data(
        errors::UNSUPPORTED_TYPE,
        format!("column `{}` of {name} is of type {}: its digits are not bounded, or more than the 38 of a decimal",
            column.name, column.sql_type),
    )
    .with_hint(format_args!(
        "load such columns as text with the setting `numeric = \"text\"`, or exclude it: `columns = {{ \"{name}\" = {{ exclude = [\"{}\"] }} }}`",
        column.name
    ))
    .with_context("table", name)
    .with_context("column", &column.name)
    .with_context("type", &column.sql_type)
}
