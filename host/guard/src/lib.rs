//! The read grant: which SQL of a datakit may reach a server.
//!
//! A datakit sends text, and the login behind the connection may be able to do more than read. So the text is cut into tokens
//! by its dialect's own lexical rules (each source has its own reader of them), those tokens (and not the text) are parsed by
//! `sqlparser`, and the tree is walked against an allow-list (`walk`, `expressions`): what is not listed is refused, what
//! cannot be parsed is refused. What passes is sent as the datakit wrote it, never printed again from the tree.
//!
//! This is a second fence. The first, and the real one, is a login that may do no more than SELECT.

mod catalog;
mod expressions;
mod limits;
pub mod postgres;
#[cfg(test)]
pub(crate) mod second_reading;
#[cfg(test)]
pub(crate) mod testing;
pub mod tsql;
mod walk;
mod work;

use datakit_model::{Fault, TableId, TablePatterns};
use sqlparser::ast::{Expr, FunctionArguments, Ident, Query};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

pub use self::limits::SqlLimits;
pub(crate) use self::walk::{Walk, construct};
pub(crate) use self::work::Work;

/// Whose text it is, and so what it may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// A datakit's: the tables of the connection's database, by schema and name.
    #[default]
    Datakit,
    /// An operator's own file: tables of other databases of the server too, by database, schema and name, where the grant names
    /// the database.
    OperatorFile,
}

/// What differs from one kind of server to another.
pub(crate) trait Dialect {
    /// Its name, for messages.
    const NAME: &'static str;
    /// A common table expression may name itself in its recursive members, without the word RECURSIVE.
    const COMMON_TABLES_RECUR: bool;
    /// A table's alias may be followed by names for its columns. In T-SQL the same place holds table hints.
    const TABLES_RENAME_COLUMNS: bool;
    /// SUBSTRING takes positions alone, never a pattern.
    const SUBSTRING_TAKES_NUMBERS: bool;
    /// `a.b` may be a property of the column `a`, and runs code of its type.
    const COLUMNS_HAVE_PROPERTIES: bool;
    /// TRUE and FALSE are literals.
    const BOOLEANS: bool;
    /// LIMIT is a clause.
    const LIMIT: bool;
    /// A query reaches tables of other databases, by names of three parts.
    const HAS_CATALOGS: bool;

    /// The parser's word for it; each attempt at an expression is a step of `work`.
    fn grammar(work: Work) -> Box<dyn sqlparser::dialect::Dialect>;
    /// A name as the server compares it with names of tables.
    fn compared(ident: &Ident) -> String;
    /// The readable columns of a catalog view, parted by blanks; none for a view that is not listed.
    fn catalog_columns(schema: &str, name: &str) -> Option<&'static str>;
    /// Whether the name stands for a table of the session alone, whatever schema is written before it.
    fn is_temporary(name: &Ident) -> bool;
    /// Whether the grant holds the table, whatever the server may take the name for; never one of the system's own.
    fn is_granted(grant: &TablePatterns, table: &TableId) -> bool;
    /// Whether the function may be called.
    fn is_function(name: &str) -> bool;
    /// Holds a call of a listed function to the forms that are allowed of it.
    ///
    /// # Errors
    /// A form that reaches further than the function's usual one.
    fn check_call(name: &str, arguments: &FunctionArguments) -> Result<(), Refusal>;
    /// Whether `table.name` can call a function of this name, one that is not on the list, with the whole row.
    fn is_function_of_rows(name: &str) -> bool;
    /// Whether a cast may name the type, given in the parser's spelling.
    fn is_type(text: &str) -> bool;
    /// Whether the bare word cannot be a name.
    fn is_structure_word(word: &str) -> bool;
    /// Whether a table hint lets it read what is not committed.
    ///
    /// # Errors
    /// A hint that is not listed.
    fn table_hint(hint: &Expr) -> Result<bool, Refusal>;
}

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
    /// It is not of its dialect as far as the guard can read it.
    #[error("it cannot be read as {dialect}: {reason}")]
    Unreadable {
        /// The dialect: `T-SQL`.
        dialect: &'static str,
        /// What is in the way.
        reason: String,
    },
    /// It is not exactly one query.
    #[error("it is {0}, and only one query is allowed")]
    NotOneQuery(String),
    /// A construct that is not on the list.
    #[error("{0} is not allowed")]
    Construct(String),
    /// A function that is not on the list.
    #[error("the function {0} is not on the list of allowed functions")]
    Function(String),
    /// A column of a catalog view that is not on the list.
    #[error("the column {column} of the catalog view {view} is not on the list of readable columns")]
    Column {
        /// As the datakit wrote it, `*` included.
        column: String,
        /// The view.
        view: String,
    },
    /// A table outside the grant.
    #[error("{0} is not granted")]
    NotGranted(String),
    /// A name that reaches out of the database, or that says no schema.
    #[error("the table name {0} must have two parts, schema and name")]
    NameParts(String),
}

