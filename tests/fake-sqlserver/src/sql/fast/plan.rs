//! Recognising `SELECT columns FROM generated WHERE key range`, also in parentheses inside another, and counts and bounds of the
//! key: they need no SQL engine at all.

use std::ops::Range;
use std::sync::Arc;

use sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident, OrderByKind, Query,
    Select, SelectItem, SetExpr, TableFactor, TopQuantity, Value as Literal,
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
    let Some(part) = plan_part(query, binder, tables, variables)? else { return Ok(None) };
    let columns: Vec<usize> = part.columns.iter().map(|(_, column)| *column).collect();
    let mut seen = columns.clone();
    seen.sort_unstable();
    seen.dedup();
    if seen.len() != columns.len() {
        return Ok(None);
    }
    let count = part.rows.end - part.rows.start;
    Ok(Some((Event::FastRows { table: part.table, columns, rows: part.rows }, count)))
}

/// The one row of `SELECT COUNT(*), MIN(key), MAX(key) FROM generated`, any of the three, which is known without a look at the
/// rows; `None` when the query is another.
///
/// # Errors
///
/// As [`plan_fast_rows`].
pub fn plan_fast_summary(
    query: &Query,
    binder: &Binder<'_>,
    tables: &[Arc<FastTable>],
    variables: &[Variable],
) -> Result<Option<Vec<Value>>, SqlError> {
    let Some(select) = plain_select(query, tables) else { return Ok(None) };
    if query.order_by.is_some() || select.top.is_some() {
        return Ok(None);
    }
    let Some(source) = source(select, binder, tables, variables)? else { return Ok(None) };
    let Some(rows) = source.selected(select)? else { return Ok(None) };
    let mut values = Vec::new();
    for item in &select.projection {
        let (SelectItem::UnnamedExpr(expression) | SelectItem::ExprWithAlias { expr: expression, .. }) = item else {
            return Ok(None);
        };
        let Some(value) = source.summary(expression, &rows) else { return Ok(None) };
        values.push(value);
    }
    Ok(Some(values))
}

/// Some columns, under the names a query gives them, and a run of rows.
struct Part {
    table: Arc<FastTable>,
    columns: Vec<(String, usize)>,
    rows: Range<u64>,
}

fn plan_part(
    query: &Query,
    binder: &Binder<'_>,
    tables: &[Arc<FastTable>],
    variables: &[Variable],
) -> Result<Option<Part>, SqlError> {
    let Some(select) = plain_select(query, tables) else { return Ok(None) };
    let Some(source) = source(select, binder, tables, variables)? else { return Ok(None) };
    let Some(columns) = source.projected(select) else { return Ok(None) };
    if !source.ordered_by_key(query) {
        return Ok(None);
    }
    let Some(mut rows) = source.selected(select)? else { return Ok(None) };
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
    Ok(Some(Part { table: source.part.table, columns, rows }))
}

fn first(rows: Range<u64>, limit: u64) -> Range<u64> {
    rows.start..rows.end.min(rows.start.saturating_add(limit))
}

/// The SELECT of a query that groups nothing, joins nothing and limits by TOP alone.
fn plain_select<'q>(query: &'q Query, tables: &[Arc<FastTable>]) -> Option<&'q Select> {
    if tables.is_empty() || query.with.is_some() || query.limit_clause.is_some() || query.fetch.is_some() {
        return None;
    }
    let SetExpr::Select(select) = &*query.body else { return None };
    let plain_group = matches!(&select.group_by, GroupByExpr::Expressions(keys, modifiers) if keys.is_empty() && modifiers.is_empty());
    (plain_group && select.having.is_none() && select.distinct.is_none()).then_some(select)
}

/// What FROM names, when it is one generated table, or a plain query over one in parentheses.
fn source<'p>(
    select: &Select,
    binder: &'p Binder<'p>,
    tables: &[Arc<FastTable>],
    variables: &'p [Variable],
) -> Result<Option<Source<'p>>, SqlError> {
    let [from] = select.from.as_slice() else { return Ok(None) };
    if !from.joins.is_empty() {
        return Ok(None);
    }
    let (part, names) = match &from.relation {
        TableFactor::Table { name, alias, .. } => {
            let Ok(object) = binder.object(name) else { return Ok(None) };
            let ObjectKind::Fast(at) = object.kind else { return Ok(None) };
            let Some(table) = tables.get(at).map(Arc::clone) else { return Ok(None) };
            let columns = table.columns.iter().enumerate().map(|(at, column)| (column.name.clone(), at)).collect();
            let names = match alias {
                Some(alias) => vec![alias.name.value.clone()],
                None => vec![object.schema, object.name],
            };
            let rows = 0..table.rows;
            (Part { table, columns, rows }, names)
        }
        TableFactor::Derived { lateral: false, subquery, alias: Some(alias), .. } if alias.columns.is_empty() => {
            let Some(part) = plan_part(subquery, binder, tables, variables)? else { return Ok(None) };
            (part, vec![alias.name.value.clone()])
        }
        _ => return Ok(None),
    };
    let Some(key) = part.table.key_column() else { return Ok(None) };
    Ok(Some(Source { part, key, names, binder, variables }))
}

