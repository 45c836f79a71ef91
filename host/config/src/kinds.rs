//! Kinds of sections: what a connector brings, and what is known of a section whatever its kind.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::handed::Handed;
use crate::problem::Problem;
use crate::protection::Protection;
use crate::schema::FileSchema;
use crate::secret::SecretSetting;
use crate::settings::{Checks, Settings};

/// The longest `source_system`, in characters: datakits write it to a column of such texts.
const MAX_SOURCE_SYSTEM_CHARS: usize = 50;

/// What is asked of the settings of a connection, whatever its kind.
pub trait ConnectionSettings: fmt::Debug + Any + Send + Sync {
    /// The server, `host:port` or the like; connections with the same one share its bound. None where there is no server.
    fn address(&self) -> Option<String>;

    /// Connections open at one time; none where there is no bound.
    fn max_connections(&self) -> Option<u64>;

    /// Connections to the server that a run keeps for itself, besides those that its workers have.
    fn kept_connections(&self) -> u64 {
        0
    }

    /// Every secret it refers to that a login by password or a store needs.
    fn secrets(&self) -> Vec<&SecretSetting>;

    /// The keytab that it logs in with, and whose key of it is used.
    fn keytab(&self) -> Option<(&SecretSetting, &str)> {
        None
    }

    /// What works but should be known.
    fn warning(&self) -> Option<&'static str> {
        None
    }
}

/// What is asked of the settings of a sink, whatever its kind.
pub trait SinkSettings: fmt::Debug + Any + Send + Sync {
    /// Every secret it refers to.
    fn secrets(&self) -> Vec<&SecretSetting>;
}

/// The warning about a way that others can read or change, for [`ConnectionSettings::warning`].
#[must_use]
pub fn warning_of_way(is_in_the_clear: bool, trusts_any_certificate: bool) -> Option<&'static str> {
    if is_in_the_clear {
        return Some("`encrypt = \"off\"` sends every row in the clear");
    }
    trusts_any_certificate.then_some("`trust_certificate = true` lets anyone on the way read and change the rows")
}

/// A configured place rows come from.
#[derive(Debug, Clone)]
pub struct Connection {
    name: String,
    kind: &'static str,
    source_system: String,
    protection: Protection,
    settings: Arc<dyn ConnectionSettings>,
}

impl Connection {
    /// The name of its table in the file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is a connection to.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// The name of the source system: at most 50 characters, by default the connection's name.
    #[must_use]
    pub fn source_system(&self) -> &str {
        &self.source_system
    }

    /// What a run may ask of the source.
    #[must_use]
    pub fn protection(&self) -> &Protection {
        &self.protection
    }

    /// The server in lower case: connections with the same go to one server. Without a server, no two are the same.
    #[must_use]
    pub fn address(&self) -> String {
        let address = self.settings.address();
        address.map_or_else(|| format!("{} {}", self.kind, self.name), |address| address.to_lowercase())
    }

    /// Connections open at one time; without a bound, as many as there can be.
    #[must_use]
    pub fn max_connections(&self) -> u64 {
        self.settings.max_connections().unwrap_or(u64::MAX)
    }

    /// Connections that a run keeps for itself, besides those that its workers have.
    #[must_use]
    pub fn kept_connections(&self) -> u64 {
        self.settings.kept_connections()
    }

    /// Every password it refers to; a keytab is none.
    #[must_use]
    pub fn secrets(&self) -> Vec<&SecretSetting> {
        self.settings.secrets()
    }

    /// The keytab that it logs in with, and whose key of it is used.
    #[must_use]
    pub fn keytab(&self) -> Option<(&SecretSetting, &str)> {
        self.settings.keytab()
    }

    /// The settings, where they are of this type.
    #[must_use]
    pub fn settings<T: ConnectionSettings>(&self) -> Option<&T> {
        let settings: &dyn Any = &*self.settings;
        settings.downcast_ref()
    }

