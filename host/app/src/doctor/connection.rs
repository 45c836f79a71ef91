//! A connection: from its settings to the tables that are to be read.

use std::collections::HashMap;

use datakit_config::{Config, Connection, Selection};
use datakit_connect::connector::ConnectedSource;
use datakit_connect::permissions::{PermissionError, Permissions};
use datakit_connect::probe::{Broken, SETTINGS, Walk};
use datakit_model::{Failure, TableId};
use datakit_pipeline::Discovered;

use super::Doctoring;
use super::chain::{Chain, Walked};
use crate::context::Context;
use crate::job::{JobRequest, job};
use crate::reports::Reports;

const TABLES: &str = "tables";

pub(super) async fn walk(
    doctoring: &Doctoring<'_>,
    connection: &Connection,
    config: &Config,
) -> Result<Walked, Reports> {
    let context = doctoring.context;
    let connector = context.connectors.of(connection.name(), connection.kind())?;
    let begin = std::time::Instant::now();
    let connected = context.source(connection, config);
    let took = begin.elapsed();
    let outline = connector.source_outline(connection, connected.as_ref().ok().map(AsRef::as_ref));
    let links = [SETTINGS].into_iter().chain(outline.links).chain([TABLES]).collect();
    let mut chain = doctoring.begin("connection", connection.name(), outline.target, links);
    match connected {
        Err(error) => drop(chain.fail(SETTINGS, Some(took), error)),
        Ok(connected) => {
            chain.ok(SETTINGS, Some(took), "complete".to_owned());
            if connected.walk(&mut chain).await.is_ok() {
                // A broken one says where by itself.
                let _ = tables(&mut chain, context, connection, config, connected.as_ref()).await;
            }
        }
    }
    Ok(chain.end()?)
}

async fn tables(
    chain: &mut Chain<'_>,
    context: &Context,
    connection: &Connection,
    config: &Config,
    connected: &dyn ConnectedSource,
) -> Result<(), Broken> {
    let chosen = config.tables_of(connection.name());
    if chosen.is_empty() {
        chain.not_used(TABLES, "no ingest reads this connection, and no --tables says what would be read".to_owned());
        return Ok(());
    }
    let (found, took) = chain.step("which tables may be read", connected.permissions()).await;
    let permissions = match found {
        Ok(permissions) => permissions,
        Err(failure) => return Err(chain.broken(TABLES, Some(took), failure)),
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
