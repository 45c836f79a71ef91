//! Names of tables outside of the host: those that OpenLineage's naming rules give them, so that other tools mean the same table.
//!
//! <https://openlineage.io/docs/spec/naming>. A name holds a server and a port, and never a user, a password or settings.

use datakit_model::TableId;

/// A table by its namespace, the system it is in, and its name there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetName {
    /// `mssql://sql01:1433`, `s3://bucket`, `file`.
    pub namespace: String,
    /// `ERP.dbo.orders`, `bronze/ERP/dbo/orders`.
    pub name: String,
}

impl DatasetName {
    /// A table of a database server, which is `host:port`.
    #[must_use]
    pub fn in_database(scheme: &str, server: &str, database: &str, table: &TableId) -> Self {
        let database = table.catalog.as_deref().unwrap_or(database);
        let name = format!("{database}.{}.{}", table.schema, table.name);
        Self { namespace: format!("{scheme}://{server}"), name }
    }

    /// A folder of this machine or of an object store.
    #[must_use]
    pub fn in_folder(location: &str) -> Self {
        let place = location.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
        match place.split_once("://") {
            Some((scheme, path)) if scheme.eq_ignore_ascii_case("file") => Self::of_file(path),
            Some((scheme, rest)) => {
                let (container, key) = rest.split_once('/').unwrap_or((rest, ""));
                Self {
                    namespace: format!("{scheme}://{container}"),
                    name: if key.is_empty() { "/" } else { key }.to_owned(),
                }
            }
            None => Self::of_file(place),
        }
    }

    fn of_file(path: &str) -> Self {
        Self { namespace: "file".to_owned(), name: path.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_naming_rules() {
        let table = TableId::new("dbo", "orders");
        let name = |it: DatasetName| format!("{} {}", it.namespace, it.name);
        assert_eq!(
            name(DatasetName::in_database("mssql", "sql01:1433", "ERP", &table)),
            "mssql://sql01:1433 ERP.dbo.orders"
        );
        assert_eq!(name(DatasetName::in_folder("s3://lake/bronze/ERP/dbo/orders/")), "s3://lake bronze/ERP/dbo/orders");
        assert_eq!(
            name(DatasetName::in_folder("abfss://c@a.dfs.core.windows.net/x?sig=secret")),
            "abfss://c@a.dfs.core.windows.net x"
        );
        assert_eq!(name(DatasetName::in_folder("file:///data/bronze")), "file /data/bronze");
        assert_eq!(name(DatasetName::in_folder("/data/bronze")), "file /data/bronze");
        assert_eq!(name(DatasetName::in_folder("s3://lake")), "s3://lake /");
    }
}
