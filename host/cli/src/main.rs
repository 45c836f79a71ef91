//! The `host` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    // The one place that reads the environment. A value that is not UTF-8 cannot be a setting of ours.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    ExitCode::from(datakit_cli::execute(std::env::args_os().collect(), environment))
}
