//! Parquet files, encoded on a thread beside the caller: one such thread for each partition being written.
//!
//! The thread takes batches from a channel, so that decoding, projection and encoding of different batches overlap; a
//! batch's reservation is held until its rows are encoded. Encoded bytes go to the object store in parts; a file appears
//! under its name when it is whole, and nothing names it before the sink commits. When the channel closes without a
//! [`Message::Finish`], the thread removes what it wrote.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datakit_model::TrackedBatch;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _, WriteMultipart};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use tokio::runtime::Handle;
use tokio::sync::mpsc::Receiver;

use crate::dictionary;
use crate::encoding_memory::{EncodingMemory, Share};
use crate::statistics::{FileStatistics, NanColumns};

/// Parts of an upload, in bytes; S3 wants at least 5 MiB.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// To a disk of this machine.
const LOCAL_PART_BYTES: usize = 1024 * 1024;
/// Parts on their way at one time, of one file.
const PARTS_IN_FLIGHT: usize = 1;

/// What a partition's thread is told.
#[derive(Debug)]
pub enum Message {
    /// Encode these rows.
    Batch(TrackedBatch),
    /// There are no more; close the file.
    Finish,
}

/// A file that is whole, and that nothing names yet.
#[derive(Debug, Clone)]
pub struct DataFile {
    /// Relative to the table's root.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// As Delta's log holds them, `add.stats`.
    pub statistics: String,
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

    /// The schema of the files.
    fn schema(&self) -> &SchemaRef;

    /// A batch as the files hold it.
    ///
    /// # Errors
    /// A value that the files cannot hold.
    fn encode(&self, batch: &RecordBatch) -> Result<RecordBatch, Self::Error>;

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

    fn encode_error(&self, error: ParquetError) -> F::Error {
        self.form.failed(WriteError::Encode(error))
    }

    fn storage_error(&self, action: &'static str, source: object_store::Error) -> F::Error {
        self.form.failed(WriteError::Store { action, source })
    }

    /// Removes files that nothing names. Best effort: what stays is invisible.
    pub async fn remove(&self, files: &[DataFile]) {
        for file in files {
            if let Err(error) = self.store.delete(&Path::from(file.name.as_str())).await {
                tracing::warn!(location = %self.location, file = %file.name, %error, "cannot remove an uncommitted file");
            }
        }
    }
}

/// The body of a partition's thread. None: the channel closed without a finish, and everything was removed.
///
/// # Errors
/// Values that the files cannot hold, a store or file system that fails; everything was removed then.
pub fn write_partition<F: RowForm>(
    plan: &FilePlan<F>,
    ordinal: u32,
    mut messages: Receiver<Message>,
    runtime: &Handle,
) -> Result<Option<Vec<DataFile>>, F::Error> {
    let mut partition = Partition { plan, ordinal, runtime, open: None, files: Vec::new() };
    let result = partition.run(&mut messages);
    if !matches!(result, Ok(true)) {
        partition.remove();
    }
    Ok(result?.then_some(partition.files))
}

struct Partition<'a, F> {
    plan: &'a FilePlan<F>,
    ordinal: u32,
    runtime: &'a Handle,
    open: Option<OpenFile>,
    files: Vec<DataFile>,
}

