//! `[limits]`: the bounds of guests, reading and runs.

use datakit_model::{GuestLimits, ReadLimits, RunLimits};

use crate::ingest::MAX_PARALLEL;
use crate::reader::TableReader;

/// Every bound, by default those of the model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// What one datakit instance may use.
    pub guest: GuestLimits,
    /// How a source cuts what it reads.
    pub read: ReadLimits,
    /// What one run may use.
    pub run: RunLimits,
}

/// Reads each named field of a struct of limits; a field that is not named here does not compile.
macro_rules! read_limits {
    ($reader:expr, $type:ident { $($field:ident),* $(,)? }) => {{
        let mut reader = $reader;
        let $type { $($field),* } = $type::default();
        let limits = $type {
            $($field: reader.integer(stringify!($field), 1, maximum(stringify!($field))).map_or($field, |found| found.value)),*
        };
        reader.finish();
        limits
    }};
}

/// The largest value that means something; above it a run would fail in a place that cannot say why.
fn maximum(field: &str) -> u64 {
    const MIB: u64 = 1024 * 1024;
    const DAY_MS: u64 = 86_400_000;
    match field {
        // A 32-bit address space.
        "max_guest_memory_bytes" => 4_096 * MIB,
        // Mapped for each instance.
        "max_guest_stack_bytes" => 64 * MIB,
        "max_parallel_partitions" => MAX_PARALLEL,
        field if field.ends_with("_ms") => DAY_MS,
        _ => i64::MAX as u64,
    }
}

pub(crate) fn read(root: &mut TableReader<'_>) -> Limits {
    let mut limits = Limits::default();
    let Some(mut table) = root.table("limits") else { return limits };
    if let Some(reader) = table.table("guest") {
        limits.guest = read_guest(reader);
    }
    if let Some(reader) = table.table("read") {
        limits.read =
            read_limits!(reader, ReadLimits { max_batch_bytes, max_batch_rows, max_cell_bytes, max_row_bytes });
    }
    if let Some(reader) = table.table("run") {
        limits.run = read_limits!(
            reader,
            RunLimits {
                max_memory_bytes,
                max_encoding_bytes,
                max_rejected_bytes,
                max_parallel_partitions,
                max_attempts,
                retry_backoff_ms,
                abort_timeout_ms,
            }
        );
    }
    table.finish();
    limits
}

fn read_guest(reader: TableReader<'_>) -> GuestLimits {
    read_limits!(
        reader,
        GuestLimits {
            max_guest_memory_bytes,
            max_guest_table_elements,
            max_guest_stack_bytes,
            max_guest_cpu_ms,
            max_host_calls,
            max_handles,
            max_live_batch_bytes,
            max_empty_batches,
            max_ipc_bytes,
            max_ipc_rows,
            max_columns,
            max_type_depth,
            max_sql_bytes,
            max_expression_bytes,
            max_sql_tokens,
            max_tokens,
            max_syntax_depth,
            max_parameters,
            max_tables,
            max_partitions,
            max_partition_state_bytes,
            max_watermark_bytes,
            max_log_bytes,
            max_log_messages,
            max_run_log_bytes,
            max_component_bytes,
            max_compile_cpu_ms,
            max_compile_memory_bytes,
            max_schema_cpu_ms,
        }
    )
}
