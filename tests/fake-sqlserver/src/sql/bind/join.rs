//! FROM: tables, views, derived tables, common tables, and how they are joined.

use sqlparser::ast::{JoinConstraint, JoinOperator, ObjectName, TableAlias, TableFactor, TableWithJoins};

use super::{Binder, BoundQuery, Scope, ScopeColumn, Source};
use crate::sql::catalog::{Access, Object, ObjectKind};
use crate::sql::{collate, errors, parse, store};
use crate::values::{Column, SqlError};

impl Binder<'_> {
    /// Binds FROM: the text after it, and the sources in `scope`.
    pub(super) fn from(&self, tables: &[TableWithJoins], scope: &mut Scope<'_>) -> Result<Option<String>, SqlError> {
        let mut parts = Vec::new();
        for table in tables {
            parts.push(self.joined(table, scope)?);
        }
        Ok(if parts.is_empty() { None } else { Some(parts.join(", ")) })
    }

    fn joined(&self, table: &TableWithJoins, scope: &mut Scope<'_>) -> Result<String, SqlError> {
        let first = scope.sources.len();
        let mut sql = self.factor(&table.relation, scope)?;
        for join in &table.joins {
            let joined = scope.sources.len();
            let right = self.factor(&join.relation, scope)?;
            let (keyword, constraint, left_missing, right_missing) = match &join.join_operator {
                JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => ("JOIN", constraint, false, false),
                JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => {
                    ("LEFT JOIN", constraint, false, true)
                }
                JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => {
                    ("RIGHT JOIN", constraint, true, false)
                }
                JoinOperator::FullOuter(constraint) => ("FULL JOIN", constraint, true, true),
                JoinOperator::CrossJoin(constraint) => ("CROSS JOIN", constraint, false, false),
                other => return Err(errors::unsupported(format_args!("the join {other:?}"))),
            };
            sql = match constraint {
                JoinConstraint::On(condition) => {
                    format!("{sql} {keyword} {right} ON {}", self.predicate(condition, scope)?)
                }
                JoinConstraint::None if keyword == "CROSS JOIN" => format!("{sql} CROSS JOIN {right}"),
                other => return Err(errors::syntax_near(&format!("{other:?}"))),
            };
            for (at, source) in scope.sources.iter_mut().enumerate().skip(first) {
                if if at < joined { left_missing } else { right_missing } {
                    source.make_nullable();
                }
            }
        }
        Ok(sql)
    }

    fn factor(&self, factor: &TableFactor, scope: &mut Scope<'_>) -> Result<String, SqlError> {
        match factor {
            TableFactor::Table { name, alias, args: None, version: None, sample: None, json_path: None, .. } => {
                self.table(name, alias.as_ref(), scope)
            }
            TableFactor::Table { name, alias, args: Some(function), .. } => {
                self.table_function(name, &function.args, alias.as_ref(), scope)
            }
            TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None } => {
                let unnamed = if alias.columns.is_empty() { alias.name.value.as_str() } else { "" };
                let query = self.table_query(subquery, unnamed, scope.outer)?;
                self.derived(query, &alias.name.value, &column_names(alias), scope)
            }
            TableFactor::Derived { alias: None, .. } => Err(errors::syntax_near(")")),
            TableFactor::NestedJoin { table_with_joins, alias: None } => {
                Ok(format!("({})", self.joined(table_with_joins, scope)?))
            }
            other => Err(errors::unsupported(format_args!("'{other}' in FROM"))),
        }
    }

    fn table(&self, name: &ObjectName, alias: Option<&TableAlias>, scope: &mut Scope<'_>) -> Result<String, SqlError> {
        if let Some(sql) = self.table_variable(name, alias, scope)? {
            return Ok(sql);
        }
        if let Some(sql) = self.common_table(name, alias, scope)? {
            return Ok(sql);
        }
        let object = self.object(name)?;
        let shown = alias.map_or_else(|| object.name.clone(), |alias| alias.name.value.clone());
        let schema = alias.is_none().then(|| object.schema.clone());
        if matches!(object.kind, ObjectKind::Table | ObjectKind::Fast(_)) {
            self.access(object.id)?;
        }
        if matches!(object.kind, ObjectKind::System(_)) && object.schema == "cdc" {
            self.surroundings.accessed.set(true);
        }
        let physical = match &object.kind {
            ObjectKind::Table => self.rows(&object)?,
            ObjectKind::Fast(at) => format!("fast_{at}"),
            ObjectKind::System(view) => format!("({})", view.query()),
            ObjectKind::View(definition) => {
                let query = self.view(&object, definition)?;
                let names: Vec<String> = object.columns.iter().map(|column| column.column.name.clone()).collect();
                return self.derived(query, &shown, &names, scope);
            }
        };
        let source = self.fresh('a');
        let mut columns = physical_columns(&object, &source);
        if self.inside_view.get() {
            let refused = columns.iter_mut().filter(|column| column.access == Access::Refused);
            refused.for_each(|column| column.access = Access::Open);
        }
        scope.add(Source { name: shown, schema, columns })?;
        Ok(format!("{physical} AS {source}"))
    }

    /// The query of a view. What a view reads needs no permission of its own: its owner has it.
    fn view(&self, object: &Object, definition: &str) -> Result<BoundQuery, SqlError> {
        let batch = parse::parse_batch(definition)?;
        let Some(sqlparser::ast::Statement::CreateView(view)) =
            batch.statements.first().map(|parsed| &parsed.statement)
        else {
            return Err(errors::invalid_object(&object.full_name()));
        };
        let before = self.inside_view.replace(true);
        let hidden = self.common_tables.take();
        let query = self.query(&view.query, None);
        self.common_tables.replace(hidden);
        self.inside_view.set(before);
        query
    }

    /// The rows of a table variable, as they are now.
    fn table_variable(
        &self,
        name: &ObjectName,
        alias: Option<&TableAlias>,
        scope: &mut Scope<'_>,
    ) -> Result<Option<String>, SqlError> {
        let parts = super::name_parts(name)?;
        let [part] = parts.as_slice() else { return Ok(None) };
        if !part.starts_with('@') {
            return Ok(None);
        }
        let found = self.surroundings.table_variables.iter().find(|variable| collate::same(&variable.name, part));
        let variable = found.ok_or_else(|| errors::undeclared_table(part))?;
        let mut rows = Vec::new();
        for row in &variable.rows {
            let values = row.iter().zip(&variable.columns).map(|(value, column)| {
                store::encode(column.sql_type, value.clone()).map(|stored| store::literal(&stored))
            });
            rows.push(format!("({})", values.collect::<Result<Vec<_>, SqlError>>()?.join(", ")));
        }
        let aliases = |value: &str| {
            let of_column = |at| format!("{} AS c{at}", value.replace('#', &format!("{at}")));
            (1..=variable.columns.len()).map(of_column).collect::<Vec<_>>().join(", ")
        };
        let query = match rows.is_empty() {
            true => format!("SELECT {} WHERE 0", aliases("NULL")),
            false => format!("SELECT {} FROM (VALUES {})", aliases("column#"), rows.join(", ")),
        };
        let aliases = (1..=variable.columns.len()).map(|at| format!("c{at}")).collect();
        let query = BoundQuery { sql: query, columns: variable.columns.clone(), aliases };
        let shown = alias.map_or(part, |alias| &alias.name.value);
        self.derived(query, shown, &[], scope).map(Some)
    }

    fn common_table(
        &self,
        name: &ObjectName,
        alias: Option<&TableAlias>,
        scope: &mut Scope<'_>,
    ) -> Result<Option<String>, SqlError> {
        let parts = super::name_parts(name)?;
        let [part] = parts.as_slice() else { return Ok(None) };
        let tables = self.common_tables.borrow();
        let Some(at) = tables.iter().rposition(|(own, _, _)| collate::same(own, part)) else { return Ok(None) };
        let (own, query, columns) = tables[at].clone();
        drop(tables);
        // A common table sees those before it, not itself: there is no recursion here.
        let later = self.common_tables.borrow_mut().split_off(at);
        let unnamed = if columns.is_empty() { own.as_str() } else { "" };
        let bound = self.table_query(&query, unnamed, None);
        self.common_tables.borrow_mut().extend(later);
        let names: Vec<String> = columns.into_iter().map(|column| column.value).collect();
        let shown = alias.map_or(own, |alias| alias.name.value.clone());
        self.derived(bound?, &shown, &names, scope).map(Some)
    }

    fn derived(
        &self,
        query: BoundQuery,
        name: &str,
        names: &[String],
        scope: &mut Scope<'_>,
    ) -> Result<String, SqlError> {
        if !names.is_empty() && names.len() != query.columns.len() {
            let number = if names.len() < query.columns.len() { 8158 } else { 8159 };
            return Err(SqlError::new(
                number,
                format!("'{name}' has a different number of columns than its column list."),
            ));
        }
        let source = self.fresh('a');
        let columns = (0..query.columns.len())
            .map(|at| {
                let column = &query.columns[at];
                let name = names.get(at).unwrap_or(&column.name).clone();
                ScopeColumn {
                    column: Column { name, ..column.clone() },
                    sql: format!("{source}.{}", query.aliases[at]),
                    access: Access::Open,
                }
            })
            .collect();
        scope.add(Source { name: name.to_owned(), schema: None, columns })?;
        Ok(format!("({}) AS {source}", query.sql))
    }
}

fn column_names(alias: &TableAlias) -> Vec<String> {
    alias.columns.iter().map(|column| column.name.value.clone()).collect()
}

/// The columns of a table, as `source.c1` and so on.
pub(in crate::sql) fn physical_columns(object: &Object, source: &str) -> Vec<ScopeColumn> {
    object
        .columns
        .iter()
        .map(|column| {
            let table = vec![object.schema.clone(), object.name.clone()];
            ScopeColumn {
                column: Column { table, ..column.column.clone() },
                sql: format!("{source}.c{}", column.id),
                access: column.access,
            }
        })
        .collect()
}
