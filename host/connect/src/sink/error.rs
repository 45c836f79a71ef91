//! What can go wrong in a sink, with the one table of its codes.

use std::borrow::Cow;

use datakit_model::{Diagnostic, DriftRule, Failure, Kind, Retry, StateError};

use super::update::UpdateError;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Every error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The sink's URI cannot be used.
    #[error("`{uri}` is not a place a Delta sink can write to: {reason}")]
    Uri {
        /// As configured.
        uri: String,
        /// Why not.
        reason: String,
    },
    /// A mapped name does not fit.
    #[error("the {what} `{name}` takes {bytes} bytes in the sink, which holds {limit_bytes} at most")]
    NameTooLong {
        /// What is named: column, table, schema.
        what: &'static str,
        /// As the source spells it.
        name: String,
        /// What it would take.
        bytes: usize,
        /// What there is.
        limit_bytes: usize,
    },
    /// A name that the sink cannot express at all.
    #[error("the sink cannot hold the {what} `{name}`: {reason}")]
    Name {
        /// What is named.
        what: &'static str,
        /// As the source spells it, escaped.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// Two columns differ in case at most.
    #[error("table `{table}` has the columns `{first}` and `{second}`, which a sink cannot tell apart")]
    Collision {
        /// The source's table.
        table: String,
        /// The earlier column.
        first: String,
        /// The later one.
        second: String,
    },
    /// A type the sink has no counterpart for.
    #[error("column `{column}` of table `{table}` has type {data_type}, which the {sink} sink cannot hold")]
    UnsupportedType {
        /// The source's table.
        table: String,
        /// The column.
        column: String,
        /// The Arrow type.
        data_type: String,
        /// `delta`, `postgres`.
        sink: &'static str,
    },
    /// A table without a column.
    #[error("table `{0}` has no column to write")]
    NoColumns(String),
    /// A table in parts, which the sink does not write.
    #[error("table `{table}` is to be partitioned by {}, and the {sink} sink writes no partitioned tables", columns.join(", "))]
    PartitionBy {
        /// The source's table.
        table: String,
        /// The columns.
        columns: Vec<String>,
        /// `delta`, `postgres`.
        sink: &'static str,
    },
    /// A load that merges rows of which no key is known.
    #[error("table `{table}` is to be merged by key in the {sink} sink, and no columns are known to identify its rows")]
    NoKey {
        /// The source's table.
        table: String,
        /// `delta`, `postgres`.
        sink: &'static str,
    },
    /// A load cannot be merged by a column.
    #[error("table `{table}` cannot be merged by `{column}`: {reason}")]
    MergeColumn {
        /// The source's table.
        table: String,
        /// The column.
        column: String,
        /// Why not.
        reason: &'static str,
    },
    /// Another writer has changed rows that a merge goes by.
    #[error("another writer has changed {location} since the merge read it: {reason}")]
    MergeConflict {
        /// Where the table is.
        location: String,
        /// What was changed.
        reason: &'static str,
    },
    /// Columns of rows cannot get new values.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// The rows of a merge cannot be kept until they are reduced.
    #[error("cannot keep the rows of table `{table}` in temporary files")]
    Spool {
        /// The source's table.
        table: String,
        /// What the system said.
        #[source]
        source: Cause,
    },
    /// A file with rows of the table cannot be read.
    #[error("cannot read the data file {file} of {location}")]
    DataFile {
        /// Where the table is.
        location: String,
        /// The file, as the log names it.
        file: String,
        /// What the reader said.
        #[source]
        source: Cause,
    },
    /// A column that cannot partition its table.
    #[error("table `{table}` cannot be partitioned by `{column}`: {reason}")]
    PartitionColumn {
        /// The source's table.
        table: String,
        /// The column.
        column: String,
        /// Why not.
        reason: String,
    },
    /// The table that is there has other partition columns.
    #[error("{location} is {}, and the load is {}", partitioned(there), partitioned(wanted))]
    OtherPartitions {
        /// Where the table is.
        location: String,
        /// Its partition columns.
        there: Vec<String>,
        /// Those of the load.
        wanted: Vec<String>,
    },
    /// More columns than the sink takes.
    #[error(
        "table `{table}` has {columns} columns, those that a datakit adds included; a table of the {sink} sink has {limit} at most"
    )]
    TooManyColumns {
        /// The source's table.
        table: String,
        /// How many there are.
        columns: usize,
        /// How many there may be.
        limit: usize,
        /// `postgres`.
        sink: &'static str,
    },
    /// A row or a table is larger than Postgres holds.
    #[error("{location} is beyond a limit of Postgres")]
    Limit {
        /// Where the table is.
        location: String,
        /// What the server said.
        #[source]
        source: Cause,
    },
    /// The store does not heed conditions of a write.
    #[error("{location} is in a store that ignores `If-None-Match: *`: it replaced an object that was there")]
    Unconditional {
        /// The root of all tables.
        location: String,
    },
    /// The table that is there has another schema, which the rule of the load does not allow.
    #[error("{location} has another schema: {}", .differences.join("; "))]
    SchemaMismatch {
        /// Where the table is.
        location: String,
        /// One text a difference, each naming its column.
        differences: Vec<String>,
        /// The rule.
        rule: DriftRule,
    },
    /// Another writer has changed the columns of the table while a load was written.
    #[error("another writer has changed the columns of {location} since this load began")]
    SchemaConflict {
        /// Where the table is.
        location: String,
    },
    /// Others use a table whose columns are to be changed.
    #[error("cannot change the columns of {location}: other sessions have used it for {seconds} s")]
    Locked {
        /// Where the table is.
        location: String,
        /// How long it was waited for, in seconds.
        seconds: u32,
    },
    /// The table that is there cannot be written by us.
    #[error("{location} exists, and this sink does not write to such a table: {reason}")]
    ForeignTable {
        /// Where the table is.
        location: String,
        /// Why not.
        reason: String,
    },
    /// The table is not the one that the ledger's row is about, and it has rows that the ledger does not know.
    #[error(
        "{location} is not the table that earlier runs wrote: a table of that name was renamed, restored or created since, and it has rows"
    )]
    Replaced {
        /// Where the table is.
        location: String,
        /// The condition of the ledger's row.
        row: String,
    },
    /// Another run was faster.
    #[error("{location} is being written by another run, or was committed by it since this one began")]
    Conflict {
        /// Where the table is.
        location: String,
    },
    /// A value that would have to be changed.
    #[error("column `{column}` of table `{table}`, row {row} of a batch: {reason}")]
    Value {
        /// The source's table.
        table: String,
        /// The column.
        column: String,
        /// The row within its batch, from 0.
        row: usize,
        /// What is wrong, without the value itself.
        reason: &'static str,
    },
    /// No space left.
    #[error("no space is left for {location}")]
    Full {
        /// Where it was written to.
        location: String,
        /// What the system said.
        #[source]
        source: Cause,
    },
    /// The file system or the object store refuses.
    #[error("{location} may not be written")]
    Forbidden {
        /// Where it was written to.
        location: String,
        /// What the system said.
        #[source]
        source: Cause,
    },
    /// The file system or the object store fails.
    #[error("cannot {action} {location}")]
    Storage {
        /// What was tried.
        action: &'static str,
        /// Where.
        location: String,
        /// The cause may pass by itself.
        transient: bool,
        /// What the system said.
        #[source]
        source: Cause,
    },
    /// The sink does not hold so many rows as were delivered.
    #[error("{location} would not hold what was delivered: {expected} {what} were expected, and {found} are there")]
    ReceiptRows {
        /// Where the table is.
        location: String,
        /// What was counted.
        what: &'static str,
        /// What there should be.
        expected: u64,
        /// What there is.
        found: u64,
    },
    /// The sink holds other values than were delivered.
    #[error("{location} would not hold the values that were delivered: {difference}")]
    ReceiptValues {
        /// Where the table is.
        location: String,
        /// How the values were compared, and what came out. It quotes none.
        difference: String,
    },
    /// A file is not as it was written.
    #[error("`{file}` of {location} is not as it was written: {reason}")]
    ReceiptFile {
        /// Where the table is.
        location: String,
        /// The file.
        file: String,
        /// What differs.
        reason: String,
    },
    /// The table's log cannot be read or understood.
    #[error("cannot read the Delta log of {location}")]
    Log {
        /// Where the table is.
        location: String,
        /// What the library said.
        #[source]
        source: Cause,
    },
    /// The table's log is there, and is not a log.
    #[error("the Delta log of {location} is damaged")]
    Damaged {
        /// Where the table is.
        location: String,
        /// What the library said.
        #[source]
        source: Cause,
    },
    /// Others commit faster than we can.
    #[error("{location} was committed by other writers between each of {attempts} attempts to commit")]
    Busy {
        /// Where the table is.
        location: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The state that an earlier commit left is not what we write.
    #[error("the state of {location} cannot be used")]
    State {
        /// Where the state is.
        location: String,
        /// What the parser said.
        #[source]
        source: StateError,
    },
    /// The rows are not those that the state describes: somebody else took some of them away.
    #[error("the rows of {location} are not those that its state describes: {reason}")]
    RowsChanged {
        /// Where the table is.
        location: String,
        /// What happened to them.
        reason: String,
    },
    /// There is a state, and it cannot be told which one counts.
    #[error("the state of {location} is lost: {reason}")]
    StateLost {
        /// Where the table is.
        location: String,
        /// What is missing.
        reason: String,
    },
    /// The commit failed, and whether it happened cannot be found out.
    #[error("the commit of {location} failed, and whether it took effect is not known")]
    Unknown {
        /// Where the table is.
        location: String,
        /// What the commit said.
        #[source]
        source: Cause,
    },
    /// Rows could not be encoded.
    #[error("cannot encode rows for {location}")]
    Encode {
        /// Where the table is.
        location: String,
        /// What the encoder said.
        #[source]
        source: Cause,
    },
    /// The caller broke the protocol of the traits.
    #[error("{location}: {what}")]
    Misuse {
        /// Where the table is.
        location: String,
        /// Which rule.
        what: String,
    },
    /// The Postgres server does not answer.
    #[error("cannot connect to the Postgres server {server}")]
    Connect {
        /// Host and port.
        server: String,
        /// What the driver said.
        #[source]
        source: Cause,
    },
    /// The password cannot be fetched, or was refused before.
    #[error("{0}")]
    Password(Failure),
    /// The Postgres server refuses the login.
    #[error("the Postgres server {server} refuses the login of user `{user}`")]
    Login {
        /// Host and port.
        server: String,
        /// Who.
        user: String,
        /// What the server said.
        #[source]
        source: Cause,
    },
    /// The way to the Postgres server cannot be encrypted, or its certificate is not trusted.
    #[error("no encrypted connection to the Postgres server {server}")]
    Tls {
        /// Host and port.
        server: String,
        /// What the TLS library said.
        #[source]
        source: Cause,
    },
    /// The database is not there.
    #[error("the Postgres server {server} has no database `{database}`")]
    NoDatabase {
        /// Host and port.
        server: String,
        /// Which.
        database: String,
        /// What the server said.
        #[source]
        source: Cause,
    },
    /// The user may not do what a sink does.
    #[error("user `{user}` may not {action} {location}")]
    Permission {
        /// Who.
        user: String,
        /// What was tried.
        action: &'static str,
        /// Where.
        location: String,
        /// What the server said.
        #[source]
        source: Cause,
    },
    /// The certificate file cannot be used.
    #[error("`{path}` is not a PEM certificate that can be used")]
    Certificate {
        /// The file.
        path: String,
        /// Why not.
        #[source]
        source: Cause,
    },
    /// A table without a column that is to be read.
    #[error("{location} has no column `{column}` that can be compared")]
    NoColumn {
        /// Where the table is.
        location: String,
        /// The column, or several.
        column: String,
    },
    /// The Postgres server takes no writes.
    #[error("the Postgres server {server} is read-only")]
    ReadOnly {
        /// Host and port.
        server: String,
    },
    /// Another process works on the load, or has taken it over.
    #[error("another process loads {location} as run `{run_id}`")]
    LoadTaken {
        /// The table.
        location: String,
        /// The run.
        run_id: String,
    },
    /// The Postgres server fails.
    #[error("Postgres cannot {action} {location}")]
    Server {
        /// What was tried.
        action: &'static str,
        /// Where.
        location: String,
        /// The cause may pass by itself.
        transient: bool,
        /// What the server or the driver said.
        #[source]
        source: Cause,
    },
}

