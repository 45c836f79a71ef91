//! The JSON Schemas of events, of state documents and of records of runs.

use datakit_model::StateDocument;
use datakit_pipeline::VersionedEvent;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::runs::RunRecord;

/// The JSON Schema of an event as it leaves the process: docs/events.schema.json.
#[must_use]
pub fn event_schema() -> Value {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    generator.into_root_schema_for::<VersionedEvent>().to_value()
}

/// The JSON Schema of a table's state document: docs/state.schema.json.
#[must_use]
pub fn state_schema() -> Value {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    generator.into_root_schema_for::<StateDocument>().to_value()
}

/// The JSON Schema of the record of a run: docs/run.schema.json.
#[must_use]
pub fn run_schema() -> Value {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    generator.into_root_schema_for::<RunRecord>().to_value()
}
