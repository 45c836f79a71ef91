//! Change tracking: which keys of a table have changed, by versions given at commit.
//!
//! Sources: "CHANGETABLE", "CHANGE_TRACKING_CURRENT_VERSION", "CHANGE_TRACKING_MIN_VALID_VERSION", "Work with Change
//! Tracking", "Manage Change Tracking", "Enable and Disable Change Tracking", "sys.change_tracking_tables"; versions at commit:
//! Microsoft's archived blog "SQL Server Change Tracking vs min_active_rowversion()".

use rusqlite::{Connection, OptionalExtension, params};

use super::{image, log};

/// Tables of change tracking, created with the catalog.
pub const TABLES: &str = "
CREATE TABLE IF NOT EXISTS __ct_tables(
  object_id INTEGER PRIMARY KEY, tracks_columns INTEGER NOT NULL, begin_version INTEGER NOT NULL, cleanup_version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS __ct_log(
  object_id INTEGER NOT NULL, version INTEGER NOT NULL, seq INTEGER NOT NULL, kind TEXT NOT NULL, key BLOB NOT NULL, mask TEXT);
CREATE INDEX IF NOT EXISTS __ct_log_versions ON __ct_log(object_id, version);
";

/// Whether the database tracks changes.
pub const ENABLED: &str = "ct_enabled";
/// The version of the last transaction that changed a tracked table.
pub const VERSION: &str = "ct_version";
/// How long changes are kept, in units of [`RETENTION_UNIT`].
pub const RETENTION: &str = "ct_retention";
/// 1 minutes, 2 hours, 3 days.
pub const RETENTION_UNIT: &str = "ct_retention_unit";
/// Whether old changes go by themselves; here they go on command.
pub const AUTO_CLEANUP: &str = "ct_auto_cleanup";

/// Whether a table's changes are tracked.
pub fn is_tracked(connection: &Connection, object_id: i64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM __ct_tables WHERE object_id = ?1)")?
        .query_row([object_id], |row| row.get(0))
}

/// Begins to track a table. One that was tracked before gets a version of its own, so that no older version is valid.
pub fn enable(connection: &Connection, object_id: i64, tracks_columns: bool) -> rusqlite::Result<()> {
    let before = format!("ct_before_{object_id}");
    let was_tracked = log::value_of(connection, &before)? != 0;
    let version = if was_tracked { log::next_value(connection, VERSION)? } else { log::value_of(connection, VERSION)? };
    log::set_value(connection, &before, 1)?;
    connection
        .execute("INSERT INTO __ct_tables VALUES (?1, ?2, ?3, 0)", params![object_id, tracks_columns, version])?;
    Ok(())
}

/// Ends to track a table; what was tracked is gone.
pub fn disable(connection: &Connection, object_id: i64) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM __ct_tables WHERE object_id = ?1", [object_id])?;
    connection.execute("DELETE FROM __ct_log WHERE object_id = ?1", [object_id])?;
    Ok(())
}

/// Forgets changes up to a version, of one table or of all.
pub fn clean_up(connection: &Connection, object_id: Option<i64>, version: i64) -> rusqlite::Result<()> {
    connection.execute(
        "DELETE FROM __ct_log WHERE version <= ?2 AND object_id = IFNULL(?1, object_id)",
        params![object_id, version],
    )?;
    connection.execute(
        "UPDATE __ct_tables SET cleanup_version = MAX(cleanup_version, ?2) WHERE object_id = IFNULL(?1, object_id)",
        params![object_id, version],
    )?;
    Ok(())
}

