//! The rows of a load until its end: a few in memory, more in a temporary file that has no name and ends with the process.
//!
//! They are kept in buckets by the hash of their key, so that each part of the keys can be read by itself.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, BooleanArray, BooleanBufferBuilder, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, sort_to_indices, take_arrays};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use datakit_columnar::KeyEncoder;
use tempfile::SpooledTempFile;

use super::chunk;
use super::columns::{HeldColumns, MergeColumns};
use super::reduce::Reduced;
use crate::sink::SinkError;

/// Into so many buckets the rows are sorted when they come.
const BUCKETS: usize = 32;
/// What stays in memory of a load, in bytes.
const MAX_IN_MEMORY_BYTES: usize = 4 * 1024 * 1024;
/// What a row takes beside its values while it is reduced, in bytes.
const ROW_BYTES: u64 = 120;
/// Rows are handed on in batches of about so many rows or bytes.
const MAX_BATCH_ROWS: usize = 8192;
const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// The rows of a load.
#[derive(Debug)]
pub struct Spool {
    columns: MergeColumns,
    /// Of the rows that come; every column may be null, since a deleted row has its key at least.
    schema: SchemaRef,
    /// The same, and the place that each row has in its batch.
    stored: SchemaRef,
    /// The same, and the columns of the target that the load does not have.
    full: SchemaRef,
    keys: KeyEncoder,
    hasher: RandomState,
    /// Some rows do not carry all columns: values of others are needed for them.
    is_partial: AtomicBool,
    store: Mutex<Store>,
}

#[derive(Debug)]
struct Store {
    file: SpooledTempFile,
    bytes: u64,
}

/// Which rows of a spool are those of one partition.
#[derive(Debug, Default)]
pub struct SpooledRows {
    chunks: Vec<Chunk>,
    /// How many.
    pub rows: u64,
    /// Their size in the spool.
    pub bytes: u64,
}

#[derive(Debug)]
struct Chunk {
    bucket: usize,
    at: u64,
    message_bytes: usize,
    body_bytes: usize,
    key_bytes: u64,
    rows: usize,
    /// The last one of its batch.
    ends_batch: bool,
}

/// Rows of a load that are handed on as they came.
#[derive(Debug)]
pub struct Chosen(Vec<BooleanBufferBuilder>);

impl Chosen {
    /// Chooses a row of a chunk.
    pub(super) fn add(&mut self, (chunk, row): (u32, u32)) {
        if let Some(rows) = self.0.get_mut(chunk as usize) {
            rows.set_bit(row as usize, true);
        }
    }
}

/// A part of the keys, small enough to be reduced in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    buckets: Range<usize>,
    /// Of one large bucket: this part of so many.
    part: u64,
    parts: u64,
}

impl Spool {
    /// For rows of this schema, in the form of the sink. `kept` are columns that only the target has.
    ///
    /// # Errors
    /// Keys that cannot be compared.
    pub fn new(columns: MergeColumns, schema: &Schema, kept: &[FieldRef]) -> Result<Self, SinkError> {
        let nullable = |field: &FieldRef| -> FieldRef { Arc::new(Field::clone(field).with_nullable(true)) };
        let fields: Vec<FieldRef> = schema.fields().iter().map(nullable).collect();
        let types = columns.keys().iter().map(|place| schema.field(*place).data_type().clone());
        let keys = KeyEncoder::new(types).map_err(|source| columns.failed(source))?;
        let place: FieldRef = Arc::new(Field::new("", DataType::UInt32, false));
        let stored = fields.iter().cloned().chain([place]).collect::<Vec<_>>();
        let full = fields.iter().cloned().chain(kept.iter().map(nullable)).collect::<Vec<_>>();
        Ok(Self {
            columns,
            schema: Arc::new(Schema::new(fields)),
            stored: Arc::new(Schema::new(stored)),
            full: Arc::new(Schema::new(full)),
            keys,
            hasher: RandomState::new(),
            is_partial: AtomicBool::new(!kept.is_empty()),
            store: Mutex::new(Store { file: SpooledTempFile::new(MAX_IN_MEMORY_BYTES), bytes: 0 }),
        })
    }

    /// The same for rows whose values are taken by their keys: [`Reduced::rows`] gives each of them whole.
    ///
    /// # Errors
    /// As of [`Self::new`].
    pub fn of_values(columns: MergeColumns, schema: &Schema) -> Result<Self, SinkError> {
        let is_partial = AtomicBool::new(true);
        Ok(Self { is_partial, ..Self::new(columns, schema, &[])? })
    }

    /// What the merge goes by.
    #[must_use]
    pub fn columns(&self) -> &MergeColumns {
        &self.columns
    }

