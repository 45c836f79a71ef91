//! What all sessions of an engine share: where the data lies, what may not be read, what tests ask to go wrong.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

use super::hooks::{Hook, Hooks, Interruption, Moment};
use super::switches::Switches;
use super::{SqlEngine, SqlEngineOptions, errors};
use crate::fast::FastTable;
use crate::values::SqlError;

/// Statements that are remembered.
const MAX_RECORDS: usize = 10_000;

/// A batch that ran, as tests want to see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementRecord {
    /// The text as sent.
    pub text: String,
    /// Its parameters with their types: `@P1 datetime2(7)`.
    pub parameters: Vec<String>,
    /// What its OPTION clauses said: `MAXDOP 4`.
    pub options: Vec<String>,
    /// The session's isolation level.
    pub isolation: &'static str,
    /// `@@SPID`
    pub process: i64,
}

/// What a fault does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The statement ends with an error, 1205 for instance.
    Error(SqlError),
    /// The server is silent for a while.
    Pause(Duration),
    /// The server is silent for a while, then closes the connection in the middle of its answer.
    Cut(Duration),
}

/// Something to go wrong in SELECTs of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// `schema.name`; any table when empty.
    pub table: String,
    /// Rows that come before; a shorter result fails at its end.
    pub after_rows: u64,
    /// What happens.
    pub effect: Effect,
    /// In how many statements.
    pub times: u32,
}

/// The state behind an engine and its sessions.
#[derive(Debug)]
pub struct Shared {
    /// Name of the database.
    pub database: String,
    /// Name of the server.
    pub server: String,
    /// The SQLite file.
    pub file: PathBuf,
    /// Generated tables, in the order the catalog numbers them.
    pub fast_tables: Vec<Arc<FastTable>>,
    /// Kept for its end: a database without a file of its own lies in it.
    pub _directory: Option<TempDir>,
    /// Databases that `CREATE DATABASE` made, by their names in lower case. Only the first one has others beside it.
    others: Option<Mutex<BTreeMap<String, SqlEngine>>>,
    state: Mutex<State>,
    next_process: AtomicI64,
    /// Whether there is a hook or an interruption: without, statements are not printed for them.
    is_watched: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    denied: BTreeSet<String>,
    faults: Vec<Fault>,
    records: VecDeque<StatementRecord>,
    hooks: Hooks,
    interruptions: Vec<Interruption>,
    switches: Switches,
    row_versions: RowVersions,
    definitions: Definitions,
}

/// The database's row versions: a counter that no rollback turns back.
///
/// Source: "rowversion (Transact-SQL)", "@@DBTS", "MIN_ACTIVE_ROWVERSION".
#[derive(Debug, Default)]
struct RowVersions {
    last: i64,
    /// The first one of each open transaction.
    active: BTreeMap<i64, i64>,
}

/// Which tables were defined anew, and when: definitions are counted.
#[derive(Debug, Default)]
struct Definitions {
    count: u64,
    of: BTreeMap<i64, u64>,
}

