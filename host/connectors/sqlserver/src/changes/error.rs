//! What can go wrong with Change Tracking, change data capture and row versions: `DK-SRC-410` to 413.

use std::borrow::Cow;

use datakit_model::{Diagnostic, Kind, Retry, TableId};

/// An error of a strategy that is not the server's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TrackingError {
    /// The table does not have the strategy, as the server is set up now.
    #[error("{table} cannot be read by the strategy `{strategy}`: {reason}")]
    NotOffered { table: TableId, strategy: &'static str, reason: String },
    /// A column of the primary key that is not among those of the rows.
    #[error("{table}: the strategy `{strategy}` needs the column `{column}` of the primary key among the columns")]
    KeyLeftOut { table: TableId, strategy: &'static str, column: String },
    /// The capture process has not come to the table yet.
    #[error("{table}: change data capture has not begun for the capture instance `{instance}`")]
    NotBegun { table: TableId, instance: String },
    /// What the rows rest on was lost while they were read.
    #[error("{table}: changes were lost while they were read: {reason}")]
    Lost { table: TableId, strategy: &'static str, reason: String },
}

impl TrackingError {
    fn table(&self) -> &TableId {
        match self {
            Self::NotOffered { table, .. }
            | Self::KeyLeftOut { table, .. }
            | Self::NotBegun { table, .. }
            | Self::Lost { table, .. } => table,
        }
    }
}

impl Diagnostic for TrackingError {
    fn code(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::NotOffered { .. } => "DK-SRC-410",
            Self::KeyLeftOut { .. } => "DK-SRC-411",
            Self::NotBegun { .. } => "DK-SRC-412",
            Self::Lost { .. } => "DK-SRC-413",
        })
    }

    fn kind(&self) -> Kind {
        match self {
            Self::NotOffered { .. } | Self::KeyLeftOut { .. } => Kind::User,
            Self::NotBegun { .. } | Self::Lost { .. } => Kind::Source,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::NotBegun { .. } => Retry::AfterBackoff,
            _ => Retry::Never,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(
            match self {
                Self::NotOffered { .. } => {
                    "set the table up as docs/changes.md says, or choose another strategy for it"
                }
                Self::KeyLeftOut { .. } => "take the column into the datakit's columns, or choose another strategy",
                Self::NotBegun { .. } => {
                    "start SQL Server Agent and the capture job of the database (`sys.sp_cdc_start_job`), and run again"
                }
                Self::Lost { .. } => {
                    "nothing was kept: load the table anew, or choose another strategy for it; a longer retention keeps changes for slower runs"
                }
            }
            .to_owned(),
        )
    }

    fn context(&self) -> Vec<(String, String)> {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut context = vec![pair("table", &self.table().to_string())];
        match self {
            Self::NotOffered { strategy, .. } | Self::Lost { strategy, .. } => context.push(pair("strategy", strategy)),
            Self::KeyLeftOut { strategy, column, .. } => {
                context.extend([pair("strategy", strategy), pair("column", column)]);
            }
            Self::NotBegun { instance, .. } => context.push(pair("capture_instance", instance)),
        }
        context
    }
}
