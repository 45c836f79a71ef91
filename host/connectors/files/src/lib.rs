//! Files: delimited fields and JSON lines, of a folder or an object store.
//!
//! A datakit asks for the listing, for a sample of some files, for rows of files in columns of types it names. What it may name is
//! the operator's to say: files below the connection's root that belong to a granted table.
//!
//! | module | about |
//! |---|---|
//! | [`config`] | what an operator says about files |
//! | [`error`] | what can go wrong, with codes and hints |
//! | `request` | what a datakit asks for, checked |
//! | [`tables`] | which file belongs to which table |
//! | `storage` | the folder or object store |
//! | `bytes`, `input` | from its bytes to text: compression, encodings |
//! | `csv`, `quotes`, `json`, `document` | from text to records |
//! | `found` | what a file is of which no record can be read |
//! | `header`, `values`, `columns` | from records to Arrow |
//! | `rejects` | rows that are none |
//! | `rows`, `answers` | a request on its thread |

mod answers;
mod bytes;
mod columns;
pub mod config;
mod connector;
mod csv;
mod document;
pub mod error;
mod found;
mod header;
mod input;
mod json;
mod quotes;
mod rejects;
mod request;
mod rows;
mod settings;
mod storage;
pub mod tables;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datakit_model::files::{FilePart, FilesRequest};
use datakit_model::source::{Access, Connection, ReadReport, Reader, Rejected, Source};
use datakit_model::{Failure, NameRule, TableId, TrackedBatch};
use tokio::runtime::Handle;

use self::answers::Sampler;
use self::columns::Columns;
pub use self::config::{FilesConfig, Root};
pub use self::connector::Files;
pub use self::error::FilesError;
use self::rejects::{Rejects, Tally, Waiting};
use self::request::{Read, Request, Sample};
use self::rows::RowReader;
pub use self::settings::{FilesSettings, PathPatterns};
use self::storage::Storage;
pub use self::tables::TableRules;
use datakit_connect::config::Timeouts;
use datakit_connect::delivery::{Delivery, Stop};
use datakit_connect::permissions::{Codes, Permissions, TablePermission};
use datakit_connect::reader::{BatchReader, Busy};

/// Rows of one run's files are those of the versions that its plan listed, whenever each is read.
const SNAPSHOT: &str = "as listed";

/// A configured folder or object store.
pub struct FilesSource {
    shared: Arc<Shared>,
}

struct Shared {
    config: Arc<FilesConfig>,
    storage: Arc<Storage>,
    tally: Arc<Tally>,
}

impl FilesSource {
    /// Checks the configuration; contacts nothing yet.
    ///
    /// # Errors
    /// [`FilesError::Root`] for a root that no client can be made for.
    pub fn new(config: FilesConfig) -> Result<Self, FilesError> {
        let storage = Arc::new(Storage::new(&config)?);
        Ok(Self { shared: Arc::new(Shared { config: Arc::new(config), storage, tally: Arc::default() }) })
    }
}

impl FilesSource {
    /// Whether the root can be listed.
    ///
    /// # Errors
    /// It is not there, may not be read, or does not answer.
    pub async fn reach(&self) -> Result<(), FilesError> {
        self.shared.storage.reach().await
    }

    /// The tables there are. All of them may be read, as far as a listing can tell.
    ///
    /// # Errors
    /// As [`Self::reach`]; more files than there may be, or one that two tables claim.
    pub async fn permissions(&self) -> Result<Permissions, FilesError> {
        let Shared { config, storage, .. } = self.shared.as_ref();
        let mut tables: BTreeSet<TableId> = config.tables.named().cloned().collect();
        for file in storage.list(config.max_files).await? {
            tables.extend(config.tables.table_of(&file.path)?);
        }
        let permission = |table| TablePermission {
            table,
            missing_grants: Vec::new(),
            denied_columns: Vec::new(),
            hides_rows: false,
        };
        Ok(Permissions {
            user: "the host".to_owned(),
            tables: tables.into_iter().map(permission).collect(),
            names: NameRule::default(),
            codes: Codes { denied: "DK-SRC-211", not_found: "DK-SRC-210" },
        })
    }
}

#[async_trait]
impl Source for FilesSource {
    fn kind(&self) -> &'static str {
        "files"
    }

    async fn connect(&self, access: Access) -> Result<Box<dyn Connection>, Failure> {
        Ok(Box::new(FilesSession { shared: Arc::clone(&self.shared), access, reading: Arc::default() }))
    }
}

/// One session of a datakit: its grant, and a place for one reader.
struct FilesSession {
    shared: Arc<Shared>,
    access: Access,
    reading: Arc<AtomicBool>,
}

