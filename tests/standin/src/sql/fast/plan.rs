//! Recognising `SELECT columns FROM generated WHERE key range`, which needs no SQL engine at all.

use std::ops::Range;
use std::sync::Arc;

use sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, Ident, OrderByKind, Query, Select, SelectItem, SetExpr, TableFactor,
    TopQuantity, Value as Literal,
};

use crate::engine::Event;
use crate::fast::FastTable;
use crate::sql::bind::{Binder, Scope, Variable};
use crate::sql::catalog::ObjectKind;
use crate::sql::{collate, convert, errors, store, types};
use crate::values::{SqlError, SqlType, Value};

/// Keys from the first to before the second; `None` is no bound.
type Keys = (Option<i64>, Option<i64>);

/// The rows of a generated table that a query asks for, and their number; `None` when the query is more than that.
///
/// # Errors
///
/// None of its own: a query with errors was refused when it was bound.
pub fn plan_fast_rows(
    query: &Query,
    binder: &Binder<'_>,
    tables: &[Arc<FastTable>],
    variables: &[Variable],
) -> Result<Option<(Event, u64)>, SqlError> {
    if tables.is_empty() || query.with.is_some() || query.limit_clause.is_some() || query.fetch.is_some() {
        return Ok(None);
    }
    let SetExpr::Select(select) = &*query.body else { return Ok(None) };
    let Some((table, alias)) = only_table(select, binder, tables) else { return Ok(None) };
    let plan = Plan { table: &table, alias: &alias, binder, variables };
    let Some(key) = table.key_column() else { return Ok(None) };
    let Some(columns) = plan.columns(select) else { return Ok(None) };
    if !plan.ordered_by_key(query, key) {
        return Ok(None);
    }
    let keys = match &select.selection {
        None => Some((None, None)),
        Some(condition) => plan.keys(condition, key)?,
    };
    let Some((from, to)) = keys else { return Ok(None) };
    let mut rows = table.rows_of_keys(from, to);
    match &select.top {
        None => {}
        Some(top) => match &top.quantity {
            Some(TopQuantity::Constant(limit)) if !top.percent && !top.with_ties => rows = first(rows, *limit),
            Some(TopQuantity::Expr(Expr::Value(value))) if !top.percent && !top.with_ties => match &value.value {
                Literal::Number(text, _) => match text.parse() {
                    Ok(limit) => rows = first(rows, limit),
                    Err(_) => return Ok(None),
                },
                _ => return Ok(None),
            },
            _ => return Ok(None),
        },
    }
    let count = rows.end - rows.start;
    Ok(Some((Event::FastRows { table: Arc::clone(&table), columns, rows }, count)))
}

fn first(rows: Range<u64>, limit: u64) -> Range<u64> {
    rows.start..rows.end.min(rows.start.saturating_add(limit))
}

/// The one table of FROM, when it is a generated one and nothing else is asked of the SELECT.
fn only_table(select: &Select, binder: &Binder<'_>, tables: &[Arc<FastTable>]) -> Option<(Arc<FastTable>, String)> {
    let plain_group = matches!(&select.group_by, GroupByExpr::Expressions(keys, modifiers) if keys.is_empty() && modifiers.is_empty());
    if !plain_group || select.having.is_some() || select.distinct.is_some() {
        return None;
    }
    let [from] = select.from.as_slice() else { return None };
    let TableFactor::Table { name, alias, .. } = &from.relation else { return None };
    if !from.joins.is_empty() {
        return None;
    }
    let object = binder.object(name).ok()?;
    let ObjectKind::Fast(at) = object.kind else { return None };
    let alias = alias.as_ref().map_or(object.name, |alias| alias.name.value.clone());
    Some((Arc::clone(tables.get(at)?), alias))
}

struct Plan<'p> {
    table: &'p FastTable,
    alias: &'p str,
    binder: &'p Binder<'p>,
    variables: &'p [Variable],
}

