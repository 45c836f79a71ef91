//! The certificate that a server presents: shown where it is refused, and saved where that is asked for.

use std::io::Write as _;
use std::path::Path;

use datakit_connect::presented::{Greeting, Presented};
use datakit_connect::probe::Presenting;
use serde::Serialize;

use crate::error::AppError;

/// The certificate that a server presents.
#[derive(Debug, Clone, Serialize)]
pub struct Certificate {
    /// What stands in it.
    #[serde(flatten)]
    pub presented: Presented,
    /// The file that now holds it.
    pub saved_to: Option<String>,
    /// Whether `certificate_file` takes it. That of PostgreSQL takes authorities: one that signs itself is its own.
    pub can_be_pinned: bool,
}

/// What is shown where a certificate was asked for.
pub(super) enum Shown {
    /// The certificate.
    Certificate(Certificate),
    /// Why there is none.
    Remark(String),
}

/// What there is to show of a server, saved where that is asked for.
pub(super) fn shown(
    server: &Presenting<'_>,
    found: std::io::Result<Presented>,
    save: Option<&Path>,
) -> Result<Shown, AppError> {
    let address = || format!("{}:{}", server.host, server.port);
    match (found, save) {
        (Ok(presented), save) => {
            if let Some(file) = save {
                let failed = |source| AppError::Write { path: file.to_owned(), source };
                write_new(file, presented.pem.as_bytes()).map_err(failed)?;
            }
            let saved_to = save.map(|file| file.display().to_string());
            let can_be_pinned = server.greeting != Greeting::Postgres || presented.subject == presented.issuer;
            Ok(Shown::Certificate(Certificate { presented, saved_to, can_be_pinned }))
        }
        (Err(source), Some(_)) => Err(AppError::NoCertificate { address: address(), source }),
        (Err(error), None) => Ok(Shown::Remark(format!("the server's certificate cannot be shown: {error}"))),
    }
}

/// Never over a file that is there: it may be the one that is pinned.
fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::File::options().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
