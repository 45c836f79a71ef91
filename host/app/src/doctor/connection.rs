//! A connection: from its settings to the tables that are to be read.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use datakit_config::{
    Config, Connection, Encrypt, Login, PostgresEncrypt, PostgresServer, PostgresSettings, Selection, SqlServerSettings,
};
use datakit_connect::permissions::{PermissionError, Permissions};
use datakit_connect::presented::Greeting;
use datakit_kerberos::Tickets;
use datakit_model::{Failure, TableId};
use datakit_pipeline::Discovered;
use datakit_postgres::source::{PostgresError, PostgresSource};
use datakit_sqlserver::{SourceError, SqlServerSource};

use super::certificate::{self, Server};
use super::chain::{Broken, Chain, Walked};
use super::secret::{self, SECRET};
use super::{Doctoring, tickets};
use crate::connectors::Connected;
use crate::context::Context;
use crate::job::{JobRequest, job};
use crate::kinds::ConnectionKind;
use crate::reports::Reports;

pub(super) const SETTINGS: &str = "settings";
pub(super) const KERBEROS: &str = "kerberos";
const BROWSER: &str = "sql browser";
pub(super) const TCP: &str = "tcp";
pub(super) const TLS: &str = "tls";
const CHANNEL_BINDING: &str = "channel binding";
pub(super) const LOGIN: &str = "login";
pub(super) const DATABASE: &str = "database";
const FILES: &str = "files";
const TABLES: &str = "tables";

/// Why there is no link of Kerberos for PostgreSQL, as docs/kerberos.md says it.
pub(super) const NO_GSSAPI: &str =
    "GSSAPI is not offered for PostgreSQL: tokio-postgres does not speak it (rust-postgres #994)";

/// What is said of the channel binding, whatever comes of the login (docs/decisions/0155).
const NO_CHANNEL_BINDING: &str =
    "neither driver sends one: a server whose Extended Protection is `Required` refuses the ticket";

pub(super) async fn walk(
    doctoring: &Doctoring<'_>,
    connection: &Connection,
    config: &Config,
) -> Result<Walked, Reports> {
    let kind = ConnectionKind::of(connection)?;
    let begin = std::time::Instant::now();
    let connected = doctoring.context.source(connection, config);
    let took = begin.elapsed();
    let links = links(kind, connected.as_ref().ok());
    let mut chain = doctoring.begin("connection", connection.name(), target(kind), links);
    let whole = match connected {
        Err(error) => Err(chain.broken(SETTINGS, Some(took), error)),
        Ok(connected) => {
            chain.ok(SETTINGS, Some(took), "complete");
            walk_connected(&mut chain, doctoring, (connection, kind), config, &connected).await
        }
    };
    // A broken one says where by itself.
    let _ = whole;
    Ok(chain.end()?)
}

