//! Each table with its last run: how old its rows are, where it goes on, what is wrong with it.

use std::collections::BTreeMap;

use datakit_config::Overrides;
use datakit_model::quality::RuleResult;
use datakit_model::sink::KeptState;
use datakit_model::{ColumnChange, Failure, SourceTable, TableId};
use datakit_pipeline::TableError;
use serde::Serialize;

use super::record::{RecordStatus, RecordedError, RecordedPosition, RunRecord, TableRecord, micros, now_micros};
use super::{is_table_of_runs, parsed, sinks};
use crate::context::Context;
use crate::reports::{Reports, Tables};

/// Of which tables, and how far back.
#[derive(Debug, Clone)]
pub struct StatusRequest {
    /// The sink; none: all of the configuration.
    pub sink: Option<String>,
    /// So many of the newest records of each sink are looked at.
    pub records: usize,
}

/// A table of a sink, and what its last runs did.
#[derive(Debug, Clone, Serialize)]
pub struct TableFreshness {
    /// The sink, by its name in the configuration.
    pub sink: String,
    /// The source system.
    pub source_system: String,
    /// `schema.name`.
    pub table: String,
    /// Where the table is.
    pub target: String,
    /// Commits so far.
    pub loads: i64,
    /// When the last load was committed, RFC 3339 in UTC; none: no record says so.
    pub last_commit_at: Option<String>,
    /// From the last commit until now, in seconds.
    pub lag_seconds: Option<f64>,
    /// When the last load began to read: rows that were in the source by then are in the table, as far as its strategy sees them.
    pub fresh_as_of: Option<String>,
    /// From then until now, in seconds.
    pub freshness_seconds: Option<f64>,
    /// Rows of the last commit.
    pub last_rows: Option<u64>,
    /// Where the next load goes on; none: it is a full one.
    pub next_position: Option<RecordedPosition>,
    /// The last run that was to load it.
    pub last_run: Option<LastRun>,
    /// Rules of quality that did not hold in the last run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failing_rules: Vec<RuleResult>,
    /// Why the last run did not load it; none: it did.
    pub last_error: Option<RecordedError>,
}

/// A run, as far as it is about one table.
#[derive(Debug, Clone, Serialize)]
pub struct LastRun {
    /// The run.
    pub run_id: String,
    /// The ingest.
    pub ingest: String,
    /// When it began.
    pub started_at: String,
    /// How the table ended; where the run has not ended or could not start, how that is.
    pub status: String,
    /// Columns of the source that were not those of the table, and what became of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<ColumnChange>,
}

/// The tables of all sinks, or of one, by name. A table that no run has committed yet is in the list when a record names it.
///
/// # Errors
/// The configuration is invalid, a sink cannot be reached, or the work was stopped.
pub async fn status(context: &Context, request: &StatusRequest) -> Result<Tables<TableFreshness>, Reports> {
    context.unless_stopped(asked(context, request)).await
}

async fn asked(context: &Context, request: &StatusRequest) -> Result<Tables<TableFreshness>, Reports> {
    let config = context.config(Overrides::default())?;
    let (mut tables, mut failures) = (Vec::new(), Vec::new());
    for (name, sink) in sinks(context, &config, request.sink.as_deref())? {
        // One that cannot be read hides what it says, and nothing else.
        let kept = sink.records(None, request.records).await?;
        let records: Vec<RunRecord> = kept.iter().filter_map(|kept| parsed(kept).ok()).collect();
        let states = sink.states().await?;
        tables.extend(tables_of(&name, states, &records, now_micros(), &mut failures));
    }
    Ok(Tables { tables, failures: Reports::of_tables(failures) })
}

/// `records`: newest first.
fn tables_of(
    sink: &str,
    states: Vec<KeptState>,
    records: &[RunRecord],
    now: i64,
    failures: &mut Vec<(TableId, Failure)>,
) -> Vec<TableFreshness> {
    let mut tables: BTreeMap<(String, String), TableFreshness> = BTreeMap::new();
    for state in states.into_iter().filter(|state| !is_table_of_runs(&state.source_system, &state.table)) {
        let key = (state.source_system.clone(), state.table.to_string());
        let mut table = unknown(sink, &key, state.target);
        match state.document {
            Ok(document) => {
                let source = SourceTable::new(&state.source_system, &state.table);
                table.loads = document.sequence;
                table.last_rows = Some(document.written.rows);
                table.next_position = document.state(&source).watermark.as_deref().map(RecordedPosition::of);
                let run_ids = std::iter::once(&document.load.run_id).chain(&document.earlier_run_ids);
                table.committed_by(run_ids.map(String::as_str), records, now);
            }
            Err(failure) => {
                table.last_error = Some(RecordedError::from(&TableError::from(&failure)));
                failures.push((state.table, failure));
            }
        }
        tables.insert(key, table);
    }
    for record in records {
        for table in &record.tables {
            let key = (record.source_system.clone().unwrap_or_default(), table.table.clone());
            tables.entry(key.clone()).or_insert_with(|| unknown(sink, &key, table.target.clone()));
        }
    }
    let with_last_run = |(_, table)| with_last_run(table, records);
    tables.into_iter().map(with_last_run).collect()
}

