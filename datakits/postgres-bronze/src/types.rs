//! PostgreSQL's types: which are read as they are, and what the others are cast to.

use std::fmt;

use crate::settings::{EndOfDay, NumericPolicy, Settings, SpecialValues};
use crate::statement::ReadAs;

/// A type as the catalog describes it; of a domain, the type below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlType {
    /// In the declaration's words: `character varying(40)`, the domain's name.
    pub declared: String,
    /// The object id of the base type.
    pub id: i64,
    /// `b` base, `c` composite, `e` enum, `r` range, `m` multirange.
    pub kind: String,
    /// `A` for an array.
    pub category: String,
    /// What the declaration says in parentheses, in the type's own coding; -1 for nothing.
    pub modifier: i64,
}

impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.declared)
    }
}

/// How a column is read, and what of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The expression.
    pub read: ReadAs,
    /// The Arrow type, in the WIT's text form.
    pub arrow_type: String,
}

// Object ids of types are fixed in the server's sources (`pg_type.dat`). A type that somebody made may have any name.
const BOOL: i64 = 16;
const BYTEA: i64 = 17;
const NAME: i64 = 19;
const INT8: i64 = 20;
const INT2: i64 = 21;
const INT4: i64 = 23;
const TEXT: i64 = 25;
const OID: i64 = 26;
const JSON: i64 = 114;
const FLOAT4: i64 = 700;
const FLOAT8: i64 = 701;
const MONEY: i64 = 790;
const BPCHAR: i64 = 1042;
const VARCHAR: i64 = 1043;
const DATE: i64 = 1082;
const TIME: i64 = 1083;
const TIMESTAMP: i64 = 1114;
const TIMESTAMPTZ: i64 = 1184;
const NUMERIC: i64 = 1700;
const UUID: i64 = 2950;
const JSONB: i64 = 3802;

impl SqlType {
    /// How values of this type are read; none for a numeric whose digits nobody bounded, unless the settings want its text.
    #[must_use]
    pub fn reading(&self, settings: &Settings) -> Option<Reading> {
        let reading = |read, arrow_type: &str| Some(Reading { read, arrow_type: arrow_type.to_owned() });
        let value = |arrow_type| reading(ReadAs::Value, arrow_type);
        let finite = || if settings.infinity == SpecialValues::Null { ReadAs::FiniteOrNull } else { ReadAs::Value };
        // An array of anything is in its own category, whatever its item is.
        if self.category == "A" || self.kind == "c" {
            return reading(ReadAs::Json, "Utf8");
        }
        if self.kind == "e" {
            return value("Utf8");
        }
        match self.id {
            BOOL => value("Boolean"),
            INT2 => value("Int16"),
            INT4 => value("Int32"),
            INT8 | OID => value("Int64"),
            FLOAT4 => value("Float32"),
            FLOAT8 => value("Float64"),
            BYTEA => value("Binary"),
            UUID => value("FixedSizeBinary(16)"),
            NAME | TEXT | VARCHAR | BPCHAR | JSON | JSONB => value("Utf8"),
            DATE => reading(finite(), "Date32"),
            TIME => match settings.end_of_day {
                EndOfDay::Error => value("Time64(ns)"),
                EndOfDay::Null => reading(ReadAs::WithinDayOrNull, "Time64(ns)"),
                EndOfDay::Text => reading(ReadAs::Text, "Utf8"),
            },
            TIMESTAMP => reading(finite(), "Timestamp(us)"),
            TIMESTAMPTZ => reading(finite(), "Timestamp(us, UTC)"),
            MONEY => reading(ReadAs::Money, "Decimal128(23, 4)"),
            NUMERIC => match self.decimal() {
                Some((precision, scale)) => {
                    let read = match settings.nan {
                        SpecialValues::Null => ReadAs::NumberOrNull { precision, scale },
                        SpecialValues::Error => ReadAs::Value,
                    };
                    reading(read, &format!("Decimal128({precision}, {scale})"))
                }
                None if settings.numeric == NumericPolicy::Text => reading(ReadAs::Text, "Utf8"),
                None => None,
            },
            // Whatever it is, the server can show it.
            _ => reading(ReadAs::Text, "Utf8"),
        }
    }

    /// Precision and scale of the decimal that holds every value of a declared numeric; none without a declaration, and for
    /// one of more than 38 digits. Source: `numerictypmodin` in the server.
    fn decimal(&self) -> Option<(u8, u8)> {
        let declared = self.modifier - 4;
        if declared < 0 {
            return None;
        }
        let (precision, scale) = (declared >> 16 & 0xffff, ((declared & 0x7ff) ^ 1024) - 1024);
        // Since version 15 a scale may be negative or above the precision.
        let (precision, scale) = if scale < 0 { (precision - scale, 0) } else { (precision.max(scale), scale) };
        if precision > 38 {
            return None;
        }
        Some((u8::try_from(precision).ok()?, u8::try_from(scale).ok()?))
    }

    /// Field metadata of a column of this type.
    #[must_use]
    pub fn metadata(&self) -> Vec<(String, String)> {
        let mut metadata = vec![("datakit.source-type".to_owned(), self.declared.clone())];
        if self.id == UUID && self.category != "A" {
            metadata.push(("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned()));
        }
        metadata
    }

    /// The type of a key that ranges can be cut from.
    #[must_use]
    pub fn key_type(&self) -> Option<datakit_sdk::ranges::KeyType> {
        use datakit_sdk::ranges::KeyType;
        match self.id {
            INT4 => Some(KeyType::Int),
            INT8 => Some(KeyType::Bigint),
            DATE => Some(KeyType::Date),
            UUID => Some(KeyType::Uuid),
            _ => None,
        }
    }
}
