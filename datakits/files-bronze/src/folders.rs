//! Folders that are columns: `dt=2026-01-01/region=eu/`.

use datakit_sdk::Error;

use crate::errors;
use crate::listing::SourceFile;
use crate::settings::{PartitionRule, TableOptions};

/// Stands for null in the name of a folder.
const NULL_FOLDER: &str = "__HIVE_DEFAULT_PARTITION__";

/// Names and values of a path's folders, in their order.
#[must_use]
pub fn values(path: &str) -> Vec<(String, Option<String>)> {
    let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders);
    folders
        .split('/')
        .filter_map(|folder| folder.split_once('='))
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| (unescaped(name), (value != NULL_FOLDER).then(|| unescaped(value))))
        .collect()
}

/// `%3A` is a colon: Hive writes so what a path does not hold.
fn unescaped(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                plain.push(byte);
                at += 3;
            }
            None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(plain).unwrap_or_else(|_| text.to_owned())
}

/// The names of all columns that folders make, in the order of their appearance.
#[must_use]
pub fn names(files: &[SourceFile]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for file in files {
        for (name, _) in values(&file.path) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names
}

/// The values of one file for these columns.
///
/// # Errors
/// A path that names one of them twice.
pub fn constants(path: &str, names: &[String]) -> Result<Vec<Option<String>>, Error> {
    let found = values(path);
    names
        .iter()
        .map(|name| {
            let mut values = found.iter().filter(|(of, _)| of == name).map(|(_, value)| value.clone());
            match (values.next(), values.next()) {
                (_, Some(_)) => {
                    let message = format!("the folders of `{path}` have two values for `{name}`");
                    Err(Error::config(errors::COLUMN_TWICE, message).with_hint("set `hive_partitions = false`"))
                }
                (value, None) => Ok(value.flatten()),
            }
        })
        .collect()
}

/// Whether the settings let a file's folders be read.
#[must_use]
pub fn are_wanted(path: &str, options: &TableOptions) -> bool {
    let Some(rules) = &options.partitions else { return true };
    let found = values(path);
    rules.iter().all(|(name, rule)| {
        let value = found.iter().find(|(of, _)| of == name).and_then(|(_, value)| value.as_deref());
        value.is_some_and(|value| fits(value, rule))
    })
}

fn fits(value: &str, rule: &PartitionRule) -> bool {
    rule.from.as_deref().is_none_or(|from| value >= from)
        && rule.before.as_deref().is_none_or(|before| value < before)
        && rule.values.as_ref().is_none_or(|values| values.iter().any(|wanted| wanted == value))
}

#[cfg(test)]
mod tests {
    use datakit_sdk::datakit::parse_settings;

    use super::*;

    #[test]
    fn folders_are_values() {
        let some = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
        assert_eq!(values("t/dt=2026-01-01/at=10%3A30/x=y.csv"), [some("dt", "2026-01-01"), some("at", "10:30")]);
        assert_eq!(values("t/a=__HIVE_DEFAULT_PARTITION__/f"), [("a".to_owned(), None)]);
        assert_eq!(values("t/=x/a=%zz/%ff=1/f"), [some("a", "%zz"), some("%ff", "1")]);
        assert_eq!(values("f.csv"), []);
        assert_eq!(constants("t/a=1/f", &["b".into(), "a".into()]).unwrap(), [None, Some("1".into())]);
        assert!(constants("a=1/a=2/f", &["a".into()]).is_err());
    }

    #[test]
    fn rules_choose_folders() {
        let options: TableOptions = parse_settings(
            r#"{"partitions": {"dt": {"from": "2026-01-02", "before": "2026-02-01"}, "region": {"values": ["eu", "us"]}}}"#,
        )
        .unwrap();
        let wanted = |path: &str| are_wanted(path, &options);
        assert!(wanted("dt=2026-01-02/region=eu/f"));
        assert!(!wanted("dt=2026-02-01/region=eu/f"));
        assert!(!wanted("dt=2026-01-02/region=cn/f"));
        assert!(!wanted("dt=2026-01-02/f"), "no folder is no value");
        assert!(are_wanted("f", &TableOptions::default()));
    }
}
