//! Spans of a run: its tables, and their partitions (docs/traces.md).

use std::future::Future;

use datakit_model::{Failure, TableId};
use tracing::field::{Empty, display};
use tracing::{Instrument as _, Span};

use crate::partition::PartitionResult;
use crate::summary::{TableStatus, TableSummary};

/// The target of these spans. Log lines do not show them.
pub const TRACE: &str = "datakit::trace";

/// A table from its first query to its commit.
pub(crate) async fn table(id: &TableId, work: impl Future<Output = TableSummary>) -> TableSummary {
    let span = tracing::info_span!(
        target: TRACE, "table", table = %id, target = Empty, partitions = Empty, rows = Empty, bytes = Empty, status = Empty,
        "error.type" = Empty, otel.status_code = Empty
    );
    let summary = work.instrument(span.clone()).await;
    span.record("target", summary.target.as_str());
    span.record("partitions", number(summary.partitions as u64));
    span.record("rows", number(summary.rows));
    span.record("bytes", number(summary.bytes));
    if matches!(summary.status, TableStatus::Failed | TableStatus::Stopped) {
        let code = summary.error.as_ref().map(|error| error.code.as_str()).unwrap_or_default();
        failed(&span, code);
    }
    summary
}

/// A partition, with all of its attempts. To be called where its table's span is entered.
pub(crate) fn partition(
    ordinal: u32,
    work: impl Future<Output = Result<PartitionResult, Failure>>,
) -> impl Future<Output = Result<PartitionResult, Failure>> {
    let span = tracing::info_span!(target: TRACE, "partition", ordinal, rows = Empty, "error.type" = Empty, otel.status_code = Empty);
    let traced = work.instrument(span.clone());
    async move {
        let result = traced.await;
        match &result {
            Ok(done) => drop(span.record("rows", number(done.written.rows))),
            Err(failure) => failed(&span, failure.code()),
        }
        result
    }
}

/// Numbers of spans have a sign.
fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn failed(span: &Span, code: &str) {
    span.record("error.type", display(code));
    span.record("otel.status_code", "ERROR");
}