    pub(crate) fn warning(&self) -> Option<String> {
        self.settings.warning().map(|warning| format!("connection `{}`: {warning}", self.name))
    }
}

/// A configured place tables are written to.
#[derive(Debug, Clone)]
pub struct SinkConfig {
    name: String,
    kind: &'static str,
    settings: Arc<dyn SinkSettings>,
}

impl SinkConfig {
    /// The name of its table in the file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Every secret it refers to.
    #[must_use]
    pub fn secrets(&self) -> Vec<&SecretSetting> {
        self.settings.secrets()
    }

    /// The settings, where they are of this type.
    #[must_use]
    pub fn settings<T: SinkSettings>(&self) -> Option<&T> {
        let settings: &dyn Any = &*self.settings;
        settings.downcast_ref()
    }
}

/// What a section is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `[connections.NAME]`
    Connection,
    /// `[sinks.NAME]`
    Sink,
}

impl Role {
    /// The table that holds the sections.
    pub(crate) fn outer(self) -> &'static str {
        match self {
            Self::Connection => "connections",
            Self::Sink => "sinks",
        }
    }

    pub(crate) fn definition(self) -> &'static str {
        match self {
            Self::Connection => "Connection",
            Self::Sink => "Sink",
        }
    }

    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Connection => "A place rows come from.",
            Self::Sink => "A place tables are written to.",
        }
    }
}

/// The variables that set keys of a kind's only section, or make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionVariables {
    /// What their names begin with: `MSSQL`.
    pub prefix: &'static str,
    /// The key whose variable makes a section where the file has none.
    pub makes: &'static str,
    /// The name of the section that is made.
    pub name: &'static str,
}

type Read<S> = fn(&Handed, Json) -> serde_json::Result<Arc<S>>;

#[derive(Clone, Copy)]
enum Reads {
    Connection(Read<dyn ConnectionSettings>),
    Sink(Read<dyn SinkSettings>),
}

/// A kind of section, as a connector registers it.
#[derive(Clone, Copy)]
pub struct SectionKind {
    kind: &'static str,
    title: &'static str,
    variables: Option<SectionVariables>,
    schema: fn(&mut SchemaGenerator) -> Schema,
    check: fn(&Checks<'_>),
    reads: Reads,
}

impl fmt::Debug for SectionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SectionKind").field("kind", &self.kind).field("role", &self.role()).finish_non_exhaustive()
    }
}

impl SectionKind {
    /// A kind of connection. `kind` is the word of the file, `title` what people call it.
    #[must_use]
    pub const fn connection<T: Settings + ConnectionSettings>(kind: &'static str, title: &'static str) -> Self {
        let reads = Reads::Connection(|handed, value| Ok(Arc::new(handed.decode::<T>(value)?)));
        Self { kind, title, variables: None, schema: T::json_schema, check: T::check, reads }
    }

    /// A kind of sink, likewise.
    #[must_use]
    pub const fn sink<T: Settings + SinkSettings>(kind: &'static str, title: &'static str) -> Self {
        let reads = Reads::Sink(|handed, value| Ok(Arc::new(handed.decode::<T>(value)?)));
        Self { kind, title, variables: None, schema: T::json_schema, check: T::check, reads }
    }

    /// The kind with variables: those that its settings name with `x-env`.
    #[must_use]
    pub const fn with_variables(mut self, variables: SectionVariables) -> Self {
        self.variables = Some(variables);
        self
    }

    /// The word of the file.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// What a section of this kind is for.
    #[must_use]
    pub fn role(&self) -> Role {
        match self.reads {
            Reads::Connection(_) => Role::Connection,
            Reads::Sink(_) => Role::Sink,
        }
    }

