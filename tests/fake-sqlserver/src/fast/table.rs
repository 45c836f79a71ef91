//! The description of a generated table, and its values.

use std::ops::Range;
use std::str::FromStr;

use crate::values::{Column, Length, SqlType, Value};

/// Rows of the block that is encoded once; values that are not unique a row repeat with this period.
pub const TEMPLATE_ROWS: u64 = 4096;

/// Characters of the long text of [`FastTable::long_text`], of two bytes each on the wire.
pub const LONG_TEXT_CHARACTERS: usize = 2_560;

/// How the values of one column come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generator {
    /// `row + 1`, for `int` and `bigint`: the primary key.
    Key,
    /// A different number in every row, for `int` and `bigint`, not ordered.
    UniqueNumber,
    /// A different identifier in every row, for `uniqueidentifier`.
    UniqueIdentifier,
    /// Anything, repeating every [`TEMPLATE_ROWS`] rows; one row in `null_every` is null (0: never).
    Repeating {
        /// Distance of nulls in rows.
        null_every: u64,
    },
    /// Words of English, repeating every [`TEMPLATE_ROWS`] rows, for text types.
    Prose {
        /// Length in characters, all of them ASCII.
        characters: usize,
    },
}

impl Generator {
    /// Whether a value depends on more than the row's place in the template.
    pub fn is_unique(self) -> bool {
        !matches!(self, Self::Repeating { .. } | Self::Prose { .. })
    }
}

/// A table of generated rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FastTable {
    /// Schema, `fast` unless said otherwise.
    pub schema: String,
    /// Table name.
    pub name: String,
    /// Columns in ordinal order.
    pub columns: Vec<Column>,
    /// One for each column.
    pub generators: Vec<Generator>,
    /// Number of rows.
    pub rows: u64,
}

impl FastTable {
    /// The shape of the project's benchmark: 11 columns, key `id`.
    pub fn orders(name: impl Into<String>, rows: u64) -> Self {
        let repeating = Generator::Repeating { null_every: 0 };
        let sometimes = Generator::Repeating { null_every: 7 };
        let spec: [(&str, SqlType, bool, Generator); 11] = [
            ("id", SqlType::Int, false, Generator::Key),
            ("customer_id", SqlType::BigInt, false, Generator::UniqueNumber),
            ("order_ref", SqlType::NVarChar(Length::Limited(40)), false, repeating),
            ("amount", SqlType::Decimal { precision: 18, scale: 4 }, false, repeating),
            ("quantity", SqlType::Int, true, sometimes),
            ("price", SqlType::Float, false, repeating),
            ("created_at", SqlType::DateTime2 { scale: 6 }, false, repeating),
            ("ship_date", SqlType::Date, true, Generator::Repeating { null_every: 5 }),
            ("is_open", SqlType::Bit, false, repeating),
            ("note", SqlType::VarChar(Length::Limited(100)), true, Generator::Repeating { null_every: 4 }),
            ("guid", SqlType::UniqueIdentifier, false, Generator::UniqueIdentifier),
        ];
        Self::from_spec(name.into(), rows, spec.into_iter().map(|(n, t, null, g)| (n.to_owned(), t, null, g)))
    }

    /// Four columns of fixed width: key, number, amount and moment.
    pub fn narrow(name: impl Into<String>, rows: u64) -> Self {
        let repeating = Generator::Repeating { null_every: 0 };
        let spec = [
            ("id".to_owned(), SqlType::Int, false, Generator::Key),
            ("value".to_owned(), SqlType::Int, false, Generator::UniqueNumber),
            ("amount".to_owned(), SqlType::Decimal { precision: 18, scale: 4 }, false, repeating),
            ("created_at".to_owned(), SqlType::DateTime2 { scale: 6 }, false, repeating),
        ];
        Self::from_spec(name.into(), rows, spec)
    }

