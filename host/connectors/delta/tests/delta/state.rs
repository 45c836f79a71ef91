//! A state never meets rows that it does not describe: what other writers, RESTORE, DROP and killed runs leave.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use datakit_delta::STATE_KEY;
use datakit_model::sink::{CommitNote, Sink, Target, WriteMode};
use datakit_model::{Failure, Kind, Retry, TableId, TableState};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{live_files, load, orders, rows, schema, sink, target};

/// A table of two loads, the last of them version 1.
struct World {
    root: TempDir,
}

impl World {
    async fn new() -> Self {
        let world = Self { root: tempfile::tempdir().unwrap() };
        world.load("1", 0..3).await.unwrap();
        world.load("2", 3..6).await.unwrap();
        world
    }

    fn directory(&self) -> PathBuf {
        self.root.path().join("ERP/dbo/orders")
    }

    async fn load(&self, run_id: &str, ids: std::ops::Range<i32>) -> Result<TableState, Failure> {
        Ok(load(&sink(self.root.path()), target(run_id, schema()), &[rows(ids)]).await?.state)
    }

    async fn state(&self) -> Result<Option<TableState>, Failure> {
        sink(self.root.path()).state("ERP", &orders()).await
    }

    /// The table refuses to go on, and an overwrite goes on: nothing of the state counts for it.
    async fn refuses(&self, code: &str) -> String {
        let failure = self.state().await.unwrap_err();
        assert_eq!((failure.code(), failure.kind(), failure.retry()), (code, Kind::User, Retry::Never), "{failure}");
        let before = live_files(&self.directory()).await;
        assert_eq!(self.load("3", 6..9).await.unwrap_err().code(), code);
        assert_eq!(live_files(&self.directory()).await, before, "nothing is added");
        let sink = sink(self.root.path());
        assert_eq!(sink.state_for("ERP", &orders(), WriteMode::Overwrite).await.unwrap(), None);
        let mut overwriting = target("4", schema());
        overwriting.mode = WriteMode::Overwrite;
        let committed = load(&sink, overwriting, &[rows(0..1)]).await.unwrap();
        assert_eq!((committed.state.sequence, committed.holds.rows), (1, 1));
        assert_eq!(self.state().await.unwrap(), Some(committed.state));
        self.load("5", 1..2).await.unwrap();
        let place = self.root.path().display().to_string();
        format!("{failure}\n{}\n", failure.hint().unwrap_or("-")).replace(&place, "ROOT")
    }

    /// The table goes on.
    async fn goes_on(&self) {
        assert_eq!(self.state().await.unwrap().unwrap().run_id, "2");
        assert_eq!(self.load("3", 6..9).await.unwrap().sequence, 3);
        assert_eq!(self.state().await.unwrap().unwrap().run_id, "3");
    }

