//! A SQL Server for laptops and CI: TDS 7.4 over SQLite.
//!
//! Two halves that meet in [`values`] and [`engine`]:
//!
//! - the wire: [`tds`] knows the protocol of MS-TDS, [`server`] sockets, TLS and logins;
//! - the engine: T-SQL by a parser over SQLite, the catalog views, an ERP's data.
//!
//! [`fast`] describes generated tables that are served from pre-encoded bytes. [`kdc`] starts a Kerberos realm, for logins with
//! tickets, [`vault`] keeps their secrets. [`collations`] serves text of every code page, [`foreign`] answers as a server that is
//! not SQL Server, [`browser`] as SQL Server Browser. [`named`] reads which other server tests are to use instead.

pub mod browser;
pub mod collations;
pub mod engine;
pub mod erp;
pub mod fast;
pub mod foreign;
pub mod kdc;
pub mod named;
pub mod server;
pub mod sql;
pub mod tds;
pub mod values;
pub mod vault;

pub use server::{Certificate, Encrypt, FakeSqlServer, FakeSqlServerError, Options, Running, SendOn};
