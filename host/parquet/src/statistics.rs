//! The bounds in a file's log entry, from the Parquet metadata: readers skip files by them, so a bound may be wide but never
//! narrow.
//!
//! Delta's statistics are JSON. Strings come truncated from the Parquet writer (64 bytes, the upper bound rounded up);
//! timestamps have milliseconds, the upper bound rounded up; decimals are written digit by digit, since a JSON number
//! through a float would round. A column with a NaN has no bounds: readers disagree about where NaN sorts.

use std::fmt::Write as _;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Schema};
use chrono::{DateTime, Datelike, NaiveDate};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;

/// Columns with statistics: `delta.dataSkippingNumIndexedCols` by default.
const INDEXED_COLUMNS: usize = 32;
/// A longer bound (text that could not be truncated) is left out.
const MAX_TEXT_BYTES: usize = 256;

/// Which columns of a file hold a NaN.
#[derive(Debug)]
pub(crate) struct NanColumns {
    /// Column and whether a NaN was seen, for the indexed float columns.
    columns: Vec<(usize, bool)>,
}

impl NanColumns {
    pub(crate) fn new(schema: &Schema) -> Self {
        let floats = schema.fields().iter().enumerate().take(INDEXED_COLUMNS);
        let floats = floats.filter(|(_, f)| f.data_type().is_floating());
        Self { columns: floats.map(|(index, _)| (index, false)).collect() }
    }

    pub(crate) fn look_at(&mut self, batch: &RecordBatch) {
        for (index, seen) in &mut self.columns {
            let column = batch.column(*index);
            // Null rows hold zeros or leftovers: a NaN among them costs a bound, no more.
            *seen = *seen
                || match column.data_type() {
                    DataType::Float32 => column.as_primitive::<Float32Type>().values().iter().any(|v| v.is_nan()),
                    DataType::Float64 => column.as_primitive::<Float64Type>().values().iter().any(|v| v.is_nan()),
                    _ => false,
                };
        }
    }

    fn contains(&self, index: usize) -> bool {
        self.columns.iter().any(|(column, seen)| *column == index && *seen)
    }
}

/// The statistics of one file.
pub(crate) struct FileStatistics {
    rows: i64,
    columns: Vec<ColumnStatistics>,
}

/// What is known of one column; bounds as JSON.
struct ColumnStatistics {
    name: String,
    nulls: Option<u64>,
    low: Option<String>,
    high: Option<String>,
}

impl FileStatistics {
    pub(crate) fn new(metadata: &ParquetMetaData, schema: &Schema, not_a_number: &NanColumns) -> Self {
        let columns = schema.fields().iter().enumerate().take(INDEXED_COLUMNS).map(|(index, field)| {
            let groups: Option<Vec<&Statistics>> =
                metadata.row_groups().iter().map(|group: &RowGroupMetaData| group.column(index).statistics()).collect();
            let groups = groups.unwrap_or_default();
            let nulls = groups.iter().map(|s| s.null_count_opt()).sum::<Option<u64>>().filter(|_| !groups.is_empty());
            let (low, high) =
                if not_a_number.contains(index) { (None, None) } else { bounds(field.data_type(), &groups) };
            ColumnStatistics { name: field.name().clone(), nulls, low, high }
        });
        Self { rows: metadata.file_metadata().num_rows(), columns: columns.collect() }
    }

    pub(crate) fn to_json(&self) -> String {
        let low = object(self.columns.iter().filter_map(|c| Some((&c.name, c.low.clone()?))));
        let high = object(self.columns.iter().filter_map(|c| Some((&c.name, c.high.clone()?))));
        let nulls = object(self.columns.iter().filter_map(|c| Some((&c.name, c.nulls?.to_string()))));
        format!(r#"{{"numRecords":{},"minValues":{low},"maxValues":{high},"nullCount":{nulls}}}"#, self.rows)
    }
}

fn object<'a>(members: impl Iterator<Item = (&'a String, String)>) -> String {
    let mut text = String::from("{");
    for (name, value) in members {
        if text.len() > 1 {
            text.push(',');
        }
        // Writing to a String cannot fail.
        let _ = write!(text, "{}:{value}", quote(name));
    }
    text.push('}');
    text
}

fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Lower and upper bound over all row groups; a group of nulls only has none of its own.
fn bounds(data_type: &DataType, groups: &[&Statistics]) -> (Option<String>, Option<String>) {
    match data_type {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            let (low, high) = integers(groups);
            (low.map(|v| v.to_string()), high.map(|v| v.to_string()))
        }
        DataType::Decimal128(_, scale) => {
            let (low, high) = integers(groups);
            let scale = usize::try_from(*scale).unwrap_or_default();
            (low.map(|v| decimal(v, scale)), high.map(|v| decimal(v, scale)))
        }
        DataType::Float32 | DataType::Float64 => {
            let (low, high) = floats(groups);
            (low.and_then(float), high.and_then(float))
        }
        DataType::Date32 => {
            let (low, high) = integers(groups);
            (low.and_then(date), high.and_then(date))
        }
        DataType::Timestamp(_, zone) => {
            let (low, high) = integers(groups);
            let suffix = if zone.is_some() { "Z" } else { "" };
            let low = low.and_then(|v| timestamp(v.div_euclid(1000), suffix));
            // Rounded up, so that the bound holds for the microseconds too.
            let high = high.and_then(|v| timestamp((v + 999).div_euclid(1000), suffix));
            (low, high)
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => texts(groups),
        // Delta has no bounds for booleans and binary.
        _ => (None, None),
    }
}

