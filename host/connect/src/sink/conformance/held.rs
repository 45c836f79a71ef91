//! What a sink says of the rows that a table holds.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};

use super::fixture::{SYSTEM, batch, field, load, plain, plain_schema, table, target, write};
use super::{Harness, Outcome, TextRow, Violation, ensure, ensure_eq, rows_of};
use datakit_model::TableId;
use datakit_model::sink::{Sink, Target, WriteMode};

/// The values of columns are those of all committed rows and of no others, in the order that was asked for.
///
/// # Errors
/// The sink does otherwise.
pub async fn gives_the_values_of_columns(harness: &dyn Harness) -> Outcome {
    let (sink, table, schema) = (harness.sink().await?, table("held values"), plain_schema());
    ensure!(values(sink.as_ref(), &table, &["id"]).await?.is_none(), "values of a table that is not there");
    load(sink.as_ref(), target(&table, &schema, "1"), &[plain(0..7)?, plain(7..10_000)?]).await?;
    load(sink.as_ref(), target(&table, &schema, "2"), &[plain(10_000..10_003)?]).await?;
    let writer = sink.open(target(&table, &schema, "3")).await?;
    write(writer.as_ref(), 0, &[plain(20_000..20_002)?]).await?;
    let found = values(sink.as_ref(), &table, &["name", "id"]).await?;
    let expected = plain(0..10_003)?.project(&[1, 0])?;
    ensure_eq!(found, Some(sorted(&[expected])?), "the values beside an open writer");
    writer.abort().await;
    let Err(failure) = sink.values(SYSTEM, &table, &["id".to_owned(), "gone".to_owned()]).await else {
        return Err(Violation::new("values of a column that the table does not have"));
    };
    ensure_eq!(failure.code(), "DK-SNK-075", "a column that the table does not have");
    let overwrite = Target { mode: WriteMode::Overwrite, ..target(&table, &schema, "4") };
    load(sink.as_ref(), overwrite, &[]).await?;
    ensure_eq!(values(sink.as_ref(), &table, &["id"]).await?, Some(Vec::new()), "the values of no rows");
    odd_names(harness, sink.as_ref()).await
}

/// Columns are asked for by their names in the source; partition columns have values as others have.
async fn odd_names(harness: &dyn Harness, sink: &dyn Sink) -> Outcome {
    let table = table("held partitions");
    let schema = Arc::new(Schema::new(vec![field("the id", DataType::Int32), field("the day", DataType::Utf8)]));
    let rows = batch(&schema, plain(0..20)?.columns().to_vec())?;
    let partition_by = if sink.writes_partitioned_tables() { vec!["the day".to_owned()] } else { Vec::new() };
    let target = Target { partition_by, ..target(&table, &schema, "1") };
    load(sink, target, std::slice::from_ref(&rows)).await?;
    let sink = harness.sink().await?;
    let found = values(sink.as_ref(), &table, &["the id", "the day"]).await?;
    ensure_eq!(found, Some(sorted(&[rows])?), "the values of odd columns");
    Ok(())
}

async fn values(sink: &dyn Sink, table: &TableId, columns: &[&str]) -> Result<Option<Vec<TextRow>>, Violation> {
    let columns: Vec<String> = columns.iter().map(|column| (*column).to_owned()).collect();
    let Some(mut values) = sink.values(SYSTEM, table, &columns).await? else { return Ok(None) };
    let mut batches = Vec::new();
    while let Some(batch) = values.next().await? {
        batches.push(batch);
    }
    sorted(&batches).map(Some)
}

fn sorted(batches: &[RecordBatch]) -> Result<Vec<TextRow>, Violation> {
    let mut rows = rows_of(batches)?;
    rows.sort();
    Ok(rows)
}
