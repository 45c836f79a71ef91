//! Change Tracking and row versions: what each case must give, written down by hand from Microsoft's pages.
//!
//! Nobody else reads these two as the host does, so that there is no third witness. Each case names the sentence that it follows.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail as tests do")]

use datakit_fake_sqlserver::server::Options;
use datakit_fake_sqlserver::sql::SqlEngineOptions;
use datakit_tests::{Mssql, World, batches};

/// What a run after a script must give.
enum Then {
    /// These rows are appended: operation, key and value, sorted.
    Reads(&'static [&'static str]),
    /// One of these lists is: the pages do not say which.
    ReadsOneOf(&'static [&'static [&'static str]]),
    /// The table fails and nothing is written.
    Fails,
}
use Then::{Fails, Reads, ReadsOneOf};

/// A case: why the result is right, and scripts with a run after each. A batch that begins with `1:` runs in a session that stays open.
type Case = (&'static str, &'static [(&'static str, Then)]);

/// What is there once.
const TRACKING: &str = "\
ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION ON
GO
ALTER DATABASE CURRENT SET CHANGE_TRACKING = ON (CHANGE_RETENTION = 2 DAYS, AUTO_CLEANUP = OFF)
GO
CREATE TABLE dbo.other (id int NOT NULL PRIMARY KEY)
GO
ALTER TABLE dbo.other ENABLE CHANGE_TRACKING";

/// The table of a case.
const TRACKED: &str = "\
CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, a nvarchar(20) NULL)
GO
ALTER TABLE dbo.t ENABLE CHANGE_TRACKING
GO
INSERT INTO dbo.t VALUES (1, N'one'), (2, N'two'), (3, NULL)";

const BY_CHANGE_TRACKING: &[Case] = &[
    (
        "an inserted row is I, and its values are those of the table",
        &[("INSERT INTO dbo.t VALUES (4, N'four')", Reads(&["upsert 4 four"]))],
    ),
    (
        "there is one row for a key however often it changed, with the values of now",
        &[(
            "UPDATE dbo.t SET a = N'x' WHERE id = 1\nGO\nUPDATE dbo.t SET a = N'y' WHERE id = 1\nGO\nUPDATE dbo.t SET a = NULL WHERE id = 2",
            Reads(&["upsert 1 y", "upsert 2 null"]),
        )],
    ),
    (
        "a deleted row is D, and has its key alone",
        &[("DELETE FROM dbo.t WHERE id IN (1, 2)", Reads(&["delete 1 null", "delete 2 null"]))],
    ),
    (
        "an update of the key is D of the old one and I of the new one",
        &[("UPDATE dbo.t SET id = 9 WHERE id = 1", Reads(&["delete 1 null", "upsert 9 one"]))],
    ),
    (
        "a deleted and inserted key is U of all columns",
        &[("DELETE FROM dbo.t WHERE id = 1\nGO\nINSERT INTO dbo.t VALUES (1, N'again')", Reads(&["upsert 1 again"]))],
    ),
    (
        "a key that is inserted and deleted between two versions is D or nothing: the page is silent",
        &[(
            "INSERT INTO dbo.t VALUES (8, N'short')\nGO\nDELETE FROM dbo.t WHERE id = 8",
            ReadsOneOf(&[&["delete 8 null"], &[]]),
        )],
    ),
    (
        "two keys that are exchanged have both changed",
        &[(
            "UPDATE dbo.t SET id = CASE id WHEN 1 THEN 2 ELSE 1 END WHERE id IN (1, 2)",
            Reads(&["upsert 1 two", "upsert 2 one"]),
        )],
    ),
    (
        "what is rolled back has not changed, whole or to a savepoint",
        &[
            ("BEGIN TRANSACTION; DELETE FROM dbo.t; ROLLBACK", Reads(&[])),
            (
                "BEGIN TRANSACTION; UPDATE dbo.t SET a = N'kept' WHERE id = 1; SAVE TRANSACTION here; DELETE FROM dbo.t WHERE id = 2; \
                 ROLLBACK TRANSACTION here; COMMIT",
                Reads(&["upsert 1 kept"]),
            ),
        ],
    ),
    (
        "a version is given at the commit: a transaction that is open belongs to the run after its commit",
        &[
            (
                "1:BEGIN TRANSACTION; UPDATE dbo.t SET a = N'late' WHERE id = 1\nGO\nUPDATE dbo.t SET a = N'early' WHERE id = 2",
                Reads(&["upsert 2 early"]),
            ),
            ("INSERT INTO dbo.t VALUES (5, N'five')", Reads(&["upsert 5 five"])),
            ("1:COMMIT", Reads(&["upsert 1 late"])),
            ("SELECT 1", Reads(&[])),
        ],
    ),
    ("another table's changes are not this one's", &[("INSERT INTO dbo.other VALUES (1), (2)", Reads(&[]))]),
    (
        "a key is read once: the next run begins at the version of this one",
        &[
            ("UPDATE dbo.t SET a = N'x' WHERE id = 1", Reads(&["upsert 1 x"])),
            ("SELECT 1", Reads(&[])),
            ("SELECT 1", Reads(&[])),
        ],
    ),
    (
        "TRUNCATE tracks no deletes, and no older version is valid",
        &[("TRUNCATE TABLE dbo.t\nGO\nINSERT INTO dbo.t VALUES (7, N'seven')", Fails)],
    ),
    (
        "to end and to begin tracking purges what was tracked",
        &[(
            "ALTER TABLE dbo.t DISABLE CHANGE_TRACKING\nGO\nUPDATE dbo.t SET a = N'lost' WHERE id = 1\nGO\nALTER TABLE dbo.t ENABLE CHANGE_TRACKING",
            Fails,
        )],
    ),
    (
        "a table that is not tracked has no version that is valid",
        &[("ALTER TABLE dbo.t DISABLE CHANGE_TRACKING", Fails)],
    ),
];

/// Of these the fake SQL Server decides what time, age or a restored copy decide elsewhere.
const BY_CHANGE_TRACKING_OF_THE_FAKE: &[Case] = &[
    (
        "a version that is less than the least valid one is too old, although no error comes",
        &[("UPDATE dbo.t SET a = N'x' WHERE id = 1\nGO\nEXEC sys.fake_clean_tracked 1000, 'dbo.t'", Fails)],
    ),
    (
        "a current version below the saved one is that of a restored copy",
        &[
            ("EXEC sys.fake_set_change_tracking_version 600", Reads(&[])),
            ("EXEC sys.fake_set_change_tracking_version 0\nGO\nUPDATE dbo.t SET a = N'x' WHERE id = 1", Fails),
        ],
    ),
    (
        "a least valid version of NULL is no permission, or no table",
        &[("EXEC sys.fake_switch 'min-valid-version', 'null'\nGO\nUPDATE dbo.t SET a = N'x' WHERE id = 1", Fails)],
    ),
    (
        "old servers show an update as D and I of one version, in any order",
        &[
            (
                "EXEC sys.fake_switch 'updated-keys', 'insert-first'\nGO\nUPDATE dbo.t SET a = N'x' WHERE id = 1",
                Reads(&["upsert 1 x"]),
            ),
            (
                "EXEC sys.fake_switch 'updated-keys', 'delete-first'\nGO\nUPDATE dbo.t SET a = N'y' WHERE id = 1",
                Reads(&["upsert 1 y"]),
            ),
        ],
    ),
    (
        "a key that is inserted and deleted is nothing",
        &[(
            "EXEC sys.fake_switch 'inserted-and-deleted', 'nothing'\nGO\nINSERT INTO dbo.t VALUES (8, N'short')\nGO\nDELETE FROM dbo.t WHERE id = 8",
            Reads(&[]),
        )],
    ),
];

const VERSIONING: &str = "CREATE TABLE dbo.other (id int NOT NULL PRIMARY KEY, v rowversion NOT NULL)";

const VERSIONED: &str = "\
CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, a nvarchar(20) NULL, v rowversion NOT NULL)
GO
INSERT INTO dbo.t (id, a) VALUES (1, N'one'), (2, N'two'), (3, NULL)";

const BY_ROW_VERSION: &[Case] = &[
    (
        "an insert and an update give a value",
        &[(
            "INSERT INTO dbo.t (id, a) VALUES (4, N'four')\nGO\nUPDATE dbo.t SET a = N'x' WHERE id = 1",
            Reads(&["upsert 1 x", "upsert 4 four"]),
        )],
    ),
    (
        "an update gives a value though no column changes",
        &[("UPDATE dbo.t SET a = a WHERE id = 2", Reads(&["upsert 2 two"]))],
    ),
    (
        "a row has one value, that of its last change",
        &[(
            "UPDATE dbo.t SET a = N'x' WHERE id = 1\nGO\nUPDATE dbo.t SET a = N'y' WHERE id = 1",
            Reads(&["upsert 1 y"]),
        )],
    ),
    (
        "a delete leaves no value behind",
        &[
            ("DELETE FROM dbo.t WHERE id = 1", Reads(&[])),
            ("INSERT INTO dbo.t (id, a) VALUES (1, N'again')", Reads(&["upsert 1 again"])),
        ],
    ),
    (
        "the bound is the least value of an open transaction: what came later waits, and nothing is lost or read twice",
        &[
            (
                "1:BEGIN TRANSACTION; UPDATE dbo.t SET a = N'late' WHERE id = 1\nGO\nUPDATE dbo.t SET a = N'early' WHERE id = 2",
                Reads(&[]),
            ),
            ("1:COMMIT", Reads(&["upsert 1 late", "upsert 2 early"])),
            ("SELECT 1", Reads(&[])),
        ],
    ),
    (
        "an open transaction of another table holds the bound of all",
        &[
            (
                "1:BEGIN TRANSACTION; INSERT INTO dbo.other (id) VALUES (1)\nGO\nUPDATE dbo.t SET a = N'waits' WHERE id = 2",
                Reads(&[]),
            ),
            ("1:ROLLBACK", Reads(&["upsert 2 waits"])),
        ],
    ),
    (
        "what is rolled back has its old value, and the counter goes on",
        &[
            ("BEGIN TRANSACTION; UPDATE dbo.t SET a = N'never'; ROLLBACK", Reads(&[])),
            ("UPDATE dbo.t SET a = N'x' WHERE id = 3", Reads(&["upsert 3 x"])),
        ],
    ),
    (
        "with nothing open the bound is one more than the last value that was used",
        &[
            ("INSERT INTO dbo.t (id, a) VALUES (5, NULL)", Reads(&["upsert 5 null"])),
            ("INSERT INTO dbo.t (id, a) VALUES (6, NULL)", Reads(&["upsert 6 null"])),
        ],
    ),
];

const BY_ROW_VERSION_OF_THE_FAKE: &[Case] = &[(
    "a counter that went back is that of a restored copy",
    &[("EXEC sys.fake_set_row_version 2001\nGO\nUPDATE dbo.t SET a = N'x' WHERE id = 1", Fails)],
)];

/// What was appended to the target of a case: operation, key and value, sorted.
fn appended(world: &World, table: &str) -> Vec<String> {
    let row = "_bronze_operation || ' ' || id || ' ' || coalesce(a, 'null')";
    let rows = world.postgres(&format!("SELECT string_agg({row}, E'\\n' ORDER BY {row}) FROM \"ERP_dbo\".{table}"));
    rows.lines().map(str::to_owned).collect()
}

/// The rows of `after` that are not in `before`.
fn added(before: &[String], mut after: Vec<String>) -> Vec<String> {
    for row in before {
        let at = after.iter().position(|other| other == row).expect("what was appended stays");
        after.remove(at);
    }
    after
}

/// Plays cases, each with a table of its own.
fn play(world: &World, strategy: &str, table_script: &str, cases: &[Case]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (number, (why, steps)) in cases.iter().enumerate() {
        let table = format!("t{number}");
        let own = |script: &str| script.replace("dbo.t", &format!("dbo.{table}"));
        world.mssql.execute(&batches(&own(table_script)));
        let (name, settings) =
            (format!("dbo.{table}"), format!(r#"{{"strategy": {{"dbo.{table}": "{strategy}"}}, "row_hash": false}}"#));
        let run = || world.host(&["run", "--output", "json", "--tables", &name, "--settings", &settings]);
        let mut session = runtime.block_on(world.mssql.connect());
        run().success();
        let mut before = appended(world, &table);
        for (script, then) in *steps {
            for batch in batches(&own(script)) {
                match batch.strip_prefix("1:") {
                    Some(batch) => {
                        let done = async { session.simple_query(batch).await?.into_results().await };
                        runtime.block_on(done).unwrap();
                    }
                    None => world.mssql.execute(&[batch]),
                }
            }
            let output = run();
            let after = appended(world, &table);
            let read = added(&before, after.clone());
            before = after;
            match then {
                Reads(rows) => assert_eq!(read, *rows, "{why}\n{script}\n{}", output.stderr),
                ReadsOneOf(lists) => assert!(lists.iter().any(|rows| read == *rows), "{why}\n{script}\n{read:?}"),
                Fails => {
                    assert_ne!(output.code, Some(0), "{why}\n{script}\n{}", output.stdout);
                    assert!(read.is_empty(), "{why}\n{script}\n{read:?}");
                }
            }
        }
    }
}

/// Plays cases that only the fake SQL Server can, each on one of its own.
fn play_on_the_fake(script: &str, strategy: &str, table_script: &str, cases: &[Case]) {
    let reason = "what is played here is decided by its switches";
    for case in cases {
        let Some(mssql) = Mssql::fake_sqlserver_for(reason, Options::default(), SqlEngineOptions::default()) else {
            return;
        };
        play(&World::with(mssql, script).with_postgres(), strategy, table_script, std::slice::from_ref(case));
    }
}

#[test]
fn change_tracking_gives_what_its_pages_say() {
    play(&World::new(TRACKING).with_postgres(), "change-tracking", TRACKED, BY_CHANGE_TRACKING);
}

#[test]
fn change_tracking_gives_no_rows_where_its_pages_say_that_they_may_be_wrong() {
    play_on_the_fake(TRACKING, "change-tracking", TRACKED, BY_CHANGE_TRACKING_OF_THE_FAKE);
}

#[test]
fn row_versions_give_what_their_pages_say() {
    play(&World::new(VERSIONING).with_postgres(), "row-version", VERSIONED, BY_ROW_VERSION);
}

#[test]
fn counter_of_row_versions_that_went_back_gives_no_rows() {
    play_on_the_fake(VERSIONING, "row-version", VERSIONED, BY_ROW_VERSION_OF_THE_FAKE);
}
