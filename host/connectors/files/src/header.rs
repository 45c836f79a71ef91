//! Which field of a file is which column of the table: by name where files have names.

use std::collections::HashMap;

use super::error::FilesError;
use super::request::{Extra, Missing};

/// For each column of the request, the field of the file; none: the file does not have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldMap {
    places: Vec<Option<usize>>,
    /// Fields that every record must have.
    fields: usize,
}

impl FieldMap {
    /// By the names of a header.
    pub(super) fn by_name<'a>(
        path: &str,
        header: impl Iterator<Item = &'a str>,
        columns: impl Iterator<Item = &'a str>,
        missing: Missing,
        extra: Extra,
    ) -> Result<Self, FilesError> {
        let unusable = |reason: String| FilesError::Header { path: path.to_owned(), reason };
        let mut by_name = HashMap::new();
        let mut names = Vec::new();
        for (place, name) in header.map(str::trim).enumerate() {
            names.push(name);
            // A column without a name is nobody's: left out or refused as one the table does not have.
            if by_name.insert(name, place).is_some() && !name.is_empty() {
                return Err(unusable(format!("it names the column `{name}` twice")));
            }
        }
        let mut lacking = Vec::new();
        let places: Vec<Option<usize>> = columns
            .map(|column| {
                let place = by_name.remove(column);
                if place.is_none() {
                    lacking.push(column);
                }
                place
            })
            .collect();
        let left: Vec<&str> = names.iter().copied().filter(|name| by_name.contains_key(name)).collect();
        if !left.is_empty() && extra == Extra::Error {
            return Err(FilesError::ExtraColumns { path: path.to_owned(), columns: quoted(&left) });
        }
        if !lacking.is_empty() && missing == Missing::Error {
            return Err(FilesError::MissingColumns { path: path.to_owned(), columns: quoted(&lacking) });
        }
        Ok(Self { places, fields: names.len() })
    }

    /// By their order, in files without a header.
    pub(super) fn by_place(columns: usize) -> Self {
        Self { places: (0..columns).map(Some).collect(), fields: columns }
    }

    pub(super) fn place(&self, column: usize) -> Option<usize> {
        self.places.get(column).copied().flatten()
    }

    pub(super) fn fields(&self) -> usize {
        self.fields
    }
}

/// Names for an error: a bounded number of them.
fn quoted(names: &[&str]) -> String {
    const SHOWN: usize = 10;
    let mut shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    if names.len() > SHOWN {
        shown.push(format!("{} more", names.len() - SHOWN));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(header: &[&str], columns: &[&str], missing: Missing, extra: Extra) -> Result<Vec<Option<usize>>, String> {
        FieldMap::by_name("f.csv", header.iter().copied(), columns.iter().copied(), missing, extra)
            .map(|map| map.places)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn columns_are_found_by_name() {
        let strict = |header: &[&str]| map(header, &["a", "b"], Missing::Error, Extra::Error);
        assert_eq!(strict(&["b", " a "]), Ok(vec![Some(1), Some(0)]));
        assert_eq!(strict(&["a"]), Err("`f.csv` has no column `b`".into()));
        assert_eq!(
            strict(&["a", "b", "c", ""]),
            Err("`f.csv` has a column `c`, `` which the table does not have".into())
        );
        assert_eq!(
            strict(&["a", "a", "b"]),
            Err("the header of `f.csv` cannot be used: it names the column `a` twice".into())
        );
        let lenient = map(&["c", "b", "", ""], &["a", "b"], Missing::Null, Extra::Ignore);
        assert_eq!(lenient, Ok(vec![None, Some(1)]));
    }
}
