//! The catalog views of `sys`: names, types and meaning as in SQL Server 2022, each a query over the fake SQL Server's own
//! tables.
//!
//! A column is `(name, declared type, nullable, SQLite expression)`. Views hold the columns that tools ask for, in SQL
//! Server's order; those that would be constant in every real database are left out.

pub(super) type Columns = &'static [(&'static str, &'static str, bool, &'static str)];

/// A catalog view.
#[derive(Debug)]
pub struct SystemView {
    /// `sys`, `INFORMATION_SCHEMA` or `cdc`.
    pub schema: &'static str,
    /// Name.
    pub name: &'static str,
    /// Columns in ordinal order.
    pub columns: Columns,
    /// `FROM …` in SQLite.
    pub from: &'static str,
}

impl SystemView {
    /// The view as a SQLite query whose columns are `c1`, `c2`, ….
    pub fn query(&self) -> String {
        let columns: Vec<String> =
            (1..).zip(self.columns).map(|(id, (_, _, _, expression))| format!("{expression} AS c{id}")).collect();
        format!("SELECT {} {}", columns.join(", "), self.from)
    }
}

/// Every catalog view there is.
pub fn every_view() -> impl Iterator<Item = &'static SystemView> {
    VIEWS.iter().chain(super::information_schema::VIEWS).chain(super::captured::VIEWS).chain(super::server::VIEWS)
}

/// Finds a catalog view.
pub fn find(schema: &str, name: &str) -> Option<&'static SystemView> {
    let same = crate::sql::collate::same;
    every_view().find(|view| same(view.schema, schema) && same(view.name, name))
}

macro_rules! object_columns {
    ($($more:expr),* $(,)?) => {
        &[
            ("name", "sysname", false, "o.name"),
            ("object_id", "int", false, "o.object_id"),
            ("principal_id", "int", true, "NULL"),
            ("schema_id", "int", false, "o.schema_id"),
            ("parent_object_id", "int", false, "0"),
            ("type", "char(2)", true, "o.type"),
            ("type_desc", "nvarchar(60)", true, "CASE o.type WHEN 'V ' THEN 'VIEW' ELSE 'USER_TABLE' END"),
            ("create_date", "datetime", false, "o.created"),
            ("modify_date", "datetime", false, "o.created"),
            (
                "is_ms_shipped",
                "bit",
                false,
                "(o.object_id < 0 OR EXISTS (SELECT 1 FROM __cdc_instances i WHERE i.object_id = o.object_id))"
            ),
            ("is_published", "bit", false, "0"),
            ("is_schema_published", "bit", false, "0"),
            $($more),*
        ]
    };
}

pub(super) const COLLATION: &str = "CASE WHEN c.is_text THEN 'SQL_Latin1_General_CP1_CI_AS' END";

/// What a test says of a column; NULL where it says nothing.
macro_rules! fact {
    ($name:literal) => {
        concat!(
            "(SELECT f.value FROM __column_facts f WHERE f.object_id = c.object_id AND f.column_id = c.column_id AND f.fact = '",
            $name,
            "')"
        )
    };
}

/// The same; 0 where it says nothing.
macro_rules! flag {
    ($name:literal) => {
        concat!("IFNULL(", fact!($name), ", 0)")
    };
}

/// A number of the database.
macro_rules! number {
    ($name:literal) => {
        concat!("(SELECT value FROM __meta WHERE name = '", $name, "')")
    };
}

/// An option of the one database that is not a system database.
macro_rules! option {
    ($name:literal) => {
        concat!("(d.id = 5 AND IFNULL((SELECT value FROM __meta WHERE name = '", $name, "'), 0))")
    };
}