/// The links of the chain, from the settings to the tables.
fn links(kind: ConnectionKind<'_>, connected: Option<&Connected>) -> Vec<&'static str> {
    let mut links = vec![SETTINGS];
    match kind {
        ConnectionKind::SqlServer(server) => {
            links.extend(server.instance().is_some().then_some(BROWSER));
            match (connected, server.login()) {
                (Some(Connected::SqlServer { tickets: Some(tickets), .. }), _) => {
                    links.extend(tickets::links(tickets.origin()));
                }
                (_, Login::Kerberos(_)) => links.push(KERBEROS),
                (_, Login::Sql { .. }) => links.push(SECRET),
            }
            links.extend([TCP, TLS]);
            links.extend(matches!(server.login(), Login::Kerberos(_)).then_some(CHANNEL_BINDING));
            links.extend([LOGIN, DATABASE]);
        }
        ConnectionKind::Postgres(PostgresSettings { server, .. }) => {
            links.extend(server.password.is_some().then_some(SECRET));
            links.extend([KERBEROS, TCP, TLS, LOGIN, DATABASE]);
        }
        ConnectionKind::Files(_) => links.push(FILES),
    }
    links.push(TABLES);
    links
}

fn target(kind: ConnectionKind<'_>) -> String {
    match kind {
        ConnectionKind::SqlServer(server) => {
            let login = match server.login() {
                Login::Sql { user, .. } => format!("as `{user}`, with a password"),
                Login::Kerberos(_) => "with Kerberos".to_owned(),
            };
            format!("SQL Server {}, database `{}`, {login}", server.place(), server.database)
        }
        ConnectionKind::Postgres(PostgresSettings { server, .. }) => {
            format!("PostgreSQL {}:{}, database `{}`, as `{}`", server.host, server.port, server.database, server.user)
        }
        ConnectionKind::Files(connection) => format!("files of {}", connection.root),
    }
}

async fn walk_connected(
    chain: &mut Chain<'_>,
    doctoring: &Doctoring<'_>,
    (connection, kind): (&Connection, ConnectionKind<'_>),
    config: &Config,
    connected: &Connected,
) -> Result<(), Broken> {
    match (connected, kind) {
        (Connected::SqlServer { source, tickets }, ConnectionKind::SqlServer(connection)) => {
            let tickets = match connection.instance() {
                Some(instance) => browser(chain, source, instance).await?,
                None => tickets.clone(),
            };
            if let Some(tickets) = tickets {
                tickets::walk(chain, &tickets).await?;
            }
            if let Login::Sql { password, .. } = connection.login() {
                secret::walk(chain, password, source.fetch_password()).await?;
            }
            sqlserver(chain, source, connection, doctoring.save).await?;
        }
        (Connected::Postgres(source), ConnectionKind::Postgres(connection)) => {
            if let Some(password) = &connection.server.password {
                secret::walk(chain, password, source.fetch_password()).await?;
            }
            chain.not_used(KERBEROS, NO_GSSAPI);
            postgres(chain, source, connection, doctoring.save).await?;
        }
        (Connected::Files(source), ConnectionKind::Files(connection)) => {
            let (reached, took) = chain.step(&format!("files of {}", connection.root), source.reach()).await;
            match reached {
                Ok(()) => chain.ok(FILES, Some(took), "they can be listed"),
                Err(error) => return Err(chain.broken(FILES, Some(took), error)),
            }
        }
        // A connection becomes a source of its own kind.
        _ => return Ok(()),
    }
    tables(chain, doctoring.context, connection, config, connected).await
}

/// The port of an instance, and the tickets for the server at that port.
async fn browser(
    chain: &mut Chain<'_>,
    source: &SqlServerSource,
    instance: &str,
) -> Result<Option<Arc<Tickets>>, Broken> {
    let (located, took) = chain.step("SQL Server Browser, UDP port 1434", source.locate()).await;
    match located {
        Ok(located) => {
            chain.ok(BROWSER, Some(took), format!("instance {instance} listens on port {}", located.port));
            Ok(located.tickets)
        }
        Err(error) => Err(chain.broken(BROWSER, Some(took), error)),
    }
}

async fn sqlserver(
    chain: &mut Chain<'_>,
    source: &SqlServerSource,
    connection: &SqlServerSettings,
    save: Option<&Path>,
) -> Result<(), Broken> {
    let address = connection.place();
    let (reached, took) = chain.step(&format!("TCP to {address}"), source.reach()).await;
    let port = match reached {
        Ok(found) => {
            chain.ok(TCP, Some(took), found.to_string());
            found.port()
        }
        Err(error) => return Err(chain.broken(TCP, Some(took), error)),
    };
    let tls = encryption(connection);
    let (found, took) = chain.step(&format!("the login at {address}"), source.check()).await;
    match found {
        Ok(info) => {
            show_tls(chain, &tls);
            if save.is_some() {
                certificate::show(chain, presenting(connection, port), save).await;
            }
            show_channel_binding(chain);
            let sent_on = source.destination().map(|place| format!(", at {place}")).unwrap_or_default();
            chain.ok(LOGIN, Some(took), format!("as `{}`{sent_on}", info.login));
            chain.ok(DATABASE, None, format!("`{}`, SQL Server {}, {}", info.database, info.version, info.edition));
            Ok(())
        }
        Err(error) => {
            let link = match &error {
                SourceError::Certificate { .. }
                | SourceError::NoEncryption { .. }
                | SourceError::CertificateFile { .. } => Some(TLS),
                SourceError::Server { .. } if error.is_refused_database() => Some(DATABASE),
                SourceError::Server { .. } | SourceError::Ticket(_) | SourceError::TicketLogin(_) => Some(LOGIN),
                _ => None,
            };
            let broken = login_broke(chain, link, &tls, took, error);
            if link == Some(TLS) || save.is_some() {
                certificate::show(chain, presenting(connection, port), save).await;
            }
            Err(broken)
        }
    }
}

async fn postgres(
    chain: &mut Chain<'_>,
    source: &PostgresSource,
    connection: &PostgresSettings,
    save: Option<&Path>,
) -> Result<(), Broken> {
    let server = &connection.server;
    let address = format!("{}:{}", server.host, server.port);
    let (reached, took) = chain.step(&format!("TCP to {address}"), source.reach()).await;
    match reached {
        Ok(()) => chain.ok(TCP, Some(took), address.clone()),
        Err(error) => return Err(chain.broken(TCP, Some(took), error)),
    }
    let tls = postgres_encryption(server);
    let (found, took) = chain.step(&format!("the login at {address}"), source.check()).await;
    match found {
        Ok(info) => {
            show_tls(chain, &tls);
            if save.is_some() {
                certificate::show(chain, presenting_postgres(server), save).await;
            }
            chain.ok(LOGIN, Some(took), format!("as `{}`", info.user));
            chain.ok(DATABASE, None, format!("`{}`, PostgreSQL {}", info.database, info.version));
            Ok(())
        }
        Err(error) => {
            let link = match &error {
                PostgresError::Certificate { .. }
                | PostgresError::NoEncryption { .. }
                | PostgresError::CertificateFile { .. } => Some(TLS),
                PostgresError::NoDatabaseAccess { .. } => Some(DATABASE),
                PostgresError::Server { state, .. } if state == "3D000" => Some(DATABASE),
                PostgresError::Server { .. } | PostgresError::NoPassword { .. } => Some(LOGIN),
                _ => None,
            };
            let broken = login_broke(chain, link, &tls, took, error);
            if link == Some(TLS) || save.is_some() {
                certificate::show(chain, presenting_postgres(server), save).await;
            }
            Err(broken)
        }
    }
}

/// Where a SQL Server is asked for its certificate.
fn presenting(connection: &SqlServerSettings, port: u16) -> Server<'_> {
    let greeting = if connection.encrypt == Encrypt::Strict { Greeting::StrictTds } else { Greeting::Tds };
    let patience = Duration::from_secs(connection.timeouts.connect_seconds);
    Server { host: connection.host(), port, greeting, patience }
}

/// The same of a PostgreSQL, source or sink.
pub(super) fn presenting_postgres(server: &PostgresServer) -> Server<'_> {
    Server { host: &server.host, port: server.port, greeting: Greeting::Postgres, patience: PATIENCE }
}

