//! What the settings say of values and types that Arrow has not, and what declarations are worth.

use datakit_tests::PostgresWorld;

/// The rows of a Delta table, by some of its columns.
fn picked(world: &PostgresWorld, table: &str, columns: &[&str]) -> String {
    let delta = world.delta(&format!("SHOP/public/{table}"));
    let mut lines = Vec::new();
    for line in delta.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let value = |column: &&str| row[*column].as_str().map_or_else(|| row[*column].to_string(), ToOwned::to_owned);
        lines.push(columns.iter().map(value).collect::<Vec<_>>().join(" | "));
    }
    lines.join("\n")
}

#[test]
fn numerics_without_bounds_need_a_decision() {
    let world =
        PostgresWorld::new("CREATE TABLE t (id int, n numeric); INSERT INTO t VALUES (1, 'NaN'), (2, 1.50), (3, 1e50)");
    let output = world.host(&["run", "--output", "json"]);
    assert_eq!(output.code, Some(1));
    insta::assert_snapshot!(output.table_errors());
    world.run(&["--settings", r#"{"numeric": "text"}"#]);
    let delta = world.delta("SHOP/public/t");
    let zeros = "0".repeat(50);
    for text in ["\"n\": \"NaN\"", "\"n\": \"1.50\"", &format!("\"n\": \"1{zeros}\"")] {
        assert!(delta.contains(text), "no {text} in\n{delta}");
    }
}

#[test]
fn infinities_are_an_error_or_null_as_the_operator_says() {
    let world = PostgresWorld::new(
        "CREATE TABLE t (id int, until timestamptz); INSERT INTO t VALUES (1, 'infinity'), (2, '2024-02-29 12:00+00')",
    );
    let output = world.host(&["run", "--output", "json"]);
    assert_eq!(output.code, Some(1));
    insta::assert_snapshot!(output.table_errors());
    world.run(&["--settings", r#"{"infinity": "null"}"#]);
    let delta = world.delta("SHOP/public/t");
    assert!(delta.contains("\"id\": 1, \"until\": null"), "{delta}");
}

/// Of a domain the digits are those of the type below it.
#[test]
fn nan_is_an_error_or_null_as_the_operator_says() {
    let world = PostgresWorld::new(
        "CREATE DOMAIN percent AS numeric(5,2) CHECK (VALUE >= 0);
         CREATE DOMAIN share AS percent NOT NULL;
         CREATE TABLE t (id int, a percent, b share, c numeric(18,4), d numeric(5,-2), e numeric(3,5));
         INSERT INTO t VALUES (1, 'NaN', 'NaN', 'NaN', 'NaN', 'NaN'), (2, 12.5, 100, -0.0001, 9999900, 0.00999)",
    );
    let output = world.host(&["run", "--output", "json"]);
    assert_eq!(output.code, Some(1));
    insta::assert_snapshot!(output.table_errors());
    world.run(&["--settings", r#"{"nan": "null"}"#]);
    insta::assert_snapshot!(picked(&world, "t", &["id", "a", "b", "c", "d", "e"]));
}

#[test]
fn numerics_of_more_digits_than_a_decimal_are_an_error_or_text() {
    let world = PostgresWorld::new(
        "CREATE DOMAIN huge AS numeric(60,2);
         CREATE TABLE t (id int, a numeric(39,1), b huge, c numeric);
         INSERT INTO t VALUES (1, 12345678901234567890123456789012345678.5, 1e57, 'Infinity'), (2, 'NaN', -0.5, '-Infinity')",
    );
    for column in ["a", "b", "c"] {
        let settings = format!(r#"{{"columns": {{"public.t": {{"include": ["id", "{column}"]}}}}}}"#);
        let output = world.host(&["run", "--output", "json", "--settings", &settings]);
        assert_eq!(output.code, Some(1));
        let error = output.table_errors();
        assert!(error.contains("POSTGRES-BRONZE-003") && error.contains(&format!("`{column}`")), "{error}");
    }
    world.run(&["--settings", r#"{"numeric": "text", "nan": "null"}"#]);
    insta::assert_snapshot!(picked(&world, "t", &["id", "a", "b", "c"]));
}

#[test]
fn every_infinity_is_an_error_or_null() {
    let world = PostgresWorld::new(
        "CREATE DOMAIN moment AS timestamptz(3);
         CREATE TABLE t (id int, day date, at timestamp, until timestamptz, since moment);
         INSERT INTO t VALUES (1, 'infinity', 'infinity', 'infinity', 'infinity'),
            (2, '-infinity', '-infinity', '-infinity', '-infinity'),
            (3, '2024-02-29', '2024-02-29 12:00', '2024-02-29 12:00+00', '2024-02-29 12:00:00.123+00')",
    );
    let mut errors = String::new();
    for column in ["day", "at", "until", "since"] {
        for id in ["=", "<>"] {
            world.execute(&format!(
                "DROP VIEW IF EXISTS v; CREATE VIEW v AS SELECT id, {column} FROM t WHERE id {id} 1"
            ));
            let output = world.host(&["run", "--output", "json", "--tables", "public.v"]);
            assert_eq!(output.code, Some(1));
            errors.push_str(&output.table_errors());
        }
    }
    insta::assert_snapshot!(errors);
    world.run(&["--tables", "public.t", "--settings", r#"{"infinity": "null"}"#]);
    insta::assert_snapshot!(picked(&world, "t", &["id", "day", "at", "until", "since"]));
}

#[test]
fn the_end_of_a_day_is_an_error_null_or_text() {
    let world = PostgresWorld::new(
        "CREATE DOMAIN closing AS time(0);
         CREATE TABLE t (id int, closes time, last closing);
         INSERT INTO t VALUES (1, '24:00', '24:00'), (2, '23:59:59.999999', '00:00')",
    );
    let output = world.host(&["run", "--output", "json"]);
    assert_eq!(output.code, Some(1));
    insta::assert_snapshot!(output.table_errors());
    for policy in ["null", "text"] {
        let settings = format!(r#"{{"end_of_day": "{policy}"}}"#);
        world.run(&["--settings", &settings, "--mode", "overwrite"]);
        insta::assert_snapshot!(picked(&world, "t", &["id", "closes", "last"]));
    }
}

/// A child drops what its parent declares, and nobody holds a foreign table to what it declares.
#[test]
fn nulls_arrive_where_not_null_is_only_declared() {
    let world = PostgresWorld::new(
        "CREATE TABLE parent (id int NOT NULL, k int NOT NULL);
         CREATE TABLE child () INHERITS (parent);
         ALTER TABLE child ALTER COLUMN k DROP NOT NULL;
         INSERT INTO parent VALUES (1, 1); INSERT INTO child VALUES (2, NULL);
         CREATE EXTENSION file_fdw;
         CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
         DO $$ DECLARE file text := current_setting('data_directory') || '/rows.csv'; BEGIN
            EXECUTE format('COPY (VALUES (1, 1), (2, NULL)) TO %L (FORMAT csv)', file);
            EXECUTE format('CREATE FOREIGN TABLE over_there (id int NOT NULL, k int NOT NULL) SERVER files \
                OPTIONS (filename %L, format ''csv'')', file);
            CREATE TABLE parted (id int NOT NULL, k int NOT NULL) PARTITION BY RANGE (id);
            EXECUTE format('CREATE FOREIGN TABLE part PARTITION OF parted FOR VALUES FROM (0) TO (10) SERVER files \
                OPTIONS (filename %L, format ''csv'')', file);
         END $$",
    );
    let summary = world.run(&[]);
    assert_eq!(summary["status"], "done");
    for table in ["parent", "over_there", "parted"] {
        assert_eq!(picked(&world, table, &["id", "k"]), "Int32 | Int32\n1 | 1\n2 | null", "{table}");
    }
    let listed = world.host(&["discover", "--output", "json"]).success().json();
    let nullable: Vec<String> =
        listed.as_array().unwrap().iter().map(|t| format!("{} {}", t["name"], t["columns"][0]["nullable"])).collect();
    assert_eq!(
        nullable,
        ["\"child\" false", "\"over_there\" true", "\"parent\" true", "\"parted\" true"],
        "what is declared still holds for the child alone"
    );
}
