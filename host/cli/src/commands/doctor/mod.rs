//! `host doctor`: walks the way from ticket to table, and stops at the first broken link of each chain with what to do.
//!
//! | module | about |
//! |---|---|
//! | [`certificate`] | what a server presents, shown and saved |
//! | [`chain`] | links, and how they are shown |
//! | [`connection`] | a source: settings, tickets, network, login, permissions |
//! | [`tickets`] | the links of Kerberos |
//! | [`secret`] | whether a password can be had |
//! | [`sink`] | whether tables could be written |
//! | [`registry`] | whether datakits can be had, and are the pinned ones |
//!
//! A step of the drivers or of the Kerberos library may show several links at once: which of them broke is told by its error
//! (docs/decisions/0092). Nothing is changed anywhere.

mod certificate;
mod chain;
mod connection;
mod registry;
mod secret;
mod sink;
mod tickets;

use std::path::Path;

use datakit_config::{Config, Overrides};
use datakit_model::{Exit, printable};
use serde::Serialize;

use self::chain::{Chain, Subject, Walked};
use crate::arguments::{Doctor, OutputFormat};
use crate::context::Context;
use crate::error::CliError;
use crate::report::Reports;

/// The name of the chain of registry and lock file.
pub(super) const REGISTRY: &str = "registry";

/// The one JSON document: docs/doctor.md describes it.
#[derive(Serialize)]
struct Diagnosis<'w> {
    in_order: bool,
    first_failure: Option<FirstFailure<'w>>,
    chains: &'w [Walked],
}

#[derive(Serialize)]
struct FirstFailure<'w> {
    kind: &'static str,
    name: &'w str,
    link: &'static str,
    code: &'w str,
}

/// What is walked, and how it is told.
struct Doctoring<'c> {
    context: &'c Context,
    output: OutputFormat,
    /// Where the certificate of the server goes.
    save: Option<&'c Path>,
    walked: Vec<Walked>,
}

impl<'c> Doctoring<'c> {
    fn begin(&self, kind: &'static str, name: &str, target: String, links: Vec<&'static str>) -> Chain<'c> {
        let subject = Subject { kind, name: name.to_owned(), target };
        Chain::begin(self.context, self.output, self.walked.is_empty(), subject, links)
    }
}

pub(crate) async fn doctor(arguments: Doctor, context: &Context) -> Result<u8, Reports> {
    let mut doctoring = Doctoring {
        context,
        output: arguments.output,
        save: arguments.save_certificate.as_deref(),
        walked: Vec::new(),
    };
    let walking = doctoring.walk(&arguments);
    match context.stop.run_until_cancelled(walking).await {
        Some(result) => result?,
        None => return Err(CliError::Stopped.into()),
    }
    Ok(doctoring.tell()?)
}

impl Doctoring<'_> {
    async fn walk(&mut self, arguments: &Doctor) -> Result<(), Reports> {
        let Some(config) = self.configuration(arguments)? else { return Ok(()) };
        if let Some(name) = &arguments.name {
            config.check_name(name, &[REGISTRY])?;
        }
        let is_meant = |name: &str| arguments.name.as_deref().is_none_or(|meant| meant == name);
        for (_, connection) in config.connections.iter().filter(|(name, _)| is_meant(name)) {
            let walked = connection::walk(self, connection, &config).await?;
            self.walked.push(walked);
        }
        for (_, sink) in config.sinks.iter().filter(|(name, _)| is_meant(name)) {
            let walked = sink::walk(self, sink, &config, arguments.write_probe).await?;
            self.walked.push(walked);
        }
        if is_meant(REGISTRY) {
            let walked = registry::walk(self, &config).await?;
            self.walked.push(walked);
        }
        Ok(())
    }

    /// The first chain has one link: without a configuration nobody knows of others.
    fn configuration(&mut self, arguments: &Doctor) -> Result<Option<Config>, Reports> {
        let over = Overrides { tables: arguments.tables.clone(), ..Overrides::default() };
        let begin = std::time::Instant::now();
        let read = self.context.config(over);
        let took = begin.elapsed();
        let file = match &read {
            Ok(config) => config.file.clone(),
            Err(_) => self.context.global.config.clone(),
        };
        let name = file.map_or_else(|| "of the environment".to_owned(), |file| file.display().to_string());
        let target = "warehouse file and variables".to_owned();
        let mut chain = self.begin("configuration", &name, target, vec!["settings"]);
        let config = match read {
            Ok(config) if config.connections.is_empty() && config.sinks.is_empty() => {
                chain.broken("settings", Some(took), CliError::NothingToCheck);
                None
            }
            Ok(config) => {
                let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
                let detail = [
                    count(config.connections.len(), "connection"),
                    count(config.sinks.len(), "sink"),
                    count(config.ingests.len(), "ingest"),
                ];
                chain.ok("settings", Some(took), detail.join(", "));
                Some(config)
            }
            Err(reports) => {
                chain.broken("settings", Some(took), reports);
                None
            }
        };
        self.walked.push(chain.end()?);
        Ok(config)
    }

    /// The end of the report, and the exit code.
    fn tell(&self) -> Result<u8, CliError> {
        let failures: Vec<(&Walked, &chain::Link, &chain::LinkError)> = self
            .walked
            .iter()
            .filter_map(|walked| walked.broken().map(|(link, error)| (walked, link, error)))
            .collect();
        let first = failures.first();
        if self.output == OutputFormat::Json {
            let first_failure = first.map(|(walked, link, error)| FirstFailure {
                kind: walked.subject.kind,
                name: &walked.subject.name,
                link: link.link,
                code: &error.code,
            });
            let in_order = failures.is_empty();
            self.context.terminal.print_json(&Diagnosis { in_order, first_failure, chains: &self.walked })?;
        } else {
            self.context.terminal.print(&self.summary(&failures))?;
        }
        let exits = failures.iter().map(|(_, _, error)| Exit::of(error.kind, error.retry));
        Ok(exits.fold(Exit::Done, Exit::or).code())
    }

    fn summary(&self, failures: &[(&Walked, &chain::Link, &chain::LinkError)]) -> String {
        let style = self.context.terminal.output_style;
        if failures.is_empty() {
            let links = self.walked.iter().map(|walked| walked.links.len()).sum::<usize>();
            return format!("\n{}: {links} links of {} chains\n", style.green("in order"), self.walked.len());
        }
        let broken = failures.iter().map(|(walked, link, error)| {
            let Subject { kind, name, .. } = &walked.subject;
            format!("{kind} {} at `{}` ({})", printable::line(name), link.link, error.code)
        });
        format!("\n{}: {}\n", style.red("broken"), broken.collect::<Vec<_>>().join(", "))
    }
}
