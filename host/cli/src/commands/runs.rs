//! `host runs`: what each run did. `host status`: each table with its last run.

use datakit_app::{
    ColumnChange, RebuiltRuns, RecordStatus, Reports, RunRecord, RunsRequest, StatusRequest, TableFreshness,
    TableRecord, Tables, rebuild_runs, run_records,
};
use datakit_model::printable;
use datakit_model::receipt::{MergedRows, Receipt};

use super::{Session, backfill, failures};
use crate::arguments::{OutputFormat, Runs, RunsList, RunsRebuild, RunsShow, Status};
use crate::terminal::{aligned, grouped, megabytes};

/// The longest error in a line of a list, in characters.
const MAX_ERROR_CHARS: usize = 80;
/// The longest position in a line of a list, in characters.
const MAX_POSITION_CHARS: usize = 60;

pub(super) async fn runs(command: Runs, session: &Session) -> Result<(), Reports> {
    match command {
        Runs::List(arguments) => list(arguments, session).await,
        Runs::Show(arguments) => show(arguments, session).await,
        Runs::Rebuild(arguments) => rebuild(arguments, session).await,
    }
}

async fn list(RunsList { sink, limit, output }: RunsList, session: &Session) -> Result<(), Reports> {
    let request = RunsRequest { sink, newest: limit as usize };
    let Tables { tables, failures: failed } = session.answer(datakit_app::runs(&session.context, &request)).await?;
    match output {
        OutputFormat::Json => session.terminal.print_json(&tables)?,
        OutputFormat::Text => session.terminal.print(&lines(&tables))?,
    }
    failures(failed)
}

async fn show(RunsShow { run_id, sink, output }: RunsShow, session: &Session) -> Result<(), Reports> {
    let asking = run_records(&session.context, sink.as_deref(), &run_id);
    let Tables { tables, failures: failed } = session.answer(asking).await?;
    match output {
        OutputFormat::Json => session.terminal.print_json(&tables)?,
        OutputFormat::Text => {
            let texts: Vec<String> = tables.iter().map(render).collect();
            session.terminal.print(&texts.join("\n"))?;
        }
    }
    failures(failed)
}

async fn rebuild(RunsRebuild { sink, output }: RunsRebuild, session: &Session) -> Result<(), Reports> {
    let rebuilt = session.answer(rebuild_runs(&session.context, sink.as_deref())).await?;
    match output {
        OutputFormat::Json => session.terminal.print_json(&rebuilt)?,
        OutputFormat::Text => {
            let line = |RebuiltRuns { sink, target, records, commits_added }: &RebuiltRuns| {
                let text = format!("{sink}: {records} records, {commits_added} commits added, {target}");
                format!("{}\n", printable::line(&text))
            };
            session.terminal.print(&rebuilt.iter().map(line).collect::<String>())?;
        }
    }
    Ok(())
}

pub(super) async fn status(Status { sink, runs, output }: Status, session: &Session) -> Result<(), Reports> {
    let request = StatusRequest { sink, records: runs as usize };
    let Tables { tables, failures: failed } = session.answer(datakit_app::status(&session.context, &request)).await?;
    match output {
        OutputFormat::Json => session.terminal.print_json(&tables)?,
        OutputFormat::Text => session.terminal.print(&freshness(&tables))?,
    }
    failures(failed)
}

fn lines(records: &[RunRecord]) -> String {
    let heading = ["run", "ingest", "status", "started", "seconds", "tables", "rows", "size", "sink", "error"];
    let mut rows = vec![heading.map(ToOwned::to_owned).to_vec()];
    for record in records {
        let committed = record.tables.iter().filter(|table| matches!(table.status.as_str(), "committed" | "unchanged"));
        rows.push(vec![
            record.run_id.clone(),
            record.ingest.clone(),
            record.status.to_string(),
            to_seconds(&record.started_at),
            record.seconds.map(|seconds| format!("{seconds:.1}")).unwrap_or_default(),
            format!("{}/{}", committed.count(), record.tables.len()),
            grouped(record.rows),
            megabytes(record.bytes),
            record.sink.name.clone(),
            record.first_error().map(|error| error.code.clone()).unwrap_or_default(),
        ]);
    }
    aligned(&rows, &[4, 5, 6, 7])
}

/// A time without its fraction.
fn to_seconds(time: &str) -> String {
    time.split_once('.').map_or_else(|| time.to_owned(), |(seconds, _)| format!("{seconds}Z"))
}

fn render(record: &RunRecord) -> String {
    let sources = record.sources.iter().map(|it| format!("{} ({}, {})", it.connection, it.kind, it.system));
    let mut rows = vec![
        ("run", record.run_id.clone()),
        ("ingest", record.ingest.clone()),
        ("status", status_text(record)),
        ("started", record.started_at.clone()),
        ("ended", record.ended_at.clone().unwrap_or_default()),
        ("datakit", format!("{} {}", record.datakit.reference, record.datakit.digest.as_deref().unwrap_or_default())),
        ("sources", sources.collect::<Vec<_>>().join(", ")),
        ("sink", format!("{} ({})", record.sink.name, record.sink.kind)),
        ("granted", record.grants.tables.clone()),
        ("rows", grouped(record.rows)),
        ("size", megabytes(record.bytes)),
        ("retries", record.retries.to_string()),
    ];
    rows.extend(record.errors.iter().map(|error| ("error", format!("{}: {}", error.code, error.message))));
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    let mut text = aligned(&rows, &[]);
    if !record.tables.is_empty() {
        text.push('\n');
        text.push_str(&tables(record));
        text.push_str(&drift(record));
        text.push_str(&backfills(record));
    }
    text
}

