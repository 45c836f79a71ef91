//! One table's transaction, and the task that owns its connection.
//!
//! Partitions send encoded rows, the table's writer sends the end. When all of them are gone, so is the connection, and the
//! server rolls back.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use datakit_model::resume::{FinishedPartition, LoadPlan};
use datakit_model::state::{SourceTable, StateDocument, WrittenRows};
use datakit_model::{DriftRule, Failure, ReceiptLevel, TableState};
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::connection::{Session, Sessions, statement_error};
use super::copy::Copying;
use super::drift;
use super::ledger::{self, Held, Lost};
use super::merge::{Load, Staged, Staging, Statements, Update};
use super::names::{TableName, quote};
use super::receipt::{self, MergeCheck};
use super::rows;
use super::types::{Existing, TableSchema};
use super::unfinished::{self, StagedLoad};
use crate::server::Server;
use datakit_connect::sink::SinkError;
use datakit_connect::sink::drift::Fit;
use datakit_connect::sink::merge::MergeColumns;
use datakit_connect::sink::receipt::count;
use datakit_connect::sink::update::UpdateError;
use datakit_model::receipt::{Delivered, MergedRows, Receipt};
use datakit_model::sink::{CommitNote, TableRows, Target, WriteMode};

/// So long a change of columns waits for the sessions that use the table, in seconds.
const ALTER_SECONDS: u32 = 10;

/// What all writers of a table know.
pub(crate) struct Plan {
    pub(crate) config: Server,
    pub(crate) sessions: Sessions,
    pub(crate) name: TableName,
    /// The name, for people.
    pub(crate) location: String,
    pub(crate) schema: TableSchema,
    pub(crate) target: Target,
    /// Why the transaction ended before its time.
    pub(crate) failure: OnceLock<Failure>,
}

impl Plan {
    pub(crate) fn failed(&self, action: &'static str, error: tokio_postgres::Error) -> SinkError {
        statement_error(&self.config, action, &self.location, error)
    }

    /// Why nobody listens to a message any more.
    pub(crate) fn ended(&self) -> Failure {
        self.failure.get().cloned().unwrap_or_else(|| {
            let what = "the table was committed or aborted before".to_owned();
            SinkError::Misuse { location: self.location.clone(), what }.into()
        })
    }
}

/// What the connection's task is told.
pub(crate) enum Command {
    /// COPY data of whole rows.
    Rows(Bytes),
    /// The end: what was written, where it is, and where the answer goes.
    Commit { note: CommitNote, rows: u64, loaded: Loaded, answer: oneshot::Sender<Result<Answer, Failure>> },
    /// The other end.
    Abort { answer: oneshot::Sender<()> },
}

/// Where the rows of a load are.
pub(crate) enum Loaded {
    /// In the table, by the COPY of this transaction.
    Copied,
    /// In temporary files, to be merged.
    Merged(Load),
    /// In tables of their own.
    Staged(StagedLoad),
}

/// What a commit leaves.
pub(crate) struct Answer {
    pub(crate) state: TableState,
    pub(crate) holds: TableRows,
    pub(crate) receipt: Option<Receipt>,
}

/// What the end of the rows leaves, before the commit.
struct Ended {
    /// Rows that the ledger counts afterwards.
    rows: u64,
    /// Rows of the load.
    written: u64,
    receipt: Option<Receipt>,
}

/// A begun transaction.
pub(crate) struct Transaction {
    plan: Arc<Plan>,
    client: Session,
    /// What the last commit left.
    before: Held,
    /// What alters the table before its first row is written. Readers wait from then on, the run's own readers of its state too,
    /// which are done by then.
    alter: Option<String>,
    copy: Copying,
}

impl Transaction {
    /// Begins: nobody else writes the table until this ends, and it has the right columns. The plan gets the schema and the target
    /// of the rows as they are written.
    pub(crate) async fn begin(mut plan: Plan) -> Result<(Self, Arc<Plan>, Fit), SinkError> {
        let client = plan.sessions.open().await?;
        match Self::prepare(&client, &mut plan).await {
            Ok(Prepared { held, fit, alter }) => {
                let plan = Arc::new(Plan { target: fit.written(plan.target), ..plan });
                Ok((Self { plan: Arc::clone(&plan), client, before: held, alter, copy: Copying::default() }, plan, fit))
            }
            Err(error) => {
                // Answered before the next attempt asks for the lock; this error is the one to report.
                let _ = client.batch_execute("ROLLBACK").await;
                Err(error)
            }
        }
    }

