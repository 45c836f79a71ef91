//! The engine itself: opening, sessions, scripts, and what tests turn.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use super::bind::{Surroundings, TRACKING_DENIED};
use super::catalog::{self, Access, CatalogColumn, Object, ObjectKind, define};
use super::hooks::{Hook, Interruption};
use super::isolation::Isolation;
use super::session::SqlSession;
use super::shared::{Fault, Shared, StatementRecord};
use super::switches::Switches;
use super::{capture, collate, convert, errors, fast, functions, log, parse, store, tracking};
use crate::engine::{Engine, Event, Login, Request, Session};
use crate::fast::FastTable;
use crate::values::{Column, SqlError, Value};

/// How long a writer waits for another.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// The database's number that keeps its last row version.
pub(super) const ROW_VERSION: &str = "rowversion_number";
/// The first row version of a new database is 0x7D1, as that of a real one.
const FIRST_ROW_VERSION: i64 = 2001;

/// What an engine is opened with.
#[derive(Debug, Clone)]
pub struct SqlEngineOptions {
    /// Name of its database; others are made beside it by CREATE DATABASE, and go with the engine.
    pub database: String,
    /// What `@@SERVERNAME` answers.
    pub server: String,
    /// The SQLite file; without one the data lies in a temporary file and goes with the engine.
    pub file: Option<PathBuf>,
    /// Generated tables, shown in the catalog beside the stored ones.
    pub fast_tables: Vec<Arc<FastTable>>,
}

impl Default for SqlEngineOptions {
    fn default() -> Self {
        Self { database: "erp".to_owned(), server: "FAKESQL".to_owned(), file: None, fast_tables: Vec::new() }
    }
}

