//! SELECT: projection, grouping, order, limits, and the set operations between them.

use sqlparser::ast::{
    Distinct, Expr, Fetch, GroupByExpr, Ident, LimitClause, OrderBy, OrderByExpr, OrderByKind, Query, Select,
    SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TopQuantity, Value as Literal,
};

use super::{Binder, Bound, BoundQuery, Scope, comparable};
use crate::sql::{collate, errors, types};
use crate::values::{Column, SqlError, SqlType};

/// One item of a SELECT list, bound.
struct Item {
    bound: Bound,
    name: String,
}

/// The clauses around a SELECT or a set operation.
struct Tail<'q> {
    order: &'q [OrderByExpr],
    offset: Option<&'q Expr>,
    fetch: Option<&'q Expr>,
}

impl Binder<'_> {
    /// Binds a query that stands by itself.
    ///
    /// # Errors
    ///
    /// What SQL Server would say of it, and the fake SQL Server's own error for what it does not know.
    pub fn query(&self, query: &Query, outer: Option<&Scope<'_>>) -> Result<BoundQuery, SqlError> {
        self.deeper(|| {
            if query.for_clause.is_some() || query.settings.is_some() || !query.pipe_operators.is_empty() {
                return Err(errors::unsupported("FOR, SETTINGS or pipes after a query"));
            }
            let tables_before = self.common_tables.borrow().len();
            if let Some(with) = &query.with {
                if with.recursive {
                    return Err(errors::syntax_near("RECURSIVE"));
                }
                for table in &with.cte_tables {
                    let columns = table.alias.columns.iter().map(|column| column.name.clone()).collect();
                    let entry = (table.alias.name.value.clone(), (*table.query).clone(), columns);
                    self.common_tables.borrow_mut().push(entry);
                }
            }
            let bound = tail_of(query).and_then(|tail| self.body(&query.body, &tail, outer));
            self.common_tables.borrow_mut().truncate(tables_before);
            bound
        })
    }

    /// Binds a query whose columns will be named: a derived table, a view, a common table.
    pub(super) fn table_query(
        &self,
        query: &Query,
        name: &str,
        outer: Option<&Scope<'_>>,
    ) -> Result<BoundQuery, SqlError> {
        let limited = query.limit_clause.is_some()
            || query.fetch.is_some()
            || query.body.as_select().is_some_and(|select| select.top.is_some());
        if query.order_by.is_some() && !limited {
            return Err(SqlError::new(
                1033,
                "The ORDER BY clause is invalid in views, inline functions, derived tables, subqueries, and common table \
                 expressions, unless TOP, OFFSET or FOR XML is also specified.",
            )
            .with_class(15));
        }
        let bound = self.query(query, outer)?;
        if let Some(at) = bound.columns.iter().position(|column| column.name.is_empty()) {
            // A list of column names after the alias names them all.
            if !name.is_empty() {
                let message = format!("No column name was specified for column {} of '{name}'.", at + 1);
                return Err(SqlError::new(8155, message).with_state(2));
            }
        }
        Ok(bound)
    }

    fn body(&self, body: &SetExpr, tail: &Tail<'_>, outer: Option<&Scope<'_>>) -> Result<BoundQuery, SqlError> {
        match body {
            SetExpr::Select(select) => self.select(select, tail, outer),
            SetExpr::Query(query) if tail.is_empty() => self.query(query, outer),
            SetExpr::Query(query) => {
                let inner = self.query(query, outer)?;
                self.finish_set(inner, tail)
            }
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                let nothing = Tail { order: &[], offset: None, fetch: None };
                let left = self.body(left, &nothing, outer)?;
                let right = self.body(right, &nothing, outer)?;
                let set = self.set_operation(left, *op, *set_quantifier, right)?;
                self.finish_set(set, tail)
            }
            SetExpr::Values(values) => {
                let rows = self.values(values, outer)?;
                self.finish_set(rows, tail)
            }
            _ => Err(errors::unsupported("a changing statement inside a query")),
        }
    }

    fn finish_set(&self, set: BoundQuery, tail: &Tail<'_>) -> Result<BoundQuery, SqlError> {
        if tail.is_empty() {
            return Ok(set);
        }
        let mut order = Vec::new();
        for item in tail.order {
            let at = output_position(&item.expr, &set.columns)?.ok_or_else(|| {
                SqlError::new(
                    104,
                    "ORDER BY items must appear in the select list if the statement contains a UNION, INTERSECT or EXCEPT \
                     operator.",
                )
                .with_class(15)
            })?;
            order.push(ordered(&comparable(&set.aliases[at], set.columns[at].sql_type), item)?);
        }
        let source = self.fresh('s');
        let mut sql = format!("SELECT {} FROM ({}) AS {source}", set.aliases.join(", "), set.sql);
        self.append_tail(&mut sql, &order, None, tail)?;
        Ok(BoundQuery { sql, ..set })
    }

    fn select(&self, select: &Select, tail: &Tail<'_>, outer: Option<&Scope<'_>>) -> Result<BoundQuery, SqlError> {
        refuse_foreign_clauses(select)?;
        let mut scope = Scope::within(outer);
        let from = self.from(&select.from, &mut scope)?;
        let condition = match &select.selection {
            Some(expression) => Some(self.predicate(expression, &scope)?),
            None => None,
        };
        let group_by = self.group_by(&select.group_by, &scope)?;
        // A first pass tells whether there are aggregates: only then must columns be grouped by.
        let mut items = self.items(select, &scope)?;
        let having = select.having.as_ref();
        if having.is_some() || !group_by.is_empty() || scope.saw_aggregate.get() {
            scope.groups = Some(group_by.iter().map(|bound| bound.sql.clone()).collect());
            items = self.items(select, &scope)?;
        }
        let distinct = match &select.distinct {
            None | Some(Distinct::All) => false,
            Some(Distinct::Distinct) => true,
            Some(Distinct::On(_)) => return Err(errors::syntax_near("ON")),
        };
        let mut columns = Vec::new();
        let mut aliases = Vec::new();
        let mut list = Vec::new();
        for item in &items {
            let alias = self.fresh('o');
            let sql = if distinct && types::is_text(item.bound.sql_type) {
                comparable(&item.bound.sql, item.bound.sql_type)
            } else {
                item.bound.sql.clone()
            };
            if distinct && types::is_incomparable(item.bound.sql_type) {
                return Err(SqlError::new(
                    421,
                    format!(
                        "The {} data type cannot be selected as DISTINCT because it is not comparable.",
                        types::facts(item.bound.sql_type).name
                    ),
                ));
            }
            list.push(format!("{sql} AS {alias}"));
            columns.push(column_of(&item.bound, item.name.clone()));
            aliases.push(alias);
        }
        let mut sql = format!("SELECT {}{}", if distinct { "DISTINCT " } else { "" }, list.join(", "));
        if let Some(from) = from {
            sql.push_str(&format!(" FROM {from}"));
        }
        if let Some(condition) = condition {
            sql.push_str(&format!(" WHERE {condition}"));
        }
        if !group_by.is_empty() {
            let keys: Vec<String> = group_by.iter().map(|key| comparable(&key.sql, key.sql_type)).collect();
            sql.push_str(&format!(" GROUP BY {}", keys.join(", ")));
        }
        if let Some(having) = having {
            sql.push_str(&format!(" HAVING {}", self.predicate(having, &scope)?));
        }
        let mut order = Vec::new();
        for item in tail.order {
            let sql = match output_position(&item.expr, &columns)? {
                Some(at) => comparable(&aliases[at], columns[at].sql_type),
                None => {
                    let bound = self.expression(&item.expr, &scope)?;
                    if types::is_incomparable(bound.sql_type) {
                        return Err(errors::incomparable());
                    }
                    comparable(&bound.sql, bound.sql_type)
                }
            };
            order.push(ordered(&sql, item)?);
        }
        let top = self.top(select, &scope)?;
        self.append_tail(&mut sql, &order, top, tail)?;
        Ok(BoundQuery { sql, columns, aliases })
    }

    fn top(&self, select: &Select, scope: &Scope<'_>) -> Result<Option<String>, SqlError> {
        let Some(top) = &select.top else { return Ok(None) };
        if top.with_ties || top.percent {
            return Err(errors::unsupported("TOP with PERCENT or WITH TIES"));
        }
        match &top.quantity {
            Some(TopQuantity::Constant(rows)) => Ok(Some(rows.to_string())),
            Some(TopQuantity::Expr(expression)) => {
                let bound = self.expression(expression, scope)?;
                self.coerce(&bound, SqlType::BigInt).map(Some)
            }
            None => Err(errors::syntax_near("TOP")),
        }
    }

    fn append_tail(
        &self,
        sql: &mut String,
        order: &[String],
        top: Option<String>,
        tail: &Tail<'_>,
    ) -> Result<(), SqlError> {
        if !order.is_empty() {
            sql.push_str(&format!(" ORDER BY {}", order.join(", ")));
        }
        let scope = Scope::default();
        let number = |expression: &Expr| {
            let bound = self.expression(expression, &scope)?;
            self.coerce(&bound, SqlType::BigInt)
        };
        let fetch = tail.fetch.map(number).transpose()?;
        let offset = tail.offset.map(number).transpose()?;
        if (fetch.is_some() || offset.is_some()) && (order.is_empty() || top.is_some()) {
            return Err(errors::syntax_near("OFFSET"));
        }
        if let Some(limit) = top.or(fetch).or(offset.is_some().then(|| "-1".to_owned())) {
            sql.push_str(&format!(" LIMIT {limit}"));
        }
        if let Some(offset) = offset {
            sql.push_str(&format!(" OFFSET {offset}"));
        }
        Ok(())
    }

    fn group_by(&self, group_by: &GroupByExpr, scope: &Scope<'_>) -> Result<Vec<Bound>, SqlError> {
        let GroupByExpr::Expressions(expressions, modifiers) = group_by else {
            return Err(errors::unsupported("GROUP BY ALL"));
        };
        if !modifiers.is_empty() {
            return Err(errors::unsupported("GROUP BY WITH ROLLUP or CUBE"));
        }
        let mut keys = Vec::new();
        for expression in expressions {
            let bound = self.expression(expression, scope)?;
            if types::is_incomparable(bound.sql_type) {
                return Err(errors::incomparable());
            }
            keys.push(bound);
        }
        scope.saw_aggregate.set(false);
        Ok(keys)
    }

    fn items(&self, select: &Select, scope: &Scope<'_>) -> Result<Vec<Item>, SqlError> {
        let mut items = Vec::new();
        for item in &select.projection {
            match item {
                SelectItem::UnnamedExpr(expression) => {
                    let bound = self.expression(expression, scope)?;
                    let name = bound.column.as_ref().map(|column| column.name.clone()).unwrap_or_default();
                    items.push(Item { bound, name });
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    items.push(Item { bound: self.expression(expr, scope)?, name: alias.value.clone() });
                }
                SelectItem::Wildcard(_) if scope.sources.is_empty() => {
                    return Err(SqlError::new(263, "Must specify table to select from."));
                }
                SelectItem::Wildcard(_) => all_columns(&mut items, scope, &[])?,
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    let parts: Vec<Ident> = super::name_parts(name)?.into_iter().map(Ident::new).collect();
                    all_columns(&mut items, scope, &parts)?;
                }
                other => return Err(errors::syntax_near(&other.to_string())),
            }
        }
        if items.is_empty() {
            return Err(errors::syntax_near("FROM"));
        }
        Ok(items)
    }
}

