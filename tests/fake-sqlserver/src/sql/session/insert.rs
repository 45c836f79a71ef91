//! INSERT.

use rusqlite::types::Value as Stored;
use sqlparser::ast::{Expr, Insert, SetExpr, TableObject};

use super::rows::image_of;
use super::{SqlSession, cell};
use crate::sql::bind::{Binder, Variable, name_parts, prepare};
use crate::sql::catalog::{CatalogColumn, Object, ObjectKind, define};
use crate::sql::log::Entry;
use crate::sql::{collate, convert, errors, parse, store};
use crate::values::{SqlError, SqlType, Value};

/// A value and the type it came with.
type Typed = (Value, SqlType);

impl SqlSession {
    pub(super) fn insert(&mut self, insert: &Insert, variables: &[Variable]) -> Result<u64, SqlError> {
        if insert.output.is_some() || insert.returning.is_some() || insert.on.is_some() {
            return Err(errors::unsupported("OUTPUT in INSERT"));
        }
        let TableObject::TableName(name) = &insert.table else { return Err(errors::syntax_near("INTO")) };
        let object = self.object(name)?;
        if !matches!(object.kind, ObjectKind::Table) {
            return Err(errors::unsupported(format_args!("INSERT into '{}'", object.full_name())));
        }
        let targets = self.insert_targets(insert, &object)?;
        let rows = self.source_rows(insert, &object, &targets, variables)?;
        self.insert_rows(&object, &targets, rows)
    }

    /// The columns that get values, as places in the object's list.
    fn insert_targets(&self, insert: &Insert, object: &Object) -> Result<Vec<usize>, SqlError> {
        let explicit = self.identity_insert == Some(object.id);
        if insert.columns.is_empty() {
            // Without a list, IDENTITY and rowversion columns fill themselves.
            return Ok((0..object.columns.len())
                .filter(|at| {
                    let column = &object.columns[*at];
                    column.identity.is_none() && column.column.sql_type != SqlType::RowVersion
                })
                .collect());
        }
        let mut targets = Vec::new();
        for name in &insert.columns {
            let parts = name_parts(name)?;
            let shown = parts.last().cloned().unwrap_or_default();
            let at = object
                .columns
                .iter()
                .position(|column| collate::same(&column.column.name, &shown))
                .ok_or_else(|| errors::invalid_column(&shown))?;
            if object.columns[at].identity.is_some() && !explicit {
                let message = format!(
                    "Cannot insert explicit value for identity column in table '{}' when IDENTITY_INSERT is set to OFF.",
                    object.name
                );
                return Err(SqlError::new(544, message));
            }
            if object.columns[at].column.sql_type == SqlType::RowVersion {
                return Err(SqlError::new(
                    273,
                    "Cannot insert an explicit value into a timestamp column. Use INSERT with a column list to exclude the \
                     timestamp column, or insert a DEFAULT into the timestamp column.",
                ));
            }
            targets.push(at);
        }
        Ok(targets)
    }

    fn source_rows(
        &self,
        insert: &Insert,
        object: &Object,
        targets: &[usize],
        variables: &[Variable],
    ) -> Result<Vec<Vec<Typed>>, SqlError> {
        let Some(source) = &insert.source else {
            // DEFAULT VALUES
            let row = targets.iter().map(|at| self.default_of(&object.columns[*at])).collect::<Result<_, _>>()?;
            return Ok(vec![row]);
        };
        if let SetExpr::Values(values) = &*source.body {
            let mut rows = Vec::with_capacity(values.rows.len());
            for row in &values.rows {
                if row.content.len() != targets.len() {
                    return Err(errors::value_count());
                }
                let mut typed = Vec::with_capacity(targets.len());
                for (expression, at) in row.content.iter().zip(targets) {
                    typed.push(if is_default(expression) {
                        self.default_of(&object.columns[*at])?
                    } else {
                        self.evaluate(expression, None, variables)?
                    });
                }
                rows.push(typed);
            }
            return Ok(rows);
        }
        let bound = Binder::new(&self.connection, variables, &self.surroundings).query(source, None)?;
        if bound.columns.len() != targets.len() {
            return Err(errors::value_count());
        }
        let mut prepared = prepare(&self.connection, &bound.sql, variables)?;
        let mut result = prepared.raw_query();
        let mut rows = Vec::new();
        while let Some(row) = result.next().map_err(|error| errors::storage(&error))? {
            let mut typed = Vec::with_capacity(targets.len());
            for (at, column) in bound.columns.iter().enumerate() {
                typed.push((cell(row, at, column.sql_type)?, column.sql_type));
            }
            rows.push(typed);
        }
        Ok(rows)
    }

    pub(super) fn default_of(&self, column: &CatalogColumn) -> Result<Typed, SqlError> {
        let Some(default) = &column.default else { return Ok((Value::Null, column.column.sql_type)) };
        let batch = parse::parse_batch(&format!("SELECT {default}"))?;
        let expression = batch.statements.first().and_then(|parsed| match &parsed.statement {
            sqlparser::ast::Statement::Query(query) => query.body.as_select(),
            _ => None,
        });
        match expression.and_then(|select| select.projection.first()) {
            Some(sqlparser::ast::SelectItem::UnnamedExpr(expression)) => self.evaluate(expression, None, &[]),
            _ => Err(errors::syntax_near(default)),
        }
    }

