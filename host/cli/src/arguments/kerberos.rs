//! The commands about tickets.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{OutputFormat, duration};

/// `host kerberos`
#[derive(Debug, Subcommand)]
pub(crate) enum Kerberos {
    /// Keep a ticket cache fresh that other processes read, with a keytab, until told to stop
    ///
    /// Meant to run beside the processes that log in, which name the cache with KRB5CCNAME. Each ticket is got well before the
    /// last one ends and takes its place at once, with mode 640. KDCs of krb5.conf are asked in turn; while none answers, it is tried again. It ends
    /// with an error when waiting cannot help: when the KDC refuses the keytab, or the cache cannot be written.
    #[command(
        after_long_help = "Examples:\n  host kerberos renew --keytab svc.keytab --principal svc-etl@CORP.EXAMPLE --cache /run/krb5/cache\n  host kerberos renew --keytab svc.keytab --principal svc-etl@CORP.EXAMPLE --cache /run/krb5/cache \\\n    --interval 30m --group datakit --health 0.0.0.0:8080"
    )]
    Renew(KerberosRenew),
    /// Show whose tickets a cache holds, until when, and their encryption types
    ///
    /// The exit status is 1 when the ticket has expired or there is none.
    #[command(
        after_long_help = "Examples:\n  host kerberos status\n  host kerberos status --cache /run/krb5/cache --output json | jq .remaining_seconds"
    )]
    Status(KerberosStatus),
}

/// `host kerberos renew`
#[derive(Debug, Clone, Args)]
pub(crate) struct KerberosRenew {
    /// The keytab
    #[arg(long, value_name = "FILE", env = "KRB_KEYTAB", hide_env_values = true)]
    pub(crate) keytab: PathBuf,

    /// Whose key of the keytab: NAME@REALM
    #[arg(long, value_name = "PRINCIPAL", env = "KRB_PRINCIPAL", hide_env_values = true)]
    pub(crate) principal: String,

    /// The file of the cache
    #[arg(long, value_name = "FILE")]
    pub(crate) cache: PathBuf,

    /// The longest time between two tickets: 45s, 30m, 1h. Half a ticket's life if that is shorter
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    pub(crate) interval: Duration,

    /// The group that may read the cache, by its name or number [default: that of this process]
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,

    /// Answer /health/live, /health/startup and /health/ready here
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) health: Option<SocketAddr>,

    /// Write one ticket and end, for example before other containers start
    #[arg(long)]
    pub(crate) once: bool,
}

/// `host kerberos status`
#[derive(Debug, Clone, Args)]
pub(crate) struct KerberosStatus {
    /// The cache, a file or TYPE:NAME [default: what KRB5CCNAME names, else the library's]
    #[arg(long, value_name = "CACHE")]
    pub(crate) cache: Option<String>,

    /// The form of what goes to standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: OutputFormat,
}