/// Tracks what a transaction has changed: all of it gets one version, now that the transaction commits.
pub fn commit(connection: &Connection, transaction: i64) -> rusqlite::Result<()> {
    let tables: Vec<(i64, bool)> = connection
        .prepare_cached(
            "SELECT DISTINCT t.object_id, t.tracks_columns FROM __log l JOIN __ct_tables t ON t.object_id = l.object_id \
             WHERE l.txn = ?1",
        )?
        .query_map([transaction], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    if tables.is_empty() {
        return Ok(());
    }
    let version = log::next_value(connection, VERSION)?;
    for (object_id, tracks_columns) in tables {
        let since = truncated(connection, transaction, object_id, version)?;
        let table = Table { object_id, version, tracks_columns, key: primary_key(connection, object_id)? };
        table.track(connection, transaction, since)?;
    }
    Ok(())
}

/// Forgets all changes of a table that the transaction has truncated, as if tracking had begun anew. Gives the log's number
/// of the last TRUNCATE; 0 without one.
fn truncated(connection: &Connection, transaction: i64, object_id: i64, version: i64) -> rusqlite::Result<i64> {
    let last: Option<i64> = connection.query_row(
        "SELECT MAX(seq) FROM __log WHERE txn = ?1 AND object_id = ?2 AND kind = 'R'",
        [transaction, object_id],
        |row| row.get(0),
    )?;
    if last.is_some() {
        connection.execute("DELETE FROM __ct_log WHERE object_id = ?1", [object_id])?;
        connection.execute("UPDATE __ct_tables SET begin_version = ?2 WHERE object_id = ?1", [object_id, version])?;
    }
    Ok(last.unwrap_or(0))
}

fn primary_key(connection: &Connection, object_id: i64) -> rusqlite::Result<Vec<i64>> {
    connection
        .prepare_cached(
            "SELECT x.column_id FROM __indexes i JOIN __index_columns x ON x.object_id = i.object_id AND \
             x.index_id = i.index_id WHERE i.object_id = ?1 AND i.is_primary_key ORDER BY x.key_ordinal",
        )?
        .query_map([object_id], |row| row.get(0))?
        .collect()
}

/// A tracked table, at a version.
struct Table {
    object_id: i64,
    version: i64,
    tracks_columns: bool,
    key: Vec<i64>,
}

/// A change out of the log.
struct Change {
    seq: i64,
    statement: i64,
    columns: Option<String>,
    before: Option<Vec<u8>>,
    after: Option<Vec<u8>>,
}

impl Table {
    fn track(&self, connection: &Connection, transaction: i64, since: i64) -> rusqlite::Result<()> {
        let changes: Vec<Change> = connection
            .prepare_cached(
                "SELECT seq, statement, columns, before, after FROM __log \
                 WHERE txn = ?1 AND object_id = ?2 AND seq > ?3 AND kind IN ('I', 'U', 'D') ORDER BY seq",
            )?
            .query_map([transaction, self.object_id, since], |row| {
                let key = |at| row.get::<_, Option<Vec<u8>>>(at).map(|row| row.map(|row| image::part(&row, &self.key)));
                Ok(Change {
                    seq: row.get(0)?,
                    statement: row.get(1)?,
                    columns: row.get(2)?,
                    before: key(3)?,
                    after: key(4)?,
                })
            })?
            .collect::<rusqlite::Result<_>>()?;
        for changes in changes.chunk_by(|a, b| a.statement == b.statement) {
            // A key that one row leaves and another takes was there before and is there after.
            let last = changes.iter().map(|change| change.seq).max().unwrap_or(0);
            for change in changes {
                self.track_change(connection, change, last)?;
            }
        }
        Ok(())
    }

    /// Tracks a change: deletes of a statement come before its inserts.
    fn track_change(&self, connection: &Connection, change: &Change, last: i64) -> rusqlite::Result<()> {
        if let (Some(before), Some(after)) = (&change.before, &change.after)
            && before == after
        {
            let mask = match self.tracks_columns {
                true => self.mask(connection, change.columns.as_deref().unwrap_or_default())?,
                false => None,
            };
            return self.add(connection, change.seq * 2, 'U', after, mask);
        }
        if let Some(before) = &change.before {
            self.add(connection, change.seq * 2, 'D', before, None)?;
        }
        if let Some(after) = &change.after {
            self.add(connection, last * 2 + 1, 'I', after, None)?;
        }
        Ok(())
    }

    fn add(
        &self,
        connection: &Connection,
        seq: i64,
        kind: char,
        key: &[u8],
        mask: Option<String>,
    ) -> rusqlite::Result<()> {
        connection.prepare_cached("INSERT INTO __ct_log VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?.execute(params![
            self.object_id,
            self.version,
            seq,
            kind.to_string(),
            key,
            mask
        ])?;
        Ok(())
    }

    /// The updated columns outside of the key; `None` where those are all columns outside of the key.
    fn mask(&self, connection: &Connection, named: &str) -> rusqlite::Result<Option<String>> {
        let columns: Vec<i64> = connection
            .prepare_cached("SELECT column_id FROM __columns WHERE object_id = ?1 ORDER BY column_id")?
            .query_map([self.object_id], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let named: Vec<i64> = named.split(',').filter_map(|id| id.parse().ok()).collect();
        let outside = columns.iter().filter(|id| !self.key.contains(id));
        let updated: Vec<String> = outside.clone().filter(|id| named.contains(id)).map(i64::to_string).collect();
        Ok((updated.len() < outside.count()).then(|| updated.join(",")))
    }
}

/// `SYS_CHANGE_COLUMNS` of updated columns, given as `2,5,2`.
pub fn column_mask(columns: &str) -> Vec<u8> {
    let mut ids: Vec<i32> = columns.split(',').filter_map(|id| id.parse().ok()).collect();
    ids.sort_unstable();
    ids.dedup();
    std::iter::once(0).chain(ids).flat_map(i32::to_le_bytes).collect()
}

/// Whether a column is in a mask.
pub fn is_in_mask(column: i64, mask: &[u8]) -> bool {
    let (_, ids) = mask.split_at(mask.len().min(4));
    ids.as_chunks::<4>().0.iter().any(|id| i64::from(i32::from_le_bytes(*id)) == column)
}

/// The query of `CHANGETABLE(CHANGES …)`: columns `c1` to `c5`, then those of the key.
pub struct ChangeTable<'a> {
    /// The table.
    pub object_id: i64,
    /// Column ids of its primary key, in key order.
    pub key: &'a [i64],
    /// SQLite expression of the version after which changes are asked for.
    pub since: &'a str,
    /// How doubtful points are decided.
    pub switches: super::Switches,
}

