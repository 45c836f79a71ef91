use arrow::array::AsArray;
use arrow::datatypes::{Decimal128Type, Int32Type};
use proptest::prelude::*;

use super::*;
use crate::source::types::Shape;

fn column(name: &str, shape: Shape) -> Column {
    Column { name: name.into(), source_type: "declared".into(), nullable: true, shape }
}

pub(super) fn decoder(columns: Vec<Column>, limits: &ReadLimits) -> Decoder {
    Decoder::new(columns.into(), limits)
}

pub(super) fn header() -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([0; 8]);
    bytes
}

pub(super) fn row(fields: &[Option<&[u8]>]) -> Vec<u8> {
    let mut bytes = (fields.len() as i16).to_be_bytes().to_vec();
    for field in fields {
        match field {
            None => bytes.extend((-1_i32).to_be_bytes()),
            Some(value) => {
                bytes.extend((value.len() as i32).to_be_bytes());
                bytes.extend(*value);
            }
        }
    }
    bytes
}

/// What one value of a type becomes.
fn one(shape: Shape, field: &[u8]) -> Result<RecordBatch, PostgresError> {
    let mut decoder = decoder(vec![column("c", shape)], &ReadLimits::default());
    decoder.push(&header())?;
    decoder.push(&row(&[Some(field)]))?;
    decoder.finish()
}

fn refusal(shape: Shape, field: &[u8]) -> String {
    one(shape, field).unwrap_err().to_string()
}

#[test]
fn extremes_are_told_from_infinities() {
    let date = |days: i32| one(Shape::Date, &days.to_be_bytes());
    assert_eq!(format!("{:?}", date(-730_119).unwrap().column(0)), "PrimitiveArray<Date32>\n[\n  0001-01-01,\n]");
    insta::assert_snapshot!(refusal(Shape::Date, &i32::MAX.to_be_bytes()), @"row 1, column `c`: an infinite declared");
    insta::assert_snapshot!(refusal(Shape::Timestamp, &i64::MIN.to_be_bytes()), @"row 1, column `c`: an infinite declared");
    // 294276-12-31, the last day of PostgreSQL.
    insta::assert_snapshot!(
        refusal(Shape::TimestampUtc, &9_223_371_331_199_999_999_i64.to_be_bytes()),
        @"row 1, column `c`: a declared beyond the range of Arrow's microseconds"
    );
    insta::assert_snapshot!(
        refusal(Shape::Time, &86_400_000_000_i64.to_be_bytes()),
        @"row 1, column `c`: the time 24:00:00, which ends no day elsewhere"
    );
    assert!(one(Shape::Time, &86_399_999_999_i64.to_be_bytes()).is_ok());
}

#[test]
fn what_is_not_of_its_type_is_refused() {
    for (shape, field) in [
        (Shape::Boolean, &[2_u8][..]),
        (Shape::Int32, &[0; 8][..]),
        (Shape::Uuid, &[0; 15][..]),
        (Shape::Jsonb, &b"{}"[..]),
        (Shape::Jsonb, &[][..]),
        (Shape::Decimal { precision: 5, scale: 2 }, &[0; 7][..]),
        (Shape::Decimal { precision: 5, scale: 2 }, &[0, 2, 0, 0, 0, 0, 0, 0, 0, 1][..]),
    ] {
        let text = refusal(shape, field);
        assert!(text.contains("sent something else"), "{shape:?}: {text}");
    }
    assert!(refusal(Shape::Text, b"a\xff").contains("not UTF-8"));
    assert_eq!(one(Shape::Jsonb, b"\x01{}").unwrap().column(0).as_string::<i32>().value(0), "{}");
}

#[test]
fn a_malformed_text_is_found_in_its_row() {
    let mut decoder = decoder(vec![column("c", Shape::Text)], &ReadLimits::default());
    decoder.push(&header()).unwrap();
    for text in [&b"a"[..], "é".as_bytes(), b"\xc3", b"\xa9"] {
        decoder.push(&row(&[Some(text)])).unwrap();
    }
    let error = decoder.finish().unwrap_err().to_string();
    // Together the last two are the letter é: only between them is it wrong.
    assert!(error.starts_with("row 3, column `c`"), "{error}");
}

#[test]
fn nulls_stand_only_where_they_may() {
    let mut declared = column("c", Shape::Int32);
    declared.nullable = false;
    let mut decoder = decoder(vec![declared], &ReadLimits::default());
    decoder.push(&header()).unwrap();
    let error = decoder.push(&row(&[None])).unwrap_err().to_string();
    assert!(error.contains("NOT NULL"), "{error}");
}

