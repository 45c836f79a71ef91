//! Names with wildcards: `*` for any number of characters, `?` for one. Case counts where a source says so, as in PostgreSQL.
//!
//! The same rules as the `tables` of a warehouse file, so that an operator learns them once: the first dot parts schema
//! from name; a part in brackets or double quotes is taken literally (`dbo.[50%*]`).

use crate::bindings::datakit::kit::types::{Error, TableId};
use crate::errors::codes;

/// A pattern for one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern {
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

impl NamePattern {
    /// A pattern from its text: wildcards, or one name in brackets or double quotes.
    ///
    /// # Errors
    /// An empty pattern, or a bracket or quote that does not close at the end.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let pattern = match Self::parse_quoted(text)? {
            Some((pattern, "")) => pattern,
            Some(_) => return Err(unclosed(text)),
            None => Self::wildcards(text),
        };
        if pattern.exact.is_empty() { Err(empty(text)) } else { Ok(pattern) }
    }

    /// The one name it stands for, in lower case; none when it has wildcards.
    #[must_use]
    pub fn literal(&self) -> Option<String> {
        self.folded
            .iter()
            .map(|token| match token {
                Token::Char(c) => Some(*c),
                Token::One | Token::Any => None,
            })
            .collect()
    }

    /// Whether the name fits, upper and lower case being the same.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let text: Vec<char> = name.chars().flat_map(char::to_lowercase).collect();
        matches(&self.folded, &text)
    }

    /// Whether the name fits in its case too.
    #[must_use]
    pub fn matches_exactly(&self, name: &str) -> bool {
        let text: Vec<char> = name.chars().collect();
        matches(&self.exact, &text)
    }

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

    fn wildcards(text: &str) -> Self {
        let token = |c| match c {
            '*' => Token::Any,
            '?' => Token::One,
            c => Token::Char(c),
        };
        Self::new(text.chars().map(token).collect())
    }

    /// A part in brackets or double quotes, the closing one doubled inside, and what follows it.
    fn parse_quoted(text: &str) -> Result<Option<(Self, &str)>, Error> {
        let close = match text.chars().next() {
            Some('[') => ']',
            Some('"') => '"',
            _ => return Ok(None),
        };
        let mut literal = Vec::new();
        let mut chars = text.char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            if c != close {
                literal.push(Token::Char(c));
            } else if chars.next_if(|(_, next)| *next == close).is_some() {
                literal.push(Token::Char(close));
            } else {
                return Ok(Some((Self::new(literal), &text[at + close.len_utf8()..])));
            }
        }
        Err(unclosed(text))
    }
}

/// Linear in practice: on a mismatch only the last `*` is tried one character further.
fn matches(pattern: &[Token], text: &[char]) -> bool {
    let (mut at, mut token) = (0, 0);
    let mut star = None;
    while at < text.len() {
        match pattern.get(token) {
            Some(Token::Any) => {
                star = Some((token, at));
                token += 1;
            }
            Some(Token::One) => (at, token) = (at + 1, token + 1),
            Some(Token::Char(c)) if *c == text[at] => (at, token) = (at + 1, token + 1),
            _ => match star {
                Some((any, matched)) => {
                    star = Some((any, matched + 1));
                    (at, token) = (matched + 1, any + 1);
                }
                None => return false,
            },
        }
    }
    pattern[token..].iter().all(|token| *token == Token::Any)
}

/// A pattern for the two names of a table: `dbo.*`, `[odd.schema].order_?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePattern {
    schema: NamePattern,
    name: NamePattern,
}

impl TablePattern {
    /// A pattern from its text.
    ///
    /// # Errors
    /// A text without a dot between two patterns, or with a part that is none.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let no_schema = || {
            Error::config(codes::PATTERN, format!("`{text}` names no schema"))
                .with_hint("a table pattern is SCHEMA.TABLE, for example `dbo.*`")
        };
        let (schema, rest) = match NamePattern::parse_quoted(text)? {
            Some((schema, rest)) => (schema, rest.strip_prefix('.').ok_or_else(no_schema)?),
            None => {
                let (schema, rest) = text.split_once('.').ok_or_else(no_schema)?;
                (NamePattern::wildcards(schema), rest)
            }
        };
        if schema.exact.is_empty() {
            return Err(empty(text));
        }
        Ok(Self { schema, name: NamePattern::parse(rest)? })
    }

    /// Whether both names fit, upper and lower case being the same.
    #[must_use]
    pub fn matches(&self, table: &TableId) -> bool {
        self.schema.matches(&table.schema) && self.name.matches(&table.name)
    }

    /// Whether both names fit in their case too.
    #[must_use]
    pub fn matches_exactly(&self, table: &TableId) -> bool {
        self.schema.matches_exactly(&table.schema) && self.name.matches_exactly(&table.name)
    }

    /// Whether the schema fits, upper and lower case being the same.
    #[must_use]
    pub fn fits_schema(&self, schema: &str) -> bool {
        self.schema.matches(schema)
    }

    /// Whether every schema fits.
    #[must_use]
    pub fn takes_any_schema(&self) -> bool {
        self.schema.exact.iter().all(|token| *token == Token::Any)
    }

    /// Whether it stands for one table only.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.schema.literal().is_some() && self.name.literal().is_some()
    }
}

fn empty(text: &str) -> Error {
    Error::config(codes::PATTERN, format!("the pattern `{text}` is empty, or a part of it"))
}

fn unclosed(text: &str) -> Error {
    Error::config(
        codes::PATTERN,
        format!("`{text}` opens a bracket or quote that does not close at the end of its part"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(schema: &str, name: &str) -> TableId {
        TableId::new(schema, name)
    }

    #[test]
    fn wildcards_and_quotes() {
        let matches = |pattern: &str, schema: &str, name: &str| {
            TablePattern::parse(pattern).unwrap().matches(&table(schema, name))
        };
        assert!(matches("dbo.*", "DBO", "Anything.with dots"));
        assert!(matches("*.order_?", "sales", "Order_1"));
        assert!(!matches("*.order_?", "sales", "order_12"));
        assert!(matches("[odd.schema].*", "odd.schema", "t"));
        assert!(matches("dbo.[50%*]", "dbo", "50%*"));
        assert!(!matches("dbo.[50%*]", "dbo", "50%x"));
        assert!(matches("dbo.\"a\"\"b\"", "dbo", "a\"b"));
        assert!(matches("dbo.a*b*c", "dbo", "abbbcbc"));
        for wrong in ["dbo", "", ".t", "dbo.", "[dbo.t", "[dbo]t", "dbo.[t", "dbo.[t]x"] {
            assert_eq!(TablePattern::parse(wrong).unwrap_err().code, codes::PATTERN, "{wrong}");
        }
    }

    #[test]
    fn a_literal_knows_itself() {
        assert!(TablePattern::parse("dbo.[a*]").unwrap().is_literal());
        assert!(!TablePattern::parse("dbo.a*").unwrap().is_literal());
        assert_eq!(NamePattern::parse("Name").unwrap().literal().as_deref(), Some("name"));
    }

    proptest! {
        #[test]
        fn a_quoted_name_matches_itself_and_nothing_longer(name in "\\PC{1,20}", more in "\\PC{1,3}") {
            let pattern = NamePattern::parse(&crate::sqlserver::quote_name(&name)).unwrap();
            prop_assert!(pattern.matches(&name));
            let longer = name.clone() + &more;
            prop_assert!(!pattern.matches(&longer));
        }

        #[test]
        fn any_text_is_a_pattern_or_an_error(text in any::<String>()) {
            let _ = TablePattern::parse(&text);
        }
    }
}
