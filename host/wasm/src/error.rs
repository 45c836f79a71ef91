//! What can go wrong with a datakit, each with its code.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::path::PathBuf;

use datakit_model::rejects::TooManyRejected;
use datakit_model::{Diagnostic, Failure, Kind, Retry};

/// What the host was doing with a datakit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// Making an instance.
    Instantiate,
    /// `describe`
    Describe,
    /// `discover`
    Discover,
    /// `plan`
    Plan,
    /// `extraction.open`
    ExtractionOpen,
    /// `extraction.output`
    ExtractionOutput,
    /// `extraction.next`
    ExtractionNext,
    /// `extraction.watermark`
    ExtractionWatermark,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Instantiate => "instantiation",
            Self::Describe => "describe",
            Self::Discover => "discover",
            Self::Plan => "plan",
            Self::ExtractionOpen => "extraction.open",
            Self::ExtractionOutput => "extraction.output",
            Self::ExtractionNext => "extraction.next",
            Self::ExtractionWatermark => "extraction.watermark",
        })
    }
}

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident = $code:literal $setting:literal,)*) => {
        /// A bound of [`datakit_model::GuestLimits`] that a datakit went over.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Limit {
            $($(#[$doc])* $name,)*
        }

        impl Limit {
            /// The stable code of the error.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// The operator's setting.
            #[must_use]
            pub fn setting(self) -> &'static str {
                match self { $(Self::$name => concat!("limits.guest.", $setting),)* }
            }
        }
    };
}

limits! {
    /// Linear memory.
    Memory = "DK-KIT-030" "max_guest_memory_bytes",
    /// Elements of tables.
    TableElements = "DK-KIT-031" "max_guest_table_elements",
    /// The guest's stack.
    Stack = "DK-KIT-032" "max_guest_stack_bytes",
    /// Processor time of one call.
    Cpu = "DK-KIT-033" "max_guest_cpu_ms",
    /// Host calls of one call.
    HostCalls = "DK-KIT-034" "max_host_calls",
    /// Live handles.
    Handles = "DK-KIT-035" "max_handles",
    /// Bytes of live batches.
    LiveBatchBytes = "DK-KIT-036" "max_live_batch_bytes",
    /// Bytes handed to the host by one call.
    TransferBytes = "DK-KIT-037" "max_ipc_bytes",
    /// Columns of a table or batch.
    Columns = "DK-KIT-038" "max_columns",
    /// Bytes of one SQL text.
    SqlBytes = "DK-KIT-039" "max_sql_bytes",
    /// Parameters of one query.
    Parameters = "DK-KIT-040" "max_parameters",
    /// Tables of one discovery.
    Tables = "DK-KIT-041" "max_tables",
    /// Partitions of one plan.
    Partitions = "DK-KIT-042" "max_partitions",
    /// Bytes of one partition's state.
    PartitionStateBytes = "DK-KIT-043" "max_partition_state_bytes",
    /// Bytes of one watermark.
    WatermarkBytes = "DK-KIT-044" "max_watermark_bytes",
    /// Bytes of one component.
    ComponentBytes = "DK-KIT-045" "max_component_bytes",
    /// Calls that return no row and have read none.
    EmptyBatches = "DK-KIT-051" "max_empty_batches",
    /// Memory of the process that compiles.
    CompileMemory = "DK-KIT-053" "max_compile_memory_bytes",
    /// Processor time of the process that compiles.
    CompileCpu = "DK-KIT-054" "max_compile_cpu_ms",
    /// Processor time of the process that checks settings.
    SchemaCpu = "DK-KIT-055" "max_schema_cpu_ms",
}

