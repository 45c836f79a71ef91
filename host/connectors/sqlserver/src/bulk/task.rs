//! The task that owns a connection while a query runs.

use std::sync::Arc;

use datakit_model::source::Rejecting;
use mssql_tds::connection::tds_client::{BufferedRowPoll, ExecuteOptions, ResultSet, StatementResult};
use mssql_tds::core::CancelHandle;
use mssql_tds::error::Error;
use tokio::sync::oneshot;

use super::writer::Writer;
use super::{BulkConnection, errors};
use crate::builders::BatchBuilder;
use crate::config::SqlServerConfig;
use crate::delivery::{Delivery, Stop};
use crate::error::SourceError;
use crate::parameters::{self, Parameter};
use crate::statement::Statement;
use crate::types::{self, Column};
use datakit_connect::pool::{self, Lease};

/// A query on its connection.
struct Running {
    connection: Lease<BulkConnection>,
    config: Arc<SqlServerConfig>,
    cancel: Arc<CancelHandle>,
}

/// Runs a query to its end, delivering its rows; `head` gets the columns, or the error that came instead.
pub(crate) async fn run(
    connection: Lease<BulkConnection>,
    config: Arc<SqlServerConfig>,
    statement: Statement,
    parameters: Vec<Parameter>,
    rejecting: Option<Rejecting>,
    head: oneshot::Sender<Result<Arc<[Column]>, SourceError>>,
    mut delivery: Delivery,
) {
    let limits = config.read.clone();
    let mut running = Running::new(connection, config);
    let columns = match running.start(statement, &parameters, &delivery).await {
        Ok(columns) => columns,
        Err(Stop::Failed(error)) => {
            // The error is told by `head`; without a receiver nobody asks.
            let _ = head.send(Err(error));
            return running.leave().await;
        }
        Err(stop) => {
            drop(head);
            running.leave().await;
            return delivery.finish(Err(stop)).await;
        }
    };
    let _ = head.send(Ok(Arc::clone(&columns)));
    let builder = BatchBuilder::new(columns, &limits).rejecting(rejecting);
    let mut writer = Writer { builder, cancel: Arc::clone(&running.cancel) };
    let outcome = running.rows(&mut writer, &mut delivery).await;
    // The connection is free before the reader hears of the end, so that a pool of one serves the next query.
    running.leave().await;
    delivery.finish(outcome).await;
}

impl Running {
    fn new(connection: Lease<BulkConnection>, config: Arc<SqlServerConfig>) -> Self {
        let mut cancel = CancelHandle::new();
        cancel.set_cancel_timeout_secs(config.cancel_seconds());
        Self { connection, config, cancel: Arc::new(cancel) }
    }

    /// Sends the query and waits for its columns.
    async fn start(
        &mut self,
        statement: Statement,
        parameters: &[Parameter],
        delivery: &Delivery,
    ) -> Result<Arc<[Column]>, Stop> {
        let BulkConnection { client, isolation } = &mut *self.connection;
        let options = ExecuteOptions::new().cancel(&self.cancel);
        let cancel = || self.cancel.cancel();
        let (first, stop) = if parameters.is_empty() {
            *isolation = statement.isolation;
            delivery.during(cancel, Box::pin(client.execute(statement.text, options))).await
        } else {
            let parameters = parameters::for_mssql_tds(parameters, client.get_collation()).map_err(Stop::Failed)?;
            delivery.during(cancel, Box::pin(client.execute_sp_executesql(statement.text, parameters, options))).await
        };
        if let Some(stop) = stop {
            return Err(stop);
        }
        let failed = |error: Error| Stop::Failed(errors::of_query(&self.config, error, 0));
        let on_rows = match first.map_err(failed)? {
            StatementResult::Rows => true,
            StatementResult::NoRows { .. } => client.advance_to_rows().await.map_err(failed)?,
            StatementResult::End => false,
        };
        if !on_rows {
            return Err(Stop::Failed(SourceError::NoResult));
        }
        types::columns(client.get_metadata()).map_err(Stop::Failed)
    }

    /// Reads all rows. Those already buffered are decoded without touching the runtime.
    async fn rows(&mut self, writer: &mut Writer, delivery: &mut Delivery) -> Result<(), Stop> {
        // With a MAX column the driver can only read row by row.
        let buffered = self.connection.client.current_result_supports_row_into();
        loop {
            let polled = if buffered {
                self.connection.client.try_next_buffered_row_into(writer)
            } else {
                Ok(BufferedRowPoll::Pending)
            };
            let more = match polled {
                Ok(BufferedRowPoll::Complete) => true,
                Ok(BufferedRowPoll::Exhausted) => false,
                Ok(BufferedRowPoll::Partial) => self.rest_of_row(writer, delivery).await?,
                Ok(BufferedRowPoll::Pending) => self.next_row(writer, delivery).await?,
                Err(error) => return Err(self.failed(writer, error)),
            };
            if writer.builder.has_failure()
                && let Some(error) = writer.builder.take_failure()
            {
                return Err(Stop::Failed(error));
            }
            if !more {
                break;
            }
            if writer.builder.is_full() {
                ship(writer, delivery).await?;
            }
        }
        self.close(writer).await?;
        if writer.builder.rows() > 0 {
            ship(writer, delivery).await?;
        }
        Ok(())
    }

    async fn rest_of_row(&mut self, writer: &mut Writer, delivery: &Delivery) -> Result<bool, Stop> {
        let cancel = || self.cancel.cancel();
        let (result, stop) = delivery.during(cancel, self.connection.client.finish_row_into(writer)).await;
        match (result, stop) {
            (_, Some(stop)) => Err(stop),
            (Ok(()), None) => Ok(true),
            (Err(error), None) => Err(self.failed(writer, error)),
        }
    }

    async fn next_row(&mut self, writer: &mut Writer, delivery: &Delivery) -> Result<bool, Stop> {
        let cancel = || self.cancel.cancel();
        let (result, stop) = delivery.during(cancel, self.connection.client.next_row_into(writer)).await;
        match (result, stop) {
            (_, Some(stop)) => Err(stop),
            (Ok(more), None) => Ok(more),
            (Err(error), None) => Err(self.failed(writer, error)),
        }
    }

    /// Reads what follows the rows: an error may still be there.
    async fn close(&mut self, writer: &Writer) -> Result<(), Stop> {
        match self.connection.client.close_query().await {
            Ok(()) => Ok(()),
            Err(error) => Err(Stop::Failed(errors::of_query(&self.config, error, writer.builder.total_rows()))),
        }
    }

    /// An error of the driver; a value that failed is its cause if there is one, since it ends the read by cancelling.
    fn failed(&self, writer: &mut Writer, error: Error) -> Stop {
        let rows_before = writer.builder.total_rows();
        Stop::Failed(
            writer.builder.take_failure().unwrap_or_else(|| errors::of_query(&self.config, error, rows_before)),
        )
    }

    /// Cancels what still runs and puts the connection back if the server confirmed it.
    async fn leave(mut self) {
        let settled = self.connection.client.cancel_query(self.config.cancel_seconds()).await;
        if settled.is_err() {
            self.connection.client.mark_connection_dead();
        }
        pool::give_back(self.connection);
    }
}

async fn ship(writer: &mut Writer, delivery: &mut Delivery) -> Result<(), Stop> {
    let (batch, cuts) = writer.builder.finish().map_err(Stop::Failed)?;
    delivery.ship_split(batch, cuts, writer.builder.take_rejected()).await
}
