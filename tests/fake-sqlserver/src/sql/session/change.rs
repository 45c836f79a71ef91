//! UPDATE, DELETE and TRUNCATE.

use rusqlite::types::Value as Stored;
use sqlparser::ast::{AssignmentTarget, Delete, Expr, FromTable, ObjectName, TableFactor, TableWithJoins, Update};

use super::{SqlSession, cell};
use crate::sql::bind::{Binder, Bound, Scope, Source, Variable, name_parts, physical_columns};
use crate::sql::catalog::{Object, ObjectKind, define};
use crate::sql::errors;
use crate::values::{SqlError, SqlType};

/// The alias of the changed table in SQLite.
const TARGET: &str = "target";

impl SqlSession {
    /// The object of a name, for a change or a definition.
    pub(super) fn object(&self, name: &ObjectName) -> Result<Object, SqlError> {
        Binder::new(&self.connection, &[], &self.surroundings).object(name)
    }

    /// The table a change is for, and the scope of its columns.
    fn target(&self, table: &TableWithJoins) -> Result<(Object, Scope<'static>), SqlError> {
        let TableFactor::Table { name, alias, .. } = &table.relation else {
            return Err(errors::unsupported("a change of anything but a table"));
        };
        if !table.joins.is_empty() {
            return Err(errors::unsupported("a change of joined tables"));
        }
        let object = self.object(name)?;
        if !matches!(object.kind, ObjectKind::Table) {
            return Err(errors::unsupported(format_args!("changing '{}'", object.full_name())));
        }
        let mut scope = Scope::default();
        scope.add(Source {
            name: alias.as_ref().map_or_else(|| object.name.clone(), |alias| alias.name.value.clone()),
            schema: alias.is_none().then(|| object.schema.clone()),
            columns: physical_columns(&object, TARGET),
        })?;
        Ok((object, scope))
    }

    fn condition(
        &self,
        selection: Option<&Expr>,
        scope: &Scope<'_>,
        variables: &[Variable],
    ) -> Result<String, SqlError> {
        match selection {
            None => Ok("1".to_owned()),
            Some(selection) => Binder::new(&self.connection, variables, &self.surroundings).predicate(selection, scope),
        }
    }

    pub(super) fn update(&mut self, update: &Update, variables: &[Variable]) -> Result<u64, SqlError> {
        if update.from.is_some() || update.output.is_some() || update.returning.is_some() {
            return Err(errors::unsupported("FROM or OUTPUT in UPDATE"));
        }
        let (object, scope) = self.target(&update.table)?;
        let condition = self.condition(update.selection.as_ref(), &scope, variables)?;
        let binder = Binder::new(&self.connection, variables, &self.surroundings);
        let mut targets: Vec<usize> = Vec::new();
        let mut values: Vec<Bound> = Vec::new();
        for assignment in &update.assignments {
            let AssignmentTarget::ColumnName(name) = &assignment.target else { return Err(errors::syntax_near("(")) };
            let shown = name_parts(name)?.pop().unwrap_or_default();
            let at = object
                .columns
                .iter()
                .position(|column| crate::sql::collate::same(&column.column.name, &shown))
                .ok_or_else(|| errors::invalid_column(&shown))?;
            if object.columns[at].identity.is_some() {
                return Err(SqlError::new(8102, format!("Cannot update identity column '{shown}'.")));
            }
            targets.push(at);
            values.push(binder.expression(&assignment.value, &scope)?);
        }
        drop(binder);
        let list: Vec<String> = values.iter().map(|bound| bound.sql.clone()).collect();
        let keys: Vec<String> = object.columns.iter().map(|column| format!("{TARGET}.c{}", column.id)).collect();
        let query = format!(
            "SELECT {TARGET}.rowid, {}, {} FROM {} AS {TARGET} WHERE {condition}",
            list.join(", "),
            keys.join(", "),
            object.physical()
        );
        let types: Vec<SqlType> = values.iter().map(|bound| bound.sql_type).collect();
        let changes = self.changed_rows(&query, &object, &targets, &types, variables)?;
        self.atomically(|session| session.apply_update(&object, &targets, changes))
    }

