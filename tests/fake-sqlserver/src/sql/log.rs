//! The log of changes: what open transactions have changed, and what committed ones have left for capture.
//!
//! Each statement that changes rows is a transaction of SQLite of its own, so that several sessions can have transactions
//! open at once. Tables hold the newest rows, also those of open transactions. The log holds what rows were before: readers
//! see that instead, and a rollback puts it back. As SQL Server's version store does, and as its transaction log, which
//! change tracking and change data capture read.
//!
//! An entry is of one of these kinds:
//!
//! | kind | meaning | `before` | `after` |
//! |---|---|---|---|
//! | `I` | a row was inserted | | the row |
//! | `U` | a row was updated | the row | the row |
//! | `D` | a row was deleted | the row | |
//! | `T` | a row was deleted by TRUNCATE | the row | |
//! | `M` | an update moved a row to this row id | | |
//! | `R` | TRUNCATE has emptied the table | | |

use rusqlite::{Connection, OptionalExtension, params};

use super::catalog::Object;

/// Tables of the log, created with the catalog.
pub const TABLES: &str = "
CREATE TABLE IF NOT EXISTS __active(txn INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS __log(
  seq INTEGER PRIMARY KEY, txn INTEGER NOT NULL, object_id INTEGER NOT NULL, row INTEGER NOT NULL, kind TEXT NOT NULL,
  is_first INTEGER NOT NULL, statement INTEGER NOT NULL, columns TEXT, before BLOB, after BLOB);
CREATE INDEX IF NOT EXISTS __log_rows ON __log(object_id, row);
CREATE INDEX IF NOT EXISTS __log_transactions ON __log(txn);
";

/// A row id that no row has: the marker of a TRUNCATE.
pub const NO_ROW: i64 = i64::MIN;

/// One entry to be added.
#[derive(Debug)]
pub struct Entry {
    /// Its kind, see the table above.
    pub kind: char,
    /// The row's id in SQLite before the change; after it for `I` and `M`.
    pub row: i64,
    /// Image of the row before.
    pub before: Option<Vec<u8>>,
    /// Image of the row after.
    pub after: Option<Vec<u8>>,
}

/// The next value of the counter that numbers log entries and commits.
pub fn next_number(connection: &Connection) -> rusqlite::Result<i64> {
    next_value(connection, "log_number")
}

/// Counts up a number of the database's.
pub fn next_value(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(
            "INSERT INTO __meta VALUES (?1, 1) ON CONFLICT(name) DO UPDATE SET value = value + 1 RETURNING value",
        )?
        .query_row([name], |row| row.get(0))
}

/// A number of the database's; 0 where it was never set.
pub fn value_of(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    let found = connection
        .prepare_cached("SELECT value FROM __meta WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    Ok(found.unwrap_or(0))
}

/// Sets a number of the database's.
pub fn set_value(connection: &Connection, name: &str, value: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("INSERT OR REPLACE INTO __meta VALUES (?1, ?2)")?.execute(params![name, value])?;
    Ok(())
}

/// Opens a transaction, where it is not open yet.
pub fn open(connection: &Connection, transaction: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("INSERT OR IGNORE INTO __active VALUES (?1)")?.execute([transaction])?;
    Ok(())
}

/// Adds entries of one statement. `columns` are the ids of the columns that an UPDATE has named.
pub fn append(
    connection: &Connection,
    transaction: i64,
    object_id: i64,
    columns: &[i64],
    entries: &[Entry],
) -> rusqlite::Result<()> {
    let columns: Vec<String> = columns.iter().map(i64::to_string).collect();
    let columns = (!columns.is_empty()).then(|| columns.join(","));
    let mut insert = connection.prepare_cached(
        "INSERT INTO __log(seq, txn, object_id, row, kind, is_first, statement, columns, before, after) VALUES (?1, ?2, ?3, ?4, ?5, \
         NOT EXISTS (SELECT 1 FROM __log WHERE object_id = ?3 AND row = ?4 AND txn = ?2), ?9, ?6, ?7, ?8)",
    )?;
    let mut statement = None;
    for entry in entries {
        let number = next_number(connection)?;
        insert.execute(params![
            number,
            transaction,
            object_id,
            entry.row,
            entry.kind.to_string(),
            columns,
            entry.before,
            entry.after,
            *statement.get_or_insert(number)
        ])?;
    }
    Ok(())
}

/// The condition that an entry `l` is of an open transaction other than this one.
fn of_others(object: &Object, transaction: i64) -> String {
    format!("l.object_id = {} AND l.txn <> {transaction} AND l.txn IN (SELECT txn FROM __active)", object.id)
}

/// Whether open transactions other than this one have changed rows of a table.
pub fn has_others(connection: &Connection, object_id: i64, transaction: i64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM __active a JOIN __log l ON l.txn = a.txn WHERE a.txn <> ?2 AND l.object_id = ?1)",
        )?
        .query_row([object_id, transaction], |row| row.get(0))
}

/// A table's columns out of the images of what rows were before other transactions changed them.
fn columns_before(object: &Object) -> String {
    let cells: Vec<String> =
        object.columns.iter().map(|column| format!("t_cell(l.before, {id}) AS c{id}", id = column.id)).collect();
    cells.join(", ")
}

