//! `--drift`

use clap::{Args, ValueEnum};

/// What happens where the columns of a table are not those of its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DriftWord {
    /// The table follows its source, where that needs no rewriting of its rows
    Evolve,
    /// The table keeps its columns; new columns of the source are left out
    Freeze,
    /// Any difference fails the table
    Fail,
}

/// What is said over an ingest that writes, or would.
#[derive(Debug, Clone, Args)]
pub(crate) struct DriftArgument {
    /// What happens where the columns of a table are not those of its source, for all tables [default: what DATAKIT_DRIFT or
    /// the file's ingest says, else evolve]
    #[arg(long, value_name = "RULE")]
    pub(crate) drift: Option<DriftWord>,
}
