use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use datakit_model::datakit::Datakit;
use datakit_model::datakit::{Discovery, Info, RunLog, Session, TablePlan, Verdict, Watermarks};
use datakit_model::memory::ByteLimit;
use datakit_model::quality::{OperatorRule, TableRule};
use datakit_model::rejects::{RejectBounds, Rejecting};
use datakit_model::sink::{Sink, WriteMode};
use datakit_model::source::Source;
use datakit_model::{
    DriftRules, Failure, HashKeys, MemoryBudget, ReceiptLevel, RunIdentity, RunLimits, TableId, TablePatterns,
};
use datakit_registry::{Reference, Selector};
use sha2::{Digest as _, Sha256};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::backfill::Backfill;
use crate::error::RunError;
use crate::event::{Observer, RunEvent};
use crate::quality;

/// What a component has to say it is.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// The datakit's name.
    pub name: String,
    /// Its version; none: the one that the datakit says.
    pub version: Option<String>,
    /// The manifest digest, `sha256:…`.
    pub digest: String,
}

impl Artifact {
    /// What a pulled component has to say: what its manifest says, which the registry holds against the reference; where the
    /// manifest says nothing, what it was asked for by.
    #[must_use]
    pub fn of_pulled(reference: &Reference, pulled: &datakit_registry::Artifact) -> Self {
        let asked = match &reference.selector {
            Selector::Version(version) => Some(version.to_string()),
            Selector::Digest(_) => None,
        };
        let published = pulled.description.as_ref().map(|description| description.version.clone());
        Self { name: reference.name.clone(), version: published.or(asked), digest: pulled.digest.as_str().to_owned() }
    }

    /// Whether a datakit says so.
    ///
    /// # Errors
    /// It says that it is another one, or of another version.
    pub fn check(&self, info: &Info) -> Result<(), Failure> {
        if info.name == self.name && self.version.as_ref().is_none_or(|version| *version == info.version) {
            return Ok(());
        }
        let version = self.version.as_ref().map(|version| format!("@{version}")).unwrap_or_default();
        Err(RunError::Misnamed {
            expected: format!("{}{version}", self.name),
            described: format!("{}@{}", info.name, info.version),
        }
        .into())
    }
}

/// One run as the operator asked for it.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// The id in logs, state and events.
    pub run_id: String,
    /// Start of the run, microseconds since 1970-01-01 UTC.
    pub started_at_micros: i64,
}

/// Role → source, with the name of its source system.
pub type RoleSources = BTreeMap<String, (Arc<dyn Source>, String)>;

/// Everything a job is made of, unchecked.
pub struct JobParts {
    /// The loaded component.
    pub datakit: Arc<dyn Datakit>,
    /// What it has to say it is.
    pub artifact: Artifact,
    /// The run.
    pub request: RunRequest,
    /// As the operator mapped them.
    pub roles: RoleSources,
    /// Selection and grant.
    pub tables: TablePatterns,
    /// The keys of keyed hashes that the operator granted.
    pub keys: HashKeys,
    /// What the operator says about quality.
    pub quality: Vec<OperatorRule>,
    /// The datakit's settings, a JSON object.
    pub settings: serde_json::Value,
    /// The run's limits.
    pub limits: RunLimits,
    /// What happens where the columns of a table are not those of its source.
    pub drift: DriftRules,
    /// What is compared between source and sink before rows become visible.
    pub receipt: ReceiptLevel,
    /// How many rows with bad values may be rejected; none: a bad value fails its table.
    pub rejects: Option<RejectBounds>,
}

/// What one of several jobs that read the same has of its own.
#[derive(Debug, Clone, Default)]
pub struct OwnParts {
    /// What the operator says about quality.
    pub quality: Vec<OperatorRule>,
    /// What happens where the columns of a table are not those of its source.
    pub drift: DriftRules,
    /// What is compared between source and sink before rows become visible.
    pub receipt: ReceiptLevel,
}