impl Shared {
    pub(super) fn new(
        database: String,
        server: String,
        file: PathBuf,
        directory: Option<TempDir>,
        fast_tables: Vec<Arc<FastTable>>,
        is_first: bool,
    ) -> Self {
        Self {
            others: is_first.then(Mutex::default),
            database,
            server,
            file,
            fast_tables,
            _directory: directory,
            state: Mutex::default(),
            next_process: AtomicI64::new(51),
            is_watched: AtomicBool::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing here is left half done by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn others(&self) -> Result<MutexGuard<'_, BTreeMap<String, SqlEngine>>, SqlError> {
        let others = self.others.as_ref().ok_or_else(|| errors::create_database_denied(&self.database))?;
        Ok(others.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Makes a database beside this one, with a temporary file of its own.
    ///
    /// # Errors
    ///
    /// 1801 when there is one of this name, 262 in a database that was made so itself.
    pub fn create_database(&self, name: &str) -> Result<(), SqlError> {
        let mut others = self.others()?;
        let key = name.to_lowercase();
        if key == self.database.to_lowercase() || key == "master" || others.contains_key(&key) {
            return Err(errors::database_exists(name));
        }
        let options =
            SqlEngineOptions { database: name.to_owned(), server: self.server.clone(), ..SqlEngineOptions::default() };
        let engine = SqlEngine::open_other(options).map_err(|error| errors::no_storage(&error))?;
        others.insert(key, engine);
        Ok(())
    }

    /// Drops a database made by [`Self::create_database`]; sessions in it go on until they end.
    ///
    /// # Errors
    ///
    /// 3701 when there is none.
    pub fn drop_database(&self, name: &str) -> Result<(), SqlError> {
        let dropped = self.others()?.remove(&name.to_lowercase());
        dropped.map(drop).ok_or_else(|| errors::cannot_drop("database", name))
    }

    /// A database made by [`Self::create_database`].
    pub fn other_database(&self, name: &str) -> Option<SqlEngine> {
        self.others().ok()?.get(&name.to_lowercase()).cloned()
    }

    /// A process id for a new session; those up to 50 are the system's.
    pub fn next_process(&self) -> i64 {
        self.next_process.fetch_add(1, Ordering::Relaxed)
    }

    /// Forbids or allows SELECT on `schema.name`.
    pub fn set_denied(&self, name: &str, denied: bool) {
        let name = name.to_lowercase();
        let mut state = self.state();
        if denied {
            state.denied.insert(name);
        } else {
            state.denied.remove(&name);
        }
    }

    /// What may not be read.
    pub fn denied(&self) -> BTreeSet<String> {
        self.state().denied.clone()
    }

    /// Adds a fault.
    pub fn add_fault(&self, fault: Fault) {
        self.state().faults.push(Fault { table: fault.table.to_lowercase(), ..fault });
    }

    /// The fault that a statement over these tables meets, counted down.
    pub fn take_fault(&self, tables: &BTreeSet<String>) -> Option<Fault> {
        let mut state = self.state();
        let at = state
            .faults
            .iter()
            .position(|fault| fault.times > 0 && (fault.table.is_empty() || tables.contains(&fault.table)))?;
        state.faults[at].times -= 1;
        let fault = state.faults[at].clone();
        if fault.times == 0 {
            state.faults.remove(at);
        }
        Some(fault)
    }

    /// Remembers a batch.
    pub fn record(&self, record: StatementRecord) {
        let mut state = self.state();
        if state.records.len() == MAX_RECORDS {
            state.records.pop_front();
        }
        state.records.push_back(record);
    }

    /// The batches that ran so far, oldest first, and forgets them.
    pub fn take_records(&self) -> Vec<StatementRecord> {
        self.state().records.drain(..).collect()
    }

    /// The switches as they are.
    pub fn switches(&self) -> Switches {
        self.state().switches
    }

    /// Changes switches.
    pub fn set_switches(&self, change: impl FnOnce(&mut Switches)) {
        change(&mut self.state().switches);
    }

    /// Sets the hook, or takes it away.
    pub fn set_hook(&self, hook: Option<Hook>) {
        let mut state = self.state();
        state.hooks = Hooks(hook);
        self.watch(&state);
    }

    /// Adds an interruption.
    pub fn add_interruption(&self, interruption: Interruption) {
        let mut state = self.state();
        state.interruptions.push(interruption);
        self.watch(&state);
    }

    fn watch(&self, state: &State) {
        self.is_watched.store(state.hooks.0.is_some() || !state.interruptions.is_empty(), Ordering::Release);
    }

    /// Whether anybody wants to know where clients are.
    pub fn is_watched(&self) -> bool {
        self.is_watched.load(Ordering::Acquire)
    }

    /// The hook, and the scripts whose moment this is, counted down.
    pub fn at(&self, moment: &Moment<'_>) -> (Option<Hook>, Vec<String>) {
        let mut state = self.state();
        let mut scripts = Vec::new();
        for interruption in &mut state.interruptions {
            if interruption.is_at(moment) {
                interruption.times -= 1;
                scripts.push(interruption.script.clone());
            }
        }
        state.interruptions.retain(|interruption| interruption.times > 0);
        self.watch(&state);
        (state.hooks.0.clone(), scripts)
    }

    /// The next row version, for a transaction.
    pub fn next_row_version(&self, transaction: i64) -> i64 {
        let versions = &mut self.state().row_versions;
        versions.last += 1;
        versions.active.entry(transaction).or_insert(versions.last);
        versions.last
    }

    /// The transaction has ended: its row versions are no longer active.
    pub fn end_row_versions(&self, transaction: i64) {
        self.state().row_versions.active.remove(&transaction);
    }

    /// The last row version that was used, `@@DBTS`.
    pub fn last_row_version(&self) -> i64 {
        self.state().row_versions.last
    }

    /// The lowest row version of an open transaction, else the next one to be used: `MIN_ACTIVE_ROWVERSION()`.
    pub fn min_active_row_version(&self) -> i64 {
        let versions = &self.state().row_versions;
        versions.active.values().min().copied().unwrap_or(versions.last + 1)
    }

    /// Sets the counter, forward or back as after a restore.
    pub fn set_last_row_version(&self, last: i64) {
        self.state().row_versions.last = last;
    }

    /// A table was defined anew.
    pub fn defined(&self, object_id: i64) {
        let definitions = &mut self.state().definitions;
        definitions.count += 1;
        definitions.of.insert(object_id, definitions.count);
    }

    /// How many definitions there were so far.
    pub fn definitions(&self) -> u64 {
        self.state().definitions.count
    }

    /// Whether a table was defined anew after the first `count` definitions.
    pub fn is_defined_since(&self, object_id: i64, count: u64) -> bool {
        self.state().definitions.of.get(&object_id).is_some_and(|at| *at > count)
    }
}
