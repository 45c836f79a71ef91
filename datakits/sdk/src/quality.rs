//! Rules of quality: what must hold of the rows of a load, checked by the host.

use crate::bindings::datakit::kit::plans as host;
use crate::bindings::datakit::kit::types::TableId;

/// A rule of quality.
#[derive(Debug, Clone, PartialEq)]
pub struct QualityRule {
    /// The name that the operator knows it by, once in a table.
    pub name: String,
    /// The output's columns that it is about; empty: it is about the load as a whole.
    pub columns: Vec<String>,
    /// What is checked.
    pub check: Check,
    /// The table is not committed when it does not hold; false: the operator is warned.
    pub stop: bool,
}

/// What a rule checks.
#[derive(Debug, Clone, PartialEq)]
pub enum Check {
    /// No value is null.
    NotNull,
    /// No two rows of the load have the same values; rows with a null are left out.
    Unique {
        /// No row that the target holds has them either.
        in_target: bool,
    },
    /// Each value is null or within these bounds, both included.
    Range {
        /// As text: `-12.5`, `2026-01-31`.
        min: Option<String>,
        /// As text.
        max: Option<String>,
    },
    /// Each value is null or holds a match of this regular expression.
    Pattern(String),
    /// The number of rows of the load.
    RowCount {
        /// At least so many.
        min: Option<u64>,
        /// At most so many.
        max: Option<u64>,
        /// So much more or less than the last load had.
        max_change_percent: Option<u64>,
    },
    /// The newest value is not older when the run starts.
    Freshness {
        /// In seconds.
        max_age_seconds: u64,
    },
    /// The values of each row are those of a row of another table of the sink; rows with a null are left out.
    Reference {
        /// The other table.
        table: TableId,
        /// Its columns, in the order of the rule's.
        columns: Vec<String>,
    },
}

impl QualityRule {
    /// A rule that warns.
    #[must_use]
    pub fn new(name: impl Into<String>, columns: &[String], check: Check) -> Self {
        Self { name: name.into(), columns: columns.to_vec(), check, stop: false }
    }

    /// The rules of a primary key: `key_is_unique` and `key_is_not_null`; none where there is no key.
    #[must_use]
    pub fn of_key(columns: &[String]) -> Vec<Self> {
        if columns.is_empty() {
            return Vec::new();
        }
        vec![
            Self::new("key_is_unique", columns, Check::Unique { in_target: false }),
            Self::new("key_is_not_null", columns, Check::NotNull),
        ]
    }

    pub(crate) fn to_host(&self) -> host::QualityRule {
        let rule = host::QualityRule::new(&self.name, &self.columns);
        match &self.check {
            Check::NotNull => rule.set_not_null(),
            Check::Unique { in_target } => rule.set_unique(*in_target),
            Check::Range { min, max } => rule.set_range(min.as_deref(), max.as_deref()),
            Check::Pattern(pattern) => rule.set_pattern(pattern),
            Check::RowCount { min, max, max_change_percent } => rule.set_row_count(*min, *max, *max_change_percent),
            Check::Freshness { max_age_seconds } => rule.set_freshness(*max_age_seconds),
            Check::Reference { table, columns } => rule.set_reference(table, columns),
        }
        if self.stop {
            rule.set_stop();
        }
        rule
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_has_two_rules_and_no_key_none() {
        let names: Vec<String> = QualityRule::of_key(&["id".into()]).into_iter().map(|rule| rule.name).collect();
        assert_eq!(names, ["key_is_unique", "key_is_not_null"]);
        assert_eq!(QualityRule::of_key(&[]), []);
    }
}
