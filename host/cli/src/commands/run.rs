//! `host run`: read, write, commit, and tell how it went.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datakit_config::{Config, Ingest, Overrides};
use datakit_http::Endpoint;
use datakit_model::sink::{Sink, TableRows};
use datakit_model::{Coded, Exit, printable};
use datakit_pipeline::{RunStatus, Summary, TableError, TableStatus, TableSummary};
use serde::Serialize;
use tracing::Instrument;

use super::{Connections, JobRequest, connections, job_of, mode_of, overrides, selection};
use crate::arguments::{OutputFormat, Run};
use crate::context::Context;
use crate::error::CliError;
use crate::health::{self, Checks};
use crate::progress::{Progress, Waiting};
use crate::report::{Report, Reports, Style};
use crate::terminal::{aligned, grouped, megabytes};

/// How many columns a note names.
const NAMED_COLUMNS: usize = 3;

/// The one JSON document of a run that could not start: the same keys, and why.
#[derive(Serialize)]
struct NotStarted<'a> {
    run_id: &'a str,
    datakit: Option<&'a str>,
    version: Option<&'a str>,
    digest: Option<&'a str>,
    status: RunStatus,
    rows: u64,
    bytes: u64,
    seconds: f64,
    tables: [(); 0],
    errors: Vec<TableError>,
}

/// The one JSON document of a run of several ingests: the keys of a run of one, over all of them.
#[derive(Serialize)]
struct SeveralIngests<'a> {
    run_id: &'a str,
    status: RunStatus,
    rows: u64,
    bytes: u64,
    seconds: f64,
    tables: Vec<TableOfIngest<'a>>,
    ingests: Vec<IngestSummary<'a>>,
}

#[derive(Serialize)]
struct TableOfIngest<'a> {
    ingest: &'a str,
    #[serde(flatten)]
    table: &'a TableSummary,
}

/// How one of several ingests ended, its tables aside.
#[derive(Serialize)]
struct IngestSummary<'a> {
    ingest: &'a str,
    datakit: &'a str,
    version: Option<&'a str>,
    digest: Option<&'a str>,
    status: RunStatus,
    rows: u64,
    bytes: u64,
    seconds: f64,
    errors: Vec<TableError>,
}

/// An ingest that has ended, or could not begin.
struct Ended {
    label: String,
    datakit: String,
    outcome: Result<Summary, Reports>,
}

impl Ended {
    fn tables(&self) -> &[TableSummary] {
        self.outcome.as_ref().map(|summary| summary.tables.as_slice()).unwrap_or_default()
    }

    fn status(&self) -> RunStatus {
        match &self.outcome {
            Ok(summary) => summary.status,
            Err(reports) => failed_status(reports),
        }
    }
}

/// An ingest with what it reads from and writes to, or why that is not to be had.
struct Prepared {
    label: String,
    ingest: Ingest,
    opened: Result<(Connections, Arc<dyn Sink>), Reports>,
}

pub(crate) async fn run(arguments: Run, context: &Context) -> Result<u8, Reports> {
    let request = JobRequest::new(arguments.run_id.clone(), arguments.ingest.locked);
    let run_id = request.run.run_id.clone();
    let begin = Instant::now();
    let json = arguments.ingest.output == OutputFormat::Json;
    let not_started = |reports: Reports| match json {
        true => context
            .terminal
            .print_json(&not_started(&run_id, &arguments, &reports))
            .map_or_else(Reports::from, |()| reports),
        false => reports,
    };
    let (config, mut ingests) = prepare(&arguments, context).map_err(not_started)?;
    let health = serve_health(&arguments, context, &ingests).await.map_err(|error| not_started(error.into()))?;
    let work = Work { context, config: &config, request: &request, checks: health.as_ref().map(|(checks, _)| checks) };
    if ingests.len() == 1
        && let Some(only) = ingests.pop()
    {
        let summary = work.ingest(only).await.map_err(not_started)?;
        if json {
            context.terminal.print_json(&summary)?;
        } else {
            context.terminal.print(&render(&summary, context.terminal.output_style))?;
        }
        return Ok(summary.exit().code());
    }
    let mut ended = Vec::new();
    for prepared in ingests {
        let (label, datakit) = (prepared.label.clone(), prepared.ingest.datakit.clone());
        let style = context.terminal.error_style;
        context.terminal.say(&style.bold(&format!("ingest {}", printable::line(&label))));
        let outcome = match context.stop.is_cancelled() {
            true => Err(CliError::Stopped.into()),
            false => work.ingest(prepared).await,
        };
        match &outcome {
            Ok(summary) if !json => {
                let style = context.terminal.output_style;
                let title = style.bold(&format!("ingest {}", printable::line(&label)));
                context.terminal.print(&format!("{title}\n{}\n", render(summary, style)))?;
            }
            Ok(_) => {}
            Err(reports) => context.terminal.report(reports),
        }
        ended.push(Ended { label, datakit, outcome });
    }
    if json {
        context.terminal.print_json(&several(&run_id, &ended, begin.elapsed()))?;
    } else {
        let done = ended.iter().filter(|ended| ended.status() == RunStatus::Done).count();
        context.terminal.print(&format!("{done} of {} ingests, run {run_id}\n", ended.len()))?;
    }
    Ok(exit(&ended).code())
}

