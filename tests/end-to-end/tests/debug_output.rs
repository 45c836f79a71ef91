//! No type that can hold a secret shows it when it is formatted for a developer: not as text, not as bytes, not encoded.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use datakit_canary::search::{Search, Written};
use datakit_config::{Layers, Overrides, load};
use datakit_delta::{DeltaConfig, DeltaSink, StoreOptions};
use datakit_fake_sqlserver::kdc::{Kdc, KdcOptions};
use datakit_fake_sqlserver::server::Options;
use datakit_fake_sqlserver::vault::{CLIENT_ID, CLIENT_SECRET, Field, Vault, VaultOptions};
use datakit_files::{FilesConfig, Root};
use datakit_kerberos::{Ccache, Keytab, KeytabPlace, MemoryKeytab, Origin, Service, TicketSettings, Tickets};
use datakit_model::{Credential, Secret, SecretBytes};
use datakit_postgres::Server;
use datakit_postgres::sink::PostgresSink;
use datakit_postgres::source::PostgresConfig as PostgresSourceConfig;
use datakit_secrets::aws;
use datakit_secrets::delinea::{Client, ClientSettings, Login};
use datakit_sqlserver::SqlServerConfig;

const SECRET: &str = "Pl4nted-debug-secret";
/// The same in base64.
const PACKED: &str = "UGw0bnRlZC1kZWJ1Zy1zZWNyZXQ=";

const WAREHOUSE: &str = r#"
[connections.erp]
kind = "sqlserver"
source_system = "ERP"
server = "sql01"
database = "ERP"
auth = { user = "svc", password = { env = "ERP_PASSWORD" } }

[sinks.bronze]
kind = "postgres"
host = "pg01"
database = "bronze"
user = "svc"
password = { env = "ERP_PASSWORD" }
"#;

/// What was formatted so far, and the search for what may not be in it.
struct Shown {
    search: Search,
}

impl Shown {
    fn new(secrets: &[&[u8]]) -> Self {
        let secrets: Vec<_> = secrets.iter().map(|secret| ("a secret".to_owned(), secret.to_vec())).collect();
        Self { search: Search::new(&secrets) }
    }

    #[track_caller]
    fn hides(&self, what: &str, value: &dyn Debug) {
        for text in [format!("{value:?}"), format!("{value:#?}")] {
            assert!(!text.is_empty());
            let written =
                Written { test: what.to_owned(), place: "Debug".to_owned(), bytes: text.clone().into_bytes() };
            assert!(self.search.leaks(&written).is_empty(), "{what}: {text}");
        }
    }
}

fn secret() -> Secret {
    Secret::new(SECRET.to_owned())
}

fn bytes() -> SecretBytes {
    SecretBytes::new(SECRET.as_bytes().to_vec())
}

#[test]
fn what_holds_a_password() {
    let shown = Shown::new(&[SECRET.as_bytes()]);
    shown.hides("Secret", &secret());
    shown.hides("SecretBytes", &bytes());
    let credential = Credential::from(secret());
    credential.get().unwrap();
    shown.hides("Credential", &credential);
    shown.hides("Credential of bytes", &Credential::from(bytes()));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("warehouse.toml");
    std::fs::write(&file, WAREHOUSE).unwrap();
    let environment = BTreeMap::from([("ERP_PASSWORD".to_owned(), SECRET.to_owned())]);
    let layers = Layers { file: Some(file), environment: environment.clone(), flags: Overrides::default() };
    shown.hides("Layers", &layers);
    let config = load(&layers, &datakit_connectors::kinds()).unwrap();
    shown.hides("Config", &config);
    let [password] = config.connections["erp"].secrets()[..] else { unreachable!() };
    shown.hides("ResolvedSecret", &password.resolve(&environment).unwrap().unwrap());

    shown.hides("SqlServerConfig", &SqlServerConfig::new("sql01", "ERP", "svc", secret()));
    let password = Some(Credential::from(secret()));
    let source = PostgresSourceConfig::new(Server { password: password.clone(), ..Server::new("pg01", "shop", "svc") });
    shown.hides("PostgresConfig of a source", &source);
    let sink = Server { password, ..Server::new("pg01", "bronze", "svc") };
    shown.hides("Server of PostgreSQL", &sink);
    shown.hides("PostgresSink", &PostgresSink::new(sink));
    shown.hides("Options of the fake SQL Server", &Options { password: SECRET.to_owned(), ..Options::default() });
}

