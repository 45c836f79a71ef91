//! Who gets in, and how: encryption as negotiated, passwords, databases, certificates.

use datakit_fake_sqlserver::{Certificate, Encrypt, FakeSqlServer, Options, Running};
use mssql_tds::core::EncryptionSetting;
use tiberius::{AuthMethod, EncryptionLevel};

use crate::common::scripted::{Scripted, emit};
use crate::common::{mssql, tib};
use datakit_fake_sqlserver::values::{Column, SqlType, Value};

fn fake_sqlserver(options: Options) -> Running {
    let engine = Scripted::new(|_, out| emit(out, &[Column::new("n", SqlType::Int)], &[vec![Value::Int(1)]]));
    FakeSqlServer::start(options, engine).unwrap()
}

fn with(encrypt: Encrypt) -> Running {
    fake_sqlserver(Options { encrypt, ..Options::default() })
}

/// What a driver reads when it connects this way, or why it cannot.
async fn tiberius(running: &Running, encryption: EncryptionLevel) -> String {
    let mut config = tib::config(running.address(), encryption);
    if !running.ca_pem().is_empty() {
        config.trust_cert_ca(running.ca_pem_path().to_str().unwrap());
    }
    match tib::connect(config).await {
        Ok(mut client) => tib::lines(client.simple_query("SELECT 1 AS n").await).await.join(", "),
        Err(error) => tib::error_text(&error),
    }
}

async fn mssql(running: &Running, encryption: EncryptionSetting) -> String {
    let mut context = mssql::context(encryption);
    if encryption == EncryptionSetting::Strict {
        // It trusts nothing by request then, but a certificate it was given.
        context.encryption_options.trust_server_certificate = false;
        context.encryption_options.server_certificate = Some(running.certificate_pem_path().to_owned());
    }
    match mssql::connect(context, running.address()).await {
        Ok(mut client) => mssql::batch(&mut client, "SELECT 1 AS n").await.join(", "),
        Err(error) => mssql::error_text(&error),
    }
}

const READ: &str = "columns n, row 1";

#[tokio::test]
async fn tiberius_gets_the_encryption_that_both_sides_agree_on() {
    use EncryptionLevel::{NotSupported, Off, On, Required, Strict};
    for (server, client, in_by) in [
        (Encrypt::Off, NotSupported, true),
        (Encrypt::Off, Required, false),
        (Encrypt::On, NotSupported, true),
        (Encrypt::On, Off, true),
        (Encrypt::On, On, true),
        (Encrypt::On, Required, true),
        (Encrypt::On, Strict, true),
        (Encrypt::Required, Off, true),
        (Encrypt::Required, Required, true),
        (Encrypt::Required, Strict, true),
        (Encrypt::Strict, Strict, true),
        (Encrypt::Strict, Required, false),
    ] {
        let read = tiberius(&with(server), client).await;
        assert_eq!(read == READ, in_by, "{server:?} {client:?}: {read}");
    }
}

#[tokio::test]
async fn mssql_tds_gets_the_encryption_that_both_sides_agree_on() {
    use EncryptionSetting::{PreferOff, Required, Strict};
    for (server, client, in_by) in [
        (Encrypt::Off, PreferOff, true),
        (Encrypt::Off, Required, false),
        (Encrypt::On, PreferOff, true),
        (Encrypt::On, Required, true),
        (Encrypt::On, Strict, true),
        (Encrypt::Required, PreferOff, true),
        (Encrypt::Required, Required, true),
        (Encrypt::Strict, Strict, true),
        (Encrypt::Strict, Required, false),
    ] {
        let read = mssql(&with(server), client).await;
        assert_eq!(read == READ, in_by, "{server:?} {client:?}: {read}");
    }
}

#[tokio::test]
async fn a_wrong_password_user_or_database_is_reported_by_number() {
    let running = with(Encrypt::On);
    let mut config = tib::config(running.address(), EncryptionLevel::Off);
    config.trust_cert_ca(running.ca_pem_path().to_str().unwrap());
    let mut reported = Vec::new();
    for (user, password, database) in [
        ("sa", "wrong", "testdb"),
        ("sa", "", "testdb"),
        ("nobody", "Pl4nted 1!", "testdb"),
        ("sa", "Pl4nted 1!", "nowhere"),
    ] {
        let mut config = config.clone();
        config.authentication(AuthMethod::sql_server(user, password));
        config.database(database);
        let error = tib::connect(config).await.err().unwrap();
        reported.push(tib::error_text(&error));
        let mut context = mssql::context(EncryptionSetting::PreferOff);
        (context.user_name, context.password, context.database) = (user.into(), password.into(), database.into());
        let error = mssql::connect(context, running.address()).await.err().unwrap();
        assert_eq!(mssql::error_text(&error), *reported.last().unwrap());
    }
    insta::assert_snapshot!(reported.join("\n"));
}

#[tokio::test]
async fn a_certificate_is_only_good_for_its_host_its_time_and_its_authority() {
    for certificate in [Certificate::WrongHost, Certificate::Expired] {
        let running = fake_sqlserver(Options { certificate: certificate.clone(), ..Options::default() });
        let read = tiberius(&running, EncryptionLevel::Required).await;
        assert!(read.contains("certificate verify failed"), "{certificate:?}: {read}");
    }
    // Another authority.
    let (running, other) = (with(Encrypt::On), with(Encrypt::On));
    let mut config = tib::config(running.address(), EncryptionLevel::Required);
    config.trust_cert_ca(other.ca_pem_path().to_str().unwrap());
    let error = tib::connect(config).await.err().unwrap().to_string();
    assert!(error.contains("certificate verify failed"), "{error}");
}

#[tokio::test]
async fn a_given_certificate_is_shown() {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let given =
        Certificate::Given { chain_pem: certificate.pem(), key_pem: key.serialize_pem(), ca_pem: certificate.pem() };
    let directory = tempfile::tempdir().unwrap();
    let running = fake_sqlserver(Options {
        certificate: given,
        certificate_directory: Some(directory.path().join("tls")),
        ..Options::default()
    });
    assert_eq!(std::fs::read_to_string(directory.path().join("tls/ca.pem")).unwrap(), certificate.pem());
    let mut context = mssql::context(EncryptionSetting::Required);
    context.encryption_options.trust_server_certificate = false;
    context.encryption_options.server_certificate = Some(running.ca_pem_path().to_owned());
    let mut client = mssql::connect(context, running.address()).await.unwrap();
    assert_eq!(mssql::batch(&mut client, "SELECT 1 AS n").await.join(", "), READ);
}

#[tokio::test]
async fn packets_are_as_long_as_the_client_asked() {
    let engine = Scripted::new(|_, out| {
        let column = Column::new("s", SqlType::VarChar(datakit_fake_sqlserver::values::Length::Max));
        emit(out, &[column], &[vec![Value::Text("x".repeat(100_000))]]);
    });
    let running = FakeSqlServer::start(Options { encrypt: Encrypt::Off, ..Options::default() }, engine).unwrap();
    for (asked, settled) in [(512, 512), (4096, 4096), (8000, 8000), (32_767, 32_767)] {
        let mut context = mssql::context(EncryptionSetting::PreferOff);
        context.packet_size = asked;
        let mut client = mssql::connect(context, running.address()).await.unwrap();
        assert_eq!(client.packet_size(), settled);
        let lines = mssql::batch(&mut client, "long").await;
        assert!(lines[1].contains("(100000 characters"), "{lines:?}");
    }
}
