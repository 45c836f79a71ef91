//! What the operator can choose.

use std::collections::BTreeMap;

use datakit_sdk::files::{Compression, Extra, FileColumn, FileFormat, FormatKind, Missing, Origin};
use datakit_sdk::patterns::TablePattern;
pub use datakit_sdk::selection::{ColumnRule, Selection};
use datakit_sdk::{Error, TableId};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::errors;

/// Settings of the datakit files-bronze.
///
/// A pattern of tables is SCHEMA.TABLE with `*` for any characters and `?` for one, in any case; a part in brackets or double
/// quotes is taken literally. Which files a table has is said by the connection.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Patterns of tables to list. What is not listed cannot be read.
    pub include: Vec<String>,
    /// Patterns of tables not to list, whatever `include` says.
    pub exclude: Vec<String>,
    /// Columns to read, by a pattern of tables. A column is read when every pattern that fits its table allows it.
    pub columns: BTreeMap<String, ColumnRule>,
    /// How files are written, and what is in them.
    pub defaults: TableOptions,
    /// The same by a pattern of tables; patterns without wildcards come last, and what comes later counts.
    pub tables: BTreeMap<String, TableOptions>,
    /// Which files a run loads.
    pub load: Load,
    /// A file that was loaded and has changed since.
    pub changed_files: ChangedFiles,
    /// Forget files that are gone: when they come back, they are new.
    pub forget_gone_files: bool,
    /// Files written less than so many seconds before the run are left for the next one.
    pub min_age_seconds: u32,
    /// Rows of a table that a run may reject; with one more the table fails.
    #[schemars(range(max = 100000))]
    pub max_bad_rows: u64,
    /// Files of a table that its columns are inferred from, where they are not declared.
    #[schemars(range(min = 1, max = 100))]
    pub sample_files: u32,
    /// Records of each of these files.
    #[schemars(range(min = 1, max = 10000))]
    pub sample_rows: u32,
    /// Bytes of files that a partition should have.
    #[schemars(range(min = 1024))]
    pub partition_bytes: u64,
    /// Partitions a table should have at most.
    #[schemars(range(min = 1, max = 10000))]
    pub max_partitions: u32,
    /// Fill `_bronze_row_hash`. Without it the column stays, and is null.
    pub row_hash: bool,
}

/// How the files of a table are written, and what is in them.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TableOptions {
    /// `csv`, `json_lines` or `json`; by default what the first file's extension says.
    pub format: Option<FormatKind>,
    /// The first record names the columns (true). Without it columns are `column_1`, `column_2`, …
    pub header: Option<bool>,
    /// What parts fields: one ASCII character (`,`; a tab for `.tsv`).
    pub delimiter: Option<char>,
    /// What fields are quoted with (`"`); an empty text: nothing.
    #[schemars(length(max = 1))]
    pub quote: Option<String>,
    /// What stands before a quote within quotes, besides a second quote.
    pub escape: Option<char>,
    /// Lines that begin with it are left out.
    pub comment: Option<char>,
    /// Lines before the header.
    pub skip_lines: Option<u32>,
    /// `utf-8`, `windows-1252` (`latin1` means the same), or any label of the WHATWG encoding standard. A byte order mark
    /// takes precedence.
    pub encoding: Option<String>,
    /// By default what the first bytes of each file say.
    pub compression: Option<Compression>,
    /// Fields that stand for null (the empty one).
    pub null_values: Option<Vec<String>>,
    /// Leave out blanks around fields (false).
    pub trim: Option<bool>,
    /// Numbers have a comma where others have a point (false).
    pub decimal_comma: Option<bool>,
    /// All columns of the files, in the order of the table. By default they are inferred, and kept from the first load on.
    pub schema: Option<Vec<ColumnSetting>>,
    /// Types of some columns, by name, where the others are inferred. Folders' columns too.
    pub types: Option<BTreeMap<String, String>>,
    /// A column that a file does not have (`error`).
    pub missing_columns: Option<Missing>,
    /// A column of a file that the table does not have (`error`).
    pub extra_columns: Option<Extra>,
    /// Folders like `dt=2026-01-01` are columns (true).
    pub hive_partitions: Option<bool>,
    /// Which of these folders are read, by the column's name.
    pub partitions: Option<BTreeMap<String, PartitionRule>>,
}

