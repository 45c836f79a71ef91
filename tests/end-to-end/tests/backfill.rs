//! `host backfill`: a column that was added at the source gets its values in the rows that are there, and nothing else changes.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use datakit_fake_sqlserver::server::Options;
use datakit_fake_sqlserver::sql::{Hook, Moment, Place, SqlEngineOptions};
use datakit_tests::{Mssql, PostgresWorld, Started, World};
use serde_json::{Map, Value, json};

/// All tables by the best strategy that they offer.
const AUTO: &str = r#"{"strategy": {"*.*": "auto"}}"#;
const FAULTS: &str = "only the fake SQL Server waits when a test says so";

/// Rows by their `id`.
type Rows = BTreeMap<i64, Map<String, Value>>;

fn by_id(rows: impl IntoIterator<Item = Value>) -> Rows {
    let row = |row: Value| (row["id"].as_i64().unwrap(), row.as_object().unwrap().clone());
    rows.into_iter().map(row).collect()
}

fn of_delta(text: &str) -> Rows {
    by_id(text.lines().skip(1).filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()))
}

fn of_postgres(json: &str) -> Rows {
    by_id(serde_json::from_str::<Vec<Value>>(json).unwrap())
}

fn all_rows(table: &str) -> String {
    format!("SELECT json_agg(t)::text FROM {table} AS t")
}

/// The rows of `dbo.orders` in the sink of a world.
fn orders(world: &World, is_postgres: bool) -> Rows {
    match is_postgres {
        true => of_postgres(&world.postgres(&all_rows("\"ERP_dbo\".orders"))),
        false => of_delta(&world.delta("ERP/dbo/orders")),
    }
}

/// One column of all rows.
fn column(rows: &Rows, name: &str) -> Vec<(i64, Value)> {
    rows.iter().map(|(id, row)| (*id, row.get(name).cloned().unwrap_or_default())).collect()
}

fn without(mut rows: Rows, columns: &[&str]) -> Rows {
    rows.values_mut().for_each(|row| row.retain(|name, _| !columns.contains(&name.as_str())));
    rows
}

fn values<const N: usize>(expected: [(i64, Value); N]) -> Vec<(i64, Value)> {
    expected.to_vec()
}

/// What the only table of a summary says of its backfill.
fn filled(summary: &Value) -> Value {
    summary["tables"][0]["backfill"]["rows"].clone()
}

fn backfill(world: &World, arguments: &[&str]) -> Value {
    let mut all = vec!["backfill", "--table", "dbo.orders", "--output", "json"];
    all.extend(arguments);
    world.host(&all).success().json()
}

/// Code and hint of the error of a backfill that is refused.
fn refused(world: &World, table: &str, arguments: &[&str]) -> (String, String) {
    let mut all = vec!["backfill", "--table", table, "--output", "json"];
    all.extend(arguments);
    let output = world.host(&all);
    assert_ne!(output.code, Some(0), "{}", output.stdout);
    let summary = output.json();
    let error = [&summary["tables"][0]["error"], &summary["errors"][0]].into_iter().find(|it| it.is_object());
    let text = |key: &str| error.unwrap()[key].as_str().unwrap_or_default().to_owned();
    (text("code"), text("hint"))
}

fn watermark(world: &World) -> Value {
    let state = world.host(&["state", "show", "ERP", "dbo.orders", "--output", "json"]).success().json();
    state["positions"][0]["watermark"].clone()
}

fn two_sinks(script: &str) -> [(World, bool); 2] {
    [(World::new(script), false), (World::new(script).with_postgres(), true)]
}

const TRACKED: &str = "ALTER DATABASE CURRENT SET CHANGE_TRACKING = ON
GO
CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(20) NULL)
GO
ALTER TABLE dbo.orders ENABLE CHANGE_TRACKING
GO
INSERT INTO dbo.orders VALUES (1, N'a'), (2, N'b'), (3, N'c')";

