//! The examples do what they say, with only the addresses changed.

#![expect(clippy::unwrap_used, reason = "a test that fails should say where")]

use std::fs;
use std::path::Path;

use datakit_tests::{FilesWorld, World, built_binary};

const TABLES: &str = "\
CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, total decimal(18,2) NULL)
GO
CREATE TABLE dbo.order_lines (order_id int NOT NULL, line int NOT NULL, PRIMARY KEY (order_id, line))
GO
CREATE TABLE dbo.customers (id int NOT NULL PRIMARY KEY, name nvarchar(50) NULL, email nvarchar(50) NULL, phone varchar(20) NULL)
GO
CREATE TABLE dbo.audit_log (id int NOT NULL PRIMARY KEY)
GO
INSERT INTO dbo.orders VALUES (1, 9.99), (2, NULL)
GO
INSERT INTO dbo.order_lines VALUES (1, 1), (1, 2), (2, 1)
GO
INSERT INTO dbo.customers VALUES (1, N'Ada', N'ada@example', '1')
";

/// Copies an example's files into the world, with the world's addresses.
fn install(world: &World, example: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(example);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mssql = &world.mssql;
        let trust = mssql.trust_lines();
        let text = fs::read_to_string(&path)
            .unwrap()
            .replace("registry.example/datakits", "oci:registry")
            .replace(
                "server = \"sql01.corp.example\"",
                &format!("server = \"{}\"\nport = {}\n{trust}", mssql.host, mssql.port),
            )
            .replace("database = \"ERP\"", &format!("database = \"{}\"", mssql.database))
            .replace("user = \"svc_bronze\"", &format!("user = \"{}\"", mssql.user));
        world.write(path.file_name().unwrap().to_str().unwrap(), &text);
    }
}

#[test]
fn the_finance_team_has_all_but_the_audit_tables_in_its_lake() {
    let world = World::new(TABLES);
    install(&world, "two-warehouses");
    let summary = world.run(&["--config", "finance.toml"]);
    let tables: Vec<&str> =
        summary["tables"].as_array().unwrap().iter().map(|t| t["table"].as_str().unwrap()).collect();
    assert_eq!(tables, ["dbo.customers", "dbo.order_lines", "dbo.orders"]);
    assert_eq!(world.delta("ERP/dbo/order_lines").lines().count(), 1 + 3);
}

#[test]
fn the_logistics_team_has_customers_without_their_addresses() {
    let world = World::new(TABLES).with_postgres();
    install(&world, "two-warehouses");
    let text = fs::read_to_string(world.path().join("logistics.toml")).unwrap();
    let warehouse = fs::read_to_string(world.path().join("warehouse.toml")).unwrap();
    // The sink of the world's own file, in place of the example's.
    let sink = warehouse.split("[sinks.bronze]\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let (before, rest) = text.split_once("[sinks.bronze]\n").unwrap();
    let (_, after) = rest.split_once("\n\n").unwrap();
    world.write("logistics.toml", &format!("{before}[sinks.bronze]\n{sink}\n\n{after}"));
    for _ in 0..2 {
        assert_eq!(world.run(&["--config", "logistics.toml"])["rows"], 6);
    }
    let columns = "SELECT string_agg(column_name, ' ' ORDER BY ordinal_position) FROM information_schema.columns WHERE table_schema = 'ERP_dbo' AND table_name = 'customers' AND column_name NOT LIKE '\\_bronze%'";
    assert_eq!(world.postgres(columns), "id name");
    assert_eq!(world.postgres("SELECT count(*)::text FROM \"ERP_dbo\".orders"), "2");
}

#[test]
fn a_landing_folder_is_loaded_file_by_file() {
    let world = FilesWorld::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/landing-folder");
    for path in ["orders/dt=2026-01-01/shop.csv", "orders/dt=2026-01-02/shop.csv", "customers.jsonl"] {
        world.put(path, fs::read(example.join("landing").join(path)).unwrap());
    }
    let text = fs::read_to_string(example.join("warehouse.toml")).unwrap();
    fs::write(world.path().join("warehouse.toml"), text.replace("registry.example/datakits", "oci:registry")).unwrap();
    let summary = world.run(&[]);
    assert_eq!(summary["rows"], 2 + 3);
    assert_eq!(world.column("orders", "customer"), ["0042", "0042", "0043"]);
    assert_eq!(world.column("orders__rejected", "text"), ["4;much;0044"]);
    assert_eq!(world.run(&[])["rows"], 0);
}

#[test]
fn embedded_application_runs_a_job_and_prints_its_events() {
    let world = World::new(
        "CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note nvarchar(10) NULL)\nGO\n\
         INSERT INTO dbo.orders VALUES (1, N'x'), (2, NULL)\nGO\n",
    );
    let output = world.finish(world.command_of(&built_binary("embed"), &["warehouse.toml"])).success();
    let events: Vec<serde_json::Value> =
        output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.iter().all(|event| event["version"] == 1), "{events:?}");
    let named = |name: &str| events.iter().filter(|event| event["event"] == name).collect::<Vec<_>>();
    assert_eq!(named("loaded")[0]["datakit"], "sqlserver-bronze");
    assert_eq!(named("table_started")[0]["table"], "dbo.orders");
    let [finished] = named("table_finished")[..] else { panic!("one table: {events:?}") };
    assert_eq!((&finished["summary"]["status"], &finished["summary"]["rows"]), (&"committed".into(), &2.into()));
    let [ended] = named("ingest_finished")[..] else { panic!("one ingest: {events:?}") };
    assert_eq!((&ended["status"], &ended["rows"]), (&"done".into(), &2.into()));
    assert_eq!(world.delta("ERP/dbo/orders").lines().count(), 3);
}
