//! T-SQL cut into tokens by T-SQL's own rules.
//!
//! The parser's own tokenizer knows strings and comments of many dialects at once (`$$…$$`, a comment that a lone CR
//! does not end, any Unicode space). A text that two readers cut differently can hide a statement from one of them, so
//! the parser never sees the text: it gets these tokens, and whatever could be cut in two ways is refused here.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

use super::lists::is_forbidden_word;
use crate::SqlLimits;
use crate::{Lexed, Refusal, at_most, too_deep};

/// Cuts a text, counting tokens and depth as it goes.
pub(super) fn read(sql: &str, parameters: usize, limits: &SqlLimits) -> Result<Lexed, Refusal> {
    let mut reader = Reader { sql, at: 0, parameters };
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
    Ok(lexed)
}

struct Reader<'a> {
    sql: &'a str,
    at: usize,
    parameters: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.sql[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn unreadable<T>(&self, what: impl Into<String>) -> Result<T, Refusal> {
        Err(Refusal::Unreadable { dialect: "T-SQL", reason: what.into() })
    }

    /// Characters that end a line or a text for one reader and not for another, wherever they stand.
    fn refuse_characters(&self) -> Result<(), Refusal> {
        let mut previous_was_cr = false;
        for c in self.sql.chars() {
            if previous_was_cr && c != '\n' {
                return self.unreadable("a carriage return without a line feed");
            }
            previous_was_cr = c == '\r';
            let odd = (c.is_control() && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{2028}' | '\u{2029}');
            if odd {
                return self.unreadable(format!("the control character U+{:04X}", u32::from(c)));
            }
        }
        if previous_was_cr { self.unreadable("a carriage return without a line feed") } else { Ok(()) }
    }

    /// Blanks and comments. Only ASCII blanks: which others T-SQL takes is not written down.
    fn skip_blank(&mut self) -> Result<(), Refusal> {
        loop {
            let rest = self.rest();
            if rest.starts_with([' ', '\t', '\n', '\r']) {
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

    /// Block comments nest in T-SQL.
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
            '\'' => Token::SingleQuotedString(self.quoted('\'')?),
            'N' | 'n' if rest[1..].starts_with('\'') => {
                self.at += 1;
                Token::NationalStringLiteral(self.quoted('\'')?)
            }
            '[' => Token::make_word(&self.quoted(']')?, Some('[')),
            '"' => Token::make_word(&self.quoted('"')?, Some('"')),
            '0'..='9' => self.number()?,
            '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => self.number()?,
            '@' => self.parameter()?,
            c if c.is_ascii_alphabetic() || c == '_' => self.word()?,
            _ => self.punctuation(c)?,
        };
        Ok(Some(token))
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
        self.unreadable("a string or quoted name that does not close")
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = &rest[..rest.find(|c| !keep(c)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    /// `12`, `1.5`, `.5`, `1e-3`, `0x1F`. T-SQL reads `1a` as `1 AS a`; here it is refused.
    fn number(&mut self) -> Result<Token, Refusal> {
        let start = self.at;
        let token = if self.rest().starts_with("0x") || self.rest().starts_with("0X") {
            self.at += 2;
            Token::HexStringLiteral(self.take_while(|c| c.is_ascii_hexdigit()).to_owned())
        } else {
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
            Token::Number(self.sql[start..self.at].to_owned(), false)
        };
        if self.peek().is_some_and(|c| is_word_part(c) || c == '.' || !c.is_ascii()) {
            return self.unreadable(format!("`{}` runs into the next word", &self.sql[start..self.at]));
        }
        Ok(token)
    }

    /// `@P1` … of the parameters there are; other variables do not exist here.
    fn parameter(&mut self) -> Result<Token, Refusal> {
        let name = self.take_while(is_word_part);
        let number = name.strip_prefix("@P").or_else(|| name.strip_prefix("@p"));
        let known = number
            .filter(|digits| !digits.starts_with(['0', '+']))
            .and_then(|digits| digits.parse::<usize>().ok())
            .is_some_and(|n| (1..=self.parameters).contains(&n));
        if known { Ok(Token::make_word(name, None)) } else { Err(Refusal::Construct(format!("the variable {name}"))) }
    }

    fn word(&mut self) -> Result<Token, Refusal> {
        let word = self.take_while(is_word_part);
        if self.peek().is_some_and(|c| !c.is_ascii()) {
            return self.unreadable("a name outside ASCII that is not in brackets");
        }
        if is_forbidden_word(word) {
            return Err(Refusal::Construct(word.to_ascii_uppercase()));
        }
        Ok(Token::make_word(word, None))
    }

    fn punctuation(&mut self, c: char) -> Result<Token, Refusal> {
        const PAIRS: [(&str, Token); 4] =
            [("<>", Token::Neq), ("!=", Token::Neq), ("<=", Token::LtEq), (">=", Token::GtEq)];
        // `+=` and its like assign; `!<` and `!>` are old spellings; `||` is not T-SQL before 2025.
        const REFUSED: [&str; 12] = ["+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "!<", "!>", "::", "||"];
        let rest = self.rest();
        if let Some((text, token)) = PAIRS.iter().find(|(text, _)| rest.starts_with(text)) {
            self.at += text.len();
            return Ok(token.clone());
        }
        if let Some(text) = REFUSED.iter().find(|text| rest.starts_with(**text)) {
            return Err(Refusal::Construct(format!("the operator {text}")));
        }
        self.at += c.len_utf8();
        Ok(match c {
            '(' => Token::LParen,
            ')' => Token::RParen,
            ',' => Token::Comma,
            '.' => Token::Period,
            ';' => Token::SemiColon,
            '=' => Token::Eq,
            '<' => Token::Lt,
            '>' => Token::Gt,
            '+' => Token::Plus,
            '-' => Token::Minus,
            '*' => Token::Mul,
            '/' => Token::Div,
            '%' => Token::Mod,
            '&' => Token::Ampersand,
            '|' => Token::Pipe,
            '^' => Token::Caret,
            '~' => Token::Tilde,
            c => return self.unreadable(format!("the character {c:?} (U+{:04X})", u32::from(c))),
        })
    }
}

fn is_word_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '@' | '#' | '$')
}