/// An error of the runtime or of a datakit in it.
#[derive(Debug, thiserror::Error)]
pub enum WasmError {
    /// DK-KIT-001: the bytes are no WebAssembly at all.
    #[error("the artifact is not WebAssembly: it does not begin with `\\0asm`")]
    NotWebAssembly,
    /// DK-KIT-002: a core module.
    #[error("the artifact is a WebAssembly module, not a component")]
    CoreModule,
    /// DK-KIT-003: a component that does not validate or compile.
    #[error("the component is not valid: {reason}")]
    Invalid {
        /// What wasmtime said.
        reason: String,
    },
    /// DK-KIT-004: a component without the export a datakit has.
    #[error("the component is not a datakit: it does not export `datakit:kit/extractor` (it exports {exports})")]
    NotADatakit {
        /// The first of its exports.
        exports: String,
    },
    /// DK-KIT-005: a datakit of a WIT version this host does not know.
    #[error("the datakit is built for `{found}`; this host serves datakit:kit@{served}")]
    UnknownWit {
        /// The import or export, with its version.
        found: String,
        /// The version served.
        served: &'static str,
    },
    /// DK-KIT-006: an import that is neither ours nor closed-off WASI.
    #[error("the component imports `{import}`, which no datakit gets")]
    ForbiddenImport {
        /// Its name.
        import: String,
    },
    /// DK-KIT-007: the exports or imports have other types than the WIT says.
    #[error("the component does not fit datakit:kit@{served}: {reason}", served = crate::v0_2::VERSION)]
    Misfit {
        /// What does not fit.
        reason: String,
    },
    /// DK-KIT-008: the bytes are not those of the digest.
    #[error("the component's digest is {found}, not {expected}")]
    Digest {
        /// What was asked for.
        expected: String,
        /// What the bytes have.
        found: String,
    },
    /// DK-KIT-009: the engine cannot be made on this machine.
    #[error("the WebAssembly engine cannot start: {reason}")]
    Engine {
        /// What wasmtime said.
        reason: String,
    },
    /// DK-KIT-010: the directory for compiled code cannot be used at all.
    #[error("compiled code cannot be kept in {path}")]
    CodeCache {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// DK-KIT-011: the guest panicked.
    #[error("the datakit panicked in `{call}`: {message}")]
    Panicked {
        /// During this.
        call: Call,
        /// What it said last.
        message: String,
        /// Its last lines of level error and warn.
        log: Vec<String>,
    },
    /// DK-KIT-012: the guest trapped.
    #[error("the datakit failed in `{call}`: {reason}{}", wrote(.written))]
    Trapped {
        /// During this.
        call: Call,
        /// What wasmtime said.
        reason: String,
        /// Its last lines of level error and warn.
        log: Vec<String>,
        /// Its last lines on standard error.
        written: Vec<String>,
    },
    /// DK-KIT-013: an instance was used again after it had failed or a call had been cancelled.
    #[error("the instance cannot be used after a call of it failed or was cancelled")]
    Unusable,
    /// DK-KIT-014: a role that `describe` does not declare.
    #[error("the datakit opened the role `{role}`, which it does not declare (it declares {declared})")]
    UndeclaredRole {
        /// The role.
        role: String,
        /// Those it does declare.
        declared: String,
    },
    /// DK-KIT-015: a declared role the operator did not map.
    #[error("the role `{role}` is not mapped to a connection")]
    UnmappedRole {
        /// The role.
        role: String,
    },
    /// DK-KIT-016: a role mapped to a connection of a kind that will not do.
    #[error("the role `{role}` is mapped to a connection of kind {found}, but needs {needed}")]
    RoleKind {
        /// The role.
        role: String,
        /// The connection's kind.
        found: String,
        /// The kinds that will do.
        needed: String,
    },
    /// DK-KIT-017: `describe` asked for what only a run has.
    #[error("`describe` called `{import}`, but it must be pure: there is no run yet")]
    NotPure {
        /// The host call.
        import: &'static str,
    },
    /// DK-KIT-018: what `describe` returned is not acceptable.
    #[error("`describe` returned something unacceptable: {problem}")]
    BadInfo {
        /// What is wrong.
        problem: String,
    },
    /// DK-KIT-019: what `discover` returned is not acceptable.
    #[error("`discover` returned something unacceptable: {problem}")]
    BadTables {
        /// What is wrong.
        problem: String,
    },
    /// DK-KIT-020: what `plan` returned is not acceptable.
    #[error("`plan` returned something unacceptable: {problem}")]
    BadPlan {
        /// What is wrong.
        problem: String,
    },
    /// DK-KIT-021: what `extraction.output` returned is not acceptable.
    #[error("`extraction.output` returned something unacceptable: {problem}")]
    BadOutput {
        /// What is wrong.
        problem: String,
    },
    /// DK-KIT-022: a batch that does not have the announced schema.
    #[error("`extraction.next` returned a batch that is not what `extraction.output` announced: {problem}")]
    BadBatch {
        /// What is wrong.
        problem: String,
    },
    /// DK-KIT-023: the guest waited by WASI, where nothing ever happens.
    #[error("the datakit tried to wait by `{import}`; a datakit has no clock to wait for")]
    Wait {
        /// The WASI call.
        import: &'static str,
    },
    /// DK-KIT-050: the guest waits for rows that need the memory it holds itself.
    #[error(
        "the datakit waits for rows in `{call}` and holds {held_bytes} bytes of batches meanwhile; all of the run's memory for \
         batches is in the hands of such waits; limits.run.max_memory_bytes = {capacity_bytes}"
    )]
    Starved {
        /// During this.
        call: Call,
        /// What its batches and the readers it does not read hold.
        held_bytes: u64,
        /// The limit.
        capacity_bytes: u64,
    },
    /// DK-KIT-052: more rows were rejected than a run may hold until it commits them.
    #[error(
        "rows that are rejected are held until their table is committed, and would be more than \
         limits.run.max_rejected_bytes = {capacity_bytes}"
    )]
    Rejected {
        /// The limit.
        capacity_bytes: u64,
    },
    /// More rows have a bad value than may be rejected.
    #[error(transparent)]
    TooManyRejected(#[from] TooManyRejected),
    /// DK-KIT-056: the process that compiles, or that checks settings, broke down.
    #[error("{what} ended its process by {how}")]
    Unbounded {
        /// What it did.
        what: &'static str,
        /// How it ended.
        how: String,
    },
    /// DK-KIT-057: a request for changes that lacks what its strategy needs.
    #[error("the datakit's request for changes cannot be: {problem}")]
    BadChangeRequest {
        /// What is wrong.
        problem: String,
    },
    /// DK-KIT-058: a strategy that this host does not have.
    #[error("there is no strategy `{strategy}` to find changes by")]
    UnknownStrategy {
        /// Its name.
        strategy: String,
    },
    /// DK-KIT-025: the host panicked in a host call of this instance. A bug of ours.
    #[error("the host failed in a call of the datakit: {message}")]
    HostPanicked {
        /// What it said.
        message: String,
    },
    /// DK-KIT-030 and up: a limit; see [`Limit`].
    #[error("{what} in `{call}`; {setting} = {value}", setting = .limit.setting())]
    OverLimit {
        /// Which.
        limit: Limit,
        /// What it is set to.
        value: u64,
        /// What the datakit did, with the requested amount.
        what: String,
        /// During this.
        call: Call,
    },
    /// The datakit's own error, with its own code. A code that is not one, or that is the host's, becomes DK-KIT-024.
    #[error("{}", .0.message)]
    Guest(Box<GuestError>),
    /// An error of the host (a source, a projection, the state of a sink) that the datakit passed on or that ended it:
    /// keeps code, kind, retry and hint.
    #[error("{failure}")]
    Host {
        /// The error.
        failure: Failure,
        /// Its causes.
        #[source]
        cause: Option<Cause>,
    },
}

