//! Parts of a table by blocks of its file: every block is read once, in order, without an index, and no bound has to be asked for.
//!
//! It holds only under one snapshot (a row that is updated moves to another block), which the run's isolation gives.

use std::cell::OnceCell;

use datakit_sdk::relational::{CommonSettings as _, SourceTable};
use datakit_sdk::{Error, Queries, ranges};

use crate::discovery::{self, SourceColumn};
use crate::settings::{IsolationLevel, PartitionBy, Settings};
use crate::statement::{Blocks, Part};

/// The first version that reads a range of blocks as such (TID range scan). Before, each range read the whole table.
const BLOCK_RANGES_SINCE: u32 = 14;

/// The server's major version, asked at most once; none where its catalog does not say.
#[derive(Debug, Default)]
pub struct Version(OnceCell<Option<u32>>);

impl Version {
    /// Whether ranges of blocks are worth reading; not where the version is unknown.
    fn reads_ranges_of_blocks(&self, queries: &impl Queries, settings: &Settings) -> Result<bool, Error> {
        let version = match self.0.get() {
            Some(known) => *known,
            None => {
                let asked = discovery::major_version(queries, settings.common().catalog_options())?;
                *self.0.get_or_init(|| asked)
            }
        };
        Ok(version.is_some_and(|version| version >= BLOCK_RANGES_SINCE))
    }
}

/// The parts that settings and blocks say; none: the table is cut by its key.
///
/// # Errors
/// A server that does not answer.
pub fn parts(
    queries: &impl Queries,
    version: &Version,
    table: &SourceTable<SourceColumn>,
    parts: u32,
    settings: &Settings,
) -> Result<Option<Vec<Part>>, Error> {
    if settings.partition_by == PartitionBy::Nothing {
        return Ok(Some(Vec::new()));
    }
    let by_blocks = settings.partition_by == PartitionBy::Auto && settings.isolation == IsolationLevel::Snapshot;
    match table.size.pages.filter(|_| by_blocks) {
        Some(pages) if version.reads_ranges_of_blocks(queries, settings)? => Ok(Some(of_equal_number(pages, parts))),
        _ => Ok(None),
    }
}

/// Blocks of equal number; the last part has no end, since the file may have grown.
fn of_equal_number(pages: u64, parts: u32) -> Vec<Part> {
    let last = i64::try_from(pages).unwrap_or(i64::MAX) - 1;
    let bounds = ranges::equal_widths(0, last.max(0), parts);
    let bounds: Vec<Option<u32>> = bounds.into_iter().map(|bound| u32::try_from(bound).ok()).collect();
    let firsts = [None].into_iter().chain(bounds.iter().copied());
    let ends = bounds.iter().copied().chain([None]);
    firsts.zip(ends).map(|(first, end)| Part::Blocks(Blocks { first, end })).collect()
}