    /// Leaves the transaction begun and the table ready.
    async fn prepare(client: &Client, plan: &mut Plan) -> Result<Prepared, SinkError> {
        ledger::prepare(client, &plan.config, &plan.name).await?;
        let begin = match &plan.target.load {
            None => format!("BEGIN; {}", ledger::TRANSACTION),
            // It sees rows that are committed while it waits, however long that takes.
            Some(_) => format!(
                "BEGIN ISOLATION LEVEL READ COMMITTED; {}; SET LOCAL idle_in_transaction_session_timeout = 0",
                ledger::TRANSACTION
            ),
        };
        client.batch_execute(&begin).await.map_err(|e| plan.failed("begin a transaction for", e))?;
        lock(client, &plan.config, &plan.name).await?;
        let (system, table) = (&plan.target.run.source_system, &plan.target.table);
        if let Some(owner) = ledger::other_owner(client, &plan.config, system, table, &plan.name).await? {
            let reason = format!("it holds the rows of another source's table ({owner})");
            return Err(SinkError::ForeignTable { location: plan.location.clone(), reason });
        }
        match ledger::existing_columns(client, &plan.config, &plan.name).await? {
            None => Self::create(client, plan).await,
            Some(existing) => Self::take(client, plan, &existing).await,
        }
    }

    /// Makes the table.
    async fn create(client: &Client, plan: &Plan) -> Result<Prepared, SinkError> {
        let (system, table) = (&plan.target.run.source_system, &plan.target.table);
        if plan.target.updates_only {
            return Err(UpdateError::NoRows { location: plan.location.clone() }.into());
        }
        let held = Self::before(plan, ledger::held(client, &plan.config, system, table).await?)?;
        let sql = plan.schema.create(&plan.name);
        client.batch_execute(&sql).await.map_err(|e| plan.failed("create", e))?;
        if plan.target.mode == WriteMode::Merge {
            let keys = MergeColumns::new(&plan.target, "postgres")?;
            let sql = plan.schema.create_index(&plan.name, keys.keys());
            client.batch_execute(&sql).await.map_err(|e| plan.failed("create an index of", e))?;
        }
        Ok(Prepared { held, fit: Fit::new_table(&plan.target), alter: None })
    }

    /// Makes the table that is there one that the rows fit into.
    async fn take(client: &Client, plan: &mut Plan, existing: &[Existing]) -> Result<Prepared, SinkError> {
        // Before it is looked at: nobody empties or replaces it from now on.
        let sql = format!("LOCK TABLE {} IN ROW EXCLUSIVE MODE", plan.name);
        client.batch_execute(&sql).await.map_err(|e| plan.failed("lock", e))?;
        let (system, table) = (&plan.target.run.source_system, &plan.target.table);
        let last = ledger::committed(client, &plan.config, system, table).await?;
        let (fit, schema) = drift::fit(&plan.target, existing, last.as_ref(), (&plan.location, false))?;
        let held = Self::before(plan, ledger::held(client, &plan.config, system, table).await?)?;
        let is_emptied = plan.target.mode == WriteMode::Overwrite;
        let replaces = is_emptied && plan.target.drift == DriftRule::Replace;
        let alter = drift::alter(&plan.name, &schema, &fit.alterations, replaces);
        plan.schema = schema;
        if is_emptied {
            // Not TRUNCATE: that would keep readers out until the commit.
            let sql = format!("DELETE FROM {}", plan.name);
            client.batch_execute(&sql).await.map_err(|e| plan.failed("empty", e))?;
        }
        let held = if is_emptied { Held { rows: 0, ..held } } else { held };
        Ok(Prepared { held, fit, alter })
    }

    /// Says what became of the rows that the ledger knows, or refuses to add to rows that it does not know.
    fn before(plan: &Plan, held: Held) -> Result<Held, SinkError> {
        let location = &plan.location;
        match held.lost {
            Some(Lost::Gone | Lost::Emptied) | None if plan.target.updates_only && held.document.is_none() => {
                return Err(UpdateError::NoRows { location: location.clone() }.into());
            }
            Some(Lost::Replaced) if plan.target.mode != WriteMode::Overwrite => {
                let (system, table) = (&plan.target.run.source_system, &plan.target.table);
                let (location, row) = (location.clone(), ledger::where_row(system, table));
                return Err(SinkError::Replaced { location, row });
            }
            Some(Lost::Gone | Lost::Emptied) => {
                tracing::warn!(%location, "the rows of earlier runs are not there any more: everything is loaded again");
            }
            Some(Lost::Replaced) | None => {}
        }
        Ok(held)
    }

