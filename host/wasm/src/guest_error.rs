//! An error as it crosses the boundary, in either direction, whatever the version of the WIT.

use datakit_model::Kind;

/// The record `error` of the WIT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ErrorRecord {
    pub(crate) kind: ErrorKind,
    pub(crate) code: String,
    /// Whether trying again can help.
    pub(crate) after_backoff: bool,
    pub(crate) message: String,
    pub(crate) context: Vec<(String, String)>,
}

/// The enum `error-kind` of the WIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    Config,
    Denied,
    Source,
    Data,
    Datakit,
    Internal,
}

impl ErrorKind {
    /// The kind a guest is told.
    pub(crate) fn told(kind: Kind) -> Self {
        match kind {
            Kind::User => Self::Config,
            Kind::Source => Self::Source,
            Kind::Data => Self::Data,
            Kind::Datakit => Self::Datakit,
            Kind::Sink | Kind::Internal => Self::Internal,
        }
    }

    /// Who has to act on a guest's error. `internal` of a guest is a bug of the datakit, not of the host.
    pub(crate) fn answers_for(self) -> Kind {
        match self {
            Self::Config | Self::Denied => Kind::User,
            Self::Source => Kind::Source,
            Self::Data => Kind::Data,
            Self::Datakit | Self::Internal => Kind::Datakit,
        }
    }
}
