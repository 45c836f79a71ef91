//! A canary password is found nowhere: not in a log, a message, a summary or a file.

use std::fs;
use std::path::Path;

use datakit_canary::forms;
use datakit_fake_sqlserver::server::Options;
use datakit_fake_sqlserver::sql::SqlEngineOptions;
use datakit_tests::{Mssql, Output, World};

use crate::{TABLE, run};

const CANARY: &str = "Pl4nted-Gehéim!";

fn holds(haystack: &[u8], password: &str) -> bool {
    forms(password.as_bytes()).iter().any(|form| haystack.windows(form.bytes.len()).any(|window| window == form.bytes))
}

fn search_files(directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            search_files(&path, found);
        } else if holds(&fs::read(&path).unwrap(), CANARY) {
            found.push(path.display().to_string());
        }
    }
}

fn search(world: &World, output: &Output) {
    assert!(!holds(output.stdout.as_bytes(), CANARY), "{}", output.stdout);
    assert!(!holds(output.stderr.as_bytes(), CANARY), "{}", output.stderr);
    let mut found = Vec::new();
    search_files(world.path(), &mut found);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_password_is_nowhere() {
    let options = Options { password: CANARY.into(), ..Options::default() };
    let reason = "only the fake SQL Server takes the canary password of a test";
    let Some(mssql) = Mssql::fake_sqlserver_for(reason, options, SqlEngineOptions::default()) else { return };
    let world = World::with(mssql, TABLE);
    let traced = |arguments: &[&str], variable: &str| {
        let mut command = world.command(arguments);
        command.env(variable, "trace").env("RUST_BACKTRACE", "full");
        let output = world.finish(command);
        search(&world, &output);
        output
    };
    let output = traced(&run(&["-vvv"]), "RUST_LOG").success();
    assert!(output.stderr.contains("TRACE"), "the log says everything: {}", output.stderr);
    let output = traced(&["run", "--log-format", "json"], "RUST_LOG").success();
    assert!(output.stderr.contains("\"TRACE\""), "{}", output.stderr);
    traced(&["run", "--output", "json"], "DATAKIT_LOG").success();
    traced(&["preview", "-vvv"], "RUST_LOG").success();
    traced(&["validate", "--secrets", "-vvv"], "RUST_LOG").success();

    // Errors on every stage of the way.
    let database = format!("database = \"{}\"", world.mssql.database);
    let user = format!("user = \"{}\"", world.mssql.user);
    let port = format!("port = {}", world.mssql.port);
    // A server that refuses the connection may answer the next run.
    let stages =
        [(database.as_str(), "database = \"none\"", 1), (&user, "user = \"nobody\"", 1), (&port, "port = 1", 4)];
    for (from, to, code) in stages {
        let output = traced(&run(&["-vvv", "--config", world.variant(from, to)]), "RUST_LOG");
        assert_eq!(output.code, Some(code), "{to}");
    }
}

#[test]
fn an_inline_password_is_refused_without_being_repeated() {
    let world = World::new("");
    let variant = world.variant("{ env = \"MSSQL_PASSWORD\" }", &format!("\"{CANARY}\""));
    let mut command = world.command(&["run", "-vvv", "--output", "json", "--config", variant]);
    command.env_remove("MSSQL_PASSWORD");
    let output = world.finish(command);
    assert_eq!(output.code, Some(1));
    assert_eq!(output.json()["errors"][0]["code"], "DK-CFG-008", "{}", output.stderr);
    assert!(!holds(output.stdout.as_bytes(), CANARY) && !holds(output.stderr.as_bytes(), CANARY), "{}", output.stderr);
}

#[test]
fn a_postgres_password_is_nowhere() {
    let world = World::new(TABLE).with_postgres();
    let password = datakit_postgres::testing::PASSWORD;
    for arguments in
        [run(&["-vvv"]), run(&["-vvv", "--config", world.variant("database = \"postgres\"", "database = \"none\"")])]
    {
        let mut command = world.command(&arguments);
        command.env("RUST_LOG", "trace");
        let output = world.finish(command);
        assert!(
            !holds(output.stdout.as_bytes(), password) && !holds(output.stderr.as_bytes(), password),
            "{}",
            output.stderr
        );
    }
}
