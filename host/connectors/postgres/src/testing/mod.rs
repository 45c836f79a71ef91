//! Servers of one's own, for tests: real, empty, on free ports, gone with the process that started them.

mod pgbouncer;
mod postgres;

pub use pgbouncer::PgBouncer;
pub use postgres::{BIN_VARIABLE, Certificate, PASSWORD, PostgresServer};
