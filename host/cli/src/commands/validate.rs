//! `host validate`: everything that can be known to be wrong without asking anyone.

use datakit_config::{Config, Connection, Login, Overrides, SecretRef, SecretSetting, SqlServerSettings, TicketSource};
use datakit_kerberos::Keytab;
use datakit_model::Failure;
use datakit_registry::{Location, Reference};

use crate::arguments::Validate;
use crate::context::Context;
use crate::error::CliError;
use crate::report::{Report, Reports};
use crate::secrets::place;

fn keytab_of(connection: &Connection) -> Option<(&SecretSetting, &str)> {
    let Login::Kerberos(kerberos) = connection.settings::<SqlServerSettings>()?.login() else { return None };
    match kerberos.ticket() {
        TicketSource::Keytab { keytab, principal } => Some((keytab, principal)),
        TicketSource::Cache(_) => None,
    }
}

/// What a run will ask of vaults, which nobody asks now.
fn asked_of_vaults(config: &Config) -> Vec<String> {
    let connections = config.connections.values();
    let secrets = connections
        .flat_map(|connection| connection.secrets().into_iter().chain(keytab_of(connection).map(|(keytab, _)| keytab)));
    let secrets = secrets.chain(config.sinks.values().flat_map(datakit_config::SinkConfig::secrets));
    let lines = secrets.filter_map(|secret| match &secret.from {
        SecretRef::Delinea(delinea) => Some(format!("{}: {}, not fetched", secret.path, place(delinea))),
        SecretRef::Env(_) | SecretRef::File(_) => None,
    });
    lines.collect()
}

/// Whether the keytab of a connection can be read and holds its principal's key.
fn check_keytab(connection: &Connection, context: &Context) -> Result<(), Reports> {
    let Some((keytab, principal)) = keytab_of(connection) else { return Ok(()) };
    let place = context.keytab(keytab)?;
    // A vault would have to be asked.
    if !matches!(keytab.from, SecretRef::Delinea(_)) {
        Keytab::read_place(&place)?.require(principal)?;
    }
    Ok(())
}

pub(crate) fn validate(arguments: &Validate, context: &Context) -> Result<u8, Reports> {
    let config = context.config(Overrides::default())?;
    if config.file.is_none() && config.connections.is_empty() && config.sinks.is_empty() {
        return Err(CliError::NoWarehouseFile.into());
    }
    let mut wrong: Vec<Report> = Vec::new();
    let mut note = |error: datakit_registry::RegistryError| wrong.push(Failure::from(error).into());
    if let Some(registry) = &config.warehouse.registry {
        registry.parse::<Location>().map(drop).unwrap_or_else(&mut note);
    }
    for ingest in &config.ingests {
        ingest.datakit.parse::<Reference>().map(drop).unwrap_or_else(&mut note);
    }
    if arguments.secrets {
        let connections = config.connections.values().flat_map(datakit_config::Connection::secrets);
        for secret in connections.chain(config.sinks.values().flat_map(datakit_config::SinkConfig::secrets)) {
            for secret in secret.prerequisites().into_iter().chain([secret]) {
                match secret.resolve(&context.environment) {
                    Ok(resolved) => resolved
                        .and_then(|secret| secret.warning)
                        .iter()
                        .for_each(|warning| context.terminal.warn(warning)),
                    Err(error) => wrong.push(error.into()),
                }
            }
        }
    }
    if arguments.secrets {
        let keytabs = config.connections.values().map(|connection| check_keytab(connection, context));
        wrong.extend(keytabs.filter_map(Result::err).flat_map(|reports| reports.all().to_vec()));
    }
    if let Some(reports) = Reports::of(wrong) {
        return Err(reports);
    }
    let file = config.file.as_ref().map_or_else(|| "the environment".to_owned(), |path| path.display().to_string());
    let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    context.terminal.print(&format!(
        "{file} is valid: {}, {}, {}\n",
        count(config.connections.len(), "connection"),
        count(config.sinks.len(), "sink"),
        count(config.ingests.len(), "ingest")
    ))?;
    config.warnings_of_modes().iter().for_each(|warning| context.terminal.warn(warning));
    for line in asked_of_vaults(&config) {
        context.terminal.print(&format!("{line}\n"))?;
    }
    Ok(0)
}