    /// Makes keys comparable with those of the load.
    #[must_use]
    pub fn keys(&self) -> &KeyEncoder {
        &self.keys
    }

    /// The schema of the rows that come: as the sink's, and every column may be null.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The schema of what [`Reduced`] gives.
    #[must_use]
    pub fn full_schema(&self) -> &SchemaRef {
        &self.full
    }

    /// Adds rows behind the others of their partition.
    ///
    /// # Errors
    /// [`SinkError::Value`]: a row that says what no row can do. [`SinkError::Spool`]: there is no space for temporary files.
    pub fn add(&self, to: &mut SpooledRows, batch: &RecordBatch) -> Result<(), SinkError> {
        let failed = |source| self.columns.failed(source);
        let all = HeldColumns::All(self.schema.fields().len());
        if self.columns.changes(batch, &all)?.names_missing() {
            // Only a flag: the rows themselves come by the lock of the store.
            self.is_partial.store(true, Ordering::Relaxed);
        }
        let keys = self.keys.rows(&self.columns.key_columns(batch, &all)).map_err(failed)?;
        let mut buckets: Vec<Vec<u32>> = vec![Vec::new(); BUCKETS];
        for (row, key) in (0..).zip(keys.iter()) {
            buckets[bucket(self.hash(key.as_ref()))].push(row);
        }
        let order: ArrayRef = Arc::new(UInt32Array::from(buckets.concat()));
        let columns = take_arrays(batch.columns(), &order, None).map_err(failed)?;
        let columns = columns.into_iter().chain([order]).collect();
        let sorted = RecordBatch::try_new(Arc::clone(&self.stored), columns).map_err(failed)?;
        let mut from = 0;
        for (bucket, rows) in buckets.iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
            let encoded = chunk::encode(&sorted.slice(from, rows.len())).map_err(failed)?;
            let (message, body) = (encoded.ipc_message, encoded.arrow_data);
            let at = self.append(&[&message, &body]).map_err(|source| self.unavailable(source))?;
            from += rows.len();
            to.bytes += body.len() as u64;
            let key_bytes = rows.iter().map(|row| keys.row(*row as usize).as_ref().len() as u64).sum();
            let (message_bytes, body_bytes, rows) = (message.len(), body.len(), rows.len());
            let ends_batch = from == batch.num_rows();
            to.chunks.push(Chunk { bucket, at, message_bytes, body_bytes, key_bytes, rows, ends_batch });
        }
        to.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// The parts in which these rows can be reduced, each in about so many bytes of memory. All rows of a key are in one part.
    #[must_use]
    pub fn passes(&self, partitions: &[SpooledRows], max_bytes: u64) -> Vec<Pass> {
        let mut weights = [0; BUCKETS];
        let chunks = partitions.iter().flat_map(|rows| &rows.chunks);
        chunks.for_each(|chunk| weights[chunk.bucket] += self.weight(chunk));
        let (mut passes, mut held): (Vec<Pass>, u64) = (Vec::new(), 0);
        for (bucket, weight) in weights.into_iter().enumerate().filter(|(_, weight)| *weight > 0) {
            match passes.last_mut().filter(|_| held + weight <= max_bytes) {
                Some(pass) => pass.buckets.end = bucket + 1,
                None => {
                    let parts = weight.div_ceil(max_bytes.max(1));
                    passes.extend((0..parts).map(|part| Pass { buckets: bucket..bucket + 1, part, parts }));
                    held = 0;
                }
            }
            // Behind a bucket that is cut nothing is added.
            held = held.saturating_add(weight);
        }
        passes
    }

    fn is_partial(&self) -> bool {
        self.is_partial.load(Ordering::Relaxed)
    }

    /// What the rows take while they are reduced.
    fn weight(&self, chunk: &Chunk) -> u64 {
        let values = if self.is_partial() { chunk.body_bytes as u64 } else { chunk.key_bytes };
        values + chunk.key_bytes + chunk.rows as u64 * ROW_BYTES
    }

    /// One row a key of a part of the keys: partitions in this order, and the rows of each as they came.
    ///
    /// # Errors
    /// [`SinkError::Spool`]: the temporary file cannot be read.
    pub fn reduce(&self, partitions: &[SpooledRows], pass: &Pass) -> Result<Reduced, SinkError> {
        let held = if self.is_partial() {
            HeldColumns::All(self.schema.fields().len())
        } else {
            HeldColumns::Some(self.columns.decisive())
        };
        let mut reduced = Reduced::new(self.columns.clone(), Arc::clone(&self.full), self.schema.fields().len(), held);
        let chunks = (0..).zip(partitions.iter().flat_map(|rows| &rows.chunks));
        for (number, chunk) in chunks.filter(|(_, chunk)| pass.buckets.contains(&chunk.bucket)) {
            let rows = self.read(chunk, reduced.held.projection())?;
            let accepts = |key: &[u8]| pass.parts == 1 || self.hash(key) % pass.parts == pass.part;
            reduced.add(number, &rows, &self.keys, accepts)?;
        }
        Ok(reduced)
    }

