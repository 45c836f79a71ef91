//! Projections: compiled once per schema, applied to every batch.

use std::collections::HashSet;
use std::sync::Arc;
use std::thread;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::{filter_record_batch, prep_null_mask_filter};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datakit_model::GuestLimits;

use super::constant::{Constant, Value};
use super::error::{ColumnarError, shorten};
use super::expression::Expression;
use super::expression::syntax::{self, Parsed, Tokens};
use super::row_hash::RowHash;
use super::type_text;
use super::wire::{self, TextBudget};
use super::work::{self, Meter};

/// How a filter is called in messages.
const FILTER: &str = "filter";
/// All expressions of one projection may have together this many times the tokens of one.
const EXPRESSIONS_PER_PROJECTION: u64 = 16;
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
    /// The row hash (docs/bronze-columns.md) of these input columns in this order.
    RowHash(Vec<String>),
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
    max_bytes: u64,
    kept_bytes: u64,
}

#[derive(Debug)]
enum Step {
    Input(usize),
    Expression(Expression),
    Constant(Constant),
    RowHash(RowHash),
}

impl Projection {
    /// Compiles columns, and a filter, for batches of the schema `input`. Rows for which the filter is false or null are
    /// dropped.
    ///
    /// # Errors
    /// A limit; an unknown column; a name twice; an expression outside of the language or with a type error; a row hash
    /// over a type without a canonical form.
    pub fn compile(
        input: &SchemaRef,
        columns: &[(String, ColumnExpression)],
        filter: Option<&str>,
        limits: &GuestLimits,
    ) -> Result<Self, ColumnarError> {
        Self::compile_counted(input, columns, filter, limits, &Meter::unlimited())
    }

    /// As [`Self::compile`]; the work is counted.
    pub fn compile_counted(
        input: &SchemaRef,
        columns: &[(String, ColumnExpression)],
        filter: Option<&str>,
        limits: &GuestLimits,
        meter: &Meter,
    ) -> Result<Self, ColumnarError> {
        check_columns(input, columns, limits)?;
        let (tokens, largest) = tokenize(columns, filter, limits)?;
        meter.charge(units_of(input.fields().len() + columns.len(), tokens.total))?;
        let compile = || compile(input, columns, tokens, limits);
        if largest == 0 {
            return compile();
        }
        // Parser, translation and the release of a syntax tree recurse as deep as the text says. The depth is bounded, but
        // the stack of the caller (a wasmtime fiber) is small.
        thread::scope(|scope| {
            let unexpected =
                |message: String| ColumnarError::Unexpected { what: "the thread that compiles expressions", message };
            let thread = thread::Builder::new().stack_size(syntax::stack_bytes(largest, limits));
            let handle = thread.spawn_scoped(scope, compile).map_err(|error| unexpected(error.to_string()))?;
            handle.join().map_err(|_| unexpected("panicked".to_owned()))?
        })
    }

    /// The columns of every batch that [`Self::apply`] returns.
    #[must_use]
    pub fn output(&self) -> SchemaRef {
        Arc::clone(&self.0.output)
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
        let steps = inner.steps.iter().map(|step| match step {
            Step::Input(_) => 0,
            Step::Expression(expression) => expression.estimate(&batch),
            Step::Constant(constant) => constant.output_bytes(batch.num_rows()) as u64,
            Step::RowHash(hash) => hash.units(&batch),
        });
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
        let unexpected = |error: arrow::error::ArrowError| ColumnarError::Unexpected {
            what: "applying a projection",
            message: shorten(&error.to_string()),
        };
        let mut batch = batch.project(&inner.used).map_err(unexpected)?;
        if let Some(filter) = &inner.filter {
            let keep = keep(filter, &batch)?;
            if keep.true_count() < batch.num_rows() {
                meter.charge(batch.columns().iter().map(|column| work::units(column)).sum())?;
                batch = filter_record_batch(&batch, &keep).map_err(unexpected)?;
            }
        }
        let rows = batch.num_rows();
        let mut made_bytes = 0_usize;
        let mut charge = |bytes: usize| {
            made_bytes = made_bytes.saturating_add(bytes);
            let what = || "bytes made by a projection of one batch".to_owned();
            ColumnarError::check(what, LIVE_BYTES, inner.max_bytes, made_bytes)
        };
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(inner.steps.len());
        for step in &inner.steps {
            arrays.push(match step {
                Step::Input(index) => Arc::clone(batch.column(*index)),
                Step::Expression(expression) => {
                    let array = expression.evaluate(&batch)?;
                    charge(array.to_data().get_slice_memory_size().map_err(unexpected)?)?;
                    array
                }
                Step::Constant(constant) => {
                    charge(constant.output_bytes(rows))?;
                    meter.charge(constant.output_bytes(rows) as u64)?;
                    constant.evaluate(rows)?
                }
                Step::RowHash(hash) => {
                    charge(RowHash::output_bytes(rows))?;
                    meter.charge(hash.units(&batch))?;
                    hash.evaluate(&batch)?
                }
            });
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&inner.output), arrays, &options).map_err(unexpected)
    }
}

