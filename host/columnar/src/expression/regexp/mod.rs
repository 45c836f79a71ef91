//! `regexp_like`, `regexp_substr` and `regexp_replace`: patterns that are constant, in time that grows with the text.

#[cfg(test)]
mod fuzz;
mod pattern;
#[cfg(test)]
mod tests;

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, GenericStringArray, GenericStringBuilder, OffsetSizeTrait};
use arrow::datatypes::DataType;
use datafusion_common::{DataFusionError, Result};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use regex::{Captures, Regex, RegexBuilder};

use super::functions::{self, Function};
use super::step;

/// Bytes that a compiled pattern may take, and as many for what it remembers while it searches.
const MAX_COMPILED_BYTES: usize = 256 << 10;
/// What a pattern is taken to keep, in bytes.
pub(crate) const PATTERN_BYTES: u64 = 2 * MAX_COMPILED_BYTES as u64;
/// What compiling a pattern costs, in units of work.
pub(crate) const PATTERN_UNITS: u64 = 10_000_000;
/// Patterns of one expression: they are compiled before anything else is known of it.
pub(super) const MAX_PATTERNS: u64 = 16;
/// Positions of a pattern that cost as much as looking at the text once.
const POSITIONS_PER_PASS: u64 = 16;
/// Of a search for a further match, this part of the text behind is taken to be looked at.
const SEARCHED_PART: u64 = 8;

/// `regexp_like(text, 'pattern')`.
pub(super) fn like(pattern: &str) -> std::result::Result<Function, String> {
    Ok(function(Pattern::compile(pattern)?, Kernel::Like))
}

/// `regexp_substr(text, 'pattern')`.
pub(super) fn substr(pattern: &str) -> std::result::Result<Function, String> {
    Ok(function(Pattern::compile(pattern)?, Kernel::Substr))
}

/// `regexp_replace(text, 'pattern', 'replacement' [, 'g'])`.
pub(super) fn replace(pattern: &str, replacement: &str, flags: &str) -> std::result::Result<Function, String> {
    let pattern = Pattern::compile(pattern)?;
    let every = match flags {
        "" => false,
        "g" => true,
        _ => return Err("the only flag is `g`".to_owned()),
    };
    let parts = parts(replacement, pattern.groups)?;
    Ok(function(pattern, Kernel::Replace { parts, every }))
}

fn function(pattern: Pattern, kernel: Kernel) -> Function {
    let signature = Signature::any(1, Volatility::Immutable);
    Function { udf: Arc::new(ScalarUDF::new_from_impl(Regexp { pattern, kernel, signature })) }
}

/// A compiled pattern.
#[derive(Debug)]
struct Pattern {
    text: String,
    regex: Regex,
    groups: usize,
    /// How often a search looks at a text.
    passes: u64,
}

impl Pattern {
    fn compile(text: &str) -> std::result::Result<Self, String> {
        let translated = pattern::translate(text)?;
        let regex = RegexBuilder::new(&translated.text)
            .size_limit(MAX_COMPILED_BYTES)
            .dfa_size_limit(MAX_COMPILED_BYTES)
            .build()
            .map_err(|_| "the pattern is too large".to_owned())?;
        let passes = 1 + translated.positions / POSITIONS_PER_PASS;
        Ok(Self { text: text.to_owned(), regex, groups: translated.groups, passes })
    }

    fn matches<'t>(&self, texts: impl Iterator<Item = Option<&'t str>>) -> BooleanArray {
        texts.map(|text| text.map(|text| self.regex.is_match(text))).collect()
    }

    /// Before a search in so many bytes.
    fn charge(&self, bytes: u64) -> Result<()> {
        step::charge(bytes.saturating_mul(self.passes))
    }
}

/// A regular expression of the language on its own: what `regexp_like` asks, outside of an expression.
#[derive(Debug)]
pub struct TextPattern(Pattern);

impl TextPattern {
    /// Compiles a pattern, in bounded memory.
    ///
    /// # Errors
    /// What of the pattern is not in the language, or that it is too large.
    pub fn compile(text: &str) -> std::result::Result<Self, String> {
        Pattern::compile(text).map(Self)
    }

    /// Whether values of this type can be searched.
    #[must_use]
    pub fn takes(data_type: &DataType) -> bool {
        matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
    }