struct Source<'p> {
    part: Part,
    key: usize,
    /// The alias, or schema and name.
    names: Vec<String>,
    binder: &'p Binder<'p>,
    variables: &'p [Variable],
}

impl Source<'_> {
    fn column(&self, expression: &Expr) -> Option<usize> {
        let name = match expression {
            Expr::Nested(inner) => return self.column(inner),
            Expr::Identifier(name) => name,
            Expr::CompoundIdentifier(parts) => {
                let (name, qualifiers) = parts.split_last()?;
                if !self.is_qualified_by(qualifiers) {
                    return None;
                }
                name
            }
            _ => return None,
        };
        let found = self.part.columns.iter().find(|(visible, _)| collate::same(visible, &name.value));
        found.map(|(_, column)| *column)
    }

    /// Whether these are the last parts of the source's name: `t`, or `dbo` and `t`.
    fn is_qualified_by(&self, qualifiers: &[Ident]) -> bool {
        let Some(skipped) = self.names.len().checked_sub(qualifiers.len()) else { return false };
        self.names.iter().skip(skipped).zip(qualifiers).all(|(name, given)| collate::same(name, &given.value))
    }

    /// The columns of the SELECT list.
    fn projected(&self, select: &Select) -> Option<Vec<(String, usize)>> {
        let mut columns = Vec::new();
        for item in &select.projection {
            match item {
                SelectItem::UnnamedExpr(expression) => {
                    let column = self.column(expression)?;
                    columns.push((self.part.table.columns.get(column)?.name.clone(), column));
                }
                SelectItem::ExprWithAlias { expr, alias } => columns.push((alias.value.clone(), self.column(expr)?)),
                SelectItem::Wildcard(_) => columns.extend(self.part.columns.iter().cloned()),
                _ => return None,
            }
        }
        Some(columns)
    }

    /// The rows that WHERE leaves.
    fn selected(&self, select: &Select) -> Result<Option<Range<u64>>, SqlError> {
        let within = &self.part.rows;
        let Some(condition) = &select.selection else { return Ok(Some(within.clone())) };
        let Some((from, to)) = self.keys(condition, self.key)? else { return Ok(None) };
        let keys = self.part.table.rows_of_keys(from, to);
        let start = keys.start.max(within.start);
        Ok(Some(start..keys.end.min(within.end).max(start)))
    }

    /// `COUNT(*)`, `MIN(key)` or `MAX(key)` of these rows.
    fn summary(&self, expression: &Expr, rows: &Range<u64>) -> Option<Value> {
        let Expr::Function(function) = expression else { return None };
        let FunctionArguments::List(list) = &function.args else { return None };
        let plain = list.clauses.is_empty() && list.duplicate_treatment.is_none() && function.over.is_none();
        let [FunctionArg::Unnamed(argument)] = list.args.as_slice() else { return None };
        let name = function.name.to_string().to_ascii_uppercase();
        let of_key = matches!(argument, FunctionArgExpr::Expr(inner) if self.column(inner) == Some(self.key));
        let row = match (plain, name.as_str(), argument) {
            (true, "COUNT" | "COUNT_BIG", FunctionArgExpr::Wildcard) => {
                return i64::try_from(rows.end - rows.start).ok().map(Value::Int);
            }
            (true, "MIN", _) if of_key => rows.start,
            (true, "MAX", _) if of_key => rows.end.saturating_sub(1),
            _ => return None,
        };
        Some(if rows.is_empty() { Value::Null } else { self.part.table.value(row, self.key) })
    }

    fn ordered_by_key(&self, query: &Query) -> bool {
        match &query.order_by {
            None => true,
            Some(order) => match &order.kind {
                OrderByKind::Expressions(items) => match items.as_slice() {
                    [item] => item.options.asc != Some(false) && self.column(&item.expr) == Some(self.key),
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
