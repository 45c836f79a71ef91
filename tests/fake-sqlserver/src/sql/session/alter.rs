//! ALTER TABLE and DROP.

use sqlparser::ast::{AlterTable, AlterTableOperation, ColumnDef, ObjectName, Statement, TableConstraint};

use super::SqlSession;
use super::create::{create_physical_index, new_column, new_index, table_key};
use crate::sql::bind::{name_parts, named_object};
use crate::sql::capture::Definition;
use crate::sql::catalog::{self, Object, ObjectKind, define};
use crate::sql::switches::Capture;
use crate::sql::{capture, collate, errors, log, parse, types};
use crate::values::SqlError;

impl SqlSession {
    pub(super) fn alter_table(&mut self, alter: &AlterTable) -> Result<(), SqlError> {
        let mut object = self.object(&alter.name)?;
        if !matches!(object.kind, ObjectKind::Table) {
            return Err(errors::invalid_object(&object.full_name()));
        }
        self.refuse_while_locked(&object)?;
        self.shared.defined(object.id);
        self.tell_capture(&Definition {
            source: object.id,
            command: alter.to_string(),
            time: self.created(),
            new_type: None,
        })?;
        for operation in &alter.operations {
            match operation {
                AlterTableOperation::AddColumn { column_def, .. } => self.add_column(&mut object, column_def)?,
                AlterTableOperation::DropColumn { column_names, .. } => {
                    for name in column_names {
                        self.drop_column(&mut object, &name.value)?;
                    }
                }
                AlterTableOperation::AddConstraint { constraint: TableConstraint::PrimaryKey(key), .. } => {
                    let index = new_index(&mut object, table_key(key)?, true)?;
                    let storage = |error: rusqlite::Error| self.write_error(&error);
                    create_physical_index(&self.connection, &object, &index).map_err(storage)?;
                    define::add_index(&self.connection, object.id, &index).map_err(storage)?;
                    for (id, _) in &index.columns {
                        let sql = "UPDATE __columns SET is_nullable = 0 WHERE object_id = ?1 AND column_id = ?2";
                        self.connection.execute(sql, [object.id, *id]).map_err(storage)?;
                    }
                }
                AlterTableOperation::AddConstraint {
                    constraint: TableConstraint::ForeignKey(_) | TableConstraint::Check(_),
                    ..
                } => {}
                other => return Err(errors::unsupported(format_args!("ALTER TABLE with '{other}'"))),
            }
        }
        Ok(())
    }

    fn add_column(&self, object: &mut Object, definition: &ColumnDef) -> Result<(), SqlError> {
        // Ids of dropped columns are not given again.
        let last: Option<i64> = self
            .connection
            .query_row("SELECT MAX(column_id) FROM __dropped_columns WHERE object_id = ?1", [object.id], |row| {
                row.get(0)
            })
            .map_err(|error| errors::storage(&error))?;
        let id = object.columns.iter().map(|column| column.id).chain(last).max().unwrap_or(0) + 1;
        let column = new_column(id, definition)?;
        if object.column(&column.column.name).is_some() {
            let message =
                format!("Column name '{}' in table '{}' is specified more than once.", column.column.name, object.name);
            return Err(SqlError::new(2705, message));
        }
        if !column.column.nullable && column.default.is_none() {
            let message = format!(
                "ALTER TABLE only allows columns to be added that can contain nulls, or have a DEFAULT definition specified. \
                 Column '{}' cannot be added to non-empty table '{}'.",
                column.column.name, object.name
            );
            return Err(SqlError::new(4901, message));
        }
        let collation = match types::is_text(column.column.sql_type) {
            true => format!(" COLLATE {}", collate::NAME),
            false => String::new(),
        };
        self.execute_batch(&format!("ALTER TABLE {} ADD COLUMN c{id}{collation}", object.physical()))?;
        define::add_column(&self.connection, object.id, &column).map_err(|error| self.write_error(&error))?;
        if !column.column.nullable {
            // "ALTER TABLE": such a column is loaded with the default in each row that is there. One that may be null is not.
            let default = self.default_of(&column)?;
            let stored = self.stored(object, &column, default, "ALTER TABLE")?;
            let fill = format!("UPDATE {} SET c{id} = ?1", object.physical());
            self.connection.execute(&fill, [stored]).map_err(|error| self.write_error(&error))?;
        }
        object.columns.push(column);
        Ok(())
    }

