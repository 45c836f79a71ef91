//! The host binary: it parses arguments, draws progress from events, prints results, and maps them to exit codes.
//!
//! Nothing is decided here that `datakit-app` could decide. The environment is collected once and passed down; data goes to
//! standard output and everything else to standard error; every error goes through one renderer (`report`). Exit codes are those of
//! [`datakit_model::Exit`], and 130 for a second Ctrl-C.

mod arguments;
mod commands;
mod error;
mod exit;
mod logging;
mod progress;
mod report;
mod signals;
mod terminal;
mod traces;

use std::any::Any;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Parser;
use clap::error::ErrorKind;
use datakit_app::{AppError, Reports};
use datakit_model::Exit;
use tokio_util::sync::CancellationToken;

pub use arguments::Arguments;
pub use error::CliError;

use arguments::LogFormat;
use commands::Session;
use terminal::Terminal;

/// How long threads that are not needed any more may keep the process.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs `host` with these arguments (the program's name first) in this environment; the answer is the exit code.
#[must_use]
pub fn execute(arguments: Vec<OsString>, environment: BTreeMap<String, String>) -> u8 {
    let terminal = Terminal::new(&environment, wanted_format(&arguments));
    let crash = record_panics();
    let work = || parse_and_run(arguments, environment, &terminal);
    let result = std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let recorded = crash.lock().unwrap_or_else(PoisonError::into_inner).take();
        let message = recorded.unwrap_or_else(|| panic_message(panic.as_ref()));
        Err(AppError::Crashed { message }.into())
    });
    match result {
        Ok(code) => code,
        Err(reports) => {
            terminal.report(&reports);
            exit::of_reports(&reports).code()
        }
    }
}

fn parse_and_run(
    arguments: Vec<OsString>,
    environment: BTreeMap<String, String>,
    terminal: &Terminal,
) -> Result<u8, Reports> {
    let Arguments { global, command } = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error, terminal),
    };
    let verbose = global.verbose.max(command.least_verbosity(&environment));
    let traces = logging::start(verbose, global.log_format, &environment, terminal)?;
    let start = |what| move |source| CliError::Start { what, source };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(start("the worker threads"))?;
    let stop = CancellationToken::new();
    let session = Session::new(global, &command, environment, terminal.clone(), stop.clone());
    let result = runtime.block_on(async {
        signals::watch(stop, terminal.clone()).map_err(start("the signal handlers"))?;
        commands::execute(command, &session).await
    });
    // A thread that still waits for a KDC nobody waits for any more would keep the process.
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    drop(traces);
    result
}

/// What `--log-format` says, before anybody knows whether the arguments are in order: errors about them have this form too.
fn wanted_format(arguments: &[OsString]) -> LogFormat {
    let words: Vec<&str> = arguments.iter().filter_map(|argument| argument.to_str()).collect();
    let is_json = |pair: &[&str]| matches!(pair, ["--log-format", "json"]);
    if words.contains(&"--log-format=json") || words.windows(2).any(is_json) {
        LogFormat::Json
    } else {
        LogFormat::Text
    }
}

/// Help and version are answers; everything else is an error of the caller's.
fn usage(error: &clap::Error, terminal: &Terminal) -> Result<u8, Reports> {
    let style = terminal.output_style;
    let rendered = error.render();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let text = if style.color { rendered.ansi().to_string() } else { rendered.to_string() };
            terminal.print(&text)?;
            Ok(0)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            terminal.say(rendered.to_string().trim_end());
            Ok(Exit::Permanent.code())
        }
        _ => {
            let (message, advice) = split_usage(&rendered.to_string());
            Err(CliError::Usage { message, advice }.into())
        }
    }
}

/// Clap's first paragraph says what is wrong, the others what to do.
fn split_usage(text: &str) -> (String, String) {
    let text = text.strip_prefix("error: ").unwrap_or(text).trim_end();
    let (message, advice) = text.split_once("\n\n").unwrap_or((text, ""));
    let message: Vec<&str> = message.lines().map(str::trim).collect();
    let advice: Vec<&str> = advice.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let advice: Vec<&str> = advice.into_iter().map(|line| line.strip_prefix("tip: ").unwrap_or(line)).collect();
    (message.join(" "), advice.join("\n"))
}

/// Keeps the last panic's message and place for the report, instead of printing it among the moving lines.
fn record_panics() -> Arc<Mutex<Option<String>>> {
    let last = Arc::new(Mutex::new(None));
    let recorder = Arc::clone(&last);
    std::panic::set_hook(Box::new(move |info| {
        let place = info.location().map(|at| format!(" ({}:{})", at.file(), at.line())).unwrap_or_default();
        let message = format!("{}{place}", panic_message(info.payload()));
        tracing::error!(target: "datakit_cli", message, "panic");
        *recorder.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
    }));
    last
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
