//! `host plan`: how each table would be cut.

use datakit_config::{Config, NO_MODE, Overrides};
use datakit_model::datakit::{Table, TablePlan};
use datakit_model::{Failure, TableId};
use datakit_pipeline::{Destination, Prepared, TableError};
use serde::Serialize;

use super::{JobRequest, job, mode_of, overrides, selection};
use crate::arguments::{OutputFormat, Plan};
use crate::context::Context;
use crate::progress::Progress;
use crate::report::Reports;
use crate::terminal::{aligned, grouped};

/// Room that is left for what a datakit adds: only an extraction says how many columns that are.
const ADDED_COLUMNS: usize = 16;

#[derive(Serialize)]
struct Planned {
    table: String,
    columns: usize,
    primary_key: Vec<String>,
    estimated_rows: Option<u64>,
    partitions: Vec<PlannedPartition>,
    target: Option<String>,
    watermark_after: Option<String>,
    /// Why the table cannot be loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<TableError>,
}

#[derive(Serialize)]
struct PlannedPartition {
    ordinal: u32,
    estimated_rows: Option<u64>,
}

pub(crate) async fn plan(arguments: Plan, context: &Context) -> Result<(), Reports> {
    let mode = mode_of(&arguments.mode);
    let config: Config = context.config(Overrides { mode, ..overrides(&arguments.ingest) })?;
    let ingest = config.ingest(&selection(&arguments.ingest))?;
    if ingest.mode.is_none() {
        context.terminal.warn(&format!("the ingest has no mode: {NO_MODE}"));
    }
    // A plan may depend on the sink's watermarks, but needs none.
    let sink = match config.sink_of(&ingest) {
        Ok(sink) => Some(Destination { sink: context.sink(sink, &config)?, mode: ingest.mode.map(super::sink_mode) }),
        Err(_) => None,
    };
    let job = job(context, &config, &ingest, JobRequest::new(None, arguments.ingest.locked)).await?;
    let source_system = job.run().source_system.clone();
    let mut planned = Vec::new();
    let mut failures = Vec::new();
    let watching = Progress::of_question(context.terminal.clone());
    for Prepared { id, plan } in datakit_pipeline::plan(&job, sink.clone(), &watching).await? {
        let target = |table: &Table| sink.as_ref().map(|to| to.sink.locate(&source_system, &table.id)).transpose();
        match plan.and_then(|(table, plan)| Ok((target(&table)?, table, plan))) {
            Ok((target, table, plan)) => planned.push(fitting(table, plan, target)),
            Err(failure) => {
                planned.push(failing(&id, &failure));
                failures.push((id, failure));
            }
        }
    }
    drop(watching);
    if let Some(limit) = sink.as_ref().and_then(|to| to.sink.max_columns()) {
        for table in planned.iter().filter(|table| table.error.is_none() && table.columns + ADDED_COLUMNS > limit) {
            context.terminal.warn(&nearly_too_wide(table, limit));
        }
    }
    if arguments.ingest.output == OutputFormat::Json {
        context.terminal.print_json(&planned)?;
        return Reports::of_tables(failures);
    }
    let heading = ["table", "columns", "about rows", "partitions", "key", "target"];
    let mut rows = vec![heading.map(ToOwned::to_owned).to_vec()];
    for table in planned {
        rows.push(vec![
            table.table,
            table.columns.to_string(),
            table.estimated_rows.map(grouped).unwrap_or_default(),
            table.partitions.len().to_string(),
            table.primary_key.join(", "),
            table.target.or(table.error.map(|error| format!("fails with {}", error.code))).unwrap_or_default(),
        ]);
    }
    context.terminal.print(&aligned(&rows, &[1, 2, 3]))?;
    Reports::of_tables(failures)
}

fn nearly_too_wide(Planned { table, columns, .. }: &Planned, limit: usize) -> String {
    format!(
        "{table} has {columns} columns: its target takes {limit}, and what the datakit adds counts (Bronze columns, for example); \
         if it is too wide, it fails alone"
    )
}

fn fitting(table: Table, plan: TablePlan, target: Option<String>) -> Planned {
    let partition = |p: &datakit_model::datakit::Partition| PlannedPartition {
        ordinal: p.ordinal,
        estimated_rows: p.estimated_rows,
    };
    Planned {
        table: table.id.to_string(),
        columns: table.columns.fields().len(),
        primary_key: table.primary_key,
        estimated_rows: table.estimated_rows,
        partitions: plan.partitions.iter().map(partition).collect(),
        target,
        watermark_after: plan.watermark_after,
        error: None,
    }
}

fn failing(table: &TableId, failure: &Failure) -> Planned {
    Planned {
        table: table.to_string(),
        columns: 0,
        primary_key: Vec::new(),
        estimated_rows: None,
        partitions: Vec::new(),
        target: None,
        watermark_after: None,
        error: Some(failure.into()),
    }
}
