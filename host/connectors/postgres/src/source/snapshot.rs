//! One snapshot for a run.
//!
//! A session of its own keeps a transaction open and exports its snapshot; every query of the run that reads a table begins its
//! transaction with it. So all partitions of a table, and all tables of a run, are of one snapshot, whatever changes
//! meanwhile.
//!
//! The price is the server's: rows that died since stay until the run's end, since the snapshot may still see them.

use std::sync::Arc;

use datakit_model::TableId;
use datakit_model::source::Isolation;
use tokio::sync::Mutex;

use super::changes::logical::lsn::Lsn;
use super::changes::logical::slot::{self, Exported};
use super::config::PostgresConfig;
use super::connect::PostgresConnection;
use super::error::PostgresError;
use super::statement::{self, Transaction, TransactionSnapshot};
use datakit_connect::pool::Pooled;
use datakit_connect::pool::server_limit::{ServerLimit, Slot};
use datakit_model::Fault;

/// The snapshots of a source's runs: one, unless a source serves several.
#[derive(Default)]
pub(super) struct Snapshots {
    runs: Mutex<Vec<OfRun>>,
}

/// A snapshot of a run. A run has a second one where its first was taken before its place in the log had to be known.
struct OfRun {
    run_id: String,
    snapshot: Arc<Snapshot>,
    /// The tables whose first copy it is.
    copies: Vec<TableId>,
}

/// An exported snapshot, alive as long as its session.
pub(super) struct Snapshot {
    /// As `SET TRANSACTION SNAPSHOT` takes it.
    id: Arc<str>,
    /// Its place in the log; none: it is not known.
    lsn: Option<Lsn>,
    /// The server applies the changes of another: conflicts with them can end the session.
    on_replica: bool,
    session: PostgresConnection,
    /// The session is a connection like others for who bounds them.
    _slot: Option<Slot>,
    /// Tables whose rows must keep their places.
    pinned: Mutex<Vec<TableId>>,
}

impl Snapshots {
    /// The run's snapshot, taken when it is first asked for.
    ///
    /// # Errors
    /// What connecting says, or [`PostgresError::SnapshotLost`]: another snapshot would show other rows.
    ///
    /// Tables whose first copy has a position are read by the snapshot of that, all others by the run's first one.
    pub(super) async fn of_run(
        &self,
        config: &PostgresConfig,
        run_id: &str,
        tables: &[TableId],
    ) -> Result<Arc<Snapshot>, PostgresError> {
        let mut runs = self.runs.lock().await;
        let of_run = || runs.iter().filter(|snapshot| snapshot.run_id == run_id);
        let placed = of_run().find(|snapshot| snapshot.copies.iter().any(|table| tables.contains(table)));
        if let Some(known) = placed.or_else(|| of_run().next()) {
            known.check()?;
            return Ok(Arc::clone(&known.snapshot));
        }
        let snapshot = Arc::new(Snapshot::take(config, run_id, None).await?);
        runs.push(OfRun { run_id: run_id.to_owned(), snapshot: Arc::clone(&snapshot), copies: Vec::new() });
        Ok(snapshot)
    }

    /// The run's snapshot whose place in the log is known, if it was taken.
    ///
    /// # Errors
    /// [`PostgresError::SnapshotLost`].
    pub(super) async fn placed(&self, run_id: &str) -> Result<Option<Arc<Snapshot>>, PostgresError> {
        let runs = self.runs.lock().await;
        let placed = runs.iter().find(|known| known.run_id == run_id && known.snapshot.lsn().is_some());
        placed.map(|known| known.check().map(|()| Arc::clone(&known.snapshot))).transpose()
    }

    /// The same for the first copy of a table, taken when it is first asked for, with a slot: `lasting` names one that stays.
    ///
    /// # Errors
    /// As [`Self::of_run`], and what making the slot says.
    pub(super) async fn placed_for(
        &self,
        config: &PostgresConfig,
        run_id: &str,
        table: &TableId,
        lasting: Option<&str>,
    ) -> Result<Arc<Snapshot>, PostgresError> {
        let mut runs = self.runs.lock().await;
        if let Some(known) = runs.iter_mut().find(|known| known.run_id == run_id && known.snapshot.lsn().is_some()) {
            known.check()?;
            known.copies.push(table.clone());
            return Ok(Arc::clone(&known.snapshot));
        }
        let snapshot = Arc::new(Snapshot::of_slot(config, run_id, lasting).await?);
        let copies = vec![table.clone()];
        runs.push(OfRun { run_id: run_id.to_owned(), snapshot: Arc::clone(&snapshot), copies });
        Ok(snapshot)
    }
}

