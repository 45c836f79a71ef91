//! Source against sink after loads: what differs is named by key and range, and ends with exit code 5.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use std::path::Path;
use std::process::Command;

use datakit_tests::{FilesWorld, Output, PostgresWorld, Random, World, python};
use serde_json::{Value, json};

/// All tables by the best strategy that they offer.
const AUTO: &str = r#"{"strategy": {"*.*": "auto"}}"#;

/// Every type, with extremes and nulls.
const TYPES: &str = "CREATE TABLE types (id uuid PRIMARY KEY, n numeric(20, 4), at timestamp(6), zoned timestamptz, day date, clock time(6),
        name text, small smallint, big bigint, single real, wide double precision, flag boolean, bytes bytea);
    INSERT INTO types VALUES
        ('6f9619ff-8b86-d011-b42d-00c04fc964ff', -12345.6789, '2026-01-31 23:59:59.999999', '2026-01-31 23:59:59.999999+02', '0001-01-01',
         '23:59:59.999999', 'ä日本😀', -32768, 9223372036854775807, 1.5, 'NaN', true, '\\x00ff'),
        ('00000000-0000-0000-0000-000000000001', 0, '0001-01-01', '1970-01-01 00:00:00+00', '9999-12-31', '00:00:00', '', 0, 0, '-0.0',
         '-Infinity', false, ''),
        ('00000000-0000-0000-0000-000000000002', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)";

const KEYLESS: &str =
    "CREATE TABLE keyless (a int, b text); INSERT INTO keyless VALUES (1, 'x'), (1, 'x'), (NULL, NULL)";

/// 40 orders with keys from 1 to 40.
const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, note text);
    INSERT INTO orders SELECT i, 'row ' || i FROM generate_series(1, 40) AS i";

/// `host reconcile` without a pause, and its JSON document.
fn reconciled(run: impl Fn(&[&str]) -> Output, more: &[&str]) -> (Option<i32>, Value) {
    let output = run(&[&["reconcile", "--pause", "1s", "--output", "json"], more].concat());
    assert!(output.stdout.starts_with('['), "{}{}", output.stdout, output.stderr);
    (output.code, output.json())
}

fn of_postgres(world: &PostgresWorld, more: &[&str]) -> (Option<i32>, Value) {
    reconciled(|arguments| world.host(arguments), more)
}

fn of_mssql(world: &World, more: &[&str]) -> (Option<i32>, Value) {
    reconciled(|arguments| world.host(arguments), more)
}

fn table<'a>(tables: &'a Value, name: &str) -> &'a Value {
    let found = tables.as_array().unwrap().iter().find(|table| table["table"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {tables}"))
}

#[track_caller]
fn assert_equal((code, tables): &(Option<i32>, Value)) {
    assert_eq!(*code, Some(0), "{tables}");
    assert!(tables.as_array().unwrap().iter().all(|table| table["status"] == "equal"), "{tables}");
}

/// Missing, surplus and different keys.
fn counts(table: &Value) -> [u64; 3] {
    ["missing", "surplus", "different"]
        .map(|what| table[what].as_u64().unwrap_or_else(|| panic!("no {what} in {table}")))
}

/// The keys that are named: `missing 3`, `different 7 note`.
fn named(table: &Value) -> Vec<String> {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap_or("null").to_owned()).collect()
    };
    let key = |it: &Value| {
        [vec![it["difference"].as_str().unwrap().to_owned()], texts(&it["key"]), texts(&it["columns"])].concat()
    };
    table["examples"].as_array().unwrap().iter().map(|it| key(it).join(" ")).collect()
}

/// The ranges that differ: from, to, rows of the source, rows of the sink.
fn ranges(table: &Value) -> Vec<(String, String, u64, u64)> {
    let text = |value: &Value| value[0].as_str().unwrap().to_owned();
    let rows = |value: &Value| value.as_u64().unwrap();
    let range = |it: &Value| (text(&it["from"]), text(&it["to"]), rows(&it["source_rows"]), rows(&it["sink_rows"]));
    table["ranges"].as_array().unwrap().iter().map(range).collect()
}

