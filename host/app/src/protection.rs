//! Holds runs to the `protection` of a connection: at the source, where no datakit has a say.
//!
//! - a query waits for its turn, for the end of a back-off, and is refused outside of the allowed hours;
//! - a reader waits until the rows before it are due;
//! - when a server says that it is asked for too much, all queries to it wait, each time twice as long.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::Utc;
use datakit_config::{Config, Protection};
use datakit_model::changes::{ChangeFeed, ChangeRequest, Offer, Validity};
use datakit_model::files::FilesRequest;
use datakit_model::source::{Access, Connection, PoolStatistics, Query, ReadReport, Reader, Source};
use datakit_model::{Failure, RunLimits, TableId, TablePatterns, TrackedBatch};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::error::AppError;

/// The longest wait of a query for its turn.
const MAX_WAIT: Duration = Duration::from_secs(3_600);

/// What connections to one server share.
#[derive(Debug)]
pub(crate) struct Server {
    queries: Option<Arc<Semaphore>>,
    max_queries: u64,
    throttled: Mutex<Throttled>,
}

/// How long a server is left alone.
#[derive(Debug, Default)]
struct Throttled {
    until: Option<Instant>,
    /// The last pause; zero after a query that went well.
    pause: Duration,
}

/// The servers of a process, by address.
pub(crate) type Servers = Mutex<BTreeMap<String, Arc<Server>>>;

/// A poisoned lock holds what it held: no update leaves it half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The most queries at one time to the server of a connection: the lowest bound of all connections to it.
pub(crate) fn max_queries(config: &Config, address: &str) -> Option<u64> {
    let same = config.connections.values().filter(|connection| connection.address() == address);
    same.filter_map(|connection| connection.protection().max_queries).min()
}

/// The source of a connection, held to its protection.
pub(crate) fn protected(
    source: Arc<dyn Source>,
    connection: &datakit_config::Connection,
    config: &Config,
    servers: &Servers,
) -> Arc<dyn Source> {
    let address = connection.address();
    let bound = max_queries(config, &address);
    let server = Arc::clone(lock(servers).entry(address).or_insert_with(|| Arc::new(Server::new(bound))));
    let guard = Guard {
        name: connection.name().to_owned(),
        protection: connection.protection().clone(),
        server,
        pauses: Pauses::of(&config.limits.run),
        due: Mutex::default(),
    };
    Arc::new(ProtectedSource { source, guard: Arc::new(guard) })
}

impl Server {
    fn new(max_queries: Option<u64>) -> Self {
        let permits = |queries| usize::try_from(queries).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            queries: max_queries.map(|queries| Arc::new(Semaphore::new(permits(queries)))),
            max_queries: max_queries.unwrap_or(u64::MAX),
            throttled: Mutex::default(),
        }
    }
}

/// The first and the longest pause of a server that is asked for too much.
#[derive(Debug, Clone, Copy)]
struct Pauses {
    first: Duration,
    longest: Duration,
}

impl Pauses {
    fn of(limits: &RunLimits) -> Self {
        let longest = Duration::from_millis(limits.retry_backoff_max_ms);
        Self { first: Duration::from_millis(limits.retry_backoff_ms).min(longest), longest }
    }
}

/// What is asked before, during and after a query of one connection.
struct Guard {
    name: String,
    protection: Protection,
    server: Arc<Server>,
    pauses: Pauses,
    /// When the next rows may be read.
    due: Mutex<Option<Instant>>,
}

impl Guard {
    fn check_hours(&self) -> Result<(), Failure> {
        let Some((false, now)) = self.protection.is_allowed_at(Utc::now()) else { return Ok(()) };
        let text = |it: Option<String>| it.unwrap_or_default();
        Err(AppError::OutsideHours {
            connection: self.name.clone(),
            hours: text(self.protection.allowed_hours.map(|hours| hours.to_string())),
            time_zone: text(self.protection.time_zone.map(|zone| zone.to_string())),
            now,
        }
        .into())
    }

    /// Waits until a query may begin. The permit is the query's until its reader is dropped.
    async fn begin(&self) -> Result<Option<OwnedSemaphorePermit>, Failure> {
        self.check_hours()?;
        let permit = match &self.server.queries {
            None => None,
            Some(queries) => {
                let turn = tokio::time::timeout(MAX_WAIT, Arc::clone(queries).acquire_owned()).await;
                let late = || AppError::NoTurn {
                    connection: self.name.clone(),
                    max_queries: self.server.max_queries,
                    seconds: MAX_WAIT.as_secs(),
                };
                Some(turn.ok().and_then(Result::ok).ok_or_else(late)?)
            }
        };
        self.wait_out().await;
        self.check_hours()?;
        Ok(permit)
    }

    /// Waits until the server is not to be left alone any more; another query may find out meanwhile that it still is.
    async fn wait_out(&self) {
        loop {
            let until = lock(&self.server.throttled).until.filter(|until| *until > Instant::now());
            let Some(until) = until else { return };
            tokio::time::sleep_until(until).await;
        }
    }

