//! Registries that mean harm, or are broken: each answer is bounded in bytes, time and pages.
//!
//! No real registry behaves like this, so each is a server of the test's own, which counts requests and bytes.

#![expect(clippy::unwrap_used, reason = "a test that fails should say where")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use datakit_model::Diagnostic as _;
use datakit_registry::{Cache, Digest, Location, Reference, Registry, RegistryError, RegistryOptions};

/// What a server does after its head.
enum Body {
    Text(String),
    /// Zeros without end.
    Endless,
    /// One byte now and then, without end.
    Dripping,
}

struct Reply {
    head: String,
    body: Body,
}

fn reply(status: &str, headers: &str, body: impl Into<String>) -> Reply {
    let body = body.into();
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    Reply { head, body: Body::Text(body) }
}

fn unbounded(status: &str, body: Body) -> Reply {
    Reply { head: format!("HTTP/1.1 {status}\r\nConnection: close\r\n\r\n"), body }
}

/// A server that answers by a function of the request line and its headers.
struct Server {
    port: u16,
    sent_bytes: Arc<AtomicU64>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sent_bytes, requests) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (sent, seen, answer) = (sent_bytes.clone(), requests.clone(), Arc::new(answer));
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let (sent, seen, answer) = (sent.clone(), seen.clone(), answer.clone());
                thread::spawn(move || serve(client, &*answer, &sent, &seen));
            }
        });
        Self { port, sent_bytes, requests }
    }

    fn registry(&self, options: RegistryOptions) -> Registry {
        self.registry_at(Ipv4Addr::LOCALHOST.into(), options)
    }

    /// The same registry by an address of this machine.
    fn registry_at(&self, address: IpAddr, options: RegistryOptions) -> Registry {
        let location: Location = format!("{address}:{}", self.port).parse().unwrap();
        Registry::open(location, &RegistryOptions { plain_http: true, ..options }).unwrap()
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::SeqCst)
    }
}

