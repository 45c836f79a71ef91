//! What one call across the boundary costs.

use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use datakit_model::TableId;
use datakit_model::source::{Access, Query, QueryOptions, Source as _};
use datakit_wasm::testing::{Answer, MemorySource};
use serde_json::{Value, json};

use crate::reading::{memory, patterns, run};
use crate::writing::{self, Native, Shaped};
use crate::{Arguments, Cost};

const BATCHES: usize = 50_000;
/// Of each batch: `extraction.next` into the guest; `reader.next`, `projection.apply` and the drop of the input out of it.
const CALLS_PER_BATCH: usize = 4;
const SQL: &str = "SELECT [id] FROM [dbo].[t]";

/// Reads batches of one row through the guest and without it.
pub(crate) async fn calls(arguments: &Arguments) -> Result<Value> {
    let id = TableId::new("dbo", "t");
    let datakit = writing::load(arguments).await?;
    let native = native(&id).await?;
    let with_native = cost(native).await?;
    let partition = writing::partition(&id, SQL.to_owned(), &["id".to_owned()], "handle");
    let session = writing::session(Arc::new(source()?), "{}")?;
    let with_guest = cost(datakit.extract(&session, &partition).await?).await?;
    let calls = BATCHES * CALLS_PER_BATCH;
    Ok(json!({
        "rows": BATCHES,
        "call_microseconds": (with_guest - with_native) / calls as f64 * 1e6,
    }))
}

async fn native(id: &TableId) -> Result<Native> {
    let access = Access { tables: patterns()?, run_id: run().run_id, memory: memory(), rejecting: None };
    let connection = source()?.connect(access).await?;
    let query = Query { sql: SQL.to_owned(), parameters: Vec::new(), options: QueryOptions::default() };
    let reader = connection.query(query).await?;
    let projection = writing::projection(&reader.schema(), id)?;
    Ok(Native { reader, projection })
}

/// Processor seconds of reading to the end.
async fn cost(mut shaped: impl Shaped) -> Result<f64> {
    let cost = Cost::begin();
    while shaped.next().await?.is_some() {}
    Ok(cost.cpu_seconds())
}

fn source() -> Result<MemorySource> {
    let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column])?;
    Ok(MemorySource::by_text("sqlserver", [(SQL.to_owned(), Answer::rows(schema, vec![batch; BATCHES]))]))
}
