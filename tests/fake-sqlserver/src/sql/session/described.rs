//! System procedures that answer with rows of the catalog, each a query of T-SQL over the catalog views.
//!
//! Sources: "sp_tables", "sp_columns", "sp_pkeys", "sp_statistics", "sys.sp_cdc_help_change_data_capture", "sys.sp_cdc_help_jobs". The procedures whose
//! names end with `_100` are those that drivers call since SQL Server 2008; their columns beyond those of the pages are what Microsoft's JDBC
//! driver takes them in.

use sqlparser::ast::Statement;

use super::own::Arguments;
use super::{Flow, SqlSession};
use crate::engine::{Event, Output, Parameter};
use crate::sql::bind::Variable;
use crate::sql::{convert, errors, parse};
use crate::values::{Length, SqlError, SqlType, Value};

/// A procedure.
struct Described {
    name: &'static str,
    /// Its parameters in order, all of them texts.
    parameters: &'static [&'static str],
    query: &'static str,
}

/// The condition on schema and name of an object, whose arguments are patterns; an argument that is not given matches all.
macro_rules! named {
    () => {
        "(@table_name IS NULL OR o.name LIKE @table_name) AND (@table_owner IS NULL OR s.name LIKE @table_owner) \
         AND (@table_qualifier IS NULL OR @table_qualifier = DB_NAME())"
    };
}

/// From here on the rows of a table's columns.
macro_rules! objects {
    () => {
        " FROM sys.objects o JOIN sys.schemas s ON s.schema_id = o.schema_id "
    };
}

const TABLES: &str = concat!(
    "SELECT DB_NAME() AS TABLE_QUALIFIER, s.name AS TABLE_OWNER, o.name AS TABLE_NAME, \
     CAST(CASE o.type WHEN 'V' THEN 'VIEW' ELSE 'TABLE' END AS varchar(32)) AS TABLE_TYPE, CAST(NULL AS varchar(254)) AS REMARKS",
    objects!(),
    "WHERE o.type IN ('U', 'V') AND ",
    named!(),
    " AND (@table_type IS NULL OR CHARINDEX(CASE o.type WHEN 'V' THEN '''VIEW''' ELSE '''TABLE''' END, @table_type) > 0) ORDER BY 4, 1, 2, 3"
);

/// The type of a column by ODBC 3, `DATA_TYPE` of "sp_columns".
const ODBC_TYPE: &str = "CAST(CASE t.name WHEN 'bigint' THEN -5 WHEN 'binary' THEN -2 WHEN 'bit' THEN -7 WHEN 'char' THEN 1 WHEN 'date' THEN 91 \
     WHEN 'datetime' THEN 93 WHEN 'datetime2' THEN 93 WHEN 'smalldatetime' THEN 93 WHEN 'datetimeoffset' THEN -155 WHEN 'decimal' THEN 3 \
     WHEN 'money' THEN 3 WHEN 'smallmoney' THEN 3 WHEN 'float' THEN 6 WHEN 'image' THEN -4 WHEN 'int' THEN 4 WHEN 'nchar' THEN -8 \
     WHEN 'ntext' THEN -10 WHEN 'numeric' THEN 2 WHEN 'nvarchar' THEN -9 WHEN 'sysname' THEN -9 WHEN 'real' THEN 7 WHEN 'smallint' THEN 5 \
     WHEN 'sql_variant' THEN -150 WHEN 'text' THEN -1 WHEN 'time' THEN -154 WHEN 'timestamp' THEN -2 WHEN 'tinyint' THEN -6 \
     WHEN 'uniqueidentifier' THEN -11 WHEN 'varbinary' THEN -3 WHEN 'varchar' THEN 12 WHEN 'xml' THEN -152 ELSE -151 END AS smallint)";

/// `SQL_DATA_TYPE`: as `DATA_TYPE`, but 9 of dates and times, whose kind is in `SQL_DATETIME_SUB`.
const VERBOSE_TYPE: &str = "CAST(CASE WHEN t.name IN ('date', 'datetime', 'datetime2', 'smalldatetime', 'datetimeoffset', 'time') THEN 9 ELSE d.DATA_TYPE END AS smallint)";