/// A datakit with its roles, grant and settings, all checked. Opens nothing by itself.
pub struct Job {
    pub(crate) datakit: Arc<dyn Datakit>,
    pub(crate) run: RunIdentity,
    pub(crate) limits: RunLimits,
    pub(crate) tables: TablePatterns,
    pub(crate) drift: DriftRules,
    pub(crate) quality: Vec<OperatorRule>,
    pub(crate) receipt: ReceiptLevel,
    pub(crate) rejects: Option<RejectBounds>,
    /// None: rows are loaded.
    pub(crate) backfill: Option<Backfill>,
    keys: HashKeys,
    info: Info,
    roles: HashMap<String, Arc<dyn Source>>,
    settings: String,
    memory: MemoryBudget,
    rejected: ByteLimit,
    log: RunLog,
    planned_from: PlannedFrom,
    unreadable: Unreadable,
}

impl Job {
    /// Asks the datakit to describe itself and checks that the parts fit it.
    ///
    /// # Errors
    /// A role without a connection, a connection of another kind, settings that break the datakit's schema, an artifact
    /// that is not what it says.
    pub async fn new(parts: JobParts) -> Result<Self, Failure> {
        let info = parts.datakit.describe().await?;
        parts.artifact.check(&info)?;
        check_roles(&info, &parts.roles)?;
        check_settings(&info, parts.datakit.check_settings(&parts.settings).await?)?;
        // The first role is the one the rows come from.
        let source_system = info
            .roles
            .first()
            .and_then(|role| parts.roles.get(&role.name))
            .map(|(_, source_system)| source_system.clone())
            .unwrap_or_default();
        let run = RunIdentity {
            batch_id: batch_id(&parts.request.run_id),
            run_id: parts.request.run_id,
            started_at_micros: parts.request.started_at_micros,
            source_system,
            datakit: info.name.clone(),
            version: info.version.clone(),
            digest: parts.artifact.digest,
        };
        Ok(Self {
            datakit: parts.datakit,
            run,
            memory: MemoryBudget::new(parts.limits.max_memory_bytes),
            rejected: ByteLimit::new(parts.limits.max_rejected_bytes),
            log: RunLog::default(),
            limits: parts.limits,
            receipt: parts.receipt,
            rejects: parts.rejects,
            backfill: None,
            tables: parts.tables,
            drift: parts.drift,
            quality: parts.quality,
            keys: parts.keys,
            info,
            roles: parts.roles.into_iter().map(|(role, (source, _))| (role, source)).collect(),
            settings: parts.settings.to_string(),
            planned_from: PlannedFrom::default(),
            unreadable: Unreadable::default(),
        })
    }

    /// A job that reads the same, for another sink: by the same datakit and connections, and within the same memory.
    #[must_use]
    pub fn beside(&self, own: OwnParts) -> Self {
        Self {
            datakit: Arc::clone(&self.datakit),
            run: self.run.clone(),
            memory: self.memory.clone(),
            rejected: self.rejected.clone(),
            log: self.log.clone(),
            limits: self.limits.clone(),
            tables: self.tables.clone(),
            keys: self.keys.clone(),
            info: self.info.clone(),
            roles: self.roles.clone(),
            settings: self.settings.clone(),
            drift: own.drift,
            quality: own.quality,
            receipt: own.receipt,
            rejects: self.rejects,
            backfill: None,
            planned_from: PlannedFrom::default(),
            unreadable: Unreadable::default(),
        }
    }

    /// What the datakit says of itself.
    #[must_use]
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// Who is running.
    #[must_use]
    pub fn run(&self) -> &RunIdentity {
        &self.run
    }

    /// The rules of quality of a planned table: the datakit's, as the operator changes them, and the operator's own.
    ///
    /// # Errors
    /// Two rules of one name, a rule that refers to its own table.
    pub fn rules(&self, plan: &TablePlan) -> Result<Vec<TableRule>, Failure> {
        Ok(quality::rules_of(&self.quality, &plan.table, &plan.rules)?)
    }

