//! A connector that is added to the list of an application works everywhere, and no file of the host names it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails should say where")]

mod core_files;
mod questions;
mod runs;
mod server;
mod world;
