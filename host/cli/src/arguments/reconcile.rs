//! `host reconcile`

use std::time::Duration;

use clap::Args;

use super::{IngestArguments, ModeArgument, duration};

/// `host reconcile`
#[derive(Debug, Clone, Args)]
pub(crate) struct Reconcile {
    #[command(flatten)]
    pub(crate) ingest: IngestArguments,

    #[command(flatten)]
    pub(crate) mode: ModeArgument,

    /// How often to look again at keys that differ: a row that changes in the source meanwhile is not judged. 0: report what the
    /// first look finds
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) again: u32,

    /// The time before each further look
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(crate) pause: Duration,

    /// Keys of a range: tables are compared in ranges of so many keys
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) range_keys: u64,

    /// Show the SHA-256 of keys in their place
    #[arg(long)]
    pub(crate) mask_keys: bool,
}
