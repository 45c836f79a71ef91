//! What the datakit asks a server, word for word.
//!
//! Plain SELECTs over views every SQL Server since 2008 has, and every login may read: they show a login the objects it
//! has a permission on. Names have two parts, so that the host's read grant takes them.

/// The schemas there are. Columns: `schema_name` (sysname).
pub const SCHEMAS: &str = "SELECT s.name AS schema_name FROM sys.schemas AS s";

/// Tables and views that people made. Not an order the server promises: the guest sorts.
///
/// Columns: `schema_name` and `object_name` (sysname), `object_id` (int), `object_type` (char(2): `U ` or `V `).
pub const OBJECTS: &str = "\
SELECT s.name AS schema_name, o.name AS object_name, o.object_id AS object_id, o.type AS object_type
FROM sys.objects AS o
INNER JOIN sys.schemas AS s ON s.schema_id = o.schema_id
WHERE o.type IN ('U', 'V') AND o.is_ms_shipped = 0";

/// Columns of `sys.columns` that older servers, and servers that are not SQL Server, do not have. Naming one that is not there
/// is an error of the whole question, so [`KNOWN_FACTS`] is asked first.
///
/// `encryption_type` (int, null: not encrypted), `graph_type` (int, null: not of a graph), `is_column_set`, `is_hidden`,
/// `is_masked` (bit).
pub const FACTS: [&str; 5] = ["encryption_type", "graph_type", "is_column_set", "is_hidden", "is_masked"];

/// Which of [`FACTS`] there are. Columns: `column_name` (sysname).
pub const KNOWN_FACTS: &str = "\
SELECT c.name AS column_name
FROM sys.all_columns AS c
INNER JOIN sys.all_objects AS o ON o.object_id = c.object_id
WHERE o.name = 'columns' AND o.is_ms_shipped = 1 \
AND c.name IN ('encryption_type', 'graph_type', 'is_column_set', 'is_hidden', 'is_masked')";

/// The columns of tables and views. `base_type` is the system type under an alias type and null for a CLR type,
/// `declared_type` the name in the declaration.
///
/// Columns: `object_id`, `column_id` (int), `column_name`, `declared_type`, `base_type` (sysname), `max_length` (smallint,
/// bytes, -1 for MAX), `numeric_precision`, `numeric_scale` (tinyint), `is_nullable` (bit), and those of `facts`.
///
/// `among` is the end of a condition on `s.name`, the schema; empty for all.
#[must_use]
pub fn columns(facts: &[&str], among: &str) -> String {
    let facts: String = facts.iter().map(|fact| format!(", c.{fact} AS {fact}")).collect();
    let schemas = if among.is_empty() { "" } else { "INNER JOIN sys.schemas AS s ON s.schema_id = o.schema_id\n" };
    format!(
        "\
SELECT c.object_id AS object_id, c.column_id AS column_id, c.name AS column_name, t.name AS declared_type, \
b.name AS base_type, c.max_length AS max_length, c.precision AS numeric_precision, c.scale AS numeric_scale, \
c.is_nullable AS is_nullable{facts}
FROM sys.columns AS c
INNER JOIN sys.objects AS o ON o.object_id = c.object_id
{schemas}INNER JOIN sys.types AS t ON t.user_type_id = c.user_type_id
LEFT JOIN sys.types AS b ON b.user_type_id = c.system_type_id
WHERE o.type IN ('U', 'V') AND o.is_ms_shipped = 0{among}"
    )
}

/// The columns of primary keys, in key order.
///
/// Columns: `object_id` (int), `key_ordinal` (tinyint, from 1), `column_id` (int).
pub const PRIMARY_KEYS: &str = "\
SELECT i.object_id AS object_id, ic.key_ordinal AS key_ordinal, ic.column_id AS column_id
FROM sys.indexes AS i
INNER JOIN sys.index_columns AS ic ON ic.object_id = i.object_id AND ic.index_id = i.index_id
WHERE i.is_primary_key = 1 AND ic.key_ordinal > 0";

/// Rows by the server's own count, which may lag; heaps (index 0) and clustered indexes (1) hold the rows.
///
/// Columns: `object_id` (int), `row_count` (bigint).
pub const ROW_COUNTS: &str = "\
SELECT p.object_id AS object_id, SUM(p.rows) AS row_count
FROM sys.partitions AS p
WHERE p.index_id IN (0, 1)
GROUP BY p.object_id";
