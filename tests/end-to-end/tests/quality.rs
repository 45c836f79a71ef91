//! Rules of quality, with both sinks: what warns is committed, what stops leaves nothing.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use std::fs;

use datakit_tests::{Output, PostgresWorld};
use serde_json::{Value, json};

const ORDERS: &str = "CREATE TABLE orders (id int PRIMARY KEY, customer_id int, amount numeric(9, 2), country text, changed_at timestamp(6));
    INSERT INTO orders VALUES (1, 1, 10, 'DE', now()), (2, 1, 20.5, 'FR', now()), (3, NULL, -1, 'de', now())";

fn both(script: &str) -> [PostgresWorld; 2] {
    [PostgresWorld::new(script), PostgresWorld::new(script).with_postgres_sink()]
}

/// Puts rules behind the ingest, in the place of those that were there.
fn rules(world: &PostgresWorld, rules: &[&str]) {
    let path = world.path().join("warehouse.toml");
    let text = fs::read_to_string(&path).unwrap();
    let before = text.split("\n[[ingest.quality]]").next().unwrap();
    let rules: String = rules.iter().map(|rule| format!("\n[[ingest.quality]]\n{rule}\n")).collect();
    fs::write(path, format!("{}\n{rules}", before.trim_end())).unwrap();
}

fn run(world: &PostgresWorld, more: &[&str]) -> Output {
    world.host(&[&["run", "--output", "json"], more].concat())
}

fn table(output: &Output, name: &str) -> Value {
    let summary = output.json();
    let tables = summary["tables"].as_array().unwrap();
    tables.iter().find(|table| table["table"] == name).unwrap_or_else(|| panic!("no {name} in {summary}")).clone()
}

fn results(table: &Value) -> Vec<(String, u64, u64, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let of = |it: &Value| {
        (text(&it["rule"]), it["checked"].as_u64().unwrap(), it["failed"].as_u64().unwrap(), text(&it["status"]))
    };
    table["quality"].as_array().unwrap_or_else(|| panic!("no results in {table}")).iter().map(of).collect()
}

/// Rows that the target of `public.orders` holds.
fn rows(world: &PostgresWorld, sink: &str) -> usize {
    match sink {
        "delta" if !world.path().join("bronze/SHOP/public/orders/_delta_log").exists() => 0,
        "delta" => world.delta("SHOP/public/orders").lines().count() - 1,
        _ => {
            let there = world.sink("SELECT (to_regclass('\"SHOP_public\".orders') IS NOT NULL)::text");
            if there == "false" {
                return 0;
            }
            world.sink("SELECT count(*)::text FROM \"SHOP_public\".orders").parse().unwrap()
        }
    }
}

const CUSTOMER: &str = "name = \"customer\"\nrule = \"not_null\"\ncolumns = [\"customer_id\"]";
const AMOUNT: &str = "name = \"amount\"\nrule = \"range\"\ncolumns = [\"amount\"]\nmin = 0\nmax = \"20.50\"";
const COUNTRY: &str = "name = \"country\"\nrule = \"pattern\"\ncolumns = [\"country\"]\npattern = \"^[A-Z]{2}$\"";
const WARNS: &str = "\nseverity = \"warn\"";

#[test]
fn rules_that_warn_are_reported_and_committed() {
    for (world, sink) in both(ORDERS).iter().zip(["delta", "postgres"]) {
        let warned = [CUSTOMER, AMOUNT, COUNTRY].map(|rule| format!("{rule}{WARNS}"));
        let fresh = "name = \"fresh\"\nrule = \"freshness\"\ncolumns = [\"changed_at\"]\nmax_age_seconds = 86400";
        let count = "name = \"count\"\nrule = \"row_count\"\nmin = 1\nmax = 3\nmax_change_percent = 10";
        let unique = "name = \"unique\"\nrule = \"unique\"\ncolumns = [\"id\"]";
        rules(world, &[&warned[0], &warned[1], &warned[2], fresh, count, unique]);
        let output = run(world, &["--run-id", "first"]).success();
        let orders = table(&output, "public.orders");
        let expected = [
            ("customer", 3, 1, "warned"),
            ("amount", 3, 1, "warned"),
            ("country", 3, 1, "warned"),
            ("fresh", 3, 0, "passed"),
            ("count", 3, 0, "passed"),
            ("unique", 3, 0, "passed"),
        ];
        let expected =
            expected.map(|(rule, checked, failed, status)| (rule.to_owned(), checked, failed, status.to_owned()));
        assert_eq!(results(&orders), expected, "{sink}");
        assert_eq!((rows(world, sink), &orders["status"]), (3, &json!("committed")), "{sink}");
        let record = world.host(&["runs", "show", "first", "--output", "json"]).success().json();
        assert_eq!(record[0]["tables"][0]["quality"], orders["quality"], "{sink}");
        let status = world.host(&["status", "--output", "json"]).success().json();
        let failing: Vec<&Value> =
            status[0]["failing_rules"].as_array().unwrap().iter().map(|rule| &rule["rule"]).collect();
        assert_eq!(failing, ["customer", "amount", "country"], "{sink}");
        let text = world.host(&["run", "--metrics-file", "m.prom"]).success().stdout;
        assert!(text.contains("note: public.orders: quality: `amount` (range of amount): 1 of 3 rows fail"), "{text}");
        let metrics = fs::read_to_string(world.path().join("m.prom")).unwrap();
        assert!(
            metrics.contains("datakit_quality_rows_failed_total") && metrics.contains("rule=\"amount\"} 1"),
            "{metrics}"
        );
    }
}

