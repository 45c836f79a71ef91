//! `host backfill`: columns of rows that are there get the values of the source.

use datakit_app::{BackfillRequest, Backfilled, BackfilledRows, IngestRequest, Reports, RunRequest, new_run_id};
use datakit_model::Exit;

use super::{Session, receipt_of, run};
use crate::arguments::{Backfill, OutputFormat};
use crate::terminal::grouped;

pub(super) async fn backfill(arguments: Backfill, session: &Session) -> Result<Exit, Reports> {
    let json = arguments.output == OutputFormat::Json;
    run::asked(request(arguments), "backfill", json, session).await
}

fn request(arguments: Backfill) -> RunRequest {
    let Backfill { datakit, ingest, table, columns, run_id, receipt, parallel, settings, locked, output: _ } =
        arguments;
    RunRequest {
        run_id: run_id.unwrap_or_else(new_run_id),
        ingest: IngestRequest { datakit, ingest, tables: Vec::new(), settings, locked },
        backfill: Some(BackfillRequest { table, columns }),
        receipt: receipt_of(receipt),
        parallel,
        ..RunRequest::default()
    }
}

/// What was done, in a line.
pub(super) fn done(Backfilled { columns, rows }: &Backfilled) -> String {
    let columns = columns.join(", ");
    let Some(BackfilledRows { filled, unchanged, not_in_table, not_in_source }) = rows else { return columns };
    let mut text = format!("{columns}: {} rows filled", grouped(*filled));
    if *unchanged > 0 {
        text.push_str(&format!(", {} had the values", grouped(*unchanged)));
    }
    if *not_in_table > 0 {
        text.push_str(&format!("; {} rows of the source are left to the next load", grouped(*not_in_table)));
    }
    if let Some(rows) = not_in_source.filter(|rows| *rows > 0) {
        text.push_str(&format!("; {} rows that the source does not have keep their values", grouped(rows)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(filled: u64, others: u64) -> BackfilledRows {
        BackfilledRows { filled, unchanged: others, not_in_table: others, not_in_source: Some(others) }
    }

    #[test]
    fn only_what_there_is_is_said() {
        let said = |rows| done(&Backfilled { columns: vec!["a".to_owned(), "b".to_owned()], rows });
        assert_eq!(said(None), "a, b");
        assert_eq!(said(Some(rows(12_000, 0))), "a, b: 12,000 rows filled");
        assert_eq!(
            said(Some(rows(2, 3))),
            "a, b: 2 rows filled, 3 had the values; 3 rows of the source are left to the next load; \
             3 rows that the source does not have keep their values"
        );
    }
}
