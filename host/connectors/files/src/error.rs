//! What can go wrong with files, with the codes `DK-SRC-2…`.
//!
//! | codes | about |
//! |---|---|
//! | 201–209 | configuration |
//! | 210–219 | the folder or the object store |
//! | 220–229 | a file as a whole |
//! | 230–239 | rows |
//! | 260 | time |
//! | 270–279 | a datakit's requests |
//! | 290 | a bug of ours |

use std::borrow::Cow;

use datakit_model::{Diagnostic, Failure, Kind, Retry, TableId};

use datakit_model::Fault;

/// Any error of this source.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A root that is neither a folder nor a URL of a store.
    #[error("`{root}` cannot be read from: {reason}")]
    Root {
        /// As configured.
        root: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Invalid path pattern.
    #[error("the pattern `{pattern}` of the table {table} {problem}")]
    Pattern {
        /// The table it is of.
        table: TableId,
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The folder, bucket or file is not there.
    #[error("{location} is not there")]
    NotFound {
        /// The place.
        location: String,
    },
    /// The folder or store refuses.
    #[error("{location} may not be read: {reason}")]
    Forbidden {
        /// The place.
        location: String,
        /// The system's words.
        reason: String,
    },
    /// The folder or store fails.
    #[error("cannot read {location}: {reason}")]
    Storage {
        /// The place.
        location: String,
        /// The system's words.
        reason: String,
    },
    /// A key of the store that cannot be fetched.
    #[error("{0}")]
    Secret(Failure),
    /// More files than the connection allows.
    #[error("there are more than {limit} files below {root}")]
    TooManyFiles {
        /// The root.
        root: String,
        /// `max_files`.
        limit: u64,
    },
    /// A path that two tables claim.
    #[error("`{path}` belongs to two tables, {first} and {second}")]
    Ambiguous {
        /// The path.
        path: String,
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// A file that is not the one that was listed.
    #[error("`{path}` has changed since it was listed")]
    Changed {
        /// The file.
        path: String,
    },
    /// A compressed file that is broken.
    #[error("`{path}` is damaged: {reason}")]
    Damaged {
        /// The file.
        path: String,
        /// The decoder's words.
        reason: String,
    },
    /// A compressed file that becomes far larger than any file of rows.
    #[error("`{path}` has become {ratio} times as large by decompression, which is over the limit `max_expansion`")]
    Bomb {
        /// The file.
        path: String,
        /// So many times.
        ratio: u64,
    },
    /// A header that names no columns.
    #[error("the header of `{path}` cannot be used: {reason}")]
    Header {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Columns that the table has and a file has not.
    #[error("`{path}` has no column {columns}")]
    MissingColumns {
        /// The file.
        path: String,
        /// The columns, in backticks.
        columns: String,
    },
    /// Columns that a file has and the table has not.
    #[error("`{path}` has a column {columns} which the table does not have")]
    ExtraColumns {
        /// The file.
        path: String,
        /// The columns, in backticks.
        columns: String,
    },
    /// A quote that takes the rows after it into its field.
    #[error("`{path}`, line {line}: the record that begins here opens a quote that {problem}")]
    OpenQuote {
        /// The file.
        path: String,
        /// Where the record begins, counted from 1.
        line: u64,
        /// Where it does not close.
        problem: &'static str,
    },
    /// A JSON document that is not JSON.
    #[error("`{path}`, line {line}: the JSON document is broken: {problem}")]
    BrokenDocument {
        /// The file.
        path: String,
        /// Counted from 1.
        line: u64,
        /// What is wrong there.
        problem: String,
    },
    /// A row that cannot be read, and may not be rejected.
    #[error("`{path}`, line {line}: {reason}")]
    BadRow {
        /// The file.
        path: String,
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        reason: String,
        /// Rows that may be rejected.
        limit: u64,
    },
    /// The datakit's time for a request is over.
    #[error("reading was cancelled after {seconds:.1} s")]
    Timeout {
        /// The bound, in seconds.
        seconds: f64,
    },
    /// Invalid request from the datakit.
    #[error("the datakit's request was refused: {0}")]
    Request(String),
    /// A file that the operator has not granted.
    #[error("`{path}` may not be read: {why}")]
    NotGranted {
        /// As the datakit named it.
        path: String,
        /// Why not.
        why: &'static str,
    },
    /// A table that the operator has not granted.
    #[error("the table {table} is not granted")]
    TableNotGranted {
        /// As the datakit named it.
        table: TableId,
    },
    /// A second request while a reader lives.
    #[error("this connection is still reading an earlier request")]
    Busy,
    /// Something that cannot happen.
    #[error("{0}")]
    Internal(String),
}

impl FilesError {
    pub(super) fn request(what: impl Into<String>) -> Self {
        Self::Request(what.into())
    }
}

impl Fault for FilesError {
    fn query_timeout(seconds: f64) -> Self {
        Self::Timeout { seconds }
    }

    fn pool_timeout(address: String, _: f64, _: usize) -> Self {
        Self::Internal(format!("files have no pool, and yet waited for {address}"))
    }

    fn internal(what: String) -> Self {
        Self::Internal(what)
    }
}

impl Diagnostic for FilesError {
    fn code(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            // Has a code of its own.
            Self::Secret(failure) => return Cow::Owned(failure.code().to_owned()),
            Self::Root { .. } => "DK-SRC-201",
            Self::Pattern { .. } => "DK-SRC-202",
            Self::NotFound { .. } => "DK-SRC-210",
            Self::Forbidden { .. } => "DK-SRC-211",
            Self::Storage { .. } => "DK-SRC-212",
            Self::TooManyFiles { .. } => "DK-SRC-213",
            Self::Ambiguous { .. } => "DK-SRC-214",
            Self::Changed { .. } => "DK-SRC-220",
            Self::Damaged { .. } => "DK-SRC-221",
            Self::Bomb { .. } => "DK-SRC-222",
            Self::Header { .. } => "DK-SRC-223",
            Self::MissingColumns { .. } => "DK-SRC-224",
            Self::ExtraColumns { .. } => "DK-SRC-225",
            Self::OpenQuote { .. } => "DK-SRC-226",
            Self::BadRow { .. } => "DK-SRC-230",
            Self::BrokenDocument { .. } => "DK-SRC-231",
            Self::Timeout { .. } => "DK-SRC-260",
            Self::Request(_) => "DK-SRC-270",
            Self::NotGranted { .. } => "DK-SRC-271",
            Self::TableNotGranted { .. } => "DK-SRC-272",
            Self::Busy => "DK-SRC-273",
            Self::Internal(_) => "DK-SRC-290",
        })
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Secret(failure) => failure.kind(),
            Self::Root { .. } | Self::Pattern { .. } | Self::TooManyFiles { .. } | Self::Ambiguous { .. } => Kind::User,
            Self::Request(_) | Self::NotGranted { .. } | Self::TableNotGranted { .. } | Self::Busy => Kind::Datakit,
            Self::Internal(_) => Kind::Internal,
            Self::Damaged { .. }
            | Self::Bomb { .. }
            | Self::Header { .. }
            | Self::MissingColumns { .. }
            | Self::ExtraColumns { .. }
            | Self::OpenQuote { .. }
            | Self::BrokenDocument { .. }
            | Self::BadRow { .. } => Kind::Data,
            _ => Kind::Source,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Secret(failure) => failure.retry(),
            Self::Storage { .. } | Self::Timeout { .. } => Retry::AfterBackoff,
            _ => Retry::Never,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Secret(failure) => return failure.hint().map(str::to_owned),
            Self::Root { .. } => {
                "`root` is a folder, `s3://BUCKET/PATH`, `abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH` or `az://CONTAINER/PATH`".into()
            }
            Self::Pattern { .. } => {
                "a pattern is a path below the root, with `*` for any characters of a name, `?` for one and `**` for any folders".into()
            }
            Self::NotFound { .. } => "check `root` of the connection; files that are gone are left out by the next run".into(),
            Self::Forbidden { .. } => {
                "give the host's user the right to read it; object stores are logged in to by `store` of the connection, or by the variables AWS_… and AZURE_…".into()
            }
            Self::Storage { .. } => "check the way to the store, and its settings: `store` of the connection, or the environment".into(),
            Self::TooManyFiles { .. } => "choose a `root` further down, archive what is loaded, or raise `max_files`".into(),
            Self::Ambiguous { .. } => "take it out of one of them by a pattern with `!`, in `tables` of the connection".into(),
            Self::Changed { .. } => "write files under another name and rename them when they are complete; then run again".into(),
            Self::Damaged { .. } => "get the file again, or move it away".into(),
            Self::Bomb { .. } => "move the file away, or raise `max_expansion` of the connection if it is what it should be".into(),
            Self::Header { .. } => "check `delimiter`, `encoding` and `skip_lines` of the datakit's settings, or set `header = false`".into(),
            Self::MissingColumns { .. } => "set `missing_columns = \"null\"` in the datakit's settings to load nulls for them".into(),
            Self::ExtraColumns { .. } => {
                "set `extra_columns = \"ignore\"` in the datakit's settings to leave them out, or load all files into a table of the new columns by `mode = \"overwrite\"`".into()
            }
            Self::OpenQuote { .. } => {
                "correct the file: no more can be told of the rows behind that quote; set `quote = \"\"` in the datakit's settings if nothing is quoted, or raise `max_line_bytes` of the connection if the field is as long as that".into()
            }
            Self::BrokenDocument { .. } => {
                "correct the file: the rows behind that place cannot be told apart; raise `max_line_bytes` of the connection if a row is as long as that, and set `format = \"json_lines\"` in the datakit's settings if each line is an object".into()
            }
            Self::BadRow { limit: 0, .. } => "correct the file, or let rows be rejected: `rejected` of the ingest, or the datakit's setting `max_bad_rows`".into(),
            Self::BadRow { .. } => "correct the files, or raise `max_rows` of `rejected` in the ingest, or the datakit's setting `max_bad_rows`".into(),
            Self::Timeout { .. } => "read smaller partitions".into(),
            Self::Request(_) => "wit/files.wit and docs/files.md say what a request may be; if a setting caused it, correct that".into(),
            Self::NotGranted { .. } => "the operator grants files by `root` and `tables` of the connection".into(),
            Self::TableNotGranted { .. } => "add it to `tables` of the ingest".into(),
            Self::Busy => "drop the reader before the next request, or open a second connection".into(),
            Self::Internal(_) => "please report it with the log of this run".into(),
        })
    }

    fn handed_on(&self) -> Option<&Failure> {
        match self {
            Self::Secret(failure) => Some(failure),
            _ => None,
        }
    }

    fn context(&self) -> Vec<(String, String)> {
        let pair = |name: &str, value: String| (name.to_owned(), value);
        match self {
            Self::Secret(failure) => failure.context().to_vec(),
            Self::BadRow { path, line, limit, .. } => vec![
                pair("file", path.clone()),
                pair("line", line.to_string()),
                pair("max_bad_rows", limit.to_string()),
            ],
            Self::OpenQuote { path, line, .. } | Self::BrokenDocument { path, line, .. } => {
                vec![pair("file", path.clone()), pair("line", line.to_string())]
            }
            Self::TooManyFiles { limit, .. } => vec![pair("max_files", limit.to_string())],
            Self::Changed { path }
            | Self::Damaged { path, .. }
            | Self::Bomb { path, .. }
            | Self::Header { path, .. }
            | Self::MissingColumns { path, .. }
            | Self::ExtraColumns { path, .. } => vec![pair("file", path.clone())],
            _ => Vec::new(),
        }
    }
}