    /// Takes note of how a query went.
    fn note<T>(&self, result: Result<T, Failure>) -> Result<T, Failure> {
        let mut throttled = lock(&self.server.throttled);
        match &result {
            Ok(_) => throttled.pause = Duration::ZERO,
            Err(failure) if failure.is_throttled() => {
                let now = Instant::now();
                // Queries that were under way together say it once.
                if throttled.until.is_none_or(|until| until <= now) {
                    throttled.pause = (throttled.pause * 2).clamp(self.pauses.first, self.pauses.longest);
                    throttled.until = Some(now + throttled.pause);
                    let pause_ms = u64::try_from(throttled.pause.as_millis()).unwrap_or(u64::MAX);
                    tracing::warn!(target: "datakit", connection = self.name, pause_ms, code = failure.code(), "the server is asked for too much, and left alone");
                }
            }
            Err(_) => {}
        }
        result
    }

    /// Waits until the rows that were read are due.
    async fn wait_for_rows(&self) {
        let due = *lock(&self.due);
        if let Some(due) = due {
            tokio::time::sleep_until(due).await;
        }
    }

    fn note_rows(&self, rows: usize) {
        let Some(rate) = self.protection.max_rows_per_second else { return };
        let took = Duration::from_secs_f64(rows as f64 / rate.max(1) as f64);
        let mut due = lock(&self.due);
        let now = Instant::now();
        *due = Some(due.filter(|due| *due > now).unwrap_or(now) + took);
    }
}

struct ProtectedSource {
    source: Arc<dyn Source>,
    guard: Arc<Guard>,
}

#[async_trait]
impl Source for ProtectedSource {
    fn kind(&self) -> &'static str {
        self.source.kind()
    }

    async fn connect(&self, access: Access) -> Result<Box<dyn Connection>, Failure> {
        self.guard.check_hours()?;
        self.guard.wait_out().await;
        let connection = self.guard.note(self.source.connect(access).await)?;
        Ok(Box::new(ProtectedConnection { connection, guard: Arc::clone(&self.guard) }))
    }

    async fn compared(&self, patterns: &TablePatterns, tables: &[TableId]) -> Result<TablePatterns, Failure> {
        self.source.compared(patterns, tables).await
    }

    async fn confirm(&self, positions: &[String]) -> Result<(), Failure> {
        self.source.confirm(positions).await
    }

    fn pool(&self) -> Option<PoolStatistics> {
        self.source.pool()
    }
}

struct ProtectedConnection {
    connection: Box<dyn Connection>,
    guard: Arc<Guard>,
}

impl ProtectedConnection {
    fn reader(&self, reader: Box<dyn Reader>, permit: Option<OwnedSemaphorePermit>) -> Box<dyn Reader> {
        Box::new(ProtectedReader { reader, guard: Arc::clone(&self.guard), _permit: permit })
    }
}

#[async_trait]
impl Connection for ProtectedConnection {
    async fn query(&self, query: Query) -> Result<Box<dyn Reader>, Failure> {
        let permit = self.guard.begin().await?;
        let reader = self.guard.note(self.connection.query(query).await)?;
        Ok(self.reader(reader, permit))
    }

    async fn files(&self, request: FilesRequest) -> Result<Box<dyn Reader>, Failure> {
        let permit = self.guard.begin().await?;
        let reader = self.guard.note(self.connection.files(request).await)?;
        Ok(self.reader(reader, permit))
    }

    async fn changes(&self, request: ChangeRequest) -> Result<Box<dyn ChangeFeed>, Failure> {
        // The questions that a feed asks are short, and end before it is there.
        let _permit = self.guard.begin().await?;
        let feed = self.guard.note(self.connection.changes(request).await)?;
        Ok(Box::new(ProtectedFeed { feed, guard: Arc::clone(&self.guard) }))
    }

    async fn offers(&self, tables: &[TableId]) -> Result<Vec<Vec<Offer>>, Failure> {
        let _permit = self.guard.begin().await?;
        self.guard.note(self.connection.offers(tables).await)
    }
}

struct ProtectedFeed {
    feed: Box<dyn ChangeFeed>,
    guard: Arc<Guard>,
}

#[async_trait]
impl ChangeFeed for ProtectedFeed {
    fn validity(&self) -> &Validity {
        self.feed.validity()
    }

    fn upper(&self) -> Option<&str> {
        self.feed.upper()
    }

    async fn rows(&mut self) -> Result<Box<dyn Reader>, Failure> {
        let permit = self.guard.begin().await?;
        let reader = self.guard.note(self.feed.rows().await)?;
        Ok(Box::new(ProtectedReader { reader, guard: Arc::clone(&self.guard), _permit: permit }))
    }

