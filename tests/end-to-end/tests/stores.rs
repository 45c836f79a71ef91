//! Object stores with keys of their own, in an environment that holds those of somebody else.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use datakit_fake_sqlserver::vault::{CLIENT_ID, CLIENT_SECRET, Field, Vault, VaultOptions};
use datakit_stores::testing::ObjectStoreServer;
use datakit_tests::{FilesWorld, Output};

/// Of another account, in another place where nobody listens.
const OF_SOMEBODY_ELSE: [(&str, &str); 7] = [
    ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
    ("AWS_REGION", "nowhere-1"),
    ("AWS_ACCESS_KEY_ID", "SOMEBODY"),
    ("AWS_SECRET_ACCESS_KEY", "Pl4nted-key-of-somebody-else"),
    ("AWS_SESSION_TOKEN", "Pl4nted-token-of-somebody-else"),
    ("AZURE_STORAGE_ACCOUNT_NAME", "somebody"),
    ("AZURE_STORAGE_ACCOUNT_KEY", "UGw0bnRlZC1henVyZS1rZXk="),
];

/// A store behind a listener that keeps what clients say.
struct Tapped {
    address: String,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Tapped {
    fn new(store: &ObjectStoreServer) -> Self {
        let target = variable(store, "AWS_ENDPOINT_URL").strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heard);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (server, kept) = (TcpStream::connect(&target).unwrap(), Arc::clone(&kept));
                let (mut answers, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut answers, &mut to_client);
                    let _ = to_client.shutdown(Shutdown::Both);
                });
                std::thread::spawn(move || listen(client, server, &kept));
            }
        });
        Self { address, heard }
    }

    /// Whose key requests were signed with, and whether they had a token beside it.
    fn signers(&self) -> (Vec<String>, bool) {
        let heard = String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned();
        let credentials = heard.split("Credential=").skip(1).filter_map(|rest| rest.split('/').next());
        let mut signers: Vec<String> = credentials.map(str::to_owned).collect();
        signers.dedup();
        (signers, heard.to_lowercase().contains("x-amz-security-token"))
    }
}

fn listen(mut client: TcpStream, mut server: TcpStream, kept: &Mutex<Vec<u8>>) {
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = client.read(&mut chunk) {
        kept.lock().unwrap().extend_from_slice(&chunk[..count]);
        if server.write_all(&chunk[..count]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}

fn variable<'s>(store: &'s ObjectStoreServer, name: &str) -> &'s str {
    store.environment().iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).unwrap()
}

/// The table `store` of an S3.
fn s3(endpoint: &str, key_id: &str, key: &str) -> String {
    format!(
        "store = {{ AWS_ENDPOINT_URL = \"{endpoint}\", AWS_ALLOW_HTTP = true, AWS_REGION = \"eu-central-1\", \
         AWS_ACCESS_KEY_ID = \"{key_id}\", AWS_SECRET_ACCESS_KEY = {key} }}"
    )
}

/// `host` in the environment of somebody else, with the keys of ours under other names.
fn command(world: &FilesWorld, arguments: &[&str]) -> Command {
    let mut command = world.command(arguments);
    command.envs(OF_SOMEBODY_ELSE).env("LANDING_KEY", "Pl4nted-key-of-landing");
    command
}

fn host(world: &FilesWorld, arguments: &[&str]) -> Output {
    world.start(command(world, arguments)).end()
}

