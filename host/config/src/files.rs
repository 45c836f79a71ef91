//! Reads the warehouse file and the files it extends.

use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::node::{self, Table, Value};
use crate::problem::{ConfigError, Problem, Problems};
use crate::text::{Origin, Place, SourceText};

/// How many files may extend each other: platform → datakit → warehouse, and some room.
const MAX_FILES: usize = 8;

/// The largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// The file laid over the ones it extends; none when one of them cannot be read or is not TOML.
pub(crate) fn load(path: &Path, problems: &Problems) -> Option<Table> {
    let mut layers = Vec::new();
    let mut chain: Vec<(PathBuf, String)> = Vec::new();
    let mut next = Some((path.to_path_buf(), None));
    while let Some((path, extended_at)) = next {
        let shown = path.display().to_string();
        // Two spellings of one file are one file.
        let identity = path.canonicalize().unwrap_or_else(|_| path.clone());
        if let Some(first) = chain.iter().position(|(known, _)| *known == identity) {
            let mut chain: Vec<String> = chain.drain(first..).map(|(_, shown)| shown).collect();
            chain.push(shown);
            problems.push(ConfigError::new(Problem::ExtendsCircle { chain }, extended_at));
            return None;
        }
        if chain.len() == MAX_FILES {
            problems.push(ConfigError::new(Problem::ExtendsDepth { maximum: MAX_FILES }, extended_at));
            return None;
        }
        chain.push((identity, shown));
        let mut table = read(&path, extended_at, problems)?;
        next = take_extends(&mut table, problems).map(|(extends, origin)| {
            let base = path.parent().map_or_else(|| PathBuf::from(&extends), |folder| folder.join(&extends));
            (base, Some(origin.place()))
        });
        layers.push(table);
    }
    if !problems.is_empty() {
        return None;
    }
    let mut merged = Table::new();
    layers.into_iter().rev().for_each(|layer| node::merge(&mut merged, layer));
    Some(merged)
}

/// `extends` of one file; it means nothing to the file above.
fn take_extends(table: &mut Table, problems: &Problems) -> Option<(String, Origin)> {
    let entry = table.remove("extends")?;
    match entry.node.value {
        Value::String(path) => Some((path, entry.node.origin)),
        other => {
            let found = other.type_name();
            let problem = Problem::WrongType { path: "extends".into(), found, expected: "a string".into() };
            problems.at(problem, &entry.node.origin);
            None
        }
    }
}

fn read(path: &Path, extended_at: Option<Place>, problems: &Problems) -> Option<Table> {
    let text = match read_text(path) {
        Ok(text) => text,
        Err(source) => {
            problems.push(ConfigError::new(Problem::Unreadable { path: path.to_path_buf(), source }, extended_at));
            return None;
        }
    };
    parse(SourceText::new(path.to_path_buf(), text), extended_at.is_some(), problems)
}

/// Reads a file's text; none when it is not TOML. `is_extended`: another file named it.
pub(crate) fn parse(mut text: SourceText, is_extended: bool, problems: &Problems) -> Option<Table> {
    let content = text.text().to_owned();
    let (root, mut errors) = DeTable::parse_recoverable(&content);
    // The operator named the first file; who wrote it chose the others, and could point at any file that the host may read.
    if is_extended && !is_warehouse_file(root.get_ref()) {
        text.hide();
        errors.truncate(1);
    }
    if errors.is_empty() {
        return Some(node::from_toml(root.get_ref(), text));
    }
    for error in errors {
        let place = error.span().map(|span| Place::File(text.location_of_syntax_error(&span)));
        problems.push(ConfigError::new(Problem::Syntax { message: error.message().to_owned() }, place));
    }
    None
}

/// The tables and keys at the top of a warehouse file.
const TOP: [&str; 9] =
    ["connections", "extends", "ingest", "keys", "limits", "lineage", "servers", "sinks", "warehouse"];

/// Whether what could be parsed of a file is of a warehouse file, and nothing else is.
fn is_warehouse_file(root: &DeTable<'_>) -> bool {
    !root.is_empty() && root.keys().all(|key| TOP.contains(&key.get_ref().as_ref()))
}

fn read_text(path: &Path) -> std::io::Result<String> {
    use std::io::{Error, ErrorKind, Read};
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(Error::new(ErrorKind::FileTooLarge, "the file is larger than 4 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| Error::new(ErrorKind::InvalidData, "the file is not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_warehouse_file_are_those_of_its_schema() {
        let schema = crate::testing::kinds().json_schema();
        let keys: Vec<&str> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let mut sorted = keys.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, TOP);
    }
}
