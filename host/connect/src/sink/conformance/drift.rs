//! Columns of a load that are not those of the table: what each rule does, and that rows and columns commit together.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datakit_model::sink::{Sink, Target, WriteMode};
use datakit_model::{ChangeKind, ColumnChange, DriftRule, Failure, Kind, TableId};

use super::fixture::{batch, expect_no_leftovers, expect_rows, field, load, plain, plain_schema, table, target, write};
use super::{Harness, Outcome, Violation, ensure, ensure_eq};

/// A batch by its columns: name, whether it may be null, values.
fn rows(columns: Vec<(&str, bool, ArrayRef)>) -> Result<RecordBatch, Violation> {
    let field =
        |(name, nullable, values): &(&str, bool, ArrayRef)| Field::new(*name, values.data_type().clone(), *nullable);
    let schema: SchemaRef = Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()));
    batch(&schema, columns.into_iter().map(|(_, _, values)| values).collect())
}

fn numbers(values: &[Option<i32>]) -> ArrayRef {
    Arc::new(Int32Array::from(values.to_vec()))
}

fn texts(values: &[Option<&str>]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn under(rule: DriftRule, table: &TableId, rows: &RecordBatch, run_id: &str) -> Target {
    Target { drift: rule, ..target(table, &rows.schema(), run_id) }
}

/// Loads a batch; gives what the writer says of its columns.
async fn loaded(sink: &dyn Sink, target: Target, rows: &RecordBatch) -> Result<Vec<ColumnChange>, Failure> {
    let writer = sink.open(target).await?;
    write(writer.as_ref(), 0, std::slice::from_ref(rows)).await?;
    writer.commit(super::fixture::note("w")).await?;
    Ok(writer.drift().to_vec())
}

fn kinds(changes: &[ColumnChange]) -> Vec<(&str, ChangeKind)> {
    changes.iter().map(|change| (change.column.as_str(), change.change)).collect()
}

/// Refused before anything is written, with the name of the column.
async fn refuses(sink: &dyn Sink, target: Target, column: &str) -> Outcome {
    let rule = target.drift;
    let Err(failure) = sink.open(target).await.map(|_| ()) else {
        return Err(Violation::new(format!("`{column}` was taken under {rule:?}")));
    };
    ensure_eq!((failure.code(), failure.kind()), ("DK-SNK-008", Kind::User), "the code ({failure})");
    ensure!(failure.message().contains(&format!("`{column}`")), "`{column}` is not named: {failure}");
    Ok(())
}

/// The table has exactly these columns: a load that allows no difference is taken, and goes no further.
async fn has_columns(sink: &dyn Sink, table: &TableId, rows: &RecordBatch) -> Outcome {
    let writer = sink.open(under(DriftRule::Fail, table, rows, "columns")).await?;
    writer.abort().await;
    Ok(())
}

/// A column that only the source has is in the table with the rows of the load, null in the rows that were there, and is no
/// difference from then on. Asked before, the sink says the same, and alters nothing.
///
/// # Errors
/// The sink does otherwise.
pub async fn a_new_column_is_added(harness: &dyn Harness) -> Outcome {
    let (sink, table) = (harness.sink().await?, table("added"));
    load(sink.as_ref(), target(&table, &plain_schema(), "1"), &[plain(0..2)?]).await?;
    let wider = rows(vec![
        ("new note", false, texts(&[Some("x"), Some("y")])),
        ("name", true, texts(&[Some("a"), None])),
        ("id", false, numbers(&[Some(7), Some(8)])),
    ])?;
    let said = sink.drift(&under(DriftRule::Evolve, &table, &wider, "2")).await?;
    has_columns(sink.as_ref(), &table, &plain(0..1)?).await?;
    let changes = loaded(sink.as_ref(), under(DriftRule::Evolve, &table, &wider, "2"), &wider).await?;
    ensure_eq!(kinds(&changes), [("new note", ChangeKind::Added)], "the changes");
    ensure_eq!(said, changes, "what was said before");
    let again = loaded(sink.as_ref(), under(DriftRule::Evolve, &table, &wider, "3"), &wider).await?;
    ensure!(again.is_empty(), "the next load found {again:?}");
    let before = plain(0..2)?;
    let before = rows(vec![
        ("new note", true, texts(&[None, None])),
        ("name", true, Arc::clone(before.column(1))),
        ("id", false, Arc::clone(before.column(0))),
    ])?;
    expect_rows(harness, &table, &before.schema(), &[before.clone(), wider.clone(), wider]).await?;
    expect_no_leftovers(harness, &table).await
}

/// A column that the source has no more stays in the table, also one that could not be null, and is null in new rows. The load that
/// finds it says so, and later ones do not.
///
/// # Errors
/// The sink does otherwise.
pub async fn a_dropped_column_is_null_in_new_rows(harness: &dyn Harness) -> Outcome {
    let (sink, table) = (harness.sink().await?, table("dropped"));
    let all = |codes: &[Option<i32>], nullable| {
        rows(vec![
            ("id", false, numbers(&[Some(1), Some(2)])),
            ("code", nullable, numbers(codes)),
            ("name", true, texts(&[Some("a"), Some("b")])),
        ])
    };
    let before = all(&[Some(10), Some(20)], false)?;
    loaded(sink.as_ref(), under(DriftRule::Evolve, &table, &before, "1"), &before).await?;
    let narrow = before.project(&[0])?;
    let changes = loaded(sink.as_ref(), under(DriftRule::Evolve, &table, &narrow, "2"), &narrow).await?;
    ensure_eq!(kinds(&changes), [("code", ChangeKind::Dropped), ("name", ChangeKind::Dropped)], "the changes");
    let again = loaded(sink.as_ref(), under(DriftRule::Evolve, &table, &narrow, "3"), &narrow).await?;
    ensure!(again.is_empty(), "the next load found {again:?}");
    let after = rows(vec![
        ("id", false, numbers(&[Some(1), Some(2)])),
        ("code", true, numbers(&[None, None])),
        ("name", true, texts(&[None, None])),
    ])?;
    let schema = after.schema();
    expect_rows(harness, &table, &schema, &[all(&[Some(10), Some(20)], true)?, after.clone(), after]).await?;
    // It comes back: the table has it still.
    let back = loaded(sink.as_ref(), under(DriftRule::Evolve, &table, &before, "4"), &before).await?;
    ensure!(back.is_empty(), "a load that has the column again found {back:?}");
    Ok(())
}

/// A column that may be null in the source may be null in the table then.
///
/// # Errors
/// The sink does otherwise.
pub async fn a_column_that_may_be_null_is_relaxed(harness: &dyn Harness) -> Outcome {
    let (sink, table) = (harness.sink().await?, table("relaxed"));
    load(sink.as_ref(), target(&table, &plain_schema(), "1"), &[plain(0..2)?]).await?;
    let nullable = rows(vec![("id", true, numbers(&[None])), ("name", true, texts(&[Some("a")]))])?;
    for rule in [DriftRule::Freeze, DriftRule::Fail] {
        refuses(sink.as_ref(), under(rule, &table, &nullable, "2"), "id").await?;
    }
    let changes = loaded(sink.as_ref(), under(DriftRule::Evolve, &table, &nullable, "2"), &nullable).await?;
    ensure_eq!(kinds(&changes), [("id", ChangeKind::Relaxed)], "the changes");
    expect_rows(harness, &table, &nullable.schema(), &[plain(0..2)?, nullable.clone()]).await
}

/// A table keeps a type that holds all values of the source's, and the load that finds it says so.
///
/// # Errors
/// The sink does otherwise.
pub async fn a_wider_type_of_the_table_is_kept(harness: &dyn Harness) -> Outcome {
    let sink = harness.sink().await?;
    let decimals = |value: i128, precision, scale| -> Result<ArrayRef, Violation> {
        Ok(Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(precision, scale)?))
    };
    let wide = |id: i64, ratio: f64, amount: i128| {
        let amount = decimals(amount, 18, 4)?;
        rows(vec![
            ("id", false, Arc::new(Int64Array::from(vec![id]))),
            ("ratio", true, Arc::new(Float64Array::from(vec![ratio]))),
            ("amount", true, amount),
        ])
    };
    let narrow = rows(vec![
        ("amount", true, decimals(-1_234_567, 9, 2)?),
        ("ratio", true, Arc::new(Float32Array::from(vec![0.5]))),
        ("id", false, Arc::new(Int16Array::from(vec![i16::MIN]))),
    ])?;
    for rule in [DriftRule::Evolve, DriftRule::Freeze] {
        let table = table(&format!("kept {rule:?}"));
        let first = wide(i64::MAX, 0.25, 1)?;
        loaded(sink.as_ref(), under(rule, &table, &first, "1"), &first).await?;
        refuses(sink.as_ref(), under(DriftRule::Fail, &table, &narrow, "2"), "amount").await?;
        let changes = loaded(sink.as_ref(), under(rule, &table, &narrow, "2"), &narrow).await?;
        let kept = |column| (column, ChangeKind::Kept);
        ensure_eq!(kinds(&changes), [kept("amount"), kept("ratio"), kept("id")], "the changes");
        let again = loaded(sink.as_ref(), under(rule, &table, &narrow, "3"), &narrow).await?;
        ensure!(again.is_empty(), "the next load found {again:?}");
        let cast = wide(i64::from(i16::MIN), 0.5, -123_456_700)?;
        expect_rows(harness, &table, &first.schema(), &[first.clone(), cast.clone(), cast]).await?;
        has_columns(sink.as_ref(), &table, &first).await?;
    }
    Ok(())
}

