//! Rows of a SQL Server, into Postgres and Delta.

use super::{CUT, ORDERS, TRACKED, TRACKING, all_ids, ended, in_delta, in_postgres, orders, queries};

#[test]
fn table_is_read_once_for_two_sinks_and_both_hold_it() {
    let Some(world) = orders(ORDERS, CUT) else { return };
    let summary = world.run(&["--run-id", "first", "--receipt", "full"]);
    assert_eq!(queries(&world), 4, "one query for each of the four parts");
    assert_eq!(ended(&summary, "pg"), "committed 40, read with lake");
    assert_eq!(ended(&summary, "lake"), "committed 40, read with pg");
    assert_eq!((in_postgres(&world, "true"), in_delta(&world)), (all_ids(), all_ids()));
    assert_eq!(summary["rows"], 80);
    let [pg, lake] = ["pg", "lake"].map(|ingest| super::table(&summary, ingest)["receipt"]["checksum"].clone());
    assert!(pg.is_string() && pg == lake, "the same values were delivered: {summary}");
    // Each ingest has a record of its own.
    let shown = world.host(&["runs", "show", "first", "--output", "json"]).success().json();
    let shared = |sink: &str| {
        let records = shown.as_array().unwrap();
        records.iter().find(|it| it["ingest"] == sink).unwrap()["tables"][0]["shared_with"].clone()
    };
    assert_eq!((shared("pg"), shared("lake")), (serde_json::json!(["lake"]), serde_json::json!(["pg"])));
}

#[test]
fn summary_for_people_says_which_tables_were_read_once() {
    let Some(world) = orders(ORDERS, CUT) else { return };
    let output = world.host(&["run"]).success();
    for line in [
        "note: 1 table was read once, together with ingest lake",
        "note: 1 table was read once, together with ingest pg",
    ] {
        assert!(output.stdout.contains(line), "{}", output.stdout);
    }
    let [pg, lake] = ["ingest pg", "ingest lake"].map(|title| output.stderr.find(title).unwrap());
    assert!(pg < lake, "the ingests are told one after the other: {}", output.stderr);
    assert_eq!(output.stderr.matches("✓ dbo.orders: 40 rows").count(), 2, "{}", output.stderr);
}

#[test]
fn metrics_count_rows_for_each_ingest() {
    let Some(world) = orders(ORDERS, CUT) else { return };
    world.run(&["--metrics-file", "metrics.prom"]);
    let page = std::fs::read_to_string(world.path().join("metrics.prom")).unwrap();
    for ingest in ["pg", "lake"] {
        let line = format!("datakit_rows_committed_total{{ingest=\"{ingest}\",table=\"dbo.orders\"}} 40");
        assert!(page.contains(&line), "{page}");
        assert!(page.contains(&format!("datakit_ingest_failed{{ingest=\"{ingest}\"}} 0")), "{page}");
    }
}

#[test]
fn ingest_that_does_not_share_its_reads_is_read_by_itself() {
    let Some(world) = orders(ORDERS, CUT) else { return };
    world.edit("name = \"lake\"\n", "name = \"lake\"\nshare_reads = false\n");
    let summary = world.run(&[]);
    assert_eq!(queries(&world), 8);
    assert_eq!((ended(&summary, "pg").as_str(), ended(&summary, "lake").as_str()), ("committed 40", "committed 40"));
    assert_eq!((in_postgres(&world, "true"), in_delta(&world)), (all_ids(), all_ids()));
}

#[test]
fn ingests_with_other_settings_share_nothing() {
    let Some(world) = orders(ORDERS, CUT) else { return };
    let (before, after) = (CUT, CUT.replace("partition_rows = 10", "partition_rows = 20"));
    world.edit(&format!("settings = {before}"), &format!("settings = {after}"));
    let summary = world.run(&[]);
    assert_eq!(queries(&world), 2 + 4);
    assert_eq!(ended(&summary, "lake"), "committed 40");
}

#[test]
fn changes_are_read_once_and_each_sink_writes_in_its_mode() {
    let Some(world) = orders(TRACKING, TRACKED) else { return };
    world.edit("mode = \"append\"", "mode = \"merge\"");
    let first = world.run(&[]);
    assert_eq!((ended(&first, "pg").as_str(), queries(&world)), ("committed 40, read with lake", 2));
    world.mssql.execute(&[
        "UPDATE dbo.orders SET note = N'new' WHERE id = 2",
        "DELETE FROM dbo.orders WHERE id = 3",
        "INSERT INTO dbo.orders VALUES (41, N'more')",
    ]);
    queries(&world);
    let second = world.run(&[]);
    assert_eq!(queries(&world), 1, "changes are read once");
    for (ingest, other) in [("pg", "lake"), ("lake", "pg")] {
        assert_eq!(ended(&second, ingest), format!("committed 3, read with {other}"));
    }
    let merged: Vec<u32> = all_ids().into_iter().filter(|id| *id != 3).chain([41]).collect();
    assert_eq!(in_postgres(&world, "true"), merged, "merged by key");
    assert_eq!(in_postgres(&world, "note = 'new'"), [2]);
    let mut appended: Vec<u32> = all_ids().into_iter().chain([2, 3, 41]).collect();
    appended.sort_unstable();
    assert_eq!(in_delta(&world), appended, "a row for each change");
    let third = world.run(&[]);
    assert_eq!(ended(&third, "pg"), "unchanged 0, read with lake");
}

#[test]
fn sink_that_replaces_its_rows_reads_apart_from_one_that_goes_on() {
    let Some(world) = orders(TRACKING, TRACKED) else { return };
    world.edit("mode = \"append\"", "mode = \"overwrite\"");
    assert_eq!(ended(&world.run(&[]), "lake"), "committed 40, read with pg", "both begin without a position");
    world.mssql.execute(&["INSERT INTO dbo.orders VALUES (41, N'more')"]);
    let second = world.run(&[]);
    assert_eq!((ended(&second, "pg").as_str(), ended(&second, "lake").as_str()), ("committed 41", "committed 1"));
    let all: Vec<u32> = (1..=41).collect();
    assert_eq!((in_postgres(&world, "true"), in_delta(&world)), (all.clone(), all));
}
