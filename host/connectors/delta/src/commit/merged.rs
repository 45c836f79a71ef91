//! A commit that replaces files by others: it holds for the version that the merge read, and for later ones that leave its rows
//! alone.

use std::collections::HashSet;

use datakit_connect::sink::SinkError;
use datakit_model::sink::Target;
use deltalake::protocol::{DeltaOperation, MergePredicate};

use super::{Commit, Log};
use crate::encode::DeltaRows;
use crate::merge::{Merged, TableFile};

const OTHER_COLUMNS: &str = "it created the table, or changed its columns";
const REPLACED: &str = "it removed or replaced files with rows of the same keys";
const ADDED: &str = "it added files that may hold rows of the same keys";

impl Log {
    /// The newest version, for a load that is prepared now: nothing that it was checked for has changed.
    pub(crate) async fn now(&self, form: &DeltaRows, target: &Target) -> Result<Self, SinkError> {
        let now = self.newest().await?;
        if now.held.number != self.held.number {
            return Err(SinkError::Conflict { location: self.location.clone() });
        }
        now.check(&form.partitioning.columns, target.mode)?;
        now.check_columns(self, target, &form.schema)?;
        now.state(target.mode)?;
        if now.columns() != self.columns() {
            return Err(now.conflict(OTHER_COLUMNS));
        }
        Ok(now)
    }

    fn conflict(&self, reason: &'static str) -> SinkError {
        SinkError::MergeConflict { location: self.location.clone(), reason }
    }

    /// Whether a merge that was made from the version `read` holds for this one: the columns are the same, the files that it
    /// replaces are there, and no row that was added since has a key of its load.
    pub(super) fn still_fits(&self, read: &Self, merged: &Merged) -> Result<(), SinkError> {
        if self.columns() != read.columns() {
            return Err(self.conflict(OTHER_COLUMNS));
        }
        let files = self.files();
        let now: HashSet<String> = files.iter().map(TableFile::identity).collect();
        if !merged.replaced.iter().all(|file| now.contains(&file.identity())) {
            return Err(self.conflict(REPLACED));
        }
        let is_new = |file: &&TableFile| !merged.read.contains(&file.identity());
        if files.iter().filter(is_new).any(|file| merged.ranges.may_be_in(file)) {
            return Err(self.conflict(ADDED));
        }
        Ok(())
    }
}

impl Commit<'_> {
    /// For the table's history.
    pub(super) fn merge_operation(&self) -> DeltaOperation {
        let action = |action_type: &str| MergePredicate { action_type: action_type.to_owned(), predicate: None };
        let deletes = self.target.roles.operation.as_ref().map(|_| action("delete"));
        DeltaOperation::Merge {
            predicate: None,
            merge_predicate: Some(format!("key: {}", self.target.keys.join(", "))),
            matched_predicates: deletes.into_iter().chain([action("update")]).collect(),
            not_matched_predicates: (!self.target.updates_only).then(|| action("insert")).into_iter().collect(),
            not_matched_by_source_predicates: Vec::new(),
        }
    }
}