fn serve(
    client: TcpStream,
    answer: &(dyn Fn(&str) -> Reply + Send + Sync),
    sent: &AtomicU64,
    seen: &Mutex<Vec<String>>,
) {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let (mut head, mut line) = (String::new(), String::new());
    while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
        head.push_str(&line);
        line.clear();
    }
    let length =
        head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.trim().parse().ok());
    let mut content = vec![0; length.unwrap_or(0)];
    if reader.read_exact(&mut content).is_err() {
        return;
    }
    let request = format!("{head}\n{}", String::from_utf8_lossy(&content));
    seen.lock().unwrap().push(request.clone());
    let Reply { head, body } = answer(&request);
    let mut client = client;
    let mut send = |bytes: &[u8]| {
        sent.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        client.write_all(bytes).and_then(|()| client.flush())
    };
    if send(head.as_bytes()).is_err() {
        return;
    }
    match body {
        Body::Text(_) if request.starts_with("HEAD") => {}
        Body::Text(text) => drop(send(text.as_bytes())),
        Body::Endless => while send(&[b'0'; 65536]).is_ok() {},
        Body::Dripping => {
            while send(b"0").is_ok() {
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

fn reference() -> Reference {
    format!("kit@{}", Digest::of(b"x")).parse().unwrap()
}

async fn pull(server: &Server, options: RegistryOptions) -> RegistryError {
    let cache = tempfile::tempdir().unwrap();
    let pulled = server.registry(options).pull(&reference(), &Cache::new(cache.path())).await;
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0, "nothing of a failed pull is kept");
    pulled.err().unwrap()
}

/// What a person is told, without what differs from run to run.
fn reported(error: &RegistryError, ports: &[u16]) -> String {
    let hint = error.hint().unwrap_or_default();
    let reported = format!("{}: {error}\nhint: {hint}", error.code());
    ports.iter().fold(reported, |reported, port| reported.replace(&port.to_string(), "PORT"))
}

fn short() -> RegistryOptions {
    RegistryOptions { answer_timeout: Duration::from_secs(1), ..RegistryOptions::default() }
}

#[tokio::test]
async fn endless_manifest_error_or_tag_list_is_cut_off() {
    // What a peer writes before it notices that nobody reads: its own buffers and ours.
    const BUFFERS_BYTES: u64 = 16 << 20;
    let manifest = Server::start(|_| unbounded("200 OK", Body::Endless));
    let error = pull(&manifest, RegistryOptions::default()).await;
    insta::assert_snapshot!("endless-manifest", reported(&error, &[manifest.port]));
    assert!(manifest.sent_bytes() < BUFFERS_BYTES, "{}", manifest.sent_bytes());

    let failing = Server::start(|_| unbounded("500 No", Body::Endless));
    let error = pull(&failing, RegistryOptions::default()).await;
    insta::assert_snapshot!("endless-error", reported(&error, &[failing.port]));
    assert!(failing.sent_bytes() < BUFFERS_BYTES, "{}", failing.sent_bytes());

    let tags = Server::start(|_| unbounded("200 OK", Body::Endless));
    let error = tags.registry(RegistryOptions::default()).list("kit").await.unwrap_err();
    insta::assert_snapshot!("endless-tags", reported(&error, &[tags.port]));
    assert!(tags.sent_bytes() < BUFFERS_BYTES, "{}", tags.sent_bytes());

    let digest = Digest::of(b"x");
    let content = layer_manifest(&digest, 10);
    let blob = Server::start(move |request| {
        if request.contains("/blobs/") {
            unbounded("200 OK", Body::Endless)
        } else {
            reply("200 OK", "", content.clone())
        }
    });
    let error = pull_of(&blob, &layer_manifest(&digest, 10)).await;
    insta::assert_snapshot!("endless-blob", reported(&error, &[blob.port]));
    assert!(blob.sent_bytes() < BUFFERS_BYTES, "{}", blob.sent_bytes());
}

#[tokio::test]
async fn answer_that_drips_ends_at_its_time_limit() {
    for status in ["200 OK", "500 No"] {
        let server = Server::start(move |_| unbounded(status, Body::Dripping));
        let error = pull(&server, short()).await;
        assert!(server.sent_bytes() < 1_000, "{}", server.sent_bytes());
        insta::assert_snapshot!("dripping-manifest", reported(&error, &[server.port]));
    }
}

fn version(n: usize) -> String {
    format!("0.{n}.0")
}

fn tags_reply(headers: &str, tags: impl Iterator<Item = String>) -> Reply {
    let tags: Vec<String> = tags.map(|tag| format!("\"{tag}\"")).collect();
    reply("200 OK", headers, format!(r#"{{"name":"kit","tags":[{}]}}"#, tags.join(",")))
}

fn digest_reply() -> Reply {
    reply("200 OK", &format!("Docker-Content-Digest: {}\r\n", Digest::of(b"x")), "")
}

#[tokio::test]
async fn registry_that_ignores_last_is_asked_twice() {
    let server = Server::start(|request| {
        if request.contains("/tags/list") { tags_reply("", (0..150).map(version)) } else { digest_reply() }
    });
    let found = server.registry(RegistryOptions::default()).list("kit").await.unwrap();
    assert_eq!(found.len(), 150);
    let lists = server.requests().iter().filter(|r| r.contains("/tags/list")).count();
    assert_eq!((lists, server.requests().len()), (2, 152));
}

#[tokio::test]
async fn pages_that_are_capped_are_followed_by_their_link() {
    let server = Server::start(|request| {
        if !request.contains("/tags/list") {
            return digest_reply();
        }
        let from = request.split("from=").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap_or(0);
        let next = from + 20;
        let link = format!("Link: </v2/kit/tags/list?n=20&from={next}>; rel=\"next\"\r\n");
        tags_reply(if next < 150 { &link } else { "" }, (from..next.min(150)).map(version))
    });
    assert_eq!(server.registry(RegistryOptions::default()).list("kit").await.unwrap().len(), 150);
}

#[tokio::test]
async fn pages_without_end_are_cut_off_and_pages_elsewhere_are_refused() {
    let pages = AtomicU64::new(0);
    let endless = Server::start(move |_| {
        let page = usize::try_from(pages.fetch_add(1, Ordering::SeqCst)).unwrap();
        tags_reply("Link: </v2/kit/tags/list?more>; rel=next\r\n", (page * 1000..(page + 1) * 1000).map(version))
    });
    let error = endless.registry(RegistryOptions::default()).list("kit").await.unwrap_err();
    assert_eq!(endless.requests().len(), 11);
    insta::assert_snapshot!("endless-pages", reported(&error, &[endless.port]));

    let elsewhere = Server::start(|_| tags_reply("Link: <http://localhost:1/v2/>; rel=next\r\n", (0..3).map(version)));
    let error = elsewhere.registry(RegistryOptions::default()).list("kit").await.unwrap_err();
    insta::assert_snapshot!("pages-elsewhere", reported(&error, &[elsewhere.port]));
}

#[tokio::test]
async fn redirects_end() {
    let server = Server::start(|_| reply("307 Go", "Location: /v2/again\r\n", ""));
    let error = pull(&server, RegistryOptions::default()).await;
    assert_eq!(server.requests().len(), 6);
    insta::assert_snapshot!("redirects-without-end", reported(&error, &[server.port]));
}

/// An address of this machine that others reach; none on a machine without a network.
fn outer_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent: the system only looks up the way.
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|address| !address.is_loopback())
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "a test says why it is skipped")]
async fn registry_of_a_network_leads_to_nothing_on_this_machine() {
    let Some(address) = outer_address() else {
        eprintln!("skipped: this machine has no address but its own");
        return;
    };
    let inside = Server::start(|_| reply("200 OK", "", r#"{"token":"x"}"#));
    let port = inside.port;
    for local in ["127.0.0.1", "localhost", "[::1]", "[::ffff:7f00:1]", "169.254.169.254", "0.0.0.0"] {
        let redirect = format!("Location: http://{local}:{port}/latest/meta-data\r\n");
        let realm = format!("WWW-Authenticate: Bearer realm=\"http://{local}:{port}/token\"\r\n");
        for (what, status, header) in [("redirect", "307 Go", redirect), ("realm", "401 No", realm)] {
            let server = Server::start(move |_| reply(status, &header, ""));
            let cache = tempfile::tempdir().unwrap();
            let registry = server.registry_at(address, RegistryOptions::default());
            let error = registry.pull(&reference(), &Cache::new(cache.path())).await.err().unwrap();
            let reported =
                reported(&error, &[server.port, port]).replace(&address.to_string(), "ADDRESS").replace(local, "LOCAL");
            insta::assert_snapshot!(format!("local-{what}"), reported);
        }
    }
    assert_eq!(inside.requests(), [""; 0]);
}

/// A manifest of one layer, as ours are.
fn layer_manifest(layer: &Digest, size_bytes: u64) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.wasm.config.v0+json","digest":"{layer}","size":2}},"layers":[{{"mediaType":"application/wasm","digest":"{layer}","size":{size_bytes}}}],"annotations":{{"org.opencontainers.image.title":"kit","org.opencontainers.image.version":"0.1.0"}}}}"#
    )
}

/// The error of a pull of this manifest.
async fn pull_of(server: &Server, manifest: &str) -> RegistryError {
    let reference: Reference = format!("kit@{}", Digest::of(manifest.as_bytes())).parse().unwrap();
    let cache = tempfile::tempdir().unwrap();
    let pulled = server.registry(RegistryOptions::default()).pull(&reference, &Cache::new(cache.path())).await;
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0, "nothing of a failed pull is kept");
    pulled.err().unwrap()
}