    /// The rows are those of a query, which is held to the protection itself.
    fn copied(&self, rows: Box<dyn Reader>) -> Result<Box<dyn Reader>, Failure> {
        self.feed.copied(rows)
    }
}

struct ProtectedReader {
    reader: Box<dyn Reader>,
    guard: Arc<Guard>,
    _permit: Option<OwnedSemaphorePermit>,
}

#[async_trait]
impl Reader for ProtectedReader {
    fn schema(&self) -> arrow::datatypes::SchemaRef {
        self.reader.schema()
    }

    async fn next(&mut self) -> Result<Option<TrackedBatch>, Failure> {
        self.guard.check_hours()?;
        // Before the batch is taken: what is cancelled here has lost no row.
        self.guard.wait_for_rows().await;
        let batch = self.reader.next().await;
        if let Err(failure) = &batch
            && failure.is_throttled()
        {
            return self.guard.note(batch);
        }
        if let Ok(Some(batch)) = &batch {
            self.guard.note_rows(batch.batch().num_rows());
        }
        batch
    }

    fn report(&mut self) -> ReadReport {
        self.reader.report()
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use datakit_model::{Diagnostic, Kind, Retry};

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("too much")]
    struct TooMuch;

    impl Diagnostic for TooMuch {
        fn code(&self) -> Cow<'static, str> {
            "DK-TST-001".into()
        }

        fn kind(&self) -> Kind {
            Kind::Source
        }

        fn retry(&self) -> Retry {
            Retry::AfterBackoff
        }

        fn is_throttled(&self) -> bool {
            true
        }
    }

    fn guard(protection: Protection) -> Guard {
        let limits = RunLimits { retry_backoff_ms: 100, retry_backoff_max_ms: 300, ..RunLimits::default() };
        Guard {
            name: "erp".to_owned(),
            server: Arc::new(Server::new(protection.max_queries)),
            protection,
            pauses: Pauses::of(&limits),
            due: Mutex::default(),
        }
    }

    /// In tenths of a second, rounded down.
    async fn wait_of_a_query(guard: &Guard) -> u128 {
        let began = Instant::now();
        guard.begin().await.unwrap();
        // A pause began a moment before.
        (began.elapsed().as_millis() + 20) / 100
    }

    #[tokio::test]
    async fn server_that_is_asked_for_too_much_is_left_alone_for_longer_each_time() {
        let guard = guard(Protection::default());
        let mut waited = Vec::new();
        for _ in 0..4 {
            let _ = guard.note(Err::<(), _>(Failure::from(TooMuch)));
            // The others that were under way say the same.
            let _ = guard.note(Err::<(), _>(Failure::from(TooMuch)));
            waited.push(wait_of_a_query(&guard).await);
        }
        assert_eq!(waited, [1, 2, 3, 3]);
        guard.note(Ok(())).unwrap();
        let _ = guard.note(Err::<(), _>(Failure::from(TooMuch)));
        assert_eq!(wait_of_a_query(&guard).await, 1);
        let other = Failure::new("DK-TST-002", Kind::Source, Retry::AfterBackoff, "a broken connection");
        let _ = guard.note(Err::<(), _>(other));
        assert_eq!(wait_of_a_query(&guard).await, 0);
    }

    #[tokio::test]
    async fn queries_wait_for_their_turn() {
        let guard = Arc::new(guard(Protection { max_queries: Some(2), ..Protection::default() }));
        let first = guard.begin().await.unwrap();
        let _second = guard.begin().await.unwrap();
        let waiting = tokio::spawn({
            let guard = Arc::clone(&guard);
            async move { guard.begin().await.map(drop) }
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!waiting.is_finished());
        drop(first);
        waiting.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn rows_come_at_their_rate_over_all_readers() {
        let guard = guard(Protection { max_rows_per_second: Some(10_000), ..Protection::default() });
        let began = Instant::now();
        for rows in [2_000, 1_000, 500] {
            guard.wait_for_rows().await;
            guard.note_rows(rows);
        }
        guard.wait_for_rows().await;
        let took = began.elapsed().as_millis();
        assert!((350..600).contains(&took), "{took} ms for 3,500 rows");
    }

    #[tokio::test]
    async fn query_outside_of_the_allowed_hours_is_refused() {
        let now = Utc::now();
        // An hour that is two hours away, whatever the time is.
        let hour = |hours: i64| (now + chrono::Duration::hours(hours)).format("%H:00").to_string();
        let allowed_hours = Some(format!("{}-{}", hour(2), hour(3)).parse().unwrap());
        let time_zone = Some("UTC".parse().unwrap());
        let guard = guard(Protection { allowed_hours, time_zone, ..Protection::default() });
        let failure = guard.begin().await.unwrap_err();
        assert_eq!((failure.code(), failure.retry()), ("DK-RUN-030", Retry::NextRun));
        assert!(failure.message().contains("UTC"), "{failure}");
    }
}