fn all_columns(items: &mut Vec<Item>, scope: &Scope<'_>, qualifiers: &[Ident]) -> Result<(), SqlError> {
    let before = items.len();
    for source in &scope.sources {
        let wanted = match qualifiers {
            [] => true,
            [.., name] => collate::same(&source.name, &name.value),
        };
        if !wanted {
            continue;
        }
        for column in source.columns.iter().filter(|column| !column.is_hidden()) {
            column.refuse()?;
            let named = [&source.name, &column.column.name].map(|name| Ident::with_quote('[', name.as_str()));
            // Resolving by name would meet two columns of one name; the check for grouping is all that is needed.
            let bound = match &scope.groups {
                Some(_) => scope.resolve(&named)?,
                None => column.bound(),
            };
            items.push(Item { bound, name: column.column.name.clone() });
        }
    }
    if items.len() == before {
        let shown: Vec<&str> = qualifiers.iter().map(|part| part.value.as_str()).collect();
        return Err(SqlError::new(
            107,
            format!(
                "The column prefix '{}' does not match with a table name or alias name used in the query.",
                shown.join(".")
            ),
        )
        .with_class(15));
    }
    Ok(())
}

/// What the client is told of an expression.
pub(super) fn column_of(bound: &Bound, name: String) -> Column {
    match &bound.column {
        Some(column) => Column { name, nullable: bound.nullable, ..column.clone() },
        None => Column { nullable: bound.nullable, computed: true, ..Column::new(name, bound.sql_type) },
    }
}

