//! T-SQL of a stranger's datakit, by the real `host`, against the fake SQL Server.

use std::time::Duration;

use datakit_fake_sqlserver::server::Options;
use datakit_fake_sqlserver::sql::{Effect, Fault, SqlEngineOptions};
use datakit_tests::{Mssql, World, datakit};
use serde_json::json;

use crate::{RUN, attack, queries, reported, table};

const SCRIPT: &str = "\
CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, note nvarchar(60) NULL)
GO
CREATE TABLE dbo.secret (id int NOT NULL, note nvarchar(60) NULL)
GO
INSERT INTO dbo.t VALUES (1, N'a'), (2, NULL), (3, N'c')
GO
INSERT INTO dbo.secret VALUES (1, N'Pl4nted')
";

const GRANT: [&str; 4] = ["query.*", "dbo.*", "!dbo.secret", "!dbo.größe"];

fn world() -> Option<World> {
    let reason = "what a server would do with a text that got through is not for a server of others";
    let mssql = Mssql::fake_sqlserver_for(reason, Options::default(), SqlEngineOptions::default())?;
    let world = World::with(mssql, SCRIPT);
    world.host(&["publish", datakit("hostile").to_str().unwrap()]).success();
    attack(world.path(), "sqlserver-bronze@0.1.0", "erp", &GRANT);
    Some(world)
}

/// Names begin with what they are a case of: tables by names of common table expressions, hints, the catalog, names that others fold,
/// what a session is, objects with code, texts that take long to read.
const CASES: [(&str, &str); 59] = [
    ("honest", "SELECT id, note FROM dbo.t"),
    ("own-name", "WITH secret AS (SELECT * FROM secret) SELECT * FROM secret"),
    ("own-name-syslogins", "WITH syslogins AS (SELECT * FROM syslogins) SELECT * FROM syslogins"),
    ("own-name-sysprocesses", "WITH sysprocesses AS (SELECT * FROM sysprocesses) SELECT * FROM sysprocesses"),
    ("own-name-union", "WITH secret AS (SELECT 1 AS a UNION SELECT id FROM secret) SELECT * FROM secret"),
    (
        "own-name-subquery",
        "WITH secret AS (SELECT 1 AS id UNION ALL SELECT id FROM dbo.t WHERE id IN (SELECT id FROM secret)) SELECT * FROM secret",
    ),
    ("syslogins", "SELECT * FROM dbo.syslogins"),
    ("sysprocesses", "SELECT * FROM dbo.sysprocesses"),
    ("hint-nolock", "SELECT id FROM dbo.t AS x (NOLOCK)"),
    ("hint-readuncommitted", "SELECT id FROM dbo.t AS x (READUNCOMMITTED)"),
    ("hint-tablock", "SELECT id FROM dbo.t AS x (TABLOCK)"),
    ("hint-tablockx", "SELECT id FROM dbo.t AS x (TABLOCKX)"),
    ("hint-readpast", "SELECT id FROM dbo.t AS x (READPAST)"),
    ("hint-xlock", "SELECT id FROM dbo.t AS x (XLOCK)"),
    ("hint-updlock", "SELECT id FROM dbo.t AS x (UPDLOCK)"),
    ("hint-several", "SELECT id FROM dbo.t x (UPDLOCK, HOLDLOCK)"),
    ("hint-of-a-name", "WITH q AS (SELECT id FROM dbo.t) SELECT id FROM q AS x (XLOCK)"),
    ("hint-with-xlock", "SELECT id FROM dbo.t WITH (XLOCK)"),
    ("catalog-view-definition", "SELECT VIEW_DEFINITION FROM INFORMATION_SCHEMA.VIEWS"),
    ("catalog-computed", "SELECT definition FROM sys.computed_columns"),
    ("catalog-properties", "SELECT value FROM sys.extended_properties"),
    ("catalog-modules", "SELECT definition FROM sys.sql_modules"),
    ("catalog-default", "SELECT COLUMN_DEFAULT FROM INFORMATION_SCHEMA.COLUMNS"),
    ("catalog-owner", "SELECT s.principal_id FROM sys.schemas AS s"),
    ("catalog-all", "SELECT * FROM sys.tables"),
    ("catalog-object-name", "SELECT OBJECT_NAME(5, 2) AS a"),
    ("catalog-object-id", "SELECT OBJECT_ID('other.dbo.t') AS a"),
    ("catalog-object-id-two-dots", "SELECT OBJECT_ID('tempdb..#t') AS a"),
    ("catalog-schema-name", "SELECT SCHEMA_NAME() AS a"),
    ("name-temporary", "SELECT * FROM #t"),
    ("name-temporary-global", "SELECT * FROM ##t"),
    ("name-temporary-quoted", "SELECT * FROM dbo.[#t]"),
    ("name-temporary-global-quoted", "SELECT * FROM dbo.[##t]"),
    ("name-temporary-wide", "SELECT * FROM dbo.[\u{ff03}t]"),
    ("name-excluded", "SELECT * FROM dbo.secret"),
    ("name-excluded-case", "SELECT * FROM dbo.SECRET"),
    ("name-excluded-blank", "SELECT * FROM dbo.[secret ]"),
    ("name-excluded-accent", "SELECT * FROM dbo.[sécret]"),
    ("name-excluded-circled", "SELECT * FROM dbo.[ⓢecret]"),
    ("name-excluded-surrogate", "SELECT * FROM dbo.[\u{1D4FC}ecret]"),
    ("name-excluded-no-weight", "SELECT * FROM dbo.[sec\u{1F980}ret]"),
    ("name-excluded-sharp-s", "SELECT * FROM dbo.[grosse]"),
    ("session-system-user", "SELECT SYSTEM_USER AS a"),
    ("session-user-name", "SELECT USER_NAME() AS a"),
    ("session-version", "SELECT @@VERSION AS a"),
    ("code-method", "SELECT t.note.STAsText() AS a FROM dbo.t AS t"),
    ("code-method-bare", "SELECT note.ToString() AS a FROM dbo.t"),
    ("code-method-of-four", "SELECT dbo.t.note.ToString() AS a FROM dbo.t"),
    ("code-property", "SELECT t.note.Lat AS a FROM dbo.t AS t"),
    ("code-property-bare", "SELECT note.Lat AS a FROM dbo.t"),
    ("code-property-of-four", "SELECT dbo.t.note.Lat AS a FROM dbo.t"),
    ("code-xml-value", "SELECT note.value('/a', 'int') AS a FROM dbo.t"),
    ("code-xml-nodes", "SELECT x.y AS a FROM dbo.t CROSS APPLY note.nodes('/a') AS x (y)"),
    ("code-static", "SELECT geometry::Parse(note) AS a FROM dbo.t"),
    ("code-cast", "SELECT CAST(note AS dbo.Evil) AS a FROM dbo.t"),
    ("code-function", "SELECT dbo.anything(note) AS a FROM dbo.t"),
    (
        "long-floor",
        "SELECT FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(FLOOR(1 1))))))))))))))))))))))))))))))",
    ),
    (
        "long-case",
        "SELECT CASE (CASE (CASE (CASE (CASE (CASE (CASE (CASE (CASE (CASE (CASE (CASE (CASE (CASE (CASE (CASE (CASE (CASE (CASE (CASE (1 1))))))))))))))))))))",
    ),
    ("two-statements", "SELECT id FROM dbo.t SHUTDOWN"),
];

