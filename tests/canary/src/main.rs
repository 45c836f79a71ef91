//! `search-canaries FOLDER [REPORT…]`: searches what tests have written for their canary secrets, and says which tests were
//! skipped. FOLDER is what `DATAKIT_TEST_KEPT` named, each REPORT a JUnit report or, by any other ending than `.xml`, a log.
//! The exit status is 1 where a secret was found.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program of the tests that prints")]

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use datakit_canary::search::{Leak, Search, Written, canaries, kept, reported, skipped};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((folder, reports)) = arguments.split_first() else {
        eprintln!("usage: search-canaries FOLDER [REPORT…]");
        return ExitCode::from(2);
    };
    match search(Path::new(folder), reports) {
        Ok(leaks) if leaks.is_empty() => ExitCode::SUCCESS,
        Ok(leaks) => {
            for Leak { test, place, what, form } in leaks {
                eprintln!("error: {test}: {place}: {what}, {form}");
            }
            eprintln!("hint: secrets live in datakit_model::Secret; the test named shows where one got out");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: the search for canary secrets failed: {error}");
            ExitCode::from(2)
        }
    }
}

fn search(folder: &Path, reports: &[String]) -> io::Result<BTreeSet<Leak>> {
    let mut written = kept(folder)?;
    for report in reports.iter().map(Path::new) {
        if report.extension().is_some_and(|ending| ending == "xml") {
            written.extend(reported(report)?);
        } else {
            let bytes = std::fs::read(report)?;
            written.push(Written { test: "a test".to_owned(), place: report.display().to_string(), bytes });
        }
    }
    for (reason, tests) in skipped(&written) {
        println!("skipped {}: {reason}", count(tests.len(), "test"));
        tests.iter().for_each(|test| println!("  {test}"));
    }
    let search = Search::new(&canaries(folder)?);
    let bytes: usize = written.iter().map(|written| written.bytes.len()).sum();
    let leaks: BTreeSet<Leak> = written.iter().flat_map(|written| search.leaks(written)).collect();
    println!(
        "searched {:.1} MB in {} for {} in {}: {} found",
        bytes as f64 / 1e6,
        count(written.len(), "text"),
        count(search.secrets, "secret"),
        count(search.forms, "form"),
        leaks.len()
    );
    Ok(leaks)
}

fn count(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
