//! What the operator can choose.

use std::collections::BTreeMap;

use datakit_sdk::changes::Strategy;
use datakit_sdk::relational::{Choice, CommonSettings as _, RelationalSettings, WatermarkRule};
pub use datakit_sdk::selection::{ColumnRule, Selection};
use datakit_sdk::{Error, Isolation, QueryOptions, TableId};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::errors;

/// Settings of the datakit sqlserver-bronze.
///
/// A pattern of tables is SCHEMA.TABLE with `*` for any characters and `?` for one, in any case; a part in brackets is taken
/// literally: `dbo.*`, `sales.order_?`, `[odd.schema].[50%*]`.
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
    /// Read with NOLOCK: faster on a busy server, but rows may be missing, doubled or never committed. Marks the run as
    /// approximate.
    pub nolock: bool,
    /// Processors the server may use for one query: OPTION (MAXDOP n). Default: the server's own setting.
    #[schemars(range(min = 1, max = 32767))]
    pub maxdop: Option<u16>,
    /// Transaction isolation of every query. Default: the server's own setting.
    pub isolation: Option<IsolationLevel>,
    /// A query is cancelled after so many seconds. Default: the operator's bound alone.
    #[schemars(range(min = 1, max = 4294967))]
    pub query_timeout_seconds: Option<u32>,
    /// A table with more rows than this, by the server's estimate, is read in several partitions, when its primary key is
    /// one column of type int, bigint, date or uniqueidentifier.
    pub partition_row_threshold: u64,
    /// Rows a partition should have.
    #[schemars(range(min = 1))]
    pub partition_rows: u64,
    /// Partitions a table has at most.
    #[schemars(range(min = 1, max = 10000))]
    pub max_partitions: u32,
    /// Fill `_bronze_row_hash`. Without it the column stays, and is null.
    pub row_hash: bool,
    /// Declare rules of quality for each table with a primary key, which warn: `key_is_unique` and `key_is_not_null`.
    pub key_rules: bool,
    /// Beside every column of type datetimeoffset, which is loaded as UTC, load `NAME_offset_minutes`: the offset the value
    /// was stored with.
    pub datetimeoffset_offset: bool,
    /// Load datetime2(7) as text `YYYY-MM-DD hh:mm:ss.fffffff`. Otherwise its seventh digit is cut, counted and reported.
    pub datetime2_as_text: bool,
}

/// How a table is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LoadStrategy {
    /// All rows, each time.
    Full,
    /// By the best strategy that the table offers, or as its last load: `host plan` says which, and why.
    Auto,
    /// Rows whose rowversion has grown. Deletes are not noticed.
    RowVersion,
    /// Each row that changed, as it is now, and deletes: by Change Tracking.
    ChangeTracking,
    /// Every change, by change data capture.
    Cdc,
    /// The last change of each row, by change data capture.
    CdcNet,
}

/// Transaction isolation, in the words of SQL Server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IsolationLevel {
    /// Dirty reads: as `nolock`.
    ReadUncommitted,
    /// Only committed rows.
    ReadCommitted,
    /// Rows once read do not change until the query's end.
    RepeatableRead,
    /// One snapshot for each query; the database must allow it.
    Snapshot,
    /// As if alone.
    Serializable,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            include: vec!["*.*".into()],
            exclude: Vec::new(),
            columns: BTreeMap::new(),
            strategy: BTreeMap::new(),
            watermark: BTreeMap::new(),
            nolock: false,
            maxdop: None,
            isolation: None,
            query_timeout_seconds: None,
            partition_row_threshold: 1_000_000,
            partition_rows: 500_000,
            max_partitions: 64,
            row_hash: true,
            key_rules: false,
            datetimeoffset_offset: false,
            datetime2_as_text: false,
        }
    }
}

datakit_sdk::common_settings!(Settings);

impl RelationalSettings for Settings {
    /// `nolock` asks for the isolation besides the hint in the text, so that the host knows of it and can mark the run.
    fn query_options(&self) -> Result<QueryOptions, Error> {
        let isolation = match (self.nolock, self.isolation) {
            (true, None | Some(IsolationLevel::ReadUncommitted)) => Some(Isolation::ReadUncommitted),
            (true, Some(_)) => {
                return Err(Error::config(
                    errors::CONFLICTING_SETTINGS,
                    "`nolock = true` and another `isolation` than `read_uncommitted` contradict each other",
                )
                .with_hint("remove one of them"));
            }
            (false, level) => level.map(IsolationLevel::to_wit),
        };
        Ok(QueryOptions { isolation, max_parallelism: self.maxdop, ..self.common().catalog_options() })
    }

