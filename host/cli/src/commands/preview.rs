//! `host preview`: the first rows, as the sink would get them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches_with_options;
use datakit_app::{Column, Preview as PreviewOfTable, PreviewRequest, Reports, Tables};
use datakit_model::printable;
use serde::Serialize;
use serde_json::Value;

use super::{Session, failures, ingest_of};
use crate::arguments::{OutputFormat, Preview};
use crate::error::CliError;
use crate::terminal::aligned;

/// The widest table that is shown side by side, in characters.
const MAX_WIDTH: usize = 160;

/// No value is not an empty one.
const OPTIONS: FormatOptions<'static> = FormatOptions::new().with_null("NULL");

const EXTENSION_NAME: &str = "ARROW:extension:name";
const UUID: &str = "arrow.uuid";

#[derive(Serialize)]
struct PreviewedTable {
    table: String,
    columns: Vec<Column>,
    /// Values in the order of the columns.
    rows: Vec<Vec<Value>>,
}

pub(super) async fn preview(arguments: Preview, session: &Session) -> Result<(), Reports> {
    let output = arguments.ingest.output;
    let request = PreviewRequest { ingest: ingest_of(arguments.ingest), rows: usize::from(arguments.rows) };
    let Tables { tables, failures: failed } = session.answer(datakit_app::preview(&session.context, &request)).await?;
    if output == OutputFormat::Json {
        let tables: Result<Vec<PreviewedTable>, ArrowError> = tables.iter().map(previewed).collect();
        session.terminal.print_json(&tables.map_err(CliError::Show)?)?;
        return failures(failed);
    }
    for preview in &tables {
        let table = session.terminal.output_style.bold(&printable::line(&preview.table.to_string()));
        let batches = preview.batches.iter().map(with_readable_uuids).collect::<Result<Vec<_>, _>>();
        let shown = batches.and_then(|batches| shown(&preview.schema, &batches)).map_err(CliError::Show)?;
        session.terminal.print(&format!("{table}\n{}\n", printable::lines(&shown)))?;
    }
    failures(failed)
}

fn previewed(preview: &PreviewOfTable) -> Result<PreviewedTable, ArrowError> {
    let mut rows = Vec::new();
    for batch in &preview.batches {
        rows.extend(json_rows(&with_readable_uuids(batch)?)?);
    }
    let columns = preview.schema.fields().iter().map(|field| Column::from(field.as_ref())).collect();
    Ok(PreviewedTable { table: preview.table.to_string(), columns, rows })
}

/// Side by side where a terminal can show it, else one column under the other.
fn shown(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<String, ArrowError> {
    let empty = [RecordBatch::new_empty(schema.clone())];
    let table =
        pretty_format_batches_with_options(if batches.is_empty() { &empty } else { batches }, &OPTIONS)?.to_string();
    if table.lines().next().is_none_or(|line| line.chars().count() <= MAX_WIDTH) {
        return Ok(format!("{table}\n"));
    }
    let mut text = String::new();
    let mut number = 0;
    for batch in batches {
        let columns: Vec<ArrayFormatter<'_>> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &OPTIONS)).collect::<Result<_, _>>()?;
        for row in 0..batch.num_rows() {
            number += 1;
            let mut lines = Vec::new();
            for (field, column) in schema.fields().iter().zip(&columns) {
                lines.push(vec![field.name().clone(), column.value(row).try_to_string()?]);
            }
            text.push_str(&format!("row {number}\n"));
            aligned(&lines, &[]).lines().for_each(|line| text.push_str(&format!("  {line}\n")));
        }
    }
    if number == 0 {
        text.push_str("no rows\n");
    }
    Ok(text)
}

/// UUIDs as text: 16 raw bytes tell nobody anything.
fn with_readable_uuids(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let extension = field.metadata().get(EXTENSION_NAME).map(String::as_str);
        match column.as_fixed_size_binary_opt().filter(|array| extension == Some(UUID) && array.value_length() == 16) {
            Some(uuids) => {
                columns.push(
                    Arc::new(uuids.iter().map(|bytes| bytes.map(hyphenated)).collect::<StringArray>()) as ArrayRef
                );
                fields.push(Field::new(field.name(), DataType::Utf8, field.is_nullable()));
            }
            None => {
                columns.push(Arc::clone(column));
                fields.push(field.as_ref().clone());
            }
        }
    }
    RecordBatch::try_new_with_options(
        Arc::new(Schema::new(fields)),
        columns,
        &RecordBatchOptions::new().with_row_count(Some(batch.num_rows())),
    )
}

/// RFC 4122's text form.
fn hyphenated(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

fn json_rows(batch: &RecordBatch) -> Result<Vec<Vec<Value>>, ArrowError> {
    let columns = batch.columns().iter().map(|column| json_column(column.as_ref()));
    let columns: Vec<Vec<Value>> = columns.collect::<Result<_, _>>()?;
    Ok((0..batch.num_rows()).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect())
}

/// Booleans and integers that every JSON reader holds exactly as themselves, everything else as text.
fn json_column(array: &dyn Array) -> Result<Vec<Value>, ArrowError> {
    let formatter = ArrayFormatter::try_new(array, &OPTIONS)?;
    let value = |row: usize| -> Result<Value, ArrowError> {
        Ok(match array.data_type() {
            _ if array.is_null(row) => Value::Null,
            DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
            DataType::Int16 | DataType::Int32 => {
                let text = formatter.value(row).try_to_string()?;
                text.parse::<i32>().map_or(Value::String(text), Value::from)
            }
            _ => Value::String(formatter.value(row).try_to_string()?),
        })
    };
    (0..array.len()).map(value).collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::{FixedSizeBinaryArray, Int64Array};

    use super::*;

    fn batch(columns: usize) -> RecordBatch {
        let uuid = Field::new("guid", DataType::FixedSizeBinary(16), true)
            .with_metadata([(EXTENSION_NAME.to_owned(), UUID.to_owned())].into());
        let bytes: Vec<u8> = (0..16).collect();
        let uuids = FixedSizeBinaryArray::try_from_sparse_iter_with_size([Some(bytes), None].into_iter(), 16).unwrap();
        let mut fields = vec![uuid];
        let mut arrays: Vec<ArrayRef> = vec![Arc::new(uuids)];
        for column in 1..columns {
            fields.push(Field::new(format!("number {column}"), DataType::Int64, true));
            arrays.push(Arc::new(Int64Array::from(vec![Some(i64::MAX), None])));
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
    }

    #[test]
    fn narrow_tables_stand_side_by_side_and_wide_ones_do_not() {
        let show = |columns| {
            let batch = with_readable_uuids(&batch(columns)).unwrap();
            shown(&batch.schema(), &[batch]).unwrap()
        };
        insta::assert_snapshot!(format!("{}\n{}", show(2), show(12)));
    }

    #[test]
    fn json_keeps_every_digit() {
        let rows = json_rows(&with_readable_uuids(&batch(2)).unwrap()).unwrap();
        assert_eq!(
            serde_json::json!(rows),
            serde_json::json!([["00010203-0405-0607-0809-0a0b0c0d0e0f", "9223372036854775807"], [null, null]])
        );
    }
}
