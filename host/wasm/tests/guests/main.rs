//! The runtime with a real component in it: its honest work, its attacks, and components that are no datakits.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails should say where")]

mod bombs;
mod bounded;
mod hostile;
mod runtime;
mod streams;
mod support;