/// `PRECISION`: digits, characters or bytes; of dates and times the characters of their text.
const PRECISION: &str = "CAST(CASE WHEN t.name IN ('nvarchar', 'nchar', 'sysname') THEN CASE WHEN c.max_length = -1 THEN 1073741823 ELSE c.max_length / 2 END \
     WHEN t.name IN ('varchar', 'varbinary') AND c.max_length = -1 THEN 2147483647 WHEN t.name = 'ntext' THEN 1073741823 WHEN t.name IN ('text', 'image') \
     THEN 2147483647 WHEN t.name = 'uniqueidentifier' THEN 36 WHEN t.name = 'float' THEN 53 WHEN t.name = 'real' THEN 24 WHEN c.precision = 0 THEN c.max_length \
     ELSE c.precision END AS int)";

/// `LENGTH`: the bytes of the value.
const LENGTH: &str = "CAST(CASE WHEN c.max_length = -1 OR t.name IN ('text', 'ntext', 'image') THEN 2147483647 WHEN t.name IN ('decimal', 'numeric') \
     THEN c.precision + 2 ELSE c.max_length END AS int)";

const IS_BINARY_OR_TEXT: &str = "t.name IN ('char', 'varchar', 'text', 'nchar', 'nvarchar', 'ntext', 'sysname', 'binary', 'varbinary', 'image', 'timestamp', 'xml')";

const PRIMARY_KEYS: &str = concat!(
    "SELECT DB_NAME() AS TABLE_QUALIFIER, s.name AS TABLE_OWNER, o.name AS TABLE_NAME, c.name AS COLUMN_NAME, \
     CAST(x.key_ordinal AS smallint) AS KEY_SEQ, i.name AS PK_NAME",
    objects!(),
    "JOIN sys.indexes i ON i.object_id = o.object_id AND i.is_primary_key = 1 JOIN sys.index_columns x ON x.object_id = i.object_id \
     AND x.index_id = i.index_id JOIN sys.columns c ON c.object_id = o.object_id AND c.column_id = x.column_id WHERE ",
    named!(),
    " ORDER BY 1, 2, 3, 5"
);

const STATISTICS: &str = concat!(
    "SELECT DB_NAME() AS TABLE_QUALIFIER, s.name AS TABLE_OWNER, o.name AS TABLE_NAME, CAST(1 - i.is_unique AS smallint) AS NON_UNIQUE, \
     o.name AS INDEX_QUALIFIER, i.name AS INDEX_NAME, CAST(CASE i.type WHEN 1 THEN 1 ELSE 3 END AS smallint) AS TYPE, \
     CAST(x.key_ordinal AS smallint) AS SEQ_IN_INDEX, c.name AS COLUMN_NAME, \
     CAST(CASE x.is_descending_key WHEN 1 THEN 'D' ELSE 'A' END AS char(1)) AS COLLATION, CAST(NULL AS int) AS CARDINALITY, CAST(NULL AS int) AS PAGES, \
     CAST(NULL AS varchar(128)) AS FILTER_CONDITION",
    objects!(),
    "JOIN sys.indexes i ON i.object_id = o.object_id AND i.index_id > 0 JOIN sys.index_columns x ON x.object_id = i.object_id \
     AND x.index_id = i.index_id JOIN sys.columns c ON c.object_id = o.object_id AND c.column_id = x.column_id WHERE ",
    named!(),
    " AND (@index_name IS NULL OR i.name LIKE @index_name) AND (@is_unique <> 'Y' OR i.is_unique = 1 OR @is_unique IS NULL) ORDER BY 4, 7, 6, 8"
);

const CAPTURED: &str = "SELECT OBJECT_SCHEMA_NAME(t.source_object_id) AS source_schema, OBJECT_NAME(t.source_object_id) AS source_table, t.capture_instance, \
     t.object_id, t.source_object_id, t.start_lsn, t.end_lsn, t.supports_net_changes, t.has_drop_pending, t.role_name, t.index_name, \
     t.filegroup_name, t.create_date, (SELECT STRING_AGG('[' + x.column_name + ']', ', ') FROM cdc.index_columns x WHERE x.object_id = t.object_id) \
     AS index_column_list, (SELECT STRING_AGG('[' + c.column_name + ']', ', ') FROM cdc.captured_columns c WHERE c.object_id = t.object_id) \
     AS captured_column_list FROM cdc.change_tables t WHERE (@source_schema IS NULL OR OBJECT_SCHEMA_NAME(t.source_object_id) = @source_schema) \
     AND (@source_name IS NULL OR OBJECT_NAME(t.source_object_id) = @source_name) ORDER BY 1, 2";

