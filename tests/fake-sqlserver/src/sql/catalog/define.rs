//! Writing the catalog: what CREATE, DROP and ALTER leave behind.

use rusqlite::{Connection, params};

use super::{CatalogColumn, Object};
use crate::sql::types;
use crate::values::SqlType;

/// Distance of object ids, as SQL Server leaves gaps too.
const OBJECT_ID_STEP: i64 = 16_000_057;
const FIRST_OBJECT_ID: i64 = 245_575_913;

/// A key or index to be created.
#[derive(Debug, Clone)]
pub struct NewIndex {
    /// Its name.
    pub name: String,
    /// Column ids in key order, and whether each descends.
    pub columns: Vec<(i64, bool)>,
    /// Whether it is the primary key.
    pub is_primary_key: bool,
    /// Whether values are unique.
    pub is_unique: bool,
    /// Whether it came from a constraint rather than from CREATE INDEX.
    pub is_constraint: bool,
}

/// An id that no object, key or default has.
pub fn next_object_id(connection: &Connection) -> rusqlite::Result<i64> {
    let last: Option<i64> = connection.query_row(
        "SELECT value FROM __meta WHERE name = 'last_object_id' UNION ALL SELECT NULL LIMIT 1",
        [],
        |row| row.get(0),
    )?;
    // Wraps like SQL Server's: ids stay positive ints.
    let next = last.map_or(FIRST_OBJECT_ID, |last| (last + OBJECT_ID_STEP) % i64::from(i32::MAX));
    connection.execute("INSERT OR REPLACE INTO __meta VALUES ('last_object_id', ?1)", [next])?;
    Ok(next)
}

/// Adds a schema.
pub fn add_schema(connection: &Connection, name: &str) -> rusqlite::Result<()> {
    connection.execute("INSERT INTO __schemas SELECT MAX(MAX(schema_id), 4) + 1, ?1 FROM __schemas", [name])?;
    Ok(())
}

/// Adds a table or view with its columns; `type_code` is `U ` or `V `.
pub fn add_object(
    connection: &Connection,
    schema_id: i64,
    object: &Object,
    type_code: &str,
    definition: Option<&str>,
    created: i64,
) -> rusqlite::Result<()> {
    let row_bytes: i64 = object.columns.iter().map(|column| average_bytes(column.column.sql_type)).sum();
    let fast = match object.kind {
        super::ObjectKind::Fast(at) => i64::try_from(at).ok(),
        _ => None,
    };
    connection.execute(
        "INSERT INTO __objects(object_id, schema_id, name, type, definition, fast, created, row_bytes) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![object.id, schema_id, object.name, type_code, definition, fast, created, row_bytes],
    )?;
    for column in &object.columns {
        add_column(connection, object.id, column)?;
    }
    Ok(())
}

/// What a value of a type takes on a page, on average: SQL Server's estimate of sizes rests on pages.
fn average_bytes(sql_type: SqlType) -> i64 {
    match types::facts(sql_type).max_length {
        -1 => 200,
        length if types::is_text(sql_type) || types::is_binary(sql_type) => length / 2 + 2,
        length => length,
    }
}

/// Adds one column.
pub fn add_column(connection: &Connection, object_id: i64, column: &CatalogColumn) -> rusqlite::Result<()> {
    let sql_type = column.column.sql_type;
    let facts = types::facts(sql_type);
    let default_id = match column.default {
        Some(_) => Some(next_object_id(connection)?),
        None => None,
    };
    connection.execute(
        "INSERT INTO __columns(object_id, column_id, name, declaration, type_name, system_type_id, user_type_id, \
         max_length, precision, scale, is_nullable, is_identity, seed, increment, default_sql, default_name, default_id, \
         is_text) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
        params![
            object_id,
            column.id,
            column.column.name,
            types::declaration(sql_type),
            facts.name,
            facts.system_type_id,
            facts.user_type_id,
            facts.max_length,
            facts.precision,
            facts.scale,
            column.column.nullable,
            column.identity.is_some(),
            column.identity.map(|(seed, _)| seed),
            column.identity.map(|(_, increment)| increment),
            column.default,
            default_id.map(|id| format!("DF__{object_id:08X}__{id:08X}")),
            default_id,
            types::is_text(sql_type) && sql_type != SqlType::Xml,
        ],
    )?;
    Ok(())
}

