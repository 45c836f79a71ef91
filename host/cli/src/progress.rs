//! What is shown while a run goes on: a moving line per table on a terminal, plain lines elsewhere.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use datakit_app::{NoticeLevel, Observer, RunEvent, TableError, TableStatus, TableSummary};
use datakit_model::printable;
use datakit_model::source::PoolStatistics;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use serde_json::{Map, Value, json};
use tracing::Level;

use crate::terminal::{Terminal, grouped, megabytes};

const MAX_NAME_CHARS: usize = 40;
const MAX_MESSAGE_CHARS: usize = 500;

/// Where nothing moves, whoever waits is told so after this time, and again each time it has passed.
const WAITING_INTERVAL: Duration = Duration::from_secs(10);

/// Watches the application and shows on standard error what happens.
pub(crate) struct Progress {
    terminal: Terminal,
    /// A question is answered on standard output: only what is waited for and what is odd is shown.
    is_question: bool,
    state: Mutex<State>,
}

/// What is known so far.
#[derive(Default)]
struct State {
    lines: HashMap<String, Line>,
    /// What is waited for before the first table.
    waiting: Option<Waiting>,
    tables: Tables,
    /// The line under the others.
    total: Option<ProgressBar>,
}

/// How many tables have ended, of how many.
#[derive(Debug, Default, Clone, Copy)]
struct Tables {
    ended: usize,
    selected: usize,
}

/// The moving line of one table.
struct Line {
    bar: ProgressBar,
    bytes: u64,
}

/// Says what is waited for, until it is dropped: a moving line on a terminal, elsewhere a line every while.
struct Waiting {
    bar: ProgressBar,
    beating: Option<tokio::task::JoinHandle<()>>,
}

impl Waiting {
    fn begin(terminal: &Terminal, what: impl Into<String>) -> Self {
        let what = what.into();
        let bar = terminal.progress().add(ProgressBar::new_spinner());
        if terminal.interactive {
            bar.set_style(waiting_style());
            bar.set_message(what.clone());
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        let beat = || {
            let (terminal, begin) = (terminal.clone(), Instant::now());
            tokio::spawn(async move {
                let mut interval =
                    tokio::time::interval_at(tokio::time::Instant::now() + WAITING_INTERVAL, WAITING_INTERVAL);
                loop {
                    interval.tick().await;
                    let seconds = begin.elapsed().as_secs();
                    let facts = Map::from_iter([("seconds".to_owned(), seconds.into())]);
                    terminal.write_line(Level::INFO, &format!("{what} … {seconds} s so far"), facts);
                }
            })
        };
        let beating = (!terminal.interactive && tokio::runtime::Handle::try_current().is_ok()).then(beat);
        Self { bar, beating }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        if let Some(beating) = &self.beating {
            beating.abort();
        }
    }
}

impl Progress {
    /// `is_question`: of `host discover` and its like.
    pub(crate) fn new(terminal: Terminal, is_question: bool) -> Self {
        Self { terminal, is_question, state: Mutex::default() }
    }