/// How a message goes on with what a guest wrote to standard error.
fn wrote(lines: &[String]) -> String {
    match lines {
        [] => String::new(),
        [line] => format!("; it wrote: {line}"),
        lines => format!("; it wrote:\n{}", lines.join("\n")),
    }
}

/// What a datakit returned as its error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestError {
    /// The datakit's code, or DK-KIT-024.
    pub code: String,
    /// Who has to act.
    pub kind: Kind,
    /// Whether trying again can help.
    pub retry: Retry,
    /// What happened.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Named facts.
    pub context: Vec<(String, String)>,
}

/// The text of an error below another, for errors that were kept as text.
#[derive(Debug)]
pub struct Cause {
    text: String,
    next: Option<Box<Cause>>,
}

impl Cause {
    fn chain(texts: &[String]) -> Option<Self> {
        texts.iter().rev().fold(None, |next, text| Some(Self { text: text.clone(), next: next.map(Box::new) }))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.next.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

impl WasmError {
    pub(crate) fn host(failure: Failure) -> Self {
        let cause = Cause::chain(failure.causes());
        Self::Host { failure, cause }
    }

    /// `what` says what the datakit did; the message goes on with the call and the setting.
    pub(crate) fn over(limit: Limit, value: u64, what: impl Into<String>, call: Call) -> Self {
        Self::OverLimit { limit, value, what: what.into(), call }
    }
}

impl Diagnostic for WasmError {
    fn code(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::NotWebAssembly => "DK-KIT-001",
            Self::CoreModule => "DK-KIT-002",
            Self::Invalid { .. } => "DK-KIT-003",
            Self::NotADatakit { .. } => "DK-KIT-004",
            Self::UnknownWit { .. } => "DK-KIT-005",
            Self::ForbiddenImport { .. } => "DK-KIT-006",
            Self::Misfit { .. } => "DK-KIT-007",
            Self::Digest { .. } => "DK-KIT-008",
            Self::Engine { .. } => "DK-KIT-009",
            Self::CodeCache { .. } => "DK-KIT-010",
            Self::Panicked { .. } => "DK-KIT-011",
            Self::Trapped { .. } => "DK-KIT-012",
            Self::Unusable => "DK-KIT-013",
            Self::UndeclaredRole { .. } => "DK-KIT-014",
            Self::UnmappedRole { .. } => "DK-KIT-015",
            Self::RoleKind { .. } => "DK-KIT-016",
            Self::NotPure { .. } => "DK-KIT-017",
            Self::BadInfo { .. } => "DK-KIT-018",
            Self::BadTables { .. } => "DK-KIT-019",
            Self::BadPlan { .. } => "DK-KIT-020",
            Self::BadOutput { .. } => "DK-KIT-021",
            Self::BadBatch { .. } => "DK-KIT-022",
            Self::Wait { .. } => "DK-KIT-023",
            Self::HostPanicked { .. } => "DK-KIT-025",
            Self::Starved { .. } => "DK-KIT-050",
            Self::Rejected { .. } => "DK-KIT-052",
            Self::Unbounded { .. } => "DK-KIT-056",
            Self::BadChangeRequest { .. } => "DK-KIT-057",
            Self::UnknownStrategy { .. } => "DK-KIT-058",
            Self::OverLimit { limit, .. } => limit.code(),
            Self::Guest(error) => return Cow::Owned(error.code.clone()),
            Self::TooManyRejected(error) => return error.code(),
            Self::Host { failure, .. } => return Cow::Owned(failure.code().to_owned()),
        })
    }

