//! The warehouse file as a whole, and the tables in it that no connector brings.

use std::collections::BTreeMap;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::ingest::Ingest;
use crate::kinds::Role;
use crate::limits::Limits;
use crate::problem::Problem;
use crate::secret::SecretSetting;
use crate::settings::{Checks, Relative, SettingPath};

/// A warehouse file: which datakits read what into which sink.
#[derive(Deserialize, JsonSchema)]
#[schemars(title = "warehouse.toml")]
pub(crate) struct WarehouseFile {
    /// A file whose settings hold where this one says nothing, relative to this file: tables are laid over each other key by
    /// key, everything else is replaced.
    #[schemars(extend("x-each-file" = true))]
    #[expect(dead_code, reason = "each file's own: it is taken out before the files are laid over each other")]
    extends: Option<String>,
    /// The warehouse as a whole.
    #[serde(default)]
    pub(crate) warehouse: Warehouse,
    /// Places rows come from, by name.
    #[serde(default)]
    pub(crate) connections: BTreeMap<String, ConnectionSection>,
    /// Places tables are written to, by name.
    #[serde(default)]
    pub(crate) sinks: BTreeMap<String, SinkSection>,
    /// Which datakit reads what into which sink.
    #[serde(default)]
    #[schemars(extend("default" = [], "x-expected" = "an array of tables, [[ingest]]"))]
    pub(crate) ingest: Vec<Ingest>,
    /// Keys of keyed hashes, by the names that datakits know them by.
    #[serde(default)]
    pub(crate) keys: BTreeMap<String, Key>,
    /// Where runs report what they read and wrote, for catalogs of data.
    #[serde(default)]
    pub(crate) lineage: Lineage,
    /// Bounds on servers, by `HOST:PORT`, whatever the connections that name them.
    #[serde(default)]
    pub(crate) servers: BTreeMap<String, Server>,
    /// Bounds of guests, reading and runs.
    #[serde(default)]
    pub(crate) limits: Limits,
}

/// A table whose kind says what it holds.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct ConnectionSection(pub(crate) Json);

/// A table whose kind says what it holds.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct SinkSection(pub(crate) Json);

/// The kinds put the definition in place of this one.
impl JsonSchema for ConnectionSection {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Role::Connection.definition().into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({})
    }
}

/// The kinds put the definition in place of this one.
impl JsonSchema for SinkSection {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Role::Sink.definition().into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({})
    }
}

/// The warehouse as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Warehouse {
    /// Its name, for people.
    pub name: Option<String>,
    /// Where datakits are: `host[:port]/prefix`, or `oci:PATH` for an OCI image layout directory, relative to this file.
    #[schemars(
        with = "Option<Relative>",
        extend("x-env" = ["DATAKIT_REGISTRY", "Where datakits are: `host[:port]/prefix`, or `oci:PATH`"])
    )]
    pub registry: Option<RegistryPlace>,
    /// The registry is reached by plain HTTP. A password goes that way only to this machine.
    #[schemars(extend(
        "x-env" = [
            "DATAKIT_PLAIN_HTTP",
            "`true`: the registry is reached by plain HTTP; a password goes that way only to this machine"
        ]
    ))]
    pub plain_http: bool,
    /// The folder of pulled datakits and compiled code, relative to this file; by default the user's cache folder.
    #[schemars(extend("x-env" = ["DATAKIT_CACHE", "The folder of pulled datakits and compiled code"]))]
    pub cache: Option<SettingPath>,
    /// Where a run writes its metrics after each ingest, relative to this file: text of Prometheus, for a collector of text files.
    #[schemars(extend("x-env" = ["DATAKIT_METRICS_FILE", "Where a run writes its metrics, as text of Prometheus"]))]
    pub metrics_file: Option<SettingPath>,
}