    fn insert_rows(&mut self, object: &Object, targets: &[usize], rows: Vec<Vec<Typed>>) -> Result<u64, SqlError> {
        let plan = self.plan(object)?;
        let mut row_id = self.free_row_id(object, &plan)?;
        let count = rows.len();
        let mut identity = self.next_identity(object)?;
        let mut last_identity = None;
        let mut entries = Vec::new();
        {
            let sql = insertion(object, row_id.is_some());
            let mut insert = self.connection.prepare(&sql).map_err(|error| errors::storage(&error))?;
            for row in rows {
                let mut values: Vec<Option<Typed>> = vec![None; object.columns.len()];
                for (at, typed) in targets.iter().zip(row) {
                    values[*at] = Some(typed);
                }
                let mut stored = Vec::with_capacity(values.len());
                for (column, typed) in object.columns.iter().zip(values) {
                    stored.push(match (typed, column.identity) {
                        (None, Some((_, increment))) => {
                            last_identity = Some(identity);
                            let value = Value::Int(identity);
                            identity += increment;
                            self.stored(object, column, (value, SqlType::BigInt), "INSERT")?
                        }
                        (None, None) if column.column.sql_type == SqlType::RowVersion => {
                            self.next_row_version(plan.transaction)?
                        }
                        (None, None) => {
                            let default = self.default_of(column)?;
                            self.stored(object, column, default, "INSERT")?
                        }
                        (Some(typed), _) => self.stored(object, column, typed, "INSERT")?,
                    });
                }
                self.refuse_locked_keys(object, &plan, &stored)?;
                let given = row_id.map(Stored::Integer);
                if let Err(error) = insert.execute(rusqlite::params_from_iter(stored.iter().chain(&given))) {
                    return Err(self.key_error(&error, object, &stored));
                }
                row_id = row_id.map(|id| id + 1);
                if plan.logs {
                    let row = self.connection.last_insert_rowid();
                    entries.push(Entry { kind: 'I', row, before: None, after: Some(image_of(object, &stored)) });
                }
            }
        }
        self.append(object, &plan, &[], &entries)?;
        if let Some(last) = last_identity {
            self.surroundings.identity = Some(last);
            self.remember_identity(object, last)?;
        }
        let added = i64::try_from(count).unwrap_or(i64::MAX);
        define::count_rows(&self.connection, object.id, added).map_err(|error| self.write_error(&error))?;
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }

    /// Converts a value for its column and puts it into its stored form.
    pub(super) fn stored(
        &self,
        object: &Object,
        column: &CatalogColumn,
        (value, from): Typed,
        statement: &str,
    ) -> Result<Stored, SqlError> {
        let to = column.column.sql_type;
        if matches!(value, Value::Null) {
            if column.column.nullable {
                return Ok(Stored::Null);
            }
            let table = format!("{}.{}", self.surroundings.database, object.full_name());
            return Err(errors::null_insert(&column.column.name, &table, statement));
        }
        match convert::assign(value, from, to)? {
            Ok(value) => store::encode(to, value),
            Err(cut) => {
                let table = format!("{}.{}", self.surroundings.database, object.full_name());
                Err(errors::truncated(&table, &column.column.name, &cut))
            }
        }
    }

    fn next_identity(&self, object: &Object) -> Result<i64, SqlError> {
        let Some(column) = object.columns.iter().find(|column| column.identity.is_some()) else { return Ok(0) };
        let (seed, increment) = column.identity.unwrap_or((1, 1));
        let last: Option<i64> = self
            .connection
            .query_row(
                "SELECT last_value FROM __columns WHERE object_id = ?1 AND column_id = ?2",
                [object.id, column.id],
                |row| row.get(0),
            )
            .map_err(|error| errors::storage(&error))?;
        Ok(last.map_or(seed, |last| last + increment))
    }

    fn remember_identity(&self, object: &Object, last: i64) -> Result<(), SqlError> {
        self.connection
            .execute("UPDATE __columns SET last_value = ?2 WHERE object_id = ?1 AND is_identity", [object.id, last])
            .map(drop)
            .map_err(|error| self.write_error(&error))
    }

    /// What SQL Server says of a key that is there already.
    pub(super) fn key_error(&self, error: &rusqlite::Error, object: &Object, stored: &[Stored]) -> SqlError {
        let is_constraint = error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation);
        if !is_constraint {
            return self.write_error(error);
        }
        let message = error.to_string();
        let key = object.primary_key.as_ref().filter(|(_, columns)| {
            columns.iter().all(|id| {
                let name = format!("{}.c{id}", object.physical());
                message.split([',', ' ']).any(|part| part == name)
            })
        });
        let Some((name, columns)) = key else {
            let text = format!("Cannot insert duplicate key row in object '{}' with unique index.", object.full_name());
            return SqlError::new(2601, text).with_class(14);
        };
        let mut shown = Vec::new();
        for (column, stored) in object.columns.iter().zip(stored) {
            if columns.contains(&column.id) {
                let sql_type = column.column.sql_type;
                let text = SqlType::NVarChar(crate::values::Length::Max);
                let value = store::decode(sql_type, stored.into())
                    .and_then(|value| convert::convert(value, sql_type, text, None));
                shown.push(match value {
                    Ok(Value::Text(text)) => text,
                    _ => "<NULL>".to_owned(),
                });
            }
        }
        errors::duplicate_key(name, &object.full_name(), &shown.join(", "))
    }
}

/// Inserts a whole row; with its row id as the last parameter where that is given.
pub(super) fn insertion(object: &Object, with_row_id: bool) -> String {
    let mut columns: Vec<String> = object.columns.iter().map(|column| format!("c{}", column.id)).collect();
    if with_row_id {
        columns.push("rowid".to_owned());
    }
    let places: Vec<String> = (1..=columns.len()).map(|at| format!("?{at}")).collect();
    format!("INSERT INTO {} ({}) VALUES ({})", object.physical(), columns.join(", "), places.join(", "))
}

fn is_default(expression: &Expr) -> bool {
    matches!(expression, Expr::Identifier(name) if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("DEFAULT"))
}
