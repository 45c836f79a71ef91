//! Secrets by reference, and the places that keep them.
//!
//! | module | about |
//! |---|---|
//! | [`environment`] | environment variables |
//! | [`file`](mod@file) | files, read again for each login |
//! | [`delinea`] | Delinea Secret Server and the Delinea Platform |
//! | [`aws`] | AWS Secrets Manager |
//! | `kind` | what a kind of reference is, and the list of kinds |
//! | `fields` | how a kind reads its settings |
//! | `opening` | what a reference is opened with, and what comes of it |
//! | `address` | URLs of vaults |
//! | `echo` | whether a refusal quotes what was sent |
//! | `http` | one HTTP request and its answer, bounded in bytes and time |
//! | `json` | texts of JSON, in memory that is wiped |
//! | `words` | what a vault says, as far as it may be shown |
//! | `blocking` | asynchronous work on a thread that may block |
//!
//! A kind is a folder and an entry in [`KINDS`]. Nothing else in the host names a kind.
//!
//! Fetched secrets live in [`Secret`](datakit_model::Secret) and [`SecretBytes`](datakit_model::SecretBytes), wiped when dropped. So
//! are the buffers of answers and the parts of them that nobody asked for. The buffers of the TLS library are not wiped.
//!
//! Everything here that asks a vault blocks its thread.

mod address;
pub mod aws;
mod blocking;
pub mod delinea;
mod echo;
pub mod environment;
mod fields;
pub mod file;
mod http;
mod json;
mod kind;
mod opening;
mod words;

pub use fields::{Fields, Key, Reported};
pub use kind::{Fetched, KINDS, Reference, Same, SecretKind, SecretRef, Unavailable, forms, is_key, local_forms};
pub use opening::{Keytab, Opening, Vaults};
