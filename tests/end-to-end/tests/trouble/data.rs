//! Types, values and names that do not fit, sinks that hold something else or are full.

use std::process::Command;

use datakit_fake_sqlserver::server::Options;
use datakit_fake_sqlserver::sql::SqlEngineOptions;
use datakit_tests::{Mssql, World, python};

use crate::{RUN, TABLE, delta_ids, each, fake_sqlserver, run};

#[test]
fn a_type_that_cannot_be_represented_fails_its_table() {
    // The fake SQL Server has no such type: one of its CLR types is renamed to what SQL Server 2025 brought.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("erp.sqlite");
    let engine = SqlEngineOptions { file: Some(file.clone()), ..SqlEngineOptions::default() };
    let reason = "only the fake SQL Server's catalog can be changed";
    let Some(mssql) = Mssql::fake_sqlserver_for(reason, Options::default(), engine) else { return };
    mssql.execute(&["CREATE TABLE dbo.v (id int NOT NULL PRIMARY KEY, embedding geography NULL)"]);
    let rename = "import sqlite3, sys\n\
        c = sqlite3.connect(sys.argv[1])\n\
        assert c.execute(\"UPDATE __types SET name = 'vector' WHERE user_type_id = 130\").rowcount == 1\n\
        c.commit()";
    assert!(Command::new(python()).args(["-c", rename]).arg(&file).status().unwrap().success());
    let world = World::with(mssql, "");
    insta::assert_snapshot!(world.refused(&RUN));
    assert!(world.nothing_written());
    let without = r#"{"columns": {"dbo.v": {"exclude": ["embedding"]}}}"#;
    world.host(&run(&["--settings", without])).success();
}

#[test]
fn columns_of_their_own_kind_are_left_out_marked_or_refused() {
    let script =
        "CREATE TABLE dbo.edge (graph_id_A bigint NOT NULL, [$edge_id_A] nvarchar(100) NULL, weight int NOT NULL)
GO
INSERT INTO dbo.edge VALUES (1, N'{}', 7)
GO
CREATE TABLE dbo.people (id int NOT NULL PRIMARY KEY, email nvarchar(40) NULL)
GO
INSERT INTO dbo.people VALUES (1, N'xxxx'), (2, N'xxxx')
GO
CREATE TABLE dbo.vault (id int NOT NULL PRIMARY KEY, ssn varbinary(65) NULL)";
    let Some(world) = fake_sqlserver("only the fake SQL Server takes what its catalog says of a column", script) else {
        return;
    };
    for (table, column, fact, value) in [
        ("dbo.edge", "graph_id_A", "graph_type", 1),
        ("dbo.edge", "$edge_id_A", "graph_type", 2),
        ("dbo.people", "email", "is_masked", 1),
        ("dbo.vault", "ssn", "encryption_type", 2),
    ] {
        world.mssql.engine().set_column_fact(table, column, fact, value).unwrap();
    }
    let output = world.host(&RUN);
    assert_eq!(output.code, Some(3), "{}", output.stderr);
    let summary = output.json();
    let tables = summary["tables"].as_array().unwrap();
    let edge = world.delta("ERP/dbo/edge");
    assert!(edge.contains("weight") && edge.contains("$edge_id_A") && !edge.contains("graph_id_A"), "{edge}");
    let named = |name: &str| tables.iter().find(|table| table["table"] == name).unwrap();
    let masked = &named("dbo.people")["adjustments"][0];
    assert_eq!((masked["column"].as_str(), masked["values"].as_u64()), (Some("email"), Some(2)));
    assert!(masked["what"].as_str().unwrap().contains("dynamic data masking"), "{masked}");
    let vault = named("dbo.vault");
    assert_eq!(vault["error"]["code"], "SQLSERVER-BRONZE-008");
    assert!(vault["error"]["message"].as_str().unwrap().contains("`ssn` of dbo.vault"), "{vault}");
}

