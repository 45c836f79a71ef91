//! The command line as clap sees it. Its help is the manual: docs/command-line.md is made of it.

#![expect(
    rustdoc::broken_intra_doc_links,
    reason = "these comments are the help: brackets there are syntax, not links"
)]

mod backfill;
mod checks;
mod clean;
mod drift;
mod kerberos;
mod packages;
mod reconcile;
mod runs;
mod state;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

pub(crate) use backfill::Backfill;
pub(crate) use checks::{Doctor, ServeHealth};
pub(crate) use clean::Clean;
pub(crate) use drift::{DriftArgument, DriftWord};
pub(crate) use kerberos::{Kerberos, KerberosRenew, KerberosStatus};
pub(crate) use packages::{InspectDatakit, List, Lock, Publish, Pull};
pub(crate) use reconcile::Reconcile;
pub(crate) use runs::{Runs, RunsList, RunsRebuild, RunsShow, Status};
pub(crate) use state::{State, StateAccept, StateExport, StateList, StateReset, StateShow, StateTable};

const ENVIRONMENT_HELP: &str = "\
Environment:
  Without a warehouse file, the environment is enough:
    MSSQL_SERVER, MSSQL_PORT, MSSQL_DATABASE, MSSQL_USER, MSSQL_PASSWORD, MSSQL_ENCRYPT,
    MSSQL_TRUST_CERTIFICATE, MSSQL_CERTIFICATE_FILE          where rows come from
    MSSQL_AUTH_TYPE=kerberos, KRB5CCNAME, or KRB_PRINCIPAL
    and KRB_KEYTAB, KRB_REALM                                logging in with a ticket
    BRONZE_URI                                               a folder of Delta tables, or
    BRONZE_HOST, BRONZE_PORT, BRONZE_DATABASE, BRONZE_USER,
    BRONZE_PASSWORD                                          a Postgres database
    DATAKIT_REGISTRY, DATAKIT_PLAIN_HTTP, DATAKIT_SETTINGS,
    DATAKIT_TABLES, DATAKIT_MODE, DATAKIT_DRIFT,
    DATAKIT_RECEIPT                                          what flags of these names say
    DATAKIT_CACHE, DATAKIT_LOG, NO_COLOR                     this program itself
  Flags win over the environment, which wins over the file. docs/warehouse-file.md has the whole list.

Exit status:
  0    done
  1    permanent failure: something must change, and the message says what
  2    a bug in the host
  3    some tables are committed, and others failed or were stopped
  4    transient failure, or stopped before a commit: the same run may succeed later
  5    a receipt or a reconciliation does not match
  130  a second Ctrl-C or SIGTERM
  If several apply, the first of 2, 5, 3, 1, 4 counts.";

/// Runs datakits: WebAssembly components that read a source and shape its rows for the Bronze layer.
///
/// A datakit comes from an OCI registry, pinned by version or digest. The warehouse file (or the environment) says where rows
/// come from and where they go. Data goes to standard output, everything else to standard error.
#[derive(Debug, Parser)]
#[command(name = "host", version, propagate_version = true, after_long_help = ENVIRONMENT_HELP, max_term_width = 100)]
#[command(disable_help_subcommand = true, subcommand_required = true, arg_required_else_help = true)]
pub struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// The warehouse file [default: ./warehouse.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Where datakits are: host[:port]/prefix, or oci:PATH for an OCI image layout directory
    #[arg(long, global = true, value_name = "LOCATION")]
    pub(crate) registry: Option<String>,

    /// Reach the registry by plain HTTP; a password goes that way only to this machine
    #[arg(long, global = true)]
    pub(crate) plain_http: bool,

    /// Say more: -v what happens, -vv how, -vvv everything (drivers never show rows or passwords)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    /// The form of all lines on standard error: log, progress, errors
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// The form of what goes to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people
    Text,
    /// One JSON document
    Json,
}

/// What happens to the rows a table already has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WriteMode {
    /// They stay
    Append,
    /// The commit replaces them all
    Overwrite,
    /// A row replaces the one of the same key, or removes it; the others stay
    Merge,
}

/// What is compared between source and sink before rows become visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReceiptLevel {
    /// Nothing
    Off,
    /// Rows and files
    Count,
    /// Every value as well
    Full,
}

