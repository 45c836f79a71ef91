//! The task that owns a connection of tiberius while a query runs.

use std::sync::Arc;

use datakit_model::source::Rejecting;
use futures::TryStreamExt;
use futures::future::BoxFuture;
use tiberius::{QueryItem, QueryStream, ToSql};
use tokio::sync::oneshot;

use super::metered::Meter;
use super::{RowConnection, decode, describe, errors};
use crate::builders::BatchBuilder;
use crate::config::SqlServerConfig;
use crate::delivery::{Delivery, Stop};
use crate::error::SourceError;
use crate::parameters::{self, Parameter, TiberiusParameter};
use crate::statement::Statement;
use crate::types::Column;
use datakit_connect::pool::{self, Lease};

/// What a task is to send.
pub(crate) struct Texts {
    /// Asks for the columns.
    pub(crate) question: String,
    /// The query as the datakit wrote it: what the question is about.
    pub(crate) query: String,
    /// The query as it is run.
    pub(crate) statement: Statement,
    /// What becomes of rows with a value that has no exact Arrow form; none: the query fails.
    pub(crate) rejecting: Option<Rejecting>,
}

/// What is known of a query before its rows.
pub(crate) enum Head {
    /// Its columns; the rows follow.
    Columns(Arc<[Column]>),
    /// tiberius would not hand over its values as the server sends them: nothing was run, and no rows follow.
    NotByTiberius,
}

/// Where the head of a query goes.
type HeadSender = oneshot::Sender<Result<Head, SourceError>>;

/// Asks for the columns of a query and runs it to its end, delivering its rows; `head` gets the columns once the result
/// agrees with them, or what came instead.
pub(crate) async fn run(
    mut connection: Lease<RowConnection>,
    config: Arc<SqlServerConfig>,
    texts: Texts,
    parameters: Vec<Parameter>,
    head: HeadSender,
    mut delivery: Delivery,
) {
    let mut reading = Reading {
        config: &config,
        columns: Arc::from([]),
        builder: BatchBuilder::new(Arc::from([]), &config.read),
        head: Some(head),
        is_faithful: true,
        meter: connection.meter.clone(),
    };
    // A driver's future dropped halfway leaves bytes on the wire; set right below when it was not.
    connection.broken = true;
    let (outcome, clean) = reading.all(&mut connection, texts, parameters, &mut delivery).await;
    connection.broken = !clean;
    // The connection is free before the reader hears of the end, so that a pool of one serves the next query.
    pool::give_back(connection);
    match (reading.head.take(), outcome) {
        (Some(head), Err(Stop::Failed(error))) => {
            let _ = head.send(Err(error));
        }
        (Some(head), Ok(())) if !reading.is_faithful => {
            let _ = head.send(Ok(Head::NotByTiberius));
        }
        (head, outcome) => {
            drop(head);
            delivery.finish(outcome).await;
        }
    }
}

struct Reading<'a> {
    config: &'a SqlServerConfig,
    columns: Arc<[Column]>,
    builder: BatchBuilder,
    head: Option<HeadSender>,
    /// Whether tiberius hands over the values of all columns as the server sends them.
    is_faithful: bool,
    /// Bounds what arrives of one row.
    meter: Meter,
}