/// The longest wait for a PostgreSQL's certificate.
const PATIENCE: Duration = Duration::from_secs(15);

/// How a connection is encrypted: in words, or why it is not.
pub(super) type Encryption = Result<String, String>;

fn encryption(connection: &SqlServerSettings) -> Encryption {
    if connection.encrypt == Encrypt::Off {
        return Err("`encrypt = \"off\"`: rows travel in clear text".to_owned());
    }
    Ok(if connection.certificate_file.is_some() {
        "the certificate is the pinned one".to_owned()
    } else if connection.trust_certificate {
        "any certificate is taken: the connection can be intercepted".to_owned()
    } else {
        let name = connection.host_name_in_certificate.as_deref().unwrap_or(connection.host());
        format!("the certificate is trusted and names {name}")
    })
}

/// The same for PostgreSQL, source or sink.
pub(super) fn postgres_encryption(server: &PostgresServer) -> Encryption {
    if server.host.starts_with('/') {
        return Err("a Unix socket of this machine".to_owned());
    }
    if server.encrypt == PostgresEncrypt::Off {
        return Err("`encrypt = \"off\"`: rows travel in clear text".to_owned());
    }
    Ok(if server.trust_certificate {
        "any certificate is taken: the connection can be intercepted".to_owned()
    } else {
        format!("the certificate is trusted and names {}", server.host)
    })
}

/// A login that went through has shown the encryption.
pub(super) fn show_tls(chain: &mut Chain<'_>, tls: &Encryption) {
    match tls {
        Ok(how) => chain.ok(TLS, None, how.clone()),
        Err(why) => chain.not_used(TLS, why.clone()),
    }
}