/// Integers, dates, timestamps and decimals of every physical form.
fn integers(groups: &[&Statistics]) -> (Option<i128>, Option<i128>) {
    let of = |s: &Statistics| -> Option<(i128, i128)> {
        Some(match s {
            Statistics::Int32(s) => ((*s.min_opt()?).into(), (*s.max_opt()?).into()),
            Statistics::Int64(s) => ((*s.min_opt()?).into(), (*s.max_opt()?).into()),
            Statistics::FixedLenByteArray(s) => (big_endian(s.min_bytes_opt()?)?, big_endian(s.max_bytes_opt()?)?),
            _ => return None,
        })
    };
    let pairs: Vec<_> = groups.iter().filter_map(|s| of(s)).collect();
    (pairs.iter().map(|p| p.0).min(), pairs.iter().map(|p| p.1).max())
}

/// A two's complement number of at most 16 bytes.
fn big_endian(bytes: &[u8]) -> Option<i128> {
    let negative = bytes.first()? & 0x80 != 0;
    let mut wide = if negative { [0xff; 16] } else { [0; 16] };
    let start = wide.len().checked_sub(bytes.len())?;
    wide[start..].copy_from_slice(bytes);
    Some(i128::from_be_bytes(wide))
}

fn floats(groups: &[&Statistics]) -> (Option<f64>, Option<f64>) {
    let of = |s: &Statistics| -> Option<(f64, f64)> {
        Some(match s {
            Statistics::Float(s) => ((*s.min_opt()?).into(), (*s.max_opt()?).into()),
            Statistics::Double(s) => (*s.min_opt()?, *s.max_opt()?),
            _ => return None,
        })
    };
    let pairs: Vec<_> = groups.iter().filter_map(|s| of(s)).collect();
    (pairs.iter().map(|p| p.0).reduce(f64::min), pairs.iter().map(|p| p.1).reduce(f64::max))
}

fn texts(groups: &[&Statistics]) -> (Option<String>, Option<String>) {
    let low: Option<&[u8]> = groups.iter().filter_map(|s| s.min_bytes_opt()).min();
    let high: Option<&[u8]> = groups.iter().filter_map(|s| s.max_bytes_opt()).max();
    let json = |bytes: &[u8]| std::str::from_utf8(bytes).ok().filter(|t| t.len() <= MAX_TEXT_BYTES).map(quote);
    (low.and_then(json), high.and_then(json))
}

/// Infinities have no form in JSON.
fn float(value: f64) -> Option<String> {
    value.is_finite().then(|| serde_json::Value::from(value).to_string())
}

