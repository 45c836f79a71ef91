//! The rows of one partition: read by one request, shaped by one projection, never looked at.

use datakit_sdk::errors::codes;
use datakit_sdk::{
    Batch, Column, Connection, Error, Expression, Extraction, Partition, Projection, Reader, Run, Schema, bronze,
};

use crate::ROLE;
use crate::planning::State;
use crate::requests::{NO_OPTIONS, Request};
use crate::settings::Settings;
use crate::shape::{SOURCE_FILE, SOURCE_MODIFIED};

/// A partition being read.
#[derive(Debug)]
pub struct FilesExtraction {
    // Dropped in this order: the reader before its connection.
    reader: Reader,
    projection: Projection,
    _connection: Connection,
}

impl FilesExtraction {
    /// Sends the request.
    ///
    /// # Errors
    /// A state of another version, or whatever the host refuses.
    pub fn open(run: &Run<Settings>, partition: &Partition) -> Result<Self, Error> {
        let state: State = serde_json::from_slice(&partition.state).map_err(|error| {
            Error::datakit(
                codes::STATE,
                format!("the partition's state is not of this version of the datakit: {error}"),
            )
            .with_hint("plan the table again")
        })?;
        let columns =
            projected(bronze::columns(run, &partition.table, &state.selected, run.settings.row_hash)?, &state);
        let connection = Connection::open(ROLE)?;
        let reader = connection.query(&Request::Read(&state.read).text()?, &[], NO_OPTIONS)?;
        let projection = Projection::compile(&reader.schema(), &columns, None)?;
        Ok(Self { reader, projection, _connection: connection })
    }
}

/// The columns with those of the file between the source's and Bronze's. The row hash is of the source's alone: a row has the
/// same one in whatever file it comes.
fn projected(mut columns: Vec<Column>, state: &State) -> Vec<Column> {
    let own = [SOURCE_FILE, SOURCE_MODIFIED]
        .map(|name| Column { name: name.to_owned(), value: Expression::Input(name.to_owned()) });
    columns.splice(state.selected.len()..state.selected.len(), own);
    columns
}

impl Extraction for FilesExtraction {
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
