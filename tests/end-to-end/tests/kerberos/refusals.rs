//! What cannot work says why, and what to do.

use std::time::{Duration, Instant};

use datakit_tests::KerberosWorld;

use crate::SCRIPT;

/// Where Debian has it, without the architecture's name.
fn faketime() -> String {
    let folders = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path().join("faketime"));
    let library = folders.map(|folder| folder.join("libfaketime.so.1")).find(|library| library.exists());
    library.expect("install faketime: ./test does").to_str().unwrap().to_owned()
}

#[test]
fn tickets_that_cannot_be_had() {
    let Some(mut world) = KerberosWorld::new(SCRIPT) else { return };
    let mut reported = Vec::new();
    let keytab = world.keytab.display().to_string();
    let keys = |more: &str| format!("principal = \"svc-etl@CORP.EXAMPLE\", keytab = {{ file = \"{keytab}\" }}{more}");
    let mut report = |world: &KerberosWorld, what: &str, kerberos: &str| {
        world.log_in_with(kerberos);
        reported.push(format!("# {what}\n{}", world.refused(&["discover"])));
    };

    report(&world, "no ticket cache", &format!("ticket_cache = \"{}\"", world.kdc.path("nothing").display()));
    std::fs::write(world.kdc.path("half"), b"\x05\x04\x00\x00\x00").unwrap();
    report(&world, "half a ticket cache", &format!("ticket_cache = \"{}\"", world.kdc.path("half").display()));
    report(&world, "no keytab", "principal = \"svc-etl\", keytab = { file = \"nothing.keytab\" }");
    report(
        &world,
        "no keytab, but a cache",
        &format!("principal = \"svc-etl\", keytab = {{ file = \"{}\" }}", world.kdc.path("half").display()),
    );
    report(&world, "keytab of another", &keys("").replace("svc-etl@CORP", "SVC-ETL@CORP"));
    report(&world, "wrong SPN", &keys(", spn_host = \"nowhere.corp.example\""));
    report(&world, "unknown realm", &keys(", realm = \"NOWHERE.EXAMPLE\""));
    let since = Instant::now();
    let cache = world.kdc.kinit("svc-etl", &world.keytab, "cache", &[]).unwrap();
    report(
        &world,
        "too little time left",
        &format!("ticket_cache = \"{}\", min_remaining_seconds = 86400", cache.display()),
    );
    let passed = since.elapsed().as_secs();

    world.kdc.admin("modprinc -allow_tix svc-etl").unwrap();
    report(&world, "locked account", &keys(""));
    world.kdc.admin("modprinc +allow_tix svc-etl").unwrap();
    world.kdc.keytab("svc-etl", "newer.keytab").unwrap();
    report(&world, "keytab older than the password", &keys(""));
    world.kdc.admin("delprinc -force svc-etl").unwrap();
    report(&world, "unknown principal", &keys(""));
    world.kdc.add_with_keytab("svc-etl", "", "newest.keytab").unwrap();
    let newest = keys("").replace("svc-etl.keytab", "newest.keytab");
    // The server's account has a new password, of which its keytab knows nothing.
    world.kdc.keytab(&format!("MSSQLSvc/localhost:{}", world.world.mssql.port), "elsewhere.keytab").unwrap();
    report(&world, "a ticket the server cannot read", &newest);
    world.kdc.stop();
    report(&world, "no KDC", &newest);
    let reported = reported.join("\n\n").replace(&format!("127.0.0.1:{}", world.kdc.port()), "[kdc]");
    insta::assert_snapshot!(with_time_left(&reported, passed));
}

/// The text of a ticket of ten hours that was fetched `passed` seconds ago at most, as it is after the first second. The number in it is
/// held against that time: the KDC counts whole seconds, and what is left is rounded down.
fn with_time_left(reported: &str, passed: u64) -> String {
    const LIFE_SECONDS: u64 = 36_000;
    let (before, rest) = reported.split_once(" is good for ").unwrap();
    let (left, after) = rest.split_once(" s more").unwrap();
    let left: u64 = left.parse().unwrap();
    assert!((LIFE_SECONDS - passed - 2..LIFE_SECONDS).contains(&left), "{left} s are left after {passed} s");
    format!("{before} is good for {} s more{after}", LIFE_SECONDS - 1)
}

#[test]
fn a_keytab_is_validated_without_asking_anybody() {
    let Some(mut world) = KerberosWorld::new(SCRIPT) else { return };
    world.kdc.stop();
    world.log_in_with_keytab("");
    world.host(&["validate", "--secrets"]).success();
    std::fs::write(&world.keytab, "").unwrap();
    let said = world.refused(&["validate", "--secrets"]);
    assert!(said.contains("DK-KRB-012") && said.contains("it is empty"), "{said}");
}

#[test]
fn an_expired_ticket_says_since_when() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    let cache = world.kdc.kinit("svc-etl", &world.keytab, "cache", &["-l", "1s"]).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    world.log_in_with(&format!("ticket_cache = \"{}\", min_remaining_seconds = 0", cache.display()));
    let said = world.refused(&["discover"]);
    assert!(said.contains("DK-KRB-020") && said.contains(" expired ") && said.contains("kinit"), "{said}");
    let status = world.host(&["kerberos", "status", "--cache", cache.to_str().unwrap()]);
    assert_eq!(status.code, Some(1));
    assert!(status.stdout.contains("valid      no: expired"), "{}", status.stdout);
}

#[test]
fn clock_skew_is_reported_or_corrected() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    let cache = world.kdc.kinit("svc-etl", &world.keytab, "cache", &[]).unwrap();
    let an_hour_ahead = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        command.env("LD_PRELOAD", faketime()).env("FAKETIME", "+1h").env("DONT_FAKE_MONOTONIC", "1");
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        world.world.finish(command)
    };
    world.log_in_with(&format!("ticket_cache = \"{}\"", cache.display()));
    let said = world.refusal(&an_hour_ahead(&["discover"]));
    assert!(said.contains("DK-KRB-037") && said.contains("NTP"), "{said}");
    // With a key, the KDC tells the library what time it is.
    world.log_in_with_keytab("");
    an_hour_ahead(&["discover"]).success();
}

#[test]
fn a_kdc_that_comes_back_is_used_again() {
    let Some(mut world) = KerberosWorld::new(SCRIPT) else { return };
    world.log_in_with_keytab("");
    world.kdc.stop();
    assert!(world.refused(&["discover"]).contains("DK-KRB-036"));
    world.kdc.resume().unwrap();
    world.host(&["discover"]).success();
}
