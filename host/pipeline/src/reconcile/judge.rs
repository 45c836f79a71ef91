//! What several looks at a table say together: a row that changes while it is compared is no difference.

use std::collections::HashMap;
use std::sync::Arc;

use datakit_model::Failure;

use super::Reconciliation;
use super::compare::{DifferingKey, Found, MAX_REMEMBERED};
use super::error::ReconcileError;
use super::held::Held;
use super::look::{Compared, Look, Subject, Wanted};
use super::report::{Reconciled, Shown};
use crate::retry;

/// What is known after some looks.
struct Judged {
    look: Look,
    looks: u32,
    changing: u64,
    pending: u64,
    notes: Vec<String>,
}

/// Looks at a table as often as is needed.
pub(super) async fn judged(subject: &Subject, how: &Reconciliation) -> Result<Reconciled, Failure> {
    let look = looked(subject, None).await?;
    let mut judged = Judged { look, looks: 1, changing: 0, pending: 0, notes: Vec::new() };
    judged.again(subject, how).await?;
    judged.leave_out_pending(subject).await;
    judged.reconciled(subject, how)
}

/// A look, tried again after failures that may pass.
async fn looked(subject: &Subject, wanted: Option<Wanted>) -> Result<Look, Failure> {
    let mut attempt = 1;
    loop {
        let failure = match subject.look(wanted.clone()).await {
            Ok(look) => return Ok(look),
            Err(failure) => failure,
        };
        let Some(pause) = retry::pause(&failure, attempt, &subject.job.limits) else { return Err(failure) };
        tokio::time::sleep(pause).await;
        attempt += 1;
    }
}

impl Judged {
    /// Looks again at what differs.
    async fn again(&mut self, subject: &Subject, how: &Reconciliation) -> Result<(), Failure> {
        for _ in 0..how.again {
            let wanted: Option<Wanted> = match &self.look.result {
                Compared::Keys(found) if found.keys.total() == 0 => return Ok(()),
                Compared::Keys(found) if !found.is_whole() => {
                    let note = format!("more than {MAX_REMEMBERED} keys differ: they were not looked at again");
                    self.notes.push(note);
                    return Ok(());
                }
                Compared::Keys(found) => Some(Arc::new(found.differing.iter().map(|it| it.key.clone()).collect())),
                Compared::Whole(source, sink) if is_equal(source, sink) => return Ok(()),
                Compared::Whole(..) => None,
            };
            tokio::time::sleep(how.pause).await;
            let next = looked(subject, wanted).await?;
            self.looks += 1;
            self.take(subject, next)?;
        }
        Ok(())
    }

    fn take(&mut self, subject: &Subject, next: Look) -> Result<(), Failure> {
        let before = std::mem::replace(&mut self.look, next);
        match (before.result, &mut self.look.result) {
            (Compared::Keys(before), Compared::Keys(next)) => {
                let (kept, changing) = unchanged(&before, std::mem::take(&mut next.differing));
                self.changing += changing;
                *next = before.only(kept);
            }
            (Compared::Whole(before, _), Compared::Whole(source, sink)) => {
                if !is_equal(source, sink) && *source != before {
                    let (table, what) = (subject.id().to_string(), "its rows changed in the source meanwhile");
                    return Err(ReconcileError::Moving { table, what }.into());
                }
            }
            _ => return Err(subject.crashed("two looks compared in different ways")),
        }
        Ok(())
    }

    /// What the next load would read is no difference yet.
    async fn leave_out_pending(&mut self, subject: &Subject) {
        let Compared::Keys(found) = &self.look.result else { return };
        if found.keys.total() == 0 || !found.is_whole() {
            return;
        }
        let pending = match subject.pending(&self.look).await {
            Ok(Some(pending)) => pending,
            Ok(None) => return,
            Err(failure) => {
                let note = format!("the changes since the last load could not be read: {}: {failure}", failure.code());
                return self.notes.push(note);
            }
        };
        let Compared::Keys(found) = &mut self.look.result else { return };
        let all = std::mem::take(found);
        let (left_out, kept): (Vec<_>, Vec<_>) =
            all.differing.iter().cloned().partition(|it| pending.contains(&it.key));
        self.pending = left_out.len() as u64;
        *found = all.only(kept);
    }

