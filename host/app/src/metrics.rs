//! What a run counts, in the text format of Prometheus (docs/metrics.md). All of it comes from events.
//!
//! Every counter is there from the start, at 0. Labels are ingests, tables of the selection, servers and fixed words: their number
//! does not grow with runs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use chrono::Utc;
use datakit_model::source::PoolStatistics;
use datakit_pipeline::{RunEvent, TableStatus, TableSummary};

/// Upper bounds of the histogram of batches, in seconds.
const BUCKETS: [f64; 9] = [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0];
/// How tables end, in the order of the page.
const TABLE_STATUSES: [TableStatus; 4] =
    [TableStatus::Committed, TableStatus::Unchanged, TableStatus::Failed, TableStatus::Stopped];

/// Counts events.
pub(crate) struct Metrics {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ingests: BTreeMap<String, IngestCounts>,
    pools: BTreeMap<String, Pool>,
}

#[derive(Default)]
struct IngestCounts {
    tables: BTreeMap<String, TableCounts>,
    batches: Histogram,
    /// Tables that ended, in the order of [`TABLE_STATUSES`].
    ended: [u64; 4],
    last_end: Option<f64>,
    has_failed: bool,
}

#[derive(Default)]
struct TableCounts {
    rows_read: u64,
    bytes_read: u64,
    rows_committed: u64,
    bytes_committed: u64,
    rejected: u64,
    changed_columns: u64,
    retries: u64,
    seconds: f64,
    rows_per_second: f64,
    last_commit: Option<f64>,
    /// When the last batch was written, or the table begun.
    last_batch: Option<Instant>,
    /// By the names of rules of quality.
    rules: BTreeMap<String, RuleCounts>,
}

/// Counts of a rule of quality.
#[derive(Default)]
struct RuleCounts {
    checked: u64,
    failed: u64,
    /// The last load broke it.
    is_broken: bool,
}

#[derive(Default)]
struct Histogram {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

impl Histogram {
    fn observe(&mut self, seconds: f64) {
        for (bucket, bound) in self.buckets.iter_mut().zip(BUCKETS) {
            *bucket += u64::from(seconds <= bound);
        }
        self.count += 1;
        self.sum += seconds;
    }
}

/// Pools of connections to one server: those of ingests that have ended, and the one that is used now.
#[derive(Default)]
struct Pool {
    ended: PoolCounts,
    now: PoolStatistics,
}

#[derive(Default, Clone, Copy)]
struct PoolCounts {
    opened: u64,
    waits: u64,
    wait_ms: u64,
}

impl PoolCounts {
    fn with(self, now: &PoolStatistics) -> Self {
        Self { opened: self.opened + now.opened, waits: self.waits + now.waits, wait_ms: self.wait_ms + now.wait_ms }
    }
}

impl Metrics {
    /// Counts for these ingests.
    pub(crate) fn new<'i>(ingests: impl IntoIterator<Item = &'i str>) -> Self {
        let ingests = ingests.into_iter().map(|ingest| (ingest.to_owned(), IngestCounts::default())).collect();
        Self { state: Mutex::new(State { ingests, ..State::default() }) }
    }

    /// Counts an event of an ingest.
    pub(crate) fn count(&self, ingest: &str, event: &RunEvent) {
        self.lock().count(ingest, event);
    }

    /// A poisoned lock holds what it held: no update leaves it half done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The page.
    pub(crate) fn page(&self) -> String {
        let state = self.lock();
        let mut page = Page::default();
        state.tables(&mut page);
        state.ingests(&mut page);
        state.pools(&mut page);
        page.0
    }
}

fn now() -> f64 {
    Utc::now().timestamp_micros() as f64 / 1e6
}

impl IngestCounts {
    fn table(&mut self, table: &str) -> &mut TableCounts {
        self.tables.entry(table.to_owned()).or_default()
    }

