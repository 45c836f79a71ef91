//! Files into Bronze: each once, bad rows rejected, nothing outside of the root.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::os::unix::fs::symlink;

use datakit_stores::testing::ObjectStoreServer;
use datakit_tests::FilesWorld;
use serde_json::{Value, json};

const ORDERS: &str = "id,customer,price,ordered\n1,\"Ærø, Søn\",12.50,2026-01-01\n2,,3.99,2026-01-02\n";

fn status(summary: &Value, table: &str) -> String {
    let tables = summary["tables"].as_array().unwrap();
    let found =
        tables.iter().find(|found| found["table"] == table).unwrap_or_else(|| panic!("no {table} in {summary}"));
    found["status"].as_str().unwrap().to_owned()
}

fn numbers(values: impl IntoIterator<Item = i64>) -> Vec<Value> {
    let mut values: Vec<Value> = values.into_iter().map(Value::from).collect();
    values.sort_by_key(ToString::to_string);
    values
}

#[test]
fn files_become_bronze_tables() {
    let world = FilesWorld::new();
    world.put("orders.csv", ORDERS);
    let utf16: Vec<u8> = "\u{feff}name;size\r\n\"a\r\nb\";1,5\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    world.put("parts/dt=2026-01-01/a.csv", utf16);
    world.put("parts/dt=2026-01-02/b.csv", "size;name\n2,5;caf\u{e9}\n".chars().map(|c| c as u8).collect::<Vec<u8>>());
    world.put(
        "events/1.jsonl",
        "{\"id\": 1, \"tags\": [\"x\"], \"big\": 9007199254740993}\n\n{\"id\": 2, \"note\": \"é\"}\n",
    );
    world.put("README.md", "not a table");
    let parts = r#"{"tables": {"files.parts": {"delimiter": ";", "decimal_comma": true, "encoding": "windows-1252"}}}"#;
    let summary = world.run(&["--run-id", "first", "--settings", parts]);
    let tables: Vec<&str> =
        summary["tables"].as_array().unwrap().iter().map(|t| t["table"].as_str().unwrap()).collect();
    assert_eq!(tables, ["files.events", "files.orders", "files.parts"]);
    assert_eq!((&summary["status"], &summary["rows"]), (&json!("done"), &json!(6)));
    assert_eq!(world.column("orders", "price"), [json!("12.50"), json!("3.99")]);
    assert_eq!(world.column("orders", "ordered"), [json!("2026-01-01"), json!("2026-01-02")]);
    assert_eq!(world.column("orders", "_source_file"), [json!("orders.csv"), json!("orders.csv")]);
    assert_eq!(world.column("parts", "name"), [json!("a\r\nb"), json!("café")]);
    assert_eq!(world.column("parts", "dt"), [json!("2026-01-01"), json!("2026-01-02")]);
    assert_eq!(world.column("events", "big"), [json!(9_007_199_254_740_993_i64), Value::Null]);
    assert_eq!(world.column("events", "tags"), [json!("[\"x\"]"), Value::Null]);

    let again = world.run(&["--run-id", "first", "--settings", parts]);
    assert_eq!(status(&again, "files.orders"), "unchanged");
    let next = world.run(&["--settings", parts]);
    assert_eq!((&next["status"], &next["rows"]), (&json!("done"), &json!(0)), "no file is new");
}

#[test]
fn files_become_bronze_tables_on_postgres() {
    let world = FilesWorld::new().with_postgres();
    world.put("orders.csv", ORDERS);
    world.put("orders/x.csv", "id,customer,price,ordered\n3,x,1.00,soon\n");
    let settings = r#"{"max_bad_rows": 1, "defaults": {"types": {"ordered": "date"}}}"#;
    let summary = world.run(&["--settings", settings]);
    assert_eq!(summary["rows"], 2);
    let count = |table: &str| world.postgres(&format!("SELECT count(*)::text FROM \"LANDING_files\".{table}"));
    assert_eq!(count("orders"), "2");
    let rejected = "SELECT source_file || ' ' || source_line || ' ' || reason || ' ' || text FROM \"LANDING_files\".orders__rejected";
    insta::assert_snapshot!(world.postgres(rejected));
    world.put("orders/y.csv", "id,customer,price,ordered\n4,y,1.00,2026-01-03\n");
    assert_eq!(world.run(&["--settings", settings])["rows"], 1);
    assert_eq!((count("orders").as_str(), count("orders__rejected").as_str()), ("3", "1"));
}

