//! Every bound a run or a guest is held to. Units are in the names; each is an operator's setting under `[limits]`.

use serde::{Deserialize, Serialize};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The largest values that mean something; above them a run would fail in a place that cannot say why.
#[cfg(feature = "schema")]
mod most {
    use super::MIB;

    pub(super) const DAY_MS: u64 = 86_400_000;
    /// A 32-bit address space.
    pub(super) const ADDRESS_SPACE_BYTES: u64 = 4_096 * MIB;
    /// Mapped for each instance.
    pub(super) const STACK_BYTES: u64 = 64 * MIB;
    pub(super) const PARALLEL: u64 = 256;
    /// Of one partition: a process may usually open some thousands.
    pub(super) const OPEN_FILES: u64 = 1_024;
}

/// No limit is 0.
#[cfg(feature = "schema")]
fn at_least_one(schema: &mut schemars::Schema) {
    let properties = schema.get_mut("properties").and_then(|properties| properties.as_object_mut());
    for limit in properties.into_iter().flat_map(|properties| properties.values_mut()) {
        if let Some(limit) = limit.as_object_mut() {
            limit.insert("minimum".to_owned(), 1.into());
        }
    }
}

/// What one datakit instance may use. Exceeding one ends the instance with an error naming limit, value and setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(transform = at_least_one))]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct GuestLimits {
    /// Linear memory of an instance, in bytes.
    #[cfg_attr(feature = "schema", schemars(range(max = most::ADDRESS_SPACE_BYTES)))]
    pub max_guest_memory_bytes: u64,
    /// Elements of all tables of an instance together.
    pub max_guest_table_elements: u64,
    /// The guest's own stack, in bytes.
    #[cfg_attr(feature = "schema", schemars(range(max = most::STACK_BYTES)))]
    pub max_guest_stack_bytes: u64,
    /// Processor time of one call of an export, host calls included, waiting not counted, in milliseconds.
    #[cfg_attr(feature = "schema", schemars(range(max = most::DAY_MS)))]
    pub max_guest_cpu_ms: u64,
    /// Host calls during one call of an export.
    pub max_host_calls: u64,
    /// Live resource handles (connections, readers, batches, projections) of an instance.
    pub max_handles: u64,
    /// Bytes that an instance may make the host hold: live batches, projections with their literals.
    pub max_live_batch_bytes: u64,
    /// Calls of one extraction in a row that return no row without having read one.
    pub max_empty_batches: u64,
    /// One Arrow IPC stream, in or out, in bytes.
    pub max_ipc_bytes: u64,
    /// Rows of one batch handed over by the guest.
    pub max_ipc_rows: u64,
    /// Columns of a table or a batch.
    pub max_columns: u64,
    /// Nesting of an Arrow type handed over by the guest.
    pub max_type_depth: u64,
    /// One SQL text, in bytes.
    pub max_sql_bytes: u64,
    /// One expression of a projection, in bytes.
    pub max_expression_bytes: u64,
    /// Tokens of one SQL text, counted before parsing.
    pub max_sql_tokens: u64,
    /// Tokens of one expression, counted before parsing.
    pub max_tokens: u64,
    /// Syntax depth of one SQL text or expression.
    pub max_syntax_depth: u64,
    /// Parameters of one query.
    pub max_parameters: u64,
    /// Tables a discovery may report.
    pub max_tables: u64,
    /// Partitions of one table's plan.
    pub max_partitions: u64,
    /// Opaque state of one partition, in bytes.
    pub max_partition_state_bytes: u64,
    /// One watermark, in bytes.
    pub max_watermark_bytes: u64,
    /// One log message with its fields, in bytes; longer ones are cut and say so.
    pub max_log_bytes: u64,
    /// Log messages of one instance; further ones are dropped.
    pub max_log_messages: u64,
    /// Log messages of all instances of a run, with their fields, in bytes; further ones are dropped.
    pub max_run_log_bytes: u64,
    /// One component file, in bytes.
    pub max_component_bytes: u64,
    /// Processor time of the process that compiles a component, in milliseconds, counted in whole seconds.
    #[cfg_attr(feature = "schema", schemars(range(max = most::DAY_MS)))]
    pub max_compile_cpu_ms: u64,
    /// Memory of the process that compiles a component or checks settings, in bytes of its address space.
    pub max_compile_memory_bytes: u64,
    /// Processor time of the process that checks settings against a datakit's schema, in milliseconds, counted in whole seconds.
    #[cfg_attr(feature = "schema", schemars(range(max = most::DAY_MS)))]
    pub max_schema_cpu_ms: u64,
}

impl Default for GuestLimits {
    fn default() -> Self {
        Self {
            max_guest_memory_bytes: 256 * MIB,
            max_guest_table_elements: 100_000,
            max_guest_stack_bytes: MIB,
            max_guest_cpu_ms: 10_000,
            max_host_calls: 1_000_000,
            max_handles: 64,
            max_live_batch_bytes: 64 * MIB,
            max_empty_batches: 100_000,
            max_ipc_bytes: 64 * MIB,
            max_ipc_rows: 4_000_000,
            // The 4,096 columns of one SELECT of SQL Server (PostgreSQL: 1,664), and what a datakit adds.
            max_columns: 4_500,
            max_type_depth: 16,
            // As many columns of the longest names, twice where a column is converted.
            max_sql_bytes: MIB,
            max_expression_bytes: 8 * KIB,
            max_sql_tokens: 64_000,
            max_tokens: 4_000,
            max_syntax_depth: 128,
            max_parameters: 2_000,
            max_tables: 100_000,
            max_partitions: 10_000,
            max_partition_state_bytes: MIB,
            max_watermark_bytes: MIB,
            max_log_bytes: 8 * KIB,
            max_log_messages: 10_000,
            max_run_log_bytes: 16 * MIB,
            max_component_bytes: 64 * MIB,
            max_compile_cpu_ms: 120_000,
            max_compile_memory_bytes: 3_072 * MIB,
            max_schema_cpu_ms: 5_000,
        }
    }
}

