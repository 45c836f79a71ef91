//! `host kerberos`: a ticket cache that is kept fresh, and what is in one.

use datakit_app::{RenewRequest, Reports, keep_fresh, ticket_status};
use datakit_model::Exit;

use super::Session;
use crate::arguments::{Kerberos, KerberosRenew, KerberosStatus, OutputFormat};

pub(super) async fn kerberos(command: Kerberos, session: &Session) -> Result<u8, Reports> {
    match command {
        Kerberos::Renew(arguments) => renew(arguments, session).await,
        Kerberos::Status(arguments) => status(&arguments, session),
    }
}

/// Exit code 1 when the ticket is over, so that a script can ask.
fn status(arguments: &KerberosStatus, session: &Session) -> Result<u8, Reports> {
    let status = ticket_status(&session.context, arguments.cache.as_deref())?;
    match arguments.output {
        OutputFormat::Text => session.terminal.print(&status.text())?,
        OutputFormat::Json => session.terminal.print_json(&status)?,
    }
    Ok(u8::from(!status.is_valid))
}

async fn renew(arguments: KerberosRenew, session: &Session) -> Result<u8, Reports> {
    let KerberosRenew { keytab, principal, cache, interval, group, health, once } = arguments;
    let request = RenewRequest { keytab, principal, cache, interval, group, health, once };
    keep_fresh(&session.context, request).await?;
    Ok(Exit::Done.code())
}
