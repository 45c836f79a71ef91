//! Names of columns that a table can have.

use datakit_sdk::files::{FileFormat, FormatKind};
use datakit_sdk::{Error, TableId};

use crate::errors;

/// The host takes no longer name of a column, in bytes.
const MAX_BYTES: usize = 1024;
/// What is shown of a long name, in characters.
const SHOWN_CHARACTERS: usize = 40;
/// What parts fields in the files that people have.
const DELIMITERS: [char; 5] = [',', ';', '\t', '|', ':'];

/// Whether a column of this name can be loaded.
#[must_use]
pub fn is_usable(name: &str) -> bool {
    problem(name).is_none()
}

fn problem(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("is empty".to_owned());
    }
    if name.contains('\0') {
        return Some("holds U+0000".to_owned());
    }
    (name.len() > MAX_BYTES).then(|| format!("has {} bytes, and {MAX_BYTES} are the most", name.len()))
}

/// Refuses a name that no table can have.
///
/// # Errors
/// What is wrong with the name, the file that it is in, and the setting that helps.
pub fn check(table: &TableId, path: &str, name: &str, format: &FileFormat) -> Result<(), Error> {
    let Some(problem) = problem(name) else { return Ok(()) };
    let mut shown: String = name.chars().take(SHOWN_CHARACTERS).flat_map(char::escape_debug).collect();
    if name.chars().nth(SHOWN_CHARACTERS).is_some() {
        shown.push('…');
    }
    let hint = match likely_delimiter(name, format) {
        Some(delimiter) => format!("the name holds `{}`: set `delimiter` to it", delimiter.escape_debug()),
        None => "correct the file, or set `extra_columns` to `ignore`, and the column is left out".to_owned(),
    };
    let message = format!("the name `{shown}` of a column in `{path}` {problem}");
    Err(Error::data(errors::COLUMN_NAME, message)
        .with_hint(hint)
        .with_context("table", table)
        .with_context("file", path))
}

/// What parts the fields of a line that was taken for one name.
fn likely_delimiter(name: &str, format: &FileFormat) -> Option<char> {
    let count = |delimiter: &char| name.matches(*delimiter).count();
    let likely = DELIMITERS.into_iter().filter(|delimiter| *delimiter != format.delimiter).max_by_key(count)?;
    (format.kind == FormatKind::Csv && count(&likely) > 1).then_some(likely)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_name_is_refused_with_the_setting_that_helps() {
        let table = TableId::new("files", "t");
        let told = |name: &str| check(&table, "t/a.csv", name, &FileFormat::default()).map_err(|error| error.message);
        assert_eq!(told("a"), Ok(()));
        assert_eq!(told(&"é".repeat(512)), Ok(()), "1,024 bytes");
        let empty = told("").unwrap_err();
        assert!(
            empty.starts_with("the name `` of a column in `t/a.csv` is empty") && empty.contains("ignore"),
            "{empty}"
        );
        assert!(told("a\0").unwrap_err().contains("`a\\0`"));
        let long = told(&"column;".repeat(200)).unwrap_err();
        assert!(long.contains("has 1400 bytes") && long.contains("`;`: set `delimiter` to it"), "{long}");
        assert!(long.len() < 250, "{long}");
    }
}
