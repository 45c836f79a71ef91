//! Change tracking.

use super::*;

fn tracked() -> (SqlEngine, Client, Client) {
    let engine = engine();
    engine
        .run_script(
            "CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, a int NULL, b int NULL)\nGO\n\
             CREATE TABLE dbo.u (k varchar(10) NOT NULL PRIMARY KEY)\nGO\n\
             ALTER DATABASE erp SET CHANGE_TRACKING = ON (CHANGE_RETENTION = 2 DAYS, AUTO_CLEANUP = ON)\nGO\n\
             ALTER TABLE dbo.t ENABLE CHANGE_TRACKING WITH (TRACK_COLUMNS_UPDATED = ON)\nGO\n\
             ALTER TABLE dbo.u ENABLE CHANGE_TRACKING",
        )
        .unwrap();
    let (one, other) = (Client::of(&engine), Client::of(&engine));
    (engine, one, other)
}

/// Keys, operations and versions of `dbo.t` after a version.
fn changes(client: &mut Client, since: &str) -> String {
    client.ask(&format!(
        "DECLARE @v bigint = {since}; SELECT ct.id, ct.SYS_CHANGE_OPERATION, ct.SYS_CHANGE_VERSION \
         FROM CHANGETABLE(CHANGES dbo.t, @v) AS ct ORDER BY ct.id"
    ))
}

const VERSION: &str = "SELECT CHANGE_TRACKING_CURRENT_VERSION() AS v";
const VALID: &str = "SELECT CHANGE_TRACKING_MIN_VALID_VERSION(OBJECT_ID('dbo.t')) AS v";

#[test]
fn operations_are_relative_to_the_version_asked_for() {
    let (_, mut one, _) = tracked();
    assert_eq!(one.ask(VERSION), "0");
    one.run("INSERT INTO dbo.t VALUES (1, 1, 1), (2, 2, 2)");
    one.run("UPDATE dbo.t SET a = 10 WHERE id = 1");
    one.run("DELETE FROM dbo.t WHERE id = 2");
    one.run("INSERT INTO dbo.u VALUES ('x')");
    assert_eq!(one.ask(VERSION), "4");
    assert_eq!(changes(&mut one, "0"), "1 I 2; 2 D 3");
    assert_eq!(changes(&mut one, "1"), "1 U 2; 2 D 3");
    assert_eq!(changes(&mut one, "2"), "2 D 3");
    assert_eq!(changes(&mut one, "3"), "");
    assert_eq!(changes(&mut one, "100"), "");
    assert_eq!(changes(&mut one, "NULL"), "1 I 2; 2 D 3");
    one.run("INSERT INTO dbo.t VALUES (2, 0, 0)");
    assert_eq!(changes(&mut one, "2"), "2 U 5");
    one.run("UPDATE dbo.t SET id = 3 WHERE id = 2");
    assert_eq!(changes(&mut one, "5"), "2 D 6; 3 I 6");
    // Keys that one row leaves and another takes.
    one.run("INSERT INTO dbo.t VALUES (4, 4, 4); UPDATE dbo.t SET id = id + 1");
    assert_eq!(one.ask("SELECT id FROM dbo.t ORDER BY id"), "2; 4; 5");
    assert_eq!(changes(&mut one, "7"), "1 D 8; 2 I 8; 3 D 8; 4 U 8; 5 I 8");
}

#[test]
fn versions_are_given_at_commit() {
    let (_, mut one, mut other) = tracked();
    one.run("BEGIN TRAN; INSERT INTO dbo.t VALUES (1, 1, 1); UPDATE dbo.t SET a = 2");
    other.run("INSERT INTO dbo.t VALUES (2, 1, 1)");
    assert_eq!(other.ask(VERSION), "1");
    assert_eq!(changes(&mut other, "0"), "2 I 1");
    one.run("INSERT INTO dbo.t VALUES (3, 1, 1); COMMIT");
    assert_eq!(changes(&mut other, "1"), "1 I 2; 3 I 2");
    one.run("BEGIN TRAN; DELETE FROM dbo.t; ROLLBACK");
    assert_eq!(other.ask(VERSION), "2");
    one.run("CREATE TABLE dbo.plain (id int); INSERT INTO dbo.plain VALUES (1)");
    assert_eq!(other.ask(VERSION), "2");
}

