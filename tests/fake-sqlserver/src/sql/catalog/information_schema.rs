//! The views of INFORMATION_SCHEMA, as [`super::views`] describes those of `sys`.

use super::views::{COLLATION, DATABASE, SCHEMA_OF, SystemView};

/// The views of `INFORMATION_SCHEMA`.
pub static VIEWS: &[SystemView] = &[
    SystemView {
        schema: "INFORMATION_SCHEMA",
        name: "SCHEMATA",
        columns: &[
            ("CATALOG_NAME", "nvarchar(128)", true, DATABASE),
            ("SCHEMA_NAME", "nvarchar(128)", false, "s.name"),
            ("SCHEMA_OWNER", "nvarchar(128)", true, "'dbo'"),
        ],
        from: "FROM __schemas s",
    },
    SystemView {
        schema: "INFORMATION_SCHEMA",
        name: "TABLES",
        columns: &[
            ("TABLE_CATALOG", "nvarchar(128)", true, DATABASE),
            ("TABLE_SCHEMA", "nvarchar(128)", true, SCHEMA_OF),
            ("TABLE_NAME", "sysname", false, "o.name"),
            ("TABLE_TYPE", "varchar(10)", true, "CASE o.type WHEN 'V ' THEN 'VIEW' ELSE 'BASE TABLE' END"),
        ],
        from: "FROM __objects o",
    },
    SystemView {
        schema: "INFORMATION_SCHEMA",
        name: "VIEWS",
        columns: &[
            ("TABLE_CATALOG", "nvarchar(128)", true, DATABASE),
            ("TABLE_SCHEMA", "nvarchar(128)", true, SCHEMA_OF),
            ("TABLE_NAME", "sysname", false, "o.name"),
            ("VIEW_DEFINITION", "nvarchar(4000)", true, "o.definition"),
            ("CHECK_OPTION", "varchar(7)", true, "'NONE'"),
            ("IS_UPDATABLE", "varchar(2)", false, "'NO'"),
        ],
        from: "FROM __objects o WHERE o.type = 'V '",
    },
    SystemView {
        schema: "INFORMATION_SCHEMA",
        name: "COLUMNS",
        columns: &[
            ("TABLE_CATALOG", "nvarchar(128)", true, DATABASE),
            ("TABLE_SCHEMA", "nvarchar(128)", true, SCHEMA_OF),
            ("TABLE_NAME", "nvarchar(128)", false, "o.name"),
            ("COLUMN_NAME", "nvarchar(128)", true, "c.name"),
            ("ORDINAL_POSITION", "int", false, "c.column_id"),
            ("COLUMN_DEFAULT", "nvarchar(4000)", true, "'(' || c.default_sql || ')'"),
            ("IS_NULLABLE", "varchar(3)", true, "CASE WHEN c.is_nullable THEN 'YES' ELSE 'NO' END"),
            ("DATA_TYPE", "nvarchar(128)", true, "c.type_name"),
            ("CHARACTER_MAXIMUM_LENGTH", "int", true, CHARACTERS),
            ("CHARACTER_OCTET_LENGTH", "int", true, OCTETS),
            ("NUMERIC_PRECISION", "tinyint", true, NUMERIC_PRECISION),
            (
                "NUMERIC_PRECISION_RADIX",
                "smallint",
                true,
                "CASE WHEN c.system_type_id IN (59, 62) THEN 2 WHEN c.system_type_id IN (48, 52, 56, 127, 106, 108, 60, 122) THEN 10 END",
            ),
            (
                "NUMERIC_SCALE",
                "int",
                true,
                "CASE WHEN c.system_type_id IN (48, 52, 56, 127, 106, 108, 60, 122) THEN c.scale END",
            ),
            (
                "DATETIME_PRECISION",
                "smallint",
                true,
                "CASE WHEN c.system_type_id IN (40, 41, 42, 43, 58, 61) THEN c.scale END",
            ),
            ("CHARACTER_SET_CATALOG", "sysname", true, "NULL"),
            ("CHARACTER_SET_SCHEMA", "sysname", true, "NULL"),
            (
                "CHARACTER_SET_NAME",
                "sysname",
                true,
                "CASE WHEN c.system_type_id IN (35, 167, 175) THEN 'iso_1' WHEN c.system_type_id IN (99, 231, 239) THEN 'UNICODE' END",
            ),
            ("COLLATION_CATALOG", "sysname", true, "NULL"),
            ("COLLATION_SCHEMA", "sysname", true, "NULL"),
            ("COLLATION_NAME", "sysname", true, COLLATION),
        ],
        from: "FROM __objects o JOIN __columns c ON c.object_id = o.object_id",
    },
    SystemView {
        schema: "INFORMATION_SCHEMA",
        name: "TABLE_CONSTRAINTS",
        columns: &[
            ("CONSTRAINT_CATALOG", "nvarchar(128)", true, DATABASE),
            ("CONSTRAINT_SCHEMA", "nvarchar(128)", true, SCHEMA_OF),
            ("CONSTRAINT_NAME", "sysname", false, "i.name"),
            ("TABLE_CATALOG", "nvarchar(128)", true, DATABASE),
            ("TABLE_SCHEMA", "nvarchar(128)", true, SCHEMA_OF),
            ("TABLE_NAME", "sysname", true, "o.name"),
            ("CONSTRAINT_TYPE", "varchar(11)", true, "CASE WHEN i.is_primary_key THEN 'PRIMARY KEY' ELSE 'UNIQUE' END"),
            ("IS_DEFERRABLE", "varchar(2)", false, "'NO'"),
            ("INITIALLY_DEFERRED", "varchar(2)", false, "'NO'"),
        ],
        from: "FROM __indexes i JOIN __objects o ON o.object_id = i.object_id WHERE i.is_constraint",
    },
    SystemView {
        schema: "INFORMATION_SCHEMA",
        name: "KEY_COLUMN_USAGE",
        columns: &[
            ("CONSTRAINT_CATALOG", "nvarchar(128)", true, DATABASE),
            ("CONSTRAINT_SCHEMA", "nvarchar(128)", true, SCHEMA_OF),
            ("CONSTRAINT_NAME", "nvarchar(128)", false, "i.name"),
            ("TABLE_CATALOG", "nvarchar(128)", true, DATABASE),
            ("TABLE_SCHEMA", "nvarchar(128)", true, SCHEMA_OF),
            ("TABLE_NAME", "nvarchar(128)", true, "o.name"),
            ("COLUMN_NAME", "nvarchar(128)", true, "c.name"),
            ("ORDINAL_POSITION", "int", false, "x.key_ordinal"),
        ],
        from: KEY_COLUMNS,
    },
    SystemView {
        schema: "INFORMATION_SCHEMA",
        name: "CONSTRAINT_COLUMN_USAGE",
        columns: &[
            ("TABLE_CATALOG", "nvarchar(128)", true, DATABASE),
            ("TABLE_SCHEMA", "nvarchar(128)", true, SCHEMA_OF),
            ("TABLE_NAME", "nvarchar(128)", true, "o.name"),
            ("COLUMN_NAME", "nvarchar(128)", true, "c.name"),
            ("CONSTRAINT_CATALOG", "nvarchar(128)", true, DATABASE),
            ("CONSTRAINT_SCHEMA", "nvarchar(128)", true, SCHEMA_OF),
            ("CONSTRAINT_NAME", "nvarchar(128)", false, "i.name"),
        ],
        from: KEY_COLUMNS,
    },
];

