//! `host plan`: how each table would be cut.

use datakit_app::{PlanRequest, PlannedTable, Reports, Tables};

use super::{Session, failures, ingest_of, mode_of};
use crate::arguments::{OutputFormat, Plan};
use crate::terminal::{aligned, grouped};

pub(super) async fn plan(arguments: Plan, session: &Session) -> Result<(), Reports> {
    let output = arguments.ingest.output;
    let request = PlanRequest { mode: mode_of(&arguments.mode), ingest: ingest_of(arguments.ingest) };
    let Tables { tables, failures: failed } = session.answer(datakit_app::plan(&session.context, &request)).await?;
    match output {
        OutputFormat::Json => session.terminal.print_json(&tables)?,
        OutputFormat::Text => session.terminal.print(&render(tables))?,
    }
    failures(failed)
}

fn render(tables: Vec<PlannedTable>) -> String {
    let heading = ["table", "columns", "about rows", "partitions", "key", "target"];
    let mut rows = vec![heading.map(ToOwned::to_owned).to_vec()];
    for table in tables {
        rows.push(vec![
            table.table,
            table.columns.to_string(),
            table.estimated_rows.map(grouped).unwrap_or_default(),
            table.partitions.len().to_string(),
            table.primary_key.join(", "),
            table.target.or(table.error.map(|error| format!("fails with {}", error.code))).unwrap_or_default(),
        ]);
    }
    aligned(&rows, &[1, 2, 3])
}
