//! Loads that are merged by key: what each change does, and that a merge commits as any other load.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datakit_model::datakit::RoleColumns;
use datakit_model::sink::{Committed, Sink, TableRows, Target, WriteMode};
use datakit_model::{Retry, TableId, TrackedBatch};

use super::fixture::{SYSTEM, batch, expect_rows, field, load, note, plain, plain_schema, table, target, write};
use super::schemas::refused;
use super::{Harness, Outcome, Violation, ensure, ensure_eq};

/// A change, or a row that a table holds.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    id: i32,
    part: Option<i32>,
    operation: &'static str,
    name: Option<String>,
    doc: Option<String>,
    missing: Option<String>,
}

fn row(id: i32, operation: &'static str, name: &str) -> Row {
    let (name, doc) = (Some(name.to_owned()), Some(format!("doc of {name}")));
    Row { id, part: None, operation, name, doc, missing: None }
}

fn delete(id: i32) -> Row {
    Row { name: None, doc: None, ..row(id, "delete", "") }
}

/// A change that does not carry `doc`.
fn without_doc(id: i32, operation: &'static str, name: &str) -> Row {
    Row { doc: None, missing: Some(r#"["doc"]"#.to_owned()), ..row(id, operation, name) }
}

fn change_schema() -> SchemaRef {
    let key = Field::new("id", DataType::Int32, false);
    let operation = Field::new("_operation", DataType::Utf8, false);
    let text = |name: &str| field(name, DataType::Utf8);
    let fields = vec![key, text("name"), field("part", DataType::Int32), operation, text("doc"), text("_missing")];
    Arc::new(Schema::new(fields))
}

fn changes(rows: &[Row]) -> Result<RecordBatch, Violation> {
    let text = |of: fn(&Row) -> Option<&str>| -> ArrayRef { Arc::new(rows.iter().map(of).collect::<StringArray>()) };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.id))),
        text(|row| row.name.as_deref()),
        Arc::new(rows.iter().map(|row| row.part).collect::<Int32Array>()),
        text(|row| Some(row.operation)),
        text(|row| row.doc.as_deref()),
        text(|row| row.missing.as_deref()),
    ];
    batch(&change_schema(), columns)
}

/// A merge of changes by `id` and `part`.
fn merge_target(table: &TableId, run_id: &str) -> Target {
    let name = |name: &str| Some(name.to_owned());
    let roles =
        RoleColumns { operation: name("_operation"), missing_columns: name("_missing"), ..RoleColumns::default() };
    let keys = vec!["id".to_owned(), "part".to_owned()];
    Target { mode: WriteMode::Merge, keys, roles, ..target(table, &change_schema(), run_id) }
}

/// A merge of plain rows by `id`: each is an upsert.
fn plain_merge(table: &TableId, run_id: &str) -> Target {
    Target { mode: WriteMode::Merge, keys: vec!["id".to_owned()], ..target(table, &plain_schema(), run_id) }
}

async fn merge(sink: &dyn Sink, table: &TableId, run_id: &str, rows: &[Row]) -> Result<Committed, Violation> {
    Ok(load(sink, merge_target(table, run_id), &[changes(rows)?]).await?)
}

async fn expect_table(harness: &dyn Harness, table: &TableId, rows: &[Row]) -> Outcome {
    expect_rows(harness, table, &change_schema(), &[changes(rows)?]).await
}

/// Rows with the names of other rows.
fn renamed(ids: std::ops::Range<i32>) -> Result<RecordBatch, Violation> {
    let names: StringArray = ids.clone().map(|id| Some(format!("renamed {id}"))).collect();
    batch(&plain_schema(), vec![Arc::new(Int32Array::from_iter_values(ids)), Arc::new(names)])
}

