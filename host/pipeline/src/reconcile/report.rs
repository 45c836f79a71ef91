//! What is found of a table, as it leaves the process.

use std::fmt::Write as _;

use arrow::array::{Array, ArrayRef, AsArray as _};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::util::display::array_value_to_string;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::comparable::Comparable;
use super::compare::{Difference, Differences, Found};
use super::scope::Scope;

/// Of each table so many keys are named.
const MAX_NAMED_KEYS: usize = 20;

/// What was found of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reconciled {
    /// `schema.name`. Whoever serializes this names it.
    #[serde(skip)]
    pub table: String,
    /// Where it is.
    pub target: String,
    /// No difference was found.
    #[serde(skip)]
    pub is_equal: bool,
    /// Which rows of the sink were compared.
    pub scope: Scope,
    /// The columns that identify a row; empty: rows were compared as a whole.
    pub key: Vec<String>,
    /// How many columns were compared.
    pub columns: usize,
    /// Columns of the source that the sink does not have: they were not compared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_in_sink: Vec<String>,
    /// Rows of the source.
    pub source_rows: u64,
    /// Rows of the sink, of those that were compared.
    pub sink_rows: u64,
    /// The keys that differ.
    #[serde(flatten)]
    pub keys: Differences,
    /// Keys whose row changed in the source while it was compared: they were not judged.
    pub changing: u64,
    /// Keys whose changes the next load would read: they were not judged.
    pub pending: u64,
    /// Keys of which the sink does not know all values, since no change has carried them: the others were compared.
    pub incomplete: u64,
    /// How often source and sink were read.
    pub looks: u32,
    /// The ranges of keys that differ, in the order of the key.
    pub ranges: Vec<DifferingRange>,
    /// Ranges that differ besides.
    pub more_ranges: u64,
    /// The first keys that differ.
    pub examples: Vec<NamedKey>,
    /// The run that has loaded the table last; none: no run of a datakit.
    pub last_run_id: Option<String>,
    /// What else the reader should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A range of keys, both ends included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DifferingRange {
    /// Its first key: a text for each column; null is null.
    pub from: Vec<Option<String>>,
    /// Its last key.
    pub to: Vec<Option<String>>,
    /// Rows of the source.
    pub source_rows: u64,
    /// Rows of the sink.
    pub sink_rows: u64,
    /// The keys that differ.
    #[serde(flatten)]
    pub keys: Differences,
}

/// A key that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedKey {
    /// A text for each column; null is null.
    pub key: Vec<Option<String>>,
    /// What is wrong with it.
    pub difference: Difference,
    /// The columns with other values, where they are known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
}

/// How keys are shown.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    pub(super) comparable: &'a Comparable,
    /// By the hash of their text.
    pub(super) is_masked: bool,
}

impl Shown<'_> {
    /// The ranges that differ.
    pub(super) fn ranges(&self, found: &Found) -> Result<Vec<DifferingRange>, ArrowError> {
        let ranges: Vec<_> = found.differing_ranges().collect();
        let ends = ranges.iter().flat_map(|range| [range.from.as_slice(), range.to.as_slice()]);
        let mut ends = self.keys(ends)?.into_iter();
        let mut next = || ends.next().unwrap_or_default();
        let shown = ranges.into_iter().map(|range| DifferingRange {
            from: next(),
            to: next(),
            source_rows: range.source_rows,
            sink_rows: range.sink_rows,
            keys: range.keys,
        });
        Ok(shown.collect())
    }

    /// The first keys that differ.
    pub(super) fn examples(&self, found: &Found) -> Result<Vec<NamedKey>, ArrowError> {
        let named = || found.differing.iter().take(MAX_NAMED_KEYS);
        let keys = self.keys(named().map(|it| it.key.as_slice()))?;
        let shown = named().zip(keys).map(|(it, key)| NamedKey {
            key,
            difference: it.difference,
            columns: self.comparable.names(&it.lanes).map(str::to_owned).collect(),
        });
        Ok(shown.collect())
    }

    fn keys<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) -> Result<Vec<Vec<Option<String>>>, ArrowError> {
        let keys: Vec<&[u8]> = keys.collect();
        let columns = self.comparable.key_values(keys.iter().copied())?;
        (0..keys.len()).map(|row| columns.iter().map(|column| self.text(column, row)).collect()).collect()
    }

    fn text(&self, column: &ArrayRef, row: usize) -> Result<Option<String>, ArrowError> {
        if column.is_null(row) {
            return Ok(None);
        }
        let text = match column.data_type() {
            DataType::FixedSizeBinary(16) => uuid::Uuid::from_slice(column.as_fixed_size_binary().value(row))
                .map_or_else(|error| error.to_string(), |uuid| uuid.hyphenated().to_string()),
            _ => array_value_to_string(column, row)?,
        };
        Ok(Some(if self.is_masked { masked(&text) } else { text }))
    }
}

/// SHA-256 of a text, in hexadecimal digits.
fn masked(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().fold(String::new(), |mut digits, byte| {
        // Writing to a String cannot fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{FixedSizeBinaryArray, Int32Array, StringArray};
    use arrow::datatypes::{Field, FieldRef};

    use super::super::held::Lanes;
    use super::*;

    fn shown(is_masked: bool) -> Vec<Vec<Option<String>>> {
        let types = [DataType::Int32, DataType::Utf8, DataType::FixedSizeBinary(16)];
        let fields: Vec<FieldRef> = types
            .into_iter()
            .enumerate()
            .map(|(at, it)| Arc::new(Field::new(format!("c{at}"), it, true)) as FieldRef)
            .collect();
        let comparable = Comparable::new(&fields, &[0, 1, 2], &[], Lanes::ROW).unwrap();
        let uuids =
            FixedSizeBinaryArray::try_from_sparse_iter_with_size([Some([17; 16]), None].into_iter(), 16).unwrap();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from(vec![-7, 7])),
            Arc::new(StringArray::from(vec![Some("ä"), None])),
            Arc::new(uuids),
        ];
        let rows = comparable.key_rows(&columns).unwrap();
        let keys: Vec<&[u8]> = rows.iter().map(|row| row.data()).collect();
        Shown { comparable: &comparable, is_masked }.keys(keys.into_iter()).unwrap()
    }

    #[test]
    fn keys_are_shown_as_text_and_null_as_null() {
        let text = |text: &str| Some(text.to_owned());
        let uuid = "11111111-1111-1111-1111-111111111111";
        assert_eq!(shown(false), [vec![text("-7"), text("ä"), text(uuid)], vec![text("7"), None, None]]);
    }

    #[test]
    fn masked_keys_are_hashes_of_their_text() {
        let masked = shown(true);
        // echo -n 7 | sha256sum
        let seven = "7902699be42c8a8e46fbbb4501726517e86b22c56a189f7625a6da49081b2451";
        assert_eq!(masked[1], [Some(seven.to_owned()), None, None]);
        assert_ne!(masked[0][1].as_deref(), Some("ä"));
    }
}
