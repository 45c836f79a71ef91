//! What a change of rows has to mind: rows of other open transactions, and the log.

use rusqlite::types::Value as Stored;

use super::SqlSession;
use crate::sql::catalog::Object;
use crate::sql::log::{self, Entry};
use crate::sql::{capture, collate, errors, image, tracking, types};
use crate::values::{SqlError, SqlType};

/// The alias of the changed table in SQLite.
pub(super) const TARGET: &str = "target";

/// How the rows of a table are changed.
pub(super) struct Plan {
    /// Number of the transaction; 0 where nothing needs one.
    pub(super) transaction: i64,
    /// Whether changes go to the log: for a rollback, or because the table is tracked.
    pub(super) logs: bool,
    /// Whether other open transactions have changed rows of the table.
    pub(super) has_others: bool,
    /// The column that is the row id itself.
    pub(super) row_id_column: Option<i64>,
    /// Column ids of each unique key.
    pub(super) keys: Vec<Vec<i64>>,
}

impl Plan {
    /// What the rows are read from, before they are changed.
    pub(super) fn source(&self, object: &Object) -> String {
        match self.has_others {
            true => format!("{} AS {TARGET}", log::lockable_rows(object, self.transaction)),
            false => format!("{} AS {TARGET}", object.physical()),
        }
    }

    /// The row's id, and whether it is locked.
    pub(super) fn row(&self) -> String {
        match self.has_others {
            true => format!("{TARGET}.row_id, {TARGET}.is_locked"),
            false => format!("{TARGET}.rowid, 0"),
        }
    }
}

impl SqlSession {
    /// Plans a change of a table.
    pub(super) fn plan(&mut self, object: &Object) -> Result<Plan, SqlError> {
        let storage = |error: rusqlite::Error| errors::storage(&error);
        let is_tracked = self.is_tracked(object.id).map_err(storage)?;
        let logs = self.surroundings.transactions > 0 || is_tracked;
        let has_versions = object.columns.iter().any(|column| column.column.sql_type == SqlType::RowVersion);
        let transaction = if logs || has_versions { self.transaction_number()? } else { self.surroundings.transaction };
        if logs {
            log::open(&self.connection, transaction).map_err(|error| self.write_error(&error))?;
        }
        Ok(Plan {
            transaction,
            logs,
            has_others: log::has_others(&self.connection, object.id, transaction).map_err(storage)?,
            row_id_column: log::row_id_column(&self.connection, object).map_err(storage)?,
            keys: self.unique_keys(object.id).map_err(storage)?,
        })
    }

    /// Whether something follows the table's changes.
    fn is_tracked(&self, object_id: i64) -> rusqlite::Result<bool> {
        Ok(tracking::is_tracked(&self.connection, object_id)? || capture::is_captured(&self.connection, object_id)?)
    }

    fn unique_keys(&self, object_id: i64) -> rusqlite::Result<Vec<Vec<i64>>> {
        let mut columns = self.connection.prepare_cached(
            "SELECT x.index_id, x.column_id FROM __indexes i JOIN __index_columns x ON x.object_id = i.object_id AND \
             x.index_id = i.index_id WHERE i.object_id = ?1 AND i.is_unique ORDER BY x.index_id, x.key_ordinal",
        )?;
        let mut rows = columns.query([object_id])?;
        let mut keys: Vec<Vec<i64>> = Vec::new();
        let mut last = None;
        while let Some(row) = rows.next()? {
            let (index, column): (i64, i64) = (row.get(0)?, row.get(1)?);
            if last != Some(index) {
                keys.push(Vec::new());
            }
            last = Some(index);
            if let Some(key) = keys.last_mut() {
                key.push(column);
            }
        }
        Ok(keys)
    }

    /// A row that is to be written may not have a key that a row of another open transaction has or had.
    pub(super) fn refuse_locked_keys(&self, object: &Object, plan: &Plan, row: &[Stored]) -> Result<(), SqlError> {
        if !plan.has_others {
            return Ok(());
        }
        for key in &plan.keys {
            let mut tests = vec![format!("{TARGET}.is_locked")];
            let mut values = Vec::new();
            for (column, value) in object.columns.iter().zip(row).filter(|(column, _)| key.contains(&column.id)) {
                let collation = match types::is_text(column.column.sql_type) {
                    true => format!(" COLLATE {}", collate::NAME),
                    false => String::new(),
                };
                values.push(value);
                tests.push(format!("{TARGET}.c{}{collation} IS ?{}", column.id, values.len()));
            }
            let sql = format!("SELECT EXISTS (SELECT 1 FROM {} WHERE {})", plan.source(object), tests.join(" AND "));
            let is_locked: bool = self
                .connection
                .query_row(&sql, rusqlite::params_from_iter(values), |row| row.get(0))
                .map_err(|error| errors::storage(&error))?;
            if is_locked {
                return Err(errors::locked());
            }
        }
        Ok(())
    }

    /// A row id for an inserted row, where SQLite might take one that another transaction has freed; `None`: as SQLite likes.
    pub(super) fn free_row_id(&self, object: &Object, plan: &Plan) -> Result<Option<i64>, SqlError> {
        if !plan.has_others || plan.row_id_column.is_some() {
            return Ok(None);
        }
        let sql = format!(
            "SELECT 1 + MAX(IFNULL((SELECT MAX(rowid) FROM {}), 0), \
             IFNULL((SELECT MAX(row) FROM __log WHERE object_id = {}), 0))",
            object.physical(),
            object.id
        );
        self.connection.query_row(&sql, [], |row| row.get(0)).map(Some).map_err(|error| errors::storage(&error))
    }

    /// Adds entries to the log. `columns` are those that an UPDATE has named.
    pub(super) fn append(
        &self,
        object: &Object,
        plan: &Plan,
        columns: &[i64],
        entries: &[Entry],
    ) -> Result<(), SqlError> {
        if !plan.logs {
            return Ok(());
        }
        log::append(&self.connection, plan.transaction, object.id, columns, entries)
            .map_err(|error| self.write_error(&error))
    }

    /// The next value of the database's row version.
    pub(super) fn next_row_version(&self, transaction: i64) -> Result<Stored, SqlError> {
        let next = self.shared.next_row_version(transaction);
        log::set_value(&self.connection, crate::sql::engine::ROW_VERSION, next)
            .map_err(|error| self.write_error(&error))?;
        Ok(Stored::Blob(next.to_be_bytes().to_vec()))
    }
}

/// The image of a whole row.
pub(super) fn image_of(object: &Object, row: &[Stored]) -> Vec<u8> {
    image::encode(object.columns.iter().map(|column| column.id).zip(row))
}
