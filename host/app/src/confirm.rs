//! Sources that keep changes until they were read are told what all their readers have committed.

use datakit_config::{Config, Ingest};
use datakit_model::changes::Strategy;
use datakit_model::sink::KeptState;

use crate::context::Context;
use crate::job::Connections;
use crate::reports::Reports;

/// Tells each source of an ingest that keeps changes how far all tables are that are loaded from it, in whatever sink of the
/// configuration. One state that cannot be read, and the source keeps everything.
///
/// # Errors
/// A sink cannot be reached or listed; what the source reports.
pub(crate) async fn committed(
    context: &Context,
    config: &Config,
    ingest: &Ingest,
    connections: &Connections,
) -> Result<(), Reports> {
    for (name, connected) in connections {
        let source = connected.source();
        if !source.keeps_changes() {
            continue;
        }
        if let Some(positions) = positions(context, config, ingest, name).await? {
            source.confirm(&positions).await?;
        }
    }
    Ok(())
}

/// The positions of all tables that are loaded by changes which the server keeps; none: one of them is not known.
async fn positions(
    context: &Context,
    config: &Config,
    ingest: &Ingest,
    connection: &str,
) -> Result<Option<Vec<String>>, Reports> {
    let Some(source_system) = config.connections.get(connection).map(|it| it.source_system().to_owned()) else {
        return Ok(None);
    };
    let reads = |ingest: &&Ingest| ingest.roles.values().any(|name| name == connection);
    let mut sinks: Vec<&String> = {
        // This one may be made of the environment, and not be in the file.
        let all = config.ingests.iter().chain(std::iter::once(ingest));
        all.filter(reads).filter_map(|it| it.sink.as_ref()).collect()
    };
    sinks.sort_unstable();
    sinks.dedup();
    let mut positions = Vec::new();
    for sink in sinks {
        let Some(settings) = config.sinks.get(sink) else { return Ok(None) };
        let states = context.sink(settings, config)?.sink().states().await?;
        for KeptState { document, .. } in states.into_iter().filter(|kept| kept.source_system == source_system) {
            let Ok(document) = document else { return Ok(None) };
            let known = document.positions.into_iter().filter(|it| it.source.system == source_system);
            positions.extend(known.filter_map(|it| it.watermark).filter(|it| is_kept(it)));
        }
    }
    Ok(Some(positions))
}

/// Whether a server keeps changes from this position on.
fn is_kept(position: &str) -> bool {
    Strategy::of_position(position) == Some(Strategy::Logical.name())
}
