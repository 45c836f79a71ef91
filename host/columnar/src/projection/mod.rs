//! Projections: compiled once per schema, applied to every batch.

mod bounds;
mod compile;

use std::sync::Arc;
use std::thread;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::{filter_record_batch, prep_null_mask_filter};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datakit_model::changes::ROLE_KEY;
use datakit_model::{ColumnOrigin, GuestLimits, HashKeys};

use super::constant::Constant;
use super::error::{ColumnarError, shorten};
use super::expression::syntax;
use super::expression::{Expression, PATTERN_UNITS};
use super::row_hash::{self, KeyedHash, RowHash};
use super::type_text;
use super::work::{self, Meter};

pub use bounds::compile_units;

/// How a filter is called in messages.
const FILTER: &str = "filter";
const LIVE_BYTES: &str = "limits.guest.max_live_batch_bytes";

/// How an output column is made: the variant `expression` of the WIT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnExpression {
    /// The input column of this name, unchanged: type, nullability, metadata, memory.
    Input(String),
    /// One scalar expression of the frozen language (docs/expressions.md); nullable, without metadata.
    Sql(String),
    /// This text in every row, not null.
    Text(String),
    /// This time in every row, microseconds since 1970-01-01 UTC, not null.
    TimestampMicros(i64),
    /// This uuid, from its hyphenated form, in every row, not null.
    Uuid(String),
    /// The id of the load, in every row, not null, with its role.
    LoadId([u8; 16]),
    /// The row hash (docs/bronze-columns.md) of these columns of the output in this order, row hashes excepted. A column
    /// that is masked is hashed as masked.
    RowHash(Vec<String>),
    /// HMAC-SHA-256 of these input columns in this order, over the bytes of the row hash, in lower-case hex; null where all
    /// of them are null.
    KeyedHash {
        /// The input columns.
        columns: Vec<String>,
        /// The name of a key that the operator granted.
        key: String,
    },
}

/// Columns and a filter for batches of one schema. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Projection(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    input: SchemaRef,
    /// The input columns that anything reads; steps count their positions in this list.
    used: Vec<usize>,
    filter: Option<Expression>,
    steps: Vec<Step>,
    output: SchemaRef,
    origins: Vec<ColumnOrigin>,
    max_bytes: u64,
    kept_bytes: u64,
    /// The regular expressions of all columns and the filter.
    patterns: u64,
}

#[derive(Debug)]
enum Step {
    Input(usize),
    Expression(Expression),
    Constant(Constant),
    KeyedHash(KeyedHash),
    /// Of the columns that the other steps make.
    RowHash(RowHash),
}

impl Projection {
    /// Compiles columns, and a filter, for batches of the schema `input`. Rows for which the filter is false or null are
    /// dropped.
    ///
    /// # Errors
    /// A limit; an unknown column; a name twice; an expression outside of the language or with a type error; a hash over a
    /// type without a canonical form, or a row hash over a row hash; a key that is not among `keys`.
    pub fn compile(
        input: &SchemaRef,
        columns: &[(String, ColumnExpression)],
        filter: Option<&str>,
        keys: &HashKeys,
        limits: &GuestLimits,
    ) -> Result<Self, ColumnarError> {
        Self::compile_counted(input, columns, filter, keys, limits, &Meter::unlimited())
    }

    /// As [`Self::compile`]; the work is counted.
    pub fn compile_counted(
        input: &SchemaRef,
        columns: &[(String, ColumnExpression)],
        filter: Option<&str>,
        keys: &HashKeys,
        limits: &GuestLimits,
        meter: &Meter,
    ) -> Result<Self, ColumnarError> {
        bounds::check_columns(input, columns, limits)?;
        let (tokens, largest) = bounds::tokenize(columns, filter, limits)?;
        meter.charge(bounds::units_of(input.fields().len() + columns.len(), tokens.total))?;
        let compile = || compile::compile(input, columns, tokens, keys, limits);
        if largest == 0 {
            return compile();
        }
        let compiled = Self::on_large_stack(syntax::stack_bytes(largest, limits), compile)?;
        // They are few, so that their work is counted when it is known.
        meter.charge(compiled.0.patterns.saturating_mul(PATTERN_UNITS))?;
        Ok(compiled)
    }

