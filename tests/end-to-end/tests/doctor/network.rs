//! SQL Server: from TCP to SELECT, and the settings before.

use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use datakit_fake_sqlserver::server::{Certificate, Encrypt, Options};
use datakit_fake_sqlserver::sql::SqlEngineOptions;
use datakit_tests::{Mssql, Output, World, own_address, silent, with_names};

use crate::{JSON, SCRIPT, chain, expect, status};

fn fake_sqlserver(options: Options) -> Option<World> {
    let reason = "only the fake SQL Server breaks as a test says";
    Some(World::with(Mssql::fake_sqlserver_for(reason, options, SqlEngineOptions::default())?, SCRIPT))
}

fn doctor_with(world: &World, change: impl FnOnce(&mut Command)) -> Output {
    let mut command = world.command(&JSON);
    change(&mut command);
    world.finish(command)
}

#[test]
fn settings_come_first() {
    let world = World::new(SCRIPT);
    let without = doctor_with(&world, |it| {
        it.env_remove("MSSQL_PASSWORD");
    });
    let missing = expect(&without, "settings", "DK-CFG-010", "MSSQL_PASSWORD");
    assert_eq!((missing.chain["name"].as_str(), missing.status("tcp")), (Some("erp"), "not_reached"));
    world.edit("{ env = \"MSSQL_PASSWORD\" }", "{ file = \"nothing\" }");
    let without = doctor_with(&world, |it| {
        it.env_remove("MSSQL_PASSWORD");
    });
    assert_eq!(expect(&without, "settings", "DK-CFG-011", "readable by the user").status("secret"), "not_reached");
    world.write("nothing", &world.mssql.password);
    let document = doctor_with(&world, |it| {
        it.env_remove("MSSQL_PASSWORD");
    });
    assert_eq!(status(chain(&document.success().json(), "erp"), "secret"), "ok");
    world.edit("{ file = \"nothing\" }", "{ env = \"MSSQL_PASSWORD\" }");
    let output = world.host(&["doctor", "erq"]);
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.contains("DK-CFG-024") && output.stderr.contains("did you mean `erp`?"), "{}", output.stderr);
    world.edit("kind = \"sqlserver\"", "kind = \"sqlsrver\"");
    let broken = expect(&world.host(&JSON), "settings", "DK-CFG-012", "sqlserver");
    assert_eq!(broken.chain["kind"], "configuration");
    let nothing = doctor_with(&world, |it| {
        it.current_dir("/").env_remove("MSSQL_PASSWORD");
    });
    expect(&nothing, "settings", "DK-CLI-042", "warehouse.toml");
}

#[test]
fn nobody_listens() {
    let world = World::new(SCRIPT);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    world.edit(&format!("port = {}", world.mssql.port), &format!("port = {closed}"));
    let refused = expect(&world.host(&JSON), "tcp", "DK-SRC-011", "firewall");
    assert_eq!(refused.status("tls"), "not_reached");
    // Kerberos is no link of a login with a password.
    assert!(!refused.chain.to_string().contains("krb5.conf"));
    world.edit(&format!("server = \"{}\"", world.mssql.host), "server = \"no-such-host.invalid\"");
    expect(&world.host(&JSON), "tcp", "DK-SRC-010", "DNS");
}

#[test]
fn nobody_answers() {
    let world = World::new(SCRIPT);
    // A queue that is full: the system leaves further connections unanswered, as a firewall does.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        socket.listen(1).unwrap()
    });
    let address = listener.local_addr().unwrap();
    let waiting = Duration::from_millis(500);
    let queue: Vec<TcpStream> = std::iter::from_fn(|| TcpStream::connect_timeout(&address, waiting).ok()).collect();
    let from = format!("server = \"{}\"\nport = {}", world.mssql.host, world.mssql.port);
    let to = format!("server = \"127.0.0.1\"\nport = {}\ntimeouts = {{ connect_seconds = 1 }}", address.port());
    world.edit(&from, &to);
    let silent = expect(&world.host(&JSON), "tcp", "DK-SRC-012", "firewall");
    assert_eq!((silent.status("secret"), silent.status("tls")), ("ok", "not_reached"));
    drop((queue, listener));
}

