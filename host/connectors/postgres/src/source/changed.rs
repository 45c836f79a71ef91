//! Whether the tables that a query reads are still those of its snapshot.
//!
//! TRUNCATE, a rewriting ALTER TABLE, REFRESH MATERIALIZED VIEW, DROP and a swap by names are not MVCC-safe: a snapshot that is
//! older sees an empty table afterwards. The catalog tells: a query of its tables sees them as the snapshot does, while
//! functions such as `pg_relation_filenode` see them as they are. What a query has read stays locked until its transaction
//! ends, so that nothing can change between the reading and the question.

use datakit_model::TableId;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

/// The first table, of those that a prepared query names or that its views name, that is not the one of the snapshot. `$1`, `$2`:
/// schemas and names of the tables that the query's text names.
const NAMED: &str = "\
WITH locked AS MATERIALIZED (SELECT DISTINCT l.relation AS oid FROM pg_catalog.pg_locks AS l \
WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.granted AND l.relation >= 16384), \
named AS (SELECT w.s, w.t, to_regclass(format('%I.%I', w.s, w.t))::oid AS now, c.oid AS before \
FROM unnest($1, $2) AS w (s, t) LEFT JOIN pg_catalog.pg_namespace AS n ON n.nspname = w.s \
LEFT JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = w.t) \
SELECT o.schema, o.name FROM locked AS l CROSS JOIN LATERAL pg_identify_object(1259, l.oid, 0) AS o \
LEFT JOIN pg_catalog.pg_class AS c ON c.oid = l.oid \
WHERE o.type IN ('table', 'materialized view') \
AND (c.oid IS NULL OR pg_relation_filenode(c.oid) IS DISTINCT FROM nullif(c.relfilenode, 0)) \
UNION ALL \
SELECT w.s, w.t FROM named AS w CROSS JOIN LATERAL pg_identify_object(1259, w.now, 0) AS o \
WHERE o.type IN ('table', 'materialized view') AND w.before IS DISTINCT FROM w.now \
ORDER BY 1, 2 LIMIT 1";

/// The first table, of all that were read, that is not the one of the snapshot: also those that functions of a view read, and
/// partitions and children as they were and as they are.
///
/// A new partition or child has no rows that the snapshot could miss. Which table a new child belongs to cannot be asked here,
/// hence the last condition: where a query reads a table with children, a new table is taken for one more of them. A table
/// that the query or its views name is not concerned: see [`NAMED`].
const READ: &str = "\
WITH RECURSIVE locked AS MATERIALIZED (SELECT DISTINCT l.relation AS oid FROM pg_catalog.pg_locks AS l \
WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.granted AND l.relation >= 16384), \
family (oid) AS (SELECT c.oid FROM locked AS l INNER JOIN pg_catalog.pg_class AS c ON c.oid = l.oid UNION \
SELECT h.inhrelid FROM family AS f INNER JOIN pg_catalog.pg_inherits AS h ON h.inhparent = f.oid) \
SELECT n.nspname::text, c.relname::text FROM family AS f INNER JOIN pg_catalog.pg_class AS c ON c.oid = f.oid \
INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
WHERE c.relkind IN ('r', 'p', 'm') AND (pg_relation_filenode(c.oid) IS DISTINCT FROM nullif(c.relfilenode, 0) \
OR c.relispartition <> coalesce(pg_partition_root(c.oid)::oid <> c.oid, false)) \
UNION ALL \
SELECT o.schema, o.name FROM locked AS l CROSS JOIN LATERAL pg_identify_object(1259, l.oid, 0) AS o \
WHERE o.type IN ('table', 'materialized view') AND NOT EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.oid = l.oid) \
AND coalesce(pg_partition_root(l.oid)::oid, l.oid) = l.oid AND NOT EXISTS (SELECT FROM locked AS k \
INNER JOIN pg_catalog.pg_class AS c ON c.oid = k.oid WHERE c.relkind = 'r' AND c.relhassubclass) \
ORDER BY 1, 2 LIMIT 1";

/// Whether row-level security holds for the role on a table that was read.
const FILTERED: &str = "\
SELECT EXISTS (SELECT FROM pg_catalog.pg_locks AS l INNER JOIN pg_catalog.pg_class AS c ON c.oid = l.relation \
WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.granted AND c.relrowsecurity AND row_security_active(c.oid))";

/// Asks when a query is prepared, with names of the system's own first in the path.
pub(super) async fn named(client: &Client, tables: &[TableId]) -> Result<Option<TableId>, tokio_postgres::Error> {
    let schemas: Vec<&str> = tables.iter().map(|table| table.schema.as_str()).collect();
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    let rows = client.query_typed(NAMED, &[(&schemas, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)]).await?;
    first(&rows)
}

/// Asks when a query has been read to its end, in the same way.
pub(super) async fn read(client: &Client) -> Result<Option<TableId>, tokio_postgres::Error> {
    first(&client.query_typed(READ, &[]).await?)
}

/// Whether rows of what was read may have been left out.
pub(super) async fn filtered(client: &Client) -> Result<bool, tokio_postgres::Error> {
    match client.query_typed(FILTERED, &[]).await?.first() {
        Some(row) => row.try_get(0),
        None => Ok(false),
    }
}

fn first(rows: &[tokio_postgres::Row]) -> Result<Option<TableId>, tokio_postgres::Error> {
    let Some(row) = rows.first() else { return Ok(None) };
    let (schema, name): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    Ok(Some(TableId::new(schema, name)))
}