    /// The connection's task.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        while let Some(command) = commands.recv().await {
            match command {
                Command::Rows(rows) => {
                    if let Err(error) = self.copy_rows(rows).await {
                        // The first error is the reason; whoever sends next gets it.
                        let _ = self.plan.failure.set(error.into());
                        break;
                    }
                }
                Command::Commit { note, rows, loaded, answer } => {
                    let result = match self.commit(&note, rows, loaded).await {
                        Ok((state, receipt)) => {
                            // Committed: that nobody can say how many rows there are changes nothing of it.
                            let counted = rows::count(&self.client, &self.plan.config, &self.plan.name).await;
                            let holds = counted.unwrap_or(TableRows { rows, at_least: true });
                            Ok(Answer { state, holds, receipt })
                        }
                        Err(error) => {
                            self.roll_back().await;
                            Err(Failure::from(error))
                        }
                    };
                    // Nobody waits any more: the outcome is in the ledger.
                    let _ = answer.send(result);
                    return;
                }
                Command::Abort { answer } => {
                    self.roll_back().await;
                    let _ = answer.send(());
                    return;
                }
            }
        }
        self.roll_back().await;
    }

    /// The kept partitions of a load, for whoever goes on with it.
    pub(crate) async fn finished(&self, load: &LoadPlan) -> Result<Vec<FinishedPartition>, SinkError> {
        unfinished::finished(&self.client, &self.plan.config, load, &self.plan.schema).await
    }

    async fn copy_rows(&mut self, rows: Bytes) -> Result<(), SinkError> {
        self.alter().await?;
        let sql = self.plan.schema.copy(&self.plan.name);
        self.send(&sql, rows).await
    }

    /// Gives the table the columns of the load, once.
    async fn alter(&mut self) -> Result<(), SinkError> {
        match self.alter.take() {
            Some(sql) => alter_table(&self.client, &self.plan, &sql).await,
            None => Ok(()),
        }
    }

    async fn send(&mut self, sql: &str, rows: Bytes) -> Result<(), SinkError> {
        self.copy.send(&self.client, sql, rows).await.map_err(|error| self.plan.failed("write to", error))
    }

    /// Ends the COPY that was begun; gives the rows that arrived.
    async fn end_copy(&mut self) -> Result<u64, SinkError> {
        std::mem::take(&mut self.copy).end().await.map_err(|error| self.plan.failed("write to", error))
    }

    /// Ends the rows, and holds them against what was delivered. The server counts rows: its number is compared in any case.
    async fn end_rows(&mut self, rows: u64, loaded: Loaded, delivered: Option<&Delivered>) -> Result<Ended, SinkError> {
        let arrived = match loaded {
            Loaded::Merged(load) => {
                if let Some(delivered) = delivered {
                    count(&self.plan.location, "rows of the load", delivered.rows, rows)?;
                }
                return self.merge(load, rows, delivered).await;
            }
            Loaded::Copied => {
                self.alter().await?;
                self.end_copy().await?
            }
            Loaded::Staged(load) => {
                self.alter().await?;
                self.take_staged(&load).await?
            }
        };
        count(&self.plan.location, "rows", rows, arrived)?;
        if let Some(delivered) = delivered {
            receipt::check(&self.client, &self.plan, delivered, arrived).await?;
        }
        let held = self.before.rows.saturating_add(rows);
        Ok(Ended { rows: held, written: rows, receipt: delivered.map(Receipt::new) })
    }

    /// Takes the rows of partitions into the table, and removes their tables. Gives the rows.
    async fn take_staged(&self, load: &StagedLoad) -> Result<u64, SinkError> {
        let columns: Vec<String> = self.plan.schema.columns.iter().map(|column| quote(&column.name)).collect();
        let (columns, name) = (columns.join(", "), &self.plan.name);
        let mut rows = 0;
        for table in load.tables() {
            let sql = format!("INSERT INTO {name} ({columns}) SELECT {columns} FROM {table}");
            rows += self.execute("write to", &sql).await?;
        }
        unfinished::drop_staged(&self.client, &self.plan.config, &load.load_id, &load.ordinals).await?;
        Ok(rows)
    }

    /// Stages a load, and applies it.
    async fn merge(&mut self, load: Load, written: u64, delivered: Option<&Delivered>) -> Result<Ended, SinkError> {
        let plan = Arc::clone(&self.plan);
        let staging = Arc::new(Staging::new(&plan)?);
        self.execute("stage rows for", &staging.create()).await?;
        let columns = load.load.spool().columns().clone();
        let staged = self.stage(&staging, load).await?;
        self.alter().await?;
        // Planned by what is in it; nobody else changes the table until the end, so that no key is added between two statements.
        let ready = format!("ANALYZE {}; LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", staging.name, plan.name);
        self.client.batch_execute(&ready).await.map_err(|e| plan.failed("lock", e))?;
        if plan.target.updates_only {
            let (client, plan, staging) = (&self.client, &plan, staging.as_ref());
            let update = Update { client, plan, staging, columns: &columns, staged: &staged };
            let merged = update.apply(delivered.map(Delivered::level)).await?;
            let receipt = delivered.map(|delivered| Receipt::of_merge(delivered, merged));
            return Ok(Ended { rows: self.before.rows, written: merged.updated, receipt });
        }
        let (mut deleted, mut updated, mut inserted, mut doubles) = (0, 0, 0, 0);
        let statements = staging.statements(&plan.name, &plan.schema, &columns, &staged);
        for statement in &statements {
            deleted += self.execute("merge into", &statement.delete).await?;
            if let Some(update) = &statement.update {
                updated += self.execute("merge into", update).await?;
            }
            inserted += self.execute("merge into", &statement.insert).await?;
        }
        if updated + inserted > staged.upserts {
            for statement in &statements {
                doubles += self.execute("merge into", &statement.delete_doubles).await?;
            }
        }
        updated -= doubles.min(updated);
        if let Some(delivered) = delivered {
            self.check_merge(&statements, staged.upserts, inserted + updated, delivered.level()).await?;
        }
        // Of keys without other columns no row is replaced.
        let updated = staged.upserts.saturating_sub(inserted);
        let merged = MergedRows { inserted, updated, deleted, ..MergedRows::default() };
        if staged.incomplete > 0 {
            tracing::info!(
                location = %plan.location, rows = staged.incomplete,
                "the source sent some columns only of rows: where the table had none of their keys, the others are null"
            );
        }
        let has_rows = ledger::has_rows(&self.client, &plan.config, &plan.location).await?;
        let rows = (self.before.rows + inserted).saturating_sub(deleted + doubles);
        let receipt = delivered.map(|delivered| Receipt::of_merge(delivered, merged));
        Ok(Ended { rows: if has_rows { rows.max(1) } else { 0 }, written, receipt })
    }

    /// Holds the rows of the load's keys against what is staged.
    async fn check_merge(
        &self,
        statements: &[Statements],
        upserts: u64,
        written: u64,
        level: ReceiptLevel,
    ) -> Result<(), SinkError> {
        let check = MergeCheck { client: &self.client, plan: &self.plan, upserts };
        let keys: Vec<&str> = statements.iter().map(|statement| statement.count_keys.as_str()).collect();
        if level == ReceiptLevel::Full {
            let differing: Vec<&str> = statements.iter().map(|statement| statement.count_differing.as_str()).collect();
            return check.values(&keys, &differing).await;
        }
        let updates = statements.iter().all(|statement| statement.update.is_some());
        check.rows(updates.then_some(written), &keys).await
    }

    /// How many rows the statement concerns.
    async fn execute(&self, action: &'static str, sql: &str) -> Result<u64, SinkError> {
        self.client.execute_typed(sql, &[]).await.map_err(|e| self.plan.failed(action, e))
    }

    /// Reduces the load on a thread, and copies what it gives.
    async fn stage(&mut self, staging: &Arc<Staging>, load: Load) -> Result<Staged, SinkError> {
        let (sender, mut receiver) = mpsc::channel(1);
        let (plan, table) = (Arc::clone(&self.plan), Arc::clone(staging));
        let location = plan.location.clone();
        let thread = tokio::task::spawn_blocking(move || {
            let ended =
                || SinkError::Misuse { location: plan.location.clone(), what: "nobody takes the rows".to_owned() };
            table.fill(&load, &plan.location, |rows| sender.blocking_send(rows).map_err(|_| ended()))
        });
        let sql = staging.schema.copy(&staging.name);
        while let Some(rows) = receiver.recv().await {
            self.send(&sql, rows).await?;
        }
        let failed = |e| SinkError::Encode { location, source: Box::new(e) };
        let staged = thread.await.map_err(failed)??;
        self.end_copy().await?;
        Ok(staged)
    }

    async fn commit(
        &mut self,
        note: &CommitNote,
        rows: u64,
        loaded: Loaded,
    ) -> Result<(TableState, Option<Receipt>), SinkError> {
        let plan = Arc::clone(&self.plan);
        let Ended { rows: held, written, receipt } = self.end_rows(rows, loaded, note.delivered.as_ref()).await?;
        let (system, table) = (&plan.target.run.source_system, &plan.target.table);
        let to = ledger::target(&self.client, &plan.config, &plan.name, held).await?;
        let written = WrittenRows { rows: written, files: Vec::new() };
        let document = StateDocument::after(self.before.document.as_ref(), &plan.target, note, written, Some(to));
        ledger::write(&self.client, &plan.config, system, table, &plan.name, &document).await?;
        let state = document.state(&SourceTable::new(system, table));
        match self.client.batch_execute("COMMIT").await {
            Ok(()) => Ok((state, receipt)),
            // The server answered: the transaction is rolled back.
            Err(error) if error.code().is_some() => Err(plan.failed("commit", error)),
            Err(error) => resolve(&plan, &state, error).await.map(|()| (state, receipt)),
        }
    }

    /// Also what the server does when the connection ends; waiting for it frees the lock before the next attempt.
    async fn roll_back(&mut self) {
        self.copy = Copying::default();
        if let Err(error) = self.client.batch_execute("ROLLBACK").await {
            tracing::warn!(location = %self.plan.location, %error, "a transaction ended without an answer to ROLLBACK");
        }
    }
}

