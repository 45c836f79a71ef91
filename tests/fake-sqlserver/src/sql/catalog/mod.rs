//! What exists: schemas, tables, views, columns and keys, kept in SQLite tables of the fake SQL Server's own.
//!
//! A table of T-SQL is the SQLite table `t<object_id>` with columns `c<column_id>`, so that no name needs quoting there,
//! whatever characters it holds. The catalog views of [`views`] read these same tables.

mod captured;
pub mod define;
mod information_schema;
mod server;
pub mod views;

use rusqlite::{Connection, OptionalExtension, Row};

use super::types;
use crate::values::{Collation, Column, SqlType};
use views::SystemView;

/// One column of a table or view.
#[derive(Debug, Clone)]
pub struct CatalogColumn {
    /// `column_id`, from 1.
    pub id: i64,
    /// Name, type and nullability.
    pub column: Column,
    /// T-SQL of the default.
    pub default: Option<String>,
    /// Seed and increment of an IDENTITY column.
    pub identity: Option<(i64, i64)>,
    /// What becomes of a query that names it.
    pub access: Access,
}

/// What becomes of a query that names a column, or that says `*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// It is read.
    #[default]
    Open,
    /// It is read where it is named; `*` leaves it out.
    Hidden,
    /// An internal column of a graph table: error 13908; `*` leaves it out.
    Internal,
    /// The login may not read it: error 230.
    Refused,
}

/// What an object is.
#[derive(Debug, Clone)]
pub enum ObjectKind {
    /// A table of ours in SQLite.
    Table,
    /// A view, by the T-SQL of its query.
    View(String),
    /// A generated table, by its place in the engine's list.
    Fast(usize),
    /// A catalog view.
    System(&'static SystemView),
}

/// A table or view.
#[derive(Debug, Clone)]
pub struct Object {
    /// `object_id`.
    pub id: i64,
    /// Name of the schema.
    pub schema: String,
    /// Name.
    pub name: String,
    /// Table, view or else.
    pub kind: ObjectKind,
    /// In ordinal order.
    pub columns: Vec<CatalogColumn>,
    /// The primary key: its name, and the ids of its columns in key order.
    pub primary_key: Option<(String, Vec<i64>)>,
}

impl Object {
    /// The table's name in SQLite.
    pub fn physical(&self) -> String {
        format!("t{}", self.id)
    }

