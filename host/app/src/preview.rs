//! The first rows of each table, as the sink would get them.

use datakit_pipeline::Preview;

use crate::component::asked;
use crate::context::Context;
use crate::job::{JobRequest, job};
use crate::reports::{Reports, Tables};
use crate::requests::PreviewRequest;

/// The first rows of each selected table. Nothing is written.
///
/// # Errors
/// The configuration is invalid, the datakit or the source cannot be reached, no table matches, or the work was stopped.
pub async fn preview(context: &Context, request: &PreviewRequest) -> Result<Tables<Preview>, Reports> {
    context.unless_stopped(first_rows(context, request)).await
}

async fn first_rows(context: &Context, request: &PreviewRequest) -> Result<Tables<Preview>, Reports> {
    let config = context.config(request.ingest.overrides())?;
    let asking = JobRequest::new(request.ingest.locked);
    let (selection, asking) = asked(context, &config, &request.ingest, asking).await?;
    let ingest = config.ingest(&selection)?;
    let job = job(context, &config, &ingest, asking).await?;
    let (mut tables, mut failures) = (Vec::new(), Vec::new());
    for (table, preview) in datakit_pipeline::preview(&job, request.rows, context.observer().as_ref()).await? {
        match preview {
            Ok(preview) => tables.push(preview),
            Err(failure) => failures.push((table, failure)),
        }
    }
    Ok(Tables { tables, failures: Reports::of_tables(failures) })
}
