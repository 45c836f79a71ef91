//! `host publish`, `pull` and `list`: datakits and the registry.

use datakit_app::{ListedDatakit, PullRequest, Reports};
use datakit_model::printable;

use super::Session;
use crate::arguments::{List, OutputFormat, Publish, Pull};
use crate::terminal::aligned;

pub(super) async fn publish(arguments: Publish, session: &Session) -> Result<(), Reports> {
    let published = session.answer(datakit_app::publish(&session.context, &arguments.file)).await?;
    if arguments.output == OutputFormat::Json {
        return Ok(session.terminal.print_json(&published)?);
    }
    let how = if published.already_there { "was there before, with the same bytes" } else { "published" };
    session.terminal.say(&format!("{}: {how}", published.registry));
    datakit(session, &published.name, &published.version, &published.digest)
}

pub(super) async fn pull(arguments: Pull, session: &Session) -> Result<(), Reports> {
    let request = PullRequest { datakit: arguments.datakit, to: arguments.to };
    let pulled = session.answer(datakit_app::pull(&session.context, &request)).await?;
    if arguments.output == OutputFormat::Json {
        return Ok(session.terminal.print_json(&pulled)?);
    }
    session.terminal.say(if pulled.from_cache { "verified, from the cache" } else { "fetched and verified" });
    datakit(session, &pulled.name, &pulled.version, &pulled.digest)
}

fn datakit(session: &Session, name: &str, version: &str, digest: &str) -> Result<(), Reports> {
    let (name, version) = (printable::line(name), printable::line(version));
    Ok(session.terminal.print(&format!("{name}@{version} {digest}\n"))?)
}

pub(super) async fn list(arguments: List, session: &Session) -> Result<(), Reports> {
    let (registry, listed) = session.answer(datakit_app::list(&session.context, arguments.name.as_deref())).await?;
    if arguments.output == OutputFormat::Json {
        return Ok(session.terminal.print_json(&listed)?);
    }
    if listed.is_empty() {
        session.terminal.say(&format!("nothing is published in {registry}"));
    }
    let row = |entry: ListedDatakit| vec![format!("{}@{}", entry.name, entry.version), entry.digest];
    let rows: Vec<Vec<String>> = listed.into_iter().map(row).collect();
    Ok(session.terminal.print(&aligned(&rows, &[]))?)
}
