//! Runs that last longer than their tickets.

use std::time::{Duration, Instant};

use datakit_fake_sqlserver::sql::{Effect, Fault};
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

/// Of a row as JSON.
fn id_of(row: &str) -> u32 {
    let row: serde_json::Value = serde_json::from_str(row).unwrap();
    row["id"].as_u64().unwrap() as u32
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
fn a_partition_whose_connection_breaks_after_its_ticket_ended_is_read_again() {
    const ROWS: u32 = 5_000;
    let rows: Vec<String> = (1..=ROWS).map(|id| format!("({id})")).collect();
    let inserts: Vec<String> =
        rows.chunks(1_000).map(|rows| format!("INSERT INTO dbo.t VALUES {}", rows.join(", "))).collect();
    let script = format!("CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY)\nGO\n{}", inserts.join("\nGO\n"));
    let Some(world) = KerberosWorld::new(&script) else { return };
    world.kdc.admin("modprinc -maxlife \"4 sec\" svc-etl").unwrap();
    world.log_in_with_keytab("min_remaining_seconds = 1");
    // In the middle of the rows, when the ticket of the login is over.
    let cut = Effect::Cut(Duration::from_secs(6));
    world.world.mssql.engine().add_fault(Fault {
        table: "dbo.t".into(),
        after_rows: u64::from(ROWS) / 2,
        effect: cut,
        times: 1,
    });
    let mut run = world.world.start(world.command(&RUN));
    run.wait_until("the table is read", |run| run.stderr().contains("dbo.t: reading"));
    let before = tickets(&world);
    assert!(before >= 1, "{}", world.kdc.log());
    let output = run.end().success();
    assert!(output.stderr.contains("attempt 1 failed"), "{}", output.stderr);
    assert_eq!(output.json()["rows"], ROWS);
    assert!(tickets(&world) > before, "the login of the second attempt had a new ticket: {}", world.kdc.log());
    let mut ids: Vec<u32> = world.world.delta("ERP/dbo/t").lines().skip(1).map(id_of).collect();
    ids.sort_unstable();
    assert!(ids == (1..=ROWS).collect::<Vec<_>>(), "{} rows", ids.len());
}

#[test]
fn a_run_waits_for_a_kdc_that_comes_back() {
    let Some(mut world) = slow_world() else { return };
    world.kdc.admin("modprinc -maxlife \"4 sec\" svc-etl").unwrap();
    world.log_in_with_keytab("min_remaining_seconds = 1");
    world.world.append("\n[limits.run]\nmax_attempts = 20\n");
    let mut run = world.world.start(world.command(&RUN));
    run.wait_until("the first table", |run| run.stderr().contains('✓'));
    world.kdc.stop();
    // The current ticket ends, and then there is none.
    run.wait_until("a login without a KDC", |run| run.stderr().contains("failed") && run.stderr().contains("no KDC"));
    world.kdc.resume().unwrap();
    let before = tickets(&world);
    let summary = run.end().success().json();
    assert_eq!((summary["status"].as_str(), summary["rows"].as_u64()), (Some("done"), Some(10)));
    assert!(tickets(&world) > before, "{}", world.kdc.log());
}

/// Tables of the long run, and how long the server pauses in the middle of each.
const MANY: usize = 30;
const LONG_PAUSE: Duration = Duration::from_secs(5);

/// Two and a half minutes with tickets of one minute. Each table needs a login of its own. Nearly all of the time is waiting.
#[test]
fn a_run_outlives_tickets_of_a_minute() {
    let tables: Vec<String> = (1..=MANY).map(|number| format!("t{number:02}")).collect();
    let script = tables
        .iter()
        .map(|t| format!("CREATE TABLE dbo.{t} (id int NOT NULL)\nGO\nINSERT INTO dbo.{t} VALUES (1), (2)"));
    let Some(world) = KerberosWorld::new(&script.collect::<Vec<_>>().join("\nGO\n")) else { return };
    for table in &tables {
        let (table, effect) = (format!("dbo.{table}"), Effect::Pause(LONG_PAUSE));
        world.world.mssql.engine().add_fault(Fault { table, after_rows: 1, effect, times: 1 });
    }
    world.world.edit("\n[sinks.bronze]", "pool = { max_lifetime_seconds = 1 }\n\n[sinks.bronze]");
    world.kdc.admin("modprinc -maxlife \"1 min\" svc-etl").unwrap();
    world.log_in_with_keytab("min_remaining_seconds = 5");

    let mut run = world.world.start(world.command(&RUN));
    // The rows of a table have arrived when it is told of as committed. With each the tickets got so far.
    let mut arrived: Vec<(Instant, usize)> = Vec::new();
    while arrived.len() < MANY {
        run.wait_until("the next table", |run| run.stderr().matches('✓').count() > arrived.len());
        arrived.push((Instant::now(), tickets(&world)));
    }
    let summary = run.end().success().json();
    assert_eq!((summary["status"].as_str(), summary["rows"].as_u64()), (Some("done"), Some(2 * MANY as u64)));
    assert!(summary["seconds"].as_f64().unwrap() > 150.0, "{summary}");
    let gaps = arrived.windows(2).map(|pair| (pair[1].0 - pair[0].0, pair[1].1 > pair[0].1));
    let longest = |across: bool| gaps.clone().filter(|(_, renewed)| *renewed == across).map(|(gap, _)| gap).max();
    let (Some(across), Some(other)) = (longest(true), longest(false)) else { unreachable!("no ticket was renewed") };
    let beyond = |gap: Duration| gap.saturating_sub(LONG_PAUSE).as_secs_f64() * 1_000.0;
    eprintln!(
        "{} tickets of one minute in {} s; longest time without rows, the server's own pause of {} s left out: {:.0} ms where a \
         ticket had ended and a new one was got, {:.0} ms where the old one served",
        tickets(&world),
        summary["seconds"],
        LONG_PAUSE.as_secs(),
        beyond(across),
        beyond(other),
    );
    assert!(tickets(&world) >= 3, "{}", world.kdc.log());
    assert!(world.world.mssql.kerberos_logins().len() >= MANY);
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
    // The next process has no ticket.
    assert!(world.refused(&["discover"]).contains("DK-KRB-001"));
}
