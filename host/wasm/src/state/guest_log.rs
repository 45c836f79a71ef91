//! A guest's log: bounded, escaped, and sent on as `tracing` events with the target `datakit`.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;

use datakit_model::GuestLimits;

use crate::bindings::log::Level;
use crate::convert::{Text, cut};

/// Lines of level error and warn that are kept to explain a trap.
const KEPT_LINES: usize = 8;
/// How much is kept of each, in bytes.
const KEPT_BYTES: usize = 1024;

/// Who speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Speaker {
    pub(crate) run_id: String,
    pub(crate) datakit: String,
}

/// The log of one instance.
pub(crate) struct GuestLog {
    speaker: Speaker,
    limits: Arc<GuestLimits>,
    messages: u64,
    dropped: u64,
    kept: VecDeque<String>,
}

impl GuestLog {
    pub(crate) fn new(speaker: Speaker, limits: Arc<GuestLimits>) -> Self {
        Self { speaker, limits, messages: 0, dropped: 0, kept: VecDeque::new() }
    }

    /// A call begins: what was said before does not explain its traps.
    pub(crate) fn begin(&mut self) {
        self.kept.clear();
    }

    /// The last lines of level error and warn of this call.
    pub(crate) fn kept(&self) -> Vec<String> {
        self.kept.iter().cloned().collect()
    }

    /// One message.
    pub(crate) fn emit(&mut self, level: Level, message: &str, fields: &[(String, String)]) {
        if self.messages >= self.limits.max_log_messages {
            self.dropped += 1;
            return;
        }
        self.messages += 1;
        let max_bytes = usize::try_from(self.limits.max_log_bytes).unwrap_or(usize::MAX);
        let message = Text::escaped(message, max_bytes).into_inner();
        let fields = join(fields, max_bytes.saturating_sub(message.len()));
        if matches!(level, Level::Error | Level::Warn) {
            if self.kept.len() == KEPT_LINES {
                self.kept.pop_front();
            }
            let line = if fields.is_empty() { message.clone() } else { format!("{message} ({fields})") };
            self.kept.push_back(cut(&line, KEPT_BYTES).to_owned());
        }
        self.send(level, &message, &fields);
    }

    fn send(&self, level: Level, message: &str, fields: &str) {
        let Speaker { run_id, datakit } = &self.speaker;
        match level {
            Level::Debug => tracing::debug!(target: "datakit", %run_id, %datakit, fields, "{message}"),
            Level::Info => tracing::info!(target: "datakit", %run_id, %datakit, fields, "{message}"),
            Level::Warn => tracing::warn!(target: "datakit", %run_id, %datakit, fields, "{message}"),
            Level::Error => tracing::error!(target: "datakit", %run_id, %datakit, fields, "{message}"),
        }
    }
}

impl Drop for GuestLog {
    fn drop(&mut self) {
        if self.dropped > 0 {
            let Speaker { run_id, datakit } = &self.speaker;
            tracing::warn!(
                target: "datakit", %run_id, %datakit,
                "{} more log messages were dropped; limits.guest.max_log_messages = {}",
                self.dropped, self.limits.max_log_messages,
            );
        }
    }
}

/// `name="value" name="value"`, cut at `max_bytes`.
fn join(fields: &[(String, String)], max_bytes: usize) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        if text.len() >= max_bytes {
            text.push_str(" …");
            break;
        }
        let room = max_bytes - text.len();
        let name = Text::escaped(name, room).into_inner();
        let value = Text::escaped(value, room).into_inner().replace('"', "\\\"");
        let separator = if text.is_empty() { "" } else { " " };
        // Writing to a String cannot fail.
        let _ = write!(text, "{separator}{name}=\"{value}\"");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(limits: GuestLimits) -> GuestLog {
        GuestLog::new(Speaker { run_id: "r".to_owned(), datakit: "d".to_owned() }, Arc::new(limits))
    }

    #[test]
    fn a_flood_is_counted_and_only_the_last_errors_are_kept() {
        let mut log = log(GuestLimits { max_log_messages: 20, ..GuestLimits::default() });
        for i in 0..100 {
            log.emit(Level::Error, &format!("line {i}\u{1b}[2J"), &[]);
        }
        assert_eq!((log.messages, log.dropped), (20, 80));
        assert_eq!(log.kept().len(), KEPT_LINES);
        assert_eq!(log.kept().last().unwrap(), "line 19\\u{1b}[2J");
    }

    #[test]
    fn fields_are_escaped_and_cut() {
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(join(&[field("a", "x\ny"), field("b", "\"")], 100), "a=\"x\\ny\" b=\"\\\"\"");
        let long = join(&[field("a", &"x".repeat(1000)), field("b", "y")], 100);
        assert!(long.len() < 150 && long.ends_with('…'), "{long}");
    }
}
