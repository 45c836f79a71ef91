//! Tables of the sink against their sources, after loads.

mod whole;

use std::time::Duration;

use datakit_config::{Config, Ingest, Mode, Overrides};
use datakit_model::Failure;
use datakit_pipeline::{Reconciled, ReconciledTable, Reconciliation, TableError};
use serde::Serialize;

use crate::component::asked;
use crate::context::Context;
use crate::job::{JobRequest, job, sink_mode};
use crate::reports::{Report, Reports, Tables};
use crate::requests::IngestRequest;

/// Compare tables of the sink with their sources.
#[derive(Debug, Clone)]
pub struct ReconcileRequest {
    /// Which ingest; without one, all of the configuration.
    pub ingest: IngestRequest,
    /// What loads do with the rows that a table already has; none: what the configuration says.
    pub mode: Option<Mode>,
    /// How often keys that differ are looked at again.
    pub again: u32,
    /// The time before each of these looks.
    pub pause: Duration,
    /// Keys in a range.
    pub range_keys: u64,
    /// Show keys by hashes.
    pub masks_keys: bool,
}

impl Default for ReconcileRequest {
    /// Every ingest of the configuration. What differs is looked at once more, after 5 seconds.
    fn default() -> Self {
        Self {
            ingest: IngestRequest::default(),
            mode: None,
            again: 1,
            pause: Duration::from_secs(5),
            range_keys: 10_000,
            masks_keys: false,
        }
    }
}

/// How a comparison ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReconcileStatus {
    /// The sink has what the source has.
    Equal,
    /// It has not.
    Different,
    /// Nobody knows: the table could not be compared.
    Failed,
}

/// What was found of a table.
#[derive(Debug, Clone, Serialize)]
pub struct ReconciledEntry {
    /// The ingest, by its name or its datakit.
    pub ingest: String,
    /// The table.
    pub table: String,
    /// How it ended.
    pub status: ReconcileStatus,
    /// What was found; none: it could not be compared.
    #[serde(flatten)]
    pub found: Option<Reconciled>,
    /// How it differs, or why it could not be compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<TableError>,
}

/// Compares each selected table with its source. Nothing is written. A table that differs is among the failures, as a mismatch.
///
/// # Errors
/// The configuration is invalid, the datakit or the source cannot be reached, no table matches, or the work was stopped.
pub async fn reconcile(context: &Context, request: &ReconcileRequest) -> Result<Tables<ReconciledEntry>, Reports> {
    context.unless_stopped(all(context, request)).await
}

async fn all(context: &Context, request: &ReconcileRequest) -> Result<Tables<ReconciledEntry>, Reports> {
    let config = context.config(Overrides { mode: request.mode, ..request.ingest.overrides() })?;
    let asking = JobRequest::new(request.ingest.locked);
    let (selection, asking) = asked(context, &config, &request.ingest, asking).await?;
    let chosen = config.ingests_of(&selection)?;
    let is_alone = chosen.len() == 1;
    let (mut tables, mut failures) = (Vec::new(), Vec::new());
    for (label, ingest) in chosen {
        let reconciled = match of_ingest(context, &config, &ingest, (request, asking.clone())).await {
            Ok(reconciled) => reconciled,
            Err(reports) if is_alone || reports.was_stopped() => return Err(reports),
            Err(reports) => {
                failures.extend(reports.all().iter().cloned());
                continue;
            }
        };
        for table in reconciled {
            let failure = table.failure();
            tables.push(entry(&label, &table, failure.as_ref()));
            failures.extend(failure.map(|failure| Report::from(failure.with_context("table", &table.id))));
        }
    }
    Ok(Tables { tables, failures: Reports::of(failures) })
}

fn entry(ingest: &str, table: &ReconciledTable, failure: Option<&Failure>) -> ReconciledEntry {
    let status = match &table.outcome {
        Ok(found) if found.is_equal => ReconcileStatus::Equal,
        Ok(_) => ReconcileStatus::Different,
        Err(_) => ReconcileStatus::Failed,
    };
    ReconciledEntry {
        ingest: ingest.to_owned(),
        table: table.id.to_string(),
        status,
        found: table.outcome.as_ref().ok().cloned(),
        error: failure.map(TableError::from),
    }
}

async fn of_ingest(
    context: &Context,
    config: &Config,
    ingest: &Ingest,
    (request, asking): (&ReconcileRequest, JobRequest),
) -> Result<Vec<ReconciledTable>, Reports> {
    let sink = context.sink(config.sink_of(ingest)?, config)?.sink();
    let job = job(context, config, ingest, asking).await?;
    let how = Reconciliation {
        sink,
        mode: ingest.mode.map(sink_mode),
        again: request.again,
        pause: request.pause,
        range_keys: request.range_keys,
        masks_keys: request.masks_keys,
    };
    Ok(datakit_pipeline::reconcile(job, &how, whole::whole, context.observer().as_ref()).await?)
}
