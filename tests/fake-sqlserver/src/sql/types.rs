//! What SQL Server knows of each type: its name, its ids, its size, its place in the order of precedence.
//!
//! Facts: `sys.types` of SQL Server 2022, and "Data type precedence" of the T-SQL reference.

pub use super::declare::{declaration, from_ast, from_declaration};
use crate::values::{Length, SqlType};

/// `sysname`, the type of every name in the catalog.
pub const SYSNAME: SqlType = SqlType::NVarChar(Length::Limited(128));

/// What `sys.columns` and `sys.types` say of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypeFacts {
    /// Name in `sys.types`.
    pub name: &'static str,
    /// `system_type_id`.
    pub system_type_id: i64,
    /// `user_type_id`; differs from the system's only for CLR types.
    pub user_type_id: i64,
    /// `max_length` in bytes, -1 for `(max)`.
    pub max_length: i64,
    /// `precision`, 0 for what is no number and no time.
    pub precision: i64,
    /// `scale`.
    pub scale: i64,
}

/// Bytes of a `decimal` of this precision.
fn decimal_bytes(precision: u8) -> i64 {
    match precision {
        0..=9 => 5,
        10..=19 => 9,
        20..=28 => 13,
        _ => 17,
    }
}

/// Bytes of a `time` of this scale.
fn time_bytes(scale: u8) -> i64 {
    match scale {
        0..=2 => 3,
        3 | 4 => 4,
        _ => 5,
    }
}

fn bytes_of(length: Length, unit: i64) -> i64 {
    match length {
        Length::Limited(limit) => i64::from(limit) * unit,
        Length::Max => -1,
    }
}

/// Looks a type up.
pub fn facts(sql_type: SqlType) -> TypeFacts {
    let of = |name, id, max_length, precision, scale| TypeFacts {
        name,
        system_type_id: id,
        user_type_id: id,
        max_length,
        precision,
        scale,
    };
    let clr = |name, user_type_id, max_length| TypeFacts {
        name,
        system_type_id: 240,
        user_type_id,
        max_length,
        precision: 0,
        scale: 0,
    };
    let timed = |base: i64, scale: u8| if scale == 0 { base } else { base + 1 + i64::from(scale) };
    match sql_type {
        SqlType::Bit => of("bit", 104, 1, 1, 0),
        SqlType::TinyInt => of("tinyint", 48, 1, 3, 0),
        SqlType::SmallInt => of("smallint", 52, 2, 5, 0),
        SqlType::Int => of("int", 56, 4, 10, 0),
        SqlType::BigInt => of("bigint", 127, 8, 19, 0),
        SqlType::Real => of("real", 59, 4, 24, 0),
        SqlType::Float => of("float", 62, 8, 53, 0),
        SqlType::Decimal { precision, scale } => {
            of("decimal", 106, decimal_bytes(precision), precision.into(), scale.into())
        }
        SqlType::Numeric { precision, scale } => {
            of("numeric", 108, decimal_bytes(precision), precision.into(), scale.into())
        }
        SqlType::Money => of("money", 60, 8, 19, 4),
        SqlType::SmallMoney => of("smallmoney", 122, 4, 10, 4),
        SqlType::Date => of("date", 40, 3, 10, 0),
        SqlType::Time { scale } => of("time", 41, time_bytes(scale), timed(8, scale), scale.into()),
        SqlType::DateTime => of("datetime", 61, 8, 23, 3),
        SqlType::SmallDateTime => of("smalldatetime", 58, 4, 16, 0),
        SqlType::DateTime2 { scale } => of("datetime2", 42, time_bytes(scale) + 3, timed(19, scale), scale.into()),
        SqlType::DateTimeOffset { scale } => {
            of("datetimeoffset", 43, time_bytes(scale) + 5, timed(26, scale), scale.into())
        }
        SqlType::Char { length } => of("char", 175, length.into(), 0, 0),
        SqlType::VarChar(length) => of("varchar", 167, bytes_of(length, 1), 0, 0),
        SqlType::NChar { length } => of("nchar", 239, i64::from(length) * 2, 0, 0),
        SqlType::NVarChar(length) => of("nvarchar", 231, bytes_of(length, 2), 0, 0),
        SqlType::Text => of("text", 35, 16, 0, 0),
        SqlType::NText => of("ntext", 99, 16, 0, 0),
        SqlType::Xml => of("xml", 241, -1, 0, 0),
        SqlType::Json => of("json", 244, -1, 0, 0),
        SqlType::Binary { length } => of("binary", 173, length.into(), 0, 0),
        SqlType::VarBinary(length) => of("varbinary", 165, bytes_of(length, 1), 0, 0),
        SqlType::Image => of("image", 34, 16, 0, 0),
        SqlType::RowVersion => of("timestamp", 189, 8, 0, 0),
        SqlType::UniqueIdentifier => of("uniqueidentifier", 36, 16, 0, 0),
        SqlType::SqlVariant => of("sql_variant", 98, 8016, 0, 0),
        SqlType::HierarchyId => clr("hierarchyid", 128, 892),
        SqlType::Geometry => clr("geometry", 129, -1),
        SqlType::Geography => clr("geography", 130, -1),
    }
}

