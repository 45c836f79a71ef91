//! The task that owns a connection while a query runs.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use futures::Stream;
use tokio::sync::oneshot;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, CopyOutStream};

use super::config::PostgresConfig;
use super::connect::{self, PostgresConnection};
use super::copy::Decoder;
use super::error::PostgresError;
use super::snapshot::Snapshot;
use super::statement::{self, Moment};
use super::types::{self, Column};
use crate::pool::{self, Lease};

type Delivery = crate::delivery::Delivery<PostgresError>;
type Stop = crate::delivery::Stop<PostgresError>;

/// Which columns of these tables are declared NOT NULL and have no nulls.
///
/// Nobody checks a foreign table's declaration, be it a partition; before version 18 a table that inherits, other than a
/// partition, may drop its parent's; since then a constraint that is not validated says nothing of older rows. Another
/// session's temporary table shows no rows to this one.
const NOT_NULL: &str = "\
WITH RECURSIVE family (root, member) AS (\
SELECT t, t FROM unnest($1) AS t UNION \
SELECT f.root, h.inhrelid FROM family AS f INNER JOIN pg_catalog.pg_inherits AS h ON h.inhparent = f.member) \
SELECT a.attrelid, a.attnum FROM pg_catalog.pg_attribute AS a \
WHERE a.attnotnull AND a.attnum > 0 AND a.attrelid = ANY($1) \
AND NOT EXISTS (SELECT FROM family AS f INNER JOIN pg_catalog.pg_class AS c ON c.oid = f.member \
WHERE f.root = a.attrelid AND (c.relkind = 'f' \
OR (f.member <> f.root AND NOT c.relispartition AND c.relpersistence <> 't'))) \
AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint AS k \
WHERE k.conrelid = a.attrelid AND k.contype = 'n' AND NOT k.convalidated AND a.attnum = ANY(k.conkey))";

/// A query that passed the guard, and how it is run.
pub(super) struct Job {
    pub(super) run_id: String,
    /// With its parameters put in.
    pub(super) query: String,
    /// Held until the query's end: the snapshot lives as long.
    pub(super) snapshot: Option<Arc<Snapshot>>,
    /// The level of a transaction without a shared snapshot.
    pub(super) isolation: datakit_model::source::Isolation,
    /// Processes the server may use for it, as far as the datakit says.
    pub(super) max_parallelism: Option<u16>,
    /// Whether declarations of NOT NULL hold for the result.
    pub(super) keeps_not_null: bool,
}

/// How far a step of reading came.
enum Step {
    Full,
    End,
}

/// Runs a query to its end, delivering its rows; `head` gets the columns, or the error that came instead.
pub(super) async fn run(
    connection: Lease<PostgresConnection>,
    config: Arc<PostgresConfig>,
    job: Job,
    head: oneshot::Sender<Result<Arc<[Column]>, PostgresError>>,
    mut delivery: Delivery,
) {
    let started = tokio::select! {
        biased;
        started = start(&connection.client, &config, &job) => started.map_err(Stop::Failed),
        stop = delivery.stopped() => Err(stop),
    };
    let (columns, stream) = match started {
        Ok(started) => started,
        Err(Stop::Failed(error)) => {
            // The error is told by `head`; without a receiver nobody asks.
            let _ = head.send(Err(error));
            return leave(connection, &config, false).await;
        }
        Err(stop) => {
            drop(head);
            leave(connection, &config, false).await;
            return delivery.finish(Err(stop)).await;
        }
    };
    let _ = head.send(Ok(Arc::clone(&columns)));
    let outcome = rows(stream, columns, &config, &mut delivery).await;
    // The connection is free before the reader hears of the end, so that a pool of one serves the next query.
    leave(connection, &config, outcome.is_ok()).await;
    delivery.finish(outcome).await;
}

