//! Columns of catalog views: only those on the list may be read.
//!
//! A name without a table may mean a column of any view in reach, of this query or of one around it, so it has to be on the list
//! of each. A name with a table is held to the list of every view that goes by that name.
//!
//! In T-SQL the same writing reads a property of a column's value, which runs code of the value's type: there a name with a table has to be
//! one with a table of the query.

use datakit_model::NameRule;
use sqlparser::ast::{Ident, TableFactor, TableWithJoins};

use super::walk::{Walk, construct, none};
use super::{Dialect, Refusal};

/// A table by the name that stands before its columns'.
pub(super) struct NamedTable {
    /// Of a table without an alias.
    schema: Option<String>,
    name: String,
}

/// A catalog view that names can reach.
pub(super) struct CatalogTable {
    /// Its alias, or its own name where it has none.
    alias: String,
    /// `schema.name`.
    view: String,
    columns: &'static str,
}

impl CatalogTable {
    fn lists(&self, column: &str) -> bool {
        self.columns.split_ascii_whitespace().any(|listed| listed.eq_ignore_ascii_case(column))
    }

    fn goes_by(&self, name: &str) -> bool {
        self.alias.eq_ignore_ascii_case(name.trim_end())
    }

    fn refuse<T>(&self, column: &str) -> Result<T, Refusal> {
        Err(Refusal::Column { column: column.to_owned(), view: self.view.clone() })
    }
}

impl<D: Dialect> Walk<'_, D> {
    /// Brings the catalog views of a FROM into reach, those in nested joins too.
    pub(super) fn reach_catalog(&mut self, from: &[TableWithJoins]) -> Result<(), Refusal> {
        for table in from {
            for factor in std::iter::once(&table.relation).chain(table.joins.iter().map(|join| &join.relation)) {
                self.reach_table(factor)?;
            }
        }
        Ok(())
    }

    fn reach_table(&mut self, table: &TableFactor) -> Result<(), Refusal> {
        match table {
            TableFactor::Derived { alias: Some(alias), .. } => {
                self.named.push(NamedTable { schema: None, name: D::compared(&alias.name) });
                Ok(())
            }
            TableFactor::Table { name, alias, .. } => {
                let parts: Option<Vec<&Ident>> = name.0.iter().map(|part| part.as_ident()).collect();
                match (alias, parts.as_deref()) {
                    (Some(alias), _) => self.named.push(NamedTable { schema: None, name: D::compared(&alias.name) }),
                    (None, Some([.., schema, name])) => {
                        self.named.push(NamedTable { schema: Some(D::compared(schema)), name: D::compared(name) });
                    }
                    (None, Some([name])) => self.named.push(NamedTable { schema: None, name: D::compared(name) }),
                    (None, _) => {}
                }
                let Some([schema, name]) = parts.as_deref() else { return Ok(()) };
                let (schema, name) = (D::compared(schema), D::compared(name));
                let Some(columns) = D::catalog_columns(&schema, &name) else { return Ok(()) };
                none(
                    alias.as_ref().is_none_or(|alias| alias.columns.is_empty()),
                    "names for the columns of a catalog view",
                )?;
                let view = format!("{schema}.{name}");
                let alias = alias.as_ref().map_or(name, |alias| D::compared(&alias.name));
                // Which of such names a server takes for the same depends on its collation.
                none(alias.is_ascii(), "an alias outside ASCII for a catalog view")?;
                self.catalog.push(CatalogTable { alias: alias.trim_end().to_owned(), view, columns });
                Ok(())
            }
            TableFactor::NestedJoin { table_with_joins, .. } => {
                self.deeper(|walk| walk.reach_catalog(std::slice::from_ref(table_with_joins)))
            }
            _ => Ok(()),
        }
    }

    /// A column, or a parameter, written without its table.
    pub(super) fn bare_column(&self, ident: &Ident) -> Result<(), Refusal> {
        if ident.quote_style.is_none() && ident.value.starts_with('@') {
            return Ok(());
        }
        let name = D::compared(ident);
        // An alias by itself is the whole row to PostgreSQL.
        match self.catalog.iter().find(|table| !table.lists(&name) || table.goes_by(&name)) {
            Some(table) => table.refuse(&ident.value),
            None => Ok(()),
        }
    }

    /// A column written with its table, or with schema and table.
    pub(super) fn column_of(&self, parts: &[Ident]) -> Result<(), Refusal> {
        if let Some(last) = parts.last()
            && D::is_function_of_rows(&D::compared(last))
        {
            return construct(format!(
                "the column {} with its table, which could call the function of that name",
                last.value
            ));
        }
        if D::COLUMNS_HAVE_PROPERTIES && !self.is_of_a_table(parts) {
            let written = |parts: &[Ident]| parts.iter().map(ToString::to_string).collect::<Vec<_>>().join(".");
            let table = written(&parts[..parts.len().saturating_sub(1)]);
            return construct(format!(
                "{}, which may read a property of a column because no table of the query is called {table},",
                written(parts)
            ));
        }
        for pair in parts.windows(2) {
            let [table, column] = pair else { continue };
            self.listed_column(&D::compared(table), &D::compared(column))?;
        }
        Ok(())
    }

    /// Whether what stands before the column is the name of a table of this query or of one around it.
    fn is_of_a_table(&self, parts: &[Ident]) -> bool {
        let ignores_case = self.grant.rule() == NameRule::CaseIgnored;
        let same = |written: &Ident, name: &str| {
            let (written, name) = (D::compared(written), name.trim_end());
            let written = written.trim_end();
            written == name || (ignores_case && written.to_lowercase() == name.to_lowercase())
        };
        match parts {
            [table, _] => self.named.iter().any(|named| same(table, &named.name)),
            [schema, table, _] => self
                .named
                .iter()
                .any(|named| same(table, &named.name) && named.schema.as_ref().is_some_and(|name| same(schema, name))),
            _ => false,
        }
    }

    fn listed_column(&self, table: &str, column: &str) -> Result<(), Refusal> {
        none(self.catalog.is_empty() || table.is_ascii(), "a table's name outside ASCII beside a catalog view")?;
        match self.catalog.iter().find(|view| view.goes_by(table) && !view.lists(column)) {
            Some(view) => view.refuse(column),
            None => Ok(()),
        }
    }

    /// `*`: of the views that came into reach since `outer`.
    pub(super) fn wildcard(&self, outer: usize) -> Result<(), Refusal> {
        self.catalog.get(outer).map_or(Ok(()), |view| view.refuse("*"))
    }

    /// `table.*`
    pub(super) fn wildcard_of(&self, table: &Ident) -> Result<(), Refusal> {
        self.listed_column(&D::compared(table), "*")
    }
}
