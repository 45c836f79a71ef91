//! Servers of one's own, for tests: real, empty, on free ports, gone with the process that started them.

mod postgres;
mod stores;

pub use postgres::{BIN_VARIABLE, Certificate, PASSWORD, PostgresServer};
pub use stores::{AZURITE_VARIABLE, ObjectStoreServer, PYTHON_VARIABLE};
