//! Which columns of a table are read, and as what.

use datakit_sdk::ranges::KeyType;
use datakit_sdk::relational::{self, watermark::ALTERED_KEY};
use datakit_sdk::{Error, Field, TableId};

use crate::discovery::SourceColumn;
use crate::errors;
use crate::settings::Settings;
use crate::statement::{ReadAs, ReadColumn};

/// Field metadata: `SELECT *` leaves the column out.
const HIDDEN_KEY: &str = "datakit.hidden";
const MASKED: &str = "masked by the server for a login without UNMASK (dynamic data masking)";

/// "Maximum capacity specifications for SQL Server": columns per SELECT statement.
const MAX_SELECT_COLUMNS: usize = 4_096;

/// The columns to read, with those the settings add.
///
/// # Errors
/// A column of a type that cannot be represented; an added column whose name is taken.
pub fn read_columns(table: &TableId, columns: &[&SourceColumn], settings: &Settings) -> Result<Vec<ReadColumn>, Error> {
    let mut read = Vec::with_capacity(columns.len());
    for column in columns {
        if column.facts.is_encrypted {
            return Err(encrypted(table, column));
        }
        if column.sql_type.arrow_type().is_none() {
            return Err(unsupported(table, column));
        }
        let as_text = settings.datetime2_as_text && column.sql_type.is_finer_than_microseconds();
        let how = if as_text { ReadAs::DateTimeText } else { ReadAs::Value };
        read.push(ReadColumn { name: column.name.clone(), read: how });
        if let Some(name) = offset_column(column, settings) {
            if columns.iter().any(|other| other.name.to_lowercase() == name.to_lowercase()) {
                return Err(collision(table, column, &name));
            }
            read.push(ReadColumn { name, read: ReadAs::OffsetMinutesOf(column.name.clone()) });
        }
    }
    if read.len() > MAX_SELECT_COLUMNS {
        return Err(too_many(table, read.len()));
    }
    Ok(read)
}

impl relational::SourceColumn for SourceColumn {
    type Settings = Settings;

    fn name(&self) -> &str {
        &self.name
    }

    fn fields(&self, settings: &Settings) -> Vec<Field> {
        let arrow_type = self.sql_type.arrow_type().filter(|_| !self.facts.is_encrypted);
        let Some(mut arrow_type) = arrow_type else { return Vec::new() };
        if settings.datetime2_as_text && self.sql_type.is_finer_than_microseconds() {
            arrow_type = "Utf8".into();
        }
        let field = |name: &str, arrow_type: String, metadata| Field {
            name: name.to_owned(),
            arrow_type,
            nullable: self.nullable,
            metadata,
        };
        let mut metadata = self.sql_type.metadata();
        if self.facts.is_hidden {
            metadata.push((HIDDEN_KEY.to_owned(), "true".to_owned()));
        }
        if self.facts.is_masked {
            metadata.push((ALTERED_KEY.to_owned(), MASKED.to_owned()));
        }
        let mut fields = vec![field(&self.name, arrow_type, metadata)];
        fields.extend(offset_column(self, settings).map(|name| field(&name, "Int32".into(), Vec::new())));
        fields
    }

    /// MIN and MAX of a masked column are masked.
    fn key_type(&self) -> Option<KeyType> {
        self.sql_type.key_type().filter(|_| !self.facts.is_masked)
    }
}

fn offset_column(column: &SourceColumn, settings: &Settings) -> Option<String> {
    (settings.datetimeoffset_offset && column.sql_type.has_offset()).then(|| format!("{}_offset_minutes", column.name))
}

fn too_many(table: &TableId, columns: usize) -> Error {
    Error::config(
        errors::TOO_MANY_COLUMNS,
        format!(
            "{columns} columns of {table} are to be read; a query of SQL Server returns {MAX_SELECT_COLUMNS} at most"
        ),
    )
    .with_hint(format_args!("read some of them: `columns = {{ \"{table}\" = {{ include = [\"…\"] }} }}`"))
    .with_context("table", table)
}

fn encrypted(table: &TableId, column: &SourceColumn) -> Error {
    Error::data(
        errors::ENCRYPTED,
        format!(
            "column `{}` of {table} is encrypted (Always Encrypted): SQL Server does not have its key and sends ciphertext",
            column.name
        ),
    )
    .with_hint(format_args!("exclude it: `columns = {{ \"{table}\" = {{ exclude = [\"{}\"] }} }}`", column.name))
    .with_context("table", table)
    .with_context("column", &column.name)
}

fn unsupported(table: &TableId, column: &SourceColumn) -> Error {
    Error::data(
        errors::UNSUPPORTED_TYPE,
        format!("column `{}` of {table} is of type {}, which cannot be represented", column.name, column.sql_type),
    )
    .with_hint(format_args!("exclude it: `columns = {{ \"{table}\" = {{ exclude = [\"{}\"] }} }}`", column.name))
    .with_context("table", table)
    .with_context("column", &column.name)
    .with_context("type", &column.sql_type)
}

fn collision(table: &TableId, column: &SourceColumn, added: &str) -> Error {
    Error::config(
        errors::COLUMN_COLLISION,
        format!(
            "{table} has a column `{added}`, the name `datetimeoffset_offset` gives to the offset of `{}`",
            column.name
        ),
    )
    .with_hint("exclude one of the two, or turn `datetimeoffset_offset` off")
    .with_context("table", table)
    .with_context("column", added)
}