    /// `schema.name`
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// A column by its name.
    pub fn column(&self, name: &str) -> Option<&CatalogColumn> {
        self.columns.iter().find(|column| super::collate::same(&column.column.name, name))
    }
}

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS __meta(name TEXT PRIMARY KEY, value);
CREATE TABLE IF NOT EXISTS __schemas(schema_id INTEGER PRIMARY KEY, name TEXT NOT NULL COLLATE CI UNIQUE);
CREATE TABLE IF NOT EXISTS __objects(
  object_id INTEGER PRIMARY KEY, schema_id INTEGER NOT NULL, name TEXT NOT NULL COLLATE CI, type TEXT NOT NULL,
  definition TEXT, fast INTEGER, created INTEGER NOT NULL, rows INTEGER NOT NULL DEFAULT 0,
  row_bytes INTEGER NOT NULL DEFAULT 0, UNIQUE(schema_id, name));
CREATE TABLE IF NOT EXISTS __columns(
  object_id INTEGER NOT NULL, column_id INTEGER NOT NULL, name TEXT NOT NULL COLLATE CI, declaration TEXT NOT NULL,
  type_name TEXT NOT NULL, system_type_id INTEGER NOT NULL, user_type_id INTEGER NOT NULL, max_length INTEGER NOT NULL,
  precision INTEGER NOT NULL, scale INTEGER NOT NULL, is_nullable INTEGER NOT NULL, is_identity INTEGER NOT NULL,
  seed INTEGER, increment INTEGER, last_value INTEGER, default_sql TEXT, default_name TEXT, default_id INTEGER,
  is_text INTEGER NOT NULL, PRIMARY KEY(object_id, column_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS __column_facts(
  object_id INTEGER NOT NULL, column_id INTEGER NOT NULL, fact TEXT NOT NULL, value INTEGER NOT NULL,
  PRIMARY KEY(object_id, column_id, fact)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS __dropped_columns(object_id INTEGER NOT NULL, column_id INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS __system_objects(object_id INTEGER PRIMARY KEY, schema_id INTEGER NOT NULL, name TEXT NOT NULL COLLATE CI);
CREATE TABLE IF NOT EXISTS __system_columns(
  object_id INTEGER NOT NULL, column_id INTEGER NOT NULL, name TEXT NOT NULL COLLATE CI, PRIMARY KEY(object_id, column_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS __indexes(
  object_id INTEGER NOT NULL, index_id INTEGER NOT NULL, name TEXT COLLATE CI, type INTEGER NOT NULL,
  is_primary_key INTEGER NOT NULL, is_unique INTEGER NOT NULL, is_constraint INTEGER NOT NULL, key_id INTEGER,
  PRIMARY KEY(object_id, index_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS __index_columns(
  object_id INTEGER NOT NULL, index_id INTEGER NOT NULL, index_column_id INTEGER NOT NULL, column_id INTEGER NOT NULL,
  key_ordinal INTEGER NOT NULL, is_descending INTEGER NOT NULL, PRIMARY KEY(object_id, index_id, index_column_id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS __types(
  name TEXT NOT NULL COLLATE CI, system_type_id INTEGER NOT NULL, user_type_id INTEGER PRIMARY KEY, max_length INTEGER NOT NULL,
  precision INTEGER NOT NULL, scale INTEGER NOT NULL, is_text INTEGER NOT NULL, is_clr INTEGER NOT NULL);
INSERT OR IGNORE INTO __schemas VALUES (1, 'dbo'), (2, 'guest'), (3, 'INFORMATION_SCHEMA'), (4, 'sys');
";

/// The option `ALLOW_SNAPSHOT_ISOLATION`.
pub const SNAPSHOT_ISOLATION: &str = "snapshot_isolation";
/// The option `READ_COMMITTED_SNAPSHOT`.
pub const READ_COMMITTED_SNAPSHOT: &str = "read_committed_snapshot";

/// Whether an option of the database is on.
pub fn option(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    Ok(super::log::value_of(connection, name)? != 0)
}

/// Creates the tables of the catalog where they are missing, and names the database.
pub fn create(connection: &Connection, database: &str) -> rusqlite::Result<()> {
    connection.execute_batch(TABLES)?;
    connection.execute_batch(super::log::TABLES)?;
    connection.execute_batch(super::tracking::TABLES)?;
    connection.execute_batch(super::capture::TABLES)?;
    // Both are off in a new database of a real server; here they are on until a test says otherwise.
    connection.execute_batch(&format!(
        "INSERT OR IGNORE INTO __meta VALUES ('{SNAPSHOT_ISOLATION}', 1), ('{READ_COMMITTED_SNAPSHOT}', 1)"
    ))?;
    connection.execute("INSERT OR REPLACE INTO __meta VALUES ('database', ?1)", [database])?;
    let mut insert = connection.prepare("INSERT OR REPLACE INTO __types VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
    for sql_type in types::EVERY_TYPE {
        let facts = types::facts(sql_type);
        insert.execute(rusqlite::params![
            facts.name,
            facts.system_type_id,
            facts.user_type_id,
            facts.max_length,
            facts.precision,
            facts.scale,
            types::is_text(sql_type) && sql_type != SqlType::Xml,
            facts.system_type_id == 240,
        ])?;
    }
    insert.execute(rusqlite::params!["sysname", 231, 256, 256, 0, 0, true, false])?;
    add_system_views(connection)
}

/// The catalog views themselves, as `sys.all_objects` and `sys.all_columns` tell them: with negative ids.
fn add_system_views(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("DELETE FROM __system_objects; DELETE FROM __system_columns")?;
    let mut object = connection.prepare("INSERT INTO __system_objects VALUES (?1, ?2, ?3)")?;
    let mut column = connection.prepare("INSERT INTO __system_columns VALUES (?1, ?2, ?3)")?;
    for (at, view) in (1_i64..).zip(views::every_view()) {
        // Those of a schema that is not there yet are not shown.
        let Some(schema) = schema_id(connection, view.schema)? else { continue };
        object.execute(rusqlite::params![-at, schema, view.name])?;
        for (id, (name, ..)) in (1_i64..).zip(view.columns) {
            column.execute(rusqlite::params![-at, id, name])?;
        }
    }
    Ok(())
}

/// Finds a table or view by schema (`dbo` when none is given) and name. Catalog views need their schema.
pub fn find(connection: &Connection, schema: Option<&str>, name: &str) -> rusqlite::Result<Option<Object>> {
    let schema = schema.unwrap_or("dbo");
    if let Some(view) = views::find(schema, name)
        && (view.schema != "cdc" || option(connection, super::capture::ENABLED)?)
    {
        return Ok(Some(system_object(view)));
    }
    let found = connection
        .prepare_cached(
            "SELECT o.object_id, s.name, o.name, o.type, o.definition, o.fast FROM __objects o \
             JOIN __schemas s ON s.schema_id = o.schema_id WHERE s.name = ?1 AND o.name = ?2",
        )?
        .query_row([schema, name], |row| {
            let kind = match (row.get::<_, Option<i64>>(5)?, row.get::<_, String>(3)?.as_str()) {
                (Some(fast), _) => ObjectKind::Fast(usize::try_from(fast).unwrap_or(usize::MAX)),
                (None, "V ") => ObjectKind::View(row.get(4)?),
                _ => ObjectKind::Table,
            };
            Ok(Object {
                id: row.get(0)?,
                schema: row.get(1)?,
                name: row.get(2)?,
                kind,
                columns: Vec::new(),
                primary_key: None,
            })
        })
        .optional()?;
    let Some(mut object) = found else { return Ok(None) };
    object.columns = columns(connection, object.id)?;
    object.primary_key = primary_key(connection, object.id)?;
    Ok(Some(object))
}

fn system_object(view: &'static SystemView) -> Object {
    let columns = (1..)
        .zip(view.columns)
        .map(|(id, (name, declaration, nullable, _))| CatalogColumn {
            id,
            column: Column {
                nullable: *nullable,
                ..Column::new(*name, types::from_declaration(declaration).unwrap_or(types::SYSNAME))
            },
            default: None,
            identity: None,
            access: Access::Open,
        })
        .collect();
    Object {
        id: 0,
        schema: view.schema.to_owned(),
        name: view.name.to_owned(),
        kind: ObjectKind::System(view),
        columns,
        primary_key: None,
    }
}

fn columns(connection: &Connection, object_id: i64) -> rusqlite::Result<Vec<CatalogColumn>> {
    connection
        .prepare_cached(
            "SELECT column_id, name, declaration, is_nullable, is_identity, seed, increment, default_sql, \
             (SELECT group_concat(fact || '=' || value) FROM __column_facts f \
              WHERE f.object_id = c.object_id AND f.column_id = c.column_id), \
             EXISTS (SELECT 1 FROM __column_facts f WHERE f.object_id = c.object_id AND f.fact = 'granted') \
             FROM __columns c WHERE object_id = ?1 ORDER BY column_id",
        )?
        .query_map([object_id], read_column)?
        .collect()
}

fn read_column(row: &Row<'_>) -> rusqlite::Result<CatalogColumn> {
    let declaration: String = row.get(2)?;
    let identity: bool = row.get(4)?;
    Ok(CatalogColumn {
        id: row.get(0)?,
        column: Column {
            name: row.get(1)?,
            sql_type: types::from_declaration(&declaration).unwrap_or(SqlType::SqlVariant),
            nullable: row.get(3)?,
            identity,
            computed: false,
            collation: Collation::default(),
            table: Vec::new(),
        },
        default: row.get(7)?,
        identity: if identity { Some((row.get(5)?, row.get(6)?)) } else { None },
        access: access(&row.get::<_, Option<String>>(8)?.unwrap_or_default(), row.get(9)?),
    })
}

/// From a column's facts, and whether columns of its table are granted one by one.
fn access(facts: &str, is_by_column: bool) -> Access {
    let has = |fact: &str| facts.split(',').any(|one| one == fact);
    if has("denied=1") || (is_by_column && !has("granted=1")) {
        Access::Refused
    } else if ["1", "3", "4", "6", "7"].iter().any(|kind| has(&format!("graph_type={kind}"))) {
        Access::Internal
    } else if has("is_hidden=1") {
        Access::Hidden
    } else {
        Access::Open
    }
}

/// Says something of a column that no statement of ours can: a column of the same name in `sys.columns`, or `granted` or
/// `denied`. False: there is no such column.
pub fn set_fact(
    connection: &Connection,
    object: &Object,
    column: &str,
    fact: &str,
    value: i64,
) -> rusqlite::Result<bool> {
    let Some(column) = object.column(column) else { return Ok(false) };
    connection.execute(
        "INSERT OR REPLACE INTO __column_facts VALUES (?1, ?2, ?3, ?4)",
        rusqlite::params![object.id, column.id, fact, value],
    )?;
    Ok(true)
}

fn primary_key(connection: &Connection, object_id: i64) -> rusqlite::Result<Option<(String, Vec<i64>)>> {
    let index = connection
        .prepare_cached("SELECT name, index_id FROM __indexes WHERE object_id = ?1 AND is_primary_key = 1")?
        .query_row([object_id], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))
        .optional()?;
    let Some((name, index_id)) = index else { return Ok(None) };
    let columns = connection
        .prepare_cached(
            "SELECT column_id FROM __index_columns WHERE object_id = ?1 AND index_id = ?2 ORDER BY key_ordinal",
        )?
        .query_map([object_id, index_id], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Some((name, columns)))
}

/// Schema and name of a table.
pub fn name_of(connection: &Connection, object_id: i64) -> rusqlite::Result<Option<(String, String)>> {
    connection
        .prepare_cached(
            "SELECT s.name, o.name FROM __objects o JOIN __schemas s ON s.schema_id = o.schema_id WHERE o.object_id = ?1",
        )?
        .query_row([object_id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// The id of a schema.
pub fn schema_id(connection: &Connection, schema: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT schema_id FROM __schemas WHERE name = ?1")?
        .query_row([schema], |row| row.get(0))
        .optional()
}