    fn count(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Selected { tables, .. } => {
                for table in tables {
                    self.table(table);
                }
            }
            RunEvent::TableStarted { table, .. } => self.table(table).last_batch = Some(Instant::now()),
            RunEvent::BatchWritten { table, rows, bytes } => self.batch(table, *rows, *bytes),
            RunEvent::Retrying { table, .. } => self.table(table).retries += 1,
            RunEvent::TableFinished { summary } => self.finished(summary),
            RunEvent::IngestFinished { status, .. } => {
                self.last_end = Some(now());
                self.has_failed = !status.is_done();
            }
            _ => {}
        }
    }

    fn batch(&mut self, table: &str, rows: u64, bytes: u64) {
        let counts = self.table(table);
        counts.rows_read += rows;
        counts.bytes_read += bytes;
        let since = counts.last_batch.replace(Instant::now());
        if let Some(since) = since {
            self.batches.observe(since.elapsed().as_secs_f64());
        }
    }

    fn finished(&mut self, summary: &TableSummary) {
        if let Some(place) = TABLE_STATUSES.iter().position(|status| *status == summary.status) {
            self.ended[place] += 1;
        }
        let counts = self.table(&summary.table);
        counts.rows_committed += summary.rows;
        counts.bytes_committed += summary.bytes;
        counts.rejected += summary.rejected.as_ref().map_or(0, |rejected| rejected.rows);
        counts.changed_columns += summary.drift.len() as u64;
        counts.seconds = summary.seconds;
        for found in &summary.quality {
            let rule = counts.rules.entry(found.rule.clone()).or_default();
            rule.checked += found.checked;
            rule.failed += found.failed;
            rule.is_broken = found.fails();
        }
        if summary.status == TableStatus::Committed {
            counts.rows_per_second = summary.rows as f64 / summary.seconds.max(0.001);
            // A backfill makes no row fresher.
            counts.last_commit = summary.backfill.is_none().then(now).or(counts.last_commit);
        }
    }
}

impl State {
    fn count(&mut self, ingest: &str, event: &RunEvent) {
        if let RunEvent::Connections { pool, is_last } = event {
            self.pool(pool, *is_last);
        } else {
            self.ingests.entry(ingest.to_owned()).or_default().count(event);
        }
    }

    fn pool(&mut self, pool: &PoolStatistics, is_last: bool) {
        let known = self.pools.entry(pool.server.clone()).or_default();
        known.now = pool.clone();
        if is_last {
            known.ended = known.ended.with(pool);
            known.now = PoolStatistics { max_connections: pool.max_connections, ..PoolStatistics::default() };
        }
    }

    /// A sample for each table.
    fn of_tables(&self, page: &mut Page, family: Family, value: impl Fn(&TableCounts) -> Option<f64>) {
        page.family(family);
        for (ingest, counts) in &self.ingests {
            for (table, counts) in &counts.tables {
                if let Some(value) = value(counts) {
                    page.sample(family.name, &[("ingest", ingest), ("table", table)], value);
                }
            }
        }
    }

    fn tables(&self, page: &mut Page) {
        let counters: [OfTables<u64>; 7] = [
            ("datakit_rows_read_total", "Rows handed to the sink, those of failed attempts included.", |it| {
                it.rows_read
            }),
            ("datakit_bytes_read_total", "Bytes of these rows in memory.", |it| it.bytes_read),
            ("datakit_rows_committed_total", "Rows committed.", |it| it.rows_committed),
            ("datakit_bytes_committed_total", "Bytes committed, in the form of the sink.", |it| it.bytes_committed),
            ("datakit_rows_rejected_total", "Rows that were rejected.", |it| it.rejected),
            ("datakit_drift_columns_total", "Columns of the source that were not those of the table.", |it| {
                it.changed_columns
            }),
            ("datakit_retries_total", "Units of retry that were started again.", |it| it.retries),
        ];
        for (name, help, value) in counters {
            self.of_tables(page, Family { name, kind: "counter", help }, |it| Some(value(it) as f64));
        }
        let gauges: [OfTables<Option<f64>>; 3] = [
            ("datakit_table_duration_seconds", "From the first query of a table to its end.", |it| Some(it.seconds)),
            ("datakit_table_rows_per_second", "Rows committed a second, of the last commit.", |it| {
                Some(it.rows_per_second)
            }),
            ("datakit_table_last_commit_timestamp_seconds", "When the table was committed.", |it| it.last_commit),
        ];
        for (name, help, value) in gauges {
            self.of_tables(page, Family { name, kind: "gauge", help }, value);
        }
        self.rules(page);
    }

