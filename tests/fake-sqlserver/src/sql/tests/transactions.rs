//! Transactions of several sessions, isolation, row versions, and what tests run in between.

use std::sync::{Arc, Mutex};

use super::*;
use crate::sql::{Interruption, Place};

/// `dbo.t (id, v)` with rows 1 to 3, and two clients.
fn two_clients() -> (SqlEngine, Client, Client) {
    let engine = engine();
    engine
        .run_script(
            "CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, v varchar(10) NULL)\nGO\n\
             INSERT INTO dbo.t VALUES (1, 'a'), (2, 'b'), (3, 'c')",
        )
        .unwrap();
    let (one, other) = (Client::of(&engine), Client::of(&engine));
    (engine, one, other)
}

const ROWS: &str = "SELECT id, v FROM dbo.t ORDER BY id";

#[test]
fn uncommitted_rows_are_seen_by_their_own_session_only() {
    let (_, mut one, mut other) = two_clients();
    one.run("BEGIN TRAN; INSERT INTO dbo.t VALUES (4, 'd'); UPDATE dbo.t SET v = 'x' WHERE id = 2; DELETE FROM dbo.t WHERE id = 1");
    assert_eq!(one.ask(ROWS), "2 x; 3 c; 4 d");
    assert_eq!(other.ask(ROWS), "1 a; 2 b; 3 c");
    assert_eq!(other.ask("SELECT COUNT(*) AS n FROM dbo.t WHERE v = 'x'"), "0");
    other.run("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED");
    assert_eq!(other.ask(ROWS), "2 x; 3 c; 4 d");
    other.run("SET TRANSACTION ISOLATION LEVEL READ COMMITTED");
    one.run("COMMIT");
    assert_eq!(other.ask(ROWS), "2 x; 3 c; 4 d");
}

#[test]
fn rollback_restores_rows_of_every_kind_of_key() {
    let engine = engine();
    engine
        .run_script(
            "CREATE TABLE dbo.a (id int NOT NULL PRIMARY KEY, v int NULL)\nGO\n\
             CREATE TABLE dbo.b (k varchar(10) NOT NULL PRIMARY KEY, v int NULL)\nGO\n\
             CREATE TABLE dbo.c (v int NULL)\nGO\n\
             INSERT INTO dbo.a VALUES (1, 1), (2, 2), (3, 3); INSERT INTO dbo.b VALUES ('x', 1), ('y', 2); \
             INSERT INTO dbo.c VALUES (1), (1), (2)",
        )
        .unwrap();
    let mut client = Client::of(&engine);
    client.run(
        "BEGIN TRAN; UPDATE dbo.a SET id = id + 1; UPDATE dbo.a SET id = 10 WHERE id = 4; DELETE FROM dbo.a WHERE id = 2; \
         INSERT INTO dbo.a VALUES (2, 20); UPDATE dbo.b SET k = 'z' WHERE k = 'x'; INSERT INTO dbo.b VALUES ('x', 3); \
         DELETE FROM dbo.c WHERE v = 1; INSERT INTO dbo.c VALUES (7); TRUNCATE TABLE dbo.b",
    );
    assert_eq!(client.ask("SELECT id, v FROM dbo.a ORDER BY id"), "2 20; 3 2; 10 3");
    assert_eq!(client.ask("SELECT k FROM dbo.b"), "");
    client.run("ROLLBACK");
    assert_eq!(client.ask("SELECT id, v FROM dbo.a ORDER BY id"), "1 1; 2 2; 3 3");
    assert_eq!(client.ask("SELECT k, v FROM dbo.b ORDER BY k"), "x 1; y 2");
    assert_eq!(client.ask("SELECT v FROM dbo.c ORDER BY v"), "1; 1; 2");
    let counts = "SELECT SUM(row_count) AS n FROM sys.dm_db_partition_stats WHERE index_id IN (0, 1) GROUP BY object_id ORDER BY n";
    assert_eq!(client.ask(counts), "2; 3; 3");
}

