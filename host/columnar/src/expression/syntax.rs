//! From text to a syntax tree, with every bound applied first.

use std::ops::ControlFlow;

use datakit_model::GuestLimits;
use sqlparser::ast::{Expr, Ident, Value, Visit, Visitor};
use sqlparser::dialect::Dialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use crate::error::{ColumnarError, shorten};

/// Expressions nest at most this deep, whatever the operator allows: DataFusion walks them by recursion.
const DEPTH_CEILING: u64 = 256;

/// Stack of the thread that compiles: a base, and room for each level that the parser, the translation and the release
/// of the tree may recurse, which is bounded before it is known by the number of tokens.
const STACK_BASE_BYTES: usize = 4 << 20;
const STACK_BYTES_PER_LEVEL: usize = 64 << 10;
const STACK_BYTES_PER_TOKEN: usize = 4 << 10;

/// SQL with nothing of any product: names in double quotes, text in single quotes.
#[derive(Debug)]
struct ProjectionDialect;

impl Dialect for ProjectionDialect {
    fn is_identifier_start(&self, c: char) -> bool {
        c.is_ascii_alphabetic() || c == '_'
    }

    fn is_identifier_part(&self, c: char) -> bool {
        c.is_ascii_alphanumeric() || c == '_'
    }

    fn is_delimited_identifier_start(&self, c: char) -> bool {
        c == '"'
    }

    /// Otherwise the parser reads a construct that fails once more as a function: with each level of nesting, twice as often.
    fn is_reserved_for_identifier(&self, _: Keyword) -> bool {
        true
    }
}

/// Words that begin what is not in the language. The parser never sees them: its ways through queries and types are many,
/// and some take exponential time.
const FOREIGN_WORDS: &[Keyword] = &[
    Keyword::ARRAY,
    Keyword::EXISTS,
    Keyword::INTERVAL,
    Keyword::LATERAL,
    Keyword::MAP,
    Keyword::SELECT,
    Keyword::STRUCT,
    Keyword::TABLE,
    Keyword::UNNEST,
    Keyword::VALUES,
];

/// Words that are read in a way of their own before a parenthesis, and are not in the language.
const FOREIGN_CALLS: &[Keyword] = &[
    Keyword::CEIL,
    Keyword::CONVERT,
    Keyword::EXTRACT,
    Keyword::FLOOR,
    Keyword::MATCH,
    Keyword::OVERLAY,
    Keyword::POSITION,
    Keyword::SAFE_CAST,
    Keyword::TRY_CONVERT,
];

/// The token that no expression of the language holds, seen at `token` or the one before it.
fn foreign<'t>(token: &'t Token, previous: Option<&'t Token>) -> Option<&'t Token> {
    let plain_word = |token: &Token| match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.keyword),
        _ => None,
    };
    match token {
        // WITH also stands in the name of a type.
        Token::Word(_) => match plain_word(token) {
            Some(Keyword::WITH) => matches!(previous, None | Some(Token::LParen)).then_some(token),
            keyword => keyword.is_some_and(|keyword| FOREIGN_WORDS.contains(&keyword)).then_some(token),
        },
        Token::LParen => {
            previous.filter(|word| plain_word(word).is_some_and(|keyword| FOREIGN_CALLS.contains(&keyword)))
        }
        Token::Number(..) | Token::SingleQuotedString(_) | Token::HexStringLiteral(_) => None,
        Token::Plus | Token::Minus | Token::Mul | Token::Div | Token::Mod => None,
        Token::Eq | Token::Neq | Token::Lt | Token::LtEq | Token::Gt | Token::GtEq => None,
        Token::RParen | Token::Comma | Token::Whitespace(_) | Token::EOF => None,
        _ => Some(token),
    }
}

/// An expression cut into tokens: bounded, not yet parsed.
pub(crate) struct Tokens {
    tokens: Vec<TokenWithSpan>,
    count: usize,
}

/// A parsed expression, of bounded depth.
pub(crate) struct Parsed {
    pub(super) ast: Expr,
    names: Vec<String>,
    literal_bytes: usize,
}

impl Parsed {
    /// The names the expression may mean columns by, each once.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Bytes of all text literals together.
    pub(super) fn literal_bytes(&self) -> usize {
        self.literal_bytes
    }
}

