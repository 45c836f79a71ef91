//! Valid streams come back as they were; everything else is refused, and nothing panics.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, DictionaryArray, Int32Array, Int64Array, LargeBinaryArray, LargeStringArray, NullArray,
    StringArray, StringViewArray, StructArray, Time32MillisecondArray, UInt8Array,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use arrow::ipc::MetadataVersion;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datakit_model::{Diagnostic, GuestLimits};
use proptest::prelude::*;

use super::{decode_ipc, encode_ipc};
use crate::ColumnarError;
use crate::tests::{batch, sample};

/// Every type the boundary carries, with nulls, nested ones included.
pub(super) fn every_type() -> RecordBatch {
    let inner = Arc::new(StringArray::from(vec![Some("a"), None, Some("ccc")])) as ArrayRef;
    let number = Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef;
    let structure = StructArray::from(vec![
        (Arc::new(Field::new("inner", DataType::Utf8, true)), inner),
        (Arc::new(Field::new("number", DataType::Int64, false)), number),
    ]);
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("large text", Arc::new(LargeStringArray::from(vec![Some("x"), None, Some("é")]))),
        ("large bytes", Arc::new(LargeBinaryArray::from_opt_vec(vec![Some(b"\x00"), None, Some(b"")]))),
        ("byte", Arc::new(UInt8Array::from(vec![1, 2, 3]))),
        ("clock ms", Arc::new(Time32MillisecondArray::from(vec![Some(1), None, Some(3)]))),
        ("nothing", Arc::new(NullArray::new(3))),
        ("structure", Arc::new(structure)),
    ];
    let sample = sample();
    let schema = sample.schema();
    columns.extend(schema.fields().iter().map(|field| field.name().as_str()).zip(sample.columns().iter().cloned()));
    batch(columns)
}

fn limits() -> GuestLimits {
    GuestLimits::default()
}

pub(super) fn written(batches: &[&RecordBatch], options: IpcWriteOptions) -> Vec<u8> {
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), batches[0].schema_ref(), options).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.into_inner().unwrap()
}

#[test]
fn a_batch_goes_out_and_comes_back() {
    let batch = every_type();
    for (start, rows) in [(0, 3), (1, 2), (2, 1), (3, 0)] {
        let slice = batch.slice(start, rows);
        let bytes = encode_ipc(&slice, &limits()).unwrap();
        let back = decode_ipc(&bytes, &limits()).unwrap();
        assert_eq!(back, slice);
        assert_eq!(back.schema(), slice.schema());
        for column in back.columns() {
            column.to_data().validate_full().unwrap();
        }
    }
}

#[test]
fn column_of_nulls_declared_not_null_is_refused() {
    let stream = |nullable| {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Null, nullable)]));
        let one = RecordBatch::try_new(schema, vec![Arc::new(NullArray::new(1))]).unwrap();
        written(&[&one], IpcWriteOptions::default())
    };
    assert!(decode_ipc(&stream(true), &limits()).is_ok());
    assert_eq!(decode_ipc(&stream(false), &limits()).unwrap_err().code(), "DK-KIT-102");
}

#[test]
fn field_metadata_survives() {
    let field = Field::new("id", DataType::Int32, false).with_metadata([("k".to_owned(), "v".to_owned())].into());
    let schema = Arc::new(Schema::new(vec![field]));
    let batch = RecordBatch::try_new(schema, vec![Arc::new(Int32Array::from(vec![1]))]).unwrap();
    let back = decode_ipc(&encode_ipc(&batch, &limits()).unwrap(), &limits()).unwrap();
    assert_eq!(back.schema(), batch.schema());
}

#[test]
fn other_versions_and_alignments_of_the_format_are_read() {
    let batch = every_type();
    let aligned = IpcWriteOptions::try_new(8, false, MetadataVersion::V5).unwrap();
    let older = IpcWriteOptions::try_new(64, false, MetadataVersion::V4).unwrap();
    for options in [aligned, older] {
        assert_eq!(decode_ipc(&written(&[&batch], options), &limits()).unwrap(), batch);
    }
}

