//! The state document: everything that a later run needs from a target table.
//!
//! A sink keeps one document a table and commits it with the rows. docs/state.md is its specification, and
//! docs/state.schema.json its JSON Schema.

use serde::{Deserialize, Serialize};

use crate::run::TableState;
use crate::sink::{CommitNote, Target, WriteMode};
use crate::{RunIdentity, TableId};

/// What a commit leaves for the runs after it.
///
/// Unknown fields are refused: a document of a later version may need something of its reader, and a field that is read over is
/// missing in the next document. So each new field raises [`Self::VERSION`], and has a default for documents of earlier versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StateDocument {
    /// Version of this form.
    pub version: u32,
    /// Commits of this table by datakits so far, this one included; starts at 1.
    pub sequence: i64,
    /// The table that the document is about; none: a table of its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetTable>,
    /// What the commit wrote.
    pub written: WrittenRows,
    /// How far each source table is read.
    pub positions: Vec<Position>,
    /// The run that committed.
    pub load: Load,
    /// The runs that committed before it, newest first, at most 63.
    #[serde(default)]
    pub earlier_run_ids: Vec<String>,
    /// The columns as the commit wrote them, by their names in the source; empty in a document of version 0.
    #[serde(default)]
    pub schema: Vec<StateColumn>,
}

/// Which table a document is about, whatever its name is by now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum TargetTable {
    /// A Delta table.
    Delta {
        /// `metaData.id`.
        id: String,
        /// The version that the commit was prepared from; none: it creates the table. The commit has a higher version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        read_version: Option<u64>,
    },
    /// A table of PostgreSQL.
    Postgres {
        /// The table's object id.
        oid: u32,
        /// The ledger's own. A database that is restored from a dump has other ids for all of its tables.
        ledger_oid: u32,
        /// Rows that commits have written to the table and no overwrite has taken away.
        rows: u64,
    },
}

/// What a commit wrote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WrittenRows {
    /// Rows.
    pub rows: u64,
    /// Data files, as the log names them. Empty where the sink has no files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
}

/// How far a source table is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Position {
    /// The source table.
    pub source: SourceTable,
    /// What the datakit needs to go on from there, in the datakit's own form: of files, the set of those that are loaded.
    pub watermark: Option<String>,
}

/// A table of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SourceTable {
    /// `connections.X.source_system`.
    pub system: String,
    /// The catalog; none where the system has none, or where a connection reaches only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<String>,
    /// The schema.
    pub schema: String,
    /// The name in the schema.
    pub table: String,
}

impl SourceTable {
    /// The table of a source system.
    #[must_use]
    pub fn new(system: &str, table: &TableId) -> Self {
        let TableId { catalog, schema, name } = table.clone();
        Self { system: system.to_owned(), catalog, schema, table: name }
    }
}

/// The run that committed, and what is known of its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Load {
    /// The run's id.
    pub run_id: String,
    /// `_bronze_batch_id` of its rows; none in a document of version 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_id: Option<String>,
    /// All rows are of one snapshot. False: several partitions were read, each of its own.
    pub consistent_snapshot: bool,
    /// Read with NOLOCK: rows may be missing or doubled.
    pub approximate: bool,
    /// Row-level security of the source left out rows, or may have, as the operator allows.
    pub filtered: bool,
    /// The datakit that produced the rows, `name@version`.
    pub datakit: String,
    /// Its manifest digest.
    pub digest: String,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StateColumn {
    /// Its name in the source.
    pub name: String,
    /// Its Arrow type.
    pub r#type: String,
    /// Whether it can be null.
    pub nullable: bool,
}

/// Why a text is not a state document that can be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// It is not a document of the version it names.
    #[error(transparent)]
    Invalid(#[from] serde_json::Error),
    /// It is not UTF-8.
    #[error("it is not text")]
    NotText,
    /// A later release wrote it.
    #[error("it has version {version}, and this release reads versions up to {}", StateDocument::VERSION)]
    Newer {
        /// Its version.
        version: u32,
    },
}

