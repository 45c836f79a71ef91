//! Which columns of a table are read, and as what.

use datakit_sdk::ranges::KeyType;
use datakit_sdk::{Error, Field, TableId, relational};

use crate::discovery::SourceColumn;
use crate::errors;
use crate::settings::Settings;
use crate::statement::{ReadAs, ReadColumn};
use crate::types::Reading;

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

impl relational::SourceColumn for SourceColumn {
    type Settings = Settings;

    fn name(&self) -> &str {
        &self.name
    }

    fn fields(&self, settings: &Settings) -> Vec<Field> {
        let field = |reading: Reading| Field {
            name: self.name.clone(),
            arrow_type: reading.arrow_type,
            // What an expression makes of a column is not declared NOT NULL any more.
            nullable: self.nullable || reading.read != ReadAs::Value,
            metadata: self.sql_type.metadata(),
        };
        self.sql_type.reading(settings).map(field).into_iter().collect()
    }

    fn key_type(&self) -> Option<KeyType> {
        self.sql_type.key_type()
    }
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
