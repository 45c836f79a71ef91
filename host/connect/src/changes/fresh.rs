//! Rows of a span that are not loaded yet.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array as _, AsArray as _, BooleanArray, BooleanBufferBuilder, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use async_trait::async_trait;
use datakit_model::source::{ReadReport, Reader, Rejected};
use datakit_model::{Failure, TrackedBatch};

use super::columns::WatermarkColumn;
use super::error::ChangesError;
use super::loaded::{Hasher, Loaded, MAX_REMEMBERED_ROWS, Recorder, Sum};
use super::roles::{KEPT_COLUMN, KNOWN_COLUMN};
use super::watermark::{Span, WatermarkTable};
use super::window::{Reached, Start, Upto, Window};

/// What a load reads.
#[derive(Debug, Clone)]
pub(super) struct Course {
    pub(super) column: WatermarkColumn,
    /// What earlier loads read; none: the whole table is read.
    pub(super) before: Option<Reached>,
    /// How far it reads; none: no row has a value.
    pub(super) upto: Option<Upto>,
    /// How far before the upper bound rows are remembered.
    pub(super) overlap: u64,
}

impl Course {
    /// The window whose rows the next load knows.
    fn kept(&self) -> Option<Window> {
        let upto = self.upto?;
        let start = Start::at(self.column.measure.behind(upto.value, self.overlap));
        // What lies before is not read, so that nothing is known of it.
        let from = self.before.as_ref().map_or(start, |before| start.max(before.window.from));
        Some(upto.since(from))
    }

    /// Rows from there on; none: all.
    fn span(&self, from: Option<Start>) -> Span {
        let measure = &self.column.measure;
        let rows = self.upto.map(|upto| match from {
            Some(from) => upto.since(from).range(measure),
            None => upto.whole(measure),
        });
        self.marked(rows)
    }

    /// The window of the last load, as far as its rows are known.
    fn window(&self) -> Span {
        self.marked(self.before.as_ref().map(|before| before.window.range(&self.column.measure)))
    }

    fn marked(&self, rows: Option<super::Range>) -> Span {
        let range = |window: Window| window.range(&self.column.measure);
        Span { rows, known: self.before.as_ref().map(|before| range(before.window)), kept: self.kept().map(range) }
    }

    /// The first question, and what is known before it.
    fn begin(&self) -> (Span, Known) {
        match &self.before {
            None => (self.span(None), Known::Nothing),
            Some(Reached { window, loaded: Loaded::Rows(hashes) }) => {
                (self.span(Some(window.from)), Known::Rows(Loaded::counted(hashes.clone())))
            }
            Some(Reached { loaded: Loaded::Sum(sum), .. }) => {
                (self.window(), Known::Counting { expected: *sum, found: Sum::default() })
            }
        }
    }

    /// The position after all rows; none: no row has a value.
    fn reached(&self, loaded: Loaded) -> Option<String> {
        let window = self.kept()?;
        Some(self.column.position(Reached { window, loaded }.print(&self.column.measure)))
    }
}

/// What is known of the window of the last load.
#[derive(Debug)]
enum Known {
    /// Which rows are loaded, and how often each.
    Rows(HashMap<u128, u32>),
    /// Whether all of them are still there, and no other, is being found out before rows are read.
    Counting { expected: Sum, found: Sum },
    /// All of its rows are loaded.
    All,
    /// Not which rows: all of them are read.
    Nothing,
}

impl Known {
    /// Whether it takes the hash of a row of the window to say whether it is loaded.
    fn compares(&self) -> bool {
        match self {
            Self::Rows(rows) => !rows.is_empty(),
            Self::Counting { .. } => true,
            Self::All | Self::Nothing => false,
        }
    }

    /// Whether a row is to be passed on.
    fn is_fresh(&mut self, hash: u128) -> bool {
        match self {
            Self::Rows(rows) => match rows.get_mut(&hash) {
                Some(1) => {
                    rows.remove(&hash);
                    false
                }
                Some(count) => {
                    *count -= 1;
                    false
                }
                None => true,
            },
            Self::Counting { found, .. } => {
                found.add(hash);
                false
            }
            Self::All | Self::Nothing => true,
        }
    }
}

/// A reader of the rows that are not loaded yet. It notes which rows the next load is to know.
pub(super) struct FreshRows<T> {
    table: Arc<T>,
    course: Course,
    /// What is asked now, and its rows; none: they are to be asked for.
    span: Span,
    rows: Option<Box<dyn Reader>>,
    schema: SchemaRef,
    hasher: Hasher,
    known: Known,
    kept: Recorder,
    /// Rejected rows that were not rejected before, since the last report.
    rejected: Rejected,
    /// Where the position is said at the end.
    reached: Arc<OnceLock<String>>,
}

impl<T: WatermarkTable> FreshRows<T> {
    pub(super) async fn start(table: Arc<T>, course: Course, reached: Arc<OnceLock<String>>) -> Result<Self, Failure> {
        let (span, known) = course.begin();
        let rows = table.rows(&span).await?;
        let schema = rows.schema();
        let hasher = Hasher::new(&schema, &[KNOWN_COLUMN, KEPT_COLUMN]).map_err(unexpected)?;
        let kept = Recorder::default();
        let rejected = Rejected::default();
        Ok(Self { table, course, span, rows: Some(rows), schema, hasher, known, kept, rejected, reached })
    }

