//! The trait a datakit implements, and how it becomes a component's exports.

use std::cell::RefCell;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::bindings::datakit::kit::batches::Batch;
use crate::bindings::datakit::kit::run;
use crate::bindings::datakit::kit::types::{Error, Schema, TableId};
use crate::bindings::exports::datakit::kit::datakit as exports;
use crate::bindings::exports::datakit::kit::datakit::{Partition, Role, Table, TablePlan};
use crate::errors::codes;
use crate::log;

/// A datakit. The host may call each function in an instance of its own: keep nothing between calls.
pub trait Datakit: Sized + 'static {
    /// The operator's settings: what they are, by their JSON Schema, and how they are read. `{}` must do where all have
    /// defaults.
    type Settings: DeserializeOwned + JsonSchema;
    /// The rows of one partition, on their way.
    type Extraction: Extraction;

    /// What the datakit is. No host call is possible here.
    fn describe() -> Description;

    /// The tables there are.
    ///
    /// # Errors
    /// Whatever keeps the datakit from knowing; the run ends with it.
    fn discover(run: &Run<Self::Settings>) -> Result<Vec<Table>, Error>;

    /// How to read these tables: one plan a table, in this order, whose partitions cover every row once.
    ///
    /// # Errors
    /// A table that is not there, or cannot be read.
    fn plan(run: &Run<Self::Settings>, tables: &[TableId]) -> Result<Vec<TablePlan>, Error>;

    /// Starts reading a partition of a plan.
    ///
    /// # Errors
    /// The partition cannot be read; the host may try again, as the error says.
    fn open(run: &Run<Self::Settings>, partition: &Partition) -> Result<Self::Extraction, Error>;
}

/// The rows of one partition, on their way.
pub trait Extraction: 'static {
    /// The columns of every batch: known before the first row, and equal for all partitions of a table.
    fn output(&self) -> Schema;

    /// The next rows; none: the partition is complete.
    ///
    /// # Errors
    /// The partition cannot be read to its end.
    fn next(&mut self) -> Result<Option<Batch>, Error>;
}

/// What a datakit is, but for its settings, which [`Datakit::Settings`] describes.
#[derive(Debug, Clone, PartialEq)]
pub struct Description {
    /// Lower-case letters, digits, hyphens.
    pub name: String,
    /// A semantic version, usually `env!("CARGO_PKG_VERSION")`.
    pub version: String,
    /// What it does, in a sentence.
    pub summary: String,
    /// The connections it needs.
    pub roles: Vec<Role>,
}

/// The run a datakit is part of, with its settings read.
#[derive(Debug, Clone, PartialEq)]
pub struct Run<S> {
    /// The operator's name for the run.
    pub run_id: String,
    /// A UUID, hyphenated, lower-case: one a run.
    pub batch_id: String,
    /// Start of the run, microseconds since 1970-01-01T00:00:00Z.
    pub started_at_micros: i64,
    /// The operator's name for the source system.
    pub source_system: String,
    /// The settings.
    pub settings: S,
}

impl<S: DeserializeOwned> Run<S> {
    fn from_host() -> Result<Self, Error> {
        let info = run::info();
        Ok(Self {
            settings: parse_settings(&info.settings)?,
            run_id: info.run_id,
            batch_id: info.batch_id,
            started_at_micros: info.started_at_micros,
            source_system: info.source_system,
        })
    }
}

/// Reads settings. The host has checked them against the schema; what a schema cannot say is found here.
///
/// # Errors
/// Kind `config`, naming the setting.
pub fn parse_settings<S: DeserializeOwned>(json: &str) -> Result<S, Error> {
    serde_json::from_str(json)
        .map_err(|error| Error::config(codes::SETTINGS, format!("the settings do not fit the datakit: {error}")))
}

/// The JSON Schema of settings, as `describe` gives it to the host.
#[must_use]
pub fn settings_schema<S: JsonSchema>() -> String {
    schemars::schema_for!(S).to_value().to_string()
}

/// Carries the exports of a component over to a [`Datakit`]. Named by [`crate::export_datakit!`] only.
#[derive(Debug)]
pub struct Exports<D>(PhantomData<D>);

impl<D: Datakit> exports::Guest for Exports<D> {
    type Extraction = OpenExtraction<D>;

    fn describe() -> exports::Info {
        log::report_panics();
        let Description { name, version, summary, roles } = D::describe();
        exports::Info { name, version, summary, roles, settings_schema: settings_schema::<D::Settings>() }
    }

    fn discover() -> Result<Vec<Table>, Error> {
        log::report_panics();
        D::discover(&Run::from_host()?)
    }

    fn plan(tables: Vec<TableId>) -> Result<Vec<TablePlan>, Error> {
        log::report_panics();
        D::plan(&Run::from_host()?, &tables)
    }
}

/// The resource behind an extraction's handle.
#[derive(Debug)]
pub struct OpenExtraction<D: Datakit>(RefCell<D::Extraction>);

impl<D: Datakit> exports::GuestExtraction for OpenExtraction<D> {
    fn open(partition: Partition) -> Result<exports::Extraction, Error> {
        log::report_panics();
        let extraction = D::open(&Run::from_host()?, &partition)?;
        Ok(exports::Extraction::new(Self(RefCell::new(extraction))))
    }

    fn output(&self) -> Schema {
        self.0.borrow().output()
    }

    fn next(&self) -> Result<Option<Batch>, Error> {
        self.0.borrow_mut().next()
    }
}

/// Exports a type that implements [`Datakit`] as the component's datakit. Once a component, at the top of its library.
///
/// Natively it exports nothing: a linker's version script cannot spell the names of a component's exports.
#[macro_export]
macro_rules! export_datakit {
    ($datakit:ty) => {
        /// What the component exports.
        #[doc(hidden)]
        pub type ExportedDatakit = $crate::datakit::Exports<$datakit>;
        #[cfg(target_family = "wasm")]
        $crate::bindings::export_bindings!(ExportedDatakit with_types_in $crate::bindings);
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    struct Settings {
        /// Rows, at most.
        rows: u32,
    }

    impl Default for Settings {
        fn default() -> Self {
            Self { rows: 10 }
        }
    }

    #[test]
    fn settings_are_read_and_described_by_one_type() {
        assert_eq!(parse_settings::<Settings>("{}").unwrap(), Settings { rows: 10 });
        let error = parse_settings::<Settings>(r#"{"row": 1}"#).unwrap_err();
        assert_eq!(error.code, codes::SETTINGS);
        assert!(error.message.contains("`row`"), "{}", error.message);
        let schema: serde_json::Value = serde_json::from_str(&settings_schema::<Settings>()).unwrap();
        assert_eq!(schema["properties"]["rows"]["description"], "Rows, at most.");
        assert_eq!(schema["properties"]["rows"]["default"], 10);
        assert_eq!(schema["additionalProperties"], false);
    }
}
