//! Values: columns, literals, arithmetic, conversions, CASE, subqueries.

use sqlparser::ast::{BinaryOperator, CastKind, Expr, TrimWhereField, UnaryOperator};

use super::predicate::one_column_only;
use super::{Binder, Bound, Scope, conversion};
use crate::sql::number::Operator;
use crate::sql::{errors, types};
use crate::values::{Length, SqlError, SqlType, Value};

impl Binder<'_> {
    /// Binds an expression that yields a value.
    pub fn expression(&self, expression: &Expr, scope: &Scope<'_>) -> Result<Bound, SqlError> {
        self.deeper(|| {
            if let Some(bound) = self.grouped_whole(expression, scope) {
                return Ok(bound);
            }
            self.expression_inner(expression, scope)
        })
    }

    /// An expression that GROUP BY names as a whole may use any column.
    fn grouped_whole(&self, expression: &Expr, scope: &Scope<'_>) -> Option<Bound> {
        let groups = scope.groups.as_ref()?;
        if groups.is_empty() || matches!(expression, Expr::Value(_) | Expr::Identifier(_) | Expr::Subquery(_)) {
            return None;
        }
        let before = scope.inside_aggregate.replace(true);
        let bound = self.expression_inner(expression, scope);
        scope.inside_aggregate.set(before);
        bound.ok().filter(|bound| groups.contains(&bound.sql))
    }

    fn expression_inner(&self, expression: &Expr, scope: &Scope<'_>) -> Result<Bound, SqlError> {
        match expression {
            Expr::Identifier(name) => match self.at_name(name) {
                Some(bound) => bound,
                None => match super::metadata::niladic(name, self.surroundings) {
                    Some(bound) => bound,
                    None => scope.resolve(std::slice::from_ref(name)),
                },
            },
            Expr::CompoundIdentifier(parts) => scope.resolve(parts),
            Expr::Value(value) => self.literal(&value.value),
            Expr::Nested(inner) => {
                let bound = self.expression(inner, scope)?;
                Ok(if bound.constant.is_some() || bound.column.is_some() {
                    Bound { column: None, ..bound }
                } else {
                    Bound { sql: format!("({})", bound.sql), ..bound }
                })
            }
            Expr::UnaryOp { op, expr } => self.unary(*op, self.expression(expr, scope)?),
            Expr::BinaryOp { left, op, right } => {
                let left = self.expression(left, scope)?;
                let right = self.expression(right, scope)?;
                self.binary(left, op, right)
            }
            Expr::Cast { kind, expr, data_type, format: None, array: false } => {
                let target = cast_type(types::from_ast(data_type)?, data_type);
                self.cast(self.expression(expr, scope)?, target, *kind != CastKind::Cast, "NULL")
            }
            Expr::Convert { is_try, expr, data_type: Some(data_type), charset: None, styles, .. } => {
                let target = cast_type(types::from_ast(data_type)?, data_type);
                let style = match styles.as_slice() {
                    [] => "NULL".to_owned(),
                    [style] => {
                        let style = self.expression(style, scope)?;
                        self.coerce(&style, SqlType::Int)?
                    }
                    _ => return Err(errors::argument_count("convert", "2 or 3")),
                };
                self.cast(self.expression(expr, scope)?, target, *is_try, &style)
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                let operand = match operand {
                    Some(operand) => Some(self.expression(operand, scope)?),
                    None => None,
                };
                let mut tests = Vec::new();
                let mut results = Vec::new();
                for when in conditions {
                    tests.push(match &operand {
                        Some(operand) => self.comparison(operand, "=", &self.expression(&when.condition, scope)?)?,
                        None => self.predicate(&when.condition, scope)?,
                    });
                    results.push(self.expression(&when.result, scope)?);
                }
                let otherwise = match else_result {
                    Some(result) => self.expression(result, scope)?,
                    None => Bound::constant(SqlType::Int, Value::Null)?,
                };
                self.case(&tests, results, otherwise)
            }
            Expr::Subquery(query) => {
                let query = self.query(query, Some(scope))?;
                let [column] = query.columns.as_slice() else { return Err(one_column_only()) };
                Ok(Bound::new(format!("({})", query.sql), column.sql_type))
            }
            Expr::Collate { expr, .. } => self.expression(expr, scope),
            Expr::Function(function) => self.function(function, scope),
            Expr::Substring { expr, substring_from: Some(from), substring_for, .. } => {
                let length = substring_for.as_deref().ok_or_else(|| errors::argument_count("substring", "3"))?;
                self.text_function("SUBSTRING", &[expr, from, length], scope)
            }
            Expr::Trim { trim_where, trim_what: None, expr, trim_characters: None } => {
                let name = match trim_where {
                    Some(TrimWhereField::Leading) => "LTRIM",
                    Some(TrimWhereField::Trailing) => "RTRIM",
                    _ => "TRIM",
                };
                self.text_function(name, &[expr], scope)
            }
            Expr::Floor { expr, .. } => self.number_function("FLOOR", &[expr], scope),
            Expr::Ceil { expr, .. } => self.number_function("CEILING", &[expr], scope),
            Expr::AtTimeZone { timestamp, time_zone } => self.at_time_zone(timestamp, time_zone, scope),
            Expr::InList { .. }
            | Expr::InSubquery { .. }
            | Expr::Between { .. }
            | Expr::Exists { .. }
            | Expr::Like { .. }
            | Expr::IsNull(_)
            | Expr::IsNotNull(_) => Err(errors::syntax_near(&expression.to_string())),
            other => Err(errors::unsupported(format_args!("the expression '{other}'"))),
        }
    }

    /// CAST or CONVERT.
    pub(super) fn cast(&self, bound: Bound, target: SqlType, is_try: bool, style: &str) -> Result<Bound, SqlError> {
        // A conversion that may fail yields null with ARITHABORT off: only one to the same type promises a value.
        let nullable = bound.nullable || is_try || bound.sql_type != target;
        if bound.is_null_literal() {
            return Ok(Bound { sql_type: target, ..Bound::constant(target, Value::Null)? }.typed_null());
        }
        let function = if is_try { "t_try_convert" } else { "t_convert" };
        let sql = if style == "NULL" && !is_try {
            self.coerce(&bound, target)?
        } else {
            conversion(function, &bound.sql, bound.sql_type, target, style)
        };
        Ok(Bound { sql, sql_type: target, nullable, constant: None, column: None })
    }

    /// CASE, COALESCE and IIF: the first result whose test holds, in the type common to all.
    pub(super) fn case(&self, tests: &[String], results: Vec<Bound>, otherwise: Bound) -> Result<Bound, SqlError> {
        let mut common: Option<SqlType> = None;
        for result in results.iter().chain([&otherwise]).filter(|result| !result.is_null_literal()) {
            common = Some(match common {
                None => result.sql_type,
                Some(before) => {
                    super::predicate::refuse_clash(before, result.sql_type)?;
                    types::common(before, result.sql_type)
                }
            });
        }
        let common = common.ok_or_else(|| {
            SqlError::new(8133, "At least one of the result expressions in a CASE specification must be an expression other than the NULL constant.")
        })?;
        let mut sql = "CASE".to_owned();
        for (test, result) in tests.iter().zip(&results) {
            sql.push_str(&format!(" WHEN {test} THEN {}", self.coerce(result, common)?));
        }
        sql.push_str(&format!(" ELSE {} END", self.coerce(&otherwise, common)?));
        let nullable = otherwise.nullable || results.iter().any(|result| result.nullable);
        Ok(Bound { sql, sql_type: common, nullable, constant: None, column: None })
    }

    fn unary(&self, operator: UnaryOperator, bound: Bound) -> Result<Bound, SqlError> {
        match operator {
            UnaryOperator::Plus => Ok(bound),
            UnaryOperator::Minus => {
                if let Some(negated) = negated_literal(&bound)? {
                    return Ok(negated);
                }
                let shown = types::declaration(bound.sql_type);
                if types::as_decimal(bound.sql_type).is_none()
                    && !matches!(bound.sql_type, SqlType::Float | SqlType::Real)
                    || bound.sql_type == SqlType::Bit
                {
                    return Err(errors::incompatible(bound.sql_type, bound.sql_type, "minus"));
                }
                let sql = format!("t_arithmetic('-', 0, 'int', {}, '{shown}', '{shown}')", bound.sql);
                Ok(Bound::new(sql, bound.sql_type))
            }
            UnaryOperator::BitwiseNot if types::is_integer(bound.sql_type) => {
                let sql = if bound.sql_type == SqlType::Bit {
                    format!("(1 - {})", bound.sql)
                } else {
                    format!("(~{})", bound.sql)
                };
                Ok(Bound { sql, constant: None, column: None, ..bound })
            }
            other => Err(errors::syntax_near(&other.to_string())),
        }
    }

    fn binary(&self, left: Bound, operator: &BinaryOperator, right: Bound) -> Result<Bound, SqlError> {
        if *operator == BinaryOperator::Plus
            && let Some(bound) = self.concatenation(&left, &right)?
        {
            return Ok(bound);
        }
        let bits = match operator {
            BinaryOperator::BitwiseAnd => Some("&"),
            BinaryOperator::BitwiseOr => Some("|"),
            BinaryOperator::BitwiseXor => Some("^"),
            _ => None,
        };
        if let Some(sign) = bits {
            let common = types::common(left.sql_type, right.sql_type);
            if !types::is_integer(common) {
                return Err(errors::incompatible(left.sql_type, right.sql_type, sign));
            }
            let (a, b) = (self.coerce(&left, common)?, self.coerce(&right, common)?);
            // SQLite has no exclusive or.
            let sql = if sign == "^" { format!("(({a} | {b}) - ({a} & {b}))") } else { format!("({a} {sign} {b})") };
            return Ok(Bound { nullable: left.nullable || right.nullable, ..Bound::new(sql, common) });
        }
        match Operator::from_sign(&operator.to_string()) {
            Some(operator) => self.arithmetic(&left, operator, &right),
            None => Err(errors::syntax_near(&operator.to_string())),
        }
    }

    /// `+` between texts or bytes.
    fn concatenation(&self, left: &Bound, right: &Bound) -> Result<Option<Bound>, SqlError> {
        let (a, b) = (left.sql_type, right.sql_type);
        let both = |test: fn(SqlType) -> bool| test(a) && test(b);
        if !both(types::is_text) && !both(types::is_binary) {
            return Ok(None);
        }
        if types::is_incomparable(a) || types::is_incomparable(b) {
            return Err(errors::incompatible(a, b, "add"));
        }
        let total = |limit: u16| match (types::length_of(a), types::length_of(b)) {
            (Some(Length::Limited(x)), Some(Length::Limited(y))) => Length::Limited(x.saturating_add(y).min(limit)),
            _ => Length::Max,
        };
        let sql_type = if types::is_binary(a) {
            SqlType::VarBinary(total(8000))
        } else if types::is_unicode(a) || types::is_unicode(b) {
            SqlType::NVarChar(total(4000))
        } else {
            SqlType::VarChar(total(8000))
        };
        let (a, b) = (self.coerce_text(left, sql_type)?, self.coerce_text(right, sql_type)?);
        let function = if types::is_binary(sql_type) { "t_join_bytes" } else { "t_concat" };
        let sql = format!("{function}({a}, {b}, '{}')", types::declaration(sql_type));
        Ok(Some(Bound { nullable: left.nullable || right.nullable, ..Bound::new(sql, sql_type) }))
    }

    /// Text is not padded before it is joined to another.
    fn coerce_text(&self, bound: &Bound, target: SqlType) -> Result<String, SqlError> {
        self.coerce(bound, if types::is_text(target) || types::is_binary(target) { target } else { bound.sql_type })
    }

    /// `+ - * / %` between numbers, or between a `datetime` and days.
    pub(super) fn arithmetic(&self, left: &Bound, operator: Operator, right: &Bound) -> Result<Bound, SqlError> {
        let (mut a, mut b) = (left.sql_type, right.sql_type);
        // A null literal takes the other's type; a text is read as the other's number.
        if left.is_null_literal() {
            a = b;
        }
        if right.is_null_literal() {
            b = a;
        }
        if types::is_text(a) && !types::is_text(b) {
            a = b;
        } else if types::is_text(b) && !types::is_text(a) {
            b = a;
        }
        let days =
            matches!((a, operator), (SqlType::DateTime | SqlType::SmallDateTime, Operator::Add | Operator::Subtract));
        if days && types::is_integer(b) {
            let sign = if operator == Operator::Subtract { "-" } else { "" };
            let sql = format!("t_dateadd('day', {sign}({}), {}, '{}')", right.sql, left.sql, types::declaration(a));
            return Ok(Bound { nullable: left.nullable || right.nullable, ..Bound::new(sql, a) });
        }
        super::predicate::refuse_clash(a, b)?;
        let sql_type = arithmetic_type(digits_of(left, a), operator, digits_of(right, b))?;
        let (a, b) = operand_types(a, b, sql_type);
        let sql = format!(
            "t_arithmetic('{}', {}, '{}', {}, '{}', '{}')",
            sign_of(operator),
            self.coerce(left, a)?,
            types::declaration(a),
            self.coerce(right, b)?,
            types::declaration(b),
            types::declaration(sql_type)
        );
        // Nullable whatever the operands are: with ARITHABORT off an overflow yields null, so SQL Server promises nothing.
        Ok(Bound::new(sql, sql_type))
    }
}

