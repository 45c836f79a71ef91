use datakit_model::source::PoolStatistics;
use datakit_model::{Failure, TableId, TablePattern};

use crate::summary::TableSummary;

/// What happens during a run, as it happens.
#[derive(Debug)]
pub enum Event<'a> {
    /// The datakit reads the catalog; it may take its time.
    Discovering,
    /// The datakit listed its tables and the selection was made.
    Selected {
        /// Tables and views discovered.
        discovered: usize,
        /// Those of them that the run reads.
        selected: usize,
    },
    /// A pattern of the selection holds no discovered table.
    Unmatched {
        /// The pattern.
        pattern: &'a TablePattern,
        /// The tables whose names are nearest to it.
        nearest: &'a [TableId],
    },
    /// The datakit plans the selected tables; it may read their key ranges.
    Planning {
        /// How many.
        tables: usize,
    },
    /// A table is about to be read.
    TableStarted {
        /// The table.
        table: &'a TableId,
        /// Where it goes.
        target: &'a str,
        /// Its partitions.
        partitions: usize,
        /// Rows by the source's estimate.
        estimated_rows: Option<u64>,
    },
    /// A batch was handed to the sink.
    BatchWritten {
        /// The table.
        table: &'a TableId,
        /// The batch's rows.
        rows: u64,
        /// The batch's Arrow buffers, in bytes.
        bytes: u64,
    },
    /// A unit of retry failed and starts again after a pause; rows reported for it do not count any more.
    Retrying {
        /// The table.
        table: &'a TableId,
        /// The partition; none: the whole table.
        partition: Option<u32>,
        /// The attempt that failed, from 1.
        attempt: u64,
        /// Rows that were reported and are taken back.
        rows_taken_back: u64,
        /// The pause, in milliseconds.
        pause_ms: u64,
        /// Why.
        failure: &'a Failure,
    },
    /// A table is committed, skipped or failed.
    TableFinished(&'a TableSummary),
    /// What the pool of a source has done so far: every ten seconds, and when the last table has ended.
    Connections {
        /// The counts.
        pool: &'a PoolStatistics,
        /// Whether the last table has ended.
        is_last: bool,
    },
}

/// Who watches a run. Called from worker tasks: must return at once.
pub trait Observer: Send + Sync {
    /// Takes note of one event.
    fn event(&self, event: Event<'_>);
}

impl Observer for () {
    fn event(&self, _: Event<'_>) {}
}
