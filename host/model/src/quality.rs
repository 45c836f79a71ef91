//! Rules of quality: what must hold of a load before its commit, and what was found.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{TableId, TablePatterns};

/// What must hold of the rows of a load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name, once in a table.
    pub name: String,
    /// The columns of the output that it is about; empty: it is about the load as a whole.
    pub columns: Vec<String>,
    /// What is checked.
    pub check: Check,
    /// What happens when it does not hold.
    pub severity: Severity,
}

impl Rule {
    /// The rule in a few words: `range of amount`.
    #[must_use]
    pub fn summary(&self) -> String {
        match self.columns.as_slice() {
            [] => self.check.kind().to_owned(),
            columns => format!("{} of {}", self.check.kind(), columns.join(", ")),
        }
    }
}

/// What a rule checks. docs/quality.md says what each does with nulls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// No value of the columns is null.
    NotNull,
    /// No two rows of the load have the same values.
    Unique {
        /// No row that the target holds has them either.
        in_target: bool,
    },
    /// Each value is within bounds, both included, that are written as text.
    Range {
        /// The smallest value.
        min: Option<String>,
        /// The largest value.
        max: Option<String>,
    },
    /// The regular expression, in the language of expressions, matches a part of each value.
    Pattern(String),
    /// The number of rows of the load.
    RowCount {
        /// At least so many.
        min: Option<u64>,
        /// At most so many.
        max: Option<u64>,
        /// So much more or less than the last load had, in percent.
        max_change_percent: Option<u64>,
    },
    /// The newest value of the column is not older, at the start of the run.
    Freshness {
        /// In seconds.
        max_age_seconds: u64,
    },
    /// The values of each row are those of a row of another table of the sink.
    Reference {
        /// The other table, by its names in the source.
        table: TableId,
        /// Its columns, in the order of the rule's.
        columns: Vec<String>,
    },
}

impl Check {
    /// The word for it in the warehouse file.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotNull => "not_null",
            Self::Unique { .. } => "unique",
            Self::Range { .. } => "range",
            Self::Pattern(_) => "pattern",
            Self::RowCount { .. } => "row_count",
            Self::Freshness { .. } => "freshness",
            Self::Reference { .. } => "reference",
        }
    }
}

/// What happens when a rule does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The rows are committed, and the summary says so.
    Warn,
    /// The table fails before its commit.
    #[default]
    Stop,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warn => "warn",
            Self::Stop => "stop",
        })
    }
}

/// What the operator says about quality, of some tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorRule {
    /// The rule's name.
    pub name: String,
    /// The tables; none: all of the ingest.
    pub tables: Option<TablePatterns>,
    /// What is said.
    pub says: OperatorSays,
}

/// What the operator says about a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperatorSays {
    /// A rule of the operator's own.
    Rule(Rule),
    /// The datakit's rule of that name has this severity; none: it is not checked.
    Severity(Option<Severity>),
}

/// Who wrote a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum DeclaredBy {
    /// The datakit, in its plan.
    Datakit,
    /// The operator, in the ingest.
    Operator,
}

/// A rule as it counts for a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRule {
    /// The rule.
    pub rule: Rule,
    /// Who wrote it.
    pub declared_by: DeclaredBy,
    /// The operator switched it off.
    pub is_off: bool,
}

/// How a rule ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RuleStatus {
    /// It holds.
    Passed,
    /// It does not hold, and the rows were committed if nothing else kept them from it.
    Warned,
    /// It does not hold: nothing was committed.
    Stopped,
    /// This load gives nothing to check it by; `reason` says why.
    Skipped,
    /// The operator switched it off.
    Off,
}

impl fmt::Display for RuleStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Warned => "warned",
            Self::Stopped => "stopped",
            Self::Skipped => "skipped",
            Self::Off => "off",
        })
    }
}

/// What was found of one rule. It holds no value of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RuleResult {
    /// The rule's name.
    pub rule: String,
    /// What it checks: `not_null`, `unique`, `range`, `pattern`, `row_count`, `freshness`, `reference`.
    pub kind: String,
    /// Who wrote it.
    pub declared_by: DeclaredBy,
    /// What happens when it does not hold.
    pub severity: Severity,
    /// The columns that it is about; empty: the load as a whole.
    pub columns: Vec<String>,
    /// Rows that were looked at.
    pub checked: u64,
    /// Rows that break it; of a rule about the load as a whole 0 or 1.
    pub failed: u64,
    /// How it ended.
    pub status: RuleStatus,
    /// What was found, where counts do not say it: an age, a change, why it was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl RuleResult {
    /// Of a rule of which nothing is known but how it ended.
    #[must_use]
    pub fn new(of: &TableRule, status: RuleStatus) -> Self {
        Self {
            rule: of.rule.name.clone(),
            kind: of.rule.check.kind().to_owned(),
            declared_by: of.declared_by,
            severity: of.rule.severity,
            columns: of.rule.columns.clone(),
            checked: 0,
            failed: 0,
            status,
            reason: None,
        }
    }

    /// It does not hold.
    #[must_use]
    pub fn fails(&self) -> bool {
        matches!(self.status, RuleStatus::Warned | RuleStatus::Stopped)
    }
}

impl fmt::Display for RuleResult {
    /// The rule, and what was found: `amounts (range of amount): 3 of 1000 rows fail`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = if self.columns.is_empty() { String::new() } else { format!(" of {}", self.columns.join(", ")) };
        write!(f, "`{}` ({}{of}): ", self.rule, self.kind)?;
        match &self.reason {
            Some(reason) => f.write_str(reason),
            None => write!(f, "{} of {} rows fail", self.failed, self.checked),
        }
    }
}