const COLUMNS: Columns = &[
    ("object_id", "int", false, "c.object_id"),
    ("name", "sysname", true, "c.name"),
    ("column_id", "int", false, "c.column_id"),
    ("system_type_id", "tinyint", false, "c.system_type_id"),
    ("user_type_id", "int", false, "c.user_type_id"),
    ("max_length", "smallint", false, "c.max_length"),
    ("precision", "tinyint", false, "c.precision"),
    ("scale", "tinyint", false, "c.scale"),
    ("collation_name", "sysname", true, COLLATION),
    ("is_nullable", "bit", true, "c.is_nullable"),
    ("is_ansi_padded", "bit", false, "1"),
    ("is_rowguidcol", "bit", false, "0"),
    ("is_identity", "bit", false, "c.is_identity"),
    ("is_computed", "bit", false, "0"),
    ("is_filestream", "bit", false, "0"),
    ("is_replicated", "bit", true, "0"),
    ("is_xml_document", "bit", false, "0"),
    ("xml_collection_id", "int", false, "0"),
    ("default_object_id", "int", false, "IFNULL(c.default_id, 0)"),
    ("rule_object_id", "int", false, "0"),
    ("is_sparse", "bit", true, flag!("is_sparse")),
    ("is_column_set", "bit", true, flag!("is_column_set")),
    ("generated_always_type", "tinyint", true, flag!("generated_always_type")),
    ("generated_always_type_desc", "nvarchar(60)", true, "'NOT_APPLICABLE'"),
    ("encryption_type", "int", true, fact!("encryption_type")),
    ("is_hidden", "bit", false, flag!("is_hidden")),
    ("is_masked", "bit", false, flag!("is_masked")),
    ("graph_type", "int", true, fact!("graph_type")),
];

const PARTITION: &str = "FROM __objects o JOIN __indexes i ON i.object_id = o.object_id";
const PARTITION_ID: &str = "72057594000000000 + o.object_id * 256 + i.index_id";
const PAGES: &str = "CASE WHEN o.rows = 0 THEN 0 ELSE 1 + o.rows * (o.row_bytes + 9) / 8060 END";
pub(super) const NO_ROWS: &str = "FROM (SELECT 1 LIMIT 0)";
pub(super) const DATABASE: &str = "(SELECT value FROM __meta WHERE name = 'database')";
pub(super) const SCHEMA_OF: &str = "(SELECT s.name FROM __schemas s WHERE s.schema_id = o.schema_id)";

const OBJECTS: Columns = object_columns![];
const TABLES: Columns = object_columns![
    ("max_column_id_used", "int", false, "(SELECT MAX(column_id) FROM __columns c WHERE c.object_id = o.object_id)"),
    ("is_replicated", "bit", true, "0"),
    (
        "is_tracked_by_cdc",
        "bit",
        true,
        "EXISTS (SELECT 1 FROM __cdc_instances i WHERE i.source_object_id = o.object_id)"
    ),
    ("is_filetable", "bit", true, "0"),
    ("is_memory_optimized", "bit", true, "0"),
    ("temporal_type", "tinyint", true, "0"),
    ("temporal_type_desc", "nvarchar(60)", true, "'NON_TEMPORAL_TABLE'"),
    ("is_external", "bit", false, "0"),
    ("is_node", "bit", false, "0"),
    ("is_edge", "bit", false, "0"),
];
const VIEW_COLUMNS: Columns =
    object_columns![("has_opaque_metadata", "bit", false, "0"), ("with_check_option", "bit", false, "0"),];

/// Objects, their keys and their defaults, in the columns of `sys.objects`.
const EVERY_OBJECT: &str = "FROM (SELECT object_id, schema_id, name, type, created FROM __objects) o";

/// The same with the catalog views.
const ALL_OBJECTS: &str = "FROM (SELECT object_id, schema_id, name, type, created FROM __objects \
     UNION ALL SELECT object_id, schema_id, name, 'V ', 0 FROM __system_objects) o";

/// Columns of tables and views, and of the catalog views by their names alone.
const ALL_COLUMNS: &str = "FROM (SELECT * FROM __columns \
     UNION ALL SELECT object_id, column_id, name, 'sysname', 'nvarchar', 231, 256, 256, 0, 0, 1, 0, NULL, NULL, NULL, NULL, \
     NULL, NULL, 1 FROM __system_columns) c";