    fn kind(&self) -> Kind {
        match self {
            Self::NotWebAssembly
            | Self::CoreModule
            | Self::Digest { .. }
            | Self::CodeCache { .. }
            | Self::UnmappedRole { .. }
            | Self::UnknownStrategy { .. }
            | Self::RoleKind { .. } => Kind::User,
            Self::Engine { .. } | Self::Unusable | Self::HostPanicked { .. } => Kind::Internal,
            Self::Rejected { .. } | Self::TooManyRejected(_) => Kind::Data,
            Self::Guest(error) => error.kind,
            Self::Host { failure, .. } => failure.kind(),
            _ => Kind::Datakit,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Guest(error) => error.retry,
            Self::Host { failure, .. } => failure.retry(),
            _ => Retry::Never,
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NotWebAssembly | Self::CoreModule => {
                "build the datakit with `cargo xtask build-datakits`, which makes components"
            }
            Self::Invalid { .. } | Self::Misfit { .. } => {
                "build the datakit again with the SDK of this host's WIT version"
            }
            Self::NotADatakit { .. } => "export a datakit with the SDK's macro, then build it again",
            Self::UnknownWit { .. } => "use a version of the datakit, or of the host, that fits the other",
            Self::ForbiddenImport { .. } => {
                "remove what needs it: a datakit has its arguments and host calls, no files, network, clock or environment"
            }
            Self::Digest { .. } => "the file is damaged or was tampered with: pull the datakit again",
            Self::CodeCache { .. } => {
                "name a directory of your own that nobody else may write to, or turn the cache off"
            }
            Self::UnknownStrategy { .. } => {
                "docs/changes.md lists the strategies; correct the datakit's settings, or use a host that has it"
            }
            Self::UndeclaredRole { .. } => "the datakit's author has to declare the role in `describe`",
            Self::UnmappedRole { role } => {
                return Some(format!("map it in the ingest: roles = {{ {role} = \"CONNECTION\" }}"));
            }
            Self::RoleKind { role, .. } => return Some(format!("map `{role}` to a connection of a kind it needs")),
            Self::TooManyRejected(error) => return error.hint(),
            Self::Rejected { .. } => {
                "repair the rows, let fewer tables run at a time, or raise limits.run.max_rejected_bytes"
            }
            Self::Starved { .. } => {
                "let the datakit drop its batches and readers before it reads on, or raise limits.run.max_memory_bytes"
            }
            Self::OverLimit { limit, .. } => {
                return Some(format!("raise {} if the datakit is right to need more", limit.setting()));
            }
            Self::Guest(error) => return error.hint.clone(),
            Self::Host { failure, .. } => return failure.hint().map(str::to_owned),
            Self::Engine { .. } | Self::Unusable | Self::HostPanicked { .. } => return None,
            _ => "this is a bug of the datakit: tell its author, with this message",
        };
        Some(text.to_owned())
    }

