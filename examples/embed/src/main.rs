//! Runs all ingests of a warehouse file, and prints what happens as JSON lines.

use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use datakit_app::{Connectors, Context, Observer, Run, RunEvent, RunRequest, Settings, VersionedEvent, bounded_work};
use tokio_util::sync::CancellationToken;

/// Prints each event as one line of JSON.
struct JsonLines;

impl Observer for JsonLines {
    fn event(&self, event: RunEvent) {
        if let Ok(line) = serde_json::to_string(&VersionedEvent::from(event)) {
            // There is nobody to tell when standard output has gone.
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }
}

fn main() -> ExitCode {
    match work() {
        Ok(exit) => exit,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn work() -> Result<ExitCode, Box<dyn Error>> {
    // The application starts this program again to compile a component within bounds.
    if let Some(done) = bounded_work() {
        return Ok(done.map(|()| ExitCode::SUCCESS)?);
    }
    let file = std::env::args_os().nth(1).map(PathBuf::from).ok_or("usage: embed WAREHOUSE_FILE")?;
    let settings = Settings {
        file: Some(file),
        environment: std::env::vars().collect(),
        bounded_program: Some(PathBuf::from("/proc/self/exe")),
        ..Settings::default()
    };
    // Whoever holds a clone of this token can stop the run.
    let stop = CancellationToken::new();
    let context = Context::new(settings, Connectors::new(datakit_connectors::all()), Arc::new(JsonLines), stop);
    tokio::runtime::Runtime::new()?.block_on(run(&context))
}

async fn run(context: &Context) -> Result<ExitCode, Box<dyn Error>> {
    let mut run = Run::prepare(context, RunRequest::default()).await?;
    let mut all_done = true;
    while let Some(ended) = run.next().await {
        all_done &= ended.status().is_done();
    }
    Ok(if all_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
