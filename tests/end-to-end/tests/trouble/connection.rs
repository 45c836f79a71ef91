//! The way to the server, its certificate, the login, and what the login may read.

use std::net::TcpListener;
use std::time::Duration;

use datakit_standin::server::{Certificate, Encrypt, Options};
use datakit_standin::sql::{Effect, Fault, SqlEngineOptions};
use datakit_tests::{Mssql, World};

use crate::{RUN, TABLE, delta_ids, each, run, world};

fn pin(world: &World) -> String {
    format!("certificate_file = \"{}\"", world.mssql.certificate.as_ref().unwrap().display())
}

/// OpenSSL's reason without the places in its source, which differ from version to version.
fn plain(text: &str) -> String {
    let (before, rest) = text.split_once("error:").unwrap();
    let (_, reason) = rest.split_once(": (").unwrap();
    format!("{before}[OpenSSL] ({reason}")
}

#[test]
fn a_server_or_login_that_is_not_there_is_named() {
    let world = world(TABLE);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let port = format!("port = {}", world.mssql.port);
    let refused = world.refused(&run(&["--config", world.variant(&port, &format!("port = {closed}"))]));
    insta::assert_snapshot!("unreachable_server", refused.replace(&closed, "[closed port]"));

    let mut command = world.command(&RUN);
    command.env("MSSQL_PASSWORD", "Wrong-password-1");
    let refused = world.refusal(&world.finish(command));
    assert!(!refused.contains("Wrong-password-1"), "{refused}");
    insta::assert_snapshot!("wrong_password", refused);

    let database = format!("database = \"{}\"", world.mssql.database);
    let variant = world.variant(&database, "database = \"no such database\"");
    insta::assert_snapshot!("unknown_database", world.refused(&run(&["--config", variant])));
    assert!(world.nothing_written());
}

#[test]
fn a_certificate_is_trusted_by_pin_or_authority_only() {
    let world = world(TABLE);
    let unpinned = world.variant(&pin(&world), "");
    insta::assert_snapshot!("certificate_not_trusted", plain(&world.refused(&run(&["--config", unpinned]))));
    let other = Mssql::standin_by_default();
    let pinned = format!("certificate_file = \"{}\"", other.certificate.as_ref().unwrap().display());
    let variant = world.variant(&pin(&world), &pinned);
    insta::assert_snapshot!("certificate_is_not_the_pinned_one", world.refused(&run(&["--config", variant])));
    assert!(world.nothing_written());

    let mut command = world.command(&run(&["--config", world.variant(&pin(&world), "")]));
    command.env("SSL_CERT_FILE", world.mssql.authority.as_ref().unwrap());
    world.finish(command).success();
}

#[test]
fn a_certificate_has_to_be_of_this_host_and_time() {
    for (certificate, name) in
        [(Certificate::WrongHost, "certificate_of_another_host"), (Certificate::Expired, "certificate_expired")]
    {
        let options = Options { certificate, ..Options::default() };
        let world = World::with(Mssql::standin(options, SqlEngineOptions::default()), TABLE);
        let mut command = world.command(&run(&["--config", world.variant(&pin(&world), "")]));
        command.env("SSL_CERT_FILE", world.mssql.authority.as_ref().unwrap());
        insta::assert_snapshot!(name, plain(&world.refusal(&world.finish(command))));
        assert!(world.nothing_written());
    }
}

#[test]
fn a_server_without_encryption_is_not_talked_to() {
    let options = Options { encrypt: Encrypt::Off, ..Options::default() };
    let world = World::with(Mssql::standin(options, SqlEngineOptions::default()), "");
    let variant = world.variant(&pin(&world), "");
    insta::assert_snapshot!(world.refused(&run(&["--config", variant])));
    assert!(world.nothing_written());
}

#[test]
fn a_table_that_may_not_be_read_leaves_the_others_alone() {
    let world = world(
        "CREATE TABLE dbo.secret (id int NOT NULL PRIMARY KEY)\nGO\n\
         CREATE TABLE dbo.known (id int NOT NULL PRIMARY KEY)\nGO\nINSERT INTO dbo.known VALUES (1), (2)",
    );
    world.mssql.engine().unwrap().set_denied("dbo.secret", true);
    let output = world.host(&run(&["--parallel", "1"]));
    assert_eq!(output.code, Some(3));
    insta::assert_snapshot!("select_denied", world.refusal(&output));
    assert_eq!(delta_ids(&world, "ERP/dbo/known"), each(1, 2, 1));
    assert!(world.data_files("ERP/dbo/secret").is_empty());

    // The same run once more, when the grant is there: only what is missing.
    world.mssql.engine().unwrap().set_denied("dbo.secret", false);
    let summary = world.host(&RUN).success().json();
    assert_eq!(summary["tables"][0]["status"], "unchanged");
    assert_eq!(summary["tables"][1]["status"], "committed");
    assert_eq!(delta_ids(&world, "ERP/dbo/known"), each(1, 2, 1));
}

#[test]
fn a_table_that_goes_away_during_the_run_fails_alone() {
    let world = world(
        "CREATE TABLE dbo.first (id int NOT NULL PRIMARY KEY)\nGO\nINSERT INTO dbo.first VALUES (1)\nGO\n\
         CREATE TABLE dbo.gone (id int NOT NULL PRIMARY KEY)",
    );
    let pause = Effect::Pause(Duration::from_secs(3));
    let fault = Fault { table: "dbo.first".into(), after_rows: 1, effect: pause, times: 1 };
    world.mssql.engine().unwrap().add_fault(fault);
    let mut started = world.start(world.command(&run(&["--parallel", "1"])));
    started.wait_until("the first table is read", |run| run.stderr().contains("dbo.first: reading"));
    world.mssql.engine().unwrap().run_script("DROP TABLE dbo.gone").unwrap();
    let output = started.end();
    assert_eq!(output.code, Some(3));
    insta::assert_snapshot!("missing_table", world.refusal(&output));
    assert_eq!(delta_ids(&world, "ERP/dbo/first"), each(1, 1, 1));
    assert!(world.data_files("ERP/dbo/gone").is_empty());
}
