//! Feeds by a watermark over a table in memory: what is read, when, and how often.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use arrow::array::{ArrayRef, AsArray as _, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Int64Type, SchemaRef};
use async_trait::async_trait;
use datakit_model::changes::{ChangeFeed, ChangeRequest, Strategy, Validity};
use datakit_model::rejects::{Noted, RejectBounds, RejectedRow, RejectedValues, Rejecting};
use datakit_model::source::{ReadReport, Reader, Rejected};
use datakit_model::{Failure, TableId, TrackedBatch};
use proptest::prelude::{Just, Strategy as _, prop_oneof, proptest};

use self::rejected::Fails;
use super::columns::WatermarkColumn;
use super::loaded::MAX_REMEMBERED_ROWS;
use super::measure::{Form, Measure};
use super::roles::{KEPT_COLUMN, KNOWN_COLUMN, VERSION_COLUMN};
use super::watermark::{Distances, Span, WatermarkTable, open};
use super::window::Range;
use crate::rejects;

mod rejected;

/// Values are seconds from 1970-01-01T00:00:00Z.
const SECONDS: Measure = Measure { form: Form::Moment { digits: 0, of_utc: true }, least: 0, step: 1 };
const ROWS_OF_A_BATCH: usize = 3_000;
/// The clock of a table that begins.
const START: i64 = 1_000_000;
const NONE: [i64; 0] = [];

/// A row; the column `note` tells its versions apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    id: i64,
    note: i64,
    at: Option<i64>,
}

#[derive(Debug, Default)]
struct Contents {
    rows: Vec<Row>,
    clock: i64,
}

/// A table whose rows tests change.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Contents>>);

impl Memory {
    fn of(rows: impl IntoIterator<Item = Row>) -> Self {
        let rows = rows.into_iter().collect();
        Self(Arc::new(Mutex::new(Contents { rows, clock: START })))
    }

    fn now(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap()
    }

    fn add(&self, id: i64, at: i64) {
        self.now().rows.push(Row { id, note: 0, at: Some(at) });
    }
}

fn within(range: &Range, at: Option<i64>) -> bool {
    let number = |text: &str| i64::try_from(SECONDS.parse(text).unwrap()).unwrap();
    let Some(at) = at else { return range.from.is_none() };
    let is_from = range.from.as_ref().is_none_or(|from| match from.is_excluded {
        true => at > number(&from.value),
        false => at >= number(&from.value),
    });
    let is_later = |later: &super::Later<String>| at > number(&later.after) && at <= number(&later.upto);
    is_from && at <= number(&range.upto) || range.later.as_ref().is_some_and(is_later)
}

fn text(at: Option<i64>) -> String {
    at.map(|at| SECONDS.print(at.into())).unwrap_or_default()
}

#[async_trait]
impl WatermarkTable for Memory {
    async fn clock(&self) -> Result<String, Failure> {
        Ok(text(Some(self.now().clock)))
    }

    async fn newest(&self, upto: Option<&str>) -> Result<Option<String>, Failure> {
        let upto = upto.map_or(i128::MAX, |upto| SECONDS.parse(upto).unwrap());
        let newest = self.now().rows.iter().filter_map(|row| row.at).filter(|at| i128::from(*at) <= upto).max();
        Ok(newest.map(|newest| text(Some(newest))))
    }

    async fn rows(&self, span: &Span) -> Result<Box<dyn Reader>, Failure> {
        let is_read = |row: &&Row| span.rows.as_ref().is_none_or(|range| within(range, row.at));
        let rows: Vec<Row> = self.now().rows.iter().filter(is_read).copied().collect();
        let batch = |rows: &[Row]| {
            let numbers =
                |value: fn(&Row) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(rows.iter().map(value))) };
            let flags = |range: &Option<Range>| -> ArrayRef {
                let is_within =
                    |row: &Row| row.at.is_some() && range.as_ref().is_some_and(|range| within(range, row.at));
                Arc::new(BooleanArray::from_iter(rows.iter().map(|row| Some(is_within(row)))))
            };
            let versions: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| text(row.at))));
            let columns =
                [("id", numbers(|row| row.id)), ("note", numbers(|row| row.note)), (VERSION_COLUMN, versions)];
            let flags = [(KNOWN_COLUMN, flags(&span.known)), (KEPT_COLUMN, flags(&span.kept))];
            RecordBatch::try_from_iter(columns.into_iter().chain(flags)).unwrap()
        };
        let bounds = RejectBounds { max_rows: u64::MAX, max_share: 1.0, values: RejectedValues::Masked };
        let noted = Noted::new(Rejecting { bounds, keys: Arc::from(["id".to_owned()]) });
        let batches = rows.chunks(ROWS_OF_A_BATCH).rev().map(batch).collect();
        Ok(Box::new(Batches { schema: batch(&[]).schema(), batches, noted, rejected: Vec::new() }))
    }
}

