//! The engine: T-SQL over SQLite.
//!
//! A batch goes through [`parse`] (sqlparser's T-SQL dialect), [`bind`] (names, types, conversions) and SQLite, whose rows
//! [`session`] hands out one by one. [`catalog`] keeps what exists and answers as `sys` and `INFORMATION_SCHEMA`;
//! [`store`] says how each type lies in SQLite; [`functions`] holds what SQLite does not compute as T-SQL does.
//!
//! What the fake SQL Server does not know it refuses with error 40000, never with a guess.

pub mod bind;
pub mod calendar;
pub mod catalog;
pub mod collate;
pub mod convert;
pub mod describe;
pub mod errors;
pub mod fast;
pub mod functions;
pub mod number;
pub mod parse;
pub mod session;
pub mod shared;
pub mod show;
pub mod store;
pub mod types;

mod declare;
mod engine;
#[cfg(test)]
mod tests;

pub use engine::{OpenError, ResultSet, SqlEngine, SqlEngineOptions};
pub use shared::{Effect, Fault, StatementRecord};
