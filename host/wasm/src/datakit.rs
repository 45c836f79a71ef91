//! A datakit, ready to be asked.

use std::sync::Arc;

use async_trait::async_trait;
use datakit_model::datakit::{self, Discovery, Info, Partition, Role, Session, TablePlan, Verdict};
use datakit_model::{Failure, GuestLimits, TableId, TablePattern, TablePatterns};
use tokio::sync::OnceCell;

use crate::bounded::{self, Place};
use crate::check;
use crate::engine::Ticker;
use crate::error::{Call, WasmError};
use crate::extraction::Extraction;
use crate::instance::{Instance, guarded};
use crate::state::{DiscoveryHandle, GuestLog, Speaker, State};
use crate::v0_2::ExportsPre;

/// A compiled datakit. Cheap to clone; calls may run at the same time, each has an instance of its own.
#[derive(Clone)]
pub struct Datakit(Arc<Inner>);

struct Inner {
    component: ExportsPre,
    ticker: Arc<Ticker>,
    limits: Arc<GuestLimits>,
    place: Place,
    digest: String,
    described: OnceCell<Described>,
}

struct Described {
    info: Info,
    roles: Arc<[Role]>,
}

impl std::fmt::Debug for Datakit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Datakit").field("digest", &self.0.digest).finish_non_exhaustive()
    }
}

impl Datakit {
    pub(crate) fn new(
        component: ExportsPre,
        ticker: Arc<Ticker>,
        limits: Arc<GuestLimits>,
        place: Place,
        digest: String,
    ) -> Self {
        Self(Arc::new(Inner { component, ticker, limits, place, digest, described: OnceCell::new() }))
    }

    /// What the datakit is. Asked once; the answer is kept.
    ///
    /// # Errors
    /// The guest's end, or an answer that is not acceptable.
    pub async fn describe(&self) -> Result<Info, WasmError> {
        Ok(self.described().await?.info.clone())
    }

    /// What settings break of the datakit's schema.
    ///
    /// # Errors
    /// As [`Self::describe`]; a schema that takes too much to check.
    pub async fn check_settings(&self, settings: &serde_json::Value) -> Result<Verdict, WasmError> {
        let schema = &self.described().await?.info.settings_schema;
        bounded::check_settings(&self.0.place, &self.0.limits, schema, settings).await
    }

    /// Whether settings can be checked against the datakit's schema at all.
    ///
    /// # Errors
    /// As [`Self::check_settings`]; a schema that is none.
    pub async fn check_schema(&self) -> Result<(), WasmError> {
        match self.check_settings(&serde_json::json!({})).await? {
            Verdict::Problems(_) => Ok(()),
            Verdict::BadSchema(problem) => {
                Err(WasmError::BadInfo { problem: format!("the settings schema is not valid: {problem}") })
            }
        }
    }

    async fn described(&self) -> Result<&Described, WasmError> {
        self.0
            .described
            .get_or_try_init(async || {
                let mut instance = self.instance(None, Arc::from([])).await?;
                instance.begin(Call::Describe)?;
                let described = guarded(instance.exports.describe(&mut instance.store)).await;
                let info = check::info(instance.finish(described)?)?;
                let roles = Arc::from(info.roles.as_slice());
                Ok(Described { info, roles })
            })
            .await
    }

    /// The tables there are, each checked by itself: at least those that `wanted` selects.
    ///
    /// # Errors
    /// The guest's end, its own error, an error of the source, or an answer that is not acceptable as a whole.
    pub async fn discover(&self, session: &Session, wanted: &TablePatterns) -> Result<Discovery, WasmError> {
        let mut instance = self.session_instance(session).await?;
        instance.begin(Call::Discover)?;
        let asked = patterns(wanted);
        let discovered = guarded(instance.exports.discover(&mut instance.store, asked)).await;
        match instance.finish(discovered)? {
            Ok(tables) => check::tables(tables, &self.0.limits),
            Err(error) => Err(instance.returned(error)),
        }
    }

