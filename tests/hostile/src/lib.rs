//! A datakit that attacks its host, one switch per attack.
//!
//! The setting `attack` names what to do, and where no attack is named the datakit does an honest job: one table, the
//! rows of one query, one column added. With the attack `queries` it has a table for each query that the settings hold, so that one run of a
//! real host against a real source meets all of them. It is written against the bare bindings and not the SDK: an attacker would be.
//!
//! `host/wasm/tests/guests/hostile.rs` runs every switch and holds the host to the exact error, `tests/end-to-end/tests/hostile` the queries.

mod attacks;
mod bindings;
mod ipc;
mod settings;

use std::cell::RefCell;

use attacks::{Attack, Stage};
use bindings::datakit::kit::batches::{Batch, Column, Expression, Projection};
use bindings::datakit::kit::connections::{Connection, QueryOptions, Reader};
use bindings::datakit::kit::types::{Error, Field, Schema, TableId};
use bindings::exports::datakit::kit::datakit::{
    Extraction, Guest, GuestExtraction, Info, Partition, Role, Table, TableKind, TablePlan,
};

/// The datakit.
pub struct Hostile;

/// The one query there is.
const QUERY: &str = "SELECT id, name FROM dbo.t";

/// What it attacks: every kind of source, and the one of the runtime's own tests.
const SOURCES: [&str; 4] = ["memory", "sqlserver", "postgres", "files"];

impl Guest for Hostile {
    type Extraction = HostileExtraction;

    fn describe() -> Info {
        Info {
            name: "hostile".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Attacks its host.".to_owned(),
            roles: vec![
                Role {
                    name: "source".to_owned(),
                    kinds: SOURCES.map(str::to_owned).to_vec(),
                    purpose: "Where the rows are.".to_owned(),
                },
                Role {
                    name: "unmapped".to_owned(),
                    kinds: SOURCES.map(str::to_owned).to_vec(),
                    purpose: "Never mapped.".to_owned(),
                },
                Role {
                    name: "other-kind".to_owned(),
                    kinds: vec!["files".to_owned(), "stone".to_owned()],
                    purpose: "Mapped to a kind that will not do.".to_owned(),
                },
            ],
            settings_schema: "{\"type\":\"object\"}".to_owned(),
        }
    }

    fn discover() -> Result<Vec<Table>, Error> {
        let attack = Attack::chosen();
        attack.strike(Stage::Discover)?;
        let honest = Table {
            id: table(),
            kind: TableKind::Table,
            columns: vec![field("id", "Int64"), field("name", "Utf8")],
            primary_key: vec!["id".to_owned()],
            estimated_rows: Some(6),
            estimated_bytes: None,
        };
        Ok(attack.discovered(honest))
    }

    fn plan(tables: Vec<TableId>) -> Result<Vec<TablePlan>, Error> {
        let attack = Attack::chosen();
        attack.strike(Stage::Plan)?;
        let honest = tables
            .into_iter()
            .map(|table| TablePlan {
                partitions: vec![Partition {
                    table: table.clone(),
                    ordinal: 0,
                    state: Vec::new(),
                    estimated_rows: None,
                }],
                table,
                watermark_after: None,
            })
            .collect();
        Ok(attack.planned(honest))
    }
}

fn table() -> TableId {
    TableId { schema: "dbo".to_owned(), name: "t".to_owned() }
}

fn field(name: &str, arrow_type: &str) -> Field {
    Field { name: name.to_owned(), arrow_type: arrow_type.to_owned(), nullable: true, metadata: Vec::new() }
}

/// An honest one, until the attack says otherwise.
pub struct HostileExtraction {
    attack: Attack,
    reader: Reader,
    projection: Projection,
    /// What an attack keeps from one `next` to the other.
    kept: RefCell<Vec<u32>>,
}

impl GuestExtraction for HostileExtraction {
    fn open(partition: Partition) -> Result<Extraction, Error> {
        let attack = Attack::chosen();
        attack.strike(Stage::Open)?;
        let (reader, columns) = match settings::query(&partition.table.name) {
            Some(settings::Asked { sql, timeout_ms }) => {
                let reader = source()?.query(&sql, &[], QueryOptions { timeout_ms, ..no_options() })?;
                let columns = reader.schema().into_iter().map(|field| same(&field.name)).collect();
                (reader, columns)
            }
            None => (source()?.query(QUERY, &[], no_options())?, columns().to_vec()),
        };
        let projection = Projection::compile(&reader.schema(), &columns, None)?;
        Ok(Extraction::new(Self { attack, reader, projection, kept: RefCell::new(Vec::new()) }))
    }

    fn output(&self) -> Schema {
        self.attack.announced(self.projection.output())
    }

    fn next(&self) -> Result<Option<Batch>, Error> {
        self.attack.strike(Stage::Next)?;
        self.attack.returned(&self.reader, &self.projection, &mut self.kept.borrow_mut())
    }
}

/// What a batch becomes.
fn columns() -> [Column; 3] {
    [same("id"), same("name"), Column { name: "added".to_owned(), value: Expression::Text("x".to_owned()) }]
}

/// A column as it comes.
fn same(name: &str) -> Column {
    Column { name: name.to_owned(), value: Expression::Input(name.to_owned()) }
}

fn source() -> Result<Connection, Error> {
    Connection::open("source")
}

fn no_options() -> QueryOptions {
    QueryOptions { isolation: None, timeout_ms: None, max_parallelism: None }
}
