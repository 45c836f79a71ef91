//! An ingest of the configuration becomes a job.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use std::sync::Arc;

use datakit_config::{Config, Connection, Ingest, Mode, QualityRule, RejectedRule};
use datakit_connect::connector::ConnectedSource;
use datakit_model::sink::WriteMode;
use datakit_model::{DriftRule, DriftRules, RunLimits};
use datakit_pipeline::{
    Artifact, Job, JobParts, OwnParts, Resolution, Resolved, RoleSources, RunRequest, new_run_id, resolve,
};
use datakit_registry::Reference;
use datakit_wasm::Datakit;

use crate::component::Loaded;
use crate::context::Context;
use crate::protection::{max_queries, protected};
use crate::reports::Reports;

pub(crate) fn sink_mode(mode: Mode) -> WriteMode {
    match mode {
        Mode::Append => WriteMode::Append,
        Mode::Overwrite => WriteMode::Overwrite,
        Mode::Merge => WriteMode::Merge,
    }
}

/// What a job needs besides configuration and ingest.
#[derive(Clone)]
pub(crate) struct JobRequest {
    run: RunRequest,
    locked: bool,
    /// Tables get the columns of their sources, whatever the ingest says.
    replaces_columns: bool,
    /// The component of a file; none: what the ingest names comes from the registry.
    pub(crate) loaded: Option<Loaded>,
}

impl JobRequest {
    /// A question, with an id of its own.
    pub(crate) fn new(locked: bool) -> Self {
        Self::of_run(new_run_id(), locked)
    }

    pub(crate) fn of_run(run_id: String, locked: bool) -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let run = RunRequest {
            run_id,
            // Good for 292,000 years.
            started_at_micros: i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX),
        };
        Self { run, locked, replaces_columns: false, loaded: None }
    }

    /// The same for tables that get the columns of their sources, whatever the ingest says.
    pub(crate) fn replacing_columns(self, replaces_columns: bool) -> Self {
        Self { replaces_columns, ..self }
    }

    /// The run's id.
    pub(crate) fn run_id(&self) -> &str {
        &self.run.run_id
    }
}

/// Resolves and loads the datakit, unless it is loaded, and checks roles and settings. Contacts the registry at most.
pub(crate) async fn job(
    context: &Context,
    config: &Config,
    ingest: &Ingest,
    request: JobRequest,
) -> Result<Job, Reports> {
    // Secrets first: a missing one should not wait for a download.
    let connections = connections(context, config, ingest)?;
    job_of(context, config, ingest, request, &connections).await
}

/// The same with connections that are there already.
pub(crate) async fn job_of(
    context: &Context,
    config: &Config,
    ingest: &Ingest,
    request: JobRequest,
    connections: &Connections,
) -> Result<Job, Reports> {
    let keys = context.keys(config, ingest).await?;
    let own = own_parts(ingest, &request);
    let (datakit, artifact) = match request.loaded {
        Some(loaded) => (loaded.datakit.clone(), loaded.artifact()),
        None => resolved(context, config, ingest, request.locked).await?,
    };
    let parts = JobParts {
        datakit: Arc::new(datakit),
        artifact,
        request: request.run,
        roles: roles(context, config, ingest, connections),
        tables: ingest.tables.clone(),
        keys,
        quality: own.quality,
        settings: ingest.settings.clone(),
        limits: run_limits(config, ingest),
        drift: own.drift,
        receipt: own.receipt,
        rejects: ingest.rejected.as_ref().map(RejectedRule::bounds),
    };
    Ok(Job::new(parts).await?)
}

/// What an ingest says that decides nothing about what is read.
pub(crate) fn own_parts(ingest: &Ingest, request: &JobRequest) -> OwnParts {
    OwnParts {
        quality: ingest.quality.iter().map(QualityRule::said).collect(),
        drift: match request.replaces_columns {
            true => DriftRules::all(DriftRule::Replace),
            false => ingest.drift.rules(),
        },
        receipt: ingest.receipt.unwrap_or_default(),
    }
}

/// The datakit that an ingest names, loaded, and what it has to say it is.
async fn resolved(
    context: &Context,
    config: &Config,
    ingest: &Ingest,
    locked: bool,
) -> Result<(Datakit, Artifact), Reports> {
    let reference: Reference = ingest.datakit.parse()?;
    let registry = context.registry(config)?;
    let (cache, lock) = (context.cache(config)?, context.lock(config)?);
    let resolution = Resolution { registry: &registry, cache: &cache, lock: lock.as_ref(), locked };
    let Resolved { component, component_digest, artifact } = resolve(&reference, &resolution).await?;
    let datakit = context.load(config, &ingest.datakit, component, component_digest.as_str()).await?;
    Ok((datakit, artifact))
}

/// Connections by their names.
pub(crate) type Connections = BTreeMap<String, Arc<dyn ConnectedSource>>;

