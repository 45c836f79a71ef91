//! What a source delivered against what a sink holds: exit code 5, and nothing visible.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use datakit_tests::{FilesWorld, World};
use serde_json::{Value, json};

const TABLE: &str = "CREATE TABLE dbo.a (id int NOT NULL PRIMARY KEY, name nvarchar(10) NULL, at time(7) NULL)
GO
INSERT INTO dbo.a VALUES (1, N'a', '12:00:00.1234567'), (2, NULL, NULL)
GO
CREATE TABLE dbo.b (id int NOT NULL PRIMARY KEY)
GO
INSERT INTO dbo.b VALUES (7)
";

/// Swallows the row of the key 2.
const TRIGGER: &str = "CREATE FUNCTION swallow() RETURNS trigger AS $$ BEGIN
    IF NEW.id = 2 THEN RETURN NULL; END IF; RETURN NEW; END $$ LANGUAGE plpgsql;
    CREATE TRIGGER swallow BEFORE INSERT ON \"ERP_dbo\".a FOR EACH ROW EXECUTE FUNCTION swallow()";

fn receipt<'a>(summary: &'a Value, table: &str) -> &'a Value {
    let tables = summary["tables"].as_array().unwrap();
    &tables.iter().find(|found| found["table"] == table).unwrap()["receipt"]
}

#[test]
fn rows_that_the_sink_swallows_end_the_run_with_exit_code_5() {
    // Times of 7 digits do not fit Postgres.
    let world = World::new(&TABLE.replace("1234567'", "123456'").replace("time(7)", "time(6)")).with_postgres();
    let first = world.run(&["--receipt", "full"]);
    assert_eq!((&receipt(&first, "dbo.a")["level"], &receipt(&first, "dbo.a")["held"]), (&json!("full"), &json!(2)));
    world.postgres_execute(TRIGGER);
    let run = ["run", "--run-id", "second", "--output", "json"];
    let output = world.host(&run);
    assert_eq!(output.code, Some(5), "{}", output.stderr);
    let summary = output.json();
    let failed = &summary["tables"][0];
    assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!("failed"), &json!("DK-SNK-070")));
    assert_eq!((&failed["error"]["is_mismatch"], &failed["receipt"]), (&json!(true), &Value::Null));
    assert_eq!(summary["tables"][1]["status"], "committed", "the other table goes on");
    assert_eq!(world.postgres("SELECT count(*)::text FROM \"ERP_dbo\".a"), "2", "nothing of the second load is there");
    let refused = world.refused(&["run", "--run-id", "third", "--tables", "dbo.a", "--output", "json"]);
    assert!(refused.contains("2 rows were expected, and 1 are there") && refused.contains("triggers"), "{refused}");
    // The same run, when the cause is gone.
    world.postgres_execute("DROP TRIGGER swallow ON \"ERP_dbo\".a");
    assert_eq!(world.host(&run).success().json()["tables"][0]["status"], "committed");
    assert_eq!(world.postgres("SELECT count(*)::text FROM \"ERP_dbo\".a"), "4");
    let shown = world.host(&["runs", "show", "second", "--output", "json"]).success().json();
    let receipts: Vec<&Value> = shown.as_array().unwrap().iter().map(|run| &run["tables"][0]["receipt"]).collect();
    assert!(receipts.contains(&&Value::Null) && receipts.iter().any(|it| it["delivered"] == 2), "{shown}");
}

#[test]
fn receipt_is_in_summary_and_record_at_each_level() {
    let world = World::new(TABLE);
    for (level, checksum) in [("count", false), ("full", true)] {
        let summary = world.run(&["--receipt", level, "--run-id", level, "--mode", "overwrite"]);
        let found = receipt(&summary, "dbo.a");
        assert_eq!((&found["level"], &found["delivered"], &found["held"]), (&json!(level), &json!(2), &json!(2)));
        assert_eq!(found["checksum"].is_string(), checksum, "{found}");
        let record = world.host(&["runs", "show", level, "--output", "json"]).success().json();
        assert_eq!(&record[0]["tables"][0]["receipt"], found);
        assert!(world.host(&["runs", "show", level]).success().stdout.contains(level));
    }
    world.edit("mode = \"append\"", "mode = \"append\"\nreceipt = \"off\"");
    assert_eq!(*receipt(&world.run(&["--run-id", "off"]), "dbo.a"), Value::Null);
    let mut command = world.command(&["run", "--output", "json"]);
    command.env("DATAKIT_RECEIPT", "full");
    assert_eq!(receipt(&world.finish(command).success().json(), "dbo.a")["level"], "full");
    let mut command = world.command(&["run"]);
    command.env("DATAKIT_RECEIPT", "fulll");
    let refused = world.finish(command);
    assert!(refused.stderr.contains("DK-CFG-006") && refused.stderr.contains("full"), "{}", refused.stderr);
}

#[test]
fn rejected_rows_are_delivered_and_not_held() {
    let world = FilesWorld::new();
    world.put("t/a.csv", "id,name\n1,a\n2\n3,c\n");
    let summary = world.run(&["--receipt", "full", "--settings", r#"{"max_bad_rows": 1}"#]);
    let found = receipt(&summary, "files.t");
    assert_eq!((&found["delivered"], &found["held"], &found["rejected"]), (&json!(3), &json!(2), &json!(1)));
}
