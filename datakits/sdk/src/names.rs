//! Names of tables.

use std::fmt;

use crate::bindings::datakit::kit::types::TableId;

impl TableId {
    /// A table of two names, without a catalog.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { catalog: None, schema: schema.into(), name: name.into() }
    }

    /// The names there are, quoted by `quote_name` and joined by dots, the catalog first.
    pub(crate) fn quoted(&self, quote_name: fn(&str) -> String) -> String {
        let names = self.catalog.iter().chain([&self.schema, &self.name]);
        names.map(|name| quote_name(name)).collect::<Vec<_>>().join(".")
    }
}

impl fmt::Display for TableId {
    /// The names there are, unquoted, for messages: `dbo.orders`, `sales.dbo.orders`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(catalog) = &self.catalog {
            write!(f, "{catalog}.")?;
        }
        write!(f, "{}.{}", self.schema, self.name)
    }
}