/// A type of the source that holds all values of the table's is taken over where the sink can do so without loss, also in the rows
/// that are there; else the load is refused and says how it goes on. A load that replaces all rows is always taken.
///
/// # Errors
/// The sink does otherwise.
pub async fn a_wider_type_of_the_source_is_taken_or_refused(harness: &dyn Harness) -> Outcome {
    let (sink, table) = (harness.sink().await?, table("widened"));
    let narrow = rows(vec![("id", false, numbers(&[Some(i32::MAX)])), ("n", true, numbers(&[None]))])?;
    let wide =
        |id: i64| rows(vec![("id", false, Arc::new(Int64Array::from(vec![id]))), ("n", true, numbers(&[Some(1)]))]);
    loaded(sink.as_ref(), under(DriftRule::Evolve, &table, &narrow, "1"), &narrow).await?;
    let new = wide(i64::MAX)?;
    for rule in [DriftRule::Freeze, DriftRule::Fail] {
        refuses(sink.as_ref(), under(rule, &table, &new, "2"), "id").await?;
    }
    let widened = [("id", ChangeKind::Widened)];
    match loaded(sink.as_ref(), under(DriftRule::Evolve, &table, &new, "2"), &new).await {
        Ok(changes) => {
            ensure_eq!(kinds(&changes), widened, "the changes");
            let before = rows(vec![
                ("id", false, Arc::new(Int64Array::from(vec![i64::from(i32::MAX)]))),
                ("n", true, numbers(&[None])),
            ])?;
            expect_rows(harness, &table, &new.schema(), &[before, new]).await?;
        }
        Err(failure) => {
            ensure_eq!(failure.code(), "DK-SNK-008", "the code ({failure})");
            ensure!(failure.hint().unwrap_or_default().contains("--full-refresh"), "no way on: {failure}");
            expect_rows(harness, &table, &narrow.schema(), &[narrow]).await?;
            let overwrite = Target { mode: WriteMode::Overwrite, ..under(DriftRule::Evolve, &table, &new, "3") };
            ensure_eq!(kinds(&loaded(sink.as_ref(), overwrite, &new).await?), widened, "the changes");
            expect_rows(harness, &table, &new.schema(), &[new]).await?;
        }
    }
    Ok(())
}

