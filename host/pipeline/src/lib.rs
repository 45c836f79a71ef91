//! Plan, partitions, workers, commit; retry; progress events.
