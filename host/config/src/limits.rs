//! `[limits]`: the bounds of guests, reading and runs.

use datakit_model::{GuestLimits, ReadLimits, RunLimits};
use schemars::JsonSchema;
use serde::Deserialize;

/// Bounds of guests, reading and runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(transform = without_defaults)]
pub struct Limits {
    /// What one datakit instance may use.
    pub guest: GuestLimits,
    /// How a source cuts what it reads.
    pub read: ReadLimits,
    /// What one run may use.
    pub run: RunLimits,
}

/// The tables within have their own defaults, key by key.
fn without_defaults(schema: &mut schemars::Schema) {
    let properties = schema.get_mut("properties").and_then(serde_json::Value::as_object_mut);
    for table in properties.into_iter().flat_map(|properties| properties.values_mut()) {
        if let Some(table) = table.as_object_mut() {
            table.remove("default");
        }
    }
}
