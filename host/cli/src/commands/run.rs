//! `host run`: read, write, commit, and tell how it went.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use datakit_config::{Ingest, Mode, Overrides};
use datakit_model::Coded;
use datakit_pipeline::{RunStatus, Summary, TableError, TableStatus, TableSummary};
use datakit_sinks::Sink;
use serde::Serialize;
use tracing::Instrument;

use super::{Connections, JobRequest, connections, job_of, overrides, selection};
use crate::arguments::{OutputFormat, Run, WriteMode};
use crate::context::Context;
use crate::error::CliError;
use crate::health::{self, Checks, Endpoint};
use crate::progress::Progress;
use crate::report::{Report, Reports, Style, printable};
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

pub(crate) async fn run(arguments: Run, context: &Context) -> Result<u8, Reports> {
    let request = JobRequest::new(arguments.run_id.clone(), arguments.ingest.locked);
    let run_id = request.run.run_id.clone();
    let json = arguments.ingest.output == OutputFormat::Json;
    match started(&arguments, context, request).await {
        Ok(summary) => {
            if json {
                context.terminal.print_json(&summary)?;
            } else {
                context.terminal.print(&render(&summary, context.terminal.output_style))?;
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
    let sink = context.sink(config.sink_of(&ingest)?, &config)?;
    let mode = super::sink_mode(ingest.mode);
    // Secrets first: a missing one should not wait for a download.
    let connections = connections(context, &config, &ingest)?;
    let health = match arguments.health {
        Some(address) => Some(serve_health(context, address, &connections, &ingest, &sink).await?),
        None => None,
    };
    let preparing = job_of(context, &config, &ingest, request, &connections);
    let Some(job) = context.stop.run_until_cancelled(preparing).await else {
        return Err(CliError::Stopped.into());
    };
    let job = job?;
    let run = job.run();
    context.terminal.say_line(&format!("{}@{} ({}), run {}", run.datakit, run.version, run.digest, run.run_id));
    if let Some((checks, _)) = &health {
        checks.start();
    }
    let progress = Arc::new(Progress::new(context.terminal.clone()));
    let span = tracing::error_span!("run", run_id = %job.run().run_id);
    Ok(datakit_pipeline::run(job, sink, mode, progress, context.stop.clone()).instrument(span).await?)
}

/// Answers about this run's connections and sink for as long as the endpoint lives.
async fn serve_health(
    context: &Context,
    address: SocketAddr,
    connections: &Connections,
    ingest: &Ingest,
    sink: &Arc<dyn Sink>,
) -> Result<(Arc<Checks>, Endpoint), CliError> {
    let connections = connections.iter().map(|(name, connected)| (name.clone(), connected.clone()));
    let sink = (ingest.sink.clone().unwrap_or_default(), Arc::clone(sink));
    let checks = Arc::new(Checks::new(connections, [sink]));
    let endpoint = health::serve(address, Arc::clone(&checks) as Arc<dyn health::Health>).await?;
    context.terminal.say_line(&format!("health endpoint: http://{}/health/ready", endpoint.address()));
    Ok((checks, endpoint))
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
fn render(summary: &Summary, style: Style) -> String {
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
    let mut note = |table: &TableSummary, what: &str| text.push_str(&format!("note: {}: {what}\n", table.table));
    for table in &summary.tables {
        adjustments(table).iter().for_each(|what| note(table, what));
        if let Some(rejected) = &table.rejected {
            note(table, &format!("{} rows were set aside: {}", grouped(rejected.rows), rejected.target));
        }
        if table.approximate {
            note(table, "dirty reads, rows may be missing or doubled");
        }
        if table.several_moments {
            note(table, &format!("{} partitions, each read at its own moment", table.partitions));
        }
    }
    if !text.is_empty() {
        text.insert(0, '\n');
    }
    printable(&text)
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
            several_moments: true,
            approximate: true,
            adjustments: ["a", "b", "c", "d", "e"].map(adjustment).into(),
            rejected: Some(RejectedRows { rows: 3, target: "/bronze/ERP/dbo/orders__rejected".into() }),
            error: None,
        };
        let error = TableError {
            code: "DK-SRC-032".into(),
            kind: datakit_model::Kind::Source,
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
            several_moments: false,
            approximate: false,
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
