//! Table names, and the patterns that select and grant them.

use std::fmt;
use std::str::FromStr;

/// A table or view of a source, by its two names as the server spells them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct TableId {
    /// The schema, unquoted: `dbo`.
    pub schema: String,
    /// The name in the schema, unquoted.
    pub name: String,
}

impl TableId {
    /// A table from its two names.
    #[must_use]
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }
}

impl fmt::Display for TableId {
    /// `schema.name` as a [`TablePattern`] of this table alone: a part that would be read as something else stands in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_part(f, &self.schema, &['.', '*', '?'], &['[', '"', '!'])?;
        f.write_str(".")?;
        write_part(f, &self.name, &['*', '?'], &['[', '"'])
    }
}

/// One part of a name, in brackets where it holds or begins with one of these.
fn write_part(f: &mut fmt::Formatter<'_>, part: &str, odd: &[char], odd_at_start: &[char]) -> fmt::Result {
    if part.contains(odd) || part.starts_with(odd_at_start) {
        write!(f, "[{}]", part.replace(']', "]]"))
    } else {
        f.write_str(part)
    }
}

/// One pattern of a `tables` list: `dbo.*`, `sales.order_?`, `!dbo.audit_*`.
///
/// `*` stands for any number of characters and `?` for one, both within a name; comparison ignores case, as SQL Server's
/// default collations do. The first dot parts schema from name, unless the schema stands in brackets or double quotes
/// (`[odd.schema].*`). In the name, `[` has no special meaning; a name in brackets is taken literally, so that
/// `dbo.[50%*]` matches the table `50%*` alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePattern {
    text: String,
    exclude: bool,
    schema: Glob,
    name: Glob,
}

/// Why a text is not a table pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// There is no dot between schema and name.
    #[error("`{0}` names no schema: a table pattern is SCHEMA.TABLE, for example `dbo.*`")]
    NoSchema(String),
    /// The schema or the name is empty.
    #[error("`{0}` has an empty schema or table name")]
    Empty(String),
    /// A bracket or quote that opens and does not close at the end of its part.
    #[error("`{0}` opens a bracket or quote that does not close")]
    Unclosed(String),
}

impl TablePattern {
    /// Whether this pattern takes tables away (`!`).
    #[must_use]
    pub fn is_exclusion(&self) -> bool {
        self.exclude
    }

    /// Whether it names one table, without a wildcard.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        [&self.schema, &self.name].iter().all(|glob| glob.0.iter().all(|token| matches!(token, Token::Char(_))))
    }

    /// Whether schema and name match, exclusion or not.
    #[must_use]
    pub fn matches(&self, table: &TableId) -> bool {
        self.schema.matches(&table.schema) && self.name.matches(&table.name)
    }
}

impl fmt::Display for TablePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for TablePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (exclude, rest) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (schema, rest) = Glob::parse_until_dot(rest, text)?;
        let rest = rest.ok_or_else(|| PatternError::NoSchema(text.to_owned()))?;
        let name = Glob::parse_whole(rest, text)?;
        if schema.is_empty() || name.is_empty() {
            return Err(PatternError::Empty(text.to_owned()));
        }
        Ok(Self { text: text.to_owned(), exclude, schema, name })
    }
}

/// A list of patterns: a table is in it when an inclusion matches and no exclusion does; the order does not matter.
///
/// It is a selection (which of the discovered tables to read) and a grant (which tables a datakit may name in SQL).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TablePatterns(Vec<TablePattern>);

impl TablePatterns {
    /// The list as given. An empty one, and one of exclusions only, holds no table: deny by default.
    #[must_use]
    pub fn new(patterns: Vec<TablePattern>) -> Self {
        Self(patterns)
    }

    /// Whether the table is selected and granted.
    #[must_use]
    pub fn allows(&self, table: &TableId) -> bool {
        let matching = |exclude: bool| self.0.iter().any(|p| p.exclude == exclude && p.matches(table));
        matching(false) && !matching(true)
    }

    /// The patterns, as given.
    #[must_use]
    pub fn patterns(&self) -> &[TablePattern] {
        &self.0
    }
}