#[test]
fn half_a_character_is_no_text() {
    let world = World::new(TABLE);
    assert_eq!(world.run(&["--run-id", "before"])["rows"], 3);
    world.mssql.execute(&["INSERT INTO dbo.t VALUES (4, CAST(0x610000D8 AS nvarchar(60)))"]);
    let files = world.data_files("ERP/dbo/t");
    insta::assert_snapshot!(world.refused(&RUN));
    assert_eq!(delta_ids(&world, "ERP/dbo/t"), each(1, 3, 1));
    assert_eq!(world.data_files("ERP/dbo/t"), files);
    world.run(&["--settings", r#"{"columns": {"dbo.t": {"exclude": ["note"]}}}"#, "--config", elsewhere(&world)]);
}

/// The warehouse file with another Delta root.
fn elsewhere(world: &World) -> &'static str {
    world.variant("./bronze", "./bronze-without-notes")
}

#[test]
fn a_null_character_is_no_text_of_postgres() {
    let world = World::new(TABLE).with_postgres();
    assert_eq!(world.run(&["--run-id", "before"])["rows"], 3);
    world.mssql.execute(&["INSERT INTO dbo.t VALUES (4, CAST(0x610000006200 AS nvarchar(60)))"]);
    insta::assert_snapshot!(world.refused(&RUN));
    assert_eq!(world.postgres("SELECT string_agg(id::text, ' ' ORDER BY id) FROM \"ERP_dbo\".t"), "1 2 3");
}

#[test]
fn a_name_the_sink_cannot_hold_is_refused() {
    let long = "ø".repeat(50);
    let script = format!(
        "CREATE TABLE dbo.[{long}] (id int NOT NULL)\nGO\nCREATE TABLE dbo.reserved (id int, _bronze_mine int)\nGO\n{TABLE}"
    );
    let world = World::new(&script);
    let output = world.host(&run(&["--parallel", "1"]));
    assert_eq!(output.code, Some(3));
    insta::assert_snapshot!("name_too_long_for_delta", world.refusal(&output));
    assert_eq!(delta_ids(&world, "ERP/dbo/t"), each(1, 3, 1));
    assert!(world.data_files("ERP/dbo/reserved").is_empty());

    let world = world.with_postgres();
    insta::assert_snapshot!("name_too_long_for_postgres", world.refused(&run(&["--tables", &format!("dbo.{long}")])));
    assert_eq!(world.postgres("SELECT count(*)::text FROM pg_tables WHERE schemaname = 'ERP_dbo'"), "0");
}

#[test]
fn a_table_of_another_schema_is_refused_where_no_difference_is_allowed() {
    let changed = [
        "DROP TABLE dbo.t",
        "CREATE TABLE dbo.t (id bigint NOT NULL PRIMARY KEY, note nvarchar(60) NULL, more int)",
        "INSERT INTO dbo.t VALUES (9, N'x', 1)",
    ];
    let world = World::new(TABLE);
    world.run(&["--run-id", "before"]);
    world.mssql.execute(&changed);
    let fail = run(&["--drift", "fail"]);
    insta::assert_snapshot!("delta_table_of_another_schema", world.refused(&fail));
    insta::assert_snapshot!("delta_column_of_a_wider_type", world.refused(&RUN));
    let overwrite = world.host(&run(&["--drift", "fail", "--mode", "overwrite"]));
    assert_eq!(overwrite.code, Some(1), "overwriting rows is not overwriting a schema");
    assert_eq!(delta_ids(&world, "ERP/dbo/t"), each(1, 3, 1));

    world.mssql.execute(&["DROP TABLE dbo.t"]);
    world.mssql.execute(&datakit_tests::batches(TABLE));
    let world = world.with_postgres();
    world.run(&["--run-id", "before"]);
    world.mssql.execute(&changed);
    insta::assert_snapshot!("postgres_table_of_another_schema", world.refused(&fail));
    assert_eq!(world.postgres("SELECT count(*)::text FROM \"ERP_dbo\".t"), "3");
}