/// What a projection takes, roughly: a field in two schemas, and a token's part of a syntax tree and a physical expression.
const FIELD_BYTES: u64 = 512;
const TOKEN_BYTES: u64 = 512;
/// What compiling costs, in units of work.
const FIELD_UNITS: u64 = 1_000;
const TOKEN_UNITS: u64 = 10_000;

/// About what [`Projection::compile_counted`] counts, by the sizes of what it is given.
#[must_use]
pub fn compile_units(fields: usize, columns: &[(String, ColumnExpression)], filter: Option<&str>) -> u64 {
    let text = columns.iter().map(|(_, expression)| match expression {
        ColumnExpression::Sql(text) => text.len(),
        _ => 0,
    });
    // A token of code has two bytes or more, as a rule.
    let tokens = (text.sum::<usize>() + filter.map_or(0, str::len)).div_ceil(2);
    units_of(fields + columns.len(), tokens)
}

fn units_of(fields: usize, tokens: usize) -> u64 {
    (fields as u64).saturating_mul(FIELD_UNITS).saturating_add((tokens as u64).saturating_mul(TOKEN_UNITS))
}

fn kept_bytes(input: &Schema, columns: &[(String, ColumnExpression)], tokens: usize) -> u64 {
    let metadata = |field: &Field| field.metadata().iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
    let fields: usize = input.fields().iter().map(|field| field.name().len() + metadata(field)).sum();
    let text: usize = columns.iter().map(|(name, expression)| name.len() + literal_bytes(expression)).sum();
    let counts = (input.fields().len() + columns.len()) as u64 * FIELD_BYTES + tokens as u64 * TOKEN_BYTES;
    counts.saturating_add((2 * fields + text) as u64)
}

fn literal_bytes(expression: &ColumnExpression) -> usize {
    match expression {
        ColumnExpression::Text(text) => text.len(),
        ColumnExpression::RowHash(names) => names.iter().map(String::len).sum(),
        _ => 0,
    }
}

/// What can be refused before any expression is looked at.
fn check_columns(
    input: &Schema,
    columns: &[(String, ColumnExpression)],
    limits: &GuestLimits,
) -> Result<(), ColumnarError> {
    let check = |what: &'static str, count: usize| {
        ColumnarError::check(|| what.to_owned(), "limits.guest.max_columns", limits.max_columns, count)
    };
    check("input columns of a projection", input.fields().len())?;
    check("output columns of a projection", columns.len())?;
    let hashed = columns.iter().map(|(_, expression)| match expression {
        ColumnExpression::RowHash(names) => names.len(),
        _ => 0,
    });
    check("columns of all row hashes of a projection", hashed.sum())?;
    let literals = columns.iter().map(|(_, expression)| literal_bytes(expression)).fold(0, usize::saturating_add);
    ColumnarError::check(
        || "bytes of the literals of a projection".to_owned(),
        LIVE_BYTES,
        limits.max_live_batch_bytes,
        literals,
    )?;
    let mut names = TextBudget::default();
    columns.iter().try_for_each(|(name, _)| names.add(name.len(), limits))?;
    wire::refuse_duplicates(input, "input")?;
    let mut seen = HashSet::with_capacity(columns.len());
    let twice = columns.iter().find(|(name, _)| !seen.insert(name));
    twice.map_or(Ok(()), |(name, _)| Err(ColumnarError::DuplicateColumn { side: "output", column: shorten(name) }))
}

/// Expressions cut into tokens, by column.
struct AllTokens {
    columns: Vec<Option<Tokens>>,
    filter: Option<Tokens>,
    total: usize,
}

