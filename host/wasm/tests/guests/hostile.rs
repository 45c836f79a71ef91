//! Every attack of the hostile datakit ends with its exact error, and the host and the other instances go on.

use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;
use arrow::ipc::writer::StreamWriter;
use datakit_model::GuestLimits;
use datakit_wasm::WasmError;

use crate::support::{load, run, runtime, session, source, told};

/// Small enough that every attack is over soon, large enough for honest work.
fn limits(settings: &str) -> GuestLimits {
    GuestLimits {
        max_guest_memory_bytes: 192 << 20,
        // Other attacks compute for a while before they come to the point.
        max_guest_cpu_ms: if settings.contains("loop\"") || settings.contains("loop-in-discover") {
            300
        } else {
            10_000
        },
        max_host_calls: 60_000,
        max_live_batch_bytes: 4 << 10,
        max_log_messages: 100,
        ..GuestLimits::default()
    }
}

/// Runs an attack while an honest partition is half way, then lets that one end, and makes a new run.
async fn attack_with(settings: &str) -> Result<(), WasmError> {
    let runtime = runtime(limits(settings));
    let datakit = load(&runtime, "hostile").await;
    let honest_source = source();
    let honest = session(&honest_source, "{}");
    let tables: Vec<_> = datakit.discover(&honest).await.unwrap().tables.into_iter().map(|table| table.id).collect();
    let plans = datakit.plan(&honest, &tables).await.unwrap();
    let mut half_way = datakit.extract(&honest, &plans[0].partitions[0]).await.unwrap();
    assert!(half_way.next().await.unwrap().is_some());

    let attacked_source = source();
    let attacked = session(&attacked_source, settings);
    let memory = attacked.memory.clone();
    let ended = run(&datakit, &attacked).await.map(|_| ());
    assert_eq!(attacked_source.live_readers(), 0, "its queries are cancelled");
    assert_eq!(memory.available_bytes(), memory.capacity_bytes(), "its memory is given back");

    assert!(half_way.next().await.unwrap().is_some());
    assert!(half_way.next().await.unwrap().is_none());
    assert_eq!(run(&datakit, &session(&honest_source, "{}")).await.unwrap().len(), 2);
    ended
}

async fn attack(name: &str) -> String {
    match attack_with(&format!("{{\"attack\":\"{name}\"}}")).await {
        Ok(()) => "the run ended well".to_owned(),
        Err(error) => told(&error),
    }
}

macro_rules! attacks {
    ($($test:ident = $name:literal,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                // How much a guest asks for at once is its allocator's affair.
                let filters = [(r"memory would grow to \d+ bytes", "memory would grow to [too many] bytes")];
                let told = attack($name).await;
                insta::with_settings!({ filters => filters }, { insta::assert_snapshot!($name, told) });
            }
        )*
    };
}

attacks! {
    infinite_loop = "infinite-loop",
    loop_in_discover = "loop-in-discover",
    loop_in_host_calls = "loop-in-host-calls",
    memory = "memory",
    recursion = "recursion",
    panic = "panic",
    unreachable = "unreachable",
    handle_leak = "handle-leak",
    batch_leak = "batch-leak",
    undeclared_role = "undeclared-role",
    role_not_mapped = "role-not-mapped",
    role_of_other_kind = "role-of-other-kind",
    huge_sql = "huge-sql",
    many_parameters = "many-parameters",
    deep_expression = "deep-expression",
    deep_parentheses = "deep-parentheses",
    duplicate_columns = "duplicate-columns",
    bomb_type = "bomb-type",
    log_flood = "log-flood",
    huge_error = "huge-error",
    escape_sequences = "escape-sequences",
    claimed_code = "claimed-code",
    reserved_code = "reserved-code",
    second_query = "second-query",
    use_after_drop = "use-after-drop",
    forged_handle = "forged-handle",
    table_twice = "table-twice",
    many_tables = "many-tables",
    many_columns = "many-columns",
    unknown_type = "unknown-type",
    nameless_table = "nameless-table",
    plan_not_requested = "plan-not-requested",
    partition_of_another_table = "partition-of-another-table",
    no_partitions = "no-partitions",
    no_plan = "no-plan",
    plan_twice = "plan-twice",
    ordinals_with_gaps = "ordinals-with-gaps",
    many_partitions = "many-partitions",
    million_partitions = "million-partitions",
    huge_state = "huge-state",
    huge_plan = "huge-plan",
    huge_watermark = "huge-watermark",
    announce_twice = "announce-twice",
    announce_nothing = "announce-nothing",
    announce_other = "announce-other",
    wrong_schema = "wrong-schema",
    batch_twice = "batch-twice",
    ipc_truncated = "ipc-truncated",
    ipc_lying_length = "ipc-lying-length",
    ipc_trailing = "ipc-trailing",
    ipc_two_batches = "ipc-two-batches",
    ipc_bad_offsets = "ipc-bad-offsets",
    ipc_huge = "ipc-huge",
    honest_ipc = "honest-ipc",
}

/// A stream made here, handed over by the guest.
async fn attack_with_stream(batch: &RecordBatch) -> String {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(batch).unwrap();
    let stream = writer.into_inner().unwrap();
    let settings = format!("{{\"attack\":\"ipc\",\"ipc\":\"{}\"}}", hex::encode(stream));
    told(&attack_with(&settings).await.unwrap_err())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dictionary_that_unfolds_is_refused() {
    let value = StringArray::from(vec!["x".repeat(100_000)]);
    let keys = Int32Array::from(vec![0; 10_000]);
    let bomb = DictionaryArray::<Int32Type>::try_new(keys, Arc::new(value)).unwrap();
    let batch = RecordBatch::try_from_iter([("a", Arc::new(bomb) as ArrayRef)]).unwrap();
    insta::assert_snapshot!("ipc-dictionary", attack_with_stream(&batch).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_valid_stream_of_other_columns_is_not_what_was_announced() {
    let batch = RecordBatch::try_from_iter([("a", Arc::new(StringArray::from(vec!["x"])) as ArrayRef)]).unwrap();
    insta::assert_snapshot!("ipc-other-columns", attack_with_stream(&batch).await);
}
