//! The read grant of PostgreSQL: what the guard shared by all sources has to know of it.
//!
//! A query of the catalog runs with `search_path = pg_catalog`, so that a function, operator or type without a schema is the
//! system's own, never one that somebody made under the same name. A query of tables runs with the role's own path, for the
//! sake of functions that views call: it is written again with all names qualified (`print`). Transactions are read-only,
//! whatever passes here.

#[cfg(test)]
mod generated;
mod grammar;
mod lexical;
mod lists;
mod print;
#[cfg(test)]
mod tests;

use std::ops::Range;

use datakit_model::{TableId, TablePatterns};
use sqlparser::ast::{
    Expr, FunctionArguments, Ident, JoinOperator, Query, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    TableFactor, TableWithJoins,
};

use self::grammar::Grammar;
use crate::{Dialect, Profile, Refusal, SqlLimits, Walk, Work};

/// The codes of refusals.
pub const CODES: [&str; 8] =
    ["DK-SRC-170", "DK-SRC-171", "DK-SRC-172", "DK-SRC-173", "DK-SRC-174", "DK-SRC-391", "DK-SRC-175", "DK-SRC-176"];

/// A text that passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The query from its first token to its last: without comments around it and without a closing semicolon.
    pub query: String,
    /// Where in `query` which parameter stands, counted from 0.
    pub parameters: Vec<(Range<usize>, usize)>,
    /// The same query, read.
    tree: Box<Query>,
    max_sql_bytes: u64,
    /// The granted tables it reads.
    pub tables: Vec<TableId>,
    /// It names rows by their place in the file, `ctid`.
    pub by_place: bool,
    /// Each expression of the result has a name in the text.
    pub names_all: bool,
    /// A column that its table declares NOT NULL is not null in the result either: no outer join and nothing of its like.
    pub keeps_not_null: bool,
}

impl Accepted {
    /// The query with literals in place of its parameters, and everything that it calls in `pg_catalog`.
    ///
    /// # Errors
    /// What cannot be written so.
    pub fn qualified(&self, literals: &[String]) -> Result<String, Refusal> {
        print::qualified(&self.tree, literals, self.max_sql_bytes)
    }
}

/// Checks one text against the grant.
///
/// # Errors
/// Why it is refused.
pub fn check(sql: &str, parameters: usize, grant: &TablePatterns, limits: &SqlLimits) -> Result<Accepted, Refusal> {
    crate::check_size(sql, parameters, limits)?;
    let read = lexical::read(sql, parameters, limits)?;
    let query = crate::parse::<Postgres>(read.lexed.tokens, limits)?;
    let mut walk = Walk::<Postgres>::new(Profile::Datakit, grant, limits);
    walk.query(&query)?;
    let mut tables = walk.tables;
    tables.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
    tables.dedup();
    let start = read.lexed.start;
    let within = |(place, number): (Range<usize>, usize)| (place.start - start..place.end - start, number);
    Ok(Accepted {
        query: sql[start..read.lexed.end].to_owned(),
        parameters: read.parameters.into_iter().map(within).collect(),
        tables,
        by_place: read.by_place,
        names_all: names_all(&query.body),
        keeps_not_null: keeps_not_null(&query),
        max_sql_bytes: limits.max_sql_bytes,
        tree: Box::new(query),
    })
}

/// Of a UNION the first SELECT names the columns.
fn names_all(mut body: &SetExpr) -> bool {
    loop {
        body = match body {
            SetExpr::SetOperation { left, .. } => left,
            SetExpr::Query(query) => &query.body,
            SetExpr::Select(select) => {
                return select.projection.iter().all(|item| match item {
                    SelectItem::UnnamedExpr(e) => matches!(e, Expr::Identifier(_) | Expr::CompoundIdentifier(_)),
                    _ => true,
                });
            }
            _ => return false,
        };
    }
}

/// One SELECT over tables that are joined by nothing that could leave a side empty. The server names the table of a result's
/// column for more than that (through subqueries and UNION), where the declaration says nothing about the result.
fn keeps_not_null(query: &Query) -> bool {
    let SetExpr::Select(select) = &*query.body else { return false };
    let table = |factor: &TableFactor| matches!(factor, TableFactor::Table { .. });
    let joined = |from: &TableWithJoins| {
        table(&from.relation)
            && from.joins.iter().all(|join| {
                let inner = matches!(
                    join.join_operator,
                    JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_)
                );
                inner && table(&join.relation)
            })
    };
    let plain = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(e) | SelectItem::ExprWithAlias { expr: e, .. } => {
            !matches!(e, Expr::Subquery(_) | Expr::Nested(_))
        }
        SelectItem::Wildcard(_) => true,
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(_), _) => true,
        _ => false,
    };
    query.with.is_none() && select.from.iter().all(joined) && select.projection.iter().all(plain)
}

/// Whether the grant allows to read a table: none of the system's, whatever a pattern says.
#[must_use]
pub fn is_granted(grant: &TablePatterns, table: &TableId) -> bool {
    table.catalog.is_none() && <Postgres as Dialect>::is_granted(grant, table)
}

/// PostgreSQL.
struct Postgres;

impl Dialect for Postgres {
    const NAME: &'static str = "PostgreSQL";
    const COMMON_TABLES_RECUR: bool = false;
    const TABLES_RENAME_COLUMNS: bool = true;
    const SUBSTRING_TAKES_NUMBERS: bool = false;
    const COLUMNS_HAVE_PROPERTIES: bool = false;
    const BOOLEANS: bool = true;
    const LIMIT: bool = true;
    const HAS_CATALOGS: bool = false;

    fn grammar(work: Work) -> Box<dyn sqlparser::dialect::Dialect> {
        Box::new(Grammar(work))
    }

    /// A name without quotes is in lower case to the server; those that pass are ASCII.
    fn compared(ident: &Ident) -> String {
        if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_ascii_lowercase() }
    }

    fn catalog_columns(schema: &str, name: &str) -> Option<&'static str> {
        lists::catalog_columns(schema, name)
    }

    /// Temporary tables have a schema of their own, `pg_temp…`, which is the system's.
    fn is_temporary(_name: &Ident) -> bool {
        false
    }

    fn is_granted(grant: &TablePatterns, table: &TableId) -> bool {
        !lists::is_system_schema(&table.schema) && grant.allows(table)
    }

    fn is_function(name: &str) -> bool {
        lists::is_function(name)
    }

    fn check_call(_name: &str, _arguments: &FunctionArguments) -> Result<(), Refusal> {
        Ok(())
    }

    fn is_function_of_rows(name: &str) -> bool {
        lists::is_function_of_rows(name)
    }

    fn is_type(text: &str) -> bool {
        lists::is_type(text)
    }

    fn is_structure_word(word: &str) -> bool {
        lists::is_structure_word(word)
    }

    fn table_hint(hint: &Expr) -> Result<bool, Refusal> {
        crate::construct(format!("the table hint {hint}"))
    }
}
