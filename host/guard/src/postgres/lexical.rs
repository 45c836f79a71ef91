//! PostgreSQL's SQL cut into tokens by the server's own rules.
//!
//! Source: "Lexical Structure" in the manual and the server's `scan.l`. As in T-SQL, the parser never sees the text but these
//! tokens, and whatever could be cut in two ways is refused here: strings with escapes (`E'…'`, `U&'…'`), `$$…$$`, operators
//! that are not listed.

use std::ops::Range;

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

use super::lists::is_forbidden_word;
use crate::SqlLimits;
use crate::{Lexed, Refusal, at_most, too_deep};

/// Characters that make up operators: the server takes the longest run of them for one.
const OPERATOR: &str = "+-*/<>=~!@#%^&|`?";

/// Identifiers are cut at this length by the server, in silence (`NAMEDATALEN` less one).
const MAX_NAME_BYTES: usize = 63;

/// What a text holds.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) lexed: Lexed,
    /// Where in the text which parameter stands, counted from 0.
    pub(super) parameters: Vec<(Range<usize>, usize)>,
    /// A name is `ctid`.
    pub(super) by_place: bool,
}

/// Cuts a text, counting tokens and depth as it goes.
pub(super) fn read(sql: &str, parameters: usize, limits: &SqlLimits) -> Result<Read, Refusal> {
    let mut reader = Reader { sql, at: 0, parameters, found: Vec::new(), by_place: false };
    let mut lexed = Lexed { tokens: Vec::new(), start: 0, end: 0 };
    let mut depth = 0_u64;
    let mut closed_by_semicolon = false;
    reader.refuse_characters()?;
    loop {
        reader.skip_blank()?;
        let start = reader.at;
        let Some(token) = reader.token()? else { break };
        if closed_by_semicolon && token != Token::SemiColon {
            return Err(Refusal::NotOneQuery("more than one statement".to_owned()));
        }
        match &token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            // END closes nothing else here, since BEGIN is refused.
            Token::Word(word) if word.keyword == Keyword::CASE => depth += 1,
            Token::Word(word) if word.keyword == Keyword::END => depth = depth.saturating_sub(1),
            Token::SemiColon => {
                closed_by_semicolon = true;
                continue;
            }
            _ => {}
        }
        if depth > limits.max_syntax_depth {
            return Err(too_deep(limits));
        }
        if lexed.tokens.is_empty() {
            lexed.start = start;
        }
        lexed.end = reader.at;
        lexed.tokens.push(token);
        let count = lexed.tokens.len() as u64;
        at_most("a number of tokens", count, "max_sql_tokens", limits.max_tokens)?;
    }
    Ok(Read { lexed, parameters: reader.found, by_place: reader.by_place })
}

