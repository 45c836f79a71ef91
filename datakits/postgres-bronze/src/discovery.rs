//! The server's catalog, as tables.

use std::collections::{BTreeMap, HashMap, HashSet};

use datakit_sdk::relational::{Size, SourceTable, statement::and_among};
use datakit_sdk::{Error, Queries, QueryOptions, Rows, TableId, TableKind};

use crate::types::SqlType;
use crate::{catalog, errors};

/// The object id of the access method `heap`, fixed in the server's sources.
const HEAP: i64 = 2;

/// A block of a server that was not built for another size.
const BLOCK_BYTES: u64 = 8192;

/// A column, as the catalog knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub sql_type: SqlType,
    /// Whether it may hold nulls.
    pub nullable: bool,
}

/// Reads the catalog of these schemas, or of all; tables in the order of their names. Only columns are asked for by schema: a table
/// may have partitions and heirs in others.
///
/// # Errors
/// What the server refused, or an answer that is none to the question.
pub fn read(
    queries: &impl Queries,
    schemas: Option<&[String]>,
    options: QueryOptions,
) -> Result<Vec<SourceTable<SourceColumn>>, Error> {
    let ask = |sql: &str| queries.query(sql, &[], options);
    let (among, names) = and_among("n.nspname", "$", schemas);
    let relations = relations(&ask(catalog::RELATIONS)?)?;
    let families = Families::new(&relations, &ask(catalog::CHILDREN)?)?;
    let domains = domains(&ask(catalog::DOMAINS)?)?;
    let mut columns =
        columns_by_table(&queries.query(&format!("{}{among}", catalog::COLUMNS), &names, options)?, &domains)?;
    let keys = keys_by_table(&ask(catalog::PRIMARY_KEYS)?)?;
    let mut tables: Vec<SourceTable<SourceColumn>> = relations
        .values()
        .filter(|relation| !relation.is_partition)
        .filter(|relation| schemas.is_none_or(|schemas| schemas.contains(&relation.table.schema)))
        .map(|relation| {
            let mut columns = columns.remove(&relation.id).unwrap_or_default();
            if !families.keep_not_null(relation) {
                columns.values_mut().for_each(|column| column.nullable = true);
            }
            let key = keys.get(&relation.id).map(Vec::as_slice).unwrap_or_default();
            SourceTable {
                id: relation.table.clone(),
                kind: if relation.kind == "v" { TableKind::View } else { TableKind::Table },
                primary_key: key.iter().filter_map(|id| columns.get(id)).map(|column| column.name.clone()).collect(),
                columns: columns.into_values().collect(),
                size: families.size(relation),
            }
        })
        .collect();
    tables.sort_by(|a, b| (&a.id.schema, &a.id.name).cmp(&(&b.id.schema, &b.id.name)));
    Ok(tables)
}

/// The server's major version; none when its catalog does not say.
///
/// # Errors
/// What the server refused, or an answer that is none to the question.
pub fn major_version(queries: &impl Queries, options: QueryOptions) -> Result<Option<u32>, Error> {
    for batch in queries.query(catalog::VERSION, &[], options)? {
        let [version] = batch.columns(["version"])?;
        if !batch.is_empty() {
            let text = version.text(0)?.unwrap_or_default();
            return Ok(text.split('.').next().and_then(|major| major.parse().ok()));
        }
    }
    Ok(None)
}

/// A row of [`catalog::RELATIONS`].
struct Relation {
    id: i64,
    table: TableId,
    kind: String,
    pages: u64,
    toast_pages: u64,
    rows: Option<u64>,
    is_partition: bool,
    is_heap: bool,
}

fn relations(batches: &[Rows]) -> Result<HashMap<i64, Relation>, Error> {
    let mut relations = HashMap::new();
    for batch in batches {
        let [schema, name, id, kind] = batch.columns(["schema_name", "table_name", "table_id", "kind"])?;
        let [pages, toast_pages, rows] = batch.columns(["pages", "toast_pages", "row_count"])?;
        let [partition, method] = batch.columns(["is_partition", "access_method"])?;
        // A count of blocks above 2³¹ comes as a negative int.
        let blocks = |number: i64| u64::from(number as u32);
        for row in 0..batch.len() {
            let id = id.some_integer(row)?;
            let relation = Relation {
                id,
                table: TableId::new(schema.some_text(row)?, name.some_text(row)?),
                kind: kind.some_text(row)?.to_owned(),
                pages: blocks(pages.some_integer(row)?),
                toast_pages: toast_pages.integer(row)?.map_or(0, blocks),
                rows: u64::try_from(rows.some_integer(row)?).ok(),
                is_partition: partition.some_boolean(row)?,
                is_heap: method.some_integer(row)? == HEAP,
            };
            relations.insert(id, relation);
        }
    }
    Ok(relations)
}

/// Relations with their partitions and with what inherits from them: a SELECT reads them all.
struct Families<'a> {
    relations: &'a HashMap<i64, Relation>,
    children: HashMap<i64, Vec<i64>>,
}

impl<'a> Families<'a> {
    fn new(relations: &'a HashMap<i64, Relation>, batches: &[Rows]) -> Result<Self, Error> {
        let mut children: HashMap<i64, Vec<i64>> = HashMap::new();
        for batch in batches {
            let [child, parent] = batch.columns(["child_id", "parent_id"])?;
            for row in 0..batch.len() {
                children.entry(parent.some_integer(row)?).or_default().push(child.some_integer(row)?);
            }
        }
        Ok(Self { relations, children })
    }

