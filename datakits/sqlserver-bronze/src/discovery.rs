//! The server's catalog, as tables.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use datakit_sdk::relational::{Size, SourceTable, statement::and_among};
use datakit_sdk::rows::ColumnView;
use datakit_sdk::{Error, Queries, QueryOptions, Rows, TableId, TableKind};

use crate::types::SqlType;
use crate::{catalog, errors};

/// A column, as the catalog knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub sql_type: SqlType,
    /// Whether it may hold nulls.
    pub nullable: bool,
    /// What else the catalog says.
    pub facts: Facts,
}

/// What the catalog says of a column that decides whether and how it is read. All false on a server that does not know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// The server keeps it for itself in a node or edge table, and refuses a query that names it.
    pub is_internal: bool,
    /// The XML of all sparse columns, which are columns themselves.
    pub is_column_set: bool,
    /// `SELECT *` leaves it out: a period column of a temporal table, for example.
    pub is_hidden: bool,
    /// A login without UNMASK gets other values (dynamic data masking).
    pub is_masked: bool,
    /// The server holds it encrypted and cannot decrypt it (Always Encrypted).
    pub is_encrypted: bool,
}

impl Facts {
    /// Whether the column is no column of the table's own: internal, or made of other columns.
    fn is_left_out(self) -> bool {
        self.is_internal || self.is_column_set
    }
}

/// Reads the catalog that the login may see, of these schemas or of all; tables in the order of their names.
///
/// # Errors
/// What the server refused, or an answer that is none to the question.
pub fn read(
    queries: &impl Queries,
    schemas: Option<&[String]>,
    options: QueryOptions,
) -> Result<Vec<SourceTable<SourceColumn>>, Error> {
    let ask = |sql: &str| queries.query(sql, &[], options);
    let (among, names) = and_among("s.name", "@P", schemas);
    let ask_among = |sql: &str| queries.query(sql, &names, options);
    let facts = known_facts(&ask(catalog::KNOWN_FACTS)?)?;
    let mut columns = columns_by_object(&ask_among(&catalog::columns(&facts, &among))?, &facts)?;
    let mut keys = keys_by_object(&ask(catalog::PRIMARY_KEYS)?)?;
    let rows = rows_by_object(&ask(catalog::ROW_COUNTS)?)?;
    let mut tables = Vec::new();
    for batch in ask_among(&format!("{}{among}", catalog::OBJECTS))? {
        let [schema, name, id, kind] = batch.columns(["schema_name", "object_name", "object_id", "object_type"])?;
        for row in 0..batch.len() {
            let id = id.some_integer(row)?;
            let columns = columns.remove(&id).unwrap_or_default();
            let kind = match kind.some_text(row)?.trim_end() {
                "V" => TableKind::View,
                _ => TableKind::Table,
            };
            let key = keys.remove(&id).unwrap_or_default();
            tables.push(SourceTable {
                id: TableId::new(schema.some_text(row)?, name.some_text(row)?),
                primary_key: key.values().filter_map(|id| columns.get(id)).map(|column| column.name.clone()).collect(),
                size: Size { rows: rows.get(&id).copied().filter(|_| kind == TableKind::Table), ..Size::default() },
                kind,
                columns: columns.into_values().filter(|column| !column.facts.is_left_out()).collect(),
            });
        }
    }
    // A server may compare names by less than all of them.
    tables.retain(|table| schemas.is_none_or(|schemas| schemas.contains(&table.id.schema)));
    tables.sort_by(|a, b| (&a.id.schema, &a.id.name).cmp(&(&b.id.schema, &b.id.name)));
    Ok(tables)
}

/// Columns by their id, which is their order.
type Columns = BTreeMap<i64, SourceColumn>;

