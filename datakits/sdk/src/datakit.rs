//! The trait a datakit implements, and how it becomes a component's exports.

use std::cell::RefCell;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::bindings::datakit::kit::batches::Batch;
use crate::bindings::datakit::kit::types::{Error, Schema, TableId};
use crate::bindings::datakit::kit::{plans as host, run};
use crate::bindings::exports::datakit::kit::extractor as exports;
use crate::errors::codes;
use crate::log;
use crate::plans::{Description, DiscoveryRequest, Partition, Table, TablePlan};

/// A datakit. The host may call each function in an instance of its own: keep nothing between calls.
pub trait Datakit: Sized + 'static {
    /// The operator's settings: what they are, by their JSON Schema, and how they are read. `{}` must do where all have
    /// defaults.
    type Settings: DeserializeOwned + JsonSchema;
    /// The rows of one partition, on their way.
    type Extraction: Extraction;

    /// What the datakit is. No host call is possible here.
    fn describe() -> Description;

    /// The tables there are. Those that the request's patterns do not select may be left out.
    ///
    /// # Errors
    /// Whatever keeps the datakit from knowing; the run ends with it.
    fn discover(run: &Run<Self::Settings>, request: &DiscoveryRequest) -> Result<Vec<Table>, Error>;

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

    /// The watermark that the rows reach, where the plan could not bound it. Asked once, after [`Self::next`] returned none, and
    /// only of a table whose plan has one partition and sets no watermark. None: the table keeps none.
    fn watermark(&self) -> Option<String> {
        None
    }
}

/// The run a datakit is part of, with its settings read.
#[derive(Debug, Clone, PartialEq)]
pub struct Run<S> {
    /// The operator's name for the run.
    pub run_id: String,
    /// The id of the load: a UUID, hyphenated, lower-case, one a run. As a column: [`crate::Expression::LoadId`].
    pub load_id: String,
    /// Start of the run, microseconds since 1970-01-01T00:00:00Z.
    pub started_at_micros: i64,
    /// The operator's name for the source system.
    pub source_system: String,
    /// The settings.
    pub settings: S,
}

impl<S: DeserializeOwned> Run<S> {
    fn from_host() -> Result<Self, Error> {
        Ok(Self {
            settings: parse_settings(&run::settings())?,
            run_id: run::run_id(),
            load_id: run::load_id(),
            started_at_micros: run::started_at_micros(),
            source_system: run::source_system(),
        })
    }
}

/// What the last commit of a table left as its watermark; none when the table was never committed, or without one, or when this
/// run replaces its rows.
#[must_use]
pub fn watermark(table: &TableId) -> Option<String> {
    run::watermark(table)
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

    fn describe() -> host::Description {
        log::report_panics();
        D::describe().to_host(&settings_schema::<D::Settings>())
    }

    fn discover(request: &host::DiscoveryRequest) -> Result<Vec<host::TableDescription>, Error> {
        log::report_panics();
        let tables = D::discover(&Run::from_host()?, &DiscoveryRequest::from_host(request))?;
        Ok(tables.iter().map(Table::to_host).collect())
    }

    fn plan(tables: Vec<TableId>) -> Result<Vec<host::TablePlan>, Error> {
        log::report_panics();
        let plans = D::plan(&Run::from_host()?, &tables)?;
        Ok(plans.iter().map(TablePlan::to_host).collect())
    }
}

/// The resource behind an extraction's handle.
#[derive(Debug)]
pub struct OpenExtraction<D: Datakit>(RefCell<D::Extraction>);

impl<D: Datakit> exports::GuestExtraction for OpenExtraction<D> {
    fn open(partition: &host::Partition) -> Result<exports::Extraction, Error> {
        log::report_panics();
        let extraction = D::open(&Run::from_host()?, &Partition::from_host(partition))?;
        Ok(exports::Extraction::new(Self(RefCell::new(extraction))))
    }

    fn output(&self) -> Schema {
        self.0.borrow().output()
    }

    fn next(&self) -> Result<Option<Batch>, Error> {
        self.0.borrow_mut().next()
    }

    fn watermark(&self) -> Option<String> {
        self.0.borrow().watermark()
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
