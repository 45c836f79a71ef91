//! Rows with bad values, where they may be rejected.

use arrow::array::AsArray as _;
use arrow::datatypes::Int32Type;
use datakit_model::rejects::{RejectBounds, RejectedRow, RejectedValues, Rejecting};
use datakit_model::{Diagnostic as _, ReadLimits};

use super::BatchBuilder;
use super::tests::{builder, column};
use crate::text::TextEncoding;
use crate::types::{Column, Shape};

fn rejecting(columns: Vec<Column>, max_rows: u64, values: RejectedValues) -> BatchBuilder {
    let bounds = RejectBounds { max_rows, max_share: 1.0, values };
    let keys = ["id".to_owned()].into();
    builder(columns, &ReadLimits::default()).rejecting(Some(Rejecting { bounds, keys }))
}

/// Three rows, of which the second has the bad value; what is known of it.
fn of_second(shape: Shape, push: impl Fn(&mut BatchBuilder, bool)) -> (String, String) {
    for nullable in [false, true] {
        let columns = vec![column("id", Shape::Int32, false), column("bad", shape.clone(), nullable)];
        let mut builder = rejecting(columns, 1, RejectedValues::Text);
        for id in 1..=3 {
            builder.int32(0, id);
            push(&mut builder, id == 2);
            builder.end_row();
        }
        assert!(!builder.has_failure());
        let (batch, _) = builder.finish().unwrap();
        assert_eq!(batch.column(0).as_primitive::<Int32Type>().values(), &[1, 3]);
        let rejected = builder.take_rejected();
        if nullable {
            let [RejectedRow { key, column, reason, value, .. }] = rejected.as_slice() else {
                panic!("one row: {rejected:?}")
            };
            assert_eq!((key.as_deref(), column.as_deref()), (Some("{\"id\":2}"), Some("bad")));
            return (reason.clone(), value.clone().unwrap());
        }
    }
    unreachable!("the second one returns")
}

#[test]
fn lone_surrogate_rejects_its_row() {
    let (reason, value) = of_second(Shape::Text(TextEncoding::Utf16), |builder, is_bad| {
        let text: &[u8] = if is_bad { &[0x61, 0, 0x3d, 0xd8] } else { &[0x61, 0] };
        builder.text(1, text, || TextEncoding::Utf16);
    });
    assert_eq!(value, "a\\ud83d");
    assert!(reason.contains("lone surrogate"), "{reason}");
}

#[test]
fn bytes_of_no_encoding_reject_their_row() {
    let (_, value) = of_second(Shape::Text(TextEncoding::Utf8), |builder, is_bad| {
        builder.text(1, if is_bad { b"a\xff" } else { b"ab" }, || TextEncoding::Utf8);
    });
    assert_eq!(value, "a\\xff");
    let (reason, value) = of_second(Shape::Text(TextEncoding::unknown("mine".to_owned())), |builder, is_bad| {
        builder.text(1, if is_bad { b"a\xe4" } else { b"ab" }, || TextEncoding::Utf8);
    });
    assert_eq!(value, "a\\xe4");
    assert!(reason.contains("mine"), "{reason}");
}

#[test]
fn values_out_of_range_reject_their_row() {
    let (reason, value) = of_second(Shape::Date, |builder, is_bad| builder.date(1, if is_bad { 4_000_000 } else { 1 }));
    assert_eq!(value, "day 4000000 after 0001-01-01");
    assert_eq!(reason, "a date or time outside of SQL Server's range");
    let decimal = Shape::Decimal { precision: 5, scale: 2 };
    let (reason, value) = of_second(decimal, |builder, is_bad| builder.decimal(1, if is_bad { 100_000 } else { 1 }, 2));
    assert_eq!((reason.as_str(), value.as_str()), ("a number with more digits than type of bad declares", "1000.00"));
    let (_, value) = of_second(Shape::Timestamp, |builder, is_bad| {
        builder.datetime(1, if is_bad { i32::MAX } else { 0 }, 300);
    });
    assert_eq!(value, "day 2147483647 after 1900-01-01, 300/300 s");
}

#[test]
fn masked_value_is_not_kept() {
    let columns = vec![column("id", Shape::Int32, false), column("bad", Shape::Date, true)];
    let mut builder = rejecting(columns, 1, RejectedValues::Masked);
    builder.int32(0, 1);
    builder.date(1, 4_000_000);
    builder.end_row();
    builder.finish().unwrap();
    assert_eq!(builder.take_rejected()[0].value, None);
}

#[test]
fn what_the_server_should_not_send_fails_in_any_case() {
    let mut builder = rejecting(vec![column("c", Shape::Int32, false)], 10, RejectedValues::Text);
    builder.null(0);
    assert_eq!(builder.take_failure().unwrap().code(), "DK-SRC-051");
    builder.int64(0, 1);
    assert_eq!(builder.take_failure().unwrap().code(), "DK-SRC-051");
}

#[test]
fn bad_rows_beyond_the_bound_fail() {
    let mut builder = rejecting(vec![column("c", Shape::Date, true)], 1, RejectedValues::Text);
    for _ in 0..2 {
        builder.date(0, 4_000_000);
        builder.end_row();
    }
    assert_eq!(builder.finish().unwrap_err().code(), "DK-RUN-072");
}
