//! Known security advisories against the packages of Cargo.lock.
//!
//! There is no network while the project is checked, so `scripts/xtask/advisories.toml` holds a dated copy of the entries of
//! <https://github.com/RustSec/advisory-db> (CC0) for the packages of the lock file. The check says how old the copy is.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use chrono::{NaiveDate, Utc};
use semver::{Version, VersionReq};
use serde::Deserialize;

use crate::say;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advisories {
    /// The day of the newest entry that the copy could have.
    copied: String,
    #[serde(default)]
    advisory: Vec<Advisory>,
    #[serde(default)]
    accepted: Vec<Accepted>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advisory {
    id: String,
    package: String,
    title: String,
    /// `unmaintained`, `unsound`, `notice`; none for a vulnerability.
    #[serde(default)]
    informational: Option<String>,
    #[serde(default)]
    patched: Vec<VersionReq>,
    #[serde(default)]
    unaffected: Vec<VersionReq>,
}

impl Advisory {
    fn concerns(&self, package: &Package) -> bool {
        let is_in = |ranges: &[VersionReq]| ranges.iter().any(|range| range.matches(&package.version));
        self.package == package.name && !is_in(&self.patched) && !is_in(&self.unaffected)
    }
}

/// An advisory that the project lives with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Accepted {
    id: String,
    reason: String,
    date: String,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: Version,
}

/// Compares Cargo.lock with the copy, and prints the copy's age and what is accepted.
pub fn check(root: &Path) -> Result<()> {
    let read = |path: &str| fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"));
    let summary = compare(&read("scripts/xtask/advisories.toml")?, &read("Cargo.lock")?, Utc::now().date_naive())?;
    say(&summary);
    Ok(())
}

fn compare(advisories: &str, lock: &str, today: NaiveDate) -> Result<String> {
    let known: Advisories = toml::from_str(advisories).context("scripts/xtask/advisories.toml")?;
    let lock: Lock = toml::from_str(lock).context("Cargo.lock")?;
    let copied = date(&known.copied)?;
    let mut open = Vec::new();
    let mut lines = vec![format!(
        "{} advisories of RustSec, copied {} ({} days ago)",
        known.advisory.len(),
        known.copied,
        (today - copied).num_days()
    )];
    let concerned = |id: &str| {
        known
            .advisory
            .iter()
            .filter(move |a| a.id == id)
            .any(|a| lock.package.iter().any(|package| a.concerns(package)))
    };
    for Accepted { id, reason, date: day } in &known.accepted {
        date(day)?;
        if reason.trim().is_empty() {
            bail!("{id} is accepted without a reason");
        }
        if !concerned(id) {
            bail!("{id} is accepted, but no package of Cargo.lock has it\nhint: remove its [[accepted]] entry");
        }
        lines.push(format!("accepted since {day}: {id}: {reason}"));
    }
    for advisory in &known.advisory {
        if known.accepted.iter().any(|accepted| accepted.id == advisory.id) {
            continue;
        }
        for package in lock.package.iter().filter(|package| advisory.concerns(package)) {
            let what = advisory.informational.as_deref().unwrap_or("vulnerability");
            open.push(format!("{} {}: {what} {}: {}", package.name, package.version, advisory.id, advisory.title));
        }
    }
    if open.is_empty() {
        return Ok(lines.join("\n"));
    }
    bail!(
        "{}\nhint: update the package; if that is not possible, add the id to [[accepted]] in scripts/xtask/advisories.toml with \
         reason and date",
        open.join("\n")
    )
}

fn date(text: &str) -> Result<NaiveDate> {
    text.parse().with_context(|| format!("`{text}` is not a date of the form 2026-11-29"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "[[package]]\nname = \"xml\"\nversion = \"0.39.4\"\n";

    fn said(accepted: &str, patched: &str) -> String {
        let advisories = format!(
            "copied = \"2026-11-01\"\n[[advisory]]\nid = \"R-1\"\npackage = \"xml\"\ntitle = \"slow\"\npatched = [\"{patched}\"]\n{accepted}"
        );
        let today = NaiveDate::from_ymd_opt(2026, 11, 29).unwrap();
        compare(&advisories, LOCK, today).unwrap_or_else(|error| format!("{error:#}"))
    }

    #[test]
    fn package_with_an_open_advisory_fails() {
        assert!(said("", ">= 0.41.0").starts_with("xml 0.39.4: vulnerability R-1: slow\nhint: update"));
    }

    #[test]
    fn patched_package_passes_and_the_age_is_printed() {
        assert_eq!(said("", ">= 0.39.1"), "1 advisories of RustSec, copied 2026-11-01 (28 days ago)");
    }

    #[test]
    fn accepted_advisory_needs_a_reason_and_ends_with_the_update() {
        let accepted =
            |reason: &str| format!("[[accepted]]\nid = \"R-1\"\nreason = \"{reason}\"\ndate = \"2026-11-29\"\n");
        assert!(said(&accepted("tests only"), ">= 0.41.0").contains("accepted since 2026-11-29: R-1: tests only"));
        assert!(said(&accepted(" "), ">= 0.41.0").contains("without a reason"));
        assert!(said(&accepted("tests only"), ">= 0.39.0").contains("remove its [[accepted]] entry"));
    }
}
