//! T-SQL that sqlparser does not read, put into words that it does: calls of procedures of the fake SQL Server's own, whose
//! names begin with two underscores. By tokens, so that it works wherever a statement may stand.
//!
//! | T-SQL | read as |
//! |---|---|
//! | `ALTER DATABASE d SET option …` | `EXEC __alter_database 'd', 'option', '…'` |
//! | `ALTER TABLE t ENABLE CHANGE_TRACKING …` | `EXEC __change_tracking 't', 'ENABLE', '…'` |
//! | `ALTER TABLE t ALTER COLUMN c type …` | `EXEC __alter_column 't', 'c', 'type …'` |
//! | `SAVE TRANSACTION s` | `EXEC __save_transaction 's'` |
//! | `ROLLBACK TRANSACTION s` | `EXEC __roll_back_to 's'` |
//! | `BEGIN TRANSACTION t`, `COMMIT TRANSACTION t` | the same without `t` |
//! | `CHANGETABLE(CHANGES t, @v)` | `CHANGETABLE('t', @v)` |
//! | `INSERT @t EXEC p …` | `EXEC __insert_executed '@t', 'p', …` |
//! | `EXEC p`, then another statement | `EXEC p;` |

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::bind::is_reserved;
use super::errors;
use crate::values::SqlError;