struct Reader<'a> {
    sql: &'a str,
    at: usize,
    parameters: usize,
    found: Vec<(Range<usize>, usize)>,
    by_place: bool,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.sql[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn unreadable<T>(&self, what: impl Into<String>) -> Result<T, Refusal> {
        Err(Refusal::Unreadable { dialect: "PostgreSQL", reason: what.into() })
    }

    /// Characters that end a line or a text for one reader and not for another, wherever they stand.
    fn refuse_characters(&self) -> Result<(), Refusal> {
        let odd = |c: &char| (c.is_control() && !matches!(c, '\t' | '\n')) || matches!(c, '\u{2028}' | '\u{2029}');
        match self.sql.chars().find(odd) {
            Some(c) => self.unreadable(format!("the control character U+{:04X}", u32::from(c))),
            None => Ok(()),
        }
    }

    fn skip_blank(&mut self) -> Result<(), Refusal> {
        loop {
            let rest = self.rest();
            if rest.starts_with([' ', '\t', '\n']) {
                self.at += 1;
            } else if rest.starts_with("--") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                self.skip_block_comment()?;
            } else {
                return Ok(());
            }
        }
    }

    /// Block comments nest.
    fn skip_block_comment(&mut self) -> Result<(), Refusal> {
        let mut open = 0_usize;
        loop {
            let rest = self.rest();
            if rest.starts_with("/*") {
                open += 1;
                self.at += 2;
            } else if rest.starts_with("*/") {
                open -= 1;
                self.at += 2;
                if open == 0 {
                    return Ok(());
                }
            } else if let Some(c) = self.peek() {
                self.at += c.len_utf8();
            } else {
                return self.unreadable("a comment that does not close");
            }
        }
    }

    fn token(&mut self) -> Result<Option<Token>, Refusal> {
        let rest = self.rest();
        let Some(c) = self.peek() else { return Ok(None) };
        let token = match c {
            '\'' => Token::SingleQuotedString(self.string()?),
            '"' => self.quoted_name()?,
            '0'..='9' => self.number()?,
            '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => self.number()?,
            '$' => self.parameter()?,
            c if c.is_ascii_alphabetic() || c == '_' => self.word()?,
            c if OPERATOR.contains(c) => self.operator()?,
            _ => self.punctuation(c)?,
        };
        Ok(Some(token))
    }

    /// A string; without escapes, since the session has `standard_conforming_strings`.
    fn string(&mut self) -> Result<String, Refusal> {
        let text = self.quoted('\'')?;
        // Two strings with a line feed between are one string to the server.
        let after = self.at;
        self.skip_blank()?;
        if self.rest().starts_with('\'') {
            return self.unreadable("two strings that follow each other");
        }
        self.at = after;
        Ok(text)
    }

    fn quoted_name(&mut self) -> Result<Token, Refusal> {
        let name = self.quoted('"')?;
        if name.len() > MAX_NAME_BYTES {
            return self.unreadable("a name of more than 63 bytes, which the server would cut");
        }
        self.by_place |= name == "ctid";
        Ok(Token::make_word(&name, Some('"')))
    }

    /// A string or quoted name, its closing character doubled inside; returns it without quotes.
    fn quoted(&mut self, close: char) -> Result<String, Refusal> {
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1).peekable();
        while let Some((at, c)) = chars.next() {
            if c != close {
                text.push(c);
            } else if chars.next_if(|(_, next)| *next == close).is_some() {
                text.push(close);
            } else {
                self.at += at + close.len_utf8();
                return Ok(text);
            }
        }
        self.unreadable(format!("a {close} that does not close"))
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = &rest[..rest.find(|c| !keep(c)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    /// `12`, `1.5`, `.5`, `1e-3`. What follows without a blank is refused.
    fn number(&mut self) -> Result<Token, Refusal> {
        let start = self.at;
        self.take_while(|c| c.is_ascii_digit());
        if self.rest().starts_with('.') {
            self.at += 1;
            self.take_while(|c| c.is_ascii_digit());
        }
        if self.rest().starts_with(['e', 'E']) {
            self.at += 1;
            if self.rest().starts_with(['+', '-']) {
                self.at += 1;
            }
            if self.take_while(|c| c.is_ascii_digit()).is_empty() {
                return self.unreadable("a number with an empty exponent");
            }
        }
        if self.peek().is_some_and(|c| is_word_part(c) || c == '.' || !c.is_ascii()) {
            return self.unreadable(format!("`{}` runs into the next word", &self.sql[start..self.at]));
        }
        Ok(Token::Number(self.sql[start..self.at].to_owned(), false))
    }

    /// `$1` … of the parameters there are. `$$` and `$tag$` begin strings: refused.
    fn parameter(&mut self) -> Result<Token, Refusal> {
        let start = self.at;
        self.at += 1;
        let digits = self.take_while(is_word_part);
        let known = (!digits.starts_with('0'))
            .then(|| digits.parse::<usize>().ok())
            .flatten()
            .filter(|number| digits.bytes().all(|b| b.is_ascii_digit()) && (1..=self.parameters).contains(number));
        let Some(number) = known else {
            return Err(Refusal::Construct(format!("the parameter ${digits}")));
        };
        self.found.push((start..self.at, number - 1));
        Ok(Token::Placeholder(self.sql[start..self.at].to_owned()))
    }

    fn word(&mut self) -> Result<Token, Refusal> {
        let word = self.take_while(is_word_part);
        match self.peek() {
            Some(c) if !c.is_ascii() => return self.unreadable("a name outside ASCII that is not in quotes"),
            // `E'…'`, `B'…'`, `X'…'`, `N'…'` directly; `U&'…'` by its operator.
            Some('\'') => return self.unreadable(format!("a string with the prefix {word}")),
            _ => {}
        }
        if word.len() > MAX_NAME_BYTES {
            return self.unreadable("a name of more than 63 bytes, which the server would cut");
        }
        if is_forbidden_word(word) {
            return Err(Refusal::Construct(word.to_ascii_uppercase()));
        }
        self.by_place |= word.eq_ignore_ascii_case("ctid");
        Ok(Token::make_word(word, None))
    }

    /// The longest run of operator characters up to a comment, which has to be a listed operator.
    fn operator(&mut self) -> Result<Token, Refusal> {
        let rest = self.rest();
        let run = rest.find(|c| !OPERATOR.contains(c)).unwrap_or(rest.len());
        let comment = ["--", "/*"].iter().filter_map(|start| rest[..run].find(start)).min().unwrap_or(run);
        let text = &rest[..comment];
        let token = match text {
            "+" => Token::Plus,
            "-" => Token::Minus,
            "*" => Token::Mul,
            "/" => Token::Div,
            "%" => Token::Mod,
            "=" => Token::Eq,
            "<" => Token::Lt,
            ">" => Token::Gt,
            "<=" => Token::LtEq,
            ">=" => Token::GtEq,
            "<>" | "!=" => Token::Neq,
            "||" => Token::StringConcat,
            _ => return Err(Refusal::Construct(format!("the operator {text}"))),
        };
        self.at += text.len();
        Ok(token)
    }

    fn punctuation(&mut self, c: char) -> Result<Token, Refusal> {
        if self.rest().starts_with("::") {
            self.at += 2;
            return Ok(Token::DoubleColon);
        }
        self.at += c.len_utf8();
        Ok(match c {
            '(' => Token::LParen,
            ')' => Token::RParen,
            ',' => Token::Comma,
            '.' => Token::Period,
            ';' => Token::SemiColon,
            c => return self.unreadable(format!("the character {c:?} (U+{:04X})", u32::from(c))),
        })
    }
}

fn is_word_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '$')
}