/// A row replaces the one of its key, the others stay, a replay changes nothing, and the state commits with the rows.
///
/// # Errors
/// The sink does otherwise.
pub async fn merges_by_key(harness: &dyn Harness) -> Outcome {
    let (sink, table, schema) = (harness.sink().await?, table("merged"), plain_schema());
    sink.fits(&plain_merge(&table, "1"))?;
    let first = load(sink.as_ref(), plain_merge(&table, "1"), &[plain(0..5)?]).await?;
    ensure_eq!((first.written.rows, first.state.rows, first.state.sequence), (5, 5, 1), "the first merge");
    ensure_eq!(first.holds, TableRows { rows: 5, at_least: false }, "the rows of the table");
    for run_id in ["2", "replay"] {
        let second = load(sink.as_ref(), plain_merge(&table, run_id), &[renamed(3..6)?, renamed(6..8)?]).await?;
        ensure_eq!((second.written.rows, second.holds.rows), (5, 8), "the merge of {run_id}");
        ensure_eq!(second.state.watermark.as_deref(), Some(run_id), "the watermark");
        expect_rows(harness, &table, &schema, &[plain(0..3)?, renamed(3..8)?]).await?;
    }
    let state = sink.state(SYSTEM, &table).await?;
    ensure_eq!(state.map(|state| (state.sequence, state.run_id)), Some((3, "replay".to_owned())), "the state");
    let none = load(sink.as_ref(), plain_merge(&table, "none"), &[]).await?;
    ensure_eq!((none.written.rows, none.holds.rows, none.state.sequence), (0, 8, 4), "a merge without rows");
    load(sink.as_ref(), target(&table, &schema, "append"), &[plain(8..9)?]).await?;
    load(sink.as_ref(), plain_merge(&table, "5"), &[renamed(8..9)?]).await?;
    expect_rows(harness, &table, &schema, &[plain(0..3)?, renamed(3..9)?]).await
}

/// Several changes of a key in one load end in the last one, whatever their kinds.
///
/// # Errors
/// The sink does otherwise.
pub async fn a_merge_ends_in_the_last_change_of_each_key(harness: &dyn Harness) -> Outcome {
    let (sink, table) = (harness.sink().await?, table("last change"));
    let read: Vec<Row> = (1..=6).map(|id| row(id, "read", "first")).collect();
    merge(sink.as_ref(), &table, "1", &read).await?;
    let rows = [
        delete(1),
        row(1, "insert", "deleted and inserted"),
        row(2, "update", "updated"),
        delete(2),
        row(3, "update", "once"),
        row(3, "update", "twice"),
        delete(4),
        row(7, "insert", "new"),
        row(7, "update", "new and updated"),
        row(8, "update", "unknown"),
        row(9, "insert", "short-lived"),
        row(9, "update", "short-lived"),
        delete(9),
        delete(10),
        row(11, "upsert", "upserted"),
    ];
    let committed = merge(sink.as_ref(), &table, "2", &rows).await?;
    let expected = [
        row(1, "insert", "deleted and inserted"),
        row(3, "update", "twice"),
        row(5, "read", "first"),
        row(6, "read", "first"),
        row(7, "update", "new and updated"),
        row(8, "update", "unknown"),
        row(11, "upsert", "upserted"),
    ];
    ensure_eq!((committed.written.rows, committed.holds.rows), (15, 7), "the rows of load and table");
    expect_table(harness, &table, &expected).await?;
    merge(sink.as_ref(), &table, "3", &expected.each_ref().map(|row| delete(row.id))).await?;
    expect_table(harness, &table, &[]).await?;
    merge(sink.as_ref(), &table, "4", &[row(1, "insert", "again")]).await?;
    expect_table(harness, &table, &[row(1, "insert", "again")]).await?;
    let state = sink.state(SYSTEM, &table).await?;
    ensure_eq!(state.map(|state| state.sequence), Some(4), "the sequence after all rows were deleted");
    Ok(())
}

/// The order is that of the partitions' ordinals, whichever ends first, and within one that of arrival.
///
/// # Errors
/// The sink does otherwise.
pub async fn a_merge_goes_by_the_order_of_partitions(harness: &dyn Harness) -> Outcome {
    let (sink, table) = (harness.sink().await?, table("ordinals"));
    let writer = sink.open(merge_target(&table, "1")).await?;
    write(writer.as_ref(), 2, &[changes(&[delete(1), row(2, "insert", "third")])?]).await?;
    write(writer.as_ref(), 0, &[changes(&[row(1, "insert", "first"), row(2, "insert", "first")])?]).await?;
    let second = [changes(&[row(1, "update", "second")])?, changes(&[row(3, "insert", "second"), delete(2)])?];
    write(writer.as_ref(), 1, &second).await?;
    writer.commit(note("w")).await?;
    expect_table(harness, &table, &[row(2, "insert", "third"), row(3, "insert", "second")]).await
}

