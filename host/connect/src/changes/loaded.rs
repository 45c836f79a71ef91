//! Which rows of a window are loaded: their hashes, or of very many their number and the sum of the hashes.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// So many rows are remembered by a hash each: 427 KB of a position.
pub(super) const MAX_REMEMBERED_ROWS: usize = 20_000;

/// Bytes of a hash.
const HASH_BYTES: usize = size_of::<u128>();

/// The loaded rows of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Loaded {
    /// Their hashes, sorted. Rows that are alike are there once each.
    Rows(Vec<u128>),
    /// More than [`MAX_REMEMBERED_ROWS`]: whether all of them are still there, and no other, can be said; of one row it cannot.
    Sum(Sum),
}

/// Rows as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sum {
    /// How many.
    pub(super) rows: u64,
    /// Of their hashes, modulo 2^128.
    pub(super) hashes: u128,
}

impl Sum {
    pub(super) fn add(&mut self, hash: u128) {
        self.rows += 1;
        self.hashes = self.hashes.wrapping_add(hash);
    }
}

impl Loaded {
    /// Of a window that has no row.
    pub(super) const NOTHING: Self = Self::Rows(Vec::new());

    /// The parts of its text: hashes, or number and sum.
    pub(super) fn print(&self) -> String {
        match self {
            Self::Rows(hashes) => {
                let bytes: Vec<u8> = hashes.iter().flat_map(|hash| hash.to_be_bytes()).collect();
                URL_SAFE_NO_PAD.encode(bytes)
            }
            Self::Sum(Sum { rows, hashes }) => format!("{rows}/{}", URL_SAFE_NO_PAD.encode(hashes.to_be_bytes())),
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (rows, hashes) = match text.split_once('/') {
            Some((rows, hashes)) => (Some(rows.parse().ok()?), hashes),
            None => (None, text),
        };
        if hashes.len() > (MAX_REMEMBERED_ROWS * HASH_BYTES).div_ceil(3) * 4 {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(hashes).ok()?;
        let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
        let mut hashes = hashes.iter().map(|hash| u128::from_be_bytes(*hash));
        match rows {
            _ if !rest.is_empty() => None,
            None => Some(Self::Rows(hashes.collect())),
            Some(rows) => {
                let sum = hashes.next()?;
                hashes.next().is_none().then_some(Self::Sum(Sum { rows, hashes: sum }))
            }
        }
    }

    /// How often each hash is there.
    pub(super) fn counted(hashes: Vec<u128>) -> HashMap<u128, u32> {
        let mut counted = HashMap::with_capacity(hashes.len());
        for hash in hashes {
            *counted.entry(hash).or_insert(0) += 1;
        }
        counted
    }
}

/// Notes the rows that a load reads of a window.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    hashes: Vec<u128>,
    sum: Sum,
}

impl Recorder {
    pub(super) fn add(&mut self, hash: u128) {
        self.sum.add(hash);
        if self.hashes.len() < MAX_REMEMBERED_ROWS {
            self.hashes.push(hash);
        }
    }

    pub(super) fn loaded(mut self) -> Loaded {
        if self.sum.rows > MAX_REMEMBERED_ROWS as u64 {
            return Loaded::Sum(self.sum);
        }
        self.hashes.sort_unstable();
        Loaded::Rows(self.hashes)
    }
}

/// Hashes rows of one schema by the values of some of its columns.
///
/// The bytes of a row are those of Arrow's row format, of which nothing is cut: two rows have one hash only if all values are the
/// same. A version of Arrow that writes other bytes reads the rows of a window once more: its hashes are pinned by a test.
pub(crate) struct Hasher {
    columns: Vec<usize>,
    converter: RowConverter,
}

impl Hasher {
    /// Of all columns but these.
    pub(crate) fn new(schema: &Schema, but: &[&str]) -> Result<Self, ArrowError> {
        let hashed = schema.fields().iter().enumerate().filter(|(_, field)| !but.contains(&field.name().as_str()));
        let (columns, fields) = hashed.map(|(at, field)| (at, SortField::new(field.data_type().clone()))).unzip();
        Ok(Self { columns, converter: RowConverter::new(fields)? })
    }

