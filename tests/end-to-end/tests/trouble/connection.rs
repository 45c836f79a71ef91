//! The way to the server, its certificate, the login, and what the login may read.

use std::net::TcpListener;
use std::time::Duration;

use datakit_fake_sqlserver::server::{Certificate, Encrypt, Options};
use datakit_fake_sqlserver::sql::{Effect, Fault, SqlEngineOptions};
use datakit_tests::{Mssql, World};

use crate::{FAULTS, RUN, TABLE, delta_ids, each, fake_sqlserver, run};

/// The line of the warehouse file that pins a certificate.
fn pin(mssql: &Mssql) -> String {
    format!("certificate_file = \"{}\"", mssql.certificate().display())
}

/// The line of the warehouse file in its place.
const CHECKED: &str = "# The certificate is checked.";

/// Reasons to need the fake SQL Server.
const CERTIFICATES: &str = "only the fake SQL Server shows the certificate that a test asks for";
const DENIED: &str = "only the fake SQL Server denies a table to the login that made it";

fn fake_sqlserver_with(options: Options, reason: &str, script: &str) -> Option<World> {
    Some(World::with(Mssql::fake_sqlserver_for(reason, options, SqlEngineOptions::default())?, script))
}

#[test]
fn a_server_or_login_that_is_not_there_is_named() {
    let world = World::new(TABLE);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let address = format!("server = \"{}\"\nport = {}", world.mssql.host, world.mssql.port);
    let nobody = format!("server = \"localhost\"\nport = {closed}");
    let refused = world.refused(&run(&["--config", world.variant(&address, &nobody)]));
    insta::assert_snapshot!("unreachable_server", refused.replace(&closed, "[closed port]"));

    let mut command = world.command(&RUN);
    command.env("MSSQL_PASSWORD", "Pl4nted-wrong-password");
    let refused = world.refusal(&world.finish(command));
    assert!(!refused.contains("Pl4nted-wrong-password"), "{refused}");
    insta::assert_snapshot!("wrong_password", refused);

    let database = format!("database = \"{}\"", world.mssql.database);
    let variant = world.variant(&database, "database = \"no such database\"");
    insta::assert_snapshot!("unknown_database", world.refused(&run(&["--config", variant])));
    assert!(world.nothing_written());
}

#[test]
fn a_certificate_is_trusted_by_pin_or_authority_only() {
    let (Some(world), Some(other)) = (fake_sqlserver(CERTIFICATES, TABLE), fake_sqlserver(CERTIFICATES, "")) else {
        return;
    };
    let without_authority = |file: &str| {
        let mut command = world.command(&run(&["--config", file]));
        command.env_remove("SSL_CERT_FILE");
        world.finish(command)
    };
    insta::assert_snapshot!("certificate_not_trusted", world.refusal(&without_authority("warehouse.toml")));
    let variant = world.variant(CHECKED, &pin(&other.mssql));
    insta::assert_snapshot!("certificate_is_not_the_pinned_one", world.refusal(&without_authority(variant)));
    assert!(world.nothing_written());

    let variant = world.variant(CHECKED, &pin(&world.mssql));
    without_authority(variant).success();
    // The default of a world: the authority is known.
    world.host(&["run", "--run-id", "run-2"]).success();
    let variant = world.variant(CHECKED, "trust_certificate = true");
    let output = without_authority(variant).success();
    assert_eq!(output.stderr.matches("trust_certificate").count(), 1, "said once: {}", output.stderr);
}

#[test]
fn a_certificate_has_to_be_of_this_host_and_time() {
    for (certificate, name) in
        [(Certificate::WrongHost, "certificate_of_another_host"), (Certificate::Expired, "certificate_expired")]
    {
        let options = Options { certificate, ..Options::default() };
        let Some(world) = fake_sqlserver_with(options, CERTIFICATES, TABLE) else { return };
        insta::assert_snapshot!(name, world.refused(&RUN));
        assert!(world.nothing_written());
    }
}

#[test]
fn a_server_without_encryption_is_not_talked_to() {
    let options = Options { encrypt: Encrypt::Off, ..Options::default() };
    let Some(world) = fake_sqlserver_with(options, "only the fake SQL Server has no encryption when asked", "") else {
        return;
    };
    insta::assert_snapshot!(world.refused(&RUN));
    assert!(world.nothing_written());
}

#[test]
fn a_table_that_may_not_be_read_leaves_the_others_alone() {
    let script = "CREATE TABLE dbo.secret (id int NOT NULL PRIMARY KEY)\nGO\n\
         CREATE TABLE dbo.known (id int NOT NULL PRIMARY KEY)\nGO\nINSERT INTO dbo.known VALUES (1), (2)";
    let Some(world) = fake_sqlserver(DENIED, script) else { return };
    world.mssql.engine().set_denied("dbo.secret", true);
    let output = world.host(&run(&["--parallel", "1"]));
    assert_eq!(output.code, Some(3));
    insta::assert_snapshot!("select_denied", world.refusal(&output));
    assert_eq!(delta_ids(&world, "ERP/dbo/known"), each(1, 2, 1));
    assert!(world.data_files("ERP/dbo/secret").is_empty());

    // The same run once more, when the grant is there: only what is missing.
    world.mssql.engine().set_denied("dbo.secret", false);
    let summary = world.host(&RUN).success().json();
    assert_eq!(summary["tables"][0]["status"], "unchanged");
    assert_eq!(summary["tables"][1]["status"], "committed");
    assert_eq!(delta_ids(&world, "ERP/dbo/known"), each(1, 2, 1));
}

#[test]
fn a_table_that_goes_away_during_the_run_fails_alone() {
    let script = "CREATE TABLE dbo.first (id int NOT NULL PRIMARY KEY)\nGO\nINSERT INTO dbo.first VALUES (1)\nGO\n\
         CREATE TABLE dbo.gone (id int NOT NULL PRIMARY KEY)";
    let Some(world) = fake_sqlserver(FAULTS, script) else { return };
    let pause = Effect::Pause(Duration::from_secs(3));
    let fault = Fault { table: "dbo.first".into(), after_rows: 1, effect: pause, times: 1 };
    world.mssql.engine().add_fault(fault);
    let mut started = world.start(world.command(&run(&["--parallel", "1"])));
    started.wait_until("the first table is read", |run| run.stderr().contains("dbo.first: reading"));
    world.mssql.engine().run_script("DROP TABLE dbo.gone").unwrap();
    let output = started.end();
    assert_eq!(output.code, Some(3));
    insta::assert_snapshot!("missing_table", world.refusal(&output));
    assert_eq!(delta_ids(&world, "ERP/dbo/first"), each(1, 1, 1));
    assert!(world.data_files("ERP/dbo/gone").is_empty());
}
