//! Loads that are merged into a table by key: one row a key, in bounded memory, for every sink alike.
//!
//! - [`columns`]: the columns that a merge goes by, and what each row does;
//! - [`spool`]: the rows of a load until its end, in temporary storage; `chunk`: a part of them;
//! - [`reduce`]: one row a key, of a part of the load;
//! - [`patches`]: values of columns of rows that are there, by the files that hold the rows;
//! - [`load`]: the partitions of a load, as a sink's writers.

mod chunk;
pub mod columns;
pub mod load;
pub mod patches;
pub mod reduce;
pub mod spool;
#[cfg(test)]
mod tests;

pub use columns::MergeColumns;
pub use datakit_columnar::KeyEncoder;
pub use load::{FormRows, MergeLoad};
pub use patches::Patches;
pub use reduce::{OldRows, Reduced};
pub use spool::{Chosen, Pass, Spool, SpooledRows};
