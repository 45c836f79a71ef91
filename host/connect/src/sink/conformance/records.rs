//! Records of runs.

use datakit_model::sink::RecordName;

use super::{Harness, Outcome, ensure, ensure_eq};

fn name(started_at_micros: i64, run_id: &str, ingest: &str) -> RecordName {
    RecordName { started_at_micros, run_id: run_id.to_owned(), ingest: ingest.to_owned() }
}

/// A record reads back under its name, is replaced, and is no table.
///
/// # Errors
/// The sink keeps records and breaks that.
pub async fn keeps_records_of_runs(harness: &impl Harness) -> Outcome {
    let sink = harness.sink().await?;
    if !sink.keeps_records() {
        return Ok(());
    }
    ensure!(sink.records(None, 10).await?.is_empty(), "records before the first");
    let names = [name(1, "r:1", "1"), name(3, "r:1", "shop / daily"), name(2, "r+2", "1")];
    for name in &names {
        sink.put_record(name, r#"{"status": "started"}"#).await?;
    }
    let done = r#"{"status": "done"}"#;
    sink.put_record(&names[0], done).await?;
    let found = harness.sink().await?.records(None, 10).await?;
    let order: Vec<_> = found.iter().map(|record| &record.name).collect();
    ensure_eq!(order, [&names[1], &names[2], &names[0]], "newest first");
    ensure_eq!(found[2].json.as_deref().unwrap_or_default(), done, "the record that was replaced");
    let of_run: Vec<_> = sink.records(Some("r:1"), 10).await?.into_iter().map(|record| record.name).collect();
    ensure_eq!(of_run, [names[1].clone(), names[0].clone()], "records of a run");
    ensure_eq!(sink.records(None, 1).await?.len(), 1, "at most so many");
    ensure!(sink.states().await?.is_empty(), "a record is no table");
    Ok(())
}
