//! What datakits of relational databases share: which tables there are, which columns are read, how a table is cut, its rows.
//!
//! A datakit keeps its [`Dialect`]: what it asks the catalog, the types of its columns, the texts of its queries, its settings.
//! [`Relational`] makes a [`Datakit`] of it.
//!
//! - [`tables`]: tables and columns, and which of them are read;
//! - [`strategy`]: by which strategy a table is loaded; [`planning`]: how it is cut into partitions; [`changes`]: tables of which
//!   only changes are read; [`watermark`]: those that go by a column;
//! - [`statement`]: parts of queries; [`extraction`]: the rows on their way.

pub mod changes;
pub mod extraction;
pub mod planning;
mod schemas;
pub mod statement;
pub mod strategy;
pub mod tables;
pub mod watermark;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::datakit::kit::sql::{Connection, Value};
use crate::bindings::datakit::kit::types::{Error, TableId};
use crate::changes::{Changes, OfRole};
use crate::datakit::{Datakit, Run};
use crate::log;
use crate::plans::{Description, DiscoveryRequest, Partition, Role, Table, TablePlan};
use crate::queries::{Queries, QueryOptions};
use crate::ranges::{KeyRange, KeyType};
use crate::selection::Selection;

pub use self::extraction::TableRows;
pub use self::strategy::Choice;
pub use self::tables::{ReadColumn, Size, SourceColumn, SourceTable};
pub use self::watermark::WatermarkRule;

/// The only role: where rows come from.
pub const ROLE: &str = "source";

/// The tables of a catalog.
pub type Catalog<C> = Result<Vec<SourceTable<C>>, Error>;
/// How the columns of a table are read.
pub type ReadColumns<R> = Result<Vec<ReadColumn<R>>, Error>;

/// What one kind of database does its own way.
pub trait Dialect: Debug + Sized + 'static {
    /// The operator's settings.
    type Settings: RelationalSettings;
    /// A column, as the catalog knows it.
    type Column: SourceColumn<Settings = Self::Settings>;
    /// How a column is read; the default: as it is.
    type Read: Debug + Clone + PartialEq + Default + Serialize + DeserializeOwned;
    /// A part of a table.
    type Part: Debug + Clone + PartialEq + From<KeyRange> + Serialize + DeserializeOwned;
    /// What the server is asked only once for all tables of a plan.
    type Once: Default;

    /// The codes of its errors.
    const CODES: Codes;
    /// Asks for all schemas, as `schema_name`.
    const SCHEMAS: &'static str;

    /// What the datakit is.
    fn describe() -> About;

    /// Reads the catalog of these schemas, or of all; tables in the order of their names.
    ///
    /// # Errors
    /// What the server refused, or an answer that does not fit the question.
    fn catalog(queries: &impl Queries, schemas: Option<&[String]>, options: QueryOptions) -> Catalog<Self::Column>;

    /// How the selected columns are read, with those the settings add.
    ///
    /// # Errors
    /// A column that cannot be represented, or an added one whose name is taken.
    fn read_columns(table: &TableId, columns: &[&Self::Column], settings: &Self::Settings) -> ReadColumns<Self::Read>;

    /// The parts of a large table, where the settings or the server's files say them; none: it is cut by its key. Fewer than
    /// two: it is read whole.
    ///
    /// # Errors
    /// A server that does not answer.
    fn parts(
        queries: &impl Queries,
        once: &Self::Once,
        table: &SourceTable<Self::Column>,
        parts: u32,
        settings: &Self::Settings,
    ) -> Result<Option<Vec<Self::Part>>, Error> {
        let _ = (queries, once, table, parts, settings);
        Ok(None)
    }

    /// Whether the values of its columns alone say which rows are in a part.
    fn is_range(part: &Self::Part) -> bool {
        let _ = part;
        true
    }

    /// Asks for the lowest and highest key, as `low` and `high`.
    fn key_extent(table: &TableId, key: &str, key_type: KeyType, settings: &Self::Settings) -> String;

    /// Asks for every `step`-th key in the server's order, without the first, as `bound`.
    fn key_quantiles(table: &TableId, key: &str, key_type: KeyType, step: u64, settings: &Self::Settings) -> String;

    /// The query for rows of a table: all, or those of a part.
    ///
    /// # Errors
    /// A bound that does not fit the key's type.
    fn select(
        table: &TableId,
        columns: &[ReadColumn<Self::Read>],
        part: Option<&Self::Part>,
        settings: &Self::Settings,
    ) -> Result<(String, Vec<Value>), Error>;
}

/// The operator's settings of a relational database. [`common_settings!`](crate::common_settings) says which all of them have.
pub trait RelationalSettings: CommonSettings + DeserializeOwned + JsonSchema {
    /// The patterns, read.
    ///
    /// # Errors
    /// The first text that is not a pattern.
    fn selection(&self) -> Result<Selection, Error>;

    /// How a table is to be loaded, as the operator says; none: as `watermark` says, else all rows.
    ///
    /// # Errors
    /// A pattern that is not one.
    fn choice(&self, selection: &Selection, table: &TableId) -> Result<Option<Choice>, Error>;

    /// What the host writes around every query of tables.
    ///
    /// # Errors
    /// Settings that contradict each other.
    fn query_options(&self) -> Result<QueryOptions, Error>;
}

/// Settings with those that all databases have.
pub trait CommonSettings {
    /// The settings that all databases have.
    fn common(&self) -> Common<'_>;
}

