//! `drift` of an ingest: what happens where the columns of a table are not those of its source.

use std::collections::BTreeMap;

use datakit_model::{DriftRule, DriftRules};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens where the columns of a table are not those of its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Drift {
    /// The table follows its source, where that needs no rewriting of its rows.
    Evolve,
    /// The table keeps its columns. New columns of the source are left out.
    Freeze,
    /// Any difference fails the table.
    Fail,
}

impl From<Drift> for DriftRule {
    fn from(drift: Drift) -> Self {
        match drift {
            Drift::Evolve => Self::Evolve,
            Drift::Freeze => Self::Freeze,
            Drift::Fail => Self::Fail,
        }
    }
}

/// The word of each table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum DriftSetting {
    /// One for all tables.
    All(Drift),
    /// By patterns of tables.
    ByTable(BTreeMap<String, Drift>),
}

impl Default for DriftSetting {
    fn default() -> Self {
        Self::All(Drift::Evolve)
    }
}

impl DriftSetting {
    /// The rule of each table. Patterns were checked when the configuration was read.
    #[must_use]
    pub fn rules(&self) -> DriftRules {
        match self {
            Self::All(drift) => DriftRules::all((*drift).into()),
            Self::ByTable(words) => {
                let rules = words.iter().filter_map(|(text, drift)| Some((text.parse().ok()?, (*drift).into())));
                DriftRules { by_pattern: rules.collect(), ..DriftRules::default() }
            }
        }
    }
}
