//! The regular expressions of the language: read by a parser of our own, and written anew for the `regex` crate with nothing
//! left to its defaults, so that no version of it or of Unicode changes what a pattern means.

use std::fmt::Write as _;

/// Groups nest at most this deep: they are read by recursion.
const MAX_DEPTH: usize = 32;
/// The largest number of repetitions that a pattern may write, PostgreSQL's.
const MAX_REPETITIONS: u32 = 255;
/// Characters and classes of a pattern, repetitions multiplied.
const MAX_POSITIONS: u64 = 1_000;
/// The characters that mean something by themselves.
const SPECIAL: &str = "\\^$.|?*+()[]{}";

/// A pattern in the syntax of the `regex` crate.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Translated {
    /// The text, of ASCII alone.
    pub(super) text: String,
    /// Groups that capture.
    pub(super) groups: usize,
    /// Characters and classes, repetitions multiplied: what a search may cost for each byte.
    pub(super) positions: u64,
}

/// Reads a pattern; the error says what is not in the language.
pub(super) fn translate(pattern: &str) -> Result<Translated, String> {
    let mut reader = Reader { rest: pattern, text: String::new(), groups: 0 };
    let positions = reader.alternatives(0)?;
    match reader.peek() {
        None => Ok(Translated { text: reader.text, groups: reader.groups, positions }),
        Some(character) => Err(format!("the pattern has `{character}` without its beginning")),
    }
}

/// A range of characters, both ends included.
type Range = (char, char);

