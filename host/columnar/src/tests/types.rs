//! The text form of types and schemas.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use datakit_model::{Diagnostic, GuestLimits};
use proptest::prelude::*;

use crate::{ColumnarError, WireField, schema_from_wire, schema_to_wire};

fn leaf() -> impl Strategy<Value = DataType> {
    let unit = prop_oneof![
        Just(TimeUnit::Second),
        Just(TimeUnit::Millisecond),
        Just(TimeUnit::Microsecond),
        Just(TimeUnit::Nanosecond)
    ];
    let zone = prop_oneof![Just(None), Just(Some("UTC")), Just(Some("+02:00")), Just(Some("Europe/Berlin"))];
    prop_oneof![
        prop::sample::select(vec![
            DataType::Null,
            DataType::Boolean,
            DataType::Int8,
            DataType::Int16,
            DataType::Int32,
            DataType::Int64,
            DataType::UInt8,
            DataType::UInt16,
            DataType::UInt32,
            DataType::UInt64,
            DataType::Float32,
            DataType::Float64,
            DataType::Utf8,
            DataType::LargeUtf8,
            DataType::Binary,
            DataType::LargeBinary,
            DataType::Date32,
            DataType::Time32(TimeUnit::Second),
            DataType::Time32(TimeUnit::Millisecond),
            DataType::Time64(TimeUnit::Microsecond),
            DataType::Time64(TimeUnit::Nanosecond),
        ]),
        (1..4096_i32).prop_map(DataType::FixedSizeBinary),
        (1..=38_u8).prop_flat_map(|p| (Just(p), 0..=p.cast_signed())).prop_map(|(p, s)| DataType::Decimal128(p, s)),
        (unit, zone).prop_map(|(unit, zone)| DataType::Timestamp(unit, zone.map(Into::into))),
    ]
}

fn any_type() -> impl Strategy<Value = DataType> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        let name = prop_oneof![Just("item".to_owned()), "[a-z \",()é]{0,8}"];
        let field = (name, inner, any::<bool>()).prop_map(|(name, data_type, null)| Field::new(name, data_type, null));
        prop_oneof![
            field.clone().prop_map(|item| DataType::List(Arc::new(item))),
            prop::collection::vec(field, 1..4).prop_map(|fields| DataType::Struct(Fields::from(fields))),
        ]
    })
}

proptest! {
    #[test]
    fn every_type_has_one_text_and_comes_back(data_type in any_type(), nullable: bool) {
        let schema = Schema::new(vec![Field::new("c", data_type, nullable)]);
        let read = schema_from_wire(&schema_to_wire(&schema), &GuestLimits::default()).unwrap();
        prop_assert_eq!(&schema, read.as_ref());
    }

    #[test]
    fn no_text_panics_and_what_is_read_prints_the_same(text in "[A-Za-z0-9(), \":]{0,40}") {
        if let Ok(schema) = schema_from_wire(&[wire("c", &text)], &GuestLimits::default()) {
            prop_assert_eq!(&schema_to_wire(&schema)[0].arrow_type, &text);
        }
    }
}

fn wire(name: &str, arrow_type: &str) -> WireField {
    WireField { name: name.to_owned(), arrow_type: arrow_type.to_owned(), nullable: true, metadata: Vec::new() }
}

#[test]
fn the_spellings_of_the_wit_are_read() {
    for text in [
        "Null",
        "Boolean",
        "Int8",
        "Int16",
        "Int32",
        "Int64",
        "UInt8",
        "UInt16",
        "UInt32",
        "UInt64",
        "Float32",
        "Float64",
        "Decimal128(18, 4)",
        "Date32",
        "Time64(ns)",
        "Timestamp(us)",
        "Timestamp(us, UTC)",
        "Utf8",
        "LargeUtf8",
        "Binary",
        "LargeBinary",
        "FixedSizeBinary(16)",
        "List(Utf8)",
    ] {
        let schema = schema_from_wire(&[wire("c", text)], &GuestLimits::default()).unwrap();
        assert_eq!(schema_to_wire(&schema)[0].arrow_type, text);
    }
}

#[test]
fn other_texts_are_refused() {
    let texts = [
        "",
        "int32",
        "Int32 ",
        " Int32",
        "Decimal128(18,4)",
        "Decimal128(018, 4)",
        "Decimal128(39, 0)",
        "Decimal128(5, 6)",
        "Decimal128(5, -1)",
        "Decimal256(10, 2)",
        "Timestamp(µs)",
        "Timestamp(us, )",
        "Timestamp(us, A B)",
        "Time32(ns)",
        "Time64(s)",
        "FixedSizeBinary(0)",
        "FixedSizeBinary(-1)",
        "List()",
        "List(Int32",
        "Struct()",
        "Struct(a: Int32)",
        "Utf8View",
        "Dictionary(Int32, Utf8)",
        "List(\"item\": Int32)",
        "Int32)",
    ];
    let refusals: Vec<_> = texts
        .iter()
        .map(|text| {
            let error = schema_from_wire(&[wire("c", text)], &GuestLimits::default()).unwrap_err();
            assert!(matches!(error, ColumnarError::UnsupportedType { .. }), "{text}: {error}");
            format!("{} {error}", error.code())
        })
        .collect();
    insta::assert_snapshot!(refusals.join("\n"));
}

#[test]
fn depth_columns_and_text_are_bounded() {
    let limits = GuestLimits { max_columns: 3, max_type_depth: 4, ..GuestLimits::default() };
    let nested = |depth: usize| format!("{}Int32{}", "List(".repeat(depth), ")".repeat(depth));
    assert!(schema_from_wire(&[wire("c", &nested(2))], &limits).is_ok());
    let deep_limits = GuestLimits { max_type_depth: u64::MAX, max_columns: u64::MAX, ..GuestLimits::default() };
    let mut metadata = wire("c", "Int32");
    metadata.metadata = vec![("k".to_owned(), "v".repeat(4000))];
    let errors = [
        schema_from_wire(&[wire("c", &nested(4))], &GuestLimits { max_type_depth: 4, ..GuestLimits::default() }),
        schema_from_wire(&[wire("c", &nested(100_000))], &deep_limits),
        schema_from_wire(&[wire("a", "Int8"), wire("b", "Int8"), wire("c", "Int8"), wire("d", "Int8")], &limits),
        schema_from_wire(&[wire("a", "Int8"), wire("b", "Struct(\"x\": Int8, \"y\": Int8)")], &limits),
        schema_from_wire(&[metadata], &limits),
        schema_from_wire(&[wire("a", "Int8"), wire("a", "Int8")], &limits),
    ];
    let errors: Vec<_> = errors.into_iter().map(|error| error.unwrap_err()).collect();
    let texts: Vec<_> = errors.iter().map(|error| format!("{} {error}", error.code())).collect();
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn metadata_is_kept_in_the_order_of_its_keys() {
    let mut field = wire("c", "FixedSizeBinary(16)");
    field.metadata = vec![("ARROW:extension:name".into(), "arrow.uuid".into()), ("z".into(), "1".into())];
    let schema = schema_from_wire(&[field.clone()], &GuestLimits::default()).unwrap();
    assert_eq!(schema_to_wire(&schema), [field.clone()]);
    field.metadata.push(("z".into(), "2".into()));
    assert!(schema_from_wire(&[field], &GuestLimits::default()).is_err());
}
