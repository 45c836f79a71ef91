//! The runtime with a real component in it: its honest work, its attacks, and components that are no datakits.

mod hostile;
mod runtime;
mod support;
