//! Types as T-SQL declares them: `decimal(18,4)`, `nvarchar(max)`, `sysname`.

use sqlparser::ast::{BinaryLength, CharacterLength, DataType, ExactNumberInfo, ObjectName};

use super::errors;
use super::types::{SYSNAME, facts};
use crate::values::{Length, SqlError, SqlType};

/// The type as T-SQL writes it: `decimal(18,4)`, `nvarchar(max)`.
pub fn declaration(sql_type: SqlType) -> String {
    let name = facts(sql_type).name;
    match sql_type {
        SqlType::Decimal { precision, scale } | SqlType::Numeric { precision, scale } => {
            format!("{name}({precision},{scale})")
        }
        SqlType::Time { scale } | SqlType::DateTime2 { scale } | SqlType::DateTimeOffset { scale } => {
            format!("{name}({scale})")
        }
        SqlType::Char { length } | SqlType::NChar { length } | SqlType::Binary { length } => {
            format!("{name}({length})")
        }
        SqlType::VarChar(length) | SqlType::NVarChar(length) | SqlType::VarBinary(length) => match length {
            Length::Limited(limit) => format!("{name}({limit})"),
            Length::Max => format!("{name}(max)"),
        },
        _ => name.to_owned(),
    }
}

/// Reads what [`declaration`] wrote.
pub fn from_declaration(text: &str) -> Option<SqlType> {
    let (name, arguments) = match text.split_once('(') {
        Some((name, rest)) => (name, rest.strip_suffix(')')?.split(',').map(str::to_owned).collect()),
        None => (text, Vec::new()),
    };
    from_name(name, &arguments)
}

/// The declared type of a column, cast or variable.
///
/// # Errors
///
/// 2715 for a type that does not exist, 1001/2717/2750 for parameters out of range.
pub fn from_ast(data_type: &DataType) -> Result<SqlType, SqlError> {
    let exact = |info: &ExactNumberInfo| match info {
        ExactNumberInfo::None => Vec::new(),
        ExactNumberInfo::Precision(precision) => vec![precision.to_string()],
        ExactNumberInfo::PrecisionAndScale(precision, scale) => vec![precision.to_string(), scale.to_string()],
    };
    let characters = |length: &Option<CharacterLength>| match length {
        None => Vec::new(),
        Some(CharacterLength::Max) => vec!["max".to_owned()],
        Some(CharacterLength::IntegerLength { length, .. }) => vec![length.to_string()],
    };
    let one = |value: &Option<u64>| value.iter().map(u64::to_string).collect::<Vec<_>>();
    let (name, arguments) = match data_type {
        DataType::Bit(_) => ("bit", Vec::new()),
        DataType::TinyInt(_) => ("tinyint", Vec::new()),
        DataType::SmallInt(_) => ("smallint", Vec::new()),
        DataType::Int(_) | DataType::Integer(_) => ("int", Vec::new()),
        DataType::BigInt(_) => ("bigint", Vec::new()),
        DataType::Real => ("real", Vec::new()),
        DataType::Float(info) => ("float", exact(info)),
        DataType::DoublePrecision => ("float", Vec::new()),
        DataType::Decimal(info) | DataType::Dec(info) => ("decimal", exact(info)),
        DataType::Numeric(info) => ("numeric", exact(info)),
        DataType::Date => ("date", Vec::new()),
        DataType::Time(scale, _) => ("time", one(scale)),
        DataType::Datetime(_) => ("datetime", Vec::new()),
        DataType::Timestamp(..) => ("timestamp", Vec::new()),
        DataType::Char(length) | DataType::Character(length) => ("char", characters(length)),
        DataType::Varchar(length) | DataType::CharVarying(length) | DataType::CharacterVarying(length) => {
            ("varchar", characters(length))
        }
        DataType::Nvarchar(length) => ("nvarchar", characters(length)),
        DataType::Text => ("text", Vec::new()),
        DataType::JSON => ("json", Vec::new()),
        DataType::Binary(length) => ("binary", one(length)),
        DataType::Varbinary(length) => (
            "varbinary",
            match length {
                None => Vec::new(),
                Some(BinaryLength::Max) => vec!["max".to_owned()],
                Some(BinaryLength::IntegerLength { length }) => vec![length.to_string()],
            },
        ),
        DataType::Custom(name, arguments) => {
            let name = last_part(name);
            return from_name(&name.to_lowercase(), arguments).ok_or_else(|| errors::unknown_type(&name));
        }
        other => return Err(errors::unknown_type(&other.to_string())),
    };
    from_name(name, &arguments).ok_or_else(|| errors::type_parameter(name, &arguments))
}