/// One column of the files.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnSetting {
    /// Its name: in the header, or the object's key.
    pub name: String,
    /// boolean, smallint, integer, bigint, real, double, decimal(PRECISION,SCALE), date, time, timestamp, timestamptz or text.
    #[serde(rename = "type")]
    pub column_type: String,
    /// How dates and times are written, in the notation of strftime (`%d.%m.%Y`); by default as in ISO 8601.
    #[serde(default)]
    pub format: Option<String>,
}

/// Which folders of one column are read: those that fit all of it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PartitionRule {
    /// Values that are not less, compared as text.
    pub from: Option<String>,
    /// Values that are less, compared as text.
    pub before: Option<String>,
    /// One of these values.
    pub values: Option<Vec<String>>,
}

/// Which files a run loads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// Those that no run has loaded. With `mode = "overwrite"`, which replaces what was loaded: all.
    #[default]
    NewFiles,
    /// All, each time.
    AllFiles,
}

/// What becomes of a file that was loaded and has changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangedFiles {
    /// The table fails, naming the file.
    #[default]
    Error,
    /// It is loaded again, beside the rows it had.
    Load,
    /// It stays as it was loaded.
    Skip,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            include: vec!["*.*".into()],
            exclude: Vec::new(),
            columns: BTreeMap::new(),
            defaults: TableOptions::default(),
            tables: BTreeMap::new(),
            load: Load::default(),
            changed_files: ChangedFiles::default(),
            forget_gone_files: false,
            min_age_seconds: 0,
            max_bad_rows: 0,
            sample_files: 5,
            sample_rows: 1_000,
            partition_bytes: 64 << 20,
            max_partitions: 64,
            row_hash: true,
        }
    }
}

impl Settings {
    /// The patterns, read.
    ///
    /// # Errors
    /// The first text that is no pattern.
    pub fn selection(&self) -> Result<Selection, Error> {
        Selection::new(&self.include, &self.exclude, &self.columns)
    }

    /// What holds for one table.
    ///
    /// # Errors
    /// A key of `tables` that is no pattern.
    pub fn options(&self, table: &TableId) -> Result<TableOptions, Error> {
        let mut fitting = Vec::new();
        for (text, options) in &self.tables {
            let pattern = TablePattern::parse(text)?;
            if pattern.matches(table) {
                fitting.push((pattern.is_literal(), options));
            }
        }
        fitting.sort_by_key(|(is_literal, _)| *is_literal);
        Ok(fitting.into_iter().fold(self.defaults.clone(), |under, (_, over)| under.overlaid(over)))
    }
}

impl TableOptions {
    fn overlaid(self, over: &Self) -> Self {
        fn pick<T: Clone>(over: &Option<T>, under: Option<T>) -> Option<T> {
            over.clone().or(under)
        }
        Self {
            format: pick(&over.format, self.format),
            header: pick(&over.header, self.header),
            delimiter: pick(&over.delimiter, self.delimiter),
            quote: pick(&over.quote, self.quote),
            escape: pick(&over.escape, self.escape),
            comment: pick(&over.comment, self.comment),
            skip_lines: pick(&over.skip_lines, self.skip_lines),
            encoding: pick(&over.encoding, self.encoding),
            compression: pick(&over.compression, self.compression),
            null_values: pick(&over.null_values, self.null_values),
            trim: pick(&over.trim, self.trim),
            decimal_comma: pick(&over.decimal_comma, self.decimal_comma),
            schema: pick(&over.schema, self.schema),
            types: pick(&over.types, self.types),
            missing_columns: pick(&over.missing_columns, self.missing_columns),
            extra_columns: pick(&over.extra_columns, self.extra_columns),
            hive_partitions: pick(&over.hive_partitions, self.hive_partitions),
            partitions: pick(&over.partitions, self.partitions),
        }
    }