    fn other(&self, arguments: &[&str]) -> String {
        let output = command(&self.directory(), arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn document(&self, number: u32) -> PathBuf {
        self.directory().join(format!("_datakit/state/{number:020}.json"))
    }

    fn entry(&self, version: u32) -> PathBuf {
        self.directory().join(format!("_delta_log/{version:020}.json"))
    }

    /// Changes the actions of a log entry.
    fn edit_entry(&self, version: u32, edit: impl Fn(&mut Value)) {
        let text = std::fs::read_to_string(self.entry(version)).unwrap();
        let lines = text.lines().map(|line| {
            let mut action: Value = serde_json::from_str(line).unwrap();
            edit(&mut action);
            format!("{action}\n")
        });
        std::fs::write(self.entry(version), lines.collect::<String>()).unwrap();
    }
}

/// A writer that is not ours.
fn command(directory: &Path, arguments: &[&str]) -> Command {
    let python = std::env::var("DATAKIT_TEST_PYTHON")
        .expect("DATAKIT_TEST_PYTHON must name a Python with tests/requirements.txt installed");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/readers/other_writer.py");
    let mut command = Command::new(python);
    command.arg(script).arg(arguments[0]).arg(directory).args(&arguments[1..]);
    command
}

#[tokio::test]
async fn restored_table_is_refused_until_it_is_restored_to_the_last_load() {
    let world = World::new().await;
    world.other(&["restore", "0"]);
    // delta-io/delta#1813: the rows went back, and `txn` did not.
    assert_eq!(world.other(&["transaction", "datakit/ERP/dbo.orders"]), "2\n");
    assert_eq!(world.state().await.unwrap_err().code(), "DK-SNK-045");
    world.other(&["restore", "1"]);
    world.goes_on().await;
    world.other(&["restore", "0"]);
    insta::assert_snapshot!(world.refuses("DK-SNK-045").await);
}

#[tokio::test]
async fn rows_that_others_removed_or_replaced_are_noticed() {
    for change in [&["delete", "id = 0"][..], &["overwrite"], &["replace"]] {
        let world = World::new().await;
        // Behind a rewrite the removed files are none that a load has written.
        if change[0] != "replace" {
            world.other(&["optimize"]);
        }
        world.other(change);
        insta::assert_snapshot!(change[0], world.refuses("DK-SNK-045").await);
    }
}

#[tokio::test]
async fn appends_optimize_and_vacuum_of_others_keep_the_state() {
    let world = World::new().await;
    for change in [&["append", "100"][..], &["optimize"], &["vacuum"], &["append", "200"], &["delete", "id = 200"]] {
        world.other(change);
        assert_eq!(world.state().await.unwrap().unwrap().run_id, "2", "after {change:?}");
    }
    world.goes_on().await;
    assert!(world.document(1).exists(), "VACUUM leaves the documents alone");
}

#[tokio::test]
async fn forgotten_watermark_is_all_that_is_forgotten() {
    let world = World::new().await;
    let sink = sink(world.root.path());
    let before = sink.document("ERP", &orders()).await.unwrap().unwrap();
    let forgotten = sink.forget_watermark("ERP", &orders()).await.unwrap().unwrap();
    assert_eq!(forgotten.positions, before.without_watermark(&before.positions[0].source).positions);
    assert_eq!((forgotten.sequence, &forgotten.load), (before.sequence, &before.load));
    assert_eq!(sink.document("ERP", &orders()).await.unwrap(), Some(forgotten));
    world.goes_on().await;
}

#[tokio::test]
async fn rows_that_the_operator_accepts_are_gone_on_from() {
    for change in [&["delete", "id = 0"][..], &["restore", "0"], &["replace"]] {
        let world = World::new().await;
        let sink = sink(world.root.path());
        let before = sink.document("ERP", &orders()).await.unwrap();
        assert_eq!(sink.accept_rows("ERP", &orders()).await.unwrap(), before, "nothing to accept");
        assert!(!world.entry(2).exists());
        world.other(change);
        let states = sink.states().await.unwrap();
        let found = states.iter().map(|state| (state.table.clone(), state.document.as_ref().err().map(Failure::code)));
        assert_eq!(found.collect::<Vec<_>>(), [(orders(), Some("DK-SNK-045"))], "{change:?}");
        let accepted = sink.accept_rows("ERP", &orders()).await.unwrap().unwrap();
        assert_eq!(sink.document("ERP", &orders()).await.unwrap(), Some(accepted), "{change:?}");
        world.goes_on().await;
    }
    // The log has forgotten which document counts.
    let world = World::new().await;
    (0..=1).for_each(|version| {
        world.edit_entry(version, |action| drop(action.as_object_mut().unwrap().remove("txn")));
    });
    world.other(&["append", "100"]);
    let sink = sink(world.root.path());
    sink.accept_rows("ERP", &orders()).await.unwrap().unwrap();
    world.goes_on().await;
    std::fs::remove_file(world.document(5)).unwrap();
    assert_eq!(sink.accept_rows("ERP", &orders()).await.unwrap_err().code(), "DK-SNK-046", "there is no document");
}

#[tokio::test]
async fn states_of_all_tables_are_listed_by_their_names_in_the_source() {
    let root = tempfile::tempdir().unwrap();
    let sink = sink(root.path());
    assert_eq!(sink.states().await.unwrap().len(), 0);
    let in_catalog = TableId { catalog: Some("main".to_owned()), ..TableId::new("sales", "t") };
    let tables = [TableId::new("dbo", "Order Details"), TableId::new("dbo", "_x"), in_catalog];
    for table in &tables {
        load(&sink, Target { table: table.clone(), ..target("1", schema()) }, &[rows(0..1)]).await.unwrap();
    }
    // A table of others has none.
    let theirs = root.path().join("ERP/dbo/theirs/_delta_log");
    std::fs::create_dir_all(&theirs).unwrap();
    let entry = root.path().join("ERP/dbo/_x/_delta_log/00000000000000000000.json");
    let text = std::fs::read_to_string(entry).unwrap();
    let lines = text.lines().filter(|line| !line.contains("\"txn\"")).map(|line| format!("{line}\n"));
    std::fs::write(theirs.join("00000000000000000000.json"), lines.collect::<String>()).unwrap();
    let states = sink.states().await.unwrap();
    let mut found: Vec<_> = states.into_iter().map(|state| (state.table, state.document.unwrap().sequence)).collect();
    found.sort();
    let mut expected: Vec<_> = tables.into_iter().map(|table| (table, 1)).collect();
    expected.sort();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn dropped_table_leaves_no_state_to_the_next_of_its_name() {
    let world = World::new().await;
    let remove = |name: &str| std::fs::remove_dir_all(world.directory().join(name)).unwrap();
    // Of the table, and not what stands beside it, as some catalogs do.
    remove("_delta_log");
    assert_eq!(world.state().await.unwrap(), None);
    assert_eq!(world.load("1", 0..3).await.unwrap().sequence, 1);
    assert_eq!(world.state().await.unwrap().unwrap().run_id, "1");
    // Created by somebody else.
    let elsewhere = World::new().await;
    elsewhere.edit_entry(0, |action| drop(action.as_object_mut().unwrap().remove("txn")));
    remove("_delta_log");
    std::fs::create_dir(world.directory().join("_delta_log")).unwrap();
    std::fs::copy(elsewhere.entry(0), world.entry(0)).unwrap();
    assert_eq!(world.state().await.unwrap(), None);
    std::fs::remove_dir_all(world.directory()).unwrap();
    assert_eq!(world.state().await.unwrap(), None);
    assert_eq!(world.load("1", 0..3).await.unwrap().sequence, 1);
}

#[tokio::test]
async fn without_entries_the_files_of_the_last_load_decide() {
    let world = World::new().await;
    world.other(&["append", "100"]);
    world.other(&["checkpoint"]);
    (0..=2).for_each(|version| std::fs::remove_file(world.entry(version)).unwrap());
    world.goes_on().await;
    let world = World::new().await;
    world.other(&["delete", "id = 4"]);
    world.other(&["checkpoint"]);
    (0..=2).for_each(|version| std::fs::remove_file(world.entry(version)).unwrap());
    insta::assert_snapshot!(world.refuses("DK-SNK-045").await);
}

#[tokio::test]
async fn state_that_is_lost_is_never_a_silent_full_load() {
    let world = World::new().await;
    std::fs::remove_file(world.document(2)).unwrap();
    insta::assert_snapshot!("document_is_gone", world.refuses("DK-SNK-046").await);
    // As after `delta.setTransactionRetentionDuration`.
    let world = World::new().await;
    (0..=1).for_each(|version| {
        world.edit_entry(version, |action| drop(action.as_object_mut().unwrap().remove("txn")));
    });
    world.other(&["append", "100"]);
    insta::assert_snapshot!("transaction_is_gone", world.refuses("DK-SNK-046").await);
}

#[tokio::test]
async fn document_that_cannot_be_used_is_reported_and_not_overwritten() {
    let world = World::new().await;
    let text = std::fs::read_to_string(world.document(2)).unwrap();
    for (from, to, code) in [
        ("\"sequence\":2", "\"sequence\":\"two\"", "DK-SNK-016"),
        ("\"sequence\":2", "\"sequence\":2,\"fence\":1", "DK-SNK-016"),
        ("\"version\":1", "\"version\":2", "DK-SNK-047"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        std::fs::write(world.document(2), &changed).unwrap();
        assert_eq!(world.state().await.unwrap_err().code(), code);
        assert_eq!(world.load("3", 6..9).await.unwrap_err().code(), code);
        assert_eq!(std::fs::read_to_string(world.document(2)).unwrap(), changed);
    }
}

/// What a run leaves that is killed after its document and before its commit.
#[tokio::test]
async fn document_of_a_killed_run_counts_for_nobody() {
    let world = World::new().await;
    let left = std::fs::read_to_string(world.document(2)).unwrap().replace("\"run_id\":\"2\"", "\"run_id\":\"killed\"");
    let left = left.replace("\"read_version\":0", "\"read_version\":1").replace("part-", "killed-");
    std::fs::write(world.document(3), &left).unwrap();
    world.goes_on().await;
    assert_eq!(std::fs::read_to_string(world.document(3)).unwrap(), left, "a number names one document for ever");
    assert!(world.document(4).exists());
    assert_eq!(world.load("killed", 9..12).await.unwrap().sequence, 4);
    // Before there is a table, and before the first load of a table of others.
    let first = std::fs::read_to_string(world.document(1)).unwrap();
    let world = World { root: tempfile::tempdir().unwrap() };
    std::fs::create_dir_all(world.document(1).parent().unwrap()).unwrap();
    std::fs::write(world.document(1), &first).unwrap();
    assert_eq!(world.state().await.unwrap(), None);
    assert_eq!(world.load("1", 0..3).await.unwrap().sequence, 1);
    assert_eq!(world.state().await.unwrap().unwrap().run_id, "1");
    let id = serde_json::from_str::<Value>(&std::fs::read_to_string(world.document(2)).unwrap()).unwrap();
    std::fs::remove_file(world.document(2)).unwrap();
    world.edit_entry(0, |action| drop(action.as_object_mut().unwrap().remove("txn")));
    let mut killed: Value = serde_json::from_str(&first).unwrap();
    killed["target"] = json!({ "kind": "delta", "id": id["target"]["id"], "read_version": 0 });
    killed["written"]["files"] = json!(["killed.parquet"]);
    std::fs::write(world.document(2), killed.to_string()).unwrap();
    assert_eq!(world.state().await.unwrap(), None);
    assert_eq!(world.load("1", 3..6).await.unwrap().sequence, 1);
}

#[tokio::test]
async fn failed_commit_takes_its_document_back() {
    let world = World::new().await;
    let sink = sink(world.root.path());
    let slow = sink.open(target("slow", schema())).await.unwrap();
    world.load("3", 6..9).await.unwrap();
    assert_eq!(slow.commit(CommitNote::default()).await.unwrap_err().code(), "DK-SNK-010");
    let documents = std::fs::read_dir(world.document(1).parent().unwrap()).unwrap().count();
    assert_eq!(documents, 3);
    // Of a table that never came to be nothing stays.
    let world = World { root: tempfile::tempdir().unwrap() };
    let sink = super::sink(world.root.path());
    let writer = sink.open(target("1", schema())).await.unwrap();
    std::fs::create_dir_all(world.directory()).unwrap();
    std::fs::write(world.directory().join("_delta_log"), "not a folder").unwrap();
    writer.commit(CommitNote::default()).await.unwrap_err();
    assert!(!world.directory().join("_datakit").exists());
}

/// The form of earlier releases: the state is in the metadata of each version.
#[tokio::test]
async fn state_of_an_earlier_release_is_moved_by_the_next_load() {
    let world = World::new().await;
    let state = json!({
        "run_id": "2", "earlier_run_ids": ["1"], "sequence": 2, "watermark": "w", "rows": 3, "consistent_snapshot": true,
        "approximate": false, "datakit": "kit@1", "digest": "sha256:0",
    });
    world.edit_entry(0, |action| {
        if let Some(configuration) = action.pointer_mut("/metaData/configuration") {
            configuration[STATE_KEY] = state.to_string().into();
        }
    });
    std::fs::remove_dir_all(world.directory().join("_datakit")).unwrap();
    let before = world.state().await.unwrap().unwrap();
    assert_eq!((before.sequence, before.watermark.as_deref()), (2, Some("w")));
    world.goes_on().await;
    world.load("4", 9..12).await.unwrap();
    let has_metadata = |version| std::fs::read_to_string(world.entry(version)).unwrap().contains("metaData");
    assert_eq!([2, 3].map(has_metadata), [true, false], "the key goes once");
    assert!(!std::fs::read_to_string(world.entry(2)).unwrap().contains(STATE_KEY));
    assert!(world.state().await.unwrap().unwrap().was_committed_by("1"));
    // A RESTORE brings the key back: the state in it is older than what `txn` names.
    world.other(&["restore", "1"]);
    world.refuses("DK-SNK-045").await;
}

/// A writer that has read the table, and waits.
struct Waiting {
    child: Child,
}

impl Waiting {
    fn start(directory: &Path) -> Self {
        let mut child =
            command(directory, &["append-later"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "read\n");
        Self { child }
    }

    fn go_on(mut self) {
        self.child.stdin.take().unwrap().write_all(b"\n").unwrap();
        assert!(self.child.wait().unwrap().success(), "the other writer failed");
    }
}

#[tokio::test]
async fn append_of_another_writer_passes_that_began_before_a_load() {
    let world = World::new().await;
    let other = Waiting::start(&world.directory());
    world.load("3", 6..9).await.unwrap();
    other.go_on();
    let committed = world.load("4", 9..12).await.unwrap();
    assert_eq!(committed.sequence, 4);
    // And ours behind theirs.
    let sink = sink(world.root.path());
    let writer = sink.open(target("5", schema())).await.unwrap();
    world.other(&["append", "100"]);
    assert_eq!(writer.commit(CommitNote::default()).await.unwrap().state.sequence, 5);
    // A RESTORE meanwhile is none that we commit behind.
    let writer = sink.open(target("6", schema())).await.unwrap();
    world.other(&["restore", "0"]);
    assert_eq!(writer.commit(CommitNote::default()).await.unwrap_err().code(), "DK-SNK-045");
}

#[tokio::test]
async fn few_documents_stay() {
    let world = World::new().await;
    for run in 3..=31 {
        world.load(&run.to_string(), run..run + 1).await.unwrap();
    }
    let documents = std::fs::read_dir(world.document(1).parent().unwrap()).unwrap().count();
    assert!((10..=20).contains(&documents), "{documents}");
    assert_eq!(world.state().await.unwrap().unwrap().run_id, "31");
}
