//! What a person or a script meets at the command line: several ingests, exit codes, typos, and names that want to be something else.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test says where it fails")]

use datakit_tests::{Output, World};
use serde_json::Value;

const TABLES: &str = "\
CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(20) NULL)
GO
INSERT INTO dbo.orders VALUES (1, N'a'), (2, NULL), (3, N'c')
GO
CREATE TABLE dbo.customers (id int NOT NULL PRIMARY KEY)
GO
INSERT INTO dbo.customers VALUES (1), (2)
";

/// Two ingests: customers to `bronze`, orders to `lake`.
fn two_ingests() -> World {
    let world = World::new(TABLES);
    world.edit("tables = [\"*.*\"]", "tables = [\"dbo.customers\"]\nname = \"customers\"");
    world.append(
        "[sinks.lake]\nkind = \"delta\"\nuri = \"./lake\"\n\n[[ingest]]\nname = \"orders\"\n\
         datakit = \"sqlserver-bronze@0.1.0\"\nroles = { source = \"erp\" }\nsink = \"lake\"\ntables = [\"dbo.orders\"]\nmode = \"append\"",
    );
    world
}

fn names(summary: &Value) -> Vec<String> {
    let tables = summary["tables"].as_array().unwrap();
    let name = |table: &Value| format!("{} {}", table["ingest"].as_str().unwrap(), table["table"].as_str().unwrap());
    tables.iter().map(name).collect()
}

#[test]
fn all_ingests_of_the_file_run() {
    let world = two_ingests();
    let summary = world.run(&["--run-id", "first"]);
    assert_eq!(names(&summary), ["customers dbo.customers", "orders dbo.orders"]);
    assert_eq!((&summary["rows"], &summary["status"]), (&5.into(), &"done".into()));
    assert_eq!(world.delta("ERP/dbo/customers").lines().count(), 1 + 2);
    assert!(world.path().join("lake/ERP/dbo/orders/_delta_log").exists());
    // The same id again changes nothing, in any of them.
    let again = world.run(&["--run-id", "first"]);
    assert!(again["tables"].as_array().unwrap().iter().all(|table| table["status"] == "unchanged"), "{again}");

    // One of them is a run as ever.
    let one = world.run(&["--ingest", "orders", "--run-id", "second"]);
    assert_eq!((&one["datakit"], &one["tables"][0]["table"]), (&"sqlserver-bronze".into(), &"dbo.orders".into()));
    assert!(one.get("ingests").is_none());

    // What is for one of them is not laid over all.
    let output = world.host(&["run", "--tables", "dbo.orders"]);
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.contains("DK-CFG-023") && output.stderr.contains("--ingest"), "{}", output.stderr);
}

#[test]
fn an_ingest_that_cannot_start_leaves_the_others_alone() {
    let world = two_ingests();
    world.append(
        "[[ingest]]\nname = \"absent\"\ndatakit = \"absent@1.0.0\"\nroles = { source = \"erp\" }\nsink = \"lake\"\n\
         tables = [\"dbo.*\"]",
    );
    let output = world.host(&["run", "--output", "json"]);
    assert_eq!(output.code, Some(3), "{}", output.stderr);
    let summary = output.json();
    assert_eq!((&summary["status"], &summary["rows"]), (&"failed".into(), &5.into()));
    let ended: Vec<_> =
        summary["ingests"].as_array().unwrap().iter().map(|it| it["status"].as_str().unwrap()).collect();
    assert_eq!(ended, ["done", "done", "failed"]);
    assert_eq!(summary["ingests"][2]["errors"][0]["code"], "DK-REG-011");
    assert!(output.stderr.contains("error[DK-REG-011]") && output.stderr.contains("host publish"), "{}", output.stderr);
    // For people: each ingest by its name.
    let text = world.host(&["run"]);
    assert_eq!(text.code, Some(3));
    assert!(text.stdout.contains("ingest customers\n") && text.stdout.contains("2 of 3 ingests"), "{}", text.stdout);
}

#[test]
fn tables_may_be_separated_by_commas_and_a_typo_is_answered_with_the_nearest() {
    let world = World::new(TABLES);
    let summary = world.run(&["--tables", "dbo.orders,dbo.customers"]);
    assert_eq!(summary["tables"].as_array().unwrap().len(), 2);
    let output = world.host(&["run", "--tables", "dbo.custmers"]);
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.contains("did you mean dbo.customers?"), "{}", output.stderr);
    // Beside others it would go unnoticed.
    for command in ["run", "plan"] {
        let output = world.host(&[command, "--tables", "dbo.orders,dbo.custmers"]).success();
        let warning = "warning: `dbo.custmers` matches no table; near it: dbo.customers";
        assert!(output.stderr.contains(warning), "{}", output.stderr);
    }
}

#[test]
fn progress_says_how_many_tables_have_ended() {
    let world = World::new(TABLES);
    let stderr = world.host(&["run", "--parallel", "1"]).success().stderr;
    assert!(stderr.contains("[1 of 2 tables]") && stderr.contains("[2 of 2 tables]"), "{stderr}");
}

