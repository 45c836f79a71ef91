//! Functions that ask for names, ids and properties of the session, the server and the catalog.

use sqlparser::ast::{Expr, Ident};

use super::{Binder, Bound, Scope, Surroundings};
use crate::sql::{collate, errors, parse, store, tracking, types};
use crate::values::{Length, SqlError, SqlType, Value};

/// `@@VERSION`: what clients read the major version from.
pub const VERSION: &str =
    "Microsoft SQL Server 2022 (RTM) - 16.0.1000.6 (X64) \n\tFake SQL Server over SQLite\n\tDeveloper Edition (64-bit)";

const PRODUCT_VERSION: &str = "16.0.1000.6";

/// Names that need no parentheses: CURRENT_USER and its kin.
pub(super) fn niladic(name: &Ident, session: &Surroundings) -> Option<Result<Bound, SqlError>> {
    if name.quote_style.is_some() {
        return None;
    }
    match name.value.to_ascii_uppercase().as_str() {
        "CURRENT_USER" | "SESSION_USER" | "USER" => Some(Bound::text("dbo")),
        "SYSTEM_USER" => Some(Bound::text(&session.user)),
        _ => None,
    }
}

impl Binder<'_> {
    /// Binds a function of metadata; `None` when the name is no such function.
    pub(super) fn metadata_call(
        &self,
        name: &str,
        arguments: &[&Expr],
        scope: &Scope<'_>,
    ) -> Result<Option<Bound>, SqlError> {
        let session = self.surroundings;
        let sysname = |sql: String| Bound::new(sql, types::SYSNAME);
        let int = |sql: String| Bound::new(sql, SqlType::Int);
        let text = |at: usize| -> Result<String, SqlError> {
            let expression = arguments.get(at).ok_or_else(|| errors::argument_count(&name.to_lowercase(), "more"))?;
            Ok(format!("({} COLLATE {})", self.as_text(expression, scope)?, collate::NAME))
        };
        let number = |at: usize| -> Result<String, SqlError> {
            let expression = arguments.get(at).ok_or_else(|| errors::argument_count(&name.to_lowercase(), "more"))?;
            let bound = self.expression(expression, scope)?;
            self.coerce(&bound, SqlType::Int)
        };
        Ok(Some(match (name, arguments.len()) {
            ("DB_NAME", 0) => Bound::text(&session.database)?,
            ("DB_NAME", 1) => sysname(database_lookup("name", &format!("id = {}", number(0)?))),
            ("DB_ID", 0) => Bound::constant(SqlType::SmallInt, Value::Int(5))?,
            ("DB_ID", 1) => Bound::new(database_lookup("id", &format!("name = {}", text(0)?)), SqlType::SmallInt),
            ("SUSER_SNAME" | "SUSER_NAME" | "ORIGINAL_LOGIN", 0) => Bound::text(&session.user)?,
            ("USER_NAME", 0) => Bound::text("dbo")?,
            ("HOST_NAME", 0) => Bound::text(&session.host)?,
            ("APP_NAME", 0) => Bound::text(&session.application)?,
            ("SCOPE_IDENTITY", 0) => {
                let value = session
                    .identity
                    .map_or(Value::Null, |identity| Value::Decimal { unscaled: i128::from(identity), scale: 0 });
                Bound { constant: None, ..Bound::constant(SqlType::Numeric { precision: 38, scale: 0 }, value)? }
            }
            ("CHANGE_TRACKING_CURRENT_VERSION", 0) => {
                session.accessed.set(true);
                Bound::new(tracking::current_version(), SqlType::BigInt)
            }
            ("CHANGE_TRACKING_MIN_VALID_VERSION", 1) => {
                session.accessed.set(true);
                Bound::new(self.min_valid_version(&number(0)?), SqlType::BigInt)
            }
            ("CHANGE_TRACKING_IS_COLUMN_IN_MASK", 2) => {
                let mask = self.expression(arguments[1], scope)?.sql;
                Bound::new(format!("t_ct_in_mask({}, {mask})", number(0)?), SqlType::Bit)
            }
            ("MIN_ACTIVE_ROWVERSION", 0) => {
                let lowest = Value::Bytes(session.shared.min_active_row_version().to_be_bytes().to_vec());
                Bound::constant(SqlType::Binary { length: 8 }, lowest)?
            }
            ("SCHEMA_NAME", 0) => Bound::text("dbo")?,
            ("SCHEMA_NAME", 1) => sysname(format!("(SELECT name FROM __schemas WHERE schema_id = {})", number(0)?)),
            ("SCHEMA_ID", 0) => Bound::constant(SqlType::Int, Value::Int(1))?,
            ("SCHEMA_ID", 1) => int(format!("(SELECT schema_id FROM __schemas WHERE name = {})", text(0)?)),
            ("OBJECT_ID", 1 | 2) => self.object_id(arguments, scope)?,
            ("OBJECT_NAME", 1 | 2) => sysname(format!("(SELECT name FROM __objects WHERE object_id = {})", number(0)?)),
            ("OBJECT_SCHEMA_NAME", 1 | 2) => sysname(format!(
                "(SELECT s.name FROM __objects o JOIN __schemas s ON s.schema_id = o.schema_id WHERE o.object_id = {})",
                number(0)?
            )),
            ("TYPE_NAME", 1) => sysname(format!("(SELECT name FROM __types WHERE user_type_id = {})", number(0)?)),
            ("TYPE_ID", 1) => int(format!("(SELECT user_type_id FROM __types WHERE name = {})", text(0)?)),
            ("COL_NAME", 2) => sysname(format!(
                "(SELECT name FROM __columns WHERE object_id = {} AND column_id = {})",
                number(0)?,
                number(1)?
            )),
            ("COLUMNPROPERTY", 3) => int(format!(
                "(SELECT CASE {} WHEN 'AllowsNull' THEN is_nullable WHEN 'IsIdentity' THEN is_identity WHEN 'ColumnId' THEN \
                 column_id WHEN 'Precision' THEN precision WHEN 'Scale' THEN scale WHEN 'IsComputed' THEN 0 WHEN 'IsHidden' \
                 THEN 0 END FROM __columns WHERE object_id = {} AND name = {})",
                text(2)?,
                number(0)?,
                text(1)?
            )),
            ("OBJECTPROPERTY" | "OBJECTPROPERTYEX", 2) => int(format!(
                "(SELECT CASE {} WHEN 'IsTable' THEN o.type = 'U ' WHEN 'IsUserTable' THEN o.type = 'U ' WHEN 'IsView' THEN \
                 o.type = 'V ' WHEN 'IsMSShipped' THEN 0 WHEN 'SchemaId' THEN o.schema_id WHEN 'TableHasPrimaryKey' THEN \
                 EXISTS (SELECT 1 FROM __indexes i WHERE i.object_id = o.object_id AND i.is_primary_key) END \
                 FROM __objects o WHERE o.object_id = {})",
                text(1)?,
                number(0)?
            )),
            ("SERVERPROPERTY", 1) => self.server_property(arguments[0], scope)?,
            ("DATABASEPROPERTYEX", 2) => self.database_property(arguments[1], scope)?,
            ("CONNECTIONPROPERTY", 1) => variant_text("TCP")?,
            ("SESSIONPROPERTY", 1) => variant_int(1)?,
            ("HAS_DBACCESS", 1) => {
                int(format!("({} IS NOT NULL)", database_lookup("id", &format!("name = {}", text(0)?))))
            }
            ("HAS_PERMS_BY_NAME", 3 | 5) => self.has_permission(arguments, scope)?,
            ("IS_MEMBER" | "IS_SRVROLEMEMBER" | "IS_ROLEMEMBER", 1 | 2) => {
                Bound::constant(SqlType::Int, Value::Int(0))?
            }
            _ => return Ok(None),
        }))
    }

    /// OBJECT_ID: its argument is a name as T-SQL writes it, quotes and all.
    fn object_id(&self, arguments: &[&Expr], scope: &Scope<'_>) -> Result<Bound, SqlError> {
        let name = self.as_text(arguments[0], scope)?;
        let mut sql = format!(
            "(SELECT o.object_id FROM __objects o JOIN __schemas s ON s.schema_id = o.schema_id \
             WHERE s.name = t_name_part({name}, 'schema') AND o.name = t_name_part({name}, 'table')"
        );
        if let Some(kind) = arguments.get(1) {
            let kind = self.as_text(kind, scope)?;
            sql.push_str(&format!(" AND o.type = {kind} COLLATE {}", collate::NAME));
        }
        Ok(Bound::new(sql + ")", SqlType::Int))
    }

    fn server_property(&self, property: &Expr, scope: &Scope<'_>) -> Result<Bound, SqlError> {
        let property = self.literal_text(property, scope)?.unwrap_or_default().to_lowercase();
        match property.as_str() {
            "productversion" => variant_text(PRODUCT_VERSION),
            "productmajorversion" => variant_text("16"),
            "productminorversion" => variant_text("0"),
            "productlevel" => variant_text("RTM"),
            "edition" => variant_text("Developer Edition (64-bit)"),
            "engineedition" => variant_int(3),
            "servername" | "machinename" => variant_text(&self.surroundings.server),
            "collation" => variant_text("SQL_Latin1_General_CP1_CI_AS"),
            "isintegratedsecurityonly" | "isclustered" | "ishadrenabled" | "issingleuser" => variant_int(0),
            _ => Bound::constant(SqlType::SqlVariant, Value::Null),
        }
    }

    fn database_property(&self, property: &Expr, scope: &Scope<'_>) -> Result<Bound, SqlError> {
        let property = self.literal_text(property, scope)?.unwrap_or_default().to_lowercase();
        match property.as_str() {
            "collation" => variant_text("SQL_Latin1_General_CP1_CI_AS"),
            "status" => variant_text("ONLINE"),
            "updateability" => variant_text("READ_WRITE"),
            "useraccess" => variant_text("MULTI_USER"),
            "recovery" => variant_text("FULL"),
            _ => Bound::constant(SqlType::SqlVariant, Value::Null),
        }
    }

    /// HAS_PERMS_BY_NAME of an object or of a column. NULL of what is no name; an object that is not there is nobody's, and not
    /// denied. A table of which columns are granted one by one is not granted itself.
    fn has_permission(&self, arguments: &[&Expr], scope: &Scope<'_>) -> Result<Bound, SqlError> {
        let name = self.as_text(arguments[0], scope)?;
        let permission = self.literal_text(arguments[2], scope)?.unwrap_or_default();
        let prefix = if collate::same(&permission, "VIEW CHANGE TRACKING") { super::TRACKING_DENIED } else { "" };
        let facts = format!(
            "FROM __column_facts f JOIN __objects o ON o.object_id = f.object_id JOIN __schemas s ON s.schema_id = o.schema_id \
             WHERE s.name = t_name_part({name}, 'schema') AND o.name = t_name_part({name}, 'table')"
        );
        let by_column = format!("EXISTS (SELECT 1 {facts} AND f.fact = 'granted')");
        let is_open = match arguments.get(3) {
            None => format!("NOT {by_column}"),
            Some(column) => {
                let column = self.as_text(column, scope)?;
                let named = format!(
                    "(SELECT 1 {facts} AND f.fact = '{{}}' AND f.column_id = (SELECT c.column_id FROM __columns c \
                     WHERE c.object_id = o.object_id AND c.name = {column}))"
                );
                let (granted, denied) = (named.replace("{}", "granted"), named.replace("{}", "denied"));
                format!("(NOT {by_column} OR EXISTS {granted}) AND NOT EXISTS {denied}")
            }
        };
        let sql = format!(
            "(CASE WHEN {name} IS NULL THEN 1 ELSE ('{prefix}' || t_name_part({name}, 'schema') || '.' || \
             t_name_part({name}, 'table')) COLLATE {} NOT IN ({}) AND {is_open} END)",
            collate::NAME,
            self.denied()
        );
        Ok(Bound::new(sql, SqlType::Int))
    }
}

