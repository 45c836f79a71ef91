//! Change data capture: change tables that a scan of the log of changes fills.
//!
//! Sources: "What is change data capture", "Work with Change Data", "Administer and Monitor CDC", "cdc.change_tables",
//! "cdc.lsn_time_mapping", "cdc.<capture_instance>_CT", "sys.sp_cdc_enable_table", "sys.sp_cdc_cleanup_change_table".
//!
//! An LSN is made of a number that counts log entries and commits, so that a commit is above all of its changes.

mod scan;

use rusqlite::{Connection, OptionalExtension, params};

use super::catalog::define;
use super::{log, types};
use crate::values::SqlType;
pub use scan::scan;

/// Tables of change data capture, created with the catalog.
pub const TABLES: &str = "
CREATE TABLE IF NOT EXISTS __cdc_instances(
  object_id INTEGER PRIMARY KEY, source_object_id INTEGER NOT NULL, name TEXT NOT NULL COLLATE CI UNIQUE, start_lsn BLOB,
  enabled_at INTEGER NOT NULL, supports_net_changes INTEGER NOT NULL, has_command_id INTEGER NOT NULL, role_name TEXT,
  index_name TEXT, filegroup_name TEXT, created INTEGER NOT NULL, partition_switch INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS __cdc_columns(
  object_id INTEGER NOT NULL, column_id INTEGER NOT NULL, name TEXT NOT NULL COLLATE CI, declaration TEXT NOT NULL, type_name TEXT NOT NULL,
  ordinal INTEGER NOT NULL, PRIMARY KEY(object_id, ordinal)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS __cdc_index_columns(
  object_id INTEGER NOT NULL, column_id INTEGER NOT NULL, name TEXT NOT NULL, ordinal INTEGER NOT NULL,
  PRIMARY KEY(object_id, ordinal)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS __cdc_commits(number INTEGER PRIMARY KEY, txn INTEGER NOT NULL, begun INTEGER NOT NULL, ended INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS __cdc_times(start_lsn BLOB PRIMARY KEY, begun INTEGER, ended INTEGER, tran_id BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS __cdc_definitions(number INTEGER PRIMARY KEY, source_object_id INTEGER NOT NULL, command TEXT NOT NULL, time INTEGER NOT NULL,
  column_id INTEGER, declaration TEXT);
CREATE TABLE IF NOT EXISTS __cdc_ddl_history(
  source_object_id INTEGER NOT NULL, object_id INTEGER NOT NULL, command TEXT NOT NULL, ddl_lsn BLOB NOT NULL, time INTEGER NOT NULL,
  is_column_update INTEGER NOT NULL);
";

/// Whether the database captures changes.
pub const ENABLED: &str = "cdc_enabled";
/// Columns of a change table before those that are captured.
pub const COLUMNS_BEFORE: i64 = 5;
/// An LSN that is below every other.
pub const LOWEST: [u8; 10] = [0, 0, 0, 0x2a, 0, 0, 0, 0, 0, 1];

/// The LSN of a number of the log.
pub fn lsn(number: i64) -> [u8; 10] {
    lsn_of(number, 1)
}

fn lsn_of(number: i64, slot: u16) -> [u8; 10] {
    let mut lsn = LOWEST;
    lsn[4..8].copy_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes());
    lsn[8..].copy_from_slice(&slot.to_be_bytes());
    lsn
}

/// The next LSN, or the one before: nothing lies between ("sys.fn_cdc_increment_lsn", "sys.fn_cdc_decrement_lsn").
pub fn neighbour(lsn: &[u8], up: bool) -> Vec<u8> {
    let mut bytes = lsn.to_vec();
    bytes.resize(10, 0);
    for byte in bytes.iter_mut().rev() {
        let (next, goes_on) = if up { byte.overflowing_add(1) } else { byte.overflowing_sub(1) };
        *byte = next;
        if !goes_on {
            break;
        }
    }
    bytes
}

/// A capture instance.
#[derive(Debug)]
pub struct Instance {
    /// `object_id` of its change table.
    pub id: i64,
    /// That of the table it captures.
    pub source: i64,
    /// Its low end; none before the first scan.
    pub start_lsn: Option<Vec<u8>>,
    /// The number of the log from which it captures.
    pub enabled_at: i64,
    /// Whether net changes can be asked for.
    pub supports_net_changes: bool,
    /// What it captures, by ordinal.
    pub columns: Vec<Captured>,
    /// Column ids of its unique index, in key order.
    pub key: Vec<i64>,
}

/// A captured column.
#[derive(Debug, Clone)]
pub struct Captured {
    /// `column_id` in the source.
    pub id: i64,
    /// Its name when it was enabled.
    pub name: String,
    /// Its type as declared.
    pub declaration: String,
    /// From 1.
    pub ordinal: i64,
}

impl Captured {
    /// Its type; [`SqlType::SqlVariant`] for one that is not known.
    pub fn sql_type(&self) -> SqlType {
        types::from_declaration(&self.declaration).unwrap_or(SqlType::SqlVariant)
    }

    /// Its name in the change table in SQLite.
    pub fn physical(&self) -> String {
        format!("c{}", COLUMNS_BEFORE + self.ordinal)
    }
}

const INSTANCE: &str =
    "SELECT object_id, source_object_id, start_lsn, enabled_at, supports_net_changes FROM __cdc_instances";

/// A capture instance by its name.
pub fn find(connection: &Connection, name: &str) -> rusqlite::Result<Option<Instance>> {
    let found = connection
        .prepare_cached(&format!("{INSTANCE} WHERE name = ?1"))?
        .query_row([name], read_instance)
        .optional()?;
    found.map(|instance| with_columns(connection, instance)).transpose()
}

/// The capture instances of a table, oldest first.
pub fn of_source(connection: &Connection, source: i64) -> rusqlite::Result<Vec<Instance>> {
    let found: Vec<Instance> = connection
        .prepare_cached(&format!("{INSTANCE} WHERE source_object_id = ?1 ORDER BY enabled_at"))?
        .query_map([source], read_instance)?
        .collect::<rusqlite::Result<_>>()?;
    found.into_iter().map(|instance| with_columns(connection, instance)).collect()
}

fn read_instance(row: &rusqlite::Row<'_>) -> rusqlite::Result<Instance> {
    Ok(Instance {
        id: row.get(0)?,
        source: row.get(1)?,
        start_lsn: row.get(2)?,
        enabled_at: row.get(3)?,
        supports_net_changes: row.get(4)?,
        columns: Vec::new(),
        key: Vec::new(),
    })
}

fn with_columns(connection: &Connection, mut instance: Instance) -> rusqlite::Result<Instance> {
    instance.columns = connection
        .prepare_cached(
            "SELECT column_id, name, declaration, ordinal FROM __cdc_columns WHERE object_id = ?1 ORDER BY ordinal",
        )?
        .query_map([instance.id], |row| {
            Ok(Captured { id: row.get(0)?, name: row.get(1)?, declaration: row.get(2)?, ordinal: row.get(3)? })
        })?
        .collect::<rusqlite::Result<_>>()?;
    instance.key = connection
        .prepare_cached("SELECT column_id FROM __cdc_index_columns WHERE object_id = ?1 ORDER BY ordinal")?
        .query_map([instance.id], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(instance)
}

/// Whether a table has a capture instance.
pub fn is_captured(connection: &Connection, source: i64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM __cdc_instances WHERE source_object_id = ?1)")?
        .query_row([source], |row| row.get(0))
}

/// A transaction commits: what it has changed in captured tables stays in the log until a scan. Gives those tables.
pub fn commit(connection: &Connection, transaction: i64, begun: i64, ended: i64) -> rusqlite::Result<Vec<i64>> {
    let tables: Vec<i64> = connection
        .prepare_cached(
            "SELECT DISTINCT l.object_id FROM __log l JOIN __cdc_instances i ON i.source_object_id = l.object_id \
             WHERE l.txn = ?1 AND l.kind IN ('I', 'U', 'D')",
        )?
        .query_map([transaction], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    if !tables.is_empty() {
        let number = log::next_number(connection)?;
        connection.execute("INSERT INTO __cdc_commits VALUES (?1, ?2, ?3, ?4)", [number, transaction, begun, ended])?;
    }
    Ok(tables)
}

/// A table is defined anew.
#[derive(Debug)]
pub struct Definition {
    /// The table.
    pub source: i64,
    /// The statement.
    pub command: String,
    /// When, as a stored `datetime`.
    pub time: i64,
    /// The id of a column with another type, and that type.
    pub new_type: Option<(i64, SqlType)>,
}

/// A table is defined anew: if it is captured, the scan will tell `cdc.ddl_history`. Gives whether it is.
pub fn note_definition(connection: &Connection, definition: &Definition) -> rusqlite::Result<bool> {
    let is_captured = is_captured(connection, definition.source)?;
    if is_captured {
        let number = log::next_number(connection)?;
        connection.execute(
            "INSERT INTO __cdc_definitions VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                number,
                definition.source,
                definition.command,
                definition.time,
                definition.new_type.map(|(column, _)| column),
                definition.new_type.map(|(_, sql_type)| types::declaration(sql_type)),
            ],
        )?;
    }
    Ok(is_captured)
}

/// What the capture process writes while nothing happens: a row of `cdc.lsn_time_mapping` that stands for no transaction.
pub fn idle(connection: &Connection, time: i64) -> rusqlite::Result<()> {
    let number = log::next_number(connection)?;
    map(connection, &lsn(number), time, time, 0)
}

fn map(connection: &Connection, start_lsn: &[u8], begun: i64, ended: i64, transaction: i64) -> rusqlite::Result<()> {
    let mut tran_id = vec![0, 0];
    tran_id.extend(transaction.to_be_bytes());
    connection.execute("INSERT INTO __cdc_times VALUES (?1, ?2, ?3, ?4)", params![start_lsn, begun, ended, tran_id])?;
    Ok(())
}

/// The highest LSN that a scan has handled.
pub fn max_lsn(connection: &Connection) -> rusqlite::Result<Option<Vec<u8>>> {
    connection.query_row("SELECT MAX(start_lsn) FROM __cdc_times", [], |row| row.get(0))
}

/// Clean-up: the low ends move first, then go the changes below, then the rows of the mapping that nobody needs any more. Of
/// one instance, or of all.
pub fn clean_up(connection: &Connection, instance: Option<i64>, low: &[u8]) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE __cdc_instances SET start_lsn = ?2 WHERE start_lsn < ?2 AND object_id = IFNULL(?1, object_id)",
        params![instance, low],
    )?;
    let instances: Vec<i64> = connection
        .prepare("SELECT object_id FROM __cdc_instances WHERE object_id = IFNULL(?1, object_id)")?
        .query_map([instance], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for id in instances {
        let removed = connection.execute(&format!("DELETE FROM t{id} WHERE c1 < ?1"), [low])?;
        define::count_rows(connection, id, -i64::try_from(removed).unwrap_or(0))?;
    }
    connection.execute("DELETE FROM __cdc_times WHERE start_lsn < (SELECT MIN(start_lsn) FROM __cdc_instances)", [])?;
    Ok(())
}

/// Drops a capture instance: its change table, its changes, all that was known of it.
pub fn disable(connection: &Connection, instance: i64) -> rusqlite::Result<()> {
    connection.execute_batch(&format!("DROP TABLE t{instance}"))?;
    for table in ["__cdc_instances", "__cdc_columns", "__cdc_index_columns", "__cdc_ddl_history"] {
        connection.execute(&format!("DELETE FROM {table} WHERE object_id = ?1"), [instance])?;
    }
    define::remove_object(connection, instance)
}
