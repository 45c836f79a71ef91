//! A reduced load against the files of the table.
//!
//! 1. Each part of the load's keys is looked for in the key columns of the files that may hold one. A row that is found is dead.
//! 2. The last rows of the keys go into new files, in the order in which they came.
//! 3. A file with dead rows is written anew without them, a batch at a time.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{FieldRef, SchemaRef};
use arrow::error::ArrowError;
use datakit_connect::sink::SinkError;
use datakit_connect::sink::merge::{MergeLoad, OldRows, Reduced, Spool, SpooledRows};
use datakit_model::ReceiptLevel;
use datakit_model::receipt::Tally;
use datakit_parquet::DataFile;
use deltalake::logstore::LogStoreRef;
use serde_json::Value;
use tokio::runtime::Handle;

use super::forms::{Copied, Merged as MergedRows, TablePlan};
use super::output::Output;
use super::ranges::KeyRanges;
use super::table_file::TableFile;
use crate::receipt::{As, Staged};

/// Rows that are put together at one time.
const BATCH_KEYS: usize = 4096;

pub(super) const NULL: &str = "the row has no value, and the column of the table may not be null";

/// What a merge does with the table, before its commit.
pub(crate) struct Merged {
    /// New files.
    pub(crate) written: Vec<DataFile>,
    /// Files that they replace.
    pub(crate) replaced: Vec<TableFile>,
    /// All files of the table that was read, by their identities.
    pub(crate) read: HashSet<String>,
    /// What is known of the load's keys.
    pub(crate) ranges: KeyRanges,
    pub(crate) counts: Counts,
    /// The new files once more, with what they have to hold; empty: it is not compared.
    pub(crate) staged: Vec<Staged>,
}

impl Merged {
    /// For the table's history, by the names of delta-spark.
    pub(crate) fn metrics(&self) -> Value {
        let Counts { source, inserted, updated, deleted, copied, .. } = self.counts;
        let (added, removed) = (self.written.len() as u64, self.replaced.len() as u64);
        let metrics = [
            ("numSourceRows", source),
            ("numTargetRowsInserted", inserted),
            ("numTargetRowsUpdated", updated),
            ("numTargetRowsDeleted", deleted),
            ("numTargetRowsCopied", copied),
            ("numTargetFilesAdded", added),
            ("numTargetFilesRemoved", removed),
        ];
        metrics.into_iter().map(|(name, count)| (name.to_owned(), Value::from(count.to_string()))).collect()
    }
}

/// Rows, by what became of them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Of the load.
    pub(crate) source: u64,
    pub(crate) inserted: u64,
    pub(crate) updated: u64,
    pub(crate) deleted: u64,
    /// Written anew as they were.
    pub(crate) copied: u64,
    /// Inserted, though the source did not send all of their columns.
    pub(crate) incomplete: u64,
    /// Of the table, that are gone or replaced.
    pub(crate) dead: u64,
    /// Of the table, that have the values of a backfill already.
    pub(crate) unchanged: u64,
    /// Keys of a backfill that the table does not have.
    pub(crate) left_out: u64,
}

/// A load that is merged into a table at one version.
pub(crate) struct Merge {
    pub(crate) plan: TablePlan,
    pub(crate) load: Arc<MergeLoad>,
    pub(crate) rows: Vec<SpooledRows>,
    pub(crate) log: LogStoreRef,
    /// Of the table.
    pub(crate) files: Vec<TableFile>,
    pub(crate) max_bytes: u64,
    /// Rows that are there get values of the load, and nothing else happens.
    pub(crate) updates_only: bool,
    /// What is compared with the new files.
    pub(crate) receipt: ReceiptLevel,
    pub(crate) runtime: Handle,
}

/// The dead rows of a file.
struct Dead {
    /// For each row of the file.
    rows: Vec<bool>,
    /// Those that were there until now.
    count: u64,
    /// Those that were deleted before.
    deleted: u64,
}

/// What the first step leaves.
struct Found {
    dead: BTreeMap<usize, Dead>,
    ranges: KeyRanges,
    counts: Counts,
    staged: Vec<Staged>,
}

/// What was written.
pub(super) struct Outcome {
    /// Numbers of the files that are replaced.
    pub(super) replaced: Vec<usize>,
    pub(super) ranges: KeyRanges,
    pub(super) counts: Counts,
    pub(super) staged: Vec<Staged>,
}