    /// Whether each text holds a match, null where it is null; none: the values are not texts.
    #[must_use]
    pub fn matches(&self, texts: &dyn Array) -> Option<BooleanArray> {
        match texts.data_type() {
            DataType::Utf8 => Some(self.0.matches(texts.as_string::<i32>().iter())),
            DataType::LargeUtf8 => Some(self.0.matches(texts.as_string::<i64>().iter())),
            DataType::Utf8View => Some(self.0.matches(texts.as_string_view().iter())),
            _ => None,
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Kernel {
    Like,
    Substr,
    Replace {
        parts: Vec<Part>,
        /// Every match, not only the first one.
        every: bool,
    },
}

/// A piece of a replacement.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Part {
    Text(String),
    /// What a group captured; 0: the whole match.
    Group(usize),
}

/// Cuts a replacement at its backslashes.
fn parts(replacement: &str, groups: usize) -> std::result::Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut characters = replacement.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            text.push(character);
            continue;
        }
        let group = match characters.next() {
            Some('\\') => {
                text.push('\\');
                continue;
            }
            Some('&') => 0,
            Some(digit @ '1'..='9') => digit as usize - '0' as usize,
            _ => return Err("in a replacement a backslash stands before 1 to 9, `&` or a backslash".to_owned()),
        };
        if group > groups {
            return Err(format!("the replacement names the group {group} of a pattern with {groups}"));
        }
        parts.extend((!text.is_empty()).then(|| Part::Text(std::mem::take(&mut text))));
        parts.push(Part::Group(group));
    }
    parts.extend((!text.is_empty()).then_some(Part::Text(text)));
    Ok(parts)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Regexp {
    pattern: Pattern,
    kernel: Kernel,
    signature: Signature,
}

impl Regexp {
    fn array<O: OffsetSizeTrait>(&self, texts: &GenericStringArray<O>) -> Result<ArrayRef> {
        let bytes = texts.value_offsets().last().zip(texts.value_offsets().first());
        self.pattern.charge(bytes.map_or(0, |(last, first)| (last.as_usize() - first.as_usize()) as u64))?;
        Ok(match &self.kernel {
            Kernel::Like => Arc::new(self.pattern.matches(texts.iter())),
            Kernel::Substr => {
                let found = texts.iter().map(|text| self.pattern.regex.find(text?).map(|found| found.as_str()));
                let found: Vec<_> = found.collect();
                let bytes = found.iter().flatten().map(|found| found.len() as u64).sum();
                functions::charge(bytes, || bytes)?;
                Arc::new(GenericStringArray::<O>::from(found))
            }
            Kernel::Replace { parts, every } => {
                let mut made = GenericStringBuilder::<O>::with_capacity(texts.len(), 0);
                let mut replaced = String::new();
                for text in texts {
                    let Some(text) = text else {
                        made.append_null();
                        continue;
                    };
                    self.replace(text, parts, *every, &mut replaced)?;
                    made.append_value(&replaced);
                }
                Arc::new(made.finish())
            }
        })
    }

    /// Writes a text with its matches replaced.
    fn replace(&self, text: &str, parts: &[Part], every: bool, replaced: &mut String) -> Result<()> {
        replaced.clear();
        let mut end = 0;
        for captures in self.pattern.regex.captures_iter(text).take(if every { usize::MAX } else { 1 }) {
            let Some(found) = captures.get(0) else { break };
            append(&text[end..found.start()], replaced)?;
            for part in parts {
                append(part.text(&captures), replaced)?;
            }
            end = found.end();
            // A further search may look at all that is left before it finds a match that is near.
            self.pattern.charge((text.len() - end) as u64 / SEARCHED_PART)?;
        }
        append(&text[end..], replaced)
    }
}

impl Part {
    fn text<'t>(&'t self, captures: &Captures<'t>) -> &'t str {
        match self {
            Self::Text(text) => text,
            Self::Group(group) => captures.get(*group).map_or("", |found| found.as_str()),
        }
    }
}

fn append(text: &str, made: &mut String) -> Result<()> {
    let bytes = text.len() as u64;
    functions::charge(bytes, || bytes)?;
    made.push_str(text);
    Ok(())
}

impl ScalarUDFImpl for Regexp {
    fn name(&self) -> &'static str {
        match self.kernel {
            Kernel::Like => "regexp_like",
            Kernel::Substr => "regexp_substr",
            Kernel::Replace { .. } => "regexp_replace",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        match (&self.kernel, arg_types.first()) {
            (Kernel::Like, _) => Ok(DataType::Boolean),
            (_, Some(text)) => Ok(text.clone()),
            (_, None) => Err(wrong()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        functions::by_rows(args, |arrays| match arrays {
            [texts] if texts.data_type() == &DataType::LargeUtf8 => self.array(texts.as_string::<i64>()),
            [texts] => self.array(texts.as_string_opt::<i32>().ok_or_else(wrong)?),
            _ => Err(wrong()),
        })
    }
}

fn wrong() -> DataFusionError {
    DataFusionError::Plan("a regular expression is searched in a text".to_owned())
}
