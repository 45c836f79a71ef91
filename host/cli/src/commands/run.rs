//! `host run`: read, write, commit, and tell how it went.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use datakit_app::{
    EndedIngest, Report, Reports, RunRequest, RunStatus, Summary, TableError, TableRows, TableStatus, TableSummary,
    new_run_id,
};
use datakit_config::Mode;
use datakit_model::{Exit, printable};
use serde::Serialize;

use super::backfill::done;
use super::{Session, drift_of, ingest_of, mode_of, receipt_of};
use crate::arguments::{OutputFormat, Run};
use crate::exit;
use crate::report::{Style, render_one};
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

pub(super) async fn run(arguments: Run, session: &Session) -> Result<Exit, Reports> {
    let json = arguments.ingest.output == OutputFormat::Json;
    asked(request(arguments), "run", json, session).await
}

/// Runs what is asked for, by the command of this name.
pub(super) async fn asked(request: RunRequest, command: &str, json: bool, session: &Session) -> Result<Exit, Reports> {
    let reference = request.ingest.datakit.clone();
    let run_id = request.run_id.clone();
    let begin = Instant::now();
    let not_started = |reports: Reports| match json {
        true => session
            .terminal
            .print_json(&not_started(&run_id, reference.as_deref(), &reports))
            .map_or_else(Reports::from, |()| reports),
        false => reports,
    };
    let preparing = datakit_app::Run::prepare(&session.context, request);
    let mut run = session.answer(preparing).await.map_err(not_started)?;
    let is_alone = run.ingests() == 1;
    let mut ended = Vec::new();
    while let Some(ingest) = run.next().await {
        if is_alone {
            let summary = ingest.outcome.map_err(not_started)?;
            match json {
                true => session.terminal.print_json(&summary)?,
                false => session.terminal.print(&render(&summary, command, session.terminal.output_style))?,
            }
            return Ok(exit::of_summary(&summary));
        }
        show(&ingest, json, session)?;
        ended.push(ingest);
    }
    if json {
        session.terminal.print_json(&several(&run_id, &ended, begin.elapsed()))?;
    } else {
        let done = ended.iter().filter(|ended| ended.status().is_done()).count();
        session.terminal.print(&format!("{done} of {} ingests, run {run_id}\n", ended.len()))?;
    }
    Ok(exit::of_ingests(&ended))
}

fn request(arguments: Run) -> RunRequest {
    RunRequest {
        run_id: arguments.run_id.unwrap_or_else(new_run_id),
        mode: if arguments.full_refresh { Some(Mode::Overwrite) } else { mode_of(&arguments.mode) },
        drift: drift_of(&arguments.drift),
        replaces_columns: arguments.full_refresh,
        receipt: receipt_of(arguments.receipt),
        parallel: arguments.parallel,
        health: arguments.health,
        metrics_file: arguments.metrics_file,
        ingest: ingest_of(arguments.ingest),
        backfill: None,
    }
}

/// One of several ingests. In JSON, all are in the one document at the end.
fn show(ended: &EndedIngest, json: bool, session: &Session) -> Result<(), Reports> {
    match &ended.outcome {
        Ok(summary) if !json => {
            let style = session.terminal.output_style;
            let title = style.bold(&format!("ingest {}", printable::line(&ended.ingest)));
            session.terminal.print(&format!("{title}\n{}\n", render(summary, "run", style)))?;
        }
        Ok(_) => {}
        Err(reports) => session.terminal.report(reports),
    }
    Ok(())
}