#[test]
fn added_column_is_filled_and_nothing_else_changes() {
    for (world, is_postgres) in two_sinks(TRACKED) {
        let load = |run_id: &str| world.run(&["--run-id", run_id, "--mode", "merge", "--settings", AUTO]);
        load("first");
        world.mssql.execute(&[
            "ALTER TABLE dbo.orders ADD n int NOT NULL DEFAULT 7",
            "INSERT INTO dbo.orders VALUES (4, N'd', 8)",
        ]);
        load("second");
        let before = orders(&world, is_postgres);
        assert_eq!(column(&before, "n"), values([(1, json!(null)), (2, json!(null)), (3, json!(null)), (4, json!(8))]));
        // What the next load brings: a changed row, a new one, and one that is gone.
        world.mssql.execute(&[
            "UPDATE dbo.orders SET note = N'B' WHERE id = 2",
            "INSERT INTO dbo.orders VALUES (5, N'e', 9)",
            "DELETE FROM dbo.orders WHERE id = 3",
        ]);
        let (position, fill) = (watermark(&world), ["--columns", "n", "--settings", AUTO, "--run-id", "fill"]);
        let summary = backfill(&world, &fill);
        assert_eq!(
            filled(&summary),
            json!({ "filled": 2, "unchanged": 1, "not_in_table": 1, "not_in_source": 1 }),
            "{summary}"
        );
        let table = &summary["tables"][0];
        assert_eq!(table["backfill"]["columns"], json!(["n", "_bronze_row_hash"]));
        assert_eq!(
            (&table["rows"], &table["holds"]["rows"], &summary["status"]),
            (&json!(2), &json!(4), &json!("done"))
        );
        let merged = json!({ "inserted": 0, "updated": 2, "deleted": 0, "unchanged": 1, "left_out": 1 });
        assert_eq!(table["receipt"]["merged"], merged);

        let after = orders(&world, is_postgres);
        assert_eq!(column(&after, "n"), values([(1, json!(7)), (2, json!(7)), (3, json!(null)), (4, json!(8))]));
        let filled_columns = ["n", "_bronze_row_hash"];
        assert_eq!(without(after.clone(), &filled_columns), without(before.clone(), &filled_columns));
        assert_eq!(after[&3], before[&3], "the source does not have the row");
        assert_eq!(watermark(&world), position);

        assert_eq!(backfill(&world, &fill)["tables"][0]["status"], "unchanged", "the same run again");
        let again = backfill(&world, &["--columns", "n", "--settings", AUTO]);
        assert_eq!(filled(&again)["filled"], 0, "{again}");
        assert_eq!(orders(&world, is_postgres), after);

        // The next load goes on from where the last one ended.
        assert_eq!(load("third")["rows"], 3);
        let loaded = orders(&world, is_postgres);
        assert_eq!(column(&loaded, "n"), values([(1, json!(7)), (2, json!(7)), (4, json!(8)), (5, json!(9))]));
        assert_eq!(loaded[&2]["note"], "B");
        assert_eq!(load("fourth")["rows"], 0);
        let hashes = column(&loaded, "_bronze_row_hash");
        world.run(&["--full-refresh", "--settings", AUTO]);
        assert_eq!(column(&orders(&world, is_postgres), "_bronze_row_hash"), hashes, "as of rows that are loaded anew");
    }
}

