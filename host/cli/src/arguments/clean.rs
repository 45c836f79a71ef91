//! `host clean`

use std::time::Duration;

use clap::Args;

use super::{OutputFormat, duration};

/// `host clean`
#[derive(Debug, Clone, Args)]
pub(crate) struct Clean {
    /// The sink [default: all]
    #[arg(value_name = "SINK")]
    pub(crate) sink: Option<String>,

    /// List what would be removed, and remove nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Remove what had no sign of life for longer than this: a number and s, m, h or d. A run that is younger can be started again
    #[arg(long, value_name = "TIME", default_value = "3d", value_parser = duration)]
    pub(crate) older_than: Duration,

    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,

    /// The form of what goes to standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: OutputFormat,
}
