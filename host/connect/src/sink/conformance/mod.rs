//! The suite that every sink passes.
//!
//! A sink's tests give a [`Harness`] (how to make the sink, and how to read its tables by other means) and let
//! [`conformance_tests!`](crate::conformance_tests) make one test of each case. A case says what it saw in a [`Violation`].

mod commits;
mod drift;
mod fixture;
mod held;
mod merges;
mod receipts;
mod records;
mod schemas;
mod text;
mod unfinished;
mod updates;
mod values;

use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datakit_model::{Failure, TableId};

pub use commits::*;
pub use drift::*;
pub use fixture::{batch, field, identity};
pub use held::*;
pub use merges::*;
pub use receipts::*;
pub use records::*;
pub use schemas::*;
pub use text::{cell, rows_of, trimmed_time};
pub use unfinished::*;
pub use updates::*;
pub use values::*;

use datakit_model::sink::Sink;

/// A row as text, one entry a column, none for null; forms as in [`cell`].
pub type TextRow = Vec<Option<String>>;

/// What a case is run against.
#[async_trait]
pub trait Harness: Send + Sync {
    /// A sink on the harness' storage, as another process would make it.
    ///
    /// # Errors
    /// The sink cannot be made.
    async fn sink(&self) -> Result<Box<dyn Sink>, Violation>;

    /// The committed rows of a table, in any order and not read by the sink; none: there is no table. Columns in the
    /// order of `schema`, found by the source's names, values in the form of [`cell`] for the type in `schema`.
    ///
    /// # Errors
    /// The table cannot be read.
    async fn rows(
        &self,
        source_system: &str,
        table: &TableId,
        schema: &Schema,
    ) -> Result<Option<Vec<TextRow>>, Violation>;

    /// What an aborted or dropped writer has left of the table that a commit does not refer to: files, locks.
    ///
    /// # Errors
    /// The storage cannot be listed.
    async fn leftovers(&self, source_system: &str, table: &TableId) -> Result<Vec<String>, Violation>;

    /// Digits of a second's fraction that a time of day keeps.
    fn time_digits(&self) -> u32;

    /// A batch with a value the sink cannot hold, in the column `bad`; none: there is no such value.
    fn unrepresentable(&self) -> Option<RecordBatch>;
}

/// How a sink broke the contract.
#[derive(Debug)]
pub struct Violation(String);

impl Violation {
    /// In words.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Violation {}

impl From<Failure> for Violation {
    fn from(failure: Failure) -> Self {
        Self(format!("unexpected failure {}: {failure} {:?}", failure.code(), failure.causes()))
    }
}

impl From<arrow::error::ArrowError> for Violation {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self(format!("unexpected Arrow error: {error}"))
    }
}

/// What a case returns.
pub type Outcome = Result<(), Violation>;

/// Ends a case when a condition does not hold.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::sink::conformance::Violation::new(format!($($text)+)));
        }
    };
}

/// Ends a case when two values differ.
macro_rules! ensure_eq {
    ($left:expr, $right:expr, $($text:tt)+) => {
        match (&$left, &$right) {
            (left, right) => {
                if left != right {
                    let text = format!($($text)+);
                    return Err($crate::sink::conformance::Violation::new(format!("{text}: {left:?} is not {right:?}")));
                }
            }
        }
    };
}

use {ensure, ensure_eq};

/// One test of each case, against the harness that the given future makes; or, named, one test of all cases in turn, where
/// what stands behind the harness takes long to start.
#[macro_export]
macro_rules! conformance_tests {
    ($harness:expr) => {
        $crate::conformance_tests! { @with separately $harness }
    };
    ($name:ident: $harness:expr) => {
        $crate::conformance_tests! { @with ($name) $harness }
    };
    (@with $how:tt $harness:expr) => {
        $crate::conformance_tests! { @cases $how $harness;
            appends_and_overwrites
            commits_many_partitions_at_once
            an_aborted_table_leaves_nothing
            a_dropped_writer_leaves_nothing
            a_failed_unit_is_written_again
            remembers_its_last_commit
            of_two_writers_one_commits
            of_two_first_writers_one_commits
            refuses_a_commit_before_the_end
            gives_its_memory_back
            an_empty_table_is_created
            refuses_another_schema
            a_new_column_is_added
            a_dropped_column_is_null_in_new_rows
            a_column_that_may_be_null_is_relaxed
            a_wider_type_of_the_table_is_kept
            a_wider_type_of_the_source_is_taken_or_refused
            what_does_not_fit_is_refused_by_its_column
            a_frozen_table_keeps_its_columns
            a_merge_goes_on_with_other_columns
            a_full_refresh_takes_the_columns_of_the_source
            an_aborted_load_alters_nothing
            a_load_without_rows_alters_the_columns
            accepts_the_same_columns_in_another_order
            refuses_names_it_cannot_tell_apart
            partitions_or_refuses
            merges_by_key
            a_merge_ends_in_the_last_change_of_each_key
            a_merge_goes_by_the_order_of_partitions
            a_merge_keeps_what_a_change_does_not_carry
            a_merge_takes_nulls_in_keys_as_equal
            a_merge_leaves_one_row_a_key
            a_merge_leaves_columns_that_only_the_table_has
            a_deleted_row_needs_its_key_alone
            merges_many_rows
            merges_into_partitioned_tables
            merges_as_if_changes_came_one_by_one
            of_two_merges_one_commits
            refuses_a_merge_without_a_key
            fills_columns_and_nothing_else
            fills_many_rows
            fills_partitioned_tables
            refuses_to_fill_what_it_cannot_find
            of_a_backfill_and_a_load_one_commits
            holds_odd_names
            every_value_reads_back
            refuses_what_it_cannot_hold
            keeps_records_of_runs
            goes_on_with_a_load
            kept_partitions_stay_after_an_abort
            unfinished_load_belongs_to_one_process
            leftovers_of_live_and_resumable_loads_stay
            gives_the_values_of_columns
            says_what_it_was_held_against
            commits_nothing_that_differs_from_what_was_delivered
            holds_every_value_against_what_was_delivered
        }
    };
    (@cases separately $harness:expr; $($case:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let harness = $harness.await;
                if let Err(violation) = $crate::sink::conformance::$case(&harness).await {
                    panic!("{violation}");
                }
            }
        )*
    };
    (@cases ($name:ident) $harness:expr; $($case:ident)*) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            $({
                let harness = $harness.await;
                if let Err(violation) = $crate::sink::conformance::$case(&harness).await {
                    panic!("{}: {violation}", stringify!($case));
                }
            })*
        }
    };
}
