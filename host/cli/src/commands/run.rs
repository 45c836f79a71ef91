//! `host run`: read, write, commit, and tell how it went.

use std::sync::Arc;
use std::time::Duration;

use datakit_config::{Mode, Overrides};
use datakit_model::Coded;
use datakit_pipeline::{RunStatus, Summary, TableError, TableStatus};
use datakit_sinks::WriteMode as SinkMode;
use serde::Serialize;
use tracing::Instrument;

use super::{JobRequest, job, overrides, selection};
use crate::arguments::{OutputFormat, Run, WriteMode};
use crate::context::Context;
use crate::error::CliError;
use crate::progress::Progress;
use crate::report::{Report, Reports};
use crate::terminal::{aligned, grouped, megabytes};

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

pub(crate) async fn run(arguments: Run, context: &Context) -> Result<u8, Reports> {
    let request = JobRequest::new(arguments.run_id.clone(), arguments.ingest.locked);
    let run_id = request.run.run_id.clone();
    let json = arguments.ingest.output == OutputFormat::Json;
    match started(&arguments, context, request).await {
        Ok(summary) => {
            if json {
                context.terminal.print_json(&summary)?;
            } else {
                context.terminal.print(&render(&summary, context))?;
            }
            Ok(summary.exit_code())
        }
        Err(reports) => {
            if json {
                context.terminal.print_json(&not_started(&run_id, &arguments, &reports))?;
            }
            Err(reports)
        }
    }
}

async fn started(arguments: &Run, context: &Context, request: JobRequest) -> Result<Summary, Reports> {
    let mode = arguments.mode.map(|mode| match mode {
        WriteMode::Append => Mode::Append,
        WriteMode::Overwrite => Mode::Overwrite,
    });
    let flags = Overrides { parallel: arguments.parallel, mode, ..overrides(&arguments.ingest) };
    let config = context.config(flags)?;
    let ingest = config.ingest(&selection(&arguments.ingest))?;
    let sink = context.sink(config.sink_of(&ingest)?)?;
    let mode = match ingest.mode {
        Mode::Append => SinkMode::Append,
        Mode::Overwrite => SinkMode::Overwrite,
    };
    let preparing = job(context, &config, &ingest, request);
    let Some(job) = context.stop.run_until_cancelled(preparing).await else {
        return Err(CliError::Stopped.into());
    };
    let job = job?;
    let run = job.run();
    context.terminal.say_line(&format!("{}@{} ({}), run {}", run.datakit, run.version, run.digest, run.run_id));
    let progress = Arc::new(Progress::new(context.terminal.clone()));
    let patience = Duration::from_millis(config.limits.run.abort_timeout_ms);
    let span = tracing::error_span!("run", run_id = %job.run().run_id);
    let work = datakit_pipeline::run(job, sink, mode, progress, context.stop.clone()).instrument(span);
    let impatience = async {
        context.stop.cancelled().await;
        tokio::time::sleep(patience).await;
    };
    tokio::select! {
        summary = work => Ok(summary?),
        // What was written so far is in no commit: leaving it is as clean, only less tidy.
        () = impatience => Err(CliError::Stopped.into()),
    }
}

fn not_started<'a>(run_id: &'a str, arguments: &'a Run, reports: &Reports) -> NotStarted<'a> {
    let reference = arguments.ingest.datakit.as_deref();
    let errors = reports.all().iter().map(table_error).collect();
    NotStarted {
        run_id,
        datakit: reference.and_then(|reference| reference.split('@').next()),
        version: reference.and_then(|reference| reference.split_once('@')).map(|(_, v)| v).filter(|v| !v.contains(':')),
        digest: None,
        status: if was_stopped(reports) { RunStatus::Stopped } else { RunStatus::Failed },
        rows: 0,
        bytes: 0,
        seconds: 0.0,
        tables: [],
        errors,
    }
}

fn was_stopped(reports: &Reports) -> bool {
    let stopped = CliError::Stopped;
    reports.all().iter().any(|report| report.code == stopped.code())
}

fn table_error(report: &Report) -> TableError {
    TableError {
        code: report.code.clone(),
        kind: report.kind,
        message: report.message.clone(),
        hint: report.hint.clone(),
        causes: report.causes.clone(),
    }
}

/// The summary for people: a line per table, the errors, the sum.
fn render(summary: &Summary, context: &Context) -> String {
    let style = context.terminal.output_style;
    let mut rows = vec![["table", "status", "rows", "size", "seconds", "target"].map(ToOwned::to_owned).to_vec()];
    for table in &summary.tables {
        rows.push(vec![
            table.table.clone(),
            status(table.status).to_owned(),
            grouped(table.rows),
            megabytes(table.bytes),
            format!("{:.1}", table.seconds),
            table.target.clone(),
        ]);
    }
    let mut text = aligned(&rows, &[2, 3, 4]);
    for table in &summary.tables {
        if let Some(error) = &table.error {
            text.push_str(&format!("\n{}\n{}", style.bold(&table.table), Report::from(error).render(style)));
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
    text
}

/// What was not exact: nothing is changed in silence.
fn notes(summary: &Summary) -> String {
    let mut text = String::new();
    for table in &summary.tables {
        for adjustment in &table.adjustments {
            let (column, what) = (&adjustment.column, &adjustment.what);
            text.push_str(&format!("note: {}: {column}: {what}, {} values\n", table.table, grouped(adjustment.values)));
        }
        if table.approximate {
            text.push_str(&format!("note: {}: dirty reads, rows may be missing or doubled\n", table.table));
        }
        if table.several_moments {
            let parts = table.partitions;
            text.push_str(&format!("note: {}: {parts} partitions, each read at its own moment\n", table.table));
        }
    }
    if !text.is_empty() {
        text.insert(0, '\n');
    }
    text
}

fn status(status: TableStatus) -> &'static str {
    match status {
        TableStatus::Committed => "committed",
        TableStatus::Unchanged => "unchanged",
        TableStatus::Failed => "failed",
        TableStatus::Stopped => "stopped",
    }
}
