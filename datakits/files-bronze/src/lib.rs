//! Reads CSV and JSON lines of a folder or an object store into Bronze: every selected column as it is, where the row comes
//! from, then the Bronze columns.
//!
//! - [`listing`]: the files there are; [`folders`]: those that are columns;
//! - [`settings`]: what the operator can choose; [`types`]: types by name; [`formats`]: how dates and times are written;
//! - [`shape`]: the columns of a table; [`inference`]: their types, where nobody says them; [`members`]: objects of a sample;
//! - [`names`]: names that a column can have;
//! - [`memory`]: which files a table holds; [`planning`]: which ones a run loads, and how they are cut;
//! - [`extraction`]: the rows on their way.
//!
//! The datakit looks at a few records of a table once, to infer its columns; after that the host decodes, shapes and writes
//! them.

pub mod errors;
pub mod extraction;
pub mod folders;
pub mod formats;
pub mod inference;
pub mod listing;
pub mod members;
pub mod memory;
pub mod names;
pub mod planning;
pub mod settings;
pub mod shape;
pub mod types;

#[cfg(test)]
mod tests;

use datakit_sdk::files::{Files, Folder};
use datakit_sdk::{
    Datakit, Description, DiscoveryRequest, Error, Partition, ProjectedRows, Role, Run, Table, TableId, TableKind,
    TablePlan, export_datakit, log, watermark,
};

use crate::listing::{SourceFile, Tables};
use crate::memory::Memory;
use crate::settings::{Load, Settings};
use crate::shape::Columns;

/// The only role: where files are.
const ROLE: &str = "source";

/// The datakit.
#[derive(Debug)]
pub struct FilesBronze;

export_datakit!(FilesBronze);

impl Datakit for FilesBronze {
    type Settings = Settings;
    type Extraction = ProjectedRows<Folder>;

    fn describe() -> Description {
        Description {
            name: "files-bronze".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: env!("CARGO_PKG_DESCRIPTION").into(),
            roles: vec![Role {
                name: ROLE.into(),
                kinds: vec!["files".into()],
                purpose: "The folder or object store whose files are read.".into(),
            }],
        }
    }

    fn discover(run: &Run<Settings>, _: &DiscoveryRequest) -> Result<Vec<Table>, Error> {
        discover(&Folder::open(ROLE)?, run, watermark)
    }

    fn plan(run: &Run<Settings>, tables: &[TableId]) -> Result<Vec<TablePlan>, Error> {
        plan(&Folder::open(ROLE)?, run, tables, watermark)
    }

    fn open(run: &Run<Settings>, partition: &Partition) -> Result<ProjectedRows<Folder>, Error> {
        extraction::open(run, partition)
    }
}

/// The tables the settings include, with their columns as far as they are known: a table that is not granted is not looked
/// into, and one that cannot be read must not hide the others. A table without a row so far is left out.
///
/// # Errors
/// Settings that contradict each other, or a store that does not answer.
pub fn discover(
    store: &impl Files,
    run: &Run<Settings>,
    watermark: impl Fn(&TableId) -> Option<String>,
) -> Result<Vec<Table>, Error> {
    let settings = &run.settings;
    let selection = settings.selection()?;
    let tables = listing::read(store)?;
    let mut listed = Vec::new();
    for ((schema, name), files) in &tables {
        let id = TableId::new(schema, name);
        if !selection.has_table(&id) {
            continue;
        }
        let Some(columns) = known_columns(store, &id, files, run, &watermark) else { continue };
        listed.push(Table {
            columns: shape::listed(&columns),
            id,
            kind: TableKind::Table,
            primary_key: Vec::new(),
            estimated_rows: None,
            estimated_bytes: Some(files.iter().map(|file| file.size).sum()),
        });
    }
    log::info(
        "discovered",
        &[("tables", listed.len().to_string()), ("excluded", (tables.len() - listed.len()).to_string())],
    );
    Ok(listed)
}

/// None for a table without a row so far, of which nothing else is known.
fn known_columns(
    store: &impl Files,
    id: &TableId,
    files: &[SourceFile],
    run: &Run<Settings>,
    watermark: &impl Fn(&TableId) -> Option<String>,
) -> Option<Columns> {
    let settings = &run.settings;
    let columns = || -> Result<Columns, Error> {
        let memory = match settings.load {
            Load::NewFiles => watermark(id).map(|text| Memory::parse(&text)).transpose()?,
            Load::AllFiles => None,
        };
        let remembered = memory.as_ref().map(|memory| &memory.columns);
        let options = settings.options(id)?;
        let files = planning::wanted(files, run.started_at_micros, settings, &options);
        let mut columns = shape::columns(store, id, &files, remembered, &options, settings)?;
        let selected = shape::selected(id, &columns, settings)?;
        columns.retain(|column| selected.contains(&column.name));
        Ok(columns)
    };
    columns().map(Some).unwrap_or_else(|error| {
        let has_no_row = error.code == errors::NO_ROW;
        let fields = [("table", id.to_string()), ("code", error.code)];
        if has_no_row {
            // A table that the operator's rules name may wait for its first file.
            if !files.is_empty() {
                log::warn("a table is left out until one of its files has a row", &fields);
            }
            return None;
        }
        log::debug("a table's columns are not known", &fields);
        Some(Columns::new())
    })
}

/// The plans of tables, in this order.
///
/// # Errors
/// A table that is not there or is excluded, or what [`planning::plan`] says.
pub fn plan(
    store: &impl Files,
    run: &Run<Settings>,
    wanted: &[TableId],
    watermark: impl Fn(&TableId) -> Option<String>,
) -> Result<Vec<TablePlan>, Error> {
    let settings = &run.settings;
    let selection = settings.selection()?;
    let tables: Tables = listing::read(store)?;
    wanted
        .iter()
        .map(|id| {
            let files =
                tables.get(&listing::key(id)).filter(|_| selection.has_table(id)).ok_or_else(|| no_table(id))?;
            planning::plan(store, id, files, watermark(id).as_deref(), run.started_at_micros, settings)
        })
        .collect()
}

fn no_table(id: &TableId) -> Error {
    Error::config(errors::NO_TABLE, format!("there is no table {id} that this run may read"))
        .with_hint("its files may be gone, or it is excluded by the settings `include` and `exclude`")
        .with_context("table", id)
}
