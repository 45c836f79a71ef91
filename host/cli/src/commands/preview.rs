//! `host preview`: the first rows, as the sink would get them.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches;
use serde::Serialize;
use serde_json::Value;

use super::{JobRequest, job, overrides, selection};
use crate::arguments::{OutputFormat, Preview};
use crate::context::Context;
use crate::error::CliError;
use crate::report::{Reports, printable};

#[derive(Serialize)]
struct PreviewedTable {
    table: String,
    columns: Vec<Column>,
    /// Values in the order of the columns.
    rows: Vec<Vec<Value>>,
}

#[derive(Serialize)]
struct Column {
    name: String,
    r#type: String,
    nullable: bool,
}

pub(crate) async fn preview(arguments: Preview, context: &Context) -> Result<(), Reports> {
    let config = context.config(overrides(&arguments.ingest))?;
    let ingest = config.ingest(&selection(&arguments.ingest))?;
    let job = job(context, &config, &ingest, JobRequest::new(None, arguments.ingest.locked)).await?;
    let previews = datakit_pipeline::preview(&job, usize::from(arguments.rows)).await?;
    if arguments.ingest.output == OutputFormat::Json {
        let mut tables = Vec::new();
        for preview in &previews {
            let mut rows = Vec::new();
            for batch in &preview.batches {
                rows.extend(json_rows(batch).map_err(CliError::Show)?);
            }
            tables.push(PreviewedTable { table: preview.table.to_string(), columns: columns(&preview.schema), rows });
        }
        context.terminal.print_json(&tables)?;
        return Ok(());
    }
    for preview in &previews {
        let table = context.terminal.output_style.bold(&printable(&preview.table.to_string()));
        let shown = if preview.batches.is_empty() {
            pretty_format_batches(&[RecordBatch::new_empty(preview.schema.clone())])
        } else {
            pretty_format_batches(&preview.batches)
        };
        let shown = shown.map_err(CliError::Show)?.to_string();
        context.terminal.print(&format!("{table}\n{}\n\n", printable(&shown)))?;
    }
    Ok(())
}

fn columns(schema: &SchemaRef) -> Vec<Column> {
    let fields = schema.fields().iter();
    fields
        .map(|field| Column {
            name: field.name().clone(),
            r#type: field.data_type().to_string(),
            nullable: field.is_nullable(),
        })
        .collect()
}

fn json_rows(batch: &RecordBatch) -> Result<Vec<Vec<Value>>, arrow::error::ArrowError> {
    let options = FormatOptions::default();
    let columns = batch.columns().iter().map(|column| json_column(column.as_ref(), &options));
    let columns: Vec<Vec<Value>> = columns.collect::<Result<_, _>>()?;
    Ok((0..batch.num_rows()).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect())
}

/// Booleans and integers that every JSON reader holds exactly as themselves, everything else as text.
fn json_column(array: &dyn Array, options: &FormatOptions<'_>) -> Result<Vec<Value>, arrow::error::ArrowError> {
    let formatter = ArrayFormatter::try_new(array, options)?;
    let value = |row: usize| -> Result<Value, arrow::error::ArrowError> {
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