/// Takes the settings that all databases have from the fields of a type, by their names.
#[macro_export]
macro_rules! common_settings {
    ($settings:ty) => {
        impl $crate::relational::CommonSettings for $settings {
            fn common(&self) -> $crate::relational::Common<'_> {
                $crate::relational::Common {
                    query_timeout_seconds: self.query_timeout_seconds,
                    partition_row_threshold: self.partition_row_threshold,
                    partition_rows: self.partition_rows,
                    max_partitions: self.max_partitions,
                    row_hash: self.row_hash,
                    key_rules: self.key_rules,
                    watermark: &self.watermark,
                }
            }
        }
    };
}

/// What a datakit of a relational database is.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// The kind of connection that it reads.
    pub kind: &'static str,
}

/// The codes of a dialect's errors.
#[derive(Debug, Clone, Copy)]
pub struct Codes {
    /// A setting names a column that the table does not have.
    pub unknown_column: &'static str,
    /// The settings leave no column of a table.
    pub no_columns: &'static str,
    /// A table to be read is not there, or excluded by the settings.
    pub no_table: &'static str,
    /// The server's answer does not fit the question.
    pub unexpected_answer: &'static str,
    /// Changes of a table since its last load are lost.
    pub lost_changes: &'static str,
    /// A table cannot be loaded by its changes, because of one of its columns.
    pub not_by_changes: &'static str,
}

/// Settings that all databases have.
#[derive(Debug, Clone, Copy)]
pub struct Common<'a> {
    /// A query is cancelled after so many seconds.
    pub query_timeout_seconds: Option<u32>,
    /// A table with more rows than this is read in several partitions.
    pub partition_row_threshold: u64,
    /// Rows a partition should have.
    pub partition_rows: u64,
    /// Partitions a table has at most.
    pub max_partitions: u32,
    /// Fill the row hash.
    pub row_hash: bool,
    /// Declare the rules of quality of each table's primary key.
    pub key_rules: bool,
    /// Tables of which only changes are read, by a pattern of tables.
    pub watermark: &'a BTreeMap<String, WatermarkRule>,
}

impl Common<'_> {
    /// What the host writes around queries of the catalog.
    #[must_use]
    pub fn catalog_options(&self) -> QueryOptions {
        let timeout_ms = self.query_timeout_seconds.map(|seconds| seconds.saturating_mul(1000));
        QueryOptions { timeout_ms, ..QueryOptions::default() }
    }
}

/// The datakit of a dialect.
#[derive(Debug)]
pub struct Relational<D>(PhantomData<D>);

impl<D: Dialect> Datakit for Relational<D> {
    type Settings = D::Settings;
    type Extraction = TableRows;

    fn describe() -> Description {
        let About { name, version, summary, kind } = D::describe();
        let purpose = "The database whose tables and views are read.".into();
        Description {
            name: name.into(),
            version: version.into(),
            summary: summary.into(),
            roles: vec![Role { name: ROLE.into(), kinds: vec![kind.into()], purpose }],
        }
    }

    fn discover(run: &Run<D::Settings>, request: &DiscoveryRequest) -> Result<Vec<Table>, Error> {
        discover::<D>(&Connection::open(ROLE)?, &run.settings, request)
    }

    fn plan(run: &Run<D::Settings>, tables: &[TableId]) -> Result<Vec<TablePlan>, Error> {
        plan::<D>(&Connection::open(ROLE)?, &OfRole(ROLE), &run.settings, tables)
    }

    fn open(run: &Run<D::Settings>, partition: &Partition) -> Result<TableRows, Error> {
        TableRows::open::<D>(run, partition)
    }
}

/// The tables the settings include.
///
/// # Errors
/// Settings that contradict each other, or a server that does not answer.
pub fn discover<D: Dialect>(
    queries: &impl Queries,
    settings: &D::Settings,
    request: &DiscoveryRequest,
) -> Result<Vec<Table>, Error> {
    let selection = settings.selection()?;
    // Found here rather than at the first table that is read.
    settings.query_options()?;
    let options = settings.common().catalog_options();
    let schemas = schemas::requested::<D>(queries, request, options)?;
    let tables = D::catalog(queries, schemas.as_deref(), options)?;
    let listed: Vec<Table> = tables
        .iter()
        .filter(|table| selection.has_table(&table.id))
        .map(|table| tables::listed::<D>(table, &selection, settings))
        .collect();
    log::info(
        "discovered",
        &[("tables", listed.len().to_string()), ("excluded", (tables.len() - listed.len()).to_string())],
    );
    Ok(listed)
}

/// The plans of tables, in this order.
///
/// # Errors
/// A table that is not there or is excluded, columns that cannot be read, lost changes, or a server that does not answer.
pub fn plan<D: Dialect>(
    queries: &impl Queries,
    changes: &impl Changes,
    settings: &D::Settings,
    wanted: &[TableId],
) -> Result<Vec<TablePlan>, Error> {
    let selection = settings.selection()?;
    let tables = D::catalog(queries, schemas::of(wanted).as_deref(), settings.common().catalog_options())?;
    let key = |id: &TableId| (id.schema.clone(), id.name.clone());
    let by_name: HashMap<(String, String), &SourceTable<D::Column>> =
        tables.iter().map(|table| (key(&table.id), table)).collect();
    let offers = strategy::offers::<D>(changes, &selection, settings, wanted)?;
    let planner = planning::Planner::<D, _, _> { queries, changes, selection, settings, once: D::Once::default() };
    wanted
        .iter()
        .zip(&offers)
        .map(|(id, offers)| {
            let found = by_name.get(&key(id)).filter(|table| planner.selection.has_table(&table.id));
            planner.plan(found.ok_or_else(|| no_table::<D>(id))?, offers)
        })
        .collect()
}

fn no_table<D: Dialect>(id: &TableId) -> Error {
    Error::config(D::CODES.no_table, format!("there is no table or view {id} that this run may read"))
        .with_hint("it may be gone, invisible to the login, or excluded by the settings `include` and `exclude`")
        .with_context("table", id)
}
