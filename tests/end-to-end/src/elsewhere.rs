//! The tests of a binary once more, against a server that `DATAKIT_TEST_MSSQL` names.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use datakit_fake_sqlserver::named::VARIABLE;

use crate::world::host_binary;

/// What parts values in a connection string, and characters beyond ASCII.
const PASSWORD: &str = "Pl4nted 1; it's \"é\" = {ok}";

/// A process, ended with its owner.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `fake-sqlserver` as a server of its own, which this process knows nothing of, and runs tests of the calling binary
/// against it as against any other server: those whose names hold one of `tests`, at least one. Tests that need what it
/// does not give away skip themselves.
///
/// Does nothing where the environment names a server already: then these tests run against that one.
#[track_caller]
pub fn run_again_elsewhere(tests: &[&str]) {
    if std::env::var_os(VARIABLE).is_some() {
        eprintln!("skipped: {VARIABLE} names a server, and this test names one of its own");
        return;
    }
    let binary = host_binary().with_file_name("fake-sqlserver");
    assert!(binary.exists(), "{} is not built: run `cargo build --workspace`, or ./test", binary.display());
    let mut server = Command::new(binary)
        .env("FAKE_SQLSERVER_PASSWORD", PASSWORD)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map(Ended)
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    let quoted = PASSWORD.replace('"', "\"\"");
    let connection = format!(
        "Driver={{ODBC Driver 18 for SQL Server}};Server=tcp:localhost,{};Uid=sa;Pwd=\"{quoted}\";Database=erp;TrustServerCertificate=yes",
        ready["port"]
    );
    let output = Command::new(std::env::current_exe().unwrap())
        .args(tests)
        .args(["--skip", "elsewhere", "--nocapture", "--test-threads=2"])
        .env(VARIABLE, connection)
        // Snapshots are the same, whatever the server.
        .env("INSTA_UPDATE", "no")
        .output()
        .unwrap();
    datakit_canary::keep("tests elsewhere stdout", &output.stdout);
    datakit_canary::keep("tests elsewhere stderr", &output.stderr);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(!stdout.contains("running 0 tests"), "{stdout}");
    assert!(!stderr.contains("cannot drop ["), "{stderr}");
}
