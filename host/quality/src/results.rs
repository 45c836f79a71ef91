//! All partitions together: what was found of each rule.

use datakit_model::quality::{Check, RuleResult, RuleStatus, Severity};

use crate::checks::{Checks, Compiled, Test};
use crate::error::QualityError;
use crate::hashes::HeldKeys;
use crate::partition::{PartitionOutcome, Tally};
use crate::spool::Spooled;

const MICROS: i64 = 1_000_000;
const SECONDS_OF_DAY: u64 = 86_400;

/// What rules need to know of the load besides its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Start of the run, microseconds since 1970-01-01 UTC.
    pub started_at_micros: i64,
    /// Rows of the last load; none: there was none.
    pub last_rows: Option<u64>,
    /// The load goes on from the last one: it may have nothing to add.
    pub goes_on: bool,
}

/// What was found of a rule, before its severity is known.
enum Found {
    Counted { checked: u64, failed: u64 },
    Whole { checked: u64, holds: bool, reason: String },
    Skipped(&'static str),
}

impl Checks {
    /// What was found of each rule, in their order. It reads temporary files.
    ///
    /// # Errors
    /// The temporary files cannot be read.
    pub fn results(
        &self,
        partitions: &[PartitionOutcome],
        held: &[HeldKeys],
        facts: &Facts,
    ) -> Result<Vec<RuleResult>, QualityError> {
        let result = |(place, rule): (usize, &Compiled)| {
            if matches!(rule.test, Test::Off) {
                return Ok(RuleResult::new(&rule.of, RuleStatus::Off));
            }
            let tallies: Vec<&Tally> = partitions.iter().filter_map(|partition| partition.0.get(place)).collect();
            let held = held.iter().find(|held| held.rule == place).map(|held| &held.keys);
            Ok(rule.result(self.found(rule, &tallies, held, facts)?))
        };
        self.rules.iter().enumerate().map(result).collect()
    }

    /// The rules that keep the load from being committed.
    ///
    /// # Errors
    /// [`QualityError::Broken`]: there are some.
    pub fn may_commit(&self, results: &[RuleResult]) -> Result<(), QualityError> {
        let failed: Vec<RuleResult> =
            results.iter().filter(|result| result.status == RuleStatus::Stopped).cloned().collect();
        if failed.is_empty() { Ok(()) } else { Err(QualityError::Broken { table: self.table.clone(), failed }) }
    }

    fn found(
        &self,
        rule: &Compiled,
        tallies: &[&Tally],
        held: Option<&Spooled>,
        facts: &Facts,
    ) -> Result<Found, QualityError> {
        let checked = tallies.iter().map(|tally| tally.checked).sum();
        let failed = tallies.iter().map(|tally| tally.failed).sum();
        match (&rule.of.rule.check, &rule.test) {
            (Check::RowCount { .. }, _) => Ok(row_count(&rule.of.rule.check, checked, facts)),
            (Check::Freshness { max_age_seconds }, _) => {
                let newest = tallies.iter().filter_map(|tally| tally.newest).max();
                Ok(freshness(*max_age_seconds, newest, checked, facts))
            }
            (Check::Unique { .. }, _) if tallies.iter().any(|tally| tally.has_changes) => {
                Ok(Found::Skipped("the rows are changes: one key may come several times"))
            }
            (Check::Unique { in_target }, Test::Keys(_, spool)) => {
                let compares = *in_target && !self.replaces();
                let failing = |rows: u64, is_held: bool| rows - u64::from(!(is_held && compares));
                let keys: Vec<&Spooled> = tallies.iter().map(|tally| &tally.keys).collect();
                let failed = spool.compare(&keys, held, failing).map_err(|source| self.spool_failed(source))?;
                Ok(Found::Counted { checked, failed })
            }
            (Check::Reference { .. }, Test::Keys(_, spool)) => {
                let failing = |rows: u64, is_held: bool| if is_held { 0 } else { rows };
                let keys: Vec<&Spooled> = tallies.iter().map(|tally| &tally.keys).collect();
                let failed = spool.compare(&keys, held, failing).map_err(|source| self.spool_failed(source))?;
                Ok(Found::Counted { checked, failed })
            }
            _ => Ok(Found::Counted { checked, failed }),
        }
    }
}

impl Compiled {
    fn result(&self, found: Found) -> RuleResult {
        let status = |holds: bool| match (holds, self.of.rule.severity) {
            (true, _) => RuleStatus::Passed,
            (false, Severity::Warn) => RuleStatus::Warned,
            (false, Severity::Stop) => RuleStatus::Stopped,
        };
        match found {
            Found::Counted { checked, failed } => {
                RuleResult { checked, failed, ..RuleResult::new(&self.of, status(failed == 0)) }
            }
            Found::Whole { checked, holds, reason } => RuleResult {
                checked,
                failed: u64::from(!holds),
                reason: Some(reason),
                ..RuleResult::new(&self.of, status(holds))
            },
            Found::Skipped(reason) => {
                RuleResult { reason: Some(reason.to_owned()), ..RuleResult::new(&self.of, RuleStatus::Skipped) }
            }
        }
    }
}

fn row_count(check: &Check, rows: u64, facts: &Facts) -> Found {
    let Check::RowCount { min, max, max_change_percent } = check else {
        return Found::Counted { checked: rows, failed: 0 };
    };
    let mut reasons = Vec::new();
    if let Some(min) = min.filter(|min| rows < *min) {
        reasons.push(format!("at least {min} are required"));
    }
    if let Some(max) = max.filter(|max| rows > *max) {
        reasons.push(format!("at most {max} are allowed"));
    }
    match (max_change_percent, facts.last_rows) {
        (Some(_), None) if min.is_none() && max.is_none() => {
            return Found::Skipped("there is no earlier load to compare with");
        }
        (Some(percent), Some(last)) if changes_more(rows, last, *percent) => {
            reasons.push(format!("the last load had {last}, and {percent} % more or less are allowed"));
        }
        _ => {}
    }
    let holds = reasons.is_empty();
    let reason = if holds { format!("{rows} rows") } else { format!("{rows} rows: {}", reasons.join("; ")) };
    Found::Whole { checked: rows, holds, reason }
}

/// Exact, and of a last load without rows every other number is more.
fn changes_more(rows: u64, last: u64, percent: u64) -> bool {
    u128::from(rows.abs_diff(last)) * 100 > u128::from(last) * u128::from(percent)
}

fn freshness(max_age_seconds: u64, newest: Option<i64>, checked: u64, facts: &Facts) -> Found {
    let Some(newest) = newest else {
        return match facts.goes_on {
            true => Found::Skipped("the load goes on from the last one, and has no value"),
            false => Found::Whole { checked, holds: false, reason: "no row has a value".to_owned() },
        };
    };
    let age_micros = facts.started_at_micros.saturating_sub(newest);
    let age = u64::try_from(age_micros / MICROS).unwrap_or_default();
    let holds = i128::from(age_micros) <= i128::from(max_age_seconds) * i128::from(MICROS);
    let bound = duration(max_age_seconds);
    let reason = format!("the newest value is {} old, and {bound} are allowed", duration(age));
    Found::Whole { checked, holds, reason }
}

/// `2 d 3 h`, `4 h 5 min`, `6 s`.
fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / SECONDS_OF_DAY, seconds % SECONDS_OF_DAY / 3600, seconds % 3600 / 60);
    let parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds % 60, "s")];
    let shown: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).take(2).map(|(count, unit)| format!("{count} {unit}")).collect();
    if shown.is_empty() { "0 s".to_owned() } else { shown.join(" ") }
}