    /// A sample for each rule of each table.
    fn rules(&self, page: &mut Page) {
        let values: [OfRules; 3] = [
            ("datakit_quality_rows_checked_total", "counter", "Rows that a rule of quality looked at.", |it| {
                it.checked
            }),
            ("datakit_quality_rows_failed_total", "counter", "Rows that break a rule of quality.", |it| it.failed),
            ("datakit_quality_rule_broken", "gauge", "1: the last load breaks the rule of quality.", |it| {
                u64::from(it.is_broken)
            }),
        ];
        for (name, kind, help, value) in values {
            page.family(Family { name, kind, help });
            for (ingest, counts) in &self.ingests {
                for (table, counts) in &counts.tables {
                    for (rule, counts) in &counts.rules {
                        let labels = [("ingest", ingest.as_str()), ("table", table), ("rule", rule)];
                        page.sample(name, &labels, value(counts) as f64);
                    }
                }
            }
        }
    }

    fn ingests(&self, page: &mut Page) {
        let family = Family { name: "datakit_tables_total", kind: "counter", help: "Tables that ended, by how." };
        page.family(family);
        for (ingest, counts) in &self.ingests {
            for (status, ended) in TABLE_STATUSES.iter().zip(counts.ended) {
                page.sample(family.name, &[("ingest", ingest), ("status", word_of(*status))], ended as f64);
            }
        }
        self.histograms(page);
        let name = "datakit_ingest_last_end_timestamp_seconds";
        page.family(Family { name, kind: "gauge", help: "When the ingest ended." });
        for (ingest, counts) in &self.ingests {
            if let Some(end) = counts.last_end {
                page.sample(name, &[("ingest", ingest)], end);
            }
        }
        let name = "datakit_ingest_failed";
        page.family(Family {
            name,
            kind: "gauge",
            help: "1: the ingest has ended, and not all of its tables are committed.",
        });
        for (ingest, counts) in &self.ingests {
            page.sample(name, &[("ingest", ingest)], f64::from(u8::from(counts.has_failed)));
        }
    }

    fn histograms(&self, page: &mut Page) {
        let name = "datakit_batch_duration_seconds";
        page.family(Family {
            name,
            kind: "histogram",
            help: "Time between two batches of a table, or from its start to the first.",
        });
        for (ingest, counts) in &self.ingests {
            let Histogram { buckets, count, sum } = &counts.batches;
            for (bound, within) in BUCKETS.iter().zip(buckets) {
                let bound = bound.to_string();
                page.sample(
                    "datakit_batch_duration_seconds_bucket",
                    &[("ingest", ingest), ("le", &bound)],
                    *within as f64,
                );
            }
            let all = [("ingest", ingest.as_str()), ("le", "+Inf")];
            page.sample("datakit_batch_duration_seconds_bucket", &all, *count as f64);
            page.sample("datakit_batch_duration_seconds_sum", &[("ingest", ingest)], *sum);
            page.sample("datakit_batch_duration_seconds_count", &[("ingest", ingest)], *count as f64);
        }
    }

    fn pools(&self, page: &mut Page) {
        let name = "datakit_pool_connections";
        page.family(Family { name, kind: "gauge", help: "Connections that are open, by whether they are used." });
        for (server, pool) in &self.pools {
            page.sample(name, &[("server", server), ("state", "in_use")], pool.now.in_use as f64);
            page.sample(name, &[("server", server), ("state", "idle")], pool.now.idle as f64);
        }
        let values: [OfPools; 4] = [
            ("datakit_pool_connections_limit", "gauge", "The bound on connections.", |it| {
                it.now.max_connections as f64
            }),
            ("datakit_pool_opened_total", "counter", "Connections that were opened.", |it| it.counts().opened as f64),
            ("datakit_pool_waits_total", "counter", "Waits for a free connection.", |it| it.counts().waits as f64),
            ("datakit_pool_wait_seconds_total", "counter", "How long they took.", |it| {
                it.counts().wait_ms as f64 / 1e3
            }),
        ];
        for (name, kind, help, value) in values {
            page.family(Family { name, kind, help });
            for (server, pool) in &self.pools {
                page.sample(name, &[("server", server)], value(pool));
            }
        }
    }
}

impl Pool {
    fn counts(&self) -> PoolCounts {
        self.ended.with(&self.now)
    }
}

fn word_of(status: TableStatus) -> &'static str {
    crate::runs::word_of(status)
}

