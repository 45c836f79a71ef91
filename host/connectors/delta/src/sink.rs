//! The traits, for Delta.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use datakit_model::resume::{FinishedPartition, Leftover, Unfinished};
use datakit_model::{ColumnChange, Failure, SourceTable, StateDocument, TableId, TableState, TrackedBatch};
use datakit_parquet::{DataFile, EncodingMemory, FilePlan, Message, WriterOptions, write_partition};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, Sender};
use tokio::task::JoinHandle;

use super::commit::{Commit, CommitError, Log};
use super::config::{DeltaConfig, Root};
use super::encode::DeltaRows;
use super::merge::{MergeMemory, MergeWriter, check_update};
use super::partitioning::Partitioning;
use super::records::Records;
use super::schema::TableSchema;
use super::slots::{OpenSlot, Partitions, Slot, lock};
use super::unfinished::KeptLoad;
use super::{drift, names, probe, receipt, tables, unfinished, values};
use datakit_connect::sink::SinkError;
use datakit_connect::sink::columns::check_mode;
use datakit_connect::sink::drift::Fit;
use datakit_model::receipt::Receipt;
use datakit_model::sink::{
    CommitNote, Committed, KeptRecord, KeptState, PartitionWriter, RecordName, RetryUnit, Sink, TableRows, TableValues,
    TableWriter, Target, WriteMode, Written,
};

/// Delta tables under one root.
///
/// ```no_run
/// # async fn example() -> Result<(), datakit_model::Failure> {
/// use datakit_model::TableId;
/// use datakit_model::sink::Sink;
/// use datakit_delta::{DeltaConfig, DeltaSink};
///
/// let sink = DeltaSink::new(DeltaConfig::new("./bronze"))?;
/// let state = sink.state("ERP", &TableId::new("dbo", "orders")).await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct DeltaSink {
    root: Root,
    config: DeltaConfig,
    memory: Arc<EncodingMemory>,
    merges: MergeMemory,
}

impl DeltaSink {
    /// A sink for tables under `config.uri`. Nothing is created yet.
    ///
    /// # Errors
    /// A URI that is no directory and of no store this build knows.
    pub fn new(config: DeltaConfig) -> Result<Self, SinkError> {
        let memory = EncodingMemory::new(config.max_encoding_bytes);
        let merges = MergeMemory::new(config.max_merge_bytes);
        Ok(Self { root: Root::parse(&config.uri, &config.store)?, config, memory, merges })
    }

    /// The root, as a path or URI.
    #[must_use]
    pub fn place(&self) -> String {
        self.root.to_string()
    }

    /// Whether it is in an object store.
    #[must_use]
    pub fn is_in_store(&self) -> bool {
        self.root.local().is_none()
    }

    /// Whether the object store answers and lets us look into the root; a file system always does.
    ///
    /// # Errors
    /// What the store says.
    pub async fn reach(&self) -> Result<(), SinkError> {
        probe::reach(&self.root, &self.config.store).await
    }

    /// Whether the object store refuses a write whose condition does not hold: what keeps two runs at once apart. Writes an
    /// object and deletes it. A file system is not asked.
    ///
    /// # Errors
    /// [`SinkError::Unconditional`], or what the store says.
    pub async fn probe_conditions(&self) -> Result<(), SinkError> {
        probe::conditions(&self.root, &self.config.store).await
    }

    fn table_root(&self, source_system: &str, table: &TableId) -> Result<Root, SinkError> {
        let mut segments = vec![names::segment("source system", source_system)?];
        if let Some(catalog) = &table.catalog {
            segments.push(names::segment("catalog", catalog)?);
        }
        segments.extend([names::segment("schema", &table.schema)?, names::segment("table", &table.name)?]);
        self.root.table(&segments)
    }