/// Why an engine cannot be opened or filled.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// SQLite refused the file.
    #[error("cannot open the fake SQL Server's storage: {0}")]
    Storage(#[from] rusqlite::Error),
    /// No temporary directory.
    #[error("cannot create a temporary directory: {0}")]
    Directory(#[from] std::io::Error),
    /// T-SQL that was to define or fill the database failed.
    #[error("{0}")]
    Sql(#[from] SqlError),
}

/// A whole result, for tests.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ResultSet {
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows.
    pub rows: Vec<Vec<Value>>,
}

/// T-SQL over SQLite. Clones share the data.
#[derive(Debug, Clone)]
pub struct SqlEngine {
    shared: Arc<Shared>,
}

impl SqlEngine {
    /// Opens an engine, and creates its catalog where there is none.
    ///
    /// # Errors
    ///
    /// [`OpenError`] when the storage cannot be opened.
    pub fn open(options: SqlEngineOptions) -> Result<Self, OpenError> {
        Self::open_as(options, true)
    }

    /// The same for a database beside the first.
    pub(super) fn open_other(options: SqlEngineOptions) -> Result<Self, OpenError> {
        Self::open_as(options, false)
    }

    /// The engine of what sessions share.
    pub(super) fn of(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn open_as(options: SqlEngineOptions, is_first: bool) -> Result<Self, OpenError> {
        let (file, directory) = match options.file {
            Some(file) => (file, None),
            None => {
                let directory = tempfile::Builder::new().prefix("fake-sqlserver-").tempdir()?;
                (directory.path().join("fake-sqlserver.sqlite"), Some(directory))
            }
        };
        let shared = Shared::new(options.database, options.server, file, directory, options.fast_tables, is_first);
        let engine = Self { shared: Arc::new(shared) };
        let connection = engine.connect()?;
        connection.execute_batch("PRAGMA journal_mode = WAL")?;
        let transaction = connection.unchecked_transaction()?;
        catalog::create(&connection, &engine.shared.database)?;
        log::recover(&connection)?;
        let last = log::value_of(&connection, ROW_VERSION)?;
        engine.shared.set_last_row_version(last.max(FIRST_ROW_VERSION - 1));
        engine.show_fast_tables(&connection)?;
        transaction.commit()?;
        Ok(engine)
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let connection = Connection::open(&self.shared.file)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.execute_batch(
            "PRAGMA synchronous = OFF; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -32000; PRAGMA mmap_size = 268435456",
        )?;
        // T-SQL names are never SQLite's: what is in double quotes must not become a text.
        connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
        functions::register(&connection)?;
        fast::register(&connection, &self.shared.fast_tables)?;
        Ok(connection)
    }

    /// Puts the generated tables of this engine into the catalog, in place of those of an earlier one.
    fn show_fast_tables(&self, connection: &Connection) -> Result<(), OpenError> {
        let old: Vec<i64> = connection
            .prepare("SELECT object_id FROM __objects WHERE fast IS NOT NULL")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for id in old {
            define::remove_object(connection, id)?;
        }
        for (at, table) in self.shared.fast_tables.iter().enumerate() {
            if catalog::schema_id(connection, &table.schema)?.is_none() {
                define::add_schema(connection, &table.schema)?;
            }
            let schema_id = catalog::schema_id(connection, &table.schema)?.unwrap_or(1);
            let columns = (1..)
                .zip(&table.columns)
                .map(|(id, column)| CatalogColumn {
                    id,
                    column: column.clone(),
                    default: None,
                    identity: None,
                    access: Access::Open,
                })
                .collect();
            let object = Object {
                id: define::next_object_id(connection)?,
                schema: table.schema.clone(),
                name: table.name.clone(),
                kind: ObjectKind::Fast(at),
                columns,
                primary_key: None,
            };
            define::add_object(connection, schema_id, &object, "U ", None, 0)?;
            match table.key_column().and_then(|at| object.columns.get(at)) {
                Some(key) => define::add_index(
                    connection,
                    object.id,
                    &define::NewIndex {
                        name: format!("PK_{}", table.name),
                        columns: vec![(key.id, false)],
                        is_primary_key: true,
                        is_unique: true,
                        is_constraint: true,
                    },
                )?,
                None => define::add_heap(connection, object.id)?,
            }
            define::count_rows(connection, object.id, i64::try_from(table.rows).unwrap_or(i64::MAX))?;
        }
        Ok(())
    }

    /// A session, with the type behind the trait.
    ///
    /// # Errors
    ///
    /// 4060 for a database there is not.
    pub fn sql_session(&self, login: &Login) -> Result<SqlSession, SqlError> {
        let here = [&self.shared.database, "master", ""].iter().any(|name| collate::same(name, &login.database));
        if !here {
            return match self.shared.other_database(&login.database) {
                Some(other) => other.sql_session(login),
                None => Err(errors::cannot_open_database(&login.database)),
            };
        }
        let connection = self.connect().map_err(|error| errors::storage(&error))?;
        let surroundings = Surroundings {
            database: self.shared.database.clone(),
            server: self.shared.server.clone(),
            user: if login.user.is_empty() { "sa".to_owned() } else { login.user.clone() },
            application: login.application.clone(),
            host: login.host.clone(),
            process: self.shared.next_process(),
            row_count: 0,
            error: 0,
            transactions: 0,
            identity: None,
            lock_timeout: -1,
            now: super::session::now(),
            denied: self.shared.denied(),
            isolation: Isolation::default(),
            transaction: 0,
            started: None,
            accessed: Cell::new(false),
            table_variables: Vec::new(),
            shared: Arc::clone(&self.shared),
        };
        Ok(SqlSession::new(Arc::clone(&self.shared), connection, surroundings))
    }

    /// Runs T-SQL, split at lines that say GO, and gathers every result.
    ///
    /// # Errors
    ///
    /// The first error of the script; what ran before it stays.
    pub fn run_script(&self, script: &str) -> Result<Vec<ResultSet>, SqlError> {
        let mut session = self.sql_session(&Login::default())?;
        let mut results = Vec::new();
        for text in parse::split_script(script) {
            let mut failure = None;
            session.execute(Request::Batch { text }, &mut |event| {
                match event {
                    Event::Columns(columns) => {
                        results.push(ResultSet { columns: columns.to_vec(), rows: Vec::new() });
                    }
                    Event::Row(row) => {
                        if let Some(result) = results.last_mut() {
                            result.rows.push(row);
                        }
                    }
                    Event::FastRows { table, columns, rows } => {
                        if let Some(result) = results.last_mut() {
                            let values = |row| columns.iter().map(|at| table.value(row, *at)).collect();
                            result.rows.extend(rows.map(values));
                        }
                    }
                    Event::Error(error) => {
                        failure = Some(error);
                        return ControlFlow::Break(());
                    }
                    _ => {}
                }
                ControlFlow::Continue(())
            });
            if let Some(error) = failure {
                return Err(error);
            }
        }
        Ok(results)
    }

    /// Adds rows to a table, values of the columns' own types in ordinal order, without T-SQL between.
    ///
    /// # Errors
    ///
    /// 208 for a table there is not, 8114 and others for values that do not fit.
    pub fn load_rows(
        &self,
        schema: &str,
        table: &str,
        rows: impl IntoIterator<Item = Vec<Value>>,
    ) -> Result<u64, SqlError> {
        let storage = |error: rusqlite::Error| errors::storage(&error);
        let connection = self.connect().map_err(storage)?;
        let object = catalog::find(&connection, Some(schema), table)
            .map_err(storage)?
            .filter(|object| matches!(object.kind, ObjectKind::Table))
            .ok_or_else(|| errors::invalid_object(&format!("{schema}.{table}")))?;
        if tracking::is_tracked(&connection, object.id).map_err(storage)?
            || capture::is_captured(&connection, object.id).map_err(storage)?
        {
            return Err(errors::unsupported("loading rows into a tracked table"));
        }
        let places: Vec<String> = (1..=object.columns.len()).map(|at| format!("?{at}")).collect();
        let transaction = connection.unchecked_transaction().map_err(storage)?;
        let mut count = 0_u64;
        {
            let sql = format!("INSERT INTO {} VALUES ({})", object.physical(), places.join(", "));
            let mut insert = connection.prepare(&sql).map_err(storage)?;
            for row in rows {
                if row.len() != object.columns.len() {
                    return Err(errors::value_count());
                }
                for ((at, value), column) in (1..).zip(row).zip(&object.columns) {
                    let sql_type = column.column.sql_type;
                    if matches!(value, Value::Null) && !column.column.nullable {
                        return Err(errors::null_insert(&column.column.name, &object.full_name(), "INSERT"));
                    }
                    let stored = store::encode(sql_type, convert::refit(value, sql_type))?;
                    insert.raw_bind_parameter(at, stored).map_err(storage)?;
                }
                insert.raw_execute().map_err(storage)?;
                count += 1;
            }
        }
        define::count_rows(&connection, object.id, i64::try_from(count).unwrap_or(i64::MAX)).map_err(storage)?;
        transaction.commit().map_err(storage)?;
        Ok(count)
    }

    /// Forbids SELECT on `schema.name` (error 229), or allows it again.
    pub fn set_denied(&self, name: &str, denied: bool) {
        self.shared.set_denied(name, denied);
    }

    /// Forbids VIEW CHANGE TRACKING on `schema.name` (error 229), or allows it again.
    pub fn set_tracking_denied(&self, name: &str, denied: bool) {
        self.shared.set_denied(&format!("{TRACKING_DENIED}{name}"), denied);
    }

    /// Says of a column what no statement here can: the value of a column of `sys.columns` (`is_masked`, `is_hidden`,
    /// `is_column_set`, `generated_always_type`, `encryption_type`, `graph_type`), or a permission: with `granted` on some
    /// columns the others may not be read, with `denied` this one may not.
    ///
    /// # Errors
    ///
    /// 208 and 207 for a table or column that is not there.
    pub fn set_column_fact(&self, table: &str, column: &str, fact: &str, value: i64) -> Result<(), SqlError> {
        let storage = |error: rusqlite::Error| errors::storage(&error);
        let connection = self.connect().map_err(storage)?;
        let object = find(&connection, table)?;
        match catalog::set_fact(&connection, &object, column, fact, value).map_err(storage)? {
            true => Ok(()),
            false => Err(errors::invalid_column(column)),
        }
    }

    /// Makes SELECTs of a table go wrong.
    pub fn add_fault(&self, fault: Fault) {
        self.shared.add_fault(fault);
    }

    /// Has a closure called before and after every statement of every session, and around every row; `None` ends that. A
    /// session that the closure itself uses calls nobody.
    pub fn set_hook(&self, hook: Option<Hook>) {
        self.shared.set_hook(hook);
    }

    /// Has a script run at a moment of a client's work.
    pub fn add_interruption(&self, interruption: Interruption) {
        self.shared.add_interruption(interruption);
    }

    /// The switches as they are.
    pub fn switches(&self) -> Switches {
        self.shared.switches()
    }

    /// Changes switches.
    pub fn set_switches(&self, change: impl FnOnce(&mut Switches)) {
        self.shared.set_switches(change);
    }

    /// Sets the database's last row version, forward or, as after a restore, back.
    ///
    /// # Errors
    ///
    /// The storage failed.
    pub fn set_last_row_version(&self, last: i64) -> Result<(), SqlError> {
        let storage = |error: rusqlite::Error| errors::storage(&error);
        log::set_value(&self.connect().map_err(storage)?, ROW_VERSION, last).map_err(storage)?;
        self.shared.set_last_row_version(last);
        Ok(())
    }

    /// Forgets tracked changes up to a version, as the clean-up does with old ones: of one table (`schema.name`), or of all.
    ///
    /// # Errors
    ///
    /// 208 for a table there is not.
    pub fn clean_change_tracking(&self, table: Option<&str>, version: i64) -> Result<(), SqlError> {
        let storage = |error: rusqlite::Error| errors::storage(&error);
        let connection = self.connect().map_err(storage)?;
        let object = table.map(|table| find(&connection, table)).transpose()?.map(|object| object.id);
        tracking::clean_up(&connection, object, version).map_err(storage)
    }

    /// Sets the current version of change tracking, forward or, as after a restore, back.
    ///
    /// # Errors
    ///
    /// The storage failed.
    pub fn set_change_tracking_version(&self, version: i64) -> Result<(), SqlError> {
        let connection = self.connect().map_err(|error| errors::storage(&error))?;
        log::set_value(&connection, tracking::VERSION, version).map_err(|error| errors::storage(&error))
    }

    /// The batches that ran since the last call, oldest first.
    pub fn take_records(&self) -> Vec<StatementRecord> {
        self.shared.take_records()
    }

    /// Name of the database.
    pub fn database(&self) -> &str {
        &self.shared.database
    }
}

/// An object by `schema.name`.
fn find(connection: &Connection, name: &str) -> Result<Object, SqlError> {
    let (schema, table) = name.split_once('.').unwrap_or(("dbo", name));
    let object = catalog::find(connection, Some(schema), table).map_err(|error| errors::storage(&error))?;
    object.ok_or_else(|| errors::invalid_object(name))
}

impl Engine for SqlEngine {
    fn session(&self, login: &Login) -> Result<Box<dyn Session>, SqlError> {
        Ok(Box::new(self.sql_session(login)?))
    }
}
