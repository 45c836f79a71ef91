//! What a datakit's SQL may name. Everything else is refused.

/// Reserved words of T-SQL that no query here needs. A reserved word cannot be a name without quotes, so refusing the
/// bare word refuses no honest query; but `SELECT a FROM dbo.t SHUTDOWN` is a query with an alias to one reader and two
/// statements to the server.
/// Source: "Reserved keywords (Transact-SQL)".
const FORBIDDEN_WORDS: &str = "\
    ADD ALTER AUTHORIZATION BACKUP BEGIN BREAK BROWSE BULK CHECK CHECKPOINT CLOSE CLUSTERED COMMIT COMPUTE \
    CONSTRAINT CONTAINS CONTAINSTABLE CONTINUE CREATE CURRENT_USER CURSOR DATABASE DBCC DEALLOCATE DECLARE DEFAULT \
    DELETE DENY DISK DISTRIBUTED DROP DUMP ERRLVL EXEC EXECUTE EXIT EXTERNAL FILE FILLFACTOR FOR FOREIGN FREETEXT \
    FREETEXTTABLE FUNCTION GOTO GRANT IDENTITY IDENTITYCOL IDENTITY_INSERT IF INDEX INSERT INTO KILL LINENO LOAD \
    MERGE NATIONAL NOCHECK NONCLUSTERED OFFSETS OPEN OPENDATASOURCE OPENQUERY OPENROWSET OPENXML OPTION PIVOT PLAN \
    PRINT PROC PROCEDURE PUBLIC RAISERROR READ READTEXT RECEIVE RECONFIGURE REFERENCES REPLICATION RESTORE RESTRICT \
    RETURN REVERT REVOKE ROLLBACK ROWGUIDCOL RULE SAVE SCHEMA SECURITYAUDIT SEMANTICKEYPHRASETABLE \
    SEMANTICSIMILARITYDETAILSTABLE SEMANTICSIMILARITYTABLE SESSION_USER SET SETUSER SHUTDOWN STATISTICS SYSTEM_USER \
    TABLE TABLESAMPLE TEXTSIZE THROW TRAN TRANSACTION TRIGGER TRUNCATE TSEQUAL UNPIVOT UPDATE UPDATETEXT USE USER \
    VIEW WAITFOR WHILE WRITETEXT";

/// The other reserved words: they build queries, and are no names either. PRECISION is on the server's list, but
/// it takes `c.precision` of sys.columns without quotes.
const STRUCTURE_WORDS: &str = "\
    ALL AND ANY AS ASC BETWEEN BY CASE COLLATE COLUMN CROSS CURRENT DESC DISTINCT DOUBLE ELSE END ESCAPE EXCEPT EXISTS \
    FETCH FROM FULL GROUP HAVING HOLDLOCK IN INNER INTERSECT IS JOIN KEY LEFT LIKE NOT NULL OF OFF ON OR ORDER OUTER \
    OVER PERCENT PRIMARY RIGHT ROWCOUNT SELECT SOME THEN TO TOP UNION UNIQUE VALUES VARYING WHEN WHERE WITH \
    WITHIN";