/// Types that do not hold each other's values, names that differ only in case, and a key that the rows of the table do not have.
///
/// # Errors
/// The sink does otherwise.
pub async fn what_does_not_fit_is_refused_by_its_column(harness: &dyn Harness) -> Outcome {
    let (sink, table) = (harness.sink().await?, table("unfit"));
    load(sink.as_ref(), target(&table, &plain_schema(), "1"), &[plain(0..2)?]).await?;
    let id = || ("id", false, numbers(&[Some(1)]));
    let cases = [
        (rows(vec![id(), ("name", true, numbers(&[None]))])?, "name"),
        (rows(vec![id(), ("Name", true, texts(&[None]))])?, "Name"),
        (rows(vec![("id", false, texts(&[Some("1")])), ("name", true, texts(&[None]))])?, "id"),
    ];
    for rule in [DriftRule::Evolve, DriftRule::Freeze, DriftRule::Fail] {
        for (rows, column) in &cases {
            refuses(sink.as_ref(), under(rule, &table, rows, "2"), column).await?;
        }
        let rows = rows(vec![id(), ("name", true, texts(&[None])), ("line", false, numbers(&[Some(1)]))])?;
        let keys = vec!["id".to_owned(), "line".to_owned()];
        let merge = Target { mode: WriteMode::Merge, keys, ..under(rule, &table, &rows, "2") };
        refuses(sink.as_ref(), merge, "line").await?;
    }
    expect_rows(harness, &table, &plain_schema(), &[plain(0..2)?]).await?;
    expect_no_leftovers(harness, &table).await
}

