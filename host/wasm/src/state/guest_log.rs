//! A guest's log: bounded, escaped, and sent on as `tracing` events with the target `datakit`.
//!
//! What a guest writes to its standard streams is part of it, a line a message.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datakit_model::GuestLimits;
use datakit_model::datakit::RunLog;
use tracing::Level;

use super::lines::{PartialLine, Tail};
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

/// A standard stream that a guest writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StandardStream {
    /// Shown at level info.
    Output,
    /// Shown at level warn; its last lines explain a trap.
    Error,
}

/// The log of one instance. Clones share it.
#[derive(Clone)]
pub(crate) struct GuestLog(Arc<Mutex<Inner>>);

struct Inner {
    speaker: Speaker,
    limits: Arc<GuestLimits>,
    run: RunLog,
    messages: u64,
    kept: VecDeque<String>,
    output: PartialLine,
    error: PartialLine,
    /// The last lines of standard error.
    written: Tail,
}

impl GuestLog {
    pub(crate) fn new(speaker: Speaker, limits: Arc<GuestLimits>, run: RunLog) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            speaker,
            limits,
            run,
            messages: 0,
            kept: VecDeque::new(),
            output: PartialLine::default(),
            error: PartialLine::default(),
            written: Tail::default(),
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves at worst a line too few.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call begins: what was said before does not explain its traps.
    pub(crate) fn begin(&self) {
        let mut inner = self.inner();
        inner.flush();
        inner.kept.clear();
        inner.written = Tail::default();
    }

    /// The last lines of level error and warn of this call.
    pub(crate) fn kept(&self) -> Vec<String> {
        self.inner().kept.iter().cloned().collect()
    }

    /// The last lines that this call wrote to standard error. A line without an end counts.
    pub(crate) fn written(&self) -> Vec<String> {
        let mut inner = self.inner();
        inner.flush();
        inner.written.lines()
    }

    /// One message.
    pub(crate) fn emit(&self, level: Level, message: &str, fields: &[(String, String)]) {
        self.inner().emit(level, message, fields);
    }

    /// What the guest writes to a standard stream.
    pub(crate) fn write(&self, stream: StandardStream, bytes: &[u8]) {
        let mut inner = self.inner();
        let max_bytes = inner.max_bytes();
        let lines = inner.partial(stream).write(bytes, max_bytes);
        lines.into_iter().for_each(|line| inner.show_line(stream, line));
    }
}

impl Inner {
    fn max_bytes(&self) -> usize {
        usize::try_from(self.limits.max_log_bytes).unwrap_or(usize::MAX)
    }

    fn partial(&mut self, stream: StandardStream) -> &mut PartialLine {
        match stream {
            StandardStream::Output => &mut self.output,
            StandardStream::Error => &mut self.error,
        }
    }

    /// Shows lines that have not ended.
    fn flush(&mut self) {
        let max_bytes = self.max_bytes();
        for stream in [StandardStream::Output, StandardStream::Error] {
            if let Some(line) = self.partial(stream).take(max_bytes) {
                self.show_line(stream, line);
            }
        }
    }

    fn emit(&mut self, level: Level, message: &str, fields: &[(String, String)]) {
        if !self.count() {
            return;
        }
        let max_bytes = self.max_bytes();
        let message = Text::escaped(message, max_bytes).into_inner();
        let fields = join(fields, max_bytes.saturating_sub(message.len()));
        if level <= Level::WARN {
            if self.kept.len() == KEPT_LINES {
                self.kept.pop_front();
            }
            let line = if fields.is_empty() { message.clone() } else { format!("{message} ({fields})") };
            self.kept.push_back(cut(&line, KEPT_BYTES).to_owned());
        }
        if self.admit(message.len() + fields.len()) {
            self.send(level, &message, &fields);
        }
    }

    /// One line of a standard stream, escaped. The last lines of standard error are kept however much was shown before.
    fn show_line(&mut self, stream: StandardStream, line: String) {
        if self.count() && self.admit(line.len()) {
            let Speaker { run_id, datakit } = &self.speaker;
            match stream {
                StandardStream::Output => {
                    tracing::info!(target: "datakit", %run_id, %datakit, stream = "stdout", "{line}");
                }
                StandardStream::Error => {
                    tracing::warn!(target: "datakit", %run_id, %datakit, stream = "stderr", "{line}");
                }
            }
        }
        if stream == StandardStream::Error {
            self.written.push(line);
        }
    }

    /// Whether the instance may show one more message.
    fn count(&mut self) -> bool {
        let max = self.limits.max_log_messages;
        if self.messages >= max {
            self.drop_one("max_log_messages", max);
            return false;
        }
        self.messages += 1;
        true
    }

    /// Whether the run may show so many bytes more.
    fn admit(&self, bytes: usize) -> bool {
        let max = self.limits.max_run_log_bytes;
        let is_admitted = self.run.admit(bytes as u64, max);
        if !is_admitted {
            self.drop_one("max_run_log_bytes", max);
        }
        is_admitted
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

impl Drop for Inner {
    fn drop(&mut self) {
        self.flush();
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
        let run = RunLog::default();
        let log = log_of(&run, GuestLimits { max_log_messages: 20, ..GuestLimits::default() });
        for i in 0..100 {
            log.emit(Level::ERROR, &format!("line {i}\u{1b}[2J"), &[]);
        }
        assert_eq!((log.inner().messages, run.dropped()), (20, 80));
        assert_eq!(log.kept().len(), KEPT_LINES);
        assert_eq!(log.kept().last().unwrap(), "line 19\\u{1b}[2J");
    }

    #[test]
    fn a_message_is_bounded_as_it_is_shown() {
        let run = RunLog::default();
        let bells = "\u{7}".repeat(100_000);
        let log = log_of(&run, GuestLimits { max_log_bytes: 1_000, ..GuestLimits::default() });
        log.emit(Level::WARN, &bells, &[(bells.clone(), bells.clone())]);
        assert!((990..1_100).contains(&run.bytes()), "{}", run.bytes());
    }

    #[test]
    fn all_instances_of_a_run_share_a_bound() {
        let run = RunLog::default();
        let limits = GuestLimits { max_run_log_bytes: 1_000, ..GuestLimits::default() };
        for _ in 0..50 {
            let log = log_of(&run, limits.clone());
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

    #[test]
    fn standard_error_is_bounded_as_messages_are_and_its_last_lines_are_kept() {
        let run = RunLog::default();
        let log = log_of(&run, GuestLimits { max_log_messages: 20, max_log_bytes: 100, ..GuestLimits::default() });
        let flood: String = (0..100).map(|i| format!("line {i}\u{1b}[2J\n")).collect();
        log.write(StandardStream::Error, flood.as_bytes());
        log.write(StandardStream::Error, "x".repeat(1_000).as_bytes());
        assert_eq!((log.inner().messages, run.dropped()), (20, 80));
        let written = log.written();
        assert_eq!(written.last().unwrap(), &("x".repeat(100) + "…"));
        assert_eq!(written[written.len() - 2], "line 99\\u{1b}[2J");
        log.begin();
        assert!(log.written().is_empty(), "what an earlier call wrote explains nothing");
    }

    #[test]
    fn standard_output_explains_no_trap() {
        let log = log(GuestLimits::default());
        log.write(StandardStream::Output, b"rows: 1\n");
        assert!(log.written().is_empty());
        assert_eq!(log.inner().messages, 1);
    }
}
