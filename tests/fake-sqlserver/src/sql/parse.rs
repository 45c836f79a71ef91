//! From text to statements: sqlparser's T-SQL dialect, with the OPTION clause, which it refuses, taken out by tokens.

use sqlparser::ast::{Spanned, Statement};
use sqlparser::dialect::MsSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserOptions};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::{errors, rewrite};
use crate::values::SqlError;

/// Tokens of one batch: beyond, a chain of operators would outgrow the stack.
const MAX_TOKENS: usize = 20_000;
/// Depth of nested expressions and queries.
const MAX_DEPTH: usize = 100;

/// A statement, and where it stood.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// The statement.
    pub statement: Statement,
    /// Its line in the batch, from 1.
    pub line: u32,
}

/// A batch of statements.
#[derive(Debug, Clone)]
pub struct Batch {
    /// In order.
    pub statements: Vec<Parsed>,
    /// What stood in the parentheses of OPTION clauses: `MAXDOP 4, RECOMPILE`.
    pub options: Vec<String>,
}

/// Reads a batch.
///
/// # Errors
///
/// 102 and 105 for what is no T-SQL, 191 for what nests too deeply.
pub fn parse_batch(text: &str) -> Result<Batch, SqlError> {
    let dialect = MsSqlDialect {};
    let tokens = Tokenizer::new(&dialect, text).tokenize_with_location().map_err(|error| {
        SqlError::new(105, format!("Unclosed quotation mark or comment: {}.", error.message))
            .with_class(15)
            .at_line(line_number(error.location.line))
    })?;
    if tokens.len() > MAX_TOKENS {
        return Err(too_deep());
    }
    let (tokens, options) = split_options(split_less_than(tokens))?;
    let tokens = rewrite::rewrite(tokens)?;
    let mut parser = Parser::new(&dialect)
        .with_options(ParserOptions::new().with_unescape(true))
        .with_recursion_limit(MAX_DEPTH)
        .with_tokens_with_locations(tokens);
    let mut statements = Vec::new();
    loop {
        while parser.consume_token(&Token::SemiColon) {}
        let start = parser.peek_token_ref().clone();
        if start.token == Token::EOF {
            return Ok(Batch { statements, options });
        }
        let statement = parser.parse_statement().map_err(|error| syntax_error(&error, &parser, &start))?;
        let line = line_number(start.span.start.line.max(statement.span().start.line.min(1)));
        statements.push(Parsed { statement, line });
    }
}

/// `a<@P1`: the tokenizer takes `<@`, an operator of Postgres, for one token; in T-SQL it is `<` before a variable.
fn split_less_than(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut split: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut after_arrow = false;
    for mut token in tokens {
        if let (true, Token::Word(word)) = (after_arrow, &mut token.token) {
            word.value.insert(0, '@');
            word.keyword = Keyword::NoKeyword;
        }
        after_arrow = token.token == Token::ArrowAt;
        if after_arrow {
            token.token = Token::Lt;
        }
        split.push(token);
    }
    split
}

fn line_number(line: u64) -> u32 {
    u32::try_from(line.max(1)).unwrap_or(u32::MAX)
}

fn too_deep() -> SqlError {
    SqlError::new(191, "Some part of your SQL statement is nested too deeply. Rewrite the query or break it up.")
        .with_class(15)
}

fn syntax_error(error: &sqlparser::parser::ParserError, parser: &Parser<'_>, start: &TokenWithSpan) -> SqlError {
    if matches!(error, sqlparser::parser::ParserError::RecursionLimitExceeded) {
        return too_deep();
    }
    // The token that is wrong is the next one or, where the parser has taken it already, the last.
    let candidates = [parser.peek_token_ref(), parser.get_current_token(), start];
    let near = candidates.into_iter().find(|token| token.token != Token::EOF).unwrap_or(start);
    errors::syntax_near(&near.token.to_string()).at_line(line_number(near.span.start.line))
}

/// Takes every `OPTION ( … )` out. OPTION is a reserved word, so unquoted it is nothing else.
fn split_options(tokens: Vec<TokenWithSpan>) -> Result<(Vec<TokenWithSpan>, Vec<String>), SqlError> {
    let mut kept = Vec::with_capacity(tokens.len());
    let mut options = Vec::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let is_option = matches!(
            &token.token,
            Token::Word(word) if word.keyword == Keyword::OPTION && word.quote_style.is_none()
        );
        if !is_option {
            kept.push(token);
            continue;
        }
        let mut depth = 0_usize;
        let mut inside = String::new();
        loop {
            let Some(next) = tokens.next() else { return Err(errors::syntax_near("OPTION")) };
            match &next.token {
                Token::LParen => depth += 1,
                Token::RParen if depth > 0 => depth -= 1,
                Token::Whitespace(_) => {}
                _ if depth == 0 => return Err(errors::syntax_near(&next.token.to_string())),
                _ => {}
            }
            match (&next.token, depth) {
                (Token::RParen, 0) => break,
                (Token::LParen, 1) => {}
                (Token::Whitespace(_), 0) => {}
                (other, _) => inside.push_str(&other.to_string()),
            }
        }
        options.push(inside.trim().to_owned());
    }
    Ok((kept, options))
}

/// The parts of a script between lines that say `GO` and nothing else, as SQL Server's own tools split it.
pub fn split_script(script: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for line in script.lines() {
        if line.trim().eq_ignore_ascii_case("GO") {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push_str(line);
            part.push('\n');
        }
    }
    parts.retain(|part| !part.trim().is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_taken_out_by_tokens() {
        let batch =
            parse_batch("SELECT [option (x)], 'OPTION (y)' FROM t OPTION (MAXDOP 4, RECOMPILE); SELECT 2").unwrap();
        assert_eq!(batch.options, ["MAXDOP 4, RECOMPILE"]);
        assert_eq!(batch.statements.len(), 2);
        assert_eq!(batch.statements[0].statement.to_string(), "SELECT [option (x)], 'OPTION (y)' FROM t");
    }

    #[test]
    fn less_than_before_a_variable_is_less_than() {
        let batch = parse_batch("SELECT 1 FROM t WHERE a<@P1 AND b <@key AND c<@@ROWCOUNT").unwrap();
        let shown = "SELECT 1 FROM t WHERE a < @P1 AND b < @key AND c < @@ROWCOUNT";
        assert_eq!(batch.statements[0].statement.to_string(), shown);
    }

    #[test]
    fn statements_need_no_semicolon_and_know_their_line() {
        let batch = parse_batch("SET NOCOUNT ON\nSELECT 1 AS a\nSELECT 2 AS b").unwrap();
        assert_eq!(batch.statements.iter().map(|parsed| parsed.line).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn wrong_text_is_refused_with_its_place() {
        let error = parse_batch("SELECT 1\nFROM t WHERE )").unwrap_err();
        assert_eq!((error.number, error.class, error.line), (102, 15, 2));
        assert_eq!(parse_batch("SELECT 'abc").unwrap_err().number, 105);
        assert_eq!(parse_batch("SELECT 1 OPTION MAXDOP 4").unwrap_err().number, 102);
        let deep = format!("SELECT {}1{}", "(".repeat(500), ")".repeat(500));
        assert_eq!(parse_batch(&deep).unwrap_err().number, 191);
        let chain = format!("SELECT 1{}", "+1".repeat(100_000));
        assert_eq!(parse_batch(&chain).unwrap_err().number, 191);
    }

    #[test]
    fn scripts_part_at_go() {
        assert_eq!(split_script("SELECT 1\ngo\n\nGO\nSELECT 'GO'"), ["SELECT 1\n", "SELECT 'GO'\n"]);
    }
}
