//! Conditions: T-SQL keeps them apart from values, so they are bound apart.

use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, Value as Literal, ValueWithSpan};

use super::{Binder, Bound, Scope, comparable};
use crate::sql::{errors, types};
use crate::values::{SqlError, SqlType};

impl Binder<'_> {
    /// Binds a condition to an SQLite expression of three values.
    pub fn predicate(&self, expression: &Expr, scope: &Scope<'_>) -> Result<String, SqlError> {
        self.deeper(|| self.predicate_inner(expression, scope))
    }

    fn predicate_inner(&self, expression: &Expr, scope: &Scope<'_>) -> Result<String, SqlError> {
        match expression {
            Expr::Nested(inner) => Ok(format!("({})", self.predicate(inner, scope)?)),
            Expr::UnaryOp { op: UnaryOperator::Not, expr } => Ok(format!("NOT ({})", self.predicate(expr, scope)?)),
            Expr::BinaryOp { left, op: op @ (BinaryOperator::And | BinaryOperator::Or), right } => {
                Ok(format!("({} {op} {})", self.predicate(left, scope)?, self.predicate(right, scope)?))
            }
            Expr::BinaryOp { left, op, right } => {
                let operator = comparison_sign(op).ok_or_else(|| not_a_condition(expression))?;
                let (left, right) = (self.expression(left, scope)?, self.expression(right, scope)?);
                self.comparison(&left, operator, &right)
            }
            Expr::IsNull(inner) => Ok(format!("({} IS NULL)", self.expression(inner, scope)?.sql)),
            Expr::IsNotNull(inner) => Ok(format!("({} IS NOT NULL)", self.expression(inner, scope)?.sql)),
            Expr::IsDistinctFrom(left, right) => {
                let (left, right) = (self.expression(left, scope)?, self.expression(right, scope)?);
                self.comparison(&left, "IS NOT", &right)
            }
            Expr::IsNotDistinctFrom(left, right) => {
                let (left, right) = (self.expression(left, scope)?, self.expression(right, scope)?);
                self.comparison(&left, "IS", &right)
            }
            Expr::Between { expr, negated, low, high } => {
                let value = self.expression(expr, scope)?;
                let low = self.comparison(&value, ">=", &self.expression(low, scope)?)?;
                let high = self.comparison(&value, "<=", &self.expression(high, scope)?)?;
                Ok(negate(*negated, format!("({low} AND {high})")))
            }
            Expr::InList { expr, list, negated } => {
                let value = self.expression(expr, scope)?;
                let mut alternatives = Vec::new();
                for item in list {
                    alternatives.push(self.comparison(&value, "=", &self.expression(item, scope)?)?);
                }
                Ok(negate(*negated, format!("({})", alternatives.join(" OR "))))
            }
            Expr::InSubquery { expr, subquery, negated } => {
                let value = self.expression(expr, scope)?;
                let query = self.query(subquery, Some(scope))?;
                let ([column], [alias]) = (query.columns.as_slice(), query.aliases.as_slice()) else {
                    return Err(one_column_only());
                };
                let source = self.fresh('s');
                let found = Bound::new(format!("{source}.{alias}"), column.sql_type);
                let common = self.common_of(&value, &found)?;
                let left = comparable(&self.coerce(&value, common)?, common);
                let right = comparable(&self.coerce(&found, common)?, common);
                Ok(negate(*negated, format!("({left} IN (SELECT {right} FROM ({}) AS {source}))", query.sql)))
            }
            Expr::Exists { subquery, negated } => {
                let query = self.query(subquery, Some(scope))?;
                Ok(negate(*negated, format!("EXISTS ({})", query.sql)))
            }
            Expr::Like { negated, any: false, expr, pattern, escape_char } => {
                let text = self.as_text(expr, scope)?;
                let pattern = self.as_text(pattern, scope)?;
                let escape = match escape_char {
                    None => "NULL".to_owned(),
                    Some(ValueWithSpan { value: Literal::SingleQuotedString(text), .. })
                    | Some(ValueWithSpan { value: Literal::NationalStringLiteral(text), .. }) => {
                        crate::sql::store::quoted(text)
                    }
                    Some(other) => return Err(errors::syntax_near(&other.to_string())),
                };
                Ok(negate(*negated, format!("t_like({text}, {pattern}, {escape})")))
            }
            other => Err(not_a_condition(other)),
        }
    }

    /// The type two operands are compared in.
    pub(super) fn common_of(&self, left: &Bound, right: &Bound) -> Result<SqlType, SqlError> {
        if left.is_null_literal() {
            return Ok(right.sql_type);
        }
        if right.is_null_literal() {
            return Ok(left.sql_type);
        }
        refuse_clash(left.sql_type, right.sql_type)?;
        Ok(types::common(left.sql_type, right.sql_type))
    }

    /// Compares two values in their common type.
    pub(super) fn comparison(&self, left: &Bound, operator: &str, right: &Bound) -> Result<String, SqlError> {
        let common = self.common_of(left, right)?;
        if types::is_incomparable(common) && !matches!(common, SqlType::Geometry | SqlType::Geography) {
            return Err(errors::incompatible(left.sql_type, right.sql_type, operator_name(operator)));
        }
        let left = comparable(&self.coerce(left, common)?, common);
        let right = comparable(&self.coerce(right, common)?, common);
        Ok(format!("({left} {operator} {right})"))
    }
}

fn operator_name(operator: &str) -> &str {
    match operator {
        "=" => "equal to",
        "<>" => "not equal to",
        "<" => "less than",
        ">" => "greater than",
        "<=" => "less than or equal to",
        ">=" => "greater than or equal to",
        other => other,
    }
}

fn negate(negated: bool, sql: String) -> String {
    if negated { format!("(NOT {sql})") } else { sql }
}

fn comparison_sign(operator: &BinaryOperator) -> Option<&'static str> {
    Some(match operator {
        BinaryOperator::Eq => "=",
        BinaryOperator::NotEq => "<>",
        BinaryOperator::Lt => "<",
        BinaryOperator::LtEq => "<=",
        BinaryOperator::Gt => ">",
        BinaryOperator::GtEq => ">=",
        _ => return None,
    })
}

fn not_a_condition(expression: &Expr) -> SqlError {
    SqlError::new(
        4145,
        format!(
            "An expression of non-boolean type specified in a context where a condition is expected, near '{expression}'."
        ),
    )
    .with_class(15)
}

/// 116
pub(super) fn one_column_only() -> SqlError {
    SqlError::new(
        116,
        "Only one expression can be specified in the select list when the subquery is not introduced with EXISTS.",
    )
}

/// Refuses pairs of types that SQL Server converts into each other only when told to.
///
/// # Errors
///
/// 206
pub(super) fn refuse_clash(left: SqlType, right: SqlType) -> Result<(), SqlError> {
    let one_way = |a: SqlType, b: SqlType| {
        let number =
            |sql_type| types::as_decimal(sql_type).is_some() || matches!(sql_type, SqlType::Float | SqlType::Real);
        let newer_date =
            |sql_type| types::is_temporal(sql_type) && !matches!(sql_type, SqlType::DateTime | SqlType::SmallDateTime);
        (newer_date(a) && number(b))
            || (a == SqlType::UniqueIdentifier && (number(b) || types::is_temporal(b)))
            || (a == SqlType::Date && matches!(b, SqlType::Time { .. }))
            || (types::facts(a).system_type_id == 240 && a != b && !types::is_binary(b))
    };
    if one_way(left, right) || one_way(right, left) { Err(errors::clash(left, right)) } else { Ok(()) }
}