    fn reconciled(self, subject: &Subject, how: &Reconciliation) -> Result<Reconciled, Failure> {
        let Self { look, looks, changing, pending, mut notes } = self;
        let Look { result, comparable, rows, not_in_sink, document, is_filtered, note } = look;
        notes.extend(note);
        if is_filtered {
            notes.push("row-level security of the source left out rows, or may have".to_owned());
        }
        let key = comparable.keys.iter().filter_map(|key| Some(comparable.fields.get(*key)?.name().clone()));
        let shown = Shown { comparable: &comparable, is_masked: how.masks_keys };
        let values_failed = |error| subject.values_failed(error);
        let (found, is_equal) = match result {
            Compared::Keys(found) => {
                let is_equal = found.keys.total() == 0;
                (found, is_equal)
            }
            Compared::Whole(source, sink) => {
                let (source_rows, sink_rows) = (source.rows, sink.rows);
                (Found { source_rows, sink_rows, ..Found::default() }, is_equal(&source, &sink))
            }
        };
        Ok(Reconciled {
            table: subject.id().to_string(),
            target: subject.target.clone(),
            is_equal,
            scope: rows.scope,
            key: key.collect(),
            columns: comparable.fields.len(),
            not_in_sink,
            source_rows: found.source_rows,
            sink_rows: found.sink_rows,
            keys: found.keys,
            changing,
            pending,
            incomplete: found.incomplete,
            looks,
            ranges: shown.ranges(&found).map_err(values_failed)?,
            more_ranges: found.more_ranges,
            examples: shown.examples(&found).map_err(values_failed)?,
            last_run_id: document.map(|document| document.load.run_id),
            notes,
        })
    }
}

/// Those keys of a later look whose row in the source is as it was, and how many others there are.
fn unchanged(before: &Found, later: Vec<DifferingKey>) -> (Vec<DifferingKey>, u64) {
    let known: HashMap<&[u8], &Held> = before.differing.iter().map(|it| (it.key.as_slice(), &it.source)).collect();
    let is_same = |it: &DifferingKey| known.get(it.key.as_slice()).is_some_and(|held| is_same(held, &it.source));
    let (kept, changed): (Vec<_>, Vec<_>) = later.into_iter().partition(is_same);
    (kept, changed.len() as u64)
}

/// Whether a row is as it was: a later look may have more hashes of it.
fn is_same(before: &Held, later: &Held) -> bool {
    before.rows == later.rows && before.lanes.iter().zip(&later.lanes).all(|(one, other)| one == other)
}

fn is_equal(source: &Held, sink: &Held) -> bool {
    source.rows == sink.rows && source.differing(sink).is_empty()
}

impl Reconciled {
    /// The error of a table that differs.
    pub(super) fn failure(&self) -> Option<Failure> {
        if self.is_equal {
            return None;
        }
        let (table, target) = (self.table.clone(), self.target.clone());
        let found = match (self.key.is_empty(), self.source_rows == self.sink_rows) {
            (false, _) => ReconcileError::keys(self.keys, self.ranges.len() as u64 + self.more_ranges),
            (true, false) => format!("the source has {} rows, and the sink {}", self.source_rows, self.sink_rows),
            (true, true) => format!("the source has other values in its {} rows", self.source_rows),
        };
        Some(ReconcileError::Different { table, target, found }.into())
    }
}

#[cfg(test)]
mod tests {
    use super::super::compare::Difference;
    use super::*;

    fn key(key: u8, rows: u64, lanes: &[u64]) -> DifferingKey {
        let source = Held { rows, lanes: lanes.to_vec(), unknown: vec![false; lanes.len()] };
        DifferingKey { key: vec![key], difference: Difference::Different, source, lanes: Vec::new(), range: 0 }
    }

    #[test]
    fn row_that_changes_in_the_source_between_two_looks_is_not_judged() {
        let differing = vec![key(1, 1, &[5, 6]), key(2, 1, &[7, 8]), key(3, 0, &[]), key(4, 0, &[])];
        let before = Found { differing, ..Found::default() };
        let later = vec![key(1, 1, &[5, 6, 100]), key(2, 1, &[7, 9, 100]), key(3, 0, &[]), key(4, 1, &[1, 1, 1])];
        let (kept, changing) = unchanged(&before, later);
        assert_eq!((kept.iter().map(|it| it.key[0]).collect::<Vec<_>>(), changing), (vec![1, 3], 2));
    }

    #[test]
    fn other_values_are_found_without_a_key_too() {
        let held = |rows, lane| Held { rows, lanes: vec![lane, 0], unknown: vec![false; 2] };
        assert!(is_equal(&held(2, 1), &held(2, 1)));
        assert!(!is_equal(&held(2, 1), &held(2, 2)) && !is_equal(&held(2, 1), &held(3, 1)));
    }
}
