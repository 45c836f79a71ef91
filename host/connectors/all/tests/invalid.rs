//! Every invalid warehouse file is a pair: `NAME.toml`, and `NAME.err` with all its errors. `INSTA_UPDATE=always` rewrites them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use datakit_config::{ConfigErrors, Layers, Place, load};
use datakit_model::Diagnostic;

const FOLDER: &str = "tests/invalid";

fn render(errors: &ConfigErrors) -> String {
    let mut text = String::new();
    for error in errors.errors() {
        writeln!(text, "error[{}]: {error}", error.code()).unwrap();
        if let Some(place) = error.place() {
            writeln!(text, "  --> {place}").unwrap();
            if let Place::File(location) = place {
                location.lines().iter().for_each(|line| writeln!(text, "  {line}").unwrap());
            }
        }
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            writeln!(text, "  cause: {error}").unwrap();
            cause = error.source();
        }
        if let Some(hint) = error.hint() {
            writeln!(text, "  hint: {hint}").unwrap();
        }
        text.push('\n');
    }
    text
}

/// `# environment: A=B C=D` in the first line.
fn environment(text: &str) -> BTreeMap<String, String> {
    let Some(line) = text.lines().next().and_then(|line| line.strip_prefix("# environment: ")) else {
        return BTreeMap::new();
    };
    line.split(' ').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

fn errors_of(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let layers = Layers { file: Some(file.to_path_buf()), environment: environment(&text), ..Layers::default() };
    match load(&layers, &datakit_connectors::kinds()) {
        Ok(_) => panic!("{} has no error", file.display()),
        Err(errors) => {
            // What derives Debug reaches logs.
            assert_holds_no_secret(&format!("{errors:?} {errors}"), file);
            render(&errors)
        }
    }
}

fn assert_holds_no_secret(text: &str, file: &Path) {
    for secret in ["Pl4nted", "48151623"] {
        assert!(!text.contains(secret), "{} shows its secret:\n{text}", file.display());
    }
}

#[test]
fn every_invalid_file_says_what_is_wrong_with_it() {
    let mut files: Vec<PathBuf> = std::fs::read_dir(FOLDER).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    assert!(files.len() > 30, "the files are gone");
    let mut changed = Vec::new();
    for file in &files {
        let found = errors_of(file);
        assert_holds_no_secret(&found, file);
        let golden = file.with_extension("err");
        if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
            std::fs::write(&golden, &found).unwrap();
        } else if std::fs::read_to_string(&golden).unwrap_or_default() != found {
            changed.push(format!("{}:\n{found}", golden.display()));
        }
    }
    assert!(changed.is_empty(), "INSTA_UPDATE=always rewrites these:\n\n{}", changed.join("\n"));
}
