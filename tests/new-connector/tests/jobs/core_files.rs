//! What the product knows of the new kind: nothing. What the new kind brings to the warehouse file.

use std::path::Path;

use datakit_app::{ValidateRequest, validate};
use datakit_connect::connector::Connector as _;
use datakit_new_connector::Logbook;

use crate::world::{connectors, context};

/// Where no file may name the kind.
const CORE: [&str; 4] = ["host", "datakits", "registry", "wit"];

#[test]
fn no_file_of_the_core_names_the_kind() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let (mut naming, mut files) = (Vec::new(), 0);
    for folder in CORE {
        search(&root.join(folder), Logbook.kind(), &mut naming, &mut files);
    }
    assert!(files > 100, "the search finds no files");
    assert_eq!(naming, Vec::<String>::new());
}

/// Notes each file whose name or content holds a word, in any case.
fn search(folder: &Path, word: &str, naming: &mut Vec<String>, files: &mut usize) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let has_word = |text: &[u8]| String::from_utf8_lossy(text).to_lowercase().contains(word);
        if has_word(path.file_name().unwrap().as_encoded_bytes()) {
            naming.push(path.display().to_string());
        } else if path.is_dir() {
            search(&path, word, naming, files);
        } else {
            *files += 1;
            if has_word(&std::fs::read(&path).unwrap()) {
                naming.push(path.display().to_string());
            }
        }
    }
}

#[test]
fn kind_is_in_the_schema_with_its_settings() {
    let connectors = connectors();
    assert_eq!(connectors.kinds().wrong_keywords(), Vec::<String>::new());
    let schema = connectors.kinds().json_schema();
    let variants = schema["$defs"]["Connection"]["oneOf"].as_array().unwrap();
    let variant = variants.iter().find(|variant| variant["properties"]["kind"]["const"] == Logbook.kind()).unwrap();
    assert_eq!(variant["properties"]["port"]["default"], 7070);
    assert!(Logbook.page().contains("`port`"));
}

#[test]
fn variables_alone_make_a_connection() {
    let environment = [("LOGBOOK_HOST", "logbook.corp.example"), ("LOGBOOK_PORT", "7071")];
    let context = context(None, environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert_eq!(validate(&context, ValidateRequest::default()).unwrap().connections, 1);
}
