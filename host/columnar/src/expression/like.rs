//! LIKE, in time that grows with the text: Arrow makes a regular expression of a pattern, and one of four thousand `_` takes
//! seconds for each text.
//!
//! A pattern is cut at its `%`. The first part stands at the text's beginning, the last at its end, and each part between is
//! taken where it is found first: a later place could only leave less text for what follows.

use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, GenericStringArray, OffsetSizeTrait};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;
use datafusion_common::{DataFusionError, Result, ScalarValue};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use memchr::memmem::Finder;

use super::functions::Function;
use super::step;

/// Work that is counted together: counting costs, too.
const COUNTED_UNITS: u64 = 65_536;

/// `text [NOT] LIKE 'pattern'`.
pub(super) fn like(pattern: &str, negated: bool) -> Function {
    let signature = Signature::any(1, Volatility::Immutable);
    Function { udf: Arc::new(ScalarUDF::new_from_impl(Like { pattern: Pattern::new(pattern), negated, signature })) }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Like {
    pattern: Pattern,
    negated: bool,
    signature: Signature,
}

impl ScalarUDFImpl for Like {
    fn name(&self) -> &'static str {
        "like"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut work = Work(0);
        let value = match args.args.first() {
            Some(ColumnarValue::Scalar(text)) => {
                let matched = text.try_as_str().flatten().map(|text| self.pattern.matches(text, &mut work));
                let matched = matched.transpose()?.map(|matched| matched != self.negated);
                ColumnarValue::Scalar(ScalarValue::Boolean(matched))
            }
            Some(ColumnarValue::Array(array)) => ColumnarValue::Array(Arc::new(match array.data_type() {
                DataType::LargeUtf8 => self.array(array.as_string::<i64>(), &mut work)?,
                _ => {
                    let texts = array.as_string_opt::<i32>();
                    self.array(texts.ok_or_else(|| DataFusionError::Plan("LIKE takes text".to_owned()))?, &mut work)?
                }
            })),
            None => return Err(DataFusionError::Plan("LIKE takes a text".to_owned())),
        };
        work.settle()?;
        Ok(value)
    }
}

impl Like {
    fn array<O: OffsetSizeTrait>(&self, texts: &GenericStringArray<O>, work: &mut Work) -> Result<BooleanArray> {
        let mut matched = Vec::with_capacity(texts.len());
        for row in 0..texts.len() {
            matched.push(texts.is_valid(row) && self.pattern.matches(texts.value(row), work)? != self.negated);
        }
        Ok(BooleanArray::new(BooleanBuffer::from(matched), texts.nulls().cloned()))
    }
}

/// Work of this kernel that is not counted yet. Texts themselves are counted by the step around it; here it is only what is
/// looked at more than once.
struct Work(u64);

impl Work {
    fn add(&mut self, bytes: usize) -> Result<()> {
        self.0 += bytes as u64;
        if self.0 < COUNTED_UNITS { Ok(()) } else { self.settle() }
    }

    fn settle(&mut self) -> Result<()> {
        step::charge(std::mem::take(&mut self.0))
    }
}

/// A pattern, cut at its `%`.
#[derive(Debug)]
struct Pattern {
    text: String,
    /// At least one; neighbours have a `%` between them.
    parts: Vec<Part>,
}

/// What stands between two `%`.
#[derive(Debug, Default)]
struct Part {
    pieces: Vec<Piece>,
    /// Finds the first text among the pieces.
    finder: Option<Finder<'static>>,
    characters: usize,
}

#[derive(Debug)]
enum Piece {
    /// Exactly this.
    Text(String),
    /// So many characters, whichever.
    Any(usize),
}