/// New columns are left out and named by each load, dropped ones are null, and the columns of the table stay as they are.
///
/// # Errors
/// The sink does otherwise.
pub async fn a_frozen_table_keeps_its_columns(harness: &dyn Harness) -> Outcome {
    let (sink, table) = (harness.sink().await?, table("frozen"));
    load(sink.as_ref(), target(&table, &plain_schema(), "1"), &[plain(0..2)?]).await?;
    let other = rows(vec![("extra", true, texts(&[Some("x")])), ("id", false, numbers(&[Some(7)]))])?;
    let freeze = |run_id: &str| under(DriftRule::Freeze, &table, &other, run_id);
    let changes = loaded(sink.as_ref(), freeze("2"), &other).await?;
    let left_out = ("extra", ChangeKind::LeftOut);
    ensure_eq!(kinds(&changes), [left_out, ("name", ChangeKind::Dropped)], "the changes");
    let again = loaded(sink.as_ref(), freeze("3"), &other).await?;
    ensure_eq!(kinds(&again), [left_out], "the changes of the next load");
    has_columns(sink.as_ref(), &table, &plain(0..1)?).await?;
    let row = rows(vec![("id", false, numbers(&[Some(7)])), ("name", true, texts(&[None]))])?;
    expect_rows(harness, &table, &plain_schema(), &[plain(0..2)?, row.clone(), row]).await?;
    // A column that may not be null has no value for it.
    let without_id = other.project(&[0])?;
    refuses(sink.as_ref(), under(DriftRule::Freeze, &table, &without_id, "4"), "id").await
}

/// A merge adds a column of the source, keeps the values of one that the source has no more in the rows that were there, and
/// leaves a new column out of a frozen table.
///
/// # Errors
/// The sink does otherwise.
pub async fn a_merge_goes_on_with_other_columns(harness: &dyn Harness) -> Outcome {
    let sink = harness.sink().await?;
    let ids = |ids: &[i32]| numbers(&ids.iter().copied().map(Some).collect::<Vec<_>>());
    let before = rows(vec![
        ("id", false, ids(&[1, 2])),
        ("old", false, texts(&[Some("o1"), Some("o2")])),
        ("n", true, numbers(&[Some(1), Some(2)])),
    ])?;
    let after = rows(vec![
        ("new", true, texts(&[Some("n2"), Some("n3")])),
        ("n", true, numbers(&[Some(20), Some(30)])),
        ("id", false, ids(&[2, 3])),
    ])?;
    let merge = |target: Target| Target { mode: WriteMode::Merge, keys: vec!["id".to_owned()], ..target };

    let evolved = table("merged");
    loaded(sink.as_ref(), merge(under(DriftRule::Evolve, &evolved, &before, "1")), &before).await?;
    let changes = loaded(sink.as_ref(), merge(under(DriftRule::Evolve, &evolved, &after, "2")), &after).await?;
    ensure_eq!(kinds(&changes), [("new", ChangeKind::Added), ("old", ChangeKind::Dropped)], "the changes");
    let expected = rows(vec![
        ("id", false, ids(&[1, 2, 3])),
        ("old", true, texts(&[Some("o1"), Some("o2"), None])),
        ("n", true, numbers(&[Some(1), Some(20), Some(30)])),
        ("new", true, texts(&[None, Some("n2"), Some("n3")])),
    ])?;
    expect_rows(harness, &evolved, &expected.schema(), std::slice::from_ref(&expected)).await?;

    let frozen = table("merged frozen");
    let relaxed = rows(vec![
        ("id", false, ids(&[1, 2])),
        ("old", true, texts(&[Some("o1"), Some("o2")])),
        ("n", true, numbers(&[Some(1), Some(2)])),
    ])?;
    loaded(sink.as_ref(), merge(under(DriftRule::Freeze, &frozen, &relaxed, "1")), &relaxed).await?;
    let changes = loaded(sink.as_ref(), merge(under(DriftRule::Freeze, &frozen, &after, "2")), &after).await?;
    ensure_eq!(kinds(&changes), [("new", ChangeKind::LeftOut), ("old", ChangeKind::Dropped)], "the changes");
    let expected = expected.project(&[0, 1, 2])?;
    expect_rows(harness, &frozen, &expected.schema(), std::slice::from_ref(&expected)).await
}

