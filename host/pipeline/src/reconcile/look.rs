//! One look at a table: the rows of the sink, the rows of the source, and what differs.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use arrow::error::ArrowError;
use datakit_model::changes::Strategy;
use datakit_model::datakit::{RoleColumns, Session, Table, TablePlan};
use datakit_model::sink::{Sink, Target, WriteMode};
use datakit_model::source::Source;
use datakit_model::{
    ChangeKind, ColumnOrigin, DriftRule, Failure, Retry, RunIdentity, SourceTable, StateDocument, TableId,
};
use uuid::Uuid;

use super::Reconciliation;
use super::columns::{Columns, Output};
use super::comparable::Comparable;
use super::compare::{Found, compare};
use super::error::ReconcileError;
use super::held::{Held, Keys, Lanes, Reduction};
use super::rows::Side;
use super::scope::{Loaded, Rows};
use super::sink_side::HeldRows;
use super::source_side::LastPosition;
use crate::error::RunError;
use crate::job::{Job, new_run_id};
use crate::writing;

/// At most so many ranges that differ are remembered.
const MAX_RANGES: usize = 1_000;

/// Keys that are looked at again, by their bytes.
pub(super) type Wanted = Arc<HashSet<Vec<u8>>>;

/// A table that is looked at.
pub(super) struct Subject {
    pub(super) job: Arc<Job>,
    /// The connections, which give whole tables whatever the datakit asks for.
    whole: HashMap<String, Arc<dyn Source>>,
    pub(super) sink: Arc<dyn Sink>,
    mode: Option<WriteMode>,
    range_keys: u64,
    table: Table,
    pub(super) target: String,
}

/// What a look has found.
pub(super) struct Look {
    pub(super) result: Compared,
    pub(super) comparable: Arc<Comparable>,
    pub(super) rows: Rows,
    pub(super) not_in_sink: Vec<String>,
    pub(super) document: Option<StateDocument>,
    /// Row-level security of the source left out rows, or may have.
    pub(super) is_filtered: bool,
    /// What else the reader should know.
    pub(super) note: Option<String>,
}

/// Both sides, compared.
pub(super) enum Compared {
    /// Key by key.
    Keys(Found),
    /// As a whole: the source and the sink.
    Whole(Held, Held),
}

/// What the datakit says of a table's rows.
pub(super) struct Described {
    pub(super) session: Session,
    pub(super) plan: TablePlan,
    pub(super) schema: SchemaRef,
    origins: Vec<ColumnOrigin>,
    roles: RoleColumns,
    first: Option<RecordBatch>,
}

impl Subject {
    pub(super) fn new(
        job: &Arc<Job>,
        whole: &HashMap<String, Arc<dyn Source>>,
        how: &Reconciliation,
        table: Table,
        target: String,
    ) -> Self {
        let (job, whole, sink) = (Arc::clone(job), whole.clone(), Arc::clone(&how.sink));
        Self { job, whole, sink, mode: how.mode, range_keys: how.range_keys.max(1), table, target }
    }

    pub(super) fn id(&self) -> &TableId {
        &self.table.id
    }

    pub(super) fn source_system(&self) -> &str {
        &self.job.run.source_system
    }

