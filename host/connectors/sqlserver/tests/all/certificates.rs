//! What is said of certificates. Extra CAs are the process' own business (OpenSSL reads SSL_CERT_FILE once), so these
//! cases run in children of this test.

use datakit_fake_sqlserver::sql::SqlEngineOptions;
use datakit_fake_sqlserver::{Certificate, Encrypt, Options};
use datakit_sqlserver::{ReaderKind, SqlServerSource};

use crate::common::{READERS, query, read, reported};
use crate::world::World;

const CHILD: &str = "DATAKIT_TEST_CHILD";
const QUERY: &str = "SELECT 1 AS a";

fn world(certificate: Certificate) -> World {
    World::start(Options { certificate, ..Options::default() }, SqlEngineOptions::default(), QUERY)
}

/// The verdicts of both readers on a server whose certificate is neither pinned nor trusted blindly.
async fn verdicts(world: &World) -> String {
    let mut lines = Vec::new();
    for reader in READERS {
        let source = world.source_with(reader, |c| {
            c.certificate_file = None;
            c.trust_certificate = false;
        });
        lines.push(match read(&source, query(QUERY, vec![])).await {
            Ok(answer) => format!("{reader:?}: {} row", answer.rows()),
            Err(failure) => format!("{reader:?}: {}", reported(&failure)),
        });
    }
    lines.join("\n").replace(&world.running.port().to_string(), "PORT")
}

/// Runs the test of the same name in a child that trusts the fake SQL Server's CA.
fn in_child(case: &str) -> String {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "certificates::child", "--ignored", "--nocapture", "--test-threads=1"])
        .env(CHILD, case)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, rest) =
        text.split_once("<<<").unwrap_or_else(|| panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr)));
    rest.split_once(">>>").unwrap().0.to_owned()
}

#[test]
#[ignore = "the child of the other tests"]
fn child() {
    let Ok(case) = std::env::var(CHILD) else { return };
    let world = world(match case.as_str() {
        "expired" => Certificate::Expired,
        "wrong-host" => Certificate::WrongHost,
        _ => Certificate::Valid,
    });
    let ca = world.running.ca_pem_path().to_owned();
    // The variable has to be there before OpenSSL is used, and the CA is made by the server: so the child starts the
    // server and a grandchild reads.
    if let Ok(port) = std::env::var("DATAKIT_TEST_PORT") {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let mut config = world.config(ReaderKind::MssqlTds);
        config.port = port.parse().unwrap();
        config.certificate_file = None;
        let text = runtime.block_on(async {
            let mut lines = Vec::new();
            for reader in READERS {
                config.reader = reader;
                let source = SqlServerSource::new(config.clone()).unwrap();
                lines.push(match read(&source, query(QUERY, vec![])).await {
                    Ok(answer) => format!("{reader:?}: {} row", answer.rows()),
                    Err(failure) => format!("{reader:?}: {} {}", failure.code(), failure.hint().unwrap()),
                });
            }
            lines.join("\n")
        });
        println!("<<<{text}>>>");
        return;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "certificates::child", "--ignored", "--nocapture", "--test-threads=1"])
        .env("SSL_CERT_FILE", ca)
        .env("DATAKIT_TEST_PORT", world.running.port().to_string())
        .output()
        .unwrap();
    println!("{}", String::from_utf8_lossy(&output.stdout));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_authority_is_refused() {
    insta::assert_snapshot!(verdicts(&world(Certificate::Valid)).await);
}

#[test]
fn an_authority_in_ssl_cert_file_is_trusted() {
    insta::assert_snapshot!(in_child("valid"), @r"
    MssqlTds: 1 row
    Tiberius: 1 row
    ");
}

#[test]
fn the_wrong_host_and_an_expired_certificate_are_told_apart() {
    insta::assert_snapshot!(format!("{}\n{}", in_child("wrong-host"), in_child("expired")));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_certificate_than_the_pinned_is_refused() {
    let (server, other) = (world(Certificate::Valid), world(Certificate::Valid));
    let source = server.source_with(ReaderKind::MssqlTds, |c| {
        c.certificate_file = Some(other.running.certificate_pem_path().to_owned());
    });
    let failure = read(&source, query(QUERY, vec![])).await.unwrap_err();
    assert_eq!(failure.code(), "DK-SRC-023", "{}", reported(&failure));
    let expired = world(Certificate::Expired);
    let failure = read(&expired.source(ReaderKind::MssqlTds), query(QUERY, vec![])).await.unwrap_err();
    assert_eq!(failure.code(), "DK-SRC-022", "{}", reported(&failure));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_encryption_is_refused() {
    let options = Options { encrypt: Encrypt::Off, ..Options::default() };
    let world = World::start(options, SqlEngineOptions::default(), QUERY);
    for reader in READERS {
        let source = world.source_with(reader, |c| {
            c.certificate_file = None;
            c.trust_certificate = true;
        });
        let failure = read(&source, query(QUERY, vec![])).await.unwrap_err();
        assert_eq!(failure.code(), "DK-SRC-025", "{reader:?} {}", reported(&failure));
    }
}
