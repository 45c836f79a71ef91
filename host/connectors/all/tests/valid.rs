//! What good files, environments and flags come to.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use datakit_config::{
    Config, Drift, Kerberos, Layers, Mode, Overrides, SecretRef, SecretSetting, Selection, StoreSettings, StoreValue,
    TicketSource, load,
};
use datakit_connectors::kinds;
use datakit_delta::DeltaSettings;
use datakit_files::FilesSettings;
use datakit_model::{Diagnostic, DriftRule, DriftRules, ReceiptLevel, TableId};
use datakit_postgres::{PostgresServer, PostgresSinkSettings};
use datakit_secrets::aws::{AccessKeys, AwsSecret};
use datakit_secrets::delinea::{self, DelineaField};
use datakit_secrets::environment::Variable;
use datakit_secrets::file::SecretFile;
use datakit_sqlserver::settings::{ApplicationIntent, Encrypt, Login, ReaderKind, SqlServerSettings};
use serde_json::json;

/// A reference to a variable.
fn variable(name: &str) -> SecretRef {
    Variable(name.to_owned()).into()
}

/// A reference to a file.
fn secret_file(path: impl Into<PathBuf>) -> SecretRef {
    SecretFile(path.into()).into()
}

const FILE: &str = r#"
extends = "platform.toml"

[warehouse]
name = "finance"
registry = "oci:registry"

[connections.erp]
kind = "sqlserver"
source_system = "ERP"
server = "sql01.corp.example,1434"
database = "ERP"
auth = { user = "svc", password = { env = "ERP_PASSWORD" } }

[[ingest]]
datakit = "sqlserver-bronze@0.1.0"
roles = { source = "erp" }
sink = "bronze"
tables = ["dbo.*", "!dbo.audit_*"]
settings = { maxdop = 4, nested = { a = 1, b = [1, 2.5, true] } }
"#;

const PLATFORM: &str = r#"
[warehouse]
name = "platform"
registry = "registry.localhost:5000/datakits"
cache = "cache"

[connections.erp]
kind = "sqlserver"
server = "elsewhere"
auth = { user = "platform", password = { file = "secrets/erp" } }
trust_certificate = true
pool = { max_connections = 3 }

[sinks.bronze]
kind = "delta"
uri = "./bronze"

[limits.run]
max_parallel_partitions = 2
"#;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("warehouse.toml"), FILE).unwrap();
    std::fs::write(folder.path().join("platform.toml"), PLATFORM).unwrap();
    folder
}

fn variables<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn load_in(folder: &Path, environment: BTreeMap<String, String>, flags: Overrides) -> Config {
    load(&Layers { file: Some(folder.join("warehouse.toml")), environment, flags }, &kinds()).unwrap()
}

fn sqlserver<'c>(config: &'c Config, name: &str) -> &'c SqlServerSettings {
    config.connections[name].settings().unwrap_or_else(|| panic!("{name} is of another kind"))
}

fn files<'c>(config: &'c Config, name: &str) -> &'c FilesSettings {
    config.connections[name].settings().unwrap_or_else(|| panic!("{name} is of another kind"))
}

fn delta<'c>(config: &'c Config, name: &str) -> &'c DeltaSettings {
    config.sinks[name].settings().unwrap_or_else(|| panic!("{name} is of another kind"))
}

fn postgres<'c>(config: &'c Config, name: &str) -> &'c PostgresServer {
    let settings: Option<&PostgresSinkSettings> = config.sinks[name].settings();
    &settings.unwrap_or_else(|| panic!("{name} is of another kind")).server
}

fn password<'c>(config: &'c Config, name: &str) -> (&'c str, &'c SecretSetting) {
    match sqlserver(config, name).login() {
        Login::Sql { user, password } => (user, password),
        Login::Kerberos(kerberos) => panic!("{kerberos:?}"),
    }
}

fn kerberos_of<'c>(config: &'c Config, name: &str) -> &'c Kerberos {
    match sqlserver(config, name).login() {
        Login::Kerberos(kerberos) => kerberos,
        Login::Sql { user, .. } => panic!("{user} has a password"),
    }
}

