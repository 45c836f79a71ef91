//! Rows with bad values, where they may be rejected.

use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::Int32Type;
use datakit_model::Diagnostic as _;
use datakit_model::rejects::{RejectBounds, RejectedValues};

use super::tests::{decoder, header, row};
use super::*;

fn column(name: &str, shape: Shape, nullable: bool) -> Column {
    Column { name: name.into(), source_type: "declared".into(), nullable, shape }
}

fn rejecting(max_rows: u64, keys: &[&str]) -> Option<Rejecting> {
    let bounds = RejectBounds { max_rows, max_share: 1.0, values: RejectedValues::Text };
    Some(Rejecting { bounds, keys: keys.iter().map(|key| (*key).to_owned()).collect() })
}

/// Columns, and of each the bytes of a bad value and how it reads.
fn bad_values() -> Vec<(Column, Vec<u8>, &'static str)> {
    let special = |sign: u16| [0, 0, sign, 0].iter().flat_map(|word: &u16| word.to_be_bytes()).collect();
    let decimal = Shape::Decimal { precision: 5, scale: 2 };
    vec![
        (column("nan", decimal, true), special(0xc000), "NaN"),
        (column("digits", decimal, false), super::tests::numeric(12_345, 3), "12.345"),
        (column("date", Shape::Date, false), i32::MAX.to_be_bytes().to_vec(), "infinity"),
        (column("time", Shape::Time, true), 86_400_000_000_i64.to_be_bytes().to_vec(), "24:00:00"),
        (column("at", Shape::Timestamp, true), i64::MIN.to_be_bytes().to_vec(), "-infinity"),
        (
            column("moment", Shape::TimestampUtc, false),
            9_223_371_331_199_999_999_i64.to_be_bytes().to_vec(),
            "294276-12-31 23:59:59.999999+00",
        ),
        (column("text", Shape::Text, false), b"a\xff".to_vec(), "a\\xff"),
        (column("json", Shape::Jsonb, true), b"\x01\"\xc3\"".to_vec(), "\"\\xc3\""),
    ]
}

#[test]
fn each_bad_value_rejects_its_row_alone() {
    for (bad, field, shown) in bad_values() {
        let name = bad.name.clone();
        let columns = vec![column("id", Shape::Int32, false), bad.clone()];
        let mut decoder = decoder(columns, &ReadLimits::default()).rejecting(rejecting(1, &["id"]));
        let id = |id: i32| id.to_be_bytes();
        let good: &[u8] = match bad.shape {
            Shape::Decimal { .. } => &[0; 8],
            Shape::Date => &[0; 4],
            Shape::Text => "é".as_bytes(),
            Shape::Jsonb => b"\x01{}",
            _ => &[0; 8],
        };
        decoder.push(&header()).unwrap();
        for (number, value) in [(1, good), (2, field.as_slice()), (3, good)] {
            decoder.push(&row(&[Some(&id(number)), Some(value)])).unwrap();
        }
        let batch = decoder.finish().unwrap();
        assert_eq!(batch.column(0).as_primitive::<Int32Type>().values(), &[1, 3], "{name}");
        assert_eq!(batch.column(1).null_count(), 0, "{name}");
        let rejected = decoder.take_rejected();
        let found = rejected.first().map(|row| (row.key.as_deref(), row.column.as_deref(), row.value.as_deref()));
        assert_eq!(found, Some((Some("{\"id\":2}"), Some(name.as_str()), Some(shown))));
        assert!(decoder.take_rejected().is_empty(), "they are taken once");
    }
}

#[test]
fn what_the_server_should_not_send_fails_in_any_case() {
    for (shape, field) in [(Shape::Int32, Some(&[0; 8][..])), (Shape::Boolean, Some(&[2][..])), (Shape::Int32, None)] {
        let mut decoder =
            decoder(vec![column("c", shape, false)], &ReadLimits::default()).rejecting(rejecting(10, &[]));
        decoder.push(&header()).unwrap();
        assert_eq!(decoder.push(&row(&[field])).unwrap_err().code(), "DK-SRC-151");
    }
}

#[test]
fn bad_rows_beyond_the_bound_fail_over_batches() {
    let mut decoder =
        decoder(vec![column("d", Shape::Date, true)], &ReadLimits::default()).rejecting(rejecting(1, &[]));
    decoder.push(&header()).unwrap();
    let bad = row(&[Some(&i32::MIN.to_be_bytes())]);
    decoder.push(&bad).unwrap();
    assert_eq!(decoder.finish().unwrap().num_rows(), 0);
    decoder.push(&bad).unwrap();
    let error = decoder.finish().unwrap_err();
    assert_eq!(error.code(), "DK-RUN-072");
    assert!(error.to_string().contains("column `d`: an infinite declared"), "{error}");
}