    /// Nothing is waited for any more: the moving lines go.
    pub(crate) fn end(&self) {
        let state = std::mem::take(&mut *self.state());
        if let Some(total) = &state.total {
            total.finish_and_clear();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves at worst an odd line.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waits_for(&self, what: impl Into<String>) {
        let mut state = self.state();
        state.waiting = None;
        state.waiting = Some(Waiting::begin(&self.terminal, what));
    }

    fn ingest(&self, ingest: &str, of: usize) {
        if of > 1 {
            let title = format!("ingest {}", printable::line(ingest));
            self.terminal.say(&self.terminal.error_style.bold(&title));
        }
    }

    fn selected(&self, discovered: usize, selected: usize) {
        self.state().tables.selected = selected;
        if self.is_question {
            return;
        }
        let facts = facts([("discovered", discovered.into()), ("selected", selected.into())]);
        self.terminal.write_line(Level::INFO, &format!("{selected} of {discovered} tables selected"), facts);
    }

    fn started(&self, table: &str, partitions: usize, estimated_rows: Option<u64>) {
        self.state().waiting = None;
        if !self.terminal.interactive {
            let parts = if partitions == 1 { "1 partition".to_owned() } else { format!("{partitions} partitions") };
            let rows = estimated_rows.map(|rows| format!(", about {} rows", grouped(rows))).unwrap_or_default();
            let facts = facts([
                ("table", table.into()),
                ("partitions", partitions.into()),
                ("estimated_rows", json!(estimated_rows)),
            ]);
            self.terminal.write_line(Level::INFO, &format!("{}: reading ({parts}{rows})", name(table)), facts);
            return;
        }
        let bar = match estimated_rows.filter(|rows| *rows > 0) {
            Some(rows) => ProgressBar::new(rows).with_style(style(true)),
            None => ProgressBar::no_length().with_style(style(false)),
        };
        let mut state = self.state();
        let tables = state.tables;
        let progress = self.terminal.progress();
        let total = state.total.get_or_insert_with(|| {
            let total = progress.add(ProgressBar::new(tables.selected as u64).with_style(total_style()));
            total.set_position(tables.ended as u64);
            total.tick();
            total
        });
        let bar = progress.insert_before(total, bar.with_prefix(name(table)));
        bar.enable_steady_tick(Duration::from_millis(200));
        state.lines.insert(table.to_owned(), Line { bar, bytes: 0 });
    }

    fn written(&self, table: &str, rows: u64, bytes: u64) {
        if let Some(line) = self.state().lines.get_mut(table) {
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

    fn will_retry(&self, what: &str, attempt: u64, pause_ms: u64, error: &TableError) {
        let seconds = Duration::from_millis(pause_ms).as_secs_f64();
        let (code, message) = (&error.code, short(&error.message));
        self.terminal.warn(&format!("{what}: attempt {attempt} failed, again in {seconds:.1} s: {code}: {message}"));
    }

    fn finished(&self, summary: &TableSummary) {
        let mut state = self.state();
        if let Some(line) = state.lines.remove(&summary.table) {
            line.bar.finish_and_clear();
            self.terminal.progress().remove(&line.bar);
        }
        state.tables.ended += 1;
        let tables = state.tables;
        if let Some(total) = &state.total {
            total.set_position(tables.ended as u64);
            if tables.ended >= tables.selected {
                total.finish_and_clear();
            }
        }
        drop(state);
        let level = if summary.status == TableStatus::Failed { Level::ERROR } else { Level::INFO };
        let facts = facts([
            ("ended", tables.ended.into()),
            ("selected", tables.selected.into()),
            ("table", serde_json::to_value(summary).unwrap_or_default()),
        ]);
        self.terminal.write_line(level, &self.outcome(summary, tables), facts);
    }

    fn outcome(&self, summary: &TableSummary, tables: Tables) -> String {
        let style = self.terminal.error_style;
        let table = printable::line(&summary.table);
        let count = match tables {
            Tables { ended, selected } if selected > 1 => style.dim(&format!(" [{ended} of {selected} tables]")),
            Tables { .. } => String::new(),
        };
        match summary.status {
            TableStatus::Committed => {
                let per_second = summary.rows as f64 / summary.seconds.max(0.001);
                format!(
                    "{} {table}: {} rows, {} in {:.1} s ({} rows/s){count}",
                    style.green("✓"),
                    grouped(summary.rows),
                    megabytes(summary.bytes),
                    summary.seconds,
                    grouped(per_second as u64)
                ) + &drift(summary)
            }
            TableStatus::Unchanged if !summary.drift.is_empty() => {
                format!("{} {table}: unchanged since the last load{count}{}", style.yellow("!"), drift(summary))
            }
            TableStatus::Unchanged => format!("{} {table}: unchanged since the last load{count}", style.green("✓")),
            TableStatus::Failed => {
                let error = summary.error.as_ref();
                let code = error.map(|error| printable::line(&error.code)).unwrap_or_default();
                let message = error.map(|error| short(&error.message)).unwrap_or_default();
                format!("{} {table}: failed: {code}: {message}{count}", style.red("✗"))
            }
            TableStatus::Stopped => {
                format!("{} {table}: stopped, nothing of it is visible{count}", style.yellow("-"))
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

/// The number of columns that were not those of the table; the summary names them.
fn drift(summary: &TableSummary) -> String {
    match summary.drift.len() {
        0 => String::new(),
        1 => ", drift of 1 column".to_owned(),
        columns => format!(", drift of {columns} columns"),
    }
}

/// A message on a line of progress: all of it is told when the run has ended.
fn short(message: &str) -> String {
    printable::line(&printable::cut(message, MAX_MESSAGE_CHARS)).into_owned()
}

fn facts<const N: usize>(facts: [(&str, Value); N]) -> Map<String, Value> {
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// At the end for whoever asked for a little more, before that for whoever looks for the cause of something.
fn connections(pool: &PoolStatistics, is_last: bool) {
    let PoolStatistics { server, in_use, idle, most_open, max_connections, opened, closed, .. } = pool;
    let PoolStatistics { waits, wait_ms, longest_wait_ms, .. } = pool;
    macro_rules! report {
        ($level:ident, $message:literal) => {
            tracing::$level!(
                target: "datakit", server, in_use, idle, most_open, max_connections, opened, closed = closed.total(),
                closed_by_server = closed.closed_by_server, closed_idle = closed.idle, closed_lifetime = closed.lifetime,
                closed_unfinished = closed.unfinished, closed_displaced = closed.displaced, waits, wait_ms,
                longest_wait_ms, $message
            )
        };
    }
    if is_last {
        report!(info, "connections of the run");
    } else {
        report!(debug, "connections so far");
    }
}

impl Observer for Progress {
    fn event(&self, event: RunEvent) {
        match event {
            RunEvent::Notice { level: NoticeLevel::Warning, text } => self.terminal.warn(&text),
            RunEvent::Notice { level: NoticeLevel::Note, text } => self.terminal.note(&text),
            RunEvent::HealthEndpoint { address } => {
                self.terminal.say(&format!("health endpoint: http://{address}/health/ready"));
            }
            RunEvent::IngestStarted { ingest, of, .. } => self.ingest(&ingest, of),
            RunEvent::Fetching { datakit } => self.waits_for(format!("fetching {}", printable::line(&datakit))),
            RunEvent::Compiling { datakit, bytes } => {
                self.waits_for(format!("compiling {} ({})", printable::line(&datakit), megabytes(bytes)));
            }
            RunEvent::Compiled { datakit, bytes, elapsed_ms } => {
                self.state().waiting = None;
                tracing::info!(target: "datakit", datakit, bytes, elapsed_ms, "compiled; the next start takes the code from the cache");
            }
            RunEvent::Loaded { datakit, datakit_version: version, digest, file, run_id } => {
                self.state().waiting = None;
                let (datakit, version) = (printable::line(&datakit), printable::line(&version));
                let from = file.map(|file| format!(" from {}", printable::line(&file))).unwrap_or_default();
                self.terminal.say(&format!("{datakit}@{version}{from} ({digest}), run {run_id}"));
            }
            RunEvent::Discovering => self.waits_for("reading the catalog"),
            RunEvent::Selected { discovered, selected, .. } => self.selected(discovered, selected),
            RunEvent::Unmatched { pattern, nearest } => {
                let meant =
                    if nearest.is_empty() { String::new() } else { format!("; near it: {}", nearest.join(", ")) };
                self.terminal.warn(&format!("`{pattern}` matches no table{meant}"));
            }
            RunEvent::Comparing { table } => self.waits_for(format!("comparing {}", printable::line(&table))),
            RunEvent::Planning { tables } => {
                let plural = if tables == 1 { "table" } else { "tables" };
                self.waits_for(format!("planning {tables} {plural}"));
            }
            RunEvent::RetryingPlan { step, attempt, pause_ms, error } => {
                self.will_retry(&step.to_string(), attempt, pause_ms, &error);
            }
            RunEvent::TableStarted { table, partitions, estimated_rows, .. } => {
                self.started(&table, partitions, estimated_rows);
            }
            RunEvent::BatchWritten { table, rows, bytes } => self.written(&table, rows, bytes),
            RunEvent::Retrying { table, attempt, rows_taken_back, pause_ms, error, .. } => {
                if let Some(line) = self.state().lines.get(&table) {
                    line.bar.set_position(line.bar.position().saturating_sub(rows_taken_back));
                }
                self.will_retry(&name(&table), attempt, pause_ms, &error);
            }
            RunEvent::TableFinished { summary } => self.finished(&summary),
            RunEvent::Connections { pool, is_last } => connections(&pool, is_last),
            RunEvent::IngestFinished { .. } => self.end(),
        }
    }
}

fn name(table: &str) -> String {
    let name = printable::line(table);
    if name.chars().count() <= MAX_NAME_CHARS {
        return name.into_owned();
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

/// What is waited for, and for how long.
fn waiting_style() -> ProgressStyle {
    ProgressStyle::with_template("  {spinner} {msg:60!} {elapsed:>6}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// Under the lines of the tables.
fn total_style() -> ProgressStyle {
    ProgressStyle::with_template("  {pos} of {len} tables").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::arguments::LogFormat;

    #[test]
    fn outcomes_read_well() {
        let progress =
            Progress::new(Terminal::new(&BTreeMap::from([("TERM".into(), "dumb".into())]), LogFormat::Text), false);
        let mut summary = TableSummary {
            rows: 1_234_567,
            bytes: 45_600_000,
            seconds: 2.5,
            ..TableSummary::new("dbo.orders", TableStatus::Committed)
        };
        let tables = Tables { ended: 3, selected: 82 };
        assert_eq!(
            progress.outcome(&summary, tables),
            "✓ dbo.orders: 1,234,567 rows, 45.6 MB in 2.5 s (493,826 rows/s) [3 of 82 tables]"
        );
        summary.status = TableStatus::Stopped;
        assert_eq!(
            progress.outcome(&summary, tables),
            "- dbo.orders: stopped, nothing of it is visible [3 of 82 tables]"
        );
        summary.table = "dbo.a\n✓ dbo.b: 1 rows\u{202e}\u{1b}[2J".into();
        assert_eq!(
            progress.outcome(&summary, tables),
            "- dbo.a\\n✓ dbo.b: 1 rows\\u{202e}\\u{1b}[2J: stopped, nothing of it is visible [3 of 82 tables]"
        );
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(name(&format!("dbo.{}", "x".repeat(100))).chars().count(), MAX_NAME_CHARS);
    }
}
