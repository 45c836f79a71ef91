//! The main job: tables of a SQL Server into Bronze, on Delta and on Postgres.

use datakit_stores::testing::ObjectStoreServer;
use datakit_tests::World;

const SHOP: &str = "\
CREATE SCHEMA sales
GO
CREATE TABLE sales.orders (
    id int NOT NULL PRIMARY KEY,
    customer nvarchar(40) NULL,
    amount decimal(18,4) NOT NULL,
    ordered_at datetime2(6) NOT NULL,
    ship_date date NULL,
    is_open bit NOT NULL
)
GO
INSERT INTO sales.orders VALUES
    (1, N'Ærø & Søn', 12.5000, '2024-02-29T23:59:59.123456', NULL, 1),
    (2, NULL, -0.0001, '0001-01-01T00:00:00', '9999-12-31', 0),
    (3, N'', 99999999999999.9999, '9999-12-31T23:59:59.999999', '0001-01-01', 1)
GO
CREATE TABLE dbo.[odd ]] \"name\", 50%] ([a b] int NOT NULL, [c=d] nvarchar(10) NULL)
GO
INSERT INTO dbo.[odd ]] \"name\", 50%] VALUES (1, N'x'), (2, NULL)
GO
CREATE TABLE dbo.empty_table (id bigint NOT NULL PRIMARY KEY, note varchar(20) NULL)
GO
CREATE VIEW sales.open_orders AS SELECT id, customer FROM sales.orders WHERE is_open = 1
";

#[test]
fn tables_and_views_become_bronze_tables_on_delta() {
    let world = World::new(SHOP);
    let summary = world.run(&["--run-id", "run-1"]);
    assert_eq!(summary["status"], "done");
    assert_eq!(summary["rows"], 7);
    let tables: Vec<&str> =
        summary["tables"].as_array().unwrap().iter().map(|t| t["table"].as_str().unwrap()).collect();
    assert_eq!(tables, ["dbo.empty_table", "dbo.odd ] \"name\", 50%", "sales.open_orders", "sales.orders"]);

    let mut rows = world.delta("ERP/sales/orders");
    // One value a run; the rest is fixed.
    let loaded_at = rows.split("\"_bronze_loaded_at\": \"").nth(2).unwrap().split('"').next().unwrap().to_owned();
    rows = rows.replace(&loaded_at, "[loaded at]");
    insta::assert_snapshot!(rows);
    assert_eq!(world.delta("ERP/dbo/empty_table").trim_end().lines().count(), 1, "the header alone");
    let odd = summary["tables"][1]["target"].as_str().unwrap();
    let odd = odd.rsplit_once("/bronze/").unwrap().1;
    insta::assert_snapshot!(world.delta(odd).lines().next().unwrap());
}

#[test]
fn a_table_of_as_many_columns_as_sql_server_allows_is_loaded_by_default() {
    let columns: Vec<String> = (0..1_024)
        .map(|number| format!("[a_column_name_of_sixty_three_characters_for_all_the_columns_{number:04}] int NULL"))
        .collect();
    let script = format!(
        "CREATE TABLE dbo.wide ({})\nGO\nINSERT INTO dbo.wide ([a_column_name_of_sixty_three_characters_for_all_the_columns_0001]) VALUES (7)",
        columns.join(", ")
    );
    let world = World::new(&script);
    assert_eq!(world.run(&["--run-id", "run-1"])["rows"], 1);
    let rows = world.delta("ERP/dbo/wide");
    let header = rows.lines().next().unwrap();
    let of = |name: &str| header.matches(name).count();
    assert_eq!((of("a_column_name_of_sixty_three"), of("_bronze_")), (1_024, 6));
}

#[test]
fn tables_become_bronze_tables_in_object_stores() {
    for server in [ObjectStoreServer::s3().unwrap(), ObjectStoreServer::azure().unwrap()] {
        let world = World::new(SHOP).with_object_store(server);
        assert_eq!(world.run(&["--run-id", "run-1"])["rows"], 7);
        assert_eq!(world.run(&["--run-id", "run-1"])["tables"][0]["status"], "unchanged");
        assert_eq!(world.run(&["--run-id", "run-2", "--mode", "overwrite"])["rows"], 7);
        let rows = world.delta("ERP/sales/orders");
        assert_eq!(rows.lines().count(), 4, "{rows}");
        assert!(rows.contains("\"customer\": \"Ærø & Søn\", \"amount\": \"12.5000\""), "{rows}");
    }
}

