//! PostgreSQL as a connector, in both directions: from settings to a source or sink, and the links of `host doctor`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datakit_config::{Connection, SectionKind, SinkConfig};
use datakit_connect::connector::{ConnectedSink, ConnectedSource, Connector, OpenError, Outline, Services};
use datakit_connect::dataset::DatasetName;
use datakit_connect::permissions::Permissions;
use datakit_connect::presented::Greeting;
use datakit_connect::probe::{
    Broken, DATABASE, Encryption, KERBEROS, LOGIN, Presenting, SECRET, TCP, TLS, Walk, login_broke, show_tls,
};
use datakit_connect::sink::SinkError;
use datakit_guard::SqlLimits;
use datakit_model::sink::Sink;
use datakit_model::source::Source;
use datakit_model::{Credential, Failure, TableId};

use crate::server::{Encrypt, Server};
use crate::settings::{self, PostgresServer, PostgresSettings, PostgresSinkSettings};
use crate::sink::PostgresSink;
use crate::sink::names::TableName;
use crate::source::{LogicalConfig, PostgresConfig, PostgresError, PostgresSource};
use crate::wire::ServerInfo;

/// The link of what a role may do in the sink.
const WRITABLE: &str = "writable";

/// The link of what a source reads of the server's log.
const REPLICATION: &str = "replication";

/// Why there is no link of Kerberos, as docs/kerberos.md says it.
const NO_GSSAPI: &str = "GSSAPI is not offered for PostgreSQL: tokio-postgres does not speak it (rust-postgres #994)";

/// The longest wait for a server's certificate.
const CERTIFICATE_TIMEOUT: Duration = Duration::from_secs(15);

/// PostgreSQL.
#[derive(Debug, Clone, Copy)]
pub struct Postgres;

impl Connector for Postgres {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    fn sections(&self) -> Vec<SectionKind> {
        vec![settings::CONNECTION, settings::SINK]
    }

    fn page(&self) -> &'static str {
        include_str!("../README.md")
    }

    fn source(&self, connection: &Connection, services: &dyn Services) -> Result<Arc<dyn ConnectedSource>, OpenError> {
        let settings = source_settings(connection)?;
        let limits = services.limits();
        let config = PostgresConfig {
            server_limit: services.server_limit(connection),
            pool: (&settings.pool).into(),
            timeouts: (&settings.timeouts).into(),
            read: limits.read.clone(),
            sql: SqlLimits::from(&limits.guest),
            row_security: settings.row_security,
            logical: settings
                .slot
                .clone()
                .zip(settings.publication.clone())
                .map(|(slot, publication)| LogicalConfig { slot, publication }),
            ..PostgresConfig::new(server(&settings.server, services)?)
        };
        let source = PostgresSource::new(config).map_err(Failure::from)?;
        let is_logical = settings.slot.is_some();
        Ok(Arc::new(Reading { server: settings.server.clone(), is_logical, source: Arc::new(source) }))
    }

    fn sink(&self, sink: &SinkConfig, services: &dyn Services) -> Result<Arc<dyn ConnectedSink>, OpenError> {
        let settings = sink_settings(sink)?;
        let sink = PostgresSink::new(server(&settings.server, services)?);
        let sink = sink.with_max_merge_bytes(services.limits().run.max_merge_bytes);
        let max_connections = usize::try_from(settings.max_connections).unwrap_or(usize::MAX);
        let sink = Arc::new(sink.with_keep_partitions(settings.keep_partitions).with_max_connections(max_connections));
        Ok(Arc::new(Writing { server: settings.server.clone(), sink }))
    }

    fn source_outline(&self, connection: &Connection, _: Option<&dyn ConnectedSource>) -> Outline {
        let outlined = |settings: &PostgresSettings| {
            let more: &[&'static str] = if settings.slot.is_some() { &[REPLICATION] } else { &[] };
            outline(&settings.server, more)
        };
        source_settings(connection).map_or_else(|_| Outline::default(), outlined)
    }

    fn sink_outline(&self, sink: &SinkConfig, _: Option<&dyn ConnectedSink>, _: bool) -> Outline {
        sink_settings(sink).map_or_else(|_| Outline::default(), |settings| outline(&settings.server, &[WRITABLE]))
    }
}

