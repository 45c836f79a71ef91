//! The links of Kerberos, each broken once.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use datakit_tests::{KerberosWorld, Output};

use crate::{JSON, SCRIPT, chain, expect, status};

/// Where Debian has it, without the architecture's name.
fn faketime() -> String {
    let folders = std::fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path().join("faketime"));
    let library = folders.map(|folder| folder.join("libfaketime.so.1")).find(|library| library.exists());
    library.expect("install faketime: ./test does").to_str().unwrap().to_owned()
}

fn with_settings(world: &KerberosWorld, krb5_conf: &Path) -> Output {
    let mut command = world.command(&JSON);
    command.env("KRB5_CONFIG", krb5_conf);
    world.world.finish(command)
}

#[test]
fn krb5_conf_and_realm() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    world.log_in_with_keytab("");
    let gone =
        expect(&with_settings(&world, Path::new("/nowhere/krb5.conf")), "krb5.conf", "DK-KRB-050", "KRB5_CONFIG");
    assert_eq!((gone.status("settings"), gone.status("tcp")), ("ok", "not_reached"));
    let file = world.kdc.path("other.conf");
    std::fs::write(&file, "[realms\n CORP = {{\n").unwrap();
    expect(&with_settings(&world, &file), "krb5.conf", "DK-KRB-050", "libdefaults");
    std::fs::write(&file, world.kdc.client_settings("", &[])).unwrap();
    let unknown = expect(&with_settings(&world, &file), "realm", "DK-KRB-035", "[realms]");
    assert_eq!((unknown.status("keytab"), unknown.status("kdc")), ("ok", "not_reached"));
}

#[test]
fn keytab() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    world.log_in_with("principal = \"svc-etl\", keytab = { file = \"nothing.keytab\" }");
    expect(&world.host(&JSON), "keytab", "DK-KRB-010", "mounted");
    std::fs::write(world.world.path().join("nothing.keytab"), "no keytab").unwrap();
    expect(&world.host(&JSON), "keytab", "DK-KRB-012", "klist");
    let file = world.keytab.display();
    world.log_in_with(&format!("principal = \"SVC-ETL@CORP.EXAMPLE\", keytab = {{ file = \"{file}\" }}"));
    let other = expect(&world.host(&JSON), "keytab", "DK-KRB-013", "upper and lower case");
    assert_eq!(other.status("krb5.conf"), "ok");
}

#[test]
fn kdc_account_and_spn() {
    let Some(mut world) = KerberosWorld::new(SCRIPT) else { return };
    world.log_in_with_keytab("");
    world.kdc.stop();
    let down = expect(&world.host(&JSON), "kdc", "DK-KRB-036", "port 88");
    assert_eq!((down.status("realm"), down.status("ticket")), ("ok", "not_reached"));
    world.kdc.resume().unwrap();

    world.log_in_with_keytab("spn_host = \"nowhere.corp.example\"");
    let unknown = expect(&world.host(&JSON), "spn", "DK-KRB-034", "setspn -S");
    assert_eq!((unknown.status("ticket"), unknown.status("tcp")), ("ok", "not_reached"));
    world.log_in_with_keytab("realm = \"NOWHERE.EXAMPLE\"");
    expect(&world.host(&JSON), "spn", "DK-KRB-035", "kerberos.realm");

    world.log_in_with_keytab("");
    // The server's account has a new password, of which its keytab knows nothing.
    world.kdc.keytab(&format!("MSSQLSvc/localhost:{}", world.world.mssql.port), "elsewhere.keytab").unwrap();
    let unread = expect(&world.host(&JSON), "login", "DK-SRC-041", "setspn -Q");
    assert_eq!((unread.status("spn"), unread.status("tls")), ("ok", "ok"));

    world.kdc.keytab("svc-etl", "newer.keytab").unwrap();
    let refused = expect(&world.host(&JSON), "ticket", "DK-KRB-030", "new keytab");
    // The KDC tells the time only to whom it knows.
    assert_eq!((refused.status("kdc"), refused.status("clock")), ("ok", "not_reached"));
    world.kdc.admin("delprinc -force svc-etl").unwrap();
    expect(&world.host(&JSON), "ticket", "DK-KRB-031", "spelling");
}

/// Makes a file unreadable for whoever is not its owner, and for root as well: `command` gives up root's right to read everything.
fn unreadable_for(command: Command, file: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o000)).unwrap();
        return command;
    }
    const NOBODY: u32 = 65_534;
    std::os::unix::fs::chown(file, Some(NOBODY), Some(NOBODY)).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let mut without = Command::new("setpriv");
    without.arg("--bounding-set=-dac_override,-dac_read_search").arg(command.get_program()).args(command.get_args());
    without.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    without.current_dir(command.get_current_dir().unwrap());
    without
}

#[test]
fn what_belongs_to_another_user() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    world.log_in_with_keytab("");
    let cache = world.kdc.kinit("svc-etl", &world.keytab, "cache", &[]).unwrap();
    let command = unreadable_for(world.command(&JSON), &world.keytab);
    let denied = expect(&world.world.finish(command), "keytab", "DK-KRB-011", "user");
    assert_eq!((denied.status("krb5.conf"), denied.status("ticket")), ("ok", "not_reached"));
    world.log_in_with(&format!("ticket_cache = \"{}\"", cache.display()));
    let command = unreadable_for(world.command(&JSON), &cache);
    expect(&world.world.finish(command), "ticket cache", "DK-KRB-002", "belong to one user");
}