impl Pattern {
    fn new(text: &str) -> Self {
        let mut parts = vec![Part::default()];
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            let Some(part) = parts.last_mut() else { break };
            match character {
                '%' => parts.push(Part::default()),
                '_' => part.any(),
                // An escaped character stands for itself; a backslash at the end does, too.
                '\\' => part.exactly(characters.next().unwrap_or('\\')),
                other => part.exactly(other),
            }
        }
        parts.iter_mut().for_each(Part::finish);
        Self { text: text.to_owned(), parts }
    }

    fn matches(&self, text: &str, work: &mut Work) -> Result<bool> {
        let bytes = text.as_bytes();
        let (first, rest) = match self.parts.split_first() {
            Some((only, [])) => return Ok(only.at(bytes, 0, work)? == Some(bytes.len())),
            Some(split) => split,
            None => return Ok(bytes.is_empty()),
        };
        let Some(mut from) = first.at(bytes, 0, work)? else { return Ok(false) };
        let Some((last, middle)) = rest.split_last() else { return Ok(true) };
        for part in middle {
            match part.find(bytes, from, work)? {
                Some(found) => from = found.end,
                None => return Ok(false),
            }
        }
        // A part has a fixed number of characters, so that there is one place for the last.
        let Some(start) = back(bytes, last.characters).filter(|start| *start >= from) else { return Ok(false) };
        work.add(bytes.len() - start)?;
        Ok(last.at(bytes, start, work)? == Some(bytes.len()))
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

impl Part {
    fn exactly(&mut self, character: char) {
        self.characters += 1;
        match self.pieces.last_mut() {
            Some(Piece::Text(text)) => text.push(character),
            _ => self.pieces.push(Piece::Text(character.to_string())),
        }
    }

    fn any(&mut self) {
        self.characters += 1;
        match self.pieces.last_mut() {
            Some(Piece::Any(count)) => *count += 1,
            _ => self.pieces.push(Piece::Any(1)),
        }
    }

    fn finish(&mut self) {
        self.finder = self.pieces.iter().find_map(|piece| match piece {
            Piece::Text(text) => Some(Finder::new(text.as_bytes()).into_owned()),
            Piece::Any(_) => None,
        });
    }

    /// Where the part ends if it stands at `start`.
    fn at(&self, text: &[u8], start: usize, work: &mut Work) -> Result<Option<usize>> {
        matched(&self.pieces, text, start, work)
    }

    /// The first place at or after `from` where the part stands.
    fn find(&self, text: &[u8], from: usize, work: &mut Work) -> Result<Option<Range<usize>>> {
        // Any characters at the front only have to be there: the rest is looked for behind them.
        let (skipped, rest) = match self.pieces.split_first() {
            Some((Piece::Any(count), rest)) => (*count, rest),
            _ => (0, self.pieces.as_slice()),
        };
        let Some(mut from) = forward(text, from, skipped) else { return Ok(None) };
        let Some(finder) = self.finder.as_ref().filter(|_| !rest.is_empty()) else { return Ok(Some(from..from)) };
        while let Some(found) = text.get(from..).and_then(|text| finder.find(text)) {
            let start = from + found;
            if let Some(end) = matched(rest, text, start, work)? {
                return Ok(Some(start..end));
            }
            // The text that is looked for begins with a whole character, which ends behind this byte.
            from = start + 1;
        }
        Ok(None)
    }
}

/// Where the pieces end if they stand at `start`.
fn matched(pieces: &[Piece], text: &[u8], start: usize, work: &mut Work) -> Result<Option<usize>> {
    let mut at = start;
    for piece in pieces {
        let end = match piece {
            Piece::Text(exactly) => {
                work.add(1)?;
                text[at..].starts_with(exactly.as_bytes()).then_some(at + exactly.len())
            }
            Piece::Any(count) => forward(text, at, *count),
        };
        let Some(end) = end else { return Ok(None) };
        work.add(end - at)?;
        at = end;
    }
    Ok(Some(at))
}

/// The place so many characters further; none if there are fewer. `at` lies between characters.
fn forward(text: &[u8], at: usize, characters: usize) -> Option<usize> {
    let mut at = at;
    for _ in 0..characters {
        let first = *text.get(at)?;
        at += match first {
            0xf0.. => 4,
            0xe0.. => 3,
            0xc0.. => 2,
            _ => 1,
        };
    }
    (at <= text.len()).then_some(at)
}

/// The place so many characters before the end; none if there are fewer.
fn back(text: &[u8], characters: usize) -> Option<usize> {
    let mut at = text.len();
    for _ in 0..characters {
        at = text[..at].iter().rposition(|byte| byte & 0xc0 != 0x80)?;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;
    use proptest::prelude::*;

    use super::*;
    use crate::work::Meter;

    fn matches(text: &str, pattern: &str) -> bool {
        Pattern::new(pattern).matches(text, &mut Work(0)).unwrap()
    }

    #[test]
    fn parts_stand_at_the_ends_and_between() {
        for (text, pattern, expected) in [
            ("", "", true),
            ("", "%", true),
            ("", "_", false),
            ("a", "", false),
            ("abc", "a%c", true),
            ("ac", "a%c", true),
            ("a", "a%a", false),
            ("aba", "a%b%a", true),
            ("ab", "a%b%b", false),
            ("aéb", "a_b", true),
            ("a🦀b", "a_b", true),
            ("éé", "%__%", true),
            ("é", "%__%", false),
            ("xaybz", "%a_b%", true),
            ("aab", "%a_%b", true),
            ("ab", "%a_%b", false),
            ("aacb", "%a_%b", true),
            ("aaxb", "%_xb", true),
            ("100%", "100\\%", true),
            ("1000", "100\\%", false),
            ("a\\", "a\\", true),
            ("a\nb", "a_b", true),
            ("a\nb", "a%b", true),
        ] {
            assert_eq!(matches(text, pattern), expected, "{text:?} LIKE {pattern:?}");
        }
    }

    /// The numbers are bytes, the same on every machine; 15.7 s were taken before.
    #[test]
    fn a_pattern_of_four_thousand_wildcards_is_read_once() {
        let text = "x".repeat(200_000);
        for (pattern, most) in [
            ("_".repeat(4_000), 10_000),
            (format!("%{}", "_".repeat(4_000)), 20_000),
            (format!("%{}%", "_".repeat(4_000)), 20_000),
            ("%_".repeat(2_000), 20_000),
            (format!("%x{}y%", "_".repeat(4_000)), 1_000_000_000),
        ] {
            let meter = Meter::unlimited();
            let _entered = meter.enter();
            let mut work = Work(0);
            let start = std::time::Instant::now();
            Pattern::new(&pattern).matches(&text, &mut work).unwrap();
            work.settle().unwrap();
            assert!(meter.done() <= most, "{} units for {}…", meter.done(), &pattern[..4]);
            eprintln_time(&pattern, start.elapsed());
        }
    }

    #[expect(clippy::print_stderr, reason = "wall time is shown, not asserted")]
    fn eprintln_time(pattern: &str, elapsed: std::time::Duration) {
        eprintln!("{}… of {} bytes: {elapsed:?}", &pattern[..4], pattern.len());
    }

    #[test]
    fn work_beyond_the_limit_ends_the_search() {
        let text = "x".repeat(200_000);
        let meter = Meter::new(1_000_000);
        let _entered = meter.enter();
        let pattern = Pattern::new(&format!("%x{}y%", "_".repeat(4_000)));
        assert!(pattern.matches(&text, &mut Work(0)).is_err());
        assert!(meter.is_exhausted());
        assert!(meter.done() < 2_000_000);
    }

    proptest! {
        /// The witness is Arrow's own LIKE, by regular expressions.
        #[test]
        fn arrow_agrees(text in "[ab%é\\\\\n]{0,8}", pattern in "[ab%%__é\\\\]{0,8}") {
            let texts = StringArray::from(vec![text.as_str()]);
            let patterns = StringArray::new_scalar(pattern.as_str());
            let expected = arrow::compute::like(&texts, &patterns).unwrap().value(0);
            prop_assert_eq!(matches(&text, &pattern), expected, "{:?} LIKE {:?}", text, pattern);
        }
    }
}