#[test]
fn tables_and_views_become_bronze_tables_on_postgres() {
    let world = World::new(SHOP).with_postgres();
    let summary = world.run(&["--run-id", "run-1"]);
    assert_eq!(summary["rows"], 7);
    let rows = world.postgres(
        "SELECT string_agg(r, E'\\n' ORDER BY r) FROM (SELECT row_to_json(o)::jsonb - '_bronze_loaded_at' || '{}' AS j FROM \"ERP_sales\".orders o) t, LATERAL (SELECT j::text AS r) u",
    );
    insta::assert_snapshot!(rows);
    assert_eq!(world.postgres("SELECT count(*)::text FROM \"ERP_dbo\".empty_table"), "0");
}

#[test]
fn both_sinks_hold_the_same_row_hashes() {
    let world = World::new(SHOP);
    world.run(&[]);
    let delta = world.delta("ERP/sales/orders");
    let world = world.with_postgres();
    world.run(&[]);
    let hashes = world.postgres("SELECT string_agg(_bronze_row_hash, ' ') FROM \"ERP_sales\".orders");
    assert_eq!(hashes.split(' ').count(), 3);
    for hash in hashes.split(' ') {
        assert!(delta.contains(hash), "{hash} is not in\n{delta}");
    }
}

#[test]
fn the_same_run_id_again_changes_nothing() {
    let world = World::new(SHOP);
    assert_eq!(world.run(&["--run-id", "nightly"])["rows"], 7);
    let again = world.run(&["--run-id", "nightly"]);
    assert_eq!(again["rows"], 0);
    assert!(again["tables"].as_array().unwrap().iter().all(|t| t["status"] == "unchanged"), "{again}");
    assert_eq!(world.delta("ERP/sales/orders").lines().count(), 1 + 3);
}

#[test]
fn a_run_id_is_remembered_though_another_run_followed() {
    let world = World::new(SHOP);
    for run_id in ["monday", "tuesday", "monday"] {
        world.run(&["--run-id", run_id]);
    }
    assert_eq!(world.delta("ERP/sales/orders").lines().count(), 1 + 6);
}

#[test]
fn append_keeps_rows_and_overwrite_replaces_them() {
    let world = World::new(SHOP);
    world.run(&[]);
    world.run(&[]);
    assert_eq!(world.delta("ERP/sales/orders").lines().count(), 1 + 6);
    world.run(&["--mode", "overwrite"]);
    assert_eq!(world.delta("ERP/sales/orders").lines().count(), 1 + 3);
}

#[test]
fn a_table_in_many_partitions_arrives_whole_and_once() {
    let world = World::new("CREATE TABLE dbo.big (id int NOT NULL PRIMARY KEY, k int NOT NULL)");
    let rows: Vec<String> = (0..5000).map(|i| format!("({}, {})", i * 3 - 7000, i)).collect();
    for part in rows.chunks(1000) {
        world.mssql.execute(&[&format!("INSERT INTO dbo.big VALUES {}", part.join(", "))]);
    }
    let settings = r#"{"partition_row_threshold": 500, "partition_rows": 500}"#;
    let summary = world.run(&["--settings", settings]);
    assert!(summary["tables"][0]["partitions"].as_u64().unwrap() > 3, "{summary}");
    assert_eq!(summary["tables"][0]["consistent_snapshot"], false);
    assert_eq!(summary["rows"], 5000);
    let delta = world.delta("ERP/dbo/big");
    for i in 0..5000 {
        assert_eq!(delta.matches(&format!("\"k\": {i},")).count(), 1, "row {i}");
    }
}

#[test]
fn the_same_elsewhere() {
    datakit_tests::run_again_elsewhere(&["tables_and_views_become", "append_keeps"]);
}
