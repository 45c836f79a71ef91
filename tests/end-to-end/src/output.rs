//! What a run of the `host` binary left.

use std::fmt::Write as _;
use std::process;

/// Exit code and both streams of a command.
#[derive(Debug, Clone)]
pub struct Output {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    pub(crate) fn new(output: process::Output) -> Self {
        datakit_canary::keep("host stdout", &output.stdout);
        datakit_canary::keep("host stderr", &output.stderr);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Itself, if the command went well.
    #[track_caller]
    pub fn success(self) -> Self {
        assert_eq!(self.code, Some(0), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// The one JSON document on standard output.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("{e}\nstdout:\n{}\nstderr:\n{}", self.stdout, self.stderr))
    }

    /// Exit code and standard error for a golden file.
    pub fn failure(&self) -> String {
        format!("exit code: {}\n{}", self.code.map_or("none".into(), |c| c.to_string()), self.stderr)
    }

    /// The errors in a run's JSON summary, with hints and causes; nothing without such a summary.
    pub fn table_errors(&self) -> String {
        let Ok(summary) = serde_json::from_str::<serde_json::Value>(&self.stdout) else { return String::new() };
        let mut text = format!("status: {}\n", summary["status"].as_str().unwrap());
        for table in summary["tables"].as_array().unwrap() {
            writeln!(text, "{}: {}", table["table"].as_str().unwrap(), table["status"].as_str().unwrap()).unwrap();
            let error = &table["error"];
            if error.is_null() {
                continue;
            }
            assert!(error["hint"].is_string() && error["code"].is_string(), "{error}");
            for key in ["code", "kind", "message", "hint"] {
                writeln!(text, "  {key}: {}", error[key].as_str().unwrap()).unwrap();
            }
            for cause in error["causes"].as_array().into_iter().flatten() {
                writeln!(text, "  cause: {}", cause.as_str().unwrap()).unwrap();
            }
        }
        text
    }
}
