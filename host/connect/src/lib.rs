//! What a connector is ([`connector`]), and what connectors share.
//!
//! - of sources: [`pool`], [`delivery`] and [`reader`] (batches from the task that decodes to whoever asks), [`tls`] (why a
//!   handshake failed), [`presented`] (the certificate that a server shows), [`arrays`] (vectors that become Arrow),
//!   [`config`], [`permissions`] (which tables may be read), [`meaning`] (of what a server reports), [`changes`] (of tables),
//!   [`calendar`], [`rejects`] (rows with bad values);
//! - of both: [`dataset`] (names of tables for other tools), [`probe`] (links of `host doctor`), [`store`] (how an object store is reached);
//! - of sinks: [`sink`], its errors, the rules for column names, and the suite that every sink passes (feature `testing`).

pub mod arrays;
pub mod calendar;
pub mod changes;
pub mod config;
pub mod connector;
pub mod dataset;
pub mod delivery;
pub mod meaning;
pub mod permissions;
pub mod pool;
pub mod presented;
pub mod probe;
pub mod reader;
pub mod rejects;
pub mod sink;
pub mod store;
pub mod tls;
