//! PostgreSQL 12 and later, in both directions: [`source`] reads by binary COPY, [`sink`] writes by it.
//!
//! What both share stands once: [`Server`] (which server, who logs in), `wire` (from there to a session), `copy_format` and
//! `numeric` (the binary forms).

mod connector;
mod copy_format;
mod numeric;
mod server;
mod settings;
pub mod sink;
pub mod source;
#[cfg(feature = "testing")]
pub mod testing;
mod wire;

pub use connector::Postgres;
pub use server::{Encrypt, Server};
pub use settings::{PostgresServer, PostgresSettings, PostgresSinkSettings, RowSecurity};
pub use wire::ServerInfo;