/// Has another writer change a Delta table.
fn change_delta(folder: &Path, change: &str) {
    let script = format!("import sys\nfrom deltalake import DeltaTable\ntable = DeltaTable(sys.argv[1])\n{change}");
    let output = Command::new(python()).args(["-c", &script]).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Has another writer change the tables of a PostgreSQL sink.
fn change_postgres(world: &PostgresWorld, change: &str) {
    world.sink(&format!("WITH changed AS ({change} RETURNING 1) SELECT count(*)::text FROM changed"));
}

#[test]
fn tables_of_every_type_are_equal_in_each_mode_and_sink() {
    let script = format!("{TYPES}; {KEYLESS}");
    for world in [PostgresWorld::new(&script), PostgresWorld::new(&script).with_postgres_sink()] {
        let (code, tables) = of_postgres(&world, &["--tables", "public.types"]);
        assert_eq!((code, &tables[0]["error"]["code"]), (Some(1), &json!("DK-RUN-061")), "{tables}");
        for mode in ["append", "overwrite", "append", "merge"] {
            let tables: &[&str] = if mode == "merge" { &["--tables", "public.types"] } else { &[] };
            world.run(&[&["--mode", mode], tables].concat());
            let found = of_postgres(&world, &[&["--mode", mode], tables].concat());
            assert_equal(&found);
            let types = table(&found.1, "public.types");
            assert_eq!(
                (&types["source_rows"], &types["sink_rows"], &types["columns"]),
                (&json!(3), &json!(3), &json!(13))
            );
            assert_eq!((&types["key"], &types["looks"]), (&json!(["id"]), &json!(1)));
        }
    }
}

#[test]
fn several_full_loads_are_compared_by_the_last_one() {
    let world = PostgresWorld::new(&format!("{TYPES}; {KEYLESS}"));
    world.run(&["--run-id", "first"]);
    world.execute("DELETE FROM types WHERE n IS NULL; UPDATE types SET name = 'new' WHERE n = 0; DELETE FROM keyless WHERE b IS NULL");
    world.run(&["--run-id", "second"]);
    let found = of_postgres(&world, &[]);
    assert_equal(&found);
    for table in found.1.as_array().unwrap() {
        assert_eq!((&table["scope"], &table["sink_rows"]), (&json!("last_load"), &json!(2)), "{table}");
        assert_eq!(table["last_run_id"], "second");
    }
}

#[test]
fn rows_that_others_change_in_postgres_are_named_by_range_and_key() {
    let world = PostgresWorld::new(&format!("{ORDERS}; {KEYLESS}")).with_postgres_sink();
    world.run(&["--mode", "overwrite"]);
    assert_equal(&of_postgres(&world, &[]));
    change_postgres(&world, "DELETE FROM \"SHOP_public\".orders WHERE id = 13");
    change_postgres(&world, "UPDATE \"SHOP_public\".orders SET note = 'other' WHERE id = 28");
    change_postgres(
        &world,
        "INSERT INTO \"SHOP_public\".orders SELECT (jsonb_populate_record(o, '{\"id\": 99}')).* FROM \"SHOP_public\".orders o WHERE id = 1",
    );
    change_postgres(&world, "UPDATE \"SHOP_public\".keyless SET b = 'y' WHERE a IS NULL");
    let (code, tables) = of_postgres(&world, &["--range-keys", "10"]);
    assert_eq!(code, Some(5), "{tables}");
    let orders = table(&tables, "public.orders");
    assert_eq!((&orders["status"], counts(orders)), (&json!("different"), [1, 1, 1]));
    assert_eq!(named(orders), ["missing 13", "different 28 note", "surplus 99"]);
    let text = |text: &str| text.to_owned();
    assert_eq!(
        ranges(orders),
        [(text("11"), text("20"), 10, 9), (text("21"), text("30"), 10, 10), (text("99"), text("99"), 0, 1)]
    );
    assert_eq!((&orders["error"]["code"], &orders["error"]["is_mismatch"]), (&json!("DK-RUN-060"), &json!(true)));
    let keyless = table(&tables, "public.keyless");
    assert_eq!(
        (&keyless["source_rows"], &keyless["sink_rows"], &keyless["ranges"]),
        (&json!(3), &json!(3), &json!([]))
    );
    assert!(keyless["error"]["message"].as_str().unwrap().contains("other values in its 3 rows"), "{keyless}");

    let shown = world.host(&["reconcile", "--tables", "public.orders", "--range-keys", "10", "--pause", "1s"]);
    assert_eq!(shown.code, Some(5));
    for line in [
        "public.orders: from 11 to 20 of id: 10 rows in the source, 9 in the sink; 1 missing",
        "28 is different in note",
    ] {
        assert!(shown.stdout.contains(line), "{}", shown.stdout);
    }
    assert!(
        shown.stderr.contains("DK-RUN-060") && !shown.stdout.contains("other"),
        "no value is shown: {}",
        shown.stdout
    );
    let (_, masked) = of_postgres(&world, &["--tables", "public.orders", "--mask-keys", "--again", "0"]);
    // echo -n 13 | sha256sum
    let thirteen = "3fdba35f04dc8c462986c992bcf875546257113072a909c162f7e470e581e278";
    assert_eq!(named(&masked[0])[0], format!("missing {thirteen}"));
    assert_eq!(masked[0]["looks"], 1);
}

#[test]
fn rows_that_others_change_in_delta_are_named_by_range_and_key() {
    let world = World::new(
        "CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(20) NULL, guid uniqueidentifier NULL, at time(7) NULL,
            amount decimal(9, 2) NULL, seen datetime2(7) NULL)
GO
INSERT INTO dbo.orders VALUES (1, N'a', '6F9619FF-8B86-D011-B42D-00C04FC964FF', '12:00:00.1234567', 1.5, '2026-01-31T23:59:59.1234567'),
    (2, N'b', NULL, NULL, NULL, NULL), (3, N'c', NULL, '00:00:00', 0, NULL)",
    );
    world.run(&["--mode", "append"]);
    assert_equal(&of_mssql(&world, &[]));
    let folder = world.path().join("bronze/ERP/dbo/orders");
    change_delta(&folder, "table.update(predicate='id = 1', updates={'at': \"'12:00:00.1234566'\"})");
    change_delta(&folder, "table.delete('id = 2')");
    let add = "import pyarrow as pa\nfrom deltalake import QueryBuilder, write_deltalake\n\
        rows = pa.table(QueryBuilder().register('t', table).execute('SELECT * FROM t WHERE id = 3').read_all())\n\
        write_deltalake(table, rows.set_column(0, rows.schema.field('id'), pa.array([4], pa.int32())), mode='append')";
    change_delta(&folder, add);
    let (code, tables) = of_mssql(&world, &[]);
    assert_eq!(code, Some(5), "{tables}");
    assert_eq!(named(&tables[0]), ["different 1 at", "missing 2", "surplus 4"], "{tables}");
    assert_eq!(ranges(&tables[0]), [("1".to_owned(), "4".to_owned(), 3, 3)]);
}

