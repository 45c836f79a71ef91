//! Secrets from the vaults that keep them.
//!
//! | module | about |
//! |---|---|
//! | [`delinea`] | Delinea Secret Server and the Delinea Platform |
//! | `echo` | whether a refusal quotes what was sent |
//! | [`error`] | what can go wrong, with codes and hints |
//! | `http` | one question and its answer, bounded in bytes and time |
//!
//! What is fetched lives in [`Secret`](datakit_model::Secret) and [`SecretBytes`](datakit_model::SecretBytes), wiped when dropped. So
//! are the buffers of answers and the parts of them that are not asked for; the TLS library's own buffers are not ours to wipe.
//!
//! Everything here that asks a vault blocks its thread.

pub mod delinea;
mod echo;
pub mod error;
mod http;

pub use delinea::{Client, ClientSettings, Login};
pub use error::SecretsError;