/// A column that a change names as missing keeps its value: of the table, or of an earlier change of the load.
///
/// # Errors
/// The sink does otherwise.
pub async fn a_merge_keeps_what_a_change_does_not_carry(harness: &dyn Harness) -> Outcome {
    let (sink, table) = (harness.sink().await?, table("missing"));
    let rows = [row(1, "insert", "a"), without_doc(1, "update", "b"), row(2, "insert", "a"), row(3, "insert", "a")];
    merge(sink.as_ref(), &table, "1", &rows).await?;
    let kept = |id: i32, name: &str| Row { doc: Some("doc of a".to_owned()), ..row(id, "update", name) };
    let others = [row(2, "insert", "a"), row(3, "insert", "a")];
    expect_table(harness, &table, &[&[kept(1, "b")], others.as_slice()].concat()).await?;

    let null = Row { doc: None, ..row(3, "update", "c") };
    let rows =
        [without_doc(2, "update", "c"), null.clone(), without_doc(1, "update", "c"), without_doc(1, "update", "d")];
    merge(sink.as_ref(), &table, "2", &rows).await?;
    expect_table(harness, &table, &[kept(1, "d"), kept(2, "c"), null.clone()]).await?;

    let rows = [
        delete(1),
        without_doc(1, "insert", "e"),
        without_doc(4, "update", "unknown"),
        without_doc(2, "update", "f"),
        delete(2),
    ];
    merge(sink.as_ref(), &table, "3", &rows).await?;
    let expected = [without_doc(1, "insert", "e"), null, without_doc(4, "update", "unknown")];
    expect_table(harness, &table, &expected).await?;
    merge(sink.as_ref(), &table, "4", &[without_doc(4, "update", "still unknown"), row(1, "update", "g")]).await?;
    let expected = [row(1, "update", "g"), expected[1].clone(), without_doc(4, "update", "still unknown")];
    expect_table(harness, &table, &expected).await
}

/// Null in a key is equal to null.
///
/// # Errors
/// The sink does otherwise.
pub async fn a_merge_takes_nulls_in_keys_as_equal(harness: &dyn Harness) -> Outcome {
    let (sink, table) = (harness.sink().await?, table("null keys"));
    let with_part = |row: Row| Row { part: Some(7), ..row };
    let rows = [row(1, "insert", "a"), with_part(row(1, "insert", "b")), row(2, "insert", "c")];
    for run_id in ["1", "2"] {
        merge(sink.as_ref(), &table, run_id, &rows).await?;
        expect_table(harness, &table, &rows).await?;
    }
    let updated = [row(1, "update", "d"), with_part(row(1, "update", "e")), row(2, "insert", "c")];
    merge(sink.as_ref(), &table, "3", &updated[..2]).await?;
    expect_table(harness, &table, &updated).await?;
    merge(sink.as_ref(), &table, "4", &[delete(1)]).await?;
    expect_table(harness, &table, &updated[1..]).await?;
    merge(sink.as_ref(), &table, "5", &[with_part(delete(1)), with_part(delete(2))]).await?;
    expect_table(harness, &table, &updated[2..]).await
}

/// Rows of the same key that are there, from a load that was no merge, become one.
///
/// # Errors
/// The sink does otherwise.
pub async fn a_merge_leaves_one_row_a_key(harness: &dyn Harness) -> Outcome {
    let (sink, table, schema) = (harness.sink().await?, table("doubles"), plain_schema());
    for run_id in ["1", "2", "3"] {
        load(sink.as_ref(), target(&table, &schema, run_id), &[plain(0..4)?]).await?;
    }
    let committed = load(sink.as_ref(), plain_merge(&table, "4"), &[renamed(2..5)?]).await?;
    ensure_eq!(committed.holds.rows, 9, "the rows of the table");
    let rows = [plain(0..2)?, plain(0..2)?, plain(0..2)?, renamed(2..5)?];
    expect_rows(harness, &table, &schema, &rows).await
}