/// Begins the transaction, asks for the columns and starts the copy.
async fn start(
    client: &Client,
    config: &PostgresConfig,
    job: &Job,
) -> Result<(Arc<[Column]>, CopyOutStream), PostgresError> {
    let failed = |error| PostgresError::of_query(config, error, 0);
    let moment = match &job.snapshot {
        Some(snapshot) => Moment::Shared(snapshot.id()),
        None => Moment::Own(job.isolation),
    };
    let begin = statement::begin(&job.run_id, moment, job.max_parallelism);
    client.batch_execute(&begin).await.map_err(|error| lost_or(job, failed(error)))?;
    let described = client.prepare(&job.query).await.map_err(failed)?;
    let tables: Vec<u32> = match job.keeps_not_null {
        true => described.columns().iter().filter_map(tokio_postgres::Column::table_oid).collect(),
        false => Vec::new(),
    };
    let mut not_null: Vec<(u32, i16)> = Vec::new();
    if !tables.is_empty() {
        for row in client.query_typed(NOT_NULL, &[(&tables, Type::OID_ARRAY)]).await.map_err(failed)? {
            not_null.push((row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?));
        }
    }
    let columns = types::columns(described.columns(), |table, column| not_null.contains(&(table, column)))?;
    let stream = client.copy_out(statement::copy(&job.run_id, &job.query).as_str()).await.map_err(failed)?;
    Ok((columns, stream))
}

/// An error of beginning with a snapshot that is not there any more says so: the session that kept it may have gone unnoticed.
fn lost_or(job: &Job, error: PostgresError) -> PostgresError {
    match error {
        // invalid_parameter_value, undefined_object, object_not_in_prerequisite_state: see `ImportSnapshot` in the server.
        PostgresError::Server { state, message, .. }
            if job.snapshot.is_some() && ["22023", "42704", "55000"].contains(&state.as_str()) =>
        {
            PostgresError::SnapshotLost { reason: message }
        }
        other => other,
    }
}

async fn rows(
    stream: CopyOutStream,
    columns: Arc<[Column]>,
    config: &PostgresConfig,
    delivery: &mut Delivery,
) -> Result<(), Stop> {
    let mut stream = Box::pin(stream);
    let mut decoder = Decoder::new(columns, &config.read);
    loop {
        let step = tokio::select! {
            biased;
            step = fill(stream.as_mut(), &mut decoder, config) => step.map_err(Stop::Failed)?,
            stop = delivery.stopped() => return Err(stop),
        };
        if decoder.rows() > 0 {
            let batch = decoder.finish().map_err(Stop::Failed)?;
            delivery.ship(batch, Vec::new()).await?;
        }
        if matches!(step, Step::End) {
            return Ok(());
        }
    }
}

/// Decodes what has arrived, and what arrives, until the batch is full or the rows end. Nothing is lost when dropped halfway.
async fn fill(
    mut stream: Pin<&mut CopyOutStream>,
    decoder: &mut Decoder,
    config: &PostgresConfig,
) -> Result<Step, PostgresError> {
    std::future::poll_fn(|context| {
        loop {
            match stream.as_mut().poll_next(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(chunk))) => {
                    decoder.push(&chunk)?;
                    if decoder.is_full() {
                        return Poll::Ready(Ok(Step::Full));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Err(PostgresError::of_query(config, error, decoder.total_rows())));
                }
                Poll::Ready(None) if decoder.is_complete() => return Poll::Ready(Ok(Step::End)),
                Poll::Ready(None) => {
                    return Poll::Ready(Err(PostgresError::Protocol {
                        address: config.address(),
                        reason: "its COPY ends in the middle of a row".to_owned(),
                    }));
                }
            }
        }
    })
    .await
}

/// Ends the transaction and puts the connection back; after anything but the rows' end the query is cancelled and the
/// connection closed, since a cancel that comes late could hit the next query.
async fn leave(connection: Lease<PostgresConnection>, config: &PostgresConfig, ended: bool) {
    if ended && connection.client.batch_execute("COMMIT").await.is_ok() {
        return pool::give_back(connection);
    }
    if !ended && !connection.client.is_closed() {
        connect::cancel(config, &connection.client).await;
    }
    drop(connection);
}
