//! `dbo.all_types`: a row of nulls, rows of the extremes of each type, and rows between.

use super::Rows;
use super::random::{Random, text};
use crate::values::{Collation, Length, SqlType, Value, Variant};

/// Rows of the table.
pub const ROWS: u64 = 500;

/// The rows of `dbo.all_types`: row 1 is null throughout, 2 the least and 3 the greatest of each type, 4 empty and zero.
pub fn rows() -> Rows {
    Box::new((1..=ROWS).map(|id| {
        let mut row = match id {
            1 => vec![Value::Null; 42],
            2 => least(),
            3 => greatest(),
            4 => empty(),
            _ => usual(id),
        };
        // rowversion is never null, and different in every row.
        row[36] = Value::Bytes((0x0001_0000 + id).to_be_bytes().to_vec());
        row.insert(0, Value::Int(id as i64));
        row
    }))
}

fn decimal(unscaled: i128, scale: u8) -> Value {
    Value::Decimal { unscaled, scale }
}

fn variant(sql_type: SqlType, value: Value) -> Value {
    Value::Variant(Box::new(Variant { sql_type, collation: Collation::default(), value }))
}

/// `POINT (x y)` as SQL Server serialises it: SRID, version 1, a single valid point.
fn point(srid: i32, x: f64, y: f64) -> Value {
    let mut bytes = srid.to_le_bytes().to_vec();
    bytes.extend([1, 0x0c]);
    bytes.extend(x.to_le_bytes());
    bytes.extend(y.to_le_bytes());
    Value::Bytes(bytes)
}

const DIGITS_38: i128 = 99_999_999_999_999_999_999_999_999_999_999_999_999;

fn least() -> Vec<Value> {
    vec![
        Value::Bit(false),
        Value::Int(0),
        Value::Int(i64::from(i16::MIN)),
        Value::Int(i64::from(i32::MIN)),
        Value::Int(i64::MIN),
        Value::Real(f32::MIN),
        Value::Float(f64::MIN),
        decimal(-999_999_999_999_999_999, 4),
        decimal(-DIGITS_38, 0),
        decimal(-DIGITS_38, 38),
        decimal(-999_999_999, 2),
        decimal(i128::from(i64::MIN), 4),
        decimal(i128::from(i32::MIN), 4),
        Value::Date { days: 0 },
        Value::Time { ticks: 0 },
        Value::Time { ticks: 0 },
        Value::DateTime { days: -53_690, three_hundredths: 0 },
        Value::SmallDateTime { days: 0, minutes: 0 },
        Value::DateTime2 { days: 0, ticks: 0 },
        Value::DateTime2 { days: 0, ticks: 0 },
        Value::DateTime2 { days: 0, ticks: 0 },
        Value::DateTimeOffset { days: 0, ticks: 0, offset_minutes: 840 },
        text(" "),
        text(" "),
        text(" "),
        text("\t"),
        text("\u{1}"),
        text("\u{1}"),
        text("\n"),
        text("\n"),
        text("<a/>"),
        text("null"),
        Value::Bytes(vec![0; 8]),
        Value::Bytes(vec![0]),
        Value::Bytes(vec![0]),
        Value::Bytes(vec![0]),
        Value::Null,
        Value::Uuid([0; 16]),
        variant(SqlType::BigInt, Value::Int(i64::MIN)),
        Value::Bytes(Vec::new()),
        point(0, -1e300, -0.0),
        point(4326, -90.0, -180.0),
    ]
}

fn greatest() -> Vec<Value> {
    vec![
        Value::Bit(true),
        Value::Int(255),
        Value::Int(i64::from(i16::MAX)),
        Value::Int(i64::from(i32::MAX)),
        Value::Int(i64::MAX),
        Value::Real(f32::MAX),
        Value::Float(f64::MAX),
        decimal(999_999_999_999_999_999, 4),
        decimal(DIGITS_38, 0),
        decimal(DIGITS_38, 38),
        decimal(999_999_999, 2),
        decimal(i128::from(i64::MAX), 4),
        decimal(i128::from(i32::MAX), 4),
        Value::Date { days: 3_652_058 },
        Value::Time { ticks: 863_990_000_000 },
        Value::Time { ticks: 863_999_999_990 },
        Value::DateTime { days: 2_958_463, three_hundredths: 25_919_999 },
        Value::SmallDateTime { days: 65_535, minutes: 1_439 },
        Value::DateTime2 { days: 3_652_058, ticks: 863_990_000_000 },
        Value::DateTime2 { days: 3_652_058, ticks: 863_999_990_000 },
        Value::DateTime2 { days: 3_652_058, ticks: 863_999_999_999 },
        Value::DateTimeOffset { days: 3_652_058, ticks: 863_999_999_990, offset_minutes: -840 },
        text("ÿÿÿÿÿÿÿÿÿÿ"),
        text("€".repeat(50)),
        text("abc ÿ€ž ".repeat(2_000)),
        text("日本語日本語日本語日"),
        text("🦀".repeat(25)),
        text("🦀 Straße Ω ".repeat(2_000)),
        text("text ÿ ".repeat(1_500)),
        text("ntext 日本 ".repeat(1_500)),
        text(format!("<r>{}</r>", "<v a=\"1\">ü</v>".repeat(500))),
        text(format!("[{}0]", "1,".repeat(3_000))),
        Value::Bytes(vec![0xff; 8]),
        Value::Bytes(vec![0xff; 50]),
        Value::Bytes((0..20_000_u32).map(|at| at as u8).collect()),
        Value::Bytes(vec![0xfe; 9_000]),
        Value::Null,
        Value::Uuid([0xff; 16]),
        variant(SqlType::NVarChar(Length::Limited(4000)), text("日".repeat(4_000))),
        Value::Bytes(vec![0x5a, 0xc0, 0x58]),
        point(i32::MAX, 1e300, 1e-300),
        point(4326, 90.0, 180.0),
    ]
}

