//! Loads that give columns of rows new values (docs/backfill.md): what every sink refuses, and the rows that change.

use std::borrow::Cow;

use datakit_model::{Diagnostic, Kind};

/// Why columns of rows cannot get new values.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// Which of the rows is meant cannot be told.
    #[error("{location} holds several rows of one key ({keys}), and a backfill fills one row a key")]
    RepeatedKey {
        /// Where the table is.
        location: String,
        /// The columns of the key.
        keys: String,
    },
    /// A row without a key.
    #[error("`{column}` is null in a row of {place}, and is of the key by which a backfill finds rows")]
    NullKey {
        /// The table, or the source.
        place: String,
        /// The column.
        column: String,
    },
    /// Rows would have to move to another partition.
    #[error("{location} is partitioned by `{column}`, which a backfill does not change")]
    PartitionColumn {
        /// Where the table is.
        location: String,
        /// The column.
        column: String,
    },
    /// There are no rows to fill.
    #[error("{location} holds no rows of an earlier load")]
    NoRows {
        /// Where the table is, or would be.
        location: String,
    },
}

impl UpdateError {
    fn location(&self) -> &str {
        match self {
            Self::NullKey { place: location, .. }
            | Self::RepeatedKey { location, .. }
            | Self::PartitionColumn { location, .. }
            | Self::NoRows { location } => location,
        }
    }
}

impl Diagnostic for UpdateError {
    fn code(&self) -> Cow<'static, str> {
        match self {
            Self::RepeatedKey { .. } => "DK-SNK-085",
            Self::NullKey { .. } => "DK-SNK-086",
            Self::PartitionColumn { .. } => "DK-SNK-087",
            Self::NoRows { .. } => "DK-SNK-088",
        }
        .into()
    }

    fn kind(&self) -> Kind {
        Kind::User
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::RepeatedKey { .. } => {
                "a table that appends changes is a history: its rows keep null, and later changes carry the column; or replace all rows by `host run \
                 --full-refresh`"
            }
            Self::NullKey { .. } => {
                "correct the row, or replace all rows by `host run --full-refresh`; or leave null: rows get their values when they change"
            }
            Self::PartitionColumn { .. } => "replace all rows by `host run --full-refresh`",
            Self::NoRows { .. } => "load the table by `host run`: the load brings all columns",
        };
        Some(hint.to_owned())
    }

    fn context(&self) -> Vec<(String, String)> {
        vec![("location".to_owned(), self.location().to_owned())]
    }
}
