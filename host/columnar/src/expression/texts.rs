//! Functions of text that count characters, as PostgreSQL has them, and `sha256`.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, GenericStringArray, GenericStringBuilder, Int32Array, Int64Array, OffsetSizeTrait,
    StringBuilder,
};
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::{DataFusionError, Result};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use sha2::{Digest, Sha256};

use super::functions::{self, Function};

/// Characters of a hash in hex.
const HEX_LEN: usize = 64;

/// `strpos(text, part)`: where the part begins, from 1; 0 where it is not.
pub(super) fn strpos() -> Function {
    Text::function(Kernel::Strpos)
}

/// `left(text, count)`: so many characters from the beginning; all but so many at the end where the count is negative.
pub(super) fn left() -> Function {
    Text::function(Kernel::Left)
}

/// `right(text, count)`: so many characters from the end; all but so many at the beginning where the count is negative.
pub(super) fn right() -> Function {
    Text::function(Kernel::Right)
}

/// `split_part(text, delimiter, number)`: the part of this number, from 1, or from the end where it is negative.
pub(super) fn split_part() -> Function {
    Text::function(Kernel::SplitPart)
}

/// `sha256(value)` of the UTF-8 bytes of a text or of binary, in lower-case hex.
pub(super) fn sha256() -> Function {
    Text::function(Kernel::Sha256)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kernel {
    Strpos,
    Left,
    Right,
    SplitPart,
    Sha256,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Text {
    kernel: Kernel,
    signature: Signature,
}

impl Text {
    fn function(kernel: Kernel) -> Function {
        let text = Self { kernel, signature: Signature::variadic_any(Volatility::Immutable) };
        Function { udf: Arc::new(ScalarUDF::new_from_impl(text)) }
    }

    fn cut<O: OffsetSizeTrait>(&self, arrays: &[ArrayRef]) -> Result<ArrayRef> {
        match (self.kernel, arrays) {
            (Kernel::Strpos, [text, part]) => {
                let (texts, parts) = (strings::<O>(text)?, strings::<O>(part)?);
                let positions = texts.iter().zip(parts.iter()).map(|(text, part)| Some(position(text?, part?)));
                // As `length`: 32 bits hold the characters of every text with offsets of 32 bits.
                Ok(if O::IS_LARGE {
                    Arc::new(positions.collect::<Int64Array>())
                } else {
                    Arc::new(positions.map(|position| position.map(|at| at as i32)).collect::<Int32Array>())
                })
            }
            (Kernel::SplitPart, [text, delimiter, number]) => {
                let delimiters = strings::<O>(delimiter)?;
                shorter(strings::<O>(text)?, number, |row, text, number| {
                    if delimiters.is_null(row) { Ok(None) } else { part(text, delimiters.value(row), number).map(Some) }
                })
            }
            (Kernel::Left, [text, count]) => shorter(strings::<O>(text)?, count, |_, text, count| {
                Ok(Some(&text[..if count < 0 { from_end(text, count) } else { from_start(text, count) }]))
            }),
            (Kernel::Right, [text, count]) => shorter(strings::<O>(text)?, count, |_, text, count| {
                Ok(Some(&text[if count < 0 { from_start(text, count) } else { from_end(text, count) }..]))
            }),
            _ => Err(wrong()),
        }
    }
}

impl ScalarUDFImpl for Text {
    fn name(&self) -> &'static str {
        match self.kernel {
            Kernel::Strpos => "strpos",
            Kernel::Left => "left",
            Kernel::Right => "right",
            Kernel::SplitPart => "split_part",
            Kernel::Sha256 => "sha256",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let first = arg_types.first().ok_or_else(wrong)?;
        Ok(match (self.kernel, first) {
            (Kernel::Sha256, _) => DataType::Utf8,
            (Kernel::Strpos, DataType::LargeUtf8) => DataType::Int64,
            (Kernel::Strpos, _) => DataType::Int32,
            _ => first.clone(),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        functions::by_rows(args, |arrays| match (self.kernel, arrays) {
            (Kernel::Sha256, [values]) => hashes(values),
            (_, [first, ..]) if first.data_type() == &DataType::LargeUtf8 => self.cut::<i64>(arrays),
            _ => self.cut::<i32>(arrays),
        })
    }
}

fn wrong() -> DataFusionError {
    DataFusionError::Plan("the arguments have other types".to_owned())
}

fn strings<O: OffsetSizeTrait>(array: &ArrayRef) -> Result<&GenericStringArray<O>> {
    array.as_string_opt::<O>().ok_or_else(wrong)
}

/// Texts that are parts of others, each by its row and an integer.
fn shorter<'t, O: OffsetSizeTrait>(
    texts: &'t GenericStringArray<O>,
    counts: &ArrayRef,
    cut: impl Fn(usize, &'t str, i64) -> Result<Option<&'t str>>,
) -> Result<ArrayRef> {
    let counts = counts.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?;
    let bytes = texts.value_offsets().last().zip(texts.value_offsets().first());
    let bytes = bytes.map_or(0, |(last, first)| last.as_usize() - first.as_usize());
    functions::charge(bytes as u64, || bytes as u64)?;
    let mut made = GenericStringBuilder::<O>::with_capacity(texts.len(), bytes);
    for (row, (text, count)) in texts.iter().zip(counts).enumerate() {
        made.append_option(match text.zip(count) {
            Some((text, count)) => cut(row, text, count)?,
            None => None,
        });
    }
    Ok(Arc::new(made.finish()))
}

/// Where a part begins, in characters from 1; 0 where it is not.
fn position(text: &str, part: &str) -> i64 {
    text.find(part).map_or(0, |at| text[..at].chars().count() as i64 + 1)
}

/// The byte behind the first `count` characters, whatever the sign of the count.
fn from_start(text: &str, count: i64) -> usize {
    let count = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    text.char_indices().nth(count).map_or(text.len(), |(at, _)| at)
}

/// The byte before the last `count` characters, whatever the sign of the count.
fn from_end(text: &str, count: i64) -> usize {
    match usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX).checked_sub(1) {
        None => text.len(),
        Some(before) => text.char_indices().rev().nth(before).map_or(0, |(at, _)| at),
    }
}

/// The part of a number. Delimiters are found from the beginning, also where parts are counted from the end.
fn part<'t>(text: &'t str, delimiter: &str, number: i64) -> Result<&'t str> {
    if number == 0 {
        return Err(DataFusionError::Execution("split_part counts its parts from 1, or from -1 at the end".to_owned()));
    }
    if delimiter.is_empty() {
        return Ok(if number == 1 || number == -1 { text } else { "" });
    }
    let place = usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX);
    let before = match number {
        1.. => Some(place - 1),
        _ => text.split(delimiter).count().checked_sub(place),
    };
    Ok(before.and_then(|before| text.split(delimiter).nth(before)).unwrap_or_default())
}

