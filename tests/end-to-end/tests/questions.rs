//! What a person asks before a run, and the ways to say what to run.

use datakit_tests::World;

const TABLES: &str = "\
CREATE TABLE dbo.orders (id uniqueidentifier NOT NULL PRIMARY KEY, placed_on date NOT NULL, note nvarchar(20) NULL)
GO
INSERT INTO dbo.orders VALUES
    ('00000000-0000-0000-0000-000000000003', '2024-01-01', N'a'),
    ('03000000-0000-0000-0000-000000000000', '2024-01-02', NULL),
    ('FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF', '2024-01-03', N'c'),
    ('12345678-9ABC-DEF0-1234-56789ABCDEF0', '2024-01-04', N'd')
GO
CREATE TABLE dbo.days (day date NOT NULL PRIMARY KEY, k bigint NOT NULL)
GO
INSERT INTO dbo.days VALUES ('0001-01-01', 1), ('2024-02-28', 2), ('2024-02-29', 3), ('2024-03-01', 4), ('9999-12-31', 5)
GO
CREATE VIEW dbo.notes AS SELECT note FROM dbo.orders
";

#[test]
fn discover_plan_and_preview_answer_without_writing() {
    let world = World::new(TABLES);
    let discovered = world.host(&["discover", "--tables", "dbo.*", "!dbo.notes", "--output", "json"]).success().json();
    let selected: Vec<String> = discovered
        .as_array()
        .unwrap()
        .iter()
        .map(|t| format!("{} {}", t["table"].as_str().unwrap(), t["selected"]))
        .collect();
    assert_eq!(selected, ["dbo.days true", "dbo.notes false", "dbo.orders true"]);

    let settings = r#"{"partition_row_threshold": 1, "partition_rows": 2}"#;
    let plan =
        world.host(&["plan", "--tables", "dbo.orders", "--settings", settings, "--output", "json"]).success().json();
    assert_eq!(plan.as_array().unwrap().len(), 1, "{plan}");

    let preview = world.host(&["preview", "--tables", "dbo.days", "--rows", "2"]).success().stdout;
    assert!(preview.contains("0001-01-01") && preview.contains("_bronze_row_hash"), "{preview}");
    assert!(!world.path().join("bronze").exists());
}

#[test]
fn keys_of_every_kind_are_cut_into_partitions_that_lose_nothing() {
    let world = World::new(TABLES);
    let settings = r#"{"partition_row_threshold": 1, "partition_rows": 1}"#;
    let summary = world.run(&["--tables", "dbo.orders", "dbo.days", "--settings", settings]);
    assert_eq!(summary["rows"], 9, "{summary}");
    for table in summary["tables"].as_array().unwrap() {
        assert!(table["partitions"].as_u64().unwrap() > 1, "{table}");
    }
    let days = world.delta("ERP/dbo/days");
    for k in 1..=5 {
        assert_eq!(days.matches(&format!("\"k\": {k},")).count(), 1, "{days}");
    }
    assert_eq!(world.delta("ERP/dbo/orders").lines().count(), 1 + 4);
}

#[test]
fn the_environment_alone_is_enough() {
    let world = World::new(TABLES);
    std::fs::remove_file(world.path().join("warehouse.toml")).unwrap();
    let mssql = &world.mssql;
    let mut command = world.command(&["run", "sqlserver-bronze@0.1.0", "--tables", "dbo.days", "--output", "json"]);
    command.env("MSSQL_SERVER", &mssql.host).env("MSSQL_PORT", mssql.port.to_string());
    command.env("MSSQL_DATABASE", &mssql.database).env("MSSQL_USER", &mssql.user);
    command.envs(mssql.trust_variables());
    command.env("BRONZE_URI", "./bronze").env("DATAKIT_REGISTRY", "oci:registry").env("MSSQL_SOURCE_SYSTEM", "ERP");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(world.delta("ERP/dbo/days").lines().count(), 1 + 5);
}

#[test]
fn dirty_reads_are_reported() {
    let world = World::new(TABLES);
    let summary = world.run(&["--tables", "dbo.days", "--settings", r#"{"nolock": true}"#]);
    assert_eq!(summary["tables"][0]["approximate"], true, "{summary}");
    let summary = world.run(&["--tables", "dbo.days"]);
    assert_eq!(summary["tables"][0].get("approximate"), None, "{summary}");
}

#[test]
fn a_digest_names_a_datakit() {
    let world = World::new(TABLES);
    let listed = world.host(&["list", "sqlserver-bronze"]).success().stdout;
    let digest = listed.split_whitespace().find(|word| word.starts_with("sha256:")).unwrap();
    world.edit("sqlserver-bronze@0.1.0", &format!("sqlserver-bronze@{digest}"));
    assert_eq!(world.run(&["--tables", "dbo.days"])["digest"], digest);
}

#[test]
fn the_same_elsewhere() {
    datakit_tests::run_again_elsewhere(&["keys_of_every_kind", "the_environment_alone"]);
}
