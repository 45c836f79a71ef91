//! Functions in FROM: what change tracking and change data capture answer.

use sqlparser::ast::{Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, TableAlias, Value as Literal};

use super::{Binder, Scope, ScopeColumn, Source};
use crate::sql::catalog::Access;
use crate::sql::tracking::{self, ChangeTable};
use crate::sql::{errors, switches};
use crate::values::{Column, Length, SqlError, SqlType};

/// Columns of `CHANGETABLE(CHANGES …)` before those of the key ("CHANGETABLE").
const TRACKED: [(&str, SqlType); 5] = [
    ("SYS_CHANGE_VERSION", SqlType::BigInt),
    ("SYS_CHANGE_CREATION_VERSION", SqlType::BigInt),
    ("SYS_CHANGE_OPERATION", SqlType::NChar { length: 1 }),
    ("SYS_CHANGE_COLUMNS", SqlType::VarBinary(Length::Limited(4100))),
    ("SYS_CHANGE_CONTEXT", SqlType::VarBinary(Length::Limited(128))),
];

/// What stands before a table's name among the denied ones, where the permission is not SELECT but VIEW CHANGE TRACKING.
pub const TRACKING_DENIED: &str = "view change tracking ";

impl Binder<'_> {
    /// A function in FROM.
    pub(super) fn table_function(
        &self,
        name: &ObjectName,
        arguments: &[FunctionArg],
        alias: Option<&TableAlias>,
        scope: &mut Scope<'_>,
    ) -> Result<String, SqlError> {
        let parts = self.without_database(super::name_parts(name)?);
        let arguments = arguments
            .iter()
            .map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Ok(expression),
                other => Err(errors::syntax_near(&other.to_string())),
            })
            .collect::<Result<Vec<_>, SqlError>>()?;
        match parts.as_slice() {
            [name] if name.eq_ignore_ascii_case("CHANGETABLE") => self.change_table(&arguments, alias, scope),
            [schema, name] if schema.eq_ignore_ascii_case("cdc") => self.changes(name, &arguments, alias, scope),
            [name] => Err(errors::unsupported(format_args!("'{name}' in FROM"))),
            _ => Err(errors::invalid_object(&parts.join("."))),
        }
    }

    fn change_table(
        &self,
        arguments: &[&Expr],
        alias: Option<&TableAlias>,
        scope: &mut Scope<'_>,
    ) -> Result<String, SqlError> {
        let [Expr::Value(table), since] = arguments else { return Err(errors::syntax_near("CHANGETABLE")) };
        let Literal::SingleQuotedString(table) = &table.value else { return Err(errors::syntax_near("CHANGES")) };
        let Some(alias) = alias else {
            return Err(SqlError::new(22_104, "A table returned by the CHANGETABLE function must be aliased."));
        };
        let object = self.object(&named_object(table).ok_or_else(|| errors::syntax_near(table))?)?;
        let tracked = tracking::is_tracked(self.connection, object.id).map_err(|error| errors::storage(&error))?;
        let Some((_, key)) = object.primary_key.as_ref().filter(|_| tracked) else {
            let text = format!("Change tracking is not enabled on table '{table}'.");
            return Err(SqlError::new(22_105, text));
        };
        if self.surroundings.denied.contains(&format!("{TRACKING_DENIED}{}", object.full_name()).to_lowercase()) {
            return Err(errors::denied(
                "VIEW CHANGE TRACKING",
                &object.name,
                &self.surroundings.database,
                &object.schema,
            ));
        }
        self.access(object.id)?;
        let since = self.coerce(&self.expression(since, &Scope::default())?, SqlType::BigInt)?;
        let switches = self.surroundings.shared.switches();
        let query = ChangeTable { object_id: object.id, key, since: &since, switches }.query();
        let mut columns: Vec<Column> = TRACKED.iter().map(|(name, sql_type)| Column::new(*name, *sql_type)).collect();
        let of_key = |id: &i64| object.columns.iter().find(|column| column.id == *id);
        columns.extend(key.iter().filter_map(of_key).map(|column| column.column.clone().not_null()));
        self.function_source(&query, columns, &alias.name.value, scope)
    }

    /// Puts a query whose columns are `c1`, `c2` and so on into the scope.
    pub(super) fn function_source(
        &self,
        query: &str,
        columns: Vec<Column>,
        name: &str,
        scope: &mut Scope<'_>,
    ) -> Result<String, SqlError> {
        let source = self.fresh('a');
        let columns = (1..)
            .zip(columns)
            .map(|(at, column)| ScopeColumn { column, sql: format!("{source}.c{at}"), access: Access::Open })
            .collect();
        scope.add(Source { name: name.to_owned(), schema: None, columns })?;
        Ok(format!("{query} AS {source}"))
    }

    /// `CHANGE_TRACKING_MIN_VALID_VERSION`: NULL without permission on the table.
    pub(super) fn min_valid_version(&self, object_id: &str) -> String {
        if self.surroundings.shared.switches().min_valid_version == switches::MinValidVersion::Null {
            return "NULL".to_owned();
        }
        let version = tracking::min_valid_version(object_id);
        let is_open = self.is_open(object_id, "");
        let is_seen = self.is_open(object_id, TRACKING_DENIED);
        format!("(CASE WHEN {is_open} AND {is_seen} THEN {version} END)")
    }

    /// Whether a table may be read, as a condition of SQLite; with a prefix, what else the login may do with it.
    pub(super) fn is_open(&self, object_id: &str, prefix: &str) -> String {
        format!(
            "NOT EXISTS (SELECT 1 FROM __objects o JOIN __schemas s ON s.schema_id = o.schema_id \
             WHERE o.object_id = {object_id} AND ('{prefix}' || s.name || '.' || o.name) COLLATE {} IN ({}))",
            crate::sql::collate::NAME,
            self.denied()
        )
    }

    /// What the login may not do, as texts of SQLite.
    pub(super) fn denied(&self) -> String {
        let denied: Vec<String> = self.surroundings.denied.iter().map(|name| crate::sql::store::quoted(name)).collect();
        denied.join(", ")
    }
}

/// The object that a text names, as T-SQL writes names.
pub fn named_object(name: &str) -> Option<ObjectName> {
    let (schema, table) = super::object_parts(name)?;
    let parts: Vec<Ident> = schema.into_iter().chain([table]).map(|part| Ident::with_quote('[', part)).collect();
    Some(ObjectName::from(parts))
}