impl Plan<'_> {
    fn column(&self, expression: &Expr) -> Option<usize> {
        let name = match expression {
            Expr::Nested(inner) => return self.column(inner),
            Expr::Identifier(name) => name,
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [table, name] if self.is_alias(table) => name,
                _ => return None,
            },
            _ => return None,
        };
        self.table.columns.iter().position(|column| collate::same(&column.name, &name.value))
    }

    fn is_alias(&self, name: &Ident) -> bool {
        collate::same(self.alias, &name.value)
    }

    /// The columns of the SELECT list, each at most once.
    fn columns(&self, select: &Select) -> Option<Vec<usize>> {
        let mut columns = Vec::new();
        for item in &select.projection {
            match item {
                SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. } => {
                    columns.push(self.column(expression)?);
                }
                SelectItem::Wildcard(_) => columns.extend(0..self.table.columns.len()),
                _ => return None,
            }
        }
        let mut seen = columns.clone();
        seen.sort_unstable();
        seen.dedup();
        (seen.len() == columns.len()).then_some(columns)
    }

    fn ordered_by_key(&self, query: &Query, key: usize) -> bool {
        match &query.order_by {
            None => true,
            Some(order) => match &order.kind {
                OrderByKind::Expressions(items) => match items.as_slice() {
                    [item] => item.options.asc != Some(false) && self.column(&item.expr) == Some(key),
                    _ => false,
                },
                OrderByKind::All(_) => false,
            },
        }
    }

    fn keys(&self, condition: &Expr, key: usize) -> Result<Option<Keys>, SqlError> {
        match condition {
            Expr::Nested(inner) => self.keys(inner, key),
            Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
                let (Some(a), Some(b)) = (self.keys(left, key)?, self.keys(right, key)?) else { return Ok(None) };
                let to = match (a.1, b.1) {
                    (Some(x), Some(y)) => Some(x.min(y)),
                    (x, y) => x.or(y),
                };
                Ok(Some((a.0.max(b.0), to)))
            }
            // A generated key is never null.
            Expr::BinaryOp { left, op: BinaryOperator::Or, right } if self.is_null_test(right, key) => {
                self.keys(left, key)
            }
            Expr::BinaryOp { left, op: BinaryOperator::Or, right } if self.is_null_test(left, key) => {
                self.keys(right, key)
            }
            Expr::Between { expr, negated: false, low, high } if self.column(expr) == Some(key) => {
                let (Some(low), Some(high)) = (self.number(low)?, self.number(high)?) else { return Ok(None) };
                Ok(Some((Some(low), Some(high.saturating_add(1)))))
            }
            Expr::BinaryOp { left, op, right } => {
                let (operator, value) = if self.column(left) == Some(key) {
                    (op.clone(), self.number(right)?)
                } else if self.column(right) == Some(key) {
                    (mirrored(op), self.number(left)?)
                } else {
                    return Ok(None);
                };
                let Some(value) = value else { return Ok(None) };
                let above = value.saturating_add(1);
                Ok(match operator {
                    BinaryOperator::Eq => Some((Some(value), Some(above))),
                    BinaryOperator::GtEq => Some((Some(value), None)),
                    BinaryOperator::Gt => Some((Some(above), None)),
                    BinaryOperator::LtEq => Some((None, Some(above))),
                    BinaryOperator::Lt => Some((None, Some(value))),
                    _ => None,
                })
            }
            _ => Ok(None),
        }
    }

    fn is_null_test(&self, condition: &Expr, key: usize) -> bool {
        match condition {
            Expr::Nested(inner) => self.is_null_test(inner, key),
            Expr::IsNull(inner) => self.column(inner) == Some(key),
            _ => false,
        }
    }

    /// The value of an expression without columns, when it is a whole number.
    fn number(&self, expression: &Expr) -> Result<Option<i64>, SqlError> {
        let Ok(bound) = self.binder.expression(expression, &Scope::default()) else { return Ok(None) };
        if !types::is_integer(bound.sql_type) && types::as_decimal(bound.sql_type).is_none_or(|(_, scale)| scale > 0) {
            return Ok(None);
        }
        let mut prepared = self
            .binder
            .connection
            .prepare(&format!("SELECT {}", bound.sql))
            .map_err(|error| errors::storage(&error))?;
        for at in 1..=prepared.parameter_count() {
            if let Some(variable) = self.variables.get(at - 1) {
                let stored = store::encode(variable.sql_type, variable.value.clone())?;
                prepared.raw_bind_parameter(at, stored).map_err(|error| errors::storage(&error))?;
            }
        }
        let mut rows = prepared.raw_query();
        let Some(row) = rows.next().map_err(|error| errors::storage(&error))? else { return Ok(None) };
        let value = store::decode(bound.sql_type, row.get_ref(0).map_err(|error| errors::storage(&error))?)?;
        match convert::convert(value, bound.sql_type, SqlType::BigInt, None) {
            Ok(Value::Int(integer)) => Ok(Some(integer)),
            _ => Ok(None),
        }
    }
}

fn mirrored(operator: &BinaryOperator) -> BinaryOperator {
    match operator {
        BinaryOperator::Lt => BinaryOperator::Gt,
        BinaryOperator::LtEq => BinaryOperator::GtEq,
        BinaryOperator::Gt => BinaryOperator::Lt,
        BinaryOperator::GtEq => BinaryOperator::LtEq,
        other => other.clone(),
    }
}