/// In the store the files come, the tables go, and later files are found.
fn through_a_store(store: ObjectStoreServer) {
    let world = FilesWorld::in_store(store);
    world.put("t/dt=2026-01-01/a.csv", "id\n1\n2\n");
    world.put("t/dt=2026-01-01/b.csv.gz", gzip(b"id\n3\n"));
    assert_eq!(world.run(&[])["rows"], 3);
    world.put("t/dt=2026-01-02/c.csv", "id\n4\n");
    assert_eq!(world.run(&[])["rows"], 1);
    assert_eq!(world.run(&[])["rows"], 0);
    assert_eq!(world.column("t", "id"), numbers(1..=4));
    world.put("t/dt=2026-01-01/a.csv", "id\n1\n2\n3\n");
    insta::assert_snapshot!("a_changed_file_of_a_store", world.refused(&[]));
    assert_eq!(world.column("t", "id"), numbers(1..=4));
    let overwritten = world.run(&["--mode", "overwrite"]);
    assert_eq!(overwritten["rows"], 5, "what replaces all loads all");
    assert_eq!(world.run(&[])["rows"], 0);
}

/// A gzip file by the reference implementation.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let mut command = Command::new("gzip");
    let mut gzip = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    gzip.stdin.take().unwrap().write_all(bytes).unwrap();
    gzip.wait_with_output().unwrap().stdout
}

#[test]
fn files_on_s3_are_loaded_once() {
    through_a_store(ObjectStoreServer::s3().unwrap());
}

#[test]
fn files_on_azure_are_loaded_once() {
    through_a_store(ObjectStoreServer::azure().unwrap());
}

