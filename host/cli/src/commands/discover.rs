//! `host discover`: what there is, and what is selected.

use arrow::datatypes::FieldRef;
use datakit_config::Selection;
use datakit_model::datakit::{Table, TableKind};
use datakit_model::{Failure, TableId};
use datakit_pipeline::{Discovered, TableError};
use serde::Serialize;

use super::{JobRequest, job, overrides, selection};
use crate::arguments::{Inspect, OutputFormat};
use crate::context::Context;
use crate::progress::Progress;
use crate::report::Reports;
use crate::terminal::{aligned, grouped, megabytes};

#[derive(Serialize)]
struct Shown {
    table: String,
    schema: String,
    name: String,
    kind: Option<TableKind>,
    selected: bool,
    columns: Vec<Column>,
    primary_key: Vec<String>,
    estimated_rows: Option<u64>,
    estimated_bytes: Option<u64>,
    /// Why the table cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<TableError>,
}

#[derive(Serialize)]
struct Column {
    name: String,
    r#type: String,
    nullable: bool,
}

pub(crate) async fn discover(arguments: Inspect, context: &Context) -> Result<(), Reports> {
    let config = context.config(overrides(&arguments.ingest))?;
    let ingest = config.ingest(&Selection { all_tables: true, ..selection(&arguments.ingest) })?;
    let job = job(context, &config, &ingest, JobRequest::new(None, arguments.ingest.locked)).await?;
    let watching = Progress::of_question(context.terminal.clone());
    let mut failures = Vec::new();
    let mut tables = Vec::new();
    for Discovered { id, table, selected } in datakit_pipeline::discover(&job, &watching).await? {
        tables.push(shown(&id, table.as_ref(), selected));
        if let (Err(failure), true) = (table, selected) {
            failures.push((id, failure));
        }
    }
    drop(watching);
    if arguments.ingest.output == OutputFormat::Json {
        context.terminal.print_json(&tables)?;
        return Reports::of_tables(failures);
    }
    let heading = ["selected", "table", "kind", "columns", "about rows", "about size", "key"];
    let mut rows = vec![heading.map(ToOwned::to_owned).to_vec()];
    for table in tables {
        rows.push(vec![
            if table.selected { "yes" } else { "no" }.to_owned(),
            table.table,
            table.kind.map_or("invalid", kind).to_owned(),
            if table.error.is_some() { String::new() } else { table.columns.len().to_string() },
            table.estimated_rows.map(grouped).unwrap_or_default(),
            table.estimated_bytes.map(megabytes).unwrap_or_default(),
            table.primary_key.join(", "),
        ]);
    }
    context.terminal.print(&aligned(&rows, &[3, 4, 5]))?;
    Reports::of_tables(failures)
}

fn shown(id: &TableId, table: Result<&Table, &Failure>, selected: bool) -> Shown {
    let column = |field: &FieldRef| Column {
        name: field.name().clone(),
        r#type: field.data_type().to_string(),
        nullable: field.is_nullable(),
    };
    let valid = table.ok();
    Shown {
        table: id.to_string(),
        schema: id.schema.clone(),
        name: id.name.clone(),
        kind: valid.map(|table| table.kind),
        selected,
        columns: valid.map(|table| table.columns.fields().iter().map(column).collect()).unwrap_or_default(),
        primary_key: valid.map(|table| table.primary_key.clone()).unwrap_or_default(),
        estimated_rows: valid.and_then(|table| table.estimated_rows),
        estimated_bytes: valid.and_then(|table| table.estimated_bytes),
        error: table.err().map(TableError::from),
    }
}

fn kind(kind: TableKind) -> &'static str {
    match kind {
        TableKind::Table => "table",
        TableKind::View => "view",
    }
}