impl fmt::Display for TablePatterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, pattern) in self.0.iter().enumerate() {
            write!(f, "{}{pattern}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// A name with wildcards, folded to lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Glob(Vec<Token>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Char(char),
    One,
    Any,
}

impl Glob {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn parse_until_dot<'a>(part: &'a str, whole: &str) -> Result<(Self, Option<&'a str>), PatternError> {
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

    fn parse_whole(part: &str, whole: &str) -> Result<Self, PatternError> {
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
                literal.extend(c.to_lowercase().map(Token::Char));
            } else if chars.next_if(|(_, next)| *next == close).is_some() {
                literal.push(Token::Char(close));
            } else {
                return Ok(Some((Self(literal), &part[at + close.len_utf8()..])));
            }
        }
        Err(PatternError::Unclosed(whole.to_owned()))
    }

    fn wildcards(text: &str) -> Self {
        let mut tokens = Vec::with_capacity(text.len());
        for c in text.chars() {
            match c {
                '*' => tokens.push(Token::Any),
                '?' => tokens.push(Token::One),
                c => tokens.extend(c.to_lowercase().map(Token::Char)),
            }
        }
        Self(tokens)
    }

    /// Linear in practice: on a mismatch only the last `*` is tried one character further.
    fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().flat_map(char::to_lowercase).collect();
        let (mut t, mut p) = (0, 0);
        let mut star = None;
        while t < text.len() {
            match self.0.get(p) {
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
        self.0[p..].iter().all(|token| *token == Token::Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn patterns(list: &[&str]) -> TablePatterns {
        TablePatterns::new(list.iter().map(|p| p.parse().unwrap()).collect())
    }

    #[test]
    fn what_is_printed_is_a_pattern_of_that_table_alone() {
        let names = ["dbo", "a.b", "50%*", "wh?t", "[x]", "a]b", "\"q\"", "!no", "with space", "x[1]", "é"];
        for schema in names {
            for name in names {
                let table = TableId::new(schema, name);
                let pattern: TablePattern = table.to_string().parse().unwrap();
                assert!(!pattern.is_exclusion() && pattern.is_literal() && pattern.matches(&table), "{table}");
                let others = names.iter().flat_map(|schema| names.iter().map(|name| TableId::new(*schema, *name)));
                assert_eq!(others.filter(|other| pattern.matches(other)).count(), 1, "{table}");
            }
        }
        assert_eq!(TableId::new("dbo", "a.b").to_string(), "dbo.a.b");
        assert_eq!(TableId::new("odd.schema", "50%*").to_string(), "[odd.schema].[50%*]");
    }

    #[test]
    fn a_table_is_allowed_when_an_inclusion_matches_and_no_exclusion_does() {
        let p = patterns(&["!dbo.audit_*", "dbo.*", "Sales.Order?"]);
        assert!(p.allows(&TableId::new("dbo", "orders")));
        assert!(p.allows(&TableId::new("DBO", "Orders")));
        assert!(p.allows(&TableId::new("sales", "orders")));
        assert!(!p.allows(&TableId::new("sales", "order")));
        assert!(!p.allows(&TableId::new("dbo", "AUDIT_log")));
        assert!(!p.allows(&TableId::new("hr", "people")));
    }

    #[test]
    fn nothing_is_allowed_by_default() {
        assert!(!TablePatterns::default().allows(&TableId::new("dbo", "t")));
        assert!(!patterns(&["!dbo.x"]).allows(&TableId::new("dbo", "t")));
    }

    #[test]
    fn brackets_are_literal() {
        let p = patterns(&["[odd.schema].[50%*]", "dbo.[a]]b]", "\"q\".x"]);
        assert!(p.allows(&TableId::new("odd.schema", "50%*")));
        assert!(p.patterns().iter().all(TablePattern::is_literal));
        assert!(patterns(&["dbo.*", "d?o.x"]).patterns().iter().all(|pattern| !pattern.is_literal()));
        assert!(!p.allows(&TableId::new("odd.schema", "50%x")));
        assert!(p.allows(&TableId::new("dbo", "a]b")));
        assert!(p.allows(&TableId::new("Q", "x")));
    }

    #[test]
    fn bad_patterns_say_why() {
        let err = |t: &str| t.parse::<TablePattern>().unwrap_err().to_string();
        assert_eq!(err("orders"), "`orders` names no schema: a table pattern is SCHEMA.TABLE, for example `dbo.*`");
        assert_eq!(err("dbo."), "`dbo.` has an empty schema or table name");
        assert_eq!(err("[dbo.x"), "`[dbo.x` opens a bracket or quote that does not close");
    }

    proptest! {
        #[test]
        fn a_bracketed_name_matches_itself(schema in ".{1,20}", name in ".{1,20}") {
            let quote = |s: &str| format!("[{}]", s.replace(']', "]]"));
            let pattern: TablePattern = format!("{}.{}", quote(&schema), quote(&name)).parse().unwrap();
            prop_assert!(pattern.matches(&TableId::new(schema, name)));
        }
    }
}
