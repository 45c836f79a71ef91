//! Which tables and columns an operator's settings select.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::bindings::datakit::kit::types::{Error, TableId};
use crate::patterns::{NamePattern, TablePattern};

/// Which columns of a table to read: patterns of names, without schema or table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ColumnRule {
    /// Columns to read.
    pub include: Vec<String>,
    /// Columns not to read, whatever `include` says.
    pub exclude: Vec<String>,
}

impl Default for ColumnRule {
    fn default() -> Self {
        Self { include: vec!["*".into()], exclude: Vec::new() }
    }
}

/// Which tables and columns are read.
#[derive(Debug, Clone)]
pub struct Selection {
    include: Vec<TablePattern>,
    exclude: Vec<TablePattern>,
    rules: Vec<CompiledRule>,
}

#[derive(Debug, Clone)]
struct CompiledRule {
    table: TablePattern,
    include: Vec<NamePattern>,
    exclude: Vec<NamePattern>,
}

impl Selection {
    /// Reads the patterns of tables to list, of those not to, and the rules of columns by a pattern of tables.
    ///
    /// # Errors
    /// The first text that is no pattern.
    pub fn new(include: &[String], exclude: &[String], columns: &BTreeMap<String, ColumnRule>) -> Result<Self, Error> {
        let tables =
            |texts: &[String]| texts.iter().map(|text| TablePattern::parse(text)).collect::<Result<Vec<_>, _>>();
        let names = |texts: &[String]| texts.iter().map(|text| NamePattern::parse(text)).collect::<Result<Vec<_>, _>>();
        let rule = |(table, rule): (&String, &ColumnRule)| {
            Ok(CompiledRule {
                table: TablePattern::parse(table)?,
                include: names(&rule.include)?,
                exclude: names(&rule.exclude)?,
            })
        };
        Ok(Selection {
            include: tables(include)?,
            exclude: tables(exclude)?,
            rules: columns.iter().map(rule).collect::<Result<_, Error>>()?,
        })
    }

    /// Whether the table is listed.
    #[must_use]
    pub fn has_table(&self, table: &TableId) -> bool {
        let any = |patterns: &[TablePattern]| patterns.iter().any(|pattern| pattern.matches(table));
        any(&self.include) && !any(&self.exclude)
    }

    /// Whether a column of the table is read.
    #[must_use]
    pub fn has_column(&self, table: &TableId, column: &str) -> bool {
        let any = |patterns: &[NamePattern]| patterns.iter().any(|pattern| pattern.matches(column));
        self.rules_for(table).all(|rule| any(&rule.include) && !any(&rule.exclude))
    }

    /// A column that a rule for this very table names and that is not among `columns`, in lower case. A misspelt exclusion
    /// would load what the operator meant to keep out.
    #[must_use]
    pub fn unknown_column(&self, table: &TableId, columns: &[&str]) -> Option<String> {
        self.rules_for(table)
            .filter(|rule| rule.table.is_literal())
            .flat_map(|rule| rule.include.iter().chain(&rule.exclude))
            .filter(|pattern| !columns.iter().any(|column| pattern.matches(column)))
            .find_map(NamePattern::literal)
    }

    fn rules_for<'a>(&'a self, table: &'a TableId) -> impl Iterator<Item = &'a CompiledRule> {
        self.rules.iter().filter(|rule| rule.table.matches(table))
    }
}