#[test]
fn changes_join_their_table_from_either_side() {
    let (_, mut one, _) = tracked();
    one.run("INSERT INTO dbo.t VALUES (1, 1, 1), (2, 2, 2); DELETE FROM dbo.t WHERE id = 2");
    let wanted = "1 I 1; 2 D NULL";
    assert_eq!(
        one.ask("DECLARE @v bigint = 0; SELECT ct.id, ct.SYS_CHANGE_OPERATION, t.a FROM CHANGETABLE(CHANGES dbo.t, @v) AS ct \
                 LEFT JOIN dbo.t AS t ON t.id = ct.id ORDER BY ct.id"),
        wanted
    );
    assert_eq!(
        one.ask("SELECT ct.id, ct.SYS_CHANGE_OPERATION, t.a FROM dbo.t AS t RIGHT OUTER JOIN CHANGETABLE(CHANGES [dbo].[t], 0) \
                 AS ct ON ct.id = t.id ORDER BY ct.id"),
        wanted
    );
}

#[test]
fn columns_are_told_by_a_mask() {
    let (_, mut one, _) = tracked();
    one.run("INSERT INTO dbo.t VALUES (1, 1, 1), (2, 2, 2), (3, 3, 3)");
    one.run("UPDATE dbo.t SET a = 10 WHERE id = 1; UPDATE dbo.t SET a = 10, b = 10 WHERE id = 2; UPDATE dbo.t SET b = 1 WHERE id = 3");
    let masks = "SELECT ct.id, ct.SYS_CHANGE_COLUMNS, \
         CHANGE_TRACKING_IS_COLUMN_IN_MASK(COLUMNPROPERTY(OBJECT_ID('dbo.t'), 'a', 'ColumnId'), ct.SYS_CHANGE_COLUMNS) AS a \
         FROM CHANGETABLE(CHANGES dbo.t, 1) AS ct ORDER BY ct.id";
    assert_eq!(one.ask(masks), "1 0x0000000002000000 1; 2 NULL 1; 3 0x0000000003000000 0");
}

#[test]
fn truncate_and_new_tracking_leave_no_older_version_valid() {
    let (engine, mut one, mut other) = tracked();
    one.run("INSERT INTO dbo.t VALUES (1, 1, 1)");
    one.run("UPDATE dbo.t SET a = 2");
    assert_eq!((one.ask(VALID), one.ask(VERSION)), ("0".to_owned(), "2".to_owned()));
    other.run("BEGIN TRAN; TRUNCATE TABLE dbo.t; INSERT INTO dbo.t VALUES (7, 7, 7)");
    assert_eq!((one.ask(VALID), one.ask(VERSION)), ("0".to_owned(), "2".to_owned()));
    other.run("COMMIT");
    assert_eq!((one.ask(VALID), one.ask(VERSION)), ("3".to_owned(), "3".to_owned()));
    assert_eq!(changes(&mut one, "2"), "7 I 3");
    one.run("ALTER TABLE dbo.t DISABLE CHANGE_TRACKING");
    assert_eq!(one.ask(VALID), "NULL");
    assert_eq!(changes(&mut one, "2"), "error 22105");
    one.run("ALTER TABLE dbo.t ENABLE CHANGE_TRACKING");
    assert_eq!((one.ask(VALID), one.ask(VERSION)), ("4".to_owned(), "4".to_owned()));
    one.run("UPDATE dbo.t SET a = 1");
    one.run("UPDATE dbo.t SET a = 2");
    engine.clean_change_tracking(Some("dbo.t"), 5).unwrap();
    assert_eq!(one.ask(VALID), "5");
    assert_eq!(changes(&mut one, "4"), "7 U 6");
}

#[test]
fn the_catalog_tells_what_is_tracked() {
    let (_, mut one, _) = tracked();
    assert_eq!(
        one.ask("SELECT OBJECT_NAME(object_id) AS n, is_track_columns_updated_on, min_valid_version, begin_version, cleanup_version \
                 FROM sys.change_tracking_tables ORDER BY n"),
        "t 1 0 0 0; u 0 0 0 0"
    );
    let database = "SELECT database_id, is_auto_cleanup_on, retention_period, retention_period_units_desc FROM sys.change_tracking_databases";
    assert_eq!(one.ask(database), "5 1 2 DAYS");
    one.run("ALTER DATABASE erp SET CHANGE_TRACKING (CHANGE_RETENTION = 3 HOURS, AUTO_CLEANUP = OFF)");
    assert_eq!(one.ask(database), "5 0 3 HOURS");
    assert_eq!(one.ask("ALTER DATABASE erp SET CHANGE_TRACKING = OFF"), "error 22115");
    one.run(
        "ALTER TABLE dbo.t DISABLE CHANGE_TRACKING; DROP TABLE dbo.u; ALTER DATABASE erp SET CHANGE_TRACKING = OFF",
    );
    assert_eq!((one.ask(VERSION), one.ask(database)), ("NULL".to_owned(), String::new()));
}