/// Only the version, of any document.
#[derive(Deserialize)]
struct Versioned {
    #[serde(default)]
    version: u32,
}

/// What releases before documents had versions wrote: the state, and in PostgreSQL the table's ids beside it.
#[derive(Deserialize)]
struct Version0 {
    #[serde(flatten)]
    state: TableState,
    #[serde(default)]
    target: Option<Bound>,
}

/// [`TargetTable::Postgres`], in version 0.
#[derive(Deserialize)]
struct Bound {
    oid: u32,
    ledger_oid: u32,
    rows: u64,
}

impl StateDocument {
    /// The version that this release writes. It reads all up to it.
    pub const VERSION: u32 = 1;

    /// Reads a document of the source table of this name, of which version 0 says nothing.
    ///
    /// # Errors
    /// The text is not a document, or a later release wrote it.
    pub fn parse(json: &str, source: &SourceTable) -> Result<Self, StateError> {
        match serde_json::from_str::<Versioned>(json)?.version {
            0 => Ok(Self::from_version_0(serde_json::from_str(json)?, source)),
            version if version > Self::VERSION => Err(StateError::Newer { version }),
            _ => Ok(serde_json::from_str(json)?),
        }
    }

    fn from_version_0(Version0 { state, target }: Version0, source: &SourceTable) -> Self {
        Self {
            version: Self::VERSION,
            sequence: state.sequence,
            target: target.map(|Bound { oid, ledger_oid, rows }| TargetTable::Postgres { oid, ledger_oid, rows }),
            written: WrittenRows { rows: state.rows, files: Vec::new() },
            positions: vec![Position { source: source.clone(), watermark: state.watermark }],
            load: Load {
                run_id: state.run_id,
                load_id: None,
                consistent_snapshot: state.consistent_snapshot,
                approximate: state.approximate,
                filtered: state.filtered,
                datakit: state.datakit,
                digest: state.digest,
            },
            earlier_run_ids: state.earlier_run_ids,
            schema: Vec::new(),
        }
    }

    /// The document of a commit, from the one before it.
    #[must_use]
    pub fn after(
        before: Option<&Self>,
        target: &Target,
        note: &CommitNote,
        written: WrittenRows,
        to: Option<TargetTable>,
    ) -> Self {
        if let Some(before) = before.filter(|_| target.updates_only) {
            return Self::backfilled(before, target, note, written, to);
        }
        let source = SourceTable::new(&target.run.source_system, &target.table);
        let kept = before.filter(|_| target.mode != WriteMode::Overwrite).map(|before| before.positions.as_slice());
        let others = kept.unwrap_or_default().iter().filter(|position| position.source != source).cloned();
        let own = Position { source: source.clone(), watermark: note.watermark.clone() };
        Self {
            version: Self::VERSION,
            sequence: before.map_or(0, |before| before.sequence) + 1,
            target: to,
            written,
            positions: std::iter::once(own).chain(others).collect(),
            load: Load::new(&target.run, note),
            earlier_run_ids: before.map(Self::run_ids).unwrap_or_default(),
            schema: target.schema.fields().iter().map(|field| StateColumn::from(field.as_ref())).collect(),
        }
    }

    /// The document of a commit that gave some columns new values: all positions stay, and the columns of the last load too.
    fn backfilled(
        before: &Self,
        target: &Target,
        note: &CommitNote,
        written: WrittenRows,
        to: Option<TargetTable>,
    ) -> Self {
        let filled: Vec<StateColumn> = target.schema.fields().iter().map(|field| field.as_ref().into()).collect();
        let is_filled = |column: &&StateColumn| !target.keys.contains(&column.name);
        let mut schema = before.schema.clone();
        for column in filled.iter().filter(is_filled).filter(|_| !before.schema.is_empty()) {
            match schema.iter_mut().find(|known| known.name == column.name) {
                Some(known) => *known = column.clone(),
                None => schema.push(column.clone()),
            }
        }
        Self {
            version: Self::VERSION,
            sequence: before.sequence + 1,
            target: to,
            written,
            positions: before.positions.clone(),
            load: Load::new(&target.run, note),
            earlier_run_ids: before.run_ids(),
            schema,
        }
    }

