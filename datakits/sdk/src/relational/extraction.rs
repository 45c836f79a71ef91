//! The rows of one partition: read by one query or one feed of changes, shaped by one projection, never looked at.

use super::changes::ChangesState;
use super::planning::{RowsState, State};
use super::{CommonSettings as _, Dialect, ROLE, RelationalSettings as _};
use crate::bindings::datakit::kit::batches::Batch;
use crate::bindings::datakit::kit::changes::ChangeFeed;
use crate::bindings::datakit::kit::sql::Connection;
use crate::bindings::datakit::kit::types::{Error, Schema};
use crate::datakit::{Extraction, Run};
use crate::plans::Partition;
use crate::projected::ProjectedRows;
use crate::{bronze, state};

/// A partition being read.
#[derive(Debug)]
pub enum TableRows {
    /// By a query.
    Query(ProjectedRows<Connection>),
    /// By a feed of changes.
    Changes {
        /// The rows.
        rows: ProjectedRows<ChangeFeed>,
        /// What the last commit reached.
        position: Option<String>,
    },
}

impl TableRows {
    /// Starts the query or opens the feed.
    ///
    /// # Errors
    /// A state of another version, or whatever host and server refuse.
    pub fn open<D: Dialect>(run: &Run<D::Settings>, partition: &Partition) -> Result<Self, Error> {
        match state::read(partition)? {
            State::Rows(state) => open_query::<D>(run, partition, &state).map(Self::Query),
            State::Changes(state) => open_changes::<D>(run, partition, &state),
        }
    }
}

fn open_query<D: Dialect>(
    run: &Run<D::Settings>,
    partition: &Partition,
    state: &RowsState<D::Read, D::Part>,
) -> Result<ProjectedRows<Connection>, Error> {
    let names: Vec<String> = state.columns.iter().map(|column| column.name.clone()).collect();
    let row_hash = run.settings.common().row_hash;
    let mut columns = bronze::columns(run, &partition.table, &names, row_hash)?;
    let (sql, parameters) = D::select(&partition.table, &state.columns, state.part.as_ref(), &run.settings)?;
    let connection = Connection::open(ROLE)?;
    let mut reader = connection.query(&sql, &parameters, run.settings.query_options()?)?;
    if let Some(copy) = &state.copy {
        reader = copy.request(&partition.table).open(ROLE)?.copied(reader)?;
        columns.extend(bronze::change_columns(&reader.schema())?);
    }
    ProjectedRows::new(reader, &columns, connection)
}

fn open_changes<D: Dialect>(
    run: &Run<D::Settings>,
    partition: &Partition,
    state: &ChangesState,
) -> Result<TableRows, Error> {
    let row_hash = run.settings.common().row_hash;
    let mut columns = bronze::columns(run, &partition.table, &state.columns, row_hash)?;
    let feed = state.request(&partition.table).open(ROLE)?;
    let reader = feed.rows()?;
    columns.extend(bronze::change_columns(&reader.schema())?);
    Ok(TableRows::Changes { rows: ProjectedRows::new(reader, &columns, feed)?, position: state.position.clone() })
}

impl Extraction for TableRows {
    fn output(&self) -> Schema {
        match self {
            Self::Query(rows) => rows.output(),
            Self::Changes { rows, .. } => rows.output(),
        }
    }

    fn next(&mut self) -> Result<Option<Batch>, Error> {
        match self {
            Self::Query(rows) => rows.next(),
            Self::Changes { rows, .. } => rows.next(),
        }
    }

    /// Of a strategy that knows its position at the end, and of a table that had no row at planning: whatever came since is read, and counts as
    /// read.
    fn watermark(&self) -> Option<String> {
        match self {
            Self::Query(_) => None,
            Self::Changes { rows, position } => rows.source().upper().or_else(|| position.clone()),
        }
    }
}
