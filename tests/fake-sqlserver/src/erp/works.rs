//! People, stock, rates, logs, and tables with odd names.

use super::Rows;
use super::random::{Random, text};
use super::sales::{product_count, product_id};
use crate::values::{Collation, Length, SqlType, Value, Variant};

/// `finance.exchange_rates`, keyed by date: one a day for ten years.
pub fn exchange_rates() -> Rows {
    Box::new((0..3_653).map(|row| {
        let random = &mut Random::of(20, row);
        let rate = |random: &mut Random, base: i128| Value::Decimal {
            unscaled: base * 10_i128.pow(8) + i128::from(random.below(1_000_000_000)),
            scale: 10,
        };
        vec![
            Value::Date { days: 735_600 + row as u32 },
            rate(random, 108),
            rate(random, 86),
            random.or_null(30, |random| rate(random, 13_000)),
        ]
    }))
}

/// `hr.employees`
pub fn employees(scale: u64) -> Rows {
    Box::new((0..(scale / 200).max(20)).map(|row| {
        let random = &mut Random::of(21, row);
        let number = row as i64 + 1;
        vec![
            Value::Int(number),
            text(random.one(&["Anne-Sophie", "Bo", "Célestine", "D'Arcy", "Евгений"])),
            text(random.one(&["van der Berg", "Ó Briain", "Süß", "李", "de la Cruz"])),
            if row == 0 { Value::Null } else { Value::Int((number - 1) / 7 + 1) },
            Value::Date { days: random.day() - 4_000 },
            random.or_null(4, |random| Value::Time { ticks: (6 + random.below(16)) * 36_000_000_000 }),
            random.or_null(10, |random| random.amount(1_500_000_000)),
            random.or_null(5, |random| Value::Bytes(vec![0x5a, 0xc0 + (random.below(8) as u8) * 4])),
            random.or_null(3, |random| text(format!("{} years abroad; élève à l'École", random.below(12)))),
            random.or_null(3, |random| Value::Bytes(random.bits().to_be_bytes().to_vec())),
        ]
    }))
}

/// `warehouse.[Stock Movements]`
pub fn stock_movements(scale: u64) -> Rows {
    let products = product_count(scale);
    Box::new((0..scale).map(move |row| {
        let random = &mut Random::of(22, row);
        vec![
            Value::Int(row as i64 * 2 + 1),
            product_id(random.below(products)),
            Value::Int(random.int(400) - 200),
            // Microseconds: the seventh digit has its place in dbo.all_types.
            Value::DateTime2 { days: random.day(), ticks: random.below(86_400_000_000) * 10 },
            random.or_null(8, |random| text(format!("{}-{:02}", random.one(&["A", "B", "Ç"]), random.below(60)))),
            text(random.one(&["CORP\\scanner1", "CORP\\scanner2", "sa"])),
            random.or_null(5, |random| Value::Real(random.below(1_000_000) as f32 / 64.0)),
        ]
    }))
}

/// `dbo.audit_log`, without a key.
pub fn audit_log(scale: u64) -> Rows {
    Box::new((0..scale / 5).map(|row| {
        let random = &mut Random::of(23, row);
        vec![
            Value::DateTime2 { days: 738_000 + (row / 1_000) as u32, ticks: random.below(86_400_000_000) * 10 },
            text(random.one(&["CORP\\admin", "svc_import", "Ünal"])),
            text(random.one(&["INSERT", "UPDATE", "DELETE", "LOGIN"])),
            random.or_null(3, |random| text(format!("row {} of sales.orders", random.below(1_000)))),
            variant(random),
            variant(random),
        ]
    }))
}

fn variant(random: &mut Random) -> Value {
    let (sql_type, value) = match random.below(6) {
        0 => return Value::Null,
        1 => (SqlType::Int, Value::Int(random.int(1_000_000))),
        2 => (SqlType::NVarChar(Length::Limited(40)), text("größer")),
        3 => (
            SqlType::Decimal { precision: 12, scale: 3 },
            Value::Decimal { unscaled: i128::from(random.below(1_000_000)), scale: 3 },
        ),
        4 => (SqlType::Date, Value::Date { days: random.day() }),
        _ => (SqlType::Bit, Value::Bit(random.rarely(2))),
    };
    Value::Variant(Box::new(Variant { sql_type, collation: Collation::default(), value }))
}

/// `dbo.events`: a skewed key, most rows at one end of a vast range.
pub fn events(scale: u64) -> Rows {
    let count = scale / 5;
    Box::new((0..count).map(move |row| {
        let random = &mut Random::of(24, row);
        let id = if row < count * 95 / 100 { row } else { 1_000_000_000_000 + row * row };
        vec![
            Value::Int(id as i64 - 10),
            Value::Int(random.int(40) - 5),
            // Whole microseconds: clocks give no more, and not every sink holds the seventh digit.
            random.or_null(4, |random| Value::Time { ticks: random.below(86_400_000_000) * 10 }),
            random.or_null(3, |random| text(format!("event {row}: {}", random.one(&["ok", "échec", "retry"])))),
        ]
    }))
}

/// The two tables of `[odd.schema]`, which share their shape.
pub fn odd(count: u64) -> Rows {
    Box::new((0..count).map(|row| {
        let random = &mut Random::of(25, row);
        vec![
            Value::Int(row as i64),
            random.or_null(4, |_| text("]]. [x]")),
            random.or_null(4, |random| Value::Int(random.int(100))),
            random.or_null(4, |_| text("it's \"so\"")),
            random.or_null(4, |random| Value::Bit(random.rarely(2))),
            random.or_null(4, |random| Value::Int(random.int(7))),
            random.or_null(4, |_| text("日本 🚀")),
            random.or_null(4, |random| Value::Float(random.below(1_000) as f64 / 8.0)),
        ]
    }))
}