fn decimal(unscaled: i128, scale: usize) -> String {
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = format!("{:0width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

fn date(days: i128) -> Option<String> {
    let date = NaiveDate::from_epoch_days(i32::try_from(days).ok()?)?;
    (1..=9999).contains(&date.year()).then(|| format!("\"{}\"", date.format("%Y-%m-%d")))
}

fn timestamp(milliseconds: i128, suffix: &str) -> Option<String> {
    let time = DateTime::from_timestamp_millis(i64::try_from(milliseconds).ok()?)?;
    (1..=9999).contains(&time.year()).then(|| format!("\"{}{suffix}\"", time.format("%Y-%m-%dT%H:%M:%S%.3f")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::*;
    use arrow::datatypes::Field;
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;
    use proptest::prelude::*;

    use super::*;

    fn statistics(batches: &[RecordBatch]) -> serde_json::Value {
        let schema = batches[0].schema();
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(2)).build();
        let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties)).unwrap();
        let mut not_a_number = NanColumns::new(&schema);
        for batch in batches {
            not_a_number.look_at(batch);
            writer.write(batch).unwrap();
        }
        let metadata = writer.finish().unwrap();
        serde_json::from_str(&FileStatistics::new(&metadata, &schema, &not_a_number).to_json()).unwrap()
    }

    fn one(array: impl Array + 'static) -> serde_json::Value {
        let field = Field::new("c", array.data_type().clone(), true);
        statistics(&[RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![Arc::new(array)]).unwrap()])
    }

    #[test]
    fn bounds_span_row_groups() {
        let s = one(Int32Array::from(vec![Some(5), None, Some(-7), Some(3), None, None]));
        assert_eq!(
            s,
            serde_json::json!({
                "numRecords": 6, "minValues": {"c": -7}, "maxValues": {"c": 5}, "nullCount": {"c": 3}
            })
        );
    }

    #[test]
    fn wide_decimals_keep_every_digit() {
        let text = |unscaled, scale| decimal(unscaled, scale);
        assert_eq!(
            text(-99_999_999_999_999_999_999_999_999_999_999_999_999, 38),
            "-0.99999999999999999999999999999999999999"
        );
        assert_eq!(text(5, 4), "0.0005");
        assert_eq!(text(-12_345, 2), "-123.45");
        assert_eq!(text(7, 0), "7");
        for precision in [9, 18, 38] {
            let array = Decimal128Array::from(vec![-12_345, 1, 99]).with_precision_and_scale(precision, 2).unwrap();
            let s = one(array);
            assert_eq!(
                (s["minValues"]["c"].to_string(), s["maxValues"]["c"].to_string()),
                ("-123.45".into(), "0.99".into())
            );
        }
    }

    #[test]
    fn timestamps_are_rounded_outwards() {
        let array = TimestampMicrosecondArray::from(vec![-1, 1_500_001]);
        let s = one(array.clone());
        assert_eq!(s["minValues"]["c"], "1969-12-31T23:59:59.999");
        assert_eq!(s["maxValues"]["c"], "1970-01-01T00:00:01.501");
        assert_eq!(one(array.with_timezone("UTC"))["maxValues"]["c"], "1970-01-01T00:00:01.501Z");
        // 9999-12-31T23:59:59.999999 rounds up to a year that has five digits: no bound.
        let last = one(TimestampMicrosecondArray::from(vec![253_402_300_799_999_999, -62_135_596_800_000_000]));
        assert_eq!(last["minValues"]["c"], "0001-01-01T00:00:00.000");
        assert_eq!(last["maxValues"], serde_json::json!({}));
        assert_eq!(one(Date32Array::from(vec![-719_162, 2_932_896]))["minValues"]["c"], "0001-01-01");
    }

    #[test]
    fn not_a_number_and_infinity_have_no_bounds() {
        let s = one(Float64Array::from(vec![1.0, f64::NAN, 2.0]));
        assert_eq!((&s["minValues"], &s["nullCount"]["c"]), (&serde_json::json!({}), &serde_json::json!(0)));
        let s = one(Float64Array::from(vec![1.5, f64::INFINITY]));
        assert_eq!((&s["minValues"]["c"], &s["maxValues"]), (&serde_json::json!(1.5), &serde_json::json!({})));
    }

    #[test]
    fn columns_without_bounds_still_count_nulls() {
        for array in [
            Arc::new(BooleanArray::from(vec![Some(true), None])) as ArrayRef,
            Arc::new(BinaryArray::from(vec![Some(&b"x"[..]), None])),
        ] {
            let s = one(array);
            assert_eq!(s["minValues"], serde_json::json!({}));
            assert_eq!(s["nullCount"]["c"], 1);
        }
    }

    #[test]
    fn the_33rd_column_has_no_statistics() {
        let fields: Vec<_> = (0..40).map(|i| Field::new(format!("c{i}"), DataType::Int32, true)).collect();
        let columns = (0..40).map(|i| Arc::new(Int32Array::from(vec![i])) as ArrayRef).collect();
        let s = statistics(&[RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()]);
        assert_eq!(s["minValues"].as_object().unwrap().len(), 32);
        assert!(s["nullCount"].get("c32").is_none());
    }

    proptest! {
        #[test]
        fn text_bounds_hold(values in proptest::collection::vec("\\PC{0,80}|\u{10ffff}{0,20}|[a\u{7f}\u{7ff}]{60,70}", 1..8)) {
            let s = one(StringArray::from(values.clone()));
            for value in &values {
                prop_assert!(s["minValues"].get("c").is_none_or(|low| low.as_str().unwrap() <= value.as_str()));
                prop_assert!(s["maxValues"].get("c").is_none_or(|high| high.as_str().unwrap() >= value.as_str()));
            }
        }

        #[test]
        fn timestamp_bounds_hold(values in proptest::collection::vec(-62_135_596_800_000_000_i64..253_402_300_799_999_999, 1..8)) {
            let s = one(TimestampMicrosecondArray::from(values.clone()).with_timezone_opt(None::<&str>));
            let micros = |v: &serde_json::Value| {
                chrono::NaiveDateTime::parse_from_str(v.as_str().unwrap(), "%Y-%m-%dT%H:%M:%S%.f").unwrap().and_utc().timestamp_micros()
            };
            for value in values {
                prop_assert!(micros(&s["minValues"]["c"]) <= value);
                prop_assert!(s["maxValues"].get("c").is_none_or(|high| micros(high) >= value));
            }
        }

        #[test]
        fn decimals_read_back(unscaled in -(10_i128.pow(38) - 1)..10_i128.pow(38), scale in 0_usize..=38) {
            let text = decimal(unscaled, scale);
            prop_assert_eq!(text.replace('.', "").parse::<i128>().unwrap(), unscaled);
            prop_assert_eq!(text.split_once('.').map_or(0, |(_, f)| f.len()), scale);
        }
    }
}