    /// What the pipeline asks for, of one source table.
    #[must_use]
    pub fn state(&self, source: &SourceTable) -> TableState {
        let position = self.positions.iter().find(|position| position.source == *source);
        TableState {
            run_id: self.load.run_id.clone(),
            earlier_run_ids: self.earlier_run_ids.clone(),
            sequence: self.sequence,
            watermark: position.and_then(|position| position.watermark.clone()),
            rows: self.written.rows,
            consistent_snapshot: self.load.consistent_snapshot,
            approximate: self.load.approximate,
            filtered: self.load.filtered,
            datakit: self.load.datakit.clone(),
            digest: self.load.digest.clone(),
        }
    }

    /// The same without how far this source table is read: the next load reads all of it.
    #[must_use]
    pub fn without_watermark(&self, source: &SourceTable) -> Self {
        let mut document = self.clone();
        let of_source = document.positions.iter_mut().filter(|position| position.source == *source);
        of_source.for_each(|position| position.watermark = None);
        document
    }

    /// Whether a run has committed this table, as far as the document remembers.
    #[must_use]
    pub fn was_committed_by(&self, run_id: &str) -> bool {
        self.load.run_id == run_id || self.earlier_run_ids.iter().any(|id| id == run_id)
    }

    /// The runs that the document after this one remembers as earlier.
    fn run_ids(&self) -> Vec<String> {
        let ids = std::iter::once(&self.load.run_id).chain(&self.earlier_run_ids);
        ids.take(TableState::MAX_EARLIER_RUNS).cloned().collect()
    }
}

impl Load {
    fn new(run: &RunIdentity, note: &CommitNote) -> Self {
        Self {
            run_id: run.run_id.clone(),
            load_id: Some(run.batch_id.to_string()),
            consistent_snapshot: note.consistent_snapshot,
            approximate: note.approximate,
            filtered: note.filtered,
            datakit: format!("{}@{}", run.datakit, run.version),
            digest: run.digest.clone(),
        }
    }
}

