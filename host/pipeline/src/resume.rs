//! Loads that are gone on with: what a process of the same run has finished is not read again (docs/resume.md).

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use datakit_model::datakit::{Partition, TablePlan};
use datakit_model::resume::{FinishedPartition, FixedRows, KeptPartition, LoadPlan, Unfinished};
use datakit_model::sink::{TableWriter, WriteMode};
use datakit_model::{Failure, Retry, RunIdentity, printable};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use uuid::Uuid;

use crate::context::TableContext;
use crate::event::{NoticeLevel, RunEvent};
use crate::partition::PartitionResult;
use crate::rejected::hex;
use crate::writing;

/// How the load of a table is kept and gone on with; the default: neither.
#[derive(Debug, Default)]
pub(crate) struct Resume {
    /// None: nothing is kept.
    fingerprint: Option<String>,
    /// The plan that a process before has begun.
    before: Option<Arc<LoadPlan>>,
    /// The partitions that it has finished.
    finished: BTreeSet<u32>,
    /// The plan of this process, once its schema is known.
    own: OnceLock<Arc<LoadPlan>>,
}

/// A table and its plan, as they are loaded.
pub(crate) struct Load {
    pub(crate) context: TableContext,
    pub(crate) plan: TablePlan,
}

impl Load {
    /// Nothing of it is kept.
    pub(crate) fn new(context: &TableContext, plan: &TablePlan) -> Self {
        Self { context: context.clone(), plan: plan.clone() }
    }

    /// By the plan of a process before, with its time.
    fn resumed(mut self, fingerprint: String, before: LoadPlan, finished: &[FinishedPartition]) -> Self {
        let part = |(ordinal, part): (u32, &KeptPartition)| Partition {
            table: self.plan.table.clone(),
            ordinal,
            state: part.state.clone(),
            estimated_rows: part.estimated_rows,
        };
        self.plan.partitions = (0..).zip(&before.partitions).map(part).collect();
        self.plan.watermark_after.clone_from(&before.watermark_after);
        // One time for all rows of the load.
        self.context.session.run.started_at_micros = before.started_at_micros;
        let finished = finished.iter().map(|partition| partition.ordinal).collect();
        let (fingerprint, before) = (Some(fingerprint), Some(Arc::new(before)));
        self.context.resume = Arc::new(Resume { fingerprint, before, finished, own: OnceLock::new() });
        self
    }
}

/// Looks for what a process of the same run has left of this load. A plan of one partition is not looked for, and neither is the load
/// of a table with rules, which are about all of its rows.
pub(crate) async fn look(context: &TableContext, plan: &TablePlan) -> Result<Load, Failure> {
    let mut load = Load::new(context, plan);
    let sink = &context.destination.sink;
    let mode = writing::mode(context.destination.mode, plan.write);
    let Some(fixed) = plan.fixed.filter(|_| plan.partitions.len() > 1 && sink.keeps_loads(mode)) else {
        return Ok(load);
    };
    if !context.job.rules(plan)?.is_empty() {
        return Ok(load);
    }
    let fingerprint = fingerprint(context, plan, fixed, mode);
    let run = &context.job.run;
    let found = sink.unfinished(&run.source_system, &context.table, &run.run_id, &fingerprint).await?;
    let Unfinished { load: found, others } = found;
    if others > 0 {
        let text = format!(
            "{}: what run {} has left of this table is of another plan or too old: the table is loaded from its beginning",
            context.table, run.run_id
        );
        notice(context, NoticeLevel::Warning, &text);
    }
    match found {
        Some((before, finished)) => Ok(load.resumed(fingerprint, before, &finished)),
        None => {
            load.context.resume = Arc::new(Resume { fingerprint: Some(fingerprint), ..Resume::default() });
            Ok(load)
        }
    }
}

impl Resume {
    /// The first partition that is to be read; none: all are finished.
    pub(crate) fn first<'a>(&self, plan: &'a TablePlan) -> Option<&'a Partition> {
        self.missing(plan).next()
    }

    /// The partitions that are to be read.
    pub(crate) fn missing<'a>(&self, plan: &'a TablePlan) -> impl Iterator<Item = &'a Partition> {
        plan.partitions.iter().filter(|partition| !self.finished.contains(&partition.ordinal))
    }

    /// The columns of the rows that are there.
    pub(crate) fn schema(&self) -> Option<SchemaRef> {
        self.before.as_ref().map(|before| Arc::new(before.schema.clone()))
    }

    /// Whether the rows that are there have these columns, or none are there.
    pub(crate) fn fits(&self, schema: &SchemaRef) -> bool {
        self.before.as_ref().is_none_or(|before| before.schema == **schema)
    }

    /// Whether a failure to open a partition says that the earlier plan does not hold any more.
    pub(crate) fn is_refused_by(&self, failure: &Failure) -> bool {
        self.before.is_some() && failure.retry() == Retry::Never
    }

    fn is_kept(&self) -> bool {
        self.fingerprint.is_some()
    }

    /// The plan by which the sink keeps what is finished.
    pub(crate) fn load(&self, run: &RunIdentity, plan: &TablePlan, schema: &SchemaRef) -> Option<Arc<LoadPlan>> {
        let fingerprint = self.fingerprint.as_ref()?;
        let new = || match &self.before {
            Some(before) => Arc::clone(before),
            None => Arc::new(load_plan(run, plan, schema, fingerprint)),
        };
        Some(Arc::clone(self.own.get_or_init(new)))
    }
}

