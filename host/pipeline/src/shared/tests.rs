use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datakit_model::datakit::{Discovery, Info, RoleColumns, RunLog, Verdict, Watermarks};
use datakit_model::memory::ByteLimit;
use datakit_model::source::ReadReport;
use datakit_model::{HashKeys, Kind, MemoryBudget, Retry, RunIdentity, TablePatterns, TrackedBatch};
use uuid::Uuid;

use super::*;

const BATCHES: i32 = 10;
/// A batch's share of the budget.
const BATCH_BYTES: u64 = 1024;

/// What the fake datakit was asked for.
#[derive(Default)]
struct Asked {
    extractions: AtomicUsize,
    batches: AtomicUsize,
    is_ended: AtomicBool,
    fails: AtomicBool,
}

struct FakeDatakit(Arc<Asked>);

struct FakeExtraction {
    asked: Arc<Asked>,
    memory: MemoryBudget,
    roles: RoleColumns,
    given: i32,
}

fn failure() -> Failure {
    Failure::new("DK-TST-001", Kind::Source, Retry::AfterBackoff, "the source is gone")
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int32, false)]))
}

#[async_trait]
impl Datakit for FakeDatakit {
    async fn describe(&self) -> Result<Info, Failure> {
        Err(failure())
    }

    async fn check_settings(&self, _: &serde_json::Value) -> Result<Verdict, Failure> {
        Err(failure())
    }

    async fn discover(&self, _: &Session, _: &TablePatterns) -> Result<Discovery, Failure> {
        Err(failure())
    }

    async fn plan(&self, _: &Session, _: &[TableId]) -> Result<Vec<TablePlan>, Failure> {
        Err(failure())
    }

    async fn extract(&self, session: &Session, _: &Partition) -> Result<Box<dyn Extraction>, Failure> {
        self.0.extractions.fetch_add(1, Ordering::SeqCst);
        if self.0.fails.load(Ordering::SeqCst) {
            return Err(failure());
        }
        let (asked, memory) = (Arc::clone(&self.0), session.memory.clone());
        Ok(Box::new(FakeExtraction { asked, memory, roles: RoleColumns::default(), given: 0 }))
    }
}

#[async_trait]
impl Extraction for FakeExtraction {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    async fn next(&mut self) -> Result<Option<TrackedBatch>, Failure> {
        if self.given == BATCHES {
            return Ok(None);
        }
        let reservation = self.memory.reserve(BATCH_BYTES).await;
        self.given += 1;
        self.asked.batches.fetch_add(1, Ordering::SeqCst);
        let column = Arc::new(Int32Array::from(vec![self.given])) as ArrayRef;
        Ok(Some(TrackedBatch::new(RecordBatch::try_new(schema(), vec![column]).unwrap(), reservation)))
    }

    fn roles(&self) -> &RoleColumns {
        &self.roles
    }

    fn report(&mut self) -> ReadReport {
        ReadReport { snapshot: Some("s".into()), ..ReadReport::default() }
    }

    async fn watermark(&mut self) -> Result<Option<String>, Failure> {
        Ok(Some("w".to_owned()))
    }
}

impl Drop for FakeExtraction {
    fn drop(&mut self) {
        self.asked.is_ended.store(true, Ordering::SeqCst);
    }
}

struct NoState;

#[async_trait]
impl Watermarks for NoState {
    async fn watermark(&self, _: &TableId) -> Result<Option<String>, Failure> {
        Ok(None)
    }
}

fn session(memory: &MemoryBudget) -> Session {
    Session {
        run: RunIdentity {
            run_id: "r".to_owned(),
            batch_id: Uuid::from_u128(1),
            started_at_micros: 5,
            source_system: "ERP".to_owned(),
            datakit: "a".to_owned(),
            version: "0.1.0".to_owned(),
            digest: "sha256:00".to_owned(),
        },
        settings: "{}".to_owned(),
        roles: HashMap::new(),
        tables: TablePatterns::new(Vec::new()),
        keys: HashKeys::default(),
        memory: memory.clone(),
        rejected: ByteLimit::new(1),
        rejecting: None,
        log: RunLog::default(),
        watermarks: Arc::new(NoState),
    }
}