    /// Key, title, and a text of [`LONG_TEXT_CHARACTERS`] in `nvarchar(max)`: 5 KB on the wire.
    pub fn long_text(name: impl Into<String>, rows: u64) -> Self {
        let prose = Generator::Prose { characters: LONG_TEXT_CHARACTERS };
        let spec = [
            ("id".to_owned(), SqlType::Int, false, Generator::Key),
            ("title".to_owned(), SqlType::NVarChar(Length::Limited(40)), false, Generator::Repeating { null_every: 0 }),
            ("body".to_owned(), SqlType::NVarChar(Length::Max), false, prose),
        ];
        Self::from_spec(name.into(), rows, spec)
    }

    /// Key and 119 columns of mixed types, half of them nullable.
    pub fn wide(name: impl Into<String>, rows: u64) -> Self {
        let types = [
            SqlType::Int,
            SqlType::NVarChar(Length::Limited(30)),
            SqlType::Decimal { precision: 18, scale: 4 },
            SqlType::DateTime2 { scale: 7 },
            SqlType::VarChar(Length::Limited(50)),
            SqlType::Float,
            SqlType::Bit,
            SqlType::Date,
        ];
        let key = ("id".to_owned(), SqlType::Int, false, Generator::Key);
        let rest = (1..120usize).map(|i| {
            let nullable = i % 2 == 0;
            let null_every = if nullable { 2 + i as u64 % 5 } else { 0 };
            (format!("c{i:03}"), types[i % types.len()], nullable, Generator::Repeating { null_every })
        });
        Self::from_spec(name.into(), rows, std::iter::once(key).chain(rest))
    }

    fn from_spec(name: String, rows: u64, spec: impl IntoIterator<Item = (String, SqlType, bool, Generator)>) -> Self {
        let (columns, generators) = spec
            .into_iter()
            .map(|(name, sql_type, nullable, generator)| {
                let mut column = Column::new(name, sql_type);
                column.nullable = nullable;
                (column, generator)
            })
            .unzip();
        Self { schema: "fast".to_owned(), name, columns, generators, rows }
    }

    /// The column that is the primary key, if there is one: value `row + 1`.
    pub fn key_column(&self) -> Option<usize> {
        self.generators.iter().position(|g| *g == Generator::Key)
    }

    /// The rows whose key lies in a half-open range; `None` is no bound.
    pub fn rows_of_keys(&self, from_inclusive: Option<i64>, to_exclusive: Option<i64>) -> Range<u64> {
        let row_of = |key: i64| u64::try_from(key.saturating_sub(1)).unwrap_or(0).min(self.rows);
        let start = from_inclusive.map_or(0, row_of);
        let end = to_exclusive.map_or(self.rows, row_of);
        start..end.max(start)
    }

    /// The value of one cell. Rows count from 0.
    pub fn value(&self, row: u64, column: usize) -> Value {
        let (Some(described), Some(generator)) = (self.columns.get(column), self.generators.get(column)) else {
            return Value::Null;
        };
        match generator {
            Generator::Key => Value::Int(i64::try_from(row).unwrap_or(i64::MAX).saturating_add(1)),
            Generator::UniqueNumber => unique_number(described.sql_type, row, column),
            Generator::UniqueIdentifier => Value::Uuid(unique_identifier(row, column)),
            Generator::Repeating { null_every } => {
                let slot = row % TEMPLATE_ROWS;
                if *null_every > 0 && slot % null_every == null_every - 1 {
                    return Value::Null;
                }
                repeating(described.sql_type, slot, column)
            }
            Generator::Prose { characters } => Value::Text(prose(row % TEMPLATE_ROWS, *characters)),
        }
    }
}

/// Why a text is no generated table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no generated table: write [schema.]name=rows[:orders|:wide|:narrow|:text]")]
pub struct NoFastTable(String);

impl FromStr for FastTable {
    type Err = NoFastTable;

