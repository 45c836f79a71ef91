//! The schema and the generated parts of the documentation are up to date. `INSTA_UPDATE=always` rewrites them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as tests do")]

mod support;

use std::collections::BTreeMap;
use std::fmt::Write;

use datakit_config::{Layers, Problem, load, variables};
use datakit_connectors::kinds;
use datakit_model::Diagnostic as _;
use serde_json::Value;

use crate::support::{check, docs, with_generated};

#[test]
fn keywords_that_no_compiler_checks_are_those_that_are_read() {
    assert_eq!(kinds().wrong_keywords(), Vec::<String>::new());
}

#[test]
fn the_schema_is_up_to_date() {
    let mut text = serde_json::to_string_pretty(&kinds().json_schema()).unwrap();
    text.push('\n');
    check("warehouse.schema.json", &text);
}

#[test]
fn the_reference_is_up_to_date() {
    let page = std::fs::read_to_string(docs().join("warehouse-file.md")).unwrap();
    let mut table = "| variable | meaning |\n|---|---|\n".to_owned();
    for variable in variables(&kinds()) {
        writeln!(table, "| `{}` | {} |", variable.name, variable.meaning).unwrap();
    }
    let page = with_generated(&page, "keys", &keys());
    let page = with_generated(&page, "variables", &table);
    check("warehouse-file.md", &page);
}

/// A table of keys for each table of the file.
fn keys() -> String {
    let schema = kinds().json_schema();
    let definition = |name: &str| schema["$defs"][name].clone();
    let variant = |name: &str, kind: &str| {
        let variants = definition(name)["oneOf"].as_array().unwrap().clone();
        variants.into_iter().find(|v| v["properties"]["kind"]["const"] == kind).unwrap()
    };
    let sections: [(&str, Value); 23] = [
        ("The file", schema.clone()),
        ("[warehouse]", definition("Warehouse")),
        ("[connections.NAME], kind = \"sqlserver\"", variant("Connection", "sqlserver")),
        ("[connections.NAME], kind = \"postgres\"", variant("Connection", "postgres")),
        ("[connections.NAME], kind = \"files\"", variant("Connection", "files")),
        ("[connections.NAME.auth]", definition("Login")),
        ("[connections.NAME.kerberos]", definition("Kerberos")),
        ("[connections.NAME.protection]", definition("Protection")),
        ("[connections.NAME.pool]", definition("Pool")),
        ("[connections.NAME.timeouts]", definition("Timeouts")),
        ("[servers.\"HOST:PORT\"]", definition("Server")),
        ("[sinks.NAME], kind = \"delta\"", variant("Sink", "delta")),
        ("[sinks.NAME], kind = \"postgres\"", variant("Sink", "postgres")),
        ("[[ingest]]", definition("Ingest")),
        ("[[ingest.quality]]", definition("QualityRule")),
        ("`rejected` of an ingest", definition("RejectedRule")),
        ("[limits]", definition("Limits")),
        ("[limits.guest]", definition("GuestLimits")),
        ("[limits.read]", definition("ReadLimits")),
        ("[limits.run]", definition("RunLimits")),
        ("References to secrets", references(&definition("SecretReference"))),
        ("`delinea` of a reference", definition("Delinea")),
        ("`aws` of a reference", definition("Aws")),
    ];
    let mut text = String::new();
    for (title, section) in sections {
        writeln!(text, "### {title}\n\n| key | type | default | meaning |\n|---|---|---|---|").unwrap();
        let required = section["required"].as_array().cloned().unwrap_or_default();
        for (key, property) in section["properties"].as_object().unwrap() {
            let is_required = required.iter().any(|name| name == key);
            let default = match &property["default"] {
                _ if is_required => "required".to_owned(),
                Value::Null => String::new(),
                default => format!("`{default}`"),
            };
            let meaning = property["description"].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|");
            writeln!(text, "| `{key}` | {} | {default} | {meaning} |", type_of(property, &schema)).unwrap();
        }
        text.push('\n');
    }
    text
}