#[test]
fn certificates() {
    let Some(world) = fake_sqlserver(Options::default()) else { return };
    let without_authority = doctor_with(&world, |it| {
        it.env_remove("SSL_CERT_FILE");
    });
    let untrusted = expect(&without_authority, "tls", "DK-SRC-020", "SSL_CERT_FILE");
    assert_eq!((untrusted.status("tcp"), untrusted.status("login")), ("ok", "not_reached"));
    the_presented_one_can_be_pinned(&world, &untrusted.chain);
    world.edit("encrypt = \"required\"", "encrypt = \"off\"");
    let document = world.host(&JSON).success().json();
    assert_eq!(status(chain(&document, "erp"), "tls"), "not_used");
    let Some(other) = fake_sqlserver(Options { certificate: Certificate::WrongHost, ..Options::default() }) else {
        return;
    };
    expect(&other.host(&JSON), "tls", "DK-SRC-021", "host_name_in_certificate");
    let Some(old) = fake_sqlserver(Options { certificate: Certificate::Expired, ..Options::default() }) else { return };
    expect(&old.host(&JSON), "tls", "DK-SRC-022", "clock");
    // Pinned to another one than the server shows.
    let pin = format!("certificate_file = \"{}\"", old.mssql.certificate().display());
    other.edit("# The certificate is checked.", &pin);
    let strange = expect(&other.host(&JSON), "tls", "DK-SRC-023", "renewed");
    assert_eq!((strange.status("tcp"), strange.status("login")), ("ok", "not_reached"));
    let options = Options { encrypt: Encrypt::Off, ..Options::default() };
    let reason = "only the fake SQL Server has no encryption when asked";
    let Some(clear) = Mssql::fake_sqlserver_for(reason, options, SqlEngineOptions::default()) else { return };
    let clear = World::with(clear, "");
    expect(&clear.host(&JSON), "tls", "DK-SRC-025", "TLS");
}

/// The certificate of a refused connection is shown as the `openssl` command shows the server's own file, and saved, and then taken.
fn the_presented_one_can_be_pinned(world: &World, refused: &serde_json::Value) {
    let links = refused["links"].as_array().unwrap();
    let shown = &links.iter().find(|link| link["link"] == "tls").unwrap()["certificate"];
    let mut openssl = Command::new("openssl");
    openssl.args(["x509", "-noout", "-fingerprint", "-sha256", "-enddate", "-in"]).arg(world.mssql.certificate());
    let seen = String::from_utf8(openssl.output().unwrap().stdout).unwrap();
    for key in ["sha256", "not_after"] {
        let value = shown[key].as_str().unwrap();
        assert!(seen.contains(&format!("={value}\n")), "{key} {value} is not in\n{seen}");
    }
    let mut command = world.command(&["doctor", "erp", "--save-certificate", "saved.pem"]);
    command.env_remove("SSL_CERT_FILE");
    let output = world.finish(command);
    assert!(output.stdout.contains("saved to saved.pem; compare the SHA-256"), "{}", output.stdout);
    let variant = world.variant("# The certificate is checked.", "certificate_file = \"saved.pem\"");
    let mut command = world.command(&["doctor", "erp", "--config", variant]);
    command.env_remove("SSL_CERT_FILE");
    world.finish(command).success();
}

#[test]
fn login_and_database() {
    let world = World::new(SCRIPT);
    let output = doctor_with(&world, |it| {
        it.env("MSSQL_PASSWORD", "Pl4nted-wrong-password");
    });
    let refused = expect(&output, "login", "DK-SRC-030", "password");
    assert_eq!((refused.status("tls"), refused.status("database")), ("ok", "not_reached"));
    assert!(!output.stdout.contains("Pl4nted-wrong-password"));
    world.edit(&format!("database = \"{}\"", world.mssql.database), "database = \"no such database\"");
    let unknown = expect(&world.host(&JSON), "database", "DK-SRC-031", "database");
    assert_eq!((unknown.status("login"), unknown.status("tables")), ("ok", "not_reached"));
}

#[test]
fn select_on_the_chosen_tables() {
    let Some(world) = fake_sqlserver(Options::default()) else { return };
    world.mssql.engine().set_denied("dbo.t", true);
    for reader in ["mssql-tds", "tiberius"] {
        let line = format!("reader = \"{reader}\"\nkind = \"sqlserver\"");
        world.edit("kind = \"sqlserver\"", &line);
        let denied = expect(&world.host(&JSON), "tables", "DK-SRC-032", "GRANT SELECT ON [dbo].[t] TO [dbo];");
        assert!(!denied.hint.contains("[u]"), "{}", denied.hint);
        assert_eq!(denied.status("database"), "ok");
        world.edit(&line, "kind = \"sqlserver\"");
    }
    // What is not chosen need not be read.
    world.host(&["doctor", "--tables", "dbo.*", "!dbo.t"]).success();
    let hidden = world.host(&["doctor", "erp", "--output", "json", "--tables", "dbo.u", "dbo.v"]);
    expect(&hidden, "tables", "DK-SRC-033", "spelling");
    let nothing = world.host(&["doctor", "erp", "--output", "json", "--tables", "sales.*"]);
    expect(&nothing, "tables", "DK-SRC-033", "host discover");
    // Nor what the datakit's settings leave out.
    world.append("settings = { exclude = [\"dbo.t\"] }");
    let document = world.host(&JSON).success().json();
    let links = chain(&document, "erp")["links"].as_array().unwrap();
    let detail = links.last().unwrap()["detail"].as_str().unwrap();
    assert!(detail.contains("1 more are chosen"), "{detail}");
}

