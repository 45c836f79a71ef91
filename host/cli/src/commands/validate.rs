//! `host validate`: everything that can be known to be wrong without asking anyone.

use datakit_app::{Reports, ValidateRequest};

use super::Session;
use crate::arguments::Validate;

pub(super) fn validate(arguments: &Validate, session: &Session) -> Result<(), Reports> {
    let valid = datakit_app::validate(&session.context, ValidateRequest { secrets: arguments.secrets })?;
    let file = valid.file.as_ref().map_or_else(|| "the environment".to_owned(), |path| path.display().to_string());
    let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    session.terminal.print(&format!(
        "{file} is valid: {}, {}, {}\n",
        count(valid.connections, "connection"),
        count(valid.sinks, "sink"),
        count(valid.ingests, "ingest")
    ))?;
    valid.warnings.iter().for_each(|warning| session.terminal.warn(warning));
    for (path, place) in valid.in_vaults {
        session.terminal.print(&format!("{path}: {place}, not fetched\n"))?;
    }
    Ok(())
}