/// The column of the result an ORDER BY item means: by number, or by a name the SELECT list gave.
fn output_position(expression: &Expr, columns: &[Column]) -> Result<Option<usize>, SqlError> {
    match expression {
        Expr::Value(value) => match &value.value {
            Literal::Number(text, _) => {
                let at = text.parse::<usize>().ok().filter(|at| (1..=columns.len()).contains(at)).ok_or_else(|| {
                    SqlError::new(
                        108,
                        format!("The ORDER BY position number {text} is out of range of the number of items in the select list."),
                    )
                    .with_class(15)
                })?;
                Ok(Some(at - 1))
            }
            _ => Ok(None),
        },
        Expr::Identifier(name) => {
            let found: Vec<usize> =
                (0..columns.len()).filter(|at| collate::same(&columns[*at].name, &name.value)).collect();
            match found.as_slice() {
                [] => Ok(None),
                [at, ..] => Ok(Some(*at)),
            }
        }
        _ => Ok(None),
    }
}

pub(super) fn ordered(sql: &str, item: &OrderByExpr) -> Result<String, SqlError> {
    if item.options.nulls_first.is_some() || item.with_fill.is_some() {
        return Err(errors::syntax_near("NULLS"));
    }
    Ok(if item.options.asc == Some(false) { format!("{sql} DESC") } else { sql.to_owned() })
}