/// The views of `sys`.
pub static VIEWS: &[SystemView] = &[
    SystemView {
        schema: "sys",
        name: "schemas",
        columns: &[
            ("name", "sysname", false, "s.name"),
            ("schema_id", "int", false, "s.schema_id"),
            ("principal_id", "int", true, "MIN(s.schema_id, 4)"),
        ],
        from: "FROM __schemas s",
    },
    SystemView { schema: "sys", name: "objects", columns: OBJECTS, from: EVERY_OBJECT },
    SystemView { schema: "sys", name: "all_objects", columns: OBJECTS, from: ALL_OBJECTS },
    SystemView { schema: "sys", name: "tables", columns: TABLES, from: "FROM __objects o WHERE o.type = 'U '" },
    SystemView { schema: "sys", name: "views", columns: VIEW_COLUMNS, from: "FROM __objects o WHERE o.type = 'V '" },
    SystemView {
        schema: "sys",
        name: "all_views",
        columns: VIEW_COLUMNS,
        from: "FROM __objects o WHERE o.type = 'V '",
    },
    SystemView { schema: "sys", name: "columns", columns: COLUMNS, from: "FROM __columns c" },
    SystemView { schema: "sys", name: "all_columns", columns: COLUMNS, from: ALL_COLUMNS },
    SystemView {
        schema: "sys",
        name: "database_permissions",
        columns: &[
            ("class", "tinyint", false, "1"),
            ("major_id", "int", false, "f.object_id"),
            ("minor_id", "int", false, "f.column_id"),
            ("type", "char(4)", false, "'SL  '"),
            ("permission_name", "nvarchar(128)", true, "'SELECT'"),
            ("state", "char(1)", false, "CASE f.fact WHEN 'granted' THEN 'G' ELSE 'D' END"),
        ],
        from: "FROM __column_facts f WHERE f.fact IN ('granted', 'denied')",
    },
    SystemView {
        schema: "sys",
        name: "identity_columns",
        columns: &[
            ("object_id", "int", false, "c.object_id"),
            ("name", "sysname", true, "c.name"),
            ("column_id", "int", false, "c.column_id"),
            ("system_type_id", "tinyint", false, "c.system_type_id"),
            ("is_identity", "bit", false, "1"),
            ("seed_value", "bigint", true, "c.seed"),
            ("increment_value", "bigint", true, "c.increment"),
            ("last_value", "bigint", true, "c.last_value"),
        ],
        from: "FROM __columns c WHERE c.is_identity",
    },
    SystemView {
        schema: "sys",
        name: "computed_columns",
        columns: &[
            ("object_id", "int", false, "0"),
            ("name", "sysname", true, "NULL"),
            ("column_id", "int", false, "0"),
            ("definition", "nvarchar(max)", true, "NULL"),
            ("is_persisted", "bit", false, "0"),
        ],
        from: NO_ROWS,
    },
    SystemView {
        schema: "sys",
        name: "default_constraints",
        columns: &[
            ("name", "sysname", false, "c.default_name"),
            ("object_id", "int", false, "c.default_id"),
            ("schema_id", "int", false, "o.schema_id"),
            ("parent_object_id", "int", false, "c.object_id"),
            ("parent_column_id", "int", false, "c.column_id"),
            ("definition", "nvarchar(max)", true, "'(' || c.default_sql || ')'"),
        ],
        from: "FROM __columns c JOIN __objects o ON o.object_id = c.object_id WHERE c.default_id IS NOT NULL",
    },
    SystemView {
        schema: "sys",
        name: "types",
        columns: &[
            ("name", "sysname", false, "t.name"),
            ("system_type_id", "tinyint", false, "t.system_type_id"),
            ("user_type_id", "int", false, "t.user_type_id"),
            ("schema_id", "int", false, "4"),
            ("principal_id", "int", true, "NULL"),
            ("max_length", "smallint", false, "t.max_length"),
            ("precision", "tinyint", false, "t.precision"),
            ("scale", "tinyint", false, "t.scale"),
            ("collation_name", "sysname", true, "CASE WHEN t.is_text THEN 'SQL_Latin1_General_CP1_CI_AS' END"),
            ("is_nullable", "bit", true, "t.user_type_id NOT IN (189, 256)"),
            ("is_user_defined", "bit", false, "0"),
            ("is_assembly_type", "bit", false, "t.is_clr"),
            ("default_object_id", "int", false, "0"),
            ("rule_object_id", "int", false, "0"),
            ("is_table_type", "bit", false, "0"),
        ],
        from: "FROM __types t",
    },
    SystemView {
        schema: "sys",
        name: "indexes",
        columns: &[
            ("object_id", "int", false, "i.object_id"),
            ("name", "sysname", true, "i.name"),
            ("index_id", "int", false, "i.index_id"),
            ("type", "tinyint", false, "i.type"),
            (
                "type_desc",
                "nvarchar(60)",
                true,
                "CASE i.type WHEN 0 THEN 'HEAP' WHEN 1 THEN 'CLUSTERED' ELSE 'NONCLUSTERED' END",
            ),
            ("is_unique", "bit", true, "i.is_unique"),
            ("data_space_id", "int", true, "1"),
            ("ignore_dup_key", "bit", true, "0"),
            ("is_primary_key", "bit", true, "i.is_primary_key"),
            ("is_unique_constraint", "bit", true, "i.is_constraint AND NOT i.is_primary_key"),
            ("fill_factor", "tinyint", false, "0"),
            ("is_padded", "bit", true, "0"),
            ("is_disabled", "bit", true, "0"),
            ("is_hypothetical", "bit", true, "0"),
            ("has_filter", "bit", true, "0"),
            ("filter_definition", "nvarchar(max)", true, "NULL"),
        ],
        from: "FROM __indexes i",
    },
    SystemView {
        schema: "sys",
        name: "index_columns",
        columns: &[
            ("object_id", "int", false, "x.object_id"),
            ("index_id", "int", false, "x.index_id"),
            ("index_column_id", "int", false, "x.index_column_id"),
            ("column_id", "int", false, "x.column_id"),
            ("key_ordinal", "tinyint", false, "x.key_ordinal"),
            ("partition_ordinal", "tinyint", false, "0"),
            ("is_descending_key", "bit", true, "x.is_descending"),
            ("is_included_column", "bit", true, "0"),
        ],
        from: "FROM __index_columns x",
    },
    SystemView {
        schema: "sys",
        name: "key_constraints",
        columns: &[
            ("name", "sysname", false, "i.name"),
            ("object_id", "int", false, "i.key_id"),
            ("schema_id", "int", false, "o.schema_id"),
            ("parent_object_id", "int", false, "i.object_id"),
            ("type", "char(2)", true, "CASE WHEN i.is_primary_key THEN 'PK' ELSE 'UQ' END"),
            (
                "type_desc",
                "nvarchar(60)",
                true,
                "CASE WHEN i.is_primary_key THEN 'PRIMARY_KEY_CONSTRAINT' ELSE 'UNIQUE_CONSTRAINT' END",
            ),
            ("create_date", "datetime", false, "o.created"),
            ("unique_index_id", "int", true, "i.index_id"),
            ("is_system_named", "bit", false, "i.name LIKE 'PK~_~_%' ESCAPE '~'"),
        ],
        from: "FROM __indexes i JOIN __objects o ON o.object_id = i.object_id WHERE i.is_constraint",
    },
    SystemView {
        schema: "sys",
        name: "foreign_keys",
        columns: &[
            ("name", "sysname", false, "''"),
            ("object_id", "int", false, "0"),
            ("parent_object_id", "int", false, "0"),
            ("referenced_object_id", "int", true, "0"),
            ("key_index_id", "int", true, "0"),
        ],
        from: NO_ROWS,
    },
    SystemView {
        schema: "sys",
        name: "extended_properties",
        columns: &[
            ("class", "tinyint", false, "0"),
            ("major_id", "int", false, "0"),
            ("minor_id", "int", false, "0"),
            ("name", "sysname", false, "''"),
            ("value", "sql_variant", true, "NULL"),
        ],
        from: NO_ROWS,
    },
    SystemView {
        schema: "sys",
        name: "change_tracking_tables",
        columns: &[
            ("object_id", "int", false, "t.object_id"),
            ("is_track_columns_updated_on", "bit", false, "t.tracks_columns"),
            ("min_valid_version", "bigint", true, "MAX(t.begin_version, t.cleanup_version)"),
            ("begin_version", "bigint", true, "t.begin_version"),
            ("cleanup_version", "bigint", true, "t.cleanup_version"),
        ],
        from: "FROM __ct_tables t",
    },
    SystemView {
        schema: "sys",
        name: "change_tracking_databases",
        columns: &[
            ("database_id", "int", false, "5"),
            ("is_auto_cleanup_on", "tinyint", true, number!("ct_auto_cleanup")),
            ("retention_period", "int", true, number!("ct_retention")),
            ("retention_period_units", "tinyint", true, number!("ct_retention_unit")),
            (
                "retention_period_units_desc",
                "nvarchar(60)",
                true,
                concat!(
                    "CASE ",
                    number!("ct_retention_unit"),
                    " WHEN 1 THEN 'MINUTES' WHEN 2 THEN 'HOURS' ELSE 'DAYS' END"
                ),
            ),
        ],
        from: "FROM __meta m WHERE m.name = 'ct_enabled' AND m.value = 1",
    },
    SystemView {
        schema: "sys",
        name: "sql_modules",
        columns: &[
            ("object_id", "int", false, "o.object_id"),
            ("definition", "nvarchar(max)", true, "o.definition"),
            ("uses_ansi_nulls", "bit", true, "1"),
            ("uses_quoted_identifier", "bit", true, "1"),
            ("is_schema_bound", "bit", true, "0"),
        ],
        from: "FROM __objects o WHERE o.type = 'V '",
    },
    SystemView {
        schema: "sys",
        name: "partitions",
        columns: &[
            ("partition_id", "bigint", false, PARTITION_ID),
            ("object_id", "int", false, "o.object_id"),
            ("index_id", "int", false, "i.index_id"),
            ("partition_number", "int", false, "1"),
            ("hobt_id", "bigint", false, PARTITION_ID),
            ("rows", "bigint", true, "o.rows"),
            ("data_compression", "tinyint", false, "0"),
            ("data_compression_desc", "nvarchar(60)", true, "'NONE'"),
        ],
        from: PARTITION,
    },
    SystemView {
        schema: "sys",
        name: "allocation_units",
        columns: &[
            ("allocation_unit_id", "bigint", false, PARTITION_ID),
            ("type", "tinyint", false, "1"),
            ("type_desc", "nvarchar(60)", true, "'IN_ROW_DATA'"),
            ("container_id", "bigint", false, PARTITION_ID),
            ("data_space_id", "int", true, "1"),
            ("total_pages", "bigint", false, PAGES),
            ("used_pages", "bigint", false, PAGES),
            ("data_pages", "bigint", false, PAGES),
        ],
        from: PARTITION,
    },
    SystemView {
        schema: "sys",
        name: "dm_db_partition_stats",
        columns: &[
            ("partition_id", "bigint", true, PARTITION_ID),
            ("object_id", "int", false, "o.object_id"),
            ("index_id", "int", false, "i.index_id"),
            ("partition_number", "int", false, "1"),
            ("in_row_data_page_count", "bigint", true, PAGES),
            ("in_row_used_page_count", "bigint", true, PAGES),
            ("in_row_reserved_page_count", "bigint", true, PAGES),
            ("lob_used_page_count", "bigint", true, "0"),
            ("lob_reserved_page_count", "bigint", true, "0"),
            ("row_overflow_used_page_count", "bigint", true, "0"),
            ("row_overflow_reserved_page_count", "bigint", true, "0"),
            ("used_page_count", "bigint", true, PAGES),
            ("reserved_page_count", "bigint", true, PAGES),
            ("row_count", "bigint", true, "o.rows"),
        ],
        from: PARTITION,
    },
    SystemView {
        schema: "sys",
        name: "databases",
        columns: &[
            ("name", "sysname", false, "d.name"),
            ("database_id", "int", false, "d.id"),
            ("create_date", "datetime", false, "0"),
            ("compatibility_level", "tinyint", false, "160"),
            ("collation_name", "sysname", true, "'SQL_Latin1_General_CP1_CI_AS'"),
            ("user_access", "tinyint", true, "0"),
            ("user_access_desc", "nvarchar(60)", true, "'MULTI_USER'"),
            ("is_read_only", "bit", true, "0"),
            ("state", "tinyint", true, "0"),
            ("state_desc", "nvarchar(60)", true, "'ONLINE'"),
            ("snapshot_isolation_state", "tinyint", true, option!("snapshot_isolation")),
            (
                "snapshot_isolation_state_desc",
                "nvarchar(60)",
                true,
                concat!("CASE ", option!("snapshot_isolation"), " WHEN 1 THEN 'ON' ELSE 'OFF' END"),
            ),
            ("is_read_committed_snapshot_on", "bit", true, option!("read_committed_snapshot")),
            ("recovery_model", "tinyint", true, "1"),
            ("recovery_model_desc", "nvarchar(60)", true, "'FULL'"),
            ("is_cdc_enabled", "bit", false, option!("cdc_enabled")),
        ],
        from: "FROM (SELECT 1 AS id, 'master' AS name UNION ALL SELECT 2, 'tempdb' UNION ALL SELECT 3, 'model' \
               UNION ALL SELECT 4, 'msdb' UNION ALL SELECT 5, value FROM __meta WHERE name = 'database') d",
    },
];
