//! The `host` binary.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Batches are allocated on one thread and freed on another, megabytes at a time: docs/decisions/0008 has the figures.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    // The one place that reads the environment. A value that is not UTF-8 cannot be a setting of ours.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    ExitCode::from(datakit_cli::execute(std::env::args_os().collect(), environment))
}
