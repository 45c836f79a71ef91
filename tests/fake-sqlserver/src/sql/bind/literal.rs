//! Literals, variables and the `@@` names.

use sqlparser::ast::{Ident, Value as Literal};

use super::{Binder, Bound};
use crate::sql::convert::bytes_from_hexadecimal;
use crate::sql::{errors, number, store};
use crate::values::{Length, SqlError, SqlType, Value};

fn limited(length: usize, limit: u16) -> Length {
    match u16::try_from(length.max(1)) {
        Ok(length) if length <= limit => Length::Limited(length),
        _ => Length::Max,
    }
}

impl Binder<'_> {
    /// A literal with the type SQL Server gives it: the narrowest that holds it.
    pub(super) fn literal(&self, literal: &Literal) -> Result<Bound, SqlError> {
        match literal {
            Literal::Null => Bound::constant(SqlType::Int, Value::Null),
            Literal::Number(text, _) => number_literal(text),
            Literal::SingleQuotedString(text) | Literal::DoubleQuotedString(text) => {
                let text = store::in_code_page(text);
                let length = limited(text.chars().count(), 8000);
                Bound::constant(SqlType::VarChar(length), Value::Text(text))
            }
            Literal::NationalStringLiteral(text) => {
                let length = limited(text.encode_utf16().count(), 4000);
                Bound::constant(SqlType::NVarChar(length), Value::Text(text.clone()))
            }
            Literal::HexStringLiteral(digits) => {
                let padded = if digits.len() % 2 == 1 { format!("0{digits}") } else { digits.clone() };
                let bytes = bytes_from_hexadecimal(&padded).ok_or_else(|| errors::syntax_near(digits))?;
                Bound::constant(SqlType::VarBinary(limited(bytes.len(), 8000)), Value::Bytes(bytes))
            }
            Literal::Placeholder(name) => self.variable(name),
            other => Err(errors::syntax_near(&other.to_string())),
        }
    }

    /// A variable or parameter.
    pub(super) fn variable(&self, name: &str) -> Result<Bound, SqlError> {
        let at = self
            .variables
            .iter()
            .position(|variable| variable.name.eq_ignore_ascii_case(name))
            .ok_or_else(|| errors::undeclared(name))?;
        Ok(Bound::new(format!("?{}", at + 1), self.variables[at].sql_type))
    }

    /// `@x` or `@@x`; `None` when the name is an ordinary one.
    pub(super) fn at_name(&self, ident: &Ident) -> Option<Result<Bound, SqlError>> {
        if ident.quote_style.is_some() || !ident.value.starts_with('@') {
            return None;
        }
        if ident.value.starts_with("@@") {
            return Some(self.global(&ident.value));
        }
        Some(self.variable(&ident.value))
    }

    fn global(&self, name: &str) -> Result<Bound, SqlError> {
        let session = self.surroundings;
        let int = |value: i64| Bound::constant(SqlType::Int, Value::Int(value));
        match name.to_ascii_uppercase().as_str() {
            "@@VERSION" => {
                let version = Value::Text(super::metadata::VERSION.to_owned());
                Bound::constant(SqlType::NVarChar(Length::Limited(300)), version)
            }
            "@@SERVERNAME" => Bound::text(&session.server),
            "@@SERVICENAME" => Bound::text("MSSQLSERVER"),
            "@@LANGUAGE" => Bound::text("us_english"),
            "@@SPID" => Bound::constant(SqlType::SmallInt, Value::Int(session.process)),
            "@@ROWCOUNT" => int(session.row_count),
            "@@ERROR" => int(session.error),
            "@@TRANCOUNT" => int(session.transactions),
            "@@LOCK_TIMEOUT" => int(session.lock_timeout),
            "@@NESTLEVEL" | "@@LANGID" => int(0),
            "@@FETCH_STATUS" => int(-1),
            "@@TEXTSIZE" => int(i64::from(i32::MAX)),
            "@@MICROSOFTVERSION" => int(0x1000_0000),
            "@@OPTIONS" => int(5496),
            "@@MAX_PRECISION" => Bound::constant(SqlType::TinyInt, Value::Int(38)),
            "@@DATEFIRST" => Bound::constant(SqlType::TinyInt, Value::Int(7)),
            "@@IDENTITY" => {
                let value = session
                    .identity
                    .map_or(Value::Null, |identity| Value::Decimal { unscaled: i128::from(identity), scale: 0 });
                Bound::constant(SqlType::Numeric { precision: 38, scale: 0 }, value)
            }
            "@@DBTS" => {
                let last = Value::Bytes(session.shared.last_row_version().to_be_bytes().to_vec());
                Bound::constant(SqlType::VarBinary(Length::Limited(8)), last)
            }
            _ => Err(errors::undeclared(name)),
        }
    }
}

fn number_literal(text: &str) -> Result<Bound, SqlError> {
    if text.contains(['e', 'E']) {
        let float = text.parse::<f64>().ok().filter(|float| float.is_finite());
        let float = float.ok_or_else(|| errors::overflow(SqlType::Float))?;
        return Bound::constant(SqlType::Float, Value::Float(float));
    }
    if let Ok(integer) = text.parse::<i32>() {
        return Bound::constant(SqlType::Int, Value::Int(i64::from(integer)));
    }
    let too_large = || {
        SqlError::new(
            1007,
            format!("The number '{text}' is out of the range for numeric representation (maximum precision 38)."),
        )
        .with_class(15)
    };
    let (unscaled, scale) = number::parse(text).ok_or_else(too_large)?;
    let digits = u8::try_from(unscaled.unsigned_abs().to_string().len()).unwrap_or(u8::MAX);
    let precision = digits.max(scale);
    if precision > number::MAX_PRECISION {
        return Err(too_large());
    }
    Bound::constant(SqlType::Numeric { precision, scale }, Value::Decimal { unscaled, scale })
}