    /// A relation and all below it, each once.
    fn members(&self, relation: &Relation) -> Vec<&'a Relation> {
        let mut members = Vec::new();
        let (mut waiting, mut seen) = (vec![relation.id], HashSet::new());
        while let Some(id) = waiting.pop() {
            // What is in no schema of people's (a session's temporary table) shows its rows to no other session.
            let Some(member) = self.relations.get(&id).filter(|_| seen.insert(id)) else { continue };
            waiting.extend(self.children.get(&id).into_iter().flatten());
            members.push(member);
        }
        members
    }

    /// Whether a column declared NOT NULL has no nulls. Nobody checks a foreign table's; before version 18 a table that
    /// inherits, other than a partition, may drop what its parent declares.
    fn keep_not_null(&self, relation: &Relation) -> bool {
        let keeps = |member: &Relation| member.kind != "f" && (member.is_partition || member.id == relation.id);
        self.members(relation).into_iter().all(keeps)
    }

    /// The size of a relation and all below it.
    fn size(&self, relation: &Relation) -> Size {
        if relation.kind == "v" {
            return Size::default();
        }
        let mut size = Size { pages: Some(0), ..Size::default() };
        let (mut blocks, mut all_here) = (0, true);
        // A partitioned table's own count is of all its partitions together.
        for part in self.members(relation).into_iter().filter(|part| part.kind != "p") {
            if let Some(counted) = part.rows {
                size.rows = Some(size.rows.unwrap_or(0) + counted);
            }
            size.pages = size.pages.filter(|_| part.is_heap).map(|most| most.max(part.pages));
            blocks += part.pages + part.toast_pages;
            all_here &= part.kind != "f";
        }
        size.bytes = size.rows.filter(|_| all_here).map(|_| blocks * BLOCK_BYTES);
        size
    }
}

/// What a domain is made of.
struct Base {
    id: i64,
    kind: String,
    category: String,
    modifier: i64,
}

fn domains(batches: &[Rows]) -> Result<HashMap<i64, Base>, Error> {
    let mut domains = HashMap::new();
    for batch in batches {
        let [id, base, modifier] = batch.columns(["type_id", "base_id", "type_modifier"])?;
        let [kind, category] = batch.columns(["base_kind", "base_category"])?;
        for row in 0..batch.len() {
            let base = Base {
                id: base.some_integer(row)?,
                kind: kind.some_text(row)?.to_owned(),
                category: category.some_text(row)?.to_owned(),
                modifier: modifier.some_integer(row)?,
            };
            domains.insert(id.some_integer(row)?, base);
        }
    }
    Ok(domains)
}

/// Columns by their number, which is their order.
type Columns = BTreeMap<i64, SourceColumn>;

fn columns_by_table(batches: &[Rows], domains: &HashMap<i64, Base>) -> Result<HashMap<i64, Columns>, Error> {
    let mut tables: HashMap<i64, Columns> = HashMap::new();
    for batch in batches {
        let [table, id, name] = batch.columns(["table_id", "column_number", "column_name"])?;
        let [type_id, declared, kind] = batch.columns(["type_id", "declared_type", "type_kind"])?;
        let [category, modifier, not_null] = batch.columns(["type_category", "type_modifier", "is_not_null"])?;
        for row in 0..batch.len() {
            let mut sql_type = SqlType {
                declared: declared.some_text(row)?.to_owned(),
                id: type_id.some_integer(row)?,
                kind: kind.some_text(row)?.to_owned(),
                category: category.some_text(row)?.to_owned(),
                modifier: modifier.some_integer(row)?,
            };
            // A domain may be of a domain; the server keeps no circles.
            while let Some(base) = domains.get(&sql_type.id).filter(|_| sql_type.kind == "d") {
                sql_type.id = base.id;
                sql_type.kind.clone_from(&base.kind);
                sql_type.category.clone_from(&base.category);
                sql_type.modifier = base.modifier;
            }
            let nullable = !not_null.some_boolean(row)?;
            let column = SourceColumn { name: name.some_text(row)?.to_owned(), sql_type, nullable };
            tables.entry(table.some_integer(row)?).or_default().insert(id.some_integer(row)?, column);
        }
    }
    Ok(tables)
}

/// Numbers of key columns, in key order.
fn keys_by_table(batches: &[Rows]) -> Result<HashMap<i64, Vec<i64>>, Error> {
    let mut tables = HashMap::new();
    for batch in batches {
        let [table, numbers, count] = batch.columns(["table_id", "column_numbers", "key_columns"])?;
        for row in 0..batch.len() {
            let listed = numbers.some_text(row)?;
            let key: Result<Vec<i64>, _> = listed.split_ascii_whitespace().map(str::parse).collect();
            let mut key = key.map_err(|_| {
                Error::source(
                    errors::CODES.unexpected_answer,
                    format!("the catalog lists the columns `{listed}` in a key"),
                )
            })?;
            key.truncate(usize::try_from(count.some_integer(row)?).unwrap_or(0));
            tables.insert(table.some_integer(row)?, key);
        }
    }
    Ok(tables)
}
