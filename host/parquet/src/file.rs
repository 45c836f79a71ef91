//! One Parquet file: its name, its encoder, its upload.
//!
//! Encoded bytes go to the object store in parts; a file appears under its name when it is whole, and nothing names it before
//! the sink commits.

use std::fs::File;
use std::io;
use std::path::{self, PathBuf};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, WriteMultipart};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use tokio::runtime::Handle;

use crate::dictionary;
use crate::encoding_memory::{EncodingMemory, Share};
use crate::folders::{Folder, FormedBatch};
use crate::statistics::{FileStatistics, NanColumns};

/// Parts of an upload, in bytes; S3 wants at least 5 MiB.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// To a disk of this machine.
const LOCAL_PART_BYTES: usize = 1024 * 1024;
/// Parts on their way at one time, of one file.
const PARTS_IN_FLIGHT: usize = 1;

/// A file that is whole, and that nothing names yet.
#[derive(Debug, Clone)]
pub struct DataFile {
    /// Relative to the table's root, folders included.
    pub name: String,
    /// The folder that it is in.
    pub folder: Arc<Folder>,
    /// Its size.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// As Delta's log holds them, `add.stats`.
    pub statistics: String,
}

impl DataFile {
    /// Its place in the plan's store.
    #[must_use]
    pub fn path(&self) -> Path {
        store_path(&self.name)
    }
}

/// How files are written.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// A row group is closed at about this encoded size, in bytes.
    pub row_group_bytes: u64,
    /// A file is closed after the batch with which it reaches this size, in bytes.
    pub max_file_bytes: u64,
    /// Level of zstd, 1 to 22.
    pub compression_level: i32,
    /// Files open at one time, of each partition that is being written.
    pub max_open_files: usize,
}

