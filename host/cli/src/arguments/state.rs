//! `host state`

use clap::{Args, Subcommand};
use datakit_model::TableId;

use super::OutputFormat;

/// `host state`
#[derive(Debug, Subcommand)]
pub(crate) enum State {
    /// Show the state of one table
    #[command(
        after_long_help = "Examples:\n  host state show ERP dbo.orders\n  host state show ERP dbo.orders --output json | jq -r '.positions[].watermark'"
    )]
    Show(StateShow),
    /// List the tables that datakits have loaded, and what each last load was
    ///
    /// A table whose state does not count is listed with the code of its error, and the exit status is 1.
    #[command(after_long_help = "Examples:\n  host state list\n  host state list --sink bronze --output json")]
    List(StateList),
    /// Print the state documents of all tables as JSON
    #[command(after_long_help = "Examples:\n  host state export > states.json\n  host state export --sink bronze")]
    Export(StateExport),
    /// Let loads go on from the rows that a table holds now
    ///
    /// For a table that is refused because another writer has restored it or removed rows (DK-SNK-045). The state stays as the
    /// last load left it: rows that are missing are not loaded again. Of a table whose state is in order nothing changes.
    #[command(after_long_help = "Examples:\n  host state accept ERP dbo.orders")]
    Accept(StateAccept),
    /// Forget how far a table is read, so that the next load reads all of it
    ///
    /// The rows stay: the next load says by --mode or --full-refresh what happens to them.
    #[command(
        after_long_help = "Examples:\n  host state reset ERP dbo.orders\n  host state reset ERP dbo.orders --yes"
    )]
    Reset(StateReset),
}

/// A table, and the sink that holds it.
#[derive(Debug, Clone, Args)]
pub(crate) struct StateTable {
    /// The source system of the table's connection
    #[arg(value_name = "SOURCE_SYSTEM")]
    pub(crate) source_system: String,

    /// The table of the source: SCHEMA.TABLE
    #[arg(value_name = "TABLE", value_parser = table)]
    pub(crate) table: TableId,

    /// The catalog of the table, where the source has catalogs
    #[arg(long, value_name = "NAME")]
    pub(crate) catalog: Option<String>,

    /// The sink [default: the only one]
    #[arg(long, value_name = "NAME")]
    pub(crate) sink: Option<String>,
}

/// `host state show`
#[derive(Debug, Clone, Args)]
pub(crate) struct StateShow {
    #[command(flatten)]
    pub(crate) table: StateTable,

    /// The form of what goes to standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: OutputFormat,
}

/// `host state list`
#[derive(Debug, Clone, Args)]
pub(crate) struct StateList {
    /// The sink [default: all]
    #[arg(long, value_name = "NAME")]
    pub(crate) sink: Option<String>,

    /// The form of what goes to standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: OutputFormat,
}

/// `host state export`
#[derive(Debug, Clone, Args)]
pub(crate) struct StateExport {
    /// The sink [default: all]
    #[arg(long, value_name = "NAME")]
    pub(crate) sink: Option<String>,
}

/// `host state accept`
#[derive(Debug, Clone, Args)]
pub(crate) struct StateAccept {
    #[command(flatten)]
    pub(crate) table: StateTable,
}

/// `host state reset`
#[derive(Debug, Clone, Args)]
pub(crate) struct StateReset {
    #[command(flatten)]
    pub(crate) table: StateTable,

    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Two names; a dot in the second one is part of it.
pub(super) fn table(text: &str) -> Result<TableId, String> {
    match text.split_once('.') {
        Some((schema, name)) if !schema.is_empty() && !name.is_empty() => Ok(TableId::new(schema, name)),
        _ => Err("two names with a dot between them: dbo.orders".to_owned()),
    }
}
