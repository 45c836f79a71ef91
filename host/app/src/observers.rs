//! Who is told what an ingest does: the metrics at once, then the context's observer, at once or in the ingest's turn.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use datakit_pipeline::{Observer, RunEvent};

use crate::metrics::Metrics;

/// Counts the events of one ingest, and hands them on.
pub(crate) struct Counted {
    pub(crate) ingest: String,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) to: Arc<dyn Observer>,
}

impl Observer for Counted {
    fn event(&self, event: RunEvent) {
        self.metrics.count(&self.ingest, &event);
        self.to.event(event);
    }
}

/// Keeps the events of an ingest that runs together with another until its turn comes: an observer gets the events of one ingest
/// after those of the one before. Batches of a table are kept as one.
#[derive(Default)]
pub(crate) struct Kept(Mutex<KeptEvents>);

#[derive(Default)]
struct KeptEvents {
    events: Vec<RunEvent>,
    /// The place of the event that batches of a table are added to.
    batches: HashMap<String, usize>,
}

impl Kept {
    /// The events, in their order.
    pub(crate) fn taken(&self) -> Vec<RunEvent> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).events
    }
}

impl Observer for Kept {
    fn event(&self, event: RunEvent) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).keep(event);
    }
}

impl KeptEvents {
    fn keep(&mut self, event: RunEvent) {
        match &event {
            RunEvent::BatchWritten { table, rows, bytes } => {
                if self.add(table, *rows, *bytes) {
                    return;
                }
                self.batches.insert(table.clone(), self.events.len());
            }
            // Rows of a failed attempt stay apart from those of the next one.
            RunEvent::Retrying { table, .. } => drop(self.batches.remove(table)),
            _ => {}
        }
        self.events.push(event);
    }

    /// Adds a batch to those of its table. False: it is the first.
    fn add(&mut self, table: &str, more_rows: u64, more_bytes: u64) -> bool {
        let known = self.batches.get(table).and_then(|place| self.events.get_mut(*place));
        let Some(RunEvent::BatchWritten { rows, bytes, .. }) = known else { return false };
        *rows += more_rows;
        *bytes += more_bytes;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(table: &str, rows: u64) -> RunEvent {
        RunEvent::BatchWritten { table: table.to_owned(), rows, bytes: 8 * rows }
    }

    #[test]
    fn kept_events_have_one_batch_for_each_attempt_of_a_table() {
        let kept = Kept::default();
        [batch("a", 1), batch("b", 2), batch("a", 3), RunEvent::Discovering, batch("b", 4)]
            .into_iter()
            .for_each(|event| kept.event(event));
        let rows: Vec<(String, u64)> = kept
            .taken()
            .into_iter()
            .filter_map(|event| match event {
                RunEvent::BatchWritten { table, rows, .. } => Some((table, rows)),
                _ => None,
            })
            .collect();
        assert_eq!(rows, [("a".to_owned(), 4), ("b".to_owned(), 6)]);
        assert!(kept.taken().is_empty(), "they are taken once");
    }
}