#[test]
fn what_cannot_be_tracked_is_refused() {
    let (engine, mut one, _) = tracked();
    one.run("CREATE TABLE dbo.heap (id int)");
    for (text, number) in [
        ("ALTER TABLE dbo.heap ENABLE CHANGE_TRACKING", 4997),
        ("ALTER TABLE dbo.t ENABLE CHANGE_TRACKING", 4996),
        ("ALTER TABLE dbo.heap DISABLE CHANGE_TRACKING", 4998),
        ("SELECT * FROM CHANGETABLE(CHANGES dbo.heap, 0) AS ct", 22105),
        ("SELECT * FROM CHANGETABLE(CHANGES dbo.t, 0)", 22104),
        ("SELECT * FROM CHANGETABLE(CHANGES dbo.nothing, 0) AS ct", 208),
    ] {
        assert_eq!(one.ask(text), format!("error {number}"), "{text}");
    }
    engine.set_denied("dbo.t", true);
    assert_eq!(one.ask("SELECT * FROM CHANGETABLE(CHANGES dbo.t, 0) AS ct"), "error 229");
    assert_eq!(one.ask(VALID), "NULL");
    one.run("EXEC sys.fake_deny 'SELECT', 'dbo.t', 0; EXEC sys.fake_deny 'VIEW CHANGE TRACKING', 'dbo.t', 1");
    assert_eq!(one.ask("SELECT * FROM CHANGETABLE(CHANGES dbo.t, 0) AS ct"), "error 229");
    assert_eq!(one.ask(VALID), "NULL");
    assert_eq!(
        one.ask("SELECT HAS_PERMS_BY_NAME('dbo.t', 'OBJECT', 'VIEW CHANGE TRACKING') AS v, HAS_PERMS_BY_NAME('dbo.t', 'OBJECT', 'SELECT') AS s"),
        "0 1"
    );
}

#[test]
fn a_snapshot_reads_versions_and_changes_of_one_state() {
    let (engine, mut one, mut other) = tracked();
    other.run("INSERT INTO dbo.t VALUES (1, 1, 1)");
    one.run("SET TRANSACTION ISOLATION LEVEL SNAPSHOT; BEGIN TRAN");
    assert_eq!(one.ask(VALID), "0");
    other.run("INSERT INTO dbo.t VALUES (2, 1, 1); UPDATE dbo.t SET a = 5");
    engine.clean_change_tracking(None, 3).unwrap();
    assert_eq!((one.ask(VALID), one.ask(VERSION)), ("0".to_owned(), "1".to_owned()));
    assert_eq!(changes(&mut one, "0"), "1 I 1");
    one.run("COMMIT");
    assert_eq!((one.ask(VALID), one.ask(VERSION)), ("3".to_owned(), "3".to_owned()));
}

#[test]
fn doubtful_points_are_switches() {
    let (engine, mut one, _) = tracked();
    let switch = |name: &str, value: &str| engine.set_switches(|switches| switches.set(name, value).unwrap());
    one.run("INSERT INTO dbo.t VALUES (1, 1, 1), (2, 1, 1)");
    one.run("INSERT INTO dbo.t VALUES (3, 1, 1); UPDATE dbo.t SET a = 2 WHERE id = 1; DELETE FROM dbo.t WHERE id = 3");
    assert_eq!(changes(&mut one, "1"), "1 U 3; 3 D 4");
    switch("inserted-and-deleted", "nothing");
    assert_eq!(changes(&mut one, "1"), "1 U 3");
    let unordered = "SELECT ct.id, ct.SYS_CHANGE_OPERATION FROM CHANGETABLE(CHANGES dbo.t, 1) AS ct";
    switch("updated-keys", "delete-first");
    assert_eq!(one.ask(unordered), "1 D; 1 I");
    switch("updated-keys", "insert-first");
    assert_eq!(one.ask(unordered), "1 I; 1 D");
    switch("min-valid-version", "null");
    assert_eq!(one.ask(VALID), "NULL");
    engine.set_change_tracking_version(0).unwrap();
    assert_eq!(one.ask(VERSION), "0");
}
