//! The commands that find out whether a run could work.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::OutputFormat;

/// `host doctor`
#[derive(Debug, Clone, Args)]
pub(crate) struct Doctor {
    /// A connection or sink by its name, or `registry` [default: everything that is configured]
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// Tables to read, comma-separated: SCHEMA.TABLE with * and ?, ! in front to take away. Replaces `tables` of the file
    #[arg(long, value_name = "PATTERN", num_args = 1..)]
    pub(crate) tables: Vec<String>,

    /// Save the certificate that the server of NAME presents, as PEM, into a new file: for `certificate_file`
    #[arg(long, value_name = "FILE", requires = "name")]
    pub(crate) save_certificate: Option<PathBuf>,

    /// Write to sinks in object stores, to find out whether they honour conditional writes
    ///
    /// Two writes of one small object under the sink's URI, the second of which the store must refuse; the object is then
    /// deleted. Without this flag nothing is written anywhere.
    #[arg(long)]
    pub(crate) write_probe: bool,

    /// The form of what goes to standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: OutputFormat,
}

/// `host serve-health`
#[derive(Debug, Clone, Args)]
pub(crate) struct ServeHealth {
    /// Connections and sinks by their names [default: everything that is configured]
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,

    /// Where to answer
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: SocketAddr,
}
