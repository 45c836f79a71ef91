//! `host kerberos renew` and `status`: a cache that others read.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use datakit_kerberos::Ccache;
use datakit_tests::{KerberosWorld, Started};

use crate::SCRIPT;

pub(crate) fn start(world: &KerberosWorld, cache: &Path, more: &[&str]) -> Started {
    let keytab = world.keytab.to_str().unwrap();
    let arguments =
        ["kerberos", "renew", "--keytab", keytab, "--principal", "svc-etl", "--cache", cache.to_str().unwrap()];
    world.world.start(world.command(&[&arguments[..], more].concat()))
}

/// The status line and the body.
pub(crate) fn get(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

pub(crate) fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn a_fresh_cache_is_kept_for_others() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    let cache = world.world.path().join("shared-cache");
    let address = free_address();
    let mut sidecar = start(&world, &cache, &["--interval", "1s", "--health", &address]);
    sidecar.wait_until("two renewals", |it| it.stderr().matches("renewed").count() >= 2);
    for path in ["/health/live", "/health/startup", "/health/ready"] {
        assert_eq!(get(&address, path), ("HTTP/1.1 200 OK".into(), "{\"status\":\"ok\"}".into()));
    }
    assert!(get(&address, "/").0.contains("404"));

    let name = format!("FILE:{}", cache.display());
    let status = world.host(&["kerberos", "status", "--cache", &name, "--output", "json"]).success().json();
    assert_eq!(
        (status["principal"].as_str(), status["realm"].as_str()),
        (Some("svc-etl@CORP.EXAMPLE"), Some("CORP.EXAMPLE"))
    );
    assert_eq!(status["is_valid"], true);
    let ticket = &status["tickets"][0];
    assert_eq!(ticket["service"], "krbtgt/CORP.EXAMPLE@CORP.EXAMPLE");
    assert_eq!(ticket["ticket_encryption"], "aes256-cts-hmac-sha1-96");
    assert_eq!(ticket["is_forwardable"], false);
    let text = world.host(&["kerberos", "status", "--cache", &name]).success().stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], format!("cache      FILE:{}", cache.display()));
    assert_eq!(lines[1], "principal  svc-etl@CORP.EXAMPLE");
    assert!(lines[2].starts_with("valid      for ") && lines[2].ends_with(" h more"), "{text}");
    assert_eq!(lines[4], "krbtgt/CORP.EXAMPLE@CORP.EXAMPLE");
    let life = format!("  from {} to {}", ticket["starts"].as_str().unwrap(), ticket["expires"].as_str().unwrap());
    assert!(lines[5].starts_with(&life), "{text}");
    assert_eq!(lines[6], "  aes256-cts-hmac-sha1-96");

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