fn plain_columns(object: &Object) -> String {
    let columns: Vec<String> = object.columns.iter().map(|column| format!("c{}", column.id)).collect();
    columns.join(", ")
}

/// The rows that a reader sees while other transactions are open: theirs as they were before. A query in parentheses.
pub fn committed_rows(object: &Object, transaction: i64) -> String {
    let others = of_others(object, transaction);
    format!(
        "(SELECT {} FROM {} WHERE rowid NOT IN (SELECT l.row FROM __log l WHERE {others}) UNION ALL \
         SELECT {} FROM __log l WHERE {others} AND l.is_first AND l.before IS NOT NULL)",
        plain_columns(object),
        object.physical(),
        columns_before(object)
    )
}

/// The rows that a writer meets while other transactions are open: `row_id`, and `is_locked` for those of others, as they
/// are and as they were. A query in parentheses.
pub fn lockable_rows(object: &Object, transaction: i64) -> String {
    let others = of_others(object, transaction);
    format!(
        "(SELECT rowid AS row_id, rowid IN (SELECT l.row FROM __log l WHERE {others}) AS is_locked, {} FROM {} UNION ALL \
         SELECT l.row, 1, {} FROM __log l WHERE {others} AND l.is_first AND l.before IS NOT NULL)",
        plain_columns(object),
        object.physical(),
        columns_before(object)
    )
}

/// The column that is the row id itself, where the table has one.
pub fn row_id_column(connection: &Connection, object: &Object) -> rusqlite::Result<Option<i64>> {
    let name: Option<String> = connection
        .prepare_cached("SELECT name FROM pragma_table_info(?1) WHERE type = 'INTEGER' AND pk = 1")?
        .query_row([object.physical()], |row| row.get(0))
        .optional()?;
    Ok(name.and_then(|name| name.strip_prefix('c').and_then(|id| id.parse().ok())))
}

/// Undoes what a transaction has changed since an entry; since 0, everything.
pub fn undo(connection: &Connection, transaction: i64, since: i64) -> rusqlite::Result<()> {
    let objects: Vec<i64> = connection
        .prepare(
            "SELECT DISTINCT l.object_id FROM __log l JOIN __objects o ON o.object_id = l.object_id \
             WHERE l.txn = ?1 AND l.seq > ?2",
        )?
        .query_map([transaction, since], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for object_id in objects {
        restore(connection, transaction, since, object_id)?;
    }
    connection.execute("DELETE FROM __log WHERE txn = ?1 AND seq > ?2", [transaction, since])?;
    Ok(())
}

/// Puts the rows of a table back: away with all that were touched, then in with what they were at first.
fn restore(connection: &Connection, transaction: i64, since: i64, object_id: i64) -> rusqlite::Result<()> {
    let columns: Vec<i64> = connection
        .prepare("SELECT column_id FROM __columns WHERE object_id = ?1 ORDER BY column_id")?
        .query_map([object_id], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let has_row_id: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM pragma_table_info(?1) WHERE type = 'INTEGER' AND pk = 1)",
        [format!("t{object_id}")],
        |row| row.get(0),
    )?;
    let touched = format!("object_id = {object_id} AND txn = {transaction} AND seq > {since}");
    let removed = connection
        .execute(&format!("DELETE FROM t{object_id} WHERE rowid IN (SELECT row FROM __log WHERE {touched})"), [])?;
    let mut names: Vec<String> = columns.iter().map(|id| format!("c{id}")).collect();
    let mut cells: Vec<String> = columns.iter().map(|id| format!("t_cell(before, {id})")).collect();
    if !has_row_id {
        names.push("rowid".to_owned());
        cells.push("row".to_owned());
    }
    let restored = connection.execute(
        &format!(
            "INSERT INTO t{object_id}({}) SELECT {} FROM __log WHERE before IS NOT NULL AND seq IN \
             (SELECT MIN(seq) FROM __log WHERE {touched} GROUP BY row)",
            names.join(", "),
            cells.join(", ")
        ),
        [],
    )?;
    let difference = i64::try_from(restored).unwrap_or(0) - i64::try_from(removed).unwrap_or(0);
    super::catalog::define::count_rows(connection, object_id, difference)
}

/// Ends a transaction: its entries that `kept` does not name go.
pub fn end(connection: &Connection, transaction: i64, kept: &[i64]) -> rusqlite::Result<()> {
    let kept: Vec<String> = kept.iter().map(i64::to_string).collect();
    connection.execute(
        &format!("DELETE FROM __log WHERE txn = ?1 AND object_id NOT IN ({})", kept.join(", ")),
        [transaction],
    )?;
    connection.execute("DELETE FROM __active WHERE txn = ?1", [transaction])?;
    Ok(())
}

/// Undoes the transactions that were open when the database was left.
pub fn recover(connection: &Connection) -> rusqlite::Result<()> {
    let left: Vec<i64> = connection
        .prepare("SELECT txn FROM __active")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for transaction in left {
        undo(connection, transaction, 0)?;
        end(connection, transaction, &[])?;
    }
    Ok(())
}
