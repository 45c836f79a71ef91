//! Reports what runs read and wrote, as events of OpenLineage (docs/lineage.md).
//!
//! An ingest is a job, and each of its tables is a job of its own, whose parent is the ingest. All of it comes from events of the run.

mod delivery;
mod document;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use datakit_config::Config;
use datakit_connect::connector::{ConnectedSink, ConnectedSource};
use datakit_model::TableId;
use datakit_pipeline::{Observer, RunEvent, Summary, TableError, TableSummary};
use serde_json::Value as Json;
use tokio::sync::mpsc;
use uuid::Uuid;

use self::delivery::{Delivery, Endpoint, Places};
use self::document::{Event, JobRun, Step, input, output};
use crate::context::Context;
use crate::reports::Reports;
use crate::runs::now;

const DEFAULT_ENDPOINT: &str = "api/v1/lineage";
const DEFAULT_NAMESPACE: &str = "datakit";

/// Where the runs of this process are reported.
pub(crate) struct Lineage {
    namespace: String,
    delivery: Delivery,
}

impl Lineage {
    /// None where the configuration names no place for events.
    pub(crate) fn open(context: &Context, config: &Config) -> Result<Option<Self>, Reports> {
        let settings = &config.lineage;
        let file = settings.file.as_ref().map(|file| file.to_path_buf());
        let server = match &settings.url {
            Some(url) => {
                let path = settings.endpoint.as_deref().unwrap_or(DEFAULT_ENDPOINT);
                let url = format!("{}/{}", url.trim_end_matches('/'), path.trim_start_matches('/'));
                let key = settings.api_key.as_ref().map(|key| context.credential(key)).transpose()?;
                Some(Endpoint::new(url, key)?)
            }
            None => None,
        };
        if file.is_none() && server.is_none() {
            return Ok(None);
        }
        let namespace = settings.namespace.clone().or_else(|| config.warehouse.name.clone());
        let namespace = namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        Ok(Some(Self { namespace, delivery: Delivery::start(Places { file, server }) }))
    }

    /// Reports an ingest that begins now. All events are handed on to `to`.
    pub(crate) fn watch(&self, ingest: &str, run_id: &str, to: Arc<dyn Observer>) -> Arc<Watch> {
        let of = JobRun { namespace: self.namespace.clone(), job: ingest.to_owned(), run: part(run_id, ingest) };
        let (datasets, started) = (OnceLock::new(), Mutex::default());
        let watch = Watch { events: self.delivery.events(), of, datasets, started, to };
        watch.send(watch.ingest(Step::Start, None));
        Arc::new(watch)
    }

    /// Waits until all is delivered, for a bounded time. What could not be is a warning.
    pub(crate) async fn end(self, context: &Context) {
        let delivered = self.delivery.end().await;
        if let Some(failure) = delivered.why {
            let lost = delivered.lost;
            context.warn(&format!("{lost} events of OpenLineage were not delivered: {}: {failure}", failure.code()));
        }
    }
}

/// A run of a part, from the run's id: the same for a run that goes on.
fn part(run_id: &str, name: &str) -> Uuid {
    datakit_pipeline::batch_id(&format!("{run_id}\n{name}"))
}

/// What names the tables of an ingest.
pub(crate) struct Datasets {
    pub(crate) source_system: String,
    pub(crate) source: Arc<dyn ConnectedSource>,
    pub(crate) sink: Arc<dyn ConnectedSink>,
}

/// Reports one ingest.
pub(crate) struct Watch {
    events: mpsc::Sender<Json>,
    of: JobRun,
    /// Known once the datakit is loaded.
    datasets: OnceLock<Datasets>,
    /// Tables whose start is reported.
    started: Mutex<HashMap<String, JobRun>>,
    to: Arc<dyn Observer>,
}

impl Watch {
    /// The datakit is loaded, and tables can be named.
    pub(crate) fn loaded(&self, datasets: Datasets) {
        drop(self.datasets.set(datasets));
    }

    /// The ingest has ended.
    pub(crate) fn ended(&self, outcome: &Result<Summary, Reports>) {
        match outcome {
            Ok(summary) => {
                let error = summary.tables.iter().find_map(|table| table.error.as_ref());
                self.send(self.ingest(summary.status.into(), error));
            }
            Err(reports) => self.send(self.ingest(reports.run_status().into(), reports.table_errors().first())),
        }
    }

    fn ingest(&self, step: Step, error: Option<&TableError>) -> Json {
        let (inputs, outputs) = (Vec::new(), Vec::new());
        Event { step, at: now(), of: &self.of, parent: None, job_type: "INGEST", error, inputs, outputs }.document()
    }

    fn table_started(&self, table: &str) -> JobRun {
        let job = format!("{}.{table}", self.of.job);
        let run = part(&self.of.run.to_string(), table);
        let of = JobRun { namespace: self.of.namespace.clone(), job, run };
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        if started.insert(table.to_owned(), of.clone()).is_none() {
            self.send(self.table(Step::Start, &of, None, (Vec::new(), Vec::new())));
        }
        of
    }

    fn table_ended(&self, summary: &TableSummary) {
        let of = self.table_started(&summary.table);
        let datasets = summary.id.as_ref().map(|id| self.datasets_of(id, summary)).unwrap_or_default();
        self.send(self.table(summary.status.into(), &of, summary.error.as_ref(), datasets));
    }

    fn datasets_of(&self, id: &TableId, summary: &TableSummary) -> (Vec<Json>, Vec<Json>) {
        let Some(Datasets { source_system, source, sink }) = self.datasets.get() else { return Default::default() };
        let (from, to) = (source.dataset(id), sink.dataset(source_system, id).ok());
        (vec![input(&from, summary)], to.iter().map(|to| output(to, &from, summary)).collect())
    }

    fn table(
        &self,
        step: Step,
        of: &JobRun,
        error: Option<&TableError>,
        (inputs, outputs): (Vec<Json>, Vec<Json>),
    ) -> Json {
        Event { step, at: now(), of, parent: Some(&self.of), job_type: "TABLE", error, inputs, outputs }.document()
    }

    /// A run never waits for its lineage.
    fn send(&self, event: Json) {
        if self.events.try_send(event).is_err() {
            tracing::info!(target: "datakit", "an event of OpenLineage is left out: too many wait to be delivered");
        }
    }
}

impl Observer for Watch {
    fn event(&self, event: RunEvent) {
        match &event {
            RunEvent::TableStarted { table, .. } => drop(self.table_started(table)),
            RunEvent::TableFinished { summary } => self.table_ended(summary),
            _ => {}
        }
        self.to.event(event);
    }
}
