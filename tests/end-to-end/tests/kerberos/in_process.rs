//! What only several connections in one process show. The library takes its settings from the environment of the process, so
//! each test runs once more as a process of its own that knows the realm.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use datakit_kerberos::{Ccache, KeytabPlace, Origin, Service, TicketSettings, Tickets};
use datakit_sqlserver::{Login, ReaderKind, SqlServerConfig, SqlServerSource};
use datakit_tests::KerberosWorld;

use crate::SCRIPT;

/// Set in the second process: the port of the server, its certificate, its database, the folder of keytabs, a user of the server
/// and the password.
pub(crate) const WORLD: &str = "DATAKIT_TEST_WORLD";

/// Runs the test of this name again with the world set up.
#[track_caller]
pub(crate) fn again(world: &KerberosWorld, name: &str) {
    let mssql = &world.world.mssql;
    let parts = [
        mssql.port.to_string(),
        mssql.certificate().display().to_string(),
        mssql.database.clone(),
        world.kdc.path("").display().to_string(),
        mssql.user.clone(),
        mssql.password.clone(),
    ];
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture"]);
    command.env("KRB5_CONFIG", world.kdc.krb5_conf()).env("KRB5CCNAME", "FILE:/nowhere").env(WORLD, parts.join("|"));
    let output = command.output().unwrap();
    datakit_canary::keep("second process stdout", &output.stdout);
    datakit_canary::keep("second process stderr", &output.stderr);
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

/// A source that logs in as one of the accounts with a keytab.
fn source(world: &str, account: &str, reader: ReaderKind) -> SqlServerSource {
    let keytab = KeytabPlace::File(Path::new(folder(world)).join(format!("{account}.keytab")));
    let origin = Origin::Keytab { keytab, principal: account.to_owned() };
    let login = Login::Kerberos(tickets(world, origin, Duration::from_secs(60)));
    let mut config = config(world, login, reader);
    // Whoever asks logs in, and waits for nobody's connection.
    config.pool.max_connections = 50;
    SqlServerSource::new(config).unwrap()
}

/// How to reach the server of the world.
pub(crate) fn config(world: &str, login: Login, reader: ReaderKind) -> SqlServerConfig {
    let parts: Vec<&str> = world.split('|').collect();
    let mut config = SqlServerConfig::with_login("localhost", parts[2], login);
    config.port = parts[0].parse().unwrap();
    config.reader = reader;
    match reader {
        ReaderKind::MssqlTds => config.certificate_file = Some(parts[1].into()),
        ReaderKind::Tiberius => config.trust_certificate = true,
    }
    config
}

pub(crate) fn on_a_runtime<T>(work: impl Future<Output = T>) -> T {
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
    again(&world, "in_process::two_principals_log_in_at_the_same_time");
}

/// Freezes the KDC of the world, or lets it go on.
fn freeze(world: &str, is_frozen: bool) {
    let pid = std::fs::read_to_string(Path::new(folder(world)).join("kdc.pid")).unwrap();
    let signal = if is_frozen { "-STOP" } else { "-CONT" };
    assert!(Command::new("kill").args([signal, pid.trim()]).status().unwrap().success());
}

fn folder(world: &str) -> &str {
    world.split('|').nth(3).unwrap()
}

#[test]
fn fifty_logins_at_once_cost_one_ticket_and_stop_nothing_else() {
    /// Of five milliseconds each: half a second, well before the library gives the KDC up.
    const TICKS: u32 = 100;
    if let Ok(world) = std::env::var(WORLD) {
        for reader in [ReaderKind::MssqlTds, ReaderKind::Tiberius] {
            let source = Arc::new(source(&world, "svc-etl", reader));
            // One worker: a login that blocked it would stop the ticks.
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            freeze(&world, true);
            let names = runtime.block_on(async {
                let done = Arc::new(AtomicUsize::new(0));
                let logins: Vec<_> = (0..50)
                    .map(|_| {
                        let (source, done) = (Arc::clone(&source), Arc::clone(&done));
                        tokio::spawn(async move {
                            let login = source.check().await.unwrap().login;
                            done.fetch_add(1, Ordering::SeqCst);
                            login
                        })
                    })
                    .collect();
                let ticking = tokio::spawn(async {
                    for _ in 0..TICKS {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                });
                ticking.await.unwrap();
                assert_eq!(done.load(Ordering::SeqCst), 0, "the KDC does not answer");
                freeze(&world, false);
                let mut names = Vec::new();
                for login in logins {
                    names.push(login.await.unwrap());
                }
                names
            });
            assert_eq!(names, vec!["CORP\\svc-etl".to_owned(); 50]);
        }
        return;
    }
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    again(&world, "in_process::fifty_logins_at_once_cost_one_ticket_and_stop_nothing_else");
    assert_eq!(world.world.mssql.kerberos_logins().len(), 2 * 50);
    let issued = service_tickets(&world);
    assert_eq!(issued, 2, "one for each source: {}", world.kdc.log());
}

/// How many tickets for servers the KDC has given.
fn service_tickets(world: &KerberosWorld) -> usize {
    world.kdc.log().lines().filter(|line| line.contains("TGS_REQ") && line.contains("ISSUE")).count()
}

/// The tickets of `svc-etl` for the server of the world.
pub(crate) fn tickets(world: &str, origin: Origin, min_remaining: Duration) -> Arc<Tickets> {
    let settings = TicketSettings { origin, min_remaining, timeout: Duration::from_secs(30) };
    let port = world.split('|').next().unwrap().parse().unwrap();
    let service = Service { class: "MSSQLSvc", host: "localhost".into(), port, realm: None };
    Arc::new(Tickets::new(settings, service))
}

fn keytab(world: &str) -> Origin {
    let keytab = KeytabPlace::File(Path::new(folder(world)).join("svc-etl.keytab"));
    Origin::Keytab { keytab, principal: "svc-etl".to_owned() }
}

#[test]
fn tickets_shorter_than_the_setting_are_used_for_half_their_life() {
    if let Ok(world) = std::env::var(WORLD) {
        let tickets = tickets(&world, keytab(&world), Duration::from_secs(60));
        for _ in 0..10 {
            tickets.check().unwrap();
        }
        return;
    }
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    world.kdc.admin("modprinc -maxlife \"1 min\" svc-etl").unwrap();
    again(&world, "in_process::tickets_shorter_than_the_setting_are_used_for_half_their_life");
    let log = world.kdc.log();
    let granting = log.lines().filter(|line| line.contains("AS_REQ") && line.contains("ISSUE")).count();
    assert_eq!((granting, service_tickets(&world)), (1, 1), "{log}");
}

#[test]
fn a_service_ticket_that_somebody_left_in_the_cache_is_not_lent() {
    if let Ok(world) = std::env::var(WORLD) {
        let cache = Path::new(folder(&world)).join("cache");
        let left = Ccache::read(&cache).unwrap();
        let port = world.split('|').next().unwrap();
        let of_server = |name: &str| left.credentials.iter().any(|ticket| ticket.server.name() == name);
        assert!(of_server(&format!("MSSQLSvc/localhost:{port}")), "{left:?}");
        let origin = Origin::Cache(Some(cache.display().to_string()));
        let tickets = tickets(&world, origin, Duration::from_secs(60));
        let left = tickets.check().unwrap().duration_since(SystemTime::now()).unwrap();
        assert!(left > Duration::from_secs(3600), "{left:?}");
        return;
    }
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    let service = format!("MSSQLSvc/localhost:{}", world.world.mssql.port);
    let cache = world.kdc.kinit("svc-etl", &world.keytab, "cache", &[]).unwrap();
    world.kdc.admin(&format!("modprinc -maxlife \"30 sec\" {service}")).unwrap();
    let mut kvno = Command::new("kvno");
    kvno.env("KRB5_CONFIG", world.kdc.krb5_conf()).arg("-c").arg(&cache).arg(&service);
    assert!(kvno.output().unwrap().status.success());
    world.kdc.admin(&format!("modprinc -maxlife \"10 hours\" {service}")).unwrap();
    again(&world, "in_process::a_service_ticket_that_somebody_left_in_the_cache_is_not_lent");
}

#[test]
fn a_login_that_nobody_waits_for_ends() {
    /// Says that it was dropped.
    struct Open(Arc<AtomicBool>);
    impl Drop for Open {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    if let Ok(world) = std::env::var(WORLD) {
        let tickets = tickets(&world, keytab(&world), Duration::from_secs(60));
        on_a_runtime(async {
            let (begun, closed) = (Arc::new(tokio::sync::Notify::new()), Arc::new(AtomicBool::new(false)));
            let (begin, open) = (Arc::clone(&begun), Open(Arc::clone(&closed)));
            let login = tickets.log_in(move || async move {
                let _open = open;
                begin.notify_one();
                std::future::pending::<()>().await;
            });
            tokio::select! {
                _ = login => unreachable!("it never ends by itself"),
                () = begun.notified() => {}
            }
            let end = async {
                while !closed.load(Ordering::SeqCst) {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), end).await.expect("it runs on");
        });
        return;
    }
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    again(&world, "in_process::a_login_that_nobody_waits_for_ends");
}