#[test]
fn a_stream_that_is_none_is_refused() {
    let columns = || vec![column("c", Shape::Int32)];
    let says = |chunks: &[&[u8]]| {
        let mut decoder = decoder(columns(), &ReadLimits::default());
        chunks.iter().try_for_each(|chunk| decoder.push(chunk)).unwrap_err().to_string()
    };
    assert!(says(&[b"PGCOPY\r\n and something more"]).contains("no header"));
    assert!(says(&[&header(), &row(&[None, None])]).contains("2 fields where 1 were announced"));
    assert!(says(&[&header(), b"\xff\xff", b"x"]).contains("after the end"));
    assert!(says(&[&header(), b"\0\x01\xff\xff\xff\xfe"]).contains("negative length"));
    let mut cut = decoder(columns(), &ReadLimits::default());
    cut.push(&header()).unwrap();
    cut.push(&row(&[Some(&[0; 4])])[..7]).unwrap();
    assert!(!cut.is_complete());
}

#[test]
fn batches_are_cut_by_rows_and_bytes() {
    let limits = ReadLimits { max_batch_bytes: 100, max_batch_rows: 7, max_cell_bytes: 50, ..ReadLimits::default() };
    let mut numbers = decoder(vec![column("c", Shape::Int32)], &limits);
    numbers.push(&header()).unwrap();
    while !numbers.is_full() {
        numbers.push(&row(&[Some(&[0; 4])])).unwrap();
    }
    assert_eq!(numbers.finish().unwrap().num_rows(), 7);
    let mut texts = decoder(vec![column("c", Shape::Text)], &limits);
    texts.push(&header()).unwrap();
    while !texts.is_full() {
        texts.push(&row(&[Some(&[b'x'; 30])])).unwrap();
    }
    assert_eq!(texts.rows(), 3);
    let error = texts.push(&row(&[Some(&[b'x'; 51])])).unwrap_err().to_string();
    assert_eq!(error, "row 4, column `c`: a value of 51 bytes is over the limit `max_cell_bytes` of 50");
}

#[test]
fn a_row_that_is_too_large_is_refused_at_the_cell_that_is_too_much() {
    let limits = ReadLimits { max_cell_bytes: 50, max_row_bytes: 120, ..ReadLimits::default() };
    let columns = || ["a", "b", "c"].map(|name| column(name, Shape::Text)).to_vec();
    let cell = || Some(&[b'x'; 40][..]);
    let mut fits = decoder(columns(), &limits);
    fits.push(&header()).unwrap();
    fits.push(&row(&[cell(), cell(), None])).unwrap();
    let large = row(&[cell(), cell(), cell()]);
    // The last cell is announced, and nothing of it is there.
    let error = fits.push(&large[..2 + 3 * 4 + 2 * 40]).unwrap_err().to_string();
    assert_eq!(error, "row 2: the values up to column `c` have 134 bytes, over the limit `max_row_bytes` of 120");
}

/// The size is announced before the cell: neither its end nor a copy of it is needed to refuse it.
#[test]
fn a_cell_that_is_too_large_is_refused_before_it_is_there() {
    let limits = ReadLimits { max_cell_bytes: 50, ..ReadLimits::default() };
    for (shape, size, counted) in [(Shape::Text, 51, 51), (Shape::Binary, i32::MAX, i32::MAX), (Shape::Jsonb, 52, 51)] {
        let mut decoder = decoder(vec![column("id", Shape::Int32), column("c", shape)], &limits);
        decoder.push(&header()).unwrap();
        let mut begun: Vec<u8> = vec![0, 2, 0, 0, 0, 4, 0, 0, 0, 7];
        begun.extend(size.to_be_bytes());
        let error = decoder.push(&begun).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("row 1, column `c`: a value of {counted} bytes is over the limit `max_cell_bytes` of 50")
        );
    }
    let mut decoder = decoder(vec![column("c", Shape::Jsonb)], &limits);
    decoder.push(&header()).unwrap();
    let mut json = vec![b' '; 51];
    json[0] = 1;
    decoder.push(&row(&[Some(&json)])).unwrap();
    assert_eq!(decoder.rows(), 1, "the byte of the version is none of the value");
}