impl Reading<'_> {
    /// Asks, sends the query and reads all of it. The second answer: whether nothing was left on the wire.
    async fn all(
        &mut self,
        connection: &mut RowConnection,
        texts: Texts,
        parameters: Vec<Parameter>,
        delivery: &mut Delivery,
    ) -> (Result<(), Stop>, bool) {
        let Texts { question, query, statement, rejecting } = texts;
        let parameters: Vec<TiberiusParameter> = parameters.into_iter().map(TiberiusParameter).collect();
        let outcome = match self.describe(connection, question, query, &parameters, delivery).await {
            Ok(()) if !self.is_faithful => Ok(()),
            Ok(()) => {
                self.builder = BatchBuilder::new(Arc::clone(&self.columns), &self.config.read).rejecting(rejecting);
                self.query(connection, statement, &parameters, delivery).await
            }
            Err(stop) => Err(stop),
        };
        self.meter.stop();
        match outcome {
            Ok(()) => (Ok(()), true),
            // Between two rows an attention is possible.
            Err((stop, true)) => {
                let settled = tokio::time::timeout(self.config.timeouts.cancel, connection.client.cancel_query()).await;
                (Err(stop), matches!(settled, Ok(Ok(()))))
            }
            Err((stop, false)) => (Err(stop), false),
        }
    }

    /// Asks the server for the columns.
    async fn describe(
        &mut self,
        connection: &mut RowConnection,
        question: String,
        query: String,
        parameters: &[TiberiusParameter],
        delivery: &Delivery,
    ) -> Result<(), (Stop, bool)> {
        // An empty text where there are none: servers that are not SQL Server refuse NULL (error 8009).
        let declarations = parameters::declarations(parameters);
        let arguments: [&dyn ToSql; 2] = [&query, &declarations];
        let asked = async { connection.client.query(question, &arguments).await?.into_first_result().await };
        let rows = tokio::select! {
            rows = Box::pin(asked) => rows.map_err(|error| self.failed_between_rows(error))?,
            stop = delivery.stopped() => return Err((stop, false)),
        };
        self.columns = describe::columns(&rows, &self.config.address()).map_err(|error| (Stop::Failed(error), true))?;
        self.is_faithful = self.columns.iter().all(decode::is_faithful);
        Ok(())
    }

    async fn query(
        &mut self,
        connection: &mut RowConnection,
        statement: Statement,
        parameters: &[TiberiusParameter],
        delivery: &mut Delivery,
    ) -> Result<(), (Stop, bool)> {
        let parameters: Vec<&dyn ToSql> = parameters.iter().map(|p| p as &dyn ToSql).collect();
        let client = &mut connection.client;
        let send: BoxFuture<'_, tiberius::Result<QueryStream<'_>>> = if parameters.is_empty() {
            connection.isolation = statement.isolation;
            Box::pin(client.simple_query(statement.text))
        } else {
            Box::pin(client.query(statement.text, &parameters))
        };
        // tiberius cannot be interrupted within a step; the connection is closed instead, which ends the query too.
        let started = tokio::select! {
            started = send => started,
            stop = delivery.stopped() => return Err((stop, false)),
        };
        let mut stream = started.map_err(|error| (self.failed(error), true))?;
        self.meter.expect_row(self.config.read.max_row_bytes);
        self.rows(&mut stream, delivery).await
    }

    /// Reads all rows. An error says whether the stream stands between two rows.
    async fn rows(&mut self, stream: &mut QueryStream<'_>, delivery: &mut Delivery) -> Result<(), (Stop, bool)> {
        loop {
            let item = tokio::select! {
                biased;
                item = stream.try_next() => item.map_err(|error| self.failed_between_rows(error))?,
                stop = delivery.stopped() => return Err((stop, false)),
            };
            match item {
                None => break,
                Some(QueryItem::Metadata(metadata)) => self.check(metadata.columns()).map_err(|stop| (stop, true))?,
                Some(QueryItem::Row(row)) => {
                    for (col, value) in row.into_iter().enumerate() {
                        decode::push(&mut self.builder, col, &value);
                    }
                    self.builder.end_row();
                    self.meter.expect_row(self.config.read.max_row_bytes);
                }
            }
            if self.builder.has_failure()
                && let Some(error) = self.builder.take_failure()
            {
                return Err((Stop::Failed(error), true));
            }
            if self.builder.is_full() {
                self.ship(delivery).await?;
            }
        }
        if self.head.is_some() {
            return Err((Stop::Failed(SourceError::NoResult), true));
        }
        if self.builder.rows() > 0 {
            self.ship(delivery).await?;
        }
        Ok(())
    }

    async fn ship(&mut self, delivery: &mut Delivery) -> Result<(), (Stop, bool)> {
        let (batch, cuts) = self.builder.finish().map_err(|error| (Stop::Failed(error), true))?;
        delivery.ship_split(batch, cuts, self.builder.take_rejected()).await.map_err(|stop| (stop, true))
    }

    /// Compares the columns with those described, then tells them.
    fn check(&mut self, columns: &[tiberius::Column]) -> Result<(), Stop> {
        let Some(head) = self.head.take() else {
            return Err(Stop::Failed(SourceError::Internal("a second result set".to_owned())));
        };
        let same_number = columns.len() == self.columns.len();
        let differs = self
            .columns
            .iter()
            .zip(columns)
            .find(|(ours, theirs)| ours.name != theirs.name() || !decode::agrees(ours, theirs.column_type()));
        if let Some((ours, theirs)) =
            differs.or((!same_number).then(|| self.columns.iter().zip(columns).next_back()).flatten())
        {
            let reason = format!(
                "the server describes column `{}` of type {} and sends column `{}` of type {:?}",
                ours.name,
                ours.source_type,
                theirs.name(),
                theirs.column_type()
            );
            self.head = Some(head);
            return Err(Stop::Failed(SourceError::Protocol { address: self.config.address(), reason }));
        }
        let _ = head.send(Ok(Head::Columns(Arc::clone(&self.columns))));
        Ok(())
    }

    /// An error while a result is read: after one of the server the stream stands between two rows.
    fn failed_between_rows(&self, error: tiberius::error::Error) -> (Stop, bool) {
        let stop = self.failed(error);
        let clean = matches!(&stop, Stop::Failed(SourceError::Server { .. }));
        (stop, clean)
    }

    fn failed(&self, error: tiberius::error::Error) -> Stop {
        if self.meter.is_exceeded() {
            let limit = self.config.read.max_row_bytes;
            return Stop::Failed(SourceError::RowTooLarge {
                row: self.builder.total_rows() + 1,
                column: errors::UNKNOWN_COLUMN.to_owned(),
                bytes: Meter::most(limit),
                limit,
            });
        }
        Stop::Failed(errors::of_query(self.config, error, self.builder.total_rows()))
    }
}
