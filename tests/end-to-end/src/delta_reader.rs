//! An independent reader of Delta tables that stays, for tests that read many.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::world::python;

/// A Python that reads Delta tables one after the other. Ends when it is dropped.
pub struct DeltaReader {
    process: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl DeltaReader {
    /// Starts it.
    pub fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("readers/delta_rows.py");
        let mut command = Command::new(python());
        let mut process = command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (questions, answers) = (process.stdin.take(), BufReader::new(process.stdout.take().unwrap()));
        Self { process, questions, answers }
    }

    /// The rows of the table in this folder, each an object of JSON, sorted by their text.
    ///
    /// # Panics
    /// The table cannot be read: a file that its log names is missing or damaged.
    pub fn rows(&mut self, table: &Path) -> Vec<serde_json::Value> {
        writeln!(self.questions.as_mut().unwrap(), "{}", table.display()).unwrap();
        let mut rows = Vec::new();
        loop {
            let mut line = String::new();
            assert!(self.answers.read_line(&mut line).unwrap() > 0, "{} cannot be read", table.display());
            if line.trim_end().is_empty() {
                return rows;
            }
            rows.push(serde_json::from_str(&line).unwrap());
        }
    }
}

impl Drop for DeltaReader {
    fn drop(&mut self) {
        drop(self.questions.take());
        let _ = self.process.wait();
    }
}