fn plan(partitions: u32) -> TablePlan {
    let table = TableId::new("dbo", "t");
    let part = |ordinal| Partition { table: table.clone(), ordinal, state: vec![7], estimated_rows: None };
    TablePlan {
        table: table.clone(),
        partitions: (0..partitions).map(part).collect(),
        watermark_after: None,
        write: None,
        keys: Vec::new(),
        partition_by: Vec::new(),
        strategy: None,
        why: None,
        roles: RoleColumns::default(),
        fixed: None,
        rules: Vec::new(),
    }
}

/// A table that two loads read, by so many workers.
struct Lab {
    asked: Arc<Asked>,
    plan: TablePlan,
    session: Session,
    memory: MemoryBudget,
    seats: [Arc<Seat>; 2],
}

fn lab(partitions: u32, workers: usize) -> Lab {
    let (asked, plan) = (Arc::<Asked>::default(), plan(partitions));
    let memory = MemoryBudget::new(4 * BATCH_BYTES);
    let datakit = Arc::new(FakeDatakit(Arc::clone(&asked))) as Arc<dyn Datakit>;
    let names = vec!["one".to_owned(), "two".to_owned()];
    let workers = Arc::new(Semaphore::new(workers));
    let seats = SharedRead::of((&datakit, &plan), names, &workers, &CancellationToken::new());
    let [one, two] = <[Seat; 2]>::try_from(seats).ok().unwrap();
    let session = session(&memory);
    Lab { asked, plan, session, memory, seats: [Arc::new(one), Arc::new(two)] }
}

impl Lab {
    fn declare(&self, load: usize, partitions: &[usize]) {
        self.seats[load].reads(&self.session, partitions.iter().map(|at| &self.plan.partitions[*at]));
    }

    /// A load that asks for a partition, on a task of its own.
    fn join(&self, load: usize, partition: usize) -> tokio::task::JoinHandle<Option<SharedPartition>> {
        let (seat, session) = (Arc::clone(&self.seats[load]), self.session.clone());
        let partition = self.plan.partitions[partition].clone();
        tokio::spawn(async move { seat.join(&session, &partition).await })
    }

    fn extractions(&self) -> usize {
        self.asked.extractions.load(Ordering::SeqCst)
    }
}

/// Nothing more happens by itself.
async fn settled() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

async fn rows(part: &mut Box<dyn Extraction>) -> Vec<i32> {
    let mut rows = Vec::new();
    while let Some(batch) = part.next().await.unwrap() {
        let column = batch.batch().column(0).as_any().downcast_ref::<Int32Array>().unwrap().clone();
        rows.extend(column.values());
    }
    rows
}

#[tokio::test]
async fn partition_is_read_once_for_both_loads() {
    let lab = lab(1, 1);
    [0, 1].into_iter().for_each(|load| lab.declare(load, &[0]));
    let joined = [lab.join(0, 0), lab.join(1, 0)];
    let mut reading = Vec::new();
    for join in joined {
        let SharedPartition { worker, extraction } = join.await.unwrap().unwrap();
        let mut extraction = extraction.ok().unwrap();
        reading.push(tokio::spawn(async move {
            let rows = rows(&mut extraction).await;
            drop(worker);
            (rows, extraction.report().snapshot, extraction.watermark().await.unwrap())
        }));
    }
    for read in reading {
        let (rows, snapshot, watermark) = read.await.unwrap();
        assert_eq!(rows, (1..=BATCHES).collect::<Vec<_>>());
        assert_eq!((snapshot.as_deref(), watermark.as_deref()), (Some("s"), Some("w")));
    }
    assert_eq!(lab.extractions(), 1);
    assert_eq!(lab.seats[0].partners(), ["two"]);
    assert_eq!(lab.seats[1].partners(), ["one"]);
    assert!(lab.join(0, 0).await.unwrap().is_none(), "the second time it is read alone");
    assert_eq!(lab.memory.available_bytes(), lab.memory.capacity_bytes());
}

