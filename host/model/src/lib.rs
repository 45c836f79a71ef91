//! Names, errors, secrets, limits and the traits between rooms: no I/O.
//!
//! Every other crate of the host stands on this one, so it holds only what two of them must agree on:
//!
//! - [`canonical`]: the dates that the row hash takes;
//! - [`changes`]: what changed in a table since a position;
//! - [`credential`]: a secret that may be changed while a run goes on;
//! - [`datakit`]: what goes into a datakit and what comes out;
//! - [`exit`]: the exit codes of every command;
//! - [`failure`]: an error with a stable code, a kind, a retry hint and a hint for the reader;
//! - [`files`]: what is asked of a folder of files;
//! - [`keys`]: the keys of keyed hashes, by name;
//! - [`names`]: tables and the patterns that select and grant them;
//! - [`secret`]: the one type a password may live in;
//! - [`limits`]: every bound a run or a guest is held to, with its unit;
//! - [`memory`]: the run-wide byte budget that batches are charged to;
//! - [`printable`]: the one sanitizer of what is printed;
//! - [`quality`]: what must hold of a load, and what was found;
//! - [`rejects`]: rows that are rejected, and how many may be;
//! - [`source`]: what a source of rows offers to whoever reads it;
//! - [`sink`]: what a sink offers to whoever writes to it;
//! - [`resume`]: what a load keeps for a run that is started again;
//! - [`receipt`]: what was delivered against what a sink holds;
//! - [`run`]: who is running, and what a commit must remember;
//! - [`state`]: the state document, in which a sink keeps it.

pub mod backfill;
pub mod canonical;
pub mod changes;
pub mod credential;
pub mod datakit;
pub mod drift;
pub mod exit;
pub mod failure;
mod fault;
pub mod files;
mod glob;
pub mod keys;
pub mod limits;
pub mod memory;
pub mod names;
mod origin;
pub mod printable;
pub mod quality;
pub mod receipt;
pub mod rejects;
pub mod resume;
pub mod run;
pub mod secret;
pub mod sink;
pub mod source;
pub mod state;

pub use credential::Credential;
pub use drift::{ChangeKind, ColumnChange, DriftRule, DriftRules};
pub use exit::Exit;
pub use failure::{Diagnostic, Failure, Kind, Nature, Retry};
pub use fault::Fault;
pub use keys::{HashKey, HashKeys, KeyLength};
pub use limits::{GuestLimits, ReadLimits, RunLimits};
pub use memory::{MemoryBudget, Reservation, TrackedBatch};
pub use names::{NameRule, TableId, TablePattern, TablePatterns};
pub use origin::{ColumnOrigin, Derivation};
pub use receipt::ReceiptLevel;
pub use run::{RunIdentity, TableState};
pub use secret::{Secret, SecretBytes};
pub use state::{SourceTable, StateDocument, StateError};
