//! The functions of the language: DataFusion's kernels, with a bound on the text they make, and some of our own.
//!
//! Our own evaluate each argument once. DataFusion plans COALESCE and BETWEEN by writing an argument twice, so that
//! nesting them would double the work with every level.

use std::cell::Cell;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::kernels::cmp::{gt_eq, lt_eq};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{and_kleene, is_not_null};
use arrow::datatypes::DataType;
use datafusion_common::{DataFusionError, Result, ScalarValue};
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion_functions::{core, string, unicode};

use super::trim::Trim;

/// Text made by all steps of one expression together, in multiples of what one step may make.
const STEPS: u64 = 8;

thread_local! {
    static METER: Cell<Reading> = const { Cell::new(Reading { step_limit: 0, made: 0, refused: None }) };
}

#[derive(Clone, Copy)]
struct Reading {
    step_limit: u64,
    made: u64,
    refused: Option<u64>,
}

/// Counts the bytes of text that the functions of one expression make on this thread.
#[derive(Debug)]
pub(super) struct Meter;

impl Meter {
    /// Starts from zero. One step may make `step_limit` bytes, all together eight times as much.
    pub(super) fn start(step_limit: u64) -> Self {
        METER.set(Reading { step_limit, made: 0, refused: None });
        Self
    }

    /// What was asked for when a function was refused.
    pub(super) fn refused(&self) -> Option<u64> {
        METER.get().refused
    }
}

/// Charges the bytes a function is about to make; `exact` is asked only when `bound` is too much.
pub(super) fn charge(bound: u64, exact: impl FnOnce() -> u64) -> Result<()> {
    let mut reading = METER.get();
    let limit = reading.step_limit.min(reading.step_limit.saturating_mul(STEPS).saturating_sub(reading.made));
    let bytes = if bound <= limit { bound } else { exact() };
    if bytes > limit {
        reading.refused = Some(if bytes > reading.step_limit { bytes } else { reading.made.saturating_add(bytes) });
        METER.set(reading);
        return Err(DataFusionError::ResourcesExhausted("text of an expression".to_owned()));
    }
    reading.made = reading.made.saturating_add(bytes);
    METER.set(reading);
    Ok(())
}

/// A function as written, with the number of arguments it takes.
#[derive(Debug, Clone)]
pub(super) struct Function {
    pub(super) udf: Arc<ScalarUDF>,
}

/// `concat(text, …)`: nulls are left out.
pub(super) fn concat() -> Function {
    Function::metered(string::concat(), Growth::Sum)
}

/// `replace(text, from, to)`.
pub(super) fn replace() -> Function {
    Function::metered(string::replace(), Growth::Replace)
}

/// `upper(text)`.
pub(super) fn upper() -> Function {
    Function::metered(string::upper(), Growth::Case)
}

/// `lower(text)`.
pub(super) fn lower() -> Function {
    Function::metered(string::lower(), Growth::Case)
}

/// `trim(text)`, `TRIM(LEADING|TRAILING|BOTH 'x' FROM text)`.
pub(super) fn trim(leading: bool, trailing: bool) -> Function {
    Function::metered(Arc::new(ScalarUDF::new_from_impl(Trim::new(leading, trailing))), Growth::First)
}

/// `substr(text, start [, length])`.
pub(super) fn substr() -> Function {
    Function::metered(unicode::substr(), Growth::First)
}

/// `length(text)`, in characters.
pub(super) fn length() -> Function {
    Function { udf: unicode::character_length() }
}

/// `NULLIF(a, b)`.
pub(super) fn nullif() -> Function {
    Function { udf: core::nullif() }
}

/// `COALESCE(a, …)` of one type.
pub(super) fn coalesce() -> Function {
    Function { udf: Arc::new(ScalarUDF::new_from_impl(Coalesce { signature: any() })) }
}

/// `a BETWEEN low AND high` of one type.
pub(super) fn between() -> Function {
    Function { udf: Arc::new(ScalarUDF::new_from_impl(Between { signature: any() })) }
}

/// Arguments are converted before: any number of any type.
fn any() -> Signature {
    Signature::variadic_any(Volatility::Immutable)
}

impl Function {
    fn metered(inner: Arc<ScalarUDF>, growth: Growth) -> Self {
        Self { udf: Arc::new(ScalarUDF::new_from_impl(Metered { inner, growth })) }
    }
}

/// How the text made follows from the text given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Growth {
    /// All arguments together.
    Sum,
    /// The first argument at most.
    First,
    /// Three times the first argument at most, by Unicode's case mappings.
    Case,
    /// The first argument, and for each match the third instead of the second.
    Replace,
}

/// A function of DataFusion that is charged for its text before it runs.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Metered {
    inner: Arc<ScalarUDF>,
    growth: Growth,
}

impl ScalarUDFImpl for Metered {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<arrow::datatypes::FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = rows(&args.args, args.number_rows);
        let first = args.args.first().map_or(0, |first| text_bytes(first, rows));
        match self.growth {
            Growth::First => charge(first, || first)?,
            Growth::Case => charge(first.saturating_mul(3), || if all_ascii(&args.args) { first } else { first * 3 })?,
            Growth::Sum => {
                let sum = args.args.iter().map(|value| text_bytes(value, rows)).fold(0, u64::saturating_add);
                charge(sum, || sum)?;
            }
            Growth::Replace => {
                let longest = args.args.get(2).map_or(0, longest_text);
                let bound = first.saturating_mul(longest.saturating_add(1));
                charge(bound, || replaced_bytes(&args.args, rows))?;
            }
        }
        self.inner.invoke_with_args(args)
    }
}

