//! Events as OpenLineage's specification has them: <https://openlineage.io/docs/spec/object-model>.

use arrow::datatypes::Field;
use datakit_connect::dataset::DatasetName;
use datakit_model::{ColumnOrigin, Derivation};
use datakit_pipeline::{RunStatus, TableError, TableStatus, TableSummary};
use serde_json::{Map, Value as Json, json};
use uuid::Uuid;

/// Who makes the events.
const PRODUCER: &str = concat!("urn:datakit:host:", env!("CARGO_PKG_VERSION"));
const EVENT_SCHEMA: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";

/// What becomes of a run: `eventType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Start,
    Complete,
    Fail,
    Abort,
}

impl Step {
    fn word(self) -> &'static str {
        match self {
            Self::Start => "START",
            Self::Complete => "COMPLETE",
            Self::Fail => "FAIL",
            Self::Abort => "ABORT",
        }
    }
}

impl From<TableStatus> for Step {
    fn from(status: TableStatus) -> Self {
        match status {
            TableStatus::Committed | TableStatus::Unchanged => Self::Complete,
            TableStatus::Failed => Self::Fail,
            TableStatus::Stopped => Self::Abort,
        }
    }
}

impl From<RunStatus> for Step {
    fn from(status: RunStatus) -> Self {
        match status {
            RunStatus::Done | RunStatus::Drift => Self::Complete,
            RunStatus::Failed => Self::Fail,
            RunStatus::Stopped => Self::Abort,
        }
    }
}

/// A run of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobRun {
    pub(crate) namespace: String,
    pub(crate) job: String,
    pub(crate) run: Uuid,
}

/// What an event is about.
pub(crate) struct Event<'e> {
    pub(crate) step: Step,
    /// RFC 3339, UTC.
    pub(crate) at: String,
    pub(crate) of: &'e JobRun,
    /// The run that this one is a part of.
    pub(crate) parent: Option<&'e JobRun>,
    /// `INGEST`, or `TABLE` for a part of it.
    pub(crate) job_type: &'static str,
    /// Why it failed.
    pub(crate) error: Option<&'e TableError>,
    pub(crate) inputs: Vec<Json>,
    pub(crate) outputs: Vec<Json>,
}

impl Event<'_> {
    /// The document.
    pub(crate) fn document(self) -> Json {
        let mut run = Map::new();
        let engine = json!({ "name": "datakit", "version": env!("CARGO_PKG_VERSION"), "openlineageAdapterVersion": env!("CARGO_PKG_VERSION") });
        run.insert("processing_engine".into(), facet("1-1-1/ProcessingEngineRunFacet", engine));
        if let Some(JobRun { namespace, job, run: id }) = self.parent {
            let parent = json!({ "run": { "runId": id }, "job": { "namespace": namespace, "name": job } });
            run.insert("parent".into(), facet("1-2-0/ParentRunFacet", parent));
        }
        if let Some(error) = self.error {
            let message = format!("{}: {}", error.code, error.message);
            let error = json!({ "message": message, "programmingLanguage": "Rust" });
            run.insert("errorMessage".into(), facet("1-0-1/ErrorMessageRunFacet", error));
        }
        let job_type = json!({ "processingType": "BATCH", "integration": "DATAKIT", "jobType": self.job_type });
        let job = json!({ "jobType": facet("2-0-4/JobTypeJobFacet", job_type) });
        json!({
            "eventType": self.step.word(),
            "eventTime": self.at,
            "producer": PRODUCER,
            "schemaURL": EVENT_SCHEMA,
            "run": { "runId": self.of.run, "facets": run },
            "job": { "namespace": self.of.namespace, "name": self.of.job, "facets": job },
            "inputs": self.inputs,
            "outputs": self.outputs,
        })
    }
}

/// The source's table, as it was read.
pub(crate) fn input(of: &DatasetName, summary: &TableSummary) -> Json {
    let read = json!({ "rowCount": summary.rows });
    json!({
        "namespace": of.namespace,
        "name": of.name,
        "facets": {},
        "inputFacets": { "inputStatistics": facet("1-0-0/InputStatisticsInputDatasetFacet", read) },
    })
}

/// The sink's table, as it was written.
pub(crate) fn output(of: &DatasetName, from: &DatasetName, summary: &TableSummary) -> Json {
    let mut facets = Map::new();
    if let Some(commit) = &summary.commit {
        let fields: Vec<Json> = commit.schema.fields().iter().map(|field| column(field)).collect();
        facets.insert("schema".into(), facet("1-2-0/SchemaDatasetFacet", json!({ "fields": fields })));
        let lineage = column_lineage(&commit.origins, from);
        if !lineage.is_empty() {
            let lineage = json!({ "fields": lineage });
            facets.insert("columnLineage".into(), facet("1-2-0/ColumnLineageDatasetFacet", lineage));
        }
    }
    let written = json!({ "rowCount": summary.rows, "size": summary.bytes });
    json!({
        "namespace": of.namespace,
        "name": of.name,
        "facets": facets,
        "outputFacets": { "outputStatistics": facet("1-0-2/OutputStatisticsOutputDatasetFacet", written) },
    })
}

fn column(field: &Field) -> Json {
    json!({ "name": field.name(), "type": field.data_type().to_string() })
}

/// Columns that are made of nothing of the source are not there.
fn column_lineage(origins: &[ColumnOrigin], from: &DatasetName) -> Map<String, Json> {
    let of = |origin: &ColumnOrigin| {
        let (subtype, masking) = match origin.derivation {
            Derivation::Identity => ("IDENTITY", false),
            Derivation::Expression => ("TRANSFORMATION", false),
            Derivation::Hash => ("TRANSFORMATION", true),
        };
        let transformations = json!([{ "type": "DIRECT", "subtype": subtype, "masking": masking }]);
        let field = |name: &String| json!({ "namespace": from.namespace, "name": from.name, "field": name, "transformations": transformations });
        json!({ "inputFields": origin.inputs.iter().map(field).collect::<Vec<_>>() })
    };
    let made = origins.iter().filter(|origin| !origin.inputs.is_empty());
    made.map(|origin| (origin.column.clone(), of(origin))).collect()
}

/// A facet with who made it and which schema it has.
fn facet(schema: &str, mut content: Json) -> Json {
    if let Some(content) = content.as_object_mut() {
        let name = schema.split('/').next_back().unwrap_or(schema);
        let version = schema.split('/').next().unwrap_or_default();
        content.insert("_producer".into(), PRODUCER.into());
        let url = format!("https://openlineage.io/spec/facets/{version}/{name}.json#/$defs/{name}");
        content.insert("_schemaURL".into(), url.into());
    }
    content
}
