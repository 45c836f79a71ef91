//! Secrets that change while a run goes on, in files and in a vault; and how often a wrong one is tried.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::process::Command;
use std::time::Duration;

use datakit_fake_sqlserver::server::{Options, PasswordLogins};
use datakit_fake_sqlserver::sql::{Effect, Fault, SqlEngineOptions};
use datakit_fake_sqlserver::vault::{CLIENT_ID, CLIENT_SECRET, Field, Vault, VaultOptions};
use datakit_tests::{KerberosWorld, Mssql, Started, World};

const TABLES: [&str; 4] = ["a", "b", "c", "d"];
const PAUSE: Duration = Duration::from_secs(2);
const OLD: &str = "Pl4nted-old-password";
const NEW: &str = "Pl4nted-new-password";
const RUN: [&str; 5] = ["run", "--output", "json", "--parallel", "1"];

fn script() -> String {
    let table = |t: &&str| format!("CREATE TABLE dbo.{t} (id int NOT NULL)\nGO\nINSERT INTO dbo.{t} VALUES (1), (2)");
    TABLES.iter().map(table).collect::<Vec<_>>().join("\nGO\n")
}

/// Four tables, each over a connection of its own, the first of which stops in its middle.
fn slow(world: &World, pause: Duration) {
    let fault = Fault { table: "dbo.a".into(), after_rows: 1, effect: Effect::Pause(pause), times: 1 };
    world.mssql.engine().add_fault(fault);
    world.edit("\n[sinks.bronze]", "pool = { max_lifetime_seconds = 1 }\n\n[sinks.bronze]");
}

/// A world whose password comes from somewhere; none where the environment names a server, whose password is its own.
fn world(reference: &str) -> Option<World> {
    let options = Options { password: OLD.into(), ..Options::default() };
    let mssql = Mssql::fake_sqlserver_for(
        "only the fake SQL Server changes its password",
        options,
        SqlEngineOptions::default(),
    )?;
    let world = World::with(mssql, &script());
    world.edit("{ env = \"MSSQL_PASSWORD\" }", reference);
    slow(&world, PAUSE);
    Some(world)
}

/// `host` as one who may ask the vault.
fn command(world: &World, vault: &Vault, arguments: &[&str]) -> Command {
    let mut command = world.command(arguments);
    // It would be over the file.
    command.env_remove("MSSQL_PASSWORD").env("RUST_LOG", "datakit_model=warn");
    allow(&mut command, vault);
    command
}

fn allow(command: &mut Command, vault: &Vault) {
    command.env("DELINEA_CLIENT_ID", CLIENT_ID).env("DELINEA_CLIENT_SECRET", CLIENT_SECRET);
    assert!(vault.ca_pem_path().exists());
}

fn vault() -> Vault {
    let vault = Vault::start(VaultOptions::default()).unwrap();
    vault.set(7, vec![Field::Text("username", "sa".into()), Field::Text("password", OLD.into())]);
    vault
}

fn reference(vault: &Vault, secret: u64, field: &str) -> String {
    let (url, ca) = (vault.url(), vault.ca_pem_path().display());
    format!(
        "{{ delinea = {{ url = \"{url}\", secret-id = {secret}, field = \"{field}\", certificate-file = \"{ca}\" }} }}"
    )
}

fn until_it_reads(world: &World, run: &mut Started) {
    let is_read = || world.mssql.engine().take_records().iter().any(|record| record.text.contains("[dbo].[a]"));
    run.wait_until("the first table is read", |_| is_read());
}

fn logins(world: &World) -> PasswordLogins {
    world.mssql.password_logins()
}

#[test]
fn a_password_that_changes_in_mid_run_is_fetched_again() {
    let vault = vault();
    let Some(of_vault) = world(&reference(&vault, 7, "password")) else { return };
    let mut run = of_vault.start(command(&of_vault, &vault, &RUN));
    until_it_reads(&of_vault, &mut run);
    assert_eq!(vault.asked("/secrets/7"), 1);
    of_vault.mssql.set_password(NEW);
    vault.set(7, vec![Field::Text("password", NEW.into())]);
    assert_eq!(run.end().success().json()["rows"], 8);
    assert_eq!((logins(&of_vault).refused, vault.asked("/secrets/7"), vault.asked("/oauth2/token")), (1, 2, 1));

    let Some(of_file) = world("{ file = \"password\" }") else { return };
    of_file.write("password", OLD);
    let mut run = of_file.start(command(&of_file, &vault, &RUN));
    until_it_reads(&of_file, &mut run);
    of_file.mssql.set_password(NEW);
    of_file.write("password", NEW);
    assert_eq!(run.end().success().json()["rows"], 8);
    // A file is read before each login, so the old password is not sent again.
    assert_eq!(logins(&of_file).refused, 0);
}

#[test]
fn a_wrong_password_is_tried_once() {
    let vault = vault();
    let wrong = "Pl4nted-wrong-password";
    let Some(world) = world(&reference(&vault, 7, "password")) else { return };
    vault.set(7, vec![Field::Text("password", wrong.into())]);
    let before = logins(&world);
    let said = world.refusal(&world.finish(command(&world, &vault, &RUN)));
    assert!(said.contains("DK-SRC-030"), "{said}");
    assert_eq!((logins(&world).refused - before.refused, vault.asked("/secrets/7")), (1, 2));

    for reference in ["{ file = \"password\" }", "{ env = \"OTHER\" }"] {
        let before = logins(&world);
        world.write("password", wrong);
        let text = std::fs::read_to_string(world.path().join("warehouse.toml")).unwrap();
        let line = text.lines().find(|line| line.starts_with("auth = ")).unwrap().to_owned();
        world.edit(&line, &format!("auth = {{ user = \"sa\", password = {reference} }}"));
        let mut command = command(&world, &vault, &RUN);
        command.env("OTHER", wrong);
        assert!(world.refusal(&world.finish(command)).contains("DK-SRC-030"));
        assert_eq!(logins(&world).refused - before.refused, 1, "{reference}");
    }
}