#[test]
fn changes_that_were_appended_are_put_together() {
    let world = logical().with_postgres_sink();
    let by_changes = ["--settings", AUTO];
    for run in 0..3 {
        world.execute(&transactions(run));
        world.run(&by_changes);
    }
    let slots =
        || world.source("SELECT string_agg(slot_name || ' ' || confirmed_flush_lsn, ', ') FROM pg_replication_slots");
    let before = slots();
    let found = of_postgres(&world, &by_changes);
    assert_equal(&found);
    assert_eq!(found.1[0]["scope"], "last_changes");
    assert_eq!(found.1[0]["incomplete"], 0, "large values that a change leaves as they are come from the rows before");
    assert_eq!(slots(), before, "no slot is made or moved");

    // What the next load would read is not judged.
    world.execute(
        "INSERT INTO orders VALUES (1000, 1, 'new'); UPDATE orders SET a = -1 WHERE id = (SELECT min(id) FROM orders)",
    );
    let (code, tables) = of_postgres(&world, &by_changes);
    assert_eq!((code, &tables[0]["pending"], counts(&tables[0])), (Some(0), &json!(2), [0, 0, 0]), "{tables}");
    world.run(&by_changes);
    assert_equal(&of_postgres(&world, &by_changes));

    change_postgres(&world, "UPDATE \"SHOP_public\".orders SET doc = 'damaged' WHERE id = 1000");
    let (code, tables) = of_postgres(&world, &by_changes);
    assert_eq!((code, named(&tables[0])), (Some(5), vec!["different 1000 doc".to_owned()]), "{tables}");
}

