//! Read, write, commit: one ingest after the other; those that read the same, and write to different sinks, at once.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datakit_config::{Config, Ingest, Overrides};
use datakit_connect::connector::ConnectedSink;
use datakit_http::Endpoint;
use datakit_model::sink::WriteMode;
use datakit_pipeline::{BackfillRequest, Job, Load, Observer, RunEvent, RunStatus, Summary, TableSummary};
use tracing::Instrument;

use crate::component::asked;
use crate::confirm;
use crate::context::Context;
use crate::error::AppError;
use crate::health::{self, Checks, Health};
use crate::job::{Connections, JobRequest, connections, job_of, own_parts, sink_mode};
use crate::lineage::{Datasets, Lineage, Watch};
use crate::metrics::Metrics;
use crate::observers::{Counted, Kept};
use crate::reports::Reports;
use crate::requests::RunRequest;
use crate::runs::Recorder;

/// A run of one or more ingests. Each call of [`Run::next`] gives one of them that has ended; one that fails leaves the others alone.
pub struct Run<'c> {
    context: &'c Context,
    config: Config,
    request: JobRequest,
    /// None: rows are loaded.
    backfill: Option<BackfillRequest>,
    /// Ingests that run at once, in the order of the file.
    waiting: VecDeque<Vec<Prepared>>,
    /// Those that have run with the last one.
    ended: VecDeque<Ended>,
    ingests: usize,
    /// Ingests that were given to the caller.
    given: usize,
    /// Answers for as long as the run lives.
    health: Option<(Arc<Checks>, Endpoint)>,
    metrics: Arc<Metrics>,
    /// Where the metrics are written after each ingest.
    metrics_file: Option<PathBuf>,
    /// Where the run is reported; none after its last ingest.
    lineage: Option<Lineage>,
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

/// An ingest that has ended, and the events that nobody has got yet.
struct Ended {
    ingest: EndedIngest,
    kept: Option<Arc<Kept>>,
}

