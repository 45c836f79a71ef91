//! The JSON Schema of the warehouse file, for editors.
//!
//! These types are the file's shape and its documentation; nothing is read into them. A test holds them against the keys that
//! the readers know.

use std::collections::BTreeMap;

use datakit_model::{GuestLimits, ReadLimits, RunLimits};
use schemars::JsonSchema;
use schemars::transform::{RecursiveTransform, Transform};
use serde::{Deserialize, Serialize};

/// The JSON Schema (2020-12) of a warehouse file.
#[must_use]
pub fn json_schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(WarehouseFile);
    RecursiveTransform(tidy).transform(&mut schema);
    schema.to_value()
}

/// Optional keys are left out, not null; every limit is at least 1; formats of Rust integers mean nothing to editors.
fn tidy(schema: &mut schemars::Schema) {
    if let Some(types) = schema.get_mut("type").and_then(|types| types.as_array_mut()) {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".into(), only);
        }
    }
    if let Some(variants) = schema.get_mut("anyOf").and_then(|variants| variants.as_array_mut()) {
        variants.retain(|variant| variant.get("type").is_none_or(|name| name != "null"));
        if let [only] = variants.as_slice()
            && let Some(reference) = only.get("$ref").cloned()
        {
            schema.remove("anyOf");
            schema.insert("$ref".into(), reference);
        }
    }
    if schema.get("default").is_some_and(serde_json::Value::is_null) {
        schema.remove("default");
    }
    if schema.get("format").and_then(|format| format.as_str()) == Some("uint64") {
        schema.remove("format");
        schema.insert("minimum".into(), 1.into());
    }
}

/// A warehouse file: which datakits read what into which sink.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "warehouse.toml")]
struct WarehouseFile {
    /// A file whose settings hold where this one says nothing, relative to this file: tables are laid over each other key by
    /// key, everything else is replaced.
    extends: Option<String>,
    /// The warehouse as a whole.
    warehouse: Option<Warehouse>,
    /// Places rows come from, by name.
    #[serde(default)]
    connections: BTreeMap<String, Connection>,
    /// Places tables are written to, by name.
    #[serde(default)]
    sinks: BTreeMap<String, Sink>,
    /// Which datakit reads what into which sink.
    #[serde(default)]
    ingest: Vec<Ingest>,
    /// Bounds on servers, by `HOST:PORT`, whatever the connections that name them.
    #[serde(default)]
    servers: BTreeMap<String, Server>,
    /// Bounds of guests, reading and runs.
    limits: Option<Limits>,
}

/// A bound on a server.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Server {
    /// Connections open there at one time, of all `connections` with this host and port together; sinks are not counted.
    #[schemars(range(min = 1, max = 1_000))]
    max_connections: u64,
}

/// The warehouse as a whole.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Warehouse {
    /// Its name, for people.
    name: Option<String>,
    /// Where datakits are: `host[:port]/prefix`, or `oci:PATH` for an OCI image layout directory, relative to this file.
    registry: Option<String>,
    /// The registry is reached by plain HTTP. A password goes that way only to this machine.
    #[serde(default)]
    plain_http: bool,
    /// The folder of pulled datakits and compiled code, relative to this file; by default the user's cache folder.
    cache: Option<String>,
}

