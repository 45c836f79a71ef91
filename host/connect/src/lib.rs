//! What connectors share, and what knows no system of its own.
//!
//! - of sources: [`pool`], [`delivery`] and [`reader`] (batches from the task that decodes to whoever asks), [`tls`] (why a
//!   handshake failed), [`presented`] (the certificate that a server shows), [`arrays`] (vectors that become Arrow),
//!   [`config`], [`permissions`] (which tables may be read);
//! - of sinks: [`sink`], its errors, the rules for column names, and the suite that every sink passes (feature `testing`).

pub mod arrays;
pub mod config;
pub mod delivery;
pub mod permissions;
pub mod pool;
pub mod presented;
pub mod reader;
pub mod sink;
pub mod tls;
