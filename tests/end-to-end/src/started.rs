//! A `host` that is still running.

use std::fs;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use crate::output::Output;

/// How long anything may take before a test gives up.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A process whose streams go to files, so that it never waits for its reader. Killed when dropped.
pub struct Started {
    process: Child,
    stdout: NamedTempFile,
    stderr: NamedTempFile,
    /// Whether its streams were read to their end.
    is_read: bool,
}

impl Started {
    /// Starts a prepared command.
    pub fn new(mut command: Command) -> Self {
        let (stdout, stderr) = (NamedTempFile::new().unwrap(), NamedTempFile::new().unwrap());
        command.stdout(stdout.reopen().unwrap()).stderr(stderr.reopen().unwrap());
        Self { process: command.spawn().unwrap(), stdout, stderr, is_read: false }
    }

    /// What it has said so far.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.stderr.path()).unwrap()
    }

    /// Waits for something to become true while the process runs.
    #[track_caller]
    pub fn wait_until(&mut self, what: &str, mut is_true: impl FnMut(&Self) -> bool) {
        let until = Instant::now() + TIMEOUT;
        while !is_true(self) {
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?} before {what}:\n{}", self.stderr());
            assert!(Instant::now() < until, "never {what}:\n{}", self.stderr());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    /// Sends a signal: `TERM`, `INT`, `KILL`.
    pub fn signal(&self, name: &str) {
        let id = self.process.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(self) -> Output {
        self.end_measured().0
    }

    /// Waits for its end, and says how much memory it had at the most, in bytes, without that of its own processes.
    #[track_caller]
    pub fn end_measured(mut self) -> (Output, u64) {
        let until = Instant::now() + TIMEOUT;
        let mut peak_bytes = 0;
        let status = loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                break status;
            }
            peak_bytes = peak_bytes.max(peak_memory_bytes(self.process.id()));
            assert!(Instant::now() < until, "it does not end:\n{}", self.stderr());
            thread::sleep(Duration::from_millis(10));
        };
        self.is_read = true;
        let output = Output::new(std::process::Output {
            status,
            stdout: fs::read(self.stdout.path()).unwrap(),
            stderr: fs::read(self.stderr.path()).unwrap(),
        });
        (output, peak_bytes)
    }
}

/// The kernel's count of a process's resident memory at its highest; 0 of one that has ended.
fn peak_memory_bytes(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if !self.is_read {
            for (what, file) in [("host stdout", &self.stdout), ("host stderr", &self.stderr)] {
                datakit_canary::keep(what, &fs::read(file.path()).unwrap_or_default());
            }
        }
    }
}