/// The ingests to run. Secrets first: a missing one should not wait for a download.
fn prepare(arguments: &Run, context: &Context) -> Result<(Config, Vec<Prepared>), Reports> {
    let mode = mode_of(&arguments.mode);
    let flags = Overrides { parallel: arguments.parallel, mode, ..overrides(&arguments.ingest) };
    let config = context.config(flags)?;
    let chosen = config.ingests_of(&selection(&arguments.ingest))?;
    let is_alone = chosen.len() == 1;
    let mut prepared = Vec::new();
    for (label, ingest) in chosen {
        let opened = open(context, &config, &ingest);
        match opened {
            Err(reports) if is_alone => return Err(reports),
            opened => prepared.push(Prepared { label, ingest, opened }),
        }
    }
    Ok((config, prepared))
}

fn open(context: &Context, config: &Config, ingest: &Ingest) -> Result<(Connections, Arc<dyn Sink>), Reports> {
    let sink = context.sink(config.sink_of(ingest)?, config)?;
    Ok((connections(context, config, ingest)?, sink))
}

/// What the ingests of a run share.
struct Work<'a> {
    context: &'a Context,
    config: &'a Config,
    request: &'a JobRequest,
    checks: Option<&'a Arc<Checks>>,
}

impl Work<'_> {
    async fn ingest(&self, prepared: Prepared) -> Result<Summary, Reports> {
        let Prepared { ingest, opened, .. } = prepared;
        let (connections, sink) = opened?;
        let context = self.context;
        let mode = ingest.mode.map(super::sink_mode);
        let waiting = Waiting::begin(&context.terminal, format!("fetching {}", printable::line(&ingest.datakit)));
        let preparing = job_of(context, self.config, &ingest, self.request.clone(), &connections);
        let Some(job) = context.stop.run_until_cancelled(preparing).await else {
            return Err(CliError::Stopped.into());
        };
        drop(waiting);
        let job = job?;
        let run = job.run();
        let (datakit, version) = (printable::line(&run.datakit), printable::line(&run.version));
        context.terminal.say(&format!("{datakit}@{version} ({}), run {}", run.digest, run.run_id));
        if let Some(checks) = self.checks {
            checks.start();
        }
        let progress = Arc::new(Progress::new(context.terminal.clone()));
        let span = tracing::error_span!("run", run_id = %job.run().run_id);
        Ok(datakit_pipeline::run(job, sink, mode, progress, context.stop.clone()).instrument(span).await?)
    }
}

/// Answers about the connections and sinks of the run for as long as the endpoint lives.
async fn serve_health(
    arguments: &Run,
    context: &Context,
    ingests: &[Prepared],
) -> Result<Option<(Arc<Checks>, Endpoint)>, CliError> {
    let Some(address) = arguments.health else { return Ok(None) };
    let (mut connections, mut sinks) = (Connections::new(), BTreeMap::new());
    for Prepared { ingest, opened, .. } in ingests {
        let Ok((opened, sink)) = opened else { continue };
        connections.extend(opened.iter().map(|(name, connected)| (name.clone(), connected.clone())));
        sinks.insert(ingest.sink.clone().unwrap_or_default(), Arc::clone(sink));
    }
    let checks = Arc::new(Checks::new(connections, sinks));
    let endpoint = health::serve(address, Arc::clone(&checks) as Arc<dyn health::Health>).await?;
    context.terminal.say(&format!("health endpoint: http://{}/health/ready", endpoint.address()));
    Ok(Some((checks, endpoint)))
}

/// How a run of several ingests ended: where tables are committed and something else failed, that counts.
fn exit(ended: &[Ended]) -> Exit {
    let is_committed = |table: &TableSummary| matches!(table.status, TableStatus::Committed | TableStatus::Unchanged);
    let any_committed = ended.iter().flat_map(Ended::tables).any(is_committed);
    let each = ended.iter().map(|ended| match &ended.outcome {
        Ok(summary) => summary.exit(),
        Err(reports) => reports.exit(),
    });
    match each.fold(Exit::Done, Exit::or) {
        Exit::Permanent | Exit::Transient if any_committed => Exit::Partial,
        exit => exit,
    }
}