    /// A look at all rows, or at those of some keys.
    pub(super) async fn look(&self, wanted: Option<Wanted>) -> Result<Look, Failure> {
        let (document, unfit) = self.document().await?;
        let described = self.described(document.as_ref()).await?;
        let absent = self.absent(&described).await?;
        let keys = self.keys(&described.plan);
        let output = Output {
            schema: &described.schema,
            origins: &described.origins,
            roles: &described.roles,
            source: &self.table.columns,
            absent: &absent,
            keys,
        };
        let (columns, load_time) = (output.columns(), load_time(&output, &described));
        let roles = in_sink(&described.roles, &absent);
        if document.is_none() {
            self.check_is_there(&columns).await?;
        }
        let rows = self.rows(&described, (&roles, load_time.as_deref()), &columns, document.as_ref()).await?;
        let held = self.held(&columns, &roles, (rows, load_time.as_deref(), wanted.clone())).await?;
        let HeldRows { comparable, side: of_sink } = held;
        let (of_source, is_filtered) = self.delivered(&described, &columns, &comparable, wanted.as_ref()).await?;
        if self.document().await?.0.map(|it| it.sequence) != document.as_ref().map(|it| it.sequence) {
            return Err(self.moving("a run has loaded it meanwhile"));
        }
        let result = self.compared(of_source, of_sink, comparable.lanes, rows.reduction()).await?;
        let not_in_sink = columns.not_in_sink;
        let note = unfit.map(|failure| format!("the state of the table does not count: {}: {failure}", failure.code()));
        Ok(Look { result, comparable, rows, not_in_sink, document, is_filtered, note })
    }

    /// What the last load left, or why it does not count: who changes rows behind the host's back may have done that too.
    async fn document(&self) -> Result<(Option<StateDocument>, Option<Failure>), Failure> {
        match self.sink.document(self.source_system(), self.id()).await {
            Ok(document) => Ok((document, None)),
            Err(failure) if failure.retry() == Retry::Never => Ok((None, Some(failure))),
            Err(failure) => Err(failure),
        }
    }

    /// What the last load has reached, as only the host's own strategies say it.
    pub(super) fn position(&self, document: Option<&StateDocument>) -> Option<String> {
        let source = SourceTable::new(self.source_system(), self.id());
        let watermark = document.and_then(|document| document.state(&source).watermark);
        watermark.filter(|watermark| Strategy::of_position(watermark).is_some())
    }

    /// A session that leaves out rows with bad values where loads do: the sink does not have them.
    pub(super) fn lenient_session(&self) -> Session {
        self.job.session_of(&self.job.session(None), &Arc::from(self.table.primary_key.as_slice()))
    }

    /// How a session reads the whole table, by the strategy of the last load. Each look has a run id of its own, so that a server
    /// shows the rows of now.
    fn session(&self, position: Option<String>) -> Session {
        let session = self.lenient_session();
        Session {
            run: RunIdentity { run_id: new_run_id(), ..session.run },
            roles: self.whole.clone(),
            watermarks: Arc::new(LastPosition { table: self.id().clone(), position }),
            ..session
        }
    }

    pub(super) async fn planned(&self, session: &Session) -> Result<TablePlan, Failure> {
        let mut plans = self.job.datakit.plan(session, std::slice::from_ref(self.id())).await?;
        plans.pop().ok_or_else(|| self.crashed("a datakit gave no plan"))
    }

    async fn described(&self, document: Option<&StateDocument>) -> Result<Described, Failure> {
        let session = self.session(self.position(document));
        let plan = self.planned(&session).await?;
        let first = plan.partitions.first().ok_or_else(|| self.crashed("a plan without partitions"))?;
        let mut extraction = self.job.datakit.extract(&session, first).await?;
        writing::check_roles(&plan, extraction.roles())?;
        let (schema, origins) = (extraction.schema(), extraction.origins());
        let roles = extraction.roles().clone();
        let first = extraction.next().await?.map(|batch| batch.batch().slice(0, batch.batch().num_rows().min(1)));
        Ok(Described { session, plan, schema, origins, roles, first })
    }

    fn keys<'a>(&'a self, plan: &'a TablePlan) -> &'a [String] {
        if plan.keys.is_empty() { &self.table.primary_key } else { &plan.keys }
    }

    /// The columns that the sink's table does not have.
    async fn absent(&self, described: &Described) -> Result<HashSet<String>, Failure> {
        let (schema, run) = (Arc::clone(&described.schema), described.session.run.clone());
        let target = Target::new(self.id().clone(), schema, WriteMode::Append, run);
        let changes = self.sink.drift(&Target { drift: DriftRule::Evolve, ..target }).await?;
        Ok(changes.into_iter().filter(|it| it.change == ChangeKind::Added).map(|it| it.column).collect())
    }