/// Rows with such a note have a bad value, and are rejected by the reader.
const BAD: i64 = -1;

struct Batches {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    noted: Noted,
    rejected: Vec<RejectedRow>,
}

#[async_trait]
impl Reader for Batches {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn next(&mut self) -> Result<Option<TrackedBatch>, Failure> {
        while let Some(batch) = self.batches.pop() {
            let notes = batch.column(1).as_primitive::<Int64Type>().values();
            let bad = notes.iter().enumerate().filter(|(_, note)| **note == BAD);
            bad.for_each(|(row, _)| self.noted.note(row, "note", "bad".to_owned(), Some("x".to_owned())));
            let (accepted, rejected) =
                rejects::split::<Fails>(&mut self.noted, batch.clone()).map_err(|Fails| ()).unwrap();
            self.rejected.extend(rejected);
            if accepted.num_rows() > 0 {
                return Ok(Some(TrackedBatch::untracked(accepted)));
            }
        }
        Ok(None)
    }

    fn report(&mut self) -> ReadReport {
        ReadReport { rejected: Rejected::new(std::mem::take(&mut self.rejected)), ..ReadReport::default() }
    }
}

/// Loads of a table, one after another.
struct Loads {
    table: Memory,
    distances: Distances,
    position: Option<String>,
    /// Keys of the rows that the last load rejected.
    rejected: Vec<String>,
}

impl Loads {
    /// Lag and overlap in seconds.
    fn of(table: &Memory, lag: u64, overlap: u64) -> Self {
        let distances = Distances { lag: lag * 1000, overlap: overlap * 1000 };
        Self { table: table.clone(), distances, position: None, rejected: Vec::new() }
    }

    async fn feed(&self, upper: Option<String>) -> Result<Box<dyn ChangeFeed>, Failure> {
        let column = WatermarkColumn { name: "at".into(), type_name: "seconds".into(), measure: SECONDS };
        let Distances { lag, overlap } = self.distances;
        let strategy = Strategy::Watermark { column: "at".into(), lag, overlap };
        let position = self.position.clone();
        let request = ChangeRequest { table: TableId::new("s", "t"), strategy, columns: None, position, upper };
        open(self.table.clone(), &column, &request, self.distances).await
    }

    /// The rows of one load as ids and notes. It is planned by one feed and read by another, as by a run.
    async fn load(&mut self) -> Vec<(i64, i64)> {
        let planned = self.feed(None).await.unwrap().upper().map(str::to_owned);
        let mut feed = self.feed(planned.clone()).await.unwrap();
        assert_eq!(feed.upper(), planned.as_deref(), "a bound stays what it is");
        let mut reader = feed.rows().await.unwrap();
        let mut rows = Vec::new();
        while let Some(batch) = reader.next().await.unwrap() {
            assert!(batch.batch().num_rows() > 0);
            assert!(batch.batch().schema().field_with_name(KNOWN_COLUMN).is_err());
            let [ids, notes] =
                [0, 1].map(|column| batch.batch().column(column).as_primitive::<Int64Type>().values().to_vec());
            rows.extend(ids.into_iter().zip(notes));
        }
        self.position = feed.upper().map(str::to_owned).or(self.position.take());
        let rejected = reader.report().rejected;
        self.rejected = rejected.rows().iter().filter_map(|row| row.key.clone()).collect();
        assert!(rejected.rows().iter().all(|row| row.operation.is_some()), "a feed knows what happened");
        rows
    }

    async fn ids(&mut self) -> Vec<i64> {
        let mut ids: Vec<i64> = self.load().await.into_iter().map(|(id, _)| id).collect();
        ids.sort_unstable();
        ids
    }
}

