//! What a load keeps while it goes on: a run that is started again with the same id reads only the partitions that are missing
//! (docs/resume.md).

use std::time::Duration;

use arrow_schema::Schema;
use serde::{Deserialize, Serialize};

use crate::TableId;
use crate::sink::Written;
use crate::source::{Adjustment, ReadReport, Rejected, RejectedRow};

/// A load without a sign of life for longer than this is not resumed, and may be removed.
pub const RETENTION: Duration = Duration::from_secs(72 * 3600);

/// What fixes the rows of a partition, whenever it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FixedRows {
    /// Its state names objects by their versions. Another plan with other states reads other rows.
    Versions,
    /// Its state names ranges of values that together cover every row. An earlier plan with other ranges does so too.
    Ranges,
}

/// A plan whose finished partitions are kept. Everything that was written by it names it by [`Self::id`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadPlan {
    /// Version of this form.
    pub version: u32,
    /// A UUID. Two plans never share one, also where they are equal.
    pub id: String,
    /// The run.
    pub run_id: String,
    /// `_bronze_batch_id` of its rows.
    pub load_id: String,
    /// When the run that made the plan began, microseconds since 1970-01-01 UTC: `_bronze_loaded_at` of all rows of the load.
    pub started_at_micros: i64,
    /// The datakit that made the plan, `name@version`.
    pub datakit: String,
    /// Its manifest digest.
    pub digest: String,
    /// A digest of what has to be the same for a run that goes on, in hexadecimal digits.
    pub fingerprint: String,
    /// The columns of the rows.
    pub schema: Schema,
    /// In the order of their ordinals.
    pub partitions: Vec<KeptPartition>,
    /// Commits with the rows.
    pub watermark_after: Option<String>,
}

impl LoadPlan {
    /// The version that this release reads and writes.
    pub const VERSION: u32 = 1;
}

/// A partition of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptPartition {
    /// The datakit's own, in base64.
    #[serde(with = "bytes")]
    pub state: Vec<u8>,
    /// Rows, as far as the datakit can tell.
    pub estimated_rows: Option<u64>,
}

/// A partition that is finished: what it wrote, and what is known of its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinishedPartition {
    /// Its place in the plan.
    pub ordinal: u32,
    /// Rows.
    pub rows: u64,
    /// Bytes in the sink's own form.
    pub bytes: u64,
    /// Values that were changed on the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adjustments: Vec<Adjustment>,
    /// Rows that were rejected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected: Vec<RejectedRow>,
    /// The snapshot that the rows are of, by a name that has a meaning only in the process that read them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// Read with NOLOCK: rows may be missing or doubled.
    #[serde(default)]
    pub approximate: bool,
    /// Row-level security of the source left out rows, or may have.
    #[serde(default)]
    pub filtered: bool,
}

impl FinishedPartition {
    /// A partition of the plan, from what its reader and its writer said.
    #[must_use]
    pub fn new(ordinal: u32, written: Written, report: &ReadReport) -> Self {
        let ReadReport { adjustments, rejected, snapshot, approximate, filtered } = report;
        Self {
            ordinal,
            rows: written.rows,
            bytes: written.bytes,
            adjustments: adjustments.clone(),
            rejected: rejected.rows().to_vec(),
            snapshot: snapshot.as_deref().map(str::to_owned),
            approximate: *approximate,
            filtered: *filtered,
        }
    }

    /// What it wrote.
    #[must_use]
    pub fn written(&self) -> Written {
        Written { rows: self.rows, bytes: self.bytes }
    }

    /// What is known of its rows. They are of no snapshot that another process can read.
    #[must_use]
    pub fn report(self) -> ReadReport {
        ReadReport {
            adjustments: self.adjustments,
            rejected: Rejected::new(self.rejected),
            snapshot: None,
            approximate: self.approximate,
            filtered: self.filtered,
        }
    }
}

/// What processes before have left of a run's load of one table.
#[derive(Debug, Clone, Default)]
pub struct Unfinished {
    /// The load that can be gone on with, and its finished partitions.
    pub load: Option<(LoadPlan, Vec<FinishedPartition>)>,
    /// Loads of the same run that cannot: their fingerprint is another one, or they are too old.
    pub others: usize,
}

/// What a run left of a load that it has not committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Leftover {
    /// By which the sink knows it.
    pub id: String,
    /// The source system.
    pub source_system: String,
    /// The table of the source.
    #[serde(serialize_with = "as_text")]
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub table: TableId,
    /// The run; none: the plan cannot be read.
    pub run_id: Option<String>,
    /// Where it is, for people.
    pub place: String,
    /// Finished partitions.
    pub partitions: usize,
    /// Rows of these.
    pub rows: u64,
    /// Bytes of these, in the sink's own form.
    pub bytes: u64,
    /// Seconds since the last sign of life.
    pub age_seconds: u64,
    /// Why it stays; none: it may be removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stays: Option<Stays>,
}

/// Why a leftover stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Stays {
    /// A process is at work on it, or was a moment ago.
    Live,
    /// Its run can be started again.
    Resumable,
}

fn as_text<S: serde::Serializer>(table: &TableId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(table)
}

mod bytes {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        BASE64_STANDARD.decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_schema::{DataType, Field, TimeUnit};

    use super::*;

    #[test]
    fn plan_reads_back_with_its_schema_and_states() {
        let uuid = [("ARROW:extension:name".to_owned(), "arrow.uuid".to_owned())].into();
        let plan = LoadPlan {
            version: LoadPlan::VERSION,
            id: "1".to_owned(),
            run_id: "nightly".to_owned(),
            load_id: "2".to_owned(),
            started_at_micros: 7,
            datakit: "a@0.1.0".to_owned(),
            digest: "sha256:00".to_owned(),
            fingerprint: "ab".to_owned(),
            schema: Schema::new(vec![
                Field::new("id", DataType::Decimal128(38, 4), false),
                Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
                Field::new("key", DataType::FixedSizeBinary(16), true).with_metadata(uuid),
            ]),
            partitions: vec![KeptPartition { state: vec![0, 255, 7], estimated_rows: None }],
            watermark_after: Some("w".to_owned()),
        };
        let json = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<LoadPlan>(&json).unwrap(), plan);
    }

    #[test]
    fn what_is_known_of_rows_reads_back() {
        let row = RejectedRow::of_file("a.csv".into(), 3, "r".to_owned(), Some("t".to_owned()));
        let adjustment = Adjustment { column: "c".to_owned(), what: "cut".to_owned(), values: 2 };
        let report = ReadReport {
            adjustments: vec![adjustment.clone()],
            rejected: Rejected::new(vec![row.clone()]),
            snapshot: Some(Arc::from("s")),
            approximate: true,
            filtered: true,
        };
        let finished = FinishedPartition::new(4, Written { rows: 5, bytes: 6 }, &report);
        let json = serde_json::to_string(&finished).unwrap();
        let read: FinishedPartition = serde_json::from_str(&json).unwrap();
        assert_eq!(read, finished);
        let report = read.report();
        assert_eq!((report.adjustments, report.rejected.rows()), (vec![adjustment], [row].as_slice()));
        assert_eq!((report.snapshot, report.approximate, report.filtered), (None, true, true));
    }
}
