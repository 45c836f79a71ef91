//! From the syntax tree to a physical expression. What has no arm here is not in the language.

mod calls;

use std::cell::Cell;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{DataFusionError, ScalarValue};
use datafusion_expr::Operator;
use datafusion_physical_expr::expressions::{
    BinaryExpr, CaseExpr, CastExpr, Column, Literal, NegativeExpr, TryCastExpr, in_list, is_not_null, is_null, not,
};
use datafusion_physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datakit_model::GuestLimits;
use sqlparser::ast::{BinaryOperator, CaseWhen, CastKind, Expr, UnaryOperator, Value};

use super::functions::{self, Function};
use super::like;
use super::literal;
use super::step::Step;
use super::typing::{self, Family, Operand};
use crate::error::{ColumnarError, shorten};
use crate::type_text::{self, TypeBudget};
use crate::wire;

/// An expression as it is evaluated.
pub(super) struct Translated {
    pub(super) physical: Arc<dyn PhysicalExpr>,
    pub(super) data_type: DataType,
    /// The regular expressions in it.
    pub(super) patterns: u64,
}

/// Translates the expression of `column` over the columns of `schema`.
pub(super) fn translate(
    ast: &Expr,
    column: &str,
    schema: &Schema,
    limits: &GuestLimits,
) -> Result<Translated, ColumnarError> {
    let translator = Translator { column, schema, config: Arc::new(ConfigOptions::default()), patterns: Cell::new(0) };
    let typed = translator.expression(ast)?;
    if typed.data_type == DataType::Null {
        return Err(translator.mismatch("the result is always NULL and has no type; write CAST(NULL AS …)"));
    }
    type_text::check(&typed.data_type, &mut TypeBudget::new(limits))
        .map_err(|refusal| wire::refuse(refusal, column, &type_text::print(&typed.data_type)))?;
    Ok(Translated { physical: typed.physical, data_type: typed.data_type, patterns: translator.patterns.get() })
}

/// A translated expression with its type, and its value if it is a literal.
#[derive(Clone)]
struct Typed {
    physical: Arc<dyn PhysicalExpr>,
    data_type: DataType,
    literal: Option<ScalarValue>,
}

impl Typed {
    fn new(physical: Arc<dyn PhysicalExpr>, data_type: DataType) -> Self {
        Self { physical: Step::wrap(physical), data_type, literal: None }
    }

    fn literal(value: ScalarValue) -> Self {
        Self { physical: Arc::new(Literal::new(value.clone())), data_type: value.data_type(), literal: Some(value) }
    }

    fn operand(&self) -> Operand<'_> {
        Operand { data_type: &self.data_type, literal: self.literal.as_ref() }
    }
}

struct Translator<'a> {
    column: &'a str,
    schema: &'a Schema,
    config: Arc<ConfigOptions>,
    /// The regular expressions so far.
    patterns: Cell<u64>,
}