#[test]
fn columns_that_may_not_be_read_are_named_unless_the_datakit_leaves_them_out() {
    let Some(world) = fake_sqlserver(Options::default()) else { return };
    world.mssql.engine().set_column_fact("dbo.t", "id", "granted", 1).unwrap();
    let denied = expect(&world.host(&JSON), "tables", "DK-SRC-032", "GRANT SELECT ON [dbo].[t] ([name]) TO [dbo];");
    assert!(denied.hint.contains("the datakit's setting `columns`"), "{}", denied.hint);
    world.append("settings = { columns = { \"dbo.t\" = { exclude = [\"name\"] } } }");
    let document = world.host(&JSON).success().json();
    let links = chain(&document, "erp")["links"].as_array().unwrap();
    let detail = links.last().unwrap()["detail"].as_str().unwrap();
    assert!(detail.contains("the datakit leaves out the others"), "{detail}");
}

#[test]
fn the_environment_is_enough() {
    let world = World::new(SCRIPT);
    std::fs::remove_file(world.path().join("warehouse.toml")).unwrap();
    let mssql = &world.mssql;
    let mut command = world.command(&["doctor", "--output", "json", "--tables", "dbo.t", "--registry", "oci:registry"]);
    command.env("MSSQL_SERVER", format!("{},{}", mssql.host, mssql.port)).env("MSSQL_DATABASE", &mssql.database);
    command.env("MSSQL_USER", &mssql.user).env("BRONZE_URI", world.path().join("bronze"));
    command.envs(mssql.trust_variables());
    let document = world.finish(command).success().json();
    assert_eq!(status(chain(&document, "mssql"), "tables"), "ok");
    assert_eq!(status(chain(&document, "bronze"), "writable"), "ok");
    assert_eq!(status(chain(&document, "registry"), "datakits"), "not_used");
}

/// A server at 127.0.0.1 under a name whose other address, before it or after it, is silent.
#[test]
fn silent_address_of_a_name_does_not_use_up_the_time_of_the_others() {
    let Some(world) = fake_sqlserver(Options::default()) else { return };
    let (port, silent_at) = (world.mssql.port, own_address());
    let _silent = silent(silent_at, port);
    let server = format!("server = \"{}\"", world.mssql.host);
    let by_name =
        "server = \"sql.corp.example\"\nhost_name_in_certificate = \"localhost\"\ntimeouts = { connect_seconds = 5 }";
    world.edit(&server, by_name);
    for (run, addresses) in
        [[silent_at.to_string(), "127.0.0.1".to_owned()], ["127.0.0.1".to_owned(), silent_at.to_string()]]
            .into_iter()
            .enumerate()
    {
        let hosts: String = addresses.iter().map(|address| format!("{address} sql.corp.example\n")).collect();
        let host = |arguments: &[&str]| {
            let mut command = world.command(arguments);
            with_names(&mut command, world.path(), &hosts);
            world.finish(command)
        };
        let document = host(&JSON).success().json();
        assert!(chain(&document, "erp").to_string().contains(&format!("127.0.0.1:{port}")), "{document}");
        for reader in ["mssql-tds", "tiberius"] {
            let line = format!("reader = \"{reader}\"\nkind = \"sqlserver\"");
            world.edit("kind = \"sqlserver\"", &line);
            let run = format!("{reader}-{run}");
            assert_eq!(host(&["run", "--output", "json", "--run-id", &run]).success().json()["rows"], 2);
            world.edit(&line, "kind = \"sqlserver\"");
        }
    }
    // All of them silent: each is named.
    let other = own_address_beside();
    let _other = silent(other, port);
    let mut command = world.command(&JSON);
    with_names(&mut command, world.path(), &format!("{silent_at} sql.corp.example\n{other} sql.corp.example\n"));
    let output = world.finish(command);
    expect(&output, "tcp", "DK-SRC-012", "firewall");
    for address in [silent_at, other] {
        assert!(output.stdout.contains(&format!("{address}:{port}")), "{}", output.stdout);
    }
}

/// The next address after a test's own.
fn own_address_beside() -> std::net::IpAddr {
    match own_address() {
        std::net::IpAddr::V4(address) => std::net::Ipv4Addr::from(u32::from(address) ^ 0x0080_0000).into(),
        other => other,
    }
}
