//! Every attack of the hostile datakit ends with its exact error, and the host and the other instances go on.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray,
    Time64NanosecondArray, TimestampSecondArray,
};
use arrow::datatypes::{DataType, Int32Type};
use arrow::ipc::writer::StreamWriter;
use datakit_model::datakit::Session;
use datakit_model::source::RejectedRow;
use datakit_model::{GuestLimits, MemoryBudget};
use datakit_wasm::testing::{Answer, MemorySource};
use datakit_wasm::{Datakit, WasmError};

use crate::support::{QUERY, batches, load, reported, run, runtime, session, source};

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
        max_live_batch_bytes: 8 << 10,
        max_empty_batches: 200,
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
    let tables: Vec<_> =
        datakit.discover(&honest, &honest.tables).await.unwrap().tables.into_iter().map(|table| table.id).collect();
    let plans = datakit.plan(&honest, &tables).await.unwrap();
    let mut half_way = datakit.extract(&honest, &plans[0].partitions[0]).await.unwrap();
    assert!(half_way.next().await.unwrap().is_some());

    let attacked_source = source();
    let ended = attacked(&datakit, &attacked_source, session(&attacked_source, settings)).await;

    assert!(half_way.next().await.unwrap().is_some());
    assert!(half_way.next().await.unwrap().is_none());
    assert_eq!(run(&datakit, &session(&honest_source, "{}")).await.unwrap().len(), 2);
    ended
}

/// A run that is attacked; whatever it held is free again when it has ended.
async fn attacked(datakit: &Datakit, source: &MemorySource, session: Session) -> Result<(), WasmError> {
    let ended = run(datakit, &session).await.map(|_| ());
    assert_eq!(source.live_readers(), 0, "its queries are cancelled");
    assert_eq!(session.memory.available_bytes(), session.memory.capacity_bytes(), "its memory is given back");
    assert_eq!(session.rejected.held_bytes(), 0, "its rejected rows are gone");
    ended
}

async fn attack(name: &str) -> String {
    match attack_with(&format!("{{\"attack\":\"{name}\"}}")).await {
        Ok(()) => "the run ended well".to_owned(),
        Err(error) => reported(&error),
    }
}