/// The jobs as `sys.sp_cdc_enable_table` makes them.
const JOBS: &str = "SELECT NEWID() AS job_id, CAST(job_type AS nvarchar(20)) AS job_type, CAST('cdc.' + DB_NAME() + '_' + job_type AS nvarchar(128)) AS job_name, \
     maxtrans, maxscans, CAST(is_continuous AS bit) AS continuous, CAST(pollinginterval AS bigint) AS pollinginterval, \
     CAST(retention AS bigint) AS retention, CAST(threshold AS bigint) AS threshold FROM (SELECT 'capture' AS job_type, 500 AS maxtrans, \
     10 AS maxscans, 1 AS is_continuous, 5 AS pollinginterval, 0 AS retention, 0 AS threshold UNION ALL SELECT 'cleanup', 0, 0, 0, 0, 4320, 5000) j";

const PROCEDURES: [Described; 5] = [
    Described {
        name: "sp_tables",
        parameters: &["@table_name", "@table_owner", "@table_qualifier", "@table_type"],
        query: TABLES,
    },
    Described {
        name: "sp_pkeys",
        parameters: &["@table_name", "@table_owner", "@table_qualifier"],
        query: PRIMARY_KEYS,
    },
    Described {
        name: "sp_statistics_100",
        parameters: &["@table_name", "@table_owner", "@table_qualifier", "@index_name", "@is_unique"],
        query: STATISTICS,
    },
    Described {
        name: "sp_cdc_help_change_data_capture",
        parameters: &["@source_schema", "@source_name"],
        query: CAPTURED,
    },
    Described { name: "sp_cdc_help_jobs", parameters: &[], query: JOBS },
];

/// "sp_columns": the columns of all that the arguments match, as `sp_columns_100` shows them.
fn columns_query() -> String {
    let no_text = |name: &str| format!("CAST(NULL AS nvarchar(128)) AS {name}");
    let nothing: Vec<String> = [
        "SS_UDT_CATALOG_NAME",
        "SS_UDT_SCHEMA_NAME",
        "SS_UDT_ASSEMBLY_TYPE_NAME",
        "SS_XML_SCHEMACOLLECTION_CATALOG_NAME",
        "SS_XML_SCHEMACOLLECTION_SCHEMA_NAME",
        "SS_XML_SCHEMACOLLECTION_NAME",
    ]
    .map(no_text)
    .into();
    let verbose = VERBOSE_TYPE.replace("d.DATA_TYPE", ODBC_TYPE);
    format!(
        "SELECT DB_NAME() AS TABLE_QUALIFIER, s.name AS TABLE_OWNER, o.name AS TABLE_NAME, c.name AS COLUMN_NAME, {ODBC_TYPE} AS DATA_TYPE, \
         CAST(t.name + CASE c.is_identity WHEN 1 THEN ' identity' ELSE '' END AS nvarchar(128)) AS TYPE_NAME, {PRECISION} AS PRECISION, \
         {LENGTH} AS LENGTH, CAST(CASE WHEN {IS_BINARY_OR_TEXT} OR t.name IN ('float', 'real', 'bit', 'uniqueidentifier') THEN NULL ELSE c.scale END \
         AS smallint) AS SCALE, CAST(CASE WHEN t.name IN ('float', 'real') THEN 2 WHEN t.name IN ('int', 'bigint', 'smallint', 'tinyint', 'decimal', \
         'numeric', 'money', 'smallmoney') THEN 10 END AS smallint) AS RADIX, CAST(c.is_nullable AS smallint) AS NULLABLE, \
         CAST(NULL AS varchar(254)) AS REMARKS, d.definition AS COLUMN_DEF, {verbose} AS SQL_DATA_TYPE, \
         CAST(CASE t.name WHEN 'date' THEN 1 WHEN 'time' THEN 0 WHEN 'datetimeoffset' THEN 0 WHEN 'datetime' THEN 3 WHEN 'datetime2' THEN 3 \
         WHEN 'smalldatetime' THEN 3 END AS smallint) AS SQL_DATETIME_SUB, CASE WHEN {IS_BINARY_OR_TEXT} THEN {LENGTH} END AS CHAR_OCTET_LENGTH, \
         c.column_id AS ORDINAL_POSITION, CAST(CASE c.is_nullable WHEN 1 THEN 'YES' ELSE 'NO' END AS varchar(254)) AS IS_NULLABLE, \
         CAST(c.is_sparse AS smallint) AS SS_IS_SPARSE, CAST(c.is_column_set AS smallint) AS SS_IS_COLUMN_SET, \
         CAST(c.is_computed AS smallint) AS SS_IS_COMPUTED, CAST(c.is_identity AS smallint) AS SS_IS_IDENTITY, {}, \
         CAST(c.system_type_id AS tinyint) AS SS_DATA_TYPE{}JOIN sys.columns c ON c.object_id = o.object_id JOIN sys.types t ON t.user_type_id = \
         c.user_type_id LEFT JOIN sys.default_constraints d ON d.parent_object_id = c.object_id AND d.parent_column_id = c.column_id \
         WHERE o.type IN ('U', 'V') AND {} AND (@column_name IS NULL OR c.name LIKE @column_name) ORDER BY 1, 2, 3, 17",
        nothing.join(", "),
        objects!(),
        named!(),
    )
}

