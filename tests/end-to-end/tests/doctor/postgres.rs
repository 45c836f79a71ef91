//! PostgreSQL as a source.

use datakit_postgres::testing::{Certificate, PostgresServer};
use datakit_tests::{PostgresWorld, own_address, silent, with_names};

use crate::{JSON, chain, expect, status};

const SCRIPT: &str = "\
CREATE TABLE public.t (id int PRIMARY KEY);
CREATE SCHEMA hidden;
CREATE TABLE hidden.\"odd \"\"name\" (id int);
CREATE ROLE reader LOGIN PASSWORD 'Pl4nted test password';
GRANT SELECT ON public.t TO reader;
";

#[test]
fn each_link_of_a_postgres_source() {
    let world = PostgresWorld::new(SCRIPT);
    let document = world.host(&JSON).success().json();
    let whole = chain(&document, "shop");
    assert_eq!(["kerberos", "tls", "tables"].map(|link| status(whole, link)), ["not_used", "not_used", "ok"]);
    assert!(whole.to_string().contains("GSSAPI is not offered for PostgreSQL: tokio-postgres does not speak it"));

    let mut command = world.command(&JSON);
    command.env("PG_PASSWORD", "Pl4nted-wrong-password");
    expect(&world.finish(command), "login", "DK-SRC-130", "pg_hba.conf");
    world.edit("user = \"postgres\"", "user = \"reader\"");
    let denied = expect(&world.host(&JSON), "tables", "DK-SRC-132", "GRANT USAGE ON SCHEMA \"hidden\" TO \"reader\";");
    assert!(denied.hint.contains("GRANT SELECT ON \"hidden\".\"odd \"\"name\" TO \"reader\";"), "{}", denied.hint);
    assert!(!denied.hint.contains("\"public\""), "{}", denied.hint);
    world.execute("REVOKE CONNECT ON DATABASE postgres FROM PUBLIC");
    expect(&world.host(&JSON), "database", "DK-SRC-131", "GRANT CONNECT ON DATABASE \"postgres\" TO \"reader\"");
    world.edit("database = \"postgres\"", "database = \"nothing\"");
    let unknown = expect(&world.host(&JSON), "database", "DK-SRC-131", "database");
    assert_eq!(unknown.status("login"), "ok");
    world.edit("encrypt = \"off\"", "encrypt = \"required\"");
    expect(&world.host(&JSON), "tls", "DK-SRC-125", "TLS");
    world.edit("port = ", "port = 1 # ");
    expect(&world.host(&JSON), "tcp", "DK-SRC-111", "listen_addresses");
}

#[test]
fn silent_address_of_a_name_does_not_use_up_the_time_of_the_others() {
    let world = PostgresWorld::new(SCRIPT).with_postgres_sink();
    let silent_at = own_address();
    let text = std::fs::read_to_string(world.path().join("warehouse.toml")).unwrap();
    let ports = text.lines().filter_map(|line| line.strip_prefix("port = ")).map(|port| port.parse::<u16>().unwrap());
    let silents: Vec<_> = ports.map(|port| silent(silent_at, port)).collect();
    assert_eq!(silents.len(), 2, "one of the source and one of the sink");
    let host = text.lines().find(|line| line.starts_with("host = ")).unwrap();
    for _ in 0..2 {
        world.edit(host, "host = \"db.corp.example\"");
    }
    for (run, addresses) in
        [[silent_at.to_string(), "127.0.0.1".to_owned()], ["127.0.0.1".to_owned(), silent_at.to_string()]]
            .into_iter()
            .enumerate()
    {
        let hosts: String = addresses.iter().map(|address| format!("{address} db.corp.example\n")).collect();
        let run = format!("run-{run}");
        for arguments in [JSON.as_slice(), &["run", "--output", "json", "--tables", "public.*", "--run-id", &run]] {
            let mut command = world.command(arguments);
            with_names(&mut command, world.path(), &hosts);
            world.finish(command).success();
        }
    }
}

#[test]
fn the_certificate_of_a_postgres_is_shown_and_saved_as_openssl_shows_it() {
    let world = PostgresWorld::new(SCRIPT);
    let (certificate, key) = (world.path().join("server.pem"), world.path().join("server.key"));
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/O=Corp/CN=db01"];
    let names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", certificate];
    openssl(&[&request[..], &names].concat());
    let text = |path: &str| std::fs::read_to_string(path).unwrap();
    let server = PostgresServer::start(Some(Certificate { certificate: &text(certificate), key: &text(key) })).unwrap();
    let own = text(world.path().join("warehouse.toml").to_str().unwrap());
    let own = own.lines().find(|line| line.starts_with("port = ")).unwrap();
    world.edit(own, &format!("port = {}", server.port()));
    world.edit("encrypt = \"off\"", "encrypt = \"required\"");

    let untrusted = expect(&world.host(&JSON), "tls", "DK-SRC-120", "host doctor");
    let links = untrusted.chain["links"].as_array().unwrap();
    let shown = &links.iter().find(|link| link["link"] == "tls").unwrap()["certificate"];
    assert_eq!((&shown["subject"], &shown["issuer"]), (&"O=Corp, CN=db01".into(), &"O=Corp, CN=db01".into()));
    assert_eq!(shown["names"], serde_json::json!(["localhost", "127.0.0.1"]));
    let inspect = ["x509", "-in", certificate, "-noout", "-fingerprint", "-sha256", "-dates"];
    let seen = openssl(&inspect);
    for key in ["sha256", "not_before", "not_after"] {
        let value = shown[key].as_str().unwrap();
        assert!(seen.contains(&format!("={value}\n")), "{key} {value} is not in\n{seen}");
    }
    let text_form = world.host(&["doctor", "shop"]).stdout;
    assert!(text_form.contains("SHA-256  ") && text_form.contains("--save-certificate FILE"), "{text_form}");

    let saved = ["doctor", "shop", "--save-certificate", "saved.pem"];
    assert_eq!(world.host(&saved).code, Some(1));
    let parts = |text: &str| text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(parts(&text(world.path().join("saved.pem").to_str().unwrap())), parts(&text(certificate)));
    // Never over a file that is there.
    let again = world.host(&saved);
    assert!(again.stderr.contains("DK-CLI-004"), "{}", again.stderr);
    world.edit("encrypt = \"required\"", "certificate_file = \"saved.pem\"");
    let document = world.host(&["doctor", "shop", "--output", "json"]).json();
    assert_eq!(status(chain(&document, "shop"), "login"), "ok");
}

/// What the `openssl` command says.
fn openssl(arguments: &[&str]) -> String {
    let output = std::process::Command::new("openssl").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