impl OfRun {
    fn check(&self) -> Result<(), PostgresError> {
        self.snapshot.check()
    }
}

/// A connection to the server, as soon as one may be opened.
async fn in_time(config: &PostgresConfig, limit: &ServerLimit) -> Result<Slot, PostgresError> {
    let timeout = config.pool.checkout_timeout;
    let waited = tokio::time::timeout(timeout, limit.acquire()).await;
    waited.map_err(|_| Fault::pool_timeout(config.address(), timeout.as_secs_f64(), limit.max_connections()))
}

/// A place under the bound on connections to the server, where there is one.
async fn slot_of_server(config: &PostgresConfig) -> Result<Option<Slot>, PostgresError> {
    match &config.server_limit {
        Some(limit) => Ok(Some(in_time(config, limit).await?)),
        None => Ok(None),
    }
}

impl Snapshot {
    /// Makes a slot and takes over the snapshot of its first moment. The session that made the slot is not needed any more.
    async fn of_slot(config: &PostgresConfig, run_id: &str, lasting: Option<&str>) -> Result<Self, PostgresError> {
        let _slot = slot_of_server(config).await?;
        let exported = slot::export(config, lasting).await?;
        Self::take(config, run_id, Some(&exported)).await
    }

    async fn take(config: &PostgresConfig, run_id: &str, of: Option<&Exported>) -> Result<Self, PostgresError> {
        let failed = |error| PostgresError::of_query(config, error, 0);
        let slot = slot_of_server(config).await?;
        let session = PostgresConnection::open(config).await?;
        let own = Transaction::own(run_id, Isolation::RepeatableRead, config.row_security);
        let transaction = match of {
            Some(of) => Transaction { snapshot: TransactionSnapshot::Shared(&of.snapshot), ..own },
            None => own,
        };
        session.client.batch_execute(&transaction.begin_and_keep()).await.map_err(failed)?;
        let text = format!("{} SELECT pg_export_snapshot(), pg_is_in_recovery()", statement::comment(run_id));
        let rows = session.client.query_typed(&text, &[]).await.map_err(failed)?;
        let Some(row) = rows.first() else {
            return Err(PostgresError::Internal("the server exported no snapshot".to_owned()));
        };
        let (id, on_replica): (String, bool) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
        Ok(Self { id: id.into(), lsn: of.map(|of| of.lsn), on_replica, session, _slot: slot, pinned: Mutex::default() })
    }

    /// The name under which the server knows it.
    pub(super) fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// Its place in the log: it has what was committed before; none: it is not known.
    pub(super) fn lsn(&self) -> Option<Lsn> {
        self.lsn
    }

    /// Keeps tables from being rewritten until the run's end (VACUUM FULL, CLUSTER, TRUNCATE), for whoever reads them by the
    /// places of their rows. The lock is that of any reader.
    ///
    /// # Errors
    /// What the server says: a table that is not there, or may not be read.
    pub(super) async fn pin(&self, config: &PostgresConfig, tables: &[TableId]) -> Result<(), PostgresError> {
        let mut pinned = self.pinned.lock().await;
        for table in tables {
            if pinned.contains(table) {
                continue;
            }
            let name = statement::quote_table(table);
            // LOCK TABLE takes no materialized views; a query of no rows takes the same lock. An error must not end the
            // transaction that holds the snapshot.
            let lock = format!("SAVEPOINT pin; SELECT FROM {name} LIMIT 0; RELEASE SAVEPOINT pin");
            if let Err(error) = self.session.client.batch_execute(&lock).await {
                let undone =
                    self.session.client.batch_execute("ROLLBACK TO SAVEPOINT pin; RELEASE SAVEPOINT pin").await;
                undone.map_err(|error| self.lost(&error.to_string()))?;
                return Err(PostgresError::of_query(config, error, 0));
            }
            pinned.push(table.clone());
        }
        Ok(())
    }

    /// Whether it is still there, as far as can be told without asking.
    pub(super) fn check(&self) -> Result<(), PostgresError> {
        if self.session.is_usable() { Ok(()) } else { Err(self.lost("the session that kept it was ended")) }
    }

    /// The error that says so.
    pub(super) fn lost(&self, reason: &str) -> PostgresError {
        PostgresError::SnapshotLost { reason: reason.to_owned(), on_replica: self.on_replica }
    }
}
