//! Where a login ends up: servers that send it on, instances whose port SQL Server Browser knows, and connections that are probed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use datakit_fake_sqlserver::browser::{Browser, Instance, PORT};
use datakit_fake_sqlserver::sql::SqlEngineOptions;
use datakit_fake_sqlserver::{Options, SendOn};
use datakit_model::Failure;
use datakit_sqlserver::{ApplicationIntent, ReaderKind, SqlServerConfig, SqlServerSource};

use crate::common::{READERS, query, read, reported};
use crate::world::World;

const QUERY: &str = "SELECT 7 AS a";

fn server(options: Options) -> World {
    World::start(options, SqlEngineOptions::default(), QUERY)
}

fn sends_on_to(host: &str, port: u16, only_readers: bool) -> World {
    server(Options { send_on: Some(SendOn { host: host.to_owned(), port, only_readers }), ..Options::default() })
}

/// TLS with any certificate: of two servers not both have the pinned one.
fn config(world: &World, reader: ReaderKind) -> SqlServerConfig {
    let mut config = world.config(reader);
    config.certificate_file = None;
    config.trust_certificate = true;
    config
}

async fn attempt(config: SqlServerConfig) -> Result<usize, Failure> {
    let source = SqlServerSource::new(config)?;
    read(&source, query(QUERY, vec![])).await.map(|answer| answer.rows())
}

