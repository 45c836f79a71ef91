//! Standard output and standard error, and what may be done to them.
//!
//! Everything that is printed goes through here, and nothing leaves that a terminal would obey but colours of our own.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, BufRead as _, IsTerminal, Read as _, Write};

use datakit_app::{Report, Reports};
use datakit_config::environment::NO_COLOR;
use datakit_model::printable;
use indicatif::{MultiProgress, ProgressDrawTarget};
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::Level;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use crate::arguments::LogFormat;
use crate::error::CliError;
use crate::report::{Style, render};

/// An answer is read so far.
const MAX_ANSWER_BYTES: u64 = 64;

/// Where text goes. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Terminal {
    progress: MultiProgress,
    /// Standard error holds nothing but JSON, an object a line.
    json: bool,
    /// Standard error is a terminal: progress lines move.
    pub(crate) interactive: bool,
    pub(crate) error_style: Style,
    pub(crate) output_style: Style,
}

impl Terminal {
    pub(crate) fn new(environment: &BTreeMap<String, String>, format: LogFormat) -> Self {
        let no_color = environment.get(NO_COLOR).is_some_and(|value| !value.is_empty());
        let dumb = environment.get("TERM").is_some_and(|term| term == "dumb");
        let json = format == LogFormat::Json;
        let interactive = io::stderr().is_terminal() && !dumb && !json;
        let target = if interactive { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self {
            progress: MultiProgress::with_draw_target(target),
            json,
            interactive,
            error_style: Style { color: interactive && !no_color },
            output_style: Style { color: io::stdout().is_terminal() && !dumb && !no_color },
        }
    }

    /// The moving lines.
    pub(crate) fn progress(&self) -> &MultiProgress {
        &self.progress
    }

    /// Data, on standard output. A reader that has gone (`| head`) is no error.
    pub(crate) fn print(&self, text: &str) -> Result<(), CliError> {
        self.write_out(&harmless(text, self.output_style, true))
    }

    fn write_out(&self, text: &str) -> Result<(), CliError> {
        let written = self.progress.suspend(|| {
            let mut output = io::stdout().lock();
            output.write_all(text.as_bytes()).and_then(|()| output.flush())
        });
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CliError::Output(error)),
            _ => Ok(()),
        }
    }

    /// Asks on standard error, and reads the answer from standard input.
    pub(crate) fn confirm(&self, question: &str) -> Result<(), CliError> {
        self.write_error(&harmless(&format!("{question} [yes/no] "), self.error_style, false));
        let mut answer = String::new();
        let read = io::stdin().lock().take(MAX_ANSWER_BYTES).read_line(&mut answer);
        match read {
            Ok(_) if answer.trim() == "yes" => Ok(()),
            _ => Err(CliError::NotConfirmed),
        }
    }

    /// One JSON document on standard output.
    pub(crate) fn print_json(&self, value: &impl Serialize) -> Result<(), CliError> {
        let mut text = serde_json::to_string_pretty(value).map_err(CliError::Json)?;
        text.push('\n');
        self.write_out(&printable::json(&text))
    }

    /// Anything else, on standard error, above the moving lines. There is nobody to tell when it fails.
    fn write_error(&self, text: &str) {
        self.progress.suspend(|| {
            let mut output = io::stderr().lock();
            let _ = output.write_all(text.as_bytes());
        });
    }

    /// One line on standard error. Names in it are [`printable::line`]s already.
    pub(crate) fn say(&self, text: &str) {
        self.write_line(Level::INFO, text, Map::new());
    }

    /// The same with facts, which are there where lines are JSON.
    pub(crate) fn write_line(&self, level: Level, text: &str, facts: Map<String, Value>) {
        if self.json {
            self.write_error(&json_line(level, text, facts));
        } else {
            self.write_error(&format!("{}\n", harmless(text, self.error_style, true)));
        }
    }

    pub(crate) fn warn(&self, text: &str) {
        let text = printable::line(text);
        if self.json {
            self.write_line(Level::WARN, &text, Map::new());
        } else {
            self.say(&format!("{}: {text}", self.error_style.yellow("warning")));
        }
    }

    pub(crate) fn note(&self, text: &str) {
        let text = printable::line(text);
        if self.json {
            self.say(&text);
        } else {
            self.say(&format!("{}: {text}", self.error_style.bold("note")));
        }
    }

    pub(crate) fn report(&self, reports: &Reports) {
        if self.json {
            reports.all().iter().for_each(|report| self.write_line(Level::ERROR, &report.message, facts(report)));
        } else {
            self.write_error(&harmless(&render(reports, self.error_style), self.error_style, true));
        }
    }
}