    /// The table's log, its partition columns, and how the columns of a target go into it; `is_part`: the rows have more columns.
    async fn fitted(&self, target: &Target, is_part: bool) -> Result<(Log, Vec<String>, Fit, TableSchema), SinkError> {
        check_mode(target, "delta")?;
        let root = self.table_root(&target.run.source_system, &target.table)?;
        TableSchema::new(&target.table, &target.schema)?;
        let log = Log::open(&root, &target.run.source_system, &target.table).await?;
        let columns = log.partition_columns(partition_columns(target));
        log.check(&columns, target.mode)?;
        let (fit, schema) = drift::fit(target, &log, &columns, is_part)?;
        Ok((log, columns, fit, schema))
    }

    /// How a target's files are written, the table's log, and how the rows are made to fit, after all checks.
    pub(crate) async fn prepare(&self, target: &Target) -> Result<(FilePlan<DeltaRows>, Log, Fit), SinkError> {
        let (log, columns, fit, schema) = self.fitted(target, false).await?;
        let root = self.table_root(&target.run.source_system, &target.table)?;
        let schema = match log.columns().filter(|_| target.mode == WriteMode::Merge) {
            Some(there) => schema.merged_into(&there),
            None => schema,
        };
        let partitioning = Partitioning::new(&target.table, &schema, columns)?;
        log.state(target.mode)?;
        check_update(target, &log)?;
        let plan = FilePlan {
            form: DeltaRows { schema, partitioning, location: log.location.clone() },
            store: log.store.object_store(None),
            directory: root.local().cloned(),
            location: log.location.clone(),
            options: WriterOptions {
                row_group_bytes: self.config.row_group_bytes,
                max_file_bytes: self.config.max_file_bytes,
                compression_level: self.config.compression_level,
                max_open_files: self.config.max_open_files,
            },
            memory: Arc::clone(&self.memory),
        };
        Ok((plan, log, fit))
    }

    /// A writer for a target that merges.
    pub(crate) fn merge_writer(
        &self,
        plan: FilePlan<DeltaRows>,
        log: Log,
        target: Target,
    ) -> Result<MergeWriter, SinkError> {
        MergeWriter::new(plan, log, target, self.config.checkpoint_interval, self.merges.clone())
    }

    /// A writer for a target that does not merge, with what processes before have left of its load.
    async fn writer(&self, plan: FilePlan<DeltaRows>, log: Log, target: Target) -> Result<DeltaWriter, SinkError> {
        let mut partitions = Partitions::default();
        let kept = match &target.load {
            None => None,
            Some(load) => {
                let root = self.table_root(&target.run.source_system, &target.table)?;
                let (kept, files) = KeptLoad::open(&root, load, form_of(&plan.form)).await?;
                partitions.slots = files.into_iter().map(|(ordinal, files)| (ordinal, Slot::Kept(files))).collect();
                Some(kept)
            }
        };
        let (plan, partitions) = (Arc::new(plan), Arc::new(Mutex::new(partitions)));
        let checkpoint_interval = self.config.checkpoint_interval;
        Ok(DeltaWriter { plan, log, target, checkpoint_interval, partitions, kept })
    }
}

