//! Turns of phrase that stop a reader, by file and line.
//!
//! The list is `scripts/xtask/prose.toml`. It is short, and says for each turn what to write instead. No linter of prose reads WIT, or is
//! there to be installed without a network of its own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use regex::Regex;
use serde::Deserialize;

use crate::say;

const LIST: &str = "scripts/xtask/prose.toml";
/// Single files, and folders with the ending of their files.
const FILES: [&str; 3] = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"];
const FOLDERS: [(&str, &str); 2] = [("docs", "md"), ("wit", "wit")];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    turn: Vec<Listed>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Listed {
    turn: String,
    say: String,
}

struct Turn {
    regex: Regex,
    say: String,
}

/// Reports every turn of the list, each with its file and line.
///
/// # Errors
/// There is one; the list or a file cannot be read.
pub fn check(root: &Path) -> Result<()> {
    let read = |path: &Path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
    let turns = turns(&read(&root.join(LIST))?)?;
    let mut found = Vec::new();
    for file in files(root)? {
        let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
        found.extend(find(&turns, &read(&file)?).into_iter().map(|turn| format!("{name}:{turn}")));
    }
    found.iter().for_each(|turn| say(turn));
    match found.len() {
        0 => Ok(()),
        count => bail!("{count} turns of phrase that {LIST} lists"),
    }
}

fn turns(list: &str) -> Result<Vec<Turn>> {
    let list: List = toml::from_str(list).context(LIST)?;
    let compiled = list.turn.into_iter().map(|listed| {
        let regex = Regex::new(&format!("(?i-u){}", listed.turn)).context(LIST)?;
        Ok(Turn { regex, say: listed.say })
    });
    compiled.collect()
}

fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = FILES.iter().map(|name| root.join(name)).collect();
    for (folder, ending) in FOLDERS {
        let folder = root.join(folder);
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let path = entry.with_context(|| format!("cannot list {}", folder.display()))?.path();
            if path.extension().is_some_and(|extension| extension == ending) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

/// `LINE: "the turn": what to say`.
fn find(turns: &[Turn], text: &str) -> Vec<String> {
    let (mut found, mut is_code) = (Vec::new(), false);
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code {
            continue;
        }
        let prose = without_code(line);
        for turn in turns {
            for hit in turn.regex.find_iter(&prose) {
                found.push(format!("{}: \"{}\": {}", number + 1, hit.as_str().trim(), turn.say));
            }
        }
    }
    found
}

/// The line with a blank for each span between backticks.
fn without_code(line: &str) -> String {
    let outside = line.split('`').enumerate().filter(|(at, _)| at % 2 == 0);
    outside.map(|(_, prose)| prose).collect::<Vec<_>>().join("`")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "[[turn]]\nturn = '\\bby turns\\b'\nsay = \"in rotation\"";

    fn found(text: &str) -> Vec<String> {
        find(&turns(LISTED).unwrap(), text)
    }

    #[test]
    fn turn_is_reported_with_its_line_and_what_to_say() {
        assert_eq!(found("# KDCs\n\nThe host asks them By turns."), ["3: \"By turns\": in rotation"]);
        assert_eq!(found("by turns, and by turns").len(), 2);
        assert_eq!(found("in nearby turns"), [""; 0], "part of a word");
    }

    #[test]
    fn code_is_no_prose() {
        assert_eq!(found("Set `by turns` or ``` by turns"), [""; 0]);
        assert_eq!(found("```text\nby turns\n```\nby turns"), ["4: \"by turns\": in rotation"]);
    }

    #[test]
    fn list_is_valid() {
        let list = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("prose.toml")).unwrap();
        assert!(!turns(&list).unwrap().is_empty());
        assert!(turns("[[turn]]\nturn = '('\nsay = \"\"").is_err());
    }
}