/// Options with docker's configuration of one entry for the server.
fn logged_in(port: u16, entry: &str) -> (tempfile::TempDir, RegistryOptions) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.json");
    fs::write(&file, format!(r#"{{"auths":{{"127.0.0.1:{port}":{entry}}}}}"#)).unwrap();
    (directory, RegistryOptions { docker_config: Some(file), ..RegistryOptions::default() })
}

#[tokio::test]
async fn password_is_not_sent_to_a_token_service_on_another_host_in_clear() {
    let thief = Server::start(|_| reply("200 OK", "", r#"{"token":"x"}"#));
    let challenge_port = thief.port;
    let challenge = format!("WWW-Authenticate: Bearer realm=\"http://localhost:{challenge_port}/token\"\r\n");
    let server = Server::start(move |_| reply("401 No", &challenge, ""));
    // base64 of user:Pl4nted-pass
    let (_directory, options) = logged_in(server.port, r#"{"auth":"dXNlcjpQbDRudGVkLXBhc3M="}"#);
    let error = pull(&server, options).await;
    insta::assert_snapshot!("password-in-clear", reported(&error, &[server.port, challenge_port]));
    assert_eq!((thief.requests().len(), server.requests().len()), (0, 1));
    assert!(server.requests().iter().all(|r| !r.to_ascii_lowercase().contains("authorization")));
}

#[tokio::test]
async fn token_is_not_sent_to_where_an_answer_leads() {
    let storage = Server::start(|_| reply("404 No", "", ""));
    let place = format!("Location: http://localhost:{}/blob\r\n", storage.port);
    let server = Server::start(move |request| {
        if request.to_ascii_lowercase().contains("authorization: basic") {
            reply("307 Go", &place, "")
        } else {
            reply("401 No", "WWW-Authenticate: Basic realm=\"x\"\r\n", "")
        }
    });
    let (_directory, options) = logged_in(server.port, r#"{"auth":"dXNlcjpQbDRudGVkLXBhc3M="}"#);
    assert_eq!(pull(&server, options).await.code(), "DK-REG-011");
    assert_eq!((storage.requests().len(), server.requests().len()), (1, 2));
    assert!(storage.requests().iter().all(|r| !r.to_ascii_lowercase().contains("authorization")));
}

#[tokio::test]
async fn identity_token_is_exchanged_at_the_token_service() {
    let port = Arc::new(AtomicU64::new(0));
    let own = port.clone();
    let server = Server::start(move |request| {
        if request.starts_with("POST /token") {
            let wanted = "grant_type=refresh_token&client_id=datakit-host&scope=repository%3Akit%3Apull&refresh_token=Pl4nted-refresh&service=r";
            let answer = if request.ends_with(wanted) { r#"{"access_token":"Pl4nted-access"}"# } else { "{}" };
            return reply("200 OK", "", answer);
        }
        if request.contains("uthorization: Bearer Pl4nted-access") {
            return reply("404 No", "", "");
        }
        let port = own.load(Ordering::SeqCst);
        reply(
            "401 No",
            &format!("WWW-Authenticate: Bearer realm=\"http://127.0.0.1:{port}/token\",service=\"r\"\r\n"),
            "",
        )
    });
    port.store(u64::from(server.port), Ordering::SeqCst);
    // Azure's registry writes a name of zeros beside the token.
    let (_directory, options) = logged_in(server.port, r#"{"auth":"MDAwMDA6","identitytoken":"Pl4nted-refresh"}"#);
    let error = pull(&server, options).await;
    assert_eq!(error.code(), "DK-REG-011", "{error}");
    assert_eq!(server.requests().len(), 3, "a refusal, the exchange, the manifest");
}
