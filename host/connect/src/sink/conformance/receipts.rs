//! Receipts: what was delivered against what the sink holds, before anybody sees it.

use datakit_model::ReceiptLevel::{Count, Full};
use datakit_model::receipt::{Delivered, MergedRows};
use datakit_model::sink::{Target, WriteMode};
use datakit_model::{Kind, TableId};

use super::fixture::{
    SYSTEM, delivered, expect_no_leftovers, expect_rows, load, load_as, plain, plain_schema, table, target,
};
use super::{Harness, Outcome, Violation, ensure, ensure_eq, extremes};

const MODES: [WriteMode; 3] = [WriteMode::Append, WriteMode::Overwrite, WriteMode::Merge];

fn target_of(table: &TableId, mode: WriteMode, run_id: &str) -> Target {
    Target { mode, keys: vec!["id".to_owned()], ..target(table, &plain_schema(), run_id) }
}

/// The receipt of a load says what was compared; also of one without rows.
///
/// # Errors
/// The sink does otherwise.
pub async fn says_what_it_was_held_against(harness: &dyn Harness) -> Outcome {
    let (sink, table, schema) = (harness.sink().await?, table("receipts"), plain_schema());
    load(sink.as_ref(), target_of(&table, WriteMode::Append, "0"), &[plain(0..10)?]).await?;
    for (level, name) in [(Count, "count"), (Full, "full")] {
        for mode in MODES {
            let rows = plain(8..12)?;
            let expected = delivered(level, &schema, std::slice::from_ref(&rows))?;
            let run = target_of(&table, mode, &format!("{name} {mode}"));
            let receipt = load_as(sink.as_ref(), run, &[rows], expected).await?.receipt;
            let Some(receipt) = receipt else { return Err(Violation::new(format!("no receipt of {mode}, {name}"))) };
            ensure_eq!((receipt.level, receipt.delivered, receipt.held), (level, 4, 4), "the receipt of {mode}");
            let checksum = expected.checksum.filter(|_| mode != WriteMode::Merge).map(|checksum| checksum.to_string());
            ensure_eq!(receipt.checksum, checksum, "the checksum of {mode}, {name}");
            ensure_eq!(receipt.merged.is_some(), mode == WriteMode::Merge, "what was merged of {mode}");
            let nothing = Delivered { rows: 0, ..delivered(level, &schema, &[])? };
            let run = target_of(&table, mode, &format!("{name} {mode} nothing"));
            let receipt = load_as(sink.as_ref(), run, &[], nothing).await?.receipt;
            ensure_eq!(receipt.map(|receipt| (receipt.delivered, receipt.held)), Some((0, 0)), "without rows, {mode}");
            load(
                sink.as_ref(),
                target_of(&table, WriteMode::Overwrite, &format!("{name} {mode} again")),
                &[plain(0..10)?],
            )
            .await?;
        }
    }
    let merge = target_of(&table, WriteMode::Merge, "last");
    let merged = load(sink.as_ref(), merge, &[plain(8..12)?]).await?.receipt.and_then(|receipt| receipt.merged);
    ensure_eq!(merged, Some(MergedRows { inserted: 2, updated: 2, ..MergedRows::default() }), "what a merge did");
    expect_rows(harness, &table, &schema, &[plain(0..12)?]).await
}

/// Rows or values that are not those that were delivered are a mismatch: nothing becomes visible, and nothing stays.
///
/// # Errors
/// The sink does otherwise.
pub async fn commits_nothing_that_differs_from_what_was_delivered(harness: &dyn Harness) -> Outcome {
    let (sink, table, schema) = (harness.sink().await?, table("mismatch"), plain_schema());
    let first = load(sink.as_ref(), target_of(&table, WriteMode::Append, "0"), &[plain(0..3)?]).await?;
    let other = delivered(Full, &schema, &[plain(4..6)?])?;
    for mode in MODES {
        let mut cases = vec![
            (Delivered { rows: 3, checksum: None }, "DK-SNK-070"),
            (Delivered { rows: 1, checksum: None }, "DK-SNK-070"),
            (Delivered { rows: 3, ..other }, "DK-SNK-070"),
        ];
        // The values of a merge are held against its reduced rows.
        cases.extend((mode != WriteMode::Merge).then_some((other, "DK-SNK-071")));
        for (number, (delivered, code)) in cases.into_iter().enumerate() {
            let run = target_of(&table, mode, &format!("{mode} {number}"));
            let Err(failure) = load_as(sink.as_ref(), run, &[plain(5..7)?], delivered).await else {
                return Err(Violation::new(format!("{mode} took other rows than were delivered ({number})")));
            };
            ensure_eq!((failure.code(), failure.kind()), (code, Kind::Sink), "the code of {mode} ({failure})");
            ensure!(failure.is_mismatch(), "it is no mismatch: {failure}");
            expect_rows(harness, &table, &schema, &[plain(0..3)?]).await?;
            expect_no_leftovers(harness, &table).await?;
            ensure_eq!(sink.state(SYSTEM, &table).await?, Some(first.state.clone()), "the state after a mismatch");
        }
    }
    Ok(())
}

/// Values of every type are those that were delivered, whatever the sink makes of their types.
///
/// # Errors
/// The sink does otherwise.
pub async fn holds_every_value_against_what_was_delivered(harness: &dyn Harness) -> Outcome {
    let (sink, table) = (harness.sink().await?, table("values_delivered"));
    let rows = extremes(harness.time_digits())?;
    let schema = rows.schema();
    load(sink.as_ref(), target(&table, &schema, "1"), std::slice::from_ref(&rows)).await?;
    // One row is there twice in the place of another one.
    let doubled = [rows.slice(0, 4), rows.slice(0, 1)];
    for (number, column) in schema.fields().iter().enumerate().skip(1) {
        let mut columns = rows.columns().to_vec();
        columns[number] = arrow::compute::concat(&[&columns[number].slice(1, 4), &columns[number].slice(0, 1)])?;
        let changed = super::batch(&schema, columns)?;
        if changed == rows {
            continue;
        }
        let expected = delivered(Full, &schema, std::slice::from_ref(&rows))?;
        let run = target(&table, &schema, &format!("changed {number}"));
        let Err(failure) = load_as(sink.as_ref(), run, &[changed], expected).await else {
            return Err(Violation::new(format!("other values of `{}` were taken", column.name())));
        };
        ensure_eq!(failure.code(), "DK-SNK-071", "the code of other values of `{}` ({failure})", column.name());
    }
    let expected = delivered(Full, &schema, &[rows])?;
    let Err(failure) = load_as(sink.as_ref(), target(&table, &schema, "doubled"), &doubled, expected).await else {
        return Err(Violation::new("a row in the place of another one was taken"));
    };
    ensure_eq!(failure.code(), "DK-SNK-071", "the code of a doubled row ({failure})");
    Ok(())
}
