//! Several hosts that load one table at the same moment: one commits a position, the others find nothing new or fail cleanly.

use std::collections::BTreeSet;

use datakit_tests::{Output, Random, Started};

use super::check::{Findings, Load, Row, check};
use super::history::History;
use super::kinds::{Kind, Mode, Sink, Source, Strategy};
use super::lab::Lab;

/// What a host says that comes second: another run writes the table, or has written it since this one was planned.
const SECOND: [&str; 2] = ["DK-SNK-010", "DK-RUN-013"];

/// A table with its history, loaded once or not at all.
struct Table {
    kind: Kind,
    history: History,
    /// The load that was there before.
    first: Option<Load>,
}

fn table(lab: &Lab, kind: Kind, is_loaded: bool) -> Table {
    lab.begin(kind, true);
    let (mut history, mut random) = (History::default(), Random::new(11));
    let rows = history.first_rows(kind, 600);
    lab.execute(&rows.script);
    history.add(&rows);
    let at = history.len();
    if !is_loaded {
        return Table { kind, history, first: None };
    }
    Started::new(lab.command(kind, "first", 2)).end().success();
    let load_id = lab.state(kind).unwrap().load_id;
    for _ in 0..12 {
        let transaction = history.transaction(kind, &mut random);
        lab.execute(&transaction.script);
        history.add(&transaction);
    }
    let first = Load { run_id: "first".into(), load_id, from: at, to: at };
    Table { kind, history, first: Some(first) }
}

/// Starts a host for each run id, and gives how many have committed.
fn at_once(lab: &Lab, kind: Kind, run_ids: &[String]) -> usize {
    let hosts: Vec<Started> = run_ids.iter().map(|run_id| Started::new(lab.command(kind, run_id, 2))).collect();
    let ended: Vec<Output> = hosts.into_iter().map(Started::end).collect();
    lab.settle();
    let committed = |output: &&Output| {
        let table = output.json()["tables"][0].clone();
        if output.code != Some(0) {
            let code = table["error"]["code"].as_str().unwrap_or_default();
            assert!(SECOND.contains(&code), "{kind}: {table}\n{}", output.stderr);
            assert!(table["error"]["hint"].is_string(), "{table}");
        }
        table["status"] == "committed"
    };
    ended.iter().filter(committed).count()
}

/// The loads whose rows are there: that of the table's first load, and all others of now.
fn loads(table: &Table, rows: &[Row]) -> Vec<Load> {
    let len = table.history.len();
    let ids: BTreeSet<&String> = rows.iter().map(|row| &row.load_id).collect();
    let others = ids.into_iter().filter(|id| table.first.as_ref().is_none_or(|first| first.load_id != **id));
    let others = others.map(|id| Load { run_id: id.clone(), load_id: id.clone(), from: len, to: len });
    table.first.clone().into_iter().chain(others).collect()
}

#[track_caller]
fn assert_exact(lab: &mut Lab, table: &Table, expected_loads: usize) {
    let kind = table.kind;
    let rows = lab.rows(kind);
    let loads = loads(table, &rows);
    assert_eq!(check(kind, true, &table.history, &loads, &rows), Findings::default(), "{kind}");
    if kind.mode == Mode::Append {
        assert_eq!(loads.len(), expected_loads, "{kind}");
    }
    assert_eq!(lab.leftovers(kind), Vec::<String>::new(), "{kind}");
}

fn kind(strategy: Strategy, mode: Mode, sink: Sink) -> Kind {
    Kind { source: Source::SqlServer, strategy, mode, sink }
}

fn numbered(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("host-{number}")).collect()
}

#[test]
fn of_hosts_that_go_on_from_one_position_one_commits_it() {
    let Some(mut lab) = Lab::start(Source::SqlServer) else { return };
    for (strategy, mode) in [(Strategy::Watermark, Mode::Append), (Strategy::ChangeTracking, Mode::Merge)] {
        for (sink, hosts) in [(Sink::Delta, 4), (Sink::Postgres, 2), (Sink::Delta, 2), (Sink::Postgres, 4)] {
            let table = table(&lab, kind(strategy, mode, sink), true);
            let committed = at_once(&lab, table.kind, &numbered(hosts));
            assert!(committed >= 1, "{}: nobody has committed", table.kind);
            assert_exact(&mut lab, &table, 2);
            let next = Started::new(lab.command(table.kind, "next", 2)).end().success().json();
            assert_eq!(next["rows"], 0, "{}", table.kind);
            assert_exact(&mut lab, &table, 2);
        }
    }
}

#[test]
fn of_hosts_with_one_run_id_one_loads_the_table() {
    let Some(mut lab) = Lab::start(Source::SqlServer) else { return };
    for (sink, hosts) in [(Sink::Delta, 2), (Sink::Postgres, 4), (Sink::Delta, 4), (Sink::Postgres, 2)] {
        let table = table(&lab, kind(Strategy::Full, Mode::Append, sink), false);
        let run_ids = vec!["same".to_owned(); hosts];
        let committed = at_once(&lab, table.kind, &run_ids);
        assert!(committed >= 1, "{}", table.kind);
        assert_exact(&mut lab, &table, 1);
        let again = Started::new(lab.command(table.kind, "same", 2)).end().success().json();
        assert_eq!(again["tables"][0]["status"], "unchanged", "{}", table.kind);
    }
}

#[test]
fn hosts_with_run_ids_of_their_own_load_the_table_once_each_or_fail() {
    let Some(mut lab) = Lab::start(Source::SqlServer) else { return };
    for (sink, hosts) in [(Sink::Delta, 4), (Sink::Postgres, 4)] {
        let table = table(&lab, kind(Strategy::Full, Mode::Append, sink), false);
        let committed = at_once(&lab, table.kind, &numbered(hosts));
        assert!(committed >= 1, "{}", table.kind);
        assert_exact(&mut lab, &table, committed);
    }
}