    fn on_large_stack(
        stack_bytes: usize,
        compile: impl FnOnce() -> Result<Self, ColumnarError> + Send,
    ) -> Result<Self, ColumnarError> {
        // Parser, translation and the release of a syntax tree recurse as deep as the text says. The depth is bounded, but
        // the stack of the caller (a wasmtime fiber) is small.
        thread::scope(|scope| {
            let unexpected =
                |message: String| ColumnarError::Unexpected { what: "the thread that compiles expressions", message };
            let thread = thread::Builder::new().stack_size(stack_bytes);
            let handle = thread.spawn_scoped(scope, compile).map_err(|error| unexpected(error.to_string()))?;
            handle.join().map_err(|_| unexpected("panicked".to_owned()))?
        })
    }

    /// The columns of every batch that [`Self::apply`] returns.
    #[must_use]
    pub fn output(&self) -> SchemaRef {
        Arc::clone(&self.0.output)
    }

    /// Which input columns each column of the output is made of.
    #[must_use]
    pub fn origins(&self) -> &[ColumnOrigin] {
        &self.0.origins
    }

    /// A new batch of the output's columns; columns passed through share the memory of the input unless a filter drops
    /// rows.
    ///
    /// # Errors
    /// A batch of another schema; a value a kernel refuses; a limit on the bytes made.
    pub fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch, ColumnarError> {
        self.apply_counted(batch, &Meter::unlimited())
    }

    /// About what [`Self::apply_counted`] counts for a batch, in units of work.
    pub fn estimate(&self, batch: &RecordBatch) -> u64 {
        let inner = &*self.0;
        let Ok(batch) = batch.project(&inner.used) else { return 0 };
        let steps = inner.steps.iter().map(|step| inner.estimate(step, &batch));
        let filter = inner.filter.as_ref().map_or(0, |filter| filter.estimate(&batch));
        steps.fold(filter, u64::saturating_add)
    }

    /// What it keeps for itself, in bytes: schemas, literals, compiled expressions.
    pub fn kept_bytes(&self) -> u64 {
        self.0.kept_bytes
    }

    /// How often its literal columns have been built.
    pub fn builds(&self) -> u64 {
        self.constants().map(Constant::builds).sum()
    }

    /// Its literal columns, as they are kept for the next batch.
    pub fn built(&self) -> Vec<ArrayRef> {
        self.constants().filter_map(Constant::built).collect()
    }

    fn constants(&self) -> impl Iterator<Item = &Constant> {
        self.0.steps.iter().filter_map(|step| match step {
            Step::Constant(constant) => Some(constant),
            _ => None,
        })
    }

    /// As [`Self::apply`]; the work is counted, and ends when it is too much or when it is stopped.
    pub fn apply_counted(&self, batch: &RecordBatch, meter: &Meter) -> Result<RecordBatch, ColumnarError> {
        let inner = &*self.0;
        let _entered = meter.enter();
        check_schema(&inner.input, batch)?;
        let mut batch = batch.project(&inner.used).map_err(unexpected)?;
        if let Some(filter) = &inner.filter {
            let keep = keep(filter, &batch)?;
            if keep.true_count() < batch.num_rows() {
                meter.charge(batch.columns().iter().map(|column| work::units(column)).sum())?;
                batch = filter_record_batch(&batch, &keep).map_err(unexpected)?;
            }
        }
        let mut made = Made { meter, bytes: 0, max_bytes: inner.max_bytes };
        let values = inner.steps.iter().map(|step| made.value(step, &batch));
        let mut values = values.collect::<Result<Vec<Option<ArrayRef>>, _>>()?;
        for (index, step) in inner.steps.iter().enumerate() {
            if let Step::RowHash(hash) = step {
                values[index] = Some(made.row_hash(hash, batch.num_rows(), &values)?);
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let values = values.into_iter().flatten().collect();
        RecordBatch::try_new_with_options(Arc::clone(&inner.output), values, &options).map_err(unexpected)
    }
}

impl Inner {
    /// About what a step counts for a batch of the columns that are used.
    fn estimate(&self, step: &Step, batch: &RecordBatch) -> u64 {
        let rows = batch.num_rows();
        match step {
            Step::Input(_) => 0,
            Step::Expression(expression) => expression.estimate(batch),
            Step::Constant(constant) => constant.output_bytes(rows) as u64,
            Step::KeyedHash(hash) => KeyedHash::units(rows, units(hash.columns(), |index| batch.columns().get(index))),
            Step::RowHash(hash) => {
                let read = hash.columns().map(|index| match self.steps.get(index) {
                    Some(Step::Input(index)) => batch.columns().get(*index).map_or(0, |array| work::units(array)),
                    Some(Step::RowHash(_)) | None => 0,
                    Some(step) => self.estimate(step, batch),
                });
                RowHash::units(rows, read.fold(0, u64::saturating_add))
            }
        }
    }
}

/// What looking at columns costs.
fn units<'a>(indices: impl Iterator<Item = usize>, column: impl Fn(usize) -> Option<&'a ArrayRef>) -> u64 {
    indices.filter_map(column).map(|array| work::units(array)).fold(0, u64::saturating_add)
}

fn unexpected(error: arrow::error::ArrowError) -> ColumnarError {
    ColumnarError::Unexpected { what: "applying a projection", message: shorten(&error.to_string()) }
}

/// What a projection has made of one batch.
struct Made<'m> {
    meter: &'m Meter,
    bytes: usize,
    max_bytes: u64,
}