    /// The first 128 bits of SHA-256 of each row.
    pub(crate) fn hashes(&self, rows: &RecordBatch) -> Result<Vec<u128>, ArrowError> {
        let columns: Vec<_> = self.columns.iter().map(|at| rows.column(*at).clone()).collect();
        let rows = self.converter.convert_columns(&columns)?;
        Ok(rows.iter().map(|row| hash(row.data())).collect())
    }
}

/// The hash of a row that was rejected for a value of a column, from that of its other values.
pub(crate) fn with_bad_value(row: u128, column: &str, text: &str) -> u128 {
    let (row, length) = (row.to_be_bytes(), (column.len() as u64).to_be_bytes());
    hash(&[row.as_slice(), length.as_slice(), column.as_bytes(), text.as_bytes()].concat())
}

fn hash(bytes: &[u8]) -> u128 {
    let hash: [u8; 32] = Sha256::digest(bytes).into();
    hash.iter().take(HASH_BYTES).fold(0, |hash, byte| hash << 8 | u128::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, StringArray,
        TimestampMicrosecondArray,
    };
    use proptest::prelude::*;

    use super::*;

    fn batch(columns: Vec<ArrayRef>) -> RecordBatch {
        RecordBatch::try_from_iter(columns.into_iter().enumerate().map(|(at, column)| (format!("c{at}"), column)))
            .unwrap()
    }

    fn hashes(columns: Vec<ArrayRef>) -> Vec<u128> {
        let batch = batch(columns);
        Hasher::new(&batch.schema(), &[]).unwrap().hashes(&batch).unwrap()
    }

    #[test]
    fn hashes_are_the_same_in_all_versions() {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![Some(7), None])),
            Arc::new(StringArray::from(vec![Some("a longer text than one block of the format"), Some("")])),
            Arc::new(BinaryArray::from(vec![Some(b"\0\x01".as_slice()), None])),
            Arc::new(BooleanArray::from(vec![Some(true), None])),
            Arc::new(Float64Array::from(vec![Some(-0.5), None])),
            Arc::new(Date32Array::from(vec![Some(20_000), None])),
            Arc::new(Decimal128Array::from(vec![Some(-1), None])),
            Arc::new(TimestampMicrosecondArray::from(vec![Some(1), None]).with_timezone("UTC")),
        ];
        let hashes: Vec<String> = hashes(columns).iter().map(|hash| format!("{hash:032x}")).collect();
        insta::assert_snapshot!(hashes.join("\n"), @r"
        e18b87c3bd150c54f7cb6d7b1169d211
        4563824f33a14acdb31ce0a408039d05
        ");
    }

    #[test]
    fn rows_that_differ_in_one_value_have_two_hashes() {
        let texts = |a: Option<&str>, b: Option<&str>| {
            hashes(vec![Arc::new(StringArray::from(vec![a])), Arc::new(StringArray::from(vec![b]))])
        };
        let rows = [
            texts(Some("a"), Some("b")),
            texts(Some("ab"), Some("")),
            texts(Some("ab"), None),
            texts(None, Some("ab")),
            texts(Some(""), Some("ab")),
        ];
        let distinct: std::collections::HashSet<_> = rows.iter().collect();
        assert_eq!(distinct.len(), rows.len());
        assert_eq!(texts(Some("a"), Some("b")), rows[0]);
    }

    #[test]
    fn columns_that_are_left_out_do_not_count() {
        let of = |flag: bool| {
            let columns: Vec<ArrayRef> =
                vec![Arc::new(Int64Array::from(vec![7])), Arc::new(BooleanArray::from(vec![flag]))];
            let batch = batch(columns);
            Hasher::new(&batch.schema(), &["c1"]).unwrap().hashes(&batch).unwrap()
        };
        assert_eq!(of(true), of(false));
    }

    #[test]
    fn more_rows_than_are_remembered_are_a_sum() {
        let mut recorder = Recorder::default();
        (0..MAX_REMEMBERED_ROWS as u128).for_each(|hash| recorder.add(hash));
        let Loaded::Rows(hashes) = recorder.loaded() else { panic!("they are remembered") };
        let full = Loaded::Rows(hashes.clone()).print();
        assert_eq!((full.len(), Loaded::parse(&full)), (426_667, Some(Loaded::Rows(hashes))));
        let mut recorder = Recorder::default();
        (0..=MAX_REMEMBERED_ROWS as u128).for_each(|_| recorder.add(u128::MAX));
        let sum = Sum { rows: 20_001, hashes: 0_u128.wrapping_sub(20_001) };
        assert_eq!(recorder.loaded(), Loaded::Sum(sum));
    }

    proptest! {
        #[test]
        fn what_is_loaded_comes_back(hashes in proptest::collection::vec(any::<u128>(), 0..20), rows in any::<u64>(), sum in any::<u128>()) {
            for loaded in [Loaded::Rows(hashes.clone()), Loaded::Sum(Sum { rows, hashes: sum })] {
                prop_assert_eq!(Loaded::parse(&loaded.print()), Some(loaded));
            }
        }

        #[test]
        fn no_text_is_a_panic(text in "[0-9A-Za-z_/-]{0,60}") {
            let _ = Loaded::parse(&text);
        }
    }
}