#[test]
fn several_sessions_have_transactions_open_at_once() {
    let (_, mut one, mut other) = two_clients();
    one.run("BEGIN TRAN; UPDATE dbo.t SET v = 'one' WHERE id = 1");
    other.run("BEGIN TRAN; UPDATE dbo.t SET v = 'other' WHERE id = 2; INSERT INTO dbo.t VALUES (5, 'other')");
    assert_eq!(one.ask(ROWS), "1 one; 2 b; 3 c");
    assert_eq!(other.ask(ROWS), "1 a; 2 other; 3 c; 5 other");
    one.run("ROLLBACK");
    other.run("COMMIT");
    assert_eq!(one.ask(ROWS), "1 a; 2 other; 3 c; 5 other");
}

#[test]
fn a_writer_waits_for_a_locked_row_until_its_lock_timeout() {
    let (_, mut one, mut other) = two_clients();
    other.run("SET LOCK_TIMEOUT 20");
    one.run("BEGIN TRAN; UPDATE dbo.t SET v = 'x' WHERE id = 1; DELETE FROM dbo.t WHERE id = 2; INSERT INTO dbo.t VALUES (4, 'd')");
    for statement in [
        "UPDATE dbo.t SET v = 'y' WHERE id = 1",
        "DELETE FROM dbo.t WHERE id = 2",
        "INSERT INTO dbo.t VALUES (2, 'y')",
        "INSERT INTO dbo.t VALUES (4, 'y')",
        "UPDATE dbo.t SET id = 4 WHERE id = 3",
        "TRUNCATE TABLE dbo.t",
        "DROP TABLE dbo.t",
    ] {
        assert_eq!(other.ask(statement), "error 1222", "{statement}");
    }
    other.run("UPDATE dbo.t SET v = 'y' WHERE id = 3");
    one.run("COMMIT");
    other.run("UPDATE dbo.t SET v = 'y' WHERE id = 1");
    assert_eq!(other.ask(ROWS), "1 y; 3 y; 4 d");
}

#[test]
fn without_row_versions_a_reader_waits_too() {
    let (_, mut one, mut other) = two_clients();
    other.run("ALTER DATABASE erp SET READ_COMMITTED_SNAPSHOT OFF; SET LOCK_TIMEOUT 20");
    one.run("BEGIN TRAN; UPDATE dbo.t SET v = 'x' WHERE id = 1");
    assert_eq!(other.ask(ROWS), "error 1222");
    one.run("ROLLBACK");
    assert_eq!(other.ask(ROWS), "1 a; 2 b; 3 c");
}

#[test]
fn a_transaction_rolls_back_to_a_savepoint() {
    let (_, mut one, _) = two_clients();
    assert_eq!(one.ask("SAVE TRANSACTION s"), "error 628");
    one.run("BEGIN TRAN; DELETE FROM dbo.t WHERE id = 1; SAVE TRAN s; DELETE FROM dbo.t WHERE id = 2; UPDATE dbo.t SET v = 'x'");
    one.run("ROLLBACK TRAN s");
    assert_eq!(one.ask("SELECT @@TRANCOUNT AS n; SELECT id, v FROM dbo.t ORDER BY id"), "1; 2 b; 3 c");
    assert_eq!(one.ask("ROLLBACK TRAN other"), "error 6401");
    one.run("COMMIT");
    assert_eq!(one.ask(ROWS), "2 b; 3 c");
}

#[test]
fn a_client_that_leaves_rolls_back() {
    let (_, mut one, mut other) = two_clients();
    one.run("BEGIN TRAN; DELETE FROM dbo.t");
    drop(one);
    assert_eq!(other.ask(ROWS), "1 a; 2 b; 3 c");
    other.run("UPDATE dbo.t SET v = 'x' WHERE id = 1");
}

#[test]
fn a_failed_statement_leaves_its_transaction_as_it_was() {
    let (_, mut one, _) = two_clients();
    one.run("BEGIN TRAN; UPDATE dbo.t SET v = 'x' WHERE id = 1");
    assert_eq!(one.ask("INSERT INTO dbo.t VALUES (9, 'z'), (1, 'z')"), "error 2627");
    one.run("COMMIT");
    assert_eq!(one.ask(ROWS), "1 x; 2 b; 3 c");
}

