use std::borrow::Cow;

use datakit_model::sink::{TableRows, WriteMode};
use datakit_model::{Diagnostic, Kind, Retry, TableId, TablePatterns, printable};

/// No message names more roles or problems than this.
const MAX_NAMED: usize = 20;

/// What can be wrong with a run as a whole; what is wrong with one table is a `Failure` of its source, sink or datakit.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The lock file does not name the datakit, and `--locked` forbids to resolve it anew.
    #[error("datakits.lock does not pin `{reference}`")]
    NotLocked {
        /// What was asked for.
        reference: String,
    },
    /// The lock file pins a version to the bytes of another one.
    #[error("datakits.lock pins `{name}@{version}` to {pinned}, which is version {found}")]
    LockMismatch {
        /// The datakit.
        name: String,
        /// Its version.
        version: String,
        /// What the lock file says.
        pinned: String,
        /// The version those bytes are.
        found: String,
    },
    /// The component's own description is not that of the reference or of the artifact's annotations.
    #[error("asked for `{expected}`, the datakit in the artifact says it is `{described}`")]
    Misnamed {
        /// Name and version by the manifest or the reference.
        expected: String,
        /// Name and version by `describe`.
        described: String,
    },
    /// A role of the datakit has no connection.
    #[error("role `{role}` of `{datakit}` is not mapped to a connection")]
    RoleNotMapped {
        /// The role.
        role: String,
        /// The datakit.
        datakit: String,
        /// What the datakit says the role is for.
        purpose: String,
    },
    /// The file maps a role the datakit does not have.
    #[error("`{datakit}` has no role `{role}`")]
    UnknownRole {
        /// The role.
        role: String,
        /// The datakit.
        datakit: String,
        /// The roles it has.
        known: Vec<String>,
    },
    /// The connection is of a kind the role does not take.
    #[error("role `{role}` takes a connection of kind {}, not {found}", kinds.join(" or "))]
    RoleKind {
        /// The role.
        role: String,
        /// The kinds it takes.
        kinds: Vec<String>,
        /// The kind of the mapped connection.
        found: String,
    },
    /// The settings do not fit the datakit's schema.
    #[error("the settings do not fit `{datakit}`: {}", some(problems))]
    Settings {
        /// The datakit.
        datakit: String,
        /// Each problem with its place.
        problems: Vec<String>,
    },
    /// The datakit's schema of settings is not a JSON Schema.
    #[error("the settings schema of `{datakit}` is not a JSON Schema: {problem}")]
    SettingsSchema {
        /// The datakit.
        datakit: String,
        /// Why.
        problem: String,
    },
    /// No discovered table is selected.
    #[error("no table matches `{patterns}`: {discovered} discovered")]
    NoTable {
        /// The selection.
        patterns: TablePatterns,
        /// How many tables and views there are.
        discovered: usize,
        /// Those whose names are nearest to what was asked for.
        nearest: Vec<TableId>,
        /// Some of them.
        examples: Vec<TableId>,
    },
    /// Partitions of one table have different shapes.
    #[error("partition {ordinal} of {table} has another schema than its first partition")]
    PartitionSchema {
        /// The table.
        table: TableId,
        /// The partition.
        ordinal: u32,
    },
    /// Another run has loaded the table since this one was planned.
    #[error("another run has loaded {table} since this one was planned")]
    Outdated {
        /// The table.
        table: TableId,
        /// The run.
        run_id: String,
    },
    /// The operator has not said what happens to rows that are there.
    #[error("{target} holds {} already, and nobody has said what happens to them", held(*rows))]
    NoMode {
        /// The table.
        table: TableId,
        /// Where it is.
        target: String,
        /// What it holds.
        rows: TableRows,
        /// What the datakit proposes.
        proposed: Option<WriteMode>,
    },
    /// The first load by a strategy that reports deletes would leave rows that were deleted before.
    #[error(
        "{target} holds {} that no position of `{strategy}` belongs to: a merge would keep those that the source has deleted since",
        held(*rows)
    )]
    RowsBefore {
        /// Where the table is.
        target: String,
        /// What it holds.
        rows: TableRows,
        /// The strategy.
        strategy: String,
    },
    /// A plan proposes a column that its rows do not have.
    #[error("the plan of {table} names `{column}` as a {what} column: {problem}")]
    PlannedColumn {
        /// The table.
        table: String,
        /// `key`, `partition`.
        what: &'static str,
        /// The column.
        column: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A plan names a column for what the host fills, and another filled it.
    #[error(
        "the plan of {table} names `{column}` as its column of the role `{role}`, which the rows' column does not have"
    )]
    PlannedRole {
        /// The table.
        table: TableId,
        /// The role.
        role: &'static str,
        /// The column.
        column: String,
    },
    /// A column cannot be filled.
    #[error("`{column}` of {table} cannot be backfilled: {problem}")]
    BackfillColumn {
        /// The table.
        table: Box<TableId>,
        /// The column.
        column: String,
        /// Why not.
        problem: &'static str,
        /// Columns that the rows have; empty: the problem is another one.
        columns: Vec<String>,
    },
    /// Nothing says which row of the target a row of the source is.
    #[error("{table} cannot be backfilled: no columns are known to identify its rows")]
    BackfillNoKey {
        /// The table.
        table: TableId,
    },
    /// A table of which no load has committed a row.
    #[error("{table} cannot be backfilled: no load has committed rows to {target}")]
    BackfillUnloaded {
        /// The table.
        table: TableId,
        /// Where its rows would be.
        target: String,
    },
    /// The source spells the name of the table in another way.
    #[error("{table} cannot be backfilled: the source calls it {found}")]
    BackfillSpelling {
        /// As it was asked for.
        table: TableId,
        /// As the source spells it.
        found: Box<TableId>,
    },
    /// The run was stopped by a signal or a caller.
    #[error("stopped before {table} was committed")]
    Stopped {
        /// The table.
        table: TableId,
        /// The run.
        run_id: String,
    },
    /// More rejected rows than the run may hold.
    #[error("rejected rows take more memory than limits.run.max_rejected_bytes = {capacity_bytes}")]
    RejectedBytes {
        /// The limit.
        capacity_bytes: u64,
    },
    /// A task of the host panicked.
    #[error("a worker for {table} crashed: {message}")]
    Crashed {
        /// The table.
        table: TableId,
        /// The panic's message.
        message: String,
    },
}