fn load_plan(run: &RunIdentity, plan: &TablePlan, schema: &SchemaRef, fingerprint: &str) -> LoadPlan {
    let part = |part: &Partition| KeptPartition { state: part.state.clone(), estimated_rows: part.estimated_rows };
    LoadPlan {
        version: LoadPlan::VERSION,
        id: Uuid::new_v4().to_string(),
        run_id: run.run_id.clone(),
        load_id: run.batch_id.to_string(),
        started_at_micros: run.started_at_micros,
        datakit: format!("{}@{}", run.datakit, run.version),
        digest: run.digest.clone(),
        fingerprint: fingerprint.to_owned(),
        schema: (**schema).clone(),
        partitions: plan.partitions.iter().map(part).collect(),
        watermark_after: plan.watermark_after.clone(),
    }
}

/// A digest of everything that two processes must share for one to go on with the load of the other. Ranges are not part of it: the
/// plan that was begun counts.
fn fingerprint(context: &TableContext, plan: &TablePlan, fixed: FixedRows, mode: WriteMode) -> String {
    let run = &context.job.run;
    let columns: Vec<String> =
        context.columns.iter().flat_map(|schema| schema.fields()).map(|field| format!("{field:?}")).collect();
    let roles: Vec<_> = plan.roles.named().map(|(role, name)| (role.name(), name)).collect();
    let states: Vec<_> = plan.partitions.iter().map(|partition| &partition.state).collect();
    let versions = (fixed == FixedRows::Versions).then(|| json!([states, plan.watermark_after]));
    let facts = json!([
        env!("CARGO_PKG_VERSION"),
        [&run.datakit, &run.version, &run.digest],
        context.session.settings,
        run.source_system,
        [&plan.table.catalog, &Some(plan.table.schema.clone()), &Some(plan.table.name.clone())],
        context.job.planned_from(&context.table),
        mode,
        [&plan.keys, &context.keys.to_vec(), &plan.partition_by],
        plan.strategy,
        roles,
        columns,
        fixed,
        versions,
        format!("{:?}", context.job.rejects),
    ]);
    hex(&Sha256::digest(facts.to_string().as_bytes())[..16])
}

fn notice(context: &TableContext, level: NoticeLevel, text: &str) {
    context.observer.event(RunEvent::Notice { level, text: printable::line(text).into_owned() });
}

/// Says that a load begins anew, since the source refuses to go on by the earlier plan.
pub(crate) fn report_refused(context: &TableContext, failure: &Failure) {
    let table = &context.table;
    let text = format!("{table}: the load that was begun cannot be gone on with ({failure}): it begins anew");
    notice(context, NoticeLevel::Warning, &text);
}

/// Says what is not read again.
pub(crate) fn report_finished(context: &TableContext, plan: &TablePlan, finished: &[FinishedPartition]) {
    if finished.is_empty() {
        return;
    }
    let rows: u64 = finished.iter().map(|partition| partition.rows).sum();
    let text = format!(
        "{}: {} of {} partitions ({rows} rows) were finished before, and are not read again",
        context.table,
        finished.len(),
        plan.partitions.len()
    );
    notice(context, NoticeLevel::Note, &text);
}

/// Keeps finished partitions from time to time.
pub(crate) struct Keeper<'a> {
    context: &'a TableContext,
    writer: &'a dyn TableWriter,
    is_on: bool,
    interval: Duration,
    due: Instant,
    pending: Vec<FinishedPartition>,
    /// Partitions that are not finished.
    missing: usize,
}

impl<'a> Keeper<'a> {
    /// For so many partitions that are to be read.
    pub(crate) fn new(context: &'a TableContext, writer: &'a dyn TableWriter, missing: usize) -> Self {
        let interval = Duration::from_millis(context.job.limits.keep_interval_ms);
        let is_on = context.resume.is_kept();
        Self { context, writer, is_on, interval, due: Instant::now() + interval, pending: Vec::new(), missing }
    }

