//! How each table would be read.

use datakit_config::{NO_MODE, Overrides};
use datakit_model::datakit::{Partition, Table, TablePlan};
use datakit_model::quality::{DeclaredBy, Severity, TableRule};
use datakit_model::sink::WriteMode;
use datakit_model::{ColumnChange, Failure, TableId, printable};
use datakit_pipeline::{Destination, Prepared, TableError};
use serde::Serialize;

use crate::component::asked;
use crate::context::Context;
use crate::job::{JobRequest, job, sink_mode};
use crate::reports::{Reports, Tables};
use crate::requests::PlanRequest;

/// Room that is left for what a datakit adds: only an extraction says how many columns that are.
const ADDED_COLUMNS: usize = 16;
/// No warning names more tables than this.
const MAX_NAMED: usize = 20;

/// How a table would be read.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedTable {
    /// `schema.name`.
    pub table: String,
    /// The number of columns.
    pub columns: usize,
    /// The columns of its primary key.
    pub primary_key: Vec<String>,
    /// Rows by the source's estimate.
    pub estimated_rows: Option<u64>,
    /// The partitions.
    pub partitions: Vec<PlannedPartition>,
    /// Where it would be; none: the ingest has no sink.
    pub target: Option<String>,
    /// How the table would be read, in the datakit's words: `full`.
    pub strategy: Option<String>,
    /// Why the datakit chose it among several ways.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The watermark that the load would leave.
    pub watermark_after: Option<String>,
    /// What the datakit proposes to do with the rows that are there; the ingest's mode decides over it.
    pub write: Option<WriteMode>,
    /// The columns that identify a row, as the datakit proposes; empty: the primary key.
    pub keys: Vec<String>,
    /// The columns by whose values the target would be partitioned, as the datakit proposes.
    pub partition_by: Vec<String>,
    /// Columns of the source that are not those of the target, and what would become of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<ColumnChange>,
    /// The rules of quality that its loads are checked by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quality: Vec<PlannedRule>,
    /// Why the table cannot be loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<TableError>,
}

/// A rule of quality.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedRule {
    /// Its name.
    pub rule: String,
    /// What it checks, and of which columns: `range of amount`.
    pub summary: String,
    /// What happens when it does not hold; none: the operator switched it off.
    pub severity: Option<Severity>,
    /// Who wrote it.
    pub declared_by: DeclaredBy,
}

impl From<TableRule> for PlannedRule {
    fn from(rule: TableRule) -> Self {
        Self {
            summary: rule.rule.summary(),
            severity: (!rule.is_off).then_some(rule.rule.severity),
            rule: rule.rule.name,
            declared_by: rule.declared_by,
        }
    }
}

/// A part of a table.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedPartition {
    /// Its number, from 0.
    pub ordinal: u32,
    /// Rows by the source's estimate.
    pub estimated_rows: Option<u64>,
}

/// How each selected table would be read, or why it could not be loaded.
///
/// # Errors
/// The configuration is invalid, the datakit or the source cannot be reached, no table matches, or the work was stopped.
pub async fn plan(context: &Context, request: &PlanRequest) -> Result<Tables<PlannedTable>, Reports> {
    context.unless_stopped(plan_tables(context, request)).await
}

