//! What a test runs in the middle of a client's work: between any two statements, and between any two rows.

use std::cell::Cell;
use std::sync::Arc;

thread_local! {
    /// Whether a hook runs on this thread: what it does itself meets no hooks.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// A point in a client's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Before a statement.
    Before,
    /// After a statement.
    After,
    /// Inside a result, after this many rows of it; 0 before its first row.
    Row(u64),
}

/// Where a client is.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// `@@SPID` of the client.
    pub process: i64,
    /// The statement, as the parser prints it.
    pub statement: &'a str,
    /// Before it, after it, inside its result.
    pub place: Place,
}

/// Called at every moment of every client, on the client's thread. It may use the engine as it likes.
pub type Hook = Arc<dyn Fn(&Moment<'_>) + Send + Sync>;

/// T-SQL to run at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interruption {
    /// Part of the statement's text, in any case; any statement when empty.
    pub statement: String,
    /// Where in the statement.
    pub place: Place,
    /// A script, run in a session of its own.
    pub script: String,
    /// At how many such moments.
    pub times: u32,
}

impl Interruption {
    /// Whether this is its moment.
    pub(super) fn is_at(&self, moment: &Moment<'_>) -> bool {
        self.times > 0
            && self.place == moment.place
            && moment.statement.to_lowercase().contains(&self.statement.to_lowercase())
    }
}

/// The hook of an engine, if it has one.
#[derive(Clone, Default)]
pub(super) struct Hooks(pub(super) Option<Hook>);

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Hooks").field(&self.0.is_some()).finish()
    }
}

/// Runs what belongs to a hook, unless one runs on this thread already.
pub(super) fn guarded(body: impl FnOnce()) {
    if INSIDE.replace(true) {
        return;
    }
    body();
    INSIDE.set(false);
}

/// Whether a hook runs on this thread.
pub(super) fn is_inside() -> bool {
    INSIDE.get()
}