impl Tail<'_> {
    fn is_empty(&self) -> bool {
        self.order.is_empty() && self.offset.is_none() && self.fetch.is_none()
    }
}

fn tail_of(query: &Query) -> Result<Tail<'_>, SqlError> {
    let order = match &query.order_by {
        None => [].as_slice(),
        Some(OrderBy { kind: OrderByKind::Expressions(items), .. }) => items,
        Some(_) => return Err(errors::syntax_near("ALL")),
    };
    let offset = match &query.limit_clause {
        None => None,
        Some(LimitClause::LimitOffset { limit: None, offset, limit_by }) if limit_by.is_empty() => {
            offset.as_ref().map(|offset| &offset.value)
        }
        Some(_) => return Err(errors::syntax_near("LIMIT")),
    };
    let fetch = match &query.fetch {
        None => None,
        Some(Fetch { with_ties: false, percent: false, quantity: Some(quantity) }) => Some(quantity),
        Some(_) => return Err(errors::syntax_near("FETCH")),
    };
    if fetch.is_some() && offset.is_none() {
        return Err(errors::syntax_near("FETCH"));
    }
    Ok(Tail { order, offset, fetch })
}

/// Other dialects' clauses that sqlparser reads all the same.
fn refuse_foreign_clauses(select: &Select) -> Result<(), SqlError> {
    if select.into.is_some() {
        return Err(errors::unsupported("SELECT INTO"));
    }
    let foreign = !select.lateral_views.is_empty()
        || select.prewhere.is_some()
        || select.qualify.is_some()
        || !select.connect_by.is_empty()
        || !select.cluster_by.is_empty()
        || !select.distribute_by.is_empty()
        || !select.sort_by.is_empty()
        || !select.named_window.is_empty()
        || select.exclude.is_some();
    if foreign { Err(errors::unsupported("this clause of SELECT")) } else { Ok(()) }
}
