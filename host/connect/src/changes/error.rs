//! What can go wrong with changes, whatever the kind of source: `DK-SRC-400` to 409.

use std::borrow::Cow;

use datakit_model::changes::Strategy;
use datakit_model::{Diagnostic, Kind, TableId};

/// Any error of a request for changes that is not the server's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangesError {
    /// A text that is not a position of the strategy.
    #[error("`{position}` is not a position of the strategy `{strategy}`")]
    Position {
        /// The text.
        position: String,
        /// The strategy that is asked for.
        strategy: &'static str,
    },
    /// A table that the operator did not grant.
    #[error("the table {table} is not granted")]
    NotGranted {
        /// The table.
        table: TableId,
    },
    /// A table that is not there, or that the login does not see.
    #[error("{table} is not there, or the login does not see it")]
    TableMissing {
        /// The table.
        table: TableId,
    },
    /// A column that is not there, or that the login may not read.
    #[error("{table} has no column `{column}`, or the login may not read it")]
    ColumnMissing {
        /// The table.
        table: TableId,
        /// The column.
        column: String,
    },
    /// A column that cannot be a watermark.
    #[error("{0}")]
    ColumnType(Box<Unfit>),
    /// A column of the source with a name that the host gives to one of its own.
    #[error("{table} has a column `{column}`, which is the name of a column of the host")]
    Reserved {
        /// The table.
        table: TableId,
        /// The column.
        column: String,
    },
    /// A strategy that the kind of source does not have.
    #[error("{kind} has no strategy `{strategy}`")]
    NoStrategy {
        /// The strategy.
        strategy: &'static str,
        /// The kind of source.
        kind: &'static str,
    },
    /// The rows of a feed with a gap, or the second time.
    #[error("{0}")]
    NoRows(&'static str),
    /// Something that cannot happen.
    #[error("{0}")]
    Internal(String),
}

/// A column that cannot be a watermark, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{table}: the column `{column}` of type {sql_type} cannot be a watermark: {reason}")]
pub struct Unfit {
    /// The table.
    pub table: TableId,
    /// The column.
    pub column: String,
    /// As the server declares it.
    pub sql_type: String,
    /// Why not.
    pub reason: String,
}

/// Characters of a text that is not a position, as messages show it: a position may have some hundred thousand.
const MAX_SHOWN_CHARS: usize = 100;

impl ChangesError {
    /// A text is not a position of the strategy.
    #[must_use]
    pub fn not_a_position(text: &str, strategy: &'static str) -> Self {
        let mut position: String = text.chars().take(MAX_SHOWN_CHARS).collect();
        if position.len() < text.len() {
            position.push('…');
        }
        Self::Position { position, strategy }
    }

    /// A kind of source is asked for a strategy of another.
    #[must_use]
    pub fn no_strategy(strategy: &Strategy, kind: &'static str) -> Self {
        Self::NoStrategy { strategy: strategy.name(), kind }
    }
}

impl Diagnostic for ChangesError {
    fn code(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Position { .. } => "DK-SRC-400",
            Self::NotGranted { .. } => "DK-SRC-406",
            Self::TableMissing { .. } => "DK-SRC-401",
            Self::ColumnMissing { .. } => "DK-SRC-402",
            Self::ColumnType(_) => "DK-SRC-403",
            Self::Reserved { .. } => "DK-SRC-404",
            Self::NoRows(_) => "DK-SRC-405",
            Self::NoStrategy { .. } => "DK-SRC-407",
            Self::Internal(_) => "DK-SRC-409",
        })
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Position { .. }
            | Self::ColumnMissing { .. }
            | Self::ColumnType(_)
            | Self::Reserved { .. }
            | Self::NoStrategy { .. } => Kind::User,
            Self::TableMissing { .. } => Kind::Source,
            Self::NotGranted { .. } | Self::NoRows(_) => Kind::Datakit,
            Self::Internal(_) => Kind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Position { .. } => {
                "the strategy or its version has changed since the last run: load the table anew, or set the strategy back"
            }
            Self::NotGranted { .. } => "add it to `tables` of the ingest",
            Self::TableMissing { .. } => "check the table's name and GRANT SELECT on it; or run `discover` again",
            Self::ColumnMissing { .. } => {
                "check the column's name, also upper and lower case, and GRANT SELECT on it; or run `discover` again"
            }
            Self::ColumnType(_) => {
                "choose another column as the watermark; docs/changes.md lists the types that can be one"
            }
            Self::Reserved { .. } => "rename the column, or leave it out of the datakit's columns",
            Self::NoStrategy { .. } => "choose a strategy of docs/changes.md that this kind of source has",
            Self::NoRows(_) => "open the feed again for its rows; a table with a gap is loaded anew",
            Self::Internal(_) => "please report it with the log of this run",
        }
        .to_owned())
    }

    fn context(&self) -> Vec<(String, String)> {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        match self {
            Self::Position { position, .. } => vec![pair("position", position)],
            Self::NotGranted { table } | Self::TableMissing { table } => vec![pair("table", &table.to_string())],
            Self::ColumnMissing { table, column } | Self::Reserved { table, column } => {
                vec![pair("table", &table.to_string()), pair("column", column)]
            }
            Self::ColumnType(unfit) => vec![
                pair("table", &unfit.table.to_string()),
                pair("column", &unfit.column),
                pair("type", &unfit.sql_type),
            ],
            Self::NoStrategy { strategy, .. } => vec![pair("strategy", strategy)],
            Self::NoRows(_) | Self::Internal(_) => Vec::new(),
        }
    }
}
