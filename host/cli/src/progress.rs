//! What is shown while a run goes on: a moving line per table on a terminal, plain lines elsewhere.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use datakit_model::TableId;
use datakit_model::source::PoolStatistics;
use datakit_pipeline::{Event, Observer, TableStatus, TableSummary};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use crate::report::printable;
use crate::terminal::{Terminal, grouped, megabytes};

const MAX_NAME_CHARS: usize = 40;

/// Watches a run and shows it on standard error.
pub(crate) struct Progress {
    terminal: Terminal,
    lines: Mutex<HashMap<TableId, Line>>,
}

/// The moving line of one table.
struct Line {
    bar: ProgressBar,
    bytes: u64,
}

impl Progress {
    pub(crate) fn new(terminal: Terminal) -> Self {
        Self { terminal, lines: Mutex::default() }
    }

    fn lines(&self) -> MutexGuard<'_, HashMap<TableId, Line>> {
        // A panic elsewhere leaves at worst an odd line.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn started(&self, table: &TableId, partitions: usize, estimated_rows: Option<u64>) {
        if !self.terminal.interactive {
            let parts = if partitions == 1 { "1 partition".to_owned() } else { format!("{partitions} partitions") };
            let rows = estimated_rows.map(|rows| format!(", about {} rows", grouped(rows))).unwrap_or_default();
            self.terminal.say_line(&format!("{}: reading ({parts}{rows})", name(table)));
            return;
        }
        let bar = match estimated_rows.filter(|rows| *rows > 0) {
            Some(rows) => ProgressBar::new(rows).with_style(style(true)),
            None => ProgressBar::no_length().with_style(style(false)),
        };
        let bar = self.terminal.progress().add(bar.with_prefix(name(table)));
        bar.enable_steady_tick(Duration::from_millis(200));
        self.lines().insert(table.clone(), Line { bar, bytes: 0 });
    }

    fn written(&self, table: &TableId, rows: u64, bytes: u64) {
        if let Some(line) = self.lines().get_mut(table) {
            line.bytes += bytes;
            line.bar.inc(rows);
            // Estimates may be too low.
            if line.bar.length().is_some_and(|length| length < line.bar.position()) {
                line.bar.set_length(line.bar.position());
            }
            let seconds = line.bar.elapsed().as_secs_f64().max(0.001);
            line.bar.set_message(format!("{:.1} MB/s", line.bytes as f64 / 1e6 / seconds));
        }
    }

    fn finished(&self, summary: &TableSummary) {
        let mut lines = self.lines();
        let table = lines.keys().find(|table| table.to_string() == summary.table).cloned();
        if let Some(line) = table.and_then(|table| lines.remove(&table)) {
            line.bar.finish_and_clear();
            self.terminal.progress().remove(&line.bar);
        }
        drop(lines);
        self.terminal.say_line(&self.outcome(summary));
    }

    fn outcome(&self, summary: &TableSummary) -> String {
        let style = self.terminal.error_style;
        let table = printable(&summary.table);
        match summary.status {
            TableStatus::Committed => {
                let per_second = summary.rows as f64 / summary.seconds.max(0.001);
                format!(
                    "{} {table}: {} rows, {} in {:.1} s ({} rows/s)",
                    style.green("✓"),
                    grouped(summary.rows),
                    megabytes(summary.bytes),
                    summary.seconds,
                    grouped(per_second as u64)
                )
            }
            TableStatus::Unchanged => format!("{} {table}: this run committed it before", style.green("✓")),
            TableStatus::Failed => {
                let error = summary.error.as_ref();
                let code = error.map(|error| error.code.as_str()).unwrap_or_default();
                let message = error.map(|error| printable(&error.message)).unwrap_or_default();
                format!("{} {table}: failed: {code}: {message}", style.red("✗"))
            }
            TableStatus::Stopped => format!("{} {table}: stopped, nothing of it is visible", style.yellow("-")),
        }
    }
}