#[test]
fn snapshot_sees_what_was_committed_before_its_first_access() {
    let (_, mut one, mut other) = two_clients();
    one.run("SET TRANSACTION ISOLATION LEVEL SNAPSHOT; BEGIN TRAN; DECLARE @n int = 1");
    other.run("UPDATE dbo.t SET v = 'before' WHERE id = 1");
    other.run("BEGIN TRAN; UPDATE dbo.t SET v = 'open' WHERE id = 2");
    assert_eq!(one.ask(ROWS), "1 before; 2 b; 3 c");
    other.run("COMMIT; DELETE FROM dbo.t WHERE id = 3");
    assert_eq!(one.ask(ROWS), "1 before; 2 b; 3 c");
    one.run("COMMIT");
    assert_eq!(one.ask(ROWS), "1 before; 2 open");
}

#[test]
fn snapshot_is_refused_at_the_first_table() {
    let (_, mut one, mut other) = two_clients();
    const STATE: &str = "SELECT snapshot_isolation_state AS s, is_read_committed_snapshot_on AS r FROM sys.databases WHERE name = DB_NAME()";
    assert_eq!(one.ask(STATE), "1 1");
    other.run("ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION OFF");
    one.run("SET TRANSACTION ISOLATION LEVEL SNAPSHOT; BEGIN TRAN");
    assert_eq!(one.ask(STATE), "0 1");
    assert_eq!(one.ask(ROWS), "error 3952");
    one.run("ROLLBACK");
    other.run("ALTER DATABASE erp SET ALLOW_SNAPSHOT_ISOLATION ON");
    assert_eq!(one.ask(ROWS), "1 a; 2 b; 3 c");
}

#[test]
fn a_transaction_cannot_become_a_snapshot() {
    let (_, mut one, _) = two_clients();
    one.run("BEGIN TRAN");
    assert_eq!(one.ask(ROWS), "1 a; 2 b; 3 c");
    one.run("SET TRANSACTION ISOLATION LEVEL SNAPSHOT");
    assert_eq!(one.ask(ROWS), "error 3951");
    assert_eq!(one.ask("SELECT @@TRANCOUNT AS n"), "0");
}

#[test]
fn a_definition_ends_a_snapshot() {
    let (engine, mut one, mut other) = two_clients();
    let begin = "SET TRANSACTION ISOLATION LEVEL SNAPSHOT; BEGIN TRAN; SELECT COUNT(*) AS n FROM dbo.t";
    assert_eq!(one.ask(begin), "3");
    other.run("ALTER TABLE dbo.t ADD w int NULL");
    assert_eq!(one.ask(ROWS), "error 3961");
    assert_eq!(one.ask("SELECT @@TRANCOUNT AS n"), "0");
    engine.set_switches(|switches| switches.set("definitions-in-snapshot", "ignored").unwrap());
    assert_eq!(one.ask(begin), "3");
    other.run("ALTER TABLE dbo.t ADD x int NULL");
    assert_eq!(one.ask(ROWS), "1 a; 2 b; 3 c");
}

#[test]
fn truncate_under_a_snapshot_is_a_switch() {
    let (engine, mut one, mut other) = two_clients();
    let begin = "SET TRANSACTION ISOLATION LEVEL SNAPSHOT; BEGIN TRAN; SELECT CHANGE_TRACKING_CURRENT_VERSION() AS v";
    assert_eq!(one.ask(begin), "NULL");
    other.run("TRUNCATE TABLE dbo.t");
    assert_eq!(one.ask(ROWS), "1 a; 2 b; 3 c");
    one.run("COMMIT; EXEC sys.fake_switch 'truncate-in-snapshot', 'error'");
    assert_eq!(one.ask(begin), "NULL");
    other.run("TRUNCATE TABLE dbo.t");
    assert_eq!(one.ask(ROWS), "error 3961");
    drop(engine);
}

