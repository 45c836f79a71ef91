//! `host backfill`

use clap::Args;
use datakit_model::TableId;

use super::state::table;
use super::{OutputFormat, ReceiptLevel, run_id};

pub(super) const EXAMPLES: &str = "\
Examples:
  # the column `discount` was added to sales.orders at the source
  host backfill --table sales.orders --columns discount

  # one ingest of several, two columns, exactly once
  host backfill --ingest sales --table sales.orders --columns discount,currency --run-id \"backfill-$(date +%F)\"

  # what was done, as JSON
  host backfill --table sales.orders --columns discount --output json | jq '.tables[0].backfill'";

/// `host backfill`
#[derive(Debug, Clone, Args)]
pub(crate) struct Backfill {
    /// NAME@VERSION, NAME@sha256:… for exactly these bytes, or the path of a .wasm file that need not be published [default:
    /// what the file's ingest names]
    #[arg(value_name = "DATAKIT|FILE")]
    pub(crate) datakit: Option<String>,

    /// The ingest of the file, by its name or its number from 1, where several fit
    #[arg(long, value_name = "NAME")]
    pub(crate) ingest: Option<String>,

    /// The table of the source, as the source spells it: SCHEMA.TABLE
    #[arg(long, value_name = "TABLE", value_parser = table)]
    pub(crate) table: TableId,

    /// Columns of the target to fill, comma-separated. Columns that are made of them, such as a row hash, are filled too
    #[arg(long, value_name = "COLUMN", value_delimiter = ',', num_args = 1.., required = true)]
    pub(crate) columns: Vec<String>,

    /// The run's id in logs, in the sink's state and on the server; again with the same id changes nothing [default: new]
    #[arg(long, value_name = "ID", value_parser = run_id)]
    pub(crate) run_id: Option<String>,

    /// What is compared before the values become visible; what is written is always counted [default: what DATAKIT_RECEIPT or the
    /// file's ingest says, else count]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) receipt: Option<ReceiptLevel>,

    /// Partitions worked on at one time [default: limits.run.max_parallel_partitions]
    #[arg(long, value_name = "N")]
    pub(crate) parallel: Option<u64>,

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