#[async_trait]
impl Sink for DeltaSink {
    fn kind(&self) -> &'static str {
        "delta"
    }

    fn retry_unit(&self) -> RetryUnit {
        RetryUnit::Partition
    }

    fn locate(&self, source_system: &str, table: &TableId) -> Result<String, Failure> {
        Ok(self.table_root(source_system, table)?.to_string())
    }

    async fn state(&self, source_system: &str, table: &TableId) -> Result<Option<TableState>, Failure> {
        self.state_for(source_system, table, WriteMode::Append).await
    }

    async fn state_for(
        &self,
        source_system: &str,
        table: &TableId,
        mode: WriteMode,
    ) -> Result<Option<TableState>, Failure> {
        let root = self.table_root(source_system, table)?;
        Ok(Log::open(&root, source_system, table).await?.state(mode)?)
    }

    async fn document(&self, source_system: &str, table: &TableId) -> Result<Option<StateDocument>, Failure> {
        let root = self.table_root(source_system, table)?;
        Ok(Log::open(&root, source_system, table).await?.document()?)
    }

    async fn states(&self) -> Result<Vec<KeptState>, Failure> {
        let mut states = Vec::new();
        for (source_system, table) in tables::tables(&self.root).await? {
            let target = self.locate(&source_system, &table)?;
            let document = match self.document(&source_system, &table).await.transpose() {
                Some(document) => document,
                None => continue,
            };
            states.push(KeptState { source_system, table, target, document });
        }
        Ok(states)
    }

    async fn forget_watermark(&self, source_system: &str, table: &TableId) -> Result<Option<StateDocument>, Failure> {
        let root = self.table_root(source_system, table)?;
        Ok(Log::open(&root, source_system, table).await?.forget(&SourceTable::new(source_system, table)).await?)
    }

    async fn accept_rows(&self, source_system: &str, table: &TableId) -> Result<Option<StateDocument>, Failure> {
        let root = self.table_root(source_system, table)?;
        Ok(Log::open(&root, source_system, table).await?.accept().await?)
    }

    fn keeps_records(&self) -> bool {
        true
    }

    async fn put_record(&self, name: &RecordName, json: &str) -> Result<(), Failure> {
        Ok(Records::open(&self.root)?.put(name, json).await?)
    }

    async fn records(&self, run_id: Option<&str>, newest: usize) -> Result<Vec<KeptRecord>, Failure> {
        Ok(Records::open(&self.root)?.newest(run_id, newest).await?)
    }

    fn keeps_loads(&self, mode: WriteMode) -> bool {
        // A merge waits in a file that ends with the process.
        mode != WriteMode::Merge
    }

    async fn unfinished(
        &self,
        source_system: &str,
        table: &TableId,
        run_id: &str,
        fingerprint: &str,
    ) -> Result<Unfinished, Failure> {
        let root = self.table_root(source_system, table)?;
        Ok(unfinished::unfinished(&root, run_id, fingerprint).await?)
    }

    async fn leftovers(&self, older_than: Duration) -> Result<Vec<Leftover>, Failure> {
        let mut leftovers = Vec::new();
        for (source_system, table) in tables::begun(&self.root).await? {
            let root = self.table_root(&source_system, &table)?;
            leftovers.extend(unfinished::leftovers(&root, (&source_system, &table), older_than).await?);
        }
        Ok(leftovers)
    }

    async fn remove_leftover(&self, leftover: &Leftover) -> Result<bool, Failure> {
        let root = self.table_root(&leftover.source_system, &leftover.table)?;
        let log = Log::look(&root, &leftover.source_system, &leftover.table).await?;
        Ok(unfinished::remove(&root, &log, &leftover.id).await?)
    }

    async fn rows(&self, source_system: &str, table: &TableId) -> Result<TableRows, Failure> {
        let root = self.table_root(source_system, table)?;
        Ok(Log::look(&root, source_system, table).await?.rows())
    }

    async fn values(
        &self,
        source_system: &str,
        table: &TableId,
        columns: &[String],
    ) -> Result<Option<Box<dyn TableValues>>, Failure> {
        let root = self.table_root(source_system, table)?;
        Ok(values::read(&Log::look(&root, source_system, table).await?, columns)?)
    }

    fn fits(&self, target: &Target) -> Result<(), Failure> {
        check_mode(target, self.kind())?;
        self.table_root(&target.run.source_system, &target.table)?;
        let schema = TableSchema::new(&target.table, &target.schema)?;
        Partitioning::new(&target.table, &schema, partition_columns(target))?;
        Ok(())
    }

    async fn drift(&self, target: &Target) -> Result<Vec<ColumnChange>, Failure> {
        Ok(self.fitted(target, true).await?.2.changes)
    }

    fn writes_partitioned_tables(&self) -> bool {
        true
    }

    fn max_columns(&self) -> Option<usize> {
        None
    }

    async fn answers(&self) -> Result<(), Failure> {
        Ok(self.reach().await?)
    }

    async fn probe(&self) -> Result<(), Failure> {
        Ok(probe::write(&self.root, &self.config.store).await?)
    }

    async fn open(&self, target: Target) -> Result<Arc<dyn TableWriter>, Failure> {
        let (plan, log, fit) = self.prepare(&target).await?;
        let (target, location) = (fit.written(target), log.location.clone());
        let writer: Arc<dyn TableWriter> = if target.mode == WriteMode::Merge {
            Arc::new(self.merge_writer(plan, log, target)?)
        } else {
            Arc::new(self.writer(plan, log, target).await?)
        };
        Ok(fit.around(writer, location))
    }
}

