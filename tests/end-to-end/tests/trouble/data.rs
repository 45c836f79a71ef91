//! Types, values and names that do not fit, sinks that hold something else or are full.

use std::process::Command;

use datakit_standin::server::Options;
use datakit_standin::sql::SqlEngineOptions;
use datakit_tests::{Mssql, World, python};

use crate::{RUN, TABLE, delta_ids, each, run};

#[test]
fn a_type_that_cannot_be_represented_fails_its_table() {
    // The stand-in has no such type: one of its CLR types is renamed to what SQL Server 2025 brought.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("erp.sqlite");
    let engine = SqlEngineOptions { file: Some(file.clone()), ..SqlEngineOptions::default() };
    let reason = "only the stand-in's catalog can be changed";
    let Some(mssql) = Mssql::standin_for(reason, Options::default(), engine) else { return };
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
fn a_table_of_another_schema_is_never_changed() {
    let changed = [
        "DROP TABLE dbo.t",
        "CREATE TABLE dbo.t (id bigint NOT NULL PRIMARY KEY, note nvarchar(60) NULL, more int)",
        "INSERT INTO dbo.t VALUES (9, N'x', 1)",
    ];
    let world = World::new(TABLE);
    world.run(&["--run-id", "before"]);
    world.mssql.execute(&changed);
    insta::assert_snapshot!("delta_table_of_another_schema", world.refused(&RUN));
    let overwrite = world.host(&run(&["--mode", "overwrite"]));
    assert_eq!(overwrite.code, Some(1), "overwriting rows is not overwriting a schema");
    assert_eq!(delta_ids(&world, "ERP/dbo/t"), each(1, 3, 1));

    world.mssql.execute(&["DROP TABLE dbo.t"]);
    world.mssql.execute(&datakit_tests::batches(TABLE));
    let world = world.with_postgres();
    world.run(&["--run-id", "before"]);
    world.mssql.execute(&changed);
    insta::assert_snapshot!("postgres_table_of_another_schema", world.refused(&RUN));
    assert_eq!(world.postgres("SELECT count(*)::text FROM \"ERP_dbo\".t"), "3");
}
