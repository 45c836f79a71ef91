//! Delta tables in object stores.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use async_trait::async_trait;
use bytes::Bytes;
use datakit_connect::conformance_tests;
use datakit_connect::sink::conformance::{Harness, TextRow, Violation};
use datakit_delta::{DeltaConfig, DeltaSink, names};
use datakit_model::TableId;
use datakit_model::sink::Sink;
use datakit_stores::testing::ObjectStoreServer;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use tokio::sync::OnceCell;

use crate::suite::{text_rows, with_values};
use crate::{load, orders, rows, schema, target};

/// A root of its own in a store that all cases share.
struct StoreHarness {
    server: &'static ObjectStoreServer,
    client: Arc<dyn ObjectStore>,
    root: String,
}

impl StoreHarness {
    fn new(server: &'static ObjectStoreServer) -> Self {
        let root = format!("bronze/{}", uuid::Uuid::new_v4());
        Self { server, client: client(server), root }
    }

    fn config(&self) -> DeltaConfig {
        let bucket = self.server.uri().strip_suffix("/bronze").unwrap();
        DeltaConfig { store: self.server.options(), ..DeltaConfig::new(format!("{bucket}/{}", self.root)) }
    }

    fn table(&self, system: &str, table: &TableId) -> Path {
        let segments = [system, &table.schema, &table.name].map(|s| names::segment("table", s).unwrap());
        segments.iter().fold(Path::parse(&self.root).unwrap(), |path, segment| path.join(segment.as_str()))
    }

    /// Everything below a table, its log apart.
    async fn files(&self, table: &Path) -> (Vec<Path>, Vec<Path>) {
        let listed: Vec<_> = self.client.list(Some(table)).try_collect().await.unwrap();
        let is_log = |path: &Path| path.parts().any(|part| part.as_ref() == "_delta_log");
        listed.into_iter().map(|object| object.location).partition(is_log)
    }

    async fn read(&self, path: &Path) -> Bytes {
        self.client.get(path).await.unwrap().bytes().await.unwrap()
    }

    async fn live_files(&self, table: &Path) -> Option<Vec<Path>> {
        Some(self.live_parts(table).await?.into_iter().map(|(file, _)| file).collect())
    }

    /// The files that the log names, with their partition values: its entries are few enough to be replayed here, by the
    /// protocol's text.
    async fn live_parts(&self, table: &Path) -> Option<Vec<(Path, HashMap<String, Option<String>>)>> {
        let (mut log, _) = self.files(table).await;
        log.retain(|path| path.extension() == Some("json"));
        log.sort();
        if log.is_empty() {
            return None;
        }
        let mut live = Vec::new();
        for entry in log {
            for line in self.read(&entry).await.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let action: serde_json::Value = serde_json::from_slice(line).unwrap();
                // Decoded once, as a URI.
                let path = |kind: &str| {
                    Some(Path::from_url_path(format!("{table}/{}", action[kind]["path"].as_str()?)).unwrap())
                };
                let values = serde_json::from_value(action["add"]["partitionValues"].clone()).unwrap_or_default();
                live.extend(path("add").map(|path| (path, values)));
                if let Some(removed) = path("remove") {
                    live.retain(|(file, _)| *file != removed);
                }
            }
        }
        Some(live)
    }
}

/// A client that is not the sink's.
fn client(server: &ObjectStoreServer) -> Arc<dyn ObjectStore> {
    let options = server.environment().iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    let (client, _) = object_store::parse_url_opts(&server.uri().parse().unwrap(), options).unwrap();
    Arc::from(client)
}

#[async_trait]
impl Harness for StoreHarness {
    async fn sink(&self) -> Result<Box<dyn Sink>, Violation> {
        Ok(Box::new(DeltaSink::new(self.config()).map_err(|e| Violation::new(e.to_string()))?))
    }

    async fn rows(&self, system: &str, table: &TableId, schema: &Schema) -> Result<Option<Vec<TextRow>>, Violation> {
        let Some(files) = self.live_parts(&self.table(system, table)).await else { return Ok(None) };
        let mut rows = Vec::new();
        for (file, values) in files {
            let reader = ParquetRecordBatchReaderBuilder::try_new(self.read(&file).await).unwrap();
            for batch in reader.build().unwrap() {
                rows.extend(text_rows(&with_values(batch?, &values)?, schema)?);
            }
        }
        Ok(Some(rows))
    }

