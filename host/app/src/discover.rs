//! The tables that a datakit sees, and which of them are selected.

use arrow::datatypes::{Field, FieldRef};
use datakit_config::Selection;
use datakit_model::datakit::{Table, TableKind};
use datakit_model::{Failure, TableId};
use datakit_pipeline::{Discovered, TableError};
use serde::Serialize;

use crate::component::asked;
use crate::context::Context;
use crate::job::{JobRequest, job};
use crate::reports::{Reports, Tables};
use crate::requests::IngestRequest;

/// A table that the datakit sees.
#[derive(Debug, Clone, Serialize)]
pub struct DiscoveredTable {
    /// `schema.name`.
    pub table: String,
    /// The schema.
    pub schema: String,
    /// The name in the schema.
    pub name: String,
    /// Table or view; none: its description is invalid.
    pub kind: Option<TableKind>,
    /// Whether a run reads it.
    pub selected: bool,
    /// The columns.
    pub columns: Vec<Column>,
    /// The columns of its primary key.
    pub primary_key: Vec<String>,
    /// Rows by the source's estimate.
    pub estimated_rows: Option<u64>,
    /// Bytes by the source's estimate.
    pub estimated_bytes: Option<u64>,
    /// Why the table cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<TableError>,
}

/// A column.
#[derive(Debug, Clone, Serialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its Arrow type.
    pub r#type: String,
    /// Whether it can be null.
    pub nullable: bool,
}

impl From<&Field> for Column {
    fn from(field: &Field) -> Self {
        Self { name: field.name().clone(), r#type: field.data_type().to_string(), nullable: field.is_nullable() }
    }
}

/// The tables that the datakit sees.
///
/// # Errors
/// The configuration is invalid, the datakit or the source cannot be reached, or the work was stopped.
pub async fn discover(context: &Context, request: &IngestRequest) -> Result<Tables<DiscoveredTable>, Reports> {
    context.unless_stopped(discover_tables(context, request)).await
}

async fn discover_tables(context: &Context, request: &IngestRequest) -> Result<Tables<DiscoveredTable>, Reports> {
    let config = context.config(request.overrides())?;
    let (selection, asking) = asked(context, &config, request, JobRequest::new(request.locked)).await?;
    let ingest = config.ingest(&Selection { all_tables: true, ..selection })?;
    let job = job(context, &config, &ingest, asking).await?;
    let mut failures = Vec::new();
    let mut tables = Vec::new();
    for Discovered { id, table, selected } in datakit_pipeline::discover(&job, context.observer().as_ref()).await? {
        tables.push(described(&id, table.as_ref(), selected));
        if let (Err(failure), true) = (table, selected) {
            failures.push((id, failure));
        }
    }
    Ok(Tables { tables, failures: Reports::of_tables(failures) })
}

fn described(id: &TableId, table: Result<&Table, &Failure>, selected: bool) -> DiscoveredTable {
    let column = |field: &FieldRef| Column::from(field.as_ref());
    let valid = table.ok();
    DiscoveredTable {
        table: id.to_string(),
        schema: id.schema.clone(),
        name: id.name.clone(),
        kind: valid.map(|table| table.kind),
        selected,
        columns: valid.map(|table| table.columns.fields().iter().map(column).collect()).unwrap_or_default(),
        primary_key: valid.map(|table| table.primary_key.clone()).unwrap_or_default(),
        estimated_rows: valid.and_then(|table| table.estimated_rows),
        estimated_bytes: valid.and_then(|table| table.estimated_bytes),
        error: table.err().map(TableError::from),
    }
}