/// Everything `host` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Read tables and commit them to the sink
    ///
    /// Each table is committed whole or not at all; one that fails leaves the others alone. The same --run-id again changes
    /// nothing that was committed. Ctrl-C and SIGTERM stop cleanly, a second one at once: nothing half-done becomes visible.
    /// Without --ingest, all ingests of the file run, one after the other; those that read the same into different sinks run at
    /// once, and the source is read once. One that fails leaves the others alone.
    #[command(after_long_help = RUN_EXAMPLES)]
    Run(Run),
    /// Give columns of rows that are there the values that the source has now
    ///
    /// For a column that was added at the source: rows that were loaded before have null in it. The source table is read whole, and
    /// the rows of the target with the same keys get the values, in one commit. No row is added or removed, no other column changes,
    /// and the next load goes on from where the last one ended.
    #[command(after_long_help = backfill::EXAMPLES)]
    Backfill(Backfill),
    /// Show how each table would be cut into partitions, without reading it
    #[command(
        after_long_help = "Examples:\n  host plan sqlserver-bronze@0.1.0 --tables 'sales.*'\n  host plan --output json | jq '.[].partitions'"
    )]
    Plan(Plan),
    /// Compare tables of the sink with their sources, and name the ranges of keys that differ
    ///
    /// Reads the rows of both, and compares them by their key: keys that are missing, surplus, or have other values. Nothing is
    /// written, and no value is shown but those of keys. Exit status 5: something differs. docs/reconcile.md says what is compared,
    /// and what that proves.
    #[command(
        after_long_help = "Examples:\n  host reconcile\n  host reconcile --ingest sales --tables 'sales.*'\n  host reconcile --output json | jq '.[] | select(.status == \"different\") | .ranges'"
    )]
    Reconcile(Reconcile),
    /// Show the first rows of each table, as the sink would get them
    #[command(
        after_long_help = "Examples:\n  host preview sqlserver-bronze@0.1.0 --tables dbo.orders --rows 5\n  host preview ./sqlserver-bronze.wasm --tables dbo.orders"
    )]
    Preview(Preview),
    /// List the tables the datakit sees, and which of them are selected
    #[command(
        after_long_help = "Examples:\n  host discover sqlserver-bronze@0.1.0\n  host discover --output json | jq -r '.[] | select(.selected) | .table'"
    )]
    Discover(Inspect),
    /// Walk the way from ticket to table, and stop at the first broken link with what to do
    ///
    /// Of each connection: krb5.conf, keytab or ticket cache, realm, KDC, clock, ticket and SPN (with Kerberos), TCP, TLS, login,
    /// database, and SELECT on the chosen tables, with the GRANT statements that are missing. Of each sink: whether tables could
    /// be written. Then registry and lock file. Where a certificate is
    /// refused, the one that the server presents is shown. Nothing is changed anywhere,
    /// unless --write-probe is given.
    #[command(
        after_long_help = "Examples:\n  host doctor\n  host doctor erp\n  host doctor erp --save-certificate sql01.pem\n  host doctor bronze --write-probe\n  host doctor --output json | jq -r '.first_failure.code'\n  MSSQL_SERVER=sql01 MSSQL_DATABASE=ERP MSSQL_AUTH_TYPE=kerberos host doctor mssql --tables 'dbo.*'"
    )]
    Doctor(Doctor),
    /// Answer whether a run could work now: tickets, sources, Bronze
    ///
    /// For whoever watches the place where runs are started. /health/live: the process answers. /health/startup: the
    /// configuration was read. /health/ready: 200, or 503 with the reasons as JSON, of three questions: is the ticket valid, does
    /// the source answer, can Bronze be written. What is known is asked again after 5 s; nothing is changed anywhere.
    #[command(
        after_long_help = "Examples:\n  host serve-health --listen 0.0.0.0:8080\n  host serve-health --listen 127.0.0.1:8080 erp bronze"
    )]
    ServeHealth(ServeHealth),
    /// Check the warehouse file, and report every error at once
    #[command(after_long_help = "Examples:\n  host validate\n  host validate --config prod.toml --secrets")]
    Validate(Validate),
    /// Publish a component to the registry, under the name and version it says it has
    ///
    /// The same bytes again are fine. A version that is there with other bytes is never replaced.
    #[command(
        after_long_help = "Examples:\n  host publish sqlserver-bronze.wasm --registry registry.localhost:5000/datakits\n  host publish sqlserver-bronze.wasm --registry oci:./registry"
    )]
    Publish(Publish),
    /// Fetch a datakit into the cache, verified
    #[command(
        after_long_help = "Examples:\n  host pull sqlserver-bronze@0.1.0\n  host pull sqlserver-bronze@0.1.0 --to sqlserver-bronze.wasm"
    )]
    Pull(Pull),
    /// List the published versions of a datakit, or all datakits where the registry can tell
    #[command(after_long_help = "Examples:\n  host list sqlserver-bronze\n  host list --registry oci:./registry")]
    List(List),
    /// Show what a datakit is: roles, settings, digest
    #[command(
        after_long_help = "Examples:\n  host inspect sqlserver-bronze@0.1.0\n  host inspect ./sqlserver-bronze.wasm --output json | jq .settings_schema"
    )]
    Inspect(InspectDatakit),
    /// Pin datakits to digests in datakits.lock, beside the warehouse file
    ///
    /// Without a name, every datakit of the file's ingests is pinned. `host run --locked` then refuses all else.
    #[command(after_long_help = "Examples:\n  host lock\n  host lock sqlserver-bronze@0.1.0 && git add datakits.lock")]
    Lock(Lock),
    /// Keep a Kerberos ticket cache fresh, or show what is in one
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Kerberos(Kerberos),
    /// Show what sinks keep of each table for the next run
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    State(State),
    /// Remove what dead runs have left in sinks of loads that they have not committed
    ///
    /// A load of several partitions keeps what is finished, so that a run that is started again with the same --run-id reads only the rest.
    /// A load that a process works on, and one whose run can be started again, stay. Rows that a version of a table names are never removed.
    #[command(
        after_long_help = "Examples:\n  host clean --dry-run\n  host clean bronze --older-than 12h --yes\n  host clean --dry-run --output json | jq '.[] | select(.stays == null) | .place'"
    )]
    Clean(Clean),
    /// Show what each run did
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true)]
    Runs(Runs),
    /// Show each table with its last run: how old its rows are, where it goes on, what is wrong with it
    ///
    /// `lag` is the time since the last commit. `as of` is when the last load began to read. The last error is that of the last run:
    /// a later load of the table takes it away.
    #[command(
        after_long_help = "Examples:\n  host status\n  host status --output json | jq -r '.[] | select(.lag_seconds > 86400) | .table'"
    )]
    Status(Status),
    /// Print a completion script for a shell
    #[command(
        after_long_help = "Examples:\n  host completions bash > /etc/bash_completion.d/host\n  host completions zsh > \"${fpath[1]}/_host\""
    )]
    Completions(Completions),
}

