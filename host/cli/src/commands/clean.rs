//! `host clean`: removes what dead runs have left in sinks.

use datakit_app::{CleanRequest, Reports, SinkLeftover, Stays, Tables, leftovers};
use datakit_model::printable;

use super::{Session, failures};
use crate::arguments::{Clean, OutputFormat};
use crate::terminal::{aligned, grouped, megabytes};

pub(super) async fn clean(arguments: Clean, session: &Session) -> Result<(), Reports> {
    let Clean { sink, dry_run, older_than, yes, output } = arguments;
    let request = CleanRequest { sink, older_than };
    let found = session.answer(leftovers(&session.context, &request)).await?;
    let removable: Vec<&SinkLeftover> = found.iter().filter(|entry| entry.is_removable()).collect();
    if dry_run || removable.is_empty() {
        return print(&found, output, session);
    }
    if !yes {
        session.terminal.confirm(&question(&removable))?;
    }
    let Tables { tables, failures: failed } = session.answer(datakit_app::clean(&session.context, found)).await?;
    print(&tables, output, session)?;
    failures(failed)
}

fn question(removable: &[&SinkLeftover]) -> String {
    let list: Vec<String> = removable.iter().map(|entry| printable::line(&entry.leftover.place).into_owned()).collect();
    let bytes: u64 = removable.iter().map(|entry| entry.leftover.bytes).sum();
    let (count, size, list) = (removable.len(), megabytes(bytes), list.join("\n  "));
    format!("  {list}\nunfinished loads: {count}, {size}. Their runs will start from the beginning. Remove them?")
}

fn print(entries: &[SinkLeftover], output: OutputFormat, session: &Session) -> Result<(), Reports> {
    match output {
        OutputFormat::Json => session.terminal.print_json(&entries)?,
        OutputFormat::Text => session.terminal.print(&lines(entries))?,
    }
    Ok(())
}

fn lines(entries: &[SinkLeftover]) -> String {
    if entries.is_empty() {
        return "no unfinished loads\n".to_owned();
    }
    let heading = ["sink", "table", "run", "age", "rows", "size", "", "place"];
    let mut rows = vec![heading.map(ToOwned::to_owned).to_vec()];
    for entry in entries {
        let leftover = &entry.leftover;
        let what = match (entry.removed, leftover.stays) {
            (true, _) => "removed",
            (false, None) => "removable",
            (false, Some(Stays::Live)) => "stays: at work",
            (false, Some(Stays::Resumable)) => "stays: its run can be started again",
        };
        rows.push(vec![
            entry.sink.clone(),
            format!("{} {}", leftover.source_system, leftover.table),
            leftover.run_id.clone().unwrap_or_default(),
            format!("{} s", grouped(leftover.age_seconds)),
            grouped(leftover.rows),
            megabytes(leftover.bytes),
            what.to_owned(),
            leftover.place.clone(),
        ]);
    }
    aligned(&rows, &[3, 4, 5])
}
