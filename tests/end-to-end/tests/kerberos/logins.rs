//! Every way in.

use datakit_fake_sqlserver::kdc::{Kdc, KdcOptions};
use datakit_tests::{KerberosWorld, with_names};

use crate::SCRIPT;

/// Both drivers, as `reader` names them.
const READERS: [&str; 2] = ["mssql-tds", "tiberius"];

#[track_caller]
fn reads(world: &KerberosWorld, run: &str) {
    let output = world.host(&["run", "--output", "json", "--run-id", run]).success();
    assert_eq!((output.json()["status"].as_str(), output.json()["rows"].as_u64()), (Some("done"), Some(2)));
}

/// Pinning is the other driver's.
fn with_reader(world: &KerberosWorld, kerberos: &str, reader: &str) {
    let trust = if reader == "tiberius" { "trust_certificate = true" } else { "" };
    world.log_in_with(kerberos);
    let text = std::fs::read_to_string(world.world.path().join("warehouse.toml")).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.retain(|line| !line.starts_with("reader = ") && !line.starts_with("trust_certificate = "));
    if reader == "tiberius" {
        lines.retain(|line| !line.starts_with("certificate_file = "));
    }
    let at = lines.iter().position(|line| line.starts_with("auth = ")).unwrap();
    lines.insert(at, format!("reader = \"{reader}\"\n{trust}"));
    world.world.write("warehouse.toml", &lines.join("\n"));
}

#[test]
fn the_host_gets_its_own_ticket_with_a_keytab_for_both_drivers() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    let keys = format!("principal = \"svc-etl@CORP.EXAMPLE\", keytab = {{ file = \"{}\" }}", world.keytab.display());
    for reader in READERS {
        with_reader(&world, &keys, reader);
        reads(&world, reader);
    }
    assert_eq!(world.principals(), ["svc-etl@CORP.EXAMPLE"]);
}

#[test]
fn a_cache_that_another_process_keeps_is_read_and_left_alone() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    // What would be handed on, if anything were: a forwardable ticket, and a service that is trusted with it.
    let service = format!("MSSQLSvc/localhost:{}", world.world.mssql.port);
    world.kdc.admin(&format!("modprinc +ok_as_delegate {service}")).unwrap();
    let cache = world.kdc.kinit("svc-etl", &world.keytab, "cache", &["-f"]).unwrap();
    let before = std::fs::read(&cache).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        command.env("KRB5CCNAME", format!("FILE:{}", cache.display()));
        world.world.finish(command)
    };
    assert!(run(&["kerberos", "status"]).success().stdout.contains("forwardable"));
    for reader in READERS {
        with_reader(&world, "", reader);
        assert_eq!(run(&["run", "--output", "json", "--run-id", reader]).success().json()["rows"], 2);
    }
    assert!(std::fs::read(&cache).unwrap() == before, "the cache was written to");
    let logins = world.world.mssql.kerberos_logins();
    assert!(logins.len() >= 2 && logins.iter().all(|login| !login.delegated), "{logins:?}");
}

#[test]
fn a_collection_of_caches_is_read_through_the_library() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    std::fs::create_dir(world.kdc.path("caches")).unwrap();
    let cache = format!("DIR:{}", world.kdc.path("caches").display());
    let mut kinit = std::process::Command::new("kinit");
    kinit.env("KRB5_CONFIG", world.kdc.krb5_conf()).args(["-c", &cache, "-k", "-t"]).arg(&world.keytab).arg("svc-etl");
    assert!(kinit.status().unwrap().success());
    world.log_in_with(&format!("ticket_cache = \"{cache}\""));
    reads(&world, "run-1");
}

#[test]
fn a_server_behind_an_alias_is_named_as_it_is_registered() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    let keys = format!(
        "principal = \"svc-etl@CORP.EXAMPLE\", keytab = {{ file = \"{}\" }}, spn_host = \"sql.corp.example\", spn_port = 1433",
        world.keytab.display()
    );
    for reader in READERS {
        with_reader(&world, &keys, reader);
        reads(&world, reader);
    }
    assert!(world.kdc.log().contains("for MSSQLSvc/sql.corp.example:1433@CORP.EXAMPLE"), "{}", world.kdc.log());
}

#[test]
fn a_short_name_that_the_kdc_does_not_know_is_looked_up_unless_krb5_conf_says_no() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    // What a resolver knows: the short name is an alias of the registered one.
    let hosts = "127.0.0.1 localhost\n127.0.0.1 sql.corp.example sql\n";
    let run = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        with_names(&mut command, world.world.path(), hosts);
        world.world.finish(command)
    };
    let keys = format!(
        "principal = \"svc-etl@CORP.EXAMPLE\", keytab = {{ file = \"{}\" }}, spn_host = \"sql\", spn_port = 1433",
        world.keytab.display()
    );
    for reader in READERS {
        with_reader(&world, &keys, reader);
        assert_eq!(run(&["run", "--output", "json", "--run-id", reader]).success().json()["rows"], 2);
    }
    let log = world.kdc.log();
    assert!(log.contains("MSSQLSvc/sql:1433@CORP.EXAMPLE"), "first as it is written: {log}");
    assert!(log.contains("for MSSQLSvc/sql.corp.example:1433@CORP.EXAMPLE"), "{log}");

    // An operator who wants names as they are written has them so.
    let settings = world.kdc.client_settings(" dns_canonicalize_hostname = false\n", &[&world.kdc]);
    std::fs::write(world.kdc.krb5_conf(), settings).unwrap();
    let refused = world.refusal(&run(&["discover"]));
    assert!(refused.contains("DK-KRB-034"), "{refused}");
}