struct Reader<'p> {
    rest: &'p str,
    text: String,
    groups: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.rest = &self.rest[character.len_utf8()..];
        Some(character)
    }

    fn take(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// `a|b`, up to the end or a closing parenthesis; returns the positions.
    fn alternatives(&mut self, depth: usize) -> Result<u64, String> {
        if depth > MAX_DEPTH {
            return Err(format!("the groups of the pattern nest deeper than {MAX_DEPTH}"));
        }
        let mut positions = 0;
        loop {
            match self.peek() {
                None | Some(')') => return Ok(positions),
                Some('|') => {
                    self.next();
                    self.text.push('|');
                }
                Some(_) => positions = within(positions + self.repeated(depth)?)?,
            }
        }
    }

    /// An atom with its quantifier.
    fn repeated(&mut self, depth: usize) -> Result<u64, String> {
        if let Some(anchor) = ['^', '$'].into_iter().find(|anchor| self.take(&anchor.to_string())) {
            self.text.push_str(if anchor == '^' { "\\A" } else { "\\z" });
            return match self.peek() {
                Some('*' | '+' | '?' | '{') => Err(format!("a quantifier follows `{anchor}`")),
                _ => Ok(1),
            };
        }
        // A group of its own: a quantifier is of the whole atom, whatever it is written as.
        self.text.push_str("(?:");
        let positions = self.atom(depth)?;
        self.text.push(')');
        let times = self.quantifier()?;
        match self.peek() {
            Some('*' | '+' | '?' | '{') => Err("a quantifier follows a quantifier".to_owned()),
            _ => within(positions.saturating_mul(times)),
        }
    }

    /// The most repetitions that the pattern holds one by one.
    fn quantifier(&mut self) -> Result<u64, String> {
        let plain = ['*', '+', '?'].into_iter().find(|plain| self.take(&plain.to_string()));
        if let Some(plain) = plain {
            self.text.push(plain);
            return Ok(1);
        }
        if !self.take("{") {
            return Ok(1);
        }
        let least = self.number()?;
        let most = match self.take(",") {
            false => Some(least),
            true if self.peek() == Some('}') => None,
            true => Some(self.number()?),
        };
        if !self.take("}") {
            return Err("a number of repetitions is not closed by `}`".to_owned());
        }
        if most.is_some_and(|most| most < least) {
            return Err("a number of repetitions is larger than the one behind it".to_owned());
        }
        let _ = match most {
            Some(most) => write!(self.text, "{{{least},{most}}}"),
            None => write!(self.text, "{{{least},}}"),
        };
        Ok(u64::from(most.unwrap_or(least).max(1)))
    }

    fn number(&mut self) -> Result<u32, String> {
        let end = self.rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        let number = digits.parse().ok().filter(|number| *number <= MAX_REPETITIONS);
        number.ok_or_else(|| format!("a number of repetitions is not one from 0 to {MAX_REPETITIONS}"))
    }

    fn atom(&mut self, depth: usize) -> Result<u64, String> {
        match self.next() {
            Some('(') => self.group(depth),
            Some('[') => self.class(),
            // The end of a line as well.
            Some('.') => self.ranges(&[('\0', char::MAX)], false),
            Some('\\') => {
                let (ranges, negated) = self.escaped()?;
                self.ranges(&ranges, negated)
            }
            Some(special) if SPECIAL.contains(special) => Err(format!(
                "the pattern has `{special}` where a character is expected; `\\{special}` is the character"
            )),
            Some(character) => self.ranges(&[(character, character)], false),
            None => Err("the pattern ends where a character is expected".to_owned()),
        }
    }

    fn group(&mut self, depth: usize) -> Result<u64, String> {
        if self.take("?:") {
            self.text.push_str("(?:");
        } else if self.peek() == Some('?') {
            return Err("a group begins with `(` or `(?:`".to_owned());
        } else {
            self.groups += 1;
            self.text.push('(');
        }
        let positions = self.alternatives(depth + 1)?;
        if !self.take(")") {
            return Err("a group is not closed by `)`".to_owned());
        }
        self.text.push(')');
        Ok(positions.max(1))
    }

    /// What stands behind a backslash: ranges, and whether all but them are meant.
    fn escaped(&mut self) -> Result<(Vec<Range>, bool), String> {
        const DIGITS: &[Range] = &[('0', '9')];
        const SPACES: &[Range] = &[('\t', '\r'), (' ', ' ')];
        const WORDS: &[Range] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];
        let one = |character: char| (vec![(character, character)], false);
        Ok(match self.next() {
            Some('d') => (DIGITS.to_vec(), false),
            Some('D') => (DIGITS.to_vec(), true),
            Some('s') => (SPACES.to_vec(), false),
            Some('S') => (SPACES.to_vec(), true),
            Some('w') => (WORDS.to_vec(), false),
            Some('W') => (WORDS.to_vec(), true),
            Some('t') => one('\t'),
            Some('n') => one('\n'),
            Some('r') => one('\r'),
            Some(mark) if mark.is_ascii_punctuation() => one(mark),
            Some(other) => return Err(format!("`\\{other}` means nothing")),
            None => return Err("the pattern ends with a backslash".to_owned()),
        })
    }

    /// `[abc]`, `[^a-z\d]`, behind its bracket.
    fn class(&mut self) -> Result<u64, String> {
        let negated = self.take("^");
        let mut ranges: Vec<Range> = Vec::new();
        loop {
            if self.take("]") {
                return if ranges.is_empty() {
                    Err("a class is empty; `\\]` is the character".to_owned())
                } else {
                    self.ranges(&ranges, negated)
                };
            }
            let first = self.member()?;
            let from = match first.as_slice() {
                [(from, to)] if from == to => *from,
                _ => {
                    ranges.extend(first);
                    continue;
                }
            };
            // A hyphen before the closing bracket is itself.
            if self.rest.starts_with("-]") || !self.take("-") {
                ranges.push((from, from));
                continue;
            }
            match self.member()?.as_slice() {
                [(to, end)] if to == end && from <= *to => ranges.push((from, *to)),
                _ => return Err(format!("a range from `{from}` has no end behind it")),
            }
        }
    }

    /// A character of a class, or the characters of an escape.
    fn member(&mut self) -> Result<Vec<Range>, String> {
        match self.next() {
            Some('\\') => match self.escaped()? {
                (ranges, false) => Ok(ranges),
                (_, true) => Err("`\\D`, `\\S` and `\\W` do not stand in a class".to_owned()),
            },
            Some('[') => Err("`[` does not stand in a class; `\\[` is the character".to_owned()),
            Some(character) => Ok(vec![(character, character)]),
            None => Err("a class is not closed by `]`".to_owned()),
        }
    }

    fn ranges(&mut self, ranges: &[Range], negated: bool) -> Result<u64, String> {
        self.text.push_str(if negated { "[^" } else { "[" });
        for (from, to) in ranges {
            // Writing to a String cannot fail.
            let _ = write!(self.text, "\\x{{{:X}}}-\\x{{{:X}}}", u32::from(*from), u32::from(*to));
        }
        self.text.push(']');
        Ok(1)
    }
}

fn within(positions: u64) -> Result<u64, String> {
    if positions > MAX_POSITIONS {
        return Err(format!("the pattern has more than {MAX_POSITIONS} characters, repetitions multiplied"));
    }
    Ok(positions)
}
