//! Rows that would fill the host: their values together are bounded for each reader, and so is the memory of the process.

use std::fs;

use datakit_tests::{FilesWorld, Output, PostgresWorld, World, datakit};

use crate::{RUN, attack, measured, queries, reported};

const CELL_BYTES: usize = 30_000_000;
/// The cells of the row: what an unbounded host would hold at least.
const CELLS: usize = 30;
/// Above what an honest run takes: two values of the row, what is on its way, the program itself.
const MAX_PEAK_BYTES: u64 = 400 << 20;

fn row(table: &str) -> String {
    let cells: Vec<String> = (0..CELLS).map(|cell| format!("doc AS d{cell}")).collect();
    format!("SELECT {} FROM {table}", cells.join(", "))
}

fn refused(what: &str, code: &str, (output, peak_bytes): (Output, u64), asked: &[(&str, &str)]) -> String {
    assert_eq!(output.code, Some(1), "{what}: {}", output.stderr);
    let reported = reported(&output, asked);
    assert!(reported.contains(code), "{what}: {reported}");
    assert!(peak_bytes < MAX_PEAK_BYTES, "{what}: {peak_bytes} bytes");
    reported.lines().nth(1).unwrap().trim().to_owned()
}

fn from_sql_server(reader: &str) -> String {
    let world = World::new("CREATE TABLE dbo.big (doc varchar(max) NOT NULL)");
    world.mssql.execute(&[&format!("INSERT INTO dbo.big VALUES ('{}')", "x".repeat(CELL_BYTES))]);
    world.host(&["publish", datakit("hostile").to_str().unwrap()]).success();
    attack(world.path(), "sqlserver-bronze@0.1.0", "erp", &["query.*", "dbo.big"]);
    world.edit("source_system = \"ERP\"\n", &format!("source_system = \"ERP\"\nreader = \"{reader}\"\n"));
    let sql = row("dbo.big");
    let asked = [("wide", sql.as_str())];
    let process = world.start(world.command(&[&RUN[..], &["--settings", &queries(asked)]].concat()));
    refused(reader, "DK-SRC-052", measured(&format!("a row of 900 MB by {reader}"), process), &asked)
}

#[test]
fn a_row_of_900_mb_ends_by_tiberius() {
    insta::assert_snapshot!(from_sql_server("tiberius"), @"DK-SRC-052: row 1: the values up to column `(tiberius does not say which)` have 135266304 bytes, over the limit `max_row_bytes` of 67108864");
}

#[test]
fn a_row_of_900_mb_ends_by_mssql_tds() {
    insta::assert_snapshot!(from_sql_server("mssql-tds"), @"DK-SRC-052: row 1: the values up to column `d2` have 90000000 bytes, over the limit `max_row_bytes` of 67108864");
}

#[test]
fn a_row_of_900_mb_ends_from_postgres() {
    let script = format!("CREATE TABLE public.big AS SELECT repeat('x', {CELL_BYTES}) AS doc");
    let world = PostgresWorld::new(&script);
    world.host(&["publish", datakit("hostile").to_str().unwrap()]).success();
    attack(world.path(), "postgres-bronze@0.1.0", "shop", &["query.*", "public.big"]);
    let sql = row("public.big");
    let asked = [("wide", sql.as_str())];
    let process = world.start(world.command(&[&RUN[..], &["--settings", &queries(asked)]].concat()));
    let reported = refused("postgres", "DK-SRC-152", measured("a row of 900 MB by PostgreSQL", process), &asked);
    insta::assert_snapshot!(reported, @"DK-SRC-152: row 1: the values up to column `d2` have 90000014 bytes, over the limit `max_row_bytes` of 67108864");
}

#[test]
fn a_record_of_900_mb_ends_from_files() {
    let world = FilesWorld::new();
    let names: Vec<String> = (0..CELLS).map(|cell| format!("d{cell}")).collect();
    let cell = format!("\"{}\"", "x".repeat(CELL_BYTES));
    let record = vec![cell; CELLS].join(",");
    world.put("t/a.csv", format!("{}\n{record}\n", names.join(",")));
    drop(record);
    let process = world.start(world.command(&RUN));
    let (output, peak_bytes) = measured("a record of 900 MB in a file", process);
    assert_ne!(output.code, Some(0), "{}", output.stderr);
    assert!(peak_bytes < MAX_PEAK_BYTES, "{peak_bytes} bytes");
    let summary = output.json();
    let error = summary["tables"].get(0).map_or(&summary["errors"][0], |table| &table["error"]);
    insta::assert_snapshot!(
        format!("{}: {}", error["code"].as_str().unwrap(), error["message"].as_str().unwrap()),
        @"FILES-BRONZE-010: `t/a.csv`: no record can be read; line 2: the record is longer than `max_line_bytes`"
    );
    fs::remove_dir_all(world.path().join("landing")).unwrap();
}