fn several<'a>(run_id: &'a str, ended: &'a [EndedIngest], took: Duration) -> SeveralIngests<'a> {
    let summaries = || ended.iter().filter_map(|ended| ended.outcome.as_ref().ok());
    let all = |status| ended.iter().all(|ended| ended.status() == status);
    let status = if all(RunStatus::Done) {
        RunStatus::Done
    } else if ended.iter().all(|ended| ended.status().is_done()) {
        RunStatus::Drift
    } else if ended.iter().any(|ended| ended.status() == RunStatus::Stopped) {
        RunStatus::Stopped
    } else {
        RunStatus::Failed
    };
    let tables = ended
        .iter()
        .flat_map(|ended| ended.tables().iter().map(move |table| TableOfIngest { ingest: &ended.ingest, table }));
    let ingest = |ended: &'a EndedIngest| {
        let summary = ended.outcome.as_ref().ok();
        let errors = ended.outcome.as_ref().err().map(Reports::table_errors);
        let (name, version) = named(&ended.datakit);
        IngestSummary {
            ingest: &ended.ingest,
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

fn not_started<'a>(run_id: &'a str, reference: Option<&'a str>, reports: &Reports) -> NotStarted<'a> {
    let reference = reference.map(named);
    NotStarted {
        run_id,
        datakit: reference.map(|(name, _)| name),
        version: reference.and_then(|(_, version)| version),
        digest: None,
        status: reports.run_status(),
        rows: 0,
        bytes: 0,
        seconds: 0.0,
        tables: [],
        errors: reports.table_errors(),
    }
}

/// The summary for people: a line per table, the errors, the sum.
fn render(summary: &Summary, command: &str, style: Style) -> String {
    let heading = ["table", "status", "rows", "size", "seconds", "holds now", "target"];
    let mut rows = vec![heading.map(ToOwned::to_owned).to_vec()];
    for table in &summary.tables {
        rows.push(vec![
            table.table.clone(),
            status(table).to_owned(),
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
                render_one(&Report::from(error), style)
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
    if !summary.status.is_done() {
        text.push_str(&format!(
            "to continue: `host {command} --run-id {}`, with the rest as now; tables that are committed stay as they are\n",
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
        table.drift.iter().for_each(|change| note(table, &change.to_string()));
        adjustments(table).iter().for_each(|what| note(table, what));
        if let Some(backfill) = &table.backfill {
            note(table, &format!("backfill: {}", done(backfill)));
        }
        if let Some(rejected) = &table.rejected {
            note(table, &format!("{} rows were rejected: {}", grouped(rejected.rows), rejected.target));
        }
        for found in table.quality.iter().filter(|found| found.fails()) {
            note(table, &format!("quality: {found}"));
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
        if !table.consistent_snapshot {
            note(table, &format!("no consistent snapshot: {} partitions, each read at its own time", table.partitions));
        }
    }
    text.push_str(&shared(summary));
    if !text.is_empty() {
        text.insert(0, '\n');
    }
    text
}

/// How many tables were read once for several ingests: a line for each set of ingests.
fn shared(summary: &Summary) -> String {
    let mut sets: BTreeMap<&[String], usize> = BTreeMap::new();
    for table in summary.tables.iter().filter(|table| !table.shared_with.is_empty()) {
        *sets.entry(table.shared_with.as_slice()).or_default() += 1;
    }
    let line = |(others, tables): (&[String], usize)| {
        let tables = if tables == 1 { "1 table was".to_owned() } else { format!("{tables} tables were") };
        let text = format!("note: {tables} read once, together with ingest {}", others.join(", "));
        format!("{}\n", printable::line(&text))
    };
    sets.into_iter().map(line).collect()
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

fn status(table: &TableSummary) -> &'static str {
    match table.status {
        TableStatus::Committed | TableStatus::Unchanged if !table.drift.is_empty() => "drift",
        TableStatus::Committed => "committed",
        TableStatus::Unchanged => "unchanged",
        TableStatus::Failed => "failed",
        TableStatus::Stopped => "stopped",
    }
}

#[cfg(test)]
mod tests {
    use datakit_app::{DeclaredBy, RejectedRows, RuleResult, RuleStatus, Severity};
    use datakit_model::receipt::{Delivered, Receipt};
    use datakit_model::source::Adjustment;

    use super::*;

    fn rule(status: RuleStatus, failed: u64) -> RuleResult {
        RuleResult {
            rule: "amounts".into(),
            kind: "range".into(),
            declared_by: DeclaredBy::Operator,
            severity: Severity::Warn,
            columns: vec!["amount".into()],
            checked: 5_000,
            failed,
            status,
            reason: None,
        }
    }

    fn summary() -> Summary {
        let adjustment = |column: &str| Adjustment { column: column.into(), what: "cut".into(), values: 1_000 };
        let table = TableSummary {
            rows: 5_000,
            bytes: 1_234_567,
            seconds: 0.5,
            target: "/bronze/ERP/dbo/orders".into(),
            partitions: 2,
            holds: Some(TableRows { rows: 12_000, at_least: false }),
            consistent_snapshot: false,
            approximate: true,
            filtered: true,
            adjustments: ["a", "b", "c", "d", "e"].map(adjustment).into(),
            rejected: Some(RejectedRows { rows: 3, target: "/bronze/ERP/dbo/orders__rejected".into() }),
            quality: vec![rule(RuleStatus::Warned, 2), rule(RuleStatus::Passed, 0)],
            receipt: Some(Receipt::new(&Delivered { rows: 5_000, checksum: None }).with_rejected(3)),
            ..TableSummary::new("dbo.orders", TableStatus::Committed)
        };
        let error = TableError {
            code: "DK-SRC-032".into(),
            kind: datakit_model::Kind::Source,
            retry: datakit_model::Retry::Never,
            is_mismatch: false,
            message: "SELECT is denied".into(),
            hint: Some("GRANT SELECT".into()),
            causes: vec!["error 229".into()],
        };
        let failed = TableSummary {
            seconds: 0.1,
            target: table.target.clone(),
            partitions: 2,
            holds: Some(TableRows { rows: 1_000_001, at_least: true }),
            error: Some(error),
            ..TableSummary::new("dbo.secret", TableStatus::Failed)
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
        insta::assert_snapshot!(render(&summary(), "run", Style { color: false }));
    }

    #[test]
    fn a_summary_is_one_json_document() {
        insta::assert_json_snapshot!(summary());
    }
}