/// Columns that only the table has stay as they are.
///
/// # Errors
/// The sink does otherwise.
pub async fn a_merge_leaves_columns_that_only_the_table_has(harness: &dyn Harness) -> Outcome {
    let (sink, table) = (harness.sink().await?, table("wider"));
    merge(sink.as_ref(), &table, "1", &[row(1, "read", "a"), row(2, "read", "a"), row(3, "read", "a")]).await?;
    let narrow: SchemaRef = Arc::new(change_schema().project(&[3, 0, 2, 1])?);
    let rows = changes(&[row(1, "update", "b"), delete(2), row(2, "insert", "b"), row(4, "insert", "b")])?;
    let roles = RoleColumns { missing_columns: None, ..merge_target(&table, "2").roles };
    let target = Target { schema: Arc::clone(&narrow), roles, ..merge_target(&table, "2") };
    load(sink.as_ref(), target, &[rows.project(&[3, 0, 2, 1])?]).await?;
    let doc = |doc: Option<&str>, row: Row| Row { doc: doc.map(str::to_owned), ..row };
    let expected = [
        doc(Some("doc of a"), row(1, "update", "b")),
        doc(None, row(2, "insert", "b")),
        row(3, "read", "a"),
        doc(None, row(4, "insert", "b")),
    ];
    expect_table(harness, &table, &expected).await
}

