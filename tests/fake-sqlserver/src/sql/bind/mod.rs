//! From T-SQL's syntax tree to a query of SQLite and the types of its columns.
//!
//! Binding resolves every name against the catalog, infers every type by SQL Server's rules, and writes each conversion
//! that T-SQL does in silence as a call of a function of ours. What reaches SQLite holds generated names only.

mod aggregate;
mod captured;
mod changes;
mod expression;
mod function;
mod join;
mod literal;
mod metadata;
mod predicate;
mod query;
mod reserved;
mod scope;
mod set;
mod temporal;
mod text;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;

use rusqlite::{Connection, Statement as Prepared};
use sqlparser::ast::{Ident, ObjectName, Query};

use super::catalog::{self, Object};
use super::isolation::Isolation;
use super::shared::Shared;
use super::switches::DefinitionsInSnapshot;
use super::{collate, convert, errors, log, store, types};
use crate::values::{Column, Length, SqlError, SqlType, Value};
pub(in crate::sql) use changes::{TRACKING_DENIED, named_object};
pub(in crate::sql) use join::physical_columns;
pub use metadata::object_parts;
pub use reserved::is_reserved;
pub use scope::{Scope, ScopeColumn, Source};

/// Depth of views, subqueries and expressions inside each other.
const MAX_DEPTH: usize = 400;

/// A variable or parameter of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Variable {
    /// With its `@`.
    pub name: String,
    /// As declared.
    pub sql_type: SqlType,
    /// Its value now.
    pub value: Value,
}

/// A table variable of a batch. No rollback undoes its rows ("table").
#[derive(Debug, Clone)]
pub struct TableVariable {
    /// With its `@`.
    pub name: String,
    /// As declared.
    pub columns: Vec<Column>,
    /// In the types of the columns.
    pub rows: Vec<Vec<Value>>,
}

/// What expressions may ask of the session.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Name of the database.
    pub database: String,
    /// Name of the server.
    pub server: String,
    /// Login name.
    pub user: String,
    /// Program name of the client.
    pub application: String,
    /// Host name of the client.
    pub host: String,
    /// `@@SPID`
    pub process: i64,
    /// `@@ROWCOUNT`
    pub row_count: i64,
    /// `@@ERROR`
    pub error: i64,
    /// `@@TRANCOUNT`
    pub transactions: i64,
    /// `SCOPE_IDENTITY()`
    pub identity: Option<i64>,
    /// `LOCK_TIMEOUT`, milliseconds, -1 for ever.
    pub lock_timeout: i64,
    /// Now, as 100 ns ticks since 0001-01-01 UTC: one moment for the whole statement.
    pub now: i64,
    /// `schema.name` of what may not be read, lower case.
    pub denied: BTreeSet<String>,
    /// The isolation level.
    pub isolation: Isolation,
    /// Number of the open transaction; 0 before it has written.
    pub transaction: i64,
    /// How the open transaction began, once it has accessed data.
    pub started: Option<Started>,
    /// Whether data was accessed by the statement or, with a transaction open, by the transaction.
    pub accessed: Cell<bool>,
    /// The table variables of the batch.
    pub table_variables: Vec<TableVariable>,
    /// What all sessions share.
    pub shared: Arc<Shared>,
}

impl Surroundings {
    /// A table variable, to be changed.
    ///
    /// # Errors
    ///
    /// 1087 for one that is not declared.
    pub fn table_variable(&mut self, name: &str) -> Result<&mut TableVariable, SqlError> {
        let found = self.table_variables.iter_mut().find(|variable| collate::same(&variable.name, name));
        found.ok_or_else(|| errors::undeclared_table(name))
    }
}

/// How a transaction began: with its first access of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// The isolation level then.
    pub isolation: Isolation,
    /// How many definitions there had been.
    pub definitions: u64,
}