/// A load that replaces rows and columns takes all of the source's columns, whatever the table had.
///
/// # Errors
/// The sink does otherwise.
pub async fn a_full_refresh_takes_the_columns_of_the_source(harness: &dyn Harness) -> Outcome {
    let (sink, table) = (harness.sink().await?, table("refreshed"));
    load(sink.as_ref(), target(&table, &plain_schema(), "1"), &[plain(0..2)?]).await?;
    let other = rows(vec![("id", true, texts(&[Some("one"), None])), ("extra", true, numbers(&[Some(1), None]))])?;
    let refresh = Target { mode: WriteMode::Overwrite, ..under(DriftRule::Replace, &table, &other, "2") };
    let changes = loaded(sink.as_ref(), refresh, &other).await?;
    let expected = [
        ("id", ChangeKind::Replaced),
        ("id", ChangeKind::Relaxed),
        ("extra", ChangeKind::Added),
        ("name", ChangeKind::Dropped),
    ];
    ensure_eq!(kinds(&changes), expected, "the changes");
    has_columns(sink.as_ref(), &table, &other).await?;
    expect_rows(harness, &table, &other.schema(), std::slice::from_ref(&other)).await
}

/// Columns change with the commit and not before.
///
/// # Errors
/// The sink does otherwise.
pub async fn an_aborted_load_alters_nothing(harness: &dyn Harness) -> Outcome {
    let (sink, table) = (harness.sink().await?, table("not altered"));
    load(sink.as_ref(), target(&table, &plain_schema(), "1"), &[plain(0..2)?]).await?;
    let wider = rows(vec![("id", true, numbers(&[None])), ("extra", true, texts(&[Some("x")]))])?;
    for mode in [WriteMode::Append, WriteMode::Overwrite] {
        let evolving = Target { mode, ..under(DriftRule::Evolve, &table, &wider, "2") };
        let writer = sink.open(evolving).await?;
        write(writer.as_ref(), 0, std::slice::from_ref(&wider)).await?;
        writer.abort().await;
        drop(writer);
        has_columns(sink.as_ref(), &table, &plain(0..1)?).await?;
        expect_rows(harness, &table, &plain_schema(), &[plain(0..2)?]).await?;
    }
    expect_no_leftovers(harness, &table).await
}

/// A load that has no rows commits the columns, so that later loads find no difference.
///
/// # Errors
/// The sink does otherwise.
pub async fn a_load_without_rows_alters_the_columns(harness: &dyn Harness) -> Outcome {
    let sink = harness.sink().await?;
    for mode in [WriteMode::Append, WriteMode::Merge] {
        let table = table(&format!("no rows {mode}"));
        load(sink.as_ref(), target(&table, &plain_schema(), "1"), &[plain(0..2)?]).await?;
        let schema: SchemaRef = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int32, false),
            field("name", DataType::Utf8),
            field("extra", DataType::Int64),
        ]));
        let empty = RecordBatch::new_empty(Arc::clone(&schema));
        let target = Target { mode, keys: vec!["id".to_owned()], ..under(DriftRule::Evolve, &table, &empty, "2") };
        let changes = loaded(sink.as_ref(), target, &empty).await?;
        ensure_eq!(kinds(&changes), [("extra", ChangeKind::Added)], "the changes");
        has_columns(sink.as_ref(), &table, &empty).await?;
        expect_rows(harness, &table, &plain_schema(), &[plain(0..2)?]).await?;
    }
    Ok(())
}
