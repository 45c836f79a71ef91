//! The task that owns a connection while a query runs.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use datakit_model::TableId;
use datakit_model::source::{Isolation, Rejecting};
use futures::Stream;
use tokio::sync::oneshot;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, CopyOutStream};

use super::changed;
use super::config::{PostgresConfig, RowSecurity};
use super::connect::{self, PostgresConnection};
use super::copy::Decoder;
use super::error::PostgresError;
use super::snapshot::Snapshot;
use super::statement::{self, Transaction, TransactionSnapshot};
use super::types::{self, Column};
use datakit_connect::pool::{self, Lease};

type Delivery = datakit_connect::delivery::Delivery<PostgresError>;
type Stop = datakit_connect::delivery::Stop<PostgresError>;

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

/// The typeinfo statements that the driver has prepared in this transaction by names of its own.
///
/// It keeps them for the connection. Behind a pooler another transaction has another session, where they are not there, or are
/// in the way of somebody else's of the same name: so they end with the transaction. A pooler that keeps track of prepared
/// statements gives them names of its own, and those are left alone.
const DRIVER_STATEMENTS: &str = "\
SELECT s.name FROM pg_catalog.pg_prepared_statements AS s \
WHERE NOT s.from_sql AND s.prepare_time >= transaction_timestamp() AND s.name ~ '^s[0-9]+$'";

/// The longest wait for a lock of a table that is read by places: whoever wants to rewrite it waits for the run's end, and this
/// query would wait behind.
const PLACES_LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Object ids below are the system's own.
const FIRST_OBJECT_ID: u32 = 16_384;

/// A query that passed the guard, and how it is run.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) run_id: String,
    /// With its parameters put in.
    pub(super) query: String,
    /// The granted tables that it names; none of the catalog.
    pub(super) tables: Vec<TableId>,
    /// Held until the query's end: the snapshot lives as long.
    pub(super) snapshot: Option<Arc<Snapshot>>,
    /// The level of a transaction without a shared snapshot.
    pub(super) isolation: Isolation,
    /// Processes the server may use for it, as far as the datakit says.
    pub(super) max_parallelism: Option<u16>,
    /// It names rows by their places.
    pub(super) by_place: bool,
    /// Whether its text names each expression of its result.
    pub(super) names_all: bool,
    /// Whether declarations of NOT NULL hold for the result.
    pub(super) keeps_not_null: bool,
    /// Set when row-level security left out rows, or may have.
    pub(super) filtered: Arc<AtomicBool>,
    /// What becomes of rows with a value that has no exact Arrow form; none: the query fails.
    pub(super) rejecting: Option<Rejecting>,
}

impl Job {
    fn transaction(&self, config: &PostgresConfig) -> Transaction<'_> {
        let snapshot = match &self.snapshot {
            Some(snapshot) => TransactionSnapshot::Shared(snapshot.id()),
            None => TransactionSnapshot::Own(self.isolation),
        };
        Transaction {
            snapshot,
            max_parallelism: self.max_parallelism,
            lock_timeout: self.by_place.then_some(PLACES_LOCK_TIMEOUT),
            ..Transaction::own(&self.run_id, self.isolation, config.row_security)
        }
    }

    /// Whether the transaction has one snapshot from its first question on.
    fn has_one_snapshot(&self) -> bool {
        let by_itself =
            matches!(self.isolation, Isolation::RepeatableRead | Isolation::Snapshot | Isolation::Serializable);
        self.snapshot.is_some() || by_itself
    }
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
    let mut outcome = rows(stream, columns, &config, job.rejecting.clone(), &mut delivery).await;
    if outcome.is_ok() {
        outcome = still_the_same(&connection.client, &config, &job).await.map_err(Stop::Failed);
    }
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
    let begin = job.transaction(config).begin();
    client.batch_execute(&begin).await.map_err(|error| lost_or(job, failed(error)))?;
    let columns = describe(client, config, job).await?;
    if !job.tables.is_empty() {
        if config.row_security == RowSecurity::Filter {
            note_filtered(client, config, job).await?;
        }
        if job.has_one_snapshot()
            && let Some(table) = changed::named(client, &job.tables).await.map_err(failed)?
        {
            return Err(PostgresError::TableChanged { table });
        }
        client.batch_execute(statement::ROLE_PATH).await.map_err(failed)?;
        if !job.has_one_snapshot() {
            // The copy's own snapshot is older than the locks it waits for: with the locks taken there is nothing to wait
            // for.
            client.batch_execute(&statement::explain(&job.run_id, &job.query)).await.map_err(failed)?;
        }
    }
    let stream = client.copy_out(statement::copy(&job.run_id, &job.query).as_str()).await.map_err(failed)?;
    Ok((columns, stream))
}