/// A number as the server sends it, digits to base 10,000.
pub(super) fn numeric(unscaled: i128, scale: u32) -> Vec<u8> {
    let text = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale as usize + 1);
    let (whole, fraction) = text.split_at(text.len() - scale as usize);
    let whole = format!("{:0>width$}", whole, width = whole.len().div_ceil(4) * 4);
    let fraction = format!("{:0<width$}", fraction, width = fraction.len().div_ceil(4) * 4);
    let mut weight = whole.len() as i16 / 4 - 1;
    let groups = format!("{whole}{fraction}");
    let mut groups: Vec<u16> =
        groups.as_bytes().chunks(4).map(|g| std::str::from_utf8(g).unwrap().parse().unwrap()).collect();
    while groups.first() == Some(&0) {
        groups.remove(0);
        weight -= 1;
    }
    while groups.last() == Some(&0) {
        groups.pop();
    }
    if groups.is_empty() {
        weight = 0;
    }
    let sign: u16 = if unscaled < 0 { 0x4000 } else { 0 };
    let head = [groups.len() as u16, weight as u16, sign, scale as u16];
    head.iter().chain(&groups).flat_map(|word| word.to_be_bytes()).collect()
}

fn decimal(field: &[u8], precision: u8, scale: i8) -> Result<i128, PostgresError> {
    let batch = one(Shape::Decimal { precision, scale }, field)?;
    Ok(batch.column(0).as_primitive::<Decimal128Type>().value(0))
}

#[test]
fn special_numbers_are_refused() {
    let special = |sign: u16| {
        let field: Vec<u8> = [0, 0, sign, 0].iter().flat_map(|word: &u16| word.to_be_bytes()).collect();
        decimal(&field, 18, 4).unwrap_err().to_string()
    };
    assert!(special(0xc000).contains("NaN"));
    assert!(special(0xd000).contains("infinite"));
    assert!(special(0xf000).contains("infinite"));
    let digits = |unscaled, scale, precision| decimal(&numeric(unscaled, scale), precision, 2).unwrap_err().to_string();
    assert!(digits(12_345, 3, 10).contains("more digits"));
    assert!(digits(100_000, 2, 5).contains("more digits"));
    assert_eq!(decimal(&numeric(99_999, 2), 5, 2).unwrap(), 99_999);
}

proptest! {
    #[test]
    fn numbers_read_back(
        unscaled in -(10_i128.pow(38) - 1)..10_i128.pow(38),
        digits in 0_u32..38,
        zeros in 0_u32..6,
        scale in 0_u32..=38,
    ) {
        let unscaled = unscaled / 10_i128.pow(digits);
        // Round numbers have groups of zeros that do not travel.
        let unscaled = unscaled / 10_i128.pow(zeros) * 10_i128.pow(zeros);
        prop_assert_eq!(decimal(&numeric(unscaled, scale), 38, scale as i8).unwrap(), unscaled);
    }

    #[test]
    fn chunks_may_end_anywhere(
        values in proptest::collection::vec((any::<Option<i32>>(), proptest::option::of("\\PC{0,12}")), 0..20),
        cuts in proptest::collection::vec(0_usize..2_000, 0..30),
    ) {
        let mut bytes = header();
        for (number, text) in &values {
            let number = number.map(i32::to_be_bytes);
            bytes.extend(row(&[number.as_ref().map(|n| &n[..]), text.as_ref().map(|t| t.as_bytes())]));
        }
        bytes.extend([0xff, 0xff]);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut decoder = decoder(vec![column("n", Shape::Int32), column("t", Shape::Text)], &ReadLimits::default());
        for pair in cuts.windows(2) {
            decoder.push(&bytes[pair[0]..pair[1]]).unwrap();
        }
        prop_assert!(decoder.is_complete());
        prop_assert_eq!(decoder.total_rows(), values.len() as u64);
        let batch = decoder.finish().unwrap();
        let numbers: Vec<Option<i32>> = batch.column(0).as_primitive::<Int32Type>().iter().collect();
        let texts: Vec<Option<String>> = batch.column(1).as_string::<i32>().iter().map(|t| t.map(str::to_owned)).collect();
        prop_assert_eq!(numbers.into_iter().zip(texts).collect::<Vec<_>>(), values);
    }

    #[test]
    fn any_bytes_are_rows_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200), with_header in any::<bool>()) {
        let mut stream = if with_header { header() } else { Vec::new() };
        stream.extend(bytes);
        let mut decoder = decoder(
            vec![column("d", Shape::Decimal { precision: 38, scale: 10 }), column("t", Shape::Text), column("b", Shape::Boolean)],
            &ReadLimits::default(),
        );
        if decoder.push(&stream).is_ok() {
            let _ = decoder.finish();
        }
    }
}