    pub(crate) fn add(&mut self, result: &PartitionResult) {
        self.missing = self.missing.saturating_sub(1);
        if self.is_on {
            self.pending.push(FinishedPartition::new(result.ordinal, result.written, &result.report));
        }
    }

    /// Ends when something is to be kept; never, where nothing is. The last partition is followed by the commit.
    pub(crate) async fn due(&self) {
        if self.pending.is_empty() || self.missing == 0 {
            return std::future::pending().await;
        }
        tokio::time::sleep_until(self.due).await;
    }

    /// Keeps what is pending. A failure that may pass only costs time if the process is killed.
    ///
    /// # Errors
    /// The load belongs to another process, or the sink cannot be written.
    pub(crate) async fn keep(&mut self) -> Result<(), Failure> {
        self.due = Instant::now() + self.interval;
        match self.writer.keep(&self.pending).await {
            Ok(()) => self.pending.clear(),
            Err(failure) if failure.retry() == Retry::AfterBackoff => {
                self.warn(&failure);
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    /// The load has failed: keeps what is pending of one that has taken long.
    pub(crate) async fn end(mut self) {
        if self.pending.is_empty() || Instant::now() < self.due {
            return;
        }
        if let Err(failure) = self.keep().await {
            self.warn(&failure);
        }
    }

    fn warn(&self, failure: &Failure) {
        let text = format!("{}: finished partitions are not kept for a later run: {failure}", self.context.table);
        notice(self.context, NoticeLevel::Warning, &text);
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use datakit_model::datakit::RoleColumns;
    use datakit_model::{Kind, TableId};

    use super::*;

    fn plan() -> TablePlan {
        let table = TableId::new("dbo", "t");
        let part = |ordinal| Partition { table: table.clone(), ordinal, state: vec![7], estimated_rows: None };
        TablePlan {
            table: table.clone(),
            partitions: (0..3).map(part).collect(),
            watermark_after: Some("w".to_owned()),
            write: None,
            keys: Vec::new(),
            partition_by: Vec::new(),
            strategy: None,
            why: None,
            roles: RoleColumns::default(),
            fixed: Some(FixedRows::Ranges),
            rules: Vec::new(),
        }
    }

    fn schema(column: &str) -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new(column, DataType::Int32, false)]))
    }

    fn run() -> RunIdentity {
        RunIdentity {
            run_id: "nightly".to_owned(),
            batch_id: Uuid::from_u128(1),
            started_at_micros: 5,
            source_system: "ERP".to_owned(),
            datakit: "a".to_owned(),
            version: "0.1.0".to_owned(),
            digest: "sha256:00".to_owned(),
        }
    }

    fn resumed(finished: &[u32]) -> Resume {
        let before = Arc::new(load_plan(&run(), &plan(), &schema("id"), "ab"));
        let finished = finished.iter().copied().collect();
        Resume { fingerprint: Some("ab".to_owned()), before: Some(before), finished, own: OnceLock::new() }
    }

    #[test]
    fn first_partition_to_read_is_not_finished() {
        let first = |finished: &[u32]| resumed(finished).first(&plan()).map(|partition| partition.ordinal);
        assert_eq!([first(&[]), first(&[0]), first(&[0, 1]), first(&[0, 1, 2])], [Some(0), Some(1), Some(2), None]);
        assert_eq!(Resume::default().first(&plan()).map(|partition| partition.ordinal), Some(0));
    }

    #[test]
    fn rows_of_other_columns_are_not_gone_on_with() {
        assert!(resumed(&[0]).fits(&schema("id")));
        assert!(!resumed(&[0]).fits(&schema("other")));
        assert!(Resume::default().fits(&schema("other")), "nothing is there");
    }

    #[test]
    fn plan_of_a_process_before_stays_the_plan() {
        let resume = resumed(&[0]);
        let load = resume.load(&run(), &plan(), &schema("id")).unwrap();
        assert_eq!(Some(&load), resume.before.as_ref());
        let own = Resume { fingerprint: Some("ab".to_owned()), ..Resume::default() };
        let first = own.load(&run(), &plan(), &schema("id")).unwrap();
        assert_eq!(first.id, own.load(&run(), &plan(), &schema("id")).unwrap().id, "one plan a process");
        assert_ne!(first.id, load.id);
        assert!(Resume::default().load(&run(), &plan(), &schema("id")).is_none(), "nothing is kept");
    }

    #[test]
    fn only_lasting_failures_refuse_an_earlier_plan() {
        let failure = |retry| Failure::new("DK-TST-001", Kind::Source, retry, "test");
        assert!(resumed(&[0]).is_refused_by(&failure(Retry::Never)));
        assert!(!resumed(&[0]).is_refused_by(&failure(Retry::AfterBackoff)));
        assert!(!Resume::default().is_refused_by(&failure(Retry::Never)));
    }
}
