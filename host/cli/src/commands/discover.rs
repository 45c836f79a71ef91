//! `host discover`: what there is, and what is selected.

use datakit_config::Selection;
use datakit_wasm::{Table, TableKind};
use serde::Serialize;

use super::{JobRequest, job, overrides, selection};
use crate::arguments::{Inspect, OutputFormat};
use crate::context::Context;
use crate::progress::Progress;
use crate::report::Reports;
use crate::terminal::{aligned, grouped, megabytes};

#[derive(Serialize)]
struct Discovered {
    table: String,
    schema: String,
    name: String,
    kind: TableKind,
    selected: bool,
    columns: Vec<Column>,
    primary_key: Vec<String>,
    estimated_rows: Option<u64>,
    estimated_bytes: Option<u64>,
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
    let mut tables: Vec<Discovered> =
        datakit_pipeline::discover(&job, &watching).await?.into_iter().map(discovered).collect();
    drop(watching);
    tables.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
    if arguments.ingest.output == OutputFormat::Json {
        context.terminal.print_json(&tables)?;
        return Ok(());
    }
    let heading = ["selected", "table", "kind", "columns", "about rows", "about size", "key"];
    let mut rows = vec![heading.map(ToOwned::to_owned).to_vec()];
    for table in tables {
        rows.push(vec![
            if table.selected { "yes" } else { "no" }.to_owned(),
            table.table,
            kind(table.kind).to_owned(),
            table.columns.len().to_string(),
            table.estimated_rows.map(grouped).unwrap_or_default(),
            table.estimated_bytes.map(megabytes).unwrap_or_default(),
            table.primary_key.join(", "),
        ]);
    }
    context.terminal.print(&aligned(&rows, &[3, 4, 5]))?;
    Ok(())
}

fn discovered((table, selected): (Table, bool)) -> Discovered {
    let columns = table.columns.fields().iter();
    Discovered {
        table: table.id.to_string(),
        columns: columns
            .map(|field| Column {
                name: field.name().clone(),
                r#type: field.data_type().to_string(),
                nullable: field.is_nullable(),
            })
            .collect(),
        schema: table.id.schema,
        name: table.id.name,
        kind: table.kind,
        selected,
        primary_key: table.primary_key,
        estimated_rows: table.estimated_rows,
        estimated_bytes: table.estimated_bytes,
    }
}

fn kind(kind: TableKind) -> &'static str {
    match kind {
        TableKind::Table => "table",
        TableKind::View => "view",
    }
}