/// A metric with a sample for each table: its name, its help, its value.
type OfTables<V> = (&'static str, &'static str, fn(&TableCounts) -> V);
/// One with a sample for each rule: its name, its type, its help, its value.
type OfRules = (&'static str, &'static str, &'static str, fn(&RuleCounts) -> u64);
/// One with a sample for each pool: its name, its type, its help, its value.
type OfPools = (&'static str, &'static str, &'static str, fn(&Pool) -> f64);

/// A metric.
#[derive(Clone, Copy)]
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
}

/// The text, as it grows.
#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, Family { name, kind, help }: Family) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let _ = writeln!(self.0, "{name}{{{}}} {value}", labels.join(","));
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use datakit_model::quality::{DeclaredBy, RuleResult, RuleStatus, Severity};

    use super::*;

    fn event(metrics: &Metrics, event: RunEvent) {
        metrics.count("erp", &event);
    }

    fn begun() -> Metrics {
        let metrics = Metrics::new(["erp", "shop"]);
        let tables = vec!["dbo.a".to_owned(), "dbo.\"b\"\n".to_owned()];
        event(&metrics, RunEvent::Selected { discovered: 9, selected: 2, tables });
        metrics
    }

    fn value(page: &str, sample: &str) -> Option<f64> {
        page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
    }

    #[test]
    fn counters_are_there_at_0_from_the_start() {
        let page = begun().page();
        for name in ["rows_read", "bytes_read", "rows_committed", "rows_rejected", "retries"] {
            let sample = format!("datakit_{name}_total{{ingest=\"erp\",table=\"dbo.a\"}}");
            assert_eq!(value(&page, &sample), Some(0.0), "{page}");
        }
        assert!(page.contains(r#"table="dbo.\"b\"\n""#), "{page}");
        assert_eq!(value(&page, r#"datakit_tables_total{ingest="shop",status="failed"}"#), Some(0.0));
        assert_eq!(value(&page, r#"datakit_batch_duration_seconds_count{ingest="shop"}"#), Some(0.0));
    }

    #[test]
    fn events_are_counted_and_labels_do_not_grow() {
        let metrics = begun();
        let samples = metrics.page().lines().count();
        for _ in 0..3 {
            event(
                &metrics,
                RunEvent::TableStarted {
                    table: "dbo.a".into(),
                    target: "t".into(),
                    partitions: 1,
                    estimated_rows: None,
                },
            );
            event(&metrics, RunEvent::BatchWritten { table: "dbo.a".into(), rows: 5, bytes: 7 });
        }
        let page = metrics.page();
        assert_eq!(value(&page, r#"datakit_rows_read_total{ingest="erp",table="dbo.a"}"#), Some(15.0));
        assert_eq!(value(&page, r#"datakit_batch_duration_seconds_count{ingest="erp"}"#), Some(3.0));
        assert_eq!(page.lines().count(), samples);
    }

    #[test]
    fn rules_are_counted_by_name_and_the_last_load_decides() {
        let metrics = begun();
        let found = |failed: u64| RuleResult {
            rule: "key".into(),
            kind: "not_null".into(),
            declared_by: DeclaredBy::Operator,
            severity: Severity::Warn,
            columns: vec!["id".into()],
            checked: 5,
            failed,
            status: if failed == 0 { RuleStatus::Passed } else { RuleStatus::Warned },
            reason: None,
        };
        for failed in [2, 0] {
            let summary =
                TableSummary { quality: vec![found(failed)], ..TableSummary::new("dbo.a", TableStatus::Committed) };
            event(&metrics, RunEvent::TableFinished { summary: Box::new(summary) });
        }
        let sample =
            |name: &str| value(&metrics.page(), &format!("{name}{{ingest=\"erp\",table=\"dbo.a\",rule=\"key\"}}"));
        assert_eq!(sample("datakit_quality_rows_checked_total"), Some(10.0));
        assert_eq!(sample("datakit_quality_rows_failed_total"), Some(2.0));
        assert_eq!(sample("datakit_quality_rule_broken"), Some(0.0));
    }

    #[test]
    fn counts_of_pools_grow_over_ingests() {
        let metrics = begun();
        let pool = PoolStatistics {
            server: "h:1".into(),
            in_use: 2,
            opened: 3,
            max_connections: 8,
            ..PoolStatistics::default()
        };
        event(&metrics, RunEvent::Connections { pool: pool.clone(), is_last: false });
        assert_eq!(value(&metrics.page(), r#"datakit_pool_connections{server="h:1",state="in_use"}"#), Some(2.0));
        event(&metrics, RunEvent::Connections { pool: pool.clone(), is_last: true });
        event(&metrics, RunEvent::Connections { pool, is_last: false });
        assert_eq!(value(&metrics.page(), r#"datakit_pool_opened_total{server="h:1"}"#), Some(6.0));
    }
}
