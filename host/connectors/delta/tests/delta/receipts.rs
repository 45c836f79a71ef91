//! Files that are changed between their writing and the commit.

use std::fs;
use std::path::{Path, PathBuf};

use datakit_model::receipt::{Delivered, Tally};
use datakit_model::sink::{CommitNote, Sink, WriteMode};
use datakit_model::{Failure, Kind, ReceiptLevel, TrackedBatch};

use super::suite::files_below;
use super::{live_files, orders, rows, schema, sink, target};

fn delivered(level: ReceiptLevel) -> Option<Delivered> {
    let mut tally = Tally::new(level, &schema()).unwrap()?;
    tally.add(&rows(0..1_000)).unwrap();
    Some(tally.delivered())
}

/// What happens to a file.
type Change = fn(&Path);

/// Commits rows whose file was changed meanwhile. Gives the failure, and how many files the table has afterwards.
async fn commit_changed(level: ReceiptLevel, change: Change) -> (Option<Failure>, usize) {
    let root = tempfile::tempdir().unwrap();
    let sink = sink(root.path());
    let writer = sink.open(target("1", schema())).await.unwrap();
    let mut partition = writer.partition(0).await.unwrap();
    partition.write(TrackedBatch::untracked(rows(0..1_000))).await.unwrap();
    partition.finish().await.unwrap();
    let files: Vec<PathBuf> = files_below(root.path());
    assert_eq!(files.len(), 1);
    change(&files[0]);
    let failure = writer.commit(CommitNote { delivered: delivered(level), ..CommitNote::default() }).await.err();
    writer.abort().await;
    let table = PathBuf::from(sink.locate("ERP", &orders()).unwrap());
    let live = live_files(&table).await.map_or(0, |files| files.len());
    assert_eq!(sink.state("ERP", &orders()).await.unwrap().is_some(), failure.is_none());
    (failure, live)
}

fn cut(file: &Path) {
    let bytes = fs::read(file).unwrap();
    fs::write(file, &bytes[..bytes.len() - 1]).unwrap();
}

fn remove(file: &Path) {
    fs::remove_file(file).unwrap();
}

fn zero_the_end(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let from = bytes.len() - 100;
    bytes[from..].fill(0);
    fs::write(file, bytes).unwrap();
}

/// Within the first page.
fn zero_some_values(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    bytes[60..100].fill(0);
    fs::write(file, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn file_that_is_cut_gone_or_without_its_footer_is_never_committed() {
    let changes: [(Change, &str); 3] =
        [(cut, " bytes, not "), (remove, "it is gone"), (zero_the_end, "its footer cannot be read")];
    for level in [ReceiptLevel::Count, ReceiptLevel::Full] {
        for (change, reason) in changes {
            let (failure, live) = commit_changed(level, change).await;
            let failure = failure.unwrap();
            assert_eq!((failure.code(), failure.kind(), live), ("DK-SNK-072", Kind::Sink, 0), "{failure}");
            assert!(failure.is_mismatch() && failure.message().contains(reason), "{failure}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_values_are_found_where_values_are_compared() {
    let (failure, live) = commit_changed(ReceiptLevel::Full, zero_some_values).await;
    let failure = failure.unwrap();
    assert!(["DK-SNK-071", "DK-SNK-072"].contains(&failure.code()) && live == 0, "{failure}");
    assert!(failure.is_mismatch(), "{failure}");
    // Size and footer are as they were.
    let (failure, live) = commit_changed(ReceiptLevel::Count, zero_some_values).await;
    assert!(failure.is_none() && live == 1, "{failure:?}");
    let (failure, live) = commit_changed(ReceiptLevel::Off, cut).await;
    assert!(failure.is_none() && live == 1, "{failure:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn partitioned_rows_are_held_against_what_was_delivered() {
    let root = tempfile::tempdir().unwrap();
    let sink = sink(root.path());
    for (run_id, mode) in [("1", WriteMode::Append), ("2", WriteMode::Merge)] {
        let partitioned = datakit_model::sink::Target {
            mode,
            keys: vec!["id".to_owned()],
            partition_by: vec!["name".to_owned()],
            ..target(run_id, schema())
        };
        let batch = rows(0..5);
        let mut tally = Tally::new(ReceiptLevel::Full, &schema()).unwrap().unwrap();
        tally.add(&batch).unwrap();
        let writer = sink.open(partitioned).await.unwrap();
        let mut partition = writer.partition(0).await.unwrap();
        partition.write(TrackedBatch::untracked(batch)).await.unwrap();
        partition.finish().await.unwrap();
        let note = CommitNote { delivered: Some(tally.delivered()), ..CommitNote::default() };
        let receipt = writer.commit(note).await.unwrap().receipt.unwrap();
        assert_eq!((receipt.delivered, receipt.held), (5, 5));
    }
}
