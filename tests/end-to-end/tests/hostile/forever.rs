//! A datakit that computes for ever, and clients that never finish what they ask: the host stays alive and ends when it is asked to.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use datakit_tests::{World, datakit};

use crate::{RUN, attack};

/// The first line of the answer.
fn alive(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.lines().next()?.to_owned())
}

#[test]
fn liveness_and_sigterm_are_answered_while_a_datakit_loops_and_requests_stay_half_sent() {
    let world = World::new("CREATE TABLE dbo.t (id int NOT NULL, name nvarchar(60) NULL)");
    world.host(&["publish", datakit("hostile").to_str().unwrap()]).success();
    attack(world.path(), "sqlserver-bronze@0.1.0", "erp", &["dbo.t"]);
    world.edit(
        "[warehouse]",
        "[limits.guest]\nmax_guest_cpu_ms = 3600000\nmax_host_calls = 1000000000000\n\n[warehouse]",
    );
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for attack in ["infinite-loop", "loop-in-discover", "loop-in-host-calls"] {
        let settings = format!("{{\"attack\":\"{attack}\"}}");
        let arguments = [&RUN[..], &["--health", &address, "--settings", &settings]].concat();
        let mut process = world.start(world.command(&arguments));
        process.wait_until("it listens", |_| alive(&address).is_some());
        let half: Vec<TcpStream> = (0..120)
            .map(|_| {
                let mut stream = TcpStream::connect(&address).unwrap();
                stream.write_all(b"GET /health/live HTTP/1.1\r\nHo").unwrap();
                stream
            })
            .collect();
        for _ in 0..5 {
            assert_eq!(alive(&address).as_deref(), Some("HTTP/1.1 200 OK"), "{attack}");
            std::thread::sleep(Duration::from_millis(100));
        }
        let asked = Instant::now();
        process.signal("TERM");
        let output = process.end();
        eprintln!("{attack}: ended after {:?}", asked.elapsed());
        assert!(asked.elapsed() < Duration::from_secs(30), "{attack}");
        assert_eq!(output.code, Some(4), "{}", output.stderr);
        drop(half);
    }
    assert!(!world.path().join("bronze/ERP/dbo/t/_delta_log").exists());
}