impl ChangeTable<'_> {
    /// In SQLite's language, in parentheses.
    pub fn query(&self) -> String {
        use super::switches::{InsertedAndDeleted, UpdatedKeys};
        const OPERATION: &str = "CASE WHEN g.kinds LIKE '%D' THEN 'D' WHEN g.kinds LIKE 'I%' THEN 'I' ELSE 'U' END";
        let (first, second) = match self.switches.updated_keys {
            UpdatedKeys::One => ("U", None),
            UpdatedKeys::DeleteFirst => ("D", Some("I")),
            UpdatedKeys::InsertFirst => ("I", Some("D")),
        };
        let mut letters = format!("(SELECT 0 AS n, '{first}' AS letter");
        if let Some(second) = second {
            letters.push_str(&format!(" UNION ALL SELECT 1, '{second}'"));
        }
        let hidden = match self.switches.inserted_and_deleted {
            InsertedAndDeleted::Deleted => "",
            InsertedAndDeleted::Nothing => " AND g.kinds NOT LIKE 'I%D'",
        };
        let cells: Vec<String> = (6..).zip(self.key).map(|(at, id)| format!("t_cell(g.key, {id}) AS c{at}")).collect();
        format!(
            "(SELECT g.version AS c1, g.created AS c2, CASE {OPERATION} WHEN 'U' THEN p.letter ELSE {OPERATION} END AS c3, \
             CASE WHEN {OPERATION} = 'U' AND p.letter = 'U' AND g.is_partial THEN t_ct_mask(g.mask) END AS c4, \
             NULL AS c5, {} FROM (SELECT key, MAX(version) AS version, MAX(CASE kind WHEN 'I' THEN version END) AS created, \
             group_concat(kind, '' ORDER BY seq) AS kinds, COUNT(mask) = COUNT(*) AS is_partial, group_concat(mask) AS mask, \
             MAX(seq) AS seq FROM __ct_log WHERE object_id = {} AND version > IFNULL({}, -1) GROUP BY key) AS g \
             JOIN {letters}) AS p ON (p.n = 0 OR {OPERATION} = 'U'){hidden} ORDER BY g.seq, p.n)",
            cells.join(", "),
            self.object_id,
            self.since
        )
    }
}

/// The table's minimum valid version as a SQLite expression; NULL where the table is not tracked.
pub fn min_valid_version(object_id: &str) -> String {
    format!(
        "(SELECT MAX(t.begin_version, t.cleanup_version) FROM __ct_tables t WHERE t.object_id = {object_id} AND {})",
        is_on()
    )
}

/// The database's current version as a SQLite expression; NULL where the database tracks no changes.
pub fn current_version() -> String {
    format!("(SELECT IFNULL((SELECT value FROM __meta WHERE name = '{VERSION}'), 0) WHERE {})", is_on())
}

fn is_on() -> String {
    format!("EXISTS (SELECT 1 FROM __meta WHERE name = '{ENABLED}' AND value = 1)")
}

/// How many tables are tracked.
pub fn tracked_tables(connection: &Connection) -> rusqlite::Result<i64> {
    let count = connection.query_row("SELECT COUNT(*) FROM __ct_tables", [], |row| row.get(0)).optional()?;
    Ok(count.unwrap_or(0))
}
