//! Columns of catalog views: only those on the list may be read.
//!
//! A name without a table may mean a column of any view in reach, of this query or of one around it, so it has to be on the list
//! of each. A name with a table is held to the list of every view that goes by that name.

use sqlparser::ast::{Ident, TableFactor, TableWithJoins};

use super::walk::{Walk, construct, none};
use super::{Dialect, Refusal};

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
            TableFactor::Table { name, alias, .. } => {
                let parts: Option<Vec<&Ident>> = name.0.iter().map(|part| part.as_ident()).collect();
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
        for pair in parts.windows(2) {
            let [table, column] = pair else { continue };
            self.listed_column(&D::compared(table), &D::compared(column))?;
        }
        Ok(())
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