fn row(id: i64, at: i64) -> Row {
    Row { id, note: 0, at: Some(at) }
}

#[tokio::test]
async fn rows_of_the_boundary_value_are_read_once_whenever_they_come() {
    let table = Memory::of([row(1, 10), row(2, 20), row(3, 20), Row { id: 4, note: 0, at: None }]);
    let mut loads = Loads::of(&table, 0, 0);
    assert_eq!(loads.ids().await, [1, 2, 3, 4]);
    assert_eq!(loads.ids().await, NONE);
    table.add(5, 20);
    table.add(6, 19);
    assert_eq!(loads.ids().await, [5], "a lower value is not seen without an overlap");
    table.add(7, 30);
    assert_eq!(loads.ids().await, [7]);
    assert_eq!(loads.ids().await, NONE);
}

#[tokio::test]
async fn row_that_comes_late_within_the_overlap_is_read() {
    let table = Memory::of([row(1, 10), row(2, 20)]);
    let mut loads = Loads::of(&table, 0, 5);
    assert_eq!(loads.ids().await, [1, 2]);
    table.add(3, 15);
    table.add(4, 14);
    assert_eq!(loads.ids().await, [3]);
    table.add(5, 30);
    assert_eq!(loads.ids().await, [5]);
    table.add(6, 26);
    table.add(7, 16);
    assert_eq!(loads.ids().await, [6], "the overlap has moved on");
    assert_eq!(loads.ids().await, NONE);
}

#[tokio::test]
async fn row_that_changes_without_its_value_is_read_within_the_overlap() {
    let table = Memory::of([row(1, 10), row(2, 20)]);
    let mut loads = Loads::of(&table, 0, 0);
    loads.ids().await;
    table.now().rows[1].note = 1;
    assert_eq!(loads.load().await, [(2, 1)]);
    assert_eq!(loads.ids().await, NONE);
}

#[tokio::test]
async fn rows_that_are_alike_are_read_as_often_as_they_are_there() {
    let table = Memory::of([row(1, 20), row(1, 20)]);
    let mut loads = Loads::of(&table, 0, 0);
    assert_eq!(loads.ids().await, [1, 1]);
    table.add(1, 20);
    assert_eq!(loads.ids().await, [1]);
    assert_eq!(loads.ids().await, NONE);
}

#[tokio::test]
async fn rows_of_the_future_are_read_at_once_and_do_not_move_the_position() {
    let table = Memory::of([row(1, START - 10), row(2, START + 1_000_000)]);
    let mut loads = Loads::of(&table, 0, 0);
    assert_eq!(loads.ids().await, [1, 2]);
    table.add(3, START);
    assert_eq!(loads.ids().await, [3], "its value lies below the one of the future");
    table.add(4, START + 500_000);
    assert_eq!(loads.ids().await, [4]);
    table.now().clock = START + 2_000_000;
    table.add(5, START + 1_500_000);
    assert_eq!(loads.ids().await, [5], "rows whose time has come since are loaded");
    assert_eq!(loads.ids().await, NONE);
}

#[tokio::test]
async fn table_of_rows_of_the_future_alone_is_read_once() {
    let table = Memory::of([row(1, START + 10)]);
    let mut loads = Loads::of(&table, 0, 0);
    assert_eq!(loads.ids().await, [1]);
    assert_eq!(loads.ids().await, NONE);
    table.add(2, START);
    assert_eq!(loads.ids().await, [2]);
}

#[tokio::test]
async fn lag_keeps_the_newest_rows_for_the_next_load() {
    let table = Memory::of([row(1, 10), row(2, 20)]);
    let mut loads = Loads::of(&table, 5, 0);
    assert_eq!(loads.ids().await, [1]);
    table.add(3, 16);
    table.add(4, 30);
    assert_eq!(loads.ids().await, [2, 3]);
    assert_eq!(loads.ids().await, NONE);
}

