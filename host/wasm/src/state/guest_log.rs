//! A guest's log: bounded, escaped, and sent on as `tracing` events with the target `datakit`.

use std::collections::VecDeque;
use std::sync::Arc;

use datakit_model::GuestLimits;
use datakit_model::datakit::RunLog;
use tracing::Level;

use crate::text::{Text, cut};

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
    run: RunLog,
    messages: u64,
    kept: VecDeque<String>,
}

impl GuestLog {
    pub(crate) fn new(speaker: Speaker, limits: Arc<GuestLimits>, run: RunLog) -> Self {
        Self { speaker, limits, run, messages: 0, kept: VecDeque::new() }
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
            self.drop_one("max_log_messages", self.limits.max_log_messages);
            return;
        }
        self.messages += 1;
        let max_bytes = usize::try_from(self.limits.max_log_bytes).unwrap_or(usize::MAX);
        let message = Text::escaped(message, max_bytes).into_inner();
        let fields = join(fields, max_bytes.saturating_sub(message.len()));
        if level <= Level::WARN {
            if self.kept.len() == KEPT_LINES {
                self.kept.pop_front();
            }
            let line = if fields.is_empty() { message.clone() } else { format!("{message} ({fields})") };
            self.kept.push_back(cut(&line, KEPT_BYTES).to_owned());
        }
        let bytes = (message.len() + fields.len()) as u64;
        if self.run.admit(bytes, self.limits.max_run_log_bytes) {
            self.send(level, &message, &fields);
        } else {
            self.drop_one("max_run_log_bytes", self.limits.max_run_log_bytes);
        }
    }

    /// Said once a run, however many instances it has.
    fn drop_one(&self, setting: &str, value: u64) {
        if self.run.drop_one() {
            let Speaker { run_id, datakit } = &self.speaker;
            tracing::warn!(
                target: "datakit", %run_id, %datakit,
                "the datakit logs more than is shown; limits.guest.{setting} = {value}",
            );
        }
    }

    fn send(&self, level: Level, message: &str, fields: &str) {
        let Speaker { run_id, datakit } = &self.speaker;
        match level {
            Level::TRACE | Level::DEBUG => tracing::debug!(target: "datakit", %run_id, %datakit, fields, "{message}"),
            Level::INFO => tracing::info!(target: "datakit", %run_id, %datakit, fields, "{message}"),
            Level::WARN => tracing::warn!(target: "datakit", %run_id, %datakit, fields, "{message}"),
            Level::ERROR => tracing::error!(target: "datakit", %run_id, %datakit, fields, "{message}"),
        }
    }
}

/// `name="value" name="value"`, cut at `max_bytes`.
fn join(fields: &[(String, String)], max_bytes: usize) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        let room = max_bytes.saturating_sub(text.len());
        let name = Text::escaped(name, room).into_inner();
        let value = Text::escaped(value, room).into_inner().replace('"', "\\\"");
        let separator = if text.is_empty() { "" } else { " " };
        let field = format!("{separator}{name}=\"{value}\"");
        if field.len() > room {
            text.push_str(cut(&field, room));
            text.push('…');
            break;
        }
        text.push_str(&field);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(limits: GuestLimits) -> GuestLog {
        log_of(&RunLog::default(), limits)
    }

    fn log_of(run: &RunLog, limits: GuestLimits) -> GuestLog {
        GuestLog::new(Speaker { run_id: "r".to_owned(), datakit: "d".to_owned() }, Arc::new(limits), run.clone())
    }

    #[test]
    fn a_flood_is_counted_and_only_the_last_errors_are_kept() {
        let mut log = log(GuestLimits { max_log_messages: 20, ..GuestLimits::default() });
        for i in 0..100 {
            log.emit(Level::ERROR, &format!("line {i}\u{1b}[2J"), &[]);
        }
        assert_eq!((log.messages, log.run.dropped()), (20, 80));
        assert_eq!(log.kept().len(), KEPT_LINES);
        assert_eq!(log.kept().last().unwrap(), "line 19\\u{1b}[2J");
    }

    #[test]
    fn a_message_is_bounded_as_it_is_shown() {
        let run = RunLog::default();
        let bells = "\u{7}".repeat(100_000);
        let mut log = log_of(&run, GuestLimits { max_log_bytes: 1_000, ..GuestLimits::default() });
        log.emit(Level::WARN, &bells, &[(bells.clone(), bells.clone())]);
        assert!((990..1_100).contains(&run.bytes()), "{}", run.bytes());
    }

    #[test]
    fn all_instances_of_a_run_share_a_bound() {
        let run = RunLog::default();
        let limits = GuestLimits { max_run_log_bytes: 1_000, ..GuestLimits::default() };
        for _ in 0..50 {
            let mut log = log_of(&run, limits.clone());
            for _ in 0..10 {
                log.emit(Level::INFO, "ten bytes.", &[]);
            }
        }
        assert_eq!((run.bytes(), run.dropped()), (1_000, 400));
    }

    #[test]
    fn fields_are_escaped_and_cut() {
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(join(&[field("a", "x\ny"), field("b", "\"")], 100), "a=\"x\\ny\" b=\"\\\"\"");
        let long = join(&[field("a", &"x".repeat(1000)), field("b", "y")], 100);
        assert!(long.len() < 150 && long.ends_with('…'), "{long}");
    }
}
