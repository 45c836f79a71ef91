//! Fuzz targets: any bytes as an Arrow IPC stream, most of them a valid stream with changes; any text as a type.

use std::sync::LazyLock;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type};
use arrow::ipc::MetadataVersion;
use arrow::ipc::writer::IpcWriteOptions;
use datakit_model::GuestLimits;

use super::tests::{every_type, written};
use super::{decode_ipc, encode_ipc, with_columns};
use crate::tests::check_named;
use crate::type_text::{self, TypeBudget};
use crate::{schema_from_wire, schema_to_wire};

/// Streams of every type, of no rows, of one column, of the older format.
static STREAMS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let batch = every_type();
    let encode = |batch: &RecordBatch| encode_ipc(batch, &GuestLimits::default()).unwrap();
    let mut streams = vec![encode(&batch), encode(&batch.slice(3, 0))];
    streams.extend((0..batch.num_columns()).map(|column| encode(&batch.project(&[column]).unwrap())));
    streams.push(written(&[&batch], IpcWriteOptions::try_new(64, false, MetadataVersion::V4).unwrap()));
    streams
});

const NUMBERS: &[i64] =
    &[0, 1, 2, 3, 7, 8, 16, 38, 39, 64, -1, -8, 127, 255, 256, 0x7fff, 0x7fff_ffff, 0xffff_ffff, i64::MIN, i64::MAX];

/// A valid stream with changes of four bytes each: where (two bytes), how, and with what.
fn changed(choice: u8, changes: &[u8]) -> Vec<u8> {
    let mut bytes = STREAMS[usize::from(choice) % STREAMS.len()].clone();
    for change in changes.as_chunks::<4>().0.iter().take(32) {
        if bytes.is_empty() {
            break;
        }
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % bytes.len();
        let (value, number) = (change[3], NUMBERS[usize::from(change[3]) % NUMBERS.len()].to_le_bytes());
        let mut put = |at: usize, new: &[u8]| {
            if let Some(place) = bytes.get_mut(at..at + new.len()) {
                place.copy_from_slice(new);
            }
        };
        match change[2] % 7 {
            0 => put(at, &[value]),
            1 => put(at & !7, &number),
            2 => put(at & !3, &number[..4]),
            3 => put(at & !1, &number[..2]),
            4 => bytes[at] = bytes[at].wrapping_add(value),
            5 => bytes.insert(at, value),
            _ => bytes.truncate(at),
        }
    }
    bytes
}

fn check(bytes: &[u8]) {
    let limits = GuestLimits { max_ipc_rows: 10_000, ..GuestLimits::default() };
    let batch = match decode_ipc(bytes, &limits) {
        Ok(batch) => batch,
        Err(error) => return check_named(&error),
    };
    assert!(batch.num_rows() <= 10_000);
    // The schema has a text form for the guest, and is read back from it.
    let schema = batch.schema();
    assert_eq!(schema_from_wire(&schema_to_wire(&schema), &limits).unwrap(), schema);
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        assert_eq!((field.data_type(), column.len()), (column.data_type(), batch.num_rows()));
        assert!(field.is_nullable() || column.logical_null_count() == 0, "a null in {field}");
        column.to_data().validate_full().unwrap();
        if let DataType::Decimal128(precision, _) = field.data_type() {
            column.as_primitive::<Decimal128Type>().validate_decimal_precision(*precision).unwrap();
        }
    }
    // A small stream does not stand for a large batch.
    let held: usize = batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap()).sum();
    assert!(held <= bytes.len() + 64 * batch.num_columns(), "{held} bytes of a stream of {}", bytes.len());
    assert_eq!(with_columns(&batch, bytes, &limits).unwrap(), batch, "each column takes its own place");
    let again = encode_ipc(&batch, &limits).unwrap();
    assert_eq!(decode_ipc(&again, &limits).unwrap(), batch);
}

#[test]
fn fuzz_ipc() {
    bolero::check!().for_each(|input: &[u8]| match input {
        [0..=31, bytes @ ..] => check(bytes),
        [_, choice, changes @ ..] => check(&changed(*choice, changes)),
        _ => {}
    });
}

#[test]
fn fuzz_type_texts() {
    let parse = |text: &str| type_text::parse(text, &mut TypeBudget::new(&GuestLimits::default()));
    bolero::check!().for_each(|input: &[u8]| {
        let Ok(found) = parse(&String::from_utf8_lossy(input)) else { return };
        let printed = type_text::print(&found);
        assert_eq!(parse(&printed).ok().as_ref(), Some(&found), "{printed}");
    });
}