/// Each connection of an ingest once, whatever the number of roles it plays.
pub(crate) fn connections(context: &Context, config: &Config, ingest: &Ingest) -> Result<Connections, Reports> {
    let mut opened = Connections::new();
    for name in ingest.roles.values() {
        // Names were checked when the configuration was read.
        let Some(connection) = config.connections.get(name) else { continue };
        if !opened.contains_key(name) {
            opened.insert(name.clone(), context.source(connection, config)?);
        }
    }
    Ok(opened)
}

fn roles(context: &Context, config: &Config, ingest: &Ingest, connections: &Connections) -> RoleSources {
    // Each connection once: the pool of a source is reported once.
    let mut sources = BTreeMap::new();
    let role = |(role, name): (&String, &String)| {
        let connection = config.connections.get(name)?;
        let opened = connections.get(name)?;
        let source = sources
            .entry(name.clone())
            .or_insert_with(|| protected(opened.source(), connection, config, &context.protected));
        Some((role.clone(), (Arc::clone(source), connection.source_system().to_owned())))
    };
    ingest.roles.iter().filter_map(role).collect()
}

/// How many connections of a pool workers can have at one time: a worker may need one of each connection of its ingest, and a run
/// from PostgreSQL keeps one for its snapshot.
fn connections_for_workers(own: &Connection, all: &[&Connection], config: &Config) -> u64 {
    let queries = max_queries(config, &own.address()).unwrap_or(u64::MAX);
    let Some(limit) = config.servers.get(&own.address()) else { return own.max_connections().min(queries) };
    let sharing: Vec<_> = all.iter().filter(|other| other.address() == own.address()).collect();
    let kept = sharing.iter().map(|other| other.kept_connections()).sum::<u64>();
    own.max_connections().min(queries).min(limit.saturating_sub(kept) / sharing.len().max(1) as u64)
}

/// The run's limits, with the ingest's own parallelism, and never more workers than the pool has connections: a worker
/// that waits for one longer than the pool allows would fail its table.
fn run_limits(config: &Config, ingest: &Ingest) -> RunLimits {
    let mut limits = config.limits.run.clone();
    let wanted = ingest.parallel.unwrap_or(limits.max_parallel_partitions);
    let mut names: Vec<&String> = ingest.roles.values().collect();
    names.sort_unstable();
    names.dedup();
    let connections: Vec<_> = names.iter().filter_map(|name| config.connections.get(*name)).collect();
    let smallest = connections.iter().map(|own| connections_for_workers(own, &connections, config)).min();
    let smallest = smallest.unwrap_or(wanted);
    limits.max_parallel_partitions = wanted.min(smallest).max(1);
    if limits.max_parallel_partitions < wanted {
        tracing::info!(
            target: "datakit",
            wanted,
            connections = smallest,
            "fewer partitions at one time than asked for: the pool is smaller, or `max_queries`"
        );
    }
    limits
}

#[cfg(test)]
mod tests {
    use datakit_config::{Layers, Overrides, load};

    use super::*;

    /// Two connections of one SQL Server and one of a PostgreSQL, each server with a bound.
    const WAREHOUSE: &str = r#"
[connections.one]
kind = "sqlserver"
source_system = "ONE"
server = "sql01"
database = "A"
auth = { user = "svc", password = { env = "P" } }
pool = { max_connections = 5 }

[connections.two]
kind = "sqlserver"
source_system = "TWO"
server = "sql01"
database = "B"
auth = { user = "svc", password = { env = "P" } }

[connections.shop]
kind = "postgres"
source_system = "SHOP"
host = "pg01"
database = "shop"
user = "svc"

[servers."sql01:1433"]
max_connections = 6

[servers."pg01:5432"]
max_connections = 4
"#;

    #[test]
    fn workers_have_their_share_of_a_servers_connections() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("warehouse.toml");
        let config = |text: &str| {
            std::fs::write(&file, text).unwrap();
            let layers = Layers { file: Some(file.clone()), environment: BTreeMap::new(), flags: Overrides::default() };
            load(&layers, &datakit_connectors::kinds()).unwrap()
        };
        let workers = |config: &Config, names: &[&str]| {
            let all: Vec<_> = names.iter().map(|name| &config.connections[*name]).collect();
            names
                .iter()
                .map(|name| connections_for_workers(&config.connections[*name], &all, config))
                .collect::<Vec<_>>()
        };
        let bounded = config(WAREHOUSE);
        assert_eq!(workers(&bounded, &["one"]), [5], "its own bound is the lower one");
        assert_eq!(workers(&bounded, &["two"]), [6]);
        assert_eq!(workers(&bounded, &["one", "two"]), [3, 3], "a worker may need one of each");
        assert_eq!(workers(&bounded, &["shop", "one"]), [3, 5], "one is the snapshot's");
        let unbounded = config(WAREHOUSE.split("[servers").next().unwrap());
        assert_eq!(workers(&unbounded, &["one", "two", "shop"]), [5, 8, 8]);
    }
}
