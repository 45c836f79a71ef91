//! A changed WIT needs a new version.
//!
//! `wit/versions/VERSION.txt` keeps the contract of each version: the text of all files without comments, one item a line.
//! Documentation may be improved at any time; a change of anything else fails the check until the version is a new one.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::say;

/// Compares the files with the contract recorded for their version.
pub fn check(folder: &Path) -> Result<()> {
    let contract = Contract::read(folder)?;
    let file = folder.join("versions").join(format!("{}.txt", contract.version));
    let recorded = match fs::read_to_string(&file) {
        Ok(recorded) => recorded,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => bail!(
            "wit/ is of version {}, which is not recorded\nhint: `cargo xtask record-wit` records it",
            contract.version
        ),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    if recorded == contract.text {
        return Ok(());
    }
    bail!(
        "wit/ has changed, but its version is still {}:\n{}hint: give every `package` line of wit/*.wit a new version, then \
         run `cargo xtask record-wit`",
        contract.version,
        first_difference(&recorded, &contract.text)
    )
}

/// Records the contract of a version that is not recorded yet.
pub fn record(folder: &Path) -> Result<()> {
    let contract = Contract::read(folder)?;
    let versions = folder.join("versions");
    let file = versions.join(format!("{}.txt", contract.version));
    if file.exists() {
        check(folder)?;
        say(&format!("version {} is recorded already", contract.version));
        return Ok(());
    }
    fs::create_dir_all(&versions).with_context(|| format!("cannot create {}", versions.display()))?;
    fs::write(&file, &contract.text).with_context(|| format!("cannot write {}", file.display()))?;
    say(&format!("recorded {}", file.display()));
    Ok(())
}

/// What the files of a package fix, comments and layout aside.
struct Contract {
    version: String,
    text: String,
}

impl Contract {
    fn read(folder: &Path) -> Result<Self> {
        let entries = fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))?;
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.with_context(|| format!("cannot read the folder {}", folder.display()))?.path();
            if path.extension().is_some_and(|extension| extension == "wit") {
                files.push(path);
            }
        }
        files.sort();
        let mut version: Option<String> = None;
        let mut text = String::new();
        for file in &files {
            let source = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            let normal = normal_form(&source).with_context(|| format!("in {}", file.display()))?;
            let own = package_version(&normal)
                .with_context(|| format!("{} does not start with `package NAME@VERSION;`", file.display()))?;
            match &version {
                Some(version) if *version != own => {
                    bail!("{} is of version {own}, the files before it of {version}", file.display())
                }
                _ => version = Some(own),
            }
            text.push_str(&normal);
        }
        let version = version.with_context(|| format!("there is no .wit file in {}", folder.display()))?;
        Ok(Self { version, text })
    }
}

fn package_version(normal: &str) -> Option<String> {
    let package = normal.lines().next()?.strip_prefix("package ")?.strip_suffix(';')?;
    let (_, version) = package.split_once('@')?;
    let version: String = version.split_whitespace().collect();
    let fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
    (!version.is_empty() && version.chars().all(fit)).then_some(version)
}

/// The text without comments; blanks collapse to one, and a line ends after `;`, `,`, `{` and `}`.
fn normal_form(source: &str) -> Result<String> {
    let mut normal = String::new();
    let mut rest = source;
    let mut blank = false;
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
            continue;
        }
        if rest.starts_with("/*") {
            rest = after_block_comment(rest)?;
            blank = true;
            continue;
        }
        rest = &rest[c.len_utf8()..];
        if c.is_whitespace() {
            blank = true;
            continue;
        }
        if blank && !normal.is_empty() && !normal.ends_with('\n') {
            normal.push(' ');
        }
        blank = false;
        normal.push(c);
        if matches!(c, ';' | ',' | '{' | '}') {
            normal.push('\n');
        }
    }
    if !normal.ends_with('\n') {
        normal.push('\n');
    }
    Ok(normal)
}

/// What follows the block comment `text` starts with; block comments nest.
fn after_block_comment(text: &str) -> Result<&str> {
    let mut depth = 0_u32;
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix("/*") {
            depth += 1;
            rest = inner;
        } else if let Some(outer) = rest.strip_prefix("*/") {
            depth -= 1;
            rest = outer;
            if depth == 0 {
                return Ok(rest);
            }
        } else {
            let mut chars = rest.chars();
            chars.next();
            rest = chars.as_str();
        }
    }
    bail!("a block comment does not end")
}

fn first_difference(recorded: &str, now: &str) -> String {
    let mut recorded = recorded.lines();
    let mut now = now.lines();
    loop {
        match (recorded.next(), now.next()) {
            (Some(old), Some(new)) if old == new => {}
            (None, None) => return String::new(),
            (old, new) => {
                let line =
                    |sign: char, text: Option<&str>| text.map_or(String::new(), |text| format!("  {sign} {text}\n"));
                return line('-', old) + &line('+', new);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    const TYPES: &str = "package a:b@1.2.3;\n/// Docs.\ninterface types {\n  record r { a: string, b: u8 }\n}\n";

    #[test]
    fn comments_and_layout_may_change() {
        let wit = folder(&[("types.wit", TYPES)]);
        record(wit.path()).unwrap();
        let other = "package a:b@1.2.3; // end\ninterface  types { /* a /* nested */ one */ record r {\n a: string,\n b: u8 } }";
        fs::write(wit.path().join("types.wit"), other).unwrap();
        check(wit.path()).unwrap();
    }

    #[test]
    fn a_change_without_a_new_version_is_shown() {
        let wit = folder(&[("types.wit", TYPES)]);
        record(wit.path()).unwrap();
        fs::write(wit.path().join("types.wit"), TYPES.replace("b: u8", "b: u16")).unwrap();
        let error = check(wit.path()).unwrap_err().to_string();
        assert!(error.contains("still 1.2.3") && error.contains("- b: u8") && error.contains("+ b: u16"), "{error}");
        assert!(record(wit.path()).is_err(), "a recorded version is not replaced");
        fs::write(wit.path().join("types.wit"), TYPES.replace("b: u8", "b: u16").replace("1.2.3", "1.3.0")).unwrap();
        assert!(check(wit.path()).unwrap_err().to_string().contains("not recorded"));
        record(wit.path()).unwrap();
        check(wit.path()).unwrap();
    }

    #[test]
    fn a_new_item_in_a_new_file_is_a_change() {
        let wit = folder(&[("types.wit", TYPES)]);
        record(wit.path()).unwrap();
        fs::write(wit.path().join("more.wit"), "package a:b@1.2.3;\ninterface more {}\n").unwrap();
        assert!(check(wit.path()).is_err());
    }

    #[test]
    fn all_files_are_of_one_version() {
        let wit = folder(&[("a.wit", TYPES), ("b.wit", "package a:b@2.0.0;\n")]);
        assert!(check(wit.path()).unwrap_err().to_string().contains("2.0.0"));
        let wit = folder(&[("a.wit", "interface x {}\n")]);
        assert!(check(wit.path()).unwrap_err().to_string().contains("package NAME@VERSION"));
        assert!(check(folder(&[]).path()).is_err());
        assert!(check(folder(&[("a.wit", "package a:b@1.0.0; /* open")]).path()).is_err());
    }

    #[test]
    fn the_wit_of_this_checkout_is_recorded() {
        check(&crate::root().unwrap().join("wit")).unwrap();
    }
}