/// Functions a query may call, by their bare names: values in, value out, nothing of the login, the session or the
/// server. CAST, CONVERT, TRY_CAST, TRY_CONVERT, SUBSTRING, TRIM, CEILING and FLOOR are syntax of their own.
pub(super) const FUNCTIONS: &str = "\
    ABS ACOS ASCII ASIN ATAN ATN2 AVG BINARY_CHECKSUM CEILING CHAR CHARINDEX CHECKSUM CHECKSUM_AGG CHOOSE COALESCE \
    COL_NAME CONCAT CONCAT_WS COS COT COUNT COUNT_BIG CUME_DIST CURRENT_TIMESTAMP \
    DATALENGTH DATEADD DATEDIFF DATEDIFF_BIG DATEFROMPARTS DATENAME DATEPART DATETIME2FROMPARTS DATETIMEFROMPARTS \
    DATETIMEOFFSETFROMPARTS DATETRUNC DATE_BUCKET DAY DEGREES DENSE_RANK EOMONTH EXP FIRST_VALUE FLOOR FORMAT \
    GETDATE GETUTCDATE GREATEST HASHBYTES IIF ISDATE ISJSON ISNULL ISNUMERIC JSON_QUERY \
    JSON_VALUE LAG LAST_VALUE LEAD LEAST LEFT LEN LOG LOG10 LOWER LTRIM MAX MIN MONTH NCHAR NTILE NULLIF \
    OBJECT_ID OBJECT_NAME OBJECT_SCHEMA_NAME PATINDEX PERCENTILE_CONT \
    PERCENTILE_DISC PERCENT_RANK PI POWER QUOTENAME RADIANS RANK REPLACE REVERSE RIGHT ROUND ROW_NUMBER RTRIM \
    SCHEMA_ID SCHEMA_NAME SIGN SIN SMALLDATETIMEFROMPARTS SQL_VARIANT_PROPERTY SQRT SQUARE STDEV STDEVP \
    STR STRING_AGG STUFF SUBSTRING SUM SWITCHOFFSET SYSDATETIME SYSDATETIMEOFFSET SYSUTCDATETIME TAN TIMEFROMPARTS \
    TODATETIMEOFFSET TRANSLATE TYPE_ID TYPE_NAME UNICODE UPPER VAR VARP YEAR";

/// Functions of an id in this database; a second argument would name another database.
const OF_ONE_ID: &str = "OBJECT_NAME OBJECT_SCHEMA_NAME SCHEMA_NAME SCHEMA_ID TYPE_NAME";

/// Functions of a name, which may begin with another database.
const OF_ONE_NAME: &str = "OBJECT_ID TYPE_ID";

/// Catalog views every session may read, and of each the columns: which tables there are, of which columns, keys and sizes;
/// nothing of logins, owners, sessions, definitions, defaults or the server.
pub(super) const CATALOG: [(&str, &str, &str); 13] = [
    (
        "sys",
        "objects",
        "object_id name schema_id parent_object_id type type_desc create_date modify_date is_ms_shipped",
    ),
    ("sys", "all_objects", "object_id name schema_id type type_desc is_ms_shipped"),
    ("sys", "all_columns", "object_id column_id name"),
    (
        "sys",
        "tables",
        "object_id name schema_id parent_object_id type type_desc create_date modify_date is_ms_shipped is_filetable \
         is_memory_optimized temporal_type temporal_type_desc history_table_id is_external is_node is_edge ledger_type \
         ledger_type_desc",
    ),
    ("sys", "views", "object_id name schema_id parent_object_id type type_desc create_date modify_date is_ms_shipped"),
    ("sys", "schemas", "schema_id name"),
    (
        "sys",
        "columns",
        "object_id column_id name system_type_id user_type_id max_length precision scale collation_name is_nullable \
         is_rowguidcol is_identity is_computed is_filestream is_xml_document is_sparse is_column_set is_hidden is_masked \
         generated_always_type generated_always_type_desc encryption_type encryption_type_desc graph_type graph_type_desc",
    ),
    (
        "sys",
        "types",
        "name system_type_id user_type_id schema_id max_length precision scale collation_name is_nullable is_user_defined \
         is_assembly_type is_table_type",
    ),
    (
        "sys",
        "indexes",
        "object_id index_id name type type_desc is_unique is_primary_key is_unique_constraint is_disabled has_filter",
    ),
    (
        "sys",
        "index_columns",
        "object_id index_id index_column_id column_id key_ordinal partition_ordinal is_descending_key is_included_column",
    ),
    ("sys", "partitions", "partition_id object_id index_id partition_number rows"),
    ("information_schema", "tables", "table_catalog table_schema table_name table_type"),
    (
        "information_schema",
        "columns",
        "table_catalog table_schema table_name column_name ordinal_position is_nullable data_type character_maximum_length \
         character_octet_length numeric_precision numeric_precision_radix numeric_scale datetime_precision collation_name",
    ),
];