    /// Tells what the pools of the job's sources have done so far, each once.
    pub(crate) fn report_connections(&self, observer: &dyn Observer, is_last: bool) {
        let mut reported: Vec<&Arc<dyn Source>> = Vec::new();
        for source in self.roles.values() {
            if reported.iter().any(|other| Arc::ptr_eq(other, source)) {
                continue;
            }
            reported.push(source);
            if let Some(pool) = source.pool() {
                observer.event(RunEvent::Connections { pool, is_last });
            }
        }
    }

    /// The selection, comparing names as the sources do that are read: the strictest of them.
    pub(crate) async fn selection(&self, discovery: &Discovery) -> Result<TablePatterns, Failure> {
        let valid = discovery.tables.iter().map(|table| &table.id);
        let tables: Vec<TableId> = valid.chain(discovery.invalid.iter().map(|table| &table.id)).cloned().collect();
        let mut selection = self.tables.clone();
        for source in self.roles.values() {
            let compared = source.compared(&self.tables, &tables).await?;
            if compared.rule() > selection.rule() {
                selection = compared;
            }
        }
        Ok(selection)
    }

    /// What the datakit's instances see of the host while they read; watermarks come from the sink's state, where there is a
    /// sink.
    pub(crate) fn session(&self, destination: Option<Destination>) -> Session {
        self.session_with(destination, None)
    }

    /// The same while the datakit discovers and plans. A table whose state cannot be read fails by itself: the datakit is
    /// told that the table has no watermark, and [`Self::state_failure`] knows better.
    pub(crate) fn planning_session(&self, destination: Option<Destination>) -> Session {
        self.session_with(destination, Some(Arc::clone(&self.unreadable)))
    }

    /// Why the state of a table could not be read when the datakit asked for its watermark.
    pub(crate) fn state_failure(&self, table: &TableId) -> Option<Failure> {
        self.unreadable.lock().unwrap_or_else(PoisonError::into_inner).get(table).cloned()
    }

    fn session_with(&self, destination: Option<Destination>, unreadable: Option<Unreadable>) -> Session {
        // What a run replaces has no watermark: nothing of it will be left.
        let sink = destination.filter(|to| to.mode != Some(WriteMode::Overwrite)).map(|to| to.sink);
        Session {
            run: self.run.clone(),
            settings: self.settings.clone(),
            roles: self.roles.clone(),
            tables: self.tables.clone(),
            keys: self.keys.clone(),
            memory: self.memory.clone(),
            rejected: self.rejected.clone(),
            rejecting: None,
            log: self.log.clone(),
            watermarks: Arc::new(SinkState {
                sink,
                source_system: self.run.source_system.clone(),
                planned_from: Arc::clone(&self.planned_from),
                unreadable,
                answers: OnceCell::new(),
            }),
        }
    }

    /// The same session, for the rows of a table with this key.
    pub(crate) fn session_of(&self, session: &Session, keys: &Arc<[String]>) -> Session {
        let rejecting = self.rejects.map(|bounds| Rejecting { bounds, keys: Arc::clone(keys) });
        Session { rejecting, ..session.clone() }
    }

    /// The watermark that the plan of a table was made from; none when the datakit did not ask for it.
    pub(crate) fn planned_from(&self, table: &TableId) -> Option<Option<String>> {
        self.planned_from.lock().unwrap_or_else(PoisonError::into_inner).get(table).cloned()
    }
}

/// Where and how a run writes.
#[derive(Clone)]
pub struct Destination {
    /// The sink.
    pub sink: Arc<dyn Sink>,
    /// What happens to rows that are there, as the operator says; none: a table that holds rows gets none added by a full load.
    pub mode: Option<WriteMode>,
}

/// The watermarks that a run's plans were made from.
type PlannedFrom = Arc<Mutex<HashMap<TableId, Option<String>>>>;

/// Tables whose state could not be read while the datakit planned, and why.
type Unreadable = Arc<Mutex<HashMap<TableId, Failure>>>;

