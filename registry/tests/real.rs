//! The same promises from a real registry (Debian's docker-registry) and from an OCI image layout directory.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that fails should say where")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use datakit_model::Diagnostic as _;
use datakit_registry::{Cache, Description, Digest, Location, Reference, Registry, RegistryError, RegistryOptions};
use tempfile::TempDir;

const MAX_COMPONENT_BYTES: u64 = 64 << 20;

fn component() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/datakits/sqlserver-bronze.wasm");
    fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}: run `cargo xtask build-datakits`", path.display()))
}

/// The same component with a custom section more: other bytes, still valid.
fn other_component() -> Vec<u8> {
    let mut bytes = component();
    bytes.extend([0, 5, 4, b't', b'e', b's', b't']);
    bytes
}

fn description(version: &str) -> Description {
    Description { name: "sqlserver-bronze".into(), version: version.into(), summary: "Tables".into() }
}

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

fn options() -> RegistryOptions {
    RegistryOptions { max_component_bytes: MAX_COMPONENT_BYTES, ..RegistryOptions::default() }
}

/// A registry server of the test's own.
struct Server {
    process: Child,
    directory: TempDir,
    port: u16,
}

impl Server {
    fn start(auth: bool) -> Self {
        Self::start_with(auth, None)
    }

    /// With TLS, by a certificate of a throw-away authority whose file is `ca.pem` in the server's directory.
    fn start_tls() -> Self {
        let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let ca = authority.self_signed(&authority_key).unwrap().pem();
        let key = rcgen::KeyPair::generate().unwrap();
        let issuer = rcgen::Issuer::new(authority, authority_key);
        let leaf =
            rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        Self::start_with(false, Some([("ca.pem", ca), ("cert.pem", leaf.pem()), ("key.pem", key.serialize_pem())]))
    }

    fn start_with(auth: bool, tls: Option<[(&str, String); 3]>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().display();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        for (name, pem) in tls.iter().flatten() {
            fs::write(directory.path().join(name), pem).unwrap();
        }
        let tls_files = match &tls {
            Some(_) => format!(", tls: {{ certificate: {root}/cert.pem, key: {root}/key.pem }}"),
            None => String::new(),
        };
        let mut config = format!(
            "version: 0.1\nlog: {{ level: error, accesslog: {{ disabled: true }} }}\nstorage: {{ filesystem: {{ rootdirectory: {root}/data }} }}\nhttp: {{ addr: '127.0.0.1:{port}', secret: test{tls_files} }}\n"
        );
        if auth {
            let file = directory.path().join("htpasswd");
            let made =
                Command::new("htpasswd").args(["-Bbc"]).arg(&file).args(["user", "Pl4nted-pass"]).output().unwrap();
            assert!(made.status.success());
            config += &format!("auth: {{ htpasswd: {{ realm: test, path: {} }} }}\n", file.display());
        }
        let file = directory.path().join("config.yml");
        fs::write(&file, config).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is installed: apt-get install docker-registry");
        let until = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "the registry does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        Self { process, directory, port }
    }

    fn location(&self) -> Location {
        format!("127.0.0.1:{}/team/datakits", self.port).parse().unwrap()
    }

