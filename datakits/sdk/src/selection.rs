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
    case_counts: bool,
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
            case_counts: false,
        })
    }

    /// The same selection of a source where case counts in names. What leaves out ignores case still: it errs on the side of
    /// leaving out.
    #[must_use]
    pub fn counting_case(self) -> Self {
        Self { case_counts: true, ..self }
    }

    /// Whether the table is listed.
    #[must_use]
    pub fn has_table(&self, table: &TableId) -> bool {
        let included = |pattern: &TablePattern| match self.case_counts {
            true => pattern.matches_exactly(table),
            false => pattern.matches(table),
        };
        self.include.iter().any(included) && !self.exclude.iter().any(|pattern| pattern.matches(table))
    }

    /// Whether a column of the table is read.
    #[must_use]
    pub fn has_column(&self, table: &TableId, column: &str) -> bool {
        let included = |pattern: &NamePattern| match self.case_counts {
            true => pattern.matches_exactly(column),
            false => pattern.matches(column),
        };
        self.rules_for(table).all(|rule| {
            rule.include.iter().any(included) && !rule.exclude.iter().any(|pattern| pattern.matches(column))
        })
    }

    /// A column that a rule for this very table names and that is not among `columns`, in lower case. A misspelt exclusion
    /// would load what the operator meant to keep out.
    #[must_use]
    pub fn unknown_column(&self, table: &TableId, columns: &[&str]) -> Option<String> {
        let known = |pattern: &NamePattern| columns.iter().any(|column| pattern.matches(column));
        let included = |pattern: &NamePattern| match self.case_counts {
            true => columns.iter().any(|column| pattern.matches_exactly(column)),
            false => known(pattern),
        };
        self.rules_for(table).filter(|rule| rule.table.is_literal()).find_map(|rule| {
            let included = rule.include.iter().filter(|pattern| !included(pattern));
            included.chain(rule.exclude.iter().filter(|pattern| !known(pattern))).find_map(NamePattern::literal)
        })
    }

    /// What holds for a table, among rules by a pattern of tables. A pattern without wildcards counts before one with, and the
    /// later in the order of texts before the earlier.
    ///
    /// # Errors
    /// A key that is not a pattern.
    pub fn rule_for<'r, T>(&self, rules: &'r BTreeMap<String, T>, table: &TableId) -> Result<Option<&'r T>, Error> {
        let mut found: Option<(bool, &T)> = None;
        for (text, rule) in rules {
            let pattern = TablePattern::parse(text)?;
            let fits = if self.case_counts { pattern.matches_exactly(table) } else { pattern.matches(table) };
            if fits && found.is_none_or(|(is_literal, _)| pattern.is_literal() >= is_literal) {
                found = Some((pattern.is_literal(), rule));
            }
        }
        Ok(found.map(|(_, rule)| rule))
    }

    /// The column that a setting means, as the source spells it; none: the table has no such column.
    #[must_use]
    pub fn spelling_among<'n>(&self, name: &str, columns: &[&'n str]) -> Option<&'n str> {
        let exactly = columns.iter().find(|column| **column == name);
        let folded = || columns.iter().find(|column| column.to_lowercase() == name.to_lowercase());
        exactly.or_else(|| folded().filter(|_| !self.case_counts)).copied()
    }

    fn rules_for<'a>(&'a self, table: &'a TableId) -> impl Iterator<Item = &'a CompiledRule> {
        self.rules.iter().filter(|rule| rule.table.matches(table))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_without_wildcards_counts_before_others() {
        let rules: BTreeMap<String, u8> =
            [("*.*", 1), ("dbo.*", 2), ("dbo.orders", 3)].map(|(text, rule)| (text.to_owned(), rule)).into();
        let selection = Selection::new(&[], &[], &BTreeMap::new()).unwrap();
        let rule =
            |selection: &Selection, name| selection.rule_for(&rules, &TableId::new("dbo", name)).unwrap().copied();
        assert_eq!((rule(&selection, "Orders"), rule(&selection, "lines")), (Some(3), Some(2)));
        assert_eq!(rule(&selection.counting_case(), "Orders"), Some(2));
        let selection = Selection::new(&[], &[], &BTreeMap::new()).unwrap();
        assert_eq!(selection.spelling_among("ID", &["Id", "ID"]), Some("ID"));
        assert_eq!(selection.spelling_among("ID", &["Id"]), Some("Id"));
        assert_eq!(selection.counting_case().spelling_among("ID", &["Id"]), None);
        let wrong: BTreeMap<String, u8> = [("orders".to_owned(), 1)].into();
        let selection = Selection::new(&[], &[], &BTreeMap::new()).unwrap();
        assert!(selection.rule_for(&wrong, &TableId::new("dbo", "orders")).is_err());
    }
}