async fn plan_tables(context: &Context, request: &PlanRequest) -> Result<Tables<PlannedTable>, Reports> {
    let (mode, drift) = (request.mode, request.drift);
    let config = context.config(Overrides { mode, drift, ..request.ingest.overrides() })?;
    let asking = JobRequest::new(request.ingest.locked);
    let (selection, asking) = asked(context, &config, &request.ingest, asking).await?;
    let ingest = config.ingest(&selection)?;
    if ingest.mode.is_none() {
        context.warn(&format!("the ingest has no mode: {NO_MODE}"));
    }
    let sharing = config.sharing_reads_of(&ingest);
    if !sharing.is_empty() {
        let others = printable::some(&sharing, MAX_NAMED);
        context.note(&format!(
            "the tables are read once for this ingest and for {others}, where both are at the same position"
        ));
    }
    // A plan may depend on the sink's watermarks, but needs none.
    let sink = match config.sink_of(&ingest) {
        Ok(sink) => Some(Destination { sink: context.sink(sink, &config)?.sink(), mode: ingest.mode.map(sink_mode) }),
        Err(_) => None,
    };
    let job = job(context, &config, &ingest, asking).await?;
    let source_system = job.run().source_system.clone();
    let mut planned = Vec::new();
    let mut failures = Vec::new();
    for Prepared { id, plan, drift } in datakit_pipeline::plan(&job, sink.clone(), context.observer().as_ref()).await? {
        let target = |table: &Table| sink.as_ref().map(|to| to.sink.locate(&source_system, &table.id)).transpose();
        match plan.and_then(|(table, plan)| Ok((target(&table)?, job.rules(&plan)?, table, plan))) {
            Ok((target, rules, table, plan)) => {
                let drift = drift.unwrap_or_else(|failure| {
                    context.warn(&format!("{id} may fail: {}: {failure}", failure.code()));
                    Vec::new()
                });
                planned.push(PlannedTable { drift, ..fitting(table, plan, rules, target) });
            }
            Err(failure) => {
                planned.push(failing(&id, &failure));
                failures.push((id, failure));
            }
        }
    }
    if let Some(to) = sink.as_ref().filter(|to| !to.sink.writes_partitioned_tables()) {
        let ignored = planned.iter_mut().filter_map(ignored_partitions).collect::<Vec<_>>();
        if !ignored.is_empty() {
            context.warn(&without_partitions(&ignored, to.sink.kind()));
        }
    }
    if let Some(limit) = sink.as_ref().and_then(|to| to.sink.max_columns()) {
        for table in planned.iter().filter(|table| table.error.is_none() && table.columns + ADDED_COLUMNS > limit) {
            context.warn(&nearly_too_wide(table, limit));
        }
    }
    Ok(Tables { tables: planned, failures: Reports::of_tables(failures) })
}

/// A table for which a sink without partitioned tables leaves the proposal out of account.
fn ignored_partitions(table: &mut PlannedTable) -> Option<String> {
    let proposed = std::mem::take(&mut table.partition_by);
    (!proposed.is_empty()).then(|| table.table.clone())
}

fn without_partitions(tables: &[String], sink: &str) -> String {
    format!(
        "the datakit proposes to partition {}; the {sink} sink writes no partitioned tables, so they will not be partitioned",
        printable::some(tables, MAX_NAMED)
    )
}

fn nearly_too_wide(PlannedTable { table, columns, .. }: &PlannedTable, limit: usize) -> String {
    format!(
        "{table} has {columns} columns: its target takes {limit}, and the columns that the datakit adds count; \
         if it is too wide, it fails alone"
    )
}

fn fitting(table: Table, plan: TablePlan, rules: Vec<TableRule>, target: Option<String>) -> PlannedTable {
    let partition = |p: &Partition| PlannedPartition { ordinal: p.ordinal, estimated_rows: p.estimated_rows };
    PlannedTable {
        table: table.id.to_string(),
        columns: table.columns.fields().len(),
        primary_key: table.primary_key,
        estimated_rows: table.estimated_rows,
        partitions: plan.partitions.iter().map(partition).collect(),
        target,
        strategy: plan.strategy,
        why: plan.why,
        watermark_after: plan.watermark_after,
        write: plan.write,
        keys: plan.keys,
        partition_by: plan.partition_by,
        drift: Vec::new(),
        quality: rules.into_iter().map(PlannedRule::from).collect(),
        error: None,
    }
}

fn failing(table: &TableId, failure: &Failure) -> PlannedTable {
    PlannedTable {
        table: table.to_string(),
        columns: 0,
        primary_key: Vec::new(),
        estimated_rows: None,
        partitions: Vec::new(),
        target: None,
        strategy: None,
        why: None,
        watermark_after: None,
        write: None,
        keys: Vec::new(),
        partition_by: Vec::new(),
        drift: Vec::new(),
        quality: Vec::new(),
        error: Some(failure.into()),
    }
}