/// An expression of SQLite with its type in T-SQL.
#[derive(Debug, Clone)]
pub struct Bound {
    /// In SQLite's language.
    pub sql: String,
    /// Its type.
    pub sql_type: SqlType,
    /// Whether it may be null.
    pub nullable: bool,
    /// The value, where the expression is a literal.
    pub constant: Option<Value>,
    /// The column it is, where it is nothing else.
    pub column: Option<Column>,
}

impl Bound {
    /// An expression that may be null.
    pub fn new(sql: impl Into<String>, sql_type: SqlType) -> Self {
        Self { sql: sql.into(), sql_type, nullable: true, constant: None, column: None }
    }

    /// The same, never null.
    #[must_use]
    pub fn not_null(mut self) -> Self {
        self.nullable = false;
        self
    }

    /// A value that is known now.
    pub fn constant(sql_type: SqlType, value: Value) -> Result<Self, SqlError> {
        let stored = store::encode(sql_type, value.clone())?;
        let nullable = matches!(value, Value::Null);
        Ok(Self { sql: store::literal(&stored), sql_type, nullable, constant: Some(value), column: None })
    }

    /// A name that is known now.
    pub fn text(text: &str) -> Result<Self, SqlError> {
        Self::constant(types::SYSNAME, Value::Text(text.to_owned()))
    }

    /// Whether this is the literal NULL, which takes any type.
    pub fn is_null_literal(&self) -> bool {
        matches!(self.constant, Some(Value::Null))
    }
}

/// A query ready for SQLite.
#[derive(Debug, Clone)]
pub struct BoundQuery {
    /// In SQLite's language.
    pub sql: String,
    /// The result's columns.
    pub columns: Vec<Column>,
    /// Names of the result's columns in `sql`, for queries around this one.
    pub aliases: Vec<String>,
}

/// Binds the statements of one batch.
pub struct Binder<'a> {
    /// Connection to catalog and data.
    pub connection: &'a Connection,
    /// Variables and parameters; number `n` is SQLite's `?n+1`.
    pub variables: &'a [Variable],
    /// The session.
    pub surroundings: &'a Surroundings,
    /// Full names of the tables and views that were read, lower case.
    pub objects: RefCell<BTreeSet<String>>,
    counter: Cell<usize>,
    depth: Cell<usize>,
    inside_view: Cell<bool>,
    common_tables: RefCell<Vec<(String, Query, Vec<Ident>)>>,
}

impl<'a> Binder<'a> {
    /// A binder with nothing bound yet.
    pub fn new(connection: &'a Connection, variables: &'a [Variable], surroundings: &'a Surroundings) -> Self {
        Self {
            connection,
            variables,
            surroundings,
            objects: RefCell::default(),
            counter: Cell::new(0),
            depth: Cell::new(0),
            inside_view: Cell::new(false),
            common_tables: RefCell::default(),
        }
    }

    /// A name no other part of the query has.
    fn fresh(&self, prefix: char) -> String {
        let number = self.counter.get() + 1;
        self.counter.set(number);
        format!("{prefix}{number}")
    }

    /// Runs `body` one level deeper, and refuses to go too deep.
    fn deeper<T>(&self, body: impl FnOnce() -> Result<T, SqlError>) -> Result<T, SqlError> {
        if self.depth.get() >= MAX_DEPTH {
            return Err(SqlError::new(
                8631,
                "Internal error: Server stack limit has been reached. Please look for potentially deep nesting in your \
                 query, and try to simplify it.",
            ));
        }
        self.depth.set(self.depth.get() + 1);
        let result = body();
        self.depth.set(self.depth.get() - 1);
        result
    }

