//! The declarations of a parameterized query: `@P1 int, @P2 nvarchar(40) OUTPUT`.

use crate::values::{Length, SqlType};

/// One declared parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Name with its `@`.
    pub name: String,
    /// Type; `None` for one this server has no name for, whose values then keep the type of the wire.
    pub sql_type: Option<SqlType>,
}

/// Reads a list of declarations. Answers the text at fault if it cannot.
pub fn parse(text: &str) -> Result<Vec<Declared>, String> {
    let mut declared = Vec::new();
    for part in split_outside_parentheses(text) {
        let part = part.trim();
        if part.is_empty() && declared.is_empty() {
            continue;
        }
        let (name, rest) = part.split_once(char::is_whitespace).ok_or_else(|| part.to_owned())?;
        if !name.starts_with('@') || name.len() < 2 {
            return Err(part.to_owned());
        }
        declared.push(Declared { name: name.to_owned(), sql_type: parse_type(rest) });
    }
    Ok(declared)
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut depth = 0usize;
    text.split(move |character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    })
    .collect()
}

/// Reads a type: a name, perhaps arguments, perhaps words after them (`OUTPUT`, `READONLY`, `= default`).
fn parse_type(text: &str) -> Option<SqlType> {
    let text = text.trim_start();
    let text = text.strip_prefix("AS ").or_else(|| text.strip_prefix("as ")).unwrap_or(text).trim_start();
    let end = text.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.' | '[' | ']'))).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let name = name.replace(['[', ']'], "").to_ascii_lowercase();
    let name = name.strip_prefix("sys.").unwrap_or(&name);
    let arguments: Vec<&str> = match rest.trim_start().strip_prefix('(') {
        Some(rest) => rest.split_once(')')?.0.split(',').map(str::trim).collect(),
        None => Vec::new(),
    };
    let number = |index: usize| arguments.get(index).map(|argument| argument.parse::<u16>());
    let small = |index: usize, default: u8| match arguments.get(index) {
        Some(argument) => argument.parse::<u8>().ok(),
        None => Some(default),
    };
    let length = |limit: u16| match arguments.first() {
        None => Some(Length::Limited(1)),
        Some(max) if max.eq_ignore_ascii_case("max") => Some(Length::Max),
        Some(argument) => argument.parse().ok().filter(|n| (1..=limit).contains(n)).map(Length::Limited),
    };
    let fixed = |limit: u16| number(0).unwrap_or(Ok(1)).ok().filter(|n| (1..=limit).contains(n));
    let scale = || small(0, 7).filter(|scale| *scale <= 7);
    let precision = || {
        let (precision, scale) = (small(0, 18)?, small(1, 0)?);
        ((1..=38).contains(&precision) && scale <= precision).then_some((precision, scale))
    };
    Some(match name {
        "bit" => SqlType::Bit,
        "tinyint" => SqlType::TinyInt,
        "smallint" => SqlType::SmallInt,
        "int" | "integer" => SqlType::Int,
        "bigint" => SqlType::BigInt,
        "real" => SqlType::Real,
        "float" if small(0, 53)? <= 24 => SqlType::Real,
        "float" => SqlType::Float,
        "decimal" | "dec" => precision().map(|(precision, scale)| SqlType::Decimal { precision, scale })?,
        "numeric" => precision().map(|(precision, scale)| SqlType::Numeric { precision, scale })?,
        "money" => SqlType::Money,
        "smallmoney" => SqlType::SmallMoney,
        "date" => SqlType::Date,
        "time" => SqlType::Time { scale: scale()? },
        "datetime" => SqlType::DateTime,
        "smalldatetime" => SqlType::SmallDateTime,
        "datetime2" => SqlType::DateTime2 { scale: scale()? },
        "datetimeoffset" => SqlType::DateTimeOffset { scale: scale()? },
        "char" => SqlType::Char { length: fixed(8000)? },
        "varchar" => SqlType::VarChar(length(8000)?),
        "nchar" => SqlType::NChar { length: fixed(4000)? },
        "sysname" => SqlType::NVarChar(Length::Limited(128)),
        "nvarchar" => SqlType::NVarChar(length(4000)?),
        "text" => SqlType::Text,
        "ntext" => SqlType::NText,
        "xml" => SqlType::Xml,
        "json" => SqlType::Json,
        "binary" => SqlType::Binary { length: fixed(8000)? },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_of_drivers_are_read() {
        let read =
            |text| parse(text).map(|all| all.into_iter().map(|one| (one.name, one.sql_type)).collect::<Vec<_>>());
        let one = |name: &str, sql_type| (name.to_owned(), sql_type);
        assert_eq!(
            read("@P1 bigint,@P2 nvarchar(4000), @P3 decimal(38, 10) OUTPUT,@P4 varbinary(MAX)"),
            Ok(vec![
                one("@P1", Some(SqlType::BigInt)),
                one("@P2", Some(SqlType::NVarChar(Length::Limited(4000)))),
                one("@P3", Some(SqlType::Decimal { precision: 38, scale: 10 })),
                one("@P4", Some(SqlType::VarBinary(Length::Max))),
            ])
        );
        assert_eq!(read("@d datetime2"), Ok(vec![one("@d", Some(SqlType::DateTime2 { scale: 7 }))]));
        assert_eq!(
            read("@f float(24), @n sysname"),
            Ok(vec![one("@f", Some(SqlType::Real)), one("@n", Some(SqlType::NVarChar(Length::Limited(128)))),])
        );
        assert_eq!(read("@t dbo.my_type READONLY"), Ok(vec![one("@t", None)]));
        assert_eq!(read("  "), Ok(vec![]));
        assert_eq!(read("P1 int"), Err("P1 int".to_owned()));
        assert_eq!(read("@P1"), Err("@P1".to_owned()));
    }
}
