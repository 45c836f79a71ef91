//! A sink: whether tables could be written to it. Nothing is, but for the object of --write-probe.

use std::path::Path;

use datakit_config::{Config, DeltaSettings, PostgresServer, SinkConfig};
use datakit_connect::sink::SinkError;
use datakit_model::sink::Sink as _;
use datakit_postgres::sink::PostgresSink;

use super::Doctoring;
use super::certificate;
use super::chain::{Broken, Chain, Walked};
use super::connection::{
    DATABASE, KERBEROS, LOGIN, NO_GSSAPI, SETTINGS, TCP, TLS, login_broke, postgres_encryption, presenting_postgres,
    show_tls,
};
use super::secret::{self, SECRET};
use crate::kinds::SinkKind;
use crate::reports::Reports;

const STORE: &str = "store";
const WRITABLE: &str = "writable";
/// Of an object store, with --write-probe alone.
const CONDITIONS: &str = "conditions";

pub(super) async fn walk(
    doctoring: &Doctoring<'_>,
    sink: &SinkConfig,
    config: &Config,
    write_probe: bool,
) -> Result<Walked, Reports> {
    let name = sink.name();
    match SinkKind::of(sink)? {
        SinkKind::Delta(sink) => delta(doctoring, name, sink, config, write_probe).await,
        SinkKind::Postgres(sink) => postgres(doctoring, name, sink).await,
    }
}

async fn delta(
    doctoring: &Doctoring<'_>,
    name: &str,
    sink: &DeltaSettings,
    config: &Config,
    write_probe: bool,
) -> Result<Walked, Reports> {
    let opened = doctoring.context.delta_sink(sink, config);
    let is_in_store = opened.as_ref().map_or_else(|_| sink.uri.contains("://"), |sink| sink.is_in_store());
    let mut links = if is_in_store { vec![SETTINGS, STORE, WRITABLE] } else { vec![SETTINGS, WRITABLE] };
    let probes_conditions = write_probe && is_in_store;
    links.extend(probes_conditions.then_some(CONDITIONS));
    let mut chain = doctoring.begin("sink", name, format!("Delta tables at {}", sink.uri), links);
    let sink = match opened {
        Ok(sink) => sink,
        Err(error) => {
            chain.broken(SETTINGS, None, error);
            return Ok(chain.end()?);
        }
    };
    chain.ok(SETTINGS, None, "complete");
    if is_in_store {
        let (reached, took) = chain.step("the object store", sink.reach()).await;
        match reached {
            Ok(()) => chain.ok(STORE, Some(took), "answers, and may be listed"),
            Err(error) => {
                chain.broken(STORE, Some(took), error);
                return Ok(chain.end()?);
            }
        }
    }
    let (probed, took) = chain.step("a write that is never completed", sink.probe()).await;
    match probed {
        Ok(()) => chain.ok(WRITABLE, Some(took), sink.place()),
        Err(error) => {
            chain.broken(WRITABLE, Some(took), error);
            return Ok(chain.end()?);
        }
    }
    if probes_conditions {
        let (probed, took) = chain.step("two conditional writes", sink.probe_conditions()).await;
        match probed {
            Ok(()) => chain.ok(CONDITIONS, Some(took), "the second of two writes of one object was refused"),
            Err(error) => {
                chain.broken(CONDITIONS, Some(took), error);
            }
        }
    }
    Ok(chain.end()?)
}

async fn postgres(doctoring: &Doctoring<'_>, name: &str, sink: &PostgresServer) -> Result<Walked, Reports> {
    let target = format!("PostgreSQL {}:{}, database `{}`, as `{}`", sink.host, sink.port, sink.database, sink.user);
    let mut links = vec![SETTINGS];
    links.extend(sink.password.is_some().then_some(SECRET));
    links.extend([KERBEROS, TCP, TLS, LOGIN, DATABASE, WRITABLE]);
    let mut chain = doctoring.begin("sink", name, target, links);
    let begin = std::time::Instant::now();
    match doctoring.context.postgres_sink(sink) {
        Err(error) => {
            chain.broken(SETTINGS, Some(begin.elapsed()), error);
        }
        Ok(opened) => {
            chain.ok(SETTINGS, Some(begin.elapsed()), "complete");
            // A broken link says so by itself.
            let _ = walk_postgres(&mut chain, &opened, sink, doctoring.save).await;
        }
    }
    Ok(chain.end()?)
}

async fn walk_postgres(
    chain: &mut Chain<'_>,
    sink: &PostgresSink,
    server: &PostgresServer,
    save: Option<&Path>,
) -> Result<(), Broken> {
    if let Some(password) = &server.password {
        secret::walk(chain, password, sink.fetch_password()).await?;
    }
    chain.not_used(KERBEROS, NO_GSSAPI);
    let address = format!("{}:{}", server.host, server.port);
    let (reached, took) = chain.step(&format!("TCP to {address}"), sink.reach()).await;
    match reached {
        Ok(()) => chain.ok(TCP, Some(took), address.clone()),
        Err(error) => return Err(chain.broken(TCP, Some(took), error)),
    }
    let tls = postgres_encryption(server);
    let (found, took) = chain.step(&format!("the login at {address}"), sink.check()).await;
    match found {
        Ok(info) => {
            show_tls(chain, &tls);
            if save.is_some() {
                certificate::show(chain, presenting_postgres(server), save).await;
            }
            chain.ok(LOGIN, Some(took), format!("as `{}`", info.user));
            chain.ok(DATABASE, None, format!("`{}`, PostgreSQL {}", info.database, info.version));
        }
        Err(error) => {
            let link = match &error {
                SinkError::Tls { .. } | SinkError::Certificate { .. } => Some(TLS),
                SinkError::Login { .. } => Some(LOGIN),
                SinkError::NoDatabase { .. } | SinkError::Permission { .. } => Some(DATABASE),
                _ => None,
            };
            let broken = login_broke(chain, link, &tls, took, error);
            if link == Some(TLS) || save.is_some() {
                certificate::show(chain, presenting_postgres(server), save).await;
            }
            return Err(broken);
        }
    }
    let (probed, took) = chain.step("what the role may do", sink.probe()).await;
    match probed {
        Ok(()) => {
            chain.ok(WRITABLE, Some(took), "what a run needs first is there, or may be made");
            Ok(())
        }
        Err(error) => Err(chain.broken(WRITABLE, Some(took), error)),
    }
}