impl SinkError {
    /// Number and who has to act. The numbers are never reused.
    fn number_and_kind(&self) -> (u16, Kind) {
        match self {
            // Has a code of its own.
            Self::Password(failure) => (0, failure.kind()),
            Self::Update(error) => (0, error.kind()),
            Self::Uri { .. } => (1, Kind::User),
            Self::NameTooLong { .. } => (2, Kind::User),
            Self::Name { .. } => (3, Kind::User),
            Self::Collision { .. } => (4, Kind::User),
            // 5 was a reserved column name: datakits refuse these now.
            Self::UnsupportedType { .. } => (6, Kind::User),
            Self::NoColumns(_) => (7, Kind::User),
            Self::SchemaMismatch { .. } => (8, Kind::User),
            Self::ForeignTable { .. } => (9, Kind::User),
            Self::Conflict { .. } => (10, Kind::User),
            Self::Value { .. } => (11, Kind::Data),
            Self::Full { .. } => (12, Kind::Sink),
            Self::Forbidden { .. } => (13, Kind::User),
            Self::Storage { .. } => (14, Kind::Sink),
            Self::Log { .. } => (15, Kind::Sink),
            Self::State { source: StateError::Newer { .. }, .. } => (47, Kind::User),
            Self::State { .. } => (16, Kind::Sink),
            Self::Unknown { .. } => (17, Kind::Sink),
            Self::Encode { .. } => (18, Kind::Internal),
            Self::Misuse { .. } => (19, Kind::Internal),
            Self::Connect { .. } => (20, Kind::Sink),
            Self::Login { .. } => (21, Kind::User),
            Self::Tls { .. } => (22, Kind::User),
            Self::NoDatabase { .. } => (23, Kind::User),
            Self::Permission { .. } => (24, Kind::User),
            Self::Certificate { .. } => (25, Kind::User),
            Self::Server { .. } => (26, Kind::Sink),
            Self::ReadOnly { .. } => (27, Kind::Sink),
            Self::Replaced { .. } => (28, Kind::User),
            Self::Busy { .. } => (34, Kind::Sink),
            Self::Damaged { .. } => (35, Kind::Sink),
            Self::TooManyColumns { .. } => (36, Kind::User),
            Self::Unconditional { .. } => (37, Kind::User),
            Self::Limit { .. } => (38, Kind::User),
            Self::PartitionBy { .. } => (39, Kind::User),
            // 40 was a merge by key, before sinks did it.
            Self::PartitionColumn { .. } => (41, Kind::User),
            Self::OtherPartitions { .. } => (42, Kind::User),
            Self::RowsChanged { .. } => (45, Kind::User),
            Self::StateLost { .. } => (46, Kind::User),
            Self::NoKey { .. } => (50, Kind::User),
            Self::MergeColumn { .. } => (51, Kind::User),
            Self::MergeConflict { .. } => (52, Kind::Sink),
            Self::Spool { .. } => (53, Kind::Sink),
            Self::DataFile { .. } => (54, Kind::Sink),
            Self::LoadTaken { .. } => (60, Kind::User),
            Self::SchemaConflict { .. } => (65, Kind::Sink),
            Self::Locked { .. } => (66, Kind::Sink),
            Self::ReceiptRows { .. } => (70, Kind::Sink),
            Self::ReceiptValues { .. } => (71, Kind::Sink),
            Self::ReceiptFile { .. } => (72, Kind::Sink),
            Self::NoColumn { .. } => (75, Kind::User),
        }
    }
}

