//! The read grant: which SQL of a datakit may reach the server.
//!
//! A datakit sends text, and the login behind the connection may be able to do more than read. So the text is read by
//! T-SQL's own lexical rules (`lexical`), those tokens (and not the text) are parsed by `sqlparser`, and the tree is
//! walked against an allow-list (`walk`, `expressions`): what is not listed is refused, what cannot be parsed is
//! refused. What passes is sent as the datakit wrote it, never printed again from the tree.
//!
//! This is a second fence. The first, and the real one, is a login that may do no more than SELECT.

mod expressions;
mod lexical;
mod lists;
#[cfg(test)]
mod tests;
mod walk;

use datakit_model::TablePatterns;
use sqlparser::dialect::MsSqlDialect;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

use super::config::SqlLimits;

/// Why a text was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A bound of the operator.
    #[error("{what} of {value} is over the limit `{limit_name}` of {limit}")]
    Limit {
        /// What was counted.
        what: &'static str,
        /// How much there was; for a depth, the first too deep.
        value: u64,
        /// The setting.
        limit_name: &'static str,
        /// Its value.
        limit: u64,
    },
    /// It is not T-SQL as far as the guard can read it.
    #[error("it cannot be read as T-SQL: {0}")]
    Unreadable(String),
    /// It is not exactly one query.
    #[error("it is {0}, and only one query is allowed")]
    NotOneQuery(String),
    /// A construct that is not on the list.
    #[error("{0} is not allowed")]
    Construct(String),
    /// A function that is not on the list.
    #[error("the function {0} is not on the list of allowed functions")]
    Function(String),
    /// A table outside the grant.
    #[error("{0} is not granted")]
    NotGranted(String),
    /// A name that reaches out of the database, or that says no schema.
    #[error("the table name {0} must have two parts, schema and name")]
    NameParts(String),
}

impl Refusal {
    /// The stable code.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Limit { .. } => "DK-SRC-070",
            Self::Unreadable(_) => "DK-SRC-071",
            Self::NotOneQuery(_) => "DK-SRC-072",
            Self::Construct(_) => "DK-SRC-073",
            Self::Function(_) => "DK-SRC-074",
            Self::NotGranted(_) => "DK-SRC-075",
            Self::NameParts(_) => "DK-SRC-076",
        }
    }

    /// What to do.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Limit { limit_name, .. } => {
                format!("raise `limits.guest.{limit_name}` if the datakit is right to need it")
            }
            Self::NotGranted(_) => {
                "if the datakit is right to read it, add it to `tables`; catalog views are listed in the documentation"
                    .to_owned()
            }
            Self::NameParts(_) => "write [schema].[table]; other databases and servers cannot be granted".to_owned(),
            Self::Unreadable(_) | Self::NotOneQuery(_) | Self::Construct(_) | Self::Function(_) => {
                "a datakit may send one SELECT made of the constructs and functions that the documentation lists"
                    .to_owned()
            }
        }
    }

    /// Named facts.
    pub(super) fn context(&self) -> Vec<(String, String)> {
        match self {
            Self::Limit { value, limit_name, limit, .. } => {
                vec![((*limit_name).to_owned(), limit.to_string()), ("value".to_owned(), value.to_string())]
            }
            Self::Function(name) => vec![("function".to_owned(), name.clone())],
            Self::NotGranted(name) | Self::NameParts(name) => vec![("table".to_owned(), name.clone())],
            _ => Vec::new(),
        }
    }
}

/// A text that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Accepted<'a> {
    /// The query from its first token to its last: without comments around it and without a closing semicolon.
    pub(super) query: &'a str,
    /// A table hint lets it read what is not committed.
    pub(super) dirty_reads: bool,
}

/// Checks one text against the grant.
///
/// # Errors
/// Why it is refused.
pub(super) fn check<'a>(
    sql: &'a str,
    parameters: usize,
    grant: &TablePatterns,
    limits: &SqlLimits,
) -> Result<Accepted<'a>, Refusal> {
    at_most("parameters", parameters as u64, "max_parameters", limits.max_parameters)?;
    at_most("a text", sql.len() as u64, "max_sql_bytes", limits.max_sql_bytes)?;
    let lexed = lexical::read(sql, parameters, limits)?;
    // The parser counts several steps for one level of ours, and grows its stack as needed.
    let depth = usize::try_from(limits.max_syntax_depth.saturating_mul(4)).unwrap_or(usize::MAX);
    if lexed.tokens.is_empty() {
        return Err(Refusal::NotOneQuery("empty".to_owned()));
    }
    // One query and then the end. The parser's own loop over statements stops at a bare END and leaves the rest unread.
    let mut parser = Parser::new(&MsSqlDialect {}).with_recursion_limit(depth).with_tokens(lexed.tokens);
    let query = parser.parse_query().map_err(|error| match error {
        ParserError::RecursionLimitExceeded => too_deep(limits),
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => {
            // Positions of a parser that was given tokens are all zero.
            Refusal::Unreadable(text.replace(" at Line: 0, Column: 0", ""))
        }
    })?;
    let next = parser.peek_token();
    if next.token != Token::EOF {
        return Err(Refusal::NotOneQuery(format!("a query followed by {next}")));
    }
    let mut walk = walk::Walk::new(grant, limits);
    walk.query(&query)?;
    Ok(Accepted { query: &sql[lexed.start..lexed.end], dirty_reads: walk.dirty_reads })
}

fn at_most(what: &'static str, value: u64, limit_name: &'static str, limit: u64) -> Result<(), Refusal> {
    if value > limit { Err(Refusal::Limit { what, value, limit_name, limit }) } else { Ok(()) }
}

fn too_deep(limits: &SqlLimits) -> Refusal {
    Refusal::Limit {
        what: "a syntax depth",
        value: limits.max_syntax_depth + 1,
        limit_name: "max_syntax_depth",
        limit: limits.max_syntax_depth,
    }
}
