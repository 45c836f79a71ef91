//! The scan of the log: from committed changes to rows of change tables.

use rusqlite::types::Value as Stored;
use rusqlite::{Connection, params, params_from_iter};

use super::{Captured, Definition, Instance, of_source};
use crate::sql::catalog::define;
use crate::sql::switches::{DeletedValues, KeyUpdates, Seqval, Switches};
use crate::sql::{image, types};
use crate::values::{Length, SqlType};

const DELETE: i64 = 1;
const INSERT: i64 = 2;
const UPDATE_BEFORE: i64 = 3;
const UPDATE_AFTER: i64 = 4;

/// Changes that share a place in the log: one row, or the two of an update.
struct Step {
    source: i64,
    seqval: i64,
    rows: Vec<Change>,
}

struct Change {
    operation: i64,
    image: Vec<u8>,
    other: Option<Vec<u8>>,
}

/// An entry of the log.
struct Entry {
    source: i64,
    statement: i64,
    before: Option<Vec<u8>>,
    after: Option<Vec<u8>>,
}

/// What stands in the log for the scan.
enum Item {
    Commit { transaction: i64, begun: i64, ended: i64 },
    Definition(Definition),
}

/// Handles all that was committed or defined since the last scan, in that order.
pub fn scan(connection: &Connection, switches: Switches) -> rusqlite::Result<()> {
    establish(connection)?;
    let mut items = commits(connection)?;
    items.extend(definitions(connection)?);
    items.sort_by_key(|(number, _)| *number);
    for (number, item) in items {
        match item {
            Item::Commit { transaction, begun, ended } => {
                if capture(connection, number, transaction, switches)? {
                    super::map(connection, &super::lsn(number), begun, ended, transaction)?;
                }
                connection.execute("DELETE FROM __log WHERE txn = ?1", [transaction])?;
            }
            Item::Definition(definition) => tell_definition(connection, number, &definition)?,
        }
    }
    connection.execute_batch("DELETE FROM __cdc_commits; DELETE FROM __cdc_definitions")
}

fn commits(connection: &Connection) -> rusqlite::Result<Vec<(i64, Item)>> {
    connection
        .prepare("SELECT number, txn, begun, ended FROM __cdc_commits")?
        .query_map([], |row| {
            Ok((row.get(0)?, Item::Commit { transaction: row.get(1)?, begun: row.get(2)?, ended: row.get(3)? }))
        })?
        .collect()
}

fn definitions(connection: &Connection) -> rusqlite::Result<Vec<(i64, Item)>> {
    connection
        .prepare("SELECT number, source_object_id, command, time, column_id, declaration FROM __cdc_definitions")?
        .query_map([], |row| {
            let declaration: Option<String> = row.get(5)?;
            let sql_type = declaration.as_deref().and_then(types::from_declaration);
            let new_type = row.get::<_, Option<i64>>(4)?.zip(sql_type);
            let definition = Definition { source: row.get(1)?, command: row.get(2)?, time: row.get(3)?, new_type };
            Ok((row.get(0)?, Item::Definition(definition)))
        })?
        .collect()
}

/// Writes what a transaction has changed into the change tables. False where no instance takes any of it.
fn capture(connection: &Connection, number: i64, transaction: i64, switches: Switches) -> rusqlite::Result<bool> {
    let first: Option<i64> =
        connection.query_row("SELECT MIN(seq) FROM __log WHERE txn = ?1", [transaction], |row| row.get(0))?;
    let steps = steps(connection, transaction, switches)?;
    write(connection, number, first.unwrap_or(number), &steps, switches)
}

/// New instances get their low end.
fn establish(connection: &Connection) -> rusqlite::Result<()> {
    let new: Vec<(i64, i64)> = connection
        .prepare("SELECT object_id, enabled_at FROM __cdc_instances WHERE start_lsn IS NULL")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (id, enabled_at) in new {
        connection.execute(
            "UPDATE __cdc_instances SET start_lsn = ?2 WHERE object_id = ?1",
            params![id, super::lsn(enabled_at)],
        )?;
    }
    Ok(())
}

