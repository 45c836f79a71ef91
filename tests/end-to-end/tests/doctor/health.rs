//! `/health/ready` of a run, and of `host serve-health`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use datakit_fake_sqlserver::server::Options;
use datakit_fake_sqlserver::sql::{Effect, Fault, SqlEngineOptions};
use datakit_tests::{KerberosWorld, Mssql, Started, World, host_binary};
use serde_json::Value;

use crate::SCRIPT;

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// The status and the answer; none where nobody listens.
fn get(address: &str, path: &str) -> Option<(u16, Value)> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, serde_json::from_str(body).ok()?))
}

/// Asks until the answer has this status.
#[track_caller]
fn ready(process: &mut Started, address: &str, status: u16) -> Value {
    let mut last = Value::Null;
    process.wait_until(&format!("{status}"), |_| match get(address, "/health/ready") {
        Some((found, answer)) => {
            last = answer;
            found == status
        }
        None => false,
    });
    last
}

/// The fake SQL Server as a process that can be stopped and started again; killed when dropped.
struct Server(Child);

impl Server {
    fn start(address: &str) -> Self {
        let mut process = Command::new(host_binary().with_file_name("fake-sqlserver"))
            .args(["--listen", address])
            .env("FAKE_SQLSERVER_PASSWORD", "Pl4nted 1!")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("address"), "{line}");
        Self(process)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_source_that_is_stopped_and_started_again() {
    let world = World::new(SCRIPT);
    let (source, address) = (free_address(), free_address());
    let port = source.rsplit(':').next().unwrap();
    let server = Server::start(&source);
    let from = format!("server = \"{}\"\nport = {}", world.mssql.host, world.mssql.port);
    world.edit(&from, &format!("server = \"127.0.0.1\"\nport = {port}"));
    let mut process = world.start(world.command(&["serve-health", "--listen", &address]));
    let answer = ready(&mut process, &address, 200);
    let found =
        ["ticket_valid", "source_reachable", "bronze_writable"].map(|key| answer[key]["answer"].as_str().unwrap());
    assert_eq!(found, ["not_used", "yes", "yes"]);
    assert_eq!(get(&address, "/health/startup").unwrap().0, 200);
    drop(server);
    let answer = ready(&mut process, &address, 503);
    let reason = &answer["source_reachable"]["reasons"][0];
    assert_eq!((reason["name"].as_str(), reason["code"].as_str()), (Some("erp"), Some("DK-SRC-011")));
    assert!(answer["reason"].as_str().unwrap().contains("erp: cannot reach SQL Server"), "{answer}");
    assert_eq!(get(&address, "/health/live").unwrap().0, 200);
    let _server = Server::start(&source);
    ready(&mut process, &address, 200);
    process.signal("TERM");
    let ended = process.end();
    assert_eq!(ended.code, Some(0));
    assert!(ended.stderr.contains("not ready"), "{}", ended.stderr);
}

#[test]
fn a_sink_that_cannot_be_written_for_a_while() {
    let world = World::new(SCRIPT);
    let address = free_address();
    let mut process = world.start(world.command(&["serve-health", "--listen", &address, "bronze"]));
    let answer = ready(&mut process, &address, 200);
    assert_eq!(answer["source_reachable"]["answer"], "not_used");
    // In the way of the folder, also for root.
    let bronze = world.path().join("bronze");
    std::fs::write(&bronze, "").unwrap();
    let answer = ready(&mut process, &address, 503);
    let reason = &answer["bronze_writable"]["reasons"][0];
    assert_eq!((reason["name"].as_str(), reason["code"].as_str()), (Some("bronze"), Some("DK-SNK-014")));
    std::fs::remove_file(&bronze).unwrap();
    ready(&mut process, &address, 200);
    assert!(world.nothing_written());
}

#[test]
fn a_ticket_that_expires() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    let address = free_address();
    let cache = world.kdc.kinit("svc-etl", &world.keytab, "cache", &["-l", "20s"]).unwrap();
    world.log_in_with(&format!("ticket_cache = \"{}\", min_remaining_seconds = 0", cache.display()));
    let mut process = world.world.start(world.command(&["serve-health", "--listen", &address]));
    let answer = ready(&mut process, &address, 200);
    assert_eq!(answer["ticket_valid"]["answer"], "yes");
    let answer = ready(&mut process, &address, 503);
    let reason = &answer["ticket_valid"]["reasons"][0];
    assert_eq!((reason["name"].as_str(), reason["code"].as_str()), (Some("erp"), Some("DK-KRB-020")));
    assert_eq!(answer["source_reachable"]["answer"], "yes");
    world.kdc.kinit("svc-etl", &world.keytab, "cache", &[]).unwrap();
    ready(&mut process, &address, 200);
}

#[test]
fn a_run_answers_until_its_end() {
    let reason = "only the fake SQL Server is slow when a test says so";
    let Some(mssql) = Mssql::fake_sqlserver_for(reason, Options::default(), SqlEngineOptions::default()) else {
        return;
    };
    let world = World::with(mssql, SCRIPT);
    let effect = Effect::Pause(Duration::from_secs(8));
    world.mssql.engine().add_fault(Fault { table: "dbo.t".to_owned(), after_rows: 1, effect, times: 1 });
    let address = free_address();
    let mut process = world.start(world.command(&["run", "--output", "json", "--health", &address]));
    process.wait_until("a start", |_| get(&address, "/health/startup").is_some_and(|found| found.0 == 200));
    let answer = ready(&mut process, &address, 200);
    assert_eq!(answer["bronze_writable"]["answer"], "yes");
    let ended = process.end().success();
    assert_eq!(ended.json()["rows"], 2);
    assert!(ended.stderr.contains(&format!("health endpoint: http://{address}/health/ready")), "{}", ended.stderr);
    assert_eq!(get(&address, "/health/live"), None);

    // Where it cannot listen, nothing begins.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let output = world.host(&["run", "--health", &taken.local_addr().unwrap().to_string()]);
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.contains("DK-CLI-040"), "{}", output.stderr);
}