fn last_part(name: &ObjectName) -> String {
    name.0.last().and_then(|part| part.as_ident()).map(|ident| ident.value.clone()).unwrap_or_default()
}

fn from_name(name: &str, arguments: &[String]) -> Option<SqlType> {
    let number = |at: usize| arguments.get(at).and_then(|text| text.trim().parse::<u16>().ok());
    let given = |at: usize| arguments.get(at).is_some();
    let small = |at: usize, default: u8, limit: u8| {
        if given(at) { u8::try_from(number(at)?).ok().filter(|value| *value <= limit) } else { Some(default) }
    };
    let limited = |limit: u16| {
        if given(0) { number(0).filter(|value| (1..=limit).contains(value)) } else { Some(1) }
    };
    let length = |limit: u16| {
        if arguments.first().is_some_and(|text| text.trim().eq_ignore_ascii_case("max")) {
            Some(Length::Max)
        } else {
            limited(limit).map(Length::Limited)
        }
    };
    Some(match name {
        "bit" => SqlType::Bit,
        "tinyint" => SqlType::TinyInt,
        "smallint" => SqlType::SmallInt,
        "int" | "integer" => SqlType::Int,
        "bigint" => SqlType::BigInt,
        "real" => SqlType::Real,
        "float" => match small(0, 53, 53)? {
            0 => return None,
            1..=24 => SqlType::Real,
            _ => SqlType::Float,
        },
        "decimal" | "dec" | "numeric" => {
            let precision = small(0, 18, 38).filter(|precision| *precision > 0)?;
            let scale = small(1, 0, precision)?;
            if name == "numeric" {
                SqlType::Numeric { precision, scale }
            } else {
                SqlType::Decimal { precision, scale }
            }
        }
        "money" => SqlType::Money,
        "smallmoney" => SqlType::SmallMoney,
        "date" => SqlType::Date,
        "time" => SqlType::Time { scale: small(0, 7, 7)? },
        "datetime" => SqlType::DateTime,
        "smalldatetime" => SqlType::SmallDateTime,
        "datetime2" => SqlType::DateTime2 { scale: small(0, 7, 7)? },
        "datetimeoffset" => SqlType::DateTimeOffset { scale: small(0, 7, 7)? },
        "char" | "character" => SqlType::Char { length: limited(8000)? },
        "varchar" => SqlType::VarChar(length(8000)?),
        "nchar" => SqlType::NChar { length: limited(4000)? },
        "nvarchar" => SqlType::NVarChar(length(4000)?),
        "sysname" => SYSNAME,
        "text" => SqlType::Text,
        "ntext" => SqlType::NText,
        "xml" => SqlType::Xml,
        "json" => SqlType::Json,
        "binary" => SqlType::Binary { length: limited(8000)? },
        "varbinary" => SqlType::VarBinary(length(8000)?),
        "image" => SqlType::Image,
        "rowversion" | "timestamp" => SqlType::RowVersion,
        "uniqueidentifier" => SqlType::UniqueIdentifier,
        "sql_variant" => SqlType::SqlVariant,
        "hierarchyid" => SqlType::HierarchyId,
        "geometry" => SqlType::Geometry,
        "geography" => SqlType::Geography,
        _ => return None,
    })
}