/// Beside a decimal, a literal whole number has as many digits as are written, not the ten of an int.
fn digits_of(bound: &Bound, sql_type: SqlType) -> (SqlType, Option<(u8, u8)>) {
    let written = match (&bound.constant, sql_type) {
        (Some(Value::Int(integer)), SqlType::Int) => {
            u8::try_from(integer.unsigned_abs().to_string().len()).ok().map(|digits| (digits, 0))
        }
        _ => None,
    };
    (sql_type, written.or_else(|| types::as_decimal(sql_type)))
}

fn sign_of(operator: Operator) -> char {
    match operator {
        Operator::Add => '+',
        Operator::Subtract => '-',
        Operator::Multiply => '*',
        Operator::Divide => '/',
        Operator::Modulo => '%',
    }
}

/// The types operands are converted to: decimals keep their own digits, all else takes the result's type.
fn operand_types(left: SqlType, right: SqlType, result: SqlType) -> (SqlType, SqlType) {
    if types::as_decimal(result).is_some() && !types::is_integer(result) { (left, right) } else { (result, result) }
}

type Operand = (SqlType, Option<(u8, u8)>);

fn arithmetic_type(left: Operand, operator: Operator, right: Operand) -> Result<SqlType, SqlError> {
    let ((left, left_digits), (right, right_digits)) = (left, right);
    let name = match operator {
        Operator::Add => "add",
        Operator::Subtract => "subtract",
        Operator::Multiply => "multiply",
        Operator::Divide => "divide",
        Operator::Modulo => "modulo",
    };
    let common = types::common(left, right);
    match common {
        // Bits are added as if they were tinyints: there is no sum of bits.
        SqlType::Bit => Err(errors::incompatible(left, right, name)),
        SqlType::TinyInt | SqlType::SmallInt | SqlType::Int | SqlType::BigInt | SqlType::Float | SqlType::Real => {
            Ok(common)
        }
        SqlType::Money | SqlType::SmallMoney => Ok(common),
        SqlType::Decimal { .. } | SqlType::Numeric { .. } => {
            let (Some(left), Some(right)) = (left_digits, right_digits) else {
                return Err(errors::incompatible(left, right, name));
            };
            let (precision, scale) = operator.result(left, right);
            Ok(match common {
                SqlType::Numeric { .. } => SqlType::Numeric { precision, scale },
                _ => SqlType::Decimal { precision, scale },
            })
        }
        _ => Err(errors::incompatible(left, right, name)),
    }
}