/// Asks for the columns of the result.
async fn describe(client: &Client, config: &PostgresConfig, job: &Job) -> Result<Arc<[Column]>, PostgresError> {
    let failed = |error| PostgresError::of_query(config, error, 0);
    let described = client.prepare(&job.query).await.map_err(|error| forgotten_or(failed(error)))?;
    if described.columns().iter().any(|column| column.type_().oid() >= FIRST_OBJECT_ID) {
        forget_driver_statements(client).await.map_err(failed)?;
    }
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
    types::columns(described.columns(), job.names_all, |table, column| not_null.contains(&(table, column)))
}

async fn forget_driver_statements(client: &Client) -> Result<(), tokio_postgres::Error> {
    let mut forget = String::new();
    for row in client.query_typed(DRIVER_STATEMENTS, &[]).await? {
        forget.push_str("DEALLOCATE ");
        forget.push_str(row.try_get(0)?);
        forget.push(';');
    }
    client.batch_execute(&forget).await
}

/// Whether the server would refuse the query if nothing might be left out.
async fn note_filtered(client: &Client, config: &PostgresConfig, job: &Job) -> Result<(), PostgresError> {
    let failed = |error| PostgresError::of_query(config, error, 0);
    client.batch_execute("SAVEPOINT whole; SET LOCAL row_security = off").await.map_err(failed)?;
    match client.prepare(&job.query).await.map(drop).map_err(failed) {
        Ok(()) => {}
        Err(PostgresError::RowSecurity { .. }) => job.filtered.store(true, Ordering::Release),
        Err(error) => return Err(error),
    }
    client.batch_execute("ROLLBACK TO SAVEPOINT whole; RELEASE SAVEPOINT whole").await.map_err(failed)
}

/// Asks, when all rows have arrived and everything they are from is still locked, whether that was what the snapshot had.
async fn still_the_same(client: &Client, config: &PostgresConfig, job: &Job) -> Result<(), PostgresError> {
    let failed = |error| PostgresError::of_query(config, error, 0);
    let filters = config.row_security == RowSecurity::Filter;
    if job.tables.is_empty() || !(job.has_one_snapshot() || filters) {
        return Ok(());
    }
    client.batch_execute(statement::SYSTEM_PATH).await.map_err(failed)?;
    if filters && changed::filtered(client).await.map_err(failed)? {
        job.filtered.store(true, Ordering::Release);
    }
    if job.has_one_snapshot()
        && let Some(table) = changed::read(client).await.map_err(failed)?
    {
        return Err(PostgresError::TableChanged { table });
    }
    Ok(())
}

/// An error of a statement that the driver prepared in another session, or of a name that somebody else left in this one: see
/// [`DRIVER_STATEMENTS`].
fn forgotten_or(error: PostgresError) -> PostgresError {
    match error {
        // invalid_sql_statement_name, duplicate_prepared_statement
        PostgresError::Server { state, .. } if ["26000", "42P05"].contains(&state.as_str()) => {
            PostgresError::StatementForgotten { state }
        }
        other => other,
    }
}

/// An error of beginning with a snapshot that is not there any more says so: the session that kept it may have gone unnoticed.
fn lost_or(job: &Job, error: PostgresError) -> PostgresError {
    match (error, &job.snapshot) {
        // invalid_parameter_value, undefined_object, object_not_in_prerequisite_state: see `ImportSnapshot` in the server.
        (PostgresError::Server { state, message, .. }, Some(snapshot))
            if ["22023", "42704", "55000"].contains(&state.as_str()) =>
        {
            snapshot.lost(&message)
        }
        (other, _) => other,
    }
}

async fn rows(
    stream: CopyOutStream,
    columns: Arc<[Column]>,
    config: &PostgresConfig,
    rejecting: Option<Rejecting>,
    delivery: &mut Delivery,
) -> Result<(), Stop> {
    let mut stream = Box::pin(stream);
    let mut decoder = Decoder::new(columns, &config.read).rejecting(rejecting);
    loop {
        let step = tokio::select! {
            biased;
            step = fill(stream.as_mut(), &mut decoder, config) => step.map_err(Stop::Failed)?,
            stop = delivery.stopped() => return Err(stop),
        };
        if decoder.rows() > 0 {
            let batch = decoder.finish().map_err(Stop::Failed)?;
            delivery.ship_split(batch, Vec::new(), decoder.take_rejected()).await?;
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