    fn drop_column(&self, object: &mut Object, name: &str) -> Result<(), SqlError> {
        let id = object.column(name).ok_or_else(|| missing_column(name, object))?.id;
        let storage = |error: rusqlite::Error| self.write_error(&error);
        let is_used: bool = self
            .connection
            .query_row(
                "SELECT EXISTS (SELECT 1 FROM __index_columns WHERE object_id = ?1 AND column_id = ?2)",
                [object.id, id],
                |row| row.get(0),
            )
            .map_err(storage)?;
        if is_used {
            let text = format!("ALTER TABLE DROP COLUMN {name} failed because one or more objects access this column.");
            return Err(SqlError::new(4922, text).with_state(9));
        }
        self.execute_batch(&format!("ALTER TABLE {} DROP COLUMN c{id}", object.physical()))?;
        for table in ["__columns", "__column_facts"] {
            let sql = format!("DELETE FROM {table} WHERE object_id = ?1 AND column_id = ?2");
            self.connection.execute(&sql, [object.id, id]).map_err(storage)?;
        }
        self.connection.execute("INSERT INTO __dropped_columns VALUES (?1, ?2)", [object.id, id]).map_err(storage)?;
        object.columns.retain(|column| column.id != id);
        Ok(())
    }

    /// `ALTER TABLE table ALTER COLUMN name definition`: a new type, NULL or NOT NULL.
    pub(super) fn alter_column(&mut self, table: &str, name: &str, definition: &str) -> Result<(), SqlError> {
        let table_name = named_object(table).ok_or_else(|| errors::syntax_near(table))?;
        let object = self.object(&table_name)?;
        self.refuse_while_locked(&object)?;
        let old = object.column(name).ok_or_else(|| missing_column(name, &object))?;
        let batch = parse::parse_batch(&format!("CREATE TABLE t (c {definition})"))?;
        let defined = batch.statements.first().and_then(|parsed| match &parsed.statement {
            Statement::CreateTable(create) => create.columns.first(),
            _ => None,
        });
        let new = new_column(old.id, defined.ok_or_else(|| errors::syntax_near(definition))?)?;
        let storage = |error: rusqlite::Error| self.write_error(&error);
        self.shared.defined(object.id);
        if !new.column.nullable {
            let sql = format!("SELECT EXISTS (SELECT 1 FROM {} WHERE c{} IS NULL)", object.physical(), old.id);
            if self.connection.query_row(&sql, [], |row| row.get(0)).map_err(storage)? {
                return Err(errors::null_insert(name, &object.full_name(), "UPDATE"));
            }
        }
        self.tell_capture(&Definition {
            source: object.id,
            command: format!("ALTER TABLE {table} ALTER COLUMN {name} {definition}"),
            time: self.created(),
            new_type: Some((old.id, new.column.sql_type)),
        })?;
        define::change_type(&self.connection, object.id, old.id, old.column.sql_type, new.column.sql_type)
            .map_err(storage)?;
        self.connection
            .execute(
                "UPDATE __columns SET is_nullable = ?3 WHERE object_id = ?1 AND column_id = ?2",
                rusqlite::params![object.id, old.id, new.column.nullable],
            )
            .map(drop)
            .map_err(storage)
    }

    /// Change data capture hears of a definition.
    fn tell_capture(&self, definition: &Definition) -> Result<(), SqlError> {
        let is_captured =
            capture::note_definition(&self.connection, definition).map_err(|error| self.write_error(&error))?;
        match is_captured && self.shared.switches().capture == Capture::AtOnce {
            true => self.scan(),
            false => Ok(()),
        }
    }

