//! ALTER TABLE and DROP.

use sqlparser::ast::{AlterTable, AlterTableOperation, ObjectName, TableConstraint};

use super::SqlSession;
use super::create::{create_physical_index, new_column, new_index, table_key};
use crate::sql::bind::name_parts;
use crate::sql::catalog::{self, ObjectKind, define};
use crate::sql::{collate, errors, types};
use crate::values::SqlError;

impl SqlSession {
    pub(super) fn alter_table(&mut self, alter: &AlterTable) -> Result<(), SqlError> {
        let mut object = self.object(&alter.name)?;
        if !matches!(object.kind, ObjectKind::Table) {
            return Err(errors::invalid_object(&object.full_name()));
        }
        for operation in &alter.operations {
            match operation {
                AlterTableOperation::AddColumn { column_def, .. } => {
                    let id = object.columns.iter().map(|column| column.id).max().unwrap_or(0) + 1;
                    let column = new_column(id, column_def)?;
                    if object.column(&column.column.name).is_some() {
                        return Err(SqlError::new(
                            2705,
                            format!(
                                "Column name '{}' in table '{}' is specified more than once.",
                                column.column.name, object.name
                            ),
                        ));
                    }
                    if !column.column.nullable && column.default.is_none() {
                        let message = format!(
                            "ALTER TABLE only allows columns to be added that can contain nulls, or have a DEFAULT \
                             definition specified. Column '{}' cannot be added to non-empty table '{}'.",
                            column.column.name, object.name
                        );
                        return Err(SqlError::new(4901, message));
                    }
                    let collation = if types::is_text(column.column.sql_type) {
                        format!(" COLLATE {}", collate::NAME)
                    } else {
                        String::new()
                    };
                    let sql = format!("ALTER TABLE {} ADD COLUMN c{id}{collation}", object.physical());
                    self.atomically(|session| {
                        session.execute_batch(&sql)?;
                        define::add_column(&session.connection, object.id, &column)
                            .map_err(|error| session.write_error(&error))
                    })?;
                    object.columns.push(column);
                }
                AlterTableOperation::AddConstraint { constraint: TableConstraint::PrimaryKey(key), .. } => {
                    let index = new_index(&mut object, table_key(key)?, true)?;
                    self.atomically(|session| {
                        let storage = |error: rusqlite::Error| session.write_error(&error);
                        create_physical_index(&session.connection, &object, &index).map_err(storage)?;
                        define::add_index(&session.connection, object.id, &index).map_err(storage)?;
                        for (id, _) in &index.columns {
                            session
                                .connection
                                .execute(
                                    "UPDATE __columns SET is_nullable = 0 WHERE object_id = ?1 AND column_id = ?2",
                                    [object.id, *id],
                                )
                                .map_err(storage)?;
                        }
                        Ok(())
                    })?;
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
        self.atomically(|session| {
            if matches!(object.kind, ObjectKind::Table) {
                session.execute_batch(&format!("DROP TABLE {}", object.physical()))?;
            }
            define::remove_object(&session.connection, object.id).map_err(|error| session.write_error(&error))
        })
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
