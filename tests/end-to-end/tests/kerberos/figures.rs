//! What logins with tickets cost beside one with a password. The figures are told, not judged: they are those of the machine.

use std::time::{Duration, Instant};

use datakit_kerberos::{KeytabPlace, Origin};
use datakit_model::Secret;
use datakit_sqlserver::{Login, ReaderKind, SqlServerSource};
use datakit_tests::KerberosWorld;

use crate::SCRIPT;
use crate::in_process::{WORLD, again, config, on_a_runtime, tickets};

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1_000.0
}

#[test]
fn from_start_to_the_first_row() {
    const PREVIEW: [&str; 5] = ["preview", "--rows", "1", "--output", "json"];
    const TIMES: usize = 7;
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    let first_row = |what: &str, with_password: bool| {
        let mut times = Vec::new();
        for at in 0..=TIMES {
            let command = if with_password { world.world.command(&PREVIEW) } else { world.command(&PREVIEW) };
            let begin = Instant::now();
            let output = world.world.finish(command).success();
            assert_eq!(output.json()[0]["rows"].as_array().unwrap().len(), 1);
            // The first one compiles the datakit.
            if at > 0 {
                times.push(begin.elapsed());
            }
        }
        format!("{what} {:.0} ms", median(times))
    };
    let mut reported = vec![first_row("password", true)];
    assert!(world.world.mssql.kerberos_logins().is_empty());
    let cache = world.kdc.kinit("svc-etl", &world.keytab, "cache", &[]).unwrap();
    world.log_in_with(&format!("ticket_cache = \"{}\"", cache.display()));
    reported.push(first_row("ticket cache", false));
    world.log_in_with_keytab("");
    reported.push(first_row("keytab", false));
    assert!(world.world.mssql.kerberos_logins().len() >= 2 * TIMES);
    eprintln!("`host preview --rows 1` from start to end, median of {TIMES}: {}", reported.join(", "));
}

#[test]
fn a_login_of_one_connection() {
    const TIMES: usize = 40;
    if let Ok(world) = std::env::var(WORLD) {
        let parts: Vec<&str> = world.split('|').collect();
        let keytab = KeytabPlace::File(std::path::Path::new(parts[3]).join("svc-etl.keytab"));
        let origin = Origin::Keytab { keytab, principal: "svc-etl".to_owned() };
        let mut reported = Vec::new();
        for reader in [ReaderKind::MssqlTds, ReaderKind::Tiberius] {
            // The ticket is got by the first login, which does not count.
            let kerberos = Login::Kerberos(tickets(&world, origin.clone(), Duration::from_secs(60)));
            let password = Secret::new(parts[5].to_owned()).into();
            let sql = Login::Sql { user: parts[4].to_owned(), password };
            for (what, login) in [("password", sql), ("ticket", kerberos)] {
                let times = on_a_runtime(async {
                    let mut times = Vec::new();
                    for at in 0..=TIMES {
                        // With a pool of its own.
                        let source = SqlServerSource::new(config(&world, login.clone(), reader)).unwrap();
                        let begin = Instant::now();
                        source.check().await.unwrap();
                        if at > 0 {
                            times.push(begin.elapsed());
                        }
                    }
                    times
                });
                reported.push(format!("{reader:?} {what} {:.1} ms", median(times)));
            }
        }
        std::fs::write(std::path::Path::new(parts[3]).join("told"), reported.join(", ")).unwrap();
        return;
    }
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    again(&world, "figures::a_login_of_one_connection");
    let reported = std::fs::read_to_string(world.kdc.path("told")).unwrap();
    assert_eq!(world.world.mssql.kerberos_logins().len(), 2 * (TIMES + 1));
    eprintln!("connect, log in, ask one question, median of {TIMES}: {reported}");
}