#[test]
fn a_cause_that_may_pass_has_an_exit_code_of_its_own() {
    let world = World::new(TABLES);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    world.edit(&format!("port = {}", world.mssql.port), &format!("port = {closed}"));
    for command in ["run", "plan", "discover"] {
        assert_eq!(world.host(&[command]).code, Some(4), "{command}");
    }
    // A second one that does not pass counts first. The run that failed has left its record there.
    std::fs::remove_dir_all(world.path().join("bronze")).unwrap();
    std::fs::write(world.path().join("bronze"), "a file in the way").unwrap();
    assert_eq!(world.host(&["doctor"]).code, Some(1));
}

#[test]
fn a_path_in_the_way_is_not_tried_again() {
    let world = World::new(TABLES);
    std::fs::write(world.path().join("bronze"), "a file in the way").unwrap();
    let output = world.host(&["run", "--tables", "dbo.orders", "--output", "json"]);
    assert_eq!(output.code, Some(1), "{}", output.stderr);
    assert!(!output.stderr.contains("attempt"), "{}", output.stderr);
    assert_eq!(output.json()["tables"][0]["error"]["retry"], "never");
}

/// Every line is a JSON object with a level and a message.
#[track_caller]
fn json_lines(output: &Output) -> Vec<Value> {
    let line = |line: &str| -> Value {
        let line: Value = serde_json::from_str(line).expect(line);
        assert!(line["level"].is_string() && line["message"].is_string() && line["timestamp"].is_string(), "{line}");
        line
    };
    output.stderr.lines().map(line).collect()
}

#[test]
fn json_is_all_there_is_on_standard_error_when_asked_for() {
    let world = World::new(TABLES);
    let messages = |output: &Output| {
        json_lines(output).iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let good = world.host(&["run", "--log-format", "json"]).success();
    let said = messages(&good);
    assert!(said.iter().any(|line| line == "2 of 2 tables selected"), "{said:?}");
    assert!(said.iter().any(|line| line.starts_with("✓ dbo.orders: 3 rows")), "{said:?}");
    let table = json_lines(&good).into_iter().find(|line| line["table"]["table"] == "dbo.orders").unwrap();
    assert_eq!((&table["table"]["rows"], &table["selected"]), (&3.into(), &2.into()));

    for (arguments, code) in [
        (&["run", "--log-format", "json", "--tables", "hr.*"][..], "DK-RUN-009"),
        (&["run", "--log-format=json", "--tabels", "x"], "DK-CLI-001"),
        (&["rnu", "--log-format", "json"], "DK-CLI-001"),
        (&["validate", "--config", "none.toml", "--log-format", "json"], "DK-CFG-001"),
    ] {
        let output = world.host(arguments);
        let lines = json_lines(&output);
        let last = lines.last().unwrap();
        assert_eq!((&last["level"], &last["code"]), (&"ERROR".into(), &code.into()), "{last}");
    }
    let mut command = world.command(&["run", "--log-format", "json"]);
    command.env("MSSQL_PORT", "1").env("DATAKIT_LOG", "info");
    json_lines(&world.finish(command));
}

#[test]
fn a_variable_that_replaces_what_the_file_says_is_reported() {
    let world = World::new(TABLES);
    let mut command = world.command(&["run", "--tables", "dbo.orders"]);
    command.env("MSSQL_PORT", "1");
    let output = world.finish(command);
    assert_eq!(output.code, Some(4));
    let note = "note: variables replace what the file says: `connections.erp.port` (MSSQL_PORT)";
    assert!(output.stderr.contains(note), "{}", output.stderr);

    // An explicit reference of the file wins over the variable of the same purpose.
    world.edit("{ env = \"MSSQL_PASSWORD\" }", "{ env = \"PW\" }");
    let mut command = world.command(&["run", "--tables", "dbo.orders"]);
    command.env("PW", &world.mssql.password).env("MSSQL_PASSWORD", "Pl4nted-another");
    let output = world.finish(command).success();
    let warning = "warning: MSSQL_PASSWORD is set but not used: `connections.erp.auth.password` of the file";
    assert!(output.stderr.contains(warning), "{}", output.stderr);
}

#[test]
fn a_name_that_reorders_what_is_read_is_shown_by_its_number() {
    let world = World::new("CREATE TABLE dbo.[a\u{202e}b] (id int NOT NULL PRIMARY KEY)");
    for arguments in
        [&["discover"][..], &["plan"], &["run"], &["preview"], &["doctor"], &["discover", "--output", "json"]]
    {
        let output = world.host(arguments);
        let text = output.stdout + &output.stderr;
        assert!(!text.contains('\u{202e}'), "{arguments:?}: {text}");
    }
    let json = world.host(&["discover", "--output", "json"]).success().json();
    assert_eq!(json[0]["name"], "a\u{202e}b");
}
