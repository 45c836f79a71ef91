//! Streams read back by this crate, by arrow-ipc, and by the host's checks.

use std::io::Cursor;

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::util::pretty::pretty_format_batches;
use datakit_columnar::decode_ipc;
use datakit_model::GuestLimits;
use proptest::prelude::*;

use super::*;
use crate::rows::{Cell, Rows, Unit};

fn every_type() -> Vec<NewColumn> {
    vec![
        NewColumn::new("boolean", Values::Boolean(vec![Some(true), None, Some(false)])),
        NewColumn::new("int64", Values::Int64(vec![Some(i64::MIN), None, Some(7)])),
        NewColumn::new("float64", Values::Float64(vec![Some(-0.5), None, Some(f64::MAX)])),
        NewColumn::new("date", Values::Date32(vec![Some(-719_162), None, Some(0)])),
        NewColumn::new("timestamp", Values::Timestamp(vec![Some(-1), None, Some(0)])),
        NewColumn::new("utc", Values::TimestampUtc(vec![Some(1_700_000_000_000_000), None, Some(0)])),
        NewColumn::new("text 🦀", Values::Text(vec![Some("naïve 🦀".into()), None, Some(String::new())])),
        NewColumn::new("binary", Values::Binary(vec![Some(vec![0, 255]), None, Some(vec![])])),
    ]
}

fn by_arrow(stream: &[u8]) -> RecordBatch {
    let mut reader = StreamReader::try_new(Cursor::new(stream), None).unwrap();
    let batch = reader.next().unwrap().unwrap();
    assert!(reader.next().is_none());
    batch
}

#[test]
fn every_type_is_read_back() {
    let stream = to_ipc(&every_type()).unwrap();
    let rows = Rows::from_ipc(&stream).unwrap();
    let read = |name: &str| -> Vec<Cell<'_>> {
        let column = rows.column(name).unwrap();
        (0..rows.len()).map(|row| column.cell(row).unwrap()).collect()
    };
    assert_eq!(read("boolean"), [Cell::Boolean(true), Cell::Null, Cell::Boolean(false)]);
    assert_eq!(read("int64"), [Cell::Integer(i64::MIN), Cell::Null, Cell::Integer(7)]);
    assert_eq!(read("float64"), [Cell::Float(-0.5), Cell::Null, Cell::Float(f64::MAX)]);
    assert_eq!(read("date"), [Cell::Date(-719_162), Cell::Null, Cell::Date(0)]);
    let micros = |value| Cell::Timestamp(value, Unit::Microsecond);
    assert_eq!(read("timestamp"), [micros(-1), Cell::Null, micros(0)]);
    assert_eq!(read("utc"), [micros(1_700_000_000_000_000), Cell::Null, micros(0)]);
    assert_eq!(read("text 🦀"), [Cell::Text("naïve 🦀"), Cell::Null, Cell::Text("")]);
    assert_eq!(read("binary"), [Cell::Bytes(&[0, 255]), Cell::Null, Cell::Bytes(&[])]);
}

#[test]
fn arrow_and_the_host_read_the_same() {
    let stream = to_ipc(&every_type()).unwrap();
    let batch = by_arrow(&stream);
    assert_eq!(decode_ipc(&stream, &GuestLimits::default()).unwrap(), batch);
    let types: Vec<String> = batch.schema().fields().iter().map(|field| field.data_type().to_string()).collect();
    let expected =
        ["Boolean", "Int64", "Float64", "Date32", "Timestamp(µs)", "Timestamp(µs, \"UTC\")", "Utf8", "Binary"];
    assert_eq!(types, expected);
    assert!(batch.schema().fields().iter().all(|field| field.is_nullable()));
    let shown = pretty_format_batches(&[batch]).unwrap().to_string();
    assert!(shown.contains("2023-11-14T22:13:20Z") && shown.contains("0001-01-01"), "{shown}");
}

#[test]
fn no_rows_and_no_columns_are_streams_too() {
    let empty = to_ipc(&[NewColumn::new("a", Values::Text(vec![]))]).unwrap();
    assert_eq!(decode_ipc(&empty, &GuestLimits::default()).unwrap().num_rows(), 0);
    assert!(Rows::from_ipc(&empty).unwrap().is_empty());
    assert_eq!(Rows::from_ipc(&to_ipc(&[]).unwrap()).unwrap().names().count(), 0);
}

#[test]
fn columns_of_different_lengths_are_refused() {
    let columns = [NewColumn::new("a", Values::Int64(vec![None])), NewColumn::new("b", Values::Date32(vec![]))];
    let error = to_ipc(&columns).unwrap_err();
    assert_eq!(error.code, codes::NEW_COLUMNS);
    assert!(error.message.contains("`b` has 0 values"), "{}", error.message);
}

proptest! {
    #[test]
    fn whatever_is_written_is_read(
        values in prop::collection::vec((any::<Option<String>>(), any::<Option<i64>>(), any::<Option<bool>>()), 0..70),
        name in "\\PC{0,30}",
    ) {
        let columns = [
            NewColumn::new(format!("{name}t"), Values::Text(values.iter().map(|value| value.0.clone()).collect())),
            NewColumn::new(format!("{name}n"), Values::Int64(values.iter().map(|value| value.1).collect())),
            NewColumn::new(format!("{name}b"), Values::Boolean(values.iter().map(|value| value.2).collect())),
        ];
        let stream = to_ipc(&columns).unwrap();
        let batch = by_arrow(&stream);
        prop_assert_eq!(decode_ipc(&stream, &GuestLimits::default()).unwrap(), batch);
        let rows = Rows::from_ipc(&stream).unwrap();
        let [texts, numbers, flags] = rows.columns([&columns[0].name, &columns[1].name, &columns[2].name]).unwrap();
        for (row, (text, number, flag)) in values.iter().enumerate() {
            prop_assert_eq!(texts.text(row).unwrap(), text.as_deref());
            prop_assert_eq!(numbers.integer(row).unwrap(), *number);
            prop_assert_eq!(flags.boolean(row).unwrap(), *flag);
        }
    }
}