    /// The fresh rows of a batch; none: there are none.
    fn fresh(&mut self, tracked: &TrackedBatch) -> Result<Option<TrackedBatch>, ChangesError> {
        let batch = tracked.batch();
        let (known, mut kept) = (flags(batch, KNOWN_COLUMN)?, flags(batch, KEPT_COLUMN)?);
        let mut passed = BooleanBufferBuilder::new(batch.num_rows());
        if matches!(self.known, Known::All) {
            // They were noted when their window was counted.
            kept = &kept & &!&known;
            passed.append_buffer(&!&known);
        } else {
            passed.append_n(batch.num_rows(), true);
        }
        let hashed = if self.known.compares() { &known | &kept } else { kept.clone() };
        for (row, hash) in hashed.set_indices().zip(self.hashes(batch, &hashed)?) {
            if known.value(row) && !self.known.is_fresh(hash) {
                passed.set_bit(row, false);
            }
            if kept.value(row) {
                self.kept.add(hash);
            }
        }
        let passed = BooleanArray::new(passed.finish(), None);
        Ok(match passed.true_count() {
            0 => None,
            all if all == batch.num_rows() => Some(tracked.clone()),
            _ => Some(tracked.derive(filter_record_batch(batch, &passed).map_err(unexpected)?)),
        })
    }

    fn hashes(&self, batch: &RecordBatch, rows: &BooleanBuffer) -> Result<Vec<u128>, ChangesError> {
        match rows.count_set_bits() {
            0 => Ok(Vec::new()),
            all if all == batch.num_rows() => self.hasher.hashes(batch),
            _ => filter_record_batch(batch, &BooleanArray::new(rows.clone(), None))
                .and_then(|rows| self.hasher.hashes(&rows)),
        }
        .map_err(unexpected)
    }

    /// Rejected rows count as read: one that the last load has rejected is not rejected again, and the next load knows those of
    /// its window.
    fn note_rejected(&mut self, mut rejected: Rejected) {
        rejected.retain(|row| {
            let Some(mark) = row.mark else { return true };
            let is_counted = mark.known && matches!(self.known, Known::All);
            if mark.kept && !is_counted {
                self.kept.add(mark.hash);
            }
            !is_counted && (!mark.known || self.known.is_fresh(mark.hash))
        });
        self.rejected.append(rejected);
    }

    /// The rows have ended: whether others follow.
    fn goes_on(&mut self) -> bool {
        if let Known::Counting { expected, found } = self.known {
            let from = self.course.before.as_ref().map(|before| before.window);
            if expected == found {
                self.known = Known::All;
                self.span = self.course.span(from.map(|window| Start::after(window.upto)));
            } else {
                self.warn_of_repeats(expected, found);
                self.known = Known::Nothing;
                self.kept = Recorder::default();
                self.span = self.course.span(from.map(|window| window.from));
            }
            self.rows = None;
            return true;
        }
        let loaded = std::mem::take(&mut self.kept).loaded();
        if let Loaded::Sum(Sum { rows, .. }) = loaded {
            tracing::warn!(
                column = self.course.column.name,
                rows,
                most = MAX_REMEMBERED_ROWS,
                "more rows lie in the overlap of a watermark than are remembered each: if one of them changes, the next load reads all of \
                 them again"
            );
        }
        if let Some(position) = self.course.reached(loaded) {
            self.reached.get_or_init(|| position);
        }
        false
    }

    fn warn_of_repeats(&self, expected: Sum, found: Sum) {
        tracing::warn!(
            column = self.course.column.name,
            loaded = expected.rows,
            rows = found.rows,
            "rows in the overlap of a watermark have changed, and they are too many to tell which: all of them are read again"
        );
    }
}

#[async_trait]
impl<T: WatermarkTable> Reader for FreshRows<T> {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn next(&mut self) -> Result<Option<TrackedBatch>, Failure> {
        loop {
            let rows = match &mut self.rows {
                Some(rows) => rows,
                None => self.rows.insert(self.table.rows(&self.span).await?),
            };
            let next = rows.next().await?;
            let rejected = rows.report().rejected;
            self.note_rejected(rejected);
            match next {
                Some(batch) => {
                    if let Some(fresh) = self.fresh(&batch)? {
                        return Ok(Some(fresh));
                    }
                }
                None if self.goes_on() => {}
                None => return Ok(None),
            }
        }
    }

    fn report(&mut self) -> ReadReport {
        let report = self.rows.as_mut().map(|rows| rows.report()).unwrap_or_default();
        self.note_rejected(report.rejected);
        ReadReport { rejected: std::mem::take(&mut self.rejected), ..report }
    }
}

fn flags(batch: &RecordBatch, name: &str) -> Result<BooleanBuffer, ChangesError> {
    let column = batch.column_by_name(name).and_then(|column| column.as_boolean_opt());
    let column = column.filter(|column| column.null_count() == 0).ok_or_else(|| {
        ChangesError::Internal(format!("a query for changes by a watermark has no column `{name}` of booleans"))
    })?;
    Ok(column.values().clone())
}

fn unexpected(error: ArrowError) -> ChangesError {
    ChangesError::Internal(error.to_string())
}
