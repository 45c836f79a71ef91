//! Rows encoded once, and how they become any range of rows.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::table::{FastTable, Generator, TEMPLATE_ROWS, unique_identifier, unique_number};
use crate::tds::Encoding;
use crate::tds::cell::{frame_prefix_bytes, wire_order};
use crate::tds::row::RowEncoder;
use crate::values::{SqlError, SqlType, Value};

/// The ROW tokens of the first [`TEMPLATE_ROWS`] rows of some columns. Other rows differ only in the cells of unique
/// columns, whose place in each row is known.
#[derive(Debug)]
pub struct Template {
    bytes: Vec<u8>,
    /// Where each row begins, and where the last ends.
    starts: Vec<u32>,
    patches: Vec<Patch>,
    /// Place of each patch within its row, row after row.
    places: Vec<u32>,
}

/// A cell that is different in every row.
#[derive(Debug, Clone, Copy)]
struct Patch {
    column: usize,
    kind: PatchKind,
}

#[derive(Debug, Clone, Copy)]
enum PatchKind {
    Key(SqlType),
    Number(SqlType),
    Identifier,
}

impl Patch {
    fn write(self, row: u64, to: &mut [u8]) {
        match self.kind {
            PatchKind::Key(sql_type) => integer(sql_type, row.wrapping_add(1) as i64, to),
            PatchKind::Number(sql_type) => {
                if let Value::Int(n) = unique_number(sql_type, row, self.column) {
                    integer(sql_type, n, to);
                }
            }
            PatchKind::Identifier => {
                if let Some(place) = to.get_mut(..16) {
                    place.copy_from_slice(&wire_order(unique_identifier(row, self.column)));
                }
            }
        }
    }
}

fn integer(sql_type: SqlType, n: i64, to: &mut [u8]) {
    let length = if sql_type == SqlType::Int { 4 } else { 8 };
    if let Some(place) = to.get_mut(..length) {
        place.copy_from_slice(&n.to_le_bytes()[..length]);
    }
}

impl Template {
    /// Encodes the template of some columns of a table.
    ///
    /// # Errors
    ///
    /// A column that does not exist, a key outside its type, or a unique column of a type that has no unique values.
    pub fn new(table: &FastTable, columns: &[usize], encoding: Encoding) -> Result<Self, SqlError> {
        let mut described = Vec::new();
        let mut patches = Vec::new();
        for column in columns {
            let (Some(description), Some(generator)) = (table.columns.get(*column), table.generators.get(*column))
            else {
                return Err(SqlError::new(207, format!("Table '{}' has no column number {column}.", table.name)));
            };
            if let Some(kind) = patch_kind(*generator, description.sql_type, table.rows)? {
                patches.push((described.len(), frame_prefix_bytes(description), Patch { column: *column, kind }));
            }
            described.push(description.clone());
        }
        let encoder = RowEncoder::new(&described, encoding);
        let mut template = Self {
            bytes: Vec::new(),
            starts: vec![0],
            patches: patches.iter().map(|(_, _, patch)| *patch).collect(),
            places: Vec::new(),
        };
        let mut begins = vec![0; described.len()];
        for row in 0..TEMPLATE_ROWS {
            let values: Vec<Value> = columns.iter().map(|column| table.value(row, *column)).collect();
            let start = template.bytes.len();
            encoder.write_telling(&mut template.bytes, &values, |index, place| begins[index] = place - start)?;
            let places = patches.iter().map(|(index, prefix, _)| (begins[*index] + prefix) as u32);
            template.places.extend(places);
            template.starts.push(template.bytes.len() as u32);
        }
        Ok(template)
    }

    /// Appends the tokens of as many of `rows` as lie in one run of the template, at most `most`; answers how many.
    pub fn append(&self, rows: Range<u64>, most: u64, to: &mut Vec<u8>) -> u64 {
        let slot = rows.start % TEMPLATE_ROWS;
        let count = (rows.end.saturating_sub(rows.start)).min(TEMPLATE_ROWS - slot).min(most);
        let slots = slot as usize..(slot + count) as usize;
        let (Some(starts), Some(places)) = (
            self.starts.get(slots.start..=slots.end),
            self.places.get(slots.start * self.patches.len()..slots.end * self.patches.len()),
        ) else {
            return 0;
        };
        let (Some(first), Some(last)) = (starts.first().copied(), starts.last().copied()) else {
            return 0;
        };
        let base = to.len();
        to.extend_from_slice(self.bytes.get(first as usize..last as usize).unwrap_or_default());
        if self.patches.is_empty() {
            return count;
        }
        for ((row, start), places) in (rows.start..).zip(starts).zip(places.chunks_exact(self.patches.len())) {
            for (patch, place) in self.patches.iter().zip(places) {
                let offset = base + (start - first + place) as usize;
                if let Some(cell) = to.get_mut(offset..) {
                    patch.write(row, cell);
                }
            }
        }
        count
    }
}

