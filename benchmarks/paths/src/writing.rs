//! From the server into a Delta table, by three ways.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datakit_columnar::{ColumnExpression, Projection};
use datakit_delta::{DeltaConfig, DeltaSink};
use datakit_model::datakit::{Partition, RunLog, Session, Watermarks};
use datakit_model::memory::ByteLimit;
use datakit_model::sink::{CommitNote, Sink as _, Target, WriteMode};
use datakit_model::source::{Reader, Source};
use datakit_model::{Failure, GuestLimits, HashKeys, RunLimits, TableId, TrackedBatch};
use datakit_wasm::{Datakit, Extraction, Runtime, RuntimeConfig};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use crate::reading::{self, memory, patterns, run};
use crate::{Arguments, Cost, TableArguments};

/// Where shaped batches come from.
#[async_trait]
pub(crate) trait Shaped: Send + 'static {
    async fn next(&mut self) -> Result<Option<TrackedBatch>>;
}

#[async_trait]
impl Shaped for Extraction {
    async fn next(&mut self) -> Result<Option<TrackedBatch>> {
        Ok(Extraction::next(self).await?)
    }
}

/// A reader and a projection, called by this program.
pub(crate) struct Native {
    pub(crate) reader: Box<dyn Reader>,
    pub(crate) projection: Projection,
}

#[async_trait]
impl Shaped for Native {
    async fn next(&mut self) -> Result<Option<TrackedBatch>> {
        let Some(batch) = self.reader.next().await? else { return Ok(None) };
        Ok(Some(batch.derive(self.projection.apply(batch.batch())?)))
    }
}

/// The columns a datakit adds, without the row hash.
pub(crate) fn projection(input: &SchemaRef, table: &TableId) -> Result<Projection> {
    let run = run();
    let passed =
        input.fields().iter().map(|field| (field.name().clone(), ColumnExpression::Input(field.name().clone())));
    let added = [
        ("_bronze_loaded_at", ColumnExpression::TimestampMicros(run.started_at_micros)),
        ("_bronze_source_system", ColumnExpression::Text(run.source_system)),
        ("_bronze_source_schema", ColumnExpression::Text(table.schema.clone())),
        ("_bronze_source_table", ColumnExpression::Text(table.name.clone())),
        ("_bronze_batch_id", ColumnExpression::Uuid(run.batch_id.to_string())),
        ("_bronze_row_hash", ColumnExpression::Sql("CAST(NULL AS VARCHAR)".to_owned())),
    ];
    let columns: Vec<_> = passed.chain(added.map(|(name, value)| (name.to_owned(), value))).collect();
    Ok(Projection::compile(input, &columns, None, &HashKeys::default(), &GuestLimits::default())?)
}

/// Shaped by calls of this program.
pub(crate) async fn native(table: &TableArguments) -> Result<Value> {
    let source = reading::connected(table).await?;
    let cost = Cost::begin();
    let reader = reading::open(&source, reading::sql(table)).await?;
    let id = TableId::new("dbo", &table.table);
    let projection = projection(&reader.schema(), &id)?;
    let schema = projection.output();
    let rows = write(table, id, schema, Native { reader, projection }).await?;
    Ok(cost.of(rows))
}

/// Shaped by `sqlserver-bronze`, from its own plan.
pub(crate) async fn datakit(arguments: &Arguments) -> Result<Value> {
    let datakit = load(arguments).await?;
    let id = TableId::new("dbo", &arguments.table.table);
    let settings = r#"{"row_hash": false, "partition_row_threshold": 1000000000}"#;
    let session = session(reading::connected(&arguments.table).await?, settings)?;
    let plans = datakit.plan(&session, std::slice::from_ref(&id)).await?;
    let [plan] = plans.as_slice() else { bail!("{} plans for one table", plans.len()) };
    let [partition] = plan.partitions.as_slice() else { bail!("{} partitions", plan.partitions.len()) };
    let cost = Cost::begin();
    let extraction = datakit.extract(&session, partition).await?;
    let schema = extraction.schema();
    let rows = write(&arguments.table, id, schema, extraction).await?;
    Ok(cost.of(rows))
}

/// Shaped by a guest that every row passes through.
pub(crate) async fn through_guest(arguments: &Arguments) -> Result<Value> {
    let datakit = load(arguments).await?;
    let table = &arguments.table;
    let id = TableId::new("dbo", &table.table);
    let session = session(reading::connected(table).await?, "{}")?;
    let partition = partition(&id, reading::sql(table), &table.columns, "arrow");
    let cost = Cost::begin();
    let extraction = datakit.extract(&session, &partition).await?;
    let schema = extraction.schema();
    let rows = write(table, id, schema, extraction).await?;
    Ok(cost.of(rows))
}

/// A partition of the benchmark's own guest.
pub(crate) fn partition(table: &TableId, sql: String, columns: &[String], way: &str) -> Partition {
    let state = json!({ "sql": sql, "columns": columns, "row_hash": false, "way": way });
    Partition { table: table.clone(), ordinal: 0, state: state.to_string().into_bytes(), estimated_rows: None }
}

/// The compiled component, from the cache if it is there.
pub(crate) async fn load(arguments: &Arguments) -> Result<Datakit> {
    let component = read(&arguments.component)?;
    let digest = format!("sha256:{}", hex::encode(Sha256::digest(&component)));
    let code_cache = Some(arguments.code_cache.clone());
    let runtime = Runtime::new(RuntimeConfig { code_cache, ..RuntimeConfig::default() })?;
    Ok(runtime.load(component, &digest).await?)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("reading {}", path.display()))
}

/// One run's side of the boundary.
pub(crate) fn session(source: Arc<dyn Source>, settings: &str) -> Result<Session> {
    Ok(Session {
        run: run(),
        settings: settings.to_owned(),
        roles: HashMap::from([("source".to_owned(), source)]),
        tables: patterns()?,
        keys: HashKeys::default(),
        memory: memory(),
        log: RunLog::default(),
        rejected: ByteLimit::new(RunLimits::default().max_rejected_bytes),
        rejecting: None,
        watermarks: Arc::new(NoWatermarks),
    })
}

struct NoWatermarks;

#[async_trait]
impl Watermarks for NoWatermarks {
    async fn watermark(&self, _: &TableId) -> Result<Option<String>, Failure> {
        Ok(None)
    }
}

/// Shaping on one task, encoding on another, one batch between them: as the pipeline has it.
async fn write(table: &TableArguments, id: TableId, schema: SchemaRef, mut shaped: impl Shaped) -> Result<u64> {
    let sink = DeltaSink::new(DeltaConfig::new(&table.target))?;
    let writer = sink.open(Target::new(id, schema, WriteMode::Overwrite, run())).await?;
    let mut partition = writer.partition(0).await?;
    let (sender, mut receiver) = mpsc::channel::<TrackedBatch>(1);
    let producer = tokio::spawn(async move {
        while let Some(batch) = shaped.next().await? {
            if sender.send(batch).await.is_err() {
                break;
            }
        }
        anyhow::Ok(())
    });
    while let Some(batch) = receiver.recv().await {
        partition.write(batch).await?;
    }
    producer.await.context("the task that reads")??;
    let written = partition.finish().await?;
    writer.commit(CommitNote::default()).await?;
    Ok(written.rows)
}