impl Translator<'_> {
    fn expression(&self, ast: &Expr) -> Result<Typed, ColumnarError> {
        match ast {
            Expr::Identifier(identifier) => self.column(&identifier.value),
            Expr::Value(value) => self.value(&value.value, false),
            Expr::Nested(inner) => self.expression(inner),
            Expr::UnaryOp { op, expr } => self.unary(*op, expr),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right),
            Expr::Cast { kind, expr, data_type, array: false, format: None } => match kind {
                CastKind::Cast => self.cast(expr, data_type, false),
                CastKind::TryCast => self.cast(expr, data_type, true),
                _ => self.refuse("a cast other than CAST and TRY_CAST"),
            },
            Expr::TypedString(typed) if !typed.uses_odbc_syntax => match &typed.value.value {
                Value::SingleQuotedString(text) => {
                    let Some(target) = literal::cast_type(&typed.data_type) else {
                        return self.refuse(&format!("the type {}", typed.data_type));
                    };
                    // Read when compiled, not at the first batch.
                    self.convert(Typed::literal(ScalarValue::Utf8(Some(text.clone()))), &target)
                }
                _ => self.refuse("a typed literal that is not in single quotes"),
            },
            Expr::IsNull(inner) => {
                let physical = is_null(self.expression(inner)?.physical);
                self.boolean(physical)
            }
            Expr::IsNotNull(inner) => {
                let physical = is_not_null(self.expression(inner)?.physical);
                self.boolean(physical)
            }
            Expr::Between { expr, negated, low, high } => {
                let operands = self.comparable(&[expr, low, high], "BETWEEN")?;
                let between = self.call(&functions::between(), operands)?;
                if *negated { self.boolean(not(between.physical)) } else { Ok(between) }
            }
            Expr::InList { expr, list, negated } => {
                let mut operands = vec![&**expr];
                operands.extend(list);
                let mut operands = self.comparable(&operands, "IN")?;
                let items = operands.split_off(1);
                // Literals are hashed once; what else is in the list is compared with every row.
                let passes = 1 + items.iter().filter(|item| item.literal.is_none()).count();
                let list: Vec<_> = items.into_iter().map(|item| item.physical).collect();
                match operands.pop() {
                    Some(value) if !list.is_empty() => {
                        let physical = in_list(value.physical, list, negated, self.schema);
                        self.boolean(physical.map(|physical| Step::wrap_passes(physical, passes)))
                    }
                    _ => self.refuse("IN with an empty list"),
                }
            }
            Expr::Like { negated, any: false, expr, pattern, escape_char: None } => self.like(expr, pattern, *negated),
            Expr::Like { .. } => self.refuse("LIKE with ANY or ESCAPE (a backslash escapes % and _)"),
            Expr::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref())
            }
            Expr::Trim { expr, trim_where, trim_what, trim_characters: None } => {
                self.trim(expr, trim_where.as_ref(), trim_what.as_deref())
            }
            Expr::Substring { expr, substring_from, substring_for, special: true, shorthand: true } => {
                self.substr(expr, substring_from.as_deref(), substring_for.as_deref())
            }
            Expr::Function(call) => self.function(call),
            other => self.refuse(&describe(other)),
        }
    }

    fn column(&self, name: &str) -> Result<Typed, ColumnarError> {
        match self.schema.column_with_name(name) {
            Some((index, field)) => Ok(Typed::new(Arc::new(Column::new(name, index)), field.data_type().clone())),
            None => {
                let (column, input) = (shorten(self.column), shorten(name));
                Err(ColumnarError::UnknownColumn { column, input, side: "input" })
            }
        }
    }

    fn value(&self, value: &Value, negative: bool) -> Result<Typed, ColumnarError> {
        let value = match value {
            Value::Number(text, false) => literal::number(&text.to_string(), negative)
                .ok_or_else(|| self.mismatch(&format!("the number {text} has more than 38 digits or is too large")))?,
            Value::SingleQuotedString(text) => ScalarValue::Utf8(Some(text.clone())),
            Value::HexStringLiteral(text) => match hex::decode(text) {
                Ok(bytes) => ScalarValue::Binary(Some(bytes)),
                Err(_) => return Err(self.mismatch("X'…' holds an even number of hex digits")),
            },
            Value::Boolean(value) => ScalarValue::Boolean(Some(*value)),
            Value::Null => ScalarValue::Null,
            Value::Placeholder(_) => return self.refuse("a placeholder"),
            other => return self.refuse(&format!("the literal {other}")),
        };
        Ok(Typed::literal(value))
    }

    fn unary(&self, op: UnaryOperator, inner: &Expr) -> Result<Typed, ColumnarError> {
        match (op, inner) {
            (UnaryOperator::Not, inner) => {
                let operand = self.condition(inner, "NOT")?;
                self.boolean(not(operand.physical))
            }
            (UnaryOperator::Minus, Expr::Value(value)) if matches!(value.value, Value::Number(..)) => {
                self.value(&value.value, true)
            }
            (UnaryOperator::Plus | UnaryOperator::Minus, inner) => {
                let operand = self.expression(inner)?;
                match Family::of(&operand.data_type) {
                    Family::Null => Ok(operand),
                    Family::Number if op == UnaryOperator::Plus => Ok(Typed::new(operand.physical, operand.data_type)),
                    // The kernel for negation wraps around; a subtraction from zero reports the overflow.
                    Family::Number if operand.data_type.is_integer() => {
                        let zero = Typed::literal(ScalarValue::Int64(Some(0)));
                        self.arithmetic(zero, Operator::Minus, operand)
                    }
                    Family::Number => {
                        let data_type = operand.data_type.clone();
                        Ok(Typed::new(Arc::new(NegativeExpr::new(operand.physical)), data_type))
                    }
                    _ => Err(self.mismatch(&format!("the sign of {}", type_text::print(&operand.data_type)))),
                }
            }
            _ => self.refuse(&format!("the operator {op}")),
        }
    }

    fn binary(&self, left: &Expr, op: &BinaryOperator, right: &Expr) -> Result<Typed, ColumnarError> {
        let operator = match op {
            BinaryOperator::Plus => Operator::Plus,
            BinaryOperator::Minus => Operator::Minus,
            BinaryOperator::Multiply => Operator::Multiply,
            BinaryOperator::Divide => Operator::Divide,
            BinaryOperator::Modulo => Operator::Modulo,
            BinaryOperator::Eq => Operator::Eq,
            BinaryOperator::NotEq => Operator::NotEq,
            BinaryOperator::Lt => Operator::Lt,
            BinaryOperator::LtEq => Operator::LtEq,
            BinaryOperator::Gt => Operator::Gt,
            BinaryOperator::GtEq => Operator::GtEq,
            BinaryOperator::And => Operator::And,
            BinaryOperator::Or => Operator::Or,
            other => return self.refuse(&format!("the operator {other}")),
        };
        match operator {
            Operator::And | Operator::Or => {
                let name = operator.to_string();
                let (left, right) = (self.condition(left, &name)?, self.condition(right, &name)?);
                self.boolean(Ok(Arc::new(BinaryExpr::new(left.physical, operator, right.physical))))
            }
            Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo => {
                self.arithmetic(self.expression(left)?, operator, self.expression(right)?)
            }
            _ => {
                let mut operands = self.comparable(&[left, right], &operator.to_string())?.into_iter();
                match (operands.next(), operands.next()) {
                    (Some(left), Some(right)) => {
                        self.boolean(Ok(Arc::new(BinaryExpr::new(left.physical, operator, right.physical))))
                    }
                    _ => self.refuse("a comparison without two sides"),
                }
            }
        }
    }

    /// Overflow is an error, never a wrapped value.
    fn arithmetic(&self, left: Typed, operator: Operator, right: Typed) -> Result<Typed, ColumnarError> {
        let types =
            || format!("{} {operator} {}", type_text::print(&left.data_type), type_text::print(&right.data_type));
        let (left_type, right_type) =
            typing::arithmetic(left.operand(), right.operand()).ok_or_else(|| self.mismatch(&types()))?;
        let data_type = typing::arithmetic_result(&left_type, operator, &right_type)
            .map_err(|error| self.mismatch(&format!("{}: {error}", types())))?;
        let (left, right) = (self.convert(left, &left_type)?, self.convert(right, &right_type)?);
        let physical = BinaryExpr::new(left.physical, operator, right.physical).with_fail_on_overflow(true);
        Ok(Typed::new(Arc::new(physical), data_type))
    }

    fn like(&self, expr: &Expr, pattern: &Expr, negated: bool) -> Result<Typed, ColumnarError> {
        let operand = self.text(expr, "LIKE")?;
        // Compiled once; a pattern of each row would be compiled for each row.
        match self.expression(pattern)?.literal {
            Some(ScalarValue::Utf8(Some(pattern))) => self.call(&like::like(&pattern, negated), vec![operand]),
            _ => Err(self.mismatch("the pattern of LIKE is a text literal")),
        }
    }

    fn case(
        &self,
        operand: Option<&Expr>,
        conditions: &[CaseWhen],
        else_result: Option<&Expr>,
    ) -> Result<Typed, ColumnarError> {
        let (operand, whens) = match operand {
            Some(operand) => {
                let mut values = vec![operand];
                values.extend(conditions.iter().map(|case| &case.condition));
                let mut values = self.comparable(&values, "CASE")?.into_iter();
                (values.next(), values.collect())
            }
            None => {
                let whens = conditions.iter().map(|case| self.condition(&case.condition, "WHEN"));
                (None, whens.collect::<Result<Vec<_>, _>>()?)
            }
        };
        let results = conditions.iter().map(|case| &case.result).chain(else_result).collect::<Vec<_>>();
        let mut results = self.alike(&results, "CASE")?;
        let data_type = results.first().map_or(DataType::Null, |result| result.data_type.clone());
        let otherwise = if else_result.is_some() { results.pop() } else { None };
        let cases = whens.into_iter().zip(results).map(|(when, then)| (when.physical, then.physical)).collect();
        let case = CaseExpr::try_new(
            operand.map(|operand: Typed| operand.physical),
            cases,
            otherwise.map(|otherwise| otherwise.physical),
        );
        Ok(Typed::new(Arc::new(case.map_err(|error| self.plan(&error))?), data_type))
    }

    fn call(&self, function: &Function, arguments: Vec<Typed>) -> Result<Typed, ColumnarError> {
        let arguments = arguments.into_iter().map(|argument| argument.physical).collect();
        let call =
            ScalarFunctionExpr::try_new(Arc::clone(&function.udf), arguments, self.schema, Arc::clone(&self.config))
                .map_err(|error| self.plan(&error))?;
        let data_type = call.return_type().clone();
        Ok(Typed::new(Arc::new(call), data_type))
    }

    fn cast(&self, expr: &Expr, to: &sqlparser::ast::DataType, forgiving: bool) -> Result<Typed, ColumnarError> {
        let typed = self.expression(expr)?;
        self.cast_typed(typed, to, forgiving)
    }

    fn cast_typed(&self, typed: Typed, to: &sqlparser::ast::DataType, forgiving: bool) -> Result<Typed, ColumnarError> {
        let Some(target) = literal::cast_type(to) else { return self.refuse(&format!("the type {to}")) };
        if !typing::can_cast(&typed.data_type, &target) {
            let (from, to) = (type_text::print(&typed.data_type), type_text::print(&target));
            return Err(self.mismatch(&format!("CAST of {from} to {to}")));
        }
        let physical: Arc<dyn PhysicalExpr> = if typed.data_type == DataType::Null {
            let null = ScalarValue::try_from(&target).map_err(|error| self.plan(&error))?;
            Arc::new(Literal::new(null))
        } else if forgiving {
            Arc::new(TryCastExpr::new(typed.physical, target.clone()))
        } else {
            Arc::new(CastExpr::new(typed.physical, target.clone(), None))
        };
        Ok(Typed::new(physical, target))
    }

    /// An expression that must be boolean.
    fn condition(&self, expr: &Expr, what: &str) -> Result<Typed, ColumnarError> {
        let typed = self.expression(expr)?;
        match typed.data_type {
            DataType::Boolean => Ok(typed),
            DataType::Null => self.convert(typed, &DataType::Boolean),
            ref other => Err(self.mismatch(&format!("{what} takes a Boolean, not {}", type_text::print(other)))),
        }
    }

    /// An expression that must be text.
    fn text(&self, expr: &Expr, what: &str) -> Result<Typed, ColumnarError> {
        let typed = self.expression(expr)?;
        match Family::of(&typed.data_type) {
            Family::Text => Ok(typed),
            Family::Null => self.convert(typed, &DataType::Utf8),
            _ => Err(self.mismatch(&format!("{what} takes text, not {}", type_text::print(&typed.data_type)))),
        }
    }

    /// Expressions of one type that has an order.
    fn comparable(&self, expressions: &[&Expr], what: &str) -> Result<Vec<Typed>, ColumnarError> {
        let typed = self.alike(expressions, what)?;
        match typed.first() {
            Some(first) if Family::of(&first.data_type) == Family::Nested => {
                Err(self.mismatch(&format!("{what} on {}", type_text::print(&first.data_type))))
            }
            // NULL alone compares as a boolean, to the same unknown.
            Some(first) if first.data_type == DataType::Null => {
                typed.into_iter().map(|typed| self.convert(typed, &DataType::Boolean)).collect()
            }
            _ => Ok(typed),
        }
    }

    /// Expressions converted to the type they have in common.
    fn alike(&self, expressions: &[&Expr], what: &str) -> Result<Vec<Typed>, ColumnarError> {
        let typed = expressions.iter().map(|expr| self.expression(expr)).collect::<Result<Vec<_>, _>>()?;
        self.unify(typed, what)
    }

    fn unify(&self, typed: Vec<Typed>, what: &str) -> Result<Vec<Typed>, ColumnarError> {
        let operands: Vec<_> = typed.iter().map(Typed::operand).collect();
        let Some(common) = typing::common(&operands) else {
            let types: Vec<_> = typed.iter().map(|typed| type_text::print(&typed.data_type)).collect();
            return Err(self.mismatch(&format!("{what} on {}", types.join(", "))));
        };
        typed.into_iter().map(|typed| self.convert(typed, &common)).collect()
    }

    /// Converts to a type the rules allow; a literal at once.
    fn convert(&self, typed: Typed, to: &DataType) -> Result<Typed, ColumnarError> {
        if &typed.data_type == to {
            return Ok(typed);
        }
        match typed.literal {
            Some(value) => {
                let value = value.cast_to(to).map_err(|error| {
                    self.mismatch(&format!("{} for {}", error.strip_backtrace(), type_text::print(to)))
                })?;
                Ok(Typed::literal(value))
            }
            None => Ok(Typed::new(Arc::new(CastExpr::new(typed.physical, to.clone(), None)), to.clone())),
        }
    }

    fn boolean(&self, physical: Result<Arc<dyn PhysicalExpr>, DataFusionError>) -> Result<Typed, ColumnarError> {
        Ok(Typed::new(physical.map_err(|error| self.plan(&error))?, DataType::Boolean))
    }

    fn plan(&self, error: &DataFusionError) -> ColumnarError {
        self.mismatch(&error.strip_backtrace())
    }

    fn mismatch(&self, message: &str) -> ColumnarError {
        ColumnarError::TypeMismatch { column: shorten(self.column), message: shorten(message) }
    }

    fn refuse<T>(&self, what: &str) -> Result<T, ColumnarError> {
        Err(ColumnarError::NotInLanguage { column: shorten(self.column), what: shorten(what) })
    }
}

/// Names what was found; its own text is bounded by the limit on expressions.
fn describe(expr: &Expr) -> String {
    format!("`{expr}`")
}
