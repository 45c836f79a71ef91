//! A connection of the configuration, ready to be used, and what can be asked of it besides rows.

use std::sync::Arc;

use datakit_connect::permissions::Permissions;
use datakit_files::FilesSource;
use datakit_kerberos::{KerberosError, Tickets};
use datakit_model::Failure;
use datakit_model::source::Source;
use datakit_postgres::source::PostgresSource;
use datakit_sqlserver::SqlServerSource;

use crate::context::KDC_TIMEOUT;

/// The source behind a connection. Cheap to clone.
#[derive(Clone)]
pub(crate) enum Connected {
    SqlServer {
        source: Arc<SqlServerSource>,
        /// What it logs in with, unless with a password.
        tickets: Option<Arc<Tickets>>,
    },
    Postgres(Arc<PostgresSource>),
    Files(Arc<FilesSource>),
}

impl Connected {
    pub(crate) fn source(&self) -> Arc<dyn Source> {
        match self {
            Self::SqlServer { source, .. } => Arc::clone(source) as Arc<dyn Source>,
            Self::Postgres(source) => Arc::clone(source) as Arc<dyn Source>,
            Self::Files(source) => Arc::clone(source) as Arc<dyn Source>,
        }
    }

    pub(crate) fn tickets(&self) -> Option<&Arc<Tickets>> {
        match self {
            Self::SqlServer { tickets, .. } => tickets.as_ref(),
            Self::Postgres(_) | Self::Files(_) => None,
        }
    }

    /// Whether somebody listens there.
    pub(crate) async fn reach(&self) -> Result<(), Failure> {
        match self {
            Self::SqlServer { source, .. } => Ok(source.reach().await.map(drop)?),
            Self::Postgres(source) => Ok(source.reach().await?),
            Self::Files(source) => Ok(source.reach().await?),
        }
    }

    /// Which tables may be read.
    pub(crate) async fn permissions(&self) -> Result<Permissions, Failure> {
        match self {
            Self::SqlServer { source, .. } => Ok(source.permissions().await?),
            Self::Postgres(source) => Ok(source.permissions().await?),
            Self::Files(source) => Ok(source.permissions().await?),
        }
    }
}

/// Asks something of tickets on a thread that may block, as whatever asks a KDC does.
pub(crate) async fn blocking<T: Send + 'static>(
    tickets: &Arc<Tickets>,
    ask: impl FnOnce(&Tickets) -> Result<T, KerberosError> + Send + 'static,
) -> Result<T, KerberosError> {
    let asked = Arc::clone(tickets);
    let asking = tokio::task::spawn_blocking(move || ask(&asked));
    match tokio::time::timeout(KDC_TIMEOUT, asking).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Err(KerberosError::Library { doing: "asking for a ticket", reason: error.to_string() }),
        Err(_) => {
            Err(KerberosError::Timeout { wanted: tickets.service().principal_name(), seconds: KDC_TIMEOUT.as_secs() })
        }
    }
}
