//! SQL Server as a connector: from settings to a source, and the links of `host doctor`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datakit_config::environment::KRB5CCNAME;
use datakit_config::{Connection, Kerberos, SectionKind, TicketSource};
use datakit_connect::connector::{ConnectedSource, Connector, OpenError, Outline, Services};
use datakit_connect::dataset::DatasetName;
use datakit_connect::permissions::Permissions;
use datakit_connect::presented::Greeting;
use datakit_connect::probe::{
    Broken, CHANNEL_BINDING, DATABASE, Encryption, KDC_TIMEOUT, KERBEROS, LOGIN, Presenting, SECRET, TCP, TLS, Walk,
    login_broke, show_channel_binding, show_tls, ticket_links, walk_tickets,
};
use datakit_guard::SqlLimits;
use datakit_kerberos::{Origin, Service, TicketSettings, Tickets};
use datakit_model::source::Source;
use datakit_model::{Failure, TableId};

use crate::config::{Encrypt, Login, SqlServerConfig};
use crate::error::SourceError;
use crate::settings::{self, SqlServerSettings};
use crate::{ServerInfo, SqlServerSource};

/// The link of the service that says an instance's port.
const BROWSER: &str = "sql browser";

/// SQL Server.
#[derive(Debug, Clone, Copy)]
pub struct SqlServer;

impl Connector for SqlServer {
    fn kind(&self) -> &'static str {
        "sqlserver"
    }

    fn sections(&self) -> Vec<SectionKind> {
        vec![settings::KIND]
    }

    fn page(&self) -> &'static str {
        include_str!("../README.md")
    }

    fn source(&self, connection: &Connection, services: &dyn Services) -> Result<Arc<dyn ConnectedSource>, OpenError> {
        let settings = settings_of(connection)?;
        let (login, tickets) = match settings.login() {
            settings::Login::Sql { user, password } => {
                (Login::Sql { user: user.to_owned(), password: services.credential(password)? }, None)
            }
            settings::Login::Kerberos(kerberos) => {
                let tickets = Arc::new(tickets(settings, kerberos, services)?);
                (Login::Kerberos(Arc::clone(&tickets)), Some(tickets))
            }
        };
        let config =
            SqlServerConfig { server_limit: services.server_limit(connection), ..config(settings, login, services) };
        let source = SqlServerSource::new(config).map_err(Failure::from)?;
        Ok(Arc::new(Connected { settings: settings.clone(), source: Arc::new(source), tickets }))
    }

    fn source_outline(&self, connection: &Connection, opened: Option<&dyn ConnectedSource>) -> Outline {
        let Ok(settings) = settings_of(connection) else { return Outline::default() };
        let mut links = Vec::new();
        links.extend(settings.instance().is_some().then_some(BROWSER));
        match (opened.and_then(ConnectedSource::tickets), settings.login()) {
            (Some(tickets), _) => links.extend(ticket_links(tickets.origin())),
            (None, settings::Login::Kerberos(_)) => links.push(KERBEROS),
            (None, settings::Login::Sql { .. }) => links.push(SECRET),
        }
        links.extend([TCP, TLS]);
        let (login, binding) = match settings.login() {
            settings::Login::Sql { user, .. } => (format!("as `{user}`, with a password"), None),
            settings::Login::Kerberos(_) => ("with Kerberos".to_owned(), Some(CHANNEL_BINDING)),
        };
        links.extend(binding);
        links.extend([LOGIN, DATABASE]);
        Outline { target: format!("SQL Server {}, database `{}`, {login}", settings.place(), settings.database), links }
    }
}

fn settings_of(connection: &Connection) -> Result<&SqlServerSettings, OpenError> {
    connection.settings().ok_or_else(|| OpenError::not_opened(connection.name(), connection.kind()))
}

/// The tickets of a connection. Nothing is asked for yet.
fn tickets(settings: &SqlServerSettings, kerberos: &Kerberos, services: &dyn Services) -> Result<Tickets, OpenError> {
    let variable = |name| services.environment().get(name).filter(|value| !value.is_empty()).cloned();
    let origin = match kerberos.ticket() {
        TicketSource::Keytab { keytab, principal } => {
            Origin::Keytab { keytab: services.keytab(keytab)?, principal: principal.to_owned() }
        }
        TicketSource::Cache(name) => Origin::Cache(name.map(str::to_owned).or_else(|| variable(KRB5CCNAME))),
    };
    let min_remaining = Duration::from_secs(kerberos.min_remaining_seconds);
    let service = Service {
        class: "MSSQLSvc",
        host: kerberos.spn_host.clone().unwrap_or_else(|| settings.host().to_owned()),
        port: kerberos.spn_port.unwrap_or(settings.port()),
        realm: kerberos.realm.clone(),
    };
    Ok(Tickets::new(TicketSettings { origin, min_remaining, timeout: KDC_TIMEOUT }, service))
}

