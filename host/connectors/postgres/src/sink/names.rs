//! The one mapping of names: reversible, and never cut.
//!
//! Postgres takes nearly every name between double quotes, so names stay as they are. It knows no empty name and keeps a
//! few names of columns to itself: these get a `%` in front, and so do names that are one of these with `%` in front.
//! Identifiers of more than 63 bytes, which Postgres would cut in silence, are refused.

use datakit_model::TableId;

use datakit_connect::sink::SinkError;

/// `NAMEDATALEN - 1` of every server that was not compiled otherwise.
const MAX_IDENTIFIER_BYTES: usize = 63;
/// Columns that every table has already. See "System Columns" in the manual.
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

/// A table's two names in Postgres, not quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableName {
    pub(crate) schema: String,
    pub(crate) table: String,
}

impl TableName {
    /// Schema `<source_system>_<schema>` (with the catalog between them where there is one), table `<table>`. Two sources may meet in one name; the ledger tells them apart.
    pub(crate) fn new(source_system: &str, table: &TableId) -> Result<Self, SinkError> {
        let schema = match &table.catalog {
            Some(catalog) => format!("{source_system}_{catalog}_{}", table.schema),
            None => format!("{source_system}_{}", table.schema),
        };
        if source_system.is_empty() || table.schema.is_empty() || table.name.is_empty() {
            return Err(SinkError::Name { what: "table", name: table.to_string(), reason: "a part of it is empty" });
        }
        check("schema", &schema)?;
        check("table", &table.name)?;
        if schema.starts_with("pg_") {
            return Err(SinkError::Name { what: "schema", name: schema, reason: "Postgres keeps `pg_` to itself" });
        }
        if schema == super::ledger::SCHEMA {
            return Err(SinkError::Name { what: "schema", name: schema, reason: "it is the ledger's" });
        }
        Ok(Self { schema, table: table.name.clone() })
    }
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", quote(&self.schema), quote(&self.table))
    }
}

/// A source column's name as a Postgres column's, not quoted.
///
/// ```
/// use datakit_postgres::sink::names::{column, source_column};
/// assert_eq!(column("Order No.").unwrap(), "Order No.");
/// assert_eq!(column("xmin").unwrap(), "%xmin");
/// assert_eq!(source_column("%xmin"), Some("xmin".into()));
/// ```
///
/// # Errors
/// A name of more than 63 bytes, or with U+0000.
pub fn column(name: &str) -> Result<String, SinkError> {
    let mapped = if is_escaped_kind(name) { format!("%{name}") } else { name.to_owned() };
    check("column", &mapped).map_err(|error| match error {
        SinkError::NameTooLong { what, bytes, limit_bytes, .. } => {
            SinkError::NameTooLong { what, name: name.to_owned(), bytes, limit_bytes }
        }
        other => other,
    })?;
    Ok(mapped)
}

/// The inverse of [`column()`]; none for a name that it does not produce.
#[must_use]
pub fn source_column(name: &str) -> Option<String> {
    match name.strip_prefix('%') {
        Some(source) if is_escaped_kind(source) => Some(source.to_owned()),
        _ => (!is_escaped_kind(name)).then(|| name.to_owned()),
    }
}

/// Empty or a system column, with any number of `%` in front.
fn is_escaped_kind(name: &str) -> bool {
    let bare = name.trim_start_matches('%');
    bare.is_empty() || SYSTEM_COLUMNS.contains(&bare)
}

fn check(what: &'static str, name: &str) -> Result<(), SinkError> {
    if name.contains('\0') {
        return Err(SinkError::Name { what, name: name.escape_debug().to_string(), reason: "it holds U+0000" });
    }
    if name.len() > MAX_IDENTIFIER_BYTES {
        let (name, bytes) = (name.to_owned(), name.len());
        return Err(SinkError::NameTooLong { what, name, bytes, limit_bytes: MAX_IDENTIFIER_BYTES });
    }
    Ok(())
}

/// An identifier as it stands in SQL.
pub(crate) fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// A text as it stands in SQL, where no parameter is allowed.
pub(crate) fn quote_literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn identifiers_are_quoted() {
        let name = TableName::new("ERP", &TableId::new("dbo", "a\"b")).unwrap();
        assert_eq!(name.to_string(), r#""ERP_dbo"."a""b""#);
    }

    #[test]
    fn names_that_postgres_would_change_are_refused() {
        let name = |system: &str, schema: &str, table: &str| TableName::new(system, &TableId::new(schema, table));
        assert!(matches!(
            name("ERP", "dbo", &"x".repeat(64)),
            Err(SinkError::NameTooLong { bytes: 64, limit_bytes: 63, .. })
        ));
        assert!(matches!(name("ERP", &"é".repeat(30), "t"), Err(SinkError::NameTooLong { bytes: 64, .. })));
        assert!(matches!(column(&"é".repeat(32)), Err(SinkError::NameTooLong { bytes: 64, .. })));
        assert!(column(&"é".repeat(31)).is_ok());
        for (system, schema, table) in
            [("pg", "dbo", "t"), ("ERP", "", "t"), ("", "dbo", "t"), ("ERP", "dbo", ""), ("ERP", "d\0", "t")]
        {
            assert!(matches!(name(system, schema, table), Err(SinkError::Name { .. })), "{system} {schema} {table}");
        }
        assert!(matches!(column("a\0b"), Err(SinkError::Name { .. })));
    }

    #[test]
    fn names_of_others_have_no_source() {
        for name in ["", "xmin"] {
            assert_eq!(source_column(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn columns_read_back(name in "\\PC{0,12}|%{0,3}(xmin|ctid|tableoid|XMIN)?|%{0,2}[a ]?") {
            let mapped = column(&name).unwrap();
            prop_assert!(!mapped.is_empty() && !SYSTEM_COLUMNS.contains(&mapped.as_str()));
            prop_assert_eq!(source_column(&mapped), Some(name));
        }
    }
}