    /// Row ids, and the whole rows as they shall be.
    fn changed_rows(
        &self,
        query: &str,
        object: &Object,
        targets: &[usize],
        types: &[SqlType],
        variables: &[Variable],
    ) -> Result<Vec<(i64, Vec<Stored>)>, SqlError> {
        let storage = |error: rusqlite::Error| errors::storage(&error);
        let mut prepared = Self::prepare(&self.connection, query, variables)?;
        let mut rows = prepared.raw_query();
        let mut changes = Vec::new();
        while let Some(row) = rows.next().map_err(storage)? {
            let mut whole = Vec::with_capacity(object.columns.len());
            for at in 0..object.columns.len() {
                whole.push(row.get::<_, Stored>(1 + types.len() + at).map_err(storage)?);
            }
            for (place, (at, sql_type)) in targets.iter().zip(types).enumerate() {
                let value = cell(row, 1 + place, *sql_type)?;
                whole[*at] = self.stored(object, &object.columns[*at], (value, *sql_type), "UPDATE")?;
            }
            changes.push((row.get(0).map_err(storage)?, whole));
        }
        Ok(changes)
    }

    fn apply_update(
        &mut self,
        object: &Object,
        targets: &[usize],
        changes: Vec<(i64, Vec<Stored>)>,
    ) -> Result<u64, SqlError> {
        let mut places = targets.to_vec();
        let version = object.columns.iter().position(|column| column.column.sql_type == SqlType::RowVersion);
        places.extend(version);
        let list: Vec<String> =
            (2..).zip(&places).map(|(parameter, at)| format!("c{} = ?{parameter}", object.columns[*at].id)).collect();
        let sql = format!("UPDATE {} SET {} WHERE rowid = ?1", object.physical(), list.join(", "));
        let count = changes.len();
        let mut update = self.connection.prepare(&sql).map_err(|error| errors::storage(&error))?;
        for (row, mut whole) in changes {
            if let Some(at) = version {
                whole[at] = self.next_row_version()?;
            }
            let mut parameters = vec![Stored::Integer(row)];
            parameters.extend(places.iter().map(|at| whole[*at].clone()));
            if let Err(error) = update.execute(rusqlite::params_from_iter(&parameters)) {
                return Err(self.key_error(&error, object, &whole));
            }
        }
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }

    pub(super) fn delete(&mut self, delete: &Delete, variables: &[Variable]) -> Result<u64, SqlError> {
        if delete.using.is_some() || delete.output.is_some() || delete.returning.is_some() || !delete.tables.is_empty()
        {
            return Err(errors::unsupported("a DELETE of joined tables or with OUTPUT"));
        }
        let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = &delete.from;
        let [table] = tables.as_slice() else { return Err(errors::unsupported("a DELETE of several tables")) };
        let (object, scope) = self.target(table)?;
        let condition = self.condition(delete.selection.as_ref(), &scope, variables)?;
        let sql = format!("DELETE FROM {} AS {TARGET} WHERE {condition}", object.physical());
        self.atomically(|session| {
            let count = {
                let mut prepared = Self::prepare(&session.connection, &sql, variables)?;
                prepared.raw_execute().map_err(|error| session.write_error(&error))?
            };
            let removed = i64::try_from(count).unwrap_or(i64::MAX);
            define::count_rows(&session.connection, object.id, -removed)
                .map_err(|error| session.write_error(&error))?;
            Ok(u64::try_from(count).unwrap_or(u64::MAX))
        })
    }

    pub(super) fn truncate(&mut self, name: &ObjectName) -> Result<(), SqlError> {
        let object = self.object(name)?;
        if !matches!(object.kind, ObjectKind::Table) {
            return Err(SqlError::new(
                4708,
                format!("Could not truncate object '{}' because it is not a table.", object.name),
            ));
        }
        let sql = format!(
            "DELETE FROM {}; UPDATE __objects SET rows = 0 WHERE object_id = {id}; \
             UPDATE __columns SET last_value = NULL WHERE object_id = {id}",
            object.physical(),
            id = object.id
        );
        self.atomically(|session| session.execute_batch(&sql))
    }
}
