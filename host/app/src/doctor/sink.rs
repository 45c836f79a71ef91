//! A sink: whether tables could be written to it. Nothing is, but for the object of --write-probe.

use datakit_config::{Config, SinkConfig};
use datakit_connect::probe::{SETTINGS, Walk};

use super::Doctoring;
use super::chain::Walked;
use crate::reports::Reports;

pub(super) async fn walk(
    doctoring: &Doctoring<'_>,
    sink: &SinkConfig,
    config: &Config,
    write_probe: bool,
) -> Result<Walked, Reports> {
    let connector = doctoring.context.connectors.of(sink.name(), sink.kind())?;
    let begin = std::time::Instant::now();
    let connected = doctoring.context.sink(sink, config);
    let took = begin.elapsed();
    let outline = connector.sink_outline(sink, connected.as_ref().ok().map(AsRef::as_ref), write_probe);
    let links = [SETTINGS].into_iter().chain(outline.links).collect();
    let mut chain = doctoring.begin("sink", sink.name(), outline.target, links);
    match connected {
        Err(error) => drop(chain.fail(SETTINGS, Some(took), error)),
        Ok(connected) => {
            chain.ok(SETTINGS, Some(took), "complete".to_owned());
            // A broken link says so by itself.
            let _ = connected.walk(&mut chain, write_probe).await;
        }
    }
    Ok(chain.end()?)
}