/// All objects of a store that asks for no signature.
fn objects(store: &ObjectStoreServer) -> String {
    let address = variable(store, "AWS_ENDPOINT_URL").strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /lake?list-type=2 HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn every_setting_that_the_file_may_hold_means_something_to_a_store() {
    for name in datakit_config::StoreSettings::names() {
        assert!(datakit_stores::is_setting(name), "{name}");
    }
}

#[test]
fn a_source_and_a_sink_have_keys_and_places_of_their_own() {
    let (landing, lake) = (ObjectStoreServer::s3().unwrap(), ObjectStoreServer::s3().unwrap());
    let (at_landing, at_lake) = (Tapped::new(&landing), Tapped::new(&lake));
    landing.put("landing/t/a.csv", b"id\n1\n2\n").unwrap();
    let world = FilesWorld::new();
    std::fs::write(world.path().join("lake.key"), "Pl4nted-key-of-lake\n").unwrap();
    world.edit("root = \"./landing\"", &format!("root = \"{}\"", landing.uri_of("landing")));
    world.connection(&s3(&at_landing.address, "READER", "{ env = \"LANDING_KEY\" }"));
    world.edit(
        "uri = \"./bronze\"",
        &format!("uri = \"{}\"\n{}", lake.uri(), { s3(&at_lake.address, "WRITER", "{ file = \"lake.key\" }") }),
    );
    let summary = host(&world, &["run", "--output", "json"]).success().json();
    assert_eq!((&summary["status"], &summary["rows"]), (&"done".into(), &2.into()), "{summary}");
    assert_eq!(at_landing.signers(), (vec!["READER".to_owned()], false));
    assert_eq!(at_lake.signers(), (vec!["WRITER".to_owned()], false));
    assert!(objects(&lake).contains("bronze/LANDING/files/t/_delta_log/00000000000000000000.json"));
    assert!(!objects(&landing).contains("bronze"), "nothing is written where files come from");
    host(&world, &["doctor", "landing", "--output", "json"]).success();
    host(&world, &["doctor", "bronze", "--output", "json"]).success();

    world.edit("AWS_SECRET_ACCESS_KEY = { file", "AWS_SECRET_ACESS_KEY = { file");
    let refused = host(&world, &["validate"]).failure();
    assert!(refused.contains("sinks.bronze.store.AWS_SECRET_ACESS_KEY"), "{refused}");
    assert!(refused.contains("did you mean `AWS_SECRET_ACCESS_KEY`"), "{refused}");
}

#[test]
fn a_key_of_azure_is_the_one_of_its_sink() {
    let lake = ObjectStoreServer::azure().unwrap();
    let world = FilesWorld::new();
    world.put("t/a.csv", "id\n1\n2\n");
    std::fs::write(world.path().join("lake.key"), variable(&lake, "AZURE_STORAGE_ACCOUNT_KEY")).unwrap();
    let store = "store = { AZURE_STORAGE_USE_EMULATOR = true, AZURE_STORAGE_ACCOUNT_NAME = \"devstoreaccount1\", \
                 AZURE_STORAGE_ACCOUNT_KEY = { file = \"lake.key\" } }";
    world.edit("uri = \"./bronze\"", &format!("uri = \"{}\"\n{store}", lake.uri()));
    let run = |world: &FilesWorld| {
        let mut command = command(world, &["run", "--output", "json"]);
        command.env("AZURITE_BLOB_STORAGE_URL", variable(&lake, "AZURITE_BLOB_STORAGE_URL"));
        world.start(command).end()
    };
    assert_eq!(run(&world).success().json()["rows"], 2);
    // Azurite looks at signatures.
    std::fs::write(world.path().join("lake.key"), "UGw0bnRlZC13cm9uZy1rZXk=").unwrap();
    assert_ne!(run(&world).code, Some(0));
}

#[test]
fn a_key_of_a_store_comes_from_a_vault() {
    let lake = ObjectStoreServer::s3().unwrap();
    let at_lake = Tapped::new(&lake);
    let vault = Vault::start(VaultOptions::default()).unwrap();
    vault.set(7, vec![Field::Text("password", "Pl4nted-key-of-lake".into())]);
    let world = FilesWorld::new();
    world.put("t/a.csv", "id\n1\n2\n");
    let reference = |secret: u64| {
        let (url, ca) = (vault.url(), vault.ca_pem_path().display());
        format!(
            "{{ delinea = {{ url = \"{url}\", secret_id = {secret}, field = \"password\", certificate_file = \"{ca}\" }} }}"
        )
    };
    let store = s3(&at_lake.address, "WRITER", &reference(7));
    world.edit("uri = \"./bronze\"", &format!("uri = \"{}\"\n{store}", lake.uri()));
    let host = |arguments: &[&str]| {
        let mut command = command(&world, arguments);
        command.env("DELINEA_CLIENT_ID", CLIENT_ID).env("DELINEA_CLIENT_SECRET", CLIENT_SECRET);
        world.start(command).end()
    };
    let validated = host(&["validate", "--secrets"]).success();
    assert!(validated.stdout.contains("sinks.bronze.store.AWS_SECRET_ACCESS_KEY"), "{}", validated.stdout);
    assert_eq!(vault.asked("/secrets/7"), 0, "not before the store is used");
    assert_eq!(host(&["run", "--output", "json"]).success().json()["rows"], 2);
    assert_eq!((at_lake.signers(), vault.asked("/secrets/7")), ((vec!["WRITER".to_owned()], false), 1));
    world.edit(&reference(7), &reference(8));
    let refused = host(&["run", "--output", "json"]);
    assert!(refused.stdout.contains("\"DK-SEC-"), "the vault's own error: {} {}", refused.stdout, refused.stderr);
    let doctor = host(&["doctor", "bronze", "--output", "json"]);
    assert!(doctor.stdout.contains("DK-SEC-"), "{}", doctor.stdout);
}