    /// None is chosen yet.
    #[must_use]
    pub fn chosen(partitions: &[SpooledRows]) -> Chosen {
        let chunks = partitions.iter().flat_map(|rows| &rows.chunks);
        let none = |chunk: &Chunk| {
            let mut rows = BooleanBufferBuilder::new(chunk.rows);
            rows.append_n(chunk.rows, false);
            rows
        };
        Chosen(chunks.map(none).collect())
    }

    /// Hands on the rows that were chosen: partitions in this order, and the batches of each as they came.
    ///
    /// # Errors
    /// [`SinkError::Spool`]: the temporary file cannot be read. What the taker says.
    pub fn take(
        &self,
        partitions: &[SpooledRows],
        chosen: Chosen,
        mut taker: impl FnMut(RecordBatch) -> Result<(), SinkError>,
    ) -> Result<(), SinkError> {
        let (mut parts, mut rows, mut bytes) = (Vec::new(), 0, 0);
        let mut batches = Vec::new();
        let chunks = partitions.iter().flat_map(|rows| &rows.chunks);
        for (chunk, mut bits) in chunks.zip(chosen.0) {
            let bits = BooleanArray::new(bits.finish(), None);
            if bits.true_count() > 0 {
                let part = filter_record_batch(&self.read(chunk, None)?, &bits);
                parts.push(part.map_err(|source| self.columns.failed(source))?);
                bytes += chunk.body_bytes;
            }
            if chunk.ends_batch && !parts.is_empty() {
                let batch = self.in_order(&parts).map_err(|source| self.columns.failed(source))?;
                rows += batch.num_rows();
                batches.push(batch);
                parts.clear();
            }
            if chunk.ends_batch && (rows >= MAX_BATCH_ROWS || bytes >= MAX_BATCH_BYTES) {
                (rows, bytes) = (0, 0);
                self.hand_on(&mut batches, &mut taker)?;
            }
        }
        self.hand_on(&mut batches, &mut taker)
    }

    fn hand_on(
        &self,
        batches: &mut Vec<RecordBatch>,
        taker: &mut impl FnMut(RecordBatch) -> Result<(), SinkError>,
    ) -> Result<(), SinkError> {
        if batches.is_empty() {
            return Ok(());
        }
        let rows = concat_batches(&self.schema, &*batches).map_err(|source| self.columns.failed(source))?;
        batches.clear();
        taker(rows)
    }

    /// The parts of a batch as it came.
    fn in_order(&self, parts: &[RecordBatch]) -> Result<RecordBatch, ArrowError> {
        let rows = concat_batches(&self.stored, parts)?;
        let Some((places, columns)) = rows.columns().split_last() else { return Ok(rows) };
        let order = sort_to_indices(places, None, None)?;
        RecordBatch::try_new(Arc::clone(&self.schema), take_arrays(columns, &order, None)?)
    }

    fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    fn append(&self, parts: &[&[u8]]) -> io::Result<u64> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let at = store.bytes;
        store.file.seek(SeekFrom::Start(at))?;
        for part in parts {
            store.file.write_all(part)?;
            store.bytes += part.len() as u64;
        }
        Ok(at)
    }

    /// The rows of a chunk, of all columns or of these.
    fn read(&self, chunk: &Chunk, columns: Option<&[usize]>) -> Result<RecordBatch, SinkError> {
        let (mut message, mut body) = (vec![0; chunk.message_bytes], vec![0; chunk.body_bytes]);
        let mut read = || {
            let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
            store.file.seek(SeekFrom::Start(chunk.at))?;
            store.file.read_exact(&mut message)?;
            store.file.read_exact(&mut body)
        };
        read().map_err(|source| self.unavailable(source))?;
        chunk::decode(&message, body, &self.stored, columns).map_err(|source| self.columns.failed(source))
    }

    fn unavailable(&self, source: io::Error) -> SinkError {
        SinkError::Spool { table: self.columns.table().to_owned(), source: Box::new(source) }
    }
}

/// The bucket goes by other bits of the hash than the parts of a bucket.
fn bucket(hash: u64) -> usize {
    const SHIFT: u32 = u64::BITS - BUCKETS.trailing_zeros();
    (hash >> SHIFT) as usize
}