macro_rules! attacks {
    ($($test:ident = $name:literal,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                // How much a guest asks for at once is its allocator's affair.
                let filters = [(r"memory would grow to \d+ bytes", "memory would grow to [too many] bytes")];
                let reported = attack($name).await;
                insta::with_settings!({ filters => filters }, { insta::assert_snapshot!($name, reported) });
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
    huge_estimate = "huge-estimate",
    huge_estimates = "huge-estimates",
    literal_hoard = "literal-hoard",
    constant_hoard = "constant-hoard",
    huge_literal = "huge-literal",
    huge_name = "huge-name",
    empty_forever = "empty-forever",
    query_forever = "query-forever",
    plan_not_requested = "plan-not-requested",
    no_partitions = "no-partitions",
    no_plan = "no-plan",
    plan_twice = "plan-twice",
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
    table_handed_over_twice = "table-handed-over-twice",
    listed_role = "listed-role",
    plan_handed_over_twice = "plan-handed-over-twice",
    huge_strategy = "huge-strategy",
    huge_keys = "huge-keys",
    keys_that_are_not_there = "keys-that-are-not-there",
    load_id_without_role = "load-id-without-role",
    load_id_of_no_column = "load-id-of-no-column",
    operation_without_role = "operation-without-role",
    version_without_role = "version-without-role",
    role_hoard = "role-hoard",
    partition_hoard = "partition-hoard",
    plan_hoard = "plan-hoard",
    table_hoard = "table-hoard",
    parameter_hoard = "parameter-hoard",
    query_hoard = "query-hoard",
    file_hoard = "file-hoard",
    file_column_hoard = "file-column-hoard",
    null_value_hoard = "null-value-hoard",
    request_hoard = "request-hoard",
    change_column_hoard = "change-column-hoard",
    builder_hoard = "builder-hoard",
    query_handed_over_twice = "query-handed-over-twice",
    format_handed_over_twice = "format-handed-over-twice",
    read_handed_over_twice = "read-handed-over-twice",
    changes_handed_over_twice = "changes-handed-over-twice",
    changes_undeclared_role = "changes-undeclared-role",
    changes_of_unknown_strategy = "changes-of-unknown-strategy",
    changes_not_granted = "changes-not-granted",
    schema_role = "schema-role",
    announce_role = "announce-role",
    partition_after_open = "partition-after-open",
    keyed_hash = "keyed-hash",
    arrow_column_twice = "arrow-column-twice",
    arrow_column_unknown = "arrow-column-unknown",
    huge_last_watermark = "huge-last-watermark",
}

/// A stream made here, handed over by the guest.
async fn attack_with_stream(batch: &RecordBatch) -> String {
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(batch).unwrap();
    let stream = writer.into_inner().unwrap();
    let settings = format!("{{\"attack\":\"ipc\",\"ipc\":\"{}\"}}", hex::encode(stream));
    reported(&attack_with(&settings).await.unwrap_err())
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

fn one_column(name: &str, array: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter([(name, array)]).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decimal_beyond_its_precision_is_refused() {
    let decimals = Decimal128Array::from(vec![7, 1 << 126]).with_data_type(DataType::Decimal128(5, 0));
    insta::assert_snapshot!("ipc-decimal", attack_with_stream(&one_column("d", Arc::new(decimals))).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_outside_of_its_day_is_refused() {
    let times = Time64NanosecondArray::from(vec![86_400_000_000_000]);
    insta::assert_snapshot!("ipc-time", attack_with_stream(&one_column("t", Arc::new(times))).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moment_that_no_sink_can_count_is_refused() {
    let moments = TimestampSecondArray::from(vec![0, i64::MAX]);
    insta::assert_snapshot!("ipc-timestamp", attack_with_stream(&one_column("at", Arc::new(moments))).await);
}

fn answering(batches: Vec<RecordBatch>, rejected: Vec<RejectedRow>) -> MemorySource {
    let answer = Answer { rejected, ..Answer::rows(batches[0].schema(), batches) };
    MemorySource::by_text("memory", [(QUERY.to_owned(), answer)])
}

/// Thirteen batches of a KiB each, and a run that may hold twelve.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_datakit_that_keeps_all_batches_gets_an_error_instead_of_waiting_for_itself() {
    let datakit = load(&runtime(GuestLimits::default()), "hostile").await;
    let source = answering(vec![batches()[0].clone(); 13], Vec::new());
    let session = Session { memory: MemoryBudget::new(12 * 1024), ..session(&source, "{\"attack\":\"hoard\"}") };
    let started = std::time::Instant::now();
    insta::assert_snapshot!("hoard", reported(&attacked(&datakit, &source, session).await.unwrap_err()));
    show("a datakit that keeps all batches", started);
}

/// A source that rejects rows does so for every query again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_are_rejected_again_and_again_are_bounded() {
    let datakit = load(&runtime(GuestLimits::default()), "hostile").await;
    let row = |line| RejectedRow::of_file("a.csv".into(), line, "bad".to_owned(), Some("x".repeat(1_000)));
    let source = answering(batches(), (0..100).map(row).collect());
    let session = session(&source, "{\"attack\":\"query-forever\"}");
    insta::assert_snapshot!("rejected-forever", reported(&attacked(&datakit, &source, session).await.unwrap_err()));
    // 100 rows of about 1,260 bytes each time, and 1 MiB of them: eight times they fit.
    assert_eq!(source.opened_readers(), 9);
}

/// One row of 200 kB.
fn long_text() -> MemorySource {
    let columns: [(&str, ArrayRef, bool); 2] = [
        ("id", Arc::new(Int64Array::from(vec![1])), true),
        ("name", Arc::new(StringArray::from(vec!["b".repeat(200_000)])), true),
    ];
    answering(vec![RecordBatch::try_from_iter_with_nullable(columns).unwrap()], Vec::new())
}

/// Evaluates an expression over 200 kB within so many milliseconds of counted work.
async fn evaluate(sql: &str, max_guest_cpu_ms: u64) -> Result<(), WasmError> {
    let limits = GuestLimits { max_guest_cpu_ms, ..GuestLimits::default() };
    let datakit = load(&runtime(limits), "hostile").await;
    let source = long_text();
    let settings = format!("{{\"attack\":\"expression\",\"sql\":\"{sql}\"}}");
    let started = std::time::Instant::now();
    let ended = attacked(&datakit, &source, session(&source, &settings)).await;
    show(&sql[..sql.len().min(40)], started);
    ended
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kernels_that_were_quadratic_are_linear() {
    // 40 units of work for each byte.
    for sql in [
        "TRIM(BOTH concat(upper(name), name) FROM name)".to_owned(),
        "TRIM(LEADING concat(upper(name), name) FROM name)".to_owned(),
        format!("CASE WHEN name LIKE '{}' THEN 'y' END", "_".repeat(4_000)),
        format!("CASE WHEN name LIKE '%{}%' THEN 'y' END", "_".repeat(4_000)),
        format!("CASE WHEN name LIKE '{}' THEN 'y' END", "%_".repeat(2_000)),
        format!("CASE WHEN name LIKE '{}' THEN 'y' END", "%b".repeat(2_000)),
    ] {
        evaluate(&sql, 60).await.unwrap_or_else(|error| panic!("{sql}: {}", reported(&error)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_of_host_calls_is_the_datakits_time() {
    let pattern = format!("CASE WHEN name LIKE '%b{}a%' THEN 'y' END", "_".repeat(4_000));
    insta::assert_snapshot!("work-of-like", reported(&evaluate(&pattern, 300).await.unwrap_err()));
    let nested = format!("{}name{}", "upper(".repeat(100), ")".repeat(100));
    let many = vec![format!("length({nested})"); 8].join(" + ");
    let cast = format!("CAST({many} AS VARCHAR)");
    insta::assert_snapshot!("work-of-functions", reported(&evaluate(&cast, 60).await.unwrap_err()));
}

/// Each instance may log a hundred messages; the run as a whole no more than its bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_all_instances_of_a_run_are_bounded_together() {
    let limits = GuestLimits { max_log_messages: 100, max_run_log_bytes: 5_000, ..GuestLimits::default() };
    let datakit = load(&runtime(limits), "hostile").await;
    let source = source();
    let session = session(&source, "{\"attack\":\"log-flood\"}");
    for _ in 0..3 {
        run(&datakit, &session).await.unwrap();
    }
    assert!((1..=5_000).contains(&session.log.bytes()), "{}", session.log.bytes());
    assert!(session.log.dropped() > 100_000, "{}", session.log.dropped());
}

#[expect(clippy::print_stderr, reason = "wall time is shown, not asserted")]
fn show(what: &str, since: std::time::Instant) {
    eprintln!("{what}: {:?}", since.elapsed());
}
