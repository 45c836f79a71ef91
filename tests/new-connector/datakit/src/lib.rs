//! Reads the books of a logbook server into Bronze: each book is a table, read whole, with the Bronze columns added.

use datakit_sdk::{
    Connection, Datakit, Description, DiscoveryRequest, Error, Field, Partition, PlannedPartition, ProjectedRows,
    Queries, QueryOptions, Role, Run, Table, TableId, TableKind, TablePlan, bronze, export_datakit,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// The only role, and the kind of connection it takes.
const ROLE: &str = "source";
const KIND: &str = "logbook";

/// The columns of each book.
const COLUMNS: [(&str, &str, bool); 4] =
    [("id", "Int64", false), ("day", "Date32", false), ("minutes", "Int64", false), ("note", "Utf8", true)];

/// The datakit.
#[derive(Debug)]
pub struct LogbookBronze;

export_datakit!(LogbookBronze);

/// Settings of the datakit logbook-bronze.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Fill `_bronze_row_hash`. Without it the column stays, and is null.
    pub row_hash: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { row_hash: true }
    }
}

impl Datakit for LogbookBronze {
    type Settings = Settings;
    type Extraction = ProjectedRows<Connection>;

    fn describe() -> Description {
        Description {
            name: "logbook-bronze".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: env!("CARGO_PKG_DESCRIPTION").into(),
            roles: vec![Role {
                name: ROLE.into(),
                kinds: vec![KIND.into()],
                purpose: "The server whose books are read.".into(),
            }],
        }
    }

    fn discover(_: &Run<Settings>, _: &DiscoveryRequest) -> Result<Vec<Table>, Error> {
        books(&Connection::open(ROLE)?)
    }

    fn plan(_: &Run<Settings>, tables: &[TableId]) -> Result<Vec<TablePlan>, Error> {
        let books = books(&Connection::open(ROLE)?)?;
        let rows = |table: &TableId| books.iter().find(|book| book.id == *table).and_then(|book| book.estimated_rows);
        Ok(tables.iter().map(|table| whole(table, rows(table))).collect())
    }

    fn open(run: &Run<Settings>, partition: &Partition) -> Result<ProjectedRows<Connection>, Error> {
        let connection = Connection::open(ROLE)?;
        let reader = connection.query(&format!("READ {}", partition.table.name), &[], QueryOptions::default())?;
        let names = COLUMNS.map(|(name, ..)| name.to_owned());
        let columns = bronze::columns(run, &partition.table, &names, run.settings.row_hash)?;
        ProjectedRows::new(reader, &columns, connection)
    }
}

/// A table for each book that the server has.
fn books(queries: &impl Queries) -> Result<Vec<Table>, Error> {
    let mut books = Vec::new();
    for rows in queries.query("BOOKS", &[], QueryOptions::default())? {
        let (names, entries) = (rows.column("name")?, rows.column("entries")?);
        for row in 0..rows.len() {
            let name = names.text(row)?.ok_or_else(|| names.missing(row))?;
            let entries = entries.integer(row)?.and_then(|entries| u64::try_from(entries).ok());
            books.push(book(name, entries));
        }
    }
    Ok(books)
}

fn book(name: &str, entries: Option<u64>) -> Table {
    let column = |(name, arrow_type, nullable): (&str, &str, bool)| Field {
        name: name.into(),
        arrow_type: arrow_type.into(),
        nullable,
        metadata: Vec::new(),
    };
    Table {
        id: TableId::new(KIND, name),
        kind: TableKind::Table,
        columns: COLUMNS.map(column).to_vec(),
        primary_key: vec!["id".into()],
        estimated_rows: entries,
        estimated_bytes: None,
    }
}

fn whole(table: &TableId, estimated_rows: Option<u64>) -> TablePlan {
    TablePlan {
        partitions: vec![PlannedPartition { state: Vec::new(), estimated_rows }],
        keys: vec!["id".into()],
        strategy: Some("full".into()),
        load_id_column: Some(bronze::BATCH_ID.into()),
        ..TablePlan::new(table.clone())
    }
}