/// Cuts the expression of `column` into tokens and counts them.
pub(crate) fn tokenize(text: &str, column: &str, limits: &GuestLimits) -> Result<Tokens, ColumnarError> {
    let what = || format!("bytes of the expression of `{}`", shorten(column));
    ColumnarError::check(what, "limits.guest.max_expression_bytes", limits.max_expression_bytes, text.len())?;
    let tokens = Tokenizer::new(&ProjectionDialect, text)
        .tokenize_with_location()
        .map_err(|error| ColumnarError::Syntax { column: shorten(column), message: shorten(&error.to_string()) })?;
    let mut count = 0;
    let mut previous = None;
    let mut found = None;
    for token in tokens.iter().map(|token| &token.token).filter(|token| !matches!(token, Token::Whitespace(_))) {
        count += 1;
        found = found.or_else(|| foreign(token, previous));
        previous = Some(token);
    }
    let what = || format!("tokens of the expression of `{}`", shorten(column));
    ColumnarError::check(what, "limits.guest.max_tokens", limits.max_tokens, count)?;
    if let Some(token) = found {
        let what = format!("`{}`", shorten(&token.to_string()));
        return Err(ColumnarError::NotInLanguage { column: shorten(column), what });
    }
    Ok(Tokens { tokens, count })
}

impl Tokens {
    /// How many tokens, white space and comments not counted.
    pub(crate) fn count(&self) -> usize {
        self.count
    }
}

/// Stack that parsing and compiling expressions of up to `tokens` tokens takes at most, in bytes.
pub(crate) fn stack_bytes(tokens: usize, limits: &GuestLimits) -> usize {
    let levels = usize::try_from(max_depth(limits)).unwrap_or(usize::MAX).min(tokens);
    STACK_BASE_BYTES
        .saturating_add(levels.saturating_mul(STACK_BYTES_PER_LEVEL))
        .saturating_add(tokens.saturating_mul(STACK_BYTES_PER_TOKEN))
}

fn max_depth(limits: &GuestLimits) -> u64 {
    limits.max_syntax_depth.min(DEPTH_CEILING)
}

/// Parses one expression. To be called with [`stack_bytes`] of stack.
pub(crate) fn parse(tokens: Tokens, column: &str, limits: &GuestLimits) -> Result<Parsed, ColumnarError> {
    let limit = max_depth(limits);
    let too_deep = || ColumnarError::Limit {
        what: format!("syntax depth of the expression of `{}`", shorten(column)),
        limit: "limits.guest.max_syntax_depth",
        value: limit,
        requested: limit.saturating_add(1),
    };
    let syntax = |message: String| ColumnarError::Syntax { column: shorten(column), message: shorten(&message) };
    let read = |error: ParserError| match error {
        ParserError::RecursionLimitExceeded => too_deep(),
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => syntax(message),
    };
    let recursion_limit = usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1);
    let mut parser =
        Parser::new(&ProjectionDialect).with_recursion_limit(recursion_limit).with_tokens_with_locations(tokens.tokens);
    let ast = parser.parse_expr().map_err(read)?;
    let next = parser.next_token();
    if next.token != Token::EOF {
        let message = format!("one expression is expected, and `{}` follows it{}", next.token, next.span.start);
        return Err(syntax(message));
    }
    let mut survey = Survey { depth: 0, limit, names: Vec::new(), literal_bytes: 0 };
    if ast.visit(&mut survey).is_break() {
        return Err(too_deep());
    }
    let Survey { mut names, literal_bytes, .. } = survey;
    names.sort_unstable();
    names.dedup();
    Ok(Parsed { ast, names, literal_bytes })
}

/// Measures depth, left-deep chains such as `1+1+1` included, and gathers what later steps plan with.
struct Survey {
    depth: u64,
    limit: u64,
    names: Vec<String>,
    literal_bytes: usize,
}

impl Visitor for Survey {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        self.depth += 1;
        if self.depth > self.limit {
            return ControlFlow::Break(());
        }
        match expr {
            Expr::Identifier(Ident { value, .. }) => self.names.push(value.clone()),
            Expr::Value(value) => {
                if let Value::SingleQuotedString(text) = &value.value {
                    self.literal_bytes = self.literal_bytes.saturating_add(text.len());
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, _expr: &Expr) -> ControlFlow<()> {
        self.depth = self.depth.saturating_sub(1);
        ControlFlow::Continue(())
    }
}