    async fn rows(
        &self,
        described: &Described,
        (roles, load_time): (&RoleColumns, Option<&str>),
        columns: &Columns,
        document: Option<&StateDocument>,
    ) -> Result<Rows, Failure> {
        let source = SourceTable::new(self.source_system(), self.id());
        let goes_on = match document {
            Some(document) => document.state(&source).watermark.is_some(),
            None => described.plan.watermark_after.is_some(),
        };
        let last_load = match document {
            Some(document) => document.load.load_id.as_deref().and_then(|id| Uuid::try_parse(id).ok()),
            None => self.last_load_held(roles, load_time).await?,
        };
        let loaded = Loaded {
            mode: writing::mode(self.mode, described.plan.write),
            roles,
            has_key: !columns.keys.is_empty(),
            has_load_time: load_time.is_some(),
            loads: document.map(|document| document.sequence),
            last_load,
            goes_on,
        };
        let (table, target) = (self.id().to_string(), self.target.clone());
        Ok(loaded.rows().map_err(|reason| ReconcileError::Incomparable { table, target, reason })?)
    }

    async fn compared(
        &self,
        source: Side,
        sink: Side,
        lanes: Lanes,
        reduction: Reduction,
    ) -> Result<Compared, Failure> {
        let range_keys = self.range_keys;
        let compared = tokio::task::spawn_blocking(move || match (source, sink) {
            (Side::ByKey(source), Side::ByKey(sink)) => {
                let source = Keys::new(source.finish()?, lanes, Reduction::Sum)?;
                let sink = Keys::new(sink.finish()?, lanes, reduction)?;
                compare(source, sink, range_keys, MAX_RANGES).map(Compared::Keys)
            }
            (Side::Whole(source), Side::Whole(sink)) => Ok(Compared::Whole(source, sink)),
            _ => Err(std::io::ErrorKind::InvalidInput.into()),
        });
        let compared = compared.await.map_err(|crash| self.crashed(&crash.to_string()))?;
        compared.map_err(|source| self.spool_failed(source))
    }

    fn moving(&self, what: &'static str) -> Failure {
        ReconcileError::Moving { table: self.id().to_string(), what }.into()
    }

    pub(super) fn crashed(&self, message: &str) -> Failure {
        RunError::Crashed { table: self.id().clone(), message: message.to_owned() }.into()
    }

    pub(super) fn values_failed(&self, source: ArrowError) -> Failure {
        ReconcileError::Values { table: self.id().to_string(), source }.into()
    }

    pub(super) fn spool_failed(&self, source: std::io::Error) -> Failure {
        ReconcileError::Spool { table: self.id().to_string(), source }.into()
    }
}

/// The roles whose columns the sink has.
fn in_sink(roles: &RoleColumns, absent: &HashSet<String>) -> RoleColumns {
    let there = |name: &Option<String>| name.clone().filter(|name| !absent.contains(name));
    RoleColumns {
        load_id: there(&roles.load_id),
        operation: there(&roles.operation),
        version: there(&roles.version),
        commit_time: there(&roles.commit_time),
        missing_columns: there(&roles.missing_columns),
    }
}

/// The column with the start of the load: of several, the one that has it now.
fn load_time(output: &Output<'_>, described: &Described) -> Option<String> {
    let is_start = |place: &usize| {
        described.first.as_ref().is_none_or(|batch| {
            let times = arrow::compute::cast(batch.column(*place), &DataType::Int64);
            let started = described.session.run.started_at_micros;
            times.is_ok_and(|times| times.as_primitive::<Int64Type>().iter().next() == Some(Some(started)))
        })
    };
    let places: Vec<usize> = output.load_times().into_iter().filter(is_start).collect();
    match places.as_slice() {
        [place] => Some(output.schema.field(*place).name().clone()),
        _ => None,
    }
}
