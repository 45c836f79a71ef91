//! The commands about datakits as packages: publish, pull, list, inspect, lock.

use std::path::PathBuf;

use clap::Args;

use super::OutputFormat;

/// `host publish`
#[derive(Debug, Clone, Args)]
pub(crate) struct Publish {
    /// The component, a .wasm file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// The form of what goes to standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: OutputFormat,
}

/// `host pull`
#[derive(Debug, Clone, Args)]
pub(crate) struct Pull {
    /// NAME@VERSION or NAME@sha256:…
    #[arg(value_name = "DATAKIT")]
    pub(crate) datakit: String,

    /// Write the component here as well
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,

    /// The form of what goes to standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: OutputFormat,
}

/// `host list`
#[derive(Debug, Clone, Args)]
pub(crate) struct List {
    /// The datakit's name; without it all, where the registry can tell (oci:PATH)
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// The form of what goes to standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: OutputFormat,
}

/// `host inspect`
#[derive(Debug, Clone, Args)]
pub(crate) struct InspectDatakit {
    /// NAME@VERSION, NAME@sha256:…, or a .wasm file
    #[arg(value_name = "DATAKIT|FILE")]
    pub(crate) datakit: String,

    /// The form of what goes to standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: OutputFormat,
}

/// `host lock`
#[derive(Debug, Clone, Args)]
pub(crate) struct Lock {
    /// NAME@VERSION …
    #[arg(value_name = "DATAKIT")]
    pub(crate) datakits: Vec<String>,
    /// Pin what the registry has now, also where a version was replaced after it was pinned
    #[arg(long)]
    pub(crate) accept_replaced: bool,
}
