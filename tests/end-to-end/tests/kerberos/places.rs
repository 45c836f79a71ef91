//! Tickets for the server that a login ends up at: behind a listener that sends it on, and at the port that SQL Server Browser
//! names.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use datakit_fake_sqlserver::browser::{Browser, Instance};
use datakit_fake_sqlserver::kdc::KdcOptions;
use datakit_fake_sqlserver::server::{Certificate, FakeSqlServer, Options, Running, SendOn};
use datakit_fake_sqlserver::sql::{SqlEngine, SqlEngineOptions};
use datakit_tests::{KerberosWorld, own_address, with_names};

use crate::SCRIPT;

const READERS: [&str; 2] = ["mssql-tds", "tiberius"];

/// A listener of the realm that sends those who only read on to the world's server.
fn listener(world: &KerberosWorld) -> Running {
    let send_on = SendOn { host: "localhost".into(), port: world.world.mssql.port, only_readers: true };
    let options =
        Options { keytab: Some(world.kdc.path("mssql.keytab")), send_on: Some(send_on), ..Options::default() };
    let engine = SqlEngine::open(SqlEngineOptions::default()).unwrap();
    let running = FakeSqlServer::start(options, Arc::new(engine)).unwrap();
    world.kdc.add_with_keytab(&format!("MSSQLSvc/localhost:{}", running.port()), "", "mssql.keytab").unwrap();
    running
}

/// The authorities of both servers in one file.
fn authorities(world: &KerberosWorld, listener: &Running) -> PathBuf {
    let own = std::fs::read_to_string(world.world.mssql.authority().unwrap()).unwrap();
    let file = world.world.path().join("authorities.pem");
    std::fs::write(&file, own + listener.ca_pem()).unwrap();
    file
}

#[test]
fn login_that_is_sent_on_has_the_ticket_of_the_other_server() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    let listener = listener(&world);
    let authorities = authorities(&world, &listener);
    world.log_in_with_keytab("");
    let replica = world.world.mssql.port;
    let port = format!("port = {}\napplication_intent = \"read-only\"", listener.port());
    world.world.edit(&format!("port = {replica}"), &port);
    let host = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        command.env("SSL_CERT_FILE", &authorities);
        world.world.finish(command)
    };
    for reader in READERS {
        world.world.edit("kind = \"sqlserver\"", &format!("kind = \"sqlserver\"\nreader = \"{reader}\""));
        let output = host(&["run", "--output", "json", "--run-id", reader]).success().json();
        assert_eq!((output["status"].as_str(), output["rows"].as_u64()), (Some("done"), Some(2)), "{reader}");
        world.world.edit(&format!("\nreader = \"{reader}\""), "");
    }
    assert!(listener.sent_on() >= 2 && world.principals() == ["svc-etl@CORP.EXAMPLE"]);
    let log = world.kdc.log();
    for port in [listener.port(), replica] {
        assert!(log.contains(&format!("for MSSQLSvc/localhost:{port}@CORP.EXAMPLE")), "{port}: {log}");
    }
    // Rows alone: nobody has found out before where the login ends up.
    let doctor = host(&["doctor", "erp"]).success().stdout;
    let place = format!("at localhost:{replica} (sent on by localhost:{})", listener.port());
    assert!(doctor.contains(&place), "{doctor}");
}

#[test]
fn instance_has_the_ticket_of_the_port_that_browser_names() {
    let address = own_address();
    let name = "sql.corp.example";
    let options = Options {
        listen: SocketAddr::new(address, 0),
        certificate: Certificate::Naming(vec![name.to_owned(), "localhost".to_owned()]),
        ..Options::default()
    };
    let Some(world) = KerberosWorld::with_server(&KdcOptions::default(), options, &address.to_string(), SCRIPT) else {
        return;
    };
    let port = world.world.mssql.port;
    world.kdc.add_with_keytab(&format!("MSSQLSvc/{name}:{port}"), "", "mssql.keytab").unwrap();
    let instance = Instance { name: "ERP".to_owned(), port: Some(port) };
    let browser = Browser::start(address, vec![instance]).unwrap();
    world.log_in_with_keytab("");
    world.world.edit(&format!("server = \"{address}\"\nport = {port}"), &format!("server = '{name}\\ERP'"));
    let host = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        with_names(&mut command, world.world.path(), &format!("127.0.0.1 localhost\n{address} {name}\n"));
        world.world.finish(command)
    };
    let doctor = host(&["doctor", "erp"]).success().stdout;
    assert!(doctor.contains(&format!("SQL Server {name}\\ERP, database")), "{doctor}");
    assert!(doctor.contains(&format!("instance ERP listens on port {port}")), "{doctor}");
    assert!(doctor.contains(&format!("MSSQLSvc/{name}:{port}, good for")), "{doctor}");
    for reader in READERS {
        world.world.edit("kind = \"sqlserver\"", &format!("kind = \"sqlserver\"\nreader = \"{reader}\""));
        let output = host(&["run", "--output", "json", "--run-id", reader]).success().json();
        assert_eq!((output["status"].as_str(), output["rows"].as_u64()), (Some("done"), Some(2)), "{reader}");
        world.world.edit(&format!("\nreader = \"{reader}\""), "");
    }
    assert!(browser.questions() > 2);
    drop(browser);
    let refused = host(&["doctor", "erp"]);
    assert_eq!(refused.code, Some(4), "{}", refused.stdout);
    assert!(refused.stdout.contains("failed       sql browser"), "{}", refused.stdout);
    assert!(refused.stdout.contains("DK-SRC-330") && refused.stdout.contains("UDP port 1434"), "{}", refused.stdout);
}

#[test]
fn server_with_extended_protection_refuses_the_ticket_and_doctor_says_why() {
    let options = Options { extended_protection: true, ..Options::default() };
    let Some(world) = KerberosWorld::with_server(&KdcOptions::default(), options, "localhost", SCRIPT) else { return };
    world.log_in_with_keytab("");
    for reader in READERS {
        world.world.edit("kind = \"sqlserver\"", &format!("kind = \"sqlserver\"\nreader = \"{reader}\""));
        let refused = world.host(&["discover"]);
        assert_ne!(refused.code, Some(0));
        assert!(
            refused.stderr.contains("DK-SRC-041") && refused.stderr.contains("Extended Protection"),
            "{}",
            refused.stderr
        );
        world.world.edit(&format!("\nreader = \"{reader}\""), "");
    }
    let doctor = world.host(&["doctor", "erp"]).stdout;
    assert!(doctor.contains("not used     channel binding"), "{doctor}");
    assert!(doctor.contains("failed       login") && doctor.contains("DK-SRC-041"), "{doctor}");
}
