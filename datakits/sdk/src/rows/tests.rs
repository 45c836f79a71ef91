//! Streams written by arrow-ipc, read value by value.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use proptest::prelude::*;

use super::*;

fn stream(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn cells<'a>(rows: &'a Rows, name: &str) -> Vec<Cell<'a>> {
    let column = rows.column(name).unwrap();
    (0..rows.len()).map(|row| column.cell(row).unwrap()).collect()
}

#[test]
fn every_type_of_the_type_table_is_read() {
    let fixed =
        FixedSizeBinaryArray::try_from_sparse_iter_with_size(vec![Some([7_u8; 16]), None].into_iter(), 16).unwrap();
    let rows = Rows::from_ipc(&stream(vec![
        ("boolean", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("int16", Arc::new(Int16Array::from(vec![Some(i16::MIN), None]))),
        ("int32", Arc::new(Int32Array::from(vec![Some(-1), Some(i32::MAX)]))),
        ("int64", Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX)]))),
        ("uint8", Arc::new(UInt8Array::from(vec![255, 0]))),
        ("float32", Arc::new(Float32Array::from(vec![Some(1.5), None]))),
        ("float64", Arc::new(Float64Array::from(vec![Some(-0.0), Some(f64::INFINITY)]))),
        ("decimal", Arc::new(Decimal128Array::from(vec![Some(-1250), None]).with_precision_and_scale(38, 2).unwrap())),
        ("date", Arc::new(Date32Array::from(vec![Some(-719_162), None]))),
        ("time", Arc::new(Time64NanosecondArray::from(vec![Some(86_399_999_999_900), None]))),
        ("time32", Arc::new(Time32SecondArray::from(vec![Some(86_399), None]))),
        ("timestamp", Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None]).with_timezone("UTC"))),
        ("text", Arc::new(StringArray::from(vec![Some("naïve 🦀"), Some("")]))),
        ("large_text", Arc::new(LargeStringArray::from(vec![None, Some("x")]))),
        ("binary", Arc::new(BinaryArray::from(vec![Some(&b"\0\xff"[..]), None]))),
        ("fixed", Arc::new(fixed)),
        ("null", Arc::new(NullArray::new(2))),
    ]))
    .unwrap();
    let read = |name: &str| cells(&rows, name);
    assert_eq!(read("boolean"), [Cell::Boolean(true), Cell::Null]);
    assert_eq!(read("int16"), [Cell::Integer(-32768), Cell::Null]);
    assert_eq!(read("int32"), [Cell::Integer(-1), Cell::Integer(2_147_483_647)]);
    assert_eq!(read("int64"), [Cell::Integer(i64::MIN), Cell::Integer(i64::MAX)]);
    assert_eq!(read("uint8"), [Cell::Integer(255), Cell::Integer(0)]);
    assert_eq!(read("float32"), [Cell::Float(1.5), Cell::Null]);
    assert_eq!(read("float64"), [Cell::Float(-0.0), Cell::Float(f64::INFINITY)]);
    assert_eq!(read("decimal"), [Cell::Decimal { unscaled: -1250, scale: 2 }, Cell::Null]);
    assert_eq!(read("date"), [Cell::Date(-719_162), Cell::Null]);
    assert_eq!(read("time"), [Cell::Time(86_399_999_999_900, Unit::Nanosecond), Cell::Null]);
    assert_eq!(read("time32"), [Cell::Time(86_399, Unit::Second), Cell::Null]);
    assert_eq!(read("timestamp"), [Cell::Timestamp(-1, Unit::Microsecond), Cell::Null]);
    assert_eq!(read("text"), [Cell::Text("naïve 🦀"), Cell::Text("")]);
    assert_eq!(read("large_text"), [Cell::Null, Cell::Text("x")]);
    assert_eq!(read("binary"), [Cell::Bytes(b"\0\xff"), Cell::Null]);
    assert_eq!(read("fixed"), [Cell::Bytes(&[7; 16]), Cell::Null]);
    assert_eq!(read("null"), [Cell::Null, Cell::Null]);
}

#[test]
fn what_cannot_be_read_names_the_column() {
    let dictionary: DictionaryArray<arrow::datatypes::Int32Type> = vec!["a", "a"].into_iter().collect();
    for (name, array) in [
        ("d", Arc::new(dictionary) as ArrayRef),
        ("u", Arc::new(UInt64Array::from(vec![1]))),
        ("v", Arc::new(StringViewArray::from(vec!["a"]))),
        ("l", new_empty_array(&DataType::List(Arc::new(Field::new("item", DataType::Int32, true))))),
        ("i", new_empty_array(&DataType::Duration(TimeUnit::Second))),
    ] {
        let error = Rows::from_ipc(&stream(vec![(name, array)])).unwrap_err();
        assert_eq!(error.code, codes::ROWS);
        assert!(error.message.contains(&format!("`{name}`")), "{}", error.message);
    }
}

#[test]
fn wrong_questions_are_errors() {
    let rows = Rows::from_ipc(&stream(vec![("a", Arc::new(Int32Array::from(vec![1])))])).unwrap();
    assert_eq!(rows.column("b").unwrap_err().code, codes::COLUMN);
    let column = rows.column("a").unwrap();
    assert_eq!(column.integer(0).unwrap(), Some(1));
    assert_eq!(column.text(0).unwrap_err().code, codes::COLUMN);
    assert_eq!(column.cell(1).unwrap_err().code, codes::COLUMN);
}

#[test]
fn a_truncated_stream_is_an_error_wherever_it_ends() {
    let whole = stream(vec![
        ("a", Arc::new(StringArray::from(vec![Some("one"), None, Some("three")]))),
        ("b", Arc::new(Int64Array::from(vec![1, 2, 3]))),
    ]);
    // The last eight bytes are the end marker, which a stream may lack.
    for end in 0..whole.len() - 8 {
        assert!(Rows::from_ipc(&whole[..end]).is_err(), "{end}");
    }
}

proptest! {
    #[test]
    fn texts_and_numbers_survive(values in proptest::collection::vec((any::<Option<String>>(), any::<Option<i64>>()), 0..50)) {
        let texts: StringArray = values.iter().map(|(text, _)| text.clone()).collect();
        let numbers: Int64Array = values.iter().map(|(_, number)| *number).collect();
        let rows = Rows::from_ipc(&stream(vec![("t", Arc::new(texts)), ("n", Arc::new(numbers))])).unwrap();
        prop_assert_eq!(rows.len(), values.len());
        for (row, (text, number)) in values.iter().enumerate() {
            prop_assert_eq!(rows.column("t").unwrap().text(row).unwrap(), text.as_deref());
            prop_assert_eq!(rows.column("n").unwrap().integer(row).unwrap(), *number);
        }
    }

    /// Whatever a byte is changed to, reading ends: with values or with an error, never with a panic.
    #[test]
    fn a_changed_byte_never_panics(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = stream(vec![
            ("t", Arc::new(StringArray::from(vec![Some("one"), None, Some("three")]))),
            ("f", Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0]))),
        ]);
        let at = place.index(bytes.len());
        bytes[at] = byte;
        if let Ok(rows) = Rows::from_ipc(&bytes) {
            for name in rows.names().map(str::to_owned).collect::<Vec<_>>() {
                let Ok(column) = rows.column(&name) else { continue };
                for row in 0..rows.len().min(1000) {
                    let _ = column.cell(row);
                }
            }
        }
    }
}
