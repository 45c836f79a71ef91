//! Tables of as many columns as the server allows, and of names as long.

use datakit_tests::PostgresWorld;

/// `s.NAME` with so many columns of a type, whose names are of the pattern of `format`.
fn table(name: &str, columns: u32, pattern: &str, data_type: &str) -> String {
    format!(
        "DO $$ DECLARE list text; BEGIN
            SELECT string_agg(format('{pattern} {data_type}', lpad(i::text, 12, '0')), ', ') INTO list FROM generate_series(1, {columns}) AS i;
            EXECUTE 'CREATE TABLE s.{name} (' || list || ')';
            EXECUTE 'INSERT INTO s.{name} DEFAULT VALUES';
         END $$;"
    )
}

const LONG: &str = "\"a_fairly_long_column_name_of_sixty_three_bytes_no_%s\"";

fn tables() -> String {
    ["CREATE SCHEMA s; CREATE EXTENSION citext; CREATE TABLE s.narrow AS SELECT 1 AS id;".to_owned()]
        .into_iter()
        .chain([
            table("w1024", 1_024, "c%s", "int"),
            table("w1600", 1_600, "c%s", "int"),
            table("w1000long", 1_000, LONG, "int"),
            table("w1590cast", 1_590, LONG, "citext"),
            table("w1590dates", 1_590, LONG, "timestamptz"),
        ])
        .collect()
}

#[test]
fn the_widest_tables_are_loaded_by_default() {
    let world = PostgresWorld::new(&tables());
    let settings = r#"{"infinity": "null"}"#;
    let summary = world.run(&["--settings", settings]);
    assert_eq!((&summary["status"], &summary["rows"]), (&"done".into(), &6.into()), "{summary}");
    for (name, columns) in [("w1024", 1_024), ("w1600", 1_600), ("w1000long", 1_000), ("w1590cast", 1_590)] {
        let delta = world.delta(&format!("SHOP/s/{name}"));
        let row: serde_json::Value = serde_json::from_str(delta.lines().nth(1).unwrap()).unwrap();
        assert_eq!(row.as_object().unwrap().len(), columns + 6, "{name}");
    }
}

/// Of 1,600 columns and Bronze's own a table of PostgreSQL cannot be.
#[test]
fn a_table_that_the_sink_cannot_hold_fails_alone_and_is_named() {
    let world = PostgresWorld::new(&tables()).with_postgres_sink();
    let output = world.host(&["run", "--output", "json"]);
    assert_eq!(output.code, Some(3), "{}", output.stderr);
    let summary = output.json();
    let failed: Vec<&str> = summary["tables"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|table| table["status"] != "committed")
        .map(|table| table["table"].as_str().unwrap())
        .collect();
    assert_eq!(failed, ["s.w1600"], "{summary}");
    insta::assert_snapshot!(output.table_errors());
}