    fn blob(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.directory.path().join(format!("data/docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2]))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Publishes, pulls, lists; the same for every kind of location.
async fn keeps_the_promises(location: Location) {
    let registry = Registry::open(location, &options()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::new(directory.path());

    let missing = registry.pull(&reference("sqlserver-bronze@0.1.0"), &cache).await;
    assert!(matches!(missing, Err(RegistryError::NotFound { .. })));

    let bytes = component();
    let published = registry.publish(&bytes, &description("0.1.0")).await.unwrap();
    assert!(!published.already_there);
    let again = registry.publish(&bytes, &description("0.1.0")).await.unwrap();
    assert!(again.already_there);
    assert_eq!(again.digest, published.digest);
    let replaced = registry.publish(&other_component(), &description("0.1.0")).await;
    assert!(matches!(replaced, Err(RegistryError::VersionTaken { .. })));
    registry.publish(&other_component(), &description("0.10.0")).await.unwrap();
    registry.publish(&bytes, &description("0.2.0")).await.unwrap();

    let versions: Vec<String> =
        registry.list("sqlserver-bronze").await.unwrap().iter().map(|e| e.version.to_string()).collect();
    assert_eq!(versions, ["0.1.0", "0.2.0", "0.10.0"]);
    let nothing = registry.list("nothing").await.unwrap_err();
    assert_eq!((nothing.code().as_ref(), nothing.hint().is_some()), ("DK-REG-011", true));

    let pulled = registry.pull(&reference("sqlserver-bronze@0.1.0"), &cache).await.unwrap();
    assert!(!pulled.from_cache);
    assert_eq!(pulled.component, bytes);
    assert_eq!(pulled.digest, published.digest);
    assert_eq!(pulled.description, Some(description("0.1.0")));
    assert_eq!(pulled.info.wit_version, "0.2.0");
    let by_digest = format!("sqlserver-bronze@{}", published.digest);
    let pinned = registry.pull(&reference(&by_digest), &cache).await.unwrap();
    assert!(pinned.from_cache);
    assert_eq!(pinned.component, bytes);
}

#[tokio::test]
async fn a_registry_keeps_the_promises() {
    let server = Server::start(false);
    keeps_the_promises(server.location()).await;
}

#[tokio::test]
async fn a_layout_directory_keeps_the_promises() {
    let directory = tempfile::tempdir().unwrap();
    keeps_the_promises(Location::Layout(directory.path().join("registry"))).await;
}

#[tokio::test]
async fn both_give_a_component_the_same_digest() {
    let server = Server::start(false);
    let directory = tempfile::tempdir().unwrap();
    let remote = Registry::open(server.location(), &options()).unwrap();
    let layout = Registry::open(Location::Layout(directory.path().into()), &options()).unwrap();
    let description = description("0.1.0");
    let component = component();
    let published = remote.publish(&component, &description).await.unwrap();
    assert_eq!(published, layout.publish(&component, &description).await.unwrap());
}

#[tokio::test]
async fn credentials_come_from_dockers_configuration() {
    let server = Server::start(true);
    let anonymous = Registry::open(server.location(), &options()).unwrap();
    let refused = anonymous.publish(&component(), &description("0.1.0")).await;
    assert!(matches!(refused, Err(RegistryError::Unauthorized { .. })), "{refused:?}");

    let config = server.directory.path().join("config.json");
    // base64 of user:Pl4nted-pass
    fs::write(&config, format!(r#"{{"auths":{{"127.0.0.1:{}":{{"auth":"dXNlcjpQbDRudGVkLXBhc3M="}}}}}}"#, server.port))
        .unwrap();
    // A password in clear needs the operator's choice, on this machine too.
    let options = RegistryOptions { docker_config: Some(config), ..options() };
    let by_default = Registry::open(server.location(), &options).unwrap();
    let refused = by_default.publish(&component(), &description("0.1.0")).await;
    assert!(matches!(refused, Err(RegistryError::PasswordInClear { .. })), "{refused:?}");
    let options = RegistryOptions { plain_http: true, ..options };
    let registry = Registry::open(server.location(), &options).unwrap();
    registry.publish(&component(), &description("0.1.0")).await.unwrap();
    let cache = tempfile::tempdir().unwrap();
    registry.pull(&reference("sqlserver-bronze@0.1.0"), &Cache::new(cache.path())).await.unwrap();
}

#[tokio::test]
async fn changed_bytes_in_the_registry_are_refused_and_not_cached() {
    let server = Server::start(false);
    let registry = Registry::open(server.location(), &options()).unwrap();
    let component = component();
    registry.publish(&component, &description("0.1.0")).await.unwrap();
    let blob = server.blob(&Digest::of(&component));
    let cache = tempfile::tempdir().unwrap();
    let mut changed = component.clone();
    changed[100] ^= 1;
    let longer = [component.as_slice(), b"more"].concat();
    for bytes in [changed.as_slice(), &component[..1000], &longer] {
        fs::write(&blob, bytes).unwrap();
        let pulled = registry.pull(&reference("sqlserver-bronze@0.1.0"), &Cache::new(cache.path())).await;
        assert!(pulled.is_err(), "{} bytes", bytes.len());
        assert!(!cache.path().join("blobs").exists());
    }
    fs::write(&blob, &component).unwrap();
    registry.pull(&reference("sqlserver-bronze@0.1.0"), &Cache::new(cache.path())).await.unwrap();
}

#[tokio::test]
async fn changed_bytes_in_a_layout_or_cache_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let registry = Registry::open(Location::Layout(directory.path().into()), &options()).unwrap();
    let component = component();
    registry.publish(&component, &description("0.1.0")).await.unwrap();
    let cache_directory = tempfile::tempdir().unwrap();
    let cache = Cache::new(cache_directory.path());
    registry.pull(&reference("sqlserver-bronze@0.1.0"), &cache).await.unwrap();

    let path = |root: &Path| root.join("blobs/sha256").join(Digest::of(&component).hex());
    fs::write(path(cache_directory.path()), b"damaged").unwrap();
    let healed = registry.pull(&reference("sqlserver-bronze@0.1.0"), &cache).await.unwrap();
    assert_eq!(healed.component, component);

    fs::write(path(directory.path()), b"damaged").unwrap();
    fs::write(path(cache_directory.path()), b"damaged").unwrap();
    let refused = registry.pull(&reference("sqlserver-bronze@0.1.0"), &cache).await;
    assert!(matches!(refused, Err(RegistryError::DigestMismatch { .. })));
}

#[tokio::test]
async fn a_component_over_the_limit_is_not_fetched() {
    let directory = tempfile::tempdir().unwrap();
    let location = Location::Layout(directory.path().into());
    Registry::open(location.clone(), &options()).unwrap().publish(&component(), &description("0.1.0")).await.unwrap();
    let small = Registry::open(location, &RegistryOptions { max_component_bytes: 1000, ..options() }).unwrap();
    let cache = tempfile::tempdir().unwrap();
    let refused = small.pull(&reference("sqlserver-bronze@0.1.0"), &Cache::new(cache.path())).await;
    assert!(matches!(refused, Err(RegistryError::TooLarge { max_component_bytes: 1000, .. })));
}

#[tokio::test]
async fn a_registry_that_is_down_is_replaced_by_the_cache() {
    let server = Server::start(false);
    let registry = Registry::open(server.location(), &options()).unwrap();
    let published = registry.publish(&component(), &description("0.1.0")).await.unwrap();
    let (full, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    registry.pull(&reference("sqlserver-bronze@0.1.0"), &Cache::new(full.path())).await.unwrap();
    drop(server);
    for text in ["sqlserver-bronze@0.1.0".to_owned(), format!("sqlserver-bronze@{}", published.digest)] {
        assert!(registry.pull(&reference(&text), &Cache::new(full.path())).await.unwrap().from_cache);
        let refused = registry.pull(&reference(&text), &Cache::new(empty.path())).await;
        assert!(matches!(refused, Err(RegistryError::Unreachable { .. })), "{:?}", refused.err());
    }
}

#[tokio::test]
async fn an_interrupted_pull_leaves_nothing() {
    let server = Server::start(false);
    let component = component();
    Registry::open(server.location(), &options()).unwrap().publish(&component, &description("0.1.0")).await.unwrap();
    // A proxy that hangs up in the middle of the component.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, upstream) = (listener.local_addr().unwrap().port(), server.port);
    thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(client) = client else { return };
            thread::spawn(move || cut_after(client, upstream, 100_000));
        }
    });
    let location: Location = format!("127.0.0.1:{port}/team/datakits").parse().unwrap();
    let cut = Registry::open(location, &RegistryOptions { plain_http: true, ..options() }).unwrap();
    let cache = tempfile::tempdir().unwrap();
    assert!(cut.pull(&reference("sqlserver-bronze@0.1.0"), &Cache::new(cache.path())).await.is_err());
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
}

/// Carries one request's answer, at most `limit` bytes of it.
fn cut_after(client: TcpStream, port: u16, limit: u64) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut upstream = TcpStream::connect(("127.0.0.1", port))?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        // One answer a connection, so that its end is the answer's end.
        if !line.to_ascii_lowercase().starts_with("connection:") {
            upstream.write_all(line.as_bytes())?;
        }
        line.clear();
    }
    upstream.write_all(b"Connection: close\r\n\r\n")?;
    std::io::copy(&mut upstream.take(limit), &mut &client)?;
    client.shutdown(std::net::Shutdown::Both)
}

#[tokio::test]
async fn publishers_at_the_same_time_agree() {
    let directory = tempfile::tempdir().unwrap();
    let location = Location::Layout(directory.path().into());
    let (one, other) = (component(), other_component());
    let mut threads = Vec::new();
    for i in 0..8 {
        let (location, bytes) = (location.clone(), if i % 2 == 0 { one.clone() } else { other.clone() });
        threads.push(thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let registry = Registry::open(location, &options()).unwrap();
            runtime.block_on(registry.publish(&bytes, &description("0.1.0"))).is_ok()
        }));
    }
    let won: Vec<bool> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    let (even, odd): (Vec<_>, Vec<_>) = won.iter().enumerate().partition(|(i, _)| i % 2 == 0);
    let all = |side: &[(usize, &bool)], value| side.iter().all(|(_, w)| **w == value);
    assert!(all(&even, true) && all(&odd, false) || all(&even, false) && all(&odd, true), "{won:?}");
    let registry = Registry::open(location, &options()).unwrap();
    assert_eq!(registry.list("sqlserver-bronze").await.unwrap().len(), 1);
}

#[tokio::test]
async fn registry_of_this_machine_with_tls_needs_a_trusted_certificate() {
    let server = Server::start_tls();
    let location = format!("localhost:{}/kits", server.port);
    let registry = Registry::open(location.parse().unwrap(), &options()).unwrap();
    let error = registry.publish(&component(), &description("0.1.0")).await.unwrap_err();
    assert!(matches!(error, RegistryError::UntrustedCertificate { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("SSL_CERT_FILE"));

    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "trusting_child", "--ignored"])
        .env("SSL_CERT_FILE", server.directory.path().join("ca.pem"))
        .env("TEST_REGISTRY", location)
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
}

#[tokio::test]
#[ignore = "runs as a child of another test, with a certificate authority of its own"]
async fn trusting_child() {
    let Ok(location) = std::env::var("TEST_REGISTRY") else { return };
    keeps_the_promises(location.parse().unwrap()).await;
}