    /// The table or view of a name of one to three parts.
    ///
    /// # Errors
    ///
    /// 208 when there is none, 229 when it may not be read.
    pub fn object(&self, name: &ObjectName) -> Result<Object, SqlError> {
        for ident in name.0.iter().filter_map(|part| part.as_ident()) {
            reserved::refuse(ident)?;
        }
        let parts = name_parts(name)?;
        let shown = parts.iter().map(|part| part.as_str()).collect::<Vec<_>>().join(".");
        let (database, schema, table) = match parts.as_slice() {
            [table] => (None, None, table),
            [schema, table] => (None, Some(schema), table),
            [database, schema, table] => (Some(database), Some(schema), table),
            _ => return Err(errors::unsupported(format_args!("the linked-server name '{shown}'"))),
        };
        let here = database.is_none_or(|database| collate::same(database, &self.surroundings.database));
        // `db..table` means the default schema.
        let schema = schema.map(String::as_str).filter(|schema| !schema.is_empty());
        let found = if here {
            catalog::find(self.connection, schema, table).map_err(|error| errors::storage(&error))?
        } else {
            None
        };
        let object = found.ok_or_else(|| errors::invalid_object(&shown))?;
        let full_name = object.full_name().to_lowercase();
        if !self.inside_view.get() && self.surroundings.denied.contains(&full_name) {
            return Err(errors::select_denied(&object.name, &self.surroundings.database, &object.schema));
        }
        self.objects.borrow_mut().insert(full_name);
        Ok(object)
    }

    /// A name without that of the database, where it is this one.
    fn without_database(&self, mut parts: Vec<String>) -> Vec<String> {
        if parts.len() == 3 && collate::same(&parts[0], &self.surroundings.database) {
            parts.remove(0);
        }
        parts
    }

    /// Data of an object is accessed: a SNAPSHOT transaction starts, or may not go on.
    ///
    /// # Errors
    ///
    /// 3951, 3952, 3961.
    pub fn access(&self, object_id: i64) -> Result<(), SqlError> {
        let session = self.surroundings;
        if session.isolation == Isolation::Snapshot {
            let allowed = catalog::option(self.connection, catalog::SNAPSHOT_ISOLATION)
                .map_err(|error| errors::storage(&error))?;
            if session.started.is_some_and(|started| started.isolation != Isolation::Snapshot) {
                return Err(errors::not_begun_in_snapshot(&session.database));
            }
            if !allowed {
                return Err(errors::snapshot_not_allowed(&session.database));
            }
            let is_told = session.shared.switches().definitions_in_snapshot == DefinitionsInSnapshot::Error;
            let is_defined = |started: Started| session.shared.is_defined_since(object_id, started.definitions);
            if is_told && session.started.is_some_and(is_defined) {
                return Err(errors::defined_in_snapshot(&session.database));
            }
        }
        session.accessed.set(true);
        Ok(())
    }

    /// The rows of a table as the session sees them: a table's name, or a query in parentheses.
    fn rows(&self, object: &Object) -> Result<String, SqlError> {
        let storage = |error: rusqlite::Error| errors::storage(&error);
        let session = self.surroundings;
        if session.isolation == Isolation::ReadUncommitted
            || !log::has_others(self.connection, object.id, session.transaction).map_err(storage)?
        {
            return Ok(object.physical());
        }
        let waits = session.isolation == Isolation::ReadCommitted
            && !catalog::option(self.connection, catalog::READ_COMMITTED_SNAPSHOT).map_err(storage)?;
        if waits { Err(errors::locked()) } else { Ok(log::committed_rows(object, session.transaction)) }
    }

    /// Brings an expression to a type: nothing where both lie in SQLite alike.
    pub fn coerce(&self, bound: &Bound, to: SqlType) -> Result<String, SqlError> {
        if bound.is_null_literal() {
            return Ok("NULL".to_owned());
        }
        if same_form(bound.sql_type, to) {
            return Ok(bound.sql.clone());
        }
        if let Some(value) = &bound.constant {
            // A literal that does not convert fails when the row is computed, as it does in SQL Server.
            if let Ok(converted) = convert::convert(value.clone(), bound.sql_type, to, None) {
                return Ok(store::literal(&store::encode(to, converted)?));
            }
        }
        Ok(conversion("t_convert", &bound.sql, bound.sql_type, to, "NULL"))
    }
}