fn unknown(sink: &str, (source_system, table): &(String, String), target: String) -> TableFreshness {
    TableFreshness {
        sink: sink.to_owned(),
        source_system: source_system.clone(),
        table: table.clone(),
        target,
        loads: 0,
        last_commit_at: None,
        lag_seconds: None,
        fresh_as_of: None,
        freshness_seconds: None,
        last_rows: None,
        next_position: None,
        last_run: None,
        failing_rules: Vec::new(),
        last_error: None,
    }
}

impl TableFreshness {
    /// The times of the commit, from the record of its run, newest first. A backfill makes no row fresher: then they are those of
    /// the load before it.
    fn committed_by<'i>(&mut self, run_ids: impl Iterator<Item = &'i str>, records: &[RunRecord], now: i64) {
        let committed = |run_id: &str| {
            // When a record was rebuilt nobody knew its times.
            let of_run = |record: &&RunRecord| record.run_id == run_id && record.status != RecordStatus::Rebuilt;
            records.iter().filter(of_run).find_map(|record| {
                let table = find(record, &self.source_system, &self.table)?;
                (table.status == "committed").then_some((table, record))
            })
        };
        let commits = run_ids.map(committed);
        let load = commits.take_while(Option::is_some).flatten().find(|(table, _)| table.backfill.is_none());
        let Some((ended_at, started_at)) = load.map(|(table, record)| (table.ended_at.clone(), &record.started_at))
        else {
            return;
        };
        let since = |time: &str| micros(time).map(|time| now.saturating_sub(time).max(0) as f64 / 1e6);
        self.lag_seconds = ended_at.as_deref().and_then(since);
        self.last_commit_at = ended_at;
        self.freshness_seconds = since(started_at);
        self.fresh_as_of = Some(started_at.clone());
    }

    fn is_of(&self, record: &RunRecord) -> bool {
        let systems = record.sources.iter().map(|source| &source.system);
        record.source_system.iter().chain(systems).any(|system| *system == self.source_system)
    }
}

fn find<'r>(record: &'r RunRecord, source_system: &str, table: &str) -> Option<&'r TableRecord> {
    record.source_system.as_deref().filter(|system| *system == source_system)?;
    record.tables.iter().find(|it| it.table == table)
}

/// The newest record that names the table, or that could not start where it would have been read.
fn with_last_run(mut table: TableFreshness, records: &[RunRecord]) -> TableFreshness {
    let newest = records.iter().find_map(|record| {
        let of_table = find(record, &table.source_system, &table.table);
        let hides_it = record.tables.is_empty() && record.status != RecordStatus::Done && table.is_of(record);
        (of_table.is_some() || hides_it).then_some((record, of_table))
    });
    let Some((record, of_table)) = newest else { return table };
    table.last_run = Some(LastRun {
        run_id: record.run_id.clone(),
        ingest: record.ingest.clone(),
        started_at: record.started_at.clone(),
        status: of_table.map_or_else(|| record.status.to_string(), |it| it.status.clone()),
        drift: of_table.map(|it| it.drift.clone()).unwrap_or_default(),
    });
    let rules = of_table.map(|it| it.quality.as_slice()).unwrap_or_default();
    table.failing_rules = rules.iter().filter(|rule| rule.fails()).cloned().collect();
    let error = of_table.map_or_else(|| record.first_error(), |it| it.error.as_ref()).cloned();
    table.last_error = table.last_error.or(error);
    table
}

#[cfg(test)]
mod tests {
    use datakit_model::sink::RecordName;
    use serde_json::json;

    use super::*;

    const HOUR: i64 = 3_600_000_000;

    fn record(run_id: &str, hour: i64, status: &str, tables: serde_json::Value) -> RunRecord {
        let name = RecordName { started_at_micros: hour * HOUR, run_id: run_id.to_owned(), ingest: "1".to_owned() };
        let started_at = super::super::record::rfc3339(name.started_at_micros);
        let ended_at = super::super::record::rfc3339(name.started_at_micros + HOUR / 2);
        let error = |it: &serde_json::Value| {
            let message = it["error"].as_str()?;
            Some(
                json!({"code": "DK-SRC-001", "kind": "source", "retry": "after-backoff", "message": message, "hint": null}),
            )
        };
        let tables: Vec<_> = tables.as_array().unwrap().iter().map(|it| json!({
            "table": it["table"], "target": "t", "status": it["status"], "started_at": started_at, "ended_at": ended_at,
            "seconds": 1.0, "rows": 2, "bytes": 3, "partitions": 1, "retries": 0, "rejected": 0, "holds": null,
            "consistent_snapshot": true, "approximate": false, "filtered": false, "schema": [],
            "position_before": null, "position_after": null, "quality": it.get("quality").cloned().unwrap_or_else(|| json!([])),
            "error": error(it),
        })).collect();
        serde_json::from_value(json!({
            "version": 1, "run_id": run_id, "ingest": "1", "status": status, "started_at": started_at,
            "ended_at": ended_at, "seconds": 1.0, "host": "0", "source_system": "ERP",
            "datakit": {"reference": "kit@1", "name": "kit", "version": "1", "digest": "sha256:0"},
            "sources": [{"role": "source", "connection": "erp", "kind": "sqlserver", "system": "ERP"}],
            "sink": {"name": "bronze", "kind": "delta"}, "grants": {"tables": "*.*", "keys": []}, "mode": null,
            "rows": 0, "bytes": 0, "retries": 0, "tables": tables, "errors": [],
        }))
        .unwrap()
    }

