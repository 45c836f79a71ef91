//! Names with wildcards, and the three ways to compare them.

use crate::names::PatternError;

/// The name as the most lenient collation could compare it: in ASCII, without accents and upper case.
#[must_use]
pub fn plain(name: &str) -> String {
    deunicode::deunicode_with_tofu(name, "").trim_end().to_ascii_lowercase()
}

/// A name with wildcards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glob {
    exact: Vec<Token>,
    /// In lower case.
    folded: Vec<Token>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Char(char),
    One,
    Any,
}

impl Glob {
    fn new(exact: Vec<Token>) -> Self {
        let mut folded = Vec::with_capacity(exact.len());
        for token in &exact {
            match token {
                Token::Char(c) => folded.extend(c.to_lowercase().map(Token::Char)),
                wildcard => folded.push(*wildcard),
            }
        }
        Self { exact, folded }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.exact.is_empty()
    }

    /// Whether it is one name, without a wildcard.
    pub(crate) fn is_literal(&self) -> bool {
        self.exact.iter().all(|token| matches!(token, Token::Char(_)))
    }

    pub(crate) fn parse_until_dot<'a>(part: &'a str, whole: &str) -> Result<(Self, Option<&'a str>), PatternError> {
        if let Some((literal, rest)) = Self::parse_quoted(part, whole)? {
            return match rest.strip_prefix('.') {
                Some(rest) => Ok((literal, Some(rest))),
                None => Err(PatternError::NoSchema(whole.to_owned())),
            };
        }
        Ok(match part.split_once('.') {
            Some((schema, rest)) => (Self::wildcards(schema), Some(rest)),
            None => (Self::wildcards(part), None),
        })
    }

    pub(crate) fn parse_whole(part: &str, whole: &str) -> Result<Self, PatternError> {
        match Self::parse_quoted(part, whole)? {
            Some((literal, "")) => Ok(literal),
            Some(_) => Err(PatternError::Unclosed(whole.to_owned())),
            None => Ok(Self::wildcards(part)),
        }
    }

    /// A part in brackets or double quotes, the closing one doubled inside, and what follows it.
    fn parse_quoted<'a>(part: &'a str, whole: &str) -> Result<Option<(Self, &'a str)>, PatternError> {
        let close = match part.chars().next() {
            Some('[') => ']',
            Some('"') => '"',
            _ => return Ok(None),
        };
        let mut literal = Vec::new();
        let mut chars = part.char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            if c != close {
                literal.push(Token::Char(c));
            } else if chars.next_if(|(_, next)| *next == close).is_some() {
                literal.push(Token::Char(close));
            } else {
                return Ok(Some((Self::new(literal), &part[at + close.len_utf8()..])));
            }
        }
        Err(PatternError::Unclosed(whole.to_owned()))
    }

    fn wildcards(text: &str) -> Self {
        let token = |c| match c {
            '*' => Token::Any,
            '?' => Token::One,
            c => Token::Char(c),
        };
        Self::new(text.chars().map(token).collect())
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().flat_map(char::to_lowercase).collect();
        matches(&self.folded, &text)
    }

    pub(crate) fn matches_exactly(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        matches(&self.exact, &text)
    }

    /// Each character of the name outside ASCII may stand for itself, for the plain letters it looks like, or for nothing.
    pub(crate) fn could_match(&self, text: &str) -> bool {
        let text = text.trim_end();
        if text.is_ascii() {
            return self.matches(text) || could_match(&self.plain(), text);
        }
        could_match(&self.folded, text) || could_match(&self.plain(), text)
    }

    /// The pattern's own characters as [`plain`] ones.
    fn plain(&self) -> Vec<Token> {
        let mut tokens = Vec::with_capacity(self.folded.len());
        for token in &self.folded {
            match token {
                Token::Char(c) if !c.is_ascii() => {
                    tokens.extend(plain(c.encode_utf8(&mut [0; 4])).chars().map(Token::Char))
                }
                other => tokens.push(*other),
            }
        }
        tokens
    }
}

/// Linear in practice: on a mismatch only the last `*` is tried one character further.
fn matches(pattern: &[Token], text: &[char]) -> bool {
    let (mut t, mut p) = (0, 0);
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(Token::Any) => {
                star = Some((p, t));
                p += 1;
            }
            Some(Token::One) => (t, p) = (t + 1, p + 1),
            Some(Token::Char(c)) if *c == text[t] => (t, p) = (t + 1, p + 1),
            _ => match star {
                Some((at, matched)) => {
                    star = Some((at, matched + 1));
                    (t, p) = (matched + 1, at + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|token| *token == Token::Any)
}

/// Follows all readings of the text at once: the set of places in the pattern that one of them has come to.
fn could_match(pattern: &[Token], text: &str) -> bool {
    let mut places = vec![false; pattern.len() + 1];
    places[0] = true;
    skip_any(pattern, &mut places);
    for c in text.chars() {
        let itself: String = c.to_lowercase().collect();
        let mut next = advance(pattern, &places, &itself);
        if !c.is_ascii() {
            let plainly = advance(pattern, &places, &plain(c.encode_utf8(&mut [0; 4])));
            for reading in [places, plainly] {
                next.iter_mut().zip(reading).for_each(|(place, also)| *place |= also);
            }
        }
        places = next;
    }
    places[pattern.len()]
}

/// The places behind a text from each of these.
fn advance(pattern: &[Token], places: &[bool], text: &str) -> Vec<bool> {
    let mut places = places.to_vec();
    for c in text.chars() {
        let mut next = vec![false; places.len()];
        for (at, token) in pattern.iter().enumerate().filter(|(at, _)| places[*at]) {
            match token {
                Token::Any => next[at] = true,
                Token::One => next[at + 1] = true,
                Token::Char(expected) if *expected == c => next[at + 1] = true,
                Token::Char(_) => {}
            }
        }
        skip_any(pattern, &mut next);
        places = next;
    }
    places
}

/// A `*` may stand for nothing.
fn skip_any(pattern: &[Token], places: &mut [bool]) {
    for (at, token) in pattern.iter().enumerate() {
        if *token == Token::Any && places[at] {
            places[at + 1] = true;
        }
    }
}
