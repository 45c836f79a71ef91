//! The rows of one partition: read by one request, shaped by one projection, never looked at.

use datakit_sdk::files::Folder;
use datakit_sdk::{Column, Error, Partition, ProjectedRows, Run, bronze, state};

use crate::ROLE;
use crate::planning::State;
use crate::settings::Settings;
use crate::shape::{SOURCE_FILE, SOURCE_MODIFIED};

/// Sends the request for a partition's rows.
///
/// # Errors
/// A state of another version, or whatever the host refuses.
pub fn open(run: &Run<Settings>, partition: &Partition) -> Result<ProjectedRows<Folder>, Error> {
    let state: State = state::read(partition)?;
    let columns = projected(bronze::columns(run, &partition.table, &state.selected, run.settings.row_hash)?, &state);
    let folder = Folder::open(ROLE)?;
    let reader = folder.rows(&state.read)?;
    ProjectedRows::new(reader, &columns, folder)
}

/// The columns with those of the file between the source's and Bronze's. The row hash is of the source's alone: a row has the
/// same one in whatever file it comes.
fn projected(mut columns: Vec<Column>, state: &State) -> Vec<Column> {
    let own = [SOURCE_FILE, SOURCE_MODIFIED].map(Column::input);
    columns.splice(state.selected.len()..state.selected.len(), own);
    columns
}