impl Refusal {
    /// The stable code, of those a source has for refusals, in the order of the variants.
    pub fn code(&self, codes: &[&'static str; 8]) -> &'static str {
        let [limit, unreadable, not_one_query, construct, function, column, not_granted, name_parts] = *codes;
        match self {
            Self::Limit { .. } => limit,
            Self::Unreadable { .. } => unreadable,
            Self::NotOneQuery(_) => not_one_query,
            Self::Construct(_) => construct,
            Self::Function(_) => function,
            Self::Column { .. } => column,
            Self::NotGranted(_) => not_granted,
            Self::NameParts(_) => name_parts,
        }
    }

    /// What to do.
    pub fn hint(&self) -> String {
        match self {
            Self::Limit { limit_name, .. } => {
                format!("raise `limits.guest.{limit_name}` if the datakit is right to need it")
            }
            Self::NotGranted(_) => {
                "if the datakit is right to read it, add it to `tables`; catalog views are listed in docs/sql.md"
                    .to_owned()
            }
            Self::Column { .. } => {
                "name each column of a catalog view with the view's alias, and only columns that docs/sql.md lists; `*` is not allowed"
                    .to_owned()
            }
            Self::NameParts(_) => "write schema and table; other databases and servers cannot be granted".to_owned(),
            Self::Unreadable { .. } | Self::NotOneQuery(_) | Self::Construct(_) | Self::Function(_) => {
                "a datakit may send one SELECT made of the constructs and functions that docs/sql.md lists"
                    .to_owned()
            }
        }
    }

    /// Named facts.
    pub fn context(&self) -> Vec<(String, String)> {
        match self {
            Self::Limit { value, limit_name, limit, .. } => {
                vec![((*limit_name).to_owned(), limit.to_string()), ("value".to_owned(), value.to_string())]
            }
            Self::Function(name) => vec![("function".to_owned(), name.clone())],
            Self::Column { column, view } => {
                vec![("column".to_owned(), column.clone()), ("table".to_owned(), view.clone())]
            }
            Self::NotGranted(name) | Self::NameParts(name) => vec![("table".to_owned(), name.clone())],
            _ => Vec::new(),
        }
    }
}

/// The tokens of a text, and where its first begins and its last ends (a closing semicolon left out).
#[derive(Debug)]
pub(crate) struct Lexed {
    pub(crate) tokens: Vec<Token>,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Holds a text to what is counted before anything reads it.
///
/// # Errors
/// A limit that is exceeded.
pub(crate) fn check_size(sql: &str, parameters: usize, limits: &SqlLimits) -> Result<(), Refusal> {
    at_most("parameters", parameters as u64, "max_parameters", limits.max_parameters)?;
    at_most("a text", sql.len() as u64, "max_sql_bytes", limits.max_sql_bytes)
}

/// One query and then the end. The parser's own loop over statements stops at a bare END and leaves the rest unread.
///
/// The parser tries one reading after another, and some texts make it try each part again for every part around it: its steps
/// are bounded by the number of tokens.
///
/// # Errors
/// What the parser does not understand, or more than one query.
pub(crate) fn parse<D: Dialect>(tokens: Vec<Token>, limits: &SqlLimits) -> Result<Query, Refusal> {
    let unreadable = |reason: String| Refusal::Unreadable { dialect: D::NAME, reason };
    // The parser counts several steps for one level of ours, and grows its stack as needed.
    let depth = usize::try_from(limits.max_syntax_depth.saturating_mul(4)).unwrap_or(usize::MAX);
    if tokens.is_empty() {
        return Err(Refusal::NotOneQuery("empty".to_owned()));
    }
    check_chains(&tokens)?;
    let work = Work::of(tokens.len());
    let grammar = D::grammar(work.clone());
    let mut parser = Parser::new(&*grammar).with_recursion_limit(depth).with_tokens(tokens);
    let query = parser.parse_query().map_err(|error| match error {
        _ if work.is_exceeded() => unreadable("its parts can be read in too many ways".to_owned()),
        ParserError::RecursionLimitExceeded => too_deep(limits),
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => {
            // Positions of a parser that was given tokens are all zero.
            unreadable(text.replace(" at Line: 0, Column: 0", ""))
        }
    })?;
    let next = parser.peek_token();
    if next.token != Token::EOF {
        return Err(Refusal::NotOneQuery(format!("a query followed by {next}")));
    }
    Ok(*query)
}

/// How many tokens may stand in each other.
const MAX_CHAIN_TOKENS: u64 = 4_000;

/// The parser makes a chain such as `1+1+1` one within the other, and what is made so is also dropped so, each level on the
/// stack. Items of a list stand side by side. So the tokens between two commas are counted, those within their parentheses
/// included, and UNIONs, whatever lists are in their members.
fn check_chains(tokens: &[Token]) -> Result<(), Refusal> {
    // Of each open parenthesis: tokens since the last comma, and the most of the items before.
    let mut open: Vec<(u64, u64)> = Vec::new();
    let mut here = (0_u64, 0_u64);
    let mut sets = 0_u64;
    for token in tokens {
        here.0 += 1;
        match token {
            Token::Comma => here = (0, here.0.max(here.1)),
            Token::LParen => open.push(std::mem::take(&mut here)),
            Token::RParen => {
                let inner = here.0.max(here.1);
                here = open.pop().unwrap_or_default();
                here.0 += inner;
            }
            Token::Word(word) if matches!(word.keyword, Keyword::UNION | Keyword::EXCEPT | Keyword::INTERSECT) => {
                sets += 4;
            }
            _ => {}
        }
        if here.0.max(sets) > MAX_CHAIN_TOKENS {
            return Err(Refusal::Construct(format!("a chain of more than {MAX_CHAIN_TOKENS} tokens without a comma")));
        }
    }
    Ok(())
}

/// Stack of a check. The parser recurses for each level of syntax, which is bounded, with frames of some kilobytes.
const STACK_BYTES: usize = 64 << 20;

/// Runs a check on a thread of its own: the threads that serve connections, and answer whether the host is alive, do not wait for it.
///
/// # Errors
/// The refusal; that there is no thread to be had.
pub async fn apart<T, E>(check: impl FnOnce() -> Result<T, Refusal> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: Fault + From<Refusal>,
{
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let run = move || {
        // Nobody waits any more: then nobody is to be told.
        let _ = sender.send(check());
    };
    std::thread::Builder::new()
        .name("guard".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(run)
        .map_err(|error| E::internal(format!("no thread to check a datakit's SQL on: {error}")))?;
    match receiver.await {
        Ok(checked) => checked.map_err(E::from),
        Err(_) => Err(E::internal("the thread that checks a datakit's SQL ended".to_owned())),
    }
}

pub(crate) fn at_most(what: &'static str, value: u64, limit_name: &'static str, limit: u64) -> Result<(), Refusal> {
    if value > limit { Err(Refusal::Limit { what, value, limit_name, limit }) } else { Ok(()) }
}

pub(crate) fn too_deep(limits: &SqlLimits) -> Refusal {
    Refusal::Limit {
        what: "a syntax depth",
        value: limits.max_syntax_depth + 1,
        limit_name: "max_syntax_depth",
        limit: limits.max_syntax_depth,
    }
}