/// Schema and table of a name as T-SQL writes it: `[dbo].[a]]b]`, `dbo.t`, `t`.
pub fn object_parts(name: &str) -> Option<(Option<String>, String)> {
    let batch = parse::parse_batch(&format!("TRUNCATE TABLE {name}")).ok()?;
    let [parsed] = batch.statements.as_slice() else { return None };
    let sqlparser::ast::Statement::Truncate(truncate) = &parsed.statement else { return None };
    let [target] = truncate.table_names.as_slice() else { return None };
    let mut parts = super::name_parts(&target.name).ok()?;
    let table = parts.pop()?;
    Some((parts.pop().filter(|schema| !schema.is_empty()), table))
}

fn database_lookup(wanted: &str, condition: &str) -> String {
    format!(
        "(SELECT {wanted} FROM (SELECT 1 AS id, 'master' AS name UNION ALL SELECT 2, 'tempdb' UNION ALL SELECT 3, 'model' \
         UNION ALL SELECT 4, 'msdb' UNION ALL SELECT 5, value FROM __meta WHERE name = 'database') WHERE {condition})"
    )
}

fn variant(sql_type: SqlType, value: Value) -> Result<Bound, SqlError> {
    let variant = crate::values::Variant { sql_type, collation: Default::default(), value };
    let stored = store::encode(SqlType::SqlVariant, Value::Variant(Box::new(variant)))?;
    Ok(Bound::new(store::literal(&stored), SqlType::SqlVariant))
}

fn variant_text(text: &str) -> Result<Bound, SqlError> {
    variant(SqlType::NVarChar(Length::Limited(128)), Value::Text(text.to_owned()))
}

fn variant_int(value: i64) -> Result<Bound, SqlError> {
    variant(SqlType::Int, Value::Int(value))
}