fn status_text(record: &RunRecord) -> String {
    match record.status {
        RecordStatus::Started => "started, and not ended: it is under way, or it was killed".to_owned(),
        RecordStatus::Rebuilt => "rebuilt: nothing but its commits is known".to_owned(),
        status => status.to_string(),
    }
}

fn tables(record: &RunRecord) -> String {
    let heading =
        ["table", "status", "rows", "rejected", "size", "seconds", "retries", "receipt", "next position", "error"];
    let mut rows = vec![heading.map(ToOwned::to_owned).to_vec()];
    for table in &record.tables {
        let error = table.error.as_ref().map(|error| format!("{}: {}", error.code, error.message));
        rows.push(vec![
            table.table.clone(),
            status_of(&table.status, &table.drift),
            grouped(table.rows),
            grouped(table.rejected),
            megabytes(table.bytes),
            format!("{:.1}", table.seconds),
            table.retries.to_string(),
            table.receipt.as_ref().map(receipt).unwrap_or_default(),
            short(table.position_after.as_ref().map(ToString::to_string), MAX_POSITION_CHARS),
            short(error, MAX_ERROR_CHARS),
        ]);
    }
    aligned(&rows, &[2, 3, 4, 5, 6])
}

/// How a table ended, or that its columns were not those of its source.
fn status_of(status: &str, drift: &[ColumnChange]) -> String {
    match drift.len() {
        0 => status.to_owned(),
        columns => format!("drift ({columns})"),
    }
}

/// What became of columns that were not those of the table, a line each.
fn drift(record: &RunRecord) -> String {
    let line = |table: &TableRecord, change: &ColumnChange| format!("drift: {}: {change}\n", table.table);
    record.tables.iter().flat_map(|table| table.drift.iter().map(move |change| line(table, change))).collect()
}

/// What a backfill did.
fn backfills(record: &RunRecord) -> String {
    let line = |table: &TableRecord| {
        let line = format!("backfill: {}: {}", table.table, backfill::done(table.backfill.as_ref()?));
        Some(printable::line(&line).into_owned() + "\n")
    };
    record.tables.iter().filter_map(line).collect()
}

/// What was compared, and what a merge did.
fn receipt(receipt: &Receipt) -> String {
    match receipt.merged {
        None => receipt.level.to_string(),
        Some(MergedRows { inserted, updated, deleted, .. }) => {
            format!("{}: +{inserted} ~{updated} -{deleted}", receipt.level)
        }
    }
}