#[tokio::test]
async fn more_rows_than_are_remembered_are_read_again_only_if_they_have_changed() {
    let most = i64::try_from(MAX_REMEMBERED_ROWS).unwrap();
    let table = Memory::of((0..=most).map(|id| row(id, 20)));
    let mut loads = Loads::of(&table, 0, 0);
    assert_eq!(loads.load().await.len(), MAX_REMEMBERED_ROWS + 1);
    assert!(loads.position.as_ref().unwrap().len() < 200);
    assert_eq!(loads.ids().await, NONE);
    table.add(-1, 20);
    assert_eq!(loads.load().await.len(), MAX_REMEMBERED_ROWS + 2, "which one is new cannot be told");
    assert_eq!(loads.ids().await, NONE);
    table.add(-2, START + 10);
    table.add(-3, 21);
    assert_eq!(loads.ids().await, [-3, -2]);
    assert_eq!(loads.ids().await, NONE);
}

#[tokio::test]
async fn many_rows_of_an_overlap_stay_known_while_the_position_moves_on() {
    let most = i64::try_from(MAX_REMEMBERED_ROWS).unwrap();
    let table = Memory::of((0..=most).map(|id| row(id, 20)));
    let mut loads = Loads::of(&table, 0, 50);
    loads.load().await;
    table.add(-1, 30);
    assert_eq!(loads.ids().await, [-1]);
    table.add(-2, 90);
    assert_eq!(loads.ids().await, [-2]);
    table.add(-3, 45);
    assert_eq!(loads.ids().await, [-3]);
}

#[tokio::test]
async fn load_that_breaks_off_is_read_again_from_the_same_position() {
    let table = Memory::of((0..7_000).map(|id| row(id, 20)));
    let mut loads = Loads::of(&table, 0, 0);
    let mut feed = loads.feed(None).await.unwrap();
    let bound = feed.upper().unwrap().to_owned();
    let mut reader = feed.rows().await.unwrap();
    assert_eq!(reader.next().await.unwrap().unwrap().batch().num_rows(), ROWS_OF_A_BATCH);
    drop(reader);
    assert_eq!(feed.upper(), Some(bound.as_str()), "the position is said when all rows were read");
    assert_eq!(loads.load().await.len(), 7_000);
    assert_eq!(loads.ids().await, NONE);
}

#[tokio::test]
async fn position_of_an_earlier_host_is_gone_on_from_by_greater_values() {
    let table = Memory::of([row(1, 10), row(2, 20)]);
    let mut loads = Loads::of(&table, 0, 60);
    loads.position = Some(format!("w1:seconds:at={}", text(Some(20))));
    assert_eq!(loads.ids().await, NONE, "what was loaded then is not read again, whatever the overlap");
    table.add(3, 30);
    assert_eq!(loads.ids().await, [3]);
    table.add(4, 25);
    assert_eq!(loads.ids().await, [4]);
}

#[tokio::test]
async fn upper_bound_that_is_kept_as_the_position_repeats_rows_of_its_value() {
    let table = Memory::of([row(1, 10), row(2, 20)]);
    let mut loads = Loads::of(&table, 0, 0);
    loads.position = loads.feed(None).await.unwrap().upper().map(str::to_owned);
    table.add(3, 20);
    assert_eq!(loads.ids().await, [2, 3]);
}

#[tokio::test]
async fn what_is_gone_leaves_the_position_where_it_is() {
    let table = Memory::of([row(1, 10), row(2, 20)]);
    let mut loads = Loads::of(&table, 0, 0);
    loads.ids().await;
    table.now().rows.clear();
    assert_eq!(loads.ids().await, NONE);
    table.add(3, 15);
    assert_eq!(loads.ids().await, NONE, "it lies below the position");
    let mut empty = Loads::of(&Memory::of([]), 0, 0);
    assert_eq!((empty.ids().await, empty.position), (vec![], None));
}

#[tokio::test]
async fn position_of_another_column_or_type_is_a_gap_and_another_text_an_error() {
    let mut loads = Loads::of(&Memory::of([row(1, 10)]), 0, 0);
    loads.position = Some("w2:days:at=1970-01-01".to_owned());
    let mut feed = loads.feed(None).await.unwrap();
    let expected =
        "the position is of the column `at` of type days, and the watermark is now the column `at` of type seconds";
    assert_eq!((feed.validity(), feed.upper()), (&Validity::Gap(expected.to_owned()), None));
    assert_eq!(feed.rows().await.err().unwrap().code(), "DK-SRC-405");
    for text in ["", "5", "w1:seconds:at=five", "w2:seconds:at=1970-01-01T00:00:05Z/", "w3:seconds:at=5", "lsn:0/1"] {
        loads.position = Some(text.to_owned());
        assert_eq!(loads.feed(None).await.err().unwrap().code(), "DK-SRC-400", "{text}");
    }
    loads.position = Some(format!("w2:seconds:at={}", "A".repeat(400_000)));
    assert!(loads.feed(None).await.err().unwrap().to_string().len() < 500);
}

