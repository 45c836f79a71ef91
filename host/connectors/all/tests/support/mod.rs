//! Pages of documentation with parts that are generated.

use std::path::PathBuf;

/// The folder of the pages.
pub fn docs() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs"))
}

/// Whether a page reads so; with `INSTA_UPDATE=always` it does from now on.
pub fn check(file: &str, expected: &str) {
    let path = docs().join(file);
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(&path, expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "docs/{file} is not up to date: run this test with INSTA_UPDATE=always");
}

/// Replaces what stands between `<!-- generated: NAME -->` and `<!-- end -->`.
pub fn with_generated(text: &str, name: &str, generated: &str) -> String {
    let start = format!("<!-- generated: {name} -->\n");
    let (before, rest) = text.split_once(&start).unwrap_or_else(|| panic!("no block `{name}`"));
    let (_, after) = rest.split_once("<!-- end -->").unwrap();
    format!("{before}{start}\n{generated}\n<!-- end -->{after}")
}