/// The two one-key tables of a reference, as one.
fn references(definition: &Value) -> Value {
    let mut properties = serde_json::Map::new();
    for variant in definition["oneOf"].as_array().unwrap() {
        let (key, property) = variant["properties"].as_object().unwrap().iter().next().unwrap();
        let mut property = property.clone();
        property["description"] = variant["description"].clone();
        properties.insert(key.clone(), property);
    }
    serde_json::json!({ "properties": properties })
}

fn type_of(property: &Value, schema: &Value) -> String {
    if property["const"] != Value::Null {
        return format!("`{}`", property["const"]);
    }
    if let Some(reference) = property["$ref"].as_str() {
        let target = &schema["$defs"][reference.trim_start_matches("#/$defs/")];
        let words: Option<Vec<String>> = target["oneOf"]
            .as_array()
            .and_then(|all| all.iter().map(|word| Some(format!("`{}`", word["const"].as_str()?))).collect());
        return words.map_or_else(|| "table".to_owned(), |words| words.join(", "));
    }
    match (property["type"].as_str(), property["items"]["type"].as_str()) {
        (Some("array"), Some(items)) => format!("array of {items}s"),
        (Some("array"), None) => "array of tables".to_owned(),
        (Some("object"), _) => "table".to_owned(),
        (Some(other), _) => other.to_owned(),
        (None, _) => match property["type"].as_array() {
            Some(types) => types.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
            None => "table or word".to_owned(),
        },
    }
}

/// Each block of docs/quality.md is a warehouse file, or goes on from the first one.
#[test]
fn examples_of_rules_are_valid() {
    let page = std::fs::read_to_string(docs().join("quality.md")).unwrap();
    let blocks: Vec<&str> = page.split("```toml\n").skip(1).filter_map(|block| block.split("```").next()).collect();
    assert!(blocks.len() > 1, "the page has no examples");
    let places = blocks[0].split("[[ingest]]").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("warehouse.toml");
    for block in &blocks {
        let text = if block.contains("[connections") { (*block).to_owned() } else { format!("{places}{block}") };
        std::fs::write(&path, text).unwrap();
        let config = load(&Layers { file: Some(path.clone()), ..Layers::default() }, &kinds());
        let config = config.unwrap_or_else(|errors| panic!("{block}: {errors}"));
        assert!(!config.ingests[0].quality.is_empty());
    }
}