#[test]
fn an_account_that_is_locked_and_a_ticket_that_has_expired() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    let cache = world.kdc.kinit("svc-etl", &world.keytab, "cache", &["-l", "1s"]).unwrap();
    world.log_in_with(&format!("ticket_cache = \"{}\", min_remaining_seconds = 0", cache.display()));
    std::thread::sleep(Duration::from_millis(2_100));
    let expired = expect(&world.host(&JSON), "ticket", "DK-KRB-020", "kinit");
    assert_eq!((expired.status("ticket cache"), expired.status("realm")), ("ok", "not_reached"));

    world.log_in_with_keytab("");
    world.kdc.admin("modprinc -allow_tix svc-etl").unwrap();
    let locked = expect(&world.host(&JSON), "ticket", "DK-KRB-032", "unlock");
    assert_eq!((locked.status("keytab"), locked.status("kdc")), ("ok", "ok"));
}

#[test]
fn a_ticket_of_somebody_without_a_login() {
    let Some(world) = KerberosWorld::with_logins(&["somebody-else@CORP.EXAMPLE"], SCRIPT) else { return };
    world.log_in_with_keytab("");
    let unknown = expect(&world.host(&JSON), "login", "DK-SRC-042", "CREATE LOGIN [DOMAIN\\user] FROM WINDOWS");
    assert_eq!((unknown.status("spn"), unknown.status("tls"), unknown.status("database")), ("ok", "ok", "not_reached"));
    assert!(!unknown.hint.contains("password"), "{}", unknown.hint);
    // By both drivers; a pinned certificate leaves the other one alone with it.
    let said = world.refused(&["run"]);
    assert!(said.contains("DK-SRC-042") && said.contains("FROM WINDOWS"), "{said}");
    let pin = format!("certificate_file = \"{}\"", world.world.mssql.certificate().display());
    world.world.edit("# The certificate is checked.", &pin);
    assert!(world.refused(&["run"]).contains("DK-SRC-042"));
}

#[test]
fn a_clock_that_is_wrong() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    let an_hour_ahead = || {
        let mut command = world.command(&JSON);
        command.env("LD_PRELOAD", faketime()).env("FAKETIME", "+1h");
        command.env("DONT_FAKE_MONOTONIC", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        world.world.finish(command)
    };
    let cache = world.kdc.kinit("svc-etl", &world.keytab, "cache", &[]).unwrap();
    world.log_in_with(&format!("ticket_cache = \"{}\"", cache.display()));
    let skewed = expect(&an_hour_ahead(), "clock", "DK-KRB-037", "NTP");
    assert_eq!((skewed.status("kdc"), skewed.status("spn")), ("ok", "not_reached"));
    // With a key, the KDC tells the library what time it is: nothing is broken, and it is told all the same.
    world.log_in_with_keytab("");
    let document = an_hour_ahead().success().json();
    let links = chain(&document, "erp")["links"].as_array().unwrap();
    let clock = links.iter().find(|link| link["link"] == "clock").unwrap();
    let detail = clock["detail"].as_str().unwrap();
    assert!(detail.contains(" min ahead of the KDC's"), "{detail}");
}

#[test]
fn ticket_caches() {
    let Some(mut world) = KerberosWorld::new(SCRIPT) else { return };
    let cache = world.kdc.kinit("svc-etl", &world.keytab, "cache", &[]).unwrap();
    world.log_in_with(&format!("ticket_cache = \"{}\"", cache.display()));
    let document = world.host(&JSON).success().json();
    for link in ["krb5.conf", "ticket cache", "ticket", "realm", "kdc", "clock", "spn", "login", "database", "tables"] {
        assert_eq!(status(chain(&document, "erp"), link), "ok", "{link}");
    }
    world.log_in_with(&format!("ticket_cache = \"{}\", spn_host = \"nowhere\"", cache.display()));
    let unknown = expect(&world.host(&JSON), "spn", "DK-KRB-034", "setspn -S");
    assert_eq!((unknown.status("kdc"), unknown.status("clock")), ("ok", "ok"));
    world.log_in_with(&format!("ticket_cache = \"{}\", min_remaining_seconds = 86400", cache.display()));
    expect(&world.host(&JSON), "ticket", "DK-KRB-021", "min_remaining_seconds");
    world.log_in_with(&format!("ticket_cache = \"{}\"", world.kdc.path("nothing").display()));
    expect(&world.host(&JSON), "ticket cache", "DK-KRB-001", "kinit");
    world.kdc.stop();
    world.log_in_with(&format!("ticket_cache = \"{}\"", cache.display()));
    let down = expect(&world.host(&JSON), "kdc", "DK-KRB-036", "port 88");
    assert_eq!((down.status("ticket"), down.status("realm"), down.status("clock")), ("ok", "ok", "not_reached"));
}