#[test]
fn rule_that_stops_leaves_nothing_and_later_loads_go_on() {
    for (world, sink) in both(ORDERS).iter().zip(["delta", "postgres"]) {
        rules(world, &[CUSTOMER, &format!("{AMOUNT}{WARNS}")]);
        let output = run(world, &["--run-id", "first"]);
        let orders = table(&output, "public.orders");
        assert_eq!(
            (&orders["error"]["code"], &orders["error"]["kind"]),
            (&json!("DK-RUN-050"), &json!("data")),
            "{orders}"
        );
        assert_eq!(
            orders["error"]["message"],
            "public.orders breaks a rule of quality: `customer` (not_null of customer_id): 1 of 3 rows fail"
        );
        let statuses: Vec<String> = results(&orders).into_iter().map(|(.., status)| status).collect();
        assert_eq!(statuses, ["stopped", "warned"], "{sink}");
        assert_eq!(rows(world, sink), 0, "{sink}");
        let states = world.host(&["state", "list", "--output", "json"]).success().json();
        assert_eq!(states, json!([]), "{sink}");
        world.execute("UPDATE orders SET customer_id = 2 WHERE id = 3");
        let orders = table(&run(world, &["--run-id", "first"]).success(), "public.orders");
        assert_eq!((rows(world, sink), &orders["status"]), (3, &json!("committed")), "{sink}");
    }
}