#[test]
fn a_file_is_laid_over_the_one_it_extends() {
    let folder = folder();
    let config = load_in(folder.path(), BTreeMap::new(), Overrides::default());
    assert_eq!(config.warehouse.name.as_deref(), Some("finance"));
    // Relative paths start from the file they stand in.
    let registry = format!("oci:{}", folder.path().join("registry").display());
    assert_eq!(config.warehouse.registry.as_deref(), Some(registry.as_str()));
    assert_eq!(config.warehouse.cache.as_deref(), Some(folder.path().join("cache").as_path()));
    let erp = sqlserver(&config, "erp");
    assert_eq!((erp.host(), erp.port()), ("sql01.corp.example", 1434));
    assert_eq!((config.connections["erp"].source_system(), erp.database.as_str()), ("ERP", "ERP"));
    assert_eq!((erp.encrypt, erp.reader), (Encrypt::Required, ReaderKind::MssqlTds));
    assert!(erp.trust_certificate);
    assert_eq!((erp.pool.max_connections, erp.pool.checkout_seconds), (3, 60));
    // A reference to a secret is replaced, not mixed.
    let (user, password) = password(&config, "erp");
    assert_eq!(user, "svc");
    assert_eq!(password.from, variable("ERP_PASSWORD"));
    assert_eq!(config.limits.run.max_parallel_partitions, 2);
    assert_eq!(config.limits.run.max_attempts, 3);
    assert_eq!(config.warnings.len(), 1);
    assert_eq!(*delta(&config, "bronze").uri, *folder.path().join("./bronze").display().to_string());

    let ingest = config.ingest(&Selection::default()).unwrap();
    assert_eq!(ingest.datakit, "sqlserver-bronze@0.1.0");
    assert_eq!(ingest.settings, json!({ "maxdop": 4, "nested": { "a": 1, "b": [1, 2.5, true] } }));
    assert!(
        ingest.tables.allows(&TableId::new("dbo", "orders")) && !ingest.tables.allows(&TableId::new("dbo", "audit_x"))
    );
    assert_eq!(ingest.mode, None);
    assert_eq!(config.sink_of(&ingest).unwrap().name(), "bronze");
    let [warning] = config.warnings_of_modes().try_into().unwrap();
    assert!(warning.starts_with("ingest 1 (sqlserver-bronze@0.1.0) has no mode: "), "{warning}");
}