/// A place rows come from.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
#[expect(clippy::large_enum_variant, reason = "it describes the file and is never stored")]
enum Connection {
    /// A SQL Server database.
    SqlServer {
        /// What `_bronze_source_system` and the target's path say; by default the connection's name.
        #[schemars(length(min = 1, max = 50))]
        source_system: Option<String>,
        /// `HOST`, `HOST,PORT` or `HOST:PORT`; or `HOST\INSTANCE`, whose port SQL Server Browser is asked for (UDP 1434).
        server: String,
        /// TCP port; 1433 by default. With a port the instance's name is not needed.
        #[schemars(range(min = 1, max = 65_535))]
        port: Option<u16>,
        /// The database.
        database: String,
        /// Who logs in.
        auth: Auth,
        /// Whose ticket, where it comes from and for which service, with `auth = "kerberos"`; by default the ticket of the
        /// cache that KRB5CCNAME names.
        kerberos: Option<Kerberos>,
        /// What the session is for: with `read-only` an availability group's listener sends it on to a secondary replica.
        #[serde(default = "application_intent")]
        application_intent: ApplicationIntent,
        /// Whether and how the way is encrypted.
        #[serde(default = "encrypt")]
        encrypt: Encrypt,
        /// Take any certificate: whoever is on the way can read and change the rows.
        #[serde(default)]
        trust_certificate: bool,
        /// The one certificate that is taken (PEM or DER), relative to this file.
        certificate_file: Option<String>,
        /// The name expected in the certificate, when it is not the server's.
        host_name_in_certificate: Option<String>,
        /// The driver that reads rows: `tiberius` is slower and checks the other.
        #[serde(default = "reader")]
        reader: Reader,
        /// Bounds of the connection pool.
        pool: Option<Pool>,
        /// Bounds of single steps.
        timeouts: Option<Timeouts>,
    },
    /// A PostgreSQL database.
    Postgres {
        /// What `_bronze_source_system` and the target's path say; by default the connection's name.
        #[schemars(length(min = 1, max = 50))]
        source_system: Option<String>,
        /// Host name or address, or the directory of a Unix socket.
        host: String,
        /// TCP port; 5432 by default.
        #[schemars(range(min = 1, max = 65_535))]
        port: Option<u16>,
        /// The database.
        database: String,
        /// The user.
        user: String,
        /// The password, by reference; none where the server asks for none.
        password: Option<SecretReference>,
        /// Whether the way is encrypted; `required` by default.
        encrypt: Option<PostgresEncrypt>,
        /// Take any certificate: whoever is on the way can read and change the rows.
        #[serde(default)]
        trust_certificate: bool,
        /// Certificates (PEM) taken besides the system's, relative to this file.
        certificate_file: Option<String>,
        /// What becomes of rows that row-level security hides from the user: `refuse` makes the table an error, `filter` reads the
        /// others and marks the table as filtered.
        #[serde(default = "row_security")]
        row_security: RowSecurity,
        /// Bounds of the connection pool; the session that keeps the run's snapshot comes on top.
        pool: Option<Pool>,
        /// Bounds of single steps.
        timeouts: Option<Timeouts>,
    },
    /// Files in a folder or an object store.
    Files {
        /// What `_bronze_source_system` and the target's path say; by default the connection's name.
        #[schemars(length(min = 1, max = 50))]
        source_system: Option<String>,
        /// The folder all files are below, relative to this file, or `s3://BUCKET/PATH`,
        /// `abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH`, `az://CONTAINER/PATH`. Nothing outside of it is read.
        root: String,
        /// How the object store of `root` is reached and logged in to: settings by the names of the variables of its own tools,
        /// `AWS_…` and `AZURE_…`. With it those of the environment are not used at all.
        #[schemars(extend("propertyNames" = store_names()))]
        store: Option<BTreeMap<String, StoreValue>>,
        /// Patterns of paths below the root, by the name of the table they are of (`NAME` or `SCHEMA.NAME`): `*`, `?`, `**` for
        /// any folders, `!` to take away. Without it each folder directly below the root is a table, and each file there.
        #[serde(default)]
        tables: BTreeMap<String, Vec<String>>,
        /// Files below the root, at most; 100,000 by default.
        max_files: Option<u64>,
        /// A longer record is a bad row, in bytes; 4 MiB by default.
        max_line_bytes: Option<u64>,
        /// So many times may a file grow by decompression, once it is over 64 MiB; 1,000 by default.
        max_expansion: Option<u64>,
    },
}

/// Who logs in.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Auth {
    /// A SQL login.
    Login(Login),
    /// Kerberos: whoever the ticket is of.
    Word(AuthWord),
}

/// A SQL login.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Login {
    /// Its name.
    user: String,
    /// Its password, by reference.
    password: SecretReference,
}

/// A word instead of a login.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum AuthWord {
    /// Whoever the ticket is of.
    Kerberos,
}

/// Kerberos on a connection.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Kerberos {
    /// Who logs in, `NAME@REALM`, with `keytab`.
    principal: Option<String>,
    /// The key of `principal`: a file, a variable that holds the keytab as base64, or a secret in a vault. The host gets its own tickets with it and
    /// keeps them in memory.
    keytab: Option<SecretReference>,
    /// A ticket cache that somebody else keeps, a path or `TYPE:NAME`; it is only read. By default the one that KRB5CCNAME names.
    ticket_cache: Option<String>,
    /// The host of the service's name `MSSQLSvc/HOST:PORT`, as it is registered; by default the server's.
    spn_host: Option<String>,
    /// The port of the service's name; by default the server's.
    #[schemars(range(min = 1, max = 65_535))]
    spn_port: Option<u16>,
    /// The service's realm, when krb5.conf and the KDC cannot tell.
    realm: Option<String>,
    /// A ticket with less time left is not used to log in, in seconds.
    #[serde(default = "min_remaining_seconds")]
    #[schemars(range(max = 86_400))]
    min_remaining_seconds: u32,
}

