//! A datakit that attacks its host, one switch per attack.
//!
//! The setting `attack` names what to do, and where no attack is named the datakit does an honest job: one table, the
//! rows of one query, one column added. With the attack `queries` it has a table for each query that the settings hold, so that one run of a
//! real host against a real source meets all of them. It is written against the bare bindings and not the SDK: an attacker would be.
//!
//! `host/wasm/tests/guests/hostile.rs` runs every switch and holds the host to the exact error, `tests/end-to-end/tests/hostile` the queries.

mod attacks;
mod bindings;
mod handles;
mod hoards;
mod ipc;
mod lies;
mod settings;

use std::cell::RefCell;

use attacks::{Attack, Stage};
use bindings::datakit::kit::batches::{Batch, Reader};
use bindings::datakit::kit::files::{Folder, Format, ReadRequest};
use bindings::datakit::kit::plans::{Description, DiscoveryRequest, Partition, TableDescription, TablePlan};
use bindings::datakit::kit::projections::{Projection, ProjectionBuilder};
use bindings::datakit::kit::sql::{Connection, Query};
use bindings::datakit::kit::types::{Error, Field, Schema, TableId};
use bindings::exports::datakit::kit::extractor::{Extraction, Guest, GuestExtraction};
use settings::Asked;

/// The datakit.
pub struct Hostile;

/// The one query there is.
const QUERY: &str = "SELECT id, name FROM dbo.t";

/// What it attacks: every kind of source, and the one of the runtime's own tests.
const SOURCES: [&str; 4] = ["memory", "sqlserver", "postgres", "files"];

impl Guest for Hostile {
    type Extraction = HostileExtraction;

    fn describe() -> Description {
        let description = Description::new("hostile", env!("CARGO_PKG_VERSION"), "Attacks its host.");
        let sources = SOURCES.map(str::to_owned);
        description.add_role("source", &sources, "Where the rows are.");
        description.add_role("unmapped", &sources, "Never mapped.");
        let others = ["files", "stone"].map(str::to_owned);
        description.add_role("other-kind", &others, "Mapped to a kind that will not do.");
        description.set_settings_schema("{\"type\":\"object\"}");
        description
    }

    fn discover(_: &DiscoveryRequest) -> Result<Vec<TableDescription>, Error> {
        let attack = Attack::chosen();
        attack.strike(Stage::Discover)?;
        Ok(lies::discovered(&attack))
    }

    fn plan(tables: Vec<TableId>) -> Result<Vec<TablePlan>, Error> {
        let attack = Attack::chosen();
        attack.strike(Stage::Plan)?;
        Ok(lies::planned(&attack, &tables))
    }
}

fn table(name: &str) -> TableId {
    TableId { catalog: None, schema: "dbo".to_owned(), name: name.to_owned() }
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
    fn open(partition: &Partition) -> Result<Extraction, Error> {
        let attack = Attack::chosen();
        attack.strike(Stage::Open)?;
        let mut kept = Vec::new();
        if attack.is("partition-after-open") {
            kept.push(partition.handle());
        }
        let (reader, projection) = match settings::query(&partition.table().name) {
            Some(asked) => {
                let reader = ask(asked)?;
                let names: Vec<String> = reader.schema().into_iter().map(|field| field.name).collect();
                let projection = ProjectionBuilder::new(&reader.schema());
                names.iter().for_each(|name| projection.add_input(name, name));
                (reader, projection)
            }
            None => {
                let reader = rows(QUERY)?;
                let projection = honest(&attack.shaped(reader.schema()));
                if attack.is("granted-hash") {
                    projection.add_keyed_hash("pseudonym", &["name".to_owned()], "people");
                }
                (reader, projection)
            }
        };
        let projection = projection.compile()?;
        Ok(Extraction::new(Self { attack, reader, projection, kept: RefCell::new(kept) }))
    }

    fn output(&self) -> Schema {
        self.attack.announced(self.projection.output())
    }

    fn next(&self) -> Result<Option<Batch>, Error> {
        self.attack.strike(Stage::Next)?;
        self.attack.returned(&self.reader, &self.projection, &mut self.kept.borrow_mut())
    }

    fn watermark(&self) -> Option<String> {
        if self.attack.is("last-watermark") {
            return Some("reached 42".to_owned());
        }
        self.attack.is("huge-last-watermark").then(|| "9".repeat((1 << 20) + 1))
    }
}

/// What a batch becomes.
fn honest(input: &[Field]) -> ProjectionBuilder {
    let projection = ProjectionBuilder::new(input);
    projection.add_input("id", "id");
    projection.add_input("name", "name");
    projection.add_text("added", "x");
    projection
}

fn source() -> Result<Connection, Error> {
    Connection::open("source")
}

/// The rows of a query without options, in a session of its own.
fn rows(sql: &str) -> Result<Reader, Error> {
    source()?.execute(Query::new(sql))
}

fn ask(asked: Asked) -> Result<Reader, Error> {
    match asked {
        Asked::Query { sql, timeout_ms } => {
            let query = Query::new(&sql);
            timeout_ms.iter().for_each(|timeout_ms| query.set_timeout_ms(*timeout_ms));
            source()?.execute(query)
        }
        Asked::Read { table, path, arrow_type } => {
            let request = ReadRequest::new(&table, Format::new("csv"));
            request.add_file(&path, "x", &[]);
            request.add_column("id", &arrow_type, None, false);
            Folder::open("source")?.read(request)
        }
    }
}
