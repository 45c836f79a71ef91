//! `host reconcile`: source against sink, after loads.

use datakit_app::{
    Difference, DifferingRange, NamedKey, ReconcileRequest, ReconcileStatus, Reconciled, ReconciledEntry, Reports,
    Scope, Tables,
};
use datakit_model::printable;

use super::{Session, failures, ingest_of, mode_of};
use crate::arguments::{OutputFormat, Reconcile};
use crate::terminal::{aligned, grouped};

/// Of each table so many ranges are shown.
const MAX_RANGES: usize = 20;

pub(super) async fn reconcile(arguments: Reconcile, session: &Session) -> Result<(), Reports> {
    let output = arguments.ingest.output;
    let request = ReconcileRequest {
        mode: mode_of(&arguments.mode),
        again: arguments.again,
        pause: arguments.pause,
        range_keys: arguments.range_keys,
        masks_keys: arguments.mask_keys,
        ingest: ingest_of(arguments.ingest),
    };
    let reconciled = session.answer(datakit_app::reconcile(&session.context, &request)).await?;
    let Tables { tables, failures: failed } = reconciled;
    match output {
        OutputFormat::Json => session.terminal.print_json(&tables)?,
        OutputFormat::Text => session.terminal.print(&render(&tables))?,
    }
    failures(failed)
}

fn render(tables: &[ReconciledEntry]) -> String {
    let heading =
        ["table", "status", "compared", "source rows", "sink rows", "missing", "surplus", "different", "looks"];
    let mut rows = vec![heading.map(ToOwned::to_owned).to_vec()];
    rows.extend(tables.iter().map(row));
    let found = tables.iter().filter_map(|table| Some((table, table.found.as_ref()?)));
    let below: String =
        found.map(|(table, found)| notes(&table.table, found) + &differences(&table.table, found)).collect();
    aligned(&rows, &[3, 4, 5, 6, 7, 8]) + &below
}

fn row(table: &ReconciledEntry) -> Vec<String> {
    let status = match table.status {
        ReconcileStatus::Equal => "equal",
        ReconcileStatus::Different => "different",
        ReconcileStatus::Failed => "failed",
    };
    let mut row = vec![table.table.clone(), status.to_owned()];
    let Some(found) = &table.found else {
        row.push(table.error.as_ref().map(|error| error.code.clone()).unwrap_or_default());
        return row;
    };
    row.push(compared(found).to_owned());
    let keys = found.keys;
    let numbers = [found.source_rows, found.sink_rows, keys.missing, keys.surplus, keys.different, found.looks.into()];
    row.extend(numbers.map(grouped));
    row
}

fn compared(found: &Reconciled) -> &'static str {
    match (found.scope, found.key.is_empty()) {
        (_, true) => "count and checksum",
        (Scope::AllRows, false) => "all rows",
        (Scope::LastLoad, false) => "last load",
        (Scope::LastChanges, false) => "last changes",
    }
}

/// What the reader should know of an answer.
fn notes(table: &str, found: &Reconciled) -> String {
    let mut notes = found.notes.clone();
    let mut count = |number: u64, what: &str| {
        if number > 0 {
            notes.push(format!("{} {what}", grouped(number)));
        }
    };
    count(found.changing, "keys not judged: their rows changed in the source meanwhile");
    count(found.pending, "keys not judged: the next load would read their changes");
    count(found.incomplete, "keys compared in part: no change has carried all of their values");
    if !found.not_in_sink.is_empty() {
        notes.push(format!("not in the sink, and not compared: {}", found.not_in_sink.join(", ")));
    }
    notes.iter().map(|note| line(&format!("{table}: {note}"))).collect()
}