impl Merge {
    /// Writes the files of the merge, which nothing names yet. Blocks; where it fails, it leaves none.
    pub(crate) fn run(self) -> Result<Merged, SinkError> {
        let mut written = Vec::new();
        let outcome = if self.updates_only { self.update(&mut written) } else { self.write(&mut written) };
        let outcome = outcome.inspect_err(|_| self.runtime.block_on(self.plan.remove(&written)))?;
        let read = self.files.iter().map(TableFile::identity).collect();
        let Outcome { replaced, ranges, counts, staged } = outcome;
        let replaced = replaced.into_iter().map(|file| self.files[file].clone()).collect();
        Ok(Merged { written, replaced, read, ranges, counts, staged })
    }

    fn write(&self, written: &mut Vec<DataFile>) -> Result<Outcome, SinkError> {
        let form = self.plan.with_form(MergedRows(Arc::clone(&self.plan)));
        let mut output = Output::start(form, &self.runtime, self.tally(self.schema())?);
        let mut found = match self.merge(&mut output) {
            Ok(found) => found,
            Err(error) => return Err(output.fail(error)),
        };
        found.staged.extend(output.finish(As::Written, written)?);
        for (file, dead) in &found.dead {
            let copied = (dead.rows.len() as u64).saturating_sub(dead.count + dead.deleted);
            if copied > 0 {
                found.staged.extend(self.copy(&self.files[*file], dead, written)?);
            }
            found.counts.copied += copied;
        }
        let Found { dead, ranges, counts, staged } = found;
        Ok(Outcome { replaced: dead.into_keys().collect(), ranges, counts, staged })
    }

    pub(super) fn tally(&self, schema: &SchemaRef) -> Result<Option<Tally>, SinkError> {
        Tally::new(self.receipt, schema).map_err(|e| self.failed(e))
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.plan.form.schema.written
    }

    pub(super) fn failed(&self, source: ArrowError) -> SinkError {
        SinkError::Encode { location: self.plan.location.clone(), source: Box::new(source) }
    }

    pub(super) fn key_fields(&self) -> Vec<FieldRef> {
        let places = self.load.spool().columns().keys();
        places.iter().map(|place| Arc::clone(&self.schema().fields()[*place])).collect()
    }

    fn merge(&self, output: &mut Output) -> Result<Found, SinkError> {
        let (spool, fields) = (self.load.spool(), self.key_fields());
        let mut chosen = Spool::chosen(&self.rows);
        let ranges = KeyRanges::new(&fields).map_err(|e| self.failed(e))?;
        let counts = Counts { source: self.rows.iter().map(|rows| rows.rows).sum(), ..Counts::default() };
        let mut found = Found { dead: BTreeMap::new(), ranges, counts, staged: Vec::new() };
        for pass in spool.passes(&self.rows, self.max_bytes) {
            let reduced = spool.reduce(&self.rows, &pass)?;
            let keys = reduced.key_columns()?;
            found.ranges.add(&keys).map_err(|e| self.failed(e))?;
            let mut ranges = KeyRanges::new(&fields).map_err(|e| self.failed(e))?;
            ranges.add(&keys).map_err(|e| self.failed(e))?;
            drop(keys);
            let (mut matched, mut old) = (vec![false; reduced.len()], OldRows::default());
            for (number, file) in self.files.iter().enumerate().filter(|(_, file)| ranges.may_be_in(file)) {
                let dead = found.dead.remove(&number);
                let dead = self.find(file, &fields, &reduced, dead, (&mut matched, &mut old))?;
                found.dead.extend(dead.map(|dead| (number, dead)));
            }
            found.counts.add(&reduced, &matched);
            reduced.choose(&mut chosen);
            let partial: Vec<u32> = reduced.keys().filter(|key| reduced.is_partial(*key)).collect();
            for keys in partial.chunks(BATCH_KEYS) {
                self.hand_on(reduced.rows(keys, &old)?, output)?;
            }
        }
        found.counts.dead = found.dead.values().map(|dead| dead.count).sum();
        spool.take(&self.rows, chosen, |rows| self.hand_on(rows.columns().to_vec(), output))?;
        Ok(found)
    }

    fn hand_on(&self, columns: Vec<ArrayRef>, output: &mut Output) -> Result<(), SinkError> {
        let spool = self.load.spool();
        for (field, column) in self.schema().fields().iter().zip(&columns).filter(|(field, _)| !field.is_nullable()) {
            if let Some(row) = (0..column.len()).find(|row| column.is_null(*row)) {
                let (table, column) = (spool.columns().table().to_owned(), field.name().clone());
                return Err(SinkError::Value { table, column, row, reason: NULL });
            }
        }
        let rows = RecordBatch::try_new(Arc::clone(self.schema()), columns).map_err(|e| self.failed(e))?;
        output.write(rows)
    }

