//! The frozen expression language of projections: from text to a vectorised DataFusion expression.
//!
//! [`syntax`] bounds and parses the text, [`translate`] turns the syntax tree into a physical expression and is the
//! allow-list at the same time: what it has no arm for does not exist. [`typing`] holds the rules for types, which are
//! ours, so that no upgrade of DataFusion changes a type a datakit can see. [`functions`] wraps the kernels that can
//! make text grow. docs/expressions.md describes the language; `goldens` fixes the value and type of every item.

#[cfg(test)]
mod bounds;
mod date_trunc;
mod functions;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod goldens;
#[cfg(test)]
mod goldens_of_functions;
mod like;
mod literal;
#[cfg(test)]
mod refusals;
mod regexp;
mod step;
pub(super) mod syntax;
mod texts;
mod translate;
mod trim;
mod typing;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{ArrayRef, new_empty_array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;
use datafusion_common::DataFusionError;
use datafusion_physical_expr::PhysicalExpr;
use datakit_model::GuestLimits;

use self::functions::Meter;
pub use self::regexp::TextPattern;
use self::syntax::Parsed;
use super::error::{ColumnarError, shorten};
use super::{values, work};

/// Rows evaluated at one time, so that what lies between two steps of an expression stays small.
const CHUNK_ROWS: usize = 65_536;
/// Fewer rows at one time are not worth the calls.
const MIN_CHUNK_ROWS: usize = 256;
/// Bytes that the text literals of one expression may come to when each stands in every row of a chunk.
const CHUNK_LITERAL_BYTES: usize = 8 << 20;

/// What a regular expression is taken to keep, in bytes, and what compiling it costs, in units of work.
pub(super) use regexp::{PATTERN_BYTES, PATTERN_UNITS};

/// A compiled expression.
#[derive(Debug)]
pub(super) struct Expression {
    /// The output column, or `filter`: for messages.
    column: String,
    physical: Arc<dyn PhysicalExpr>,
    /// Positions in the batch of the columns the expression reads; its own columns are positions in this list.
    reads: Vec<usize>,
    data_type: DataType,
    /// The regular expressions in it.
    patterns: u64,
    chunk_rows: usize,
    /// How often all steps together look at every row.
    passes: u64,
    max_text_bytes: u64,
    max_output_bytes: u64,
}

impl Expression {
    /// Compiles a parsed expression for an input schema.
    pub(super) fn compile(
        parsed: &Parsed,
        column: &str,
        input: &Schema,
        limits: &GuestLimits,
    ) -> Result<Self, ColumnarError> {
        let mut reads = Vec::new();
        for name in parsed.names() {
            if let Some((index, _)) = input.column_with_name(name) {
                reads.push(index);
            }
        }
        let schema = input.project(&reads).map_err(|error| ColumnarError::Unexpected {
            what: "choosing the columns of an expression",
            message: shorten(&error.to_string()),
        })?;
        let translated = translate::translate(&parsed.ast, column, &schema, limits)?;
        let literal_bytes = parsed.literal_bytes().max(1);
        Ok(Self {
            column: column.to_owned(),
            passes: step::count(&translated.physical),
            physical: translated.physical,
            reads,
            data_type: translated.data_type,
            patterns: translated.patterns,
            chunk_rows: (CHUNK_LITERAL_BYTES / literal_bytes).clamp(MIN_CHUNK_ROWS, CHUNK_ROWS),
            max_text_bytes: limits.max_live_batch_bytes,
            max_output_bytes: limits.max_live_batch_bytes,
        })
    }

    /// The type of every result.
    pub(super) fn data_type(&self) -> &DataType {
        &self.data_type
    }

    /// How many regular expressions it has.
    pub(super) fn patterns(&self) -> u64 {
        self.patterns
    }

    /// About what [`Self::evaluate`] counts for a batch.
    pub(super) fn estimate(&self, batch: &RecordBatch) -> u64 {
        let read = self.reads.iter().filter_map(|index| batch.columns().get(*index)).map(|array| work::units(array));
        let rows = (batch.num_rows() as u64).saturating_mul(work::ROW_UNITS);
        read.fold(rows, u64::saturating_add).saturating_mul(self.passes)
    }

