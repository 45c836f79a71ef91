//! The engine: T-SQL over SQLite.
//!
//! A batch goes through [`parse`] (sqlparser's T-SQL dialect), [`bind`] (names, types, conversions) and SQLite, whose rows
//! [`session`] hands out one by one. [`catalog`] keeps what exists and answers as `sys` and `INFORMATION_SCHEMA`;
//! [`store`] says how each type lies in SQLite; [`functions`] holds what SQLite does not compute as T-SQL does. [`log`]
//! keeps what open transactions have changed. [`hooks`] and [`switches`] are for tests.
//!
//! What the fake SQL Server does not know it refuses with error 40000, never with a guess.

pub mod bind;
pub mod calendar;
pub mod capture;
pub mod catalog;
pub mod collate;
pub mod convert;
pub mod describe;
pub mod errors;
pub mod fast;
pub mod functions;
pub mod hooks;
pub mod image;
pub mod isolation;
pub mod log;
pub mod number;
pub mod parse;
pub mod rewrite;
pub mod session;
pub mod shared;
pub mod show;
pub mod store;
pub mod switches;
pub mod tracking;
pub mod types;

mod declare;
mod engine;
#[cfg(test)]
mod tests;

pub use engine::{OpenError, ResultSet, SqlEngine, SqlEngineOptions};
pub use hooks::{Hook, Interruption, Moment, Place};
pub use isolation::Isolation;
pub use shared::{Effect, Fault, StatementRecord};
pub use switches::Switches;