impl<F: RowForm> Partition<'_, F> {
    /// Whether the partition was finished.
    fn run(&mut self, messages: &mut Receiver<Message>) -> Result<bool, F::Error> {
        while let Some(message) = messages.blocking_recv() {
            match message {
                Message::Batch(batch) => self.write(&batch)?,
                Message::Finish => {
                    self.close()?;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn write(&mut self, batch: &TrackedBatch) -> Result<(), F::Error> {
        let encoded = self.plan.form.encode(batch.batch())?;
        let file = match &mut self.open {
            Some(file) => file,
            None => {
                self.open.insert(OpenFile::create(self.plan, self.ordinal, self.files.len(), &encoded, self.runtime)?)
            }
        };
        file.not_a_number.look_at(&encoded);
        file.writer.write(&encoded).map_err(|e| self.plan.encode_error(e))?;
        if file.share.hold(file.writer.memory_size() as u64) {
            file.writer.flush().map_err(|e| self.plan.encode_error(e))?;
            file.share.hold(file.writer.memory_size() as u64);
        }
        // Parts that failed are heard of here, before more is encoded.
        if let Some(upload) = &mut file.writer.inner_mut().upload {
            self.runtime
                .block_on(upload.wait_for_capacity(PARTS_IN_FLIGHT))
                .map_err(|e| self.plan.storage_error("write to", e))?;
        }
        let bytes = (file.writer.bytes_written() + file.writer.in_progress_size()) as u64;
        if bytes >= self.plan.options.max_file_bytes {
            self.close()?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), F::Error> {
        if let Some(file) = self.open.take() {
            self.files.push(file.close(self.plan, self.runtime)?);
        }
        Ok(())
    }

    fn remove(&mut self) {
        self.runtime.block_on(async {
            if let Some(mut file) = self.open.take()
                && let Some(upload) = file.writer.inner_mut().upload.take()
                && let Err(error) = upload.abort().await
            {
                tracing::warn!(location = %self.plan.location, %error, "cannot take back an unfinished file");
            }
            self.plan.remove(&self.files).await;
        });
    }
}

struct OpenFile {
    name: String,
    writer: ArrowWriter<Upload>,
    not_a_number: NanColumns,
    share: Share,
}

impl OpenFile {
    /// A file whose first rows are these; they are not written yet.
    fn create<F: RowForm>(
        plan: &FilePlan<F>,
        ordinal: u32,
        number: usize,
        first: &RecordBatch,
        runtime: &Handle,
    ) -> Result<Self, F::Error> {
        let name = format!("part-{ordinal:05}-{}-c{number:03}.zstd.parquet", uuid::Uuid::new_v4());
        let upload = runtime
            .block_on(plan.store.put_multipart(&Path::from(name.as_str())))
            .map_err(|e| plan.storage_error("write to", e))?;
        let part_bytes = if plan.directory.is_some() { LOCAL_PART_BYTES } else { PART_BYTES };
        let upload = Upload { upload: Some(WriteMultipart::new_with_chunk_size(upload, part_bytes)), bytes: 0 };
        // The log holds the schema; a second one in the file could only disagree with it.
        let options = ArrowWriterOptions::new().with_properties(plan.properties(first)?).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(upload, Arc::clone(plan.form.schema()), options)
            .map_err(|e| plan.encode_error(e))?;
        let not_a_number = NanColumns::new(plan.form.schema());
        Ok(Self { name, writer, not_a_number, share: Share::new(&plan.memory) })
    }

    fn close<F: RowForm>(mut self, plan: &FilePlan<F>, runtime: &Handle) -> Result<DataFile, F::Error> {
        let metadata = self.writer.finish().map_err(|e| plan.encode_error(e))?;
        let statistics = FileStatistics::new(&metadata, plan.form.schema(), &self.not_a_number).to_json();
        let upload = self.writer.inner_mut();
        let bytes = upload.bytes;
        if let Some(upload) = upload.upload.take() {
            runtime.block_on(upload.finish()).map_err(|e| plan.storage_error("write to", e))?;
        }
        let rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or_default();
        let file = DataFile { name: self.name, bytes, rows, statistics };
        if let Some(directory) = &plan.directory {
            // A log entry that survives a power failure must not name a file that does not.
            let synced = File::open(directory.join(&file.name)).and_then(|f| f.sync_all());
            synced.map_err(|source| plan.form.failed(WriteError::Disk { action: "write to", source }))?;
        }
        Ok(file)
    }
}

/// The end of an upload that the encoder writes to.
struct Upload {
    /// None once finished or aborted.
    upload: Option<WriteMultipart>,
    bytes: u64,
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
