//! Walks the way from ticket to table, and stops at the first broken link of each chain with what to do.
//!
//! | module | about |
//! |---|---|
//! | `certificate` | what a server presents, shown and saved |
//! | `chain` | links, and how they were found |
//! | `event` | what is told on the way |
//! | `connection` | a connection: settings, the links of its connector, tables |
//! | `sink` | a sink: settings, the links of its connector |
//! | `registry` | whether datakits can be had, and are the pinned ones |
//!
//! A step of the drivers or of the Kerberos library may show several links at once: which of them broke is told by its error
//! (docs/decisions/0092). Nothing is changed anywhere.

mod certificate;
mod chain;
mod connection;
mod event;
mod registry;
mod sink;

use std::path::Path;

use datakit_config::{Config, Overrides};
use datakit_connect::probe::{SETTINGS, Walk};
use serde::Serialize;

pub use self::certificate::Certificate;
pub use self::chain::{Link, LinkError, LinkStatus, Subject, Walked};
pub use self::event::{DoctorEvent, DoctorObserver};

use self::chain::Chain;
use crate::context::Context;
use crate::error::AppError;
use crate::reports::Reports;
use crate::requests::DoctorRequest;

/// The name of the chain of registry and lock file.
const REGISTRY: &str = "registry";

/// What was found: docs/doctor.md describes it.
#[derive(Debug, Clone, Serialize)]
pub struct Diagnosis {
    /// Whether every link of every chain holds.
    pub in_order: bool,
    /// The first link that is broken.
    pub first_failure: Option<FirstFailure>,
    /// Every chain, in the order in which they were walked.
    pub chains: Vec<Walked>,
}

/// A link that is broken, and of which chain.
#[derive(Debug, Clone, Serialize)]
pub struct FirstFailure {
    /// What the chain is about.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// The link.
    pub link: &'static str,
    /// The code of its error.
    pub code: String,
}

impl From<Vec<Walked>> for Diagnosis {
    fn from(chains: Vec<Walked>) -> Self {
        let first_failure = chains.iter().find_map(|walked| {
            let (link, error) = walked.broken()?;
            let Subject { kind, name, .. } = &walked.subject;
            Some(FirstFailure { kind, name: name.clone(), link: link.link, code: error.code.clone() })
        });
        Self { in_order: first_failure.is_none(), first_failure, chains }
    }
}

/// What is walked, and who is told.
struct Doctoring<'c> {
    context: &'c Context,
    observer: &'c dyn DoctorObserver,
    /// Where the certificate of the server goes.
    save: Option<&'c Path>,
    walked: Vec<Walked>,
}

impl<'c> Doctoring<'c> {
    fn begin(&self, kind: &'static str, name: &str, target: String, links: Vec<&'static str>) -> Chain<'c> {
        Chain::begin(self.observer, Subject { kind, name: name.to_owned(), target }, links, self.save)
    }
}

/// Walks the way from ticket to table, and stops at the first broken link of each chain.
///
/// # Errors
/// A name that is not configured, a certificate that cannot be saved, or the work was stopped. A broken link is not an error.
pub async fn doctor(
    context: &Context,
    request: &DoctorRequest,
    observer: &dyn DoctorObserver,
) -> Result<Diagnosis, Reports> {
    let mut doctoring = Doctoring { context, observer, save: request.save_certificate.as_deref(), walked: Vec::new() };
    context.unless_stopped(doctoring.walk(request)).await?;
    Ok(doctoring.walked.into())
}

impl Doctoring<'_> {
    async fn walk(&mut self, request: &DoctorRequest) -> Result<(), Reports> {
        let Some(config) = self.configuration(request)? else { return Ok(()) };
        if let Some(name) = &request.name {
            config.check_name(name, &[REGISTRY])?;
        }
        let is_meant = |name: &str| request.name.as_deref().is_none_or(|meant| meant == name);
        for (_, connection) in config.connections.iter().filter(|(name, _)| is_meant(name)) {
            let walked = connection::walk(self, connection, &config).await?;
            self.walked.push(walked);
        }
        for (_, sink) in config.sinks.iter().filter(|(name, _)| is_meant(name)) {
            let walked = sink::walk(self, sink, &config, request.write_probe).await?;
            self.walked.push(walked);
        }
        if is_meant(REGISTRY) {
            let walked = registry::walk(self, &config).await?;
            self.walked.push(walked);
        }
        Ok(())
    }

    /// The first chain has one link: without a configuration nobody knows of others.
    fn configuration(&mut self, request: &DoctorRequest) -> Result<Option<Config>, Reports> {
        let over = Overrides { tables: request.tables.clone(), ..Overrides::default() };
        let begin = std::time::Instant::now();
        let read = self.context.config(over);
        let took = begin.elapsed();
        let file = match &read {
            Ok(config) => config.file.clone(),
            Err(_) => self.context.settings.file.clone(),
        };
        let name = file.map_or_else(|| "of the environment".to_owned(), |file| file.display().to_string());
        let target = "warehouse file and variables".to_owned();
        let mut chain = self.begin("configuration", &name, target, vec![SETTINGS]);
        let config = match read {
            Ok(config) if config.connections.is_empty() && config.sinks.is_empty() => {
                chain.fail(SETTINGS, Some(took), AppError::NothingToCheck.into());
                None
            }
            Ok(config) => {
                let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
                let detail = [
                    count(config.connections.len(), "connection"),
                    count(config.sinks.len(), "sink"),
                    count(config.ingests.len(), "ingest"),
                ];
                chain.ok(SETTINGS, Some(took), detail.join(", "));
                Some(config)
            }
            Err(reports) => {
                chain.fail(SETTINGS, Some(took), reports);
                None
            }
        };
        self.walked.push(chain.end()?);
        Ok(config)
    }
}
