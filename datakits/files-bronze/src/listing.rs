//! The files there are, by table.

use std::collections::BTreeMap;

use datakit_sdk::files::{FilePart, Files};
use datakit_sdk::rows::{Cell, ColumnView};
use datakit_sdk::{Error, TableId};

use crate::errors;

/// A file as the listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path below the root.
    pub path: String,
    /// In bytes.
    pub size: u64,
    /// Microseconds since 1970-01-01T00:00:00Z.
    pub modified_micros: i64,
    /// Equal as long as its content is.
    pub version: String,
}

impl SourceFile {
    /// The whole file.
    #[must_use]
    pub fn part(&self) -> FilePart {
        FilePart { path: self.path.clone(), version: self.version.clone(), start: 0, end: None, constants: Vec::new() }
    }
}

/// Tables by schema and name, with their files by path. A table that the operator's rules name may have none.
pub type Tables = BTreeMap<(String, String), Vec<SourceFile>>;

/// The names of a table, as a key of [`Tables`].
#[must_use]
pub fn key(id: &TableId) -> (String, String) {
    (id.schema.clone(), id.name.clone())
}

/// Asks the host for all files.
///
/// # Errors
/// What the host or the store refused.
pub fn read(store: &impl Files) -> Result<Tables, Error> {
    let mut tables = Tables::new();
    for batch in store.all_files()? {
        let column = |name| batch.column(name);
        let (schema, name, path) = (column("schema_name")?, column("table_name")?, column("path")?);
        let (size, modified, version) = (column("size")?, column("modified")?, column("version")?);
        for row in 0..batch.len() {
            let files = tables.entry((text(&schema, row)?, text(&name, row)?)).or_default();
            let Some(path) = path.text(row)? else { continue };
            files.push(SourceFile {
                path: path.to_owned(),
                size: size.integer(row)?.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
                modified_micros: micros(modified.cell(row)?)?,
                version: text(&version, row)?,
            });
        }
    }
    tables.values_mut().for_each(|files| files.sort_unstable_by(|a, b| a.path.cmp(&b.path)));
    Ok(tables)
}

fn text(column: &ColumnView<'_>, row: usize) -> Result<String, Error> {
    column.text(row)?.map(str::to_owned).ok_or_else(|| column.missing(row))
}

fn micros(cell: Cell<'_>) -> Result<i64, Error> {
    match cell {
        Cell::Timestamp(micros, datakit_sdk::rows::Unit::Microsecond) => Ok(micros),
        _ => Err(Error::datakit(errors::UNEXPECTED_ANSWER, "a file of the listing has no time")),
    }
}
