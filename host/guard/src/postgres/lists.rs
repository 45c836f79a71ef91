//! What a datakit's SQL may name. Everything else is refused.

/// Words of PostgreSQL that no query here needs and that could begin something else: reserved ones (which cannot be names
/// without quotes, so that refusing them refuses no honest query) and those that begin a statement.
/// Source: appendix "SQL Key Words" of the manual.
const FORBIDDEN_WORDS: &str = "\
    ALTER ANALYSE ANALYZE ARRAY ASYMMETRIC AUTHORIZATION BEGIN BINARY CALL CHECK CLOSE CLUSTER COMMIT CONCURRENTLY \
    CONSTRAINT COPY CREATE CURRENT_CATALOG CURRENT_ROLE CURRENT_SCHEMA CURRENT_USER DEALLOCATE DECLARE DEFAULT \
    DEFERRABLE DELETE DISCARD DO DROP EXECUTE EXPLAIN FOR FOREIGN FREEZE GRANT GRANTS INITIALLY INSERT INTO LATERAL LISTEN \
    LOAD LOCALTIME LOCALTIMESTAMP LOCK MERGE NATURAL NOTIFY OVERLAPS PLACING PREPARE PRIMARY REASSIGN REFERENCES \
    REFRESH REINDEX RETURNING REVOKE ROLLBACK SAVEPOINT SESSION_USER SET SIMILAR SYMMETRIC SYSTEM_USER TABLE TABLESAMPLE TRAILING \
    TRUNCATE UNIQUE UNLISTEN UPDATE USER USING VACUUM VARIADIC VERBOSE WINDOW XMLTABLE JSON_TABLE";

/// The other reserved words: they build queries, and are no names either.
const STRUCTURE_WORDS: &str = "\
    ALL AND ANY AS ASC BETWEEN BOTH CASE CAST COLLATE COLLATION COLUMN CROSS DESC DISTINCT ELSE END EXCEPT EXISTS FALSE \
    FETCH FROM FULL GROUP HAVING ILIKE IN INNER INTERSECT IS ISNULL JOIN LEADING LEFT LIKE LIMIT NOT NOTNULL NULL \
    OFFSET ON ONLY OR ORDER OUTER RIGHT SELECT SOME THEN TO TRUE UNION VALUES WHEN WHERE WITH";

/// Functions a query may call, by their bare names: values in, value out, and of the server nothing but what its catalog says of
/// types. CAST, SUBSTRING, TRIM, CEIL and FLOOR are syntax of their own.
pub(super) const FUNCTIONS: &str = "\
    abs array_to_json ascii avg bit_length bool_and bool_or btrim cbrt ceil ceiling char_length character_length chr coalesce \
    concat concat_ws count cume_dist date_part date_trunc decode degrees dense_rank encode every exp \
    first_value floor format_type greatest hashtext isfinite lag last_value lead least left length ln log lower lpad \
    ltrim make_date make_timestamp max md5 min mod ntile nullif octet_length percent_rank \
    pg_typeof pi position power radians rank repeat replace reverse right round row_number rpad rtrim \
    scale sha224 sha256 sha384 sha512 sign split_part sqrt stddev string_agg strpos substr sum timezone to_char \
    to_date to_json to_jsonb to_number to_timestamp translate trim trim_scale trunc upper variance width_bucket";

/// Functions that are not on the list and can be called with one row: `t.row_to_json` is the column of that name where there is
/// one, and `row_to_json(t)` where there is none. A test asks the server for them.
pub(super) const FUNCTIONS_OF_ROWS: &str = "\
    any_out any_value anycompatible_out anycompatiblenonarray_out anyelement_out anynonarray_out array_agg hash_record json_agg \
    json_agg_strict json_build_array json_build_object jsonb_agg jsonb_agg_strict jsonb_build_array jsonb_build_object \
    num_nonnulls num_nulls pg_collation_for pg_column_compression pg_column_size pg_column_toast_chunk_id quote_literal \
    quote_nullable record_out record_send row_to_json";