#[test]
fn merged_changes_are_compared_row_by_row() {
    for world in [logical(), logical().with_postgres_sink()] {
        let merge = ["--mode", "merge", "--settings", AUTO];
        for run in 0..3 {
            world.execute(&transactions(10 + run));
            world.run(&merge);
        }
        let found = of_postgres(&world, &merge);
        assert_equal(&found);
        assert_eq!(found.1[0]["scope"], "all_rows");
        world.execute("INSERT INTO orders VALUES (1001, 1, 'x')");
        world.run(&merge);
        world.execute("DELETE FROM orders WHERE id = 1001");
        let (code, tables) = of_postgres(&world, &merge);
        assert_eq!((code, &tables[0]["pending"]), (Some(0), &json!(1)), "{tables}");
        world.run(&merge);
        assert_equal(&of_postgres(&world, &merge));
    }
}

fn logical() -> PostgresWorld {
    PostgresWorld::with_logical_decoding(
        "CREATE TABLE orders (id int PRIMARY KEY, a int, doc text);
         ALTER TABLE orders ALTER COLUMN doc SET STORAGE EXTERNAL;
         CREATE PUBLICATION bronze FOR TABLE orders",
    )
}

/// Transactions of inserts, updates and deletes, with large values that an update leaves as they are.
fn transactions(seed: u64) -> String {
    let mut numbers = Random::new(seed);
    let mut script = String::new();
    for _ in 0..80 {
        let (id, value) = (numbers.below(30), numbers.below(1000));
        script += &match numbers.below(5) {
            0 | 1 => format!(
                "INSERT INTO orders VALUES ({id}, {value}, repeat('d{value}', 1500)) ON CONFLICT (id) DO UPDATE SET a = {value};"
            ),
            2 => format!("UPDATE orders SET a = {value} WHERE id = {id};"),
            3 => format!("UPDATE orders SET doc = repeat('u{value}', 1500) WHERE id = {id};"),
            _ => format!("DELETE FROM orders WHERE id = {id};"),
        };
    }
    script
}

