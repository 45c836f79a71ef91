//! `host discover`: what there is, and what is selected.

use datakit_app::{DiscoveredTable, Reports, TableKind, Tables};

use super::{Session, failures, ingest_of};
use crate::arguments::{Inspect, OutputFormat};
use crate::terminal::{aligned, grouped, megabytes};

pub(super) async fn discover(arguments: Inspect, session: &Session) -> Result<(), Reports> {
    let output = arguments.ingest.output;
    let request = ingest_of(arguments.ingest);
    let Tables { tables, failures: failed } = session.answer(datakit_app::discover(&session.context, &request)).await?;
    match output {
        OutputFormat::Json => session.terminal.print_json(&tables)?,
        OutputFormat::Text => session.terminal.print(&render(tables))?,
    }
    failures(failed)
}

fn render(tables: Vec<DiscoveredTable>) -> String {
    let heading = ["selected", "table", "kind", "columns", "about rows", "about size", "key"];
    let mut rows = vec![heading.map(ToOwned::to_owned).to_vec()];
    for table in tables {
        rows.push(vec![
            if table.selected { "yes" } else { "no" }.to_owned(),
            table.table,
            table.kind.map_or("invalid", kind).to_owned(),
            if table.error.is_some() { String::new() } else { table.columns.len().to_string() },
            table.estimated_rows.map(grouped).unwrap_or_default(),
            table.estimated_bytes.map(megabytes).unwrap_or_default(),
            table.primary_key.join(", "),
        ]);
    }
    aligned(&rows, &[3, 4, 5])
}

fn kind(kind: TableKind) -> &'static str {
    match kind {
        TableKind::Table => "table",
        TableKind::View => "view",
    }
}