fn empty() -> Vec<Value> {
    let mut row = usual(4);
    for at in [22, 23, 24, 25, 26, 27, 28, 29, 30] {
        row[at] = text("");
    }
    for at in [33, 34, 35] {
        row[at] = Value::Bytes(Vec::new());
    }
    row[5] = Value::Real(-0.0);
    row[6] = Value::Float(-0.0);
    for at in [7, 8, 9, 10, 11, 12] {
        row[at] = decimal(0, 0);
    }
    row[38] = variant(SqlType::VarChar(Length::Limited(1)), text(""));
    row
}

fn usual(id: u64) -> Vec<Value> {
    let random = &mut Random::of(30, id);
    let mut row = vec![
        Value::Bit(random.rarely(2)),
        Value::Int(random.int(256)),
        Value::Int(random.int(65_536) - 32_768),
        Value::Int(random.int(u32::MAX) + i64::from(i32::MIN)),
        Value::Int(random.bits().cast_signed()),
        Value::Real((random.int(2_000_000) - 1_000_000) as f32 / 32.0),
        Value::Float(random.int(2_000_000_000) as f64 / 1e3 - 1e6),
        decimal(i128::from(random.bits().cast_signed() % 1_000_000_000_000_000), 4),
        decimal(i128::from(random.bits().cast_signed()) * i128::from(random.below(1_000_000_000)), 0),
        decimal(i128::from(random.bits().cast_signed()), 38),
        decimal(i128::from(random.below(1_999_999_998)) - 999_999_999, 2),
        decimal(i128::from(random.bits().cast_signed() / 1_000), 4),
        decimal(i128::from(random.below(4_000_000_000)) - 2_000_000_000, 4),
        Value::Date { days: random.day() },
        Value::Time { ticks: random.below(86_400) * 10_000_000 },
        Value::Time { ticks: random.below(86_400_000_000) * 10 },
        Value::DateTime { days: random.int(80_000) as i32 - 30_000, three_hundredths: random.below(25_920_000) as u32 },
        Value::SmallDateTime { days: random.below(65_536) as u16, minutes: random.below(1_440) as u16 },
        Value::DateTime2 { days: random.day(), ticks: random.below(86_400) * 10_000_000 },
        Value::DateTime2 { days: random.day(), ticks: random.below(86_400_000) * 10_000 },
        Value::DateTime2 { days: random.day(), ticks: random.below(864_000_000_000) },
        Value::DateTimeOffset {
            days: random.day(),
            ticks: random.below(86_400_000_000) * 10,
            offset_minutes: random.int(113) as i16 * 15 - 840,
        },
        text(random.one(&["a", "né", "0123456789"])),
        text(random.one(&["plain", "naïve café", "l'œuf – 5 €"])),
        text("varchar(max) ".repeat(random.below(20) as usize)),
        text(random.one(&["日本", "ab", "🦀🦀"])),
        text(random.one(&["Ünïcödé", "Добрый день", "𝒳 math", "combining e\u{301}"])),
        text("多 max ".repeat(random.below(20) as usize)),
        text("old text"),
        text("old ntext 日"),
        text(format!("<v n=\"{}\">ü &amp; é</v>", random.below(100))),
        text(format!("{{\"n\":{}}}", random.below(100))),
        Value::Bytes(random.bits().to_be_bytes().to_vec()),
        Value::Bytes(random.bits().to_be_bytes()[..random.below(9) as usize].to_vec()),
        Value::Bytes(vec![id as u8; random.below(300) as usize]),
        Value::Bytes(vec![7; random.below(100) as usize]),
        Value::Null,
        random.uuid(),
        variants(random),
        Value::Bytes(vec![0x58 + (random.below(8) as u8)]),
        point(0, random.int(1000) as f64, random.int(1000) as f64),
        point(4326, random.int(90) as f64, random.int(180) as f64),
    ];
    // About one cell in eight is null.
    for cell in &mut row {
        if random.rarely(8) {
            *cell = Value::Null;
        }
    }
    row
}

fn variants(random: &mut Random) -> Value {
    let day = random.day();
    match random.below(9) {
        0 => variant(SqlType::TinyInt, Value::Int(200)),
        1 => variant(SqlType::Float, Value::Float(1.5)),
        2 => variant(SqlType::Money, decimal(-12_345, 4)),
        3 => variant(SqlType::UniqueIdentifier, random.uuid()),
        4 => variant(SqlType::DateTime2 { scale: 3 }, Value::DateTime2 { days: day, ticks: 10_000 }),
        5 => variant(
            SqlType::DateTimeOffset { scale: 0 },
            Value::DateTimeOffset { days: day, ticks: 36_000_000_000, offset_minutes: 60 },
        ),
        6 => variant(SqlType::VarBinary(Length::Limited(4)), Value::Bytes(vec![1, 2, 3, 4])),
        7 => variant(SqlType::Time { scale: 2 }, Value::Time { ticks: 12_345_600_000 }),
        _ => variant(SqlType::VarChar(Length::Limited(20)), text("variant é")),
    }
}
