use std::borrow::Cow;

use arrow::error::ArrowError;
use datakit_model::quality::{DeclaredBy, RuleResult, TableRule};
use datakit_model::{Diagnostic, Kind, Retry, printable};

/// No message names more rules or columns than this.
const MAX_NAMED: usize = 20;

/// A rule, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleName {
    /// Its name.
    pub name: String,
    /// Who wrote it.
    pub declared_by: DeclaredBy,
}

impl From<&TableRule> for RuleName {
    fn from(rule: &TableRule) -> Self {
        Self { name: rule.rule.name.clone(), declared_by: rule.declared_by }
    }
}

impl std::fmt::Display for RuleName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`", self.name)
    }
}

/// What can be wrong with rules, and what they find.
#[derive(Debug, thiserror::Error)]
pub enum QualityError {
    /// A rule of severity `stop` does not hold.
    #[error("{table} breaks {} of quality: {}", counted(failed.len()), listed(failed))]
    Broken {
        /// The table.
        table: String,
        /// What was found of each.
        failed: Vec<RuleResult>,
    },
    /// A rule names a column that the rows do not have.
    #[error("the rule {rule} names the column `{column}`, which the rows of {table} do not have")]
    UnknownColumn {
        /// The table.
        table: String,
        /// The rule.
        rule: RuleName,
        /// The column.
        column: String,
        /// The columns there are, the most similar first.
        known: Vec<String>,
        /// Whether the first of them is similar.
        is_near: bool,
    },
    /// A rule that values of this type cannot be checked by.
    #[error("the rule {rule} is a {kind}, and {found}")]
    ColumnType {
        /// The rule.
        rule: RuleName,
        /// Its kind.
        kind: &'static str,
        /// The column with its type.
        found: String,
    },
    /// A bound that is not a value of the column's type, or bounds between which there is none.
    #[error("the rule {rule} of {table}: {problem}")]
    Bound {
        /// The table.
        table: String,
        /// The rule.
        rule: RuleName,
        /// What is wrong, with the column and its type.
        problem: String,
    },
    /// A pattern that is not in the language of regular expressions.
    #[error("the pattern of the rule {rule} cannot be used: {problem}")]
    Pattern {
        /// The rule.
        rule: RuleName,
        /// Why.
        problem: String,
    },
    /// A rule without what its kind needs, or with what it does not take.
    #[error("the rule {rule} of {table} is invalid: {problem}")]
    Invalid {
        /// The table.
        table: String,
        /// The rule.
        rule: RuleName,
        /// Why.
        problem: String,
    },
    /// A rule refers to a table that the sink does not have.
    #[error("the rule {rule} of {table} refers to {other}, which is not in the sink")]
    NoReferencedTable {
        /// The table.
        table: String,
        /// The rule.
        rule: RuleName,
        /// The other one.
        other: String,
    },
    /// There is no space for temporary files.
    #[error("the keys of {table} cannot be kept in a temporary file")]
    Spool {
        /// The table.
        table: String,
        /// Why.
        source: std::io::Error,
    },
    /// A batch that cannot be checked.
    #[error("the rules of {table} could not be checked")]
    Check {
        /// The table.
        table: String,
        /// Why.
        source: ArrowError,
    },
}

impl QualityError {
    fn rule(&self) -> Option<&RuleName> {
        match self {
            Self::UnknownColumn { rule, .. }
            | Self::ColumnType { rule, .. }
            | Self::Bound { rule, .. }
            | Self::Pattern { rule, .. }
            | Self::Invalid { rule, .. }
            | Self::NoReferencedTable { rule, .. } => Some(rule),
            Self::Broken { .. } | Self::Spool { .. } | Self::Check { .. } => None,
        }
    }
}

impl Diagnostic for QualityError {
    fn code(&self) -> Cow<'static, str> {
        match self {
            Self::Broken { .. } => "DK-RUN-050",
            Self::UnknownColumn { .. } => "DK-RUN-051",
            Self::ColumnType { .. } => "DK-RUN-052",
            Self::Bound { .. } => "DK-RUN-053",
            Self::Pattern { .. } => "DK-RUN-054",
            Self::Invalid { .. } => "DK-RUN-055",
            Self::NoReferencedTable { .. } => "DK-RUN-056",
            Self::Spool { .. } => "DK-RUN-057",
            Self::Check { .. } => "DK-RUN-058",
        }
        .into()
    }

    fn kind(&self) -> Kind {
        match (self, self.rule().map(|rule| rule.declared_by)) {
            (Self::Broken { .. }, _) => Kind::Data,
            (Self::NoReferencedTable { .. }, _) | (_, Some(DeclaredBy::Operator)) => Kind::User,
            (_, Some(DeclaredBy::Datakit)) => Kind::Datakit,
            (Self::Spool { .. }, None) => Kind::User,
            (_, None) => Kind::Internal,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::NoReferencedTable { .. } => Retry::NextRun,
            _ => Retry::Never,
        }
    }

    fn hint(&self) -> Option<String> {
        if let Some(RuleName { name, declared_by: DeclaredBy::Datakit }) = self.rule() {
            return Some(format!(
                "the rule is the datakit's: report it to the datakit's author; until then `severity = \"off\"` for `{name}` in `quality` \
                 of the ingest switches it off"
            ));
        }
        match self {
            Self::Broken { .. } => Some(
                "correct the rows in the source and run again; to commit them as they are, set `severity = \"warn\"` for the rule in \
                 `quality` of the ingest"
                    .into(),
            ),
            Self::UnknownColumn { known, is_near: true, .. } => {
                known.first().map(|column| format!("did you mean `{column}`?"))
            }
            Self::UnknownColumn { known, .. } => {
                Some(format!("its columns are: {}", printable::some(known, MAX_NAMED)))
            }
            Self::ColumnType { kind: "range", .. } => {
                Some("a range is of numbers, dates, times and timestamps".into())
            }
            Self::ColumnType { kind: "pattern", .. } => Some("a pattern is of text".into()),
            Self::ColumnType { kind: "freshness", .. } => Some("freshness is of a date or a timestamp".into()),
            Self::ColumnType { .. } => Some("values of this type cannot be compared".into()),
            Self::Bound { .. } => Some("write numbers as `-12.5`, dates as `2026-01-31`, timestamps as `2026-01-31T23:59:59Z`".into()),
            Self::Pattern { .. } => Some("docs/expressions.md describes the regular expressions there are".into()),
            Self::Invalid { .. } => Some("docs/quality.md shows every rule".into()),
            Self::NoReferencedTable { other, .. } => {
                Some(format!("load {other} first, in an earlier ingest of the same sink and source system"))
            }
            Self::Spool { .. } => Some("free space where temporary files are, or set TMPDIR to another folder".into()),
            Self::Check { .. } => Some("this is a bug in the host: please report it with the log".into()),
        }
    }
}

fn counted(rules: usize) -> String {
    if rules == 1 { "a rule".to_owned() } else { format!("{rules} rules") }
}

fn listed(failed: &[RuleResult]) -> String {
    let more = failed.len().saturating_sub(MAX_NAMED);
    let shown: Vec<String> = failed.iter().take(MAX_NAMED).map(ToString::to_string).collect();
    let shown = shown.join("; ");
    if more == 0 { shown } else { format!("{shown}; and {more} more") }
}
