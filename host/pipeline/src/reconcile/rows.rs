//! From batches of either side to entries: the bytes of the key, and hashes of the values.

use std::io;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, RecordBatch};
use arrow::error::ArrowError;
use arrow::row::Rows;

use super::comparable::Comparable;
use super::facts::{Facts, Told};
use super::held::{Held, Lanes, Row};
use super::sorted::Sorter;

/// The rows of one side.
#[derive(Debug)]
pub(super) enum Side {
    /// By their keys.
    ByKey(Sorter),
    /// All together.
    Whole(Held),
}

impl Side {
    pub(super) fn new(comparable: &Comparable) -> Self {
        match comparable.keys.is_empty() {
            true => Self::Whole(Held::empty(comparable.lanes)),
            false => Self::ByKey(Sorter::default()),
        }
    }
}

/// Entries of one batch, made before the side is locked.
#[derive(Debug)]
pub(super) struct Entries {
    keys: Option<Rows>,
    hashes: Vec<Vec<u64>>,
    facts: Facts,
    rows: usize,
}

impl Entries {
    /// Of a batch of the source.
    pub(super) fn of_source(
        comparable: &Comparable,
        places: &[usize],
        batch: &RecordBatch,
    ) -> Result<Self, ArrowError> {
        let columns: Vec<ArrayRef> = places.iter().map(|place| Arc::clone(batch.column(*place))).collect();
        Self::new(comparable, &comparable.of_source(&columns)?, Facts::default())
    }

    /// Of a batch of the sink, which begins with the compared columns.
    pub(super) fn of_sink(comparable: &Comparable, told: &Told, batch: &RecordBatch) -> Result<Self, ArrowError> {
        let columns = comparable.of_sink(batch.columns().get(..comparable.fields.len()).unwrap_or_default())?;
        Self::new(comparable, &columns, Facts::of(batch, told, comparable)?)
    }

    fn new(comparable: &Comparable, columns: &[ArrayRef], facts: Facts) -> Result<Self, ArrowError> {
        let keys = match comparable.keys.is_empty() {
            true => None,
            false => Some(comparable.key_rows(columns)?),
        };
        let rows = columns.first().map_or(0, |column| column.len());
        Ok(Self { keys, hashes: comparable.hashes(columns)?, facts, rows })
    }

    /// Adds them to a side: all, or those of wanted keys.
    pub(super) fn add_to(&self, side: &mut Side, lanes: Lanes, is_wanted: impl Fn(&[u8]) -> bool) -> io::Result<()> {
        let (mut order, mut payload) = (Vec::new(), Vec::new());
        for row in (0..self.rows).filter(|row| self.facts.counts(*row)) {
            self.payload(row, &mut payload);
            match (&mut *side, &self.keys) {
                (Side::ByKey(sorter), Some(keys)) => {
                    let key = keys.row(row);
                    if is_wanted(key.as_ref()) {
                        self.facts.order(row, &mut order);
                        sorter.add(key.as_ref(), &order, &payload)?;
                    }
                }
                (Side::Whole(held), _) => held.add(&Row::read(&payload, lanes)),
                (Side::ByKey(_), None) => {}
            }
        }
        Ok(())
    }

    fn payload(&self, row: usize, payload: &mut Vec<u8>) {
        payload.clear();
        if self.facts.is_deleted(row) {
            return;
        }
        let lanes = self.hashes.iter().filter_map(|lane| lane.get(row));
        lanes.for_each(|hash| payload.extend_from_slice(&hash.to_le_bytes()));
        payload.extend_from_slice(self.facts.missing(row));
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        Decimal128Array, FixedSizeBinaryArray, Int16Array, Int32Array, Int64Array, StringArray, Time64NanosecondArray,
        TimestampMicrosecondArray,
    };
    use arrow::datatypes::DataType;
    use uuid::Uuid;

