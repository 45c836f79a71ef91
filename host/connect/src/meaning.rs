//! What an error that a server reports by number or state means for us. Which numbers there are, each connector knows.

use datakit_model::{Kind, Retry};

/// What a group of numbers or states means.
#[derive(Debug)]
pub struct Meaning {
    /// The stable code.
    pub code: &'static str,
    /// Who has to act.
    pub kind: Kind,
    /// Whether to try again.
    pub retry: Retry,
    /// What to do.
    pub hint: &'static str,
}

/// A meaning, short enough for a list of them.
#[must_use]
pub const fn meaning(code: &'static str, kind: Kind, retry: Retry, hint: &'static str) -> Meaning {
    Meaning { code, kind, retry, hint }
}
