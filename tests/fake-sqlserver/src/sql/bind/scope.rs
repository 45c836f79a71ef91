//! Which names an expression may use, and what they stand for.

use std::cell::Cell;
use std::collections::BTreeSet;

use sqlparser::ast::Ident;

use super::{Bound, collate, errors};
use crate::sql::catalog::Access;
use crate::values::{Column, SqlError};

/// A column that may be named.
#[derive(Debug, Clone)]
pub struct ScopeColumn {
    /// Name, type, nullability.
    pub column: Column,
    /// The same in SQLite: `a3.c1`.
    pub sql: String,
    /// Whether it may be read.
    pub access: Access,
}

/// A table, view or subquery of FROM.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its alias, or its name.
    pub name: String,
    /// Its schema, where it is a table named without an alias.
    pub schema: Option<String>,
    /// Its columns.
    pub columns: Vec<ScopeColumn>,
}

/// What a SELECT sees, and around it what an outer SELECT sees.
#[derive(Debug, Default)]
pub struct Scope<'s> {
    /// The sources of FROM, in order.
    pub sources: Vec<Source>,
    /// The SELECT around a subquery.
    pub outer: Option<&'s Scope<'s>>,
    /// Whether an aggregate function was met.
    pub saw_aggregate: Cell<bool>,
    /// Where rows are grouped: the SQLite text of what they are grouped by.
    pub groups: Option<BTreeSet<String>>,
    /// Whether an aggregate's argument is being bound, where any column may stand.
    pub inside_aggregate: Cell<bool>,
}

impl<'s> Scope<'s> {
    /// A scope without sources.
    pub fn within(outer: Option<&'s Scope<'s>>) -> Self {
        Self { outer, ..Self::default() }
    }

    /// Adds a source.
    ///
    /// # Errors
    ///
    /// 1011, 1013 when its name is taken.
    pub fn add(&mut self, source: Source) -> Result<(), SqlError> {
        let taken = |other: &Source| collate::same(&other.name, &source.name) && other.schema == source.schema;
        if self.sources.iter().any(taken) {
            let message = format!(
                "The correlation name or object '{}' has the same exposed name as another one in the FROM clause. \
                 Use correlation names to distinguish them.",
                source.name
            );
            return Err(SqlError::new(1013, message));
        }
        self.sources.push(source);
        Ok(())
    }

    /// Resolves a name of one to four parts.
    ///
    /// # Errors
    ///
    /// 207, 209, 4104, and 8120 for a column that is not grouped by.
    pub fn resolve(&self, parts: &[Ident]) -> Result<Bound, SqlError> {
        let Some((name, qualifiers)) = parts.split_last() else { return Err(errors::syntax_near("")) };
        for part in parts {
            super::reserved::refuse(part)?;
        }
        let mut scope = Some(self);
        while let Some(current) = scope {
            let sources: Vec<&Source> = current.sources.iter().filter(|source| source.answers_to(qualifiers)).collect();
            let found: Vec<&ScopeColumn> = sources
                .iter()
                .flat_map(|source| &source.columns)
                .filter(|column| collate::same(&column.column.name, &name.value))
                .collect();
            match found.as_slice() {
                [one] => return current.checked(one, name),
                [] if !qualifiers.is_empty() && !sources.is_empty() => {
                    return Err(errors::invalid_column(&name.value));
                }
                [] => scope = current.outer,
                _ => return Err(errors::ambiguous_column(&name.value)),
            }
        }
        if qualifiers.is_empty() {
            Err(errors::invalid_column(&name.value))
        } else {
            let shown: Vec<&str> = parts.iter().map(|part| part.value.as_str()).collect();
            Err(errors::unbound(&shown.join(".")))
        }
    }

    fn checked(&self, column: &ScopeColumn, name: &Ident) -> Result<Bound, SqlError> {
        column.refuse()?;
        let grouped = self.groups.as_ref().is_some_and(|groups| !groups.contains(&column.sql));
        if grouped && !self.inside_aggregate.get() {
            return Err(errors::not_grouped(&name.value));
        }
        Ok(column.bound())
    }
}

impl Source {
    fn answers_to(&self, qualifiers: &[Ident]) -> bool {
        match qualifiers {
            [] => true,
            [.., schema, table] => {
                collate::same(&self.name, &table.value)
                    && self.schema.as_ref().is_some_and(|own| collate::same(own, &schema.value))
            }
            [table] => collate::same(&self.name, &table.value),
        }
    }

    /// Makes every column nullable: the side of an outer join that may be missing.
    pub fn make_nullable(&mut self) {
        for column in &mut self.columns {
            column.column.nullable = true;
        }
    }
}

impl ScopeColumn {
    /// An error where it may not be read.
    ///
    /// # Errors
    ///
    /// 230, 13908.
    pub fn refuse(&self) -> Result<(), SqlError> {
        match self.access {
            Access::Open | Access::Hidden => Ok(()),
            Access::Internal => Err(errors::internal_graph_column(&self.column.name)),
            Access::Refused => Err(errors::column_denied(&self.column.name, &self.column.table.join("."))),
        }
    }

    /// Whether `*` leaves it out.
    pub fn is_hidden(&self) -> bool {
        matches!(self.access, Access::Hidden | Access::Internal)
    }

    /// The column as an expression.
    pub fn bound(&self) -> Bound {
        Bound {
            sql: self.sql.clone(),
            sql_type: self.column.sql_type,
            nullable: self.column.nullable,
            constant: None,
            column: Some(self.column.clone()),
        }
    }
}