/// The ranges and the first keys that differ, a line each.
fn differences(table: &str, found: &Reconciled) -> String {
    let of = if found.key.is_empty() { String::new() } else { format!(" of {}", found.key.join(", ")) };
    let range = |range: &DifferingRange| {
        let DifferingRange { source_rows, sink_rows, keys, .. } = range;
        let (from, to) = (shown(&range.from), shown(&range.to));
        line(&format!(
            "{table}: from {from} to {to}{of}: {source_rows} rows in the source, {sink_rows} in the sink; {} missing, {} surplus, \
             {} different",
            keys.missing, keys.surplus, keys.different
        ))
    };
    let mut text: String = found.ranges.iter().take(MAX_RANGES).map(range).collect();
    let more = found.ranges.len().saturating_sub(MAX_RANGES) as u64 + found.more_ranges;
    if more > 0 {
        text += &line(&format!("{table}: more ranges that differ: {}", grouped(more)));
    }
    text + &found.examples.iter().map(|key| example(table, key)).collect::<String>()
}

fn example(table: &str, NamedKey { key, difference, columns }: &NamedKey) -> String {
    let what = match difference {
        Difference::Missing => "missing in the sink".to_owned(),
        Difference::Surplus => "only in the sink".to_owned(),
        Difference::Different if columns.is_empty() => "different".to_owned(),
        Difference::Different => format!("different in {}", columns.join(", ")),
    };
    line(&format!("{table}: {} is {what}", shown(key)))
}

fn shown(key: &[Option<String>]) -> String {
    let parts: Vec<&str> = key.iter().map(|part| part.as_deref().unwrap_or("NULL")).collect();
    parts.join(", ")
}

fn line(text: &str) -> String {
    printable::line(text).into_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use datakit_app::Differences;

    use super::*;

    fn entry(table: &str, status: ReconcileStatus, found: Option<Reconciled>) -> ReconciledEntry {
        ReconciledEntry { ingest: "sales".to_owned(), table: table.to_owned(), status, found, error: None }
    }

    fn equal(key: &[&str]) -> Reconciled {
        Reconciled {
            table: String::new(),
            target: String::new(),
            is_equal: true,
            scope: Scope::AllRows,
            key: key.iter().map(|column| (*column).to_owned()).collect(),
            columns: 3,
            not_in_sink: Vec::new(),
            source_rows: 12_345,
            sink_rows: 12_345,
            keys: Differences::default(),
            changing: 0,
            pending: 0,
            incomplete: 0,
            looks: 1,
            ranges: Vec::new(),
            more_ranges: 0,
            examples: Vec::new(),
            last_run_id: None,
            notes: Vec::new(),
        }
    }

    #[test]
    fn differences_are_named_under_the_table() {
        let text = |text: &str| Some(text.to_owned());
        let keys = Differences { missing: 1, surplus: 0, different: 1 };
        let (from, to) = (vec![text("1"), text("a")], vec![text("9"), None]);
        let differs = Reconciled {
            is_equal: false,
            scope: Scope::LastChanges,
            keys,
            changing: 2,
            not_in_sink: vec!["new".to_owned()],
            looks: 2,
            ranges: vec![DifferingRange { from, to, source_rows: 8, sink_rows: 7, keys }],
            more_ranges: 1,
            examples: vec![
                NamedKey {
                    key: vec![text("2"), text("b\u{1b}")],
                    difference: Difference::Missing,
                    columns: Vec::new(),
                },
                NamedKey {
                    key: vec![text("3"), None],
                    difference: Difference::Different,
                    columns: vec!["note".to_owned()],
                },
            ],
            ..equal(&["id", "kind"])
        };
        let tables = [
            entry("dbo.a", ReconcileStatus::Equal, Some(equal(&[]))),
            entry("dbo.b", ReconcileStatus::Different, Some(differs)),
            entry("dbo.c", ReconcileStatus::Failed, None),
        ];
        insta::assert_snapshot!(render(&tables), @r"
        table  status     compared            source rows  sink rows  missing  surplus  different  looks
        dbo.a  equal      count and checksum       12,345     12,345        0        0          0      1
        dbo.b  different  last changes             12,345     12,345        1        0          1      2
        dbo.c  failed
        dbo.b: 2 keys not judged: their rows changed in the source meanwhile
        dbo.b: not in the sink, and not compared: new
        dbo.b: from 1, a to 9, NULL of id, kind: 8 rows in the source, 7 in the sink; 1 missing, 0 surplus, 1 different
        dbo.b: more ranges that differ: 1
        dbo.b: 2, b\u{1b} is missing in the sink
        dbo.b: 3, NULL is different in note
        ");
    }
}