const RUN_EXAMPLES: &str = "\
Examples:
  # what warehouse.toml says, all ingests of it
  host run

  # one ingest of it
  host run --ingest sales

  # one datakit of it, fewer tables, two partitions at a time
  host run sqlserver-bronze@0.1.0 --tables 'sales.*,!sales.archive_*' --parallel 2

  # a component that is not published; the ingest is the one that names its datakit
  host run ./sqlserver-bronze.wasm --tables dbo.orders

  # in a container, by the environment alone; one JSON summary on standard output
  DATAKIT_REGISTRY=registry.example/datakits MSSQL_SERVER=sql01 MSSQL_DATABASE=ERP MSSQL_USER=svc \\
  MSSQL_PASSWORD=… BRONZE_URI=/data/bronze \\
    host run sqlserver-bronze@0.1.0 --tables 'dbo.*' --mode overwrite --output json

  # exactly the bytes of datakits.lock, exactly once for this day
  host run --locked --run-id \"nightly-$(date +%F)\"";

/// Which ingest, and what is said over it.
#[derive(Debug, Clone, Args)]
pub(crate) struct IngestArguments {
    /// NAME@VERSION, NAME@sha256:… for exactly these bytes, or the path of a .wasm file that need not be published [default:
    /// what the file's ingest names]
    #[arg(value_name = "DATAKIT|FILE")]
    pub(crate) datakit: Option<String>,

    /// The ingest of the file, by its name or its number from 1, where several fit [default of `run`: all of them]
    #[arg(long, value_name = "NAME")]
    pub(crate) ingest: Option<String>,

    /// Tables to read, comma-separated: SCHEMA.TABLE with * and ?, ! in front to take away. Replaces `tables` of the file
    #[arg(long, value_name = "PATTERN", num_args = 1..)]
    pub(crate) tables: Vec<String>,

    /// Settings of the datakit, a JSON object, laid over those of the file key by key
    #[arg(long, value_name = "JSON")]
    pub(crate) settings: Option<String>,

    /// Refuse a datakit that datakits.lock does not pin
    #[arg(long)]
    pub(crate) locked: bool,

    /// The form of what goes to standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: OutputFormat,
}