const COLUMNS: &str = "sp_columns_100";
const COLUMN_PARAMETERS: [&str; 4] = ["@table_name", "@table_owner", "@table_qualifier", "@column_name"];

impl SqlSession {
    /// Answers a procedure that shows the catalog; `None` where there is none of this name.
    pub(super) fn described_call(
        &mut self,
        name: &str,
        given: &[Parameter],
        out: Output<'_>,
    ) -> Result<Option<Flow>, SqlError> {
        if name == COLUMNS {
            return self.described(&columns_query(), &COLUMN_PARAMETERS, name, given, out).map(Some);
        }
        match PROCEDURES.iter().find(|procedure| procedure.name == name) {
            Some(found) => self.described(found.query, found.parameters, name, given, out).map(Some),
            None => Ok(None),
        }
    }

    fn described(
        &mut self,
        query: &str,
        parameters: &[&str],
        name: &str,
        given: &[Parameter],
        out: Output<'_>,
    ) -> Result<Flow, SqlError> {
        let arguments = Arguments::new(name, given);
        let variables = (0..)
            .zip(parameters)
            .map(|(at, parameter)| {
                let value = arguments.text(parameter, at)?.map_or(Value::Null, Value::Text);
                Ok(Variable { name: (*parameter).to_owned(), sql_type: SqlType::NVarChar(Length::Max), value })
            })
            .collect::<Result<Vec<_>, SqlError>>()?;
        let batch = parse::parse_batch(query)?;
        let Some(Statement::Query(query)) = batch.statements.first().map(|parsed| &parsed.statement) else {
            return Err(errors::syntax_near(name));
        };
        self.reading(|session| session.read(query, &variables, out))
    }

    /// `INSERT @t EXEC procedure …`: the rows go into a table variable.
    pub(super) fn insert_executed(&mut self, mut given: Vec<Parameter>, out: Output<'_>) -> Result<Flow, SqlError> {
        let rest = given.split_off(given.len().min(2));
        let arguments = Arguments::new("INSERT", &given);
        let (table, procedure) = (arguments.needed("@table", 0)?, arguments.needed("@procedure", 1)?);
        let mut types = Vec::new();
        let mut rows = Vec::new();
        let mut failure = None;
        let result = self.call(&procedure, rest, &mut |event| {
            match event {
                Event::Columns(columns) => types = columns.iter().map(|column| column.sql_type).collect(),
                Event::Row(row) => rows.push(row),
                Event::Error(error) => failure = Some(error),
                _ => {}
            }
            std::ops::ControlFlow::Continue(())
        });
        result.and_then(|flow| failure.map_or(Ok(flow), Err))?;
        let variable = self.surroundings.table_variable(&table)?;
        let count = rows.len() as u64;
        for row in rows {
            if row.len() != variable.columns.len() {
                return Err(errors::value_count());
            }
            let converted = row.into_iter().zip(&types).zip(&variable.columns);
            let converted =
                converted.map(|((value, from), column)| convert::convert(value, *from, column.sql_type, None));
            variable.rows.push(converted.collect::<Result<_, SqlError>>()?);
        }
        Ok(self.done(Some(count), out))
    }
}
