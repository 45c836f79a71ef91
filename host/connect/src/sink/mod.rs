//! What sinks share: errors, rules for column names, rows that are merged by key, and the suite that every sink passes.

pub mod columns;
#[cfg(feature = "testing")]
pub mod conformance;
pub mod drift;
mod error;
pub mod merge;
pub mod receipt;
pub mod update;

pub use error::SinkError;
