//! Connections to files: a folder or a prefix of an object store, and which of its files are which table.

use crate::connection;
use crate::problem::Problem;
use crate::reader::TableReader;
use crate::sink;
use crate::store::{self, StoreSettings};

/// Below, everything is readable; above, nothing is.
const ROOT_HINT: &str = "write `root = \"./landing\"` or `root = \"s3://BUCKET/PATH\"`";

/// Files in a folder or an object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesConnection {
    /// The name of its table in the file.
    pub name: String,
    /// What `_bronze_source_system` says: at most 50 characters, by default the name.
    pub source_system: String,
    /// A path or a URI. A relative path of a file starts from the file's folder.
    pub root: String,
    /// How the object store of the root is reached and logged in to; none: as the environment says.
    pub store: Option<StoreSettings>,
    /// Patterns of paths by the names of tables; empty: folders and names of files are tables.
    pub tables: Vec<(String, Vec<String>)>,
    /// Files below the root, at most.
    pub max_files: u64,
    /// A longer record is a bad row, in bytes.
    pub max_line_bytes: u64,
    /// So many times may a file grow by decompression.
    pub max_expansion: u64,
}

impl FilesConnection {
    /// How many files a root may have when nothing is said.
    pub const MAX_FILES: u64 = 100_000;
    /// How long a record may be when nothing is said, in bytes.
    pub const MAX_LINE_BYTES: u64 = 4 << 20;
    /// How many times a file may grow when nothing is said.
    pub const MAX_EXPANSION: u64 = 1_000;
}

pub(crate) fn read(name: &str, mut table: TableReader<'_>) -> Option<FilesConnection> {
    let source_system = connection::read_source_system(name, &mut table);
    let root = table.required_string("root", ROOT_HINT);
    if let Some(root) = root.as_ref().filter(|root| sink::holds_password(&root.value)) {
        table.problems().at(Problem::InlineSecret { path: table.path_of("root") }, &root.origin);
    }
    let store = store::read(&mut table, root.as_ref().map(|root| root.value.as_str()));
    let tables = table.named_string_lists("tables", "an array of patterns of paths");
    let mut bound = |key, maximum, default| table.integer(key, 1, maximum).map_or(default, |found| found.value);
    let max_files = bound("max_files", 10_000_000, FilesConnection::MAX_FILES);
    let max_line_bytes = bound("max_line_bytes", 1 << 30, FilesConnection::MAX_LINE_BYTES);
    let max_expansion = bound("max_expansion", 1_000_000_000, FilesConnection::MAX_EXPANSION);
    table.finish();
    Some(FilesConnection {
        name: name.to_owned(),
        source_system: source_system?,
        root: sink::absolute(&root?),
        store,
        tables,
        max_files,
        max_line_bytes,
        max_expansion,
    })
}