    fn state(table: &str, run_id: &str) -> KeptState {
        let document = json!({
            "version": 1, "sequence": 4, "written": {"rows": 2},
            "positions": [{"source": {"system": "ERP", "schema": "dbo", "table": table}, "watermark": "w"}],
            "load": {"run_id": run_id, "consistent_snapshot": true, "approximate": false, "filtered": false,
                "datakit": "kit@1", "digest": "sha256:0"},
        });
        KeptState {
            source_system: "ERP".to_owned(),
            table: TableId::new("dbo", table),
            target: "t".to_owned(),
            document: Ok(serde_json::from_value(document).unwrap()),
        }
    }

    fn found(states: Vec<KeptState>, records: &[RunRecord], hour: i64) -> Vec<TableFreshness> {
        tables_of("bronze", states, records, hour * HOUR, &mut Vec::new())
    }

    #[test]
    fn lag_counts_from_the_commit_and_freshness_from_the_start() {
        let records = [
            record("2", 5, "failed", json!([{"table": "dbo.a", "status": "failed", "error": "no way"}])),
            record("1", 1, "done", json!([{"table": "dbo.a", "status": "committed"}])),
        ];
        let table = &found(vec![state("a", "1")], &records, 7)[0];
        assert_eq!((table.lag_seconds, table.freshness_seconds), (Some(5.5 * 3600.0), Some(6.0 * 3600.0)));
        assert_eq!(table.last_commit_at.as_deref(), Some("1970-01-01T01:30:00.000000Z"));
        assert_eq!(table.last_run.as_ref().unwrap().status, "failed");
        assert_eq!(table.last_error.as_ref().unwrap().message, "no way");
        assert_eq!(table.next_position, Some(RecordedPosition::Text("w".to_owned())));
    }

    #[test]
    fn backfill_makes_no_row_fresher() {
        let mut backfill = record("2", 5, "done", json!([{"table": "dbo.a", "status": "committed"}]));
        let columns = vec!["extra".to_owned()];
        backfill.tables[0].backfill = Some(datakit_model::backfill::Backfilled { columns, rows: None });
        let load = record("1", 1, "done", json!([{"table": "dbo.a", "status": "committed"}]));
        let mut last = state("a", "2");
        last.document.as_mut().unwrap().earlier_run_ids = vec!["1".to_owned()];
        let table = &found(vec![last], &[backfill, load], 7)[0];
        assert_eq!((table.lag_seconds, table.freshness_seconds), (Some(5.5 * 3600.0), Some(6.0 * 3600.0)));
        assert_eq!(table.last_run.as_ref().unwrap().run_id, "2");
    }

    #[test]
    fn rules_that_do_not_hold_are_those_of_the_last_run() {
        let rule = |status: &str| {
            json!({"rule": status, "kind": "not_null", "declared_by": "operator", "severity": "warn", "columns": ["id"],
                "checked": 5, "failed": 1, "status": status})
        };
        let table = |quality: serde_json::Value| json!([{"table": "dbo.a", "status": "committed", "quality": quality}]);
        let older = record("1", 1, "done", table(json!([rule("stopped")])));
        let newer = record("2", 5, "done", table(json!([rule("warned"), rule("passed"), rule("off")])));
        let found = &found(vec![state("a", "2")], &[newer, older], 7)[0];
        let failing: Vec<_> = found.failing_rules.iter().map(ToString::to_string).collect();
        assert_eq!(failing, ["`warned` (not_null of id): 1 of 5 rows fail"]);
    }

    #[test]
    fn error_of_an_earlier_run_is_gone_after_a_commit() {
        let records = [
            record("2", 5, "done", json!([{"table": "dbo.a", "status": "committed"}])),
            record("1", 1, "failed", json!([{"table": "dbo.a", "status": "failed", "error": "no way"}])),
        ];
        let table = &found(vec![state("a", "2")], &records, 7)[0];
        assert_eq!((table.last_error.as_ref(), table.loads), (None, 4));
    }

    #[test]
    fn table_without_a_commit_and_run_that_could_not_start_are_shown() {
        let records = [
            record("2", 5, "failed", json!([])),
            record("1", 1, "failed", json!([{"table": "dbo.b", "status": "failed", "error": "no way"}])),
        ];
        let tables = found(vec![state("a", "0")], &records, 7);
        let shown: Vec<_> = tables.iter().map(|it| (it.table.as_str(), it.loads, it.lag_seconds)).collect();
        assert_eq!(shown, [("dbo.a", 4, None), ("dbo.b", 0, None)]);
        assert!(tables.iter().all(|table| table.last_run.as_ref().unwrap().run_id == "2"));
    }
}
