//! `host runs` and `host status`

use clap::{Args, Subcommand};

use super::OutputFormat;

/// `host runs`
#[derive(Debug, Subcommand)]
pub(crate) enum Runs {
    /// List the runs that sinks have records of, newest first
    ///
    /// A run that is `started` has not ended: it is under way, or it was killed.
    #[command(
        after_long_help = "Examples:\n  host runs list\n  host runs list --limit 500 --output json | jq '.[] | select(.status == \"failed\")'"
    )]
    List(RunsList),
    /// Show what a run did to each table
    #[command(
        after_long_help = "Examples:\n  host runs show nightly-2026-11-21\n  host runs show nightly-2026-11-21 --output json | jq '.[].tables'"
    )]
    Show(RunsShow),
    /// Write the table of runs anew from the records
    ///
    /// Commits that no record has are added first, from the states of the tables. Run it while no other run ends, for example after
    /// records could not be written.
    #[command(after_long_help = "Examples:\n  host runs rebuild\n  host runs rebuild --sink bronze")]
    Rebuild(RunsRebuild),
}

/// `host runs list`
#[derive(Debug, Clone, Args)]
pub(crate) struct RunsList {
    /// The sink [default: all]
    #[arg(long, value_name = "NAME")]
    pub(crate) sink: Option<String>,

    /// At most so many runs
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,

    /// The form of what goes to standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: OutputFormat,
}

/// `host runs show`
#[derive(Debug, Clone, Args)]
pub(crate) struct RunsShow {
    /// The run's id
    #[arg(value_name = "ID")]
    pub(crate) run_id: String,

    /// The sink [default: all]
    #[arg(long, value_name = "NAME")]
    pub(crate) sink: Option<String>,

    /// The form of what goes to standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: OutputFormat,
}

/// `host runs rebuild`
#[derive(Debug, Clone, Args)]
pub(crate) struct RunsRebuild {
    /// The sink [default: all]
    #[arg(long, value_name = "NAME")]
    pub(crate) sink: Option<String>,

    /// The form of what goes to standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: OutputFormat,
}

/// `host status`
#[derive(Debug, Clone, Args)]
pub(crate) struct Status {
    /// The sink [default: all]
    #[arg(long, value_name = "NAME")]
    pub(crate) sink: Option<String>,

    /// Look at so many of the newest runs of each sink
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) runs: u32,

    /// The form of what goes to standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: OutputFormat,
}