#[test]
fn the_environment_is_over_the_file_and_flags_are_over_both() {
    let folder = folder();
    let environment = variables([
        ("MSSQL_SERVER", "sql02"),
        ("MSSQL_PORT", "1500"),
        ("MSSQL_USER", "other"),
        ("MSSQL_TRUST_CERTIFICATE", "false"),
        ("BRONZE_HOST", "pg"),
        ("BRONZE_DATABASE", "dw"),
        ("BRONZE_USER", "loader"),
        ("BRONZE_PASSWORD", "x"),
        ("DATAKIT_REGISTRY", "registry.corp.example/kits"),
        ("DATAKIT_TABLES", "sales.*"),
        ("DATAKIT_SETTINGS", r#"{"maxdop": 2, "nested": {"a": 2}}"#),
        ("DATAKIT_MODE", "append"),
        ("DATAKIT_DRIFT", "fail"),
    ]);
    let config = load_in(folder.path(), environment.clone(), Overrides::default());
    assert_eq!(config.warehouse.registry.as_deref(), Some("registry.corp.example/kits"));
    let erp = sqlserver(&config, "erp");
    assert_eq!((erp.host(), erp.port(), erp.trust_certificate), ("sql02", 1500, false));
    let (user, password) = password(&config, "erp");
    assert_eq!((user, &password.from), ("other", &variable("ERP_PASSWORD")));
    // Another kind of sink keeps nothing of the file's.
    let bronze = postgres(&config, "bronze");
    assert_eq!((bronze.host.as_str(), bronze.port, bronze.user.as_str()), ("pg", 5432, "loader"));
    let ingest = config.ingest(&Selection::default()).unwrap();
    assert_eq!(ingest.settings, json!({ "maxdop": 2, "nested": { "a": 2, "b": [1, 2.5, true] } }));
    assert_eq!((ingest.tables.to_string(), ingest.mode), ("sales.*".to_owned(), Some(Mode::Append)));
    assert_eq!(ingest.drift.rules(), DriftRules::all(DriftRule::Fail));
    assert_eq!(config.warnings_of_modes(), Vec::<String>::new());

    let flags = Overrides {
        registry: Some("oci:here".into()),
        plain_http: true,
        settings: Some(r#"{"maxdop": 1}"#.into()),
        tables: vec!["hr.*".into(), "!hr.secret".into()],
        parallel: Some(7),
        mode: Some(Mode::Overwrite),
        drift: Some(Drift::Freeze),
        receipt: Some(ReceiptLevel::Full),
    };
    let config = load_in(folder.path(), environment, flags);
    assert_eq!((config.warehouse.registry.as_deref(), config.warehouse.plain_http), (Some("oci:here"), true));
    let datakit = Some("sqlserver-bronze@0.2.0".to_owned());
    let ingest = config.ingest(&Selection { datakit, ..Selection::default() }).unwrap();
    assert_eq!(ingest.datakit, "sqlserver-bronze@0.2.0");
    assert_eq!(ingest.settings["maxdop"], 1);
    assert_eq!(ingest.tables.to_string(), "hr.*, !hr.secret");
    assert_eq!((ingest.parallel, ingest.mode), (Some(7), Some(Mode::Overwrite)));
    assert_eq!(ingest.receipt, Some(ReceiptLevel::Full));
    assert_eq!(ingest.drift.rules(), DriftRules::all(DriftRule::Freeze));
}

#[test]
fn rule_of_drift_is_a_word_or_words_by_pattern() {
    let folder = folder();
    let path = folder.path().join("warehouse.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let rules = |drift: &str| {
        std::fs::write(&path, text.replace("[[ingest]]", &format!("[[ingest]]\n{drift}"))).unwrap();
        load_in(folder.path(), BTreeMap::new(), Overrides::default())
            .ingest(&Selection::default())
            .unwrap()
            .drift
            .rules()
    };
    assert_eq!(rules(""), DriftRules::all(DriftRule::Evolve));
    assert_eq!(rules("drift = \"fail\""), DriftRules::all(DriftRule::Fail));
    let by_pattern = rules("drift = { \"dbo.*\" = \"freeze\", \"dbo.orders\" = \"evolve\" }");
    let of = |schema, name| by_pattern.of(&TableId::new(schema, name));
    assert_eq!(
        [of("dbo", "items"), of("DBO", "Orders"), of("hr", "people")],
        [DriftRule::Freeze, DriftRule::Evolve, DriftRule::Evolve]
    );
}

#[test]
fn variables_set_attempts_and_pauses() {
    let folder = folder();
    let set = variables([
        ("DATAKIT_MAX_ATTEMPTS", "5"),
        ("DATAKIT_RETRY_BACKOFF_MS", "10"),
        ("DATAKIT_RETRY_BACKOFF_MAX_MS", "20"),
    ]);
    let limits = load_in(folder.path(), set, Overrides::default()).limits.run;
    assert_eq!((limits.max_attempts, limits.retry_backoff_ms, limits.retry_backoff_max_ms), (5, 10, 20));
    assert_eq!(limits.max_parallel_partitions, 2, "what the file says of the others stays");
}

#[test]
fn the_environment_alone_is_enough() {
    let environment = variables([
        ("MSSQL_SERVER", "sql01,1500"),
        ("MSSQL_DATABASE", "ERP"),
        ("MSSQL_AUTH_TYPE", "sql"),
        ("MSSQL_USER", "svc"),
        ("MSSQL_PASSWORD", "Pl4nted"),
        ("MSSQL_ENCRYPT", "strict"),
        ("MSSQL_CERTIFICATE_FILE", "certs/server.pem"),
        ("MSSQL_SOURCE_SYSTEM", "ERP"),
        ("BRONZE_URI", "./bronze"),
        ("BRONZE_PASSWORD", ""),
        ("DATAKIT_TABLES", "dbo.*, !dbo.[a,b]"),
    ]);
    let config = load(&Layers { environment: environment.clone(), ..Layers::default() }, &kinds()).unwrap();
    let connection = sqlserver(&config, "mssql");
    assert_eq!((connection.port(), connection.encrypt), (1500, Encrypt::Strict));
    assert_eq!(connection.certificate_file.as_deref(), Some(Path::new("certs/server.pem")));
    assert_eq!(config.connections["mssql"].source_system(), "ERP");
    let (_, password) = password(&config, "mssql");
    assert_eq!(password.resolve(&environment).unwrap().unwrap().secret.expose(), "Pl4nted");
    assert!(!format!("{config:?}").contains("Pl4nted"));
    assert_eq!(&*delta(&config, "bronze").uri, "./bronze");

    let datakit = Some("sqlserver-bronze@0.1.0".to_owned());
    let ingest = config.ingest(&Selection { datakit, ..Selection::default() }).unwrap();
    assert_eq!(ingest.roles, BTreeMap::from([("source".to_owned(), "mssql".to_owned())]));
    assert!(!ingest.tables.allows(&TableId::new("dbo", "a,b")) && ingest.tables.allows(&TableId::new("dbo", "a")));
    assert!(config.sink_of(&ingest).is_ok());
}

fn code_of(config: &Config, selection: Selection) -> String {
    let errors = config.ingest(&selection).unwrap_err();
    errors.errors()[0].code().into_owned()
}

#[test]
fn what_cannot_be_chosen_says_why() {
    let empty = load(&Layers::default(), &kinds()).unwrap();
    let kit = |name: &str| Selection { datakit: Some(name.into()), ..Selection::default() };
    assert_eq!(code_of(&empty, Selection::default()), "DK-CFG-025");
    assert_eq!(code_of(&empty, kit("sqlserver-bronze")), "DK-CFG-018");
    assert_eq!(code_of(&empty, kit("sqlserver-bronze@0.1.0")), "DK-CFG-024");

    let folder = folder();
    let mut two = FILE.to_owned();
    two.push_str("\n[[ingest]]\nname = \"sales\"\ndatakit = \"sqlserver-bronze@0.1.0\"\nroles = { source = \"erp\" }\nsink = \"bronze\"\ntables = [\"sales.*\"]\n");
    std::fs::write(folder.path().join("warehouse.toml"), two).unwrap();
    let config = load_in(folder.path(), BTreeMap::new(), Overrides::default());
    assert_eq!(code_of(&config, Selection::default()), "DK-CFG-023");
    assert_eq!(code_of(&config, kit("sqlserver-bronze@0.1.0")), "DK-CFG-023");
    let by = |ingest: &str| Selection { ingest: Some(ingest.into()), ..Selection::default() };
    assert_eq!(config.ingest(&by("sales")).unwrap().tables.to_string(), "sales.*");
    assert_eq!(config.ingest(&by("1")).unwrap().tables.to_string(), "dbo.*, !dbo.audit_*");
    assert_eq!(code_of(&config, by("3")), "DK-CFG-024");
    // Another datakit has no ingest, but there is one connection and one sink: only the tables are missing.
    assert_eq!(code_of(&config, kit("other@1.0.0")), "DK-CFG-025");
    let all = Selection { all_tables: true, ..kit("other@1.0.0") };
    assert_eq!(config.ingest(&all).unwrap().tables.to_string(), "*.*");
}

#[test]
fn a_password_alone_changes_no_connection_that_logs_in_with_kerberos() {
    let folder = tempfile::tempdir().unwrap();
    let connection =
        "[connections.erp]\nkind = \"sqlserver\"\nserver = \"sql01\"\ndatabase = \"ERP\"\nauth = \"kerberos\"\n";
    std::fs::write(folder.path().join("warehouse.toml"), connection).unwrap();
    let read = |environment| load_in(folder.path(), environment, Overrides::default());
    let config = read(variables([("MSSQL_PASSWORD", "Pl4nted")]));
    assert!(matches!(sqlserver(&config, "erp").login(), Login::Kerberos(_)));
    assert!(
        config.warnings[0].contains("MSSQL_PASSWORD is set but not used") && config.warnings[0].contains("MSSQL_USER")
    );
    // With a user it is a login, and the environment is over the file.
    let config = read(variables([("MSSQL_USER", "svc"), ("MSSQL_PASSWORD", "Pl4nted")]));
    assert!(matches!(sqlserver(&config, "erp").login(), Login::Sql { .. }));
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn instances_and_intents_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let read = |lines: &str, variables_: &[(&'static str, &str)]| {
        let text = format!("[connections.a]\nkind = \"sqlserver\"\ndatabase = \"D\"\nauth = \"kerberos\"\n{lines}");
        std::fs::write(folder.path().join("warehouse.toml"), text).unwrap();
        let environment = variables_.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let config = load_in(folder.path(), environment, Overrides::default());
        let connection = sqlserver(&config, "a").clone();
        let place = (connection.host().to_owned(), connection.instance().map(str::to_owned), connection.port());
        (place, connection.application_intent, config.connections["a"].address(), config.servers)
    };
    let erp = Some("ERP".to_owned());
    let (place, intent, address, _) = read("server = 'SQL01\\ERP'", &[]);
    assert_eq!((place, intent), (("SQL01".into(), erp.clone(), 1433), ApplicationIntent::ReadWrite));
    assert_eq!(address, "sql01\\erp");
    // With a port nobody is asked for it.
    let with_port = ("sql01".to_owned(), None, 1500);
    assert_eq!(read("server = 'sql01\\ERP,1500'", &[]).0, with_port);
    assert_eq!(read("server = 'sql01\\ERP'\nport = 1500", &[]).0, with_port);
    // An instance of the environment counts more than a port of the file, and a port of the environment more than an instance of the file.
    let variable = [("MSSQL_SERVER", "sql02\\ERP")];
    assert_eq!(read("server = 'sql01'\nport = 1500", &variable).0, ("sql02".into(), erp, 1433));
    assert_eq!(read("server = 'sql01\\ERP'", &[("MSSQL_PORT", "1500")]).0, with_port);
    let lines =
        "server = 'sql01\\ERP'\napplication_intent = \"read-only\"\n[servers.'SQL01\\erp']\nmax_connections = 5";
    let (_, intent, address, servers) = read(lines, &[]);
    assert_eq!((intent, servers[&address]), (ApplicationIntent::ReadOnly, 5));
    let variable = [("MSSQL_APPLICATION_INTENT", "read-only")];
    assert_eq!(read("server = 'sql01'", &variable).1, ApplicationIntent::ReadOnly);
}

#[test]
fn connections_to_one_server_share_its_bound() {
    let folder = tempfile::tempdir().unwrap();
    let connection = |name: &str, server: &str| {
        format!(
            "[connections.{name}]\nkind = \"sqlserver\"\nserver = \"{server}\"\ndatabase = \"D\"\nauth = \"kerberos\"\n"
        )
    };
    let text = [
        connection("a", "SQL01.corp.example"),
        connection("b", "sql01.corp.example,1433"),
        "[servers.\"sql01.CORP.example:1433\"]\nmax_connections = 5\n".to_owned(),
        "[servers.\"elsewhere:1\"]\nmax_connections = 1\n".to_owned(),
    ];
    std::fs::write(folder.path().join("warehouse.toml"), text.concat()).unwrap();
    let config = load_in(folder.path(), BTreeMap::new(), Overrides::default());
    for name in ["a", "b"] {
        assert_eq!(config.servers[&config.connections[name].address()], 5);
    }
    assert_eq!(config.warnings, ["`servers.\"elsewhere:1\"` bounds nothing: no connection has this host and port"]);
}

#[test]
fn a_secret_in_a_vault_is_only_referred_to() {
    let folder = tempfile::tempdir().unwrap();
    let read = |reference: &str| {
        let text = format!(
            "[connections.erp]\nkind = \"sqlserver\"\nserver = \"sql01\"\ndatabase = \"ERP\"\nauth = {{ user = \"svc\", password = {reference} }}\n"
        );
        std::fs::write(folder.path().join("warehouse.toml"), text).unwrap();
        password(&load_in(folder.path(), BTreeMap::new(), Overrides::default()), "erp").1.clone()
    };
    let password = read(
        r#"{ delinea = { url = "https://vault.corp.example/SecretServer/", secret-id = 7, field = "password" } }"#,
    );
    let expected = DelineaField {
        url: "https://vault.corp.example/SecretServer".into(),
        secret_id: 7,
        field: "password".into(),
        login: delinea::Login::ClientCredentials,
        client_id: variable("DELINEA_CLIENT_ID"),
        client_secret: variable("DELINEA_CLIENT_SECRET"),
        certificate_file: None,
    };
    assert_eq!(password.from, expected.into());
    assert!(password.resolve(&BTreeMap::new()).unwrap().is_none(), "nothing is fetched here");
    let missing = password.prerequisites()[1].resolve(&BTreeMap::new()).unwrap_err().to_string();
    assert!(missing.contains("connections.erp.auth.password.delinea.client_secret"), "{missing}");

    let password = read(
        r#"{ delinea = { url = "http://127.0.0.1:1", secret_id = 7, field = "p", login = "platform", client-id = { file = "id" }, client_secret = { env = "S" } } }"#,
    );
    let expected = DelineaField {
        url: "http://127.0.0.1:1".into(),
        secret_id: 7,
        field: "p".into(),
        login: delinea::Login::Platform,
        client_id: secret_file(folder.path().join("id")),
        client_secret: variable("S"),
        certificate_file: None,
    };
    assert_eq!(password.from, expected.into());

    let arn = "arn:aws:secretsmanager:eu-central-1:1:secret:erp";
    let password = read(&format!(r#"{{ aws = {{ secret-id = "{arn}", field = "password" }} }}"#));
    let plain = AwsSecret {
        secret_id: arn.into(),
        region: Some("eu-central-1".into()),
        field: Some("password".into()),
        version_stage: None,
        endpoint: None,
        keys: None,
    };
    assert_eq!((&password.from, password.prerequisites()), (&SecretRef::from(plain), vec![]));
    let password = read(
        r#"{ aws = { secret_id = "erp", region = "eu-west-1", version_stage = "AWSPREVIOUS", endpoint = "http://localhost:1/", access_key_id = { env = "ID" }, secret_access_key = { file = "key" } } }"#,
    );
    let keys = AccessKeys {
        access_key_id: variable("ID"),
        secret_access_key: secret_file(folder.path().join("key")),
        session_token: None,
    };
    let expected = AwsSecret {
        secret_id: "erp".into(),
        region: Some("eu-west-1".into()),
        field: None,
        version_stage: Some("AWSPREVIOUS".into()),
        endpoint: Some("http://localhost:1".into()),
        keys: Some(keys),
    };
    assert_eq!(password.from, expected.into());
    let missing = password.prerequisites()[0].resolve(&BTreeMap::new()).unwrap_err().to_string();
    assert!(missing.contains("connections.erp.auth.password.aws.access_key_id"), "{missing}");
}

#[test]
fn kerberos_takes_its_ticket_from_a_cache_or_a_keytab() {
    let folder = tempfile::tempdir().unwrap();
    let read = |kerberos: &str, environment: BTreeMap<String, String>| {
        let text = format!(
            "[connections.erp]\nkind = \"sqlserver\"\nserver = \"sql01\"\ndatabase = \"ERP\"\nauth = \"kerberos\"\n{kerberos}\n"
        );
        std::fs::write(folder.path().join("warehouse.toml"), text).unwrap();
        kerberos_of(&load_in(folder.path(), environment, Overrides::default()), "erp").clone()
    };
    let plain = read("", BTreeMap::new());
    assert_eq!((plain.ticket(), plain.min_remaining_seconds), (TicketSource::Cache(None), 60));
    let assert_cache = |kerberos: &str, expected: &str| {
        assert_eq!(read(kerberos, BTreeMap::new()).ticket(), TicketSource::Cache(Some(expected)));
    };
    let here = format!("FILE:{}", folder.path().join("cache").display());
    assert_cache("kerberos = { ticket_cache = \"cache\" }", &here);
    assert_cache("kerberos = { ticket_cache = \"FILE:cache\" }", &here);
    assert_cache("kerberos = { ticket_cache = \"DIR:/run/tickets\" }", "DIR:/run/tickets");

    let full = "kerberos = { principal = \"svc@CORP\", keytab = { file = \"k\" }, spn_host = \"a\", spn_port = 1, realm = \"R\" }";
    let full = read(full, BTreeMap::new());
    assert_eq!((full.spn_host.as_deref(), full.spn_port, full.realm.as_deref()), (Some("a"), Some(1), Some("R")));
    assert!(matches!(full.ticket(), TicketSource::Keytab { keytab, principal }
        if principal == "svc@CORP" && keytab.from == secret_file(folder.path().join("k"))));

    let environment = [("KRB_PRINCIPAL", "etl@CORP"), ("KRB_KEYTAB", "/run/secrets/k"), ("KRB_REALM", "OTHER")];
    let overlaid = read("", variables(environment));
    assert_eq!(overlaid.realm.as_deref(), Some("OTHER"));
    assert!(matches!(overlaid.ticket(), TicketSource::Keytab { keytab, principal }
        if principal == "etl@CORP" && keytab.from == secret_file("/run/secrets/k")));
}

#[test]
fn files_are_a_root_and_what_belongs_to_which_table() {
    let folder = tempfile::tempdir().unwrap();
    let file = r#"
[connections.landing]
kind = "files"
root = "./in"
tables = { "sales.orders" = ["orders/**/*.csv", "!orders/old/**"] }
max_files = 7

[connections.lake]
kind = "files"
source_system = "LAKE"
root = "s3://lake/in"
"#;
    std::fs::write(folder.path().join("warehouse.toml"), file).unwrap();
    let config = load_in(folder.path(), variables([]), Overrides::default());
    let landing = files(&config, "landing");
    assert_eq!(*landing.root, *folder.path().join("./in").display().to_string(), "from the file's folder");
    let patterns = vec!["orders/**/*.csv".to_owned(), "!orders/old/**".to_owned()];
    assert_eq!((&*landing.tables["sales.orders"], landing.tables.len()), (patterns.as_slice(), 1));
    assert_eq!((landing.max_files, config.connections["landing"].source_system()), (7, "landing"));
    let lake = files(&config, "lake");
    assert_eq!((&*lake.root, config.connections["lake"].source_system()), ("s3://lake/in", "LAKE"));
}

#[test]
fn a_store_has_settings_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let file = r#"
[connections.landing]
kind = "files"
root = "s3://landing/in"
store = { AWS_ACCESS_KEY_ID = "reader", AWS_SECRET_ACCESS_KEY = { file = "key" }, AWS_ALLOW_HTTP = true }

[connections.elsewhere]
kind = "files"
root = "./in"
store = { AZURE_STORAGE_ACCOUNT_NAME = "of another day" }

[sinks.bronze]
kind = "delta"
uri = "az://lake/bronze"

[sinks.bronze.store]
AZURE_CLIENT_SECRET.delinea = { url = "https://vault.corp.example", secret_id = 7, field = "password", client_id = { env = "ID" }, client_secret = { env = "KEY" } }

[sinks.other]
kind = "delta"
uri = "s3://lake/bronze"
store = {}
"#;
    std::fs::write(folder.path().join("warehouse.toml"), file).unwrap();
    let config = load_in(folder.path(), variables([]), Overrides::default());
    let landing = files(&config, "landing");
    let settings: Vec<(&str, &StoreValue)> = landing.store.as_ref().unwrap().iter().collect();
    assert_eq!(settings[0], ("AWS_ACCESS_KEY_ID", &StoreValue::Plain("reader".into())));
    assert_eq!(settings[1], ("AWS_ALLOW_HTTP", &StoreValue::Plain("true".into())));
    let [secret] = config.connections["landing"].secrets()[..] else { panic!("one secret") };
    assert_eq!(secret.from, secret_file(folder.path().join("key")));
    assert_eq!(secret.path, "connections.landing.store.AWS_SECRET_ACCESS_KEY");
    let [key] = config.sinks["bronze"].secrets()[..] else { panic!("one secret") };
    assert!(!key.from.is_local(), "{key:?}");
    assert_eq!(delta(&config, "other").store, Some(StoreSettings::default()), "nothing of the environment either");

    std::fs::rename(folder.path().join("warehouse.toml"), folder.path().join("platform.toml")).unwrap();
    let over = "extends = \"platform.toml\"\n[connections.landing.store]\nAWS_ACCESS_KEY_ID = \"another\"\n";
    std::fs::write(folder.path().join("warehouse.toml"), over).unwrap();
    let config = load_in(folder.path(), variables([]), Overrides::default());
    let landing = files(&config, "landing");
    let settings: Vec<(&str, &StoreValue)> = landing.store.as_ref().unwrap().iter().collect();
    let another = StoreValue::Plain("another".into());
    assert_eq!(settings, [("AWS_ACCESS_KEY_ID", &another)], "the key of one account is not laid over that of another");
}

const TWO_INGESTS: &str = r#"
[connections.erp]
kind = "sqlserver"
server = "sql01"
database = "ERP"
auth = { user = "svc", password = { env = "PW" } }

[sinks.bronze]
kind = "postgres"
host = "pg01"
database = "dw"
user = "loader"
password = { file = "password" }

[[ingest]]
name = "first"
datakit = "a@1.0.0"
roles = { source = "erp" }
sink = "bronze"
tables = ["dbo.*"]

[[ingest]]
datakit = "b@1.0.0"
roles = { source = "erp" }
sink = "bronze"
tables = ["sales.*"]
"#;

fn two_ingests(environment: BTreeMap<String, String>, flags: Overrides) -> Config {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("warehouse.toml"), TWO_INGESTS).unwrap();
    load_in(folder.path(), environment, flags)
}

#[test]
fn every_ingest_that_fits_is_run_unless_tables_or_settings_are_for_one() {
    let labels = |config: &Config, selection: Selection| -> Vec<String> {
        config.ingests_of(&selection).unwrap().into_iter().map(|(label, _)| label).collect()
    };
    let config = two_ingests(BTreeMap::new(), Overrides { mode: Some(Mode::Overwrite), ..Overrides::default() });
    assert_eq!(labels(&config, Selection::default()), ["first", "2 (b@1.0.0)"]);
    assert!(config.ingests_of(&Selection::default()).unwrap().iter().all(|(_, it)| it.mode == Some(Mode::Overwrite)));
    let one = Selection { ingest: Some("2".into()), ..Selection::default() };
    assert_eq!(labels(&config, one.clone()), ["b@1.0.0"]);
    assert_eq!(labels(&config, Selection { datakit: Some("a@2.0.0".into()), ..Selection::default() }), ["first"]);
    let over = [
        (variables([("DATAKIT_TABLES", "dbo.t")]), Overrides::default()),
        (BTreeMap::new(), Overrides { tables: vec!["dbo.t".into()], ..Overrides::default() }),
        (BTreeMap::new(), Overrides { settings: Some("{}".into()), ..Overrides::default() }),
    ];
    for (environment, flags) in over {
        let config = two_ingests(environment, flags);
        let errors = config.ingests_of(&Selection::default()).unwrap_err();
        assert_eq!(errors.errors()[0].code(), "DK-CFG-023");
        assert_eq!(config.ingests_of(&one).unwrap().len(), 1);
    }
}

#[test]
fn a_flag_of_tables_takes_commas_as_the_variable_does() {
    let flags = Overrides { tables: vec!["dbo.a,dbo.[b,c]".into(), "!dbo.d".into()], ..Overrides::default() };
    let config = two_ingests(BTreeMap::new(), flags);
    let one = Selection { ingest: Some("first".into()), ..Selection::default() };
    assert_eq!(config.ingest(&one).unwrap().tables.to_string(), "dbo.a, dbo.[b,c], !dbo.d");
}

#[test]
fn an_explicit_reference_to_a_secret_wins_over_the_variable_of_its_purpose() {
    let password = |config: &Config| password(config, "erp").1.from.clone();
    let of_sink = |config: &Config| postgres(config, "bronze").password.as_ref().unwrap().from.clone();
    let both = variables([("MSSQL_PASSWORD", "x"), ("BRONZE_PASSWORD", "y")]);
    let config = two_ingests(both, Overrides::default());
    assert_eq!(password(&config), variable("PW"));
    assert_eq!(of_sink(&config).kind().key(), "file");
    let [first, second] = config.warnings.as_slice() else { panic!("{:?}", config.warnings) };
    assert!(first.contains("MSSQL_PASSWORD") && first.contains("`connections.erp.auth.password`"), "{first}");
    assert!(second.contains("BRONZE_PASSWORD") && second.contains("`sinks.bronze.password`"), "{second}");
    assert!(config.notes.is_empty());

    // With whose password it is, the environment's login is whole, and is told of.
    let login = variables([("MSSQL_USER", "other"), ("MSSQL_PASSWORD", "x")]);
    let config = two_ingests(login, Overrides::default());
    assert_eq!(password(&config), variable("MSSQL_PASSWORD"));
    assert_eq!(
        config.notes,
        [
            "variables replace what the file says: `connections.erp.auth.password` (MSSQL_PASSWORD), `connections.erp.auth.user` (MSSQL_USER)"
        ]
    );

    // A keytab likewise.
    let folder = tempfile::tempdir().unwrap();
    let text = "[connections.erp]\nkind = \"sqlserver\"\nserver = \"sql01\"\ndatabase = \"ERP\"\nauth = \"kerberos\"\n\
                    kerberos = { principal = \"a@R\", keytab = { file = \"/own.keytab\" } }\n";
    std::fs::write(folder.path().join("warehouse.toml"), text).unwrap();
    let keytab = |environment| {
        let config = load_in(folder.path(), environment, Overrides::default());
        let TicketSource::Keytab { keytab, .. } = kerberos_of(&config, "erp").ticket() else { panic!("no keytab") };
        (keytab.from.clone(), config.warnings.len(), config.notes.len())
    };
    let other = || ("KRB_KEYTAB", "/other.keytab");
    assert_eq!(keytab(variables([other()])), (secret_file("/own.keytab"), 1, 0));
    let whole = variables([other(), ("KRB_PRINCIPAL", "b@R")]);
    assert_eq!(keytab(whole), (secret_file("/other.keytab"), 0, 1));
}

#[test]
fn replaced_settings_are_reported_and_repeated_ones_are_not() {
    let config = two_ingests(variables([("MSSQL_SERVER", "sql01"), ("MSSQL_PORT", "1433")]), Overrides::default());
    assert_eq!(config.notes, Vec::<String>::new());
    let config = two_ingests(
        variables([("MSSQL_SERVER", "sql02"), ("BRONZE_URI", "./lake"), ("DATAKIT_TABLES", "dbo.t")]),
        Overrides::default(),
    );
    assert_eq!(
        config.notes,
        [
            "variables replace what the file says: `connections.erp.server` (MSSQL_SERVER), `sinks.bronze` (BRONZE_URI), `ingest.tables` (DATAKIT_TABLES)"
        ]
    );
}