#[tokio::test]
async fn load_waits_for_one_that_has_not_said_what_it_reads() {
    let lab = lab(2, 1);
    lab.declare(0, &[0, 1]);
    let first = lab.join(0, 0);
    settled().await;
    assert!(!first.is_finished());
    lab.declare(1, &[1]);
    assert!(first.await.unwrap().is_none(), "the other has it already, and reads only partition 1");
    let second = lab.join(0, 1);
    settled().await;
    assert!(!second.is_finished());
    lab.seats[1].leave();
    assert!(second.await.unwrap().is_none(), "the other has ended");
    assert_eq!(lab.extractions(), 0);
}

#[tokio::test]
async fn loads_that_ask_in_any_order_need_one_worker() {
    let lab = lab(3, 1);
    [0, 1].into_iter().for_each(|load| lab.declare(load, &[0, 1, 2]));
    let mut reading = Vec::new();
    for (load, partition) in [(0, 2), (1, 0), (0, 1), (1, 1), (1, 2), (0, 0)] {
        let join = lab.join(load, partition);
        reading.push(tokio::spawn(async move {
            let SharedPartition { worker: _worker, extraction } = join.await.unwrap().unwrap();
            rows(&mut extraction.ok().unwrap()).await.len()
        }));
    }
    for read in reading {
        assert_eq!(read.await.unwrap(), 10);
    }
    assert_eq!(lab.extractions(), 3);
}

#[tokio::test]
async fn source_that_fails_to_open_fails_for_both() {
    let lab = lab(1, 1);
    lab.asked.fails.store(true, Ordering::SeqCst);
    [0, 1].into_iter().for_each(|load| lab.declare(load, &[0]));
    for join in [lab.join(0, 0), lab.join(1, 0)] {
        assert_eq!(join.await.unwrap().unwrap().extraction.err().unwrap().code(), "DK-TST-001");
    }
    lab.seats[0].fail();
    assert!(lab.seats[0].partners().is_empty());
    assert_eq!(lab.extractions(), 1);
}

#[tokio::test]
async fn slow_sink_holds_the_read_and_not_more_memory() {
    let lab = lab(1, 1);
    [0, 1].into_iter().for_each(|load| lab.declare(load, &[0]));
    let [fast, slow] = [lab.join(0, 0), lab.join(1, 0)];
    let mut fast = fast.await.unwrap().unwrap().extraction.ok().unwrap();
    let slow = slow.await.unwrap().unwrap().extraction.ok().unwrap();
    let reading = tokio::spawn(async move { rows(&mut fast).await.len() });
    settled().await;
    let read = lab.asked.batches.load(Ordering::SeqCst);
    assert!(read <= 4, "{read} batches were read, and nobody has taken the first");
    assert!(!reading.is_finished());
    drop(slow);
    assert_eq!(reading.await.unwrap(), 10, "the other goes on when the slow one has failed");
    assert_eq!(lab.memory.available_bytes(), lab.memory.capacity_bytes());
}

#[tokio::test]
async fn read_that_nobody_follows_ends() {
    let lab = lab(1, 1);
    [0, 1].into_iter().for_each(|load| lab.declare(load, &[0]));
    let joined = [lab.join(0, 0), lab.join(1, 0)];
    for join in joined {
        let mut extraction = join.await.unwrap().unwrap().extraction.ok().unwrap();
        assert!(extraction.next().await.unwrap().is_some());
    }
    settled().await;
    assert!(lab.asked.is_ended.load(Ordering::SeqCst));
}