/// Rewrites the tokens of a batch.
///
/// # Errors
///
/// 102 for what is no T-SQL.
pub fn rewrite(tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>, SqlError> {
    let mut rewriter = Rewriter { tokens, at: 0, out: Vec::new() };
    while rewriter.at < rewriter.tokens.len() {
        rewriter.next()?;
    }
    Ok(rewriter.out)
}

struct Rewriter {
    tokens: Vec<TokenWithSpan>,
    at: usize,
    out: Vec<TokenWithSpan>,
}

impl Rewriter {
    /// Place of the `n`th token from here that is no white space.
    fn place(&self, n: usize) -> Option<usize> {
        let solid = (self.at..self.tokens.len())
            .filter(|at| !matches!(self.tokens[*at].token, Token::Whitespace(_) | Token::EOF));
        solid.take(n + 1).nth(n)
    }

    fn peek(&self, n: usize) -> Option<&Token> {
        self.place(n).map(|at| &self.tokens[at].token)
    }

    fn is_word(&self, n: usize, words: &[&str]) -> bool {
        matches!(self.peek(n), Some(Token::Word(word)) if word.quote_style.is_none()
            && words.iter().any(|wanted| word.value.eq_ignore_ascii_case(wanted)))
    }

    /// Leaves `n` tokens out.
    fn skip(&mut self, n: usize) {
        if let Some(last) = n.checked_sub(1) {
            self.at = self.place(last).map_or(self.tokens.len(), |at| at + 1);
        }
    }

    /// Takes the next token out and gives its text.
    fn take(&mut self) -> Result<String, SqlError> {
        let place = self.place(0).ok_or_else(|| errors::syntax_near("end of file"))?;
        self.at = place + 1;
        Ok(self.tokens[place].token.to_string())
    }

    fn push(&mut self, token: Token) {
        let span = self.tokens[self.at.min(self.tokens.len() - 1)].span;
        self.out.push(TokenWithSpan { token, span });
    }

    fn copy(&mut self, n: usize) {
        let end = match n.checked_sub(1) {
            Some(last) => self.place(last).map_or(self.tokens.len(), |at| at + 1),
            None => self.at,
        };
        self.out.extend_from_slice(&self.tokens[self.at..end]);
        self.at = end;
    }

    fn next(&mut self) -> Result<(), SqlError> {
        if matches!(self.tokens[self.at].token, Token::Whitespace(_) | Token::EOF) {
            self.out.push(self.tokens[self.at].clone());
            self.at += 1;
            return Ok(());
        }
        const TRANSACTION: [&str; 2] = ["TRAN", "TRANSACTION"];
        if self.is_word(0, &["ALTER"]) && self.is_word(1, &["DATABASE"]) && self.is_word(3, &["SET"]) {
            return self.alter_database();
        }
        if self.is_word(0, &["ALTER"])
            && self.is_word(1, &["TABLE"])
            && (self.change_tracking()? || self.alter_column()?)
        {
            return Ok(());
        }
        if self.is_word(0, &["SAVE"]) && self.is_word(1, &TRANSACTION) {
            self.skip(2);
            let name = self.take()?;
            self.call("__save_transaction", vec![unquoted(&name)]);
            return Ok(());
        }
        if self.is_word(0, &["BEGIN", "COMMIT", "ROLLBACK"]) && self.is_word(1, &TRANSACTION) && self.is_name(2) {
            if self.is_word(0, &["ROLLBACK"]) {
                self.skip(2);
                let name = self.take()?;
                self.call("__roll_back_to", vec![unquoted(&name)]);
            } else {
                self.copy(2);
                self.skip(1);
            }
            return Ok(());
        }
        if self.is_word(0, &["CHANGETABLE"]) && self.peek(1) == Some(&Token::LParen) && self.is_word(2, &["CHANGES"]) {
            return self.change_table();
        }
        if self.is_word(0, &["INSERT"]) && self.insert_executed()? {
            return Ok(());
        }
        if self.is_word(0, &["EXEC", "EXECUTE"]) && self.peek(1) != Some(&Token::LParen) {
            self.execute();
            return Ok(());
        }
        self.copy(1);
        Ok(())
    }

    /// Whether a token is a name rather than the beginning of the next statement.
    fn is_name(&self, n: usize) -> bool {
        matches!(self.peek(n), Some(Token::Word(word)) if word.quote_style.is_some() || !is_reserved(&word.value))
    }

    fn call(&mut self, procedure: &str, arguments: Vec<String>) {
        self.push(Token::make_keyword("EXEC"));
        self.push(Token::make_word(procedure, None));
        for (at, argument) in arguments.into_iter().enumerate() {
            if at > 0 {
                self.push(Token::Comma);
            }
            self.push(Token::SingleQuotedString(argument));
        }
        self.push(Token::SemiColon);
    }

    /// A name of several parts, as it was written.
    fn name(&mut self) -> Result<String, SqlError> {
        let mut name = self.take()?;
        while self.peek(0) == Some(&Token::Period) {
            name.push_str(&self.take()?);
            name.push_str(&self.take()?);
        }
        Ok(name)
    }

    /// What stands in parentheses, if they come next.
    fn in_parentheses(&mut self) -> Result<String, SqlError> {
        let mut inside = String::new();
        if self.peek(0) != Some(&Token::LParen) {
            return Ok(inside);
        }
        self.skip(1);
        let mut depth = 1;
        loop {
            match self.peek(0) {
                Some(Token::LParen) => depth += 1,
                Some(Token::RParen) => depth -= 1,
                _ => {}
            }
            let token = self.take()?;
            if depth == 0 {
                return Ok(inside.trim_end().to_owned());
            }
            inside.push_str(&token);
            inside.push(' ');
        }
    }

    fn alter_database(&mut self) -> Result<(), SqlError> {
        self.skip(2);
        let database = unquoted(&self.take()?);
        self.skip(1);
        let option = self.take()?;
        let mut value = String::new();
        if self.peek(0) == Some(&Token::Eq) {
            self.skip(1);
        }
        if self.peek(0) != Some(&Token::LParen) {
            value = self.take()?;
        }
        let details = self.in_parentheses()?;
        if self.is_word(0, &["WITH"]) && self.is_word(1, &["ROLLBACK", "NO_WAIT"]) {
            let words = if self.is_word(1, &["NO_WAIT"]) { 2 } else { 3 };
            self.skip(words);
        }
        self.call("__alter_database", vec![database, option, value, details]);
        Ok(())
    }

    /// `ALTER TABLE name ENABLE | DISABLE CHANGE_TRACKING`; false where it is another ALTER TABLE.
    fn change_tracking(&mut self) -> Result<bool, SqlError> {
        let mut words = 3;
        while self.peek(words) == Some(&Token::Period) {
            words += 2;
        }
        if !(self.is_word(words, &["ENABLE", "DISABLE"]) && self.is_word(words + 1, &["CHANGE_TRACKING"])) {
            return Ok(false);
        }
        self.skip(2);
        let table = self.name()?;
        let verb = self.take()?;
        self.skip(1);
        let mut details = String::new();
        if self.is_word(0, &["WITH"]) {
            self.skip(1);
            details = self.in_parentheses()?;
        }
        self.call("__change_tracking", vec![table, verb.to_uppercase(), details]);
        Ok(true)
    }

    /// `ALTER TABLE name ALTER COLUMN column type …`; false where it is another ALTER TABLE.
    fn alter_column(&mut self) -> Result<bool, SqlError> {
        let mut words = 3;
        while self.peek(words) == Some(&Token::Period) {
            words += 2;
        }
        if !(self.is_word(words, &["ALTER"]) && self.is_word(words + 1, &["COLUMN"])) {
            return Ok(false);
        }
        self.skip(2);
        let table = self.name()?;
        self.skip(2);
        let column = unquoted(&self.take()?);
        let mut definition = self.take()?;
        let details = self.in_parentheses()?;
        if !details.is_empty() {
            definition.push_str(&format!("({details})"));
        }
        while self.is_word(0, &["NOT", "NULL"]) {
            definition.push(' ');
            definition.push_str(&self.take()?);
        }
        self.call("__alter_column", vec![table, column, definition]);
        Ok(true)
    }

    /// The version must be a number, a variable or NULL: "CHANGETABLE" takes no expression.
    fn change_table(&mut self) -> Result<(), SqlError> {
        self.copy(2);
        self.skip(1);
        let table = self.name()?;
        self.push(Token::SingleQuotedString(table));
        if self.peek(0) != Some(&Token::Comma) {
            return Err(errors::syntax_near(&self.take()?));
        }
        self.copy(1);
        if self.peek(0) == Some(&Token::Minus) {
            self.copy(1);
        }
        self.copy(1);
        if self.peek(0) != Some(&Token::RParen) {
            return Err(errors::syntax_near(&self.take()?));
        }
        Ok(())
    }

    /// `INSERT @t EXEC procedure …`; false where it is another INSERT.
    fn insert_executed(&mut self) -> Result<bool, SqlError> {
        let into = usize::from(self.is_word(1, &["INTO"]));
        let is_variable = matches!(self.peek(1 + into), Some(Token::Word(word)) if word.value.starts_with('@'));
        if !(is_variable && self.is_word(2 + into, &["EXEC", "EXECUTE"])) {
            return Ok(false);
        }
        self.skip(1 + into);
        let table = self.take()?;
        self.skip(1);
        let procedure = self.name()?;
        self.call("__insert_executed", vec![table, procedure]);
        let has_arguments = match self.peek(0) {
            None | Some(Token::SemiColon) => false,
            Some(Token::Word(word)) => word.value.starts_with('@') || !is_reserved(&word.value),
            Some(_) => true,
        };
        if has_arguments {
            // The arguments of the procedure follow those of the call.
            self.out.pop();
            self.push(Token::Comma);
        }
        Ok(true)
    }

    /// A call without arguments ends where the next statement begins.
    fn execute(&mut self) {
        let mut words = 2;
        while self.peek(words) == Some(&Token::Period) {
            words += 2;
        }
        self.copy(words);
        let ends = matches!(self.peek(0), Some(Token::Word(word)) if word.quote_style.is_none()
            && !word.value.starts_with('@') && is_reserved(&word.value));
        if ends {
            self.push(Token::SemiColon);
        }
    }
}

/// A name without its quotes.
fn unquoted(name: &str) -> String {
    let inside = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let inside = inside.or_else(|| name.strip_prefix('"').and_then(|name| name.strip_suffix('"')));
    inside.unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use crate::sql::parse::parse_batch;

    #[test]
    fn what_the_parser_does_not_read_becomes_calls() {
        let text = "ALTER DATABASE [a b] SET CHANGE_TRACKING = ON (CHANGE_RETENTION = 2 DAYS, AUTO_CLEANUP = ON)
            ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION OFF WITH ROLLBACK IMMEDIATE
            ALTER TABLE dbo.[t u] ENABLE CHANGE_TRACKING WITH (TRACK_COLUMNS_UPDATED = ON);
            IF 1 = 1 SAVE TRAN a ELSE ROLLBACK TRANSACTION a
            BEGIN TRAN named COMMIT TRANSACTION named ROLLBACK TRAN
            EXEC sys.sp_cdc_scan SELECT c.id FROM CHANGETABLE(CHANGES dbo.[t u], @v) AS c";
        let batch = parse_batch(text).unwrap();
        let shown: Vec<String> = batch.statements.iter().map(|parsed| parsed.statement.to_string()).collect();
        insta::assert_snapshot!(shown.join("\n"));
    }

    #[test]
    fn a_version_is_no_expression() {
        assert_eq!(parse_batch("SELECT 1 FROM CHANGETABLE(CHANGES t, @v - 1) AS c").unwrap_err().number, 102);
    }
}