    /// Reads `[schema.]name=rows[:shape]`; the shape is `orders` unless it is `wide`, `narrow` or `text`.
    fn from_str(text: &str) -> Result<Self, NoFastTable> {
        let refused = || NoFastTable(text.to_owned());
        let (name, size) = text.split_once('=').ok_or_else(refused)?;
        let (rows, shape) = size.split_once(':').unwrap_or((size, "orders"));
        let rows = rows.replace('_', "").parse().map_err(|_| refused())?;
        let (schema, name) = name.split_once('.').unwrap_or(("fast", name));
        if schema.is_empty() || name.is_empty() {
            return Err(refused());
        }
        let mut table = match shape {
            "orders" => Self::orders(name, rows),
            "wide" => Self::wide(name, rows),
            "narrow" => Self::narrow(name, rows),
            "text" => Self::long_text(name, rows),
            _ => return Err(refused()),
        };
        schema.clone_into(&mut table.schema);
        Ok(table)
    }
}

/// A bijection of 64-bit numbers (the finaliser of splitmix64), so different rows never meet.
fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

pub(super) fn unique_number(sql_type: SqlType, row: u64, column: usize) -> Value {
    match sql_type {
        // Multiplication by an odd number permutes the 32-bit numbers.
        SqlType::Int => Value::Int(i64::from((row as u32).wrapping_mul(0x9e37_79b1) as i32)),
        _ => Value::Int(mix(row ^ ((column as u64) << 48)) as i64),
    }
}

pub(super) fn unique_identifier(row: u64, column: usize) -> [u8; 16] {
    let mut bytes = [0u8; 16];
    let high = mix(row.wrapping_add((column as u64) << 48));
    bytes[..8].copy_from_slice(&high.to_be_bytes());
    bytes[8..].copy_from_slice(&mix(high ^ 0x5851_f42d_4c95_7f2d).to_be_bytes());
    bytes
}

fn repeating(sql_type: SqlType, slot: u64, column: usize) -> Value {
    let random = mix(slot.wrapping_mul(131).wrapping_add(column as u64 + 1));
    match sql_type {
        SqlType::Bit => Value::Bit(random & 1 == 1),
        SqlType::TinyInt => Value::Int((random % 256) as i64),
        SqlType::SmallInt => Value::Int(i64::from(random as i16)),
        SqlType::Int => Value::Int((random % 1000) as i64),
        SqlType::BigInt => Value::Int((random >> 1) as i64),
        SqlType::Real => Value::Real((random % 100_000) as f32 / 8.0),
        SqlType::Float => Value::Float((random % 10_000_000) as f64 / 64.0),
        SqlType::Decimal { precision, scale } | SqlType::Numeric { precision, scale } => {
            let limit = 10i128.pow(u32::from(precision.min(11)));
            Value::Decimal { unscaled: i128::from(random) % limit, scale }
        }
        SqlType::Money | SqlType::SmallMoney => {
            Value::Decimal { unscaled: i128::from(random % 1_000_000_000), scale: 4 }
        }
        SqlType::Date => Value::Date { days: 737_000 + (random % 3_000) as u32 },
        SqlType::Time { scale } => Value::Time { ticks: ticks(random, scale) },
        SqlType::DateTime => {
            Value::DateTime { days: 43_000 + (random % 3_000) as i32, three_hundredths: (random % 25_920_000) as u32 }
        }
        SqlType::SmallDateTime => {
            Value::SmallDateTime { days: 43_000 + (random % 3_000) as u16, minutes: (random % 1_440) as u16 }
        }
        SqlType::DateTime2 { scale } => {
            Value::DateTime2 { days: 737_000 + (random % 3_000) as u32, ticks: ticks(random, scale) }
        }
        SqlType::DateTimeOffset { scale } => Value::DateTimeOffset {
            days: 737_000 + (random % 3_000) as u32,
            ticks: ticks(random, scale),
            offset_minutes: (random % 24) as i16 * 30 - 360,
        },
        SqlType::Char { length } => Value::Text(text(random, usize::from(length))),
        SqlType::NChar { length } => Value::Text(text(random, usize::from(length))),
        SqlType::VarChar(length) => Value::Text(format!("note {}", text(random, text_length(length, random)))),
        SqlType::NVarChar(length) => Value::Text(format!("é{}", text(random, text_length(length, random)))),
        SqlType::Text | SqlType::NText => Value::Text(text(random, 60)),
        SqlType::Xml => Value::Text(format!("<v>{}</v>", random % 1000)),
        SqlType::Json => Value::Text(format!("{{\"v\":{}}}", random % 1000)),
        SqlType::Binary { length } => Value::Bytes(vec![random as u8; usize::from(length)]),
        SqlType::VarBinary(_) | SqlType::Image => Value::Bytes(random.to_be_bytes().to_vec()),
        SqlType::RowVersion => Value::Bytes(random.to_be_bytes().to_vec()),
        SqlType::UniqueIdentifier => Value::Uuid(unique_identifier(slot, column)),
        SqlType::SqlVariant | SqlType::HierarchyId | SqlType::Geometry | SqlType::Geography => Value::Null,
    }
}