#[test]
fn a_bad_row_names_file_and_line() {
    let world = FilesWorld::new();
    world.put("t/a.csv", "id,name\n1,a\n2\n3,c\nx,d\n");
    let declared = |bad: u32| {
        let schema = r#"[{"name": "id", "type": "bigint"}, {"name": "name", "type": "text"}]"#;
        format!(r#"{{"max_bad_rows": {bad}, "defaults": {{"schema": {schema}}}}}"#)
    };
    insta::assert_snapshot!(world.refused(&["--settings", &declared(0)]));
    insta::assert_snapshot!(world.refused(&["--settings", &declared(1)]));
    assert!(!world.path().join("bronze/LANDING/files/t__rejected").exists(), "what fails leaves nothing");
    let summary = world.run(&["--settings", &declared(2)]);
    assert_eq!(summary["rows"], 2);
    assert_eq!(summary["tables"][0]["rejected"]["rows"], 2);
    assert_eq!(world.column("t__rejected", "source_line"), numbers([3, 5]));
    assert_eq!(world.column("t__rejected", "text"), [json!("2"), json!("x,d")]);
    assert_eq!(world.column("t__rejected", "source_file"), [json!("t/a.csv"), json!("t/a.csv")]);
}

#[test]
fn columns_that_differ_are_reported_by_name() {
    let world = FilesWorld::new();
    world.put("t/a.csv", "id,name\n1,a\n");
    world.run(&[]);
    world.put("t/b.csv", "name,id\nb,2\n");
    assert_eq!(world.run(&[])["rows"], 1, "the order does not matter");
    assert_eq!(world.column("t", "id"), numbers([1, 2]));
    world.put("t/c.csv", "id,name,more\n3,c,!\n");
    insta::assert_snapshot!(world.refused(&[]));
    assert_eq!(world.run(&["--settings", r#"{"defaults": {"extra_columns": "ignore"}}"#])["rows"], 1);
    world.put("t/d.csv", "id\n4\n");
    insta::assert_snapshot!(world.refused(&[]));
    assert_eq!(world.run(&["--settings", r#"{"defaults": {"missing_columns": "null"}}"#])["rows"], 1);
    assert_eq!(world.column("t", "name").len(), 4);
}

#[test]
fn a_large_file_is_read_in_parts_and_lines_keep_their_numbers() {
    let world = FilesWorld::new();
    let mut lines: Vec<String> =
        (0..20_000).map(|id| format!("{{\"id\": {id}, \"text\": \"{}\"}}", "é".repeat(id % 30))).collect();
    lines[17_320] = "{\"id\": ".to_owned();
    world.put("t/a.jsonl", lines.join("\n"));
    let summary = world.run(&["--settings", r#"{"partition_bytes": 50000, "max_bad_rows": 1}"#]);
    assert!(summary["tables"][0]["partitions"].as_u64().unwrap() > 10, "{summary}");
    assert_ne!(summary["tables"][0]["consistent_snapshot"], false);
    assert_eq!(world.column("t", "id"), numbers((0..20_000).filter(|id| *id != 17_320)));
    assert_eq!(world.column("t__rejected", "source_line"), numbers([17_321]));
}

#[test]
fn unquoted_fields_are_read_in_parts_whatever_ends_their_lines() {
    let world = FilesWorld::new();
    let mut text = String::from("id|text\r");
    for id in 0..20_000 {
        text += &if id == 17_320 { "bad".to_owned() } else { format!("{id}|{}", "\"é".repeat(id % 30)) };
        text += ["\n", "\r\n", "\r"][id % 3];
    }
    world.put("t/a.csv", text);
    let settings = r#"{"partition_bytes": 50000, "max_bad_rows": 1, "defaults": {"delimiter": "|", "quote": "", "null_values": ["-"]}}"#;
    let summary = world.run(&["--settings", settings]);
    assert!(summary["tables"][0]["partitions"].as_u64().unwrap() > 10, "{summary}");
    assert_eq!(world.column("t", "id"), numbers((0..20_000).filter(|id| *id != 17_320)));
    let text_bytes: usize = world.column("t", "text").iter().map(|text| text.as_str().unwrap().len()).sum();
    assert_eq!(text_bytes, (0..20_000).filter(|id| *id != 17_320).map(|id| 3 * (id % 30)).sum::<usize>());
    assert_eq!(world.column("t__rejected", "source_line"), numbers([17_322]));
}

#[test]
fn compressed_files_are_known_by_their_first_bytes() {
    let world = FilesWorld::new();
    let zstd = |text: &str| zstd::encode_all(text.as_bytes(), 3).unwrap();
    world.put("t/a.csv.zst", zstd("id,name\n1,a\n2,\"b\nc\"\n"));
    world.put("t/b.csv", [zstd("id,name\n3,"), zstd("d\n4,e\n")].concat());
    world.put("t/c.csv.zst", gzip(b"id,name\n5,f\n"));
    world.put("events/a.jsonl.zstd", zstd("{\"id\": 1}\n{\"id\": 2}\n"));
    let summary = world.run(&["--settings", r#"{"partition_bytes": 1024}"#]);
    assert_eq!(summary["rows"], 7);
    assert_eq!(world.column("t", "id"), numbers(1..=5));
    assert_eq!(world.column("t", "name"), ["a", "b\nc", "d", "e", "f"]);
    assert_eq!(world.column("events", "id"), numbers([1, 2]));
    let broken = &zstd("id,name\n6,g\n")[..12];
    world.put("t/d.csv.zst", broken);
    assert!(world.refused(&["--tables", "files.t"]).starts_with("DK-SRC-221"));
    assert_eq!(world.column("t", "id"), numbers(1..=5));
}

#[test]
fn a_quote_too_many_fails_its_file() {
    let world = FilesWorld::new();
    let rows: String = (0..1_000).map(|id| format!("{id},x\n")).collect();
    world.put("t/a.csv", format!("id,text\n{rows}1000,\"stray\n{rows}"));
    let settings = r#"{"max_bad_rows": 100}"#;
    let refused = world.refused(&["--settings", settings]);
    assert!(refused.starts_with("DK-SRC-226: `t/a.csv`, line 1002: "), "{refused}");
    assert!(!world.path().join("bronze/LANDING/files/t").exists(), "no row of it is committed");
}

#[test]
fn a_killed_run_loses_no_file_and_doubles_none() {
    let world = FilesWorld::new();
    let rows = |from: i64, to: i64| (from..to).map(|id| format!("{id}\n")).collect::<String>();
    let settings =
        r#"{"partition_bytes": 1024, "max_bad_rows": 100, "defaults": {"schema": [{"name": "id", "type": "bigint"}]}}"#;
    world.put("t/000.csv", format!("id\n{}", rows(0, 1000)));
    world.run(&["--settings", settings]);
    let mut next = 1000;
    for round in 0..6 {
        world.put(&format!("t/{:03}.csv", 100 - round), format!("id\n{}bad\n", rows(next, next + 20_000)));
        next += 20_000;
        let mut run = world.start(world.command(&["run", "--settings", settings]));
        // Killed at another point each time: before the first file, between the commits of rejects and rows, after all.
        let written = ["run", "reading", "reading", "reading", "reading", "reading"][round];
        run.wait_until("it works", |run| run.stderr().contains(written));
        std::thread::sleep(std::time::Duration::from_millis(30 * round as u64));
        run.signal("KILL");
        drop(run);
    }
    let summary = world.run(&["--settings", settings]);
    assert_eq!(summary["status"], "done");
    assert_eq!(world.column("t", "id"), numbers(0..next));
    let mut files: Vec<Value> = world.column("t__rejected", "source_file");
    files.dedup();
    assert_eq!(files.len(), 6, "no bad row is lost");
}

#[test]
fn of_two_runs_at_once_one_loads_a_file() {
    let world = FilesWorld::new();
    let rows: String = (0..50_000).map(|id| format!("{id}\n")).collect();
    world.put("t/a.csv", format!("id\n{rows}"));
    world.run(&[]);
    world.put("t/b.csv", format!("id\n{rows}"));
    let runs: Vec<_> = (0..4).map(|_| world.start(world.command(&["run", "--output", "json"]))).collect();
    let outputs: Vec<Value> = runs.into_iter().map(|run| run.end().json()).collect();
    let loaded: i64 = outputs.iter().map(|output| output["rows"].as_i64().unwrap()).sum();
    assert_eq!(loaded, 50_000, "{outputs:#?}");
    for failed in outputs.iter().filter(|output| output["status"] != "done") {
        let code = failed["tables"][0]["error"]["code"].as_str().unwrap();
        assert!(["DK-RUN-013", "DK-SNK-010"].contains(&code), "{failed}");
    }
    assert_eq!(world.column("t", "id").len(), 100_000);
}

#[test]
fn nothing_outside_of_the_root_is_read() {
    let world = FilesWorld::new();
    fs::write(world.path().join("secret.csv"), "password\nPl4nted\n").unwrap();
    fs::create_dir(world.path().join("outside")).unwrap();
    fs::write(world.path().join("outside/a.csv"), "password\nPl4nted\n").unwrap();
    world.put("t/a.csv", "id\n1\n");
    symlink(world.path().join("secret.csv"), world.path().join("landing/t/b.csv")).unwrap();
    symlink(world.path().join("outside"), world.path().join("landing/stolen")).unwrap();
    let discovered = world.host(&["discover"]).success();
    assert!(!discovered.stdout.contains("stolen"), "{}", discovered.stdout);
    assert!(discovered.stderr.contains("symbolic links are not followed"), "{}", discovered.stderr);
    assert_eq!(world.run(&[])["rows"], 1);
    for wrong in ["../*.csv", "/etc/*", "t/../../*"] {
        let line = format!("tables = {{ x = [\"{wrong}\"] }}");
        world.connection(&line);
        assert!(world.host(&["run"]).stderr.contains("DK-SRC-202"), "{wrong}");
        world.edit(&format!("{line}\n"), "");
    }
}

#[test]
fn the_operator_says_what_is_a_table_and_what_is_granted() {
    let world = FilesWorld::new();
    world.put("in/orders_1.csv", "id\n1\n");
    world.put("in/orders_2.csv", "id\n2\n");
    world.put("in/people.csv", "name\nAda\n");
    world.connection("tables = { \"sales.orders\" = [\"in/orders_*.csv\"], people = [\"in/*\", \"!in/orders*\"] }");
    world.edit("tables = [\"*.*\"]", "tables = [\"sales.*\"]");
    let discovered = world.host(&["discover", "--output", "json"]).success().json();
    let tables: Vec<(&str, usize)> = discovered
        .as_array()
        .unwrap()
        .iter()
        .map(|table| (table["table"].as_str().unwrap(), table["columns"].as_array().map_or(0, Vec::len)))
        .collect();
    assert_eq!(tables, [("files.people", 0), ("sales.orders", 1)], "what is not granted is not looked into");
    let summary = world.run(&[]);
    assert_eq!((summary["tables"].as_array().unwrap().len(), &summary["rows"]), (1, &json!(2)));
    world.edit("people = [\"in/*\", \"!in/orders*\"]", "people = [\"in/*\"]");
    assert!(world.host(&["run"]).stderr.contains("DK-SRC-214"));
}

#[test]
fn plan_and_preview_show_what_a_run_would_do() {
    let world = FilesWorld::new();
    world.put("orders.csv", ORDERS);
    let preview = world.host(&["preview"]).success().stdout;
    assert!(preview.contains("Ærø, Søn") && preview.contains("_source_file"), "{preview}");
    let plan = world.host(&["plan", "--output", "json"]).success().json();
    assert_eq!((&plan[0]["table"], plan[0]["partitions"].as_array().unwrap().len()), (&json!("files.orders"), 1));
    world.run(&[]);
    assert!(plan[0]["watermark_after"].as_str().unwrap().contains("\"columns\""));
}

#[test]
fn hostile_files_cost_a_row_and_not_the_host() {
    let world = FilesWorld::new();
    let mut huge = b"id,text\n1,".to_vec();
    huge.extend(std::iter::repeat_n(b'x', 20 << 20));
    huge.extend_from_slice(b"\n2,ok\n3,a\0b\n4,\xff\xfe\n5,\"open\n");
    world.put("t/a.csv", &huge);
    world.put("t/b.csv.gz", gzip(&huge));
    let settings = r#"{"max_bad_rows": 8, "defaults": {"schema": [{"name": "id", "type": "bigint"}, {"name": "text", "type": "text"}]}}"#;
    let summary = world.run(&["--settings", settings]);
    assert_eq!((&summary["rows"], &summary["tables"][0]["rejected"]["rows"]), (&json!(2), &json!(8)));
    assert_eq!(world.column("t__rejected", "source_line"), numbers([2, 2, 4, 4, 5, 5, 6, 6]));
    let zeros = gzip(&vec![0; 200 << 20]);
    world.put("bomb/a.csv", &zeros);
    world.connection("max_expansion = 100");
    insta::assert_snapshot!(world.refused(&["--tables", "files.bomb", "--settings", settings]));
    let cut = &zeros[..zeros.len() / 2];
    world.put("cut/a.csv", cut);
    assert!(world.refused(&["--tables", "files.cut", "--settings", settings]).starts_with("DK-SRC-22"));
}