/// Cuts all expressions into tokens; returns them and the largest count.
fn tokenize(
    columns: &[(String, ColumnExpression)],
    filter: Option<&str>,
    limits: &GuestLimits,
) -> Result<(AllTokens, usize), ColumnarError> {
    let mut largest = 0;
    let mut total = 0_usize;
    let mut cut = |text: &str, column: &str| {
        let tokens = syntax::tokenize(text, column, limits)?;
        largest = largest.max(tokens.count());
        total = total.saturating_add(tokens.count());
        let what =
            || format!("tokens of all expressions of a projection (at most {EXPRESSIONS_PER_PROJECTION} × tokens)");
        let value = limits.max_tokens.saturating_mul(EXPRESSIONS_PER_PROJECTION);
        ColumnarError::check(what, "limits.guest.max_tokens", value, total)?;
        Ok(tokens)
    };
    let filter = filter.map(|text| cut(text, FILTER)).transpose()?;
    let columns = columns.iter().map(|(name, expression)| match expression {
        ColumnExpression::Sql(text) => cut(text, name).map(Some),
        _ => Ok(None),
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    // An expression without a token is parsed, too, to be refused by the parser.
    let any = filter.is_some() || columns.iter().any(Option::is_some);
    Ok((AllTokens { columns, filter, total }, if any { largest.max(1) } else { 0 }))
}

fn compile(
    input: &SchemaRef,
    columns: &[(String, ColumnExpression)],
    tokens: AllTokens,
    limits: &GuestLimits,
) -> Result<Projection, ColumnarError> {
    let kept_bytes = kept_bytes(input, columns, tokens.total);
    let filter = tokens.filter.map(|tokens| syntax::parse(tokens, FILTER, limits)).transpose()?;
    let parsed = columns
        .iter()
        .zip(tokens.columns)
        .map(|((name, _), tokens)| tokens.map(|tokens| syntax::parse(tokens, name, limits)).transpose())
        .collect::<Result<Vec<_>, _>>()?;
    let used = used_columns(input, columns, &parsed, filter.as_ref());
    let working = input.project(&used).map_err(|error| ColumnarError::Unexpected {
        what: "choosing the columns of a projection",
        message: shorten(&error.to_string()),
    })?;
    let filter = filter.map(|parsed| compile_filter(&parsed, &working, limits)).transpose()?;
    let mut steps = Vec::with_capacity(columns.len());
    let mut fields = Vec::with_capacity(columns.len());
    for ((name, expression), parsed) in columns.iter().zip(&parsed) {
        let (step, field) = compile_column(name, expression, parsed.as_ref(), &working, limits)?;
        steps.push(step);
        fields.push(field);
    }
    let output = Arc::new(Schema::new(fields));
    let max_bytes = limits.max_live_batch_bytes;
    Ok(Projection(Arc::new(Inner { input: Arc::clone(input), used, filter, steps, output, max_bytes, kept_bytes })))
}

/// Positions of the input columns that anything reads, in order.
fn used_columns(
    input: &Schema,
    columns: &[(String, ColumnExpression)],
    parsed: &[Option<Parsed>],
    filter: Option<&Parsed>,
) -> Vec<usize> {
    let mut names: HashSet<&str> = HashSet::new();
    for (_, expression) in columns {
        match expression {
            ColumnExpression::Input(name) => names.extend([name.as_str()]),
            ColumnExpression::RowHash(hashed) => names.extend(hashed.iter().map(String::as_str)),
            _ => {}
        }
    }
    for parsed in parsed.iter().flatten().chain(filter) {
        names.extend(parsed.names());
    }
    let fields = input.fields().iter().enumerate();
    fields.filter(|(_, field)| names.contains(field.name().as_str())).map(|(index, _)| index).collect()
}

fn compile_filter(parsed: &Parsed, working: &Schema, limits: &GuestLimits) -> Result<Expression, ColumnarError> {
    let filter = Expression::compile(parsed, FILTER, working, limits)?;
    match filter.data_type() {
        DataType::Boolean => Ok(filter),
        other => Err(ColumnarError::TypeMismatch {
            column: FILTER.to_owned(),
            message: format!("a filter is Boolean, not {}", type_text::print(other)),
        }),
    }
}

fn compile_column(
    name: &str,
    expression: &ColumnExpression,
    parsed: Option<&Parsed>,
    working: &Schema,
    limits: &GuestLimits,
) -> Result<(Step, Field), ColumnarError> {
    let constant = |value: Value| {
        let field = value.field(name);
        (Step::Constant(Constant::new(value)), field)
    };
    Ok(match expression {
        ColumnExpression::Input(input) => match working.column_with_name(input) {
            Some((index, field)) => (Step::Input(index), field.clone().with_name(name)),
            None => return Err(ColumnarError::UnknownColumn { column: shorten(name), input: shorten(input) }),
        },
        ColumnExpression::Sql(_) => {
            let Some(parsed) = parsed else {
                return Err(ColumnarError::Unexpected { what: "compiling an expression", message: name.to_owned() });
            };
            let expression = Expression::compile(parsed, name, working, limits)?;
            let field = Field::new(name, expression.data_type().clone(), true);
            (Step::Expression(expression), field)
        }
        ColumnExpression::Text(text) => constant(Value::Text(text.clone())),
        ColumnExpression::TimestampMicros(micros) => constant(Value::TimestampMicros(*micros)),
        ColumnExpression::Uuid(text) => constant(Value::uuid(name, text)?),
        ColumnExpression::RowHash(names) if names.is_empty() => {
            let expected = "a list of at least one input column";
            return Err(ColumnarError::InvalidArgument { column: shorten(name), expected, text: String::new() });
        }
        ColumnExpression::RowHash(names) => {
            (Step::RowHash(RowHash::compile(working, name, names)?), Field::new(name, DataType::Utf8, true))
        }
    })
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

/// Refuses a batch of another shape. Metadata may differ: nothing depends on it.
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
    }
    Ok(())
}