/// Every error of rules at once, each at its place.
#[test]
fn invalid_rules_are_reported_at_once() {
    let rules = [
        "rule = \"not_null\"\ncolumns = [\"a\"]",
        "name = \"a\"",
        "name = \"a\"\ncolumns = [\"a\"]\nseverity = \"off\"",
        "name = \"a\"\nrule = \"nul\"",
        "name = \"a\"\nrule = \"range\"\ncolumns = [\"a\"]",
        "name = \"a\"\nrule = \"range\"\ncolumns = [\"a\"]\nmin = [1]\npattern = \"x\"",
        "name = \"a\"\nrule = \"row_count\"\nmin = -1\nseverity = \"off\"",
        "name = \"a\"\nrule = \"reference\"\ncolumns = [\"a\"]\nin_table = \"b\"\ntables = [\"a\"]",
    ];
    let rules: String = rules.iter().map(|rule| format!("[[ingest.quality]]\n{rule}\n")).collect();
    let file = format!(
        "[connections.c]\nkind = \"files\"\nroot = \".\"\n[sinks.s]\nkind = \"delta\"\nuri = \"b\"\n\
         [[ingest]]\ndatakit = \"k@1.0.0\"\nroles = {{ source = \"c\" }}\nsink = \"s\"\ntables = [\"*.*\"]\n{rules}"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("warehouse.toml");
    std::fs::write(&path, file).unwrap();
    let errors = load(&Layers { file: Some(path), ..Layers::default() }, &kinds()).unwrap_err();
    let shown = errors.errors().iter().map(|error| {
        let hint = error.hint().unwrap_or_default();
        format!("{} {error}\n  hint: {hint}\n", error.code())
    });
    insta::assert_snapshot!(shown.collect::<String>());
}

/// Asks the reader itself: an unknown key's error lists the known ones.
#[test]
fn the_schema_has_the_keys_the_reader_knows() {
    const UNKNOWN: &str = "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz";
    let file = format!(
        "{UNKNOWN} = 1\n[warehouse]\n{UNKNOWN} = 1\n[connections.c]\nkind = \"sqlserver\"\n{UNKNOWN} = 1\n\
         auth = {{ {UNKNOWN} = 1 }}\nprotection = {{ {UNKNOWN} = 1 }}\npool = {{ {UNKNOWN} = 1 }}\ntimeouts = {{ {UNKNOWN} = 1 }}\n\
         [connections.k]\nkind = \"sqlserver\"\nauth = \"kerberos\"\nkerberos = {{ {UNKNOWN} = 1 }}\n\
         [connections.q]\nkind = \"postgres\"\n{UNKNOWN} = 1\n\
         [connections.f]\nkind = \"files\"\n{UNKNOWN} = 1\n\
         [sinks.d]\nkind = \"delta\"\n{UNKNOWN} = 1\n[sinks.p]\nkind = \"postgres\"\n{UNKNOWN} = 1\n\
         [limits]\n{UNKNOWN} = 1\nguest = {{ {UNKNOWN} = 1 }}\nread = {{ {UNKNOWN} = 1 }}\nrun = {{ {UNKNOWN} = 1 }}\n\
         [[ingest]]\n{UNKNOWN} = 1\n[[ingest.quality]]\n{UNKNOWN} = 1\n"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("warehouse.toml");
    std::fs::write(&path, file).unwrap();
    let errors = load(&Layers { file: Some(path), ..Layers::default() }, &kinds()).unwrap_err();
    let mut known_by_reader: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for error in errors.errors() {
        if let Problem::UnknownKey { path, known, .. } = error.problem() {
            let table = path.trim_end_matches(UNKNOWN).trim_end_matches('.').to_owned();
            known_by_reader.insert(table, known.clone());
        }
    }
    let schema = kinds().json_schema();
    let keys = |definition: &Value| {
        let mut keys: Vec<String> = definition["properties"].as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    let definition = |name: &str| keys(&schema["$defs"][name]);
    let variant = |name: &str, index: usize| keys(&schema["$defs"][name]["oneOf"][index]);
    // `extends` is taken out of each file before the layers are merged.
    let root: Vec<String> = keys(&schema).into_iter().filter(|key| key != "extends").collect();
    let expected: BTreeMap<String, Vec<String>> = [
        ("", root),
        ("warehouse", definition("Warehouse")),
        ("connections.c", variant("Connection", 0)),
        ("connections.q", variant("Connection", 1)),
        ("connections.f", variant("Connection", 2)),
        ("connections.c.auth", definition("Login")),
        ("connections.k.kerberos", definition("Kerberos")),
        ("connections.c.protection", definition("Protection")),
        ("connections.c.pool", definition("Pool")),
        ("connections.c.timeouts", definition("Timeouts")),
        ("sinks.d", variant("Sink", 0)),
        ("sinks.p", variant("Sink", 1)),
        ("limits", definition("Limits")),
        ("limits.guest", definition("GuestLimits")),
        ("limits.read", definition("ReadLimits")),
        ("limits.run", definition("RunLimits")),
        ("ingest[1]", definition("Ingest")),
        ("ingest[1].quality[1]", definition("QualityRule")),
    ]
    .map(|(table, keys)| (table.to_owned(), keys))
    .into();
    assert_eq!(known_by_reader, expected);
}
