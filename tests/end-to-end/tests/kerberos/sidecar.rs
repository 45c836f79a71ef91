//! `host kerberos renew` and `status`: a cache that others read.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use datakit_kerberos::Ccache;
use datakit_standin::kdc::KdcOptions;
use datakit_tests::{KerberosWorld, Started};

use crate::SCRIPT;

fn start(world: &KerberosWorld, cache: &Path, more: &[&str]) -> Started {
    let keytab = world.keytab.to_str().unwrap();
    let arguments =
        ["kerberos", "renew", "--keytab", keytab, "--principal", "svc-etl", "--cache", cache.to_str().unwrap()];
    world.world.start(world.command(&[&arguments[..], more].concat()))
}

/// The status line and the body.
fn get(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn a_fresh_cache_is_kept_for_others() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    let cache = world.world.path().join("shared-cache");
    let address = free_address();
    let mut sidecar = start(&world, &cache, &["--interval", "1s", "--group", "0", "--health", &address]);
    sidecar.wait_until("two renewals", |it| it.stderr().matches("renewed").count() >= 2);
    assert_eq!(std::fs::metadata(&cache).unwrap().mode() & 0o777, 0o640);
    for path in ["/health/live", "/health/startup", "/health/ready"] {
        assert_eq!(get(&address, path), ("HTTP/1.1 200 OK".into(), "{\"status\":\"ok\"}".into()));
    }
    assert!(get(&address, "/").0.contains("404"));

    let status =
        world.host(&["kerberos", "status", "--cache", cache.to_str().unwrap(), "--output", "json"]).success().json();
    assert_eq!(
        (status["principal"].as_str(), status["realm"].as_str()),
        (Some("svc-etl@CORP.EXAMPLE"), Some("CORP.EXAMPLE"))
    );
    assert_eq!(status["is_valid"], true);
    let ticket = &status["tickets"][0];
    assert_eq!(ticket["service"], "krbtgt/CORP.EXAMPLE@CORP.EXAMPLE");
    assert_eq!(ticket["ticket_encryption"], "aes256-cts-hmac-sha1-96");
    assert_eq!(ticket["is_forwardable"], false);
    let text = world.host(&["kerberos", "status", "--cache", cache.to_str().unwrap()]).success().stdout;
    assert!(text.contains("svc-etl@CORP.EXAMPLE") && text.contains("aes256-cts-hmac-sha1-96"), "{text}");

    world.log_in_with("ticket_cache = \"shared-cache\"");
    assert_eq!(world.host(&["run", "--output", "json"]).success().json()["rows"], 2);
    sidecar.signal("TERM");
    assert_eq!(sidecar.end().code, Some(0));
}

#[test]
fn killed_in_the_middle_of_writing_it_leaves_a_whole_cache() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    let cache = world.kdc.path("shared-cache");
    let mut read = 0;
    for round in 0..8u64 {
        let mut sidecar = start(&world, &cache, &["--interval", "1s"]);
        sidecar.wait_until("a renewal", |it| it.stderr().contains("renewed"));
        let until = Instant::now() + Duration::from_millis(400 + 37 * round);
        while Instant::now() < until {
            assert!(Ccache::read(&cache).unwrap().ticket_granting().is_some());
            read += 1;
        }
        sidecar.signal("KILL");
        assert_eq!(sidecar.end().code, None);
        Ccache::read(&cache).unwrap();
    }
    assert!(read > 1_000, "{read}");
    std::fs::write(world.kdc.path(".shared-cache.unfinished-abc"), "half").unwrap();
    let mut last = start(&world, &cache, &[]);
    last.wait_until("a renewal", |it| it.stderr().contains("renewed"));
    assert!(!world.kdc.path(".shared-cache.unfinished-abc").exists());
}

#[test]
fn a_kdc_that_is_away_is_waited_for_and_the_next_one_asked() {
    let Some(mut world) = KerberosWorld::with(&KdcOptions::default(), SCRIPT) else { return };
    let cache = world.kdc.path("shared-cache");
    world.kdc.stop();
    let address = free_address();
    let mut sidecar = start(&world, &cache, &["--health", &address]);
    sidecar.wait_until("a failure", |it| it.stderr().contains("not renewed"));
    assert!(get(&address, "/health/live").0.contains("200"));
    let (status, body) = get(&address, "/health/ready");
    assert!(status.contains("503") && body.contains("no KDC answers"), "{status} {body}");
    world.kdc.resume().unwrap();
    sidecar.wait_until("a ticket", |_| get(&address, "/health/ready").0.contains("200"));
    drop(sidecar);

    // Of two KDCs the first is away.
    let settings = std::fs::read_to_string(world.kdc.krb5_conf()).unwrap();
    let settings = settings.replacen("  kdc = ", &format!("  kdc = {}\n  kdc = ", free_address()), 1);
    std::fs::write(world.kdc.krb5_conf(), settings).unwrap();
    let once = start(&world, &world.kdc.path("another-cache"), &["--once"]).end();
    assert_eq!(once.code, Some(0), "{}", once.stderr);
}

#[test]
fn a_keytab_that_is_refused_ends_it_with_the_reason() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    world.kdc.keytab("svc-etl", "newer.keytab").unwrap();
    let cache = world.kdc.path("shared-cache");
    insta::assert_snapshot!(world.refusal(&start(&world, &cache, &[]).end()));
    let nowhere = world.kdc.path("no-folder/cache");
    world.kdc.admin(&format!("ktadd -k {} svc-etl", world.keytab.display())).unwrap();
    insta::assert_snapshot!(world.refusal(&start(&world, &nowhere, &[]).end()));
    insta::assert_snapshot!(world.refusal(&start(&world, &cache, &["--group", "nobody-has-this"]).end()));
}
