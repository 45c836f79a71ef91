//! The search itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::path::Path;

use crate::{CANARIES, Form, MARK, OUTPUT, forms, junit};

/// Something that was written, and by which test.
#[derive(Debug, Clone)]
pub struct Written {
    /// The test.
    pub test: String,
    /// Where it stands.
    pub place: String,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// A secret where none may be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leak {
    /// The test.
    pub test: String,
    /// Where it stands.
    pub place: String,
    /// What it is.
    pub what: String,
    /// In which form.
    pub form: String,
}

/// Every form of every secret.
pub struct Search {
    /// Patterns by their first bytes; each is longer than that.
    patterns: HashMap<[u8; HEAD_BYTES], Vec<Pattern>>,
    /// How many forms are looked for.
    pub forms: usize,
    /// How many different secrets there are, the mark included.
    pub secrets: usize,
}

/// Bytes that say whether a longer look is worth it.
const HEAD_BYTES: usize = 4;

struct Pattern {
    what: String,
    form: String,
    bytes: Vec<u8>,
}

impl Search {
    /// A search for these secrets (what each is, and its bytes), and for the mark.
    #[must_use]
    pub fn new(secrets: &[(String, Vec<u8>)]) -> Self {
        let mut all: BTreeMap<Vec<u8>, String> = BTreeMap::new();
        all.insert(MARK.as_bytes().to_vec(), "a canary password".to_owned());
        for (what, secret) in secrets {
            all.entry(secret.clone()).or_insert_with(|| what.clone());
        }
        let mut search = Self { patterns: HashMap::new(), forms: 0, secrets: all.len() };
        for (secret, what) in &all {
            for Form { name, bytes } in forms(secret) {
                let Some(head) = bytes.first_chunk().copied() else { continue };
                search.forms += 1;
                let pattern = Pattern { what: what.clone(), form: name, bytes };
                search.patterns.entry(head).or_default().push(pattern);
            }
        }
        search
    }

    /// What is found in one text.
    #[must_use]
    pub fn leaks(&self, written: &Written) -> BTreeSet<Leak> {
        let mut leaks = BTreeSet::new();
        for at in 0..written.bytes.len() {
            let rest = &written.bytes[at..];
            let Some(patterns) = rest.first_chunk().and_then(|head| self.patterns.get(head)) else { continue };
            leaks.extend(patterns.iter().filter(|pattern| rest.starts_with(&pattern.bytes)).map(|pattern| Leak {
                test: written.test.clone(),
                place: written.place.clone(),
                what: pattern.what.clone(),
                form: pattern.form.clone(),
            }));
        }
        leaks
    }
}

/// The canary secrets that tests have registered in a folder.
///
/// # Errors
/// The file cannot be read.
pub fn canaries(folder: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let text = match fs::read_to_string(folder.join(CANARIES)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        other => other?,
    };
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let secret = |line: &str| {
        let (hex, what) = line.split_once('\t')?;
        Some((what.to_owned(), hex.as_bytes().chunks(2).map(byte).collect::<Option<Vec<u8>>>()?))
    };
    text.lines()
        .map(|line| secret(line).ok_or_else(|| io::Error::other("a broken line in the list of secrets")))
        .collect()
}

/// What processes of tests have written, as it was kept in a folder.
///
/// # Errors
/// A file cannot be read.
pub fn kept(folder: &Path) -> io::Result<Vec<Written>> {
    let mut all = Vec::new();
    let output = folder.join(OUTPUT);
    if !output.exists() {
        return Ok(all);
    }
    for test in fs::read_dir(output)? {
        for file in fs::read_dir(test?.path())? {
            let path = file?.path();
            let whole = fs::read(&path)?;
            let end = whole.iter().position(|byte| *byte == b'\n').unwrap_or(whole.len());
            let test = String::from_utf8_lossy(&whole[..end]).into_owned();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // `process-number-what`
            let place = name.splitn(3, '-').nth(2).unwrap_or(&name).replace('_', " ");
            all.push(Written { test, place, bytes: whole[end..].to_vec() });
        }
    }
    Ok(all)
}

/// What tests have written themselves, from a JUnit report.
///
/// # Errors
/// It cannot be read, or is none.
pub fn reported(report: &Path) -> io::Result<Vec<Written>> {
    let tests = junit::read(&fs::read_to_string(report)?).map_err(io::Error::other)?;
    let written = |test: junit::TestOutput| Written {
        test: test.test,
        place: "the test's own output".to_owned(),
        bytes: test.text.into_bytes(),
    };
    Ok(tests.into_iter().map(written).collect())
}

/// Why tests were skipped: the reason, and which tests.
pub fn skipped(written: &[Written]) -> BTreeMap<String, BTreeSet<String>> {
    let mut skipped: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for written in written {
        for line in String::from_utf8_lossy(&written.bytes).lines() {
            if let Some(reason) = line.strip_prefix("skipped: ") {
                skipped.entry(reason.to_owned()).or_default().insert(written.test.clone());
            }
        }
    }
    skipped
}
