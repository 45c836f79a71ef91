//! Which columns of a table are read, and as what.

use datakit_sdk::{Error, Field, Schema, Table};

use crate::discovery::{SourceColumn, SourceTable};
use crate::errors;
use crate::settings::{Selection, Settings};
use crate::statement::{ReadAs, ReadColumn};

/// Field metadata: `SELECT *` leaves the column out.
const HIDDEN_KEY: &str = "datakit.hidden";
/// Field metadata that the host puts into the run's record: how the source may change the values before it sends them.
const ALTERED_KEY: &str = "datakit.altered";
const MASKED: &str = "masked by the server for a login without UNMASK (dynamic data masking)";

/// "Maximum capacity specifications for SQL Server": columns per SELECT statement.
const MAX_SELECT_COLUMNS: usize = 4_096;

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

/// The columns to read, with those the settings add.
///
/// # Errors
/// As [`selected`]; a column of a type that cannot be represented; an added column whose name is taken.
pub fn read_columns(table: &SourceTable, selection: &Selection, settings: &Settings) -> Result<Vec<ReadColumn>, Error> {
    let columns = selected(table, selection)?;
    let mut read = Vec::with_capacity(columns.len());
    for column in &columns {
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

/// The table as the host lists it. Columns of a type that cannot be represented are left out: planning refuses them, but a
/// database with one such table must still be listed. So are rules that do not fit, for the same reason.
#[must_use]
pub fn listed(table: &SourceTable, selection: &Selection, settings: &Settings) -> Table {
    let columns: Vec<&SourceColumn> =
        table.columns.iter().filter(|column| selection.has_column(&table.id, &column.name)).collect();
    let schema: Schema = columns.iter().flat_map(|column| fields(column, settings)).collect();
    let all_read = table.primary_key.iter().all(|key| schema.iter().any(|field| field.name == *key));
    Table {
        id: table.id.clone(),
        kind: table.kind,
        columns: schema,
        primary_key: if all_read { table.primary_key.clone() } else { Vec::new() },
        estimated_rows: table.rows,
        estimated_bytes: None,
    }
}

fn fields(column: &SourceColumn, settings: &Settings) -> Vec<Field> {
    let arrow_type = column.sql_type.arrow_type().filter(|_| !column.facts.is_encrypted);
    let Some(mut arrow_type) = arrow_type else { return Vec::new() };
    if settings.datetime2_as_text && column.sql_type.is_finer_than_microseconds() {
        arrow_type = "Utf8".into();
    }
    let field = |name: &str, arrow_type: String, metadata| Field {
        name: name.to_owned(),
        arrow_type,
        nullable: column.nullable,
        metadata,
    };
    let mut metadata = column.sql_type.metadata();
    if column.facts.is_hidden {
        metadata.push((HIDDEN_KEY.to_owned(), "true".to_owned()));
    }
    if column.facts.is_masked {
        metadata.push((ALTERED_KEY.to_owned(), MASKED.to_owned()));
    }
    let mut fields = vec![field(&column.name, arrow_type, metadata)];
    fields.extend(offset_column(column, settings).map(|name| field(&name, "Int32".into(), Vec::new())));
    fields
}

fn offset_column(column: &SourceColumn, settings: &Settings) -> Option<String> {
    (settings.datetimeoffset_offset && column.sql_type.has_offset()).then(|| format!("{}_offset_minutes", column.name))
}

fn about(table: &SourceTable, code: &str, what: &str) -> Error {
    let table = format!("{}.{}", table.id.schema, table.id.name);
    Error::config(code, format!("{what} {table} does not have")).with_context("table", table)
}

fn too_many(table: &SourceTable, columns: usize) -> Error {
    let name = format!("{}.{}", table.id.schema, table.id.name);
    Error::config(
        errors::TOO_MANY_COLUMNS,
        format!(
            "{columns} columns of {name} are to be read; a query of SQL Server returns {MAX_SELECT_COLUMNS} at most"
        ),
    )
    .with_hint(format_args!("read some of them: `columns = {{ \"{name}\" = {{ include = [\"…\"] }} }}`"))
    .with_context("table", name)
}

fn encrypted(table: &SourceTable, column: &SourceColumn) -> Error {
    let name = format!("{}.{}", table.id.schema, table.id.name);
    Error::data(
        errors::ENCRYPTED,
        format!(
            "column `{}` of {name} is encrypted (Always Encrypted): SQL Server does not have its key and sends ciphertext",
            column.name
        ),
    )
    .with_hint(format_args!("exclude it: `columns = {{ \"{name}\" = {{ exclude = [\"{}\"] }} }}`", column.name))
    .with_context("table", name)
    .with_context("column", &column.name)
}

fn unsupported(table: &SourceTable, column: &SourceColumn) -> Error {
    let name = format!("{}.{}", table.id.schema, table.id.name);
    Error::data(
        errors::UNSUPPORTED_TYPE,
        format!("column `{}` of {name} is of type {}, which cannot be represented", column.name, column.sql_type),
    )
    .with_hint(format_args!("exclude it: `columns = {{ \"{name}\" = {{ exclude = [\"{}\"] }} }}`", column.name))
    .with_context("table", name)
    .with_context("column", &column.name)
    .with_context("type", &column.sql_type)
}

fn collision(table: &SourceTable, column: &SourceColumn, added: &str) -> Error {
    let name = format!("{}.{}", table.id.schema, table.id.name);
    Error::config(
        errors::COLUMN_COLLISION,
        format!(
            "{name} has a column `{added}`, the name `datetimeoffset_offset` gives to the offset of `{}`",
            column.name
        ),
    )
    .with_hint("exclude one of the two, or turn `datetimeoffset_offset` off")
    .with_context("table", name)
    .with_context("column", added)
}