/// Why a file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The rows cannot be encoded.
    #[error("cannot encode rows as Parquet")]
    Encode(#[source] ParquetError),
    /// The object store fails.
    #[error("cannot {action} the object store")]
    Store {
        /// What was tried, as in `cannot write to`.
        action: &'static str,
        /// What the store said.
        #[source]
        source: object_store::Error,
    },
    /// The file system fails.
    #[error("cannot {action} the file system")]
    Disk {
        /// What was tried.
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// The form that a sink gives to rows in its files.
pub trait RowForm: Send + Sync {
    /// The sink's errors.
    type Error;

    /// The schema of the files, without the columns that folders stand for.
    fn schema(&self) -> &SchemaRef;

    /// A batch as the files hold it.
    ///
    /// # Errors
    /// A value that the files, or their folders, cannot hold.
    fn encode(&self, batch: &RecordBatch) -> Result<FormedBatch, Self::Error>;

    /// The writer's error as the sink's.
    fn failed(&self, error: WriteError) -> Self::Error;
}

/// What the files of one table have in common.
pub struct FilePlan<F> {
    /// How rows are written.
    pub form: F,
    /// With the table's root as its root.
    pub store: Arc<dyn ObjectStore>,
    /// The table's directory, when it is one of this machine.
    pub directory: Option<PathBuf>,
    /// The table, for people.
    pub location: String,
    /// How files are written.
    pub options: WriterOptions,
    /// What row groups being encoded may hold, over all tables of the sink.
    pub memory: Arc<EncodingMemory>,
}

impl<F> FilePlan<F> {
    /// The same for rows of another form.
    #[must_use]
    pub fn with_form<G>(&self, form: G) -> FilePlan<G> {
        FilePlan {
            form,
            store: Arc::clone(&self.store),
            directory: self.directory.clone(),
            location: self.location.clone(),
            options: self.options.clone(),
            memory: Arc::clone(&self.memory),
        }
    }
}

impl<F: RowForm> FilePlan<F> {
    /// For a file whose first rows are these.
    fn properties(&self, first: &RecordBatch) -> Result<WriterProperties, F::Error> {
        let level = ZstdLevel::try_new(self.options.compression_level).map_err(|e| self.encode_error(e))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_max_row_group_bytes(Some(usize::try_from(self.options.row_group_bytes).unwrap_or(usize::MAX).max(1)))
            .set_created_by(concat!("datakit ", env!("CARGO_PKG_VERSION")).to_owned());
        Ok(dictionary::choose(properties, first).build())
    }

    pub(crate) fn encode_error(&self, error: ParquetError) -> F::Error {
        self.form.failed(WriteError::Encode(error))
    }

    fn storage_error(&self, action: &'static str, source: object_store::Error) -> F::Error {
        self.form.failed(WriteError::Store { action, source })
    }

    /// Removes files that nothing names, and the folders that are empty then. Best effort: what stays is invisible.
    pub async fn remove(&self, files: &[DataFile]) {
        for file in files {
            if let Err(error) = self.store.delete(&file.path()).await {
                tracing::warn!(location = %self.location, file = %file.name, %error, "cannot remove an uncommitted file");
            }
        }
        files.iter().for_each(|file| self.remove_empty(&file.folder));
    }

    /// Removes a folder of this machine, and those around it, as far as they are empty.
    pub(crate) fn remove_empty(&self, folder: &Folder) {
        for folder in self.directories(folder) {
            // Fails, as it should, when there are files of others in it.
            if std::fs::remove_dir(folder).is_err() {
                return;
            }
        }
    }

    /// A folder of this machine and those around it, the innermost first, without the table's root.
    fn directories(&self, folder: &Folder) -> Vec<PathBuf> {
        let Some(root) = &self.directory else { return Vec::new() };
        let relative = path::Path::new(&folder.path).ancestors().filter(|path| !path.as_os_str().is_empty());
        relative.map(|path| root.join(path)).collect()
    }
}

/// An object of the store, by a name that is not to be encoded once more.
fn store_path(name: &str) -> Path {
    Path::parse(name).unwrap_or_else(|_| Path::from(name))
}

/// A file being written.
pub(crate) struct OpenFile {
    name: String,
    folder: Arc<Folder>,
    writer: ArrowWriter<Upload>,
    not_a_number: NanColumns,
    /// Of the memory of all files being encoded.
    pub(crate) share: Share,
}

impl OpenFile {
    /// A file whose first rows are these; they are not written yet.
    pub(crate) fn create<F: RowForm>(
        plan: &FilePlan<F>,
        folder: &Arc<Folder>,
        ordinal: u32,
        number: usize,
        first: &RecordBatch,
        runtime: &Handle,
    ) -> Result<Self, F::Error> {
        let name = format!("part-{ordinal:05}-{}-c{number:03}.zstd.parquet", uuid::Uuid::new_v4());
        let name = if folder.path.is_empty() { name } else { format!("{}/{name}", folder.path) };
        let upload = runtime
            .block_on(plan.store.put_multipart(&store_path(&name)))
            .map_err(|e| plan.storage_error("write to", e))?;
        let part_bytes = if plan.directory.is_some() { LOCAL_PART_BYTES } else { PART_BYTES };
        let upload =
            Upload { upload: Some(WriteMultipart::new_with_chunk_size(upload, part_bytes)), bytes: 0, part_bytes };
        // The log holds the schema; a second one in the file could only disagree with it.
        let options = ArrowWriterOptions::new().with_properties(plan.properties(first)?).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(upload, Arc::clone(plan.form.schema()), options)
            .map_err(|e| plan.encode_error(e))?;
        let not_a_number = NanColumns::new(plan.form.schema());
        let share = Share::new(&plan.memory);
        Ok(Self { name, folder: Arc::clone(folder), writer, not_a_number, share })
    }

    /// Encodes rows, and waits until parts that are on their way have arrived.
    pub(crate) fn write<F: RowForm>(
        &mut self,
        rows: &RecordBatch,
        plan: &FilePlan<F>,
        runtime: &Handle,
    ) -> Result<(), F::Error> {
        self.not_a_number.look_at(rows);
        self.writer.write(rows).map_err(|e| plan.encode_error(e))?;
        self.wait(plan, runtime)
    }

    /// Ends the row group, and waits as [`Self::write`] does.
    pub(crate) fn flush<F: RowForm>(&mut self, plan: &FilePlan<F>, runtime: &Handle) -> Result<(), F::Error> {
        self.writer.flush().map_err(|e| plan.encode_error(e))?;
        self.wait(plan, runtime)
    }

    /// Parts that failed are heard of here, before more is encoded.
    fn wait<F: RowForm>(&mut self, plan: &FilePlan<F>, runtime: &Handle) -> Result<(), F::Error> {
        let Some(upload) = &mut self.writer.inner_mut().upload else { return Ok(()) };
        let waited = runtime.block_on(upload.wait_for_capacity(PARTS_IN_FLIGHT));
        waited.map_err(|e| plan.storage_error("write to", e))
    }

    /// What the file has and will have, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

    /// What the row group being encoded holds, in bytes.
    pub(crate) fn encoding_bytes(&self) -> u64 {
        self.writer.memory_size() as u64
    }

    /// About what waits to be a whole part of the upload, in bytes.
    pub(crate) fn waiting_bytes(&self) -> u64 {
        let upload = self.writer.inner();
        upload.bytes % upload.part_bytes.max(1) as u64
    }

    /// Takes back what was uploaded; gives the folder.
    pub(crate) async fn abort(mut self, location: &str) -> Arc<Folder> {
        if let Some(upload) = self.writer.inner_mut().upload.take()
            && let Err(error) = upload.abort().await
        {
            tracing::warn!(%location, %error, "cannot take back an unfinished file");
        }
        self.folder
    }

    pub(crate) fn close<F: RowForm>(mut self, plan: &FilePlan<F>, runtime: &Handle) -> Result<DataFile, F::Error> {
        let metadata = self.writer.finish().map_err(|e| plan.encode_error(e))?;
        let statistics = FileStatistics::new(&metadata, plan.form.schema(), &self.not_a_number).to_json();
        let upload = self.writer.inner_mut();
        let bytes = upload.bytes;
        if let Some(upload) = upload.upload.take() {
            runtime.block_on(upload.finish()).map_err(|e| plan.storage_error("write to", e))?;
        }
        let rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or_default();
        let file = DataFile { name: self.name, folder: self.folder, bytes, rows, statistics };
        if let Some(directory) = &plan.directory {
            // A log entry that survives a power failure must not name a file that does not.
            let folders = plan.directories(&file.folder);
            for path in folders.iter().chain([&directory.join(&file.name)]) {
                let synced = File::open(path).and_then(|f| f.sync_all());
                synced.map_err(|source| plan.form.failed(WriteError::Disk { action: "write to", source }))?;
            }
        }
        Ok(file)
    }
}

/// The end of an upload that the encoder writes to.
struct Upload {
    /// None once finished or aborted.
    upload: Option<WriteMultipart>,
    bytes: u64,
    part_bytes: usize,
}

impl io::Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let upload = self.upload.as_mut().ok_or_else(|| io::Error::other("the file is closed"))?;
        upload.write(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