fn several<'a>(run_id: &'a str, ended: &'a [Ended], took: Duration) -> SeveralIngests<'a> {
    let summaries = || ended.iter().filter_map(|ended| ended.outcome.as_ref().ok());
    let all = |status| ended.iter().all(|ended| ended.status() == status);
    let status = if all(RunStatus::Done) {
        RunStatus::Done
    } else if ended.iter().any(|ended| ended.status() == RunStatus::Stopped) {
        RunStatus::Stopped
    } else {
        RunStatus::Failed
    };
    let tables = ended
        .iter()
        .flat_map(|ended| ended.tables().iter().map(move |table| TableOfIngest { ingest: &ended.label, table }));
    let ingest = |ended: &'a Ended| {
        let summary = ended.outcome.as_ref().ok();
        let errors = ended.outcome.as_ref().err().map(|reports| reports.all().iter().map(table_error).collect());
        let (name, version) = named(&ended.datakit);
        IngestSummary {
            ingest: &ended.label,
            datakit: summary.map_or(name, |summary| summary.datakit.as_str()),
            version: summary.map(|summary| summary.version.as_str()).or(version),
            digest: summary.map(|summary| summary.digest.as_str()),
            status: ended.status(),
            rows: summary.map_or(0, |summary| summary.rows),
            bytes: summary.map_or(0, |summary| summary.bytes),
            seconds: summary.map_or(0.0, |summary| summary.seconds),
            errors: errors.unwrap_or_default(),
        }
    };
    SeveralIngests {
        run_id,
        status,
        rows: summaries().map(|summary| summary.rows).sum(),
        bytes: summaries().map(|summary| summary.bytes).sum(),
        seconds: (took.as_secs_f64() * 1000.0).round() / 1000.0,
        tables: tables.collect(),
        ingests: ended.iter().map(ingest).collect(),
    }
}

/// Name and version of a reference; a digest is no version.
fn named(reference: &str) -> (&str, Option<&str>) {
    match reference.split_once('@') {
        Some((name, version)) => (name, Some(version).filter(|version| !version.contains(':'))),
        None => (reference, None),
    }
}

fn not_started<'a>(run_id: &'a str, arguments: &'a Run, reports: &Reports) -> NotStarted<'a> {
    let reference = arguments.ingest.datakit.as_deref().map(named);
    NotStarted {
        run_id,
        datakit: reference.map(|(name, _)| name),
        version: reference.and_then(|(_, version)| version),
        digest: None,
        status: failed_status(reports),
        rows: 0,
        bytes: 0,
        seconds: 0.0,
        tables: [],
        errors: reports.all().iter().map(table_error).collect(),
    }
}

fn failed_status(reports: &Reports) -> RunStatus {
    if was_stopped(reports) { RunStatus::Stopped } else { RunStatus::Failed }
}

fn was_stopped(reports: &Reports) -> bool {
    let stopped = CliError::Stopped;
    reports.all().iter().any(|report| report.code == stopped.code())
}

fn table_error(report: &Report) -> TableError {
    TableError {
        code: report.code.clone(),
        kind: report.kind,
        retry: report.retry,
        message: report.message.clone(),
        hint: report.hint.clone(),
        causes: report.causes.clone(),
    }
}

/// The summary for people: a line per table, the errors, the sum.
fn render(summary: &Summary, style: Style) -> String {
    let heading = ["table", "status", "rows", "size", "seconds", "holds now", "target"];
    let mut rows = vec![heading.map(ToOwned::to_owned).to_vec()];
    for table in &summary.tables {
        rows.push(vec![
            table.table.clone(),
            status(table.status).to_owned(),
            grouped(table.rows),
            megabytes(table.bytes),
            format!("{:.1}", table.seconds),
            table.holds.map(held).unwrap_or_default(),
            table.target.clone(),
        ]);
    }
    let mut text = aligned(&rows, &[2, 3, 4, 5]);
    for table in &summary.tables {
        if let Some(error) = &table.error {
            text.push_str(&format!(
                "\n{}\n{}",
                style.bold(&printable::line(&table.table)),
                Report::from(error).render(style)
            ));
        }
    }
    text.push_str(&notes(summary));
    let done = summary.tables.iter().filter(|t| matches!(t.status, TableStatus::Committed | TableStatus::Unchanged));
    let per_second = summary.rows as f64 / summary.seconds.max(0.001);
    text.push_str(&format!(
        "\n{} of {} tables, {} rows, {} in {:.1} s ({} rows/s), run {}\n",
        done.count(),
        summary.tables.len(),
        grouped(summary.rows),
        megabytes(summary.bytes),
        summary.seconds,
        grouped(per_second as u64),
        summary.run_id
    ));
    if summary.status != RunStatus::Done {
        text.push_str(&format!(
            "to continue: `host run --run-id {}`, with the rest as now; tables that are committed stay as they are\n",
            summary.run_id
        ));
    }
    text
}