fn hashes(values: &ArrayRef) -> Result<ArrayRef> {
    let rows = values.len();
    let bytes = (rows * HEX_LEN) as u64;
    functions::charge(bytes, || bytes)?;
    let mut made = StringBuilder::with_capacity(rows, rows * HEX_LEN);
    let mut hex = [0; HEX_LEN];
    let mut append = |value: Option<&[u8]>| -> Result<()> {
        let Some(value) = value else {
            made.append_null();
            return Ok(());
        };
        let encoded = hex::encode_to_slice(Sha256::digest(value), &mut hex);
        encoded.map_err(|error| DataFusionError::Internal(error.to_string()))?;
        made.append_value(std::str::from_utf8(&hex).map_err(|error| DataFusionError::Internal(error.to_string()))?);
        Ok(())
    };
    match values.data_type() {
        DataType::Utf8 => strings::<i32>(values)?.iter().try_for_each(|value| append(value.map(str::as_bytes)))?,
        DataType::LargeUtf8 => strings::<i64>(values)?.iter().try_for_each(|value| append(value.map(str::as_bytes)))?,
        DataType::Binary => values.as_binary::<i32>().iter().try_for_each(append)?,
        DataType::LargeBinary => values.as_binary::<i64>().iter().try_for_each(append)?,
        DataType::FixedSizeBinary(_) => values.as_fixed_size_binary().iter().try_for_each(append)?,
        _ => return Err(wrong()),
    }
    Ok(Arc::new(made.finish()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn delimiters_are_found_from_the_beginning() {
        let parts = |number| part("aaa", "aa", number).unwrap();
        assert_eq!([parts(1), parts(2), parts(3), parts(-1), parts(-2), parts(-3)], ["", "a", "", "a", "", ""]);
        assert_eq!(part("a", ",", i64::MIN).unwrap(), "");
        assert!(part("a", ",", 0).is_err());
    }

    proptest! {
        #[test]
        fn left_and_right_are_the_two_sides(text in "[aé🐎]{0,6}", count in -8_i64..8) {
            let characters: Vec<char> = text.chars().collect();
            let length = characters.len() as i64;
            let cut = if count < 0 { (length + count).max(0) } else { count.min(length) };
            let left: String = characters[..cut as usize].iter().collect();
            let right: String = characters[(length - cut) as usize..].iter().collect();
            let found = if count < 0 { from_end(&text, count) } else { from_start(&text, count) };
            prop_assert_eq!(&text[..found], left);
            let found = if count < 0 { from_start(&text, count) } else { from_end(&text, count) };
            prop_assert_eq!(&text[found..], right);
        }
    }
}
