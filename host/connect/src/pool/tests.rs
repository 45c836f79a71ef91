//! Each bound by itself, with connections that are counted and no server behind them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;

/// What the pool has to say.
#[derive(Debug)]
enum TestError {
    PoolTimeout {
        connections: usize,
    },
    #[expect(dead_code, reason = "shown when a test fails")]
    Other(String),
}

impl Fault for TestError {
    fn query_timeout(seconds: f64) -> Self {
        Self::Other(format!("a query took {seconds} s"))
    }

    fn pool_timeout(_: String, _: f64, connections: usize) -> Self {
        Self::PoolTimeout { connections }
    }

    fn internal(what: String) -> Self {
        Self::Other(what)
    }
}

impl From<TestError> for datakit_model::Failure {
    fn from(error: TestError) -> Self {
        Self::new("DK-TST-001", datakit_model::Kind::Source, datakit_model::Retry::Never, format!("{error:?}"))
    }
}

/// What a server notices.
#[derive(Default)]
struct Counts {
    open: AtomicUsize,
    most: AtomicUsize,
    opened: AtomicUsize,
    pinged: AtomicUsize,
    /// Whether it has closed all connections.
    gone: AtomicBool,
}

impl Counts {
    fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }
}

/// A server that is nothing but its bounds.
struct Server {
    limits: PoolLimits,
    limit: Option<ServerLimit>,
    counts: Arc<Counts>,
}

impl PooledServer for Server {
    fn pool(&self) -> &PoolLimits {
        &self.limits
    }

    fn address(&self) -> String {
        "sql01:1433".to_owned()
    }

    fn server_limit(&self) -> Option<&ServerLimit> {
        self.limit.as_ref()
    }
}

/// A connection of driver `N` that is counted while it lives.
struct Counted<const N: usize> {
    usable: bool,
    counts: Arc<Counts>,
}

impl<const N: usize> Pooled for Counted<N> {
    type Server = Server;
    type Error = TestError;

    async fn open(server: &Server) -> Result<Self, TestError> {
        let counts = Arc::clone(&server.counts);
        let open = counts.open.fetch_add(1, Ordering::SeqCst) + 1;
        counts.most.fetch_max(open, Ordering::SeqCst);
        counts.opened.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        Ok(Self { usable: true, counts })
    }

    fn is_usable(&self) -> bool {
        self.usable
    }

    async fn ping(&mut self) -> bool {
        self.counts.pinged.fetch_add(1, Ordering::SeqCst);
        !self.counts.gone.load(Ordering::SeqCst)
    }
}

impl<const N: usize> Drop for Counted<N> {
    fn drop(&mut self) {
        self.counts.open.fetch_sub(1, Ordering::SeqCst);
    }
}

fn pool_of(limits: PoolLimits, limit: Option<&ServerLimit>, counts: &Arc<Counts>) -> Pool<Server> {
    Pool::new(&Arc::new(Server { limits, limit: limit.cloned(), counts: Arc::clone(counts) }))
}

fn pool(limits: PoolLimits) -> (Pool<Server>, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    (pool_of(limits, None, &counts), counts)
}

fn bounds(max_connections: usize, checkout_timeout: Duration) -> PoolLimits {
    PoolLimits { max_connections, checkout_timeout, ..PoolLimits::default() }
}

async fn use_once<const N: usize>(pool: &Pool<Server>) {
    let lease = pool.lease::<Counted<N>>().await.unwrap();
    tokio::task::yield_now().await;
    give_back(lease);
}

/// Waits until it is so, for as long as the test may take.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