/// A time of day in ticks of 100 ns, with no more digits than the scale has: whoever encodes it has nothing to cut or round.
fn ticks(random: u64, scale: u8) -> u64 {
    let unit = 10u64.pow(u32::from(7u8.saturating_sub(scale)));
    random % 864_000_000_000 / unit * unit
}

/// About a third to two thirds of the declared length, leaving room for the prefix.
fn text_length(length: Length, random: u64) -> usize {
    let limit = match length {
        Length::Limited(limit) => usize::from(limit).saturating_sub(6),
        Length::Max => 80,
    };
    limit / 3 + (random >> 32) as usize % (limit / 3 + 1)
}

/// Text of hexadecimal digits, as a reference number might look.
fn text(mut random: u64, length: usize) -> String {
    let mut text = String::with_capacity(length + 16);
    while text.len() < length {
        text.push_str(&format!("{random:016x}"));
        random = mix(random.wrapping_add(1));
    }
    text.truncate(length);
    text
}

/// Text as people write it, to a compressor at least: common words in no order.
fn prose(slot: u64, characters: usize) -> String {
    const WORDS: [&str; 32] = [
        "the",
        "customer",
        "asked",
        "for",
        "delivery",
        "before",
        "noon",
        "and",
        "invoice",
        "was",
        "sent",
        "again",
        "to",
        "accounting",
        "because",
        "of",
        "a",
        "missing",
        "reference",
        "number",
        "please",
        "check",
        "with",
        "warehouse",
        "about",
        "returned",
        "goods",
        "credit",
        "note",
        "in",
        "March",
        "payment",
    ];
    let mut random = mix(slot.wrapping_add(0x5eed));
    let mut text = String::with_capacity(characters + 16);
    while text.len() < characters {
        random = mix(random.wrapping_add(0x9e37_79b9_7f4a_7c15));
        text.push_str(WORDS.get((random >> 59) as usize).copied().unwrap_or_default());
        // Something that no other row has, as texts do.
        if random & 0x1f == 0 {
            text.push_str(&format!(" {:08x}", random >> 16 & 0xffff_ffff));
        }
        text.push(if random & 0xe0 == 0 { '.' } else { ' ' });
    }
    text.truncate(characters);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_from_a_text() {
        let table: FastTable = "orders_1m=1_000_000".parse().unwrap();
        assert_eq!((table.schema.as_str(), table.name.as_str(), table.rows), ("fast", "orders_1m", 1_000_000));
        assert_eq!(table.columns.len(), 11);
        let wide: FastTable = "bench.w=5:wide".parse().unwrap();
        assert_eq!((wide.schema.as_str(), wide.columns.len()), ("bench", 120));
        let text: FastTable = "bench.t=5:text".parse().unwrap();
        assert_eq!((text.columns.len(), text.value(3, 0)), (3, Value::Int(4)));
        let Value::Text(body) = text.value(3, 2) else { panic!("no text") };
        assert_eq!(body.len(), LONG_TEXT_CHARACTERS);
        assert_ne!(text.value(4, 2), text.value(3, 2));
        for wrong in ["orders", "=5", "a=x", "a=5:tall", ".a=5", "a=-1"] {
            assert!(wrong.parse::<FastTable>().is_err(), "{wrong}");
        }
    }
}
