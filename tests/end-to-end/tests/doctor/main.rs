//! `host doctor` stops at the link that was broken on purpose, and says what to do; `/health/ready` says the same of a run.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod health;
mod network;
mod postgres;
mod registry;
mod sinks;
mod tickets;
mod vaults;

use datakit_tests::{KerberosWorld, Output};
use serde_json::Value;

/// A table of two rows, and another.
const SCRIPT: &str = "CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, name nvarchar(20) NULL)\nGO\nINSERT INTO dbo.t VALUES (1, N'Ærø'), (2, NULL)\nGO\nCREATE TABLE dbo.u (id int NOT NULL PRIMARY KEY)";

const JSON: [&str; 3] = ["doctor", "--output", "json"];

/// Where a chain broke.
#[derive(Debug)]
struct Found {
    chain: Value,
    link: String,
    code: String,
    hint: String,
}

impl Found {
    /// The status of a link of the broken chain.
    fn status(&self, link: &str) -> &str {
        status(&self.chain, link)
    }
}

fn status<'c>(chain: &'c Value, link: &str) -> &'c str {
    let links = chain["links"].as_array().unwrap();
    let found = links.iter().find(|found| found["link"] == link);
    found.unwrap_or_else(|| panic!("no link `{link}` in {chain}"))["status"].as_str().unwrap()
}

fn chain<'d>(document: &'d Value, name: &str) -> &'d Value {
    let chains = document["chains"].as_array().unwrap();
    chains.iter().find(|chain| chain["name"] == name).unwrap_or_else(|| panic!("no chain `{name}` in {document}"))
}

/// What `host doctor --output json` found broken: exit code 1, or 4 where the cause may pass by itself, one link that failed, all after it not reached, and what to do.
#[track_caller]
fn found(output: &Output) -> Found {
    let document = output.json();
    let errors = document["chains"].as_array().unwrap().iter().flat_map(|chain| chain["links"].as_array().unwrap());
    let lasts = errors.map(|link| &link["error"]).any(|error| error["retry"] == "never");
    let code = Some(if lasts { 1 } else { 4 });
    assert_eq!(output.code, code, "stdout:\n{}\nstderr:\n{}", output.stdout, output.stderr);
    assert_eq!(document["in_order"], false);
    let first = &document["first_failure"];
    let chain = chain(&document, first["name"].as_str().unwrap()).clone();
    let links = chain["links"].as_array().unwrap();
    let at = links.iter().position(|link| link["status"] == "failed").unwrap();
    assert!(links[at + 1..].iter().all(|link| link["status"] == "not_reached"), "{chain}");
    let error = &links[at]["error"];
    assert_eq!((&links[at]["link"], &error["code"]), (&first["link"], &first["code"]));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (link, code, hint) = (text(&first["link"]), text(&first["code"]), text(&error["hint"]));
    assert!(hint.len() > 10, "no hint: {error}");
    Found { chain, link, code, hint }
}

/// Asserts link and code, and what the hint says.
#[track_caller]
fn expect(output: &Output, link: &str, code: &str, hint: &str) -> Found {
    let found = found(output);
    assert_eq!((found.link.as_str(), found.code.as_str()), (link, code), "{}", output.stdout);
    assert!(found.hint.contains(hint), "`{hint}` is not in `{}`", found.hint);
    found
}

/// Text without what differs from run to run: times.
fn without_times(text: &str) -> String {
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let is_time = |at: &usize| {
            let is_number = words[*at].contains('.') && words[*at].parse::<f64>().is_ok();
            is_number && matches!(words.get(at + 1), Some(&("ms" | "s")))
        };
        let shown = match (0..words.len()).find(is_time) {
            Some(at) => format!("{}  [time] {}", words[..at].join(" ").trim_end(), words[at + 2..].join(" ")),
            None => line.to_owned(),
        };
        shown.replace("good for 9 h", "good for [life]").trim_end().to_owned()
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The same of the JSON document.
fn without_seconds(mut document: Value) -> String {
    for chain in document["chains"].as_array_mut().unwrap() {
        for link in chain["links"].as_array_mut().unwrap() {
            if link["seconds"].is_number() {
                link["seconds"] = "[seconds]".into();
            }
            if let Some(detail) = link["detail"].as_str() {
                link["detail"] = detail.replace("good for 9 h", "good for [life]").into();
            }
        }
    }
    serde_json::to_string_pretty(&document).unwrap()
}

fn golden(world: &KerberosWorld, text: &str) -> String {
    let text = text.replace(world.kdc.path("").to_str().unwrap(), "[realm]/");
    let text = text.replace(&format!("127.0.0.1:{}", world.world.mssql.port), "[server]");
    world.world.normalise(&text)
}

#[test]
fn from_ticket_to_table_all_is_in_order() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    world.log_in_with_keytab("");
    world.host(&["lock"]).success();
    let output = world.host(&["doctor"]).success();
    assert_eq!(output.stderr, "");
    insta::assert_snapshot!("in_order", golden(&world, &without_times(&output.stdout)));
    let document = world.host(&JSON).success().json();
    insta::assert_snapshot!("in_order_json", golden(&world, &without_seconds(document)));
    assert!(world.world.nothing_written());
}

#[test]
fn one_broken_link_is_reported_with_what_to_do() {
    let Some(world) = KerberosWorld::new(SCRIPT) else { return };
    world.log_in_with_keytab("spn_host = \"nowhere.corp.example\"");
    std::fs::write(world.world.path().join("bronze"), "a file in the way").unwrap();
    let output = world.host(&["doctor"]);
    assert_eq!((output.code, output.stderr.as_str()), (Some(1), ""));
    insta::assert_snapshot!("broken", golden(&world, &without_times(&output.stdout)));
    let document = world.host(&JSON).json();
    insta::assert_snapshot!("broken_json", golden(&world, &without_seconds(document)));
    // One chain by its name.
    let registry = world.host(&["doctor", "registry", "--output", "json"]).success().json();
    let names: Vec<&str> = registry["chains"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["warehouse.toml", "registry"]);
    let sink = world.host(&["doctor", "bronze", "--output", "json"]);
    assert_eq!(expect(&sink, "writable", "DK-SNK-014", "is a file").chain["kind"], "sink");
}
