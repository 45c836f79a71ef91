//! UPDATE, DELETE and TRUNCATE.

use rusqlite::types::Value as Stored;
use sqlparser::ast::{AssignmentTarget, Delete, Expr, FromTable, ObjectName, TableFactor, TableWithJoins, Update};

use super::insert::insertion;
use super::rows::{Plan, TARGET, image_of};
use super::{SqlSession, cell};
use crate::sql::bind::{Binder, Bound, Scope, Source, Variable, name_parts, physical_columns, prepare};
use crate::sql::catalog::{Object, ObjectKind, define};
use crate::sql::log::{Entry, NO_ROW};
use crate::sql::{capture, errors, switches};
use crate::values::{SqlError, SqlType};

/// A row that an UPDATE changes.
struct Changed {
    row: i64,
    before: Vec<Stored>,
    after: Vec<Stored>,
}

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
        Binder::new(&self.connection, &[], &self.surroundings).access(object.id)?;
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
        let types: Vec<SqlType> = values.iter().map(|bound| bound.sql_type).collect();
        let plan = self.plan(&object)?;
        let query = format!(
            "SELECT {}, {}, {} FROM {} WHERE {condition}",
            plan.row(),
            list.join(", "),
            columns_of(&object),
            plan.source(&object)
        );
        let changes = self.changed_rows(&query, &object, &targets, &types, variables)?;
        self.apply_update(&object, &plan, &targets, changes)
    }

    /// Rows as they are and as they shall be.
    fn changed_rows(
        &self,
        query: &str,
        object: &Object,
        targets: &[usize],
        types: &[SqlType],
        variables: &[Variable],
    ) -> Result<Vec<Changed>, SqlError> {
        let mut prepared = prepare(&self.connection, query, variables)?;
        let mut rows = prepared.raw_query();
        let mut changes = Vec::new();
        while let Some(row) = rows.next().map_err(|error| errors::storage(&error))? {
            let (id, before) = found_row(row, object, types.len())?;
            let mut after = before.clone();
            for (place, (at, sql_type)) in targets.iter().zip(types).enumerate() {
                let value = cell(row, 2 + place, *sql_type)?;
                after[*at] = self.stored(object, &object.columns[*at], (value, *sql_type), "UPDATE")?;
            }
            changes.push(Changed { row: id, before, after });
        }
        Ok(changes)
    }

    fn apply_update(
        &mut self,
        object: &Object,
        plan: &Plan,
        targets: &[usize],
        mut changes: Vec<Changed>,
    ) -> Result<u64, SqlError> {
        let version = object.columns.iter().position(|column| column.column.sql_type == SqlType::RowVersion);
        for change in &mut changes {
            if let Some(at) = version {
                change.after[at] = self.next_row_version(plan.transaction)?;
            }
        }
        let named: Vec<i64> = targets.iter().map(|at| object.columns[*at].id).collect();
        let is_of_key = plan.keys.iter().flatten().any(|column| named.contains(column));
        let rows = if is_of_key {
            self.move_rows(object, plan, &changes)?
        } else {
            let mut places = targets.to_vec();
            places.extend(version);
            self.overwrite_rows(object, &places, &changes)?
        };
        if plan.logs {
            let updates = changes.iter().map(|change| Entry {
                kind: 'U',
                row: change.row,
                before: Some(image_of(object, &change.before)),
                after: Some(image_of(object, &change.after)),
            });
            let moves = changes.iter().zip(&rows).filter(|(change, row)| change.row != **row);
            let moves = moves.map(|(_, row)| Entry { kind: 'M', row: *row, before: None, after: None });
            let entries: Vec<Entry> = updates.chain(moves).collect();
            self.append(object, plan, &named, &entries)?;
        }
        Ok(u64::try_from(changes.len()).unwrap_or(u64::MAX))
    }

    /// Writes columns that are of no key where the rows are. Gives the rows' ids.
    fn overwrite_rows(&self, object: &Object, places: &[usize], changes: &[Changed]) -> Result<Vec<i64>, SqlError> {
        let list: Vec<String> =
            (2..).zip(places).map(|(parameter, at)| format!("c{} = ?{parameter}", object.columns[*at].id)).collect();
        let sql = format!("UPDATE {} SET {} WHERE rowid = ?1", object.physical(), list.join(", "));
        let mut update = self.connection.prepare(&sql).map_err(|error| errors::storage(&error))?;
        for change in changes {
            let mut parameters = vec![Stored::Integer(change.row)];
            parameters.extend(places.iter().map(|at| change.after[*at].clone()));
            update.execute(rusqlite::params_from_iter(&parameters)).map_err(|error| self.write_error(&error))?;
        }
        Ok(changes.iter().map(|change| change.row).collect())
    }

    /// Writes rows whose keys change: all of them go before the first comes back, so that only the end must be unique. Gives
    /// the rows' new ids.
    fn move_rows(&self, object: &Object, plan: &Plan, changes: &[Changed]) -> Result<Vec<i64>, SqlError> {
        let storage = |error: rusqlite::Error| errors::storage(&error);
        let sql = format!("DELETE FROM {} WHERE rowid = ?1", object.physical());
        let mut delete = self.connection.prepare(&sql).map_err(storage)?;
        for change in changes {
            self.refuse_locked_keys(object, plan, &change.after)?;
            delete.execute([change.row]).map_err(|error| self.write_error(&error))?;
        }
        let with_row_id = plan.row_id_column.is_none();
        let mut insert = self.connection.prepare(&insertion(object, with_row_id)).map_err(storage)?;
        let mut rows = Vec::with_capacity(changes.len());
        for change in changes {
            let given = with_row_id.then_some(Stored::Integer(change.row));
            if let Err(error) = insert.execute(rusqlite::params_from_iter(change.after.iter().chain(&given))) {
                return Err(self.key_error(&error, object, &change.after));
            }
            rows.push(self.connection.last_insert_rowid());
        }
        Ok(rows)
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
        let plan = self.plan(&object)?;
        let count = if plan.logs || plan.has_others {
            let query = format!(
                "SELECT {}, {} FROM {} WHERE {condition}",
                plan.row(),
                columns_of(&object),
                plan.source(&object)
            );
            self.delete_found(&object, &plan, &query, variables)?
        } else {
            let sql = format!("DELETE FROM {} AS {TARGET} WHERE {condition}", object.physical());
            let mut prepared = prepare(&self.connection, &sql, variables)?;
            prepared.raw_execute().map_err(|error| self.write_error(&error))?
        };
        let removed = i64::try_from(count).unwrap_or(i64::MAX);
        define::count_rows(&self.connection, object.id, -removed).map_err(|error| self.write_error(&error))?;
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }

    /// Deletes the rows that a query finds, one by one, and logs them.
    fn delete_found(
        &self,
        object: &Object,
        plan: &Plan,
        query: &str,
        variables: &[Variable],
    ) -> Result<usize, SqlError> {
        let mut found = Vec::new();
        {
            let mut prepared = prepare(&self.connection, query, variables)?;
            let mut rows = prepared.raw_query();
            while let Some(row) = rows.next().map_err(|error| errors::storage(&error))? {
                found.push(found_row(row, object, 0)?);
            }
        }
        let sql = format!("DELETE FROM {} WHERE rowid = ?1", object.physical());
        let mut delete = self.connection.prepare(&sql).map_err(|error| errors::storage(&error))?;
        let mut entries = Vec::with_capacity(found.len());
        for (row, before) in &found {
            delete.execute([row]).map_err(|error| self.write_error(&error))?;
            entries.push(Entry { kind: 'D', row: *row, before: Some(image_of(object, before)), after: None });
        }
        self.append(object, plan, &[], &entries)?;
        Ok(found.len())
    }

    pub(super) fn truncate(&mut self, name: &ObjectName) -> Result<(), SqlError> {
        let object = self.object(name)?;
        if !matches!(object.kind, ObjectKind::Table) {
            return Err(SqlError::new(
                4708,
                format!("Could not truncate object '{}' because it is not a table.", object.name),
            ));
        }
        if capture::is_captured(&self.connection, object.id).map_err(|error| errors::storage(&error))? {
            return Err(errors::truncate_of_captured(&object.name));
        }
        let plan = self.plan(&object)?;
        if plan.has_others {
            return Err(errors::locked());
        }
        self.log_truncated(&object, &plan)?;
        if self.shared.switches().truncate_in_snapshot == switches::TruncateInSnapshot::Error {
            self.shared.defined(object.id);
        }
        self.execute_batch(&format!(
            "DELETE FROM {}; UPDATE __objects SET rows = 0 WHERE object_id = {id}; \
             UPDATE __columns SET last_value = NULL WHERE object_id = {id}",
            object.physical(),
            id = object.id
        ))
    }

    /// What a rollback of TRUNCATE needs, and that it was one.
    fn log_truncated(&self, object: &Object, plan: &Plan) -> Result<(), SqlError> {
        let mut entries = Vec::new();
        if self.surroundings.transactions > 0 {
            let query = format!("SELECT {}, {} FROM {}", plan.row(), columns_of(object), plan.source(object));
            let mut prepared = prepare(&self.connection, &query, &[])?;
            let mut rows = prepared.raw_query();
            while let Some(row) = rows.next().map_err(|error| errors::storage(&error))? {
                let (row, before) = found_row(row, object, 0)?;
                entries.push(Entry { kind: 'T', row, before: Some(image_of(object, &before)), after: None });
            }
        }
        entries.push(Entry { kind: 'R', row: NO_ROW, before: None, after: None });
        self.append(object, plan, &[], &entries)
    }
}

fn columns_of(object: &Object) -> String {
    let columns: Vec<String> = object.columns.iter().map(|column| format!("{TARGET}.c{}", column.id)).collect();
    columns.join(", ")
}

/// A row's id and its columns, after `values` values of something else; an error where another transaction has locked it.
fn found_row(row: &rusqlite::Row<'_>, object: &Object, values: usize) -> Result<(i64, Vec<Stored>), SqlError> {
    let storage = |error: rusqlite::Error| errors::storage(&error);
    if row.get::<_, bool>(1).map_err(storage)? {
        return Err(errors::locked());
    }
    let mut columns = Vec::with_capacity(object.columns.len());
    for at in 0..object.columns.len() {
        columns.push(row.get::<_, Stored>(2 + values + at).map_err(storage)?);
    }
    Ok((row.get(0).map_err(storage)?, columns))
}
