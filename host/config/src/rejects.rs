//! `rejected` of an ingest: how many rows with bad values may be rejected instead of failing their table.

use std::borrow::Cow;

use datakit_model::rejects::{RejectBounds, RejectedValues};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::problem::Problem;
use crate::settings::{Checks, Settings};

/// The most rows of a table that may be rejected: they are in memory until the commit.
const MAX_ROWS: u64 = 100_000;

/// How many rows of a table and load may be rejected. Beyond it the table fails.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
pub struct RejectedRule {
    /// The most rows of a table.
    #[schemars(range(max = MAX_ROWS), extend("x-hint" = "write `rejected = { max_rows = 100 }`"))]
    pub max_rows: u64,
    /// The greatest share of the rows that are read of a table, from 0 to 1.
    #[serde(default)]
    #[schemars(extend("default" = 0.01))]
    pub max_share: Share,
    /// Whether the table of rejected rows has the bad values: `text` (by default), or `masked`.
    #[serde(default)]
    pub values: ValuesOfRejected,
}

/// What the table of rejected rows has of bad values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ValuesOfRejected {
    /// The values as text, at most 1,024 bytes each.
    #[default]
    Text,
    /// Nothing: neither values nor, of files, rows.
    Masked,
}

/// A share: a number from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "Json")]
pub struct Share(pub f64);

impl Default for Share {
    fn default() -> Self {
        Self(0.01)
    }
}

const NO_SHARE: &str = "a share is a number from 0 to 1, such as 0.01";

impl TryFrom<Json> for Share {
    type Error = &'static str;

    fn try_from(value: Json) -> Result<Self, &'static str> {
        value.as_f64().filter(|share| (0.0..=1.0).contains(share)).map(Self).ok_or(NO_SHARE)
    }
}

impl JsonSchema for Share {
    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0, "maximum": 1 })
    }
}

impl Settings for RejectedRule {
    fn check(at: &Checks<'_>) {
        if at.is_set("max_share") && at.get::<Share>("max_share").is_none() {
            at.report("max_share", |path| Problem::Refused { path, message: NO_SHARE.to_owned() });
        }
    }
}

impl RejectedRule {
    /// The bounds that it sets.
    #[must_use]
    pub fn bounds(&self) -> RejectBounds {
        let values = match self.values {
            ValuesOfRejected::Text => RejectedValues::Text,
            ValuesOfRejected::Masked => RejectedValues::Masked,
        };
        RejectBounds { max_rows: self.max_rows, max_share: self.max_share.0, values }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn share_is_one_percent_unless_said_otherwise() {
        let rule = |json: Json| serde_json::from_value::<RejectedRule>(json).map(|rule| rule.bounds()).ok();
        let bounds = |max_share, values| Some(RejectBounds { max_rows: 5, max_share, values });
        assert_eq!(rule(json!({ "max_rows": 5 })), bounds(0.01, RejectedValues::Text));
        let masked = json!({ "max_rows": 5, "max_share": 1, "values": "masked" });
        assert_eq!(rule(masked), bounds(1.0, RejectedValues::Masked));
        for share in [json!(1.1), json!(-0.1), json!("0.1"), json!(null)] {
            assert_eq!(rule(json!({ "max_rows": 5, "max_share": share })), None);
        }
    }
}
