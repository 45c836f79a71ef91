//! Writes the record of an ingest: when it begins, and when it has ended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use datakit_config::{Config, Ingest};
use datakit_model::sink::{RecordName, Sink};
use datakit_model::{Failure, RunIdentity};
use datakit_pipeline::{Observer, RunEvent, Summary, TableStatus};

use super::record::{RecordedError, RunRecord, TableRecord, now_micros};
use super::table;
use crate::context::Context;
use crate::error::AppError;
use crate::reports::Reports;

/// The longest wait for a record to be written at the start of a run.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest wait for it at the end.
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest time in which other runs may keep this one from the table of runs.
const ROW_TIMEOUT: Duration = Duration::from_secs(30);
/// The same of a run that was told to stop.
const ROW_TIMEOUT_STOPPED: Duration = Duration::from_secs(5);

/// The mode of a run that fills columns.
const BACKFILL: &str = "backfill";

/// The longest ingest in the name of a record.
const MAX_LABEL_CHARS: usize = 100;

/// Writes the record of one start of an ingest.
pub(crate) struct Recorder<'c> {
    context: &'c Context,
    sink: Arc<dyn Sink>,
    name: RecordName,
    record: Mutex<RunRecord>,
    watch: Arc<Watch>,
}

impl<'c> Recorder<'c> {
    /// The ingest begins now. Nothing is written yet.
    pub(crate) fn new(
        context: &'c Context,
        config: &Config,
        (run_id, label): (&str, &str),
        ingest: &Ingest,
        (sink, observer): (&Arc<dyn Sink>, &Arc<dyn Observer>),
    ) -> Self {
        let (run_id, short) = (run_id.to_owned(), short(label));
        let name = RecordName { started_at_micros: now_micros(), run_id, ingest: short };
        let record = Mutex::new(RunRecord::begun(&name, label, config, ingest, sink.kind()));
        let watch = Arc::new(Watch { to: Arc::clone(observer), seen: Mutex::default() });
        Self { context, sink: Arc::clone(sink), name, record, watch }
    }

    /// The run loads no rows.
    pub(crate) fn backfills(&self) {
        lock(&self.record).mode = Some(BACKFILL.to_owned());
    }

    /// Whom the run tells what happens.
    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.watch) as Arc<dyn Observer>
    }

    /// The datakit is loaded, and the run begins. A record that cannot be written now is tried again at the end.
    pub(crate) async fn begin(&self, run: &RunIdentity) {
        if !self.sink.keeps_records() {
            return;
        }
        lock(&self.record).loaded(run);
        if let Err(failure) = self.put(BEGIN_TIMEOUT).await {
            tracing::info!(target: "datakit", code = failure.code(), %failure, "the record of the run is not written yet");
        }
    }

    /// The run has ended. Committed tables stay committed, whatever becomes of the record.
    pub(crate) async fn end(&self, outcome: &Result<Summary, Reports>) {
        if !self.sink.keeps_records() {
            return;
        }
        self.fill(outcome);
        let Err(failure) = self.write().await else { return };
        let tables = outcome.as_ref().map(|summary| summary.tables.as_slice()).unwrap_or_default();
        if tables.iter().any(|table| table.status == TableStatus::Committed) {
            self.context.warn(&format!(
                "the record of the run cannot be written; what is committed stays, and `host runs rebuild` makes up for it: {}: {failure}",
                failure.code()
            ));
        } else {
            // The errors of the run say what is wrong with the sink.
            tracing::info!(target: "datakit", code = failure.code(), %failure, "the record of the run cannot be written");
        }
    }

    fn fill(&self, outcome: &Result<Summary, Reports>) {
        let (mut record, now) = (lock(&self.record), now_micros());
        let status = match outcome {
            Ok(summary) => {
                record.tables = summary.tables.iter().map(|table| self.watch.record_of(table, now)).collect();
                summary.status
            }
            Err(reports) => {
                record.errors = reports.table_errors().iter().map(RecordedError::from).collect();
                reports.run_status()
            }
        };
        record.end(status.into(), now);
    }

    /// The document first: the row can be made of it again.
    async fn write(&self) -> Result<(), Failure> {
        self.put(END_TIMEOUT).await?;
        let record = lock(&self.record).clone();
        let is_stopped = self.context.stop().is_cancelled();
        let timeout = if is_stopped { ROW_TIMEOUT_STOPPED } else { ROW_TIMEOUT };
        self.in_time(timeout, table::append(&self.sink, &self.name, &record)).await
    }

    async fn put(&self, timeout: Duration) -> Result<(), Failure> {
        let json = document(&lock(&self.record))?;
        self.in_time(timeout, self.sink.put_record(&self.name, &json)).await
    }

    async fn in_time(&self, timeout: Duration, work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
        let late = || {
            let name = lock(&self.record).sink.name.clone();
            AppError::NoAnswer { name, seconds: timeout.as_secs() }.into()
        };
        tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| Err(late()))
    }
}

/// An ingest in the name of a record, which no sink has to cut or escape: an ingest without a name is called after its datakit,
/// which can be a path.
fn short(label: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    label.chars().map(plain).take(MAX_LABEL_CHARS).collect()
}

/// A record as the sink keeps it.
pub(crate) fn document(record: &RunRecord) -> Result<String, Failure> {
    serde_json::to_string_pretty(record).map_err(|error| AppError::Crashed { message: error.to_string() }.into())
}

/// A poisoned lock holds what it held: no update leaves it half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes when tables begin and end, and hands every event on.
struct Watch {
    to: Arc<dyn Observer>,
    seen: Mutex<HashMap<String, Seen>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    started_at_micros: Option<i64>,
    ended_at_micros: Option<i64>,
    retries: u64,
}

impl Watch {
    fn note(&self, table: &str, update: impl FnOnce(&mut Seen)) {
        update(lock(&self.seen).entry(table.to_owned()).or_default());
    }

    fn record_of(&self, summary: &datakit_pipeline::TableSummary, now_micros: i64) -> TableRecord {
        let seen = lock(&self.seen).get(&summary.table).copied().unwrap_or_default();
        TableRecord::of(summary, seen.started_at_micros, seen.ended_at_micros.unwrap_or(now_micros), seen.retries)
    }
}

impl Observer for Watch {
    fn event(&self, event: RunEvent) {
        match &event {
            RunEvent::TableStarted { table, .. } => {
                self.note(table, |seen| seen.started_at_micros = Some(now_micros()));
            }
            RunEvent::Retrying { table, .. } => self.note(table, |seen| seen.retries += 1),
            RunEvent::TableFinished { summary } => {
                self.note(&summary.table, |seen| seen.ended_at_micros = Some(now_micros()));
            }
            _ => {}
        }
        self.to.event(event);
    }
}
