//! Rules of quality, checked on the batches of a load before it is committed (docs/quality.md).
//!
//! - [`Checks`]: the rules of a table, compiled once for the schema of its rows;
//! - [`PartitionChecks`]: what one attempt at one partition has seen; an attempt that fails is dropped with it;
//! - [`Checks::results`]: all partitions together.
//!
//! Rules about values are counted per column of a batch. Rules that compare rows keep a hash of 128 bits of each key, in memory or in a
//! temporary file.

mod bounds;
mod checks;
mod error;
mod hashes;
mod partition;
mod results;
mod scope;
mod spool;
#[cfg(test)]
mod tests;

pub use checks::{Checks, KeyRead};
pub use error::QualityError;
pub use hashes::HeldKeys;
pub use partition::{PartitionChecks, PartitionOutcome};
pub use results::Facts;
