//! Loads of a fixed input that are stopped at each point of their commits and gone on with: the table is that of a golden file.

use std::fmt::Write as _;
use std::time::Duration;

use datakit_tests::Random;

use super::disturb::{AtCommit, Disturbance, Left, Line, run};
use super::history::History;
use super::kinds::{Kind, Mode, Sink, Source, Strategy};
use super::lab::Lab;

const LOADS: usize = 3;

/// Where a load into this sink can be stopped: while rows are written, at the commit, behind it.
fn stops(sink: Sink) -> [Disturbance; 3] {
    match sink {
        Sink::Delta => {
            [Left::Rows, Left::Document, Left::Entry].map(|left| Disturbance::KillAtFile(left, Duration::ZERO))
        }
        Sink::Postgres => [
            Disturbance::KillAtBytes(Line::Sink, 12_000),
            Disturbance::KillAtCommit(AtCommit::Before),
            Disturbance::KillAtCommit(AtCommit::Unanswered),
        ],
    }
}

/// Loads the input in [`LOADS`] loads, each stopped at another point and gone on with by other workers, and gives the table: a
/// line a row, by load and then in the order of changes.
fn loaded(lab: &mut Lab, kind: Kind, first_stop: usize) -> String {
    lab.begin(kind, true);
    let (mut history, mut random) = (History::default(), Random::new(2));
    let rows = history.first_rows(kind, 40);
    lab.execute(&rows.script);
    history.add(&rows);
    lab.count_rows();
    let mut loads = Vec::new();
    for load in 0..LOADS {
        let (run_id, stop) = (format!("load-{load}"), stops(kind.sink)[(first_stop + load) % LOADS]);
        run(lab, kind, &run_id, 1 + load as u64, Some(stop));
        lab.settle();
        run(lab, kind, &run_id, 4 - load as u64, None).output.success();
        let state = lab.state(kind).unwrap();
        assert_eq!((state.sequence, state.run_id.as_str()), (load as i64 + 1, run_id.as_str()), "{kind}");
        loads.push(state.load_id);
        for _ in 0..4 {
            let transaction = history.transaction(kind, &mut random);
            lab.execute(&transaction.script);
            history.add(&transaction);
        }
    }
    let mut rows = lab.rows(kind);
    let load = |load_id: &str| loads.iter().position(|load| load == load_id).unwrap();
    rows.sort_by_key(|row| (load(&row.load_id), row.version.clone(), row.id));
    rows.iter().fold(String::new(), |mut text, row| {
        let v = row.v.map_or_else(|| "-".to_owned(), |v| v.to_string());
        let _ = writeln!(text, "load {}: {} {} {v}", load(&row.load_id), row.operation, row.id);
        text
    })
}

/// All points of all loads in the large count, one of each load in `./test`.
fn first_stops() -> std::ops::Range<usize> {
    0..if std::env::var_os("DATAKIT_EXACTLY_ONCE_LOG").is_some() { LOADS } else { 1 }
}

#[test]
fn changes_of_sql_server_that_are_stopped_at_each_commit_are_those_of_the_golden_file() {
    let Some(mut lab) = Lab::start(Source::SqlServer) else { return };
    for sink in [Sink::Delta, Sink::Postgres] {
        let kind = Kind { source: Source::SqlServer, strategy: Strategy::Cdc, mode: Mode::Append, sink };
        for stop in first_stops() {
            insta::assert_snapshot!("changes_of_sql_server", loaded(&mut lab, kind, stop));
        }
    }
}

#[test]
fn changes_of_postgres_that_are_merged_and_stopped_at_each_commit_are_those_of_the_golden_file() {
    let Some(mut lab) = Lab::start(Source::Postgres) else { return };
    for sink in [Sink::Delta, Sink::Postgres] {
        let kind = Kind { source: Source::Postgres, strategy: Strategy::Logical, mode: Mode::Merge, sink };
        for stop in first_stops() {
            insta::assert_snapshot!("merged_changes_of_postgres", loaded(&mut lab, kind, stop));
        }
    }
}