#[test]
fn rules_of_the_datakit_are_offered_by_a_setting_and_changed_by_name() {
    let world = PostgresWorld::new(
        "CREATE TABLE orders (id int PRIMARY KEY, note text); INSERT INTO orders VALUES (1, 'a'), (2, 'b')",
    );
    let with_keys = ["--settings", r#"{"key_rules": true}"#];
    assert!(
        table(&run(&world, &[]).success(), "public.orders").get("quality").is_none(),
        "no rule without being asked for"
    );
    let orders = table(&run(&world, &with_keys).success(), "public.orders");
    let names: Vec<String> = results(&orders).into_iter().map(|(rule, ..)| rule).collect();
    assert_eq!(names, ["key_is_unique", "key_is_not_null"]);
    assert_eq!(
        (&orders["quality"][0]["declared_by"], &orders["quality"][0]["severity"]),
        (&json!("datakit"), &json!("warn"))
    );
    rules(
        &world,
        &[
            "name = \"key_is_unique\"\nseverity = \"stop\"",
            "name = \"key_is_not_null\"\nseverity = \"off\"",
            "name = \"kye\"\nseverity = \"off\"",
        ],
    );
    let output = run(&world, &with_keys).success();
    let orders = table(&output, "public.orders");
    assert_eq!((&orders["quality"][0]["severity"], &orders["quality"][1]["status"]), (&json!("stop"), &json!("off")));
    assert!(
        output.stderr.contains("the rule `kye` of quality changes nothing: the datakit has no rule of that name"),
        "{}",
        output.stderr
    );
    let plan = world.host(&["plan", with_keys[0], with_keys[1]]).success().stdout;
    assert!(plan.contains("quality of public.orders: stop: `key_is_unique` (unique of id), of the datakit"), "{plan}");
    assert!(
        plan.contains("quality of public.orders: off: `key_is_not_null` (not_null of id), of the datakit"),
        "{plan}"
    );
}

#[test]
fn keys_that_the_target_holds_are_not_unique() {
    for (world, sink) in both(ORDERS).iter().zip(["delta", "postgres"]) {
        rules(world, &["name = \"new\"\nrule = \"unique\"\ncolumns = [\"id\"]\nin_target = true"]);
        run(world, &[]).success();
        world.execute("DELETE FROM orders WHERE id < 3; INSERT INTO orders VALUES (4, 1, 1, 'DE', now())");
        let orders = table(&run(world, &[]), "public.orders");
        assert_eq!(results(&orders), [("new".to_owned(), 2, 1, "stopped".to_owned())], "{sink}");
        assert_eq!(rows(world, sink), 3, "{sink}");
        world.execute("DELETE FROM orders WHERE id = 3");
        run(world, &[]).success();
        assert_eq!(rows(world, sink), 4, "{sink}");
        world.edit("mode = \"append\"", "mode = \"merge\"");
        let merged = table(&run(world, &[]).success(), "public.orders");
        assert_eq!((rows(world, sink), &merged["quality"][0]["status"]), (4, &json!("passed")), "{sink}");
    }
}

#[test]
fn values_are_those_of_another_table() {
    let script = format!(
        "{ORDERS}; CREATE TABLE customers (nr bigint PRIMARY KEY, token uuid);
         INSERT INTO customers VALUES (1, '00000000-0000-0000-0000-000000000001');
         CREATE TABLE visits (token uuid); INSERT INTO visits VALUES ('00000000-0000-0000-0000-000000000001'), (NULL)"
    );
    for (world, sink) in both(&script).iter().zip(["delta", "postgres"]) {
        let known = "name = \"known\"\ntables = [\"public.orders\"]\nrule = \"reference\"\ncolumns = [\"customer_id\"]\nin_table = \"public.customers\"\nin_columns = [\"nr\"]";
        let tokens = "name = \"tokens\"\ntables = [\"public.visits\"]\nrule = \"reference\"\ncolumns = [\"token\"]\nin_table = \"public.customers\"";
        rules(world, &[known, tokens]);
        let error = table(&run(world, &["--tables", "public.orders"]), "public.orders")["error"].clone();
        assert_eq!(error["code"], "DK-RUN-056", "{error}");
        run(world, &["--tables", "public.customers"]).success();
        let output = run(world, &["--tables", "public.orders,public.visits"]).success();
        assert_eq!(
            results(&table(&output, "public.orders")),
            [("known".to_owned(), 2, 0, "passed".to_owned())],
            "{sink}"
        );
        assert_eq!(
            results(&table(&output, "public.visits")),
            [("tokens".to_owned(), 1, 0, "passed".to_owned())],
            "{sink}"
        );
        world.execute("UPDATE orders SET customer_id = 7 WHERE id > 1");
        let orders = table(&run(world, &["--tables", "public.orders"]), "public.orders");
        assert_eq!(results(&orders), [("known".to_owned(), 3, 2, "stopped".to_owned())], "{sink}");
        rules(
            world,
            &[
                "name = \"known\"\ntables = [\"public.orders\"]\nrule = \"reference\"\ncolumns = [\"customer_id\"]\nin_table = \"public.customers\"\nin_columns = [\"number\"]",
            ],
        );
        let error = table(&run(world, &["--tables", "public.orders"]), "public.orders")["error"].clone();
        assert_eq!(error["code"], "DK-SNK-075", "{error}");
    }
}

#[test]
fn number_of_rows_is_compared_with_the_last_load() {
    let world = PostgresWorld::new(ORDERS);
    world.edit("mode = \"append\"", "mode = \"overwrite\"");
    rules(&world, &["name = \"steady\"\nrule = \"row_count\"\nmax_change_percent = 50"]);
    let status = |output: &Output| results(&table(output, "public.orders"))[0].3.clone();
    assert_eq!(status(&run(&world, &[]).success()), "skipped");
    world.execute("DELETE FROM orders WHERE id = 1");
    assert_eq!(status(&run(&world, &[]).success()), "passed");
    world.execute("DELETE FROM orders");
    let stopped = run(&world, &[]);
    assert_eq!(status(&stopped), "stopped");
    let message = table(&stopped, "public.orders")["error"]["message"].clone();
    assert_eq!(
        message,
        "public.orders breaks a rule of quality: `steady` (row_count): 0 rows: the last load had 2, and 50 % more or less are allowed"
    );
    assert_eq!(rows(&world, "delta"), 2);
}

#[test]
fn rules_of_a_load_that_found_no_change_are_checked() {
    let world = PostgresWorld::new(ORDERS);
    rules(&world, &["name = \"fresh\"\nrule = \"freshness\"\ncolumns = [\"changed_at\"]\nmax_age_seconds = 86400"]);
    let by_change = ["--settings", r#"{"watermark": {"*.orders": {"column": "changed_at"}}}"#];
    run(&world, &by_change).success();
    let orders = table(&run(&world, &by_change).success(), "public.orders");
    assert_eq!((&orders["status"], &orders["quality"][0]["status"]), (&json!("unchanged"), &json!("skipped")));
}

#[test]
fn rule_that_does_not_fit_its_table_fails_it_before_a_row_is_written() {
    let world = PostgresWorld::new(ORDERS);
    let error = |rule: &str| {
        rules(&world, &[rule]);
        let error = table(&run(&world, &[]), "public.orders")["error"].clone();
        assert_eq!(rows(&world, "delta"), 0);
        (error["code"].as_str().unwrap().to_owned(), error["hint"].as_str().unwrap().to_owned())
    };
    let (code, hint) = error("name = \"a\"\nrule = \"not_null\"\ncolumns = [\"custmer_id\"]");
    assert_eq!((code.as_str(), hint.as_str()), ("DK-RUN-051", "did you mean `customer_id`?"));
    assert_eq!(error("name = \"a\"\nrule = \"range\"\ncolumns = [\"country\"]\nmin = 1").0, "DK-RUN-052");
    assert_eq!(error("name = \"a\"\nrule = \"range\"\ncolumns = [\"amount\"]\nmin = 0.001").0, "DK-RUN-053");
    assert_eq!(error("name = \"a\"\nrule = \"pattern\"\ncolumns = [\"country\"]\npattern = \"(\"").0, "DK-RUN-054");
}
