//! Sources: connect, pool, read into Arrow batches.
