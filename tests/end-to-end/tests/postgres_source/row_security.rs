//! Row-level security: rows that the connection's user may not see.

use datakit_tests::PostgresWorld;

const TENANTS: &str = "
    CREATE ROLE svc LOGIN PASSWORD 'Pl4nted test password';
    CREATE TABLE secret (id int PRIMARY KEY, tenant text);
    INSERT INTO secret SELECT i, CASE WHEN i % 2 = 0 THEN 'a' ELSE 'b' END FROM generate_series(1, 10) AS i;
    ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
    CREATE POLICY only_a ON secret FOR SELECT TO svc USING (tenant = 'a');
    CREATE TABLE no_policy (id int);
    INSERT INTO no_policy VALUES (1), (2);
    ALTER TABLE no_policy ENABLE ROW LEVEL SECURITY;
    CREATE TABLE plain (id int);
    INSERT INTO plain VALUES (1), (2), (3);
    CREATE ROLE author;
    GRANT SELECT ON secret TO author;
    CREATE POLICY only_b ON secret FOR SELECT TO author USING (tenant = 'b' AND id < 6);
    CREATE VIEW of_author AS SELECT id FROM secret;
    ALTER VIEW of_author OWNER TO author;
    CREATE FUNCTION hidden_count() RETURNS bigint LANGUAGE plpgsql STABLE AS 'BEGIN RETURN (SELECT count(*) FROM public.secret); END';
    CREATE VIEW by_function AS SELECT hidden_count() AS n;
    GRANT SELECT ON ALL TABLES IN SCHEMA public TO svc;";

fn world() -> PostgresWorld {
    let world = PostgresWorld::new(TENANTS);
    world.edit("user = \"postgres\"", "user = \"svc\"");
    world
}

fn lines(summary: &serde_json::Value) -> String {
    let line = |table: &serde_json::Value| {
        let error = table["error"]["code"].as_str().unwrap_or("-");
        format!("{} {} {} filtered: {} {error}", table["table"], table["status"], table["rows"], table["filtered"])
    };
    summary["tables"].as_array().unwrap().iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_table_whose_rows_are_hidden_fails_and_the_others_are_loaded() {
    let world = world();
    let output = world.host(&["run", "--output", "json"]);
    assert_eq!(output.code, Some(3), "{}", output.stderr);
    insta::assert_snapshot!(lines(&output.json()) + "\n\n" + &output.table_errors());
    let doctor = world.host(&["doctor", "shop", "--output", "json"]);
    assert_eq!(doctor.code, Some(1));
    assert!(doctor.stdout.contains("DK-SRC-361"), "{}", doctor.stdout);
    assert!(
        doctor.stdout.contains("2 of 5 chosen tables from `svc`: public.no_policy, public.secret"),
        "{}",
        doctor.stdout
    );
}

#[test]
fn filtered_reads_that_the_operator_allows_are_marked() {
    let world = world();
    world.edit("user = \"svc\"", "user = \"svc\"\nrow_security = \"filter\"");
    let summary = world.run(&[]);
    insta::assert_snapshot!(lines(&summary));
    // The sink's record says so too.
    let state = world.path().join("bronze/SHOP/public/secret/_datakit/state/00000000000000000001.json");
    assert!(std::fs::read_to_string(state).unwrap().contains(r#""filtered":true"#));
    let text = world.host(&["run", "--tables", "public.secret", "--mode", "overwrite"]).success();
    assert!(text.stdout.contains("row-level security"), "{}", text.stdout);
    world.host(&["doctor", "shop"]).success();
}

#[test]
fn a_user_that_bypasses_policies_reads_all_rows() {
    let world = world();
    world.execute("ALTER ROLE svc BYPASSRLS; DROP VIEW of_author");
    assert_eq!(world.run(&[])["status"], "done");
    assert_eq!(world.delta("SHOP/public/secret").lines().count(), 1 + 10);
    assert_eq!(world.delta("SHOP/public/no_policy").lines().count(), 1 + 2);
}
