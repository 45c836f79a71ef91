//! A leaked canary secret is found, in whatever form, and the test that wrote it is named.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::Path;
use std::process::{Command, Output};

use datakit_canary::{FOLDER, MARK, forms, keep, register};

/// Set in the second process, which notes and keeps: the environment is the process's.
const ROLE: &str = "DATAKIT_TEST_ROLE";
const SECRET: &str = "Gehéim-nis \"7\"";
const KEY: &[u8] = b"\x00\x01\xfe\xff\x80key\x7f\x1b";

fn search(folder: &Path, report: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_search-canaries")).arg(folder).arg(report).output().unwrap()
}

fn report(folder: &Path, text: &str) -> std::path::PathBuf {
    let path = folder.join("junit.xml");
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let xml = format!(
        "<testsuites><testsuite><testcase classname=\"kit\" name=\"talks\"><system-err>{text}</system-err></testcase></testsuite></testsuites>"
    );
    std::fs::write(&path, xml).unwrap();
    path
}

/// Notes the secrets and keeps these bytes, as a test of this name in a process of its own would.
fn write(folder: &Path, bytes: &[u8]) {
    std::fs::write(folder.join("bytes"), bytes).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["the_other_process", "--exact", "--nocapture"]).env(FOLDER, folder).env(ROLE, folder.join("bytes"));
    command.env("NEXTEST_TEST_NAME", "leaks").env("NEXTEST_BINARY_ID", "kit::end");
    assert!(command.status().unwrap().success());
}

#[test]
fn the_other_process() {
    let Some(file) = std::env::var_os(ROLE) else { return };
    register("the password", SECRET.as_bytes());
    register("the key", KEY);
    register("too short to be one", b"a");
    keep("host stderr", &std::fs::read(file).unwrap());
}

#[test]
fn every_form_of_every_secret_is_found_and_the_test_is_named() {
    for (what, secret) in
        [("the password", SECRET.as_bytes()), ("the key", KEY), ("a canary password", MARK.as_bytes())]
    {
        for form in forms(secret) {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path(), &[b"before\n".as_slice(), &form.bytes, b"after"].concat());
            let output = search(folder.path(), &report(folder.path(), "nothing"));
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{} is not found", form.name);
            assert!(said.contains(&format!("error: kit::end leaks: host stderr: {what}, ")), "{said}");
            assert!(!said.contains(SECRET) && !said.contains(MARK), "{said}");
        }
    }
}

#[test]
fn what_tests_write_themselves_is_searched_and_skips_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), b"nothing of the kind\n");
    let clean = report(folder.path(), "skipped: X names a server, and it is of no use\nfine");
    let output = search(folder.path(), &clean);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("skipped 1 test: X names a server, and it is of no use\n  kit talks\n"), "{said}");
    assert!(said.contains("2 texts for 3 secrets") && said.contains(": 0 found"), "{said}");

    let output = search(folder.path(), &report(folder.path(), &format!("panicked: {SECRET:?}")));
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("error: kit talks: the test's own output: the password"));
}
