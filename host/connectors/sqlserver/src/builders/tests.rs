use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::util::pretty::pretty_format_batches;
use datakit_model::ReadLimits;

use super::super::text::TextEncoding;
use super::super::types::{Column, Shape};
use super::BatchBuilder;

pub(super) fn column(name: &str, shape: Shape, nullable: bool) -> Column {
    Column { name: name.into(), source_type: format!("type of {name}"), nullable, shape }
}

pub(super) fn builder(columns: Vec<Column>, limits: &ReadLimits) -> BatchBuilder {
    BatchBuilder::new(Arc::from(columns), limits)
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn a_batch_is_cut_by_bytes_and_by_rows() {
    let text = || column("t", Shape::Text(TextEncoding::Utf16), false);
    let mut by_rows = builder(vec![text()], &ReadLimits { max_batch_rows: 3, ..ReadLimits::default() });
    let mut by_bytes = builder(vec![text()], &ReadLimits { max_batch_bytes: 100, ..ReadLimits::default() });
    for builder in [&mut by_rows, &mut by_bytes] {
        let mut rows = 0;
        while !builder.is_full() {
            builder.text(0, &utf16("0123456789012345678901234567890"), || TextEncoding::Utf16);
            builder.end_row();
            rows += 1;
        }
        assert_eq!(rows, 3);
        assert_eq!(builder.finish().unwrap().0.num_rows(), 3);
        assert!(!builder.is_full());
        assert_eq!(builder.total_rows(), 3);
    }
}

#[test]
fn the_first_failure_is_kept_and_the_columns_stay_in_step() {
    let mut b = builder(
        vec![column("id", Shape::Int32, false), column("note", Shape::Text(TextEncoding::Utf16), true)],
        &ReadLimits { max_cell_bytes: 4, ..ReadLimits::default() },
    );
    b.int32(0, 1);
    b.text(1, &utf16("fine"), || TextEncoding::Utf16);
    b.end_row();
    b.int32(0, 2);
    b.text(1, &[0x00, 0xD8], || TextEncoding::Utf16);
    b.end_row();
    b.int64(0, 3);
    b.text(1, &utf16("too long"), || TextEncoding::Utf16);
    b.end_row();
    assert_eq!(
        b.take_failure().unwrap().to_string(),
        "row 2, column `note`: the text holds half a character (a lone surrogate), which UTF-8 cannot hold"
    );
    assert!(!b.has_failure());
    assert_eq!(b.finish().unwrap().0.num_rows(), 3);
}

#[test]
fn a_value_over_the_limit_is_an_error_with_its_size() {
    let mut b =
        builder(vec![column("raw", Shape::Binary, true)], &ReadLimits { max_cell_bytes: 4, ..ReadLimits::default() });
    b.binary(0, b"12345");
    b.end_row();
    assert_eq!(
        b.take_failure().unwrap().to_string(),
        "row 1, column `raw`: a value of 5 bytes is over the limit `max_cell_bytes` of 4"
    );
}

#[test]
fn a_row_over_the_limit_is_an_error_and_nothing_more_of_it_is_kept() {
    let columns = ["a", "b", "c"].map(|name| column(name, Shape::Binary, true)).to_vec();
    let limits = ReadLimits { max_cell_bytes: 50, max_row_bytes: 90, ..ReadLimits::default() };
    let mut b = builder(columns, &limits);
    for _ in 0..3 {
        b.binary(0, &[7; 40]);
        b.binary(1, &[7; 40]);
        b.null(2);
        b.end_row();
    }
    assert!(!b.has_failure());
    for col in 0..3 {
        b.binary(col, &[7; 50]);
    }
    b.end_row();
    assert_eq!(
        b.take_failure().unwrap().to_string(),
        "row 4: the values up to column `b` have 100 bytes, over the limit `max_row_bytes` of 90"
    );
    let batch = b.finish().unwrap().0;
    assert_eq!(batch.num_rows(), 4);
    let bytes: i32 =
        batch.columns().iter().map(|column| *column.as_binary::<i32>().value_offsets().last().unwrap()).sum();
    assert_eq!(bytes, 3 * 80 + 100);
}

#[test]
fn what_the_metadata_excludes_is_an_error() {
    let mut b = builder(vec![column("id", Shape::Int32, false)], &ReadLimits::default());
    b.null(0);
    b.end_row();
    assert_eq!(
        b.take_failure().unwrap().to_string(),
        "row 1, column `id`: the server declared type of id and sent NULL for a column that it declared NOT NULL"
    );
    b.date(0, 1);
    b.end_row();
    assert_eq!(
        b.take_failure().unwrap().to_string(),
        "row 2, column `id`: the server declared type of id and sent Date(1)"
    );
}

#[test]
fn a_decimals_own_scale_counts() {
    let mut b =
        builder(vec![column("amount", Shape::Decimal { precision: 5, scale: 2 }, false)], &ReadLimits::default());
    for (unscaled, scale) in [(12_345, 2), (1_234_500, 4), (12, 0), (-5, 1), (99_999, 2)] {
        b.decimal(0, unscaled, scale);
        b.end_row();
    }
    assert!(!b.has_failure());
    let (batch, _) = b.finish().unwrap();
    let values = batch.column(0).as_primitive::<arrow::datatypes::Decimal128Type>();
    assert_eq!(values.values().as_ref(), [12_345, 12_345, 1_200, -50, 99_999]);
    for (unscaled, scale, reported) in [
        (12_345, 4, "1.2345"),
        (100_000, 2, "1000.00"),
        (1_000, 0, "1000"),
        (i128::MAX, 0, "170141183460469231731687303715884105727"),
    ] {
        b.decimal(0, unscaled, scale);
        b.end_row();
        let failure = b.take_failure().unwrap().to_string();
        assert!(failure.ends_with(&format!("the server declared type of amount and sent {reported}")), "{failure}");
    }
}

#[test]
fn the_seventh_digit_is_cut_and_counted() {
    let mut b = builder(vec![column("at", Shape::Timestamp, true)], &ReadLimits::default());
    for ticks in [10, 11, 19, 20] {
        b.datetime2(0, 719_162, ticks, 7);
        b.end_row();
    }
    let (batch, cuts) = b.finish().unwrap();
    assert_eq!(cuts, [(0, 2)]);
    let values = batch.column(0).as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
    assert_eq!(values.values().as_ref(), [1, 1, 1, 2]);
    assert!(b.finish().unwrap().1.is_empty());
}

#[test]
fn a_variant_is_text_whatever_it_holds() {
    let mut b = builder(vec![column("v", Shape::Variant, true)], &ReadLimits::default());
    b.null(0);
    b.boolean(0, true);
    b.tinyint(0, 255);
    b.int64(0, i64::MIN);
    b.float32(0, 0.1);
    b.float64(0, -1e300);
    b.decimal(0, -5, 4);
    b.decimal(0, 12345, 0);
    b.date(0, 0);
    b.time(0, 863_999_999_999, 3);
    b.datetime(0, 0, 1);
    b.smalldatetime(0, 1, 61);
    b.datetime2(0, 3_652_058, 863_999_999_999, 7);
    b.datetimeoffset(0, 719_162, 0, 0, -90);
    b.uuid(0, &[0x11; 16]);
    b.binary(0, &[0, 0xFF]);
    b.text(0, &utf16("ünï"), || TextEncoding::Utf16);
    (0..17).for_each(|_| b.end_row());
    assert!(b.take_failure().is_none());
    let (batch, _) = b.finish().unwrap();
    insta::assert_snapshot!(pretty_format_batches(&[batch]).unwrap(), @r"
    +--------------------------------------+
    | v                                    |
    +--------------------------------------+
    |                                      |
    | 1                                    |
    | 255                                  |
    | -9223372036854775808                 |
    | 0.1                                  |
    | -1e300                               |
    | -0.0005                              |
    | 12345                                |
    | 0001-01-01                           |
    | 23:59:59.999                         |
    | 1900-01-01T00:00:00.003              |
    | 1900-01-02T01:01:00.000              |
    | 9999-12-31T23:59:59.9999999          |
    | 1969-12-31T22:30:00-01:30            |
    | 11111111-1111-1111-1111-111111111111 |
    | 0x00FF                               |
    | ünï                                  |
    +--------------------------------------+
    ");
}

#[test]
fn moments_outside_of_the_servers_range_are_errors() {
    let mut b =
        builder(vec![column("at", Shape::Timestamp, true), column("v", Shape::Variant, true)], &ReadLimits::default());
    let mut refused = |push: &dyn Fn(&mut BatchBuilder)| {
        push(&mut b);
        let failure = b.take_failure().unwrap().to_string();
        assert!(failure.contains("outside of SQL Server's range"), "{failure}");
    };
    for days in [i32::MIN, -53_691, 2_958_464, i32::MAX] {
        refused(&|b| b.datetime(0, days, 0));
        refused(&|b| b.datetime(1, days, 0));
    }
    for ticks in [864_000_000_000, i64::MAX.cast_unsigned(), u64::MAX] {
        refused(&|b| b.datetime2(0, 0, ticks, 7));
        refused(&|b| b.datetimeoffset(1, 0, ticks, 7, 840));
    }
}

#[test]
fn a_column_without_nulls_has_no_bitmap() {
    let mut b = builder(vec![column("id", Shape::Int32, true)], &ReadLimits::default());
    b.int32(0, 1);
    b.end_row();
    assert!(b.finish().unwrap().0.column(0).nulls().is_none());
    b.null(0);
    b.end_row();
    assert_eq!(b.finish().unwrap().0.column(0).null_count(), 1);
}