/// Tables of which this is kept: with more, the sink itself is the trouble.
const MAX_UNREADABLE: usize = 10_000;

struct SinkState {
    sink: Option<Arc<dyn Sink>>,
    source_system: String,
    planned_from: PlannedFrom,
    /// None: a state that cannot be read ends the instance.
    unreadable: Option<Unreadable>,
    /// Set when the sink has answered: it is asked once, whatever the number of tables that it refuses.
    answers: OnceCell<()>,
}

impl SinkState {
    /// Notes that the state of one table cannot be read, if that says nothing about other tables: the sink answers.
    async fn note_unreadable(&self, sink: &Arc<dyn Sink>, table: &TableId, failure: Failure) -> Result<(), Failure> {
        let Some(unreadable) = &self.unreadable else { return Err(failure) };
        self.answers.get_or_try_init(|| sink.answers()).await?;
        let mut unreadable = unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        if unreadable.len() >= MAX_UNREADABLE {
            return Err(failure);
        }
        unreadable.insert(table.clone(), failure);
        Ok(())
    }
}

#[async_trait]
impl Watermarks for SinkState {
    async fn watermark(&self, table: &TableId) -> Result<Option<String>, Failure> {
        let Some(sink) = &self.sink else { return Ok(None) };
        let watermark = match sink.state(&self.source_system, table).await {
            Ok(state) => state.and_then(|state| state.watermark),
            Err(failure) => return self.note_unreadable(sink, table, failure).await.map(|()| None),
        };
        // The first answer counts: a later one may be newer than what a plan was made from.
        let mut planned_from = self.planned_from.lock().unwrap_or_else(PoisonError::into_inner);
        planned_from.entry(table.clone()).or_insert_with(|| watermark.clone());
        Ok(watermark)
    }
}

/// A new run id: a UUID of version 7, so that ids sort by time.
#[must_use]
pub fn new_run_id() -> String {
    Uuid::now_v7().to_string()
}

/// The id of a run's load: the run id itself when it is a UUID, else a UUID of version 8 made from its SHA-256, so that the same
/// `--run-id` always gives the same batch id.
#[must_use]
pub fn batch_id(run_id: &str) -> Uuid {
    Uuid::try_parse(run_id).unwrap_or_else(|_| {
        let digest = Sha256::digest(run_id.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    })
}

fn check_roles(info: &Info, roles: &RoleSources) -> Result<(), RunError> {
    if let Some(role) = roles.keys().find(|name| !info.roles.iter().any(|r| &r.name == *name)) {
        return Err(RunError::UnknownRole {
            role: role.clone(),
            datakit: info.name.clone(),
            known: info.roles.iter().map(|r| r.name.clone()).collect(),
        });
    }
    for role in &info.roles {
        let Some((source, _)) = roles.get(&role.name) else {
            return Err(RunError::RoleNotMapped {
                role: role.name.clone(),
                datakit: info.name.clone(),
                purpose: role.purpose.clone(),
            });
        };
        if !role.kinds.iter().any(|kind| kind == source.kind()) {
            return Err(RunError::RoleKind {
                role: role.name.clone(),
                kinds: role.kinds.clone(),
                found: source.kind().to_owned(),
            });
        }
    }
    Ok(())
}

fn check_settings(info: &Info, verdict: Verdict) -> Result<(), RunError> {
    let datakit = info.name.clone();
    match verdict {
        Verdict::Problems(problems) if problems.is_empty() => Ok(()),
        Verdict::Problems(problems) => Err(RunError::Settings { datakit, problems }),
        Verdict::BadSchema(problem) => Err(RunError::SettingsSchema { datakit, problem }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_id_depends_on_the_run_id_alone() {
        let uuid = "0190b3a2-7a3c-7b1e-8000-0242ac120002";
        assert_eq!(batch_id(uuid).to_string(), uuid);
        assert_eq!(batch_id("nightly-2026-11-21"), batch_id("nightly-2026-11-21"));
        assert_ne!(batch_id("a"), batch_id("b"));
    }
}