#[test]
fn row_versions_are_given_by_statement_and_never_back() {
    let engine = engine();
    engine.run_script("CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, rv rowversion)").unwrap();
    let (mut one, mut other) = (Client::of(&engine), Client::of(&engine));
    const COUNTERS: &str = "SELECT CAST(@@DBTS AS bigint) AS used, CAST(MIN_ACTIVE_ROWVERSION() AS bigint) AS lowest";
    const ROWS: &str = "SELECT id, CAST(rv AS bigint) AS rv FROM dbo.t ORDER BY id";
    assert_eq!(one.ask(COUNTERS), "2000 2001");
    one.run("INSERT INTO dbo.t (id) VALUES (1), (2)");
    assert_eq!(one.ask(COUNTERS), "2002 2003");
    one.run("BEGIN TRAN; UPDATE dbo.t SET id = id WHERE id = 1; UPDATE dbo.t SET id = id WHERE id = 1");
    other.run("UPDATE dbo.t SET id = id WHERE id = 2");
    assert_eq!(other.ask(COUNTERS), "2005 2003");
    assert_eq!(other.ask(ROWS), "1 2001; 2 2005");
    // Not even a snapshot keeps the counters as they were.
    other.run("SET TRANSACTION ISOLATION LEVEL SNAPSHOT; BEGIN TRAN");
    assert_eq!(other.ask(ROWS), "1 2001; 2 2005");
    one.run("COMMIT");
    assert_eq!(other.ask(COUNTERS), "2005 2006");
    assert_eq!(other.ask(ROWS), "1 2001; 2 2005");
    other.run("COMMIT");
    assert_eq!(other.ask(ROWS), "1 2004; 2 2005");
    one.run("BEGIN TRAN; INSERT INTO dbo.t (id) VALUES (3); ROLLBACK");
    assert_eq!(one.ask(COUNTERS), "2006 2007");
    one.run("EXEC sys.fake_set_row_version 100");
    assert_eq!(one.ask(COUNTERS), "100 101");
}

#[test]
fn a_hook_runs_between_statements_and_rows() {
    let (engine, mut one, _) = two_clients();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let (own, told) = (engine.clone(), Arc::clone(&seen));
    engine.set_hook(Some(Arc::new(move |moment| {
        told.lock().unwrap().push(format!("{:?} {}", moment.place, moment.statement));
        if moment.place == Place::Row(1) {
            own.run_script("UPDATE dbo.t SET v = v + '!'").unwrap();
        }
    })));
    assert_eq!(one.ask("DECLARE @n int = 1; SELECT v FROM dbo.t WHERE id > @n"), "b; c");
    engine.set_hook(None);
    assert_eq!(one.ask(ROWS), "1 a!; 2 b!; 3 c!");
    let places: Vec<String> =
        seen.lock().unwrap().iter().map(|line| line.split(" SELECT").next().unwrap().to_owned()).collect();
    assert_eq!(
        places,
        ["Before DECLARE @n INT = 1", "After DECLARE @n INT = 1", "Before", "Row(0)", "Row(1)", "Row(2)", "After"]
    );
}

#[test]
fn an_interruption_runs_a_script_once() {
    let (engine, mut one, _) = two_clients();
    engine.add_interruption(Interruption {
        statement: "FROM DBO.T".to_owned(),
        place: Place::After,
        script: "DELETE FROM dbo.t WHERE id = 1".to_owned(),
        times: 1,
    });
    assert_eq!(one.ask("SELECT 1 AS n; SELECT id FROM dbo.t; SELECT id FROM dbo.t"), "1; 1; 2; 3; 2; 3");
}

#[test]
fn transactions_left_open_in_a_file_are_undone() {
    let directory = tempfile::tempdir().unwrap();
    let options = SqlEngineOptions { file: Some(directory.path().join("erp.sqlite")), ..SqlEngineOptions::default() };
    let engine = SqlEngine::open(options.clone()).unwrap();
    engine.run_script("CREATE TABLE dbo.t (id int)\nGO\nINSERT INTO dbo.t VALUES (7)").unwrap();
    let mut client = Client::of(&engine);
    client.run("BEGIN TRAN; DELETE FROM dbo.t");
    // As if the process had been killed.
    std::mem::forget(client);
    assert_eq!(Client::of(&SqlEngine::open(options).unwrap()).ask("SELECT id FROM dbo.t"), "7");
}
