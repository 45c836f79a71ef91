//! Functions of text.

use sqlparser::ast::Expr;

use super::{Binder, Bound, Scope};
use crate::sql::{errors, types};
use crate::values::{Length, SqlError, SqlType, Value};

/// What a function of text yields.
enum Yield {
    /// Text of the first argument's type.
    Same,
    /// Text of another length.
    Long(u16),
    /// A whole number.
    Number,
}

/// Name, fewest and most arguments, how many of them are texts, and the result.
const FUNCTIONS: [(&str, usize, usize, usize, Yield); 22] = [
    ("LEN", 1, 1, 1, Yield::Number),
    ("UPPER", 1, 1, 1, Yield::Same),
    ("LOWER", 1, 1, 1, Yield::Same),
    ("LTRIM", 1, 1, 1, Yield::Same),
    ("RTRIM", 1, 1, 1, Yield::Same),
    ("TRIM", 1, 1, 1, Yield::Same),
    ("REVERSE", 1, 1, 1, Yield::Same),
    ("LEFT", 2, 2, 1, Yield::Same),
    ("RIGHT", 2, 2, 1, Yield::Same),
    ("SUBSTRING", 3, 3, 1, Yield::Same),
    ("REPLACE", 3, 3, 3, Yield::Long(4000)),
    ("REPLICATE", 2, 2, 1, Yield::Long(4000)),
    ("CHARINDEX", 2, 3, 2, Yield::Number),
    ("QUOTENAME", 1, 2, 2, Yield::Long(258)),
    ("ASCII", 1, 1, 1, Yield::Number),
    ("UNICODE", 1, 1, 1, Yield::Number),
    ("CONCAT", 2, 254, 254, Yield::Long(4000)),
    ("CONCAT_WS", 3, 254, 254, Yield::Long(4000)),
    ("SPACE", 1, 1, 0, Yield::Long(8000)),
    ("CHAR", 1, 1, 0, Yield::Long(1)),
    ("NCHAR", 1, 1, 0, Yield::Long(1)),
    ("STR", 1, 3, 0, Yield::Long(30)),
];

/// Whether a name is one of these functions.
pub(super) fn is_text_function(name: &str) -> bool {
    FUNCTIONS.iter().any(|function| function.0 == name)
}

impl Binder<'_> {
    /// Binds a function of text.
    pub(super) fn text_function(&self, name: &str, arguments: &[&Expr], scope: &Scope<'_>) -> Result<Bound, SqlError> {
        let Some((_, fewest, most, texts, result)) = FUNCTIONS.iter().find(|function| function.0 == name) else {
            return Err(errors::unknown_function(name));
        };
        if !(*fewest..=*most).contains(&arguments.len()) {
            let expected = if fewest == most { fewest.to_string() } else { format!("{fewest} to {most}") };
            return Err(errors::argument_count(&name.to_lowercase(), &expected));
        }
        let mut bounds = Vec::new();
        for argument in arguments {
            bounds.push(self.expression(argument, scope)?);
        }
        let first = bounds.first().map_or(SqlType::Int, |bound| bound.sql_type);
        if name == "SUBSTRING" && types::is_binary(first) {
            let sql = format!("t_subbytes({}, {}, {})", bounds[0].sql, bounds[1].sql, bounds[2].sql);
            return Ok(Bound::new(sql, SqlType::VarBinary(types::length_of(first).unwrap_or(Length::Max))));
        }
        let mut parts = Vec::new();
        for (at, bound) in bounds.iter().enumerate() {
            parts.push(if at < *texts { self.bound_as_text(bound)? } else { self.coerce(bound, SqlType::Int)? });
        }
        let unicode = bounds.iter().take(*texts).any(|bound| types::is_unicode(bound.sql_type));
        let long = bounds
            .iter()
            .take(*texts)
            .any(|bound| types::length_of(bound.sql_type) == Some(Length::Max) && types::is_text(bound.sql_type));
        let sql_type = match result {
            Yield::Number if long && matches!(name, "LEN" | "CHARINDEX") => SqlType::BigInt,
            Yield::Number => SqlType::Int,
            Yield::Same if types::is_text(first) => variable(first),
            Yield::Same => SqlType::VarChar(Length::Limited(8000)),
            Yield::Long(_) if long => text_of(unicode, Length::Max),
            Yield::Long(1) => text_of(name == "NCHAR", Length::Limited(1)),
            Yield::Long(258) => text_of(true, Length::Limited(258)),
            Yield::Long(limit) => text_of(unicode, Length::Limited(if unicode { *limit } else { 8000 })),
        };
        let nullable = bounds.iter().any(|bound| bound.nullable);
        let sql = format!("t_text('{name}', '{}', {})", types::declaration(sql_type), parts.join(", "));
        // Too long a replica, and a negative length, are null or errors: never promised not to be null.
        Ok(Bound { nullable: nullable || name == "REPLICATE", ..Bound::new(sql, sql_type) })
    }

    /// Binds an expression whose value is wanted as text.
    pub(super) fn as_text(&self, expression: &Expr, scope: &Scope<'_>) -> Result<String, SqlError> {
        let bound = self.expression(expression, scope)?;
        self.bound_as_text(&bound)
    }

    fn bound_as_text(&self, bound: &Bound) -> Result<String, SqlError> {
        if types::is_text(bound.sql_type) && !matches!(bound.sql_type, SqlType::Xml | SqlType::Json) {
            return Ok(bound.sql.clone());
        }
        self.coerce(bound, SqlType::NVarChar(Length::Max))
    }

    /// The value of an argument that must be a literal.
    pub(super) fn literal_text(&self, expression: &Expr, scope: &Scope<'_>) -> Result<Option<String>, SqlError> {
        Ok(match self.expression(expression, scope)?.constant {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        })
    }
}

fn text_of(unicode: bool, length: Length) -> SqlType {
    if unicode { SqlType::NVarChar(length) } else { SqlType::VarChar(length) }
}

/// The variable-length type of a text: what functions yield for `char` and `text`.
fn variable(sql_type: SqlType) -> SqlType {
    text_of(types::is_unicode(sql_type), types::length_of(sql_type).unwrap_or(Length::Max))
}
