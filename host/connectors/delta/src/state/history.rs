//! What other writers have done to a table's rows since a commit, by the log.

use std::collections::BTreeSet;

use deltalake::DeltaTableError;
use deltalake::logstore::LogStoreRef;
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Deserialize;

/// Log entries that are read at one time.
const MAX_READS: usize = 16;

/// What has become of the rows of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum History {
    /// They are there: others have added rows or rewritten files, at most.
    Kept,
    /// The table was restored to another version.
    Restored {
        /// By this version.
        by: u64,
        /// The version of the commit.
        commit: u64,
    },
    /// The table was replaced by another one.
    Replaced {
        /// By this version.
        by: u64,
    },
    /// Files with rows were removed, or replaced by files with others.
    Removed {
        /// The first version that did so.
        by: u64,
        /// How many.
        files: usize,
        /// The version of the commit.
        commit: u64,
    },
    /// Entries are gone, or none of them is the commit.
    Unknown,
}

/// Reads the entries from `first` to `last`, among which the commit is that `txn` of this application names by its number.
pub(crate) async fn since(
    log: &LogStoreRef,
    (app_id, number): (&str, i64),
    (first, last): (u64, u64),
) -> Result<History, DeltaTableError> {
    let reads = futures::stream::iter(first..=last).map(|version| async move {
        let entry = log.read_commit_entry(version).await?;
        Ok::<_, DeltaTableError>((version, entry))
    });
    let mut entries = reads.buffered(MAX_READS);
    let mut rows = Rows::default();
    while let Some((version, entry)) = entries.try_next().await? {
        let Some(entry) = entry else { return Ok(History::Unknown) };
        let entry = Entry::parse(&entry)?;
        match rows.commit {
            None if entry.names(app_id, number) => rows.commit = Some(version),
            None => {}
            Some(commit) => rows.apply(commit, version, &entry),
        }
    }
    Ok(rows.history())
}

