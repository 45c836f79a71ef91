//! What sinks share: errors, rules for column names, and the suite that every sink passes.

pub mod columns;
#[cfg(feature = "testing")]
pub mod conformance;
mod error;

pub use error::SinkError;
