//! Read, write, commit: one ingest after the other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datakit_config::{Config, Ingest, Overrides};
use datakit_connect::connector::ConnectedSink;
use datakit_http::Endpoint;
use datakit_model::sink::WriteMode;
use datakit_pipeline::{BackfillRequest, Observer, RunEvent, RunStatus, Summary, TableSummary};
use tracing::Instrument;

use crate::component::asked;
use crate::confirm;
use crate::context::Context;
use crate::error::AppError;
use crate::health::{self, Checks, Health};
use crate::job::{Connections, JobRequest, connections, job_of, sink_mode};
use crate::lineage::{Datasets, Lineage, Watch};
use crate::metrics::Metrics;
use crate::reports::Reports;
use crate::requests::RunRequest;
use crate::runs::Recorder;

/// A run of one or more ingests. Each call of [`Run::next`] runs one of them; one that fails leaves the others alone.
pub struct Run<'c> {
    context: &'c Context,
    config: Config,
    request: JobRequest,
    /// None: rows are loaded.
    backfill: Option<BackfillRequest>,
    waiting: std::vec::IntoIter<Prepared>,
    ingests: usize,
    /// Answers for as long as the run lives.
    health: Option<(Arc<Checks>, Endpoint)>,
    metrics: Arc<Metrics>,
    /// Where the metrics are written after each ingest.
    metrics_file: Option<PathBuf>,
    /// Where the run is reported; none after its last ingest.
    lineage: Option<Lineage>,
    /// The metrics, which hand on to the context's.
    observer: Arc<dyn Observer>,
}

/// An ingest that has ended, or could not start.
#[derive(Debug)]
pub struct EndedIngest {
    /// The ingest, by its name or its number from 1.
    pub ingest: String,
    /// The datakit that the ingest names, as a reference.
    pub datakit: String,
    /// How it ended, or why it could not start.
    pub outcome: Result<Summary, Reports>,
}

impl EndedIngest {
    /// How each table ended; none where the ingest could not start.
    #[must_use]
    pub fn tables(&self) -> &[TableSummary] {
        self.outcome.as_ref().map(|summary| summary.tables.as_slice()).unwrap_or_default()
    }

    /// How it ended.
    #[must_use]
    pub fn status(&self) -> RunStatus {
        match &self.outcome {
            Ok(summary) => summary.status,
            Err(reports) => reports.run_status(),
        }
    }
}

/// An ingest with what it reads from and writes to, or why that cannot be opened.
struct Prepared {
    label: String,
    ingest: Ingest,
    opened: Result<Opened, Reports>,
}

/// What an ingest reads from, and what it writes to.
type Opened = (Connections, Arc<dyn ConnectedSink>);

impl<'c> Run<'c> {
    /// Reads the configuration, and every secret that needs no vault: a missing one should not wait for a download. Loads the
    /// component of a file. Starts the health endpoint.
    ///
    /// # Errors
    /// The configuration is invalid, the file is no datakit, no ingest is selected, the only ingest cannot be opened, the
    /// health endpoint cannot listen. With several ingests, one that cannot be opened fails when its turn comes.
    pub async fn prepare(context: &'c Context, mut request: RunRequest) -> Result<Self, Reports> {
        if let Some(backfill) = &request.backfill {
            request.ingest.tables = vec![backfill.table.to_string()];
        }
        let (parallel, mode, drift, receipt) = (request.parallel, request.mode, request.drift, request.receipt);
        let flags = Overrides { parallel, mode, drift, receipt, ..request.ingest.overrides() };
        let config = context.config(flags)?;
        let job = JobRequest::of_run(request.run_id.clone(), request.ingest.locked);
        let job = job.replacing_columns(request.replaces_columns);
        let (selection, job) = context.unless_stopped(asked(context, &config, &request.ingest, job)).await?;
        let chosen = config.ingests_of(&selection)?;
        let is_alone = chosen.len() == 1;
        let mut prepared = Vec::new();
        for (label, ingest) in chosen {
            let opened = open(context, &config, &ingest);
            match opened {
                Err(reports) if is_alone => return Err(reports),
                opened => prepared.push(Prepared { label, ingest, opened }),
            }
        }
        let lineage = Lineage::open(context, &config)?;
        let labels = prepared.iter().map(|prepared| prepared.label.as_str());
        let metrics = Arc::new(Metrics::new(labels, Arc::clone(context.observer())));
        let health = match request.health {
            Some(address) => Some(serve_health(context, address, &prepared, &metrics).await?),
            None => None,
        };
        // The file says how loads went: a backfill leaves it alone, unless it is asked for.
        let set = config.warehouse.metrics_file.as_ref().filter(|_| request.backfill.is_none());
        let set = set.map(|file| file.to_path_buf());
        Ok(Self {
            context,
            config,
            request: job,
            backfill: request.backfill,
            ingests: prepared.len(),
            waiting: prepared.into_iter(),
            health,
            metrics_file: request.metrics_file.or(set),
            lineage,
            observer: Arc::clone(&metrics) as Arc<dyn Observer>,
            metrics,
        })
    }