#[tokio::test(flavor = "multi_thread")]
async fn login_that_is_sent_on_is_followed_by_both_readers() {
    for instance in ["", "\\a1b2c3"] {
        let replica = server(Options::default());
        // Azure SQL's redirect names an instance behind the host.
        let listener = sends_on_to(&format!("localhost{instance}"), replica.running.port(), false);
        for reader in READERS {
            let before = listener.running.sent_on();
            assert_eq!(attempt(config(&listener, reader)).await.map_err(|f| reported(&f)), Ok(1), "{reader:?}");
            assert!(listener.running.sent_on() > before);
            assert_eq!(replica.running.password_logins().admitted, listener.running.sent_on(), "{reader:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_intent_reaches_the_secondary_replica() {
    let replica = server(Options::default());
    let listener = sends_on_to("localhost", replica.running.port(), true);
    for reader in READERS {
        let mut config = config(&listener, reader);
        let before = listener.running.sent_on();
        assert_eq!(attempt(config.clone()).await.map_err(|f| reported(&f)), Ok(1));
        assert_eq!(listener.running.sent_on(), before, "{reader:?} reads from the primary replica by default");
        config.application_intent = ApplicationIntent::ReadOnly;
        assert_eq!(attempt(config).await.map_err(|f| reported(&f)), Ok(1));
        assert!(listener.running.sent_on() > before);
        assert_eq!(replica.running.password_logins().admitted, listener.running.sent_on(), "{reader:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn server_that_a_login_is_sent_on_to_is_named_in_its_error() {
    let listener = sends_on_to("localhost", 1, false);
    let closed = attempt(config(&listener, ReaderKind::Tiberius)).await.unwrap_err();
    assert_eq!(closed.code(), "DK-SRC-011", "{}", reported(&closed));
    let place = format!("localhost:1 (sent on by localhost:{})", listener.running.port());
    assert!(closed.to_string().contains(&place), "{closed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn login_that_is_sent_in_a_circle_fails() {
    let port = free_port();
    let listen = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    let send_on = Some(SendOn { host: "localhost".into(), port, only_readers: false });
    let circle = server(Options { listen, send_on, ..Options::default() });
    for reader in READERS {
        let failure = attempt(config(&circle, reader)).await.unwrap_err();
        assert_eq!(failure.code(), "DK-SRC-333", "{reader:?} {}", reported(&failure));
    }
    assert_eq!(circle.running.sent_on(), 22, "each reader goes to ten servers after the first");
}

fn free_port() -> u16 {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// An address of this machine that no other test has.
fn own_address() -> IpAddr {
    let [_, a, b, c] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 1 + a % 254, b, 1 + c % 254).into()
}

fn instance(name: &str, port: Option<u16>) -> Instance {
    Instance { name: name.to_owned(), port }
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_are_found_by_sql_server_browser() {
    let address = own_address();
    let server = server(Options { listen: SocketAddr::new(address, 0), ..Options::default() });
    let browser =
        Browser::start(address, vec![instance("ERP", Some(server.running.port())), instance("PIPES", None)]).unwrap();
    let with = |reader, name: &str| {
        let mut config = config(&server, reader);
        (config.host, config.port, config.instance) = (address.to_string(), 1433, Some(name.to_owned()));
        config
    };
    for reader in READERS {
        // Names of instances have no case.
        assert_eq!(attempt(with(reader, "erp")).await.map_err(|f| reported(&f)), Ok(1), "{reader:?}");
    }
    assert!(browser.questions() >= 2);
    let without_tcp = attempt(with(ReaderKind::Tiberius, "PIPES")).await.unwrap_err();
    assert_eq!(without_tcp.code(), "DK-SRC-332", "{}", reported(&without_tcp));
    let unknown = attempt(with(ReaderKind::MssqlTds, "CRM")).await.unwrap_err();
    assert_eq!(unknown.code(), "DK-SRC-331");
    insta::assert_snapshot!(reported(&unknown).replace(&address.to_string(), "HOST"), @r"
    DK-SRC-331 User Never: HOST has no instance `CRM`; its instances: ERP, PIPES
    hint: check the name of the instance in `server`
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn browser_that_does_not_answer_is_reported_with_what_to_do() {
    let address = own_address();
    let server = server(Options::default());
    let mut config = config(&server, ReaderKind::MssqlTds);
    (config.host, config.instance) = (address.to_string(), Some("ERP".to_owned()));
    let closed = attempt(config.clone()).await.unwrap_err();
    insta::assert_snapshot!(reported(&closed).replace(&address.to_string(), "HOST"), @r#"
    DK-SRC-330 Source AfterBackoff: cannot ask SQL Server Browser for the port of HOST\ERP: UDP port 1434 of HOST: Connection refused (os error 111)
    hint: start the service SQL Server Browser and open UDP port 1434, or give the instance's own port: `server = "HOST,PORT"`; SQL Server Configuration Manager shows it
    "#);
    // A firewall drops the question, or its answer.
    let _silent = UdpSocket::bind((address, PORT)).unwrap();
    config.timeouts.connect = Duration::from_secs(1);
    let silent = attempt(config).await.unwrap_err();
    assert_eq!(silent.code(), "DK-SRC-330", "{}", reported(&silent));
    assert!(silent.to_string().ends_with("no answer within 1 s"), "{silent}");
}

/// `/proc/net/tcp` of this process: the timers of the established connections to a port. 2 is that of keepalive (proc(5), `tr`).
fn timers_of_connections_to(port: u16) -> Vec<String> {
    let wanted = format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let of_client = |line: &&str| {
        let mut words = line.split_ascii_whitespace().skip(2);
        words.next().is_some_and(|remote| remote.ends_with(&wanted)) && words.next() == Some("01")
    };
    let timer = |line: &str| line.split_ascii_whitespace().nth(5).unwrap().split(':').next().unwrap().to_owned();
    table.lines().filter(of_client).map(timer).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_of_both_readers_are_probed() {
    let world = World::of(QUERY);
    for reader in READERS {
        let source = world.source(reader);
        read(&source, query(QUERY, vec![])).await.unwrap();
        // What was sent last has been acknowledged: then the timer is that of keepalive.
        let mut timers = Vec::new();
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            timers = timers_of_connections_to(world.running.port());
            if timers.iter().all(|timer| timer == "02") {
                break;
            }
        }
        assert!(!timers.is_empty() && timers.iter().all(|timer| timer == "02"), "{reader:?}: {timers:?}");
    }
}
