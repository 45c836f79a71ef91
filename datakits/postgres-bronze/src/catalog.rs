//! What the datakit asks a server, word for word.
//!
//! Plain SELECTs over catalog tables that every role may read, since version 12. The objects of all roles are there, also those
//! the role may not read: those fail when they are read, and say so.

/// The schemas there are. Columns: `schema_name` (name).
pub const SCHEMAS: &str = "SELECT n.nspname AS schema_name FROM pg_catalog.pg_namespace AS n";

/// Relations with rows that people made. Not an order the server promises: the guest sorts.
///
/// Columns: `schema_name`, `table_name` (name), `table_id` (oid), `kind` (text: `r` table, `p` partitioned, `v` view, `m`
/// materialized view, `f` foreign table), `pages` (int), `toast_pages` (int, null without a place for long values), `row_count`
/// (bigint, -1 when never counted), `is_partition` (bool), `access_method` (oid, 2 for a heap).
pub const RELATIONS: &str = "\
SELECT n.nspname AS schema_name, c.relname AS table_name, c.oid AS table_id, c.relkind::text AS kind, c.relpages AS pages, \
o.relpages AS toast_pages, c.reltuples::int8 AS row_count, c.relispartition AS is_partition, c.relam AS access_method
FROM pg_catalog.pg_class AS c
INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_class AS o ON o.oid = c.reltoastrelid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg!_%' ESCAPE '!'";

/// Their columns.
///
/// Columns: `table_id` (oid), `column_number` (smallint), `column_name` (name), `type_id` (oid), `declared_type` (text, as
/// `\d` shows it), `type_kind` (text: `b` base, `c` composite, `d` domain, `e` enum, `r` range, `m` multirange),
/// `type_category` (text, `A` for an array), `type_modifier` (int), `is_not_null` (bool; since version 18 rows that were there
/// before may break a declaration until it is validated).
pub const COLUMNS: &str = "\
SELECT a.attrelid AS table_id, a.attnum AS column_number, a.attname AS column_name, a.atttypid AS type_id, \
format_type(a.atttypid, a.atttypmod) AS declared_type, t.typtype::text AS type_kind, t.typcategory::text AS type_category, \
a.atttypmod AS type_modifier, a.attnotnull AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_constraint AS k \
WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND NOT k.convalidated AND a.attnum = ANY (k.conkey)) AS is_not_null
FROM pg_catalog.pg_attribute AS a
INNER JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
INNER JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition \
AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg!_%' ESCAPE '!'";

/// What domains are made of; the base may be a domain again.
///
/// Columns: `type_id`, `base_id` (oid), `type_modifier` (int), `base_kind`, `base_category` (text).
pub const DOMAINS: &str = "\
SELECT d.oid AS type_id, d.typbasetype AS base_id, d.typtypmod AS type_modifier, b.typtype::text AS base_kind, \
b.typcategory::text AS base_category
FROM pg_catalog.pg_type AS d
INNER JOIN pg_catalog.pg_type AS b ON b.oid = d.typbasetype
WHERE d.typtype = 'd'";

/// Primary keys. An index may hold more columns than its key.
///
/// Columns: `table_id` (oid), `column_numbers` (text, in key order, parted by blanks), `key_columns` (smallint).
pub const PRIMARY_KEYS: &str = "\
SELECT i.indrelid AS table_id, i.indkey::text AS column_numbers, i.indnkeyatts AS key_columns
FROM pg_catalog.pg_index AS i
WHERE i.indisprimary";

/// Which relation is a partition of which, and which inherits from which.
///
/// Columns: `child_id`, `parent_id` (oid).
pub const CHILDREN: &str = "\
SELECT h.inhrelid AS child_id, h.inhparent AS parent_id FROM pg_catalog.pg_inherits AS h";

/// Which version the server is of. The one place where its catalog says so.
///
/// Columns: `version` (text: `15.08.0000` for 15.8, `14.00.0000` for 14beta1, and whatever a packager adds).
pub const VERSION: &str = "\
SELECT i.character_value AS version
FROM information_schema.sql_implementation_info AS i
WHERE i.implementation_info_name = 'DBMS VERSION'";