#[async_trait]
impl Connection for FilesSession {
    async fn files(&self, request: FilesRequest) -> Result<Box<dyn Reader>, Failure> {
        let busy = Busy::take(&self.reading).ok_or(FilesError::Busy)?;
        let timeout = Timeouts::default().of_query(None);
        let reader = match Request::try_from(request)? {
            Request::List => self.list(timeout, busy).await?,
            Request::Sample(sample) => self.sample(sample, timeout, busy)?,
            Request::Read(read) => self.read(read, timeout, busy)?,
        };
        Ok(Box::new(reader))
    }
}

impl FilesSession {
    async fn list(&self, timeout: Duration, busy: Busy) -> Result<FilesReader, FilesError> {
        let Shared { config, storage, .. } = self.shared.as_ref();
        let batches = answers::listing(storage.list(config.max_files).await?, &config.tables)?;
        let (delivery, messages) = Delivery::new(self.access.memory.clone(), timeout);
        tokio::spawn(deliver(delivery, Ok(batches)));
        Ok(FilesReader::new(BatchReader::new(answers::listing_schema(), Vec::new(), messages, busy)))
    }

    fn sample(&self, sample: Sample, timeout: Duration, busy: Busy) -> Result<FilesReader, FilesError> {
        self.check(&sample.table, &sample.files)?;
        let (delivery, messages) = Delivery::new(self.access.memory.clone(), timeout);
        let sampler = Sampler {
            config: Arc::clone(&self.shared.config),
            storage: Arc::clone(&self.shared.storage),
            runtime: Handle::current(),
            closing: delivery.closing(),
        };
        tokio::task::spawn_blocking(move || {
            let batches = sampler.sample(&sample);
            sampler.runtime.block_on(deliver(delivery, batches));
        });
        Ok(FilesReader::new(BatchReader::new(answers::sample_schema(), Vec::new(), messages, busy)))
    }

    fn read(&self, read: Read, timeout: Duration, busy: Busy) -> Result<FilesReader, FilesError> {
        self.check(&read.table, &read.files)?;
        let Shared { config, storage, tally } = self.shared.as_ref();
        let (delivery, messages) = Delivery::new(self.access.memory.clone(), timeout);
        let columns = Columns::new(&read.columns, &read.format, &config.read);
        let rejects = Rejects::new(Arc::clone(tally), &self.access.run_id, read.table.clone(), read.max_rejected_rows)
            .held_to(self.access.rejecting.as_ref());
        let (schema, waiting) = (columns.schema(), rejects.waiting());
        let reader = RowReader {
            config: Arc::clone(config),
            storage: Arc::clone(storage),
            request: read,
            columns,
            rejects,
            delivery,
            runtime: Handle::current(),
        };
        tokio::task::spawn_blocking(move || reader.run());
        let batches = BatchReader::new(schema, Vec::new(), messages, busy).of_snapshot(Some(SNAPSHOT.into()));
        Ok(FilesReader { batches, waiting })
    }

    /// Holds a table and its files against the grant.
    fn check(&self, table: &TableId, files: &[FilePart]) -> Result<(), FilesError> {
        if !self.access.tables.allows(table) {
            return Err(FilesError::TableNotGranted { table: table.clone() });
        }
        for file in files {
            if self.shared.config.tables.table_of(&file.path)?.as_ref() != Some(table) {
                let why = "it does not belong to the table that it is read for";
                return Err(FilesError::NotGranted { path: file.path.clone(), why });
            }
        }
        Ok(())
    }
}

/// Hands over what is small enough to be made at once.
async fn deliver(mut delivery: Delivery<FilesError>, batches: Result<Vec<RecordBatch>, FilesError>) {
    let outcome = async {
        for batch in batches.map_err(Stop::Failed)?.into_iter().filter(|batch| batch.num_rows() > 0) {
            delivery.ship(batch, Vec::new()).await?;
        }
        Ok(())
    };
    let outcome = outcome.await;
    delivery.finish(outcome).await;
}

/// Batches, and rows that were rejected on the way.
struct FilesReader {
    batches: BatchReader<FilesError>,
    waiting: Waiting,
}

impl FilesReader {
    fn new(batches: BatchReader<FilesError>) -> Self {
        Self { batches, waiting: Waiting::default() }
    }
}

#[async_trait]
impl Reader for FilesReader {
    fn schema(&self) -> SchemaRef {
        self.batches.schema()
    }

    async fn next(&mut self) -> Result<Option<TrackedBatch>, Failure> {
        self.batches.next().await
    }

    fn report(&mut self) -> ReadReport {
        let mut report = self.batches.report();
        report.rejected.append(Rejected::new(rejects::taken(&self.waiting)));
        report
    }
}