impl Made<'_> {
    fn charge(&mut self, bytes: usize) -> Result<(), ColumnarError> {
        self.bytes = self.bytes.saturating_add(bytes);
        let what = || "bytes made by a projection of one batch".to_owned();
        ColumnarError::check(what, LIVE_BYTES, self.max_bytes, self.bytes)
    }

    /// The column of a step; none of a row hash, which reads the others.
    fn value(&mut self, step: &Step, batch: &RecordBatch) -> Result<Option<ArrayRef>, ColumnarError> {
        let rows = batch.num_rows();
        Ok(Some(match step {
            Step::Input(index) => Arc::clone(batch.column(*index)),
            Step::Expression(expression) => {
                let array = expression.evaluate(batch)?;
                self.charge(array.to_data().get_slice_memory_size().map_err(unexpected)?)?;
                array
            }
            Step::Constant(constant) => {
                self.charge(constant.output_bytes(rows))?;
                self.meter.charge(constant.output_bytes(rows) as u64)?;
                constant.evaluate(rows)?
            }
            Step::KeyedHash(hash) => {
                let column = |index| batch.columns().get(index);
                self.charge(row_hash::output_bytes(rows))?;
                self.meter.charge(KeyedHash::units(rows, units(hash.columns(), column)))?;
                hash.evaluate(rows, column)?
            }
            Step::RowHash(_) => return Ok(None),
        }))
    }

    fn row_hash(
        &mut self,
        hash: &RowHash,
        rows: usize,
        values: &[Option<ArrayRef>],
    ) -> Result<ArrayRef, ColumnarError> {
        let column = |index: usize| values.get(index)?.as_ref();
        self.charge(row_hash::output_bytes(rows))?;
        self.meter.charge(RowHash::units(rows, units(hash.columns(), column)))?;
        hash.evaluate(rows, column)
    }
}

/// The rows a filter keeps.
fn keep(filter: &Expression, batch: &RecordBatch) -> Result<BooleanArray, ColumnarError> {
    let values = filter.evaluate(batch)?;
    let values = values.as_boolean_opt().ok_or_else(|| ColumnarError::Unexpected {
        what: "evaluating a filter",
        message: format!("it returned {}", values.data_type()),
    })?;
    Ok(if values.null_count() > 0 { prep_null_mask_filter(values) } else { values.clone() })
}

/// Refuses a batch of another shape. Metadata may differ, but for the roles of the host: nothing else depends on it.
fn check_schema(input: &SchemaRef, batch: &RecordBatch) -> Result<(), ColumnarError> {
    let schema = batch.schema_ref();
    if Arc::ptr_eq(input, schema) {
        return Ok(());
    }
    let other = |message: String| Err(ColumnarError::OtherSchema { message: shorten(&message) });
    if schema.fields().len() != input.fields().len() {
        return other(format!("it has {} columns instead of {}", schema.fields().len(), input.fields().len()));
    }
    for (wanted, found) in input.fields().iter().zip(schema.fields()) {
        if wanted.name() != found.name() {
            return other(format!("column `{}` stands where `{}` should", found.name(), wanted.name()));
        }
        if !wanted.data_type().equals_datatype(found.data_type()) {
            let (found, name) = (type_text::print(found.data_type()), wanted.name());
            return other(format!("column `{name}` is {found} instead of {}", type_text::print(wanted.data_type())));
        }
        if found.is_nullable() && !wanted.is_nullable() {
            return other(format!("column `{}` may be null", wanted.name()));
        }
        if found.metadata().get(ROLE_KEY) != wanted.metadata().get(ROLE_KEY) {
            return other(format!("column `{}` has another role", wanted.name()));
        }
    }
    Ok(())
}
