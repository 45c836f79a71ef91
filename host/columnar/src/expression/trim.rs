//! `trim`, in time that grows with text and characters: DataFusion compares every character of the text with every one that
//! is to go.

use std::sync::Arc;

use arrow::array::{Array, AsArray, GenericStringArray, GenericStringBuilder, OffsetSizeTrait};
use arrow::datatypes::DataType;
use datafusion_common::{DataFusionError, Result, ScalarValue};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

/// Characters off the ends of a text: spaces, or those of a second argument.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Trim {
    leading: bool,
    trailing: bool,
    signature: Signature,
}

impl Trim {
    pub(super) fn new(leading: bool, trailing: bool) -> Self {
        Self { leading, trailing, signature: Signature::variadic_any(Volatility::Immutable) }
    }

    fn cut<'t>(&self, text: &'t str, characters: &Characters) -> &'t str {
        let mut text = text;
        if self.leading {
            text = text.trim_start_matches(|character| characters.has(character));
        }
        if self.trailing {
            text = text.trim_end_matches(|character| characters.has(character));
        }
        text
    }

    fn column<O: OffsetSizeTrait>(&self, texts: &GenericStringArray<O>, given: &Given<'_, O>) -> Result<ColumnarValue> {
        let bytes = texts.value_offsets().last().zip(texts.value_offsets().first());
        let bytes = bytes.map_or(0, |(last, first)| last.as_usize() - first.as_usize());
        let mut trimmed = GenericStringBuilder::<O>::with_capacity(texts.len(), bytes);
        for row in 0..texts.len() {
            let text = texts.is_valid(row).then(|| texts.value(row));
            trimmed.append_option(match (text, given) {
                (None, _) => None,
                (Some(text), Given::One(characters)) => characters.as_ref().map(|set| self.cut(text, set)),
                (Some(text), Given::Each(sets)) => {
                    let set = sets.is_valid(row).then(|| Characters::new(sets.value(row)));
                    set.map(|set| self.cut(text, &set))
                }
            });
        }
        Ok(ColumnarValue::Array(Arc::new(trimmed.finish())))
    }

    fn evaluate<O: OffsetSizeTrait>(
        &self,
        text: &ColumnarValue,
        characters: Option<&ColumnarValue>,
        rows: usize,
    ) -> Result<ColumnarValue> {
        let wrong = || DataFusionError::Plan("trim takes texts of one type".to_owned());
        let given = match characters {
            None => Given::One(Some(Characters::new(" "))),
            Some(ColumnarValue::Scalar(one)) => Given::One(one.try_as_str().ok_or_else(wrong)?.map(Characters::new)),
            Some(ColumnarValue::Array(each)) => Given::Each(each.as_string_opt::<O>().ok_or_else(wrong)?),
        };
        let array = text.to_array(rows)?;
        self.column(array.as_string_opt::<O>().ok_or_else(wrong)?, &given)
    }
}

/// The characters to go.
enum Given<'a, O: OffsetSizeTrait> {
    /// The same in every row; none: NULL.
    One(Option<Characters>),
    /// Those of each row.
    Each(&'a GenericStringArray<O>),
}

/// A set of characters.
struct Characters {
    ascii: u128,
    /// The others, in order.
    others: Vec<char>,
}

impl Characters {
    fn new(text: &str) -> Self {
        let mut ascii = 0;
        let mut others = Vec::new();
        for character in text.chars() {
            if character.is_ascii() { ascii |= 1_u128 << u32::from(character) } else { others.push(character) }
        }
        others.sort_unstable();
        others.dedup();
        Self { ascii, others }
    }

    fn has(&self, character: char) -> bool {
        if character.is_ascii() {
            self.ascii & (1_u128 << u32::from(character)) != 0
        } else {
            self.others.binary_search(&character).is_ok()
        }
    }
}

impl ScalarUDFImpl for Trim {
    fn name(&self) -> &'static str {
        "trim"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        arg_types.first().cloned().ok_or_else(|| DataFusionError::Plan("trim has no argument".to_owned()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some((text, characters)) = args.args.split_first() else {
            return Err(DataFusionError::Plan("trim has no argument".to_owned()));
        };
        let all_scalar = args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let rows = if all_scalar { 1 } else { args.number_rows };
        let trimmed = match text.data_type() {
            DataType::LargeUtf8 => self.evaluate::<i64>(text, characters.first(), rows)?,
            _ => self.evaluate::<i32>(text, characters.first(), rows)?,
        };
        match trimmed {
            ColumnarValue::Array(array) if all_scalar => {
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
            }
            other => Ok(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The witness is the standard library's comparison with every character.
        #[test]
        fn every_character_of_the_set_goes(text in "[ab é🦀]{0,10}", set in "[a é🦀]{0,4}") {
            let characters: Vec<char> = set.chars().collect();
            let cut = |leading, trailing| Trim::new(leading, trailing).cut(&text, &Characters::new(&set));
            prop_assert_eq!(cut(true, true), text.trim_matches(&characters[..]));
            prop_assert_eq!(cut(true, false), text.trim_start_matches(&characters[..]));
            prop_assert_eq!(cut(false, true), text.trim_end_matches(&characters[..]));
        }
    }
}
