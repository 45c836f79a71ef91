//! Columns of a source that are not those of its table in the sink.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{TableId, TablePattern};

/// What a load does where its columns are not those of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DriftRule {
    /// The table follows the source, where that needs no rewriting of its rows.
    #[default]
    Evolve,
    /// The table keeps its columns. New columns of the source are left out.
    Freeze,
    /// Any difference fails the table.
    Fail,
    /// The table gets the columns of the load, whatever it had. Only a load that replaces all rows can do so.
    Replace,
}

/// The rule of each table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DriftRules {
    /// Of a table that no pattern matches.
    pub default: DriftRule,
    /// By patterns of tables.
    pub by_pattern: Vec<(TablePattern, DriftRule)>,
}

impl DriftRules {
    /// One rule for all tables.
    #[must_use]
    pub fn all(rule: DriftRule) -> Self {
        Self { default: rule, by_pattern: Vec::new() }
    }

    /// The rule of a table: of the patterns that match, one without wildcards counts before others, and then the last one.
    #[must_use]
    pub fn of(&self, table: &TableId) -> DriftRule {
        let matching = || self.by_pattern.iter().filter(|(pattern, _)| pattern.matches(table));
        let found = matching().rfind(|(pattern, _)| pattern.is_literal()).or_else(|| matching().next_back());
        found.map_or(self.default, |(_, rule)| *rule)
    }
}

/// A difference between a column of the source and its table, and what the load did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ColumnChange {
    /// The column: its name in the source, or in the table where the source has it no more.
    pub column: String,
    /// What happened.
    pub change: ChangeKind,
    /// Its type in the table before, in the words of the sink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Its type of the source's rows, in the words of the sink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// What happened to a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ChangeKind {
    /// The source has a new column, and the table has it now: null in the rows that were there.
    Added,
    /// The source has the column no more: it is null in new rows.
    Dropped,
    /// The column of the table has the wider type of the source now.
    Widened,
    /// The column of the table may be null now.
    Relaxed,
    /// The source has a narrower type now, and the table keeps the wider one.
    Kept,
    /// The source has a column that the table does not get: its values are not loaded.
    LeftOut,
    /// The column of the table has another type now, since all rows were replaced.
    Replaced,
}

impl ColumnChange {
    /// Whether the next load does not find it any more, once this one is committed.
    #[must_use]
    pub fn is_settled_by_commit(&self) -> bool {
        self.change != ChangeKind::LeftOut
    }
}

impl fmt::Display for ColumnChange {
    /// For people: `` `note` added (text) ``.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { column, change, from, to } = self;
        let (from, to) = (from.as_deref().unwrap_or_default(), to.as_deref().unwrap_or_default());
        match change {
            ChangeKind::Added => write!(f, "`{column}` added ({to}), null in the rows that were there"),
            ChangeKind::Dropped => write!(f, "`{column}` dropped in the source, null in new rows"),
            ChangeKind::Widened => write!(f, "`{column}` widened from {from} to {to}"),
            ChangeKind::Relaxed => write!(f, "`{column}` relaxed, it may be null now"),
            ChangeKind::Kept => write!(f, "`{column}` kept as {from}, it is {to} in the source"),
            ChangeKind::LeftOut => write!(f, "`{column}` left out ({to}), the table does not have it"),
            ChangeKind::Replaced => write!(f, "`{column}` replaced, {to} instead of {from}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_without_wildcards_counts_first_and_then_the_last() {
        let rules = [("dbo.*", DriftRule::Freeze), ("dbo.orders", DriftRule::Evolve), ("dbo.o*", DriftRule::Fail)];
        let by_pattern = rules.map(|(pattern, rule)| (pattern.parse().unwrap(), rule)).to_vec();
        let rules = DriftRules { default: DriftRule::Evolve, by_pattern };
        let of = |name: &str| rules.of(&TableId::new("dbo", name));
        assert_eq!([of("orders"), of("other"), of("items")], [DriftRule::Evolve, DriftRule::Fail, DriftRule::Freeze]);
        assert_eq!(rules.of(&TableId::new("hr", "people")), DriftRule::Evolve);
    }
}