fn config(settings: &SqlServerSettings, login: Login, services: &dyn Services) -> SqlServerConfig {
    let limits = services.limits();
    SqlServerConfig {
        port: settings.port(),
        instance: settings.instance().map(str::to_owned),
        application_intent: settings.application_intent,
        encrypt: settings.encrypt,
        trust_certificate: settings.trust_certificate,
        certificate_file: settings.certificate_file.as_ref().map(|path| path.to_path_buf()),
        host_name_in_certificate: settings.host_name_in_certificate.clone(),
        reader: settings.reader,
        pool: (&settings.pool).into(),
        timeouts: (&settings.timeouts).into(),
        read: limits.read.clone(),
        sql: SqlLimits::from(&limits.guest),
        application_name: services.application_name().to_owned(),
        ..SqlServerConfig::with_login(settings.host(), &settings.database, login)
    }
}

/// A source with its settings.
struct Connected {
    settings: SqlServerSettings,
    source: Arc<SqlServerSource>,
    tickets: Option<Arc<Tickets>>,
}

#[async_trait]
impl ConnectedSource for Connected {
    fn source(&self) -> Arc<dyn Source> {
        Arc::clone(&self.source) as Arc<dyn Source>
    }

    fn dataset(&self, table: &TableId) -> DatasetName {
        DatasetName::in_database("mssql", &self.settings.place(), &self.settings.database, table)
    }

    fn tickets(&self) -> Option<&Arc<Tickets>> {
        self.tickets.as_ref()
    }

    async fn reach(&self) -> Result<(), Failure> {
        Ok(self.source.reach().await.map(drop)?)
    }

    async fn permissions(&self) -> Result<Permissions, Failure> {
        Ok(self.source.permissions().await?)
    }

    async fn walk(&self, walk: &mut dyn Walk) -> Result<(), Broken> {
        let tickets = match self.settings.instance() {
            Some(instance) => {
                let detail = |port| format!("instance {instance} listens on port {port}");
                let locating = self.source.locate();
                let located = walk
                    .link(BROWSER, "SQL Server Browser, UDP port 1434", locating, |located| detail(located.port))
                    .await?;
                located.tickets
            }
            None => self.tickets.clone(),
        };
        if let Some(tickets) = tickets {
            walk_tickets(walk, &tickets).await?;
        }
        if let settings::Login::Sql { password, .. } = self.settings.login() {
            walk.secret(password, self.source.fetch_password()).await?;
        }
        let address = self.settings.place();
        let found = walk.link(TCP, &format!("TCP to {address}"), self.source.reach(), ToString::to_string).await?;
        let (checked, took) = walk.step(&format!("the login at {address}"), self.source.check()).await;
        match checked {
            Ok(info) => {
                self.logged_in(walk, found.port(), info, took).await;
                Ok(())
            }
            Err(error) => Err(self.login_broke(walk, found.port(), error, took).await),
        }
    }
}

impl Connected {
    async fn logged_in(&self, walk: &mut dyn Walk, port: u16, info: ServerInfo, took: Duration) {
        show_tls(walk, &encryption(&self.settings));
        if walk.saves_certificate() {
            walk.certificate(presenting(&self.settings, port)).await;
        }
        show_channel_binding(walk);
        let sent_on = self.source.destination().map(|place| format!(", at {place}")).unwrap_or_default();
        walk.ok(LOGIN, Some(took), format!("as `{}`{sent_on}", info.login));
        walk.ok(DATABASE, None, format!("`{}`, SQL Server {}, {}", info.database, info.version, info.edition));
    }

    async fn login_broke(&self, walk: &mut dyn Walk, port: u16, error: SourceError, took: Duration) -> Broken {
        let link = link_of(&error);
        let broken = login_broke(walk, link, &encryption(&self.settings), took, error.into());
        if link == Some(TLS) || walk.saves_certificate() {
            walk.certificate(presenting(&self.settings, port)).await;
        }
        broken
    }
}

/// The link at which a login failed; none where the error does not tell.
fn link_of(error: &SourceError) -> Option<&'static str> {
    match error {
        SourceError::Certificate { .. } | SourceError::NoEncryption { .. } | SourceError::CertificateFile { .. } => {
            Some(TLS)
        }
        SourceError::Server { .. } if error.is_refused_database() => Some(DATABASE),
        SourceError::Server { .. } | SourceError::Ticket(_) | SourceError::TicketLogin(_) => Some(LOGIN),
        _ => None,
    }
}

/// Where the server is asked for its certificate.
fn presenting(settings: &SqlServerSettings, port: u16) -> Presenting<'_> {
    let greeting = if settings.encrypt == Encrypt::Strict { Greeting::StrictTds } else { Greeting::Tds };
    let timeout = Duration::from_secs(settings.timeouts.connect_seconds);
    Presenting { host: settings.host(), port, greeting, timeout }
}

fn encryption(settings: &SqlServerSettings) -> Encryption {
    if settings.encrypt == Encrypt::Off {
        return Err("`encrypt = \"off\"`: rows travel in clear text".to_owned());
    }
    Ok(if settings.certificate_file.is_some() {
        "the certificate is the pinned one".to_owned()
    } else if settings.trust_certificate {
        "any certificate is taken: the connection can be intercepted".to_owned()
    } else {
        let name = settings.host_name_in_certificate.as_deref().unwrap_or(settings.host());
        format!("the certificate is trusted and names {name}")
    })
}
