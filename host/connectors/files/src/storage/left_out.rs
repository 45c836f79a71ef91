//! What a listing leaves out: counted and named in the log, a line a reason.

use std::collections::BTreeMap;

/// Names that one line shows.
const SHOWN: usize = 5;

#[derive(Debug, Default)]
pub(super) struct LeftOut(BTreeMap<&'static str, (u64, Vec<String>)>);

impl LeftOut {
    pub(super) fn note(&mut self, reason: &'static str, name: impl FnOnce() -> String) {
        let (count, names) = self.0.entry(reason).or_default();
        *count += 1;
        if names.len() < SHOWN {
            names.push(name());
        }
    }

    /// Several at once, of which these are the first.
    pub(super) fn note_all(&mut self, reason: &'static str, count: u64, first: Vec<String>) {
        if count > 0 {
            self.0.insert(reason, (count, first.into_iter().take(SHOWN).collect()));
        }
    }

    pub(super) fn report(self, root: &str) {
        for (reason, (count, names)) in self.0 {
            // Escaped: such names are often odd by the characters they hold.
            let names: Vec<String> = names.iter().map(|name| name.escape_debug().to_string()).collect();
            tracing::warn!(root, count, names = names.join(", "), "{reason}");
        }
    }
}