const KEY_COLUMNS: &str = "FROM __indexes i JOIN __objects o ON o.object_id = i.object_id \
     JOIN __index_columns x ON x.object_id = i.object_id AND x.index_id = i.index_id \
     JOIN __columns c ON c.object_id = x.object_id AND c.column_id = x.column_id WHERE i.is_constraint";

const CHARACTERS: &str = "CASE WHEN c.system_type_id IN (35, 34) THEN 2147483647 WHEN c.system_type_id = 99 THEN 1073741823 \
     WHEN c.max_length = -1 THEN -1 WHEN c.system_type_id IN (231, 239) THEN c.max_length / 2 \
     WHEN c.system_type_id IN (167, 175, 165, 173) OR c.user_type_id = 128 THEN c.max_length \
     WHEN c.system_type_id = 98 THEN 0 END";
const OCTETS: &str = "CASE WHEN c.system_type_id IN (35, 34) THEN 2147483647 WHEN c.system_type_id = 99 THEN 2147483646 \
     WHEN c.max_length = -1 THEN -1 \
     WHEN c.system_type_id IN (231, 239, 167, 175, 165, 173) OR c.user_type_id = 128 THEN c.max_length \
     WHEN c.system_type_id = 98 THEN 0 END";
const NUMERIC_PRECISION: &str =
    "CASE WHEN c.system_type_id IN (48, 52, 56, 127, 106, 108, 60, 122, 59, 62) THEN c.precision END";