    pub(crate) fn title(&self) -> &'static str {
        self.title
    }

    pub(crate) fn variables(&self) -> Option<SectionVariables> {
        self.variables
    }

    pub(crate) fn prefix(&self) -> Option<&'static str> {
        self.variables.map(|variables| variables.prefix)
    }

    pub(crate) fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        (self.schema)(generator)
    }

    pub(crate) fn check(&self, at: &Checks<'_>, name: &str) {
        if self.role() == Role::Connection {
            Common::check(at, name);
        }
        (self.check)(at);
    }

    /// A connection of checked settings; none where this is a kind of sink.
    pub(crate) fn read_connection(
        &self,
        name: &str,
        value: Json,
        handed: &Handed,
    ) -> serde_json::Result<Option<Connection>> {
        let Reads::Connection(read) = self.reads else { return Ok(None) };
        let common: Common = handed.decode(value.clone())?;
        let source_system = common.source_system.unwrap_or_else(|| name.to_owned());
        let (name, kind, protection) = (name.to_owned(), self.kind, common.protection);
        Ok(Some(Connection { name, kind, source_system, protection, settings: read(handed, value)? }))
    }

    /// A sink of checked settings; none where this is a kind of connection.
    pub(crate) fn read_sink(&self, name: &str, value: Json, handed: &Handed) -> serde_json::Result<Option<SinkConfig>> {
        let Reads::Sink(read) = self.reads else { return Ok(None) };
        Ok(Some(SinkConfig { name: name.to_owned(), kind: self.kind, settings: read(handed, value)? }))
    }
}

/// What every connection has, whatever its kind.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Common {
    /// The name of the source system, in the rows and in the target's path; by default the connection's name.
    #[schemars(
        length(min = 1, max = 50),
        extend("x-env" = ["_SOURCE_SYSTEM", "the name of the source system, at most 50 characters (the connection's name)"])
    )]
    source_system: Option<String>,
    /// What a run may ask of the source, whatever a datakit wants.
    #[serde(default)]
    protection: Protection,
}

impl Common {
    fn check(at: &Checks<'_>, name: &str) {
        at.check_within::<Protection>("protection");
        const KEY: &str = "source_system";
        let value = if at.is_set(KEY) { at.get(KEY) } else { Some(name.to_owned()) };
        let Some(problem) = value.and_then(|value| problem_of_source_system(&value)) else { return };
        let hint = "it names the system in the rows and in the target's path: set `source_system` to a short name";
        at.report(KEY, |path| Problem::Name { path, problem, hint });
    }
}

fn problem_of_source_system(value: &str) -> Option<&'static str> {
    if value.trim().is_empty() {
        Some("is empty")
    } else if value.chars().count() > MAX_SOURCE_SYSTEM_CHARS {
        Some("is longer than 50 characters")
    } else if value.trim() != value || value.chars().any(char::is_control) {
        Some("begins or ends with a space, or holds a control character")
    } else {
        None
    }
}

/// The kinds of sections that a warehouse file may have, with the schema that they make.
#[derive(Debug, Clone)]
pub struct Kinds {
    kinds: Vec<SectionKind>,
    schema: FileSchema,
}

impl Kinds {
    /// These kinds. Their order is that of the schema, the documentation and the environment.
    #[must_use]
    pub fn new(kinds: Vec<SectionKind>) -> Self {
        let schema = FileSchema::new(&kinds);
        Self { kinds, schema }
    }

    /// Keywords of `x-` in the settings' types that nothing reads or that have another form, each with its place: for tests of
    /// those who bring kinds.
    #[must_use]
    pub fn wrong_keywords(&self) -> Vec<String> {
        self.schema.wrong_keywords()
    }

    /// The JSON Schema (2020-12) of a warehouse file with these kinds.
    #[must_use]
    pub fn json_schema(&self) -> Json {
        self.schema.published()
    }

    pub(crate) fn schema(&self) -> &FileSchema {
        &self.schema
    }

    pub(crate) fn of(&self, role: Role) -> impl Iterator<Item = &SectionKind> {
        self.kinds.iter().filter(move |kind| kind.role() == role)
    }

    pub(crate) fn find(&self, role: Role, kind: &str) -> Option<&SectionKind> {
        self.of(role).find(|known| known.kind == kind)
    }
}