    /// The number of ingests, those that have ended included.
    #[must_use]
    pub fn ingests(&self) -> usize {
        self.ingests
    }

    /// Runs the next ingest to its end; none: all have ended. After a stop, each of the others ends with
    /// [`AppError::Stopped`].
    pub async fn next(&mut self) -> Option<EndedIngest> {
        let number = self.ingests - self.waiting.len() + 1;
        let Prepared { label, ingest, opened } = self.waiting.next()?;
        let datakit = ingest.datakit.clone();
        self.observer.event(RunEvent::IngestStarted { ingest: label.clone(), number, of: self.ingests });
        let outcome = match self.context.stop.is_cancelled() && self.ingests > 1 {
            true => Err(AppError::Stopped.into()),
            // Boxed: callers hold a small future, whose layout the compiler need not look into.
            false => Box::pin(self.ingest(&label, &ingest, opened)).await,
        };
        let ended = EndedIngest { ingest: label, datakit, outcome };
        self.observer.event(finished(&ended));
        if let Some(file) = &self.metrics_file
            && let Err(source) = write_whole(file, &self.metrics.page())
        {
            self.context.warn(&format!("cannot write the metrics to {}: {source}", file.display()));
        }
        if let Some(lineage) = self.lineage.take_if(|_| self.waiting.len() == 0) {
            lineage.end(self.context).await;
        }
        Some(ended)
    }

    async fn ingest(&self, label: &str, ingest: &Ingest, opened: Result<Opened, Reports>) -> Result<Summary, Reports> {
        let run_id = self.request.run_id();
        let watch = self.lineage.as_ref().map(|lineage| lineage.watch(label, run_id, Arc::clone(&self.observer)));
        let outcome = self.recorded(label, ingest, opened, watch.as_ref()).await;
        if let Some(watch) = watch {
            watch.ended(&outcome);
        }
        outcome
    }

    async fn recorded(
        &self,
        label: &str,
        ingest: &Ingest,
        opened: Result<Opened, Reports>,
        watch: Option<&Arc<Watch>>,
    ) -> Result<Summary, Reports> {
        let opened = opened?;
        let observer = watch.map_or_else(|| Arc::clone(&self.observer), |watch| Arc::clone(watch) as Arc<dyn Observer>);
        let (run_id, sink) = (self.request.run_id(), opened.1.sink());
        let recorder = Recorder::new(self.context, &self.config, (run_id, label), ingest, (&sink, &observer));
        if self.backfill.is_some() {
            recorder.backfills();
        }
        let outcome = self.copy(ingest, &opened, watch, &recorder).await;
        recorder.end(&outcome).await;
        outcome
    }