/// Gives a column of a table another type, and its values with it.
pub fn change_type(
    connection: &Connection,
    object_id: i64,
    column_id: i64,
    from: SqlType,
    to: SqlType,
) -> rusqlite::Result<()> {
    let column = format!("c{column_id}");
    let (declared, facts) = (types::declaration(to), types::facts(to));
    connection.execute(
        &format!(
            "UPDATE t{object_id} SET {column} = t_convert({column}, '{}', '{declared}', NULL) WHERE {column} IS NOT NULL",
            types::declaration(from)
        ),
        [],
    )?;
    connection.execute(
        "UPDATE __columns SET declaration = ?3, type_name = ?4, system_type_id = ?5, user_type_id = ?6, max_length = ?7, \
         precision = ?8, scale = ?9, is_text = ?10 WHERE object_id = ?1 AND column_id = ?2",
        params![
            object_id,
            column_id,
            declared,
            facts.name,
            facts.system_type_id,
            facts.user_type_id,
            facts.max_length,
            facts.precision,
            facts.scale,
            types::is_text(to) && to != SqlType::Xml,
        ],
    )?;
    Ok(())
}

/// Adds a key or index; index 1 is the clustered one, that of the primary key.
pub fn add_index(connection: &Connection, object_id: i64, index: &NewIndex) -> rusqlite::Result<()> {
    let last: i64 = connection.query_row(
        "SELECT IFNULL(MAX(index_id), 1) FROM __indexes WHERE object_id = ?1",
        [object_id],
        |row| row.get(0),
    )?;
    let index_id = if index.is_primary_key { 1 } else { last + 1 };
    let key_id = if index.is_constraint { Some(next_object_id(connection)?) } else { None };
    if index.is_primary_key {
        connection.execute("DELETE FROM __indexes WHERE object_id = ?1 AND index_id = 0", [object_id])?;
    }
    connection.execute(
        "INSERT INTO __indexes VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            object_id,
            index_id,
            index.name,
            if index.is_primary_key { 1 } else { 2 },
            index.is_primary_key,
            index.is_unique,
            index.is_constraint,
            key_id,
        ],
    )?;
    for (ordinal, (column_id, descending)) in (1_i64..).zip(&index.columns) {
        connection.execute(
            "INSERT INTO __index_columns VALUES (?1, ?2, ?3, ?4, ?3, ?5)",
            params![object_id, index_id, ordinal, column_id, descending],
        )?;
    }
    Ok(())
}

/// Marks a table without clustered index as a heap.
pub fn add_heap(connection: &Connection, object_id: i64) -> rusqlite::Result<()> {
    connection.execute("INSERT INTO __indexes VALUES (?1, 0, NULL, 0, 0, 0, 0, NULL)", [object_id])?;
    Ok(())
}

/// Removes an object and all that belongs to it.
pub fn remove_object(connection: &Connection, object_id: i64) -> rusqlite::Result<()> {
    const TABLES: [&str; 8] = [
        "__objects",
        "__columns",
        "__column_facts",
        "__dropped_columns",
        "__indexes",
        "__index_columns",
        "__ct_tables",
        "__ct_log",
    ];
    for table in TABLES {
        connection.execute(&format!("DELETE FROM {table} WHERE object_id = ?1"), [object_id])?;
    }
    Ok(())
}

/// Corrects the count of a table's rows by a difference.
pub fn count_rows(connection: &Connection, object_id: i64, difference: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE __objects SET rows = MAX(rows + ?2, 0) WHERE object_id = ?1")?
        .execute([object_id, difference])?;
    Ok(())
}