const SHORT_TIMEOUT: Duration = Duration::from_millis(50);
const LONG_TIMEOUT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn the_bound_holds_over_both_drivers() {
    // A pool of one changes its connection's driver as often as it is asked to.
    let (one, counts) = pool(bounds(1, SHORT_TIMEOUT));
    for _ in 0..3 {
        use_once::<1>(&one).await;
        use_once::<2>(&one).await;
        use_once::<2>(&one).await;
    }
    assert_eq!((counts.most(), counts.opened()), (1, 6));

    // What is leased is waited for, whichever driver holds it.
    let held = one.lease::<Counted<1>>().await.unwrap();
    assert!(matches!(one.lease::<Counted<2>>().await, Err(TestError::PoolTimeout { connections: 1 })));
    give_back(held);
    use_once::<2>(&one).await;

    // A broken connection frees its place, and a dropped lease closes its own.
    let mut broken = one.lease::<Counted<2>>().await.unwrap();
    broken.usable = false;
    give_back(broken);
    drop(one.lease::<Counted<1>>().await.unwrap());
    assert_eq!(counts.open(), 0);
    use_once::<1>(&one).await;
    drop(one);
    assert_eq!(counts.open(), 0);

    // With room for both drivers nothing is closed.
    let (three, counts) = pool(bounds(3, SHORT_TIMEOUT));
    for _ in 0..5 {
        use_once::<1>(&three).await;
        use_once::<2>(&three).await;
    }
    assert_eq!(counts.opened(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_keep_to_the_bound_and_are_counted() {
    let (three, counts) = pool(bounds(3, LONG_TIMEOUT));
    let three = Arc::new(three);
    let tasks: Vec<_> = (0..200)
        .map(|i| {
            let pool = Arc::clone(&three);
            tokio::spawn(
                async move { if i % 3 == 0 { use_once::<1>(&pool).await } else { use_once::<2>(&pool).await } },
            )
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(counts.most() <= 3, "{}", counts.most());
    let found = three.statistics();
    assert_eq!((found.opened, found.most_open), (counts.opened() as u64, counts.most() as u64));
    assert_eq!((found.in_use, found.idle), (0, counts.open() as u64));
    assert_eq!(found.opened - found.closed.total(), found.idle);
    assert!(found.waits > 0 && found.longest_wait_ms <= found.wait_ms, "{found:?}");
    assert_eq!((found.server.as_str(), found.max_connections), ("sql01:1433", 3));
}

#[tokio::test]
async fn connections_that_are_idle_too_long_or_too_old_are_closed_without_being_asked_for() {
    let limits = PoolLimits { max_idle: Duration::from_millis(20), ..bounds(4, LONG_TIMEOUT) };
    let (idle, counts) = pool(limits.clone());
    use_once::<1>(&idle).await;
    until(|| counts.open() == 0).await;
    assert_eq!(idle.statistics().closed.idle, 1);

    let (old, counts) = pool(PoolLimits { max_lifetime: Duration::from_millis(20), ..bounds(4, LONG_TIMEOUT) });
    use_once::<1>(&old).await;
    until(|| counts.open() == 0).await;
    assert_eq!(old.statistics().closed.lifetime, 1);

    // Asked for before anybody looked: the same.
    let lively = PoolLimits { max_lifetime: SHORT_TIMEOUT, ..bounds(4, LONG_TIMEOUT) };
    let (old, counts) = pool(lively);
    let lease = old.lease::<Counted<1>>().await.unwrap();
    tokio::time::sleep(SHORT_TIMEOUT * 2).await;
    give_back(lease);
    use_once::<1>(&old).await;
    assert_eq!((counts.opened(), old.statistics().closed.lifetime), (2, 1));
}

#[tokio::test]
async fn as_many_as_are_wanted_are_kept_open() {
    let limits = PoolLimits { min_connections: 2, max_idle: Duration::from_millis(20), ..bounds(4, LONG_TIMEOUT) };
    let (kept, counts) = pool(limits);
    assert_eq!(counts.open(), 0, "nothing is opened before it is needed");
    let leases = [
        kept.lease::<Counted<1>>().await.unwrap(),
        kept.lease::<Counted<1>>().await.unwrap(),
        kept.lease::<Counted<1>>().await.unwrap(),
    ];
    leases.into_iter().for_each(give_back);
    until(|| counts.open() == 2).await;
    let opened = counts.opened();
    tokio::time::sleep(Duration::from_millis(600)).await;
    // However long they are idle, they are used.
    use_once::<1>(&kept).await;
    assert_eq!((counts.open(), counts.opened()), (2, opened));

    // One is asked for, another is opened beside it.
    let (spare, counts) = pool(PoolLimits { min_connections: 2, ..bounds(4, LONG_TIMEOUT) });
    let first = spare.lease::<Counted<1>>().await.unwrap();
    until(|| counts.open() == 2).await;
    let second = spare.lease::<Counted<1>>().await.unwrap();
    assert_eq!(counts.opened(), 2);
    drop((first, second));
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_not_handed_out() {
    let (asked, counts) = pool(PoolLimits { validate_after: Duration::ZERO, ..bounds(4, LONG_TIMEOUT) });
    use_once::<1>(&asked).await;
    use_once::<1>(&asked).await;
    assert_eq!((counts.opened(), counts.pinged.load(Ordering::SeqCst)), (1, 1));
    counts.gone.store(true, Ordering::SeqCst);
    let lease = asked.lease::<Counted<1>>().await.unwrap();
    assert_eq!((counts.opened(), counts.open(), asked.statistics().closed.closed_by_server), (2, 1, 1));
    drop(lease);
    assert_eq!(asked.statistics().closed.unfinished, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn pools_of_one_server_share_its_limit() {
    let (limit, counts) = (ServerLimit::new(2), Arc::new(Counts::default()));
    let first = Arc::new(pool_of(bounds(8, LONG_TIMEOUT), Some(&limit), &counts));
    let second = Arc::new(pool_of(bounds(8, LONG_TIMEOUT), Some(&limit), &counts));
    assert_eq!(first.statistics().max_connections, 2, "more could only wait for each other");

    // What one keeps idle is closed for the other.
    let leases = [first.lease::<Counted<1>>().await.unwrap(), first.lease::<Counted<1>>().await.unwrap()];
    leases.into_iter().for_each(give_back);
    assert_eq!(counts.open(), 2);
    use_once::<1>(&second).await;
    assert_eq!((counts.most(), first.statistics().closed.displaced), (2, 1));

    // What one uses is waited for, and given back to whoever waits.
    let held = [first.lease::<Counted<1>>().await.unwrap(), first.lease::<Counted<1>>().await.unwrap()];
    let waiting = tokio::spawn({
        let second = Arc::clone(&second);
        async move { use_once::<2>(&second).await }
    });
    until(|| limit.is_wanted()).await;
    held.into_iter().for_each(give_back);
    waiting.await.unwrap();

    // Many of both.
    let tasks: Vec<_> = (0..200)
        .map(|i| {
            let pool = Arc::clone(if i % 2 == 0 { &first } else { &second });
            tokio::spawn(
                async move { if i % 3 == 0 { use_once::<1>(&pool).await } else { use_once::<2>(&pool).await } },
            )
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert!(counts.most() <= 2, "{}", counts.most());

    // Used for good by the first: told to the second.
    let held = [first.lease::<Counted<1>>().await.unwrap(), first.lease::<Counted<1>>().await.unwrap()];
    let hasty = pool_of(bounds(8, SHORT_TIMEOUT), Some(&limit), &counts);
    assert!(matches!(hasty.lease::<Counted<1>>().await, Err(TestError::PoolTimeout { connections: 2 })));
    drop(held);
    use_once::<1>(&hasty).await;
}
