//! The rows of one partition: read by one query, shaped by one projection, never looked at.

use datakit_sdk::errors::codes;
use datakit_sdk::{Batch, Connection, Error, Extraction, Partition, Projection, Reader, Run, Schema, bronze};

use crate::planning::State;
use crate::settings::Settings;
use crate::{ROLE, statement};

/// A partition being read.
#[derive(Debug)]
pub struct TableExtraction {
    // Dropped in this order: the reader before its connection.
    reader: Reader,
    projection: Projection,
    _connection: Connection,
}

impl TableExtraction {
    /// Starts the query.
    ///
    /// # Errors
    /// A state of another version, or whatever host and server refuse.
    pub fn open(run: &Run<Settings>, partition: &Partition) -> Result<Self, Error> {
        let state: State = serde_json::from_slice(&partition.state).map_err(|error| {
            Error::datakit(
                codes::STATE,
                format!("the partition's state is not of this version of the datakit: {error}"),
            )
            .with_hint("plan the table again")
        })?;
        let names: Vec<String> = state.columns.iter().map(|column| column.name.clone()).collect();
        let columns = bronze::columns(run, &partition.table, &names, run.settings.row_hash)?;
        let (sql, parameters) = statement::select(&partition.table, &state.columns, state.part.as_ref())?;
        let connection = Connection::open(ROLE)?;
        let reader = connection.query(&sql, &parameters, run.settings.query_options())?;
        let projection = Projection::compile(&reader.schema(), &columns, None)?;
        Ok(Self { reader, projection, _connection: connection })
    }
}

impl Extraction for TableExtraction {
    fn output(&self) -> Schema {
        self.projection.output()
    }

    fn next(&mut self) -> Result<Option<Batch>, Error> {
        match self.reader.next()? {
            Some(batch) => self.projection.apply(&batch).map(Some),
            None => Ok(None),
        }
    }
}