/// What is said over an ingest that writes, or would.
#[derive(Debug, Clone, Args)]
pub(crate) struct ModeArgument {
    /// What happens to the rows a table already has [default: what DATAKIT_MODE or the file's ingest says]
    ///
    /// Where nobody says, a full load into a table that holds rows is refused; a load that goes on from the last one, as of
    /// new files, is not.
    #[arg(long, value_name = "MODE")]
    pub(crate) mode: Option<WriteMode>,
}

/// `host run`
#[derive(Debug, Clone, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) ingest: IngestArguments,

    /// The run's id in logs, in the sink's state and on the server; again with the same id changes nothing [default: new]
    #[arg(long, value_name = "ID", value_parser = run_id)]
    pub(crate) run_id: Option<String>,

    #[command(flatten)]
    pub(crate) mode: ModeArgument,

    #[command(flatten)]
    pub(crate) drift: DriftArgument,

    /// Read whole tables and replace their rows and columns, whatever the file says: the way on where changes are lost. Each
    /// table is replaced by one commit
    #[arg(long, conflicts_with = "mode")]
    pub(crate) full_refresh: bool,

    /// What is compared between source and sink before rows become visible [default: what DATAKIT_RECEIPT or the file's ingest
    /// says, else count]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) receipt: Option<ReceiptLevel>,

    /// Partitions worked on at one time [default: limits.run.max_parallel_partitions]
    #[arg(long, value_name = "N")]
    pub(crate) parallel: Option<u64>,

    /// Answer /health/live, /health/startup, /health/ready and /metrics here while it runs
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) health: Option<SocketAddr>,

    /// Write metrics here after each ingest, as text of Prometheus [default: warehouse.metrics_file]
    #[arg(long, value_name = "FILE")]
    pub(crate) metrics_file: Option<PathBuf>,
}

/// `host plan`
#[derive(Debug, Clone, Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) ingest: IngestArguments,

    #[command(flatten)]
    pub(crate) mode: ModeArgument,

    #[command(flatten)]
    pub(crate) drift: DriftArgument,
}

/// `host discover`
#[derive(Debug, Clone, Args)]
pub(crate) struct Inspect {
    #[command(flatten)]
    pub(crate) ingest: IngestArguments,
}

/// `host preview`
#[derive(Debug, Clone, Args)]
pub(crate) struct Preview {
    #[command(flatten)]
    pub(crate) ingest: IngestArguments,

    /// Rows of each table
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) rows: u16,
}

/// `host validate`
#[derive(Debug, Clone, Args)]
pub(crate) struct Validate {
    /// Fetch every secret as well: is the variable set, can the file be read, does a keytab hold its principal
    #[arg(long)]
    pub(crate) secrets: bool,
}

impl Command {
    /// What is said without `-v`: a process that works for others in silence says what it does, unless a filter is set.
    pub(crate) fn least_verbosity(&self, environment: &BTreeMap<String, String>) -> u8 {
        let is_filtered =
            ["DATAKIT_LOG", "RUST_LOG"].iter().any(|name| environment.get(*name).is_some_and(|v| !v.is_empty()));
        u8::from(matches!(self, Self::Kerberos(Kerberos::Renew(_)) | Self::ServeHealth(_)) && !is_filtered)
    }
}

/// A number and `s`, `m`, `h` or `d`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a number and one of s, m, h, d: 45s, 30m, 1h".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    match number.checked_mul(seconds) {
        Some(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err(wrong()),
    }
}

/// `host completions`
#[derive(Debug, Clone, Args)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: Shell,
}

/// The id goes into SQL comments, table states and logs.
fn run_id(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:+".contains(c);
    if text.is_empty() || text.len() > 128 || !text.chars().all(plain) {
        return Err("1 to 128 letters, digits and any of - _ . : +".into());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_help_has_the_one_table_of_exit_codes() {
        for (exit, meaning) in datakit_model::Exit::TABLE {
            let line = format!("  {}    {meaning}\n", exit.code());
            assert!(ENVIRONMENT_HELP.contains(&line), "{line}");
        }
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        for text in ["", "h", "0s", "1.5h", "60", "1w", "é", "99999999999999999999d", "999999999999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_run_id_cannot_end_a_comment() {
        assert!(run_id("nightly-2026-11-21T00:00:00+01:00").is_ok());
        for text in ["", "a*/", "a b", "ä", &"x".repeat(129)] {
            assert!(run_id(text).is_err(), "{text}");
        }
    }
}
