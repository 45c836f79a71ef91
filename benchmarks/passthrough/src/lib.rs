//! Reads one table for the benchmark.
//!
//! A partition's state is a [`Reading`]. By [`Way::Handle`] the guest passes on what `sqlserver-bronze` would, and never holds a
//! row; by [`Way::Arrow`] every batch comes into its memory as Arrow IPC and goes back, which is what a datakit with code of its
//! own over the values pays.

use datakit_sdk::{
    Batch, Connection, Datakit, Description, DiscoveryRequest, Error, Extraction, Partition, Projection, QueryOptions,
    Reader, Role, Run, Schema, Table, TableId, TablePlan, bronze, export_datakit,
};
use serde::{Deserialize, Serialize};

const ROLE: &str = "source";

/// No setting: everything is in the partition.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
pub struct Settings {}

/// How the rows come to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// As handles.
    Handle,
    /// Through the guest's memory.
    Arrow,
}

/// What a partition's state says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The query.
    pub sql: String,
    /// Its columns, in order.
    pub columns: Vec<String>,
    /// Whether the row hash is computed.
    pub row_hash: bool,
    /// How the rows come.
    pub way: Way,
}

/// The datakit.
#[derive(Debug)]
pub struct Passthrough;

export_datakit!(Passthrough);

impl Datakit for Passthrough {
    type Settings = Settings;
    type Extraction = Rows;

    fn describe() -> Description {
        Description {
            name: "bench-passthrough".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: env!("CARGO_PKG_DESCRIPTION").into(),
            roles: vec![Role {
                name: ROLE.into(),
                kinds: vec!["sqlserver".into()],
                purpose: "The database whose table is read.".into(),
            }],
        }
    }

    fn discover(_: &Run<Settings>, _: &DiscoveryRequest) -> Result<Vec<Table>, Error> {
        Ok(Vec::new())
    }

    fn plan(_: &Run<Settings>, tables: &[TableId]) -> Result<Vec<TablePlan>, Error> {
        match tables.first() {
            Some(table) => Err(Error::config("BENCH-1", format!("{table} is not planned here"))),
            None => Ok(Vec::new()),
        }
    }

    fn open(run: &Run<Settings>, partition: &Partition) -> Result<Rows, Error> {
        let reading: Reading = serde_json::from_slice(&partition.state)
            .map_err(|error| Error::datakit("BENCH-2", format!("the partition's state cannot be read: {error}")))?;
        let columns = bronze::columns(run, &partition.table, &reading.columns, reading.row_hash)?;
        let connection = Connection::open(ROLE)?;
        let reader = connection.query(&reading.sql, &[], QueryOptions::default())?;
        let projection = Projection::compile(&reader.schema(), &columns, None)?;
        Ok(Rows { reader, projection, way: reading.way, _connection: connection })
    }
}

/// The rows of the table.
#[derive(Debug)]
pub struct Rows {
    // Dropped in this order: the reader before its connection.
    reader: Reader,
    projection: Projection,
    way: Way,
    _connection: Connection,
}

impl Extraction for Rows {
    fn output(&self) -> Schema {
        self.projection.output()
    }

    fn next(&mut self) -> Result<Option<Batch>, Error> {
        let Some(batch) = self.reader.next()? else { return Ok(None) };
        let batch = match self.way {
            Way::Handle => batch,
            Way::Arrow => Batch::from_arrow(&batch.to_arrow(None)?)?,
        };
        self.projection.apply(&batch).map(Some)
    }
}
