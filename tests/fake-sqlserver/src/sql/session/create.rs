//! CREATE.

use rusqlite::Connection;
use sqlparser::ast::{
    ColumnDef, ColumnOption, CreateIndex, CreateTable, CreateView, Expr, IdentityPropertyFormatKind,
    IdentityPropertyKind, IndexColumn, ObjectName, PrimaryKeyConstraint, SchemaName, TableConstraint,
};

use super::SqlSession;
use crate::sql::bind::{Binder, name_parts};
use crate::sql::calendar::{DAY_1900, TICKS_PER_DAY, UNITS_PER_DAY, units_from_ticks};
use crate::sql::catalog::{self, Access, CatalogColumn, Object, ObjectKind, define};
use crate::sql::{collate, errors, types};
use crate::values::{Column, SqlError, SqlType};

/// A constraint's name, where it has one, and its columns.
type Key = (Option<String>, Vec<(String, bool)>);

impl SqlSession {
    /// Now as a stored `datetime`.
    pub(super) fn created(&self) -> i64 {
        let now = self.surroundings.now;
        (now.div_euclid(TICKS_PER_DAY) - DAY_1900) * UNITS_PER_DAY + units_from_ticks(now.rem_euclid(TICKS_PER_DAY))
    }

    /// Schema and name of something new, and the schema's id.
    fn new_name(&self, name: &ObjectName) -> Result<(String, String, i64), SqlError> {
        let mut parts = name_parts(name)?;
        let table = parts.pop().unwrap_or_default();
        let schema = parts.pop().filter(|schema| !schema.is_empty()).unwrap_or_else(|| "dbo".to_owned());
        if table.is_empty() || table.encode_utf16().count() > 128 {
            return Err(SqlError::new(1038, "An object or column name is missing, empty or too long.").with_class(15));
        }
        if table.starts_with('#') {
            return Err(errors::unsupported("temporary tables"));
        }
        let storage = |error: rusqlite::Error| errors::storage(&error);
        let id = catalog::schema_id(&self.connection, &schema)
            .map_err(storage)?
            .ok_or_else(|| errors::no_such_schema(&schema))?;
        if catalog::find(&self.connection, Some(&schema), &table).map_err(storage)?.is_some() {
            return Err(errors::already_exists(&table));
        }
        Ok((schema, table, id))
    }

    pub(super) fn create_schema(&mut self, name: &SchemaName) -> Result<(), SqlError> {
        let (SchemaName::Simple(name) | SchemaName::NamedAuthorization(name, _)) = name else {
            return Err(errors::syntax_near("AUTHORIZATION"));
        };
        let name = name_parts(name)?.pop().unwrap_or_default();
        if catalog::schema_id(&self.connection, &name).map_err(|error| errors::storage(&error))?.is_some() {
            return Err(errors::already_exists(&name));
        }
        define::add_schema(&self.connection, &name).map_err(|error| self.write_error(&error))
    }

    pub(super) fn create_table(&mut self, create: &CreateTable) -> Result<(), SqlError> {
        if create.query.is_some() || create.like.is_some() || create.temporary {
            return Err(errors::unsupported("CREATE TABLE from another table"));
        }
        let (schema, name, schema_id) = self.new_name(&create.name)?;
        let mut columns = Vec::new();
        let mut keys: Vec<(Key, bool)> = Vec::new();
        for (id, definition) in (1..).zip(&create.columns) {
            columns.push(new_column(id, definition)?);
            keys.extend(column_keys(definition));
        }
        for constraint in &create.constraints {
            match constraint {
                TableConstraint::PrimaryKey(key) => keys.push((table_key(key)?, true)),
                TableConstraint::Unique(unique) => {
                    let columns = index_columns(&unique.columns)?;
                    keys.push(((unique.name.as_ref().map(|name| name.value.clone()), columns), false));
                }
                // Foreign keys and checks are accepted and not enforced: nothing here reads them.
                TableConstraint::ForeignKey(_) | TableConstraint::Check(_) => {}
                other => return Err(errors::unsupported(format_args!("the constraint '{other}'"))),
            }
        }
        for (at, column) in columns.iter().enumerate() {
            if columns[..at].iter().any(|other: &CatalogColumn| collate::same(&other.column.name, &column.column.name))
            {
                let message = format!(
                    "Column names in each table must be unique. Column name '{}' in table '{name}' is specified more than \
                     once.",
                    column.column.name
                );
                return Err(SqlError::new(2705, message).with_state(3));
            }
        }
        let created = self.created();
        let storage = |error: rusqlite::Error| self.write_error(&error);
        let id = define::next_object_id(&self.connection).map_err(storage)?;
        let mut object = Object { id, schema, name, kind: ObjectKind::Table, columns, primary_key: None };
        let mut indexes = Vec::new();
        for (key, is_primary) in keys {
            indexes.push(new_index(&mut object, key, is_primary)?);
        }
        define::add_object(&self.connection, schema_id, &object, "U ", None, created).map_err(storage)?;
        create_physical(&self.connection, &object, &indexes).map_err(storage)?;
        if !indexes.iter().any(|index| index.is_primary_key) {
            define::add_heap(&self.connection, object.id).map_err(storage)?;
        }
        for index in &indexes {
            define::add_index(&self.connection, object.id, index).map_err(storage)?;
        }
        Ok(())
    }

