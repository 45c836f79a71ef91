//! Runs that last longer than their tickets.

use std::time::Duration;

use datakit_standin::sql::{Effect, Fault};
use datakit_tests::KerberosWorld;

const TABLES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// Each table stops for so long in its middle.
const PAUSE: Duration = Duration::from_secs(3);

/// Five slow tables, read one after the other, each over a connection of its own.
fn slow_world() -> Option<KerberosWorld> {
    let script: Vec<String> = TABLES
        .iter()
        .map(|t| format!("CREATE TABLE dbo.{t} (id int NOT NULL)\nGO\nINSERT INTO dbo.{t} VALUES (1), (2)"))
        .collect();
    let world = KerberosWorld::new(&script.join("\nGO\n"))?;
    let engine = world.world.mssql.engine();
    for table in TABLES {
        engine.add_fault(Fault {
            table: format!("dbo.{table}"),
            after_rows: 1,
            effect: Effect::Pause(PAUSE),
            times: 1,
        });
    }
    world.world.edit("\n[sinks.bronze]", "pool = { max_lifetime_seconds = 1 }\n\n[sinks.bronze]");
    Some(world)
}

const RUN: [&str; 5] = ["run", "--output", "json", "--parallel", "1"];

/// How many tickets for the server the KDC has given.
fn tickets(world: &KerberosWorld) -> usize {
    world.kdc.log().lines().filter(|line| line.contains("TGS_REQ") && line.contains(" for MSSQLSvc/")).count()
}

#[test]
fn a_run_with_a_keytab_outlives_its_tickets() {
    let Some(world) = slow_world() else { return };
    world.kdc.admin("modprinc -maxlife \"5 sec\" svc-etl").unwrap();
    world.log_in_with_keytab("min_remaining_seconds = 1");
    let summary = world.host(&RUN).success().json();
    assert_eq!((summary["status"].as_str(), summary["rows"].as_u64()), (Some("done"), Some(10)));
    assert!(summary["seconds"].as_f64().unwrap() > 12.0, "{summary}");
    assert!(tickets(&world) >= 3, "{}", world.kdc.log());
    assert!(world.world.mssql.kerberos_logins().len() >= 5);
}

#[test]
fn a_run_with_a_cache_outlives_its_tickets_when_somebody_renews_it() {
    let Some(world) = slow_world() else { return };
    world.kdc.admin("modprinc -maxlife \"5 sec\" svc-etl").unwrap();
    let (keytab, cache) = (world.keytab.to_str().unwrap(), world.kdc.path("cache"));
    let arguments =
        ["kerberos", "renew", "--keytab", keytab, "--principal", "svc-etl", "--cache", cache.to_str().unwrap()];
    let mut sidecar = world.world.start(world.command(&arguments));
    sidecar.wait_until("a ticket", |it| it.stderr().contains("renewed"));
    world.log_in_with(&format!("ticket_cache = \"{}\", min_remaining_seconds = 1", cache.display()));
    let summary = world.host(&RUN).success().json();
    assert_eq!((summary["status"].as_str(), summary["rows"].as_u64()), (Some("done"), Some(10)));
    assert!(tickets(&world) >= 3, "{}", world.kdc.log());
}

#[test]
fn a_cache_that_goes_away_in_mid_run_is_not_missed() {
    let Some(world) = slow_world() else { return };
    let cache = world.kdc.kinit("svc-etl", &world.keytab, "cache", &[]).unwrap();
    world.log_in_with(&format!("ticket_cache = \"{}\"", cache.display()));
    let mut run = world.world.start(world.command(&RUN));
    run.wait_until("a login", |_| !world.world.mssql.kerberos_logins().is_empty());
    std::fs::remove_file(&cache).unwrap();
    let before = world.world.mssql.kerberos_logins().len();
    assert_eq!(run.end().success().json()["rows"], 10);
    assert!(world.world.mssql.kerberos_logins().len() > before, "no login came after it");
    // The next process has nothing at hand.
    assert!(world.refused(&["discover"]).contains("DK-KRB-001"));
}
