//! Fuzz target: any bytes as a binary COPY of any columns.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Time64NanosecondType,
    TimestampMicrosecondType,
};

use super::tests::{decoder, header, numeric, row};
use super::*;

const LIMITS: ReadLimits = ReadLimits {
    max_batch_bytes: 1 << 20,
    max_batch_rows: 16,
    max_cell_bytes: 200,
    max_row_bytes: 300,
    max_spooled_bytes: 1,
};

/// A column a byte.
fn columns(choices: &[u8]) -> Vec<Column> {
    let shape = |choice: u8| match choice % 18 {
        0 => Shape::Boolean,
        1 => Shape::Int16,
        2 => Shape::Int32,
        3 => Shape::Int64,
        4 => Shape::Oid,
        5 => Shape::Float32,
        6 => Shape::Float64,
        7 => Shape::Decimal { precision: 38, scale: 10 },
        8 => Shape::Decimal { precision: 5, scale: 2 },
        9 => Shape::Decimal { precision: 38, scale: 38 },
        10 => Shape::Date,
        11 => Shape::Time,
        12 => Shape::Timestamp,
        13 => Shape::TimestampUtc,
        14 => Shape::Text,
        15 => Shape::Jsonb,
        16 => Shape::Binary,
        _ => Shape::Uuid,
    };
    let column = |(index, choice): (usize, &u8)| Column {
        name: format!("c{index}"),
        source_type: "declared".to_owned(),
        nullable: choice & 0x80 == 0,
        shape: shape(*choice & 0x7f),
    };
    choices.iter().enumerate().map(column).collect()
}

/// Rows whose fields have the sizes that their columns have, mostly; the rest of the input is their values.
fn rows(columns: &[Column], mut input: &[u8]) -> Vec<u8> {
    let mut bytes = header();
    while let Some((how, rest)) = input.split_first() {
        input = rest;
        let mut fields = Vec::new();
        for column in columns {
            let size = match column.shape {
                _ if how % 16 == 15 => usize::from(how / 16),
                Shape::Boolean => 1,
                Shape::Int16 => 2,
                Shape::Int32 | Shape::Float32 | Shape::Date | Shape::Oid => 4,
                Shape::Int64 | Shape::Float64 | Shape::Time | Shape::Timestamp | Shape::TimestampUtc => 8,
                Shape::Uuid => 16,
                Shape::Text | Shape::Jsonb | Shape::Binary => usize::from(how % 16),
                Shape::Decimal { .. } => 8 + 2 * usize::from(how % 8),
            };
            let (value, rest) = input.split_at(size.min(input.len()));
            input = rest;
            // A null begins with a byte of its own.
            fields.push((value.first() != Some(&0xee)).then_some(value));
        }
        bytes.extend(row(&fields));
    }
    bytes.extend([0xff, 0xff]);
    bytes
}

/// The rows and whether their end has arrived, or why there are none.
fn read(columns: &[Column], chunks: &[&[u8]]) -> Result<(RecordBatch, bool), String> {
    let mut decoder = decoder(columns.to_vec(), &LIMITS);
    for chunk in chunks {
        decoder.push(chunk).map_err(|error| error.to_string())?;
    }
    let rows = decoder.rows();
    let batch = decoder.finish().map_err(|error| error.to_string())?;
    assert_eq!((batch.num_rows(), decoder.total_rows()), (rows, rows as u64));
    Ok((batch, decoder.is_complete()))
}

/// A value as the server sends it.
fn wire(column: &Column, array: &ArrayRef, row: usize) -> Option<Vec<u8>> {
    const DAY: i32 = 10_957;
    const MICROS: i64 = 946_684_800_000_000;
    if array.is_null(row) {
        return None;
    }
    Some(match column.shape {
        Shape::Boolean => vec![array.as_boolean().value(row).into()],
        Shape::Int16 => array.as_primitive::<Int16Type>().value(row).to_be_bytes().into(),
        Shape::Int32 => array.as_primitive::<Int32Type>().value(row).to_be_bytes().into(),
        Shape::Int64 => array.as_primitive::<Int64Type>().value(row).to_be_bytes().into(),
        Shape::Oid => u32::try_from(array.as_primitive::<Int64Type>().value(row)).unwrap().to_be_bytes().into(),
        Shape::Float32 => array.as_primitive::<Float32Type>().value(row).to_be_bytes().into(),
        Shape::Float64 => array.as_primitive::<Float64Type>().value(row).to_be_bytes().into(),
        Shape::Decimal { scale, .. } => numeric(array.as_primitive::<Decimal128Type>().value(row), scale as u32),
        Shape::Date => (array.as_primitive::<Date32Type>().value(row) - DAY).to_be_bytes().into(),
        Shape::Time => (array.as_primitive::<Time64NanosecondType>().value(row) / 1000).to_be_bytes().into(),
        Shape::Timestamp | Shape::TimestampUtc => {
            (array.as_primitive::<TimestampMicrosecondType>().value(row) - MICROS).to_be_bytes().into()
        }
        Shape::Text => array.as_string::<i32>().value(row).into(),
        Shape::Jsonb => [b"\x01", array.as_string::<i32>().value(row).as_bytes()].concat(),
        Shape::Binary => array.as_binary::<i32>().value(row).into(),
        Shape::Uuid => array.as_fixed_size_binary().value(row).into(),
    })
}

/// A batch as the server sends it.
fn written(columns: &[Column], batch: &RecordBatch) -> Vec<u8> {
    let mut bytes = header();
    for index in 0..batch.num_rows() {
        let fields: Vec<_> =
            columns.iter().zip(batch.columns()).map(|(column, array)| wire(column, array, index)).collect();
        bytes.extend(row(&fields.iter().map(Option::as_deref).collect::<Vec<_>>()));
    }
    bytes.extend([0xff, 0xff]);
    bytes
}

fn check(columns: &[Column], bytes: &[u8], cut: usize) {
    let whole = read(columns, &[bytes]);
    // Where what arrives is cut changes nothing.
    let (first, rest) = bytes.split_at(cut % (bytes.len() + 1));
    assert_eq!(read(columns, &[first, rest]), whole);
    let Ok((batch, is_complete)) = whole else { return };
    for (column, array) in columns.iter().zip(batch.columns()) {
        array.to_data().validate_full().unwrap();
        if let Shape::Decimal { precision, .. } = column.shape {
            array.as_primitive::<Decimal128Type>().validate_decimal_precision(precision).unwrap();
        }
    }
    let sent = written(columns, &batch);
    // A number has several forms on the wire, and a header may have an extension.
    let is_plain = bytes.starts_with(&header()) && columns.iter().all(|c| !matches!(c.shape, Shape::Decimal { .. }));
    assert!(!is_complete || !is_plain || sent == bytes);
    assert_eq!(read(columns, &[&sent]), Ok((batch, true)));
}

#[test]
fn fuzz_postgres_copy() {
    bolero::check!().for_each(|input: &[u8]| {
        let [how, cut, rest @ ..] = input else { return };
        let Some((choices, rest)) = rest.split_at_checked(usize::from(how / 4 % 8) + 1) else { return };
        let columns = columns(choices);
        let bytes = match how % 4 {
            0 => rest.to_vec(),
            1 => [&header(), rest].concat(),
            _ => rows(&columns, rest),
        };
        check(&columns, &bytes, usize::from(*cut));
    });
}