/// Compatibility views that answer to `dbo.` as well as `sys.`, whatever a pattern like `dbo.*` was meant for.
/// Source: "System compatibility views (Transact-SQL)".
const COMPATIBILITY_VIEWS: &str = "\
    sysaltfiles syscacheobjects syscharsets syscolumns syscomments sysconfigures sysconstraints syscurconfigs \
    syscursorcolumns syscursorrefs syscursors syscursortables sysdatabases sysdepends sysdevices sysfilegroups \
    sysfiles sysforeignkeys sysfulltextcatalogs sysindexes sysindexkeys syslanguages syslockinfo syslogins \
    sysmembers sysmessages sysobjects sysoledbusers sysopentapes sysperfinfo syspermissions sysprocesses sysprotects \
    sysreferences sysremote_columns sysremote_tables sysremote_views sysremotelogins syssegments sysservers systypes \
    sysusers";

/// Table hints: how to read, and none that takes more than a shared lock or skips rows in silence.
const TABLE_HINTS: &str = "\
    FORCESCAN FORCESEEK HOLDLOCK NOEXPAND NOLOCK NOWAIT PAGLOCK READCOMMITTED READCOMMITTEDLOCK READUNCOMMITTED \
    REPEATABLEREAD SERIALIZABLE";

/// Table hints that read what is not committed.
const DIRTY_READS: &str = "NOLOCK READUNCOMMITTED";

/// Types that CAST and CONVERT may name: the system's own, since a CLR type runs code when converted to.
pub(super) const TYPES: &str = "\
    bigint binary bit char character date datetime datetime2 datetimeoffset dec decimal float geography geometry \
    hierarchyid image int integer json money nchar ntext numeric nvarchar real rowversion smalldatetime smallint \
    smallmoney sql_variant sysname text time timestamp tinyint uniqueidentifier varbinary varchar xml";

/// Whether a table hint reads what is not committed.
pub(super) fn allows_dirty_reads(hint: &str) -> bool {
    holds(DIRTY_READS, hint)
}

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

/// Whether the function takes an id alone.
pub(super) fn takes_one_id(name: &str) -> bool {
    holds(OF_ONE_ID, name)
}

/// Whether the function takes a name alone.
pub(super) fn takes_one_name(name: &str) -> bool {
    holds(OF_ONE_NAME, name)
}

/// The readable columns of a catalog view.
pub(super) fn catalog_columns(schema: &str, name: &str) -> Option<&'static str> {
    CATALOG
        .iter()
        .find(|(s, n, _)| s.eq_ignore_ascii_case(schema) && n.eq_ignore_ascii_case(name))
        .map(|(_, _, columns)| *columns)
}

/// Whether the name belongs to the system, so that no pattern can grant it.
pub(super) fn is_system_name(schema: &str, name: &str) -> bool {
    holds("sys information_schema cdc", schema.trim_end())
        || (schema.trim_end().eq_ignore_ascii_case("dbo") && holds(COMPATIBILITY_VIEWS, name.trim_end()))
}

/// Whether the hint may stand in `WITH (…)`.
pub(super) fn is_table_hint(name: &str) -> bool {
    holds(TABLE_HINTS, name)
}

/// Whether CAST and CONVERT may name the type, given in the parser's spelling: `NVARCHAR(40)`, `DECIMAL(18,4)`.
pub(super) fn is_type(text: &str) -> bool {
    let (name, arguments) = match text.split_once('(') {
        Some((name, rest)) => (name, rest.strip_suffix(')')),
        None => (text, Some("")),
    };
    let plain = |a: &str| {
        a.split(',').map(str::trim).all(|a| a.eq_ignore_ascii_case("max") || a.chars().all(|c| c.is_ascii_digit()))
    };
    holds(TYPES, name.trim()) && arguments.is_some_and(plain)
}
