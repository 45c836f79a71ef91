//! The temporary table of a merge: keys whose rows are to go, and one row a key that is to be there.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, BinaryArray, BooleanArray, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use bytes::Bytes;
use datakit_connect::sink::SinkError;
use datakit_connect::sink::merge::{OldRows, Reduced, Spool};

use super::Load;
use crate::sink::encode::encode;
use crate::sink::names::TableName;
use crate::sink::transaction::Plan;
use crate::sink::types::TableSchema;

/// The columns, as a bit mask, that keep their value in a row that is there.
pub(super) const STAY: &str = "datakit:stay";
/// The row of the key is to go; of the other columns only those of the key count.
pub(super) const REMOVES: &str = "datakit:removes";

/// Rows that are put together at one time.
const BATCH_KEYS: usize = 4096;

/// The temporary table.
pub(crate) struct Staging {
    pub(crate) name: TableName,
    pub(crate) schema: TableSchema,
}

/// What is in it.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    /// Rows that are to be there.
    pub(crate) upserts: u64,
    /// Columns that some row leaves as they are.
    pub(crate) stay: BTreeSet<usize>,
    /// For each column of the key whether it is null, as the load's keys have it.
    pub(crate) nulls: BTreeSet<Vec<bool>>,
    /// Rows of which the source did not send all columns: inserted, the others are null.
    pub(crate) incomplete: u64,
}

impl Staging {
    /// For the rows of a load.
    pub(crate) fn new(plan: &Plan) -> Result<Self, SinkError> {
        let nullable = |field: &FieldRef| -> FieldRef { Arc::new(Field::clone(field).with_nullable(true)) };
        let own = [Field::new(STAY, DataType::Binary, true), Field::new(REMOVES, DataType::Boolean, false)];
        let fields: Vec<FieldRef> = plan.schema.source.fields().iter().map(nullable).chain(own.map(Arc::new)).collect();
        let name = TableName { schema: "pg_temp".to_owned(), table: "datakit_merge".to_owned() };
        Ok(Self { name, schema: TableSchema::new(&plan.target.table, &Arc::new(Schema::new(fields)))? })
    }

    /// Reduces the load, and hands its rows on as COPY data. Blocks.
    pub(crate) fn fill(
        &self,
        load: &Load,
        location: &str,
        send: impl Fn(Bytes) -> Result<(), SinkError>,
    ) -> Result<Staged, SinkError> {
        let spool = load.load.spool();
        let (mut staged, mut chosen) = (Staged::default(), Spool::chosen(&load.rows));
        let hand_on = |columns: Vec<ArrayRef>, stay: ArrayRef, removes: bool| {
            let removes: ArrayRef = Arc::new(BooleanArray::from(vec![removes; stay.len()]));
            let columns = columns.into_iter().chain([stay, removes]).collect();
            let batch = RecordBatch::try_new(Arc::clone(&self.schema.source), columns);
            let batch = batch.map_err(|e| SinkError::Encode { location: location.to_owned(), source: Box::new(e) })?;
            send(encode(&self.schema, &batch, location)?.freeze())
        };
        let nothing = |rows: usize| new_null_array(&DataType::Binary, rows);
        for pass in spool.passes(&load.rows, load.max_bytes) {
            let reduced = spool.reduce(&load.rows, &pass)?;
            staged.look_at(&reduced)?;
            reduced.choose(&mut chosen);
            let removed: Vec<u32> = reduced.keys().filter(|key| reduced.replaces(*key)).collect();
            for keys in removed.chunks(BATCH_KEYS) {
                hand_on(reduced.rows(keys, &OldRows::default())?, nothing(keys.len()), true)?;
            }
            let partial: Vec<u32> = reduced.keys().filter(|key| reduced.is_partial(*key)).collect();
            for keys in partial.chunks(BATCH_KEYS) {
                let masks = staged.masks(&reduced, keys);
                hand_on(reduced.rows(keys, &OldRows::default())?, masks, false)?;
            }
        }
        spool.take(&load.rows, chosen, |rows| hand_on(rows.columns().to_vec(), nothing(rows.num_rows()), false))?;
        Ok(staged)
    }
}

impl Staged {
    fn look_at(&mut self, reduced: &Reduced) -> Result<(), SinkError> {
        self.upserts += reduced.keys().filter(|key| !reduced.is_deleted(*key)).count() as u64;
        self.incomplete += reduced.keys().filter(|key| reduced.is_incomplete(*key)).count() as u64;
        let keys = reduced.key_columns()?;
        if keys.iter().all(|column| column.null_count() == 0) {
            self.nulls.extend((!reduced.is_empty()).then(|| vec![false; keys.len()]));
            return Ok(());
        }
        let nulls = |row: u32| keys.iter().map(|column| column.is_null(row as usize)).collect();
        for row in reduced.keys() {
            let nulls: Vec<bool> = nulls(row);
            if !self.nulls.contains(&nulls) {
                self.nulls.insert(nulls);
            }
        }
        Ok(())
    }

    /// Bit `n` is bit `n % 8` of byte `n / 8`, as `get_bit` counts.
    fn masks(&mut self, reduced: &Reduced, keys: &[u32]) -> ArrayRef {
        let masks = keys.iter().map(|key| {
            let stay = reduced.stay(*key);
            let mut mask = Vec::new();
            for column in &stay {
                mask.resize(mask.len().max(column / 8 + 1), 0_u8);
                mask[column / 8] |= 1 << (column % 8);
            }
            self.stay.extend(stay);
            (!mask.is_empty()).then_some(mask)
        });
        Arc::new(masks.collect::<BinaryArray>())
    }
}

/// Whether a column is in the mask of a row; `get_bit` refuses a bit that is not there.
pub(super) fn mask_condition(column: usize) -> String {
    let stay = crate::sink::names::quote(STAY);
    format!("CASE WHEN length(s.{stay}) > {} THEN get_bit(s.{stay}, {column}) = 1 ELSE false END", column / 8)
}
