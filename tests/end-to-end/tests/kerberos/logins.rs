//! Every way in.

use datakit_tests::KerberosWorld;

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
    let world = KerberosWorld::new(SCRIPT);
    let keys = format!("principal = \"svc-etl@CORP.EXAMPLE\", keytab = {{ file = \"{}\" }}", world.keytab.display());
    for reader in READERS {
        with_reader(&world, &keys, reader);
        reads(&world, reader);
    }
    assert_eq!(world.principals(), ["svc-etl@CORP.EXAMPLE"]);
}