#[test]
fn what_holds_the_keys_of_an_object_store() {
    let shown = Shown::new(&[SECRET.as_bytes(), PACKED.as_bytes()]);
    let aws = [("AWS_ACCESS_KEY_ID", "someone"), ("AWS_SECRET_ACCESS_KEY", SECRET), ("AWS_REGION", "eu-central-1")];
    let azure = [("AZURE_STORAGE_ACCOUNT_NAME", "lake"), ("AZURE_STORAGE_ACCOUNT_KEY", PACKED)];
    for (uri, variables) in [("s3://lake/bronze", &aws[..]), ("az://lake/bronze", &azure[..])] {
        let options = || -> StoreOptions {
            variables.iter().map(|(name, value)| ((*name).to_owned(), Secret::new((*value).to_owned()))).collect()
        };
        shown.hides("StoreOptions", &options());
        let config = DeltaConfig { store: options(), ..DeltaConfig::new(uri) };
        shown.hides("DeltaConfig", &config);
        shown.hides("DeltaSink", &DeltaSink::new(config).unwrap());
        let root = Root::Folder("landing".into());
        shown.hides("FilesConfig", &FilesConfig { store: options(), ..FilesConfig::new(root) });
    }
}

#[test]
fn what_holds_the_token_of_a_vault() {
    let shown = Shown::new(&[SECRET.as_bytes(), CLIENT_SECRET.as_bytes(), b"Pl4nted-token-1"]);
    let vault = Vault::start(VaultOptions::default()).unwrap();
    vault.set(7, vec![Field::Text("password", SECRET.to_owned())]);
    let settings = ClientSettings {
        url: vault.url(),
        login: Login::ClientCredentials,
        client_id: Secret::new(CLIENT_ID.into()),
        client_secret: Credential::from(Secret::new(CLIENT_SECRET.into())),
        certificate_file: Some(vault.ca_pem_path().to_owned()),
    };
    shown.hides("ClientSettings", &settings);
    let client = Client::new(settings);
    assert_eq!(client.text(7, "password").unwrap().expose(), SECRET);
    // With a token by now.
    shown.hides("Client", &client);
}

#[test]
fn what_holds_an_access_key() {
    let shown = Shown::new(&[SECRET.as_bytes()]);
    let key = || Credential::from(secret());
    let keys = aws::Login::Keys { access_key_id: key(), secret_access_key: key(), session_token: Some(key()) };
    let variables = BTreeMap::from([("AWS_SECRET_ACCESS_KEY".to_owned(), SECRET.to_owned())]);
    for login in [keys, aws::Login::of_environment(&variables)] {
        let settings = aws::ClientSettings { region: "eu-central-1".to_owned(), endpoint: None, login };
        shown.hides("ClientSettings of AWS", &settings);
        shown.hides("Client of AWS", &aws::Client::new(settings).unwrap());
    }
}

#[test]
fn what_holds_keys_and_tickets() {
    let kdc = Kdc::start(&KdcOptions::default()).unwrap();
    let file = kdc.add_with_keytab("svc-etl", "", "svc-etl.keytab").unwrap();
    let cache = kdc.kinit("svc-etl", &file, "cache", &[]).unwrap();
    let (keytab, tickets) = (std::fs::read(&file).unwrap(), std::fs::read(&cache).unwrap());
    // The end of a keytab is its newest key, the end of a cache a ticket.
    let shown = Shown::new(&[&keytab[keytab.len() - 36..][..32], &tickets[tickets.len() - 64..][..56]]);
    shown.hides("Keytab", &Keytab::read(&file).unwrap());
    shown.hides("Ccache", &Ccache::read(&cache).unwrap());
    let in_memory = Arc::new(MemoryKeytab::fetched("in a vault", Credential::from(SecretBytes::new(keytab))));
    shown.hides("MemoryKeytab", &in_memory);
    let place = KeytabPlace::Memory(in_memory);
    shown.hides("KeytabPlace", &place);
    let origin = Origin::Keytab { keytab: place, principal: "svc-etl@CORP.EXAMPLE".to_owned() };
    shown.hides("Origin", &origin);
    let settings = TicketSettings { origin, min_remaining: Default::default(), timeout: Default::default() };
    shown.hides("TicketSettings", &settings);
    let service = Service { class: "MSSQLSvc", host: "sql01".to_owned(), port: 1433, realm: None };
    shown.hides("Tickets", &Tickets::new(settings, service));
    shown.hides("MemoryKeytab of base64", &MemoryKeytab::from_base64("KEYTAB", &Secret::new(PACKED.into())).unwrap());
}