/// One of each type with its widest parameters, for `sys.types`.
pub const EVERY_TYPE: [SqlType; 34] = [
    SqlType::Image,
    SqlType::Text,
    SqlType::UniqueIdentifier,
    SqlType::Date,
    SqlType::Time { scale: 7 },
    SqlType::DateTime2 { scale: 7 },
    SqlType::DateTimeOffset { scale: 7 },
    SqlType::TinyInt,
    SqlType::SmallInt,
    SqlType::Int,
    SqlType::SmallDateTime,
    SqlType::Real,
    SqlType::Money,
    SqlType::DateTime,
    SqlType::Float,
    SqlType::SqlVariant,
    SqlType::NText,
    SqlType::Bit,
    SqlType::Decimal { precision: 38, scale: 38 },
    SqlType::Numeric { precision: 38, scale: 38 },
    SqlType::SmallMoney,
    SqlType::BigInt,
    SqlType::HierarchyId,
    SqlType::Geometry,
    SqlType::Geography,
    SqlType::VarBinary(Length::Limited(8000)),
    SqlType::VarChar(Length::Limited(8000)),
    SqlType::Binary { length: 8000 },
    SqlType::Char { length: 8000 },
    SqlType::RowVersion,
    SqlType::NVarChar(Length::Limited(4000)),
    SqlType::NChar { length: 4000 },
    SqlType::Xml,
    SqlType::Json,
];

/// Where a type stands in the order of precedence: an operator converts to the type with the higher rank.
pub fn rank(sql_type: SqlType) -> u8 {
    match sql_type {
        SqlType::HierarchyId | SqlType::Geometry | SqlType::Geography => 31,
        SqlType::SqlVariant => 30,
        SqlType::Xml | SqlType::Json => 29,
        SqlType::DateTimeOffset { .. } => 28,
        SqlType::DateTime2 { .. } => 27,
        SqlType::DateTime => 26,
        SqlType::SmallDateTime => 25,
        SqlType::Date => 24,
        SqlType::Time { .. } => 23,
        SqlType::Float => 22,
        SqlType::Real => 21,
        SqlType::Decimal { .. } | SqlType::Numeric { .. } => 20,
        SqlType::Money => 19,
        SqlType::SmallMoney => 18,
        SqlType::BigInt => 17,
        SqlType::Int => 16,
        SqlType::SmallInt => 15,
        SqlType::TinyInt => 14,
        SqlType::Bit => 13,
        SqlType::NText => 12,
        SqlType::Text => 11,
        SqlType::Image => 10,
        SqlType::RowVersion => 9,
        SqlType::UniqueIdentifier => 8,
        SqlType::NVarChar(_) => 7,
        SqlType::NChar { .. } => 6,
        SqlType::VarChar(_) => 5,
        SqlType::Char { .. } => 4,
        SqlType::VarBinary(_) => 3,
        SqlType::Binary { .. } => 2,
    }
}

/// Whether values are whole numbers.
pub fn is_integer(sql_type: SqlType) -> bool {
    matches!(sql_type, SqlType::Bit | SqlType::TinyInt | SqlType::SmallInt | SqlType::Int | SqlType::BigInt)
}

/// Whether values are text.
pub fn is_text(sql_type: SqlType) -> bool {
    matches!(
        sql_type,
        SqlType::Char { .. }
            | SqlType::VarChar(_)
            | SqlType::NChar { .. }
            | SqlType::NVarChar(_)
            | SqlType::Text
            | SqlType::NText
            | SqlType::Xml
            | SqlType::Json
    )
}

/// Whether text is stored as UTF-16 rather than in a code page.
pub fn is_unicode(sql_type: SqlType) -> bool {
    matches!(sql_type, SqlType::NChar { .. } | SqlType::NVarChar(_) | SqlType::NText | SqlType::Xml)
}

/// Whether values are bytes.
pub fn is_binary(sql_type: SqlType) -> bool {
    matches!(
        sql_type,
        SqlType::Binary { .. } | SqlType::VarBinary(_) | SqlType::Image | SqlType::RowVersion | SqlType::HierarchyId
    )
}

/// Whether values say a date or a time.
pub fn is_temporal(sql_type: SqlType) -> bool {
    (23..=28).contains(&rank(sql_type))
}

/// Whether `=`, `ORDER BY` and `GROUP BY` refuse the type.
pub fn is_incomparable(sql_type: SqlType) -> bool {
    matches!(
        sql_type,
        SqlType::Text
            | SqlType::NText
            | SqlType::Image
            | SqlType::Xml
            | SqlType::Json
            | SqlType::Geometry
            | SqlType::Geography
    )
}

