//! What only several connections in one process show. The library takes its settings from the environment of the process, so
//! each test runs once more as a process of its own that knows the realm.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use datakit_kerberos::{KeytabPlace, Origin, Service, TicketSettings, Tickets};
use datakit_sources::sqlserver::{Login, ReaderKind, SqlServerConfig, SqlServerSource};
use datakit_tests::KerberosWorld;

use crate::SCRIPT;

/// Set in the second process: the port of the server, its certificate, its database, the folder of keytabs.
const WORLD: &str = "DATAKIT_TEST_WORLD";

/// Runs the test of this name again with the world at hand.
#[track_caller]
fn again(world: &KerberosWorld, name: &str) {
    let mssql = &world.world.mssql;
    let parts = [
        mssql.port.to_string(),
        mssql.certificate().display().to_string(),
        mssql.database.clone(),
        world.kdc.path("").display().to_string(),
    ];
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([&format!("in_process::{name}"), "--exact", "--nocapture"]);
    command.env("KRB5_CONFIG", world.kdc.krb5_conf()).env("KRB5CCNAME", "FILE:/nowhere").env(WORLD, parts.join("|"));
    let output = command.output().unwrap();
    datakit_planted::keep("second process stdout", &output.stdout);
    datakit_planted::keep("second process stderr", &output.stderr);
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// A source that logs in as one of the accounts with a keytab.
fn source(world: &str, account: &str, reader: ReaderKind) -> SqlServerSource {
    let parts: Vec<&str> = world.split('|').collect();
    let port = parts[0].parse().unwrap();
    let origin = Origin::Keytab {
        keytab: KeytabPlace::File(Path::new(parts[3]).join(format!("{account}.keytab"))),
        principal: account.to_owned(),
    };
    let settings = TicketSettings { origin, min_remaining: Duration::from_secs(60), timeout: Duration::from_secs(30) };
    let service = Service { class: "MSSQLSvc", host: "localhost".into(), port, realm: None };
    let login = Login::Kerberos(Arc::new(Tickets::new(settings, service)));
    let mut config = SqlServerConfig::with_login("localhost", parts[2], login);
    config.port = port;
    config.reader = reader;
    match reader {
        ReaderKind::MssqlTds => config.certificate_file = Some(parts[1].into()),
        ReaderKind::Tiberius => config.trust_certificate = true,
    }
    SqlServerSource::new(config).unwrap()
}

fn on_a_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(work)
}

/// The logins that so many checks at the same time come to, all over both drivers.
async fn logins(sources: &[Arc<SqlServerSource>], times: usize) -> Vec<Vec<String>> {
    let mut tasks = Vec::new();
    for source in sources {
        let one: Vec<_> = (0..times)
            .map(|_| {
                let source = Arc::clone(source);
                tokio::spawn(async move { source.check().await.unwrap().login })
            })
            .collect();
        tasks.push(one);
    }
    let mut logins = Vec::new();
    for one in tasks {
        let mut names = Vec::new();
        for task in one {
            names.push(task.await.unwrap());
        }
        logins.push(names);
    }
    logins
}

#[test]
fn two_principals_log_in_at_the_same_time() {
    if let Ok(world) = std::env::var(WORLD) {
        let sources = [
            source(&world, "svc-etl", ReaderKind::MssqlTds),
            source(&world, "svc-hr", ReaderKind::MssqlTds),
            source(&world, "svc-etl", ReaderKind::Tiberius),
            source(&world, "svc-hr", ReaderKind::Tiberius),
        ];
        let logins = on_a_runtime(logins(&sources.map(Arc::new), 10));
        for (names, expected) in logins.iter().zip(["svc-etl", "svc-hr", "svc-etl", "svc-hr"]) {
            assert!(names.iter().all(|name| *name == format!("CORP\\{expected}")), "{names:?}");
        }
        return;
    }
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    world.kdc.add_with_keytab("svc-hr", "", "svc-hr.keytab").unwrap();
    again(&world, "two_principals_log_in_at_the_same_time");
}

#[test]
fn fifty_logins_at_once_cost_one_ticket_and_stop_nothing_else() {
    if let Ok(world) = std::env::var(WORLD) {
        let source = [Arc::new(source(&world, "svc-etl", ReaderKind::Tiberius))];
        // One worker: a login that blocked it would stop the ticks.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (names, ticks) = runtime.block_on(async {
            let ticking = tokio::spawn(async {
                let mut ticks = 0u32;
                loop {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    ticks += 1;
                    if ticks >= 3 {
                        return ticks;
                    }
                }
            });
            let names = logins(&source, 50).await;
            (names, ticking.await.unwrap())
        });
        assert_eq!((names[0].len(), ticks), (50, 3));
        return;
    }
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    again(&world, "fifty_logins_at_once_cost_one_ticket_and_stop_nothing_else");
    assert_eq!(world.world.mssql.kerberos_logins().len(), 50);
    let log = world.kdc.log();
    assert_eq!(log.lines().filter(|line| line.contains("TGS_REQ") && line.contains("ISSUE")).count(), 1, "{log}");
}
