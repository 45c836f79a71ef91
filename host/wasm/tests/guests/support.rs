//! What the tests of the runtime share: the hostile datakit, a source in memory, a run.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use datakit_model::datakit::{InvalidTable, RunLog, Session};
use datakit_model::memory::ByteLimit;
use datakit_model::source::{Adjustment, Source};
use datakit_model::{
    Diagnostic, GuestLimits, HashKeys, MemoryBudget, RunIdentity, TableId, TablePatterns, TrackedBatch,
};
use datakit_wasm::testing::{Answer, MemorySource, MemoryWatermarks};
use datakit_wasm::{Datakit, Runtime, RuntimeConfig, WasmError};
use sha2::{Digest as _, Sha256};

/// The query the hostile datakit sends.
pub const QUERY: &str = "SELECT id, name FROM dbo.t";

/// A component that `cargo xtask build-datakits` made.
pub fn component(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let file: PathBuf = root.join("target/datakits").join(format!("{name}.wasm"));
    std::fs::read(&file).unwrap_or_else(|error| {
        panic!("cannot read {}: {error}; run `cargo xtask build-datakits` first", file.display())
    })
}

pub fn digest(component: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(component)))
}

pub async fn load(runtime: &Runtime, name: &str) -> Datakit {
    let component = component(name);
    runtime.load(component.clone(), &digest(&component)).await.unwrap()
}

/// All tests share one cache of compiled code: each is a process of its own under nextest.
pub fn runtime(limits: GuestLimits) -> Runtime {
    let code_cache = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled-code"));
    Runtime::new(RuntimeConfig { limits, code_cache, ..RuntimeConfig::default() }).unwrap()
}

/// Two batches of three rows.
pub fn batches() -> Vec<RecordBatch> {
    let batch = |ids: [i64; 3], names: [&str; 3]| {
        let columns: [(&str, ArrayRef, bool); 2] = [
            ("id", Arc::new(Int64Array::from_iter_values(ids)), true),
            ("name", Arc::new(StringArray::from_iter_values(names)), true),
        ];
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    };
    vec![batch([1, 2, 3], ["a", "bb", "ccc"]), batch([4, 5, 6], ["dd", "e", ""])]
}

/// A source that knows [`QUERY`].
pub fn source() -> MemorySource {
    let batches = batches();
    let adjustments = vec![Adjustment { column: "name".to_owned(), what: "cut".to_owned(), values: 2 }];
    let answer = Answer { adjustments, ..Answer::rows(batches[0].schema(), batches) };
    MemorySource::by_text("memory", [(QUERY.to_owned(), answer)])
}

pub fn session(source: &MemorySource, settings: &str) -> Session {
    let source: Arc<dyn Source> = Arc::new(source.clone());
    Session {
        run: RunIdentity {
            run_id: "run-1".to_owned(),
            batch_id: uuid::Uuid::nil(),
            started_at_micros: 1_767_225_600_000_000,
            source_system: "ERP".to_owned(),
            datakit: "hostile".to_owned(),
            version: "0.1.0".to_owned(),
            digest: "sha256:00".to_owned(),
        },
        settings: settings.to_owned(),
        roles: HashMap::from([("source".to_owned(), Arc::clone(&source)), ("other-kind".to_owned(), source)]),
        tables: TablePatterns::new(vec!["dbo.*".parse().unwrap()]),
        keys: HashKeys::default(),
        memory: MemoryBudget::new(48 * 1024 * 1024),
        rejected: ByteLimit::new(1024 * 1024),
        rejecting: None,
        log: RunLog::default(),
        watermarks: Arc::new(MemoryWatermarks::default()),
    }
}

/// A whole run: discover, plan, extract every partition to its end.
pub async fn run(datakit: &Datakit, session: &Session) -> Result<Vec<TrackedBatch>, WasmError> {
    let discovery = datakit.discover(session, &session.tables).await?;
    if let Some(InvalidTable { failure, .. }) = discovery.invalid.into_iter().next() {
        return Err(WasmError::Host { failure, cause: None });
    }
    let tables: Vec<TableId> = discovery.tables.into_iter().map(|table| table.id).collect();
    let mut rows = Vec::new();
    for plan in datakit.plan(session, &tables).await? {
        for partition in &plan.partitions {
            let mut extraction = datakit.extract(session, partition).await?;
            while let Some(batch) = extraction.next().await? {
                rows.push(batch);
            }
        }
    }
    Ok(rows)
}

/// Everything an operator is told.
pub fn reported(error: &WasmError) -> String {
    let mut text = format!("{} ({:?}, {:?})\n{error}\n", error.code(), error.kind(), error.retry());
    for (name, value) in error.context() {
        text.push_str(&format!("  {name}: {value}\n"));
    }
    text.push_str(&format!("hint: {}", error.hint().unwrap_or_default()));
    text
}
