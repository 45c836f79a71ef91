//! UNION, EXCEPT, INTERSECT and VALUES: rows of several origins under common types.

use sqlparser::ast::{SetOperator, SetQuantifier, Values};

use super::query::column_of;
use super::{Binder, Bound, BoundQuery, Scope, comparable};
use crate::sql::{errors, types};
use crate::values::{Column, SqlError, SqlType};

impl Binder<'_> {
    pub(super) fn set_operation(
        &self,
        left: BoundQuery,
        operator: SetOperator,
        quantifier: SetQuantifier,
        right: BoundQuery,
    ) -> Result<BoundQuery, SqlError> {
        if left.columns.len() != right.columns.len() {
            return Err(SqlError::new(
                205,
                "All queries combined using a UNION, INTERSECT or EXCEPT operator must have an equal number of \
                 expressions in their target lists.",
            ));
        }
        let keyword = match (operator, quantifier) {
            (SetOperator::Union, SetQuantifier::All) => "UNION ALL",
            (SetOperator::Union, SetQuantifier::None | SetQuantifier::Distinct) => "UNION",
            (SetOperator::Except, SetQuantifier::None) => "EXCEPT",
            (SetOperator::Intersect, SetQuantifier::None) => "INTERSECT",
            _ => return Err(errors::unsupported(format_args!("{operator} {quantifier}"))),
        };
        let mut columns = Vec::with_capacity(left.columns.len());
        for (a, b) in left.columns.iter().zip(&right.columns) {
            let sql_type = common_or_clash(a, b)?;
            let mut column = Column::new(a.name.clone(), sql_type);
            column.nullable = a.nullable || b.nullable;
            columns.push(column);
        }
        let distinct = keyword != "UNION ALL";
        let left_side = self.brought_to(&left, &columns, distinct)?;
        let right_side = self.brought_to(&right, &columns, distinct)?;
        Ok(BoundQuery { sql: format!("{} {keyword} {}", left_side.0, right_side.0), columns, aliases: left_side.1 })
    }

    /// A query as one side of a set operation: columns converted, and nothing SQLite refuses there (ORDER BY, LIMIT).
    fn brought_to(
        &self,
        query: &BoundQuery,
        columns: &[Column],
        distinct: bool,
    ) -> Result<(String, Vec<String>), SqlError> {
        let source = self.fresh('s');
        let mut items = Vec::new();
        let mut aliases = Vec::new();
        for ((alias, from), to) in query.aliases.iter().zip(&query.columns).zip(columns) {
            let bound = Bound::new(format!("{source}.{alias}"), from.sql_type);
            let mut sql = self.coerce(&bound, to.sql_type)?;
            if distinct && types::is_text(to.sql_type) {
                sql = comparable(&sql, to.sql_type);
            }
            let alias = self.fresh('o');
            items.push(format!("{sql} AS {alias}"));
            aliases.push(alias);
        }
        Ok((format!("SELECT {} FROM ({}) AS {source}", items.join(", "), query.sql), aliases))
    }

    pub(super) fn values(&self, values: &Values, outer: Option<&Scope<'_>>) -> Result<BoundQuery, SqlError> {
        let scope = Scope::within(outer);
        let mut result: Option<BoundQuery> = None;
        for row in &values.rows {
            let mut items = Vec::new();
            let mut query = BoundQuery { sql: String::new(), columns: Vec::new(), aliases: Vec::new() };
            for expression in &row.content {
                let bound = self.expression(expression, &scope)?;
                let alias = self.fresh('o');
                items.push(format!("{} AS {alias}", bound.sql));
                query.aliases.push(alias);
                query.columns.push(column_of(&bound, String::new()));
            }
            query.sql = format!("SELECT {}", items.join(", "));
            result = Some(match result {
                None => query,
                Some(before) => self.set_operation(before, SetOperator::Union, SetQuantifier::All, query)?,
            });
        }
        result.ok_or_else(|| errors::syntax_near("VALUES"))
    }
}

fn common_or_clash(left: &Column, right: &Column) -> Result<SqlType, SqlError> {
    super::predicate::refuse_clash(left.sql_type, right.sql_type)?;
    Ok(types::common(left.sql_type, right.sql_type))
}