fn held(rows: TableRows) -> String {
    format!("{}{}", if rows.at_least { "≥ " } else { "" }, grouped(rows.rows))
}

/// What was not exact: nothing is changed in silence.
fn notes(summary: &Summary) -> String {
    let mut text = String::new();
    let mut note = |table: &TableSummary, what: &str| {
        text.push_str(&printable::line(&format!("note: {}: {what}", table.table)));
        text.push('\n');
    };
    for table in &summary.tables {
        adjustments(table).iter().for_each(|what| note(table, what));
        if let Some(rejected) = &table.rejected {
            note(table, &format!("{} rows were set aside: {}", grouped(rejected.rows), rejected.target));
        }
        if table.approximate {
            note(table, "dirty reads, rows may be missing or doubled");
        }
        if table.filtered {
            note(
                table,
                "row-level security of the source hides rows from the connection's user: these are a part of the rows",
            );
        }
        if table.several_moments {
            note(table, &format!("{} partitions, each read at its own moment", table.partitions));
        }
    }
    if !text.is_empty() {
        text.insert(0, '\n');
    }
    text
}

/// One line for each kind of adjustment, whatever the number of columns.
fn adjustments(table: &TableSummary) -> Vec<String> {
    let mut kinds: BTreeMap<&str, (Vec<&str>, u64)> = BTreeMap::new();
    for adjustment in &table.adjustments {
        let (columns, values) = kinds.entry(&adjustment.what).or_default();
        columns.push(&adjustment.column);
        *values += adjustment.values;
    }
    let line = |(what, (columns, values)): (&str, (Vec<&str>, u64))| {
        let more = columns.len().saturating_sub(NAMED_COLUMNS);
        let named = columns[..columns.len() - more].join(", ");
        let more = if more == 0 { String::new() } else { format!(" and {more} more columns") };
        format!("{what}: {} values of {named}{more}", grouped(values))
    };
    kinds.into_iter().map(line).collect()
}

fn status(status: TableStatus) -> &'static str {
    match status {
        TableStatus::Committed => "committed",
        TableStatus::Unchanged => "unchanged",
        TableStatus::Failed => "failed",
        TableStatus::Stopped => "stopped",
    }
}

#[cfg(test)]
mod tests {
    use datakit_model::source::Adjustment;
    use datakit_pipeline::RejectedRows;

    use super::*;

    fn summary() -> Summary {
        let adjustment = |column: &str| Adjustment { column: column.into(), what: "cut".into(), values: 1_000 };
        let table = TableSummary {
            table: "dbo.orders".into(),
            status: TableStatus::Committed,
            rows: 5_000,
            bytes: 1_234_567,
            seconds: 0.5,
            target: "/bronze/ERP/dbo/orders".into(),
            partitions: 2,
            holds: Some(TableRows { rows: 12_000, at_least: false }),
            several_moments: true,
            approximate: true,
            filtered: true,
            adjustments: ["a", "b", "c", "d", "e"].map(adjustment).into(),
            rejected: Some(RejectedRows { rows: 3, target: "/bronze/ERP/dbo/orders__rejected".into() }),
            error: None,
        };
        let error = TableError {
            code: "DK-SRC-032".into(),
            kind: datakit_model::Kind::Source,
            retry: datakit_model::Retry::Never,
            message: "SELECT is denied".into(),
            hint: Some("GRANT SELECT".into()),
            causes: vec!["error 229".into()],
        };
        let failed = TableSummary {
            table: "dbo.secret".into(),
            status: TableStatus::Failed,
            rows: 0,
            bytes: 0,
            seconds: 0.1,
            holds: Some(TableRows { rows: 1_000_001, at_least: true }),
            several_moments: false,
            approximate: false,
            filtered: false,
            adjustments: vec![],
            rejected: None,
            error: Some(error),
            ..table.clone()
        };
        Summary {
            run_id: "r1".into(),
            datakit: "kit".into(),
            version: "1.0.0".into(),
            digest: "sha256:00".into(),
            status: RunStatus::Failed,
            rows: 5_000,
            bytes: 1_234_567,
            seconds: 0.6,
            tables: vec![table, failed],
        }
    }

    #[test]
    fn a_summary_reads_well() {
        insta::assert_snapshot!(render(&summary(), Style { color: false }));
    }

    #[test]
    fn a_summary_is_one_json_document() {
        insta::assert_json_snapshot!(summary());
    }
}
