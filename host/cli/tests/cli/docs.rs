//! docs/command-line.md and docs/errors.md are up to date. `INSTA_UPDATE=always` rewrites the first.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::support::host;
use clap::CommandFactory;
use datakit_cli::Arguments;

const INTRODUCTION: &str = "\
# The command line

What `host --help` and the help of each command say. Written by `cargo test -p datakit-cli --test cli docs` with
`INSTA_UPDATE=always`.

- Data goes to standard output, everything else to standard error. `--output json` gives exactly one JSON document.
- On a terminal each table has a moving line; elsewhere progress is plain lines. `NO_COLOR` is heeded. With `--log-format json` all of
  standard error is JSON, an object a line with `timestamp`, `level`, `target` and `message`: log, progress and errors.
- Control characters and characters that hide or reorder text are shown by their number (`\\u{202e}`), in JSON as `\\u202e`.
- `host run` runs all ingests of the file. Its JSON document then has the keys of a run of one over all of them, `ingest` in each of
  `tables`, and `ingests`, one for each.
- Every error has a stable code ([errors.md](errors.md)), says what happened, to what, and what to do (`hint:`).
- Ctrl-C and SIGTERM stop cleanly: nothing half-done becomes visible. A second one ends the process at once, with exit
  code 130; nothing half-done becomes visible then either, but files without a commit may stay.
- Logs show no rows and no passwords: below `info`, drivers and protocol libraries log nothing, whatever the filter says.
";

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

#[test]
fn the_manual_is_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let mut page = INTRODUCTION.to_owned();
    let commands = Arguments::command();
    let names = commands.get_subcommands().flat_map(|command| {
        let name = command.get_name().to_owned();
        let inner = command.get_subcommands().map(|inner| format!("{name} {}", inner.get_name())).collect::<Vec<_>>();
        std::iter::once(name).chain(inner)
    });
    for name in std::iter::once(String::new()).chain(names) {
        let arguments: Vec<&str> = name.split_whitespace().chain(["--help"]).collect();
        let help = host(folder.path(), &arguments, &[]);
        assert_eq!(help.code, 0);
        let title = format!("host {name}").trim_end().to_owned();
        let text: String = help.stdout.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        page.push_str(&format!("\n## {title}\n\n```text\n{text}```\n"));
    }
    let path = root().join("docs/command-line.md");
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(&path, &page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "docs/command-line.md is not up to date: run this test with INSTA_UPDATE=always");
}

#[test]
fn every_code_is_documented_and_every_documented_code_exists() {
    let mut in_source = BTreeSet::new();
    for folder in ["host", "registry"] {
        collect(&root().join(folder), &mut in_source);
    }
    assert!(in_source.len() > 100, "the scan finds nothing");
    let page = std::fs::read_to_string(root().join("docs/errors.md")).unwrap();
    let documented: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `DK-")?.split('`').next())
        .map(|rest| format!("DK-{rest}"))
        .collect();
    let missing: Vec<_> = in_source.difference(&documented).collect();
    let gone: Vec<_> = documented.difference(&in_source).collect();
    assert!(missing.is_empty() && gone.is_empty(), "docs/errors.md: missing {missing:?}, of no code {gone:?}");
}

/// The quoted codes of all sources, tests aside.
fn collect(folder: &Path, codes: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "tests" | "conformance" | "target") && !name.ends_with("_tests") {
                collect(&path, codes);
            }
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") && name != "testing.rs" {
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            codes.extend(quoted_codes(code));
            codes.extend(sink_codes(code));
        }
    }
}

/// `"DK-REG-001"`
fn quoted_codes(text: &str) -> impl Iterator<Item = String> {
    text.split("\"DK-").skip(1).filter_map(|rest| {
        let code = rest.split('"').next()?;
        let (family, number) = code.split_once('-')?;
        let is_code = family.len() == 3 && number.len() == 3 && number.bytes().all(|c| c.is_ascii_digit());
        is_code.then(|| format!("DK-{code}"))
    })
}

/// Sinks number theirs in a table, `Self::Uri { .. } => (1, Kind::User),`.
fn sink_codes(text: &str) -> impl Iterator<Item = String> {
    let numbers = text.contains("\"DK-SNK-{:03}\"").then(|| text.split("=> (").skip(1)).into_iter().flatten();
    numbers.filter_map(|rest| {
        let (number, rest) = rest.split_once(',')?;
        rest.starts_with(" Kind::").then(|| number.parse::<u16>().ok().map(|number| format!("DK-SNK-{number:03}")))?
    })
}