#[test]
fn a_server_of_a_trusted_realm_is_reached_by_the_setting_and_by_krb5_conf() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    let other = Kdc::start(&KdcOptions { realm: "OTHER.EXAMPLE".into(), ..KdcOptions::default() }).unwrap();
    for kdc in [&world.kdc, &other] {
        kdc.add("krbtgt/OTHER.EXAMPLE@CORP.EXAMPLE", "the trust", "-e aes256-cts-hmac-sha1-96:normal").unwrap();
    }
    other.admin("addprinc -randkey MSSQLSvc/sql.other.example:1433").unwrap();
    let keytab = world.kdc.path("mssql.keytab");
    other.admin(&format!("ktadd -k {} MSSQLSvc/sql.other.example:1433", keytab.display())).unwrap();
    let settings = world.kdc.client_settings("", &[&world.kdc, &other]);
    let keys = format!(
        "principal = \"svc-etl@CORP.EXAMPLE\", keytab = {{ file = \"{}\" }}, spn_host = \"sql.other.example\", spn_port = 1433",
        world.keytab.display()
    );
    for reader in READERS {
        std::fs::write(world.kdc.krb5_conf(), &settings).unwrap();
        with_reader(&world, &format!("{keys}, realm = \"OTHER.EXAMPLE\""), reader);
        reads(&world, &format!("{reader}-1"));
        let mapped = format!("{settings}\n[domain_realm]\n .other.example = OTHER.EXAMPLE\n");
        std::fs::write(world.kdc.krb5_conf(), mapped).unwrap();
        with_reader(&world, &keys, reader);
        reads(&world, &format!("{reader}-2"));
    }
    assert!(
        other.log().contains("svc-etl@CORP.EXAMPLE for MSSQLSvc/sql.other.example:1433@OTHER.EXAMPLE"),
        "{}",
        other.log()
    );
}

#[test]
fn the_environment_alone_is_enough() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    let mssql = &world.world.mssql;
    let empty = tempfile::tempdir().unwrap();
    let registry = format!("oci:{}", world.world.path().join("registry").display());
    let mut command = world.command(&["run", "sqlserver-bronze@0.1.0", "--output", "json"]);
    command.current_dir(empty.path()).env("MSSQL_AUTH_TYPE", "kerberos").env("KRB_PRINCIPAL", "svc-etl");
    command.env("KRB_KEYTAB", &world.keytab).env("MSSQL_SERVER", format!("localhost,{}", mssql.port));
    command.env("MSSQL_DATABASE", &mssql.database).env("MSSQL_CERTIFICATE_FILE", mssql.certificate());
    command.env("BRONZE_URI", "./bronze").env("DATAKIT_REGISTRY", registry).env("DATAKIT_TABLES", "dbo.*");
    assert_eq!(world.world.finish(command).success().json()["rows"], 2);
}

#[test]
fn a_keytab_in_a_variable_never_is_in_a_file() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    world.log_in_with("principal = \"svc-etl@CORP.EXAMPLE\", keytab = { env = \"ETL_KEYTAB\" }");
    let encoded = std::process::Command::new("base64").arg(&world.keytab).output().unwrap().stdout;
    std::fs::remove_file(&world.keytab).unwrap();
    let run = |value: &str| {
        let mut command = world.command(&["run", "--output", "json"]);
        command.env("ETL_KEYTAB", value);
        world.world.finish(command)
    };
    assert_eq!(run(&String::from_utf8(encoded).unwrap()).success().json()["rows"], 2);
    insta::assert_snapshot!(world.refusal(&run("not base64!")));
}

#[test]
fn no_key_and_no_ticket_is_in_what_is_said() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    let cache = world.kdc.kinit("svc-etl", &world.keytab, "cache", &[]).unwrap();
    let mut said = String::new();
    for keys in [
        format!("ticket_cache = \"{}\"", cache.display()),
        format!("principal = \"svc-etl@CORP.EXAMPLE\", keytab = {{ file = \"{}\" }}", world.keytab.display()),
        "spn_host = \"nowhere\"".to_owned(),
    ] {
        for reader in READERS {
            with_reader(&world, &keys, reader);
            let mut command = world.command(&["run", "-vvv", "--output", "json"]);
            command.env("KRB5CCNAME", &cache).env("RUST_LOG", "trace");
            let output = world.world.finish(command);
            said += &output.stdout;
            said += &output.stderr;
        }
    }
    let status = world.host(&["kerberos", "status", "--cache", cache.to_str().unwrap(), "--output", "json"]).success();
    said += &status.stdout;
    assert!(said.contains("got a service ticket") && said.len() > 10_000, "{said}");
    for file in [&world.keytab, &cache] {
        let bytes = std::fs::read(file).unwrap();
        for window in bytes.windows(12) {
            // Names are no secret.
            if window.iter().filter(|byte| (b' '..0x7f).contains(*byte) || **byte == 0).count() > 8 {
                continue;
            }
            let hex: String = window.iter().map(|byte| format!("{byte:02x}")).collect();
            let spaced: String = window.iter().map(|byte| format!("{byte:02X} ")).collect();
            let list: Vec<String> = window.iter().map(u8::to_string).collect();
            for form in [&hex, spaced.trim_end(), &list.join(", ")] {
                assert!(!said.contains(form), "{form} of {}", file.display());
            }
        }
    }
}