#[test]
fn each_query_is_refused_with_its_error_and_never_reaches_the_server() {
    let Some(world) = world() else { return };
    world.mssql.engine().take_records();
    let output = world.host(&[&RUN[..], &["--settings", &queries(CASES)]].concat());
    assert_eq!(output.code, Some(3), "{}", output.stderr);
    insta::assert_snapshot!(reported(&output, &CASES));
    assert!(!output.stdout.contains("Pl4nted") && !output.stderr.contains("Pl4nted"));
    let read: Vec<String> = world.mssql.engine().take_records().into_iter().map(|record| record.text).collect();
    let of_datakit = read.iter().filter(|text| text.contains("dbo") && !text.contains("sys.")).count();
    assert!(of_datakit <= 2, "one query passes, described and read: {read:#?}");
}

#[test]
fn the_operators_timeout_counts_where_the_datakits_is_longer() {
    let Some(world) = world() else { return };
    world.edit(
        "source_system = \"ERP\"\n",
        "source_system = \"ERP\"\ntimeouts = { query_seconds = 1, cancel_seconds = 1 }\n",
    );
    world.append("[limits.run]\nmax_attempts = 1");
    let fault =
        Fault { table: "dbo.t".into(), after_rows: 1, effect: Effect::Pause(Duration::from_secs(60)), times: 1 };
    world.mssql.engine().add_fault(fault);
    let slow = json!({ "sql": "SELECT id FROM dbo.t", "timeout_ms": 3_600_000 });
    let settings = json!({ "attack": "queries", "queries": { "slow": slow } }).to_string();
    let output = world.host(&[&RUN[..], &["--settings", &settings]].concat());
    assert_ne!(output.code, Some(0), "{}", output.stderr);
    let summary = output.json();
    let error = &table(&summary, "slow")["error"];
    insta::assert_snapshot!(
        format!("{}: {}", error["code"].as_str().unwrap(), error["message"].as_str().unwrap()),
        @"DK-SRC-060: the query was cancelled after 1.0 s"
    );
}

#[test]
fn metadata_that_the_datakit_makes_up_does_not_reach_delta() {
    let world = World::new(
        "CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, name nvarchar(60) NULL)\nGO\nINSERT INTO dbo.t VALUES (1, N'long')",
    );
    world.host(&["publish", datakit("hostile").to_str().unwrap()]).success();
    attack(world.path(), "sqlserver-bronze@0.1.0", "erp", &["dbo.t"]);
    let summary = world.run(&["--settings", "{\"attack\":\"announce-metadata\"}"]);
    assert_eq!(summary["rows"], 1, "{summary}");
    let log = world.path().join("bronze/ERP/dbo/t/_delta_log/00000000000000000000.json");
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("schemaString"), "{log}");
    for key in ["__CHAR_VARCHAR_TYPE_STRING", "generationExpression", "delta.invariants", "Pl4nted"] {
        assert!(!log.contains(key), "{key} in {log}");
    }
    assert!(world.delta("ERP/dbo/t").contains("long"));
}
