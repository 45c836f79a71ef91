//! Names and schemas: what a sink takes, what it refuses, and that it says which column.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datakit_model::sink::{Sink, Target, WriteMode};
use datakit_model::{DriftRule, Kind, TableId};

use super::fixture::{
    SYSTEM, batch, expect_no_leftovers, expect_rows, field, load, note, plain, plain_schema, table, target, write,
};
use super::{Harness, Outcome, Violation, ensure, ensure_eq};

/// A table without rows exists after the commit, with its state; a run without rows adds nothing.
///
/// # Errors
/// The sink does otherwise.
pub async fn an_empty_table_is_created(harness: &dyn Harness) -> Outcome {
    let (sink, schema) = (harness.sink().await?, plain_schema());
    for (name, partitions) in [("empty", 0), ("empty partitions", 2)] {
        let table = table(name);
        let writer = sink.open(target(&table, &schema, "1")).await?;
        for ordinal in 0..partitions {
            write(writer.as_ref(), ordinal, &[]).await?;
        }
        let committed = writer.commit(note("w")).await?;
        ensure_eq!((committed.written.rows, committed.state.sequence), (0, 1), "the commit of an empty table");
        expect_rows(harness, &table, &schema, &[]).await?;
        load(sink.as_ref(), target(&table, &schema, "2"), &[plain(0..2)?]).await?;
        let empty = RecordBatch::new_empty(Arc::clone(&schema));
        let third = load(sink.as_ref(), target(&table, &schema, "3"), &[empty]).await?;
        ensure_eq!((third.written.rows, third.state.sequence), (0, 3), "a commit without rows");
        expect_rows(harness, &table, &schema, &[plain(0..2)?]).await?;
    }
    Ok(())
}

/// Where no difference is allowed, a table of another schema is refused before anything is written, and every differing column is
/// named.
///
/// # Errors
/// The sink does otherwise.
pub async fn refuses_another_schema(harness: &dyn Harness) -> Outcome {
    let (sink, table) = (harness.sink().await?, table("schema"));
    load(sink.as_ref(), target(&table, &plain_schema(), "1"), &[plain(0..2)?]).await?;
    let id = || Field::new("id", DataType::Int32, false);
    let cases: [(Vec<Field>, &[&str]); 5] = [
        (vec![id(), field("name", DataType::Utf8), field("added", DataType::Int32)], &["added"]),
        (vec![id()], &["name"]),
        (vec![id(), field("name", DataType::Int64)], &["name"]),
        (vec![field("id", DataType::Int32), field("name", DataType::Utf8)], &["id"]),
        (vec![Field::new("id", DataType::Int64, false), field("nome", DataType::Utf8)], &["id", "nome", "name"]),
    ];
    for (fields, columns) in cases {
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let target = Target { drift: DriftRule::Fail, ..target(&table, &schema, "2") };
        let Err(failure) = sink.open(target).await.map(|_| ()) else {
            return Err(Violation::new(format!("a schema that differs in {columns:?} was taken")));
        };
        ensure_eq!((failure.code(), failure.kind()), ("DK-SNK-008", Kind::User), "the code ({failure})");
        for column in columns {
            ensure!(failure.message().contains(&format!("`{column}`")), "`{column}` is not named: {failure}");
        }
    }
    expect_rows(harness, &table, &plain_schema(), &[plain(0..2)?]).await?;
    expect_no_leftovers(harness, &table).await
}

/// Order is no difference, nor is a column that is never null where the table allows nulls.
///
/// # Errors
/// The sink does otherwise.
pub async fn accepts_the_same_columns_in_another_order(harness: &dyn Harness) -> Outcome {
    let (sink, table) = (harness.sink().await?, table("order"));
    load(sink.as_ref(), target(&table, &plain_schema(), "1"), &[plain(0..2)?]).await?;
    let schema: SchemaRef = Arc::new(Schema::new(vec![
        Field::new("name", DataType::Utf8, false),
        Field::new("id", DataType::Int32, false),
    ]));
    let rows = plain(1..3)?;
    let turned = batch(&schema, vec![Arc::clone(rows.column(1)), Arc::clone(rows.column(0))])?;
    load(sink.as_ref(), target(&table, &schema, "2"), &[turned]).await?;
    expect_rows(harness, &table, &plain_schema(), &[plain(0..2)?, rows]).await
}

/// Columns whose names differ only in case.
///
/// # Errors
/// The sink does otherwise.
pub async fn refuses_names_it_cannot_tell_apart(harness: &dyn Harness) -> Outcome {
    let (sink, table) = (harness.sink().await?, table("names"));
    for (names, code, column) in [(["Id", "iD"], "DK-SNK-004", "iD"), (["É", "é"], "DK-SNK-004", "é")] {
        let schema: SchemaRef = Arc::new(Schema::new(names.map(|name| field(name, DataType::Int32)).to_vec()));
        let Err(failure) = sink.open(target(&table, &schema, "1")).await.map(|_| ()) else {
            return Err(Violation::new(format!("the columns {names:?} were taken")));
        };
        ensure_eq!(failure.code(), code, "the code for {names:?} ({failure})");
        ensure!(failure.message().contains(&format!("`{column}`")), "`{column}` is not named: {failure}");
    }
    ensure!(harness.rows(SYSTEM, &table, &plain_schema()).await?.is_none(), "a refused schema left a table");
    Ok(())
}