/// At the end for whoever asked for a little more, before that for whoever looks for the cause of something.
fn connections(pool: &PoolStatistics, is_last: bool) {
    let PoolStatistics { server, in_use, idle, most_open, max_connections, opened, closed, .. } = pool;
    let PoolStatistics { waits, wait_ms, longest_wait_ms, .. } = pool;
    macro_rules! tell {
        ($level:ident, $message:literal) => {
            tracing::$level!(
                target: "datakit", server, in_use, idle, most_open, max_connections, opened, closed = closed.total(),
                closed_goodbye = closed.goodbye, closed_idle = closed.idle, closed_lifetime = closed.lifetime,
                closed_unfinished = closed.unfinished, closed_displaced = closed.displaced, waits, wait_ms,
                longest_wait_ms, $message
            )
        };
    }
    if is_last {
        tell!(info, "connections of the run");
    } else {
        tell!(debug, "connections so far");
    }
}

impl Observer for Progress {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Selected { discovered, selected } => {
                self.terminal.say_line(&format!("{selected} of {discovered} tables selected"));
            }
            Event::TableStarted { table, partitions, estimated_rows, .. } => {
                self.started(table, partitions, estimated_rows);
            }
            Event::BatchWritten { table, rows, bytes } => self.written(table, rows, bytes),
            Event::Retrying { table, attempt, rows_taken_back, pause_ms, failure, .. } => {
                if let Some(line) = self.lines().get(table) {
                    line.bar.set_position(line.bar.position().saturating_sub(rows_taken_back));
                }
                let seconds = Duration::from_millis(pause_ms).as_secs_f64();
                self.terminal.warn(&format!(
                    "{}: attempt {attempt} failed, again in {seconds:.1} s: {}: {}",
                    name(table),
                    failure.code(),
                    failure.message()
                ));
            }
            Event::TableFinished(summary) => self.finished(summary),
            Event::Connections { pool, is_last } => connections(pool, is_last),
        }
    }
}

fn name(table: &TableId) -> String {
    let name = printable(&table.to_string());
    if name.chars().count() <= MAX_NAME_CHARS {
        return name;
    }
    name.chars().take(MAX_NAME_CHARS - 1).chain(['…']).collect()
}

/// Fits a terminal of 80 columns: a line that wraps cannot be drawn over.
fn style(with_estimate: bool) -> ProgressStyle {
    let template = if with_estimate {
        "  {spinner} {prefix:18!} {bar:8} {rows:>11} rows {speed:>9}/s {msg:>9} ETA {eta}"
    } else {
        "  {spinner} {prefix:18!} {rows:>11} rows {speed:>9}/s {msg:>9}"
    };
    let rows = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let _ = out.write_str(&grouped(state.pos()));
    };
    let speed = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        let _ = out.write_str(&grouped(state.per_sec() as u64));
    };
    // The templates are constants, and a test reads them.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    style.with_key("rows", rows).with_key("speed", speed)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn outcomes_read_well() {
        let progress = Progress::new(Terminal::new(&BTreeMap::from([("TERM".into(), "dumb".into())])));
        let mut summary = TableSummary {
            table: "dbo.orders".into(),
            status: TableStatus::Committed,
            rows: 1_234_567,
            bytes: 45_600_000,
            seconds: 2.5,
            target: "/bronze/ERP/dbo/orders".into(),
            partitions: 4,
            several_moments: true,
            approximate: false,
            adjustments: vec![],
            rejected: None,
            error: None,
        };
        assert_eq!(progress.outcome(&summary), "✓ dbo.orders: 1,234,567 rows, 45.6 MB in 2.5 s (493,826 rows/s)");
        summary.status = TableStatus::Stopped;
        assert_eq!(progress.outcome(&summary), "- dbo.orders: stopped, nothing of it is visible");
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(name(&TableId::new("dbo", "x".repeat(100))).chars().count(), MAX_NAME_CHARS);
    }
}
