//! One read for several sinks: who takes part, and when a partition is read for whom (docs/sharing-reads.md).
//!
//! Each load of a group goes its own way: it opens its sink, examines its rows and commits by itself. They meet where a partition
//! is read. A partition is read once, when each load that is to read it has asked for it; a load that has failed, has ended, or does
//! not need the partition is not waited for. Whoever asks for a partition a second time reads it alone.
//!
//! A load waits without a worker. The worker of a partition is taken when all who read it are there, so that loads which wait for one
//! another never keep a worker from one another.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datakit_model::datakit::{Datakit, Extraction, Partition, Session, TablePlan};
use datakit_model::{Failure, TableId};
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::followed::followed;

/// A worker of the run; it is free again when its last holder drops it.
pub(crate) type Worker = Arc<OwnedSemaphorePermit>;

/// Digest of what fixes the rows of a partition: its number, its state, and the time that its rows say they were loaded at.
type Key = [u8; 32];

fn key(session: &Session, partition: &Partition) -> Key {
    let mut digest = Sha256::new();
    digest.update(partition.ordinal.to_le_bytes());
    digest.update(session.run.started_at_micros.to_le_bytes());
    digest.update(&partition.state);
    digest.finalize().into()
}

/// The read of one table for several loads.
pub(crate) struct SharedRead {
    datakit: Arc<dyn Datakit>,
    table: TableId,
    workers: Arc<Semaphore>,
    stop: CancellationToken,
    asks_watermark: bool,
    /// The ingests of the loads.
    names: Vec<String>,
    state: Mutex<State>,
}

struct State {
    loads: Vec<Stage>,
    waiting: HashMap<Key, Vec<Waiting>>,
}

/// How far a load is.
enum Stage {
    /// It has not said what it reads.
    Coming,
    /// It is going to ask for these partitions.
    Reads(HashSet<Key>),
    /// It has ended, or reads alone from now on.
    Gone,
}

impl Stage {
    fn is_awaited(&self, key: &Key) -> bool {
        match self {
            Self::Coming => true,
            Self::Reads(keys) => keys.contains(key),
            Self::Gone => false,
        }
    }
}

/// A load that waits for a partition.
struct Waiting {
    load: usize,
    session: Session,
    partition: Partition,
    answer: oneshot::Sender<Answer>,
}

/// A partition that is read for a load and for others.
struct Together {
    worker: Worker,
    extraction: Result<Box<dyn Extraction>, Failure>,
    /// The other loads.
    others: Vec<usize>,
}

/// None: nobody else reads the partition.
type Answer = Option<Together>;

/// The place of a load at a shared read. Dropped, the load is gone.
pub(crate) struct Seat {
    read: Arc<SharedRead>,
    load: usize,
    /// The loads with which a partition was read.
    partners: Mutex<BTreeSet<usize>>,
}

