//! What the operator can choose.

use std::collections::BTreeMap;

use datakit_sdk::changes::Strategy;
use datakit_sdk::relational::{Choice, CommonSettings as _, RelationalSettings, WatermarkRule};
pub use datakit_sdk::selection::{ColumnRule, Selection};
use datakit_sdk::{Error, Isolation, QueryOptions, TableId};
use schemars::JsonSchema;
use serde::Deserialize;

/// Settings of the datakit postgres-bronze.
///
/// A pattern of tables is SCHEMA.TABLE with `*` for any characters and `?` for one; case counts, except in what is left out. A part in
/// brackets or double quotes is taken literally: `public.*`, `sales.order_?`, `"odd.schema".[50%*]`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Patterns of tables and views to list. What is not listed cannot be read.
    pub include: Vec<String>,
    /// Patterns of tables and views not to list, whatever `include` says.
    pub exclude: Vec<String>,
    /// Columns to read, by a pattern of tables. A column is read when every pattern that fits its table allows it.
    pub columns: BTreeMap<String, ColumnRule>,
    /// How tables are loaded, by a pattern of tables; a pattern without wildcards counts before others. A table that is loaded by its
    /// changes gets four columns more (`_bronze_operation` and those behind it), and the settings of queries count for its first
    /// load alone. Not set for a table: as `watermark` says, else `full`.
    pub strategy: BTreeMap<String, LoadStrategy>,
    /// Tables that are loaded by a column, by a pattern of tables: rows that came or changed since the last load, as the column
    /// says. Rows that are deleted in the source are not noticed.
    pub watermark: BTreeMap<String, WatermarkRule>,
    /// The snapshot that rows are of.
    pub isolation: IsolationLevel,
    /// A query is cancelled after so many seconds. Default: the operator's bound alone.
    #[schemars(range(min = 1, max = 4294967))]
    pub query_timeout_seconds: Option<u32>,
    /// A table with more rows than this, by the server's last count (ANALYZE), is read in several partitions.
    pub partition_row_threshold: u64,
    /// Rows a partition should have.
    #[schemars(range(min = 1))]
    pub partition_rows: u64,
    /// Partitions a table has at most.
    #[schemars(range(min = 1, max = 10000))]
    pub max_partitions: u32,
    /// What a large table is cut by.
    pub partition_by: PartitionBy,
    /// Fill `_bronze_row_hash`. Without it the column stays, and is null.
    pub row_hash: bool,
    /// Declare rules of quality for each table with a primary key, which warn: `key_is_unique` and `key_is_not_null`.
    pub key_rules: bool,
    /// A numeric without a declared precision, or of more than 38 digits.
    pub numeric: NumericPolicy,
    /// NaN in a numeric.
    pub nan: SpecialValues,
    /// `infinity` and `-infinity` in a date or timestamp.
    pub infinity: SpecialValues,
    /// 24:00:00 in a time without time zone, which ends a day and begins none.
    pub end_of_day: EndOfDay,
}

/// How a table is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoadStrategy {
    /// All rows, each time.
    Full,
    /// By the best strategy that the table offers, or as its last load: `host plan` says which, and why.
    Auto,
    /// Every change, by logical decoding.
    Logical,
}

/// The snapshot that rows are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IsolationLevel {
    /// All tables of the run are read as of one snapshot: its first query of a table. The server keeps rows that die meanwhile.
    #[default]
    Snapshot,
    /// Each query sees what is committed when it begins: partitions of a table are several snapshots. For servers that must
    /// not hold a transaction for long.
    ReadCommitted,
}

/// What a large table is cut by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartitionBy {
    /// By blocks of its file where that is possible, else by its key.
    #[default]
    Auto,
    /// By its primary key, when that is one column of type integer, bigint, date or uuid; else not at all.
    Key,
    /// Not at all.
    Nothing,
}

/// What becomes of a numeric whose digits Arrow's decimals cannot be sure to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NumericPolicy {
    /// The table is not read.
    #[default]
    Error,
    /// It is loaded as text, all digits kept.
    Text,
}

/// What becomes of a value that its type has and Arrow's has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SpecialValues {
    /// The table fails, naming row and column.
    #[default]
    Error,
    /// It is loaded as null.
    Null,
}

/// What becomes of the time 24:00:00, which Arrow's time of day has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndOfDay {
    /// The table fails, naming row and column.
    #[default]
    Error,
    /// It is loaded as null.
    Null,
    /// Columns of that type are loaded as text, all their values kept.
    Text,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            include: vec!["*.*".into()],
            exclude: Vec::new(),
            columns: BTreeMap::new(),
            strategy: BTreeMap::new(),
            watermark: BTreeMap::new(),
            isolation: IsolationLevel::default(),
            query_timeout_seconds: None,
            partition_row_threshold: 1_000_000,
            partition_rows: 500_000,
            max_partitions: 64,
            partition_by: PartitionBy::default(),
            row_hash: true,
            key_rules: false,
            numeric: NumericPolicy::default(),
            nan: SpecialValues::default(),
            infinity: SpecialValues::default(),
            end_of_day: EndOfDay::default(),
        }
    }
}

datakit_sdk::common_settings!(Settings);

impl RelationalSettings for Settings {
    fn query_options(&self) -> Result<QueryOptions, Error> {
        let isolation = match self.isolation {
            IsolationLevel::Snapshot => Isolation::Snapshot,
            IsolationLevel::ReadCommitted => Isolation::ReadCommitted,
        };
        Ok(QueryOptions { isolation: Some(isolation), ..self.common().catalog_options() })
    }

    fn choice(&self, selection: &Selection, table: &TableId) -> Result<Option<Choice>, Error> {
        let Some(strategy) = selection.rule_for(&self.strategy, table)? else { return Ok(None) };
        Ok(Some(match strategy {
            LoadStrategy::Full => Choice::Full,
            LoadStrategy::Auto => Choice::Auto,
            LoadStrategy::Logical => Choice::By(Strategy::Logical),
        }))
    }

    fn selection(&self) -> Result<Selection, Error> {
        Ok(Selection::new(&self.include, &self.exclude, &self.columns)?.counting_case())
    }
}

#[cfg(test)]
mod tests {
    use datakit_sdk::datakit::{parse_settings, settings_schema};

    use super::*;

    #[test]
    fn all_settings_have_defaults() {
        assert_eq!(parse_settings::<Settings>("{}").unwrap(), Settings::default());
    }

    #[test]
    fn the_schema_is_the_contract_with_operators() {
        let schema: serde_json::Value = serde_json::from_str(&settings_schema::<Settings>()).unwrap();
        insta::assert_json_snapshot!(schema);
    }

    #[test]
    fn unknown_and_wrong_settings_are_errors() {
        for wrong in [
            r#"{"nolock": true}"#,
            r#"{"isolation": "chaos"}"#,
            r#"{"numeric": "null"}"#,
            r#"{"nan": "text"}"#,
            r#"{"end_of_day": "midnight"}"#,
        ] {
            assert!(parse_settings::<Settings>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_query_of_a_table_asks_for_the_isolation() {
        let settings = Settings { query_timeout_seconds: Some(90), ..Settings::default() };
        let options = settings.query_options().unwrap();
        assert_eq!((options.isolation, options.timeout_ms), (Some(Isolation::Snapshot), Some(90_000)));
        let settings = Settings { isolation: IsolationLevel::ReadCommitted, ..settings };
        assert_eq!(settings.query_options().unwrap().isolation, Some(Isolation::ReadCommitted));
    }
}
