//! What the end-to-end tests share: a world of its own for each test, with a SQL Server, sinks, a registry and the `host` binary.
//!
//! The SQL Server is the fake one, or the one that `DATAKIT_TEST_MSSQL` names in a connection string
//! (`datakit_fake_sqlserver::named` says which forms): then each world has a database of its own there, and tests of what
//! only the fake SQL Server does (faults, canary passwords, broken certificates) print why they are skipped,
//! [`Mssql::fake_sqlserver_for`].

// Tests that fail should say where, and a harness has nobody to return an error to.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "code of tests")]

mod delta_reader;
mod elsewhere;
mod files;
mod kerberos;
mod mssql;
mod names;
mod oci;
mod output;
mod postgres;
mod proxy;
mod random;
mod started;
mod world;

pub use delta_reader::DeltaReader;
pub use elsewhere::run_again_elsewhere;
pub use files::FilesWorld;
pub use kerberos::KerberosWorld;
pub use mssql::{Mssql, batches};
pub use names::{own_address, silent, with_names};
pub use oci::OciRegistry;
pub use output::Output;
pub use postgres::{PostgresWorld, ask, on};
pub use proxy::{Effect, Proxy, Way, When};
pub use random::Random;
pub use started::Started;
pub use world::{World, built_binary, datakit, host_binary, python};