    /// How to read these tables: one plan for each, in the datakit's order, partitions in the order of their ordinals.
    ///
    /// # Errors
    /// As [`Self::discover`].
    pub async fn plan(&self, session: &Session, tables: &[TableId]) -> Result<Vec<TablePlan>, WasmError> {
        let mut instance = self.session_instance(session).await?;
        instance.begin(Call::Plan)?;
        let planned = guarded(instance.exports.plan(&mut instance.store, tables)).await;
        match instance.finish(planned)? {
            Ok(plans) => check::plans(plans, tables, &self.0.limits),
            Err(error) => Err(instance.returned(error)),
        }
    }

    /// The rows of one partition, in a fresh instance.
    ///
    /// # Errors
    /// As [`Self::discover`].
    pub async fn extract(&self, session: &Session, partition: &Partition) -> Result<Extraction, WasmError> {
        let mut instance = self.session_instance(session).await?;
        instance.begin(Call::ExtractionOpen)?;
        let opened = guarded(instance.exports.open(&mut instance.store, &Arc::new(partition.clone()))).await;
        let extraction = match instance.finish(opened)? {
            Ok(extraction) => extraction,
            Err(error) => return Err(instance.returned(error)),
        };
        instance.begin(Call::ExtractionOutput)?;
        let output = guarded(instance.exports.output(&mut instance.store, extraction)).await;
        let schema = check::output(instance.finish(output)?, &self.0.limits)?;
        Ok(Extraction::new(instance, extraction, schema))
    }

    async fn session_instance(&self, session: &Session) -> Result<Instance, WasmError> {
        let roles = Arc::clone(&self.described().await?.roles);
        self.instance(Some(session.clone()), roles).await
    }

    async fn instance(&self, session: Option<Session>, roles: Arc<[Role]>) -> Result<Instance, WasmError> {
        let limits = &self.0.limits;
        let speaker = match &session {
            Some(session) => Speaker {
                run_id: session.run.run_id.clone(),
                datakit: format!("{}@{}", session.run.datakit, session.run.version),
            },
            None => Speaker { run_id: String::new(), datakit: self.0.digest.clone() },
        };
        let run = session.as_ref().map(|session| session.log.clone()).unwrap_or_default();
        let log = GuestLog::new(speaker, Arc::clone(limits), run);
        let state = State::new(Arc::clone(limits), self.0.ticker.clock(), session, roles, log);
        Instance::new(self.0.component.engine(), &self.0.ticker, &self.0.component, state).await
    }
}

/// What the datakit is told of the operator's patterns.
fn patterns(tables: &TablePatterns) -> DiscoveryHandle {
    let (exclude, include): (Vec<_>, Vec<_>) = tables.patterns().iter().partition(|pattern| pattern.is_exclusion());
    let texts =
        |patterns: Vec<&TablePattern>| patterns.into_iter().map(|pattern| pattern.selector().to_owned()).collect();
    DiscoveryHandle { include: texts(include), exclude: texts(exclude) }
}

#[async_trait]
impl datakit::Datakit for Datakit {
    async fn describe(&self) -> Result<Info, Failure> {
        Ok(Self::describe(self).await?)
    }

    async fn check_settings(&self, settings: &serde_json::Value) -> Result<Verdict, Failure> {
        Ok(Self::check_settings(self, settings).await?)
    }

    async fn discover(&self, session: &Session, wanted: &TablePatterns) -> Result<Discovery, Failure> {
        Ok(Self::discover(self, session, wanted).await?)
    }

    async fn plan(&self, session: &Session, tables: &[TableId]) -> Result<Vec<TablePlan>, Failure> {
        Ok(Self::plan(self, session, tables).await?)
    }

    async fn extract(&self, session: &Session, partition: &Partition) -> Result<Box<dyn datakit::Extraction>, Failure> {
        Ok(Box::new(Self::extract(self, session, partition).await?))
    }
}