fn min_remaining_seconds() -> u32 {
    60
}

/// Where a secret comes from; never the secret itself.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum SecretReference {
    /// The name of an environment variable.
    Env(String),
    /// A file that holds the secret alone, relative to this file.
    File(String),
    /// A field of a secret in Delinea Secret Server, fetched when it is needed.
    Delinea(Delinea),
    /// A secret in AWS Secrets Manager, or a field of it, fetched when it is needed.
    Aws(Aws),
}

/// A setting of an object store.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum StoreValue {
    /// What is no secret.
    Plain(String),
    /// `true` or `false`.
    Flag(bool),
    /// A key, a token or a client's secret, by reference.
    Secret(SecretReference),
}

fn store_names() -> serde_json::Value {
    serde_json::json!({ "enum": crate::store::StoreSettings::names().collect::<Vec<_>>() })
}

/// A field of a secret in Delinea Secret Server.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Delinea {
    /// The server with the application's path: `https://vault.corp.example/SecretServer`. `http://` on this machine only.
    url: String,
    /// The secret's number. `secret-id` is understood as well, and so is the hyphen in the other keys.
    #[serde(alias = "secret-id")]
    #[schemars(range(min = 1, max = 2_147_483_647))]
    secret_id: u32,
    /// The field's slug or name. A file that is attached to the secret is a keytab.
    field: String,
    /// How the host logs in: OAuth2 client credentials at Secret Server, name and password of an application account there, or
    /// client credentials at the Delinea Platform.
    #[serde(default = "delinea_login")]
    login: DelineaLogin,
    /// Who it logs in as; by default DELINEA_CLIENT_ID.
    #[serde(alias = "client-id")]
    client_id: Option<LocalReference>,
    /// With what; by default DELINEA_CLIENT_SECRET.
    #[serde(alias = "client-secret")]
    client_secret: Option<LocalReference>,
    /// Certificates (PEM) taken besides the system's, relative to this file.
    #[serde(alias = "certificate-file")]
    certificate_file: Option<String>,
}

/// A secret in AWS Secrets Manager.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Aws {
    /// The secret's name or ARN. `secret-id` is understood as well, and so is the hyphen in the other keys.
    #[serde(alias = "secret-id")]
    secret_id: String,
    /// The secret's region: `eu-central-1`. By default the region in the ARN, then AWS_REGION, then AWS_DEFAULT_REGION.
    #[schemars(regex(pattern = r"^[a-z0-9-]+$"))]
    region: Option<String>,
    /// The key of a secret that is a JSON object; by default the whole secret. A binary secret is a keytab.
    field: Option<String>,
    /// The stage of the secret's version; by default AWSCURRENT.
    #[serde(alias = "version-stage")]
    version_stage: Option<String>,
    /// The URL of the service, for a VPC endpoint; by default the public one of the region. `http://` on this machine only.
    endpoint: Option<String>,
    /// The id of the access key that the host logs in with, together with `secret_access_key`. By default the host logs in as the
    /// environment says: AWS_ACCESS_KEY_ID, a web identity, the role of a container or of an EC2 instance.
    #[serde(alias = "access-key-id")]
    access_key_id: Option<LocalReference>,
    /// The secret of the access key.
    #[serde(alias = "secret-access-key")]
    secret_access_key: Option<LocalReference>,
    /// The session token of a temporary access key.
    #[serde(alias = "session-token")]
    session_token: Option<LocalReference>,
}

/// How the host logs in to Delinea.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum DelineaLogin {
    /// OAuth2 client credentials at Secret Server itself.
    ClientCredentials,
    /// Name and password of an application account.
    Password,
    /// OAuth2 client credentials at the Delinea Platform.
    Platform,
}

fn delinea_login() -> DelineaLogin {
    DelineaLogin::ClientCredentials
}

/// Where a secret that opens a vault comes from.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum LocalReference {
    /// The name of an environment variable.
    Env(String),
    /// A file that holds the secret alone, relative to this file.
    File(String),
}

/// Whether and how the way to a server is encrypted.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Encrypt {
    /// TLS, or no connection.
    Required,
    /// TLS before the first byte of TDS (TDS 8.0).
    Strict,
    /// Rows in the clear.
    Off,
}

fn encrypt() -> Encrypt {
    Encrypt::Required
}

/// What a session is for.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum ApplicationIntent {
    /// The primary replica serves it.
    ReadWrite,
    /// A secondary replica serves it, where read-only routing is set up.
    ReadOnly,
}

fn application_intent() -> ApplicationIntent {
    ApplicationIntent::ReadWrite
}