impl From<&arrow::datatypes::Field> for StateColumn {
    fn from(field: &arrow::datatypes::Field) -> Self {
        Self { name: field.name().clone(), r#type: field.data_type().to_string(), nullable: field.is_nullable() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};
    use uuid::Uuid;

    use super::*;

    fn target(run_id: &str, table: &str, mode: WriteMode) -> Target {
        let run = RunIdentity {
            run_id: run_id.to_owned(),
            batch_id: Uuid::nil(),
            started_at_micros: 0,
            source_system: "ERP".to_owned(),
            datakit: "kit".to_owned(),
            version: "1.0.0".to_owned(),
            digest: "sha256:0".to_owned(),
        };
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Decimal128(10, 2), false)]));
        Target::new(TableId::new("dbo", table), schema, mode, run)
    }

    fn source(table: &str) -> SourceTable {
        SourceTable::new("ERP", &TableId::new("dbo", table))
    }

    fn after(before: Option<&StateDocument>, target: &Target, watermark: &str) -> StateDocument {
        let note = CommitNote { watermark: Some(watermark.to_owned()), ..CommitNote::default() };
        let to = TargetTable::Delta { id: "a".to_owned(), read_version: None };
        StateDocument::after(before, target, &note, WrittenRows { rows: 2, files: vec!["f".to_owned()] }, Some(to))
    }

    #[test]
    fn document_reads_back_as_it_was_written() {
        let document = after(None, &target("1", "orders", WriteMode::Append), "w");
        let json = serde_json::to_string(&document).unwrap();
        assert_eq!(StateDocument::parse(&json, &source("orders")).unwrap(), document);
        assert_eq!(document.schema[0].r#type, "Decimal128(10, 2)");
        assert_eq!(document.schema[0].r#type.parse::<DataType>().unwrap(), DataType::Decimal128(10, 2));
    }

    #[test]
    fn state_before_versions_is_read_as_version_0() {
        let json = r#"{"run_id":"2","earlier_run_ids":["1"],"sequence":2,"watermark":"w","rows":3,"approximate":true,
            "datakit":"kit@1","digest":"sha256:0"}"#;
        let document = StateDocument::parse(json, &source("orders")).unwrap();
        assert_eq!(document.state(&source("orders")), serde_json::from_str(json).unwrap());
        assert_eq!((document.version, document.target.clone()), (StateDocument::VERSION, None));
        let next = after(Some(&document), &target("3", "orders", WriteMode::Append), "x");
        assert_eq!((next.sequence, next.earlier_run_ids), (3, vec!["2".to_owned(), "1".to_owned()]));
    }

    #[test]
    fn newer_version_and_unknown_field_are_refused() {
        let newer = r#"{"version":2,"something":"else"}"#;
        let error = StateDocument::parse(newer, &source("orders")).unwrap_err();
        assert!(matches!(error, StateError::Newer { version: 2 }), "{error}");
        let document = after(None, &target("1", "orders", WriteMode::Append), "w");
        let json = serde_json::to_string(&document).unwrap();
        for (from, to) in [("{\"version\"", "{\"fence\":1,\"version\""), ("{\"kind\"", "{\"epoch\":1,\"kind\"")] {
            let changed = json.replacen(from, to, 1);
            assert_ne!(changed, json);
            let error = StateDocument::parse(&changed, &source("orders")).unwrap_err();
            assert!(error.to_string().contains("unknown field"), "{error}");
        }
    }

    #[test]
    fn backfill_keeps_positions_and_columns_of_the_last_load() {
        let load = after(None, &target("1", "orders", WriteMode::Append), "w");
        let field = |name: &str, data_type| Field::new(name, data_type, true);
        let schema = Schema::new(vec![field("id", DataType::Int32), field("extra", DataType::Int64)]);
        let backfill = Target {
            updates_only: true,
            keys: vec!["id".to_owned()],
            schema: Arc::new(schema),
            ..target("2", "orders", WriteMode::Merge)
        };
        let written = WrittenRows { rows: 1, files: Vec::new() };
        let note = CommitNote::default();
        let document = StateDocument::after(Some(&load), &backfill, &note, written.clone(), load.target.clone());
        assert_eq!((document.sequence, &document.positions), (2, &load.positions));
        assert!(document.was_committed_by("2") && document.was_committed_by("1"));
        let columns: Vec<_> = document.schema.iter().map(|it| (it.name.as_str(), it.r#type.as_str())).collect();
        assert_eq!(columns, [("id", "Decimal128(10, 2)"), ("extra", "Int64")], "the key stays as the load read it");
        let of_version_0 = StateDocument { schema: Vec::new(), ..load };
        assert!(StateDocument::after(Some(&of_version_0), &backfill, &note, written, None).schema.is_empty());
    }

    #[test]
    fn positions_of_other_source_tables_stay_until_an_overwrite() {
        let first = after(None, &target("1", "orders", WriteMode::Append), "1");
        let second = after(Some(&first), &target("2", "archive", WriteMode::Append), "2");
        let third = after(Some(&second), &target("3", "orders", WriteMode::Append), "3");
        let watermarks = ["orders", "archive"].map(|table| third.state(&source(table)).watermark.unwrap());
        assert_eq!(watermarks, ["3", "2"]);
        let forgotten = third.without_watermark(&source("orders"));
        assert_eq!(forgotten.state(&source("orders")).watermark, None);
        assert_eq!(forgotten.state(&source("archive")).watermark.as_deref(), Some("2"));
        let fourth = after(Some(&third), &target("4", "orders", WriteMode::Overwrite), "4");
        assert_eq!(fourth.positions.len(), 1);
        assert_eq!(fourth.state(&source("archive")).watermark, None);
    }
}
