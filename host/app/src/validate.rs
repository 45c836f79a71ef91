//! Everything that can be known to be wrong without contacting anybody.

use std::path::PathBuf;
use std::sync::Arc;

use datakit_config::{Config, Connection, Overrides, SinkConfig};
use datakit_kerberos::Keytab;
use datakit_model::Failure;
use datakit_registry::{Location, Reference, RegistryError};

use crate::context::Context;
use crate::error::AppError;
use crate::reports::{Report, Reports};
use crate::requests::ValidateRequest;

/// A configuration that is valid.
#[derive(Debug, Clone)]
pub struct Validated {
    /// The warehouse file; none: the environment alone.
    pub file: Option<PathBuf>,
    /// The number of connections.
    pub connections: usize,
    /// The number of sinks.
    pub sinks: usize,
    /// The number of ingests.
    pub ingests: usize,
    /// What is probably not intended.
    pub warnings: Vec<String>,
    /// Secrets of vaults, which were not fetched: the path of the setting, and the place of the secret.
    pub in_vaults: Vec<(String, String)>,
}

/// Checks the configuration, and reports every error at once.
///
/// # Errors
/// All that is wrong.
pub fn validate(context: &Context, request: ValidateRequest) -> Result<Validated, Reports> {
    let config = context.config(Overrides::default())?;
    if config.file.is_none() && config.connections.is_empty() && config.sinks.is_empty() {
        return Err(AppError::NoWarehouseFile.into());
    }
    let mut wrong = wrong_references(&config);
    if request.secrets {
        wrong.extend(wrong_secrets(&config, context));
        wrong.extend(wrong_keys(&config, context));
        let keytabs = config.connections.values().map(|connection| check_keytab(connection, context));
        wrong.extend(keytabs.filter_map(Result::err).flat_map(|reports| reports.all().to_vec()));
    }
    if let Some(reports) = Reports::of(wrong) {
        return Err(reports);
    }
    Ok(Validated {
        connections: config.connections.len(),
        sinks: config.sinks.len(),
        ingests: config.ingests.len(),
        warnings: config.warnings_of_modes(),
        in_vaults: in_vaults(&config),
        file: config.file,
    })
}

fn wrong_references(config: &Config) -> Vec<Report> {
    let registry = config.warehouse.registry.iter().map(|text| text.parse::<Location>().map(drop));
    let datakits = config.ingests.iter().map(|ingest| ingest.datakit.parse::<Reference>().map(drop));
    let errors = registry.chain(datakits).filter_map(Result::err);
    errors.map(|error: RegistryError| Failure::from(error).into()).collect()
}

/// The secrets of variables and files that cannot be had.
fn wrong_secrets(config: &Config, context: &Context) -> Vec<Report> {
    let mut wrong = Vec::new();
    let connections = config.connections.values().flat_map(Connection::secrets);
    let secrets = connections.chain(config.sinks.values().flat_map(SinkConfig::secrets));
    for secret in secrets.chain(config.keys.values()) {
        for secret in secret.prerequisites().into_iter().chain([secret]) {
            match secret.resolve(&context.settings.environment) {
                Ok(resolved) => {
                    resolved.and_then(|secret| secret.warning).iter().for_each(|warning| context.warn(warning));
                }
                Err(error) => wrong.push(error.into()),
            }
        }
    }
    wrong
}

/// The keys of variables and files that are too short or too long.
fn wrong_keys(config: &Config, context: &Context) -> Vec<Report> {
    let fetched = config.keys.values().filter_map(|setting| {
        let secret = setting.resolve(&context.settings.environment).ok()??.secret;
        setting.key(Arc::new(secret)).err()
    });
    fetched.map(Report::from).collect()
}

/// Whether the keytab of a connection can be read and holds its principal's key.
fn check_keytab(connection: &Connection, context: &Context) -> Result<(), Reports> {
    let Some((keytab, principal)) = connection.keytab() else { return Ok(()) };
    let place = context.keytab(keytab)?;
    // A vault would have to be asked.
    if keytab.from.is_local() {
        Keytab::read_place(&place)?.require(principal)?;
    }
    Ok(())
}

/// The secrets that a run will fetch from vaults.
fn in_vaults(config: &Config) -> Vec<(String, String)> {
    let connections = config.connections.values();
    let secrets = connections
        .flat_map(|connection| connection.secrets().into_iter().chain(connection.keytab().map(|(keytab, _)| keytab)));
    let secrets = secrets.chain(config.sinks.values().flat_map(SinkConfig::secrets)).chain(config.keys.values());
    let in_vaults = secrets.filter(|secret| !secret.from.is_local());
    in_vaults.map(|secret| (secret.path.to_string(), secret.from.place())).collect()
}