fn partitioned(columns: &[String]) -> String {
    if columns.is_empty() { "not partitioned".to_owned() } else { format!("partitioned by {}", columns.join(", ")) }
}

impl From<Failure> for SinkError {
    fn from(failure: Failure) -> Self {
        Self::Password(failure)
    }
}

impl Diagnostic for SinkError {
    fn code(&self) -> Cow<'static, str> {
        if let Self::Password(failure) = self {
            return failure.code().to_owned().into();
        }
        if let Self::Update(error) = self {
            return error.code();
        }
        format!("DK-SNK-{:03}", self.number_and_kind().0).into()
    }

    fn kind(&self) -> Kind {
        self.number_and_kind().1
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Password(failure) => failure.retry(),
            Self::Storage { transient: true, .. }
            | Self::Log { .. }
            | Self::Connect { .. }
            | Self::Locked { .. }
            | Self::Server { transient: true, .. } => Retry::AfterBackoff,
            Self::Conflict { .. }
            | Self::Unknown { .. }
            | Self::MergeConflict { .. }
            | Self::LoadTaken { .. }
            | Self::SchemaConflict { .. } => Retry::NextRun,
            _ => Retry::Never,
        }
    }

    fn is_mismatch(&self) -> bool {
        matches!(self, Self::ReceiptRows { .. } | Self::ReceiptValues { .. } | Self::ReceiptFile { .. })
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Password(failure) => return failure.hint().map(str::to_owned),
            Self::Update(error) => return error.hint(),
            Self::Uri { .. } => "give a directory, for example `./bronze`, or `s3://BUCKET/PATH`, `abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH`, `az://CONTAINER/PATH`".into(),
            Self::NameTooLong { .. } | Self::Name { .. } => {
                "leave the table or column out of the selection, or rename it in a view of the source".into()
            }
            Self::Collision { second, .. } => {
                format!("exclude `{second}` in the datakit's settings, or rename it in a view")
            }
            Self::UnsupportedType { column, .. } => {
                format!("exclude `{column}` in the datakit's settings, or have the datakit cast it to text")
            }
            Self::NoColumns(_) => "check the datakit's column selection".into(),
            Self::PartitionBy { .. } => "leave out the columns to partition by".into(),
            Self::NoKey { .. } => {
                "merge tables that have a primary key, have the datakit name key columns, or set `mode = \"append\"` or `mode = \"overwrite\"`".into()
            }
            Self::MergeColumn { .. } => {
                "the datakit names the key and the columns that the host fills: correct its settings, or set another mode".into()
            }
            Self::MergeConflict { .. } => {
                "nothing of this run is in the table; when the other writer is done, run again with the same --run-id".into()
            }
            Self::Spool { .. } => {
                "free some space in the folder of temporary files, or name another one with TMPDIR; nothing of this run is in the table".into()
            }
            Self::ReceiptRows { .. } | Self::ReceiptValues { .. } => {
                "nothing of this run is in the table; look for triggers, rules and other writers of the table, and for faults of its storage".into()
            }
            Self::ReceiptFile { .. } => {
                "nothing of this run is in the table; look for faults of the storage, and for others who write into the table's folder".into()
            }
            Self::DataFile { .. } => {
                "the cause says more; restore the file, or replace all rows with `--mode overwrite`".into()
            }
            Self::PartitionColumn { .. } => {
                "partition by other columns: of booleans, integers, decimals, dates, timestamps or text, and not by all".into()
            }
            Self::OtherPartitions { .. } => {
                "partition by the columns of the table, move it aside, or write to another sink: a load does not change them".into()
            }
            Self::TooManyColumns { .. } => {
                "exclude columns in the datakit's settings, or write the table to a Delta sink".into()
            }
            Self::Limit { .. } => {
                "a row must fit a page of 8 KiB, in which a long text takes 18 bytes: exclude columns in the datakit's settings, or write the table to a Delta sink".into()
            }
            Self::Unconditional { .. } => {
                "commits of runs at the same time would replace each other there: use a store that honours conditional writes, as S3, Azure, MinIO and Ceph do".into()
            }
            Self::SchemaMismatch { rule: DriftRule::Fail, .. } => {
                "`drift = \"evolve\"` of the ingest lets the table follow its source; `host run --full-refresh` replaces rows and columns".into()
            }
            Self::SchemaMismatch { rule: DriftRule::Replace, .. } => "move the table aside, or write to another sink".into(),
            Self::SchemaMismatch { .. } => {
                "`host run --full-refresh` replaces the rows of the table and gives it the columns of the source; or exclude the column in the \
                 datakit's settings"
                    .into()
            }
            Self::SchemaConflict { .. } => {
                "nothing of this run is in the table; run again with the same --run-id".into()
            }
            Self::Locked { .. } => {
                "nothing of this run is in the table; end long queries of the table, and run again with the same --run-id".into()
            }
            Self::NoColumn { .. } => {
                "correct the columns of the rule in `quality` of the ingest, or load the column into the table".into()
            }
            Self::ForeignTable { .. } => "move the table aside, or write to another sink".into(),
            Self::Replaced { row, .. } => format!(
                "empty the table (or move it aside) to load everything again; or, if it holds what earlier runs loaded, keep it and \
                 have it known by: UPDATE \"_datakit\".\"ledger\" SET state = (state::jsonb - 'target')::json WHERE {row}"
            ),
            Self::Conflict { .. } => {
                "nothing of this run is in the table; when the other run has ended, run again with the same --run-id".into()
            }
            Self::LoadTaken { .. } => {
                "one process at a time works on a run: when the other one has ended, run again with the same --run-id".into()
            }
            Self::Busy { .. } => {
                "nothing of this run is in the table; when the other writers are done, run again with the same --run-id".into()
            }
            Self::Damaged { .. } => {
                "restore the file that the cause names, or move the table aside; other tables are not concerned".into()
            }
            Self::Value { .. } => {
                "correct the value at its source, exclude the column, or have the datakit cast or clean it".into()
            }
            Self::Full { .. } => "free some space, and run again with the same --run-id; nothing of this run is in the table".into(),
            Self::Forbidden { .. } => "give the process the right to write there".into(),
            Self::State { source: StateError::Newer { .. }, .. } => {
                "run a release that is at least as new as the one that wrote the table last".into()
            }
            Self::State { .. } => {
                "restore it from a backup, or move the table aside".into()
            }
            Self::RowsChanged { .. } => {
                "replace all rows with `--mode overwrite`; or bring the rows back with RESTORE to the version of the last load; or, if runs \
                 should go on from the rows that are there, `host state accept`"
                    .into()
            }
            Self::StateLost { .. } => {
                "restore the files below `_datakit/state` from a backup, and if the log does not name them, `host state accept`; or replace all \
                 rows with `--mode overwrite`"
                    .into()
            }
            Self::Unknown { .. } => {
                "run again with the same --run-id: it changes nothing if the commit took effect".into()
            }
            Self::Connect { .. } => "check host and port, and that the server runs".into(),
            Self::Login { .. } => "check user, password and the server's pg_hba.conf".into(),
            Self::Tls { .. } => {
                "check the server's certificate (`host doctor` shows it) and `certificate_file`; `encrypt = \"off\"` sends everything in clear"
                    .into()
            }
            Self::NoDatabase { database, .. } => format!("create it (`createdb {database}`), or correct `database`"),
            Self::Permission { .. } => "the user needs CREATE on the database, or to own the schema and table".into(),
            Self::Certificate { .. } => "give a file with one or more certificates in PEM form".into(),
            Self::ReadOnly { .. } => {
                "write to the primary, not to a standby; the role's `default_transaction_read_only` must be off".into()
            }
            Self::Storage { .. } => {
                "the cause says more; in an object store check bucket or container, endpoint and credentials (AWS_…, AZURE_…), on disk that no part of the path is a file".into()
            }
            Self::Server { transient: true, .. } => {
                "the server's log says more; run again with the same --run-id: what is committed stays as it is".into()
            }
            Self::Log { .. }
            | Self::Encode { .. }
            | Self::Misuse { .. }
            | Self::Server { .. } => {
                return None;
            }
        })
    }

    fn handed_on(&self) -> Option<&Failure> {
        match self {
            Self::Password(failure) => Some(failure),
            _ => None,
        }
    }

    fn context(&self) -> Vec<(String, String)> {
        if let Self::Update(error) = self {
            return error.context();
        }
        let pairs: Vec<(&str, String)> = match self {
            Self::Collision { table, second, .. } => vec![("table", table.clone()), ("column", second.clone())],
            Self::UnsupportedType { table, column, .. }
            | Self::PartitionColumn { table, column, .. }
            | Self::MergeColumn { table, column, .. }
            | Self::Value { table, column, .. } => {
                vec![("table", table.clone()), ("column", column.clone())]
            }
            Self::NoColumns(table)
            | Self::TooManyColumns { table, .. }
            | Self::PartitionBy { table, .. }
            | Self::NoKey { table, .. }
            | Self::Spool { table, .. } => {
                vec![("table", table.clone())]
            }
            Self::SchemaMismatch { location, .. }
            | Self::SchemaConflict { location }
            | Self::Locked { location, .. }
            | Self::ForeignTable { location, .. }
            | Self::OtherPartitions { location, .. }
            | Self::Replaced { location, .. }
            | Self::Conflict { location }
            | Self::LoadTaken { location, .. }
            | Self::MergeConflict { location, .. }
            | Self::DataFile { location, .. }
            | Self::ReceiptRows { location, .. }
            | Self::ReceiptValues { location, .. }
            | Self::ReceiptFile { location, .. }
            | Self::Full { location, .. }
            | Self::Forbidden { location, .. }
            | Self::Storage { location, .. }
            | Self::Log { location, .. }
            | Self::Damaged { location, .. }
            | Self::Busy { location, .. }
            | Self::Unconditional { location }
            | Self::Limit { location, .. }
            | Self::State { location, .. }
            | Self::RowsChanged { location, .. }
            | Self::StateLost { location, .. }
            | Self::Unknown { location, .. } => vec![("location", location.clone())],
            Self::Connect { server, .. }
            | Self::Login { server, .. }
            | Self::Tls { server, .. }
            | Self::ReadOnly { server } => {
                vec![("server", server.clone())]
            }
            _ => Vec::new(),
        };
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
