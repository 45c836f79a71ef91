//! The walk over expressions.

use sqlparser::ast::{
    BinaryOperator, CastKind, CeilFloorKind, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, ObjectName, UnaryOperator, Value, WindowFrame, WindowFrameBound, WindowType,
};

use super::walk::{Walk, construct, name, none};
use super::{Dialect, Refusal};

impl<D: Dialect> Walk<'_, D> {
    pub(super) fn expression(&mut self, expression: &Expr) -> Result<(), Refusal> {
        self.deeper(|walk| walk.expression_here(expression))
    }

    fn expressions<'e>(&mut self, list: impl IntoIterator<Item = &'e Expr>) -> Result<(), Refusal> {
        list.into_iter().try_for_each(|e| self.expression(e))
    }

    /// A chain of operators leans to the left, so it is followed in a loop: its length is bounded by tokens.
    fn expression_here(&mut self, expression: &Expr) -> Result<(), Refusal> {
        let mut expression = expression;
        while let Expr::BinaryOp { left, op, right } = expression {
            binary(op)?;
            self.expression(right)?;
            expression = left;
        }
        match expression {
            Expr::Identifier(ident) => {
                name::<D>(ident)?;
                self.bare_column(ident)
            }
            Expr::CompoundIdentifier(parts) => {
                none(parts.len() <= 3, "a column name of more than three parts")?;
                parts.iter().try_for_each(name::<D>)?;
                self.column_of(parts)
            }
            Expr::Value(value) => literal::<D>(&value.value),
            Expr::Nested(inner) | Expr::IsNull(inner) | Expr::IsNotNull(inner) => self.expression(inner),
            Expr::IsTrue(inner) | Expr::IsNotTrue(inner) | Expr::IsFalse(inner) | Expr::IsNotFalse(inner)
                if D::BOOLEANS =>
            {
                self.expression(inner)
            }
            Expr::UnaryOp { op, expr } => {
                none(
                    matches!(
                        op,
                        UnaryOperator::Plus | UnaryOperator::Minus | UnaryOperator::Not | UnaryOperator::BitwiseNot
                    ),
                    "this operator",
                )?;
                self.expression(expr)
            }
            Expr::IsDistinctFrom(a, b) | Expr::IsNotDistinctFrom(a, b) => self.expressions([&**a, &**b]),
            Expr::Between { expr, low, high, .. } => self.expressions([&**expr, &**low, &**high]),
            Expr::InList { expr, list, .. } => {
                self.expression(expr)?;
                self.expressions(list)
            }
            Expr::Like { any: false, expr, pattern, escape_char, .. } => {
                escape_char.iter().try_for_each(|escape| literal::<D>(&escape.value))?;
                self.expressions([&**expr, &**pattern])
            }
            Expr::InSubquery { expr, subquery, .. } => {
                self.expression(expr)?;
                self.subquery(subquery)
            }
            Expr::Exists { subquery, .. } | Expr::Subquery(subquery) => self.subquery(subquery),
            Expr::AnyOp { left, compare_op, right, .. } | Expr::AllOp { left, compare_op, right } => {
                binary(compare_op)?;
                self.expressions([&**left, &**right])
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                self.expressions(operand.as_deref())?;
                self.expressions(conditions.iter().flat_map(|when| [&when.condition, &when.result]))?;
                self.expressions(else_result.as_deref())
            }
            Expr::Cast {
                kind: CastKind::Cast | CastKind::TryCast | CastKind::DoubleColon,
                expr,
                data_type,
                array: false,
                format: None,
            } => {
                type_name::<D>(&data_type.to_string())?;
                self.expression(expr)
            }
            Expr::Convert {
                expr,
                data_type: Some(data_type),
                charset: None,
                target_before_value: true,
                styles,
                ..
            } => {
                type_name::<D>(&data_type.to_string())?;
                self.expression(expr)?;
                self.expressions(styles)
            }
            Expr::AtTimeZone { timestamp, time_zone } => self.expressions([&**timestamp, &**time_zone]),
            Expr::Collate { expr, collation } => {
                none(collation.0.len() == 1, "this collation")?;
                self.expression(expr)
            }
            Expr::Ceil { expr, field } | Expr::Floor { expr, field } => {
                none(
                    matches!(field, CeilFloorKind::DateTimeField(DateTimeField::NoDateTime)),
                    "this form of rounding",
                )?;
                self.expression(expr)
            }
            Expr::Substring { expr, substring_from, substring_for, shorthand, .. } => {
                // With a text in its place the server takes it for a regular expression, whatever the syntax.
                none(
                    D::SUBSTRING_TAKES_NUMBERS
                        || *shorthand
                        || [substring_from, substring_for].into_iter().flatten().all(|e| is_integer(e)),
                    "a substring by anything but numbers, lengths and positions, or casts to integers,",
                )?;
                self.expression(expr)?;
                self.expressions(substring_from.as_deref())?;
                self.expressions(substring_for.as_deref())
            }
            Expr::Trim { trim_where: None, trim_what, expr, trim_characters: None } => {
                self.expressions(trim_what.as_deref())?;
                self.expression(expr)
            }
            Expr::Function(function) => self.function(function),
            _ => construct(format!("the expression {}", excerpt(&expression.to_string()))),
        }
    }

    fn function(&mut self, function: &Function) -> Result<(), Refusal> {
        let Function {
            name: function_name,
            uses_odbc_syntax,
            parameters,
            args,
            filter,
            null_treatment: _,
            over,
            within_group,
        } = function;
        D::check_call(listed::<D>(function_name)?, args)?;
        none(
            !uses_odbc_syntax && matches!(parameters, FunctionArguments::None) && filter.is_none(),
            "this form of a function call",
        )?;
        match args {
            FunctionArguments::None => {}
            FunctionArguments::Subquery(_) => return construct("a query as the argument of a function"),
            FunctionArguments::List(list) => {
                none(list.clauses.is_empty(), "this form of a function call")?;
                list.args.iter().try_for_each(|argument| self.argument(argument))?;
            }
        }
        self.order_list(within_group, &[])?;
        match over {
            None => Ok(()),
            Some(WindowType::NamedWindow(_)) => construct("a named window"),
            Some(WindowType::WindowSpec(window)) => {
                none(window.window_name.is_none(), "a named window")?;
                self.expressions(&window.partition_by)?;
                self.order_list(&window.order_by, &[])?;
                window.window_frame.as_ref().map_or(Ok(()), |frame| self.frame(frame))
            }
        }
    }

    fn argument(&mut self, argument: &FunctionArg) -> Result<(), Refusal> {
        match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => self.expression(expression),
            FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => Ok(()),
            _ => construct("this form of an argument"),
        }
    }

    fn frame(&mut self, frame: &WindowFrame) -> Result<(), Refusal> {
        [Some(&frame.start_bound), frame.end_bound.as_ref()].into_iter().flatten().try_for_each(|bound| match bound {
            WindowFrameBound::CurrentRow => Ok(()),
            WindowFrameBound::Preceding(rows) | WindowFrameBound::Following(rows) => self.expressions(rows.as_deref()),
        })
    }
}

