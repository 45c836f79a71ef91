//! `quality` of an ingest: what must hold of its loads, and what the operator says about rules of the datakit.

use std::borrow::Cow;

use datakit_model::quality::{Check, OperatorRule, OperatorSays, Rule, Severity};
use datakit_model::{TableId, TablePatterns};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;

use crate::ingest::{check_tables, read_tables};
use crate::problem::Problem;
use crate::settings::{Checks, Settings};

/// A rule of quality, or what becomes of a rule of the datakit.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
pub struct QualityRule {
    /// The rule's name, in results and errors. Without `rule`, the name of a rule of the datakit that `severity` changes.
    #[schemars(extend("x-hint" = "write `name = \"amounts are positive\"`"))]
    pub name: String,
    /// The tables, patterns as those of the ingest; all tables of the ingest by default.
    #[serde(default, deserialize_with = "read_some_tables")]
    #[schemars(with = "Vec<String>", extend("x-expected" = "an array of table patterns"))]
    pub tables: Option<TablePatterns>,
    /// What is checked. Without it `severity` is of the datakit's rule of that name.
    pub rule: Option<RuleKind>,
    /// The columns, by their names in the rows.
    #[serde(default)]
    #[schemars(extend("x-expected" = "an array of names of columns"))]
    pub columns: Vec<String>,
    /// What happens when the rule does not hold: `stop` (by default) fails the table before its commit, `warn` commits it and says so.
    /// `off` switches a rule of the datakit off.
    pub severity: Option<RuleSeverity>,
    /// Of a `range` the smallest value, of a `row_count` the smallest number of rows.
    pub min: Option<Bound>,
    /// Of a `range` the largest value, of a `row_count` the largest number of rows.
    pub max: Option<Bound>,
    /// Of a `row_count`: so much more or less than the last load had, in percent.
    pub max_change_percent: Option<u64>,
    /// Of a `pattern`: a regular expression that matches a part of each value; `^` and `$` make it the whole.
    pub pattern: Option<String>,
    /// Of `unique`: the rows that the target holds have other values too.
    #[serde(default)]
    pub in_target: bool,
    /// Of `freshness`: so old is the newest value at most when the run starts, in seconds.
    pub max_age_seconds: Option<u64>,
    /// Of a `reference`: the table that has the values, `SCHEMA.TABLE` in the source, loaded into the same sink.
    #[serde(default, deserialize_with = "read_table")]
    #[schemars(with = "Option<String>")]
    pub in_table: Option<TableId>,
    /// Of a `reference`: the columns there, in the order of `columns`; the same names by default.
    #[serde(default)]
    #[schemars(extend("x-expected" = "an array of names of columns"))]
    pub in_columns: Vec<String>,
}

/// What a rule checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleKind {
    /// No value is null.
    NotNull,
    /// No two rows have the same values.
    Unique,
    /// Values are within bounds.
    Range,
    /// Values match a regular expression.
    Pattern,
    /// The number of rows is within bounds.
    RowCount,
    /// The newest value is not old.
    Freshness,
    /// Values are those of another table.
    Reference,
}

/// What happens when a rule does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RuleSeverity {
    /// The rows are committed, and the summary says so.
    Warn,
    /// The table fails before its commit.
    Stop,
    /// The datakit's rule is not checked.
    Off,
}

/// A bound: a number, or the text of a date, a time or a number of many digits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Json")]
pub struct Bound(pub String);

impl TryFrom<Json> for Bound {
    type Error = &'static str;

    fn try_from(value: Json) -> Result<Self, &'static str> {
        match value {
            Json::String(text) => Ok(Self(text)),
            Json::Number(number) => Ok(Self(number.to_string())),
            _ => Err(NO_BOUND),
        }
    }
}

const NO_BOUND: &str = "a bound is a number, a date, a time or a text";

impl JsonSchema for Bound {
    fn schema_name() -> Cow<'static, str> {
        "Bound".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number"] })
    }
}

fn read_some_tables<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TablePatterns>, D::Error> {
    read_tables(deserializer).map(Some)
}