impl Diagnostic for RunError {
    fn code(&self) -> Cow<'static, str> {
        match self {
            Self::NotLocked { .. } => "DK-RUN-001",
            Self::LockMismatch { .. } => "DK-RUN-002",
            Self::Misnamed { .. } => "DK-RUN-003",
            Self::RoleNotMapped { .. } => "DK-RUN-004",
            Self::UnknownRole { .. } => "DK-RUN-005",
            Self::RoleKind { .. } => "DK-RUN-006",
            Self::Settings { .. } => "DK-RUN-007",
            Self::SettingsSchema { .. } => "DK-RUN-008",
            Self::NoTable { .. } => "DK-RUN-009",
            Self::PartitionSchema { .. } => "DK-RUN-010",
            Self::Stopped { .. } => "DK-RUN-011",
            Self::Crashed { .. } => "DK-RUN-012",
            Self::Outdated { .. } => "DK-RUN-013",
            Self::NoMode { .. } => "DK-RUN-014",
            Self::RowsBefore { .. } => "DK-RUN-070",
            Self::PlannedColumn { .. } => "DK-RUN-015",
            Self::PlannedRole { .. } => "DK-RUN-016",
            Self::RejectedBytes { .. } => "DK-RUN-074",
            Self::BackfillColumn { .. } => "DK-RUN-066",
            Self::BackfillNoKey { .. } => "DK-RUN-067",
            Self::BackfillUnloaded { .. } => "DK-RUN-068",
            Self::BackfillSpelling { .. } => "DK-RUN-069",
        }
        .into()
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Misnamed { .. }
            | Self::SettingsSchema { .. }
            | Self::PartitionSchema { .. }
            | Self::PlannedColumn { .. }
            | Self::PlannedRole { .. } => Kind::Datakit,
            Self::RejectedBytes { .. } => Kind::Data,
            Self::Crashed { .. } => Kind::Internal,
            _ => Kind::User,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Outdated { .. } | Self::Stopped { .. } => Retry::NextRun,
            _ => Retry::Never,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotLocked { reference } => format!("pin it with `host lock {reference}`, or run without --locked"),
            Self::LockMismatch { name, version, .. } => {
                format!("restore datakits.lock from version control, or pin it anew with `host lock {name}@{version}`")
            }
            Self::Misnamed { .. } => "name it as the datakit does, or publish the component anew with `host publish`".into(),
            Self::RoleNotMapped { role, purpose, .. } => {
                format!("add `roles = {{ {role} = \"CONNECTION\" }}` to the ingest; the role is for: {purpose}")
            }
            Self::UnknownRole { known, .. } => format!("its roles are: {}", printable::some(known, MAX_NAMED)),
            Self::RoleKind { role, .. } => format!("map `{role}` to another connection"),
            Self::Settings { .. } => "`host inspect` prints the datakit's settings".into(),
            Self::SettingsSchema { .. }
            | Self::PartitionSchema { .. }
            | Self::PlannedColumn { .. }
            | Self::PlannedRole { .. } => {
                "report it to the datakit's author".into()
            }
            Self::NoTable { nearest, .. } if !nearest.is_empty() => {
                format!("did you mean {}? `host discover` lists all", names(nearest))
            }
            Self::NoTable { examples, .. } if examples.is_empty() => {
                "the login may lack the permission to see the tables; of files, none may have a row yet".into()
            }
            Self::NoTable { examples, .. } => {
                format!("there are, for example: {}; `host discover` lists all", names(examples))
            }
            Self::Outdated { run_id, .. } => {
                format!("run again with `--run-id {run_id}`: what that run has loaded is left out then")
            }
            Self::BackfillColumn { columns, .. } if columns.is_empty() => {
                "name other columns; `host run --full-refresh` replaces all rows".into()
            }
            Self::BackfillColumn { columns, .. } => {
                format!("the rows have: {}; names are those of `host preview`", printable::some(columns, MAX_NAMED))
            }
            Self::BackfillNoKey { table } => format!(
                "replace all rows by `host run --full-refresh --tables {table}`; or leave null: rows that come later have their values"
            ),
            Self::BackfillUnloaded { .. } => "load the table by `host run`: the load brings all columns".into(),
            Self::BackfillSpelling { found, .. } => format!("write `--table {found}`"),
            Self::NoMode { proposed: Some(proposed @ WriteMode::Overwrite), .. } => format!(
                "the datakit proposes to replace them: agree by `mode = \"{proposed}\"` in the ingest, by --mode or by DATAKIT_MODE, \
                 or keep them by `mode = \"append\"`"
            ),
            Self::NoMode { .. } => {
                "set `mode = \"append\"` (they stay, and every row is added again), `mode = \"overwrite\"` (they are replaced) or `mode = \"merge\"` (those of the same key are replaced) in the ingest, by --mode or by DATAKIT_MODE".into()
            }
            Self::RowsBefore { .. } => {
                "replace them by `--full-refresh`, which loads the table anew and goes on by changes from there".into()
            }
            Self::Stopped { run_id, .. } => {
                format!("continue with `--run-id {run_id}`: tables that are committed are left as they are")
            }
            Self::RejectedBytes { .. } => {
                "repair the rows, let fewer tables run at a time, or raise limits.run.max_rejected_bytes".into()
            }
            Self::Crashed { .. } => "this is a bug in the host: please report it with the log".into(),
        })
    }
}

fn names(tables: &[TableId]) -> String {
    printable::some(tables.iter().map(ToString::to_string), MAX_NAMED)
}

fn some(problems: &[String]) -> String {
    let more = problems.len().saturating_sub(MAX_NAMED);
    let text = problems[..problems.len() - more].join("; ");
    if more == 0 { text } else { format!("{text}; and {more} more problems") }
}

fn held(rows: TableRows) -> String {
    let at_least = if rows.at_least { "at least " } else { "" };
    format!("{at_least}{} row{}", rows.rows, if rows.rows == 1 { "" } else { "s" })
}