/// What files of a table must share: the columns that it is partitioned by, and those of the files.
fn form_of(rows: &DeltaRows) -> Vec<String> {
    let columns = rows.partitioning.file_schema.fields().iter();
    let columns = columns.map(|column| format!("{} {} {}", column.name(), column.data_type(), column.is_nullable()));
    rows.partitioning.columns.iter().cloned().chain(columns).collect()
}

/// The partition columns of a target as the table calls them.
fn partition_columns(target: &Target) -> Vec<String> {
    target.partition_by.iter().map(|name| names::column(name)).collect()
}

struct DeltaWriter {
    plan: Arc<FilePlan<DeltaRows>>,
    log: Log,
    target: Target,
    checkpoint_interval: u32,
    partitions: Arc<Mutex<Partitions>>,
    /// None: nothing is kept.
    kept: Option<KeptLoad>,
}

impl DeltaWriter {
    fn misuse(&self, what: String) -> Failure {
        SinkError::Misuse { location: self.plan.location.clone(), what }.into()
    }

    /// Takes the files over for the commit.
    fn settle(&self) -> Result<Vec<DataFile>, Failure> {
        let mut partitions = lock(&self.partitions);
        if partitions.settled {
            return Err(self.misuse("the table was committed before".into()));
        }
        if let Some((ordinal, _)) = partitions.slots.iter().find(|(_, slot)| matches!(slot, Slot::Open)) {
            return Err(self.misuse(format!("partition {ordinal} is not finished")));
        }
        partitions.settled = true;
        Ok(partitions.files())
    }
}

#[async_trait]
impl TableWriter for DeltaWriter {
    async fn partition(&self, ordinal: u32) -> Result<Box<dyn PartitionWriter>, Failure> {
        {
            let mut partitions = lock(&self.partitions);
            if partitions.settled {
                return Err(self.misuse(format!("partition {ordinal} begins after the commit")));
            }
            if partitions.slots.contains_key(&ordinal) {
                return Err(self.misuse(format!("partition {ordinal} was begun before, and not aborted")));
            }
            partitions.slots.insert(ordinal, Slot::Open);
        }
        // One batch waits while another is encoded; their memory is bounded by the run's budget.
        let (sender, receiver) = mpsc::channel(1);
        let plan = Arc::clone(&self.plan);
        let runtime = Handle::current();
        let thread = tokio::task::spawn_blocking(move || write_partition(&plan, ordinal, receiver, &runtime));
        let slot = OpenSlot { partitions: Arc::clone(&self.partitions), ordinal };
        Ok(Box::new(DeltaPartition { plan: Arc::clone(&self.plan), sender, thread: Some(thread), slot }))
    }

    fn finished(&self) -> Vec<FinishedPartition> {
        self.kept.as_ref().map(|kept| kept.finished.clone()).unwrap_or_default()
    }

    async fn keep(&self, partitions: &[FinishedPartition]) -> Result<(), Failure> {
        let Some(kept) = &self.kept else { return Ok(()) };
        // Files that no record will name stay this writer's to remove.
        if !kept.is_own().await? {
            return Ok(());
        }
        let mut with_files = Vec::with_capacity(partitions.len());
        for partition in partitions {
            let files = lock(&self.partitions).keep(partition.ordinal);
            let files = files.ok_or_else(|| self.misuse(format!("partition {} is not finished", partition.ordinal)))?;
            with_files.push((partition.clone(), files));
        }
        Ok(kept.keep(with_files).await?)
    }