#[tokio::test]
async fn rows_are_taken_once() {
    let mut feed = Loads::of(&Memory::of([row(1, 10)]), 0, 0).feed(None).await.unwrap();
    feed.rows().await.unwrap();
    assert_eq!(feed.rows().await.err().unwrap().code(), "DK-SRC-405");
}

/// A step of a table's life; rows are numbers into those that are there.
#[derive(Debug, Clone, Copy)]
enum Step {
    Insert,
    /// So far below the clock.
    InsertLate(i64),
    /// So far beyond the clock.
    InsertAhead(i64),
    Update(usize),
    /// Without the watermark.
    Touch(usize),
    Delete(usize),
    Tick(i64),
    Load,
}

const OVERLAP: i64 = 20;

fn steps() -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Insert),
        2 => (0..=OVERLAP).prop_map(Step::InsertLate),
        1 => (1..80_i64).prop_map(Step::InsertAhead),
        2 => (0..30_usize).prop_map(Step::Update),
        1 => (0..30_usize).prop_map(Step::Touch),
        1 => (0..30_usize).prop_map(Step::Delete),
        3 => (0..15_i64).prop_map(Step::Tick),
        3 => Just(Step::Load),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Applies a step. The rows that loads have to see from now on get a new note.
fn apply(contents: &mut Contents, step: Step, number: i64, position: i64) {
    let Contents { rows, clock } = contents;
    let at = match step {
        Step::InsertLate(by) => Some(*clock - by),
        Step::InsertAhead(by) => Some(*clock + by),
        _ => Some(*clock),
    };
    let some = |index: usize| (!rows.is_empty()).then(|| index % rows.len());
    match step {
        Step::Insert | Step::InsertLate(_) | Step::InsertAhead(_) => rows.push(Row { id: number, note: number, at }),
        Step::Update(index) => {
            if let Some(index) = some(index) {
                rows[index] = Row { note: number, at, ..rows[index] };
            }
        }
        Step::Touch(index) => {
            // Below the overlap nobody sees it.
            if let Some(index) = some(index).filter(|index| rows[*index].at.is_some_and(|at| at >= position - OVERLAP))
            {
                rows[index].note = number;
            }
        }
        Step::Delete(index) => {
            if let Some(index) = some(index) {
                rows.remove(index);
            }
        }
        Step::Tick(by) => *clock += by,
        Step::Load => {}
    }
}

proptest! {
    #[test]
    fn every_version_of_a_row_is_read_once_by_any_loads(life in steps(), lag in prop_oneof![Just(0_u64), 1_u64..30]) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let table = Memory::of([]);
            let mut loads = Loads::of(&table, lag, OVERLAP.unsigned_abs());
            let mut read = BTreeSet::new();
            // Beyond all of the life: what waits for the lag, or for its time, is read by then.
            let end = [Step::Tick(1_000), Step::Insert, Step::Load, Step::Load];
            let mut position = 0;
            for (number, step) in life.iter().copied().chain(end).enumerate() {
                if let Step::Load = step {
                    for version in loads.load().await {
                        assert!(read.insert(version), "{version:?} is read twice");
                    }
                    // No bound lies beyond the clock.
                    position = table.now().clock;
                }
                apply(&mut table.now(), step, i64::try_from(number).unwrap(), position);
            }
            let last = i64::try_from(lag).unwrap();
            let contents = table.now();
            let due = contents.rows.iter().filter(|row| row.at.is_some_and(|at| at <= contents.clock - last));
            let due: BTreeMap<i64, i64> = due.map(|row| (row.id, row.note)).collect();
            for version in due {
                assert!(read.contains(&version), "{version:?} is not read");
            }
        });
    }
}