#[test]
fn run_says_what_it_filled() {
    let world = World::new(TRACKED);
    world.run(&["--run-id", "first", "--mode", "merge", "--settings", AUTO]);
    let loaded = world.host(&["status", "--output", "json"]).success().json()[0].clone();
    world
        .mssql
        .execute(&["ALTER TABLE dbo.orders ADD n int NOT NULL DEFAULT 7", "DELETE FROM dbo.orders WHERE id = 3"]);
    let run = ["backfill", "--table", "dbo.orders", "--columns", "n", "--settings", AUTO, "--run-id", "fill"];
    let said = world.host(&run).success().stdout;
    let line = "backfill: n, _bronze_row_hash: 2 rows filled; 1 rows that the source does not have keep their values";
    assert!(said.contains(&format!("note: dbo.orders: {line}")), "{said}");
    assert!(said.contains("note: dbo.orders: `n` added"), "the column is added as a load would: {said}");
    let shown = world.host(&["runs", "show", "fill"]).success().stdout;
    assert!(shown.contains("backfill: dbo.orders: n, _bronze_row_hash: 2 rows filled"), "{shown}");
    let record = &world.host(&["runs", "show", "fill", "--output", "json"]).success().json()[0];
    assert_eq!((&record["mode"], &record["status"]), (&json!("backfill"), &json!("drift")));
    let table = &record["tables"][0];
    assert_eq!(table["backfill"]["rows"]["filled"], 2);
    assert_eq!(table["position_before"], table["position_after"]);
    let status = world.host(&["status", "--output", "json"]).success().json()[0].clone();
    assert_eq!(status["fresh_as_of"], loaded["fresh_as_of"], "no row is fresher");
    assert_eq!(status["last_run"]["run_id"], "fill");
}

/// Each key has one row, though the table appends. The backfill comes before the load that would read rows of the boundary again.
#[test]
fn table_that_appends_rows_of_new_keys_is_filled() {
    let script = "CREATE TABLE orders (id int PRIMARY KEY, changed_at timestamptz NOT NULL, note text);
        INSERT INTO orders SELECT id, timestamptz '2026-01-01' + id * interval '1 s', 'row ' || id FROM generate_series(1, 300) AS id";
    let settings = r#"{"watermark": {"public.orders": {"column": "changed_at"}}}"#;
    let worlds = [(PostgresWorld::new(script), false), (PostgresWorld::new(script).with_postgres_sink(), true)];
    for (world, is_postgres) in worlds {
        let table = || match is_postgres {
            true => of_postgres(&world.sink(&all_rows("\"SHOP_public\".orders"))),
            false => of_delta(&world.delta("SHOP/public/orders")),
        };
        world.run(&["--settings", settings]);
        world.execute(
            "ALTER TABLE orders ADD extra text; UPDATE orders SET extra = 'extra ' || id WHERE id % 3 > 0;
             INSERT INTO orders VALUES (301, '2026-01-02', 'new', 'of the load')",
        );
        let before = table();
        let fill =
            ["backfill", "--table", "public.orders", "--columns", "extra", "--settings", settings, "--output", "json"];
        let summary = world.host(&[&fill[..], &["--receipt", "full"]].concat()).success().json();
        // The hash of each row that was loaded without the column is another one now.
        assert_eq!(filled(&summary), json!({ "filled": 300, "unchanged": 0, "not_in_table": 1, "not_in_source": 0 }));
        assert_eq!(summary["status"], "drift", "the column is added");
        let after = table();
        let filled_columns = ["extra", "_bronze_row_hash"];
        assert_eq!(without(after.clone(), &filled_columns), without(before, &filled_columns));
        let expected = |id: i64| if id % 3 > 0 { json!(format!("extra {id}")) } else { Value::Null };
        assert!(after.iter().all(|(id, row)| row["extra"] == expected(*id)), "{after:?}");
        assert_eq!(world.run(&["--settings", settings])["tables"][0]["status"], "committed");
        assert_eq!(table()[&301]["extra"], "of the load");
    }
}

