//! Which columns of a table are read, and as what.

use datakit_sdk::{Error, Field, TableId};

use crate::discovery::SourceColumn;
use crate::errors;
use crate::settings::Settings;
use crate::statement::{ReadAs, ReadColumn};

/// The columns to read, and how.
///
/// # Errors
/// A numeric that the settings refuse.
pub fn read_columns(table: &TableId, columns: &[&SourceColumn], settings: &Settings) -> Result<Vec<ReadColumn>, Error> {
    columns
        .iter()
        .map(|column| match column.sql_type.reading(settings) {
            Some(reading) => Ok(ReadColumn { name: column.name.clone(), read: reading.read }),
            None => Err(unsupported(table, column)),
        })
        .collect()
}

/// The column as the host lists it; none: it cannot be represented.
#[must_use]
pub fn field(column: &SourceColumn, settings: &Settings) -> Option<Field> {
    let reading = column.sql_type.reading(settings)?;
    Some(Field {
        name: column.name.clone(),
        arrow_type: reading.arrow_type,
        // What an expression makes of a column is not declared NOT NULL any more.
        nullable: column.nullable || reading.read != ReadAs::Value,
        metadata: column.sql_type.metadata(),
    })
}

fn unsupported(table: &TableId, column: &SourceColumn) -> Error {
    Error::data(
        errors::UNSUPPORTED_TYPE,
        format!("column `{}` of {table} is of type {}: its digits are not bounded, or more than the 38 of a decimal",
            column.name, column.sql_type),
    )
    .with_hint(format_args!(
        "load such columns as text with the setting `numeric = \"text\"`, or exclude it: `columns = {{ \"{table}\" = {{ exclude = [\"{}\"] }} }}`",
        column.name
    ))
    .with_context("table", table)
    .with_context("column", &column.name)
    .with_context("type", &column.sql_type)
}