/// A new type of a captured column reaches the change table when the scan reads of it ("cdc.<capture_instance>_CT").
fn tell_definition(connection: &Connection, number: i64, definition: &Definition) -> rusqlite::Result<()> {
    for instance in of_source(connection, definition.source)? {
        let mut is_column_update = false;
        if let Some((column, sql_type)) = definition.new_type
            && let Some(captured) = instance.columns.iter().find(|captured| captured.id == column)
        {
            let column = super::COLUMNS_BEFORE + captured.ordinal;
            define::change_type(connection, instance.id, column, captured.sql_type(), sql_type)?;
            connection.execute(
                "UPDATE __cdc_columns SET declaration = ?3, type_name = ?4 WHERE object_id = ?1 AND ordinal = ?2",
                params![instance.id, captured.ordinal, types::declaration(sql_type), types::facts(sql_type).name],
            )?;
            is_column_update = true;
        }
        connection.execute(
            "INSERT INTO __cdc_ddl_history VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                definition.source,
                instance.id,
                definition.command,
                super::lsn(number),
                definition.time,
                is_column_update
            ],
        )?;
    }
    Ok(())
}

/// The steps of a transaction in order.
fn steps(connection: &Connection, transaction: i64, switches: Switches) -> rusqlite::Result<Vec<Step>> {
    let entries: Vec<Entry> = connection
        .prepare(
            "SELECT object_id, statement, before, after FROM __log WHERE txn = ?1 AND kind IN ('I', 'U', 'D') ORDER BY seq",
        )?
        .query_map([transaction], |row| {
            Ok(Entry { source: row.get(0)?, statement: row.get(1)?, before: row.get(2)?, after: row.get(3)? })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut steps: Vec<Step> = Vec::new();
    for entries in entries.chunk_by(|a, b| a.statement == b.statement) {
        let keys = entries.first().map_or(Ok(Vec::new()), |entry| unique_columns(connection, entry.source))?;
        let (moved, others): (Vec<&Entry>, Vec<&Entry>) = entries.iter().partition(|entry| is_moved(entry, &keys));
        for entry in others {
            let seqval = seqval_after(&steps);
            steps.push(Step { source: entry.source, seqval, rows: plain(entry) });
        }
        add_moved(&mut steps, &moved, switches);
    }
    Ok(steps)
}

fn seqval_after(steps: &[Step]) -> i64 {
    steps.last().map_or(0, |step| step.seqval + 1)
}

/// Updates of a unique key are deletes and inserts: of one row at the same place of the log, of several rows first all
/// deletes and then all inserts (reported by debezium#7728).
fn add_moved(steps: &mut Vec<Step>, moved: &[&Entry], switches: Switches) {
    let half = |entry: &Entry, operation: i64| {
        let image = if operation == DELETE { entry.before.clone() } else { entry.after.clone() };
        vec![Change { operation, image: image.unwrap_or_default(), other: None }]
    };
    let mut order = [DELETE, INSERT];
    if switches.key_updates == KeyUpdates::InsertFirst && moved.len() == 1 {
        order.reverse();
    }
    let shared = seqval_after(steps);
    for operation in order {
        for entry in moved {
            let seqval = if moved.len() == 1 { shared } else { seqval_after(steps) };
            steps.push(Step { source: entry.source, seqval, rows: half(entry, operation) });
        }
    }
}

fn plain(entry: &Entry) -> Vec<Change> {
    match (&entry.before, &entry.after) {
        (Some(before), Some(after)) => vec![
            Change { operation: UPDATE_BEFORE, image: before.clone(), other: Some(after.clone()) },
            Change { operation: UPDATE_AFTER, image: after.clone(), other: Some(before.clone()) },
        ],
        (Some(before), None) => vec![Change { operation: DELETE, image: before.clone(), other: None }],
        (None, Some(after)) => vec![Change { operation: INSERT, image: after.clone(), other: None }],
        (None, None) => Vec::new(),
    }
}

fn is_moved(entry: &Entry, keys: &[i64]) -> bool {
    match (&entry.before, &entry.after) {
        (Some(before), Some(after)) => keys.iter().any(|column| !image::same(before, after, *column)),
        _ => false,
    }
}

fn unique_columns(connection: &Connection, source: i64) -> rusqlite::Result<Vec<i64>> {
    connection
        .prepare_cached(
            "SELECT DISTINCT x.column_id FROM __indexes i JOIN __index_columns x ON x.object_id = i.object_id AND \
             x.index_id = i.index_id WHERE i.object_id = ?1 AND i.is_unique",
        )?
        .query_map([source], |row| row.get(0))?
        .collect()
}

/// Writes the steps of a commit into the change tables of their instances. False where no instance takes one.
fn write(
    connection: &Connection,
    number: i64,
    first: i64,
    steps: &[Step],
    switches: Switches,
) -> rusqlite::Result<bool> {
    let mut wrote = false;
    let last = steps.last().map_or(0, |step| step.seqval);
    for (command_id, step) in (1_i64..).zip(steps) {
        let place = match switches.seqval {
            Seqval::Rising => step.seqval,
            Seqval::Falling => last - step.seqval,
        };
        // Places of one transaction that do not fit into the slots of one number go on with the next.
        let slot = u16::try_from(place % 60_000 + 2).unwrap_or(u16::MAX);
        let seqval = super::lsn_of(first + place / 60_000, slot);
        for instance in of_source(connection, step.source)? {
            if instance.enabled_at >= number || !touches(&instance, step) {
                continue;
            }
            for row in &step.rows {
                insert(connection, &instance, &super::lsn(number), &seqval, command_id, row, switches)?;
            }
            wrote = true;
        }
    }
    Ok(wrote)
}

/// An update that changes no captured column leaves nothing.
fn touches(instance: &Instance, step: &Step) -> bool {
    step.rows.iter().all(|row| match &row.other {
        Some(other) => instance.columns.iter().any(|column| !image::same(&row.image, other, column.id)),
        None => true,
    })
}

fn insert(
    connection: &Connection,
    instance: &Instance,
    start_lsn: &[u8],
    seqval: &[u8],
    command_id: i64,
    row: &Change,
    switches: Switches,
) -> rusqlite::Result<()> {
    let mut values = vec![
        Stored::Blob(start_lsn.to_vec()),
        Stored::Null,
        Stored::Blob(seqval.to_vec()),
        Stored::Integer(row.operation),
        Stored::Blob(mask(instance, row)),
    ];
    values.extend(instance.columns.iter().map(|column| captured_value(column, row, switches)));
    let has_command_id: bool = connection.query_row(
        "SELECT has_command_id FROM __cdc_instances WHERE object_id = ?1",
        [instance.id],
        |row| row.get(0),
    )?;
    if has_command_id {
        values.push(Stored::Integer(command_id));
    }
    let places: Vec<String> = (1..=values.len()).map(|at| format!("?{at}")).collect();
    connection
        .prepare_cached(&format!("INSERT INTO t{} VALUES ({})", instance.id, places.join(", ")))?
        .execute(params_from_iter(values))?;
    define::count_rows(connection, instance.id, 1)
}

/// `__$update_mask`: a bit for each ordinal, the first in the lowest bit of the last byte.
fn mask(instance: &Instance, row: &Change) -> Vec<u8> {
    let mut mask = vec![0_u8; instance.columns.len().div_ceil(8)];
    for (at, column) in instance.columns.iter().enumerate() {
        let is_set = row.other.as_ref().is_none_or(|other| !image::same(&row.image, other, column.id));
        if is_set && let Some(byte) = mask.iter_mut().rev().nth(at / 8) {
            *byte |= 1 << (at % 8);
        }
    }
    mask
}

/// Source: "cdc.<capture_instance>_CT", "Large object data types".
fn captured_value(column: &Captured, row: &Change, switches: Switches) -> Stored {
    let sql_type = column.sql_type();
    let is_old_lob = matches!(sql_type, SqlType::Text | SqlType::NText | SqlType::Image);
    let is_max = types::length_of(sql_type) == Some(Length::Max) && !is_old_lob;
    let is_same = row.other.as_ref().is_some_and(|other| image::same(&row.image, other, column.id));
    let is_null = match row.operation {
        DELETE => {
            is_old_lob
                || (is_max && switches.deleted_values != DeletedValues::Documented)
                || (sql_type == SqlType::Bit && switches.deleted_values == DeletedValues::BitNull)
        }
        UPDATE_BEFORE => is_old_lob || (is_max && is_same),
        _ => false,
    };
    if is_null { Stored::Null } else { image::cell(&row.image, column.id) }
}
