//! Datakits in Python and JavaScript, from wit/ alone: tests/languages.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails should say where")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use datakit_tests::{Output, World};
use sha2::{Digest as _, Sha256};

/// What the datakits are asked for.
const SETTINGS: &str = r#"{"table": "dbo.orders", "key": "id", "where": "id <= 80"}"#;

/// How many rows that is, each a batch of its own: more than a datakit may hold handles at one time.
const ROWS: usize = 80;

/// A table with more rows than the settings ask for.
fn table() -> String {
    let rows: Vec<String> = (1..=ROWS + 3).map(|id| format!("({id}, NULL)")).collect();
    format!(
        "CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, name nvarchar(20) NULL)\nGO\n\
         INSERT INTO dbo.orders VALUES {}\nGO\nUPDATE dbo.orders SET name = N'a' WHERE id = 1\nGO\n",
        rows.join(", ")
    )
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// What scripts/common.sh installed.
fn tools() -> PathBuf {
    std::env::var_os("DATAKIT_TEST_LANGUAGES")
        .expect("DATAKIT_TEST_LANGUAGES names the folder that need_languages of scripts/common.sh fills: run ./test")
        .into()
}

/// The files below a folder, its own files first, in the order of their names.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    let (folders, mut files): (Vec<PathBuf>, Vec<PathBuf>) = entries.into_iter().partition(|path| path.is_dir());
    files.extend(folders.iter().flat_map(|folder| files_below(folder)));
    files
}

/// The hash of all that components are built of: wit/, their sources, the versions of the tools, the commands of this file.
fn content_hash() -> String {
    let mut hash = Sha256::new();
    for folder in ["wit", "tests/languages"] {
        for file in files_below(&root().join(folder)) {
            hash.update(file.strip_prefix(root()).unwrap().to_str().unwrap());
            hash.update(Sha256::digest(fs::read(&file).unwrap()));
        }
    }
    hash.update(include_str!("languages.rs"));
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// A folder of what `build` made of these sources, now or in an earlier run of the tests.
fn built(name: &str, build: impl FnOnce(&Path)) -> PathBuf {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("languages");
    let folder = all.join(format!("{name}-{}", content_hash()));
    if folder.exists() {
        return folder;
    }
    fs::create_dir_all(&all).unwrap();
    let unfinished = tempfile::tempdir_in(&all).unwrap();
    build(unfinished.path());
    // Builds of earlier sources.
    for entry in fs::read_dir(&all).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_name().to_str().unwrap().starts_with(&format!("{name}-")) {
            fs::remove_dir_all(entry.path()).unwrap();
        }
    }
    fs::rename(unfinished.keep(), &folder).unwrap();
    folder
}

#[track_caller]
fn finish(command: &mut Command) {
    let output = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{stdout}\n{stderr}");
}

fn componentize_py() -> Command {
    let mut command = Command::new(tools().join("venv/bin/componentize-py"));
    // A virtual environment that the caller has active would be searched for modules.
    command.current_dir(root()).env_remove("VIRTUAL_ENV").args(["-q", "-d", "wit", "-w", "source-datakit"]);
    command
}

fn python_component() -> PathBuf {
    let build = |folder: &Path| {
        let mut command = componentize_py();
        command.args(["componentize", "-p", "tests/languages/python", "app", "-o"]);
        finish(command.arg(folder.join("kit.wasm")));
    };
    built("python", build).join("kit.wasm")
}

fn javascript_component() -> PathBuf {
    let build = |folder: &Path| {
        let mut command = Command::new(tools().join("node_modules/.bin/componentize-js"));
        command.current_dir(root()).args(["tests/languages/javascript/kit.js", "--wit", "wit"]);
        command.args(["--world-name", "source-datakit", "--disable", "http", "fetch-event", "--out"]);
        finish(command.arg(folder.join("kit.wasm")));
    };
    built("javascript", build).join("kit.wasm")
}

/// A datakit of tests/languages in a world with one table.
struct Kit {
    world: World,
    name: &'static str,
    component: PathBuf,
}

impl Kit {
    fn new(name: &'static str, component: PathBuf) -> Self {
        let world = World::new(&table());
        world.append("[limits.read]\nmax_batch_rows = 1");
        Self { world, name, component }
    }