/// The values that are read are newer than the position: the next load carries the same changes once more.
#[test]
fn table_that_is_loaded_from_the_log_goes_on_behind_a_backfill() {
    let world = PostgresWorld::with_logical_decoding(
        "CREATE TABLE orders (id int PRIMARY KEY, note text);
         INSERT INTO orders VALUES (1, 'a'), (2, 'b');
         CREATE PUBLICATION bronze FOR TABLE orders",
    )
    .with_postgres_sink();
    let load = || world.run(&["--mode", "merge", "--settings", AUTO]);
    load();
    world.execute("ALTER TABLE orders ADD extra int; UPDATE orders SET extra = 5, note = 'A' WHERE id = 1");
    let fill = ["backfill", "--table", "public.orders", "--columns", "extra", "--settings", AUTO, "--output", "json"];
    let summary = world.host(&fill).success().json();
    assert_eq!((&summary["status"], filled(&summary)["filled"].as_u64()), (&json!("drift"), Some(2)), "{summary}");
    let rows = |expected: &str| {
        let query = "SELECT string_agg(concat_ws(' ', id, note, extra), ', ' ORDER BY id) FROM \"SHOP_public\".orders";
        assert_eq!(world.sink(query), expected);
    };
    rows("1 a 5, 2 b");
    world.execute("UPDATE orders SET extra = 6 WHERE id = 2");
    assert_eq!(load()["rows"], 2, "every change since the last load");
    rows("1 A 5, 2 b 6");
}

