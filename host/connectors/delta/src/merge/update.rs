//! Columns of rows that are there get values of a load (docs/backfill.md).
//!
//! 1. Each part of the load's keys is looked for in the files that may hold one. Where a row of the table has other values, the new
//!    ones are kept by the row's file and its place there.
//! 2. A file with such rows is written anew, in its own order, so that its bounds stay as narrow as they are.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{filter, filter_record_batch, or, take};
use arrow::datatypes::FieldRef;
use datakit_connect::sink::SinkError;
use datakit_connect::sink::merge::spool::Pass;
use datakit_connect::sink::merge::{OldRows, Patches, Reduced};
use datakit_connect::sink::update::UpdateError;
use datakit_model::sink::Target;
use datakit_parquet::DataFile;

use super::apply::{Counts, Merge, NULL, Outcome};
use super::bounds::FileStatistics;
use super::forms::Copied;
use super::output::Output;
use super::ranges::KeyRanges;
use super::table_file::TableFile;
use crate::commit::Log;
use crate::names;
use crate::receipt::{As, Staged};

/// Refuses an update of a table without rows of an earlier load, or of columns that partition the table.
///
/// # Errors
/// [`UpdateError`].
pub(crate) fn check(target: &Target, log: &Log) -> Result<(), SinkError> {
    if !target.updates_only {
        return Ok(());
    }
    let location = || log.location.clone();
    if log.state(target.mode)?.is_none() {
        return Err(UpdateError::NoRows { location: location() }.into());
    }
    let partition_columns = log.partition_columns(Vec::new());
    let filled = target.schema.fields().iter().map(|field| field.name()).filter(|name| !target.keys.contains(name));
    match filled.map(|name| names::column(name)).find(|name| partition_columns.contains(name)) {
        Some(column) => Err(UpdateError::PartitionColumn { location: location(), column }.into()),
        None => Ok(()),
    }
}

/// Looks for the rows that get other values.
struct Search<'m> {
    merge: &'m Merge,
    /// The columns of the key.
    keys: Vec<FieldRef>,
    /// The columns that get values, and their places in the load.
    values: Vec<FieldRef>,
    places: Vec<usize>,
    /// What is known of the load's keys.
    ranges: KeyRanges,
    counts: Counts,
    patches: Patches,
}

/// Rows of a batch with their keys.
#[derive(Default)]
struct Matches {
    /// Their places in the batch.
    rows: Vec<u32>,
    /// The numbers of their keys.
    keys: Vec<u32>,
}

impl Merge {
    /// Writes the files with rows that get other values anew.
    pub(super) fn update(&self, written: &mut Vec<DataFile>) -> Result<Outcome, SinkError> {
        let mut search = Search::new(self)?;
        for pass in self.load.spool().passes(&self.rows, self.max_bytes) {
            search.pass(&pass)?;
        }
        let Search { ranges, mut counts, mut patches, .. } = search;
        let (mut staged, replaced) = (Vec::new(), patches.files());
        let mut rows = 0;
        for file in &replaced {
            let (of_file, as_staged) = self.rewrite(*file, &mut patches, written)?;
            rows += of_file;
            staged.extend(as_staged);
        }
        counts.copied = rows - counts.updated.min(rows);
        counts.dead = counts.updated;
        Ok(Outcome { replaced, ranges, counts, staged })
    }

    /// Writes a file anew with its new values. Gives the number of its rows.
    fn rewrite(
        &self,
        number: usize,
        patches: &mut Patches,
        written: &mut Vec<DataFile>,
    ) -> Result<(u64, Option<Staged>), SinkError> {
        let folder = Arc::new(self.files[number].folder(&self.plan.form.partitioning.columns));
        let form = self.plan.with_form(Copied { plan: Arc::clone(&self.plan), folder });
        let mut output = Output::start(form, &self.runtime, self.tally(&self.plan.form.partitioning.file_schema)?);
        match self.rewrite_to(number, patches, &mut output) {
            Ok(rows) => Ok((rows, output.finish(As::InFiles, written)?)),
            Err(error) => Err(output.fail(error)),
        }
    }