    async fn copy(
        &self,
        ingest: &Ingest,
        (connections, sink): &Opened,
        watch: Option<&Arc<Watch>>,
        recorder: &Recorder<'_>,
    ) -> Result<Summary, Reports> {
        let context = self.context;
        let file = self.request.loaded.as_ref().and_then(|loaded| loaded.file.clone());
        if file.is_none() {
            context.emit(RunEvent::Fetching { datakit: ingest.datakit.clone() });
        }
        let preparing = job_of(context, &self.config, ingest, self.request.clone(), connections);
        let job = context.unless_stopped(preparing).await?;
        let run = job.run().clone();
        recorder.begin(&run).await;
        let first = job.info().roles.first().and_then(|role| connections.get(ingest.roles.get(&role.name)?));
        if let (Some(watch), Some(source)) = (watch, first) {
            let (source_system, source) = (run.source_system.clone(), Arc::clone(source));
            watch.loaded(Datasets { source_system, source, sink: Arc::clone(sink) });
        }
        let span = tracing::error_span!("run", run_id = %run.run_id);
        let (datakit, version, digest, run_id) = (run.datakit, run.version, run.digest, run.run_id);
        context.emit(RunEvent::Loaded { datakit, datakit_version: version, digest, file, run_id });
        if let Some((checks, _)) = &self.health {
            checks.start();
        }
        let observer = recorder.observer();
        let (job, mode) = match &self.backfill {
            Some(backfill) => (job.backfilling(backfill.clone()), Some(WriteMode::Merge)),
            None => (job, ingest.mode.map(sink_mode)),
        };
        let running = datakit_pipeline::run(job, sink.sink(), mode, observer, context.stop.clone());
        let summary = running.instrument(span).await.map_err(Reports::from)?;
        // A backfill moves no position.
        if context.stop.is_cancelled() || self.backfill.is_some() {
            return Ok(summary);
        }
        // What is committed stays committed, whatever the source says: the next run tells it again.
        if let Err(reports) = confirm::committed(context, &self.config, ingest, connections).await {
            context.warn(&format!("the source was not told what is committed, and keeps it: {reports}"));
        }
        Ok(summary)
    }
}

fn open(context: &Context, config: &Config, ingest: &Ingest) -> Result<Opened, Reports> {
    let sink = context.sink(config.sink_of(ingest)?, config)?;
    Ok((connections(context, config, ingest)?, sink))
}

/// Answers about the connections and sinks of the run for as long as the endpoint lives.
async fn serve_health(
    context: &Context,
    address: std::net::SocketAddr,
    ingests: &[Prepared],
    metrics: &Arc<Metrics>,
) -> Result<(Arc<Checks>, Endpoint), AppError> {
    let (mut connections, mut sinks) = (Connections::new(), BTreeMap::new());
    for Prepared { ingest, opened, .. } in ingests {
        let Ok((opened, sink)) = opened else { continue };
        connections.extend(opened.iter().map(|(name, connected)| (name.clone(), connected.clone())));
        sinks.insert(ingest.sink.clone().unwrap_or_default(), sink.sink());
    }
    let checks = Arc::new(Checks::new(connections, sinks));
    let endpoint = health::serve(address, Arc::clone(&checks) as Arc<dyn Health>, Some(Arc::clone(metrics))).await?;
    context.emit(RunEvent::HealthEndpoint { address: endpoint.address().to_string() });
    Ok((checks, endpoint))
}

/// Writes a file that nobody sees half-written.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Collectors of text files read names that end with `.prom`.
    let unfinished = folder.join(format!(".{name}.{}", std::process::id()));
    std::fs::write(&unfinished, text)?;
    std::fs::rename(&unfinished, path).inspect_err(|_| drop(std::fs::remove_file(&unfinished)))
}

fn finished(ended: &EndedIngest) -> RunEvent {
    let summary = ended.outcome.as_ref().ok();
    RunEvent::IngestFinished {
        ingest: ended.ingest.clone(),
        status: ended.status(),
        rows: summary.map_or(0, |summary| summary.rows),
        bytes: summary.map_or(0, |summary| summary.bytes),
        errors: ended.outcome.as_ref().err().map(Reports::table_errors).unwrap_or_default(),
    }
}