    pub(super) fn create_view(&mut self, create: &CreateView, text: &str) -> Result<(), SqlError> {
        if create.or_alter || create.or_replace || create.materialized {
            return Err(errors::unsupported("CREATE OR ALTER VIEW"));
        }
        let (schema, name, schema_id) = self.new_name(&create.name)?;
        let bound = Binder::new(&self.connection, &[], &self.surroundings).query(&create.query, None)?;
        if !create.columns.is_empty() && create.columns.len() != bound.columns.len() {
            return Err(SqlError::new(
                8158,
                format!("'{name}' has more columns than were specified in the column list."),
            ));
        }
        let mut columns = Vec::new();
        for (at, column) in bound.columns.into_iter().enumerate() {
            let name = create.columns.get(at).map_or(column.name.clone(), |named| named.name.value.clone());
            if name.is_empty() {
                let message = format!(
                    "Create View or Function failed because no column name was specified for column {}.",
                    at + 1
                );
                return Err(SqlError::new(4511, message));
            }
            let column = Column { name, computed: false, identity: false, ..column };
            columns.push(CatalogColumn {
                id: i64::try_from(at + 1).unwrap_or(i64::MAX),
                column,
                default: None,
                identity: None,
                access: Access::Open,
            });
        }
        let created = self.created();
        // The text as written: the parser's own print of it would break names with brackets in them.
        let definition = text.trim().to_owned();
        let storage = |error: rusqlite::Error| self.write_error(&error);
        let id = define::next_object_id(&self.connection).map_err(storage)?;
        let kind = ObjectKind::View(definition.clone());
        let object = Object { id, schema, name, kind, columns, primary_key: None };
        define::add_object(&self.connection, schema_id, &object, "V ", Some(&definition), created).map_err(storage)
    }

    pub(super) fn create_index(&mut self, create: &CreateIndex) -> Result<(), SqlError> {
        let object = self.object(&create.table_name)?;
        self.refuse_while_locked(&object)?;
        self.shared.defined(object.id);
        let name = match &create.name {
            Some(name) => name_parts(name)?.pop().unwrap_or_default(),
            None => return Err(errors::syntax_near("ON")),
        };
        let mut columns = Vec::new();
        for (column, descending) in index_columns(&create.columns)? {
            let found = object.column(&column).ok_or_else(|| errors::invalid_column(&column))?;
            columns.push((found.id, descending));
        }
        let index =
            define::NewIndex { name, columns, is_primary_key: false, is_unique: create.unique, is_constraint: false };
        let storage = |error: rusqlite::Error| self.write_error(&error);
        define::add_index(&self.connection, object.id, &index).map_err(storage)?;
        create_physical_index(&self.connection, &object, &index).map_err(storage)
    }
}

/// A column as CREATE TABLE and ALTER TABLE define it.
pub(super) fn new_column(id: i64, definition: &ColumnDef) -> Result<CatalogColumn, SqlError> {
    let sql_type = types::from_ast(&definition.data_type)?;
    let mut column = CatalogColumn {
        id,
        column: Column::new(definition.name.value.clone(), sql_type),
        default: None,
        identity: None,
        access: Access::Open,
    };
    // A rowversion is never null unless it is said to be.
    column.column.nullable = sql_type != SqlType::RowVersion;
    for option in &definition.options {
        match &option.option {
            ColumnOption::Null => column.column.nullable = true,
            ColumnOption::NotNull | ColumnOption::PrimaryKey(_) => column.column.nullable = false,
            ColumnOption::Default(expression) => column.default = Some(expression.to_string()),
            ColumnOption::Identity(IdentityPropertyKind::Identity(property)) => {
                column.identity = Some(match &property.parameters {
                    Some(
                        IdentityPropertyFormatKind::FunctionCall(parameters)
                        | IdentityPropertyFormatKind::StartAndIncrement(parameters),
                    ) => (integer(&parameters.seed)?, integer(&parameters.increment)?),
                    None => (1, 1),
                });
                column.column.identity = true;
                column.column.nullable = false;
            }
            ColumnOption::Unique(_)
            | ColumnOption::ForeignKey(_)
            | ColumnOption::Check(_)
            | ColumnOption::Collation(_) => {}
            other => return Err(errors::unsupported(format_args!("the column option '{other}'"))),
        }
    }
    Ok(column)
}

