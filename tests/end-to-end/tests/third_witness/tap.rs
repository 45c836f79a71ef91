//! tap-mssql, a reader of change data capture by its functions. Each run is a process, and goes on from the state that the last one has
//! printed.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use datakit_tests::Mssql;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::changes::{self, Change, Operation};
use crate::debezium::PYTHON_VARIABLE;
use crate::workload::TABLES;

/// What its rows have as their LSN in its first copy.
const OF_THE_COPY: &str = "00000000000000000000";

pub struct Tap {
    program: PathBuf,
    directory: TempDir,
    records: Vec<Value>,
    state: Value,
}

impl Tap {
    /// Finds the tables, and reads their first copy.
    pub fn start(mssql: &Mssql) -> Self {
        let python = PathBuf::from(std::env::var_os(PYTHON_VARIABLE).expect("scripts/third-witness names a Python"));
        let directory = tempfile::tempdir().unwrap();
        let config = json!({
            "host": mssql.host,
            "port": mssql.port.to_string(),
            "user": mssql.user,
            "password": mssql.password,
            "database": mssql.database,
            "tds_version": "7.4",
            "filter_dbs": "dbo",
            "use_date_datatype": true,
            "use_singer_decimal": true,
        });
        fs::write(directory.path().join("config"), config.to_string()).unwrap();
        let program = python.with_file_name("tap-mssql");
        let mut tap = Self { program, directory, records: Vec::new(), state: json!({}) };
        let mut catalog: Value = serde_json::from_str(&tap.call(&["--discover"])).unwrap();
        for stream in catalog["streams"].as_array_mut().unwrap() {
            let is_compared = TABLES.iter().any(|table| stream["table_name"] == table.name);
            let of_table =
                stream["metadata"].as_array_mut().unwrap().iter_mut().find(|it| it["breadcrumb"] == json!([]));
            let of_table = of_table.unwrap()["metadata"].as_object_mut().unwrap();
            of_table.insert("selected".to_owned(), json!(is_compared));
            of_table.insert("replication-method".to_owned(), json!("LOG_BASED"));
        }
        fs::write(tap.path("catalog"), catalog.to_string()).unwrap();
        tap.run();
        tap
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn call(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(self.path("config")).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Reads what has changed since the last run.
    pub fn run(&mut self) {
        fs::write(self.path("state"), self.state.to_string()).unwrap();
        let path = |path: &Path| path.display().to_string();
        let (catalog, state) = (path(&self.path("catalog")), path(&self.path("state")));
        let said = self.call(&["--catalog", &catalog, "--state", &state]);
        for line in said.lines() {
            let mut message: Value = serde_json::from_str(line).unwrap();
            match message["type"].as_str() {
                Some("RECORD") => self.records.push(message),
                Some("STATE") => self.state = message["value"].take(),
                _ => {}
            }
        }
    }

    /// The changes of each table. Where nothing is new, a run reads the last transaction again: what was read already is left out.
    pub fn changes(&self) -> [Vec<Change>; TABLES.len()] {
        TABLES.map(|table| {
            let mut seen = BTreeSet::new();
            let stream = format!("dbo-{}", table.name);
            let records = self.records.iter().filter(|message| message["stream"] == stream.as_str());
            let records = records.map(|message| message["record"].as_object().unwrap());
            let new = records.filter(|record| {
                let place =
                    ["_sdc_lsn_value", "_sdc_lsn_seq_value", "_sdc_lsn_operation"].map(|name| record[name].to_string());
                record["_sdc_lsn_value"] != OF_THE_COPY && seen.insert(place)
            });
            let change = |record: &serde_json::Map<String, Value>| Change {
                transaction: record["_sdc_lsn_value"].as_str().unwrap().to_owned(),
                operation: match record["_sdc_operation_type"].as_str() {
                    Some("I") => Operation::Insert,
                    Some("U") => Operation::Update,
                    Some("D") => Operation::Delete,
                    other => panic!("no operation of a change: {other:?}"),
                },
                row: changes::row(table, record, &[UNREAD.to_owned()]),
            };
            new.map(change).collect()
        })
    }
}

/// A column of a type that it does not read.
const UNREAD: &str = "raw";

/// Changes without the values that it does not read.
pub fn without_unread(mut lists: [Vec<Change>; TABLES.len()]) -> [Vec<Change>; TABLES.len()] {
    for (table, changes) in TABLES.iter().zip(&mut lists) {
        for change in changes {
            change.row = changes::hidden(*table, &change.row, UNREAD);
        }
    }
    lists
}
