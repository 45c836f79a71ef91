//! Bad input by name, registries and servers in trouble, interruptions: each a coded message that says what to do, the right exit
//! code, and nothing lost or half-visible.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test says where it fails and why it is skipped")]

mod configuration;
mod connection;
mod data;
mod interruption;
mod registry;
mod resume;
mod secrets;
mod space;

use datakit_fake_sqlserver::server::Options;
use datakit_fake_sqlserver::sql::SqlEngineOptions;
use datakit_tests::{Mssql, World};

/// The run of every golden: one JSON summary, and no id that changes.
const RUN: [&str; 5] = ["run", "--output", "json", "--run-id", "run-1"];

/// [`RUN`] with more arguments.
fn run<'a>(more: &[&'a str]) -> Vec<&'a str> {
    RUN.into_iter().chain(more.iter().copied()).collect()
}

/// A table of three rows.
const TABLE: &str = "\
CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, note nvarchar(60) NULL)
GO
INSERT INTO dbo.t VALUES (1, N'a'), (2, NULL), (3, N'c')
";

/// A world with these tables on the fake SQL Server, for a test of what no other server does at will; none where the
/// environment names another.
fn fake_sqlserver(reason: &str, script: &str) -> Option<World> {
    let mssql = Mssql::fake_sqlserver_for(reason, Options::default(), SqlEngineOptions::default())?;
    Some(World::with(mssql, script))
}

/// Reasons to need the fake SQL Server.
const FAULTS: &str = "only the fake SQL Server fails when a test says so";

#[test]
fn the_same_elsewhere() {
    datakit_tests::run_again_elsewhere(&[
        "a_wrong_file",
        "a_server_or_login",
        "half_a_character",
        "a_certificate_is_trusted",
    ]);
}

/// Rows of a table `(id int, note nvarchar(60))`, from an id on: each row its own text.
fn insert_rows(world: &World, table: &str, from: u32, count: u32) {
    let rows: Vec<String> = (from..from + count).map(|id| format!("({id}, N'row {id:0>50}')")).collect();
    for part in rows.chunks(1000) {
        world.mssql.execute(&[&format!("INSERT INTO {table} VALUES {}", part.join(", "))]);
    }
}

/// The ids of a Delta table and how often each is there.
fn delta_ids(world: &World, table: &str) -> std::collections::BTreeMap<i64, u32> {
    let mut ids = std::collections::BTreeMap::new();
    for line in world.delta(table).lines().skip(1).filter(|line| !line.is_empty()) {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        *ids.entry(row["id"].as_i64().unwrap()).or_default() += 1;
    }
    ids
}

/// `from..from + count`, each `times` over.
fn each(from: i64, count: i64, times: u32) -> std::collections::BTreeMap<i64, u32> {
    (from..from + count).map(|id| (id, times)).collect()
}