/// What a report says besides its message.
fn facts(report: &Report) -> Map<String, Value> {
    let mut facts = Map::new();
    let mut put = |name: &str, value: Value| facts.insert(name.to_owned(), value);
    put("code", report.code.as_str().into());
    put("kind", serde_json::to_value(report.kind).unwrap_or_default());
    put("retry", serde_json::to_value(report.retry).unwrap_or_default());
    if let Some(place) = &report.place {
        put("place", place.to_string().into());
    }
    if !report.causes.is_empty() {
        put("causes", report.causes.clone().into());
    }
    if !report.context.is_empty() {
        let context = report.context.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
        put("context", Value::Object(context.collect()));
    }
    if let Some(hint) = &report.hint {
        put("hint", hint.as_str().into());
    }
    facts
}

/// A line of the form that log lines have.
fn json_line(level: Level, text: &str, facts: Map<String, Value>) -> String {
    let mut timestamp = String::new();
    // Writing to a String cannot fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
    let mut line = Map::new();
    line.insert("timestamp".to_owned(), timestamp.into());
    line.insert("level".to_owned(), level.as_str().into());
    line.insert("target".to_owned(), "host".into());
    line.insert("message".to_owned(), text.into());
    line.extend(facts);
    format!("{}\n", printable::json(&Value::Object(line).to_string()))
}

/// The text with nothing that a terminal obeys but line ends, tabs and, where they are ours, colours.
fn harmless(text: &str, style: Style, keeps_lines: bool) -> Cow<'_, str> {
    let safe = |text| if keeps_lines { printable::lines(text) } else { printable::line(text) };
    if !style.color {
        return safe(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        let (before, sequence) = rest.split_at(at);
        shown.push_str(&safe(before));
        let length = color_length(sequence).unwrap_or(1);
        let (sequence, after) = sequence.split_at(length);
        if length > 1 {
            shown.push_str(sequence)
        } else {
            shown.push_str(&safe(sequence))
        }
        rest = after;
    }
    shown.push_str(&safe(rest));
    Cow::Owned(shown)
}

/// How long a sequence is that sets a colour: `ESC [ 1 ; 31 m`.
fn color_length(sequence: &str) -> Option<usize> {
    let rest = sequence.strip_prefix("\u{1b}[")?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    rest[end..].starts_with('m').then_some(end + 3)
}

/// Log lines go to standard error, above the moving lines.
impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Terminal {
    type Writer = LogLine<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        LogLine { terminal: self, text: Vec::new() }
    }
}

/// One log line, written when it is whole.
pub(crate) struct LogLine<'a> {
    terminal: &'a Terminal,
    text: Vec<u8>,
}

impl Write for LogLine<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogLine<'_> {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.text);
        if self.terminal.json {
            self.terminal.write_error(&printable::json(&with_message(&text)));
        } else {
            // An event is one line, whatever is in it.
            let line = harmless(text.trim_end_matches('\n'), self.terminal.error_style, false);
            self.terminal.write_error(&format!("{line}\n"));
        }
    }
}

/// A line of JSON with a message: some libraries have events of facts alone, which are told by their target then.
fn with_message(line: &str) -> Cow<'_, str> {
    let Ok(Value::Object(mut event)) = serde_json::from_str::<Value>(line) else { return Cow::Borrowed(line) };
    if event.contains_key("message") {
        return Cow::Borrowed(line);
    }
    let message = event.get("target").cloned().unwrap_or_default();
    event.insert("message".to_owned(), message);
    Cow::Owned(format!("{}\n", Value::Object(event)))
}

/// Rows of cells with aligned columns; the columns of `right` are numbers.
pub(crate) fn aligned(rows: &[Vec<String>], right: &[usize]) -> String {
    let plain = |cell: &String| printable::line(cell).into_owned();
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(plain).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let padding = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
            let padded = if right.contains(&column) { padding + cell } else { cell.clone() + &padding };
            line.push_str(if column == 0 { "" } else { "  " });
            line.push_str(&padded);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// `12,345,678`
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `12.3 MB`, in powers of 1000 as disks and networks have them.
pub(crate) fn megabytes(bytes: u64) -> String {
    if bytes < 1_000_000 {
        return format!("{:.1} kB", bytes as f64 / 1e3);
    }
    if bytes < 1_000_000_000 {
        format!("{:.1} MB", bytes as f64 / 1e6)
    } else {
        format!("{:.2} GB", bytes as f64 / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_without_a_message_is_told_by_its_target() {
        assert_eq!(with_message("{\"message\":\"a\"}\n"), "{\"message\":\"a\"}\n");
        let line: Value = serde_json::from_str(&with_message(r#"{"level":"INFO","target":"a::b","n":1}"#)).unwrap();
        assert_eq!((&line["message"], &line["n"]), (&"a::b".into(), &1.into()));
        assert_eq!(with_message("no JSON"), "no JSON");
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [
            ["table", "rows", "x"].map(ToOwned::to_owned).to_vec(),
            ["dbo.a\u{1b}", "1", ""].map(ToOwned::to_owned).to_vec(),
        ];
        assert_eq!(aligned(&rows, &[1]), "table        rows  x\ndbo.a\\u{1b}     1\n");
    }
}