    fn rewrite_to(&self, number: usize, patches: &mut Patches, output: &mut Output) -> Result<u64, SinkError> {
        let file = &self.files[number];
        let deleted = self.deleted_rows(file)?;
        let fields = self.plan.form.partitioning.file_schema.fields();
        let mut reader = file.read(&self.plan.store, fields, None, (&self.plan.location, &self.runtime))?;
        let (mut filler, mut first, mut rows) = (patches.filler(number), 0, 0);
        while let Some(batch) = reader.next()? {
            let filled = filler.fill(first, &batch)?;
            let filled = self.live(&deleted, first, filled)?;
            first += batch.num_rows();
            rows += filled.num_rows() as u64;
            if filled.num_rows() > 0 {
                output.write(filled)?;
            }
        }
        Ok(rows)
    }

    /// The places of rows that a deletion vector names, in ascending order.
    fn deleted_rows(&self, file: &TableFile) -> Result<Vec<u64>, SinkError> {
        let mut rows = file.deleted_rows(&self.log, &self.plan.location)?;
        rows.sort_unstable();
        Ok(rows)
    }

    /// The rows of a batch that are not deleted.
    fn live(&self, deleted: &[u64], first: usize, batch: RecordBatch) -> Result<RecordBatch, SinkError> {
        if deleted.is_empty() {
            return Ok(batch);
        }
        let places = first..first + batch.num_rows();
        let live: BooleanArray = places.map(|row| Some(!is_deleted(deleted, row))).collect();
        filter_record_batch(&batch, &live).map_err(|e| self.failed(e))
    }
}

fn null_key(column: &FieldRef, place: &str) -> SinkError {
    UpdateError::NullKey { place: place.to_owned(), column: column.name().clone() }.into()
}

fn is_deleted(deleted: &[u64], row: usize) -> bool {
    deleted.binary_search(&(row as u64)).is_ok()
}

impl<'m> Search<'m> {
    fn new(merge: &'m Merge) -> Result<Self, SinkError> {
        let (spool, keys) = (merge.load.spool(), merge.key_fields());
        let is_key = |place: &usize| spool.columns().keys().contains(place);
        let places: Vec<usize> = (0..spool.schema().fields().len()).filter(|place| !is_key(place)).collect();
        let values: Vec<FieldRef> = places.iter().map(|place| Arc::clone(&merge.schema().fields()[*place])).collect();
        let ranges = KeyRanges::new(&keys).map_err(|e| merge.failed(e))?;
        let counts = Counts { source: merge.rows.iter().map(|rows| rows.rows).sum(), ..Counts::default() };
        let patches = Patches::new(spool.columns().table().to_owned(), &values);
        let search = Self { merge, keys, values, places, ranges, counts, patches };
        search.check_statistics()?;
        Ok(search)
    }

    /// Refuses rows of the table without a key, as far as the log tells: files that hold no key of the load are not read.
    fn check_statistics(&self) -> Result<(), SinkError> {
        for file in &self.merge.files {
            let statistics = FileStatistics::parse(file.statistics().as_deref());
            let is_null = |key: &&FieldRef| match file.partition_value(key.name()) {
                Some(value) => value.is_none(),
                None => statistics.nulls(key.name()).is_some_and(|nulls| nulls > 0),
            };
            if let Some(key) = self.keys.iter().find(is_null) {
                return Err(null_key(key, &self.merge.plan.location));
            }
        }
        Ok(())
    }

    /// Looks for a part of the load's keys.
    fn pass(&mut self, pass: &Pass) -> Result<(), SinkError> {
        let merge = self.merge;
        let reduced = merge.load.spool().reduce(&merge.rows, pass)?;
        let keys = reduced.key_columns()?;
        if let Some((key, _)) = self.keys.iter().zip(&keys).find(|(_, values)| values.null_count() > 0) {
            return Err(null_key(key, "the source"));
        }
        let mut ranges = KeyRanges::new(&self.keys).map_err(|e| merge.failed(e))?;
        ranges.add(&keys).map_err(|e| merge.failed(e))?;
        self.ranges.add(&keys).map_err(|e| merge.failed(e))?;
        let mut matched = vec![false; reduced.len()];
        for (number, file) in merge.files.iter().enumerate().filter(|(_, file)| ranges.may_be_in(file)) {
            self.find((number, file), &reduced, &mut matched)?;
        }
        self.counts.left_out += matched.iter().filter(|is_matched| !**is_matched).count() as u64;
        Ok(())
    }