#[test]
fn streams_of_another_form_are_refused() {
    let one = batch(vec![("n", Arc::new(Int32Array::from(vec![1, 2])) as ArrayRef)]);
    let good = encode_ipc(&one, &limits()).unwrap();
    let with = |column: ArrayRef| written(&[&batch(vec![("c", column)])], IpcWriteOptions::default());
    let dictionary: DictionaryArray<Int32Type> = ["a", "b", "a"].into_iter().collect();
    let empty = StreamWriter::try_new(Vec::new(), one.schema_ref()).unwrap().into_inner().unwrap();
    let mut file = FileWriter::try_new(Vec::new(), one.schema_ref()).unwrap();
    file.write(&one).unwrap();
    let twice =
        Arc::new(Schema::new(vec![Field::new("a", DataType::Int32, true), Field::new("a", DataType::Int32, true)]));
    let column = Arc::clone(one.column(0));
    let twice = RecordBatch::try_new(twice, vec![Arc::clone(&column), column]).unwrap();
    let legacy = IpcWriteOptions::try_new(64, true, MetadataVersion::V4).unwrap();
    let streams: Vec<(&str, Vec<u8>)> = vec![
        ("empty", Vec::new()),
        ("text", b"not arrow at all".to_vec()),
        ("only the end marker", [&[0xff; 4][..], &[0; 4]].concat()),
        ("no batch", empty),
        ("two batches", written(&[&one, &one], IpcWriteOptions::default())),
        ("trailing byte", [&good[..], &[0]].concat()),
        ("two streams", [&good[..], &good].concat()),
        ("no end marker", good[..good.len() - 8].to_vec()),
        ("half an end marker", good[..good.len() - 4].to_vec()),
        ("cut in the body", good[..good.len() - 20].to_vec()),
        ("cut in the header", good[..100].to_vec()),
        ("legacy format", written(&[&one], legacy)),
        ("file format", file.into_inner().unwrap()),
        ("dictionary", with(Arc::new(dictionary))),
        ("view", with(Arc::new(StringViewArray::from(vec!["a", "b"])))),
        ("two columns of a name", written(&[&twice], IpcWriteOptions::default())),
        ("header length", [&good[..4], &[0xff, 0xff, 0xff, 0x7f], &good[8..]].concat()),
        ("negative header length", [&good[..4], &[0xff, 0xff, 0xff, 0xff], &good[8..]].concat()),
    ];
    let lines: Vec<_> = streams
        .iter()
        .map(|(name, bytes)| {
            let error = decode_ipc(bytes, &limits()).unwrap_err();
            format!("{name}: {} {error}", error.code())
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

/// Replaces one occurrence of a number in a stream.
fn lie(bytes: &[u8], truth: i64, lie: i64) -> Vec<u8> {
    let at = bytes.windows(8).position(|window| window == truth.to_le_bytes()).unwrap();
    let mut bytes = bytes.to_vec();
    bytes[at..at + 8].copy_from_slice(&lie.to_le_bytes());
    bytes
}

#[test]
fn lengths_that_lie_are_found_out_before_anything_is_allocated() {
    // 777 rows and 3,108 bytes are numbers that occur only as what they are.
    let one = batch(vec![("n", Arc::new(Int32Array::from_iter_values(0..777)) as ArrayRef)]);
    let good = encode_ipc(&one, &limits()).unwrap();
    let body = 3_136;
    let cases = [
        ("body beyond the stream", lie(&good, body, i64::MAX / 2)),
        ("body negative", lie(&good, body, -1)),
        ("body shorter than its buffers", lie(&good, body, 3_072)),
        ("rows beyond the limit", lie(&good, 777, 1 << 40)),
        ("rows negative", lie(&good, 777, -1)),
        ("more rows than values", lie(&good, 777, 778)),
        ("buffer beyond the body", lie(&good, 3_108, 3_137)),
        ("buffer too short", lie(&good, 3_108, 3_104)),
        ("buffer negative", lie(&good, 3_108, -8)),
    ];
    let lines: Vec<_> = cases
        .iter()
        .map(|(name, bytes)| {
            let error = decode_ipc(bytes, &limits()).unwrap_err();
            format!("{name}: {} {error}", error.code())
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn invalid_values_are_found_out() {
    let texts = batch(vec![("t", Arc::new(StringArray::from(vec!["abcdefghijk", "lmnopqrstuv"])) as ArrayRef)]);
    let good = encode_ipc(&texts, &limits()).unwrap();
    let replace = |from: &[u8], to: &[u8]| {
        let at = good.windows(from.len()).rposition(|window| window == from).unwrap();
        let mut bytes = good.clone();
        bytes[at..at + to.len()].copy_from_slice(to);
        decode_ipc(&bytes, &limits()).unwrap_err().to_string()
    };
    let offsets: Vec<u8> = [0_i32, 11, 22].iter().flat_map(|offset| offset.to_le_bytes()).collect();
    let bad = |offsets: [i32; 3]| offsets.iter().flat_map(|offset| offset.to_le_bytes()).collect::<Vec<_>>();
    let errors = [
        replace(b"abcdefghijk", b"\xff\xfe"),
        replace(&offsets, &bad([0, 23, 22])),
        replace(&offsets, &bad([0, 11, 1_000])),
        replace(&offsets, &bad([-1, 11, 22])),
    ];
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn limits_apply_before_planning_or_allocation() {
    let batch = every_type();
    let bytes = encode_ipc(&batch, &limits()).unwrap();
    let deep = |depth: usize| {
        let mut array: ArrayRef = Arc::new(Int32Array::from(vec![1]));
        for _ in 0..depth {
            let field = Arc::new(Field::new("f", array.data_type().clone(), true));
            array = Arc::new(StructArray::from(vec![(field, array)]));
        }
        written(&[&crate::tests::batch(vec![("d", array)])], IpcWriteOptions::default())
    };
    let long = Field::new("n", DataType::Int32, true).with_metadata([("k".to_owned(), "v".repeat(3_000))].into());
    let long =
        RecordBatch::try_new(Arc::new(Schema::new(vec![long])), vec![Arc::new(Int32Array::from(vec![1])) as ArrayRef])
            .unwrap();
    let long = written(&[&long], IpcWriteOptions::default());
    let rows = RecordBatch::try_new_with_options(
        Arc::new(Schema::empty()),
        Vec::new(),
        &RecordBatchOptions::new().with_row_count(Some(5_000_000)),
    )
    .unwrap();
    let rows = written(&[&rows], IpcWriteOptions::default());
    let errors = [
        decode_ipc(&bytes, &GuestLimits { max_ipc_bytes: 100, ..limits() }),
        decode_ipc(&bytes, &GuestLimits { max_ipc_rows: 2, ..limits() }),
        decode_ipc(&bytes, &GuestLimits { max_columns: 5, ..limits() }),
        decode_ipc(&bytes, &GuestLimits { max_type_depth: 1, ..limits() }),
        decode_ipc(&deep(16), &limits()),
        decode_ipc(&long, &GuestLimits { max_columns: 2, ..limits() }),
        decode_ipc(&rows, &limits()),
    ];
    assert!(decode_ipc(&deep(15), &limits()).is_ok());
    let lines: Vec<_> = errors.into_iter().map(|result| result.unwrap_err().to_string()).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn what_is_too_large_for_the_guest_is_not_written() {
    let one = batch(vec![("n", Arc::new(Int32Array::from_iter_values(0..777)) as ArrayRef)]);
    let data = encode_ipc(&one, &GuestLimits { max_ipc_bytes: 3_107, ..limits() }).unwrap_err();
    let headers = encode_ipc(&one, &GuestLimits { max_ipc_bytes: 3_200, ..limits() }).unwrap_err();
    let view = batch(vec![("v", Arc::new(StringViewArray::from(vec!["a"])) as ArrayRef)]);
    let view = encode_ipc(&view, &limits()).unwrap_err();
    for error in [&data, &headers] {
        assert!(matches!(error, ColumnarError::Limit { limit: "limits.guest.max_ipc_bytes", .. }), "{error}");
    }
    insta::assert_snapshot!(format!("{data}\n{view}"));
}

/// Decodes hostile bytes: an error, or a batch that is valid through and through.
fn survive(bytes: &[u8]) {
    if let Ok(batch) = decode_ipc(bytes, &limits()) {
        for column in batch.columns() {
            column.to_data().validate_full().unwrap();
            assert_eq!(column.len(), batch.num_rows());
        }
        // What was read can be printed and written again.
        let _ = arrow::util::pretty::pretty_format_batches(&[batch.slice(0, batch.num_rows().min(10))]);
        let _ = encode_ipc(&batch, &limits());
    }
}

#[test]
fn no_number_in_a_header_can_do_harm() {
    let good = encode_ipc(&every_type(), &limits()).unwrap();
    for at in 0..good.len() - 8 {
        for value in [0_i64, 1, -1, 7, 0x7fff, 0x7fff_ffff, i64::MIN, i64::MAX] {
            let mut bytes = good.clone();
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
            survive(&bytes);
        }
        let mut bytes = good.clone();
        bytes[at] = bytes[at].wrapping_add(1);
        survive(&bytes);
    }
    for end in 0..good.len() {
        assert!(decode_ipc(&good[..end], &limits()).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn mutations_of_a_valid_stream_never_panic(
        mutations in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut bytes = encode_ipc(&every_type(), &limits()).unwrap();
        for (at, value) in mutations {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        survive(&bytes);
    }
}