/// A row that is to be deleted may have nulls where the table has none, and no other row may.
///
/// # Errors
/// The sink does otherwise.
pub async fn a_deleted_row_needs_its_key_alone(harness: &dyn Harness) -> Outcome {
    let (sink, table) = (harness.sink().await?, table("no nulls"));
    let strict = |may_be_null: bool| -> SchemaRef {
        let schema = change_schema();
        let fields = schema.fields().iter().map(|field| match field.name().as_str() {
            "name" => Field::new("name", DataType::Utf8, may_be_null),
            _ => Field::clone(field),
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    };
    let load_rows = async |run_id: &str, may_be_null: bool, rows: &[Row]| {
        let schema = strict(may_be_null);
        let rows = batch(&schema, changes(rows)?.columns().to_vec())?;
        let target = Target { schema, ..merge_target(&table, run_id) };
        Ok::<_, Violation>(load(sink.as_ref(), target, &[rows]).await)
    };
    load_rows("1", false, &[row(1, "read", "a"), row(2, "read", "a")]).await??;
    load_rows("2", true, &[delete(1)]).await??;
    expect_table(harness, &table, &[row(2, "read", "a")]).await?;
    let null = Row { name: None, ..row(2, "update", "a") };
    ensure!(load_rows("3", true, &[null]).await?.is_err(), "a null was taken where the table allows none");
    expect_table(harness, &table, &[row(2, "read", "a")]).await
}

const KEYS: [&str; 3] = ["a", "b", "c"];

fn wide_key_schema() -> SchemaRef {
    let key = |name: &str| Field::new(name, DataType::Int32, false);
    Arc::new(Schema::new(vec![key("a"), key("b"), Field::new("c", DataType::Utf8, false), field("v", DataType::Int32)]))
}

/// Unique keys of three columns.
fn wide_keys(numbers: std::ops::Range<i32>, value: i32) -> Result<RecordBatch, Violation> {
    let column = |of: fn(i32) -> i32| -> ArrayRef { Arc::new(Int32Array::from_iter_values(numbers.clone().map(of))) };
    let texts: StringArray = numbers.clone().map(|number| Some(format!("key {}", number % 7))).collect();
    let values = Int32Array::from(vec![value; numbers.len()]);
    batch(&wide_key_schema(), vec![column(|n| n / 100), column(|n| n % 100), Arc::new(texts), Arc::new(values)])
}

/// Many rows, and numbers of rows around the size of a batch.
///
/// # Errors
/// The sink does otherwise.
pub async fn merges_many_rows(harness: &dyn Harness) -> Outcome {
    const ALL: i32 = 100_000;
    const BATCH: i32 = 8192;
    let sink = harness.sink().await?;
    let target = |table: &TableId, run_id: &str| {
        let keys = KEYS.map(str::to_owned).to_vec();
        Target { mode: WriteMode::Merge, keys, ..target(table, &wide_key_schema(), run_id) }
    };
    for rows in [BATCH, BATCH + 1, ALL] {
        let table = table(&format!("many {rows}"));
        for run in 1..=2 {
            let writer = sink.open(target(&table, &run.to_string())).await?;
            for ordinal in 0..2 {
                let half = rows / 2;
                let (first, end) = if ordinal == 0 { (0, half) } else { (half, rows) };
                let mut partition = writer.partition(ordinal).await?;
                for start in (first..end).step_by(BATCH as usize) {
                    let batch = wide_keys(start..(start + BATCH).min(end), run)?;
                    partition.write(TrackedBatch::untracked(batch)).await?;
                }
                partition.finish().await?;
            }
            let committed = writer.commit(note("w")).await?;
            let rows = u64::try_from(rows).unwrap_or_default();
            ensure_eq!((committed.written.rows, committed.holds.rows), (rows, rows), "run {run} of {rows} rows");
        }
        expect_rows(harness, &table, &wide_key_schema(), &[wide_keys(0..rows, 2)?]).await?;
        let twice = [wide_keys(5..6, 3)?, wide_keys(5..6, 4)?];
        load(sink.as_ref(), target(&table, "twice"), &twice).await?;
        let expected = [wide_keys(0..5, 2)?, wide_keys(5..6, 4)?, wide_keys(6..rows, 2)?];
        expect_rows(harness, &table, &wide_key_schema(), &expected).await?;
    }
    Ok(())
}

/// Of two merges at once one commits; what was aborted leaves nothing.
///
/// # Errors
/// The sink does otherwise.
pub async fn of_two_merges_one_commits(harness: &dyn Harness) -> Outcome {
    let (sink, other, table) = (harness.sink().await?, harness.sink().await?, table("raced merge"));
    merge(sink.as_ref(), &table, "1", &[row(1, "read", "a"), row(2, "read", "a")]).await?;
    let writer = sink.open(merge_target(&table, "2")).await?;
    write(writer.as_ref(), 0, &[changes(&[row(1, "update", "b")])?]).await?;
    // Postgres refuses to open the table, Delta to commit.
    let late = other.open(merge_target(&table, "3")).await;
    if let Ok(late) = &late {
        write(late.as_ref(), 0, &[changes(&[row(1, "update", "c"), row(3, "insert", "c")])?]).await?;
    }
    writer.commit(note("w")).await?;
    // What the merge has replaced is no longer referred to, and not its to remove.
    let replaced = harness.leftovers(SYSTEM, &table).await?;
    if let Ok(late) = late {
        let Err(failure) = late.commit(note("w")).await else { return Err(Violation::new("both merges committed")) };
        ensure_eq!((failure.code(), failure.retry()), ("DK-SNK-010", Retry::NextRun), "the code ({failure})");
        late.abort().await;
    }
    expect_table(harness, &table, &[row(1, "update", "b"), row(2, "read", "a")]).await?;
    let aborted = sink.open(merge_target(&table, "4")).await?;
    write(aborted.as_ref(), 0, &[changes(&[delete(1)])?]).await?;
    aborted.abort().await;
    drop(aborted);
    expect_table(harness, &table, &[row(1, "update", "b"), row(2, "read", "a")]).await?;
    ensure_eq!(harness.leftovers(SYSTEM, &table).await?, replaced, "leftovers of {table}");
    Ok(())
}

/// A merge without a key, or by a column that is not there, is refused before anything is written; so is a change of an unknown
/// kind.
///
/// # Errors
/// The sink does otherwise.
pub async fn refuses_a_merge_without_a_key(harness: &dyn Harness) -> Outcome {
    let (sink, table) = (harness.sink().await?, table("keyless"));
    let keyless = Target { keys: Vec::new(), ..plain_merge(&table, "1") };
    refused(harness, sink.as_ref(), keyless, "DK-SNK-050").await?;
    let unknown = Target { keys: vec!["other".to_owned()], ..plain_merge(&table, "1") };
    refused(harness, sink.as_ref(), unknown, "DK-SNK-051").await?;
    let writer = sink.open(merge_target(&table, "1")).await?;
    let result = write(writer.as_ref(), 0, &[changes(&[row(1, "truncate", "")])?]).await;
    ensure_eq!(result.map_err(|failure| failure.code().to_owned()), Err("DK-SNK-011".to_owned()), "an operation");
    writer.abort().await;
    drop(writer);
    ensure!(harness.rows(SYSTEM, &table, &change_schema()).await?.is_none(), "a refused change left a table");
    Ok(())
}

/// A partitioned table, whose rows move between partitions; by a key that is a partition column, and by one that is not.
///
/// # Errors
/// The sink does otherwise.
pub async fn merges_into_partitioned_tables(harness: &dyn Harness) -> Outcome {
    let sink = harness.sink().await?;
    if !sink.writes_partitioned_tables() {
        return Ok(());
    }
    for (by, keys) in [("name", vec!["id"]), ("part", vec!["part", "id"])] {
        let table = table(&format!("merged parts {by}"));
        let target = |run_id: &str| {
            let keys = keys.iter().map(|key| (*key).to_owned()).collect();
            Target { keys, partition_by: vec![by.to_owned()], ..merge_target(&table, run_id) }
        };
        let rows: Vec<Row> = (0..40)
            .map(|id| Row { part: (id % 4 > 0).then_some(id % 4), ..row(id, "read", &format!("n{}", id % 3)) })
            .collect();
        load(sink.as_ref(), target("1"), &[changes(&rows)?]).await?;
        expect_table(harness, &table, &rows).await?;
        let moved = |id: i32| Row { operation: "update", name: Some("moved".to_owned()), ..rows[id as usize].clone() };
        let gone = |id: i32| Row { part: rows[id as usize].part, ..delete(id) };
        load(sink.as_ref(), target("2"), &[changes(&[moved(0), moved(7), gone(8), gone(9), moved(31)])?]).await?;
        let expected: Vec<Row> = (0..40)
            .filter(|id| ![8, 9].contains(id))
            .map(|id| if [0, 7, 31].contains(&id) { moved(id) } else { rows[id as usize].clone() })
            .collect();
        expect_table(harness, &table, &expected).await?;
    }
    Ok(())
}

/// Numbers that are the same in every run of the suite.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }

    fn row(&mut self) -> Row {
        let id = i32::try_from(self.below(12)).unwrap_or_default();
        let part = (self.below(3) == 0).then_some(1);
        let operation =
            ["insert", "update", "upsert", "delete", "delete"][usize::try_from(self.below(5)).unwrap_or_default()];
        let name = format!("n{}", self.below(1000));
        let made = match (operation, self.below(3)) {
            ("delete", _) => delete(id),
            (_, 0) => without_doc(id, operation, &name),
            _ => row(id, operation, &name),
        };
        Row { part, ..made }
    }
}

/// The model: changes one after the other.
fn apply(table: &mut BTreeMap<(i32, Option<i32>), Row>, change: &Row) {
    let key = (change.id, change.part);
    if change.operation == "delete" {
        table.remove(&key);
        return;
    }
    let kept = table.get(&key).filter(|_| change.missing.is_some());
    let (doc, missing) = kept.map_or((&change.doc, &change.missing), |kept| (&kept.doc, &kept.missing));
    let row = Row { doc: doc.clone(), missing: missing.clone(), ..change.clone() };
    table.insert(key, row);
}

/// Random loads of several partitions give the table that their changes give one after the other.
///
/// # Errors
/// The sink does otherwise.
pub async fn merges_as_if_changes_came_one_by_one(harness: &dyn Harness) -> Outcome {
    let (sink, table) = (harness.sink().await?, table("random"));
    let (mut numbers, mut model) = (Numbers(7), BTreeMap::new());
    for run in 0..12 {
        let writer = sink.open(merge_target(&table, &run.to_string())).await?;
        let mut partitions = Vec::new();
        for _ in 0..=numbers.below(3) {
            let batches: Vec<Vec<Row>> =
                (0..numbers.below(3)).map(|_| (0..numbers.below(8)).map(|_| numbers.row()).collect()).collect();
            batches.iter().flatten().for_each(|change| apply(&mut model, change));
            partitions.push(batches);
        }
        for (ordinal, batches) in (0..3).zip(&partitions).collect::<Vec<_>>().into_iter().rev() {
            let batches: Vec<RecordBatch> = batches.iter().map(|rows| changes(rows)).collect::<Result<_, _>>()?;
            write(writer.as_ref(), ordinal, &batches).await?;
        }
        let committed = writer.commit(note("w")).await?;
        ensure_eq!(committed.holds.rows, model.len() as u64, "the rows after run {run}");
        let expected: Vec<Row> = model.values().cloned().collect();
        expect_table(harness, &table, &expected).await?;
    }
    Ok(())
}