/// Whether a complete log from `first` to `last` has no commit of this application. False also where entries are gone.
pub(crate) async fn never_committed(
    log: &LogStoreRef,
    app_id: &str,
    (first, last): (u64, u64),
) -> Result<bool, DeltaTableError> {
    for version in first..=last {
        let Some(entry) = log.read_commit_entry(version).await? else { return Ok(false) };
        if Entry::parse(&entry)?.transactions.iter().any(|transaction| transaction.app_id == app_id) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The data files that an entry adds or removes.
pub(crate) fn files_of_entry(bytes: &[u8]) -> Result<Vec<String>, DeltaTableError> {
    let Entry { adds, removes, .. } = Entry::parse(bytes)?;
    Ok(adds.into_iter().chain(removes).map(|file| file.path).collect())
}

/// What a log entry says that counts here.
#[derive(Debug, Default)]
struct Entry {
    operation: Option<Operation>,
    transactions: Vec<Transaction>,
    adds: Vec<File>,
    removes: Vec<File>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Action {
    commit_info: Option<Operation>,
    txn: Option<Transaction>,
    add: Option<File>,
    remove: Option<File>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Operation {
    #[serde(default)]
    operation: Option<String>,
    #[serde(default)]
    operation_parameters: serde_json::Value,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Transaction {
    app_id: String,
    version: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    path: String,
    /// Whoever leaves it out says nothing of rows that stay the same.
    #[serde(default = "yes")]
    data_change: bool,
}

fn yes() -> bool {
    true
}

impl Entry {
    fn parse(bytes: &[u8]) -> Result<Self, DeltaTableError> {
        let mut entry = Self::default();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            let action: Action = serde_json::from_slice(line)?;
            entry.operation = action.commit_info.or(entry.operation);
            entry.transactions.extend(action.txn);
            entry.adds.extend(action.add);
            entry.removes.extend(action.remove);
        }
        Ok(entry)
    }

    fn names(&self, app_id: &str, number: i64) -> bool {
        self.transactions.iter().any(|transaction| transaction.app_id == app_id && transaction.version == number)
    }

    fn operation(&self) -> &str {
        self.operation.as_ref().and_then(|operation| operation.operation.as_deref()).unwrap_or_default()
    }

    /// The version that a RESTORE names; none where it names a time.
    fn restored_version(&self) -> Option<u64> {
        let version = self.operation.as_ref()?.operation_parameters.get("version")?;
        version.as_u64().or_else(|| version.as_str()?.parse().ok())
    }
}

/// The rows of the commit, entry by entry.
#[derive(Debug, Default)]
struct Rows {
    /// The version of the commit.
    commit: Option<u64>,
    restored: Option<u64>,
    replaced: Option<u64>,
    /// Files with rows of the commit or of earlier ones that were removed, and the first version that did so.
    lost: BTreeSet<String>,
    lost_by: Option<u64>,
    /// Files with rows that others have added since: nobody's loss.
    foreign: BTreeSet<String>,
}

impl Rows {
    fn apply(&mut self, commit: u64, version: u64, entry: &Entry) {
        if entry.operation() == "RESTORE" {
            if entry.restored_version() == Some(commit) {
                // As the commit left it.
                *self = Self { commit: Some(commit), ..Self::default() };
                return;
            }
            self.restored.get_or_insert(version);
        }
        if entry.operation().contains("REPLACE TABLE") {
            self.replaced.get_or_insert(version);
        }
        let mut removed_here = BTreeSet::new();
        for file in entry.removes.iter().filter(|file| file.data_change) {
            if !self.foreign.remove(&file.path) {
                self.lost.insert(file.path.clone());
                self.lost_by.get_or_insert(version);
                removed_here.insert(file.path.as_str());
            }
        }
        for file in &entry.adds {
            // A file that is removed and added in one entry has other rows now: those that a deletion vector leaves.
            if removed_here.contains(file.path.as_str()) || self.lost.remove(&file.path) {
                continue;
            }
            if file.data_change {
                self.foreign.insert(file.path.clone());
            }
        }
    }

    fn history(&self) -> History {
        let Some(commit) = self.commit else { return History::Unknown };
        match (self.replaced, self.restored, self.lost_by) {
            (Some(by), ..) => History::Replaced { by },
            (None, Some(by), _) => History::Restored { by, commit },
            (None, None, Some(by)) if !self.lost.is_empty() => History::Removed { by, files: self.lost.len(), commit },
            _ => History::Kept,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn history(entries: &[&[Value]]) -> History {
        let mut rows = Rows { commit: Some(4), ..Rows::default() };
        for (version, actions) in (5..).zip(entries) {
            let text: String = actions.iter().map(|action| format!("{action}\n")).collect();
            rows.apply(4, version, &Entry::parse(text.as_bytes()).unwrap());
        }
        rows.history()
    }

    fn add(path: &str, data_change: bool) -> Value {
        json!({ "add": { "path": path, "dataChange": data_change } })
    }

    fn remove(path: &str, data_change: bool) -> Value {
        json!({ "remove": { "path": path, "dataChange": data_change } })
    }

    fn operation(name: &str, version: &Value) -> Value {
        json!({ "commitInfo": { "operation": name, "operationParameters": { "version": version } } })
    }

    #[test]
    fn appends_and_rewrites_of_others_keep_the_rows() {
        assert_eq!(history(&[]), History::Kept);
        assert_eq!(history(&[&[add("theirs", true)], &[remove("theirs", true)]]), History::Kept);
        let optimized = [remove("ours", false), remove("theirs", false), add("both", false)];
        assert_eq!(history(&[&[add("theirs", true)], &optimized]), History::Kept);
        assert_eq!(history(&[&[operation("REPLACE COLUMNS", &Value::Null)]]), History::Kept);
    }

    #[test]
    fn removed_rows_are_noticed_also_behind_a_rewrite() {
        let removed = History::Removed { by: 5, files: 1, commit: 4 };
        assert_eq!(history(&[&[remove("ours", true)]]), removed);
        assert_eq!(history(&[&[remove("ours", true), add("ours", true)]]), removed, "a deletion vector");
        assert_eq!(history(&[&[remove("ours", true)], &[add("ours", true)]]), History::Kept, "added again as it was");
        let rewritten: &[Value] = &[remove("ours", false), add("compact", false)];
        assert_eq!(history(&[rewritten, &[remove("compact", true)]]), History::Removed { by: 6, files: 1, commit: 4 });
    }

    #[test]
    fn restore_counts_unless_it_is_to_the_commit() {
        let restored = History::Restored { by: 5, commit: 4 };
        for version in [json!(3), json!("3"), Value::Null] {
            assert_eq!(history(&[&[operation("RESTORE", &version), remove("ours", true)]]), restored, "{version}");
        }
        let back: &[Value] = &[operation("RESTORE", &json!("4")), add("ours", true)];
        assert_eq!(history(&[&[operation("RESTORE", &json!(3)), remove("ours", true)], back]), History::Kept);
        assert_eq!(
            history(&[&[operation("CREATE OR REPLACE TABLE", &Value::Null), remove("ours", true)]]),
            History::Replaced { by: 5 }
        );
    }
}