    /// A command over the only table.
    fn ask(&self, command: &[&str], datakit: &str, settings: &str) -> Output {
        let chosen = ["--tables", "dbo.*", "--settings", settings, "--output", "json"];
        self.world.host(&[command, &[datakit], &chosen].concat())
    }

    fn refusal(&self, settings: &str) -> String {
        let output = self.ask(&["preview"], self.component.to_str().unwrap(), settings);
        assert_ne!(output.code, Some(0), "{}", output.stdout);
        output.stderr
    }

    /// Previews and runs the file, then publishes it and runs it by its name.
    fn previews_runs_and_is_published(&self) {
        let file = self.component.to_str().unwrap();
        let preview = self.ask(&["preview"], file, SETTINGS).success().json();
        assert_eq!(preview[0]["table"], "dbo.orders");
        let plan = self.ask(&["plan"], file, SETTINGS).success().json();
        assert_eq!(plan[0]["table"], "dbo.orders");

        let summary = self.ask(&["run"], file, SETTINGS).success().json();
        assert_eq!((&summary["datakit"], &summary["rows"]), (&self.name.into(), &ROWS.into()));
        let rows = self.world.delta("ERP/dbo/orders");
        assert_eq!(rows.lines().count(), 1 + ROWS, "{rows}");
        for expected in [r#""id": 1, "name": "a", "_load_id": ""#, r#""id": 2, "name": null"#, r#""_row_hash": ""#] {
            assert!(rows.contains(expected), "no {expected} in\n{rows}");
        }

        self.world.host(&["publish", file]).success();
        let again = self.ask(&["run", "--mode", "append"], &format!("{}@0.1.0", self.name), SETTINGS).success().json();
        assert_eq!((&again["rows"], &again["datakit"]), (&ROWS.into(), &self.name.into()));
        assert_eq!(self.world.delta("ERP/dbo/orders").lines().count(), 1 + 2 * ROWS);
    }

    /// An error as a result, settings that the schema refuses, and an exception that nothing catches.
    fn failures_reach_the_operator(&self, code: &str, exception: &[&str]) {
        let returned = self.refusal(r#"{"table": "dbo.orders", "key": "number"}"#);
        assert!(returned.contains(code) && returned.contains("has no column `number`"), "{returned}");
        assert!(returned.contains("hint: check `key`"), "{returned}");
        let refused = self.refusal(r#"{"table": "orders", "key": "id"}"#);
        assert!(refused.contains("DK-RUN-007") && refused.contains("/table"), "{refused}");
        let thrown = self.refusal(r#"{"table": "dbo.orders", "key": "id", "raises": "no orders today"}"#);
        for expected in exception {
            assert!(thrown.contains(expected), "no {expected} in\n{thrown}");
        }
    }
}

#[test]
fn python_datakit_runs_and_its_exceptions_reach_the_operator() {
    let kit = Kit::new("one-table-python", python_component());
    kit.previews_runs_and_is_published();
    kit.failures_reach_the_operator("ONE-TABLE-PYTHON-001", &["Traceback", "app.py", "RuntimeError: no orders today"]);
}

#[test]
fn javascript_datakit_runs_and_its_exceptions_reach_the_operator() {
    let kit = Kit::new("one-table-javascript", javascript_component());
    kit.previews_runs_and_is_published();
    kit.failures_reach_the_operator("ONE-TABLE-JAVASCRIPT-001", &["ONE-TABLE-JAVASCRIPT-900", "no orders today"]);
}

#[test]
fn python_bindings_have_strict_types() {
    let build = |folder: &Path| {
        finish(componentize_py().arg("bindings").arg(folder.join("bindings")));
        let mut mypy = Command::new(tools().join("venv/bin/mypy"));
        // What componentize-py runs the datakit with, whatever Python runs mypy. Its modules for async functions are not bindings.
        mypy.current_dir(folder.join("bindings")).args(["--strict", "--python-version", "3.12", "--cache-dir"]);
        mypy.arg(folder.join("cache")).args(["wit_world", "componentize_py_types.py"]);
        finish(mypy.args(["app.py", "extractor.py"].map(|file| root().join("tests/languages/python").join(file))));
    };
    built("types", build);
}