/// Those of [`catalog::FACTS`] that the server has.
fn known_facts(batches: &[Rows]) -> Result<Vec<&'static str>, Error> {
    let mut known = BTreeSet::new();
    for batch in batches {
        let [name] = batch.columns(["column_name"])?;
        for row in 0..batch.len() {
            known.insert(name.some_text(row)?.to_owned());
        }
    }
    Ok(catalog::FACTS.into_iter().filter(|fact| known.contains(*fact)).collect())
}

fn columns_by_object(batches: &[Rows], facts: &[&str]) -> Result<HashMap<i64, Columns>, Error> {
    let mut objects: HashMap<i64, Columns> = HashMap::new();
    for batch in batches {
        let [object, id, name, declared, base] =
            batch.columns(["object_id", "column_id", "column_name", "declared_type", "base_type"])?;
        let [max_length, precision, scale, nullable] =
            batch.columns(["max_length", "numeric_precision", "numeric_scale", "is_nullable"])?;
        let known = facts.iter().map(|fact| Ok((*fact, batch.column(fact)?))).collect::<Result<Vec<_>, Error>>()?;
        for row in 0..batch.len() {
            // A CLR type has no system type below it.
            let type_name = match base.text(row)? {
                Some(base) => base,
                None => declared.some_text(row)?,
            };
            let column = SourceColumn {
                name: name.some_text(row)?.to_owned(),
                sql_type: SqlType {
                    name: type_name.to_owned(),
                    max_length: max_length.some_integer(row)?,
                    precision: precision.some_integer(row)?,
                    scale: scale.some_integer(row)?,
                },
                nullable: nullable.some_boolean(row)?,
                facts: column_facts(&known, row)?,
            };
            objects.entry(object.some_integer(row)?).or_default().insert(id.some_integer(row)?, column);
        }
    }
    Ok(objects)
}

fn column_facts(known: &[(&str, ColumnView<'_>)], row: usize) -> Result<Facts, Error> {
    /// The ids and numbers in which the server keeps a graph; those of the others are computed from them, and may be read.
    /// Source: "sys.columns (Transact-SQL)", `graph_type`.
    const INTERNAL_OF_GRAPHS: [i64; 5] = [1, 3, 4, 6, 7];
    let mut facts = Facts::default();
    for (fact, view) in known {
        match *fact {
            "encryption_type" => facts.is_encrypted = view.integer(row)?.is_some_and(|kind| kind > 0),
            "graph_type" => {
                facts.is_internal = view.integer(row)?.is_some_and(|kind| INTERNAL_OF_GRAPHS.contains(&kind))
            }
            "is_column_set" => facts.is_column_set = view.boolean(row)? == Some(true),
            "is_hidden" => facts.is_hidden = view.boolean(row)? == Some(true),
            _ => facts.is_masked = view.boolean(row)? == Some(true),
        }
    }
    Ok(facts)
}

/// Ids of key columns by their place in the key.
type Key = BTreeMap<i64, i64>;

fn keys_by_object(batches: &[Rows]) -> Result<HashMap<i64, Key>, Error> {
    let mut objects: HashMap<i64, Key> = HashMap::new();
    for batch in batches {
        let [object, ordinal, column] = batch.columns(["object_id", "key_ordinal", "column_id"])?;
        for row in 0..batch.len() {
            objects
                .entry(object.some_integer(row)?)
                .or_default()
                .insert(ordinal.some_integer(row)?, column.some_integer(row)?);
        }
    }
    Ok(objects)
}

fn rows_by_object(batches: &[Rows]) -> Result<HashMap<i64, u64>, Error> {
    let mut objects = HashMap::new();
    for batch in batches {
        let [object, count] = batch.columns(["object_id", "row_count"])?;
        for row in 0..batch.len() {
            let count = count.integer(row)?.unwrap_or(0);
            let count = u64::try_from(count).map_err(|_| {
                Error::source(errors::CODES.unexpected_answer, format!("the catalog counts {count} rows in one object"))
            })?;
            objects.insert(object.some_integer(row)?, count);
        }
    }
    Ok(objects)
}