fn patch_kind(generator: Generator, sql_type: SqlType, rows: u64) -> Result<Option<PatchKind>, SqlError> {
    let fits = sql_type == SqlType::BigInt || rows <= i32::MAX as u64;
    match (generator, sql_type) {
        (Generator::Repeating { .. } | Generator::Prose { .. }, _) => Ok(None),
        (Generator::Key, SqlType::Int | SqlType::BigInt) if fits => Ok(Some(PatchKind::Key(sql_type))),
        (Generator::UniqueNumber, SqlType::Int | SqlType::BigInt) => Ok(Some(PatchKind::Number(sql_type))),
        (Generator::UniqueIdentifier, SqlType::UniqueIdentifier) => Ok(Some(PatchKind::Identifier)),
        _ => Err(SqlError::new(8115, format!("No {generator:?} of {rows} rows as {sql_type:?}."))),
    }
}

/// Templates by table and columns, each encoded when it is first asked for.
#[derive(Debug, Default)]
pub struct TemplateCache {
    templates: Mutex<HashMap<Key, Entry>>,
}

type Key = (usize, Vec<usize>);

/// Holds the table as well, so that its address stays its own.
type Entry = (Arc<FastTable>, Arc<Template>);

impl TemplateCache {
    /// The template, encoded now if need be.
    ///
    /// # Errors
    ///
    /// As [`Template::new`].
    pub fn get(
        &self,
        table: &Arc<FastTable>,
        columns: &[usize],
        encoding: Encoding,
    ) -> Result<Arc<Template>, SqlError> {
        let key = (Arc::as_ptr(table) as usize, columns.to_vec());
        let mut templates = self.templates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, template)) = templates.get(&key) {
            return Ok(Arc::clone(template));
        }
        let template = Arc::new(Template::new(table, columns, encoding)?);
        templates.insert(key, (Arc::clone(table), Arc::clone(&template)));
        Ok(template)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_range_of_the_template_equals_rows_encoded_one_by_one() {
        for table in [
            FastTable::orders("o", 20_000),
            FastTable::wide("w", 20_000),
            FastTable::narrow("n", 20_000),
            FastTable::long_text("t", 20_000),
        ] {
            let columns: Vec<usize> = (0..table.columns.len()).rev().collect();
            let described: Vec<_> = columns.iter().map(|column| table.columns[*column].clone()).collect();
            let encoder = RowEncoder::new(&described, Encoding::default());
            let template = Template::new(&table, &columns, Encoding::default()).unwrap();
            for rows in [0..1, 4_090..4_100, 12_287..16_385, 5..5] {
                let mut expected = Vec::new();
                for row in rows.clone() {
                    let values: Vec<Value> = columns.iter().map(|column| table.value(row, *column)).collect();
                    encoder.write(&mut expected, &values).unwrap();
                }
                let mut got = Vec::new();
                let mut next = rows.start;
                while next < rows.end {
                    next += template.append(next..rows.end, 1000, &mut got);
                }
                assert!(got == expected, "{} {rows:?}", table.name);
            }
        }
    }

    #[test]
    fn key_ranges_are_half_open_and_clamped() {
        let table = FastTable::narrow("n", 100);
        assert_eq!(table.rows_of_keys(None, None), 0..100);
        assert_eq!(table.rows_of_keys(Some(1), Some(51)), 0..50);
        assert_eq!(table.rows_of_keys(Some(51), None), 50..100);
        assert_eq!(table.rows_of_keys(Some(-5), Some(i64::MIN)), 0..0);
        assert_eq!(table.rows_of_keys(Some(101), Some(1_000)), 100..100);
    }
}