    /// The values for all rows. The batch has the schema compiled for.
    pub(super) fn evaluate(&self, batch: &RecordBatch) -> Result<ArrayRef, ColumnarError> {
        let batch = batch.project(&self.reads).map_err(|error| self.unexpected(&error.to_string()))?;
        // Some kernels assert instead of returning an error, on offsets beyond 2 GiB for example. The sizes are bounded
        // before they run, so none is known to be reachable; a panic here would end the host's whole run, though, and
        // the kernels hold no state that could be left half changed.
        match catch_unwind(AssertUnwindSafe(|| self.evaluate_chunks(&batch))) {
            Ok(result) => result,
            Err(_) => Err(self.unexpected("a kernel panicked")),
        }
    }

    fn evaluate_chunks(&self, batch: &RecordBatch) -> Result<ArrayRef, ColumnarError> {
        let rows = batch.num_rows();
        let meter = Meter::start(self.max_text_bytes);
        let mut chunks: Vec<ArrayRef> = Vec::with_capacity(rows.div_ceil(self.chunk_rows));
        let mut bytes = 0;
        for start in (0..rows).step_by(self.chunk_rows) {
            let chunk = batch.slice(start, self.chunk_rows.min(rows - start));
            let array = self
                .physical
                .evaluate(&chunk)
                .and_then(|value| value.into_array(chunk.num_rows()))
                .map_err(|error| self.failed(&error, &meter))?;
            self.check_digits(&array)?;
            bytes += array.to_data().get_slice_memory_size().map_err(|error| self.unexpected(&error.to_string()))?;
            self.check_output(bytes)?;
            chunks.push(array);
        }
        match chunks.as_slice() {
            [] => Ok(new_empty_array(&self.data_type)),
            [one] => Ok(Arc::clone(one)),
            many => {
                let arrays: Vec<_> = many.iter().map(AsRef::as_ref).collect();
                concat(&arrays).map_err(|error| self.unexpected(&error.to_string()))
            }
        }
    }

    /// Arrow's decimal arithmetic stops at 128 bits, which hold more than the 38 digits of the widest decimal.
    fn check_digits(&self, array: &ArrayRef) -> Result<(), ColumnarError> {
        if !matches!(self.data_type, DataType::Decimal128(..)) {
            return Ok(());
        }
        let message = |misfit: values::Misfit| format!("the result is too large: {}", misfit.reason);
        values::misfit(array).map_or(Ok(()), |misfit| {
            Err(ColumnarError::Evaluation { column: shorten(&self.column), message: message(misfit) })
        })
    }

    fn check_output(&self, bytes: usize) -> Result<(), ColumnarError> {
        let what = || format!("bytes of the column `{}` in one batch", shorten(&self.column));
        ColumnarError::check(what, "limits.guest.max_live_batch_bytes", self.max_output_bytes, bytes)
    }

    /// A kernel's error: its limit if it was ours, else a value it does not accept.
    fn failed(&self, error: &DataFusionError, meter: &Meter) -> ColumnarError {
        if let Some(requested) = meter.refused() {
            return ColumnarError::Limit {
                what: format!("bytes of text made for the column `{}` in one batch", shorten(&self.column)),
                limit: "limits.guest.max_live_batch_bytes",
                value: self.max_text_bytes,
                requested,
            };
        }
        if let Some(refused) = work_refused(error) {
            return refused;
        }
        let mut root = error.find_root();
        while let DataFusionError::Context(_, inner) = root {
            root = inner;
        }
        let message = match root {
            DataFusionError::ArrowError(error, _) => error.to_string(),
            DataFusionError::Execution(message) => message.clone(),
            other => other.strip_backtrace(),
        };
        ColumnarError::Evaluation { column: shorten(&self.column), message: shorten(&message) }
    }

    fn unexpected(&self, message: &str) -> ColumnarError {
        ColumnarError::Unexpected {
            what: "evaluating an expression",
            message: format!("column `{}`: {}", shorten(&self.column), shorten(message)),
        }
    }
}

/// What the meter said, somewhere in a kernel.
fn work_refused(error: &DataFusionError) -> Option<ColumnarError> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(ours) = error.downcast_ref::<ColumnarError>() {
            return Some(ours.clone());
        }
        next = error.source();
    }
    None
}
