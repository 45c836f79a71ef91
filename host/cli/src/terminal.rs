//! Standard output and standard error, and what may be done to them.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};

use datakit_config::environment::NO_COLOR;
use indicatif::{MultiProgress, ProgressDrawTarget};
use serde::Serialize;

use crate::error::CliError;
use crate::report::{Reports, Style, printable};

/// Where text goes. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Terminal {
    progress: MultiProgress,
    /// Standard error is a terminal: progress lines move.
    pub(crate) interactive: bool,
    pub(crate) error_style: Style,
    pub(crate) output_style: Style,
}

impl Terminal {
    pub(crate) fn new(environment: &BTreeMap<String, String>) -> Self {
        let no_color = environment.get(NO_COLOR).is_some_and(|value| !value.is_empty());
        let dumb = environment.get("TERM").is_some_and(|term| term == "dumb");
        let interactive = io::stderr().is_terminal() && !dumb;
        let target = if interactive { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self {
            progress: MultiProgress::with_draw_target(target),
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
        let written = self.progress.suspend(|| {
            let mut output = io::stdout().lock();
            output.write_all(text.as_bytes()).and_then(|()| output.flush())
        });
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CliError::Output(error)),
            _ => Ok(()),
        }
    }

    /// One JSON document on standard output.
    pub(crate) fn print_json(&self, value: &impl Serialize) -> Result<(), CliError> {
        let mut text = serde_json::to_string_pretty(value).map_err(CliError::Json)?;
        text.push('\n');
        self.print(&text)
    }

    /// Anything else, on standard error, above the moving lines. There is nobody to tell when it fails.
    pub(crate) fn say(&self, text: &str) {
        self.progress.suspend(|| {
            let mut output = io::stderr().lock();
            let _ = output.write_all(text.as_bytes());
        });
    }

    /// One line on standard error.
    pub(crate) fn say_line(&self, text: &str) {
        self.say(&format!("{text}\n"));
    }

    pub(crate) fn warn(&self, text: &str) {
        self.say_line(&format!("{}: {}", self.error_style.yellow("warning"), printable(text)));
    }

    pub(crate) fn report(&self, reports: &Reports) {
        self.say(&reports.render(self.error_style));
    }
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
        self.terminal.say(&String::from_utf8_lossy(&self.text));
    }
}

/// Rows of cells with aligned columns; the columns of `right` are numbers.
pub(crate) fn aligned(rows: &[Vec<String>], right: &[usize]) -> String {
    let plain = |cell: &String| printable(cell).replace(['\n', '\t'], " ");
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