/// Changes of a capture instance that does not have the column leave what was filled as it is.
#[test]
fn table_that_is_loaded_by_change_data_capture_keeps_what_was_filled() {
    let script = "EXEC sys.sp_cdc_enable_db\nGO\nCREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(20) NULL)\nGO\n\
        EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'orders', @role_name = NULL, @supports_net_changes = 1\nGO\n\
        INSERT INTO dbo.orders VALUES (1, N'a'), (2, N'b'), (3, N'c')";
    for strategy in ["cdc", "cdc-net"] {
        let settings = format!(r#"{{"strategy": {{"dbo.orders": "{strategy}"}}}}"#);
        for (world, is_postgres) in two_sinks(script) {
            let load = || world.run(&["--tables", "dbo.orders", "--mode", "merge", "--settings", &settings]);
            load();
            world.mssql.execute(&["ALTER TABLE dbo.orders ADD n int NOT NULL DEFAULT 7"]);
            load();
            let (position, fill) = (watermark(&world), ["--columns", "n", "--settings", &settings]);
            assert_eq!(filled(&backfill(&world, &fill))["filled"], 3, "{strategy}");
            assert_eq!(watermark(&world), position);
            world.mssql.execute(&[
                "UPDATE dbo.orders SET note = N'B', n = 8 WHERE id = 2",
                "DELETE FROM dbo.orders WHERE id = 3",
            ]);
            load();
            let rows = orders(&world, is_postgres);
            assert_eq!(column(&rows, "note"), values([(1, json!("a")), (2, json!("B"))]), "{strategy}");
            assert_eq!(
                column(&rows, "n"),
                values([(1, json!(7)), (2, json!(7))]),
                "{strategy}: the instance does not have it"
            );
            backfill(&world, &fill);
            assert_eq!(column(&orders(&world, is_postgres), "n"), values([(1, json!(7)), (2, json!(8))]), "{strategy}");
        }
    }
}

#[test]
fn what_cannot_be_filled_is_refused_with_the_ways_on() {
    let script = "CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(20) NULL)
GO
CREATE TABLE dbo.heap (id int NOT NULL, note nvarchar(20) NULL)
GO
CREATE TABLE dbo.later (id int NOT NULL PRIMARY KEY, note nvarchar(20) NULL)
GO
INSERT INTO dbo.orders VALUES (1, N'a'), (2, N'b')
GO
INSERT INTO dbo.heap VALUES (1, N'a')
GO
INSERT INTO dbo.later VALUES (1, N'a')";
    for (world, is_postgres) in two_sinks(script) {
        world.run(&["--tables", "dbo.orders,dbo.heap"]);
        let before = orders(&world, is_postgres);
        let (code, hint) = refused(&world, "dbo.heap", &["--columns", "note"]);
        assert_eq!(code, "DK-RUN-067");
        assert!(hint.contains("--full-refresh --tables dbo.heap") && hint.contains("leave null"), "{hint}");
        let (code, hint) = refused(&world, "dbo.orders", &["--columns", "nota"]);
        assert_eq!(code, "DK-RUN-066");
        assert!(hint.contains("id, note, _bronze_loaded_at"), "{hint}");
        assert_eq!(refused(&world, "dbo.orders", &["--columns", "note,id"]).0, "DK-RUN-066", "the key");
        assert_eq!(refused(&world, "dbo.orders", &["--columns", "_bronze_batch_id"]).0, "DK-RUN-066");
        assert_eq!(refused(&world, "dbo.later", &["--columns", "note"]).0, "DK-RUN-068");
        assert_eq!(refused(&world, "dbo.ordesr", &["--columns", "note"]).0, "DK-RUN-009");
        let (code, hint) = refused(&world, "dbo.Orders", &["--columns", "note"]);
        assert!(code == "DK-RUN-069" && hint.contains("dbo.orders"), "{code} {hint}");
        // A frozen table gets no column.
        world.mssql.execute(&["ALTER TABLE dbo.orders ADD n int NULL"]);
        world.edit("mode = \"append\"", "mode = \"append\"\ndrift = \"freeze\"");
        assert_eq!(refused(&world, "dbo.orders", &["--columns", "n"]).0, "DK-SNK-008");
        assert_eq!(orders(&world, is_postgres), before);
    }
}

#[test]
fn history_of_changes_is_refused() {
    for (world, is_postgres) in two_sinks(TRACKED) {
        let load = || world.run(&["--settings", AUTO]);
        load();
        world.mssql.execute(&[
            "ALTER TABLE dbo.orders ADD n int NOT NULL DEFAULT 7",
            "UPDATE dbo.orders SET note = N'B' WHERE id = 2",
        ]);
        load();
        let count = || match is_postgres {
            true => world.postgres("SELECT count(n) || ' of ' || count(*) FROM \"ERP_dbo\".orders"),
            false => {
                let text = world.delta("ERP/dbo/orders");
                let null = text.lines().filter(|line| line.contains("\"n\": null")).count();
                let rows = text.lines().skip(1).filter(|line| !line.is_empty()).count();
                format!("{} of {rows}", rows - null)
            }
        };
        assert_eq!(count(), "1 of 4");
        let (code, hint) = refused(&world, "dbo.orders", &["--columns", "n", "--settings", AUTO]);
        assert!(code == "DK-SNK-085" && hint.contains("history") && hint.contains("--full-refresh"), "{code} {hint}");
        assert_eq!(count(), "1 of 4", "nothing is written");
    }
}

/// Lets a backfill stop in the middle of its rows until the test says so.
struct Gate {
    is_reached: Arc<AtomicBool>,
    is_open: Arc<AtomicBool>,
}

impl Gate {
    /// Before this row of a query of `dbo.orders`.
    fn new(world: &World, row: u64) -> Self {
        let gate = Self { is_reached: Arc::default(), is_open: Arc::default() };
        let (reached, open) = (Arc::clone(&gate.is_reached), Arc::clone(&gate.is_open));
        let hook: Hook = Arc::new(move |moment: &Moment<'_>| {
            let statement = moment.statement.to_lowercase();
            let is_of_rows = statement.contains("note") && statement.contains("orders");
            let is_here = moment.place == Place::Row(row) && is_of_rows;
            if is_here && !reached.swap(true, Ordering::SeqCst) {
                while !open.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        });
        world.mssql.engine().set_hook(Some(hook));
        gate
    }

    fn wait(&self, run: &mut Started) {
        run.wait_until("the gate", |_| self.is_reached.load(Ordering::SeqCst));
    }

    fn open(&self) {
        self.is_open.store(true, Ordering::SeqCst);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}

/// 300 rows without the column `n`, which the source has by then; in small batches.
fn large_world(is_postgres: bool) -> Option<World> {
    let rows: Vec<String> = (1..=300).map(|id| format!("({id}, N'row {id}')")).collect();
    let script = format!(
        "ALTER DATABASE CURRENT SET CHANGE_TRACKING = ON\nGO\n\
         CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(20) NULL)\nGO\n\
         ALTER TABLE dbo.orders ENABLE CHANGE_TRACKING\nGO\nINSERT INTO dbo.orders VALUES {}",
        rows.join(", ")
    );
    let mssql = Mssql::fake_sqlserver_for(FAULTS, Options::default(), SqlEngineOptions::default())?;
    let world = World::with(mssql, &script);
    let world = if is_postgres { world.with_postgres() } else { world };
    world.append("[limits.read]\nmax_batch_rows = 50");
    world.run(&["--run-id", "first", "--mode", "merge", "--settings", AUTO]);
    world.mssql.execute(&["ALTER TABLE dbo.orders ADD n int NOT NULL DEFAULT 7"]);
    Some(world)
}

const FILL: [&str; 9] = ["backfill", "--table", "dbo.orders", "--columns", "n", "--settings", AUTO, "--output", "json"];

#[test]
fn killed_backfill_leaves_the_table_as_it_was() {
    for is_postgres in [false, true] {
        let Some(world) = large_world(is_postgres) else { return };
        let before = orders(&world, is_postgres);
        let gate = Gate::new(&world, 150);
        let all = [&FILL[..], &["--run-id", "fill"]].concat();
        let mut run = world.start(world.command(&all));
        gate.wait(&mut run);
        run.signal("KILL");
        assert_eq!(run.end().code, None);
        gate.open();
        assert_eq!(orders(&world, is_postgres), before);
        world.mssql.engine().set_hook(None);
        let summary = world.host(&all).success().json();
        assert_eq!(filled(&summary)["filled"], 300, "the same run id goes on: {summary}");
        let after = orders(&world, is_postgres);
        assert!(after.values().all(|row| row["n"] == 7) && after.len() == 300);
    }
}

/// Of the two, one commits. Values that were read before a load are not written behind it.
#[test]
fn load_and_backfill_at_once_do_not_write_over_each_other() {
    for is_postgres in [false, true] {
        let Some(world) = large_world(is_postgres) else { return };
        let gate = Gate::new(&world, 150);
        let mut run = world.start(world.command(&FILL));
        gate.wait(&mut run);
        world.mssql.execute(&["UPDATE dbo.orders SET n = 8 WHERE id <= 10"]);
        let load = world.host(&["run", "--output", "json", "--mode", "merge", "--settings", AUTO]);
        gate.open();
        let filled = run.end();
        let error = |summary: &Value| summary["tables"][0]["error"]["code"].as_str().unwrap_or_default().to_owned();
        let (done, other) = if filled.code == Some(0) { (&filled, &load) } else { (&load, &filled) };
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        assert_eq!(other.code, Some(4), "{}", other.stderr);
        let code = error(&other.json());
        assert!(["DK-SNK-010", "DK-RUN-013"].contains(&code.as_str()), "{}", other.stderr);
        world.mssql.engine().set_hook(None);
        world.host(&FILL).success();
        world.run(&["--mode", "merge", "--settings", AUTO]);
        let rows = orders(&world, is_postgres);
        assert!(rows.iter().all(|(id, row)| row["n"] == if *id <= 10 { 8 } else { 7 }), "{rows:?}");
    }
}

/// A load that begins and ends between the plan of a backfill and its first row.
#[test]
fn load_that_commits_before_the_first_row_is_noticed() {
    let Some(world) = large_world(false) else { return };
    let gate = Gate::new(&world, 0);
    let mut run = world.start(world.command(&FILL));
    gate.wait(&mut run);
    world.mssql.execute(&["UPDATE dbo.orders SET n = 8 WHERE id <= 10"]);
    world.run(&["--mode", "merge", "--settings", AUTO]);
    gate.open();
    let summary = run.end().json();
    let code = summary["tables"][0]["error"]["code"].as_str().unwrap();
    assert!(["DK-RUN-013", "DK-SNK-010"].contains(&code), "{summary}");
    let rows = orders(&world, false);
    assert!(rows.iter().all(|(id, row)| row["n"] == if *id <= 10 { json!(8) } else { Value::Null }), "{rows:?}");
}