    /// Whether nobody has declared the type of a column.
    #[must_use]
    pub fn infers(&self, column: &FileColumn) -> bool {
        let is_typed = self.types.iter().flatten().any(|(name, _)| *name == column.name);
        !is_typed && (column.from == Origin::Constant || self.schema.is_none())
    }

    /// The format of files, with what the name of one says where the settings say nothing.
    ///
    /// # Errors
    /// A quote of more than one character.
    pub fn file_format(&self, example: Option<&str>) -> Result<FileFormat, Error> {
        let extension = example.map(extension_of_rows).unwrap_or_default();
        let by_name = match extension.as_str() {
            "json" => FormatKind::Json,
            "jsonl" | "ndjson" => FormatKind::JsonLines,
            _ => FormatKind::Csv,
        };
        let standard = FileFormat::default();
        let comma = if extension == "tsv" { '\t' } else { standard.delimiter };
        let quote = match self.quote.as_deref().map(|quote| (quote, quote.chars().count())) {
            None => standard.quote,
            Some((_, 0)) => None,
            Some((quote, 1)) => quote.chars().next(),
            Some(_) => return Err(Error::config(errors::SETTING, "`quote` is one character, or none")),
        };
        Ok(FileFormat {
            kind: self.format.unwrap_or(by_name),
            header: self.header.unwrap_or(standard.header),
            delimiter: self.delimiter.unwrap_or(comma),
            quote,
            escape: self.escape,
            comment: self.comment,
            skip_lines: self.skip_lines.unwrap_or(standard.skip_lines),
            encoding: self.encoding.clone().unwrap_or(standard.encoding),
            compression: self.compression.unwrap_or(standard.compression),
            null_values: self.null_values.clone().unwrap_or(standard.null_values),
            trim: self.trim.unwrap_or(standard.trim),
            decimal_comma: self.decimal_comma.unwrap_or(standard.decimal_comma),
        })
    }
}

/// Whether a file's name says that it is compressed.
#[must_use]
pub fn is_compressed(path: &str) -> bool {
    let extension = path.rsplit('.').next().unwrap_or_default().to_lowercase();
    ["gz", "gzip", "zst", "zstd"].contains(&extension.as_str())
}

/// The extension below that of a compression, in lower case.
fn extension_of_rows(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or_default();
    let name = match name.rsplit_once('.') {
        Some((stem, _)) if is_compressed(name) => stem,
        _ => name,
    };
    name.rsplit_once('.').map(|(_, extension)| extension.to_lowercase()).unwrap_or_default()
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
    fn options_of_a_table_lie_over_those_of_all() {
        let settings: Settings = parse_settings(
            r#"{"defaults": {"delimiter": ";", "header": false},
                "tables": {"[files].orders": {"delimiter": "|"}, "files.*": {"delimiter": ",", "trim": true}}}"#,
        )
        .unwrap();
        let options = settings.options(&TableId::new("files", "orders")).unwrap();
        assert_eq!((options.delimiter, options.header, options.trim), (Some('|'), Some(false), Some(true)));
        let other = settings.options(&TableId::new("x", "orders")).unwrap();
        assert_eq!((other.delimiter, other.trim), (Some(';'), None));
    }

    #[test]
    fn names_say_what_settings_do_not() {
        let format = |name: &str| TableOptions::default().file_format(Some(name)).unwrap();
        assert_eq!(format("a/b.JSONL.gz").kind, FormatKind::JsonLines);
        assert_eq!((format("b.json").kind, format("b.ndjson").kind), (FormatKind::Json, FormatKind::JsonLines));
        assert_eq!((format("b.tsv").kind, format("b.tsv").delimiter), (FormatKind::Csv, '\t'));
        assert_eq!(format("b"), FileFormat::default());
        let unquoted = TableOptions { quote: Some(String::new()), ..TableOptions::default() };
        assert_eq!(unquoted.file_format(None).unwrap().quote, None);
        let wrong = TableOptions { quote: Some("ab".into()), ..TableOptions::default() };
        assert_eq!(wrong.file_format(None).unwrap_err().code, errors::SETTING);
    }
}
