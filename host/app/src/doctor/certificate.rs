//! The certificate that a server presents: shown where it is refused, and saved where that is asked for.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use datakit_connect::presented::{Greeting, Presented, presented};
use serde::Serialize;

use super::chain::Chain;
use crate::error::AppError;

/// Where a certificate is asked for.
pub(super) struct Server<'s> {
    pub(super) host: &'s str,
    pub(super) port: u16,
    pub(super) greeting: Greeting,
    pub(super) patience: Duration,
}

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

/// Asks for it and tells of it, under the link that was told last.
pub(super) async fn show(chain: &mut Chain<'_>, server: Server<'_>, save: Option<&Path>) {
    let Server { host, port, greeting, patience } = server;
    let (found, _) = chain.step("the server's certificate", presented(host, port, greeting, patience)).await;
    match found {
        Ok(presented) => {
            if let Some(file) = save
                && let Err(source) = write_new(file, presented.pem.as_bytes())
            {
                chain.trouble(AppError::Write { path: file.to_owned(), source });
                return;
            }
            let saved_to = save.map(|file| file.display().to_string());
            let can_be_pinned = greeting != Greeting::Postgres || presented.subject == presented.issuer;
            chain.certificate(Certificate { presented, saved_to, can_be_pinned });
        }
        Err(error) if save.is_some() => {
            chain.trouble(AppError::NoCertificate { address: format!("{host}:{port}"), source: error });
        }
        Err(error) => chain.remark(format!("the server's certificate cannot be shown: {error}")),
    }
}

/// Never over a file that is there: it may be the one that is pinned.
fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::File::options().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
