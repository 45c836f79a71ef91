//! Passwords and keytabs that are in a vault: what it says is told at the link of the secret, not of the server.

use std::net::TcpListener;

use datakit_fake_sqlserver::vault::{CLIENT_ID, CLIENT_SECRET, Field, Vault, VaultOptions};
use datakit_tests::{KerberosWorld, Output, World};

use crate::{JSON, SCRIPT, chain, expect, status};

fn reference(vault: &Vault, secret: u64, field: &str) -> String {
    let (url, ca) = (vault.url(), vault.ca_pem_path().display());
    format!(
        "{{ delinea = {{ url = \"{url}\", secret_id = {secret}, field = \"{field}\", certificate_file = \"{ca}\" }} }}"
    )
}

fn doctor(world: &World, arguments: &[&str], client_secret: &str) -> Output {
    let mut command = world.command(arguments);
    // It would be over the file.
    command.env_remove("MSSQL_PASSWORD").env_remove("PG_PASSWORD");
    command.env("DELINEA_CLIENT_ID", CLIENT_ID).env("DELINEA_CLIENT_SECRET", client_secret);
    world.finish(command)
}

#[test]
fn a_vault_is_asked_before_the_server_and_once() {
    let vault = Vault::start(VaultOptions::default()).unwrap();
    let world = World::new(SCRIPT);
    vault.set(7, vec![Field::Text("password", world.mssql.password.clone())]);
    world.edit("{ env = \"MSSQL_PASSWORD\" }", &reference(&vault, 7, "password"));
    let document = doctor(&world, &JSON, CLIENT_SECRET).success().json();
    let whole = chain(&document, "erp");
    assert_eq!(["secret", "tcp", "login", "tables"].map(|link| status(whole, link)), ["ok"; 4]);
    assert!(whole.to_string().contains("field `password` of secret 7 of https://localhost"), "{whole}");
    assert_eq!((vault.asked("/oauth2/token"), vault.asked("/secrets/7")), (1, 1));

    let refused = expect(&doctor(&world, &JSON, "Pl4nted-wrong-secret"), "secret", "DK-SEC-010", "DELINEA_CLIENT_ID");
    assert_eq!(["settings", "tcp", "tls"].map(|link| refused.status(link)), ["ok", "not_reached", "not_reached"]);
    world.edit("secret_id = 7", "secret_id = 8");
    expect(&doctor(&world, &JSON, CLIENT_SECRET), "secret", "DK-SEC-020", "shared with the host's account");
    world.edit("secret_id = 8", "secret_id = 7");
    world.edit("field = \"password\"", "field = \"pasword\"");
    expect(&doctor(&world, &JSON, CLIENT_SECRET), "secret", "DK-SEC-021", "by its slug");
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    world.edit(&vault.url(), &format!("https://localhost:{closed}/SecretServer"));
    let gone = expect(&doctor(&world, &JSON, CLIENT_SECRET), "secret", "DK-SEC-001", "`url`");
    assert_eq!((gone.status("settings"), gone.status("tls")), ("ok", "not_reached"));
}

#[test]
fn what_opens_the_vault_is_of_the_settings() {
    let vault = Vault::start(VaultOptions::default()).unwrap();
    let world = World::new(SCRIPT);
    world.edit("{ env = \"MSSQL_PASSWORD\" }", &reference(&vault, 7, "password"));
    let without = doctor(&world, &JSON, "");
    let missing = expect(&without, "settings", "DK-CFG-010", "DELINEA_CLIENT_SECRET");
    assert_eq!(missing.status("secret"), "not_reached");
    assert_eq!(vault.questions(), Vec::<String>::new());
}

#[test]
fn the_password_of_a_postgres_sink() {
    let vault = Vault::start(VaultOptions::default()).unwrap();
    let world = World::new(SCRIPT).with_postgres();
    vault.set(9, vec![Field::Text("password", datakit_postgres::testing::PASSWORD.into())]);
    world.edit("{ env = \"PG_PASSWORD\" }", &reference(&vault, 9, "password"));
    let bronze = ["doctor", "bronze", "--output", "json"];
    let document = doctor(&world, &bronze, CLIENT_SECRET).success().json();
    let sink = chain(&document, "bronze");
    assert_eq!(["secret", "login", "writable"].map(|link| status(sink, link)), ["ok"; 3]);
    let refused = expect(&doctor(&world, &bronze, "Pl4nted-wrong-secret"), "secret", "DK-SEC-010", "DELINEA_CLIENT_ID");
    assert_eq!((refused.status("tcp"), refused.status("tls")), ("not_reached", "not_reached"));
}

#[test]
fn a_keytab() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    let vault = Vault::start(VaultOptions::default()).unwrap();
    vault.set(5, vec![Field::File("keytab", std::fs::read(&world.keytab).unwrap())]);
    let keytab = reference(&vault, 5, "keytab");
    world.log_in_with(&format!("principal = \"svc-etl@CORP.EXAMPLE\", keytab = {keytab}"));
    let doctor = |client_secret: &str| {
        let mut command = world.command(&JSON);
        command.env("DELINEA_CLIENT_ID", CLIENT_ID).env("DELINEA_CLIENT_SECRET", client_secret);
        world.world.finish(command)
    };
    let document = doctor(CLIENT_SECRET).success().json();
    assert_eq!(["keytab", "login"].map(|link| status(chain(&document, "erp"), link)), ["ok"; 2]);
    let refused = expect(&doctor("Pl4nted-wrong-secret"), "keytab", "DK-SEC-010", "DELINEA_CLIENT_ID");
    assert_eq!((refused.status("krb5.conf"), refused.status("ticket")), ("ok", "not_reached"));
}
