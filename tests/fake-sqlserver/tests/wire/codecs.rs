//! Properties of the codecs: what is written is read again, and what is read is never believed.

use datakit_fake_sqlserver::tds::cell::{self, Frame};
use datakit_fake_sqlserver::tds::reader::Reader;
use datakit_fake_sqlserver::tds::type_info::{self, WireType};
use datakit_fake_sqlserver::tds::{Encoding, Features, declaration, login, prelogin, rpc};
use datakit_fake_sqlserver::values::{Column, Length, SqlType, Value, Variant};
use proptest::prelude::*;

const TICKS_A_DAY: u64 = 864_000_000_000;

fn decimals() -> impl Strategy<Value = (SqlType, Value)> {
    (1u8..=38).prop_flat_map(|precision| (Just(precision), 0..=precision)).prop_flat_map(|(precision, scale)| {
        let limit = 10i128.pow(u32::from(precision));
        (-limit + 1..limit)
            .prop_map(move |unscaled| (SqlType::Decimal { precision, scale }, Value::Decimal { unscaled, scale }))
    })
}

fn moments() -> impl Strategy<Value = (SqlType, Value)> {
    (0u8..=7, 0u64..TICKS_A_DAY, 1u32..3_652_058, -840i16..=840, 0usize..6, any::<i32>()).prop_map(
        |(scale, ticks, days, offset_minutes, which, wild)| {
            // What a scale cannot hold is dropped when written, so it must not be there to begin with.
            let unit = 10u64.pow(u32::from(7 - scale));
            let ticks = ticks / unit * unit;
            let three_hundredths = (ticks % 25_920_000) as u32;
            match which {
                0 => (SqlType::Date, Value::Date { days }),
                1 => (SqlType::Time { scale }, Value::Time { ticks }),
                2 => (SqlType::DateTime2 { scale }, Value::DateTime2 { days, ticks }),
                3 => (SqlType::DateTimeOffset { scale }, Value::DateTimeOffset { days, ticks, offset_minutes }),
                4 => (SqlType::DateTime, Value::DateTime { days: wild, three_hundredths }),
                _ => {
                    let minutes = (three_hundredths % 1440) as u16;
                    (SqlType::SmallDateTime, Value::SmallDateTime { days: days as u16, minutes })
                }
            }
        },
    )
}

fn numbers() -> impl Strategy<Value = (SqlType, Value)> {
    prop_oneof![
        any::<bool>().prop_map(|bit| (SqlType::Bit, Value::Bit(bit))),
        any::<u8>().prop_map(|n| (SqlType::TinyInt, Value::Int(i64::from(n)))),
        any::<i16>().prop_map(|n| (SqlType::SmallInt, Value::Int(i64::from(n)))),
        any::<i32>().prop_map(|n| (SqlType::Int, Value::Int(i64::from(n)))),
        any::<i64>().prop_map(|n| (SqlType::BigInt, Value::Int(n))),
        any::<f32>().prop_filter("comparable", |n| !n.is_nan()).prop_map(|n| (SqlType::Real, Value::Real(n))),
        any::<f64>().prop_filter("comparable", |n| !n.is_nan()).prop_map(|n| (SqlType::Float, Value::Float(n))),
        any::<i64>().prop_map(|n| (SqlType::Money, Value::Decimal { unscaled: i128::from(n), scale: 4 })),
        any::<i32>().prop_map(|n| (SqlType::SmallMoney, Value::Decimal { unscaled: i128::from(n), scale: 4 })),
        any::<[u8; 16]>().prop_map(|id| (SqlType::UniqueIdentifier, Value::Uuid(id))),
    ]
}

fn texts() -> impl Strategy<Value = (SqlType, Value)> {
    let page = proptest::collection::vec(
        proptest::char::range(' ', '~').prop_union(proptest::char::range('\u{a0}', 'ÿ')),
        0..300,
    );
    prop_oneof![
        page.prop_map(|c| (SqlType::VarChar(Length::Limited(300)), Value::Text(c.into_iter().collect()))),
        ".{0,80}".prop_map(|text| (SqlType::NVarChar(Length::Limited(200)), Value::Text(text))),
        ".{0,80}".prop_map(|text| (SqlType::NVarChar(Length::Max), Value::Text(text))),
        ".{0,80}".prop_map(|text| (SqlType::Xml, Value::Text(text))),
        proptest::collection::vec(any::<u8>(), 0..300)
            .prop_map(|bytes| (SqlType::VarBinary(Length::Limited(300)), Value::Bytes(bytes))),
        proptest::collection::vec(any::<u8>(), 0..3000)
            .prop_map(|bytes| (SqlType::VarBinary(Length::Max), Value::Bytes(bytes))),
    ]
}

fn written_and_read(column: &Column, value: &Value, encoding: &Encoding) -> Value {
    let mut told = Vec::new();
    type_info::write(&mut told, column, Features::default());
    let wire_type: WireType = type_info::read(&mut Reader::new(&told, "type")).unwrap().unwrap();
    let mut bytes = Vec::new();
    cell::write(&mut bytes, column, Frame::of(column), value, encoding).unwrap();
    let mut reader = Reader::new(&bytes, "value");
    let read = rpc::value(&mut reader, wire_type).unwrap();
    assert_eq!(reader.remaining(), 0);
    read
}

proptest! {
    #[test]
    fn a_written_value_is_read_again(
        (sql_type, value) in prop_oneof![decimals(), moments(), numbers(), texts()],
        nullable: bool,
        announced_lengths: bool,
        short_decimals: bool,
        chunk_bytes in 1usize..500,
    ) {
        let mut column = Column::new("c", sql_type);
        column.nullable = nullable;
        let encoding = Encoding { announced_lengths, short_decimals, chunk_bytes, ..Encoding::default() };
        prop_assert_eq!(written_and_read(&column, &value, &encoding), value);
        if nullable {
            prop_assert_eq!(written_and_read(&column, &Value::Null, &encoding), Value::Null);
        }
    }

    #[test]
    fn a_written_variant_is_read_again((sql_type, value) in prop_oneof![decimals(), moments(), numbers()]) {
        let content = Variant { sql_type, collation: Default::default(), value };
        let column = Column::new("v", SqlType::SqlVariant);
        let value = Value::Variant(Box::new(content));
        prop_assert_eq!(written_and_read(&column, &value, &Encoding::default()), value);
    }

    #[test]
    fn no_bytes_make_the_readers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = prelogin::parse(&bytes);
        let _ = login::parse(&bytes);
        let _ = rpc::parse(&bytes);
        let _ = declaration::parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_damage_to_a_real_message_makes_the_readers_panic(place in 0usize..400, byte: u8, cut in 0usize..400) {
        for (name, exchange) in [("12-parameters", 0), ("12-parameters", 1), ("12-parameters", 2)] {
            let capture = crate::captures::load(name);
            let mut bytes = crate::captures::tokens(&capture.exchanges[exchange].client);
            let length = bytes.len();
            bytes[place % length] = byte;
            for bytes in [bytes.as_slice(), &bytes[..cut % length]] {
                let _ = prelogin::parse(bytes);
                let _ = login::parse(bytes);
                let _ = rpc::parse(bytes);
            }
        }
    }
}
