//! Commits whose answer is lost: the run finds out by itself what has become of them.

use std::collections::BTreeMap;
use std::time::Duration;

use datakit_fake_sqlserver::server::Options;
use datakit_fake_sqlserver::sql::SqlEngineOptions;
use datakit_stores::testing::ObjectStoreServer;
use datakit_tests::{Effect, Mssql, Proxy, When, World};

use super::disturb::{AtCommit, Break, Disturbance, run};
use super::history::History;
use super::kinds::{Kind, Mode, Sink, Source, Strategy};
use super::lab::Lab;

const ROWS: u64 = 700;

/// A table of [`ROWS`] rows, and how it is loaded into PostgreSQL.
fn table(lab: &Lab, mode: Mode) -> Kind {
    let kind = Kind { source: Source::SqlServer, strategy: Strategy::Full, mode, sink: Sink::Postgres };
    lab.begin(kind, true);
    let first = History::default().first_rows(kind, ROWS);
    lab.execute(&first.script);
    kind
}

/// How often each key is in the target.
fn keys(lab: &mut Lab, kind: Kind) -> BTreeMap<i64, u64> {
    let mut keys = BTreeMap::new();
    for row in lab.rows(kind) {
        *keys.entry(row.id).or_default() += 1;
    }
    keys
}

fn each_once() -> BTreeMap<i64, u64> {
    (1..=i64::try_from(ROWS).unwrap()).map(|id| (id, 1)).collect()
}

#[test]
fn commit_to_postgres_whose_answer_is_lost_is_the_runs_own() {
    let Some(mut lab) = Lab::start(Source::SqlServer) else { return };
    for mode in [Mode::Append, Mode::Overwrite, Mode::Merge] {
        let kind = table(&lab, mode);
        for how in [Break::Reset, Break::End] {
            let cut = Disturbance::BreakAtCommit(AtCommit::Unanswered, how);
            let ended = run(&lab, kind, &format!("{how:?}"), 2, Some(cut));
            assert_eq!(ended.broken, 1, "{kind}");
            let summary = ended.output.success().json();
            assert_eq!((&summary["rows"], &summary["status"]), (&ROWS.into(), &"done".into()), "{kind}");
            if mode == Mode::Append {
                break;
            }
        }
        assert_eq!(keys(&mut lab, kind), each_once(), "{kind}");
    }
}

#[test]
fn commit_that_never_arrived_fails_and_the_same_run_again_loads_each_row_once() {
    let Some(mut lab) = Lab::start(Source::SqlServer) else { return };
    for how in [Break::Reset, Break::Away(Duration::from_millis(700))] {
        let kind = table(&lab, Mode::Append);
        let cut = Disturbance::BreakAtCommit(AtCommit::Before, how);
        let ended = run(&lab, kind, "run", 2, Some(cut));
        assert_eq!(ended.output.code, Some(4), "{how:?}: {}\n{}", ended.output.stdout, ended.output.stderr);
        let error = ended.output.json()["tables"][0]["error"].clone();
        assert!(error["hint"].is_string(), "{error}");
        lab.settle();
        assert!(lab.state(kind).is_none(), "{how:?}");
        run(&lab, kind, "run", 3, None).output.success();
        assert_eq!(keys(&mut lab, kind), each_once(), "{how:?}");
    }
}

#[test]
fn server_that_is_away_behind_its_commit_leaves_each_row_once() {
    let Some(mut lab) = Lab::start(Source::SqlServer) else { return };
    let kind = table(&lab, Mode::Append);
    let cut = Disturbance::BreakAtCommit(AtCommit::Unanswered, Break::Away(Duration::from_secs(3)));
    let ended = run(&lab, kind, "run", 2, Some(cut));
    // Nobody could say whether the commit took effect.
    assert_eq!(ended.output.json()["tables"][0]["error"]["code"], "DK-SNK-017", "{}", ended.output.stderr);
    let again = run(&lab, kind, "run", 2, None).output.success().json();
    assert_eq!(again["tables"][0]["status"], "unchanged");
    assert_eq!(keys(&mut lab, kind), each_once());
}

#[test]
fn commit_to_an_object_store_whose_answer_is_lost_is_the_runs_own() {
    let reason = "only the fake SQL Server makes tables without a wait";
    let Some(mssql) = Mssql::fake_sqlserver_for(reason, Options::default(), SqlEngineOptions::default()) else {
        return;
    };
    let rows: Vec<String> = (1..=500).map(|id| format!("({id})")).collect();
    let script = format!(
        "CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY)\nGO\nINSERT INTO dbo.orders VALUES {}",
        rows.join(", ")
    );
    let store = ObjectStoreServer::s3().unwrap();
    let endpoint = store.environment().iter().find(|(name, _)| name == "AWS_ENDPOINT_URL").unwrap().1.clone();
    let port = endpoint.rsplit(':').next().unwrap().parse().unwrap();
    let proxy = Proxy::before(port);
    let world = World::with(mssql, &script).with_object_store(store);
    let text = "PUT /lake/bronze/ERP/dbo/orders/_delta_log/";
    let cut = || Effect::Cut { reset: true, away: Duration::ZERO };
    // The answer is lost to the entry that creates the table, and to the next one; the request is lost; the request arrives late.
    let rules = [
        (When::Answered { after: "", text }, cut()),
        (When::Answered { after: "", text }, cut()),
        (When::Sent { after: "", text }, cut()),
        (When::Sent { after: "", text }, Effect::Late(Duration::from_millis(300))),
    ];
    for (number, (when, effect)) in rules.into_iter().enumerate() {
        proxy.reset();
        proxy.set(when, effect);
        let run_id = format!("run-{number}");
        let mut command = world.command(&["run", "--output", "json", "--run-id", &run_id]);
        command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", proxy.port()));
        let summary = world.finish(command).success().json();
        assert_eq!(proxy.met(), 1);
        assert_eq!((&summary["rows"], &summary["status"]), (&500.into(), &"done".into()));
        // Until the late request is there.
        std::thread::sleep(Duration::from_millis(500));
        let table = world.delta("ERP/dbo/orders");
        assert_eq!(table.lines().count(), 1 + 500 * (number + 1), "each row once a run");
    }
}