    fn context(&self) -> Vec<(String, String)> {
        match self {
            Self::Panicked { call, log, .. } | Self::Trapped { call, log, .. } => {
                std::iter::once(("call", call.to_string()))
                    .chain(log.iter().map(|line| ("log", line.clone())))
                    .map(|(name, value)| (name.to_owned(), value))
                    .collect()
            }
            Self::OverLimit { limit, value, call, .. } => vec![
                ("limit".to_owned(), limit.setting().to_owned()),
                ("value".to_owned(), value.to_string()),
                ("call".to_owned(), call.to_string()),
            ],
            Self::TooManyRejected(error) => error.context(),
            Self::Rejected { capacity_bytes } => vec![
                ("limit".to_owned(), "limits.run.max_rejected_bytes".to_owned()),
                ("value".to_owned(), capacity_bytes.to_string()),
            ],
            Self::Starved { call, held_bytes, capacity_bytes } => vec![
                ("limit".to_owned(), "limits.run.max_memory_bytes".to_owned()),
                ("value".to_owned(), capacity_bytes.to_string()),
                ("held".to_owned(), held_bytes.to_string()),
                ("call".to_owned(), call.to_string()),
            ],
            Self::Guest(error) => error.context.clone(),
            Self::Host { failure, .. } => failure.context().to_vec(),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_error_keeps_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("top")]
        struct Top(#[source] std::io::Error);
        impl Diagnostic for Top {
            fn code(&self) -> Cow<'static, str> {
                "DK-SRC-001".into()
            }
            fn kind(&self) -> Kind {
                Kind::Source
            }
        }
        let failure = Failure::from(Top(std::io::Error::other("below"))).with_hint("wait");
        assert_eq!(Failure::from(WasmError::host(failure.clone())), failure);
    }

    #[test]
    fn a_limit_names_itself_its_value_and_its_setting() {
        let error = WasmError::over(Limit::Handles, 64, "the datakit would hold 65 handles", Call::Plan);
        assert_eq!(error.to_string(), "the datakit would hold 65 handles in `plan`; limits.guest.max_handles = 64");
        assert_eq!(error.code(), "DK-KIT-035");
    }
}