/// A function without schema or quotes, so that no function of a person is called, nor a method of a type.
fn listed<D: Dialect>(name: &ObjectName) -> Result<&str, Refusal> {
    let bare = match name.0.as_slice() {
        [part] => part.as_ident().filter(|ident| ident.quote_style.is_none()),
        _ => None,
    };
    match bare {
        Some(ident) if D::is_function(&ident.value) => Ok(&ident.value),
        _ => Err(Refusal::Function(excerpt(&name.to_string()))),
    }
}

/// Whether the expression is an integer by its form alone.
fn is_integer(expression: &Expr) -> bool {
    const CASTS: [&str; 6] = ["int", "integer", "int2", "int4", "smallint", "bigint"];
    const FUNCTIONS: [&str; 5] = ["length", "char_length", "character_length", "octet_length", "strpos"];
    match expression {
        Expr::Value(value) => matches!(&value.value, Value::Number(..)),
        Expr::Nested(inner) | Expr::UnaryOp { op: UnaryOperator::Minus | UnaryOperator::Plus, expr: inner } => {
            is_integer(inner)
        }
        Expr::BinaryOp { left, op: BinaryOperator::Plus | BinaryOperator::Minus, right } => {
            is_integer(left) && is_integer(right)
        }
        Expr::Cast { data_type, .. } => CASTS.contains(&data_type.to_string().to_ascii_lowercase().as_str()),
        Expr::Function(function) => {
            let name = function.name.to_string();
            FUNCTIONS.iter().any(|listed| listed.eq_ignore_ascii_case(&name))
        }
        _ => false,
    }
}

fn binary(op: &BinaryOperator) -> Result<(), Refusal> {
    use BinaryOperator as Op;
    let fine = matches!(
        op,
        Op::Plus
            | Op::Minus
            | Op::Multiply
            | Op::Divide
            | Op::Modulo
            | Op::Gt
            | Op::Lt
            | Op::GtEq
            | Op::LtEq
            | Op::Eq
            | Op::NotEq
            | Op::And
            | Op::Or
            | Op::BitwiseOr
            | Op::BitwiseAnd
            | Op::BitwiseXor
            | Op::StringConcat
    );
    none(fine, "this operator")
}

fn literal<D: Dialect>(value: &Value) -> Result<(), Refusal> {
    let fine = matches!(
        value,
        Value::Number(_, false)
            | Value::SingleQuotedString(_)
            | Value::NationalStringLiteral(_)
            | Value::HexStringLiteral(_)
            | Value::Placeholder(_)
            | Value::Null
    );
    let fine = fine || (D::BOOLEANS && matches!(value, Value::Boolean(_)));
    none(fine, "this form of a literal")
}

fn type_name<D: Dialect>(text: &str) -> Result<(), Refusal> {
    if D::is_type(text) { Ok(()) } else { construct(format!("the type {}", excerpt(text))) }
}

/// The start of a text for a message.
fn excerpt(text: &str) -> String {
    let mut start: String = text.chars().take(60).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}