/// The driver that reads rows.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Reader {
    /// Microsoft's, straight into columns.
    MssqlTds,
    /// The second one, row by row.
    Tiberius,
}

fn reader() -> Reader {
    Reader::MssqlTds
}

/// Bounds of a connection pool.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Pool {
    /// Connections open at one time; 8 by default.
    max_connections: Option<u64>,
    /// Connections that are kept open once there is a first one, however long they are idle; 0 by default.
    #[schemars(range(min = 0))]
    min_connections: Option<u64>,
    /// The longest wait for a free one, in seconds; 60 by default.
    checkout_seconds: Option<u64>,
    /// A connection idle for longer is not used again, in seconds; 300 by default.
    max_idle_seconds: Option<u64>,
    /// A connection older than this is not used again, in seconds; 3600 by default.
    max_lifetime_seconds: Option<u64>,
    /// A connection idle for longer is asked for a sign of life before it is used, in seconds; 1 by default, 0: always.
    #[schemars(range(min = 0))]
    validate_after_seconds: Option<u64>,
}

/// Bounds of single steps.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Timeouts {
    /// TCP, TLS and login together, in seconds; 15 by default.
    connect_seconds: Option<u64>,
    /// The server's time for one query, in seconds; a datakit can ask for less, not for more; 14400 by default.
    query_seconds: Option<u64>,
    /// The server's answer to a cancel, in seconds; 5 by default.
    cancel_seconds: Option<u64>,
}

/// A place tables are written to.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum Sink {
    /// A folder of Delta tables.
    Delta {
        /// The folder all tables are under: a path relative to this file, or `s3://BUCKET/PATH`,
        /// `abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH`, `az://CONTAINER/PATH`. Object stores are reached and logged
        /// in to by the variables of their own tools, `AWS_…` and `AZURE_…`, or by `store`.
        uri: String,
        /// How the object store is reached and logged in to: settings by the names of these variables. With it those of the
        /// environment are not used at all.
        #[schemars(extend("propertyNames" = store_names()))]
        store: Option<BTreeMap<String, StoreValue>>,
    },
    /// A PostgreSQL database.
    Postgres {
        /// Host name or address.
        host: String,
        /// TCP port; 5432 by default.
        #[schemars(range(min = 1, max = 65_535))]
        port: Option<u16>,
        /// The database.
        database: String,
        /// The user.
        user: String,
        /// The password, by reference; none where the server asks for none.
        password: Option<SecretReference>,
        /// Whether the way is encrypted; `required` by default.
        encrypt: Option<PostgresEncrypt>,
        /// Take any certificate.
        #[serde(default)]
        trust_certificate: bool,
        /// Certificates (PEM) taken besides the system's, relative to this file.
        certificate_file: Option<String>,
    },
}

/// What becomes of rows that row-level security hides.
#[derive(JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RowSecurity {
    /// A table that has such rows is an error.
    Refuse,
    /// The others are read, and the record says so.
    Filter,
}

fn row_security() -> RowSecurity {
    RowSecurity::Refuse
}

/// Whether the way to PostgreSQL is encrypted.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum PostgresEncrypt {
    /// TLS, or no connection.
    Required,
    /// Rows in the clear.
    Off,
}

/// Which datakit reads what into which sink.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Ingest {
    /// What `--ingest` calls it, where several run the same datakit.
    name: Option<String>,
    /// `NAME@VERSION`, or `NAME@sha256:…` for exactly these bytes.
    datakit: String,
    /// Role of the datakit → connection.
    roles: BTreeMap<String, String>,
    /// The sink's name.
    sink: String,
    /// Patterns of tables, `SCHEMA.TABLE` with `*` and `?`, `!` to take away. They select what is read, and grant what the
    /// datakit's SQL may name.
    tables: Vec<String>,
    /// The datakit's settings; its own schema says what there is.
    #[serde(default)]
    settings: serde_json::Map<String, serde_json::Value>,
    /// What happens to the rows a table already has; where nobody says, a full load into a table that holds rows is refused.
    mode: Option<Mode>,
    /// Partitions worked on at one time; `limits.run.max_parallel_partitions` by default.
    #[schemars(range(min = 1, max = 256))]
    parallel: Option<u64>,
}

/// What happens to the rows a table already has.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// They stay.
    Append,
    /// The commit replaces them all.
    Overwrite,
}

/// Bounds of guests, reading and runs.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Limits {
    /// What one datakit instance may use.
    guest: Option<GuestLimits>,
    /// How a source cuts what it reads.
    read: Option<ReadLimits>,
    /// What one run may use.
    run: Option<RunLimits>,
}