/// Without a length, CAST to text or bytes means 30, where a declaration means 1.
fn cast_type(sql_type: SqlType, written: &sqlparser::ast::DataType) -> SqlType {
    use sqlparser::ast::DataType;
    let bare = match written {
        DataType::Char(None) | DataType::Character(None) | DataType::Varchar(None) | DataType::Nvarchar(None) => true,
        DataType::Binary(None) | DataType::Varbinary(None) | DataType::CharVarying(None) => true,
        DataType::Custom(_, arguments) => arguments.is_empty(),
        _ => false,
    };
    match sql_type {
        _ if !bare => sql_type,
        SqlType::Char { .. } => SqlType::Char { length: 30 },
        SqlType::NChar { .. } => SqlType::NChar { length: 30 },
        SqlType::Binary { .. } => SqlType::Binary { length: 30 },
        SqlType::VarChar(Length::Limited(1)) => SqlType::VarChar(Length::Limited(30)),
        SqlType::NVarChar(Length::Limited(1)) => SqlType::NVarChar(Length::Limited(30)),
        SqlType::VarBinary(Length::Limited(1)) => SqlType::VarBinary(Length::Limited(30)),
        other => other,
    }
}

fn negated_literal(bound: &Bound) -> Result<Option<Bound>, SqlError> {
    match (&bound.constant, bound.sql_type) {
        (Some(Value::Int(integer)), sql_type) => Bound::constant(sql_type, Value::Int(-integer)).map(Some),
        (Some(Value::Float(float)), sql_type) => Bound::constant(sql_type, Value::Float(-float)).map(Some),
        (Some(Value::Decimal { unscaled, scale }), sql_type) => {
            Bound::constant(sql_type, Value::Decimal { unscaled: -unscaled, scale: *scale }).map(Some)
        }
        _ => Ok(None),
    }
}

impl Bound {
    /// A null that keeps its type, unlike the literal.
    fn typed_null(self) -> Self {
        Self { constant: None, ..self }
    }
}
