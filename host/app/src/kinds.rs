//! The kinds of connections and sinks that this program makes sources and sinks of: the one place that knows them all.

use datakit_config::{
    Connection, DeltaSettings, FilesSettings, PostgresServer, PostgresSettings, SinkConfig, SqlServerSettings,
};

use crate::error::AppError;

/// The settings of a connection, by its kind.
#[derive(Clone, Copy)]
pub(crate) enum ConnectionKind<'c> {
    SqlServer(&'c SqlServerSettings),
    Postgres(&'c PostgresSettings),
    Files(&'c FilesSettings),
}

impl<'c> ConnectionKind<'c> {
    pub(crate) fn of(connection: &'c Connection) -> Result<Self, AppError> {
        let sqlserver = || connection.settings().map(Self::SqlServer);
        let postgres = || connection.settings().map(Self::Postgres);
        let files = || connection.settings().map(Self::Files);
        let kind = sqlserver().or_else(postgres).or_else(files);
        kind.ok_or_else(|| AppError::UnknownKind { name: connection.name().to_owned(), kind: connection.kind() })
    }
}

/// The settings of a sink, by its kind.
#[derive(Clone, Copy)]
pub(crate) enum SinkKind<'c> {
    Delta(&'c DeltaSettings),
    Postgres(&'c PostgresServer),
}

impl<'c> SinkKind<'c> {
    pub(crate) fn of(sink: &'c SinkConfig) -> Result<Self, AppError> {
        let kind = sink.settings().map(Self::Delta).or_else(|| sink.settings().map(Self::Postgres));
        kind.ok_or_else(|| AppError::UnknownKind { name: sink.name().to_owned(), kind: sink.kind() })
    }
}