/// Prepares a bound statement and gives it the variables it asks for.
pub(in crate::sql) fn prepare<'c>(
    connection: &'c Connection,
    sql: &str,
    variables: &[Variable],
) -> Result<Prepared<'c>, SqlError> {
    let mut prepared = connection.prepare(sql).map_err(|error| errors::storage(&error))?;
    for at in 1..=prepared.parameter_count() {
        if let Some(variable) = variables.get(at - 1) {
            let stored = store::encode(variable.sql_type, variable.value.clone())?;
            prepared.raw_bind_parameter(at, stored).map_err(|error| errors::storage(&error))?;
        }
    }
    Ok(prepared)
}

/// A call of one of the converting functions.
fn conversion(function: &str, sql: &str, from: SqlType, to: SqlType, style: &str) -> String {
    format!("{function}({sql}, '{}', '{}', {style})", types::declaration(from), types::declaration(to))
}

/// Whether a value of `from`, as it lies in SQLite, is the same value of `to`.
fn same_form(from: SqlType, to: SqlType) -> bool {
    if from == to {
        return true;
    }
    let decimal_form = |sql_type| types::as_decimal(sql_type).map(|(precision, scale)| (precision <= 18, scale));
    let fits = |from: SqlType, to: SqlType| match (types::length_of(from), types::length_of(to)) {
        (_, Some(Length::Max)) => true,
        (Some(Length::Limited(from)), Some(Length::Limited(to))) => from <= to,
        _ => false,
    };
    match (from, to) {
        (_, SqlType::Bit) => false,
        _ if types::is_integer(from) && types::is_integer(to) => types::rank(from) < types::rank(to),
        (
            SqlType::Decimal { precision: p1, .. } | SqlType::Numeric { precision: p1, .. },
            SqlType::Decimal { precision: p2, .. } | SqlType::Numeric { precision: p2, .. },
        ) => p1 <= p2 && decimal_form(from) == decimal_form(to),
        (SqlType::SmallMoney, SqlType::Money) | (SqlType::Real, SqlType::Float) => true,
        (SqlType::Time { scale: a }, SqlType::Time { scale: b })
        | (SqlType::DateTime2 { scale: a }, SqlType::DateTime2 { scale: b })
        | (SqlType::DateTimeOffset { scale: a }, SqlType::DateTimeOffset { scale: b }) => a <= b,
        (_, SqlType::Char { .. } | SqlType::NChar { .. } | SqlType::Binary { .. } | SqlType::RowVersion) => false,
        _ if types::is_text(from) && types::is_text(to) => {
            fits(from, to) && (types::is_unicode(to) || !types::is_unicode(from))
        }
        (
            SqlType::Binary { .. } | SqlType::VarBinary(_) | SqlType::Image | SqlType::RowVersion,
            SqlType::VarBinary(_),
        ) => fits(from, to),
        _ => false,
    }
}

/// The parts of a name, unquoted.
///
/// # Errors
///
/// 102 for a part that is a call.
pub fn name_parts(name: &ObjectName) -> Result<Vec<String>, SqlError> {
    name.0
        .iter()
        .map(|part| {
            part.as_ident().map(|ident| ident.value.clone()).ok_or_else(|| errors::syntax_near(&part.to_string()))
        })
        .collect()
}

/// How SQL orders and compares an expression: text by our collation, offsets by their moment in UTC.
fn comparable(sql: &str, sql_type: SqlType) -> String {
    match sql_type {
        _ if types::is_text(sql_type) => format!("{sql} COLLATE {}", collate::NAME),
        SqlType::DateTimeOffset { .. } => format!("substr({sql}, 1, 8)"),
        _ => sql.to_owned(),
    }
}