    async fn commit(&self, note: CommitNote) -> Result<Committed, Failure> {
        if let Some(kept) = &self.kept {
            kept.check().await?;
        }
        let files = self.settle()?;
        let receipt = note.delivered.as_ref().map(Receipt::new);
        if let Some(delivered) = &note.delivered
            && let Err(error) = receipt::check(&self.plan, &files, delivered, receipt::As::Source).await
        {
            lock(&self.partitions).settled = false;
            return Err(error.into());
        }
        let commit = Commit {
            schema: &self.plan.form.schema,
            partition_columns: &self.plan.form.partitioning.columns,
            checkpoint_interval: self.checkpoint_interval,
            target: &self.target,
            note,
            files: &files,
            merged: None,
        };
        let (state, holds) = match self.log.commit(commit).await {
            Ok(committed) => committed,
            Err(CommitError::Unknown(error)) => return Err(error.into()),
            Err(CommitError::Nothing(error)) => {
                lock(&self.partitions).settled = false;
                return Err(error.into());
            }
        };
        if let Some(directory) = self.plan.directory.clone() {
            // Committed already; a thread that cannot be had is no reason to say otherwise.
            let _ = tokio::task::spawn_blocking(move || Log::sync(&directory)).await;
        }
        if let Some(kept) = &self.kept {
            kept.remove().await;
        }
        let written = Written { rows: state.rows, bytes: files.iter().map(|f| f.bytes).sum() };
        Ok(Committed { written, state, holds, receipt })
    }

    async fn abort(&self) {
        let files = lock(&self.partitions).take_uncommitted();
        self.plan.remove(&files).await;
        self.log.remove_empty_directory();
    }
}

impl Drop for DeltaWriter {
    fn drop(&mut self) {
        let files = lock(&self.partitions).take_uncommitted();
        if files.is_empty() {
            return;
        }
        // Invisible anyway: without a runtime they stay until a VACUUM.
        if let Ok(runtime) = Handle::try_current() {
            let plan = Arc::clone(&self.plan);
            runtime.spawn(async move { plan.remove(&files).await });
        }
    }
}

type PartitionResult = Result<Option<Vec<DataFile>>, SinkError>;

struct DeltaPartition {
    plan: Arc<FilePlan<DeltaRows>>,
    sender: Sender<Message>,
    /// None once it was waited for.
    thread: Option<JoinHandle<PartitionResult>>,
    slot: OpenSlot,
}

impl DeltaPartition {
    fn misuse(&self, what: &str) -> SinkError {
        SinkError::Misuse { location: self.plan.location.clone(), what: what.to_owned() }
    }

    /// How the partition's thread ended.
    async fn ended(&mut self) -> PartitionResult {
        let Some(thread) = self.thread.take() else {
            return Err(self.misuse("the partition has failed before"));
        };
        thread.await.map_err(|e| SinkError::Encode { location: self.plan.location.clone(), source: Box::new(e) })?
    }
}

#[async_trait]
impl PartitionWriter for DeltaPartition {
    async fn write(&mut self, batch: TrackedBatch) -> Result<(), Failure> {
        if self.sender.send(Message::Batch(batch)).await.is_ok() {
            return Ok(());
        }
        // The thread ends before its channel only when it failed.
        match self.ended().await {
            Err(error) => Err(error.into()),
            Ok(_) => Err(self.misuse("the partition ended before its last batch").into()),
        }
    }

    async fn finish(mut self: Box<Self>) -> Result<Written, Failure> {
        // When the channel is closed, the thread's own error says why.
        let _ = self.sender.send(Message::Finish).await;
        let files = self.ended().await?.ok_or_else(|| self.misuse("the partition ended before its last batch"))?;
        let written = Written { rows: files.iter().map(|f| f.rows).sum(), bytes: files.iter().map(|f| f.bytes).sum() };
        if self.slot.finish(files.clone()) {
            return Ok(written);
        }
        self.plan.remove(&files).await;
        Err(self.misuse("the table was aborted before the partition's end").into())
    }

    async fn abort(self: Box<Self>) {
        let Self { plan, sender, thread, slot } = *self;
        drop(sender);
        if let Some(thread) = thread
            && let Err(error) = thread.await
        {
            tracing::warn!(location = %plan.location, %error, "a partition's thread failed while it was aborted");
        }
        drop(slot);
    }
}