    use super::super::compare::compare;
    use super::super::held::{Keys, Reduction};
    use super::*;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
            .unwrap()
    }

    fn text(values: Vec<Option<&str>>) -> ArrayRef {
        Arc::new(StringArray::from(values))
    }

    /// The keys that differ, and the columns in which they do.
    fn differing(
        source: &RecordBatch,
        sink: &RecordBatch,
        told: &Told,
        reduction: Reduction,
    ) -> Vec<(String, Vec<String>)> {
        let schema = source.schema();
        let types: Vec<DataType> = sink.schema().fields().iter().map(|field| field.data_type().clone()).collect();
        let lanes = Lanes { of_row: told.missing.is_none(), of_columns: schema.fields().len() };
        let comparable = Comparable::new(schema.fields(), &[0], &types, lanes).unwrap();
        let places: Vec<usize> = (0..schema.fields().len()).collect();
        let (mut left, mut right) = (Side::new(&comparable), Side::new(&comparable));
        Entries::of_source(&comparable, &places, source).unwrap().add_to(&mut left, lanes, |_| true).unwrap();
        Entries::of_sink(&comparable, told, sink).unwrap().add_to(&mut right, lanes, |_| true).unwrap();
        let keys = |side: Side, reduction| match side {
            Side::ByKey(sorter) => Keys::new(sorter.finish().unwrap(), lanes, reduction).unwrap(),
            Side::Whole(_) => unreachable!("the tables have keys"),
        };
        let found = compare(keys(left, Reduction::Sum), keys(right, reduction), 10, 10).unwrap();
        let values = comparable.key_values(found.differing.iter().map(|it| it.key.as_slice())).unwrap();
        let name = |row: usize| arrow::util::display::array_value_to_string(&values[0], row).unwrap();
        let columns = |lanes: &[usize]| comparable.names(lanes).map(str::to_owned).collect();
        found.differing.iter().enumerate().map(|(row, it)| (name(row), columns(&it.lanes))).collect()
    }

    #[test]
    fn values_are_equal_in_the_types_of_either_sink() {
        let uuid = [0x6f, 0x96, 0x19, 0xff, 0x8b, 0x86, 0xd0, 0x11, 0xb4, 0x2d, 0, 0xc0, 0x4f, 0xc9, 0x64, 0xff];
        let uuids = FixedSizeBinaryArray::try_from_sparse_iter_with_size([Some(uuid), None].into_iter(), 16).unwrap();
        let decimal = |values: Vec<Option<i128>>, precision, scale| -> ArrayRef {
            Arc::new(Decimal128Array::from(values).with_precision_and_scale(precision, scale).unwrap())
        };
        let source = batch(vec![
            ("id", Arc::new(Int16Array::from(vec![1, 2]))),
            ("uuid", Arc::new(uuids)),
            ("at", Arc::new(Time64NanosecondArray::from(vec![Some(86_399_999_999_900), None]))),
            ("amount", decimal(vec![Some(1250), None], 9, 2)),
            ("when", Arc::new(TimestampMicrosecondArray::from(vec![1, 2]).with_timezone("UTC"))),
        ]);
        let sink = batch(vec![
            ("id", Arc::new(Int64Array::from(vec![2, 1]))),
            ("uuid", text(vec![None, Some("6f9619ff-8b86-d011-b42d-00c04fc964ff")])),
            ("at", text(vec![None, Some("23:59:59.9999999")])),
            ("amount", decimal(vec![None, Some(125_000)], 12, 4)),
            ("when", Arc::new(TimestampMicrosecondArray::from(vec![2, 1]))),
        ]);
        assert_eq!(differing(&source, &sink, &Told::default(), Reduction::Sum), []);
        let other = batch(vec![
            ("id", sink.column(0).clone()),
            ("uuid", text(vec![None, Some("6f9619ff-8b86-d011-b42d-00c04fc964fe")])),
            ("at", sink.column(2).clone()),
            ("amount", decimal(vec![Some(0), Some(125_000)], 12, 4)),
            ("when", sink.column(4).clone()),
        ]);
        let expected = [("1".to_owned(), vec!["uuid".to_owned()]), ("2".to_owned(), vec!["amount".to_owned()])];
        assert_eq!(differing(&source, &other, &Told::default(), Reduction::Sum), expected);
    }

    #[test]
    fn changes_are_put_together_by_load_and_version() {
        let source = batch(vec![
            ("id", Arc::new(Int32Array::from(vec![1, 2, 4]))),
            ("note", text(vec![Some("last"), Some("back"), Some("x")])),
            ("long", text(vec![Some("kept"), Some("new"), Some("never sent")])),
        ]);
        let sink = |note: &'static str| {
            batch(vec![
                ("id", Arc::new(Int32Array::from(vec![1, 1, 1, 2, 2, 2, 3, 3, 4]))),
                (
                    "note",
                    text(vec![
                        Some(note),
                        Some("first"),
                        Some("b"),
                        None,
                        Some("a"),
                        Some("back"),
                        Some("c"),
                        None,
                        Some("x"),
                    ]),
                ),
                ("long", text(vec![None, Some("kept"), None, None, Some("a"), Some("new"), Some("c"), None, None])),
                (
                    "operation",
                    text(
                        ["update", "read", "update", "delete", "read", "insert", "read", "delete", "insert"]
                            .map(Some)
                            .to_vec(),
                    ),
                ),
                (
                    "missing",
                    text(vec![
                        Some("[\"long\"]"),
                        None,
                        Some("[\"long\"]"),
                        Some("[\"note\",\"long\"]"),
                        None,
                        None,
                        None,
                        None,
                        Some("[\"long\"]"),
                    ]),
                ),
                ("time", Arc::new(TimestampMicrosecondArray::from(vec![20, -10, 20, 20, -10, 30, -10, 20, 20]))),
                ("version", text(["b", "z", "a", "a", "z", "a", "z", "a", "a"].map(Some).to_vec())),
            ])
        };
        let told = Told { operation: Some(3), missing: Some(4), load_time: Some(5), version: Some(6), load: None };
        assert_eq!(differing(&source, &sink("last"), &told, Reduction::Latest), []);
        let expected = [("1".to_owned(), vec!["note".to_owned()])];
        assert_eq!(differing(&source, &sink("other"), &told, Reduction::Latest), expected);
    }

    #[test]
    fn rows_of_one_load_alone_count() {
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let source = batch(vec![("id", Arc::new(Int32Array::from(vec![1])))]);
        let ids =
            text(vec![Some("00000000-0000-0000-0000-000000000001"), Some("00000000-0000-0000-0000-000000000002")]);
        let sink = batch(vec![("id", Arc::new(Int32Array::from(vec![1, 1]))), ("load", ids)]);
        for id in [one, two] {
            let told = Told { load: Some((1, id)), ..Told::default() };
            assert_eq!(differing(&source, &sink, &told, Reduction::Sum), []);
        }
        assert_eq!(
            differing(&source, &sink, &Told::default(), Reduction::Sum).len(),
            1,
            "two loads hold each row twice"
        );
    }
}