#[test]
fn changes_of_sql_server_are_put_together() {
    let tracked = "ALTER DATABASE CURRENT SET CHANGE_TRACKING = ON (CHANGE_RETENTION = 2 DAYS, AUTO_CLEANUP = ON)\nGO\n\
        CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(20) NULL)\nGO\n\
        ALTER TABLE dbo.orders ENABLE CHANGE_TRACKING";
    let captured = "EXEC sys.sp_cdc_enable_db\nGO\nCREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(20) NULL)\nGO\n\
        EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'orders', @role_name = NULL";
    let by = |strategy: &str| format!(r#"{{"strategy": {{"dbo.orders": "{strategy}"}}}}"#);
    for (script, strategy) in [(tracked, "change-tracking"), (captured, "cdc")] {
        let world = World::new(script);
        let settings = by(strategy);
        let arguments = ["--tables", "dbo.orders", "--settings", settings.as_str()];
        world.mssql.execute(&["INSERT INTO dbo.orders VALUES (1, N'a'), (2, N'b'), (3, N'c')"]);
        world.run(&arguments);
        world.mssql.execute(&[
            "UPDATE dbo.orders SET note = N'd' WHERE id = 1",
            "UPDATE dbo.orders SET note = N'e' WHERE id = 1",
            "DELETE FROM dbo.orders WHERE id = 2",
            "INSERT INTO dbo.orders VALUES (4, NULL)",
        ]);
        let (code, tables) = of_mssql(&world, &arguments);
        assert_eq!((code, &tables[0]["pending"]), (Some(0), &json!(3)), "{strategy}: {tables}");
        world.run(&arguments);
        let found = of_mssql(&world, &arguments);
        assert_equal(&found);
        assert_eq!((&found.1[0]["scope"], &found.1[0]["sink_rows"]), (&json!("last_changes"), &json!(3)), "{strategy}");
        let folder = world.path().join("bronze/ERP/dbo/orders");
        change_delta(&folder, "table.delete(\"id = 4\")");
        let (code, tables) = of_mssql(&world, &arguments);
        assert_eq!((code, named(&tables[0])), (Some(5), vec!["missing 4".to_owned()]), "{strategy}: {tables}");
    }
}

#[test]
fn merged_table_of_change_tracking_is_equal_until_a_row_is_added() {
    let world = World::new(
        "ALTER DATABASE CURRENT SET CHANGE_TRACKING = ON\nGO\n\
         CREATE TABLE dbo.orders (a int NOT NULL, b nvarchar(5) NOT NULL, note nvarchar(20) NULL, PRIMARY KEY (a, b))\nGO\n\
         ALTER TABLE dbo.orders ENABLE CHANGE_TRACKING\nGO\nINSERT INTO dbo.orders VALUES (1, N'x', N'1'), (1, N'y', NULL)",
    )
    .with_postgres();
    let arguments = ["--mode", "merge", "--settings", AUTO];
    world.run(&arguments);
    world.mssql.execute(&["DELETE FROM dbo.orders WHERE b = N'x'", "INSERT INTO dbo.orders VALUES (2, N'z', N'3')"]);
    world.run(&arguments);
    assert_equal(&of_mssql(&world, &arguments));
    world.postgres_execute("UPDATE \"ERP_dbo\".orders SET b = 'w' WHERE b = 'z'");
    let (code, tables) = of_mssql(&world, &arguments);
    assert_eq!(
        (code, named(&tables[0])),
        (Some(5), vec!["surplus 2 w".to_owned(), "missing 2 z".to_owned()]),
        "{tables}"
    );
}

#[test]
fn rows_that_a_watermark_does_not_see_are_found() {
    let world = PostgresWorld::new(
        "CREATE TABLE orders (id int PRIMARY KEY, note text, changed int NOT NULL);
         INSERT INTO orders SELECT i, 'row ' || i, i FROM generate_series(1, 5) AS i",
    );
    let by_watermark = ["--settings", r#"{"watermark": {"public.orders": {"column": "changed"}}}"#];
    world.run(&by_watermark);
    world.execute("UPDATE orders SET note = 'seen', changed = 10 WHERE id = 1");
    world.run(&by_watermark);
    assert_equal(&of_postgres(&world, &by_watermark));
    world.execute(
        "DELETE FROM orders WHERE id = 2; UPDATE orders SET note = 'unseen' WHERE id = 3; INSERT INTO orders VALUES (6, 'next', 11)",
    );
    let (code, tables) = of_postgres(&world, &by_watermark);
    assert_eq!((code, &tables[0]["pending"]), (Some(5), &json!(1)), "{tables}");
    assert_eq!(named(&tables[0]), ["surplus 2", "different 3 note"]);
}

#[test]
fn column_that_the_sink_does_not_have_is_named_and_not_compared() {
    let world = PostgresWorld::new(ORDERS).with_postgres_sink();
    world.run(&[]);
    world.execute("ALTER TABLE orders ADD extra int DEFAULT 7");
    let found = of_postgres(&world, &[]);
    assert_equal(&found);
    assert_eq!((&found.1[0]["not_in_sink"], &found.1[0]["columns"]), (&json!(["extra"]), &json!(2)));
}

#[test]
fn source_whose_rows_change_all_the_time_is_not_judged() {
    let world = PostgresWorld::new("CREATE VIEW moving AS SELECT i, random() AS value FROM generate_series(1, 3) AS i");
    world.run(&[]);
    let (code, tables) = of_postgres(&world, &[]);
    assert_eq!((code, &tables[0]["error"]["code"]), (Some(4), &json!("DK-RUN-063")), "{tables}");
    assert_eq!(tables[0]["status"], "failed");
    let (code, tables) = of_postgres(&world, &["--again", "0"]);
    assert_eq!((code, &tables[0]["error"]["code"]), (Some(5), &json!("DK-RUN-060")), "{tables}");
}

#[test]
fn loaded_files_are_compared_as_a_whole() {
    let world = FilesWorld::new();
    world.put("t/a.csv", "id,name\n1,a\n2,b\n");
    world.run(&[]);
    world.put("t/b.csv", "id,name\n3,c\n");
    world.run(&[]);
    let run = |arguments: &[&str]| world.host(arguments);
    let found = reconciled(run, &[]);
    assert_equal(&found);
    assert_eq!((&found.1[0]["sink_rows"], &found.1[0]["key"]), (&json!(3), &json!([])));
    std::fs::remove_file(world.path().join("landing/t/a.csv")).unwrap();
    let (code, tables) = reconciled(run, &[]);
    assert_eq!((code, &tables[0]["source_rows"], &tables[0]["sink_rows"]), (Some(5), &json!(1), &json!(3)), "{tables}");
}