fn integer(expression: &Expr) -> Result<i64, SqlError> {
    expression.to_string().replace(' ', "").parse().map_err(|_| errors::syntax_near(&expression.to_string()))
}

fn column_keys(definition: &ColumnDef) -> Vec<(Key, bool)> {
    definition
        .options
        .iter()
        .filter_map(|option| {
            let is_primary = match &option.option {
                ColumnOption::PrimaryKey(_) => true,
                ColumnOption::Unique(_) => false,
                _ => return None,
            };
            let name = option.name.as_ref().map(|name| name.value.clone());
            Some(((name, vec![(definition.name.value.clone(), false)]), is_primary))
        })
        .collect()
}

pub(super) fn table_key(key: &PrimaryKeyConstraint) -> Result<Key, SqlError> {
    Ok((key.name.as_ref().map(|name| name.value.clone()), index_columns(&key.columns)?))
}

fn index_columns(columns: &[IndexColumn]) -> Result<Vec<(String, bool)>, SqlError> {
    columns
        .iter()
        .map(|column| match &column.column.expr {
            Expr::Identifier(name) => Ok((name.value.clone(), column.column.options.asc == Some(false))),
            other => Err(errors::syntax_near(&other.to_string())),
        })
        .collect()
}

/// Resolves a key's columns, makes those of a primary key NOT NULL, and names it as the server would.
pub(super) fn new_index(object: &mut Object, key: Key, is_primary: bool) -> Result<define::NewIndex, SqlError> {
    let (name, named) = key;
    let mut columns = Vec::new();
    for (column, descending) in named {
        let found =
            object.columns.iter_mut().find(|own| collate::same(&own.column.name, &column)).ok_or_else(|| {
                SqlError::new(1911, format!("Column name '{column}' does not exist in the target table or view."))
            })?;
        if is_primary {
            if types::is_incomparable(found.column.sql_type) {
                let message = format!(
                    "Column '{column}' in table '{}' is of a type that is invalid for use as a key column in an index.",
                    object.name
                );
                return Err(SqlError::new(1919, message));
            }
            found.column.nullable = false;
        }
        columns.push((found.id, descending));
    }
    if is_primary && object.primary_key.is_some() {
        return Err(SqlError::new(
            8110,
            format!("Cannot add multiple PRIMARY KEY constraints to table '{}'.", object.name),
        ));
    }
    let prefix = if is_primary { "PK" } else { "UQ" };
    let short: String = object.name.chars().take(9).collect();
    let name = name.unwrap_or_else(|| format!("{prefix}__{short}__{:08X}{:08X}", object.id, columns.len()));
    if is_primary {
        object.primary_key = Some((name.clone(), columns.iter().map(|(id, _)| *id).collect()));
    }
    Ok(define::NewIndex { name, columns, is_primary_key: is_primary, is_unique: true, is_constraint: true })
}

/// Creates the table in SQLite. A key of one whole number becomes the row id itself.
pub(in crate::sql) fn create_physical(
    connection: &Connection,
    object: &Object,
    indexes: &[define::NewIndex],
) -> rusqlite::Result<()> {
    let row_id = indexes.iter().find(|index| index.is_primary_key).and_then(|index| match index.columns.as_slice() {
        [(id, false)] => Some(*id),
        _ => None,
    });
    let columns: Vec<String> = object
        .columns
        .iter()
        .map(|column| {
            let sql_type = column.column.sql_type;
            if Some(column.id) == row_id && types::is_integer(sql_type) {
                format!("c{} INTEGER PRIMARY KEY", column.id)
            } else if types::is_text(sql_type) {
                format!("c{} COLLATE {}", column.id, collate::NAME)
            } else {
                // No declared type: values stay as they are stored, -0.0 and all.
                format!("c{}", column.id)
            }
        })
        .collect();
    connection.execute_batch(&format!("CREATE TABLE {} ({})", object.physical(), columns.join(", ")))?;
    for index in indexes {
        let covered = index.is_primary_key
            && object
                .columns
                .iter()
                .any(|column| Some(column.id) == row_id && types::is_integer(column.column.sql_type));
        if !covered {
            create_physical_index(connection, object, index)?;
        }
    }
    Ok(())
}

pub(super) fn create_physical_index(
    connection: &Connection,
    object: &Object,
    index: &define::NewIndex,
) -> rusqlite::Result<()> {
    let columns: Vec<String> = index
        .columns
        .iter()
        .map(|(id, descending)| format!("c{id}{}", if *descending { " DESC" } else { "" }))
        .collect();
    let ids: Vec<String> = index.columns.iter().map(|(id, _)| id.to_string()).collect();
    connection.execute_batch(&format!(
        "CREATE {}INDEX i{}_{}_{} ON {} ({})",
        if index.is_unique { "UNIQUE " } else { "" },
        object.id,
        ids.join("_"),
        i32::from(index.is_primary_key),
        object.physical(),
        columns.join(", ")
    ))
}
