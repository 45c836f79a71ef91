//! What can be wrong with a configuration, by name.

mod error;

pub(crate) use error::Problems;
pub use error::{ConfigError, ConfigErrors};

use std::path::PathBuf;

use datakit_model::KeyLength;
use datakit_model::names::PatternError;

/// One error of the configuration.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("not TOML: {message}")]
    Syntax {
        /// The parser's words.
        message: String,
    },
    /// A key that means nothing here.
    #[error("unknown key `{path}`")]
    UnknownKey {
        /// The key with its tables.
        path: String,
        /// The key that was meant, when one is near.
        meant: Option<String>,
        /// The keys there are.
        known: Vec<String>,
    },
    /// A value of another type.
    #[error("`{path}` is {found}, but must be {expected}")]
    WrongType {
        /// The key with its tables.
        path: String,
        /// What it is.
        found: &'static str,
        /// What it must be.
        expected: String,
    },
    /// A key without which nothing works.
    #[error("`{path}` is missing")]
    Missing {
        /// The key with its tables.
        path: String,
        /// What to write.
        hint: String,
    },
    /// A text that is not one of the words allowed.
    #[error("`{path}` is `{found}`, which is not one of: {}", allowed.join(", "))]
    NotAllowed {
        /// The key with its tables.
        path: String,
        /// What it is.
        found: String,
        /// The words.
        allowed: Vec<String>,
        /// The word that was meant, when one is near.
        meant: Option<String>,
    },
    /// A number outside its range.
    #[error("`{path}` is {found}, but must be {}", range(*minimum, *maximum))]
    OutOfRange {
        /// The key with its tables.
        path: String,
        /// What it is.
        found: i128,
        /// The smallest value.
        minimum: u64,
        /// The largest value.
        maximum: u64,
    },
    /// A password that stands in the configuration itself. Holds no part of it.
    #[error("`{path}` holds a secret in plain text")]
    InlineSecret {
        /// The key with its tables.
        path: String,
    },
    /// A reference to a secret that names no place, or two.
    #[error("`{path}` must name one place a secret comes from")]
    SecretReference {
        /// The key with its tables.
        path: String,
    },
    /// The variable a secret comes from is not set.
    #[error("`{path}` comes from the environment variable {variable}, which is {state}")]
    SecretVariable {
        /// The key with its tables.
        path: String,
        /// The variable.
        variable: String,
        /// `not set` or `empty`.
        state: &'static str,
    },
    /// The file a secret comes from cannot be read.
    #[error("`{path}` comes from the file {}, which cannot be read", file.display())]
    SecretFile {
        /// The key with its tables.
        path: String,
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file a secret comes from holds none.
    #[error("`{path}` comes from the file {}, which {state}", file.display())]
    SecretFileContent {
        /// The key with its tables.
        path: String,
        /// The file.
        file: PathBuf,
        /// `is empty`, `is larger than 64 KiB`.
        state: &'static str,
    },
    /// A secret that is too short or too long for a key.
    #[error("`{path}`: {problem}")]
    KeyLength {
        /// The key with its tables.
        path: String,
        /// Its length, and the bounds.
        problem: KeyLength,
    },
    /// A connection or sink of a kind there is not.
    #[error("`{path}` is `{found}`, a kind this version does not know")]
    UnknownKind {
        /// The key with its tables.
        path: String,
        /// What it is.
        found: String,
        /// The kinds there are.
        known: Vec<String>,
    },
    /// A server that is not `host`, `host,port` or `host:port`.
    #[error("`{path}` {problem}")]
    Server {
        /// The key with its tables.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// A table pattern that is none.
    #[error("`{path}`: {problem}")]
    Pattern {
        /// The key with its index.
        path: String,
        /// Why.
        problem: PatternError,
    },
    /// An ingest names a connection, a sink or a key that is not there.
    #[error("`{path}` names the {what} `{name}`, which is not configured")]
    UnknownName {
        /// The key with its tables.
        path: String,
        /// `connection`, `sink` or `key`.
        what: &'static str,
        /// The name.
        name: String,
        /// The name that was meant, when one is near.
        meant: Option<String>,
        /// The names there are.
        known: Vec<String>,
    },
    /// A file extends itself.
    #[error("`extends` refers back to itself: {}", chain.join(" → "))]
    ExtendsCircle {
        /// The files, the first one again at the end.
        chain: Vec<String>,
    },
    /// Too many files extend each other.
    #[error("more than {maximum} files extend each other")]
    ExtendsDepth {
        /// How many may.
        maximum: usize,
    },
    /// Not `NAME@VERSION` or `NAME@sha256:…`.
    #[error("`{found}` does not name a version or a digest of a datakit")]
    Reference {
        /// What it is.
        found: String,
    },
    /// A name with characters that do not go everywhere.
    #[error("`{path}` {problem}")]
    Name {
        /// The key with its tables.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// Two settings that exclude each other.
    #[error("{first} and {second} exclude each other")]
    Contradiction {
        /// One of them.
        first: String,
        /// The other.
        second: String,
        /// What to do.
        hint: String,
    },
    /// A variable that could mean several connections or sinks.
    #[error("{variable} is set, but the file has {count} {what}: it is not clear which one is meant")]
    Ambiguous {
        /// The variable.
        variable: String,
        /// How many there are.
        count: usize,
        /// `connections` or `sinks`.
        what: &'static str,
    },
    /// A value that is not JSON, or not an object.
    #[error("not a JSON object: {message}")]
    Settings {
        /// The parser's words.
        message: String,
    },
    /// A value of the right shape that the type of the setting does not take.
    #[error("`{path}`: {message}")]
    Refused {
        /// The table that it is in.
        path: String,
        /// Why.
        message: String,
    },
    /// Several ingests fit.
    #[error("{count} ingests of the file fit: {}", names.join(", "))]
    SeveralIngests {
        /// How many.
        count: usize,
        /// Each as `--ingest` takes it.
        names: Vec<String>,
        /// Tables or settings are given that are for one of them.
        are_laid_over: bool,
    },
    /// No ingest fits, and none can be made of what is configured.
    #[error("{message}")]
    NoIngest {
        /// What was asked for, and is not there.
        message: String,
        /// What to do.
        hint: String,
    },
    /// No table may be read: deny by default.
    #[error("no tables are selected")]
    NoTables,
    /// No datakit is named anywhere.
    #[error("no datakit is named{}", if *has_file { "" } else { ", and there is no warehouse.toml here" })]
    NoDatakit {
        /// There is a file that could name one.
        has_file: bool,
    },
}

fn range(minimum: u64, maximum: u64) -> String {
    // The largest integer of TOML is no bound to speak of.
    if maximum >= i64::MAX as u64 { format!("at least {minimum}") } else { format!("from {minimum} to {maximum}") }
}

impl Problem {
    /// Code and what it means, of every problem: the list in docs/errors.md.
    pub const CODES: &'static [(&'static str, &'static str)] = &[
        ("DK-CFG-001", "a configuration file cannot be read"),
        ("DK-CFG-002", "a configuration file is not TOML"),
        ("DK-CFG-003", "unknown key"),
        ("DK-CFG-004", "a value of the wrong type"),
        ("DK-CFG-005", "a required key is missing"),
        ("DK-CFG-006", "a word that is not one of those allowed"),
        ("DK-CFG-007", "a number out of range"),
        ("DK-CFG-008", "a secret in plain text"),
        ("DK-CFG-009", "a reference to a secret that names no place, or two"),
        ("DK-CFG-010", "the environment variable of a secret is not set"),
        ("DK-CFG-011", "the file of a secret cannot be used"),
        ("DK-CFG-012", "unknown kind of connection or sink"),
        ("DK-CFG-014", "not a server name"),
        ("DK-CFG-015", "not a table pattern"),
        ("DK-CFG-016", "a connection, sink or key that is not configured"),
        ("DK-CFG-017", "`extends` refers back to itself, or is nested too deep"),
        ("DK-CFG-018", "not a datakit's version or digest"),
        ("DK-CFG-019", "a name that is too long, empty or has odd characters"),
        ("DK-CFG-020", "settings that exclude each other"),
        ("DK-CFG-021", "an environment variable that could mean several connections or sinks"),
        ("DK-CFG-022", "settings that are not a JSON object"),
        ("DK-CFG-023", "several ingests fit"),
        ("DK-CFG-024", "no ingest, connection or sink fits"),
        ("DK-CFG-025", "no tables selected, or no datakit named"),
        ("DK-CFG-026", "a value that the setting does not take"),
        ("DK-CFG-027", "a key that is too short or too long"),
    ];

    fn number(&self) -> usize {
        match self {
            Self::Unreadable { .. } => 1,
            Self::Syntax { .. } => 2,
            Self::UnknownKey { .. } => 3,
            Self::WrongType { .. } => 4,
            Self::Missing { .. } => 5,
            Self::NotAllowed { .. } => 6,
            Self::OutOfRange { .. } => 7,
            Self::InlineSecret { .. } => 8,
            Self::SecretReference { .. } => 9,
            Self::SecretVariable { .. } => 10,
            Self::SecretFile { .. } | Self::SecretFileContent { .. } => 11,
            Self::UnknownKind { .. } => 12,
            // 13 said that there was no Kerberos.
            Self::Server { .. } => 14,
            Self::Pattern { .. } => 15,
            Self::UnknownName { .. } => 16,
            Self::ExtendsCircle { .. } | Self::ExtendsDepth { .. } => 17,
            Self::Reference { .. } => 18,
            Self::Name { .. } => 19,
            Self::Contradiction { .. } => 20,
            Self::Ambiguous { .. } => 21,
            Self::Settings { .. } => 22,
            Self::SeveralIngests { .. } => 23,
            Self::NoIngest { .. } => 24,
            Self::NoTables | Self::NoDatakit { .. } => 25,
            Self::Refused { .. } => 26,
            Self::KeyLength { .. } => 27,
        }
    }

    fn hint(&self) -> Option<String> {
        let one_of = |known: &[String]| format!("one of: {}", known.join(", "));
        let did_you_mean = |meant: &str| format!("did you mean `{meant}`?");
        Some(match self {
            Self::Unreadable { .. } => "check the path and who may read it".into(),
            Self::Syntax { .. } => return None,
            Self::UnknownKey { meant: Some(meant), .. } | Self::NotAllowed { meant: Some(meant), .. } => {
                did_you_mean(meant)
            }
            Self::UnknownKey { known, .. } => one_of(known),
            Self::WrongType { .. } | Self::Refused { .. } => "docs/warehouse-file.md shows how every key is written".into(),
            Self::NotAllowed { .. } => return None,
            Self::OutOfRange { .. } => "docs/warehouse-file.md has every key with its default and what it bounds".into(),
            Self::Missing { hint, .. } | Self::NoIngest { hint, .. } => hint.clone(),
            Self::InlineSecret { path } if path.ends_with(".uri") => {
                "take user and password out of the URI: stores read them from the environment, or from `store`".into()
            }
            Self::InlineSecret { path } if path.ends_with(".keytab") => {
                "name the file it is in: `keytab = { file = \"PATH\" }`".into()
            }
            Self::InlineSecret { path } => format!(
                "refer to it instead: `{} = {{ env = \"NAME\" }}` or `{{ file = \"PATH\" }}`; and change it, now that it stood in a file",
                path.rsplit('.').next().unwrap_or(path)
            ),
            Self::SecretReference { .. } => datakit_secrets::forms().into(),
            Self::SecretVariable { variable, .. } => format!("set {variable} for this command"),
            Self::SecretFile { .. } => "the file must exist and be readable by the user that runs this command".into(),
            Self::SecretFileContent { .. } => "the file holds the secret alone; a line end after it does not count".into(),
            Self::KeyLength { .. } => "make a random one, for example by `openssl rand -hex 32`".into(),
            Self::UnknownKind { known, .. } => one_of(known),
            Self::Server { hint, .. } | Self::Name { hint, .. } => (*hint).into(),
            Self::Pattern { .. } => "for example `dbo.*`, `sales.order_?`, `!dbo.audit_*`, `[odd.schema].[50%*]`".into(),
            Self::UnknownName { meant: Some(meant), .. } => did_you_mean(meant),
            Self::UnknownName { what, known, .. } if known.is_empty() => {
                format!("there is none: add a table [{what}s.NAME]")
            }
            Self::UnknownName { known, .. } => one_of(known),
            Self::ExtendsCircle { .. } => "take one `extends` out".into(),
            Self::ExtendsDepth { .. } => "put shared settings into fewer files".into(),
            Self::Reference { found } if found.ends_with(".wasm") => {
                "publish it with `host publish FILE` and write NAME@VERSION here, or name the file on the command line: `host run FILE`".into()
            }
            Self::Reference { .. } => "write NAME@VERSION, for example sqlserver-bronze@0.1.0, or NAME@sha256:…".into(),
            Self::Contradiction { hint, .. } => hint.clone(),
            Self::Ambiguous { variable, .. } => {
                format!("unset {variable}, or let the file refer to it where it is meant: `{{ env = \"{variable}\" }}`")
            }
            Self::Settings { .. } => "for example '{\"maxdop\": 4}'".into(),
            Self::SeveralIngests { are_laid_over: true, .. } => {
                "tables and settings that are given by a flag or a variable are for one ingest: name it with --ingest".into()
            }
            Self::SeveralIngests { .. } => "name one of them with --ingest".into(),
            Self::NoTables => "grant tables with --tables 'dbo.*', DATAKIT_TABLES or `tables` of the ingest: what is not granted is not read".into(),
            Self::NoDatakit { has_file: true } => "name one, for example `host run sqlserver-bronze@0.1.0`, or have an [[ingest]] in the file".into(),
            Self::NoDatakit { has_file: false } => "run in the folder of the warehouse.toml, name the file with --config, or name a datakit: `host run sqlserver-bronze@0.1.0`".into(),
        })
    }
}