fn read_table<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TableId>, D::Error> {
    let text = String::deserialize(deserializer)?;
    table_of(&text).map(Some).ok_or_else(|| D::Error::custom(no_table(&text)))
}

fn table_of(text: &str) -> Option<TableId> {
    let (schema, name) = text.split_once('.')?;
    (!schema.is_empty() && !name.is_empty()).then(|| TableId::new(schema, name))
}

fn no_table(text: &str) -> String {
    format!("`{text}` is no table, such as `dbo.customers`")
}

/// The keys that each rule needs and those that it may have.
const KEYS: [(RuleKind, &[&str], &[&str]); 7] = [
    (RuleKind::NotNull, &["columns"], &[]),
    (RuleKind::Unique, &["columns"], &["in_target"]),
    (RuleKind::Range, &["columns"], &["min", "max"]),
    (RuleKind::Pattern, &["columns", "pattern"], &[]),
    (RuleKind::RowCount, &[], &["min", "max", "max_change_percent"]),
    (RuleKind::Freshness, &["columns", "max_age_seconds"], &[]),
    (RuleKind::Reference, &["columns", "in_table"], &["in_columns"]),
];

/// All keys of rules.
const OF_RULES: [&str; 9] = [
    "columns",
    "in_target",
    "min",
    "max",
    "max_change_percent",
    "pattern",
    "max_age_seconds",
    "in_table",
    "in_columns",
];

impl Settings for QualityRule {
    fn check(at: &Checks<'_>) {
        check_tables(at);
        check_values(at);
        let Some(rule) = at.get::<RuleKind>("rule") else {
            if !at.is_set("rule") {
                check_override(at);
            }
            return;
        };
        let word = at.get::<String>("rule").unwrap_or_default();
        let (required, optional) = KEYS
            .iter()
            .find(|(kind, ..)| *kind == rule)
            .map_or((&[][..], &[][..]), |(_, required, optional)| (*required, *optional));
        for key in required {
            at.require(key, &format!("`rule = \"{word}\"` needs `{key}`"));
        }
        for key in OF_RULES.iter().filter(|key| !required.contains(key) && !optional.contains(key)) {
            if at.is_set(key) {
                let hint = format!("take `{key}` out: a rule `{word}` does not use it");
                at.contradiction_at_key(key, [&format!("`rule = \"{word}\"`"), &format!("`{key}`")], &hint);
            }
        }
        check_bounds(at, rule, &word, optional);
    }
}

/// Values that their types do not take.
fn check_values(at: &Checks<'_>) {
    for key in ["min", "max"] {
        if at.is_set(key) && at.get::<Bound>(key).is_none() {
            at.report(key, |path| Problem::Refused { path, message: NO_BOUND.to_owned() });
        }
    }
    if let Some(text) = at.get::<String>("in_table").filter(|text| table_of(text).is_none()) {
        at.report("in_table", |path| Problem::Refused { path, message: no_table(&text) });
    }
}

/// A rule with bounds has one, and those of a number of rows are numbers of rows.
fn check_bounds(at: &Checks<'_>, rule: RuleKind, word: &str, bounds: &[&str]) {
    if !matches!(rule, RuleKind::Range | RuleKind::RowCount) {
        return;
    }
    if !bounds.iter().any(|key| at.is_set(key)) {
        at.require("min", &format!("`rule = \"{word}\"` needs one of: {}", bounds.join(", ")));
    }
    for key in ["min", "max"].into_iter().filter(|_| rule == RuleKind::RowCount) {
        if at.get::<Bound>(key).is_some_and(|bound| bound.0.parse::<u64>().is_err()) {
            let message = "a number of rows is a whole number from 0".to_owned();
            at.report(key, |path| Problem::Refused { path, message });
        }
    }
    if at.get::<RuleSeverity>("severity") == Some(RuleSeverity::Off) {
        let hint = "take the rule out of the file: only a rule of the datakit is switched off";
        at.contradiction("severity", ["`rule`", "`severity = \"off\"`"], hint);
    }
}