    /// Looks for the keys of a part of the load in a file. None: none of its rows is dead.
    fn find(
        &self,
        file: &TableFile,
        fields: &[FieldRef],
        reduced: &Reduced,
        dead: Option<Dead>,
        (matched, old): (&mut [bool], &mut OldRows),
    ) -> Result<Option<Dead>, SinkError> {
        let encoder = self.load.spool().keys();
        let mut reader = file.read(&self.plan.store, fields, None, (&self.plan.location, &self.runtime))?;
        let rows = usize::try_from(reader.rows).unwrap_or_default();
        let mut dead = match dead {
            Some(dead) => dead,
            None => Dead::new(rows, &file.deleted_rows(&self.log, &self.plan.location)?),
        };
        let mut needed = Vec::new();
        let mut first = 0;
        while let Some(batch) = reader.next()? {
            let keys = encoder.rows(batch.columns()).map_err(|e| self.failed(e))?;
            for (row, key) in (first..).zip(keys.iter()) {
                let Some(number) = reduced.find(key.as_ref()).filter(|_| dead.kill(row)) else { continue };
                matched[number as usize] = true;
                if reduced.needs_old_row(number) {
                    needed.push((row as u64, number));
                }
            }
            first += batch.num_rows();
        }
        self.read_old_rows(file, &needed, old)?;
        Ok((dead.count > 0).then_some(dead))
    }

    /// Of several rows of one key the last one counts.
    fn read_old_rows(&self, file: &TableFile, needed: &[(u64, u32)], old: &mut OldRows) -> Result<(), SinkError> {
        if needed.is_empty() {
            return Ok(());
        }
        let (places, keys): (Vec<u64>, Vec<u32>) = needed.iter().copied().unzip();
        let fields = self.load.spool().full_schema().fields();
        let mut reader = file.read(&self.plan.store, fields, Some(&places), (&self.plan.location, &self.runtime))?;
        let mut keys = keys.as_slice();
        while let Some(batch) = reader.next()? {
            let (of_batch, rest) = keys.split_at(batch.num_rows().min(keys.len()));
            old.add(batch, of_batch);
            keys = rest;
        }
        Ok(())
    }

    /// Writes the rows of a file anew that are not dead.
    fn copy(&self, file: &TableFile, dead: &Dead, written: &mut Vec<DataFile>) -> Result<Option<Staged>, SinkError> {
        let folder = Arc::new(file.folder(&self.plan.form.partitioning.columns));
        let form = self.plan.with_form(Copied { plan: Arc::clone(&self.plan), folder });
        let mut output = Output::start(form, &self.runtime, self.tally(&self.plan.form.partitioning.file_schema)?);
        match self.copy_to(file, dead, &mut output) {
            Ok(()) => output.finish(As::InFiles, written),
            Err(error) => Err(output.fail(error)),
        }
    }

    fn copy_to(&self, file: &TableFile, dead: &Dead, output: &mut Output) -> Result<(), SinkError> {
        let fields = self.plan.form.partitioning.file_schema.fields();
        let mut reader = file.read(&self.plan.store, fields, None, (&self.plan.location, &self.runtime))?;
        let mut rest = dead.rows.as_slice();
        while let Some(batch) = reader.next()? {
            let (of_batch, others) = rest.split_at(batch.num_rows().min(rest.len()));
            rest = others;
            let live = BooleanArray::from_iter(of_batch.iter().map(|is_dead| Some(!is_dead)));
            let batch = if live.false_count() == 0 {
                batch
            } else {
                filter_record_batch(&batch, &live).map_err(|e| self.failed(e))?
            };
            if batch.num_rows() > 0 {
                output.write(batch)?;
            }
        }
        Ok(())
    }
}

impl Dead {
    fn new(rows: usize, deleted: &[u64]) -> Self {
        let mut dead = Self { rows: vec![false; rows], count: 0, deleted: 0 };
        let places = deleted.iter().filter_map(|row| usize::try_from(*row).ok());
        dead.deleted = places.filter(|row| dead.kill(*row)).count() as u64;
        dead.count = 0;
        dead
    }

    /// False: it is dead already.
    fn kill(&mut self, row: usize) -> bool {
        let kills = self.rows.get_mut(row).is_some_and(|is_dead| !std::mem::replace(is_dead, true));
        self.count += u64::from(kills);
        kills
    }
}

impl Counts {
    fn add(&mut self, reduced: &Reduced, matched: &[bool]) {
        for (key, is_matched) in reduced.keys().zip(matched) {
            match (reduced.is_deleted(key), is_matched) {
                (true, true) => self.deleted += 1,
                (true, false) => {}
                (false, true) => self.updated += 1,
                (false, false) => {
                    self.inserted += 1;
                    self.incomplete += u64::from(reduced.is_incomplete(key));
                }
            }
        }
    }
}