#[test]
fn a_password_that_stays_wrong_in_mid_run_is_tried_once_for_all_tables() {
    let vault = vault();
    let Some(world) = world(&reference(&vault, 7, "password")) else { return };
    let mut run = world.start(command(&world, &vault, &RUN));
    until_it_reads(&world, &mut run);
    world.mssql.set_password(NEW);
    let output = run.end();
    assert_eq!(output.code, Some(3), "{}", output.stderr);
    let summary = output.json();
    let codes: Vec<_> = summary["tables"].as_array().unwrap().iter().map(|t| t["error"]["code"].as_str()).collect();
    assert_eq!(codes, [None, Some("DK-SRC-030"), Some("DK-SRC-030"), Some("DK-SRC-030")]);
    assert_eq!((logins(&world).refused, vault.asked("/secrets/7")), (1, 2));
}

#[test]
fn a_vault_that_is_no_help_says_so_and_nothing_else_asks_it() {
    let vault = vault();
    let Some(world) = world(&reference(&vault, 8, "password")) else { return };
    let valid = world.finish(command(&world, &vault, &["validate", "--secrets"])).success();
    let line = format!("connections.erp.auth.password: field `password` of secret 8 of {}, not fetched", vault.url());
    assert!(valid.stdout.contains(&line), "{}", valid.stdout);
    let mut nameless = command(&world, &vault, &["validate", "--secrets"]);
    nameless.env_remove("DELINEA_CLIENT_SECRET");
    assert!(world.refusal(&world.finish(nameless)).contains("DELINEA_CLIENT_SECRET, which is not set"));
    assert_eq!(vault.questions(), Vec::<String>::new());
    let said = world.refusal(&world.finish(command(&world, &vault, &RUN)));
    assert!(said.contains("DK-SEC-020") && said.contains("does not give secret 8"), "{said}");
    assert_eq!(logins(&world).refused, 0);
}

#[test]
fn the_password_of_a_postgres_sink_is_fetched_again_as_well() {
    let vault = vault();
    let Some(world) = world("{ file = \"password\" }") else { return };
    world.write("password", OLD);
    let world = world.with_postgres();
    world.edit("{ env = \"MSSQL_PASSWORD\" }", "{ file = \"password\" }");
    world.edit("{ env = \"PG_PASSWORD\" }", &reference(&vault, 9, "password"));
    vault.set(9, vec![Field::Text("password", datakit_postgres::testing::PASSWORD.into())]);
    let mut run = world.start(command(&world, &vault, &RUN));
    until_it_reads(&world, &mut run);
    world.postgres_execute(&format!("ALTER ROLE postgres PASSWORD '{NEW}'"));
    vault.set(9, vec![Field::Text("password", NEW.into())]);
    assert_eq!(run.end().success().json()["rows"], 8);
    assert_eq!(vault.asked("/secrets/9"), 2);
}

/// Attempts with a wrong key. For each the library asks twice: the second time the primary KDC, which may know a newer key.
fn wrong_keys(world: &KerberosWorld) -> usize {
    world.kdc.log().lines().filter(|line| line.contains("PREAUTH_FAILED")).count() / 2
}

#[test]
fn a_keytab_of_the_vault_is_fetched_again_when_its_key_is_refused() {
    let Some(world) = KerberosWorld::new(&script()) else { return };
    let vault = vault();
    vault.set(5, vec![Field::File("keytab", std::fs::read(&world.keytab).unwrap())]);
    let keytab = reference(&vault, 5, "keytab");
    // Tickets end before the pause does, so that the key is needed again; and a wrong key is the KDC's to refuse.
    let pause = Duration::from_secs(6);
    world.kdc.admin("modprinc +requires_preauth -maxlife \"5 sec\" svc-etl").unwrap();
    let keys =
        |keytab: &str| format!("principal = \"svc-etl@CORP.EXAMPLE\", keytab = {keytab}, min_remaining_seconds = 0");
    world.log_in_with(&keys(&keytab));
    slow(&world.world, pause);
    let run = || {
        let mut command = world.command(&RUN);
        allow(&mut command, &vault);
        let mut run = world.world.start(command);
        until_it_reads(&world.world, &mut run);
        run
    };
    let running = run();
    let newer = world.kdc.keytab("svc-etl", "newer.keytab").unwrap();
    vault.set(5, vec![Field::File("keytab", std::fs::read(&newer).unwrap())]);
    assert_eq!(running.end().success().json()["rows"], 8);
    assert_eq!((wrong_keys(&world), vault.asked("/fields/keytab")), (1, 2), "{}", world.kdc.log());

    // The vault knows nothing of a second change: tried once, however many tables want to log in.
    let fault = Fault { table: "dbo.a".into(), after_rows: 1, effect: Effect::Pause(pause), times: 1 };
    world.world.mssql.engine().add_fault(fault);
    let running = run();
    world.kdc.keytab("svc-etl", "newest.keytab").unwrap();
    let output = running.end();
    assert_eq!(output.code, Some(3), "{}", output.stderr);
    assert_eq!(output.json()["tables"][3]["error"]["code"], "DK-KRB-030");
    assert_eq!((wrong_keys(&world), vault.asked("/fields/keytab")), (2, 4), "{}", world.kdc.log());
}