/// A sink partitions a table by a column, and later loads too, or refuses it before anything is written.
///
/// # Errors
/// The sink does otherwise.
pub async fn partitions_or_refuses(harness: &dyn Harness) -> Outcome {
    let (sink, table) = (harness.sink().await?, table("parts"));
    let target =
        |run_id: &str| Target { partition_by: vec!["name".to_owned()], ..target(&table, &plain_schema(), run_id) };
    if !sink.writes_partitioned_tables() {
        return refused(harness, sink.as_ref(), target("1"), "DK-SNK-039").await;
    }
    sink.fits(&target("1"))?;
    load(sink.as_ref(), target("1"), &[plain(0..5)?, plain(3..9)?]).await?;
    load(sink.as_ref(), target("2"), &[plain(0..1)?]).await?;
    let third = Target { partition_by: Vec::new(), ..target("3") };
    load(sink.as_ref(), third, &[plain(1..2)?]).await?;
    let rows = [plain(0..5)?, plain(3..9)?, plain(0..1)?, plain(1..2)?];
    expect_rows(harness, &table, &plain_schema(), &rows).await?;
    expect_no_leftovers(harness, &table).await?;
    let overwrite = Target { mode: WriteMode::Overwrite, ..target("4") };
    load(sink.as_ref(), overwrite, &[plain(1..3)?]).await?;
    expect_rows(harness, &table, &plain_schema(), &[plain(1..3)?]).await
}

/// The sink says with this code that it does not write such a table, and leaves none.
pub(super) async fn refused(harness: &dyn Harness, sink: &dyn Sink, target: Target, code: &str) -> Outcome {
    let (table, schema) = (target.table.clone(), Arc::clone(&target.schema));
    let fits = sink.fits(&target);
    for answer in [fits, sink.open(target).await.map(|_| ())] {
        let Err(failure) = answer else { return Err(Violation::new(format!("{table} was accepted, not {code}"))) };
        ensure_eq!((failure.code(), failure.kind()), (code, Kind::User), "the code ({failure})");
    }
    ensure!(harness.rows(SYSTEM, &table, &schema).await?.is_none(), "a refused target left a table");
    Ok(())
}

/// Names of the odd kinds that SQL Server allows, for tables and columns; similar names are different tables.
///
/// # Errors
/// The sink does otherwise.
pub async fn holds_odd_names(harness: &dyn Harness) -> Outcome {
    const NAMES: [&str; 22] = [
        "Order No.",
        "a,b;c{d}(e)=f",
        "Größe 列 😀",
        "double\"quote",
        "br[ack]et",
        "tab\there",
        "line\nbreak",
        "",
        "dot.ted",
        "50%",
        "50%25",
        "a b",
        "a%20b",
        "'single'",
        " leading",
        "trailing ",
        "back\\slash",
        "sl/ash",
        "_x",
        "select",
        "$dollar",
        "\u{7f}",
    ];
    let sink = harness.sink().await?;
    let schema: SchemaRef = Arc::new(Schema::new(NAMES.map(|name| field(name, DataType::Int32)).to_vec()));
    let columns = (0..NAMES.len()).zip(0_i32..).map(|(_, i)| Arc::new(Int32Array::from(vec![i])) as ArrayRef);
    let rows = batch(&schema, columns.collect())?;
    let wide = table("odd columns");
    for run_id in ["1", "2"] {
        load(sink.as_ref(), target(&wide, &schema, run_id), std::slice::from_ref(&rows)).await?;
    }
    expect_rows(harness, &wide, &schema, &[rows.clone(), rows]).await?;

    let tables = NAMES.iter().filter(|name| !name.is_empty()).zip(0_i32..);
    for (name, i) in tables.clone() {
        let table = TableId::new(format!("s.{name}"), *name);
        for run_id in ["1", "2"] {
            load(sink.as_ref(), target(&table, &plain_schema(), run_id), &[plain(i..i + 1)?]).await?;
        }
    }
    for (name, i) in tables {
        let table = TableId::new(format!("s.{name}"), *name);
        expect_rows(harness, &table, &plain_schema(), &[plain(i..i + 1)?, plain(i..i + 1)?]).await?;
        let state = sink.state(SYSTEM, &table).await?;
        ensure_eq!(state.map(|s| s.sequence), Some(2), "the sequence of {table:?}");
    }
    Ok(())
}