/// Precision and scale of a number as a `decimal`; `None` when it is no exact number.
pub fn as_decimal(sql_type: SqlType) -> Option<(u8, u8)> {
    Some(match sql_type {
        SqlType::Decimal { precision, scale } | SqlType::Numeric { precision, scale } => (precision, scale),
        SqlType::Money => (19, 4),
        SqlType::SmallMoney => (10, 4),
        SqlType::BigInt => (19, 0),
        SqlType::Int => (10, 0),
        SqlType::SmallInt => (5, 0),
        SqlType::TinyInt => (3, 0),
        SqlType::Bit => (1, 0),
        _ => return None,
    })
}

/// The length a text or binary type allows, `None` for what has no length.
pub fn length_of(sql_type: SqlType) -> Option<Length> {
    match sql_type {
        SqlType::Char { length } | SqlType::NChar { length } | SqlType::Binary { length } => {
            Some(Length::Limited(length))
        }
        SqlType::VarChar(length) | SqlType::NVarChar(length) | SqlType::VarBinary(length) => Some(length),
        _ if is_text(sql_type) || is_binary(sql_type) => Some(Length::Max),
        _ => None,
    }
}

/// The type both sides of `UNION`, `CASE`, `COALESCE` or a comparison are brought to.
pub fn common(left: SqlType, right: SqlType) -> SqlType {
    if left == right {
        return left;
    }
    let (high, low) = if rank(left) >= rank(right) { (left, right) } else { (right, left) };
    if let (SqlType::Decimal { .. } | SqlType::Numeric { .. }, Some((p2, s2))) = (high, as_decimal(low)) {
        let (p1, s1) = as_decimal(high).unwrap_or((38, 0));
        let scale = s1.max(s2);
        let precision = ((p1 - s1).max(p2 - s2) + scale).min(38);
        return match high {
            SqlType::Numeric { .. } => SqlType::Numeric { precision, scale },
            _ => SqlType::Decimal { precision, scale },
        };
    }
    if is_text(high) && is_text(low) {
        return common_text(high, low);
    }
    match (high, low) {
        (SqlType::VarBinary(_) | SqlType::Binary { .. }, SqlType::VarBinary(_) | SqlType::Binary { .. }) => {
            SqlType::VarBinary(longer(high, low, 8000))
        }
        (SqlType::Time { scale: a }, SqlType::Time { scale: b }) => SqlType::Time { scale: a.max(b) },
        (SqlType::DateTime2 { scale: a }, SqlType::DateTime2 { scale: b }) => SqlType::DateTime2 { scale: a.max(b) },
        (SqlType::DateTimeOffset { scale: a }, SqlType::DateTimeOffset { scale: b }) => {
            SqlType::DateTimeOffset { scale: a.max(b) }
        }
        // datetime holds milliseconds that datetime2 and datetimeoffset must not lose.
        (SqlType::DateTime2 { .. }, SqlType::DateTime) => SqlType::DateTime2 { scale: 7 },
        (SqlType::DateTimeOffset { .. }, SqlType::DateTime | SqlType::DateTime2 { .. }) => {
            SqlType::DateTimeOffset { scale: 7 }
        }
        _ => high,
    }
}

fn longer(left: SqlType, right: SqlType, limit: u16) -> Length {
    match (length_of(left), length_of(right)) {
        (Some(Length::Limited(a)), Some(Length::Limited(b))) => Length::Limited(a.max(b).min(limit)),
        _ => Length::Max,
    }
}

fn common_text(high: SqlType, low: SqlType) -> SqlType {
    match (high, low) {
        (SqlType::Char { length: a }, SqlType::Char { length: b }) => SqlType::Char { length: a.max(b) },
        (SqlType::NChar { length: a }, SqlType::NChar { length: b }) => SqlType::NChar { length: a.max(b) },
        (SqlType::Xml | SqlType::Json | SqlType::NText | SqlType::Text, _) => high,
        _ if is_unicode(high) || is_unicode(low) => SqlType::NVarChar(longer(high, low, 4000)),
        _ => SqlType::VarChar(longer(high, low, 8000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_survives_its_declaration() {
        for sql_type in EVERY_TYPE {
            assert_eq!(from_declaration(&declaration(sql_type)), Some(sql_type));
        }
        assert_eq!(from_declaration("nvarchar(max)"), Some(SqlType::NVarChar(Length::Max)));
        for wrong in ["decimal(39,0)", "decimal(5,6)", "varchar(8001)", "nvarchar(0)", "time(8)", "shortint"] {
            assert_eq!(from_declaration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_higher_rank_wins_and_keeps_every_digit() {
        let decimal = |precision, scale| SqlType::Decimal { precision, scale };
        assert_eq!(common(decimal(10, 2), decimal(8, 4)), decimal(12, 4));
        assert_eq!(common(SqlType::Int, decimal(8, 4)), decimal(14, 4));
        assert_eq!(
            common(SqlType::VarChar(Length::Limited(9)), SqlType::NVarChar(Length::Limited(3))),
            SqlType::NVarChar(Length::Limited(9))
        );
        assert_eq!(common(SqlType::Date, SqlType::VarChar(Length::Limited(9))), SqlType::Date);
    }
}
