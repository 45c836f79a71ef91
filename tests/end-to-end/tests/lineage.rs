//! What runs report of themselves as events of OpenLineage, read by the project's own client.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use datakit_tests::{PostgresWorld, World, python};
use serde_json::Value;

const TABLE: &str = "CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, email nvarchar(60) NULL)\nGO\n\
                     INSERT INTO dbo.orders VALUES (1, N'a@example.org'), (2, NULL)";

/// Every event of a file, each as the client of OpenLineage understands it.
fn events(file: &Path) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("readers/lineage.py");
    let output = Command::new(python()).arg(script).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Adds a table to the warehouse file.
fn add(world: &World, table: &str) {
    world.edit("\n[sinks.bronze]", &format!("\n{table}\n\n[sinks.bronze]"));
}

fn steps(events: &[Value]) -> Vec<(&str, &str)> {
    let text = |event: &'_ Value, key: &str| event[key].as_str().map(str::to_owned).unwrap_or_default();
    let step = |event| (text(event, "step"), text(event, "job"));
    events.iter().map(step).map(|(step, job)| (String::leak(step) as &str, String::leak(job) as &str)).collect()
}

#[test]
fn run_reports_each_table_with_its_columns_and_where_they_come_from() {
    let world = World::new(TABLE);
    add(&world, "[lineage]\nfile = \"lineage.ndjson\"\nnamespace = \"finance\"");
    world.run(&["--run-id", "first"]);
    let all = events(&world.path().join("lineage.ndjson"));
    let (ingest, table) = ("finance sqlserver-bronze@0.1.0", "finance sqlserver-bronze@0.1.0.dbo.orders");
    assert_eq!(steps(&all), [("START", ingest), ("START", table), ("COMPLETE", table), ("COMPLETE", ingest)]);
    let done = &all[2];
    let (host, port) = (&world.mssql.host, world.mssql.port);
    assert_eq!(done["inputs"][0], format!("mssql://{host}:{port} {}.dbo.orders", world.mssql.database));
    assert_eq!(done["outputs"][0], format!("file {}/bronze/ERP/dbo/orders", world.path().display()));
    assert_eq!((&done["rows"][0], &done["parent"]), (&Value::from(2), &all[0]["run"]));
    let columns = done["columns"].as_array().unwrap();
    assert!(columns.contains(&"_bronze_row_hash".into()) && columns.contains(&"email".into()), "{done}");
    assert_eq!(done["lineage"]["email"], serde_json::json!(["email"]));
    assert_eq!(done["lineage"]["_bronze_row_hash"], serde_json::json!(["id", "email"]));
    assert_eq!(done["lineage"]["_bronze_loaded_at"], Value::Null, "a constant is made of no column");

    // The same run again is the same run of OpenLineage, and its tables are complete.
    world.run(&["--run-id", "first"]);
    let again = events(&world.path().join("lineage.ndjson"));
    assert_eq!((again.len(), &again[4]["run"]), (8, &all[0]["run"]));
}

#[test]
fn failed_table_is_reported_with_its_error() {
    let world = World::new(TABLE);
    add(&world, "[lineage]\nfile = \"lineage.ndjson\"");
    world.run(&["--run-id", "first"]);
    world.mssql.execute(&["DROP TABLE dbo.orders", "CREATE TABLE dbo.orders (id bit NOT NULL)"]);
    let failed = world.host(&["run", "--run-id", "second"]);
    assert_ne!(failed.code, Some(0));
    let all = events(&world.path().join("lineage.ndjson"));
    let kinds: Vec<&str> = steps(&all[4..]).into_iter().map(|(step, _)| step).collect();
    assert_eq!(kinds, ["START", "START", "FAIL", "FAIL"]);
    assert!(all[6]["error"].as_str().unwrap().starts_with("DK-"), "{}", all[6]);
    assert!(all[6]["inputs"][0].as_str().unwrap().ends_with(".dbo.orders"), "{}", all[6]);
}

#[test]
fn names_of_datasets_hold_no_secret_and_are_the_same_for_source_and_sink() {
    let world = PostgresWorld::new("CREATE TABLE public.t (id int PRIMARY KEY); INSERT INTO public.t VALUES (1)");
    world.edit("\n[sinks.", "\n[lineage]\nfile = \"lineage.ndjson\"\n\n[sinks.");
    world.run(&["--run-id", "first"]);
    let text = std::fs::read_to_string(world.path().join("lineage.ndjson")).unwrap();
    assert!(!text.contains("password") && !text.contains("user"), "{text}");
    let all = events(&world.path().join("lineage.ndjson"));
    let input = all[2]["inputs"][0].as_str().unwrap();
    assert!(input.starts_with("postgres://") && input.ends_with(" postgres.public.t"), "{input}");
}

/// A server that takes what is posted and answers with this status; what it got, head and body.
fn server(status: &'static str) -> (u16, Arc<Mutex<Vec<(String, String)>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, got) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
    let keeps = Arc::clone(&got);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut text = String::new();
            let mut part = [0; 65_536];
            loop {
                let length = stream.read(&mut part).unwrap();
                text += &String::from_utf8_lossy(&part[..length]);
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let expected = head.to_lowercase();
                let expected =
                    expected.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().to_owned();
                if length == 0 || body.len() >= expected.parse::<usize>().unwrap() {
                    keeps.lock().unwrap().push((head.to_owned(), body.to_owned()));
                    break;
                }
            }
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        }
    });
    (port, got)
}

#[test]
fn events_are_posted_with_the_key_that_the_server_asks_for() {
    let world = World::new(TABLE);
    let (port, got) = server("201 Created");
    let mut command = world.command(&["run", "--run-id", "first"]);
    command
        .env("OPENLINEAGE_URL", format!("http://127.0.0.1:{port}"))
        .env("OPENLINEAGE_API_KEY", "Pl4nted-lineage-key");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let got = got.lock().unwrap();
    assert_eq!(got.len(), 4);
    for (head, body) in got.iter() {
        assert!(head.starts_with("POST /api/v1/lineage HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("authorization: Bearer Pl4nted-lineage-key"), "{head}");
        assert!(serde_json::from_str::<Value>(body).is_ok(), "{body}");
    }
}

#[test]
fn server_that_refuses_events_fails_no_run() {
    let world = World::new(TABLE);
    let (port, got) = server("503 Service Unavailable");
    let mut command = world.command(&["run", "--run-id", "first"]);
    let output = command.env("OPENLINEAGE_URL", format!("http://127.0.0.1:{port}")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("4 events of OpenLineage were not delivered: DK-RUN-032"), "{said}");
    assert_eq!(got.lock().unwrap().len(), 3, "no more are tried after three failures in a row");
}

#[test]
fn key_is_never_sent_without_encryption_and_never_shown() {
    let world = World::new(TABLE);
    add(&world, "[lineage]\nurl = \"http://user:Pl4nted@lineage.example\"");
    let refused = world.host(&["validate"]);
    assert!(refused.stderr.contains("DK-CFG-") && !refused.stderr.contains("Pl4nted"), "{}", refused.stderr);
    world.edit(
        "url = \"http://user:Pl4nted@lineage.example\"",
        "url = \"http://lineage.example\"\napi_key = { env = \"KEY\" }",
    );
    let refused = world.host(&["validate"]);
    assert!(refused.stderr.contains("would send `api_key` without encryption"), "{}", refused.stderr);
}