/// There is none, whatever comes of the login.
fn show_channel_binding(chain: &mut Chain<'_>) {
    if chain.open().first() == Some(&CHANNEL_BINDING) {
        chain.not_used(CHANNEL_BINDING, NO_CHANNEL_BINDING);
    }
}

/// A login that failed has shown what comes before the link at which it did. Where the error does not tell (the server
/// hung up), it is the first that was not shown.
pub(super) fn login_broke(
    chain: &mut Chain<'_>,
    link: Option<&'static str>,
    tls: &Encryption,
    took: Duration,
    error: impl Into<Reports>,
) -> Broken {
    if matches!(link, Some(LOGIN | DATABASE)) || tls.is_err() {
        show_tls(chain, tls);
        show_channel_binding(chain);
    }
    if link == Some(DATABASE) {
        chain.ok(LOGIN, None, "accepted");
    }
    let link = link.filter(|link| chain.open().contains(link)).or(chain.open().first().copied());
    chain.broken(link.unwrap_or(LOGIN), Some(took), error)
}

async fn tables(
    chain: &mut Chain<'_>,
    context: &Context,
    connection: &Connection,
    config: &Config,
    connected: &Connected,
) -> Result<(), Broken> {
    let chosen = config.tables_of(connection.name());
    if chosen.is_empty() {
        chain.not_used(TABLES, "no ingest reads this connection, and no --tables says what would be read");
        return Ok(());
    }
    let (found, took) = chain.step("which tables may be read", connected.permissions()).await;
    let permissions = match found {
        Ok(permissions) => permissions,
        Err(error) => return Err(chain.broken(TABLES, Some(took), error)),
    };
    let checked: Result<Vec<usize>, PermissionError> =
        chosen.iter().map(|patterns| permissions.check(patterns)).collect();
    match checked {
        Ok(counts) => {
            let sum: usize = counts.iter().sum();
            let plural = if sum == 1 { "table" } else { "tables" };
            chain.ok(TABLES, Some(took), format!("`{}` may read {sum} chosen {plural}", permissions.user));
            Ok(())
        }
        Err(error) => {
            let (left_out, more) =
                chain.step("which tables the datakit reads", left_out(context, connection, config, &permissions)).await;
            match left_out {
                Some(count) => {
                    let detail = match count {
                        0 => "all columns that are read may be; the datakit leaves out the others".to_owned(),
                        count => {
                            format!(
                                "all that are read may be; {count} more are chosen, and the datakit leaves them out"
                            )
                        }
                    };
                    chain.ok(TABLES, Some(took + more), detail);
                    Ok(())
                }
                None => Err(chain.broken(TABLES, Some(took), Failure::from(error))),
            }
        }
    }
}

/// Whether the settings of the datakits leave out all tables and columns that may not be read: then nothing is missing. The
/// number of such tables; none where something is missing, or where the datakits cannot be asked.
async fn left_out(
    context: &Context,
    connection: &Connection,
    config: &Config,
    permissions: &Permissions,
) -> Option<usize> {
    let reads = |ingest: &&datakit_config::Ingest| ingest.roles.values().any(|name| name == connection.name());
    let mut count = None;
    for (index, _) in config.ingests.iter().enumerate().filter(|(_, ingest)| reads(ingest)) {
        let selection = Selection { ingest: Some((index + 1).to_string()), ..Selection::default() };
        let ingest = config.ingest(&selection).ok()?;
        if permissions.check(&ingest.tables).is_ok() {
            continue;
        }
        let job = job(context, config, &ingest, JobRequest::new(false)).await.ok()?;
        let discovered = datakit_pipeline::discover(&job, &()).await.ok()?;
        let read: HashMap<TableId, Vec<String>> = discovered
            .into_iter()
            .map(|Discovered { id, table, .. }| {
                let columns = table.map(|table| table.columns.fields().iter().map(|c| c.name().clone()).collect());
                (id, columns.unwrap_or_default())
            })
            .collect();
        let reading = permissions.reading(|table| read.get(table).map(Vec::as_slice));
        reading.check(&ingest.tables).ok()?;
        *count.get_or_insert(0) +=
            permissions.only(|table| !read.contains_key(table) && ingest.tables.allows(table)).tables.len();
    }
    count
}