/// How a source cuts what it reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(transform = at_least_one))]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct ReadLimits {
    /// A batch is closed when its Arrow buffers reach this size, in bytes.
    pub max_batch_bytes: u64,
    /// A batch is closed at this many rows at the latest.
    pub max_batch_rows: u64,
    /// One value, in bytes of its Arrow form; a longer one fails the table, naming row and column.
    pub max_cell_bytes: u64,
    /// The texts and binaries of one row together, in bytes; a larger row fails the table.
    pub max_row_bytes: u64,
    /// Changes of a replication slot that one run keeps in a temporary file, in bytes; the next run reads what is more.
    pub max_spooled_bytes: u64,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            max_batch_bytes: 4 * MIB,
            max_batch_rows: 8192,
            max_cell_bytes: 32 * MIB,
            max_row_bytes: 64 * MIB,
            max_spooled_bytes: 8_192 * MIB,
        }
    }
}

/// What one run may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(transform = at_least_one))]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct RunLimits {
    /// Batches alive between decoder and sink, over the whole run, in bytes.
    pub max_memory_bytes: u64,
    /// Rows that a sink holds encoded before it can write them (row groups of Parquet), about, over the whole run, in bytes.
    pub max_encoding_bytes: u64,
    /// Rows of a load that is merged by key that a sink holds in memory while it reduces them to one a key, about, in bytes; a larger
    /// load is reduced in parts. One table is merged at a time.
    pub max_merge_bytes: u64,
    /// Files that a sink has open at one time for each partition of a plan, of a table that is partitioned by columns. With
    /// more values than this the file that was written longest ago is closed, and files are smaller.
    #[cfg_attr(feature = "schema", schemars(range(max = most::OPEN_FILES)))]
    pub max_open_files: u64,
    /// Rejected rows that are held until their tables are committed, over the whole run, in bytes.
    pub max_rejected_bytes: u64,
    /// Partitions worked on at one time; by default as many as there are processors, from 2 to 4.
    #[cfg_attr(feature = "schema", schemars(range(max = most::PARALLEL)))]
    #[cfg_attr(feature = "schema", schemars(transform = of_the_machine))]
    pub max_parallel_partitions: u64,
    /// Attempts at one unit of retry, the first included.
    #[cfg_attr(
        feature = "schema",
        schemars(extend("x-env" = ["DATAKIT_MAX_ATTEMPTS", "Attempts at one unit of retry, the first included (3)"]))
    )]
    pub max_attempts: u64,
    /// The first pause before another attempt, in milliseconds. It doubles up to `retry_backoff_max_ms`; half of each pause is random.
    #[cfg_attr(
        feature = "schema",
        schemars(
            range(max = most::DAY_MS),
            extend("x-env" = ["DATAKIT_RETRY_BACKOFF_MS", "The first pause before another attempt, in milliseconds (4000)"])
        )
    )]
    pub retry_backoff_ms: u64,
    /// The longest pause before another attempt, in milliseconds.
    #[cfg_attr(
        feature = "schema",
        schemars(
            range(max = most::DAY_MS),
            extend("x-env" = ["DATAKIT_RETRY_BACKOFF_MAX_MS", "The longest pause before another attempt, in milliseconds (60000)"])
        )
    )]
    pub retry_backoff_max_ms: u64,
    /// While a table of several partitions is loaded, what is finished is kept at most so often, in milliseconds, for a run that is started
    /// again with the same id. A load that takes less time keeps nothing.
    #[cfg_attr(feature = "schema", schemars(range(max = most::DAY_MS)))]
    pub keep_interval_ms: u64,
    /// The longest wait for a clean abort after SIGINT or SIGTERM, in milliseconds.
    #[cfg_attr(feature = "schema", schemars(range(max = most::DAY_MS)))]
    pub abort_timeout_ms: u64,
}

/// One partition keeps more than one processor busy, since it is read and written side by side; each costs memory.
fn parallel_partitions() -> u64 {
    std::thread::available_parallelism().map_or(2, |processors| processors.get().clamp(2, 4) as u64)
}

/// The schema of a limit whose default is another one on another machine.
#[cfg(feature = "schema")]
fn of_the_machine(schema: &mut schemars::Schema) {
    schema.remove("default");
}

impl Default for RunLimits {
    fn default() -> Self {
        Self {
            max_memory_bytes: 12 * MIB,
            max_encoding_bytes: 16 * MIB,
            max_merge_bytes: 64 * MIB,
            max_open_files: 64,
            max_rejected_bytes: 128 * MIB,
            max_parallel_partitions: parallel_partitions(),
            max_attempts: 3,
            retry_backoff_ms: 4_000,
            retry_backoff_max_ms: 60_000,
            keep_interval_ms: 10_000,
            abort_timeout_ms: 10_000,
        }
    }
}
