//! What sinks keep of each table for the next run.

use datakit_config::{Config, Overrides};
use datakit_model::sink::KeptState;
use datakit_model::{Failure, SourceTable, StateDocument, TableId};
use datakit_pipeline::TableError;
use serde::Serialize;

use crate::context::Context;
use crate::error::AppError;
use crate::reports::{Reports, Tables};
use crate::runs::is_table_of_runs;

/// The state of a table in a sink.
#[derive(Debug, Clone, Serialize)]
pub struct TableStateEntry {
    /// The sink, by its name in the configuration.
    pub sink: String,
    /// The source table.
    pub source: SourceTable,
    /// Where the table is.
    pub target: String,
    /// The document; none: it cannot be used.
    pub document: Option<StateDocument>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<TableError>,
}

/// Which table's state.
#[derive(Debug, Clone)]
pub struct TableStateRequest {
    /// The sink; none: the only one of the configuration.
    pub sink: Option<String>,
    /// The source system, as in the configuration.
    pub source_system: String,
    /// The table of the source.
    pub table: TableId,
}

/// The states of all tables of a sink; without a name of all sinks.
///
/// # Errors
/// The configuration is invalid, a sink cannot be reached, or the work was stopped.
pub async fn states(context: &Context, sink: Option<&str>) -> Result<Tables<TableStateEntry>, Reports> {
    context.unless_stopped(list(context, sink)).await
}

async fn list(context: &Context, sink: Option<&str>) -> Result<Tables<TableStateEntry>, Reports> {
    let config = context.config(Overrides::default())?;
    if let Some(name) = sink {
        config.check_name(name, &[])?;
    }
    let (mut tables, mut failures) = (Vec::new(), Vec::new());
    for (name, settings) in config.sinks.iter().filter(|(name, _)| sink.is_none_or(|meant| meant == *name)) {
        for KeptState { source_system, table, target, document } in
            context.sink(settings, &config)?.sink().states().await?
        {
            if is_table_of_runs(&source_system, &table) {
                continue;
            }
            tables.push(TableStateEntry {
                sink: name.clone(),
                source: SourceTable::new(&source_system, &table),
                target,
                error: document.as_ref().err().map(TableError::from),
                document: document.as_ref().ok().cloned(),
            });
            failures.extend(document.err().map(|failure: Failure| (table, failure)));
        }
    }
    Ok(Tables { tables, failures: Reports::of_tables(failures) })
}

/// The state of one table.
///
/// # Errors
/// The configuration is invalid, the sink cannot be reached, the table has no state or one that does not count, or the work was
/// stopped.
pub async fn state(context: &Context, request: &TableStateRequest) -> Result<StateDocument, Reports> {
    context.unless_stopped(asked(context, request, Question::Show)).await
}

/// Says that loads go on from the rows that a table holds now, and returns its state.
///
/// # Errors
/// As of [`state`], but a state that does not fit the rows counts from now on.
pub async fn accept_rows(context: &Context, request: &TableStateRequest) -> Result<StateDocument, Reports> {
    context.unless_stopped(asked(context, request, Question::Accept)).await
}

/// Forgets how far a table is read, so that the next load reads all of it, and returns its state.
///
/// # Errors
/// As of [`accept_rows`].
pub async fn forget_watermark(context: &Context, request: &TableStateRequest) -> Result<StateDocument, Reports> {
    context.unless_stopped(asked(context, request, Question::Forget)).await
}

enum Question {
    Show,
    Accept,
    Forget,
}

async fn asked(context: &Context, request: &TableStateRequest, question: Question) -> Result<StateDocument, Reports> {
    let config: Config = context.config(Overrides::default())?;
    let settings = config.one_sink(request.sink.as_deref())?;
    let sink = context.sink(settings, &config)?.sink();
    let (system, table) = (&request.source_system, &request.table);
    let document = match question {
        Question::Show => sink.document(system, table).await?,
        Question::Accept => sink.accept_rows(system, table).await?,
        Question::Forget => sink.forget_watermark(system, table).await?,
    };
    document.ok_or_else(|| {
        let (table, sink) = (format!("{system} {table}"), settings.name().to_owned());
        AppError::NoState { table, sink }.into()
    })
}