/// A poisoned lock holds what it held: no update leaves it half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SharedRead {
    /// The read of a planned table for the loads of these ingests, and the place of each.
    pub(crate) fn of(
        (datakit, plan): (&Arc<dyn Datakit>, &TablePlan),
        names: Vec<String>,
        workers: &Arc<Semaphore>,
        stop: &CancellationToken,
    ) -> Vec<Seat> {
        let loads: Vec<Stage> = names.iter().map(|_| Stage::Coming).collect();
        let count = loads.len();
        let read = Arc::new(Self {
            datakit: Arc::clone(datakit),
            table: plan.table.clone(),
            workers: Arc::clone(workers),
            stop: stop.clone(),
            asks_watermark: plan.watermark_after.is_none() && plan.partitions.len() == 1,
            names,
            state: Mutex::new(State { loads, waiting: HashMap::new() }),
        });
        (0..count).map(|load| Seat { read: Arc::clone(&read), load, partners: Mutex::default() }).collect()
    }

    /// Reads what nobody has to be waited for any more.
    fn begin_ready(self: &Arc<Self>, state: &mut State) {
        let State { loads, waiting } = state;
        let ready: Vec<Key> =
            waiting.keys().filter(|key| loads.iter().all(|load| !load.is_awaited(key))).copied().collect();
        for readers in ready.iter().filter_map(|key| waiting.remove(key)) {
            let read = Arc::clone(self);
            let begin = async move { read.begin(readers).await }.in_current_span();
            // A seat may be dropped when the runtime ends: then nobody waits for an answer.
            if let Ok(runtime) = Handle::try_current() {
                drop(runtime.spawn(begin));
            }
        }
    }

    /// Begins to read a partition, once a worker is free.
    async fn begin(self: Arc<Self>, mut readers: Vec<Waiting>) {
        if let [_] = readers.as_slice() {
            readers.into_iter().for_each(|only| drop(only.answer.send(None)));
            return;
        }
        let Ok(worker) = Arc::clone(&self.workers).acquire_owned().await else { return };
        let worker = Arc::new(worker);
        readers.retain(|reader| !reader.answer.is_closed());
        let Some(Waiting { session, partition, .. }) = readers.first() else { return };
        let opening = self.stop.run_until_cancelled(self.datakit.extract(session, partition));
        let Some(opened) = opening.await else { return };
        let loads: Vec<usize> = readers.iter().map(|reader| reader.load).collect();
        let mut views = match opened {
            Ok(extraction) => followed(&self.table, extraction, readers.len(), self.asks_watermark)
                .into_iter()
                .map(Ok)
                .collect::<Vec<_>>(),
            Err(failure) => readers.iter().map(|_| Err(failure.clone())).collect(),
        };
        for (reader, extraction) in readers.into_iter().zip(views.drain(..)) {
            let others = loads.iter().copied().filter(|load| *load != reader.load).collect();
            let answer = Together { worker: Arc::clone(&worker), extraction, others };
            drop(reader.answer.send(Some(answer)));
        }
    }
}

/// A partition that is read together with others.
pub(crate) struct SharedPartition {
    pub(crate) worker: Worker,
    pub(crate) extraction: Result<Box<dyn Extraction>, Failure>,
}

impl Seat {
    /// Says which partitions the load is going to ask for. The last word counts.
    pub(crate) fn reads<'p>(&self, session: &Session, partitions: impl IntoIterator<Item = &'p Partition>) {
        let mut state = lock(&self.read.state);
        let Some(load) = state.loads.get_mut(self.load).filter(|load| !matches!(load, Stage::Gone)) else { return };
        let mut keys: HashSet<Key> = partitions.into_iter().map(|partition| key(session, partition)).collect();
        if let Stage::Reads(left) = load {
            keys.retain(|key| left.contains(key));
        }
        *load = Stage::Reads(keys);
        self.read.begin_ready(&mut state);
    }

    /// Waits until the partition is read for all loads that want it. None: the load is to read it alone.
    pub(crate) async fn join(&self, session: &Session, partition: &Partition) -> Option<SharedPartition> {
        let answer = self.ask(session, partition)?;
        // Nobody answers after a stop.
        let Together { worker, extraction, others } = answer.await.ok()??;
        lock(&self.partners).extend(others);
        Some(SharedPartition { worker, extraction })
    }

    fn ask(&self, session: &Session, partition: &Partition) -> Option<oneshot::Receiver<Answer>> {
        let key = key(session, partition);
        let mut state = lock(&self.read.state);
        let Stage::Reads(keys) = state.loads.get_mut(self.load)? else { return None };
        if !keys.remove(&key) {
            return None;
        }
        let (answer, asked) = oneshot::channel();
        let waiting = Waiting { load: self.load, session: session.clone(), partition: partition.clone(), answer };
        state.waiting.entry(key).or_default().push(waiting);
        self.read.begin_ready(&mut state);
        Some(asked)
    }

    /// The load has failed, and reads alone from now on.
    pub(crate) fn fail(&self) {
        lock(&self.partners).clear();
        self.leave();
    }

    /// The load asks for nothing more.
    pub(crate) fn leave(&self) {
        let mut state = lock(&self.read.state);
        if let Some(load) = state.loads.get_mut(self.load) {
            *load = Stage::Gone;
        }
        self.read.begin_ready(&mut state);
    }

    /// The ingests whose rows came from the same read.
    pub(crate) fn partners(&self) -> Vec<String> {
        lock(&self.partners).iter().filter_map(|load| self.read.names.get(*load)).cloned().collect()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests;