    /// Looks for the keys in a file, and keeps the values that differ.
    fn find(
        &mut self,
        (number, file): (usize, &TableFile),
        reduced: &Reduced,
        matched: &mut [bool],
    ) -> Result<(), SinkError> {
        let merge = self.merge;
        let deleted = merge.deleted_rows(file)?;
        let fields: Vec<FieldRef> = self.keys.iter().chain(&self.values).cloned().collect();
        let mut reader = file.read(&merge.plan.store, &fields, None, (&merge.plan.location, &merge.runtime))?;
        let mut first = 0;
        while let Some(batch) = reader.next()? {
            let (keys, values) = batch.columns().split_at(self.keys.len());
            let matches = self.matches(keys, reduced, matched, |row| is_deleted(&deleted, first + row))?;
            self.compare((number, first), values, &matches, reduced)?;
            first += batch.num_rows();
        }
        Ok(())
    }

    /// The rows of a batch that have keys of the load.
    fn matches(
        &self,
        keys: &[ArrayRef],
        reduced: &Reduced,
        matched: &mut [bool],
        is_deleted: impl Fn(usize) -> bool,
    ) -> Result<Matches, SinkError> {
        let merge = self.merge;
        if let Some((key, _)) = self.keys.iter().zip(keys).find(|(_, values)| values.null_count() > 0) {
            return Err(null_key(key, &merge.plan.location));
        }
        let mut matches = Matches::default();
        let encoded = merge.load.spool().keys().rows(keys).map_err(|e| merge.failed(e))?;
        for (row, key) in (0_u32..).zip(encoded.iter()) {
            let Some(number) = reduced.find(key.as_ref()).filter(|_| !is_deleted(row as usize)) else { continue };
            if std::mem::replace(&mut matched[number as usize], true) {
                let names: Vec<&str> = self.keys.iter().map(|key| key.name().as_str()).collect();
                let (location, keys) = (merge.plan.location.clone(), names.join(", "));
                return Err(UpdateError::RepeatedKey { location, keys }.into());
            }
            matches.rows.push(row);
            matches.keys.push(number);
        }
        Ok(matches)
    }

    /// Keeps the values of the load that differ from those of the table.
    fn compare(
        &mut self,
        (file, first): (usize, usize),
        old: &[ArrayRef],
        matches: &Matches,
        reduced: &Reduced,
    ) -> Result<(), SinkError> {
        let merge = self.merge;
        if matches.rows.is_empty() {
            return Ok(());
        }
        let load = reduced.rows(&matches.keys, &OldRows::default())?;
        let new: Vec<&ArrayRef> = self.places.iter().map(|place| &load[*place]).collect();
        let at = UInt32Array::from(matches.rows.clone());
        let mut differs = BooleanArray::from(vec![false; matches.rows.len()]);
        for (old, new) in old.iter().zip(&new) {
            let old = take(old, &at, None).map_err(|e| merge.failed(e))?;
            let other = distinct(&old, *new).map_err(|e| merge.failed(e))?;
            differs = or(&differs, &other).map_err(|e| merge.failed(e))?;
        }
        let changed = differs.true_count() as u64;
        self.counts.updated += changed;
        self.counts.unchanged += matches.rows.len() as u64 - changed;
        if changed == 0 {
            return Ok(());
        }
        let new: Result<Vec<ArrayRef>, _> = new.into_iter().map(|column| filter(column, &differs)).collect();
        let new = new.map_err(|e| merge.failed(e))?;
        self.check_nulls(&new)?;
        let rows = matches.rows.iter().zip(differs.values()).filter(|(_, differs)| *differs);
        let rows: Vec<usize> = rows.map(|(row, _)| first + *row as usize).collect();
        self.patches.add(file, &rows, &new)
    }

    fn check_nulls(&self, new: &[ArrayRef]) -> Result<(), SinkError> {
        let columns = self.values.iter().zip(new).filter(|(field, _)| !field.is_nullable());
        for (field, values) in columns {
            if let Some(row) = (0..values.len()).find(|row| values.is_null(*row)) {
                let (table, column) = (self.merge.load.spool().columns().table().to_owned(), field.name().clone());
                return Err(SinkError::Value { table, column, row, reason: NULL });
            }
        }
        Ok(())
    }
}
