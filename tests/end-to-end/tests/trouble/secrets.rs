//! A password that is planted is found nowhere: not in a log, a message, a summary or a file.

use std::fs;
use std::path::Path;

use datakit_standin::server::Options;
use datakit_standin::sql::SqlEngineOptions;
use datakit_tests::{Mssql, Output, World};

use crate::{TABLE, run};

const PLANTED: &str = "Pl4nted-Gehéim!";

/// The forms a password has on its way: text, TDS text, what LOGIN7 makes of it (MS-TDS 2.2.6.4: every byte with its halves
/// exchanged, then XOR 0xA5), and each of them as a dump of bytes.
fn forms(password: &str) -> Vec<Vec<u8>> {
    let utf8 = password.as_bytes().to_vec();
    let utf16: Vec<u8> = password.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let login7: Vec<u8> = utf16.iter().map(|byte| byte.rotate_left(4) ^ 0xa5).collect();
    let dumps = [&utf8, &utf16, &login7].map(|bytes| {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let decimal = format!("{bytes:?}");
        [hex.to_uppercase().into_bytes(), hex.into_bytes(), decimal.as_bytes()[1..decimal.len() - 1].to_vec()]
    });
    [utf8, utf16, login7].into_iter().chain(dumps.into_iter().flatten()).collect()
}

fn holds(haystack: &[u8], password: &str) -> bool {
    forms(password).iter().any(|form| haystack.windows(form.len()).any(|window| window == form))
}

fn search_files(directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            search_files(&path, found);
        } else if holds(&fs::read(&path).unwrap(), PLANTED) {
            found.push(path.display().to_string());
        }
    }
}

fn search(world: &World, output: &Output) {
    assert!(!holds(output.stdout.as_bytes(), PLANTED), "{}", output.stdout);
    assert!(!holds(output.stderr.as_bytes(), PLANTED), "{}", output.stderr);
    let mut found = Vec::new();
    search_files(world.path(), &mut found);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn every_form_would_be_found() {
    for form in forms(PLANTED) {
        assert!(holds(&[b"before ".as_slice(), &form, b" after"].concat(), PLANTED));
    }
    assert!(!holds(b"nothing of the kind", PLANTED));
    // 0x66 with its halves exchanged is itself, and 0x66 XOR 0xa5 is 0xc3.
    assert_eq!(forms("f")[2], [0xc3, 0xa5]);
}

#[test]
fn a_password_is_nowhere() {
    let options = Options { password: PLANTED.into(), ..Options::default() };
    let reason = "only the stand-in takes a password that a test plants";
    let Some(mssql) = Mssql::standin_for(reason, options, SqlEngineOptions::default()) else { return };
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
    for (from, to) in [(database.as_str(), "database = \"none\""), (&user, "user = \"nobody\""), (&port, "port = 1")] {
        let output = traced(&run(&["-vvv", "--config", world.variant(from, to)]), "RUST_LOG");
        assert_eq!(output.code, Some(1), "{to}");
    }
}

#[test]
fn an_inline_password_is_refused_without_being_repeated() {
    let world = World::new("");
    let variant = world.variant("{ env = \"MSSQL_PASSWORD\" }", &format!("\"{PLANTED}\""));
    let mut command = world.command(&["run", "-vvv", "--output", "json", "--config", variant]);
    command.env_remove("MSSQL_PASSWORD");
    let output = world.finish(command);
    assert_eq!(output.code, Some(1));
    assert_eq!(output.json()["errors"][0]["code"], "DK-CFG-008", "{}", output.stderr);
    assert!(
        !holds(output.stdout.as_bytes(), PLANTED) && !holds(output.stderr.as_bytes(), PLANTED),
        "{}",
        output.stderr
    );
}

#[test]
fn a_postgres_password_is_nowhere() {
    let world = World::new(TABLE).with_postgres();
    let password = datakit_sinks::testing::PASSWORD;
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
