//! Results become exit codes, by the one table of [`Exit`].

use datakit_app::{Diagnosis, EndedIngest, Report, Reports, RunStatus, Summary, TableError, TableStatus, TableSummary};
use datakit_model::Exit;

/// How a command ended that failed.
pub(crate) fn of_reports(reports: &Reports) -> Exit {
    reports.all().iter().fold(Exit::Done, |exit, report| exit.or(of_report(report)))
}

fn of_report(report: &Report) -> Exit {
    if report.is_mismatch { Exit::Mismatch } else { Exit::of(report.kind, report.retry) }
}

fn of_error(error: &TableError) -> Exit {
    if error.is_mismatch { Exit::Mismatch } else { Exit::of(error.kind, error.retry) }
}

/// How the doctor ended: each broken link counts.
pub(crate) fn of_diagnosis(diagnosis: &Diagnosis) -> Exit {
    let errors = diagnosis.chains.iter().filter_map(|walked| walked.broken()).map(|(_, error)| error);
    errors.map(|error| Exit::of(error.kind, error.retry)).fold(Exit::Done, Exit::or)
}

/// How a run of one ingest ended.
pub(crate) fn of_summary(summary: &Summary) -> Exit {
    if summary.tables.is_empty() && summary.status == RunStatus::Stopped {
        return Exit::Transient;
    }
    of_tables(&summary.tables)
}

/// How a run of several ingests ended: where tables are committed and something else failed, that counts.
pub(crate) fn of_ingests(ended: &[EndedIngest]) -> Exit {
    let is_committed = |table: &TableSummary| matches!(table.status, TableStatus::Committed | TableStatus::Unchanged);
    let any_committed = ended.iter().flat_map(EndedIngest::tables).any(is_committed);
    let each = ended.iter().map(|ended| match &ended.outcome {
        Ok(summary) => of_summary(summary),
        Err(reports) => of_reports(reports),
    });
    match each.fold(Exit::Done, Exit::or) {
        Exit::Permanent | Exit::Transient if any_committed => Exit::Partial,
        exit => exit,
    }
}

/// How these tables ended together: where some are committed and others are not, that counts before what the others say.
fn of_tables(tables: &[TableSummary]) -> Exit {
    let is_done = |t: &&TableSummary| matches!(t.status, TableStatus::Committed | TableStatus::Unchanged);
    let done = tables.iter().filter(is_done).count();
    let split = if done > 0 && done < tables.len() { Exit::Partial } else { Exit::Done };
    let missing = tables.iter().filter(|table| !is_done(table));
    missing.fold(split, |exit, table| {
        exit.or(match (&table.error, table.status) {
            (Some(error), TableStatus::Failed) => of_error(error),
            // Whatever broke while the run was being stopped broke because of that.
            _ => Exit::Transient,
        })
    })
}

#[cfg(test)]
mod tests {
    use datakit_model::{Failure, Kind, Retry};

    use super::*;

    fn table(status: TableStatus, failure: Option<(Kind, Retry)>) -> TableSummary {
        let failure = failure.map(|(kind, retry)| Failure::new("DK-TST-001", kind, retry, "test"));
        TableSummary {
            error: failure.as_ref().map(datakit_app::TableError::from),
            ..TableSummary::new("dbo.t", status)
        }
    }

    #[test]
    fn a_run_ends_with_the_code_that_counts_first() {
        let done = || table(TableStatus::Committed, None);
        let before = || table(TableStatus::Unchanged, None);
        let failed = |kind, retry| table(TableStatus::Failed, Some((kind, retry)));
        let stopped = || table(TableStatus::Stopped, Some((Kind::Source, Retry::Never)));
        let permanent = || failed(Kind::Source, Retry::Never);
        let transient = || failed(Kind::Sink, Retry::AfterBackoff);
        let bug = || failed(Kind::Internal, Retry::Never);
        let mismatch = || {
            let mut table = failed(Kind::Sink, Retry::Never);
            table.error.iter_mut().for_each(|error| error.is_mismatch = true);
            table
        };
        for (tables, code) in [
            (vec![mismatch(), done()], 5),
            (vec![mismatch(), transient(), stopped()], 5),
            (vec![bug(), mismatch()], 2),
            (vec![], 0),
            (vec![done(), before()], 0),
            (vec![permanent()], 1),
            (vec![permanent(), transient()], 1),
            (vec![transient(), stopped()], 4),
            (vec![failed(Kind::User, Retry::NextRun)], 4),
            (vec![stopped(), stopped()], 4),
            (vec![done(), stopped()], 3),
            (vec![before(), permanent(), transient()], 3),
            (vec![done(), transient()], 3),
            (vec![done(), bug()], 2),
            (vec![permanent(), bug()], 2),
        ] {
            assert_eq!(of_tables(&tables).code(), code, "{tables:?}");
        }
    }
}