    fn choice(&self, selection: &Selection, table: &TableId) -> Result<Option<Choice>, Error> {
        let Some(strategy) = selection.rule_for(&self.strategy, table)? else { return Ok(None) };
        Ok(Some(match strategy {
            LoadStrategy::Full => Choice::Full,
            LoadStrategy::Auto => Choice::Auto,
            LoadStrategy::RowVersion => Choice::By(Strategy::RowVersion),
            LoadStrategy::ChangeTracking => Choice::By(Strategy::ChangeTracking),
            LoadStrategy::Cdc => Choice::By(Strategy::Cdc),
            LoadStrategy::CdcNet => Choice::By(Strategy::CdcNet),
        }))
    }

    fn selection(&self) -> Result<Selection, Error> {
        Selection::new(&self.include, &self.exclude, &self.columns)
    }
}

impl IsolationLevel {
    fn to_wit(self) -> Isolation {
        match self {
            Self::ReadUncommitted => Isolation::ReadUncommitted,
            Self::ReadCommitted => Isolation::ReadCommitted,
            Self::RepeatableRead => Isolation::RepeatableRead,
            Self::Snapshot => Isolation::Snapshot,
            Self::Serializable => Isolation::Serializable,
        }
    }
}

#[cfg(test)]
mod tests {
    use datakit_sdk::datakit::{parse_settings, settings_schema};

    use super::*;

    fn table(name: &str) -> TableId {
        TableId::new("dbo", name)
    }

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
        for wrong in
            [r#"{"max_dop": 1}"#, r#"{"maxdop": "4"}"#, r#"{"columns": {"dbo.t": ["a"]}}"#, r#"{"isolation": "chaos"}"#]
        {
            assert!(parse_settings::<Settings>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nolock_is_an_isolation_too() {
        let settings =
            Settings { nolock: true, maxdop: Some(4), query_timeout_seconds: Some(90), ..Settings::default() };
        let options = settings.query_options().unwrap();
        assert_eq!(options.isolation, Some(Isolation::ReadUncommitted));
        assert_eq!(options.max_parallelism, Some(4));
        assert_eq!(options.timeout_ms, Some(90_000));
        let settings = Settings { isolation: Some(IsolationLevel::Snapshot), ..settings };
        assert_eq!(settings.query_options().unwrap_err().code, errors::CONFLICTING_SETTINGS);
        let settings = Settings { nolock: false, ..settings };
        assert_eq!(settings.query_options().unwrap().isolation, Some(Isolation::Snapshot));
    }

    #[test]
    fn tables_and_columns_are_selected_by_patterns() {
        let settings: Settings = parse_settings(
            r#"{ "include": ["dbo.*"], "exclude": ["dbo.audit_*"],
                 "columns": { "dbo.*": { "exclude": ["*password*"] }, "dbo.people": { "include": ["id", "name", "[a*b]"] } } }"#,
        )
        .unwrap();
        let selection = settings.selection().unwrap();
        assert!(selection.has_table(&table("People")));
        assert!(!selection.has_table(&table("Audit_2024")));
        assert!(!selection.has_table(&TableId::new("sales", "x")));
        assert!(selection.has_column(&table("People"), "NAME"));
        assert!(!selection.has_column(&table("People"), "email"));
        assert!(!selection.has_column(&table("other"), "PasswordHash"));
        assert!(selection.has_column(&table("other"), "email"));
        assert_eq!(selection.unknown_column(&table("people"), &["Id", "Name", "x"]).as_deref(), Some("a*b"));
        assert_eq!(selection.unknown_column(&table("people"), &["Id", "Name", "A*B"]), None);
        assert_eq!(selection.unknown_column(&table("other"), &["Id"]), None);
        let wrong = Settings { exclude: vec!["audit".into()], ..Settings::default() };
        assert!(wrong.selection().is_err());
    }
}
