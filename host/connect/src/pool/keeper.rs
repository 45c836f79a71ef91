//! What happens to idle connections while nobody asks for one: those idle for too long or too old are closed, and as many as the
//! operator wants are kept open.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::server_limit::{ServerLimit, Slot};
use super::state::{Idle, Shared};
use super::{BoxedOpen, PooledServer};

/// How a driver connects.
pub(super) type Open<S> = fn(Arc<S>) -> BoxedOpen;

/// Looks are at least and at most so far apart.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(30)];

/// Notes how the driver that was asked for last connects, and starts to look after the pool if nobody does yet. Ends with the pool.
pub(super) fn keep<S: PooledServer>(shared: &Arc<Shared<S>>, permits: &Arc<Semaphore>, driver: Open<S>) {
    if shared.set_driver(driver) {
        let limits = shared.limits();
        let pause = (limits.max_idle.min(limits.max_lifetime) / 4).clamp(PAUSES[0], PAUSES[1]);
        tokio::spawn(look_after(Arc::downgrade(shared), Arc::downgrade(permits), pause));
    }
}

async fn look_after<S: PooledServer>(shared: Weak<Shared<S>>, permits: Weak<Semaphore>, pause: Duration) {
    loop {
        {
            let (Some(shared), Some(permits)) = (shared.upgrade(), permits.upgrade()) else { return };
            shared.tidy();
            fill(&shared, &permits).await;
        }
        tokio::time::sleep(pause).await;
    }
}

/// Opens connections until there are as many as are to be kept, as long as nobody has to wait for it.
async fn fill<S: PooledServer>(shared: &Arc<Shared<S>>, permits: &Arc<Semaphore>) {
    loop {
        let Ok(_permit) = Arc::clone(permits).try_acquire_owned() else { return };
        let slot: Option<Slot> = match shared.server.server_limit() {
            None => None,
            Some(limit) => match ServerLimit::try_acquire(limit) {
                Some(slot) => Some(slot),
                None => return,
            },
        };
        let Some(open) = shared.wants_one_more() else { return };
        match open(Arc::clone(&shared.server)).await {
            Ok(connection) => {
                shared.opened();
                let now = Instant::now();
                shared.put_back(Idle { connection, opened: now, since: now, slot });
            }
            Err(error) => {
                // Whoever needs one will be told.
                shared.unlease(None);
                tracing::debug!(server = shared.server.address(), %error, "a spare connection cannot be opened");
                return;
            }
        }
    }
}