/// An ingest that runs.
struct Running<'r> {
    label: &'r str,
    ingest: &'r Ingest,
    opened: &'r Opened,
    watch: Option<&'r Arc<Watch>>,
    recorder: Recorder<'r>,
    observer: Arc<dyn Observer>,
}

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
        let mut prepared: Vec<Prepared> = Vec::new();
        for (label, ingest) in chosen {
            let opened = open(context, &config, &ingest);
            match opened {
                Err(reports) if is_alone => return Err(reports),
                opened => prepared.push(Prepared { label, ingest, opened }),
            }
        }
        let lineage = Lineage::open(context, &config)?;
        let labels = prepared.iter().map(|prepared| prepared.label.as_str());
        let metrics = Arc::new(Metrics::new(labels));
        let health = match request.health {
            Some(address) => Some(serve_health(context, address, &prepared, &metrics).await?),
            None => None,
        };
        // The file says how loads went: a backfill leaves it alone, unless it is asked for.
        let set = config.warehouse.metrics_file.as_ref().filter(|_| request.backfill.is_none());
        let set = set.map(|file| file.to_path_buf());
        let waiting = match request.backfill {
            Some(_) => prepared.into_iter().map(|prepared| vec![prepared]).collect(),
            None => grouped(prepared),
        };
        Ok(Self {
            context,
            config,
            request: job,
            backfill: request.backfill,
            ingests: waiting.iter().map(Vec::len).sum(),
            waiting,
            ended: VecDeque::new(),
            given: 0,
            health,
            metrics_file: request.metrics_file.or(set),
            lineage,
            metrics,
        })
    }

    /// The number of ingests, those that have ended included.
    #[must_use]
    pub fn ingests(&self) -> usize {
        self.ingests
    }

    /// Runs the next ingest to its end, with those that read the same; none: all have ended. After a stop, each of the others ends with
    /// [`AppError::Stopped`].
    pub async fn next(&mut self) -> Option<EndedIngest> {
        if self.ended.is_empty() {
            let group = self.waiting.pop_front()?;
            // Boxed: callers hold a small future, whose layout the compiler need not look into.
            self.ended = Box::pin(self.group(group)).await;
        }
        let Ended { ingest: ended, kept } = self.ended.pop_front()?;
        if let Some(kept) = kept {
            self.begins(&ended.ingest, self.given + 1);
            kept.taken().into_iter().for_each(|event| self.context.emit(event));
        }
        self.given += 1;
        let event = finished(&ended);
        self.metrics.count(&ended.ingest, &event);
        self.context.emit(event);
        if let Some(file) = &self.metrics_file
            && let Err(source) = write_whole(file, &self.metrics.page())
        {
            self.context.warn(&format!("cannot write the metrics to {}: {source}", file.display()));
        }
        if let Some(lineage) = self.lineage.take_if(|_| self.given == self.ingests) {
            lineage.end(self.context).await;
        }
        Some(ended)
    }

    fn begins(&self, ingest: &str, number: usize) {
        self.context.emit(RunEvent::IngestStarted { ingest: ingest.to_owned(), number, of: self.ingests });
    }

    /// Runs ingests at once, and gives them in their order. Events of the first are told at once, those of the others in their turn.
    async fn group(&self, group: Vec<Prepared>) -> VecDeque<Ended> {
        let kept = |place: usize| (place > 0).then(Arc::<Kept>::default);
        let kept: Vec<Option<Arc<Kept>>> = (0..group.len()).map(kept).collect();
        if let Some(first) = group.first() {
            self.begins(&first.label, self.given + 1);
        }
        let outcomes = match self.context.stop.is_cancelled() && self.ingests > 1 {
            true => group.iter().map(|_| Err(AppError::Stopped.into())).collect(),
            false => self.watched(&group, &kept).await,
        };
        let mut ended = VecDeque::with_capacity(group.len());
        for ((prepared, kept), outcome) in group.into_iter().zip(kept).zip(outcomes) {
            let Prepared { label, ingest, .. } = prepared;
            ended.push_back(Ended { ingest: EndedIngest { ingest: label, datakit: ingest.datakit, outcome }, kept });
        }
        ended
    }

    /// Runs ingests, and reports their lineage.
    async fn watched(&self, group: &[Prepared], kept: &[Option<Arc<Kept>>]) -> Vec<Result<Summary, Reports>> {
        let observers: Vec<Arc<dyn Observer>> =
            group.iter().zip(kept).map(|(prepared, kept)| self.observer(&prepared.label, kept.as_ref())).collect();
        let run_id = self.request.run_id();
        let watch = |(prepared, observer): (&Prepared, &Arc<dyn Observer>)| {
            Some(self.lineage.as_ref()?.watch(&prepared.label, run_id, Arc::clone(observer)))
        };
        let watches: Vec<Option<Arc<Watch>>> = group.iter().zip(&observers).map(watch).collect();
        let outcomes = self.recorded(group, &watches, &observers).await;
        for (watch, outcome) in watches.iter().zip(&outcomes) {
            watch.iter().for_each(|watch| watch.ended(outcome));
        }
        outcomes
    }

    /// Counts what an ingest does, and tells the context's observer: at once, or in its turn.
    fn observer(&self, label: &str, kept: Option<&Arc<Kept>>) -> Arc<dyn Observer> {
        let now = || Arc::clone(self.context.observer());
        let to = kept.map_or_else(now, |kept| Arc::clone(kept) as Arc<dyn Observer>);
        Arc::new(Counted { ingest: label.to_owned(), metrics: Arc::clone(&self.metrics), to })
    }

    /// Runs ingests, and writes a record of each. One that cannot be opened runs alone.
    async fn recorded(
        &self,
        group: &[Prepared],
        watches: &[Option<Arc<Watch>>],
        observers: &[Arc<dyn Observer>],
    ) -> Vec<Result<Summary, Reports>> {
        let run_id = self.request.run_id();
        let mut running = Vec::new();
        for ((prepared, watch), observer) in group.iter().zip(watches).zip(observers) {
            let Prepared { label, ingest, opened } = prepared;
            let opened = match opened {
                Ok(opened) => opened,
                Err(reports) => return group.iter().map(|_| Err(reports.clone())).collect(),
            };
            let told = watch.as_ref().map_or_else(|| Arc::clone(observer), |it| Arc::clone(it) as Arc<dyn Observer>);
            let to = (&opened.1.sink(), &told);
            let recorder = Recorder::new(self.context, &self.config, (run_id, label), ingest, to);
            if self.backfill.is_some() {
                recorder.backfills();
            }
            running.push(Running { label, ingest, opened, watch: watch.as_ref(), recorder, observer: told });
        }
        let outcomes = self.copy(&running).await;
        for (running, outcome) in running.iter().zip(&outcomes) {
            running.recorder.end(outcome).await;
        }
        outcomes
    }

    async fn copy(&self, running: &[Running<'_>]) -> Vec<Result<Summary, Reports>> {
        let jobs = match self.jobs(running).await {
            Ok(jobs) => jobs,
            Err(reports) => return running.iter().map(|_| Err(reports.clone())).collect(),
        };
        let mut loads = Vec::new();
        for (job, running) in jobs.into_iter().zip(running) {
            self.begin(&job, running).await;
            let (job, mode) = match &self.backfill {
                Some(backfill) => (job.backfilling(backfill.clone()), Some(WriteMode::Merge)),
                None => (job, running.ingest.mode.map(sink_mode)),
            };
            loads.push(Load {
                ingest: running.label.to_owned(),
                job,
                sink: running.opened.1.sink(),
                mode,
                observer: running.recorder.observer(),
            });
        }
        if let Some((checks, _)) = &self.health {
            checks.start();
        }
        let span = tracing::error_span!("run", run_id = self.request.run_id());
        let ended = datakit_pipeline::run_together(loads, self.context.stop.clone()).instrument(span).await;
        let outcomes: Vec<Result<Summary, Reports>> =
            ended.into_iter().map(|outcome| outcome.map_err(Reports::from)).collect();
        // A backfill moves no position.
        let moves_positions = self.backfill.is_none() && outcomes.iter().any(Result::is_ok);
        if moves_positions && !self.context.stop.is_cancelled() {
            self.confirm(running).await;
        }
        outcomes
    }

    /// The jobs of ingests that read the same. The datakit is loaded once.
    async fn jobs(&self, running: &[Running<'_>]) -> Result<Vec<Job>, Reports> {
        let Some((first, others)) = running.split_first() else { return Ok(Vec::new()) };
        if self.request.loaded.as_ref().is_none_or(|loaded| loaded.file.is_none()) {
            let datakit = &first.ingest.datakit;
            running.iter().for_each(|it| it.observer.event(RunEvent::Fetching { datakit: datakit.clone() }));
        }
        let preparing = job_of(self.context, &self.config, first.ingest, self.request.clone(), &first.opened.0);
        let job = self.context.unless_stopped(preparing).await?;
        let beside = |other: &Running<'_>| job.beside(own_parts(other.ingest, &self.request));
        let mut jobs: Vec<Job> = others.iter().map(beside).collect();
        jobs.insert(0, job);
        Ok(jobs)
    }

    /// The datakit is loaded: the record begins, and who watches can name the tables.
    async fn begin(&self, job: &Job, running: &Running<'_>) {
        let Running { ingest, opened: (connections, sink), recorder, .. } = running;
        let run = job.run().clone();
        recorder.begin(&run).await;
        let first = job.info().roles.first().and_then(|role| connections.get(ingest.roles.get(&role.name)?));
        if let (Some(watch), Some(source)) = (running.watch, first) {
            let (source_system, source) = (run.source_system.clone(), Arc::clone(source));
            watch.loaded(Datasets { source_system, source, sink: Arc::clone(sink) });
        }
        let file = self.request.loaded.as_ref().and_then(|loaded| loaded.file.clone());
        let (datakit, version, digest, run_id) = (run.datakit, run.version, run.digest, run.run_id);
        running.observer.event(RunEvent::Loaded { datakit, datakit_version: version, digest, file, run_id });
    }

    /// What is committed stays committed, whatever the source says: the next run tells it again.
    async fn confirm(&self, running: &[Running<'_>]) {
        let Some(first) = running.first() else { return };
        if let Err(reports) = confirm::committed(self.context, &self.config, first.ingest, &first.opened.0).await {
            self.context.warn(&format!("the source was not told what is committed, and keeps it: {reports}"));
        }
    }
}

/// Ingests that run at once: those that follow one another and read the same, for different sinks. They share their connections.
fn grouped(prepared: Vec<Prepared>) -> VecDeque<Vec<Prepared>> {
    let mut groups: VecDeque<Vec<Prepared>> = VecDeque::new();
    for mut next in prepared {
        let fits = |group: &&mut Vec<Prepared>| {
            let shares = |other: &Prepared| other.opened.is_ok() && next.ingest.shares_reads_with(&other.ingest);
            next.opened.is_ok() && group.iter().all(shares)
        };
        match groups.back_mut().filter(fits) {
            Some(group) => {
                if let (Ok((connections, _)), Some(Ok((first, _)))) =
                    (&mut next.opened, group.first().map(|first| first.opened.as_ref()))
                {
                    connections.clone_from(first);
                }
                group.push(next);
            }
            None => groups.push_back(vec![next]),
        }
    }
    groups
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
