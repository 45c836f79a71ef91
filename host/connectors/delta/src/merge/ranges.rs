//! Which files may hold a key of a load.

use arrow::array::{Array as _, ArrayRef};
use arrow::compute::filter;
use arrow::datatypes::{DataType, FieldRef};
use arrow::error::ArrowError;
use datakit_connect::sink::merge::KeyEncoder;

use super::bounds::{self, Bound, FileStatistics};
use super::table_file::TableFile;

/// So many values of a column are held one by one; of more, only their bounds.
const MAX_VALUES: usize = 100_000;

/// A value in comparable form.
type Value = Box<[u8]>;

/// The values that a load's keys have, a column at a time.
#[derive(Debug)]
pub(crate) struct KeyRanges(Vec<ColumnRanges>);

#[derive(Debug)]
struct ColumnRanges {
    name: String,
    data_type: DataType,
    encoder: KeyEncoder,
    has_null: bool,
    /// Ranges of values in ascending order, none of which meet.
    ranges: Vec<(Value, Value)>,
}

impl KeyRanges {
    /// Of no key, of these columns.
    pub(crate) fn new(columns: &[FieldRef]) -> Result<Self, ArrowError> {
        let column = |field: &FieldRef| {
            let data_type = field.data_type().clone();
            let encoder = KeyEncoder::new([bounds::comparable_type(&data_type)])?;
            Ok(ColumnRanges { name: field.name().clone(), data_type, encoder, has_null: false, ranges: Vec::new() })
        };
        Ok(Self(columns.iter().map(column).collect::<Result<_, ArrowError>>()?))
    }

    /// Adds the values of keys.
    pub(crate) fn add(&mut self, keys: &[ArrayRef]) -> Result<(), ArrowError> {
        self.0.iter_mut().zip(keys).try_for_each(|(column, values)| column.add(values))
    }

    /// False: no row of the file has a key of the load.
    pub(crate) fn may_be_in(&self, file: &TableFile) -> bool {
        let statistics = FileStatistics::parse(file.statistics().as_deref());
        self.0.iter().all(|column| match file.partition_value(&column.name) {
            Some(text) => column.may_be(text.as_deref()),
            None => column.may_be_within(&statistics),
        })
    }
}

impl ColumnRanges {
    fn add(&mut self, values: &ArrayRef) -> Result<(), ArrowError> {
        self.has_null |= values.null_count() > 0;
        if !bounds::is_bounded(&self.data_type) {
            return Ok(());
        }
        let values = match values.nulls() {
            Some(valid) => &filter(values, &valid.inner().clone().into())?,
            None => values,
        };
        let Some(values) = bounds::comparable(values) else { return Ok(()) };
        let rows = self.encoder.rows(&[values])?;
        self.ranges.extend(rows.iter().map(|row| (Value::from(row.as_ref()), Value::from(row.as_ref()))));
        self.ranges.sort_unstable();
        self.ranges.dedup_by(|next, range| {
            let meets = next.0 <= range.1;
            if meets && next.1 > range.1 {
                range.1 = next.1.clone();
            }
            meets
        });
        if self.ranges.len() > MAX_VALUES {
            let low = self.ranges.first().map(|(low, _)| low.clone());
            let high = self.ranges.drain(..).map(|(_, high)| high).max();
            self.ranges = low.zip(high).into_iter().collect();
        }
        Ok(())
    }

    /// Whether a key has this value of a partition column.
    fn may_be(&self, text: Option<&str>) -> bool {
        let Some(value) = bounds::partition_value(text, &self.data_type) else { return true };
        if value.null_count() > 0 {
            return self.has_null;
        }
        let value = bounds::comparable(&value).and_then(|value| self.value(&value));
        value.is_none_or(|value| self.meets(Some(&value), Some(&value)))
    }

    fn may_be_within(&self, statistics: &FileStatistics) -> bool {
        let nulls = statistics.nulls(&self.name);
        if self.has_null && nulls != Some(0) {
            return true;
        }
        if !bounds::is_bounded(&self.data_type) {
            return true;
        }
        if nulls.is_some() && nulls == statistics.rows() {
            return false;
        }
        let bound = |bound| self.value(&statistics.bound(&self.name, &self.data_type, bound)?);
        self.meets(bound(Bound::Low).as_ref(), bound(Bound::High).as_ref())
    }

    fn value(&self, value: &ArrayRef) -> Option<Value> {
        let rows = self.encoder.rows(std::slice::from_ref(value)).ok()?;
        rows.iter().next().map(|row| row.as_ref().into())
    }

    /// Whether a range meets these bounds; none: there is no bound.
    fn meets(&self, low: Option<&Value>, high: Option<&Value>) -> bool {
        let first = low.map_or(0, |low| self.ranges.partition_point(|(_, range_high)| range_high < low));
        self.ranges.get(first).is_some_and(|(range_low, _)| high.is_none_or(|high| range_low <= high))
    }
}