    /// `sys.sp_rename`: of a table (`schema.table`), or of a column (`schema.table.column`).
    pub(super) fn rename(&mut self, name: &str, new: &str, kind: Option<&str>) -> Result<(), SqlError> {
        let storage = |error: rusqlite::Error| self.write_error(&error);
        let is_column = kind.is_some_and(|kind| collate::same(kind, "COLUMN"));
        let (table, column) = match name.rsplit_once('.') {
            Some((table, column)) if is_column => (table, Some(column.trim_matches(['[', ']']))),
            _ => (name, None),
        };
        let object = self.object(&named_object(table).ok_or_else(|| errors::syntax_near(name))?)?;
        self.refuse_while_locked(&object)?;
        self.shared.defined(object.id);
        match column {
            None => self
                .connection
                .execute("UPDATE __objects SET name = ?2 WHERE object_id = ?1", rusqlite::params![object.id, new]),
            Some(column) => {
                let id = object.column(column).ok_or_else(|| missing_column(column, &object))?.id;
                self.connection.execute(
                    "UPDATE __columns SET name = ?3 WHERE object_id = ?1 AND column_id = ?2",
                    rusqlite::params![object.id, id, new],
                )
            }
        }
        .map(drop)
        .map_err(storage)
    }

    /// A definition waits for the open transactions that have changed rows of the table.
    pub(super) fn refuse_while_locked(&self, object: &Object) -> Result<(), SqlError> {
        let has_others = log::has_others(&self.connection, object.id, self.surroundings.transaction)
            .map_err(|error| errors::storage(&error))?;
        if has_others { Err(errors::locked()) } else { Ok(()) }
    }

    pub(super) fn drop_object(&mut self, name: &ObjectName, if_exists: bool, is_view: bool) -> Result<(), SqlError> {
        let kind = if is_view { "view" } else { "table" };
        let parts = name_parts(name)?;
        let missing = || errors::cannot_drop(kind, &parts.join("."));
        let object = match self.object(name) {
            Ok(object) if matches!(object.kind, ObjectKind::View(_)) == is_view && object.id != 0 => object,
            Ok(_) => return Err(missing()),
            Err(error) if error.number == 208 && if_exists => return Ok(()),
            Err(error) if error.number == 208 => return Err(missing()),
            Err(error) => return Err(error),
        };
        self.refuse_while_locked(&object)?;
        for instance in capture::of_source(&self.connection, object.id).map_err(|error| self.write_error(&error))? {
            capture::disable(&self.connection, instance.id).map_err(|error| self.write_error(&error))?;
        }
        if matches!(object.kind, ObjectKind::Table) {
            self.execute_batch(&format!("DROP TABLE {}", object.physical()))?;
        }
        self.shared.defined(object.id);
        define::remove_object(&self.connection, object.id).map_err(|error| self.write_error(&error))
    }

    pub(super) fn drop_schema(&mut self, name: &ObjectName, if_exists: bool) -> Result<(), SqlError> {
        let name = name_parts(name)?.pop().unwrap_or_default();
        let id = catalog::schema_id(&self.connection, &name).map_err(|error| errors::storage(&error))?;
        let id = match id {
            Some(id) if id > 4 => id,
            _ if if_exists => return Ok(()),
            _ => return Err(errors::cannot_drop("schema", &name)),
        };
        let used: i64 = self
            .connection
            .query_row("SELECT COUNT(*) FROM __objects WHERE schema_id = ?1", [id], |row| row.get(0))
            .map_err(|error| errors::storage(&error))?;
        if used > 0 {
            return Err(SqlError::new(
                3729,
                format!("Cannot drop schema '{name}' because it is being referenced by an object."),
            ));
        }
        self.execute_batch(&format!("DELETE FROM __schemas WHERE schema_id = {id}"))
    }
}

/// 4924
fn missing_column(name: &str, object: &Object) -> SqlError {
    let text = format!("ALTER TABLE failed because column '{name}' does not exist in table '{}'.", object.name);
    SqlError::new(4924, text)
}