/// Catalog views every session may read, and of each the columns: which tables there are, of which columns, keys and sizes;
/// nothing of roles, rights, sessions, definitions, defaults, comments, or samples of values (`pg_statistic`).
pub(super) const CATALOG: [(&str, &str, &str); 10] = [
    (
        "pg_catalog",
        "pg_class",
        "oid relname relnamespace relkind relpersistence relpages reltuples relallvisible relnatts relhasindex \
         relispartition relispopulated relam reltoastrelid relrowsecurity relforcerowsecurity",
    ),
    ("pg_catalog", "pg_namespace", "oid nspname"),
    (
        "pg_catalog",
        "pg_attribute",
        "attrelid attname atttypid attlen attnum attndims atttypmod attnotnull atthasdef attisdropped attidentity \
         attgenerated attcollation",
    ),
    (
        "pg_catalog",
        "pg_type",
        "oid typname typnamespace typlen typtype typcategory typisdefined typrelid typelem typarray typnotnull typbasetype \
         typtypmod typndims typcollation",
    ),
    (
        "pg_catalog",
        "pg_constraint",
        "oid conname connamespace contype convalidated conrelid contypid conindid conparentid confrelid conkey confkey",
    ),
    (
        "pg_catalog",
        "pg_index",
        "indexrelid indrelid indnatts indnkeyatts indisunique indisprimary indisvalid indisready indislive indkey",
    ),
    ("pg_catalog", "pg_inherits", "inhrelid inhparent inhseqno"),
    ("information_schema", "tables", "table_catalog table_schema table_name table_type"),
    (
        "information_schema",
        "columns",
        "table_catalog table_schema table_name column_name ordinal_position is_nullable data_type character_maximum_length \
         character_octet_length numeric_precision numeric_precision_radix numeric_scale datetime_precision udt_schema udt_name \
         is_identity is_generated",
    ),
    (
        "information_schema",
        "sql_implementation_info",
        "implementation_info_id implementation_info_name integer_value character_value",
    ),
];

/// Types that a cast may name: the system's own. By the path or by their schema they are what they are called.
pub(super) const TYPES: &str = "\
    bigint bit bool boolean box bpchar bytea char character cidr circle date decimal float float4 float8 inet int int2 int4 \
    int8 integer interval json jsonb line lseg macaddr macaddr8 money name numeric oid path pg_lsn point polygon real \
    smallint text tid time timestamp timestamptz timetz tsquery tsvector uuid varbit varchar xml";

/// Types of several words, in the parser's spelling.
const LONG_TYPES: [&str; 6] = [
    "double precision",
    "character varying",
    "bit varying",
    "timestamp with time zone",
    "timestamp without time zone",
    "time without time zone",
];

fn holds(list: &str, word: &str) -> bool {
    list.split_ascii_whitespace().any(|entry| entry.eq_ignore_ascii_case(word))
}

/// Whether the bare word may not stand in a query at all.
pub(super) fn is_forbidden_word(word: &str) -> bool {
    holds(FORBIDDEN_WORDS, word)
}

/// Whether the bare word cannot be a name.
pub(super) fn is_structure_word(word: &str) -> bool {
    holds(STRUCTURE_WORDS, word)
}

/// Whether the function may be called.
pub(super) fn is_function(name: &str) -> bool {
    holds(FUNCTIONS, name)
}

/// Whether a row can be the function's argument.
pub(super) fn is_function_of_rows(name: &str) -> bool {
    FUNCTIONS_OF_ROWS.split_ascii_whitespace().any(|entry| entry == name)
}

/// The readable columns of a catalog view. Names are as the server compares them: lower case.
pub(super) fn catalog_columns(schema: &str, name: &str) -> Option<&'static str> {
    CATALOG.iter().find(|(s, n, _)| *s == schema && *n == name).map(|(_, _, columns)| *columns)
}

/// Whether the schema is the system's, so that no pattern can grant it. `pg_` is reserved for it.
pub(super) fn is_system_schema(schema: &str) -> bool {
    schema.starts_with("pg_") || schema == "information_schema"
}

/// Whether a cast may name the type, given in the parser's spelling: `NUMERIC(18,4)`, `DOUBLE PRECISION`.
pub(super) fn is_type(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let (name, arguments) = match text.split_once('(') {
        Some((name, rest)) => (name, rest.strip_suffix(')')),
        None => (text.as_str(), Some("")),
    };
    let plain = |a: &str| a.split(',').map(str::trim).all(|a| a.chars().all(|c| c.is_ascii_digit()));
    let name = name.trim();
    (holds(TYPES, name) || LONG_TYPES.contains(&name)) && arguments.is_some_and(plain)
}

/// Names of types that the grammar knows as words, and which therefore are always the system's own.
const TYPES_OF_THE_GRAMMAR: &str = "\
    bigint bit boolean char character decimal double float int integer interval numeric real smallint time timestamp varchar";

/// Calls that the grammar knows as words.
const FUNCTIONS_OF_THE_GRAMMAR: &str = "coalesce greatest least";

/// A type that a cast may name, with its schema.
pub(super) fn qualified_type(text: &str) -> String {
    let text = text.to_ascii_lowercase();
    let word = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
    if holds(TYPES_OF_THE_GRAMMAR, word) { text } else { format!("pg_catalog.{text}") }
}

/// Whether a call of this name is syntax, and cannot be a function that somebody made.
pub(super) fn is_function_of_the_grammar(name: &str) -> bool {
    holds(FUNCTIONS_OF_THE_GRAMMAR, name)
}