/// Where runs report what they read and wrote: events of OpenLineage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Lineage {
    /// The server that events are posted to, by `http` or `https`: its root, to which `endpoint` is added.
    #[schemars(extend("x-env" = ["OPENLINEAGE_URL", "OpenLineage: the server that events are posted to"]))]
    pub url: Option<String>,
    /// The path of events on the server; `api/v1/lineage` by default.
    #[schemars(extend("x-env" = ["OPENLINEAGE_ENDPOINT", "OpenLineage: the path of events on the server (`api/v1/lineage`)"]))]
    pub endpoint: Option<String>,
    /// The key that the server asks for (`Authorization: Bearer`). By `http` it is sent to this machine only.
    #[schemars(extend("x-env" = ["OPENLINEAGE_API_KEY", "OpenLineage: the key that the server asks for"]))]
    pub api_key: Option<SecretSetting>,
    /// A file that each event is appended to, a line an event, relative to this file.
    pub file: Option<SettingPath>,
    /// The namespace of jobs; the name of the warehouse by default, else `datakit`.
    #[schemars(extend("x-env" = ["OPENLINEAGE_NAMESPACE", "OpenLineage: the namespace of jobs"]))]
    pub namespace: Option<String>,
}

impl Lineage {
    /// Reports an address that is not one, and a key that others could read on its way.
    pub(crate) fn check(at: &Checks<'_>) {
        let Some(url) = at.get::<String>("url") else { return };
        let after_scheme = ["https://", "http://"].iter().find_map(|scheme| url.strip_prefix(scheme));
        let authority = after_scheme.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
        let report = |problem: &'static str, hint: &'static str| {
            at.report("url", |path| Problem::Server { path, problem, hint })
        };
        if authority.is_empty() {
            report("is not an address of a server", "write `url = \"https://HOST\"` or `url = \"http://HOST:PORT\"`");
        } else if authority.contains('@') {
            report(
                "holds a user or a password",
                "write the key that the server asks for as `api_key = { env = \"NAME\" }`",
            );
        } else if at.is_set("api_key") && url.starts_with("http://") && !is_this_machine(authority) {
            report("would send `api_key` without encryption", "use `https`");
        }
    }
}

/// Whether `host[:port]` is an address of this machine.
fn is_this_machine(authority: &str) -> bool {
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// `host[:port]/prefix`, or `oci:PATH` with the path resolved.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Relative")]
pub struct RegistryPlace(String);

impl From<Relative> for RegistryPlace {
    fn from(relative: Relative) -> Self {
        Self(match relative.text.strip_prefix("oci:") {
            Some(path) if !path.is_empty() => format!("oci:{}", relative.resolve(path).display()),
            _ => relative.text,
        })
    }
}

impl Deref for RegistryPlace {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// A key of keyed hashes. A datakit uses it, and never sees it.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct Key {
    /// The key: the bytes of the secret's text as they are, 32 to 1,024 of them.
    #[schemars(extend("x-hint" = "write `secret = { env = \"NAME\" }` or `secret = { file = \"PATH\" }`"))]
    pub(crate) secret: SecretSetting,
}

/// A bound on a server.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Server {
    /// Connections open there at one time, of all `connections` with this host and port together; sinks are not counted.
    #[schemars(range(min = 1, max = 1_000), extend("x-hint" = "write `max_connections = 20`"))]
    pub(crate) max_connections: u64,
}

impl Server {
    /// Reports a name that is not of a server.
    pub(crate) fn check(servers: &Checks<'_>) {
        for name in servers.keys().filter(|name| server_address(name).is_none() && servers.is_table(name)) {
            let (problem, hint) =
                ("is not HOST:PORT", "write host and port, or HOST\\INSTANCE, as the connections have them");
            let problem = Problem::Server { path: format!("servers.{name:?}"), problem, hint };
            servers.report_at_key(name, problem);
        }
    }
}

/// `HOST:PORT` or `HOST\INSTANCE`, as connections have it.
pub(crate) fn server_address(name: &str) -> Option<String> {
    if let Some((host, instance)) = name.split_once('\\').filter(|(host, name)| !host.is_empty() && !name.is_empty()) {
        return Some(format!("{host}\\{instance}").to_lowercase());
    }
    let (host, port) = name.rsplit_once(':')?;
    let port = port.parse::<u16>().ok().filter(|port| *port > 0 && !host.is_empty())?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_lowercase();
    Some(format!("{host}:{port}"))
}