fn short(text: Option<String>, max_chars: usize) -> String {
    let text = text.unwrap_or_default();
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn freshness(tables: &[TableFreshness]) -> String {
    let heading =
        ["sink", "source system", "table", "loads", "lag", "as of", "last run", "next position", "last error"];
    let mut rows = vec![heading.map(ToOwned::to_owned).to_vec()];
    for table in tables {
        let error = table.last_error.as_ref().map(|error| format!("{}: {}", error.code, error.message));
        rows.push(vec![
            table.sink.clone(),
            table.source_system.clone(),
            table.table.clone(),
            table.loads.to_string(),
            table.lag_seconds.map(age).unwrap_or_default(),
            table.fresh_as_of.as_deref().map(to_seconds).unwrap_or_default(),
            table.last_run.as_ref().map(|run| status_of(&run.status, &run.drift)).unwrap_or_default(),
            short(table.next_position.as_ref().map(ToString::to_string), MAX_POSITION_CHARS),
            short(error, MAX_ERROR_CHARS),
        ]);
    }
    let broken = tables.iter().flat_map(|table| table.failing_rules.iter().map(move |rule| (&table.table, rule)));
    let broken =
        broken.map(|(table, rule)| printable::line(&format!("quality of {table}: {rule}")).into_owned() + "\n");
    aligned(&rows, &[3, 4]) + &broken.collect::<String>()
}

/// A span of time in its two largest units.
fn age(seconds: f64) -> String {
    let seconds = seconds as u64;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use datakit_app::{
        DeclaredBy, LastRun, RecordedDatakit, RecordedError, RecordedGrants, RecordedPosition, RecordedSink,
        RecordedSource, RuleResult, RuleStatus, Severity, TableRecord,
    };
    use datakit_model::receipt::Delivered;

    use super::*;

    fn error() -> RecordedError {
        RecordedError {
            code: "DK-SRC-032".into(),
            kind: "source".into(),
            retry: "never".into(),
            message: "SELECT is denied on dbo.secret".into(),
            hint: Some("GRANT SELECT".into()),
        }
    }

    fn record() -> RunRecord {
        let committed = TableRecord {
            table: "dbo.orders".into(),
            target: "/bronze/ERP/dbo/orders".into(),
            status: "committed".into(),
            started_at: Some("2026-11-21T01:00:01.000000Z".into()),
            ended_at: Some("2026-11-21T01:02:00.000000Z".into()),
            seconds: 119.0,
            rows: 1_234_567,
            bytes: 45_600_000,
            partitions: 4,
            shared_with: Vec::new(),
            retries: 1,
            rejected: 3,
            holds: Some(2_000_000),
            consistent_snapshot: true,
            approximate: false,
            filtered: false,
            schema: Vec::new(),
            drift: Vec::new(),
            position_before: None,
            position_after: Some(RecordedPosition::Text("w1:int:id=7".into())),
            quality: Vec::new(),
            receipt: Some(Receipt::new(&Delivered { rows: 1_234_567, checksum: None }).with_rejected(3)),
            backfill: None,
            error: None,
        };
        let failed = TableRecord {
            table: "dbo.secret".into(),
            status: "failed".into(),
            rows: 0,
            bytes: 0,
            retries: 0,
            rejected: 0,
            position_after: None,
            receipt: None,
            error: Some(error()),
            ..committed.clone()
        };
        RunRecord {
            version: RunRecord::VERSION,
            run_id: "nightly-1".into(),
            ingest: "erp".into(),
            status: RecordStatus::Failed,
            started_at: "2026-11-21T01:00:00.123456Z".into(),
            ended_at: Some("2026-11-21T01:02:03.500000Z".into()),
            seconds: Some(123.376_544),
            host: "0.1.0".into(),
            datakit: RecordedDatakit {
                reference: "kit@1.0.0".into(),
                name: Some("kit".into()),
                version: Some("1.0.0".into()),
                digest: Some("sha256:00".into()),
            },
            source_system: Some("ERP".into()),
            sources: vec![RecordedSource {
                role: "source".into(),
                connection: "erp".into(),
                kind: "sqlserver".into(),
                system: "ERP".into(),
            }],
            sink: RecordedSink { name: "bronze".into(), kind: "delta".into() },
            grants: RecordedGrants { tables: "dbo.*".into(), keys: vec![] },
            mode: None,
            rows: 1_234_567,
            bytes: 45_600_000,
            retries: 1,
            tables: vec![committed, failed],
            errors: vec![],
        }
    }

    #[test]
    fn run_and_list_of_runs_read_well() {
        let record = record();
        let killed = RunRecord {
            run_id: "nightly-2".into(),
            status: RecordStatus::Started,
            ended_at: None,
            seconds: None,
            rows: 0,
            bytes: 0,
            tables: vec![],
            ..record.clone()
        };
        insta::assert_snapshot!("list_of_runs", lines(&[killed.clone(), record.clone()]));
        insta::assert_snapshot!("run", render(&record));
        insta::assert_snapshot!("run_that_was_killed", render(&killed));
        insta::assert_json_snapshot!("run_as_json", record);
    }

    #[test]
    fn status_of_tables_reads_well() {
        let rule = RuleResult {
            rule: "amounts".into(),
            kind: "range".into(),
            declared_by: DeclaredBy::Operator,
            severity: Severity::Warn,
            columns: vec!["amount".into()],
            checked: 5,
            failed: 2,
            status: RuleStatus::Warned,
            reason: None,
        };
        let loaded = TableFreshness {
            sink: "bronze".into(),
            source_system: "ERP".into(),
            table: "dbo.orders".into(),
            target: "/bronze/ERP/dbo/orders".into(),
            loads: 7,
            last_commit_at: Some("2026-11-21T01:02:00.000000Z".into()),
            lag_seconds: Some(3_725.0),
            fresh_as_of: Some("2026-11-21T01:00:00.123456Z".into()),
            freshness_seconds: Some(3_800.0),
            last_rows: Some(5),
            next_position: Some(RecordedPosition::Text("w1:int:id=7".into())),
            last_run: Some(LastRun {
                run_id: "nightly-1".into(),
                ingest: "erp".into(),
                started_at: "2026-11-21T01:00:00.123456Z".into(),
                status: "committed".into(),
                drift: Vec::new(),
            }),
            failing_rules: vec![rule],
            last_error: None,
        };
        let failing = TableFreshness {
            table: "dbo.secret".into(),
            loads: 0,
            last_commit_at: None,
            lag_seconds: None,
            fresh_as_of: None,
            freshness_seconds: None,
            last_rows: None,
            next_position: None,
            failing_rules: Vec::new(),
            last_run: loaded.last_run.clone().map(|run| LastRun { status: "failed".into(), ..run }),
            last_error: Some(error()),
            ..loaded.clone()
        };
        insta::assert_snapshot!("status", freshness(&[loaded.clone(), failing.clone()]));
        insta::assert_json_snapshot!("status_as_json", [loaded, failing]);
    }

    #[test]
    fn ages_have_two_units() {
        let ages = [5.9, 61.0, 3_725.0, 90_000.0].map(age);
        assert_eq!(ages, ["5s", "1m 1s", "1h 2m", "1d 1h"]);
    }
}