/// Without `rule` the table says what becomes of a rule of the datakit.
fn check_override(at: &Checks<'_>) {
    at.require(
        "severity",
        "write `rule = \"not_null\"` for a rule of your own, or `severity` for a rule of the datakit",
    );
    for key in OF_RULES.iter().filter(|key| at.is_set(key)) {
        let hint = format!("write `rule = …` for a rule of your own, or take `{key}` out");
        at.contradiction_at_key(key, ["no `rule`", &format!("`{key}`")], &hint);
    }
}

impl QualityRule {
    /// What the operator says by it.
    #[must_use]
    pub fn said(&self) -> OperatorRule {
        let severity = match self.severity {
            Some(RuleSeverity::Warn) => Some(Severity::Warn),
            Some(RuleSeverity::Stop) | None => Some(Severity::Stop),
            Some(RuleSeverity::Off) => None,
        };
        let says = match self.checked() {
            Some(check) => {
                let (name, columns) = (self.name.clone(), self.columns.clone());
                OperatorSays::Rule(Rule { name, columns, check, severity: severity.unwrap_or_default() })
            }
            None => OperatorSays::Severity(severity),
        };
        OperatorRule { name: self.name.clone(), tables: self.tables.clone(), says }
    }

    fn checked(&self) -> Option<Check> {
        let text = |bound: &Option<Bound>| bound.as_ref().map(|bound| bound.0.clone());
        let rows = |bound: &Option<Bound>| bound.as_ref().and_then(|bound| bound.0.parse().ok());
        Some(match self.rule? {
            RuleKind::NotNull => Check::NotNull,
            RuleKind::Unique => Check::Unique { in_target: self.in_target },
            RuleKind::Range => Check::Range { min: text(&self.min), max: text(&self.max) },
            RuleKind::Pattern => Check::Pattern(self.pattern.clone().unwrap_or_default()),
            RuleKind::RowCount => Check::RowCount {
                min: rows(&self.min),
                max: rows(&self.max),
                max_change_percent: self.max_change_percent,
            },
            RuleKind::Freshness => Check::Freshness { max_age_seconds: self.max_age_seconds.unwrap_or_default() },
            RuleKind::Reference => Check::Reference {
                table: self.in_table.clone().unwrap_or_else(|| TableId::new("", "")),
                columns: if self.in_columns.is_empty() { self.columns.clone() } else { self.in_columns.clone() },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(json: Json) -> OperatorRule {
        serde_json::from_value::<QualityRule>(json).unwrap().said()
    }

    #[test]
    fn rule_of_the_file_becomes_the_models() {
        let json = serde_json::json!({ "name": "a", "rule": "range", "columns": ["n"], "min": -1.5, "max": "9", "severity": "warn" });
        let check = Check::Range { min: Some("-1.5".to_owned()), max: Some("9".to_owned()) };
        let rule = Rule { name: "a".to_owned(), columns: vec!["n".to_owned()], check, severity: Severity::Warn };
        assert_eq!(said(json).says, OperatorSays::Rule(rule));
        let json = serde_json::json!({ "name": "a", "rule": "reference", "columns": ["n"], "in_table": "dbo.b" });
        let OperatorSays::Rule(rule) = said(json).says else { panic!("a rule") };
        assert_eq!(rule.severity, Severity::Stop);
        assert_eq!(rule.check, Check::Reference { table: TableId::new("dbo", "b"), columns: vec!["n".to_owned()] });
    }

    #[test]
    fn severity_alone_is_of_a_rule_of_the_datakit() {
        let off = said(serde_json::json!({ "name": "a", "severity": "off", "tables": ["dbo.*"] }));
        assert_eq!(off.says, OperatorSays::Severity(None));
        assert!(off.tables.unwrap().allows(&TableId::new("dbo", "b")));
        let warn = said(serde_json::json!({ "name": "a", "severity": "warn" }));
        assert_eq!(warn.says, OperatorSays::Severity(Some(Severity::Warn)));
    }
}