/// Evaluates by arrays of one length; a scalar where every argument is one.
pub(super) fn by_rows(
    args: ScalarFunctionArgs,
    evaluate: impl FnOnce(&[ArrayRef]) -> Result<ArrayRef>,
) -> Result<ColumnarValue> {
    let rows = rows(&args.args, args.number_rows);
    let all_scalar = args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
    for scalar in args.args.iter().filter(|value| matches!(value, ColumnarValue::Scalar(_))) {
        // It is about to stand in every row.
        let bytes = text_bytes(scalar, rows);
        charge(bytes, || bytes)?;
    }
    let arrays = args.args.into_iter().map(|value| value.into_array(rows)).collect::<Result<Vec<_>>>()?;
    let result = evaluate(&arrays)?;
    if all_scalar {
        return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
    }
    Ok(ColumnarValue::Array(result))
}

/// Rows of the result: one if every argument is a scalar.
fn rows(values: &[ColumnarValue], number_rows: usize) -> usize {
    if values.iter().all(|value| matches!(value, ColumnarValue::Scalar(_))) { 1 } else { number_rows }
}

/// Bytes of text that a value is in `rows` rows.
fn text_bytes(value: &ColumnarValue, rows: usize) -> u64 {
    let bytes = match value {
        ColumnarValue::Scalar(scalar) => scalar_text(scalar).len().saturating_mul(rows),
        ColumnarValue::Array(array) => match array.data_type() {
            DataType::Utf8 => {
                let offsets = array.as_string::<i32>().offsets();
                offsets.last().zip(offsets.first()).map_or(0, |(last, first)| (last - first) as usize)
            }
            DataType::LargeUtf8 => {
                let offsets = array.as_string::<i64>().offsets();
                offsets.last().zip(offsets.first()).map_or(0, |(last, first)| (last - first) as usize)
            }
            _ => 0,
        },
    };
    bytes as u64
}

fn scalar_text(scalar: &ScalarValue) -> &str {
    scalar.try_as_str().flatten().unwrap_or_default()
}

fn all_ascii(values: &[ColumnarValue]) -> bool {
    values.iter().all(|value| match value {
        ColumnarValue::Scalar(scalar) => scalar_text(scalar).is_ascii(),
        ColumnarValue::Array(array) => match array.data_type() {
            DataType::Utf8 => array.as_string::<i32>().is_ascii(),
            DataType::LargeUtf8 => array.as_string::<i64>().is_ascii(),
            _ => false,
        },
    })
}

fn longest_text(value: &ColumnarValue) -> u64 {
    let longest = match value {
        ColumnarValue::Scalar(scalar) => scalar_text(scalar).len(),
        ColumnarValue::Array(array) => (0..array.len()).map(|row| row_text(value, row).len()).max().unwrap_or(0),
    };
    longest as u64
}

/// The text of one row, empty for null.
fn row_text(value: &ColumnarValue, row: usize) -> &str {
    match value {
        ColumnarValue::Scalar(scalar) => scalar_text(scalar),
        ColumnarValue::Array(array) if array.is_null(row) => "",
        ColumnarValue::Array(array) => match array.data_type() {
            DataType::Utf8 => array.as_string::<i32>().value(row),
            DataType::LargeUtf8 => array.as_string::<i64>().value(row),
            _ => "",
        },
    }
}

/// What `replace` makes, by counting the matches.
fn replaced_bytes(values: &[ColumnarValue], rows: usize) -> u64 {
    let [text, from, to] = values else { return u64::MAX };
    let row_bytes = |row: usize| {
        let (text, from, to) = (row_text(text, row), row_text(from, row), row_text(to, row));
        let matches = if from.is_empty() { 0 } else { text.matches(from).count() as u64 };
        (text.len() as u64)
            .saturating_sub(matches.saturating_mul(from.len() as u64))
            .saturating_add(matches.saturating_mul(to.len() as u64))
    };
    (0..rows).map(row_bytes).fold(0, u64::saturating_add)
}

/// The first argument that is not null. All arguments are evaluated.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Coalesce {
    signature: Signature,
}

impl ScalarUDFImpl for Coalesce {
    fn name(&self) -> &'static str {
        "coalesce"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        arg_types.first().cloned().ok_or_else(|| DataFusionError::Plan("coalesce has no argument".to_owned()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut result: Option<ColumnarValue> = None;
        for value in args.args {
            result = Some(match result {
                None => value,
                Some(ColumnarValue::Scalar(so_far)) if so_far.is_null() => value,
                Some(ColumnarValue::Scalar(so_far)) => ColumnarValue::Scalar(so_far),
                Some(ColumnarValue::Array(so_far)) if so_far.logical_null_count() == 0 => ColumnarValue::Array(so_far),
                Some(ColumnarValue::Array(so_far)) => {
                    let present = is_not_null(&so_far)?;
                    ColumnarValue::Array(match value {
                        ColumnarValue::Array(value) => zip(&present, &so_far, &value)?,
                        ColumnarValue::Scalar(value) => zip(&present, &so_far, &value.to_scalar()?)?,
                    })
                }
            });
        }
        result.ok_or_else(|| DataFusionError::Execution("coalesce has no argument".to_owned()))
    }
}

/// Between two bounds, both included.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Between {
    signature: Signature,
}

impl ScalarUDFImpl for Between {
    fn name(&self) -> &'static str {
        "between"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        by_rows(args, |arrays| {
            let [value, low, high] = arrays else {
                return Err(DataFusionError::Execution("between takes three arguments".to_owned()));
            };
            let result: BooleanArray = and_kleene(&gt_eq(value, low)?, &lt_eq(value, high)?)?;
            Ok(Arc::new(result))
        })
    }
}
