//! The environment: every variable there is, and the layer they make over the file.

use std::collections::{BTreeMap, BTreeSet};

use crate::node::{Entry, Node, Table, Value};
use crate::problem::{ConfigError, Problem, Problems};
use crate::text::{Origin, Place};

/// One environment variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

macro_rules! variables {
    ($($(#[doc = $meaning:literal])+ $name:ident)*) => {
        $($(#[doc = $meaning])+ pub const $name: &str = stringify!($name);)*

        /// Every variable that the host heeds, in the order of the documentation. An empty one counts as not set.
        pub const VARIABLES: &[Variable] =
            &[$(Variable { name: stringify!($name), meaning: concat!($($meaning),+).trim_ascii() }),*];
    };
}

variables! {
    /// SQL Server: host, `host,port` or `host\instance`
    MSSQL_SERVER
    /// SQL Server: TCP port (1433)
    MSSQL_PORT
    /// SQL Server: database
    MSSQL_DATABASE
    /// SQL Server: `sql` (default) or `kerberos`
    MSSQL_AUTH_TYPE
    /// SQL Server: login
    MSSQL_USER
    /// SQL Server: password of the login
    MSSQL_PASSWORD
    /// SQL Server: `read-write` (default) or `read-only`, for a secondary replica behind a listener
    MSSQL_APPLICATION_INTENT
    /// SQL Server: `required` (default), `strict` (TDS 8.0) or `off`
    MSSQL_ENCRYPT
    /// SQL Server: `true` takes any certificate
    MSSQL_TRUST_CERTIFICATE
    /// SQL Server: the one certificate that is taken (PEM or DER)
    MSSQL_CERTIFICATE_FILE
    /// SQL Server: the name expected in the certificate, when it is not the server's
    MSSQL_HOST_NAME_IN_CERTIFICATE
    /// What `_bronze_source_system` says, at most 50 characters (the connection's name)
    MSSQL_SOURCE_SYSTEM
    /// Delta: the folder of all tables
    BRONZE_URI
    /// Postgres: host
    BRONZE_HOST
    /// Postgres: TCP port (5432)
    BRONZE_PORT
    /// Postgres: database
    BRONZE_DATABASE
    /// Postgres: user
    BRONZE_USER
    /// Postgres: password
    BRONZE_PASSWORD
    /// Postgres: `required` (default) or `off`
    BRONZE_ENCRYPT
    /// Postgres: certificates (PEM) taken besides the system's
    BRONZE_CERTIFICATE_FILE
    /// Delinea: who the host logs in as, where a secret's `delinea` does not say
    DELINEA_CLIENT_ID
    /// Delinea: with what
    DELINEA_CLIENT_SECRET
    /// Where datakits are: `host[:port]/prefix`, or `oci:PATH`
    DATAKIT_REGISTRY
    /// `true`: the registry is reached by plain HTTP; a password goes that way only to this machine
    DATAKIT_PLAIN_HTTP
    /// Settings of the datakit: a JSON object, laid over those of the file
    DATAKIT_SETTINGS
    /// Tables to read, comma-separated patterns: `dbo.*,!dbo.audit_*`
    DATAKIT_TABLES
    /// What happens to the rows a table already has: `append` or `overwrite`
    DATAKIT_MODE
    /// The folder of pulled datakits and compiled code
    DATAKIT_CACHE
    /// What is logged, as in `info,datakit=debug`; drivers never log below `info`
    DATAKIT_LOG
    /// Certificate authorities (PEM) besides the system's; for registries and object stores instead of them, unless SSL_CERT_DIR names the system's folder
    SSL_CERT_FILE
    /// Kerberos: who logs in, with KRB_KEYTAB
    KRB_PRINCIPAL
    /// Kerberos: the file with the key of KRB_PRINCIPAL; the host then gets its own tickets
    KRB_KEYTAB
    /// Kerberos: the realm of the server, when krb5.conf and the KDC cannot tell
    KRB_REALM
    /// Kerberos: the library's configuration files (`/etc/krb5.conf`)
    KRB5_CONFIG
    /// Kerberos: the ticket cache that logins use, where no keytab or cache is configured
    KRB5CCNAME
    /// Where the docker configuration with registry credentials is (`~/.docker`)
    DOCKER_CONFIG
    /// Any value: no colours
    NO_COLOR
    /// The folder `datakit/` for caches is made in (`~/.cache`)
    XDG_CACHE_HOME
    /// The folder `datakit/` for data is made in (`~/.local/share`)
    XDG_DATA_HOME
}

/// The name of the connection that the environment makes when the file has none.
pub const ENVIRONMENT_CONNECTION: &str = "mssql";

/// The name of the sink that the environment makes when the file has none.
pub const ENVIRONMENT_SINK: &str = "bronze";

/// A variable that holds a secret or names its file.
struct SecretVariable {
    variable: &'static str,
    /// The variable that says whose secret it is.
    owner: &'static str,
    /// `connections` or `sinks`.
    outer: &'static str,
    /// Where the file says it.
    keys: &'static [&'static str],
}

const SECRETS: [SecretVariable; 3] = [
    SecretVariable { variable: MSSQL_PASSWORD, owner: MSSQL_USER, outer: "connections", keys: &["auth", "password"] },
    SecretVariable { variable: KRB_KEYTAB, owner: KRB_PRINCIPAL, outer: "connections", keys: &["kerberos", "keytab"] },
    SecretVariable { variable: BRONZE_PASSWORD, owner: BRONZE_USER, outer: "sinks", keys: &["password"] },
];

/// The process's variables, collected once.
pub(crate) struct Environment<'a> {
    variables: &'a BTreeMap<String, String>,
    /// Variables that the file refers to by itself (`{ env = "NAME" }`): set for that.
    referenced: BTreeSet<String>,
}

impl<'a> Environment<'a> {
    pub(crate) fn new(variables: &'a BTreeMap<String, String>, file: &Table) -> Self {
        let mut referenced = BTreeSet::new();
        collect_references(file, &mut referenced);
        Self { variables, referenced }
    }

    pub(crate) fn get(&self, name: &'static str) -> Option<&'a str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The layer over `file`.
    pub(crate) fn overlay(&self, file: &Table, problems: &Problems) -> Table {
        let mut layer = Table::new();
        let mut warehouse = Table::new();
        self.put(&mut warehouse, "registry", DATAKIT_REGISTRY, text);
        self.put(&mut warehouse, "plain_http", DATAKIT_PLAIN_HTTP, boolean);
        self.put(&mut warehouse, "cache", DATAKIT_CACHE, text);
        put_table(&mut layer, "warehouse", warehouse, Origin::Variable(DATAKIT_REGISTRY));
        let connection = self.connection(file);
        self.place(&mut layer, file, ("connections", ENVIRONMENT_CONNECTION, "sqlserver"), connection, problems);
        let (kind, sink) = self.sink(file, problems);
        self.place(&mut layer, file, ("sinks", ENVIRONMENT_SINK, kind), sink, problems);
        layer
    }

    fn put(&self, table: &mut Table, key: &str, variable: &'static str, parse: fn(&str) -> Value) {
        if let Some(value) = self.get(variable) {
            put(table, key, parse(value), Origin::Variable(variable));
        }
    }

    fn connection(&self, file: &Table) -> Table {
        let mut table = Table::new();
        // Without a server they only change a connection that the file has: a password alone is no connection.
        if self.get(MSSQL_SERVER).is_none() && !has_connection_of_kind(file, "sqlserver") {
            return table;
        }
        self.put(&mut table, "server", MSSQL_SERVER, text);
        self.put(&mut table, "port", MSSQL_PORT, integer);
        self.put(&mut table, "database", MSSQL_DATABASE, text);
        self.put(&mut table, "application_intent", MSSQL_APPLICATION_INTENT, text);
        self.put(&mut table, "encrypt", MSSQL_ENCRYPT, text);
        self.put(&mut table, "trust_certificate", MSSQL_TRUST_CERTIFICATE, boolean);
        self.put(&mut table, "certificate_file", MSSQL_CERTIFICATE_FILE, text);
        self.put(&mut table, "host_name_in_certificate", MSSQL_HOST_NAME_IN_CERTIFICATE, text);
        self.put(&mut table, "source_system", MSSQL_SOURCE_SYSTEM, text);
        match self.get(MSSQL_AUTH_TYPE) {
            None if self.has_unused_password(file) => {}
            None | Some("sql") => {
                let mut auth = Table::new();
                self.put(&mut auth, "user", MSSQL_USER, text);
                self.put_secret(&mut auth, "password", "env", &SECRETS[0], file);
                put_table(&mut table, "auth", auth, Origin::Variable(MSSQL_USER));
            }
            Some(word) => put(&mut table, "auth", text(word), Origin::Variable(MSSQL_AUTH_TYPE)),
        }
        if self.get(MSSQL_AUTH_TYPE) == Some("kerberos") || only_connection_is_kerberos(file) {
            self.kerberos(&mut table, file);
        }
        table
    }

    /// Whether MSSQL_PASSWORD is set beside a connection that logs in with Kerberos, and nothing else asks for a login by password: a
    /// password alone is nobody's.
    fn has_unused_password(&self, file: &Table) -> bool {
        self.get(MSSQL_PASSWORD).is_some()
            && self.get(MSSQL_USER).is_none()
            && self.get(MSSQL_AUTH_TYPE).is_none()
            && only_connection_is_kerberos(file)
    }

    /// What is set but changes nothing, and should be known.
    pub(crate) fn warnings(&self, file: &Table) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.has_unused_password(file) && !self.referenced.contains(MSSQL_PASSWORD) {
            warnings.push("MSSQL_PASSWORD is set but not used: the connection logs in with Kerberos; to log in by password, set MSSQL_USER as well".to_owned());
        }
        for secret in &SECRETS {
            let SecretVariable { variable, owner, .. } = *secret;
            let Some(path) = self.explicit_reference(secret, file) else { continue };
            if self.get(variable).is_some() && !self.referenced.contains(variable) {
                warnings.push(format!(
                    "{variable} is set but not used: `{path}` of the file says where the secret is; to use the variable, set {owner} as well, or change the file"
                ));
            }
        }
        warnings
    }

    /// Where the file itself says where a secret is that a variable could hold as well: then the file's reference counts, unless
    /// the environment also says whose secret it is.
    fn explicit_reference(&self, secret: &SecretVariable, file: &Table) -> Option<String> {
        let SecretVariable { owner, outer, keys, .. } = *secret;
        if self.get(owner).is_some() {
            return None;
        }
        let Value::Table(tables) = &file.get(outer)?.node.value else { return None };
        let (name, only) = tables.iter().next().filter(|_| tables.len() == 1)?;
        let mut entry = only;
        for key in keys {
            let Value::Table(table) = &entry.node.value else { return None };
            entry = table.get(*key)?;
        }
        matches!(&entry.node.value, Value::Table(_)).then(|| format!("{outer}.{name}.{}", keys.join(".")))
    }

    fn kerberos(&self, connection: &mut Table, file: &Table) {
        let mut table = Table::new();
        self.put(&mut table, "principal", KRB_PRINCIPAL, text);
        self.put(&mut table, "realm", KRB_REALM, text);
        self.put_secret(&mut table, "keytab", "file", &SECRETS[1], file);
        put_table(connection, "kerberos", table, Origin::Variable(KRB_PRINCIPAL));
    }

    /// The sink's kind and what is set of it.
    fn sink(&self, file: &Table, problems: &Problems) -> (&'static str, Table) {
        let mut table = Table::new();
        if self.get(BRONZE_URI).is_some() {
            if self.get(BRONZE_HOST).is_some() && !self.referenced.contains(BRONZE_HOST) {
                let problem = Problem::Contradiction {
                    first: BRONZE_URI.into(),
                    second: BRONZE_HOST.into(),
                    hint: "set BRONZE_URI for Delta, or BRONZE_HOST and its like for Postgres".into(),
                };
                problems.push(ConfigError::new(problem, Some(Place::Variable(BRONZE_HOST))));
            }
            self.put(&mut table, "uri", BRONZE_URI, text);
            return ("delta", table);
        }
        // Without a host they only change a Postgres sink that the file has.
        if self.get(BRONZE_HOST).is_none() && !only_sink_is_postgres(file) {
            return ("postgres", table);
        }
        self.put(&mut table, "host", BRONZE_HOST, text);
        self.put(&mut table, "port", BRONZE_PORT, integer);
        self.put(&mut table, "database", BRONZE_DATABASE, text);
        self.put(&mut table, "user", BRONZE_USER, text);
        self.put_secret(&mut table, "password", "env", &SECRETS[2], file);
        self.put(&mut table, "encrypt", BRONZE_ENCRYPT, text);
        self.put(&mut table, "certificate_file", BRONZE_CERTIFICATE_FILE, text);
        ("postgres", table)
    }

    /// A secret stays where it is: the layer refers to its variable, or to the file that the variable names.
    fn put_secret(&self, table: &mut Table, key: &str, kind: &str, secret: &SecretVariable, file: &Table) {
        let variable = secret.variable;
        let Some(value) = self.get(variable).filter(|_| self.explicit_reference(secret, file).is_none()) else {
            return;
        };
        let place = if kind == "env" { variable } else { value };
        let mut reference = Table::new();
        put(&mut reference, kind, text(place), Origin::Variable(variable));
        put_table(table, key, reference, Origin::Variable(variable));
    }

    /// Puts the settings over the only table of the file, or into one of their own when it has none.
    fn place(
        &self,
        layer: &mut Table,
        file: &Table,
        (outer, own_name, kind): (&'static str, &'static str, &'static str),
        mut settings: Table,
        problems: &Problems,
    ) {
        let Some(origin) = settings.values().next().map(|entry| entry.key.clone()) else { return };
        let existing: Vec<&String> = match file.get(outer).map(|entry| &entry.node.value) {
            Some(Value::Table(tables)) => tables.keys().collect(),
            _ => Vec::new(),
        };
        let name = match existing.as_slice() {
            [] => own_name.to_owned(),
            [only] => (*only).clone(),
            several => {
                self.report_ambiguous(&settings, several.len(), outer, problems);
                return;
            }
        };
        // `kind` decides that another kind is replaced as a whole, not laid over key by key.
        put(&mut settings, "kind", text(kind), origin.clone());
        let mut tables = Table::new();
        put_table(&mut tables, &name, settings, origin.clone());
        put_table(layer, outer, tables, origin);
    }

    fn report_ambiguous(&self, settings: &Table, count: usize, what: &'static str, problems: &Problems) {
        for entry in settings.values() {
            match (&entry.node.value, &entry.key) {
                (Value::Table(inner), _) if !inner.contains_key("env") => {
                    self.report_ambiguous(inner, count, what, problems);
                }
                (_, Origin::Variable(variable)) if !self.referenced.contains(*variable) => {
                    let problem = Problem::Ambiguous { variable, count, what };
                    problems.push(ConfigError::new(problem, Some(Place::Variable(variable))));
                }
                _ => {}
            }
        }
    }
}

fn only_connection_is_kerberos(file: &Table) -> bool {
    let Some(Value::Table(connections)) = file.get("connections").map(|entry| &entry.node.value) else { return false };
    let is_kerberos = |entry: &Entry| match &entry.node.value {
        Value::Table(connection) => {
            connection.get("auth").is_some_and(|auth| crate::kerberos::is_word(&auth.node.value))
        }
        _ => false,
    };
    connections.len() == 1 && connections.values().all(is_kerberos)
}

fn has_connection_of_kind(file: &Table, kind: &str) -> bool {
    let Some(Value::Table(connections)) = file.get("connections").map(|entry| &entry.node.value) else { return false };
    connections.values().any(|entry| match &entry.node.value {
        Value::Table(connection) => match connection.get("kind").map(|kind| &kind.node.value) {
            Some(Value::String(found)) => found == kind,
            // An error of its own, which must not hide others.
            _ => true,
        },
        _ => true,
    })
}

fn only_sink_is_postgres(file: &Table) -> bool {
    let Some(Value::Table(sinks)) = file.get("sinks").map(|entry| &entry.node.value) else { return false };
    let is_postgres = |entry: &Entry| match &entry.node.value {
        Value::Table(sink) => {
            matches!(sink.get("kind").map(|kind| &kind.node.value), Some(Value::String(kind)) if kind == "postgres")
        }
        _ => false,
    };
    sinks.len() == 1 && sinks.values().all(is_postgres)
}

fn collect_references(table: &Table, references: &mut BTreeSet<String>) {
    for (key, entry) in table {
        match &entry.node.value {
            Value::String(name) if key == "env" => {
                references.insert(name.clone());
            }
            Value::Table(inner) => collect_references(inner, references),
            _ => {}
        }
    }
}

/// What a layer of variables is about to replace: each setting with its variable, in the order of their names.
pub(crate) fn replaced(file: &Table, over: &Table) -> Vec<String> {
    let mut found = Vec::new();
    collect_replaced(file, over, "", &mut found);
    found
}

fn collect_replaced(file: &Table, over: &Table, path: &str, found: &mut Vec<String>) {
    // Says nothing by itself: it is laid over so that another kind replaces the whole table.
    for (key, entry) in over.iter().filter(|(key, _)| *key != "kind") {
        let Some(below) = file.get(key) else { continue };
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match (&below.node.value, &entry.node.value) {
            (Value::Table(below), Value::Table(over)) if !crate::node::replaces(below, over) => {
                collect_replaced(below, over, &path, found);
            }
            (below, over) if !is_same(below, over) => {
                if let Origin::Variable(variable) = entry.key {
                    found.push(format!("`{path}` ({variable})"));
                }
            }
            _ => {}
        }
    }
}

fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::String(one), Value::String(other)) => one == other,
        (Value::Integer(one), Value::Integer(other)) => one == other,
        (Value::Boolean(one), Value::Boolean(other)) => one == other,
        (Value::Table(one), Value::Table(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|((key, value), (other_key, other_value))| {
                    key == other_key && is_same(&value.node.value, &other_value.node.value)
                })
        }
        _ => false,
    }
}

fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

/// Not a number: stays text, and is refused where it is read.
fn integer(value: &str) -> Value {
    value.trim().parse().map_or_else(|_| text(value), Value::Integer)
}

/// Not `true` or `false`: stays text, and is refused where it is read.
fn boolean(value: &str) -> Value {
    value.trim().parse().map_or_else(|_| text(value), Value::Boolean)
}

pub(crate) fn put(table: &mut Table, key: &str, value: Value, origin: Origin) {
    let entry = Entry { key: origin.clone(), node: Node { value, origin } };
    table.insert(key.to_owned(), entry);
}

/// Puts a table that holds something.
pub(crate) fn put_table(table: &mut Table, key: &str, inner: Table, origin: Origin) {
    if !inner.is_empty() {
        put(table, key, Value::Table(inner), origin);
    }
}