fn source_settings(connection: &Connection) -> Result<&PostgresSettings, OpenError> {
    connection.settings().ok_or_else(|| OpenError::not_opened(connection.name(), connection.kind()))
}

fn sink_settings(sink: &SinkConfig) -> Result<&PostgresSinkSettings, OpenError> {
    sink.settings().ok_or_else(|| OpenError::not_opened(sink.name(), sink.kind()))
}

fn outline(server: &PostgresServer, more: &[&'static str]) -> Outline {
    let PostgresServer { host, port, database, user, .. } = server;
    let mut links = Vec::new();
    links.extend(server.password.is_some().then_some(SECRET));
    links.extend([KERBEROS, TCP, TLS, LOGIN, DATABASE]);
    links.extend(more);
    Outline { target: format!("PostgreSQL {host}:{port}, database `{database}`, as `{user}`"), links }
}

fn server(settings: &PostgresServer, services: &dyn Services) -> Result<Server, OpenError> {
    let password: Option<Credential> =
        settings.password.as_ref().map(|setting| services.credential(setting)).transpose()?;
    Ok(Server {
        port: settings.port,
        password,
        encrypt: settings.encrypt,
        certificate_file: settings.certificate_file.as_ref().map(|path| path.to_path_buf()),
        trust_certificate: settings.trust_certificate,
        application_name: services.application_name().to_owned(),
        ..Server::new(&settings.host, &settings.database, &settings.user)
    })
}

/// A source with the settings of its server.
struct Reading {
    server: PostgresServer,
    /// It has a slot and a publication.
    is_logical: bool,
    source: Arc<PostgresSource>,
}

#[async_trait]
impl ConnectedSource for Reading {
    fn source(&self) -> Arc<dyn Source> {
        Arc::clone(&self.source) as Arc<dyn Source>
    }

    fn dataset(&self, table: &TableId) -> DatasetName {
        dataset(&self.server, table)
    }

    async fn reach(&self) -> Result<(), Failure> {
        Ok(self.source.reach().await?)
    }

    async fn permissions(&self) -> Result<Permissions, Failure> {
        Ok(self.source.permissions().await?)
    }

    async fn walk(&self, walk: &mut dyn Walk) -> Result<(), Broken> {
        if let Some(password) = &self.server.password {
            walk.secret(password, self.source.fetch_password()).await?;
        }
        let address = reach(walk, &self.server, self.source.reach()).await?;
        let (checked, took) = walk.step(&format!("the login at {address}"), self.source.check()).await;
        let link = checked.as_ref().err().and_then(link_of_source);
        logged_in(walk, &self.server, link, checked.map_err(Failure::from), took).await?;
        if self.is_logical {
            let detail = |found: &Option<String>| found.clone().unwrap_or_default();
            walk.link(REPLICATION, "slot and publication", self.source.check_logical(), detail).await?;
        }
        Ok(())
    }
}

/// Source and sink may be of one database, and mean one table then.
fn dataset(server: &PostgresServer, table: &TableId) -> DatasetName {
    let place = format!("{}:{}", server.host, server.port);
    DatasetName::in_database("postgres", &place, &server.database, table)
}

/// A sink with the settings of its server.
struct Writing {
    server: PostgresServer,
    sink: Arc<PostgresSink>,
}

#[async_trait]
impl ConnectedSink for Writing {
    fn sink(&self) -> Arc<dyn Sink> {
        Arc::clone(&self.sink) as Arc<dyn Sink>
    }

    fn dataset(&self, source_system: &str, table: &TableId) -> Result<DatasetName, Failure> {
        let TableName { schema, table } = TableName::new(source_system, table)?;
        Ok(dataset(&self.server, &TableId::new(schema, table)))
    }

    async fn walk(&self, walk: &mut dyn Walk, _: bool) -> Result<(), Broken> {
        if let Some(password) = &self.server.password {
            walk.secret(password, self.sink.fetch_password()).await?;
        }
        let address = reach(walk, &self.server, self.sink.reach()).await?;
        let (checked, took) = walk.step(&format!("the login at {address}"), self.sink.check()).await;
        let link = checked.as_ref().err().and_then(link_of_sink);
        logged_in(walk, &self.server, link, checked.map_err(Failure::from), took).await?;
        let detail = |(): &()| "what a run needs first is there, or may be made".to_owned();
        walk.link(WRITABLE, "what the role may do", self.sink.probe(), detail).await
    }
}

/// The links up to the network; the answer is the server's address.
async fn reach<E: Into<Failure>>(
    walk: &mut dyn Walk,
    server: &PostgresServer,
    reaching: impl Future<Output = Result<(), E>> + Send,
) -> Result<String, Broken> {
    walk.not_used(KERBEROS, NO_GSSAPI.to_owned());
    let address = format!("{}:{}", server.host, server.port);
    walk.link(TCP, &format!("TCP to {address}"), reaching, |()| address.clone()).await?;
    Ok(address)
}

/// The links that a login has shown; `link` is the one at which it failed, as far as its error tells.
async fn logged_in(
    walk: &mut dyn Walk,
    server: &PostgresServer,
    link: Option<&'static str>,
    checked: Result<ServerInfo, Failure>,
    took: Duration,
) -> Result<(), Broken> {
    let tls = encryption(server);
    let presenting = Presenting {
        host: &server.host,
        port: server.port,
        greeting: Greeting::Postgres,
        timeout: CERTIFICATE_TIMEOUT,
    };
    match checked {
        Ok(info) => {
            show_tls(walk, &tls);
            if walk.saves_certificate() {
                walk.certificate(presenting).await;
            }
            walk.ok(LOGIN, Some(took), format!("as `{}`", info.user));
            walk.ok(DATABASE, None, format!("`{}`, PostgreSQL {}", info.database, info.version));
            Ok(())
        }
        Err(failure) => {
            let broken = login_broke(walk, link, &tls, took, failure);
            if link == Some(TLS) || walk.saves_certificate() {
                walk.certificate(presenting).await;
            }
            Err(broken)
        }
    }
}

fn link_of_source(error: &PostgresError) -> Option<&'static str> {
    match error {
        PostgresError::Certificate { .. }
        | PostgresError::NoEncryption { .. }
        | PostgresError::CertificateFile { .. } => Some(TLS),
        PostgresError::NoDatabaseAccess { .. } => Some(DATABASE),
        PostgresError::Server { state, .. } if state == "3D000" => Some(DATABASE),
        PostgresError::Server { .. } | PostgresError::NoPassword { .. } => Some(LOGIN),
        _ => None,
    }
}

fn link_of_sink(error: &SinkError) -> Option<&'static str> {
    match error {
        SinkError::Tls { .. } | SinkError::Certificate { .. } => Some(TLS),
        SinkError::Login { .. } => Some(LOGIN),
        SinkError::NoDatabase { .. } | SinkError::Permission { .. } => Some(DATABASE),
        _ => None,
    }
}

fn encryption(server: &PostgresServer) -> Encryption {
    if server.host.starts_with('/') {
        return Err("a Unix socket of this machine".to_owned());
    }
    if server.encrypt == Encrypt::Off {
        return Err("`encrypt = \"off\"`: rows travel in clear text".to_owned());
    }
    Ok(if server.trust_certificate {
        "any certificate is taken: the connection can be intercepted".to_owned()
    } else {
        format!("the certificate is trusted and names {}", server.host)
    })
}