    async fn leftovers(&self, system: &str, table: &TableId) -> Result<Vec<String>, Violation> {
        let table = self.table(system, table);
        let live = self.live_files(&table).await.unwrap_or_default();
        let (_, data) = self.files(&table).await;
        Ok(data.iter().filter(|path| !live.contains(path)).map(ToString::to_string).collect())
    }

    fn time_digits(&self) -> u32 {
        7
    }

    fn unrepresentable(&self) -> Option<RecordBatch> {
        None
    }
}

async fn s3() -> &'static ObjectStoreServer {
    static SERVER: OnceCell<ObjectStoreServer> = OnceCell::const_new();
    SERVER.get_or_init(async || ObjectStoreServer::s3().unwrap()).await
}

async fn azure() -> &'static ObjectStoreServer {
    static SERVER: OnceCell<ObjectStoreServer> = OnceCell::const_new();
    let start = async || {
        let server = ObjectStoreServer::azure().unwrap();
        publish(&server);
        server
    };
    SERVER.get_or_init(start).await
}

/// `object_store` finds an emulator by the process's environment alone.
#[expect(unsafe_code, reason = "there is no other way to say it")]
fn publish(server: &ObjectStoreServer) {
    for (name, value) in server.environment().iter().filter(|(name, _)| name == "AZURITE_BLOB_STORAGE_URL") {
        // SAFETY: the test has only just begun: no other thread reads the environment.
        unsafe { std::env::set_var(name, value) };
    }
}

conformance_tests!(s3_passes_the_suite: async { StoreHarness::new(s3().await) });
conformance_tests!(azure_passes_the_suite: async { StoreHarness::new(azure().await) });

/// Every writer starts from the same version; each that committed added its rows, every other left no trace.
async fn many_commit_at_once(server: &'static ObjectStoreServer) {
    const WRITERS: i32 = 12;
    let harness = Arc::new(StoreHarness::new(server));
    let sink = Arc::new(DeltaSink::new(harness.config()).unwrap());
    load(&sink, target("first", schema()), &[rows(0..10)]).await.unwrap();
    let writers = (1..=WRITERS).map(|writer| {
        let harness = Arc::clone(&harness);
        tokio::spawn(async move {
            // A client of its own, as in another process.
            let sink = DeltaSink::new(harness.config()).unwrap();
            let ids = writer * 10..(writer + 1) * 10;
            (ids.clone(), load(&sink, target(&format!("run {writer}"), schema()), &[rows(ids)]).await)
        })
    });
    let mut expected: Vec<i32> = (0..10).collect();
    for writer in writers.collect::<Vec<_>>() {
        match writer.await.unwrap() {
            (ids, Ok(_)) => expected.extend(ids),
            (_, Err(failure)) => assert_eq!(failure.code(), "DK-SNK-010", "{failure}"),
        }
    }
    let found = harness.rows("ERP", &orders(), &schema()).await.unwrap().unwrap();
    let mut found: Vec<i32> = found.iter().map(|row| row[0].as_deref().unwrap().parse().unwrap()).collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert!(expected.len() > 10, "somebody wins");
    assert_eq!(harness.leftovers("ERP", &orders()).await.unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_writers_on_s3_no_row_is_lost() {
    many_commit_at_once(s3().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_writers_on_azure_no_row_is_lost() {
    many_commit_at_once(azure().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_is_not_there_is_reported() {
    let harness = StoreHarness::new(s3().await);
    let config = DeltaConfig { uri: "s3://nobodys-bucket/bronze".into(), ..harness.config() };
    let error = DeltaSink::new(config).unwrap().open(target("run", schema())).await.err().unwrap();
    insta::assert_snapshot!(format!("{}: {error}", error.code()), @"DK-SNK-015: cannot read the Delta log of s3://nobodys-bucket/bronze/ERP/dbo/orders");
}