/// What a transaction begins with.
struct Prepared {
    /// What the last commit left.
    held: Held,
    fit: Fit,
    /// What is to alter the table later.
    alter: Option<String>,
}

/// Changes the columns of the table. Waits for its readers for a bounded time: whoever comes after waits behind this statement.
async fn alter_table(client: &Client, plan: &Plan, sql: &str) -> Result<(), SinkError> {
    let bounded = format!("SET LOCAL lock_timeout = '{ALTER_SECONDS}s'; {sql} SET LOCAL lock_timeout TO DEFAULT");
    client.batch_execute(&bounded).await.map_err(|error| match error.code() {
        Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            SinkError::Locked { location: plan.location.clone(), seconds: ALTER_SECONDS }
        }
        _ => plan.failed("change the columns of", error),
    })
}

/// The connection broke before the answer to COMMIT: the ledger knows, once the old session is gone.
async fn resolve(plan: &Plan, state: &TableState, error: tokio_postgres::Error) -> Result<(), SinkError> {
    let unknown = |source: Box<dyn std::error::Error + Send + Sync>| SinkError::Unknown {
        location: plan.location.clone(),
        source,
    };
    let look = async {
        let client = plan.sessions.open().await?;
        let wait = format!(
            "BEGIN READ ONLY; {}; SET LOCAL lock_timeout = '30s'; SELECT pg_advisory_xact_lock({})",
            ledger::TRANSACTION,
            lock_key(&plan.name)
        );
        client.batch_execute(&wait).await.map_err(|e| plan.failed("wait for", e))?;
        ledger::committed(&client, &plan.config, &plan.target.run.source_system, &plan.target.table).await
    };
    match look.await {
        Ok(Some(now)) if now.was_committed_by(&state.run_id) => {
            tracing::warn!(location = %plan.location, %error, "committed, though the connection broke before the answer");
            Ok(())
        }
        Ok(_) => Err(plan.failed("commit", error)),
        Err(_) => Err(unknown(Box::new(error))),
    }
}

/// Keeps a second run out until the transaction ends.
pub(crate) async fn lock(client: &Client, config: &Server, name: &TableName) -> Result<(), SinkError> {
    let sql = format!("SELECT pg_try_advisory_xact_lock({})", lock_key(name));
    let location = name.to_string();
    let row = client.query_typed_one(&sql, &[]).await.map_err(|e| statement_error(config, "lock", &location, e))?;
    if row.get(0) { Ok(()) } else { Err(SinkError::Conflict { location }) }
}

/// Advisory locks have numbers, not names; of the same database only.
fn lock_key(name: &TableName) -> i64 {
    let digest = Sha256::digest(format!("datakit:{name}").as_bytes());
    let mut key = [0; 8];
    key.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(key)
}
