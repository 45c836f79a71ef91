//! Metrics of a run: while it runs, in a file at its end, and in a real Prometheus.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use datakit_tests::FilesWorld;
use serde_json::Value;

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The body of an answer; none where nobody listens.
fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: x\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.split(' ').nth(1).filter(|status| *status == "200")?;
    Some(body.to_owned())
}

/// What `promtool check metrics` (of the package prometheus) says: nothing where all is well.
fn check(page: &str) -> String {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().unwrap();
    promtool.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{page}");
    said
}

fn value(page: &str, sample: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    assert!(line.is_some(), "no {sample} in\n{page}");
    line.unwrap().parse().unwrap()
}

/// The labelled names of all samples.
fn samples(page: &str) -> BTreeSet<String> {
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
}

/// A world whose ingest has a name.
fn world() -> FilesWorld {
    let world = FilesWorld::new();
    world.edit("[[ingest]]", "[[ingest]]\nname = \"files\"");
    world
}

#[test]
fn file_has_what_the_run_counted() {
    let world = world();
    world.put("a/a.csv", "id\n1\n2\n");
    world.put("b/b.csv", "id\n1\n");
    world.host(&["run", "--run-id", "run-one", "--metrics-file", "out/datakit.prom"]).success();
    let read = || fs::read_to_string(world.path().join("out/datakit.prom")).unwrap();
    let first = read();
    assert_eq!(check(&first), "");
    assert_eq!(value(&first, r#"datakit_rows_committed_total{ingest="files",table="files.a"}"#), 2.0);
    assert_eq!(value(&first, r#"datakit_retries_total{ingest="files",table="files.b"}"#), 0.0);
    assert_eq!(value(&first, r#"datakit_tables_total{ingest="files",status="committed"}"#), 2.0);
    assert_eq!(value(&first, r#"datakit_ingest_failed{ingest="files"}"#), 0.0);
    assert!(!first.contains("run-one"), "no label grows with runs");
    // The same again, by a variable: the same samples, since the same tables are selected.
    world.put("a/b.csv", "id\n3\n");
    world.put("b/c.csv", "id\n3\n");
    let mut command = world.command(&["run", "--run-id", "second"]);
    command.env("DATAKIT_METRICS_FILE", "out/datakit.prom");
    world.start(command).end().success();
    assert_eq!(samples(&read()), samples(&first));
    let names: Vec<_> =
        fs::read_dir(world.path().join("out")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["datakit.prom"], "nothing unfinished is left");
}

#[test]
fn metrics_that_cannot_be_written_fail_no_run() {
    let world = world();
    world.put("a/a.csv", "id\n1\n");
    let output = world.host(&["run", "--metrics-file", "warehouse.toml/datakit.prom"]).success();
    assert!(output.stderr.contains("cannot write the metrics to"), "{}", output.stderr);
}

#[test]
fn endpoint_answers_while_the_run_goes_on() {
    let world = world();
    // Enough that the run goes on for a moment.
    let rows: String = (0..2_000_000).map(|id| format!("{id},some text of the row\n")).collect();
    world.put("a/a.csv", format!("id,text\n{rows}"));
    let address = format!("127.0.0.1:{}", free_port());
    let mut run = world.start(world.command(&["run", "--health", &address]));
    let mut last = String::new();
    let sample = r#"datakit_rows_read_total{ingest="files",table="files.a"}"#;
    run.wait_until("rows are counted", |_| {
        last = get(&address, "/metrics").unwrap_or_default();
        last.contains(sample) && value(&last, sample) > 0.0
    });
    assert_eq!(check(&last), "");
    assert_eq!(value(&last, r#"datakit_tables_total{ingest="files",status="committed"}"#), 0.0);
    run.end().success();
}

/// Killed when dropped.
struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// A query's answer.
fn query(address: &str, expression: &str) -> Option<Value> {
    let path = format!("/api/v1/query?query={}", encoded(expression));
    serde_json::from_str(&get(address, &path)?).ok()
}

#[test]
fn queries_of_the_dashboard_run_on_a_prometheus() {
    let world = world();
    world.put("a/a.csv", "id\n1\n2\n");
    world.host(&["run", "--metrics-file", "site/metrics"]).success();
    // What a collector of text files does.
    let (site, address) = (free_port(), format!("127.0.0.1:{}", free_port()));
    let serve =
        ["-m", "http.server", "--bind", "127.0.0.1", "--directory", "site", &site.to_string()].map(str::to_owned);
    let _site = Process::start(Command::new(datakit_tests::python()).args(serve).current_dir(world.path()));
    let config = format!(
        "global: {{ scrape_interval: 500ms }}\nscrape_configs:\n- job_name: datakit\n  static_configs: [{{ targets: [\"127.0.0.1:{site}\"] }}]\n"
    );
    fs::write(world.path().join("prometheus.yml"), config).unwrap();
    let listen = format!("--web.listen-address={address}");
    let arguments = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", &listen];
    let _prometheus = Process::start(Command::new("prometheus").args(arguments).current_dir(world.path()));
    let until = Instant::now() + Duration::from_secs(60);
    let committed = r#"count_over_time(datakit_rows_committed_total{table="files.a"}[1m]) > 3"#;
    while query(&address, committed).is_none_or(|answer| answer["data"]["result"] == serde_json::json!([])) {
        assert!(Instant::now() < until, "nothing was scraped");
        thread::sleep(Duration::from_millis(200));
    }
    let dashboard = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/grafana/datakit.json");
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(dashboard).unwrap()).unwrap();
    let mut asked = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap().replace("$__rate_interval", "1m");
            let answer = query(&address, &expression).unwrap_or_else(|| panic!("{expression} is refused"));
            // Files have no pool of connections.
            let is_empty = answer["data"]["result"].as_array().unwrap().is_empty();
            assert!(!is_empty || expression.contains("datakit_pool_"), "{expression}: {answer}");
            asked += 1;
        }
    }
    assert!(asked >= 10);
}
