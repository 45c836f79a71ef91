//! Components that `host publish` did not publish: files, artifacts of other tools, and one built outside of the workspace.

#![expect(clippy::unwrap_used, reason = "a test that fails should say where")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use datakit_tests::{FilesWorld, World, datakit};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn world() -> FilesWorld {
    let world = FilesWorld::new();
    world.put("orders.csv", "id,name\n1,a\n2,b\n");
    world
}

#[test]
fn component_of_a_file_runs_without_being_published() {
    let world = world();
    fs::remove_dir_all(world.path().join("registry")).unwrap();
    fs::copy(datakit("files-bronze"), world.path().join("kit.wasm")).unwrap();
    for question in ["preview", "plan", "discover"] {
        let answer = world.host(&[question, "./kit.wasm", "--output", "json"]).success().json();
        assert_eq!(answer[0]["table"], "files.orders", "{question}");
    }
    let output = world.host(&["run", "kit.wasm", "--output", "json"]).success();
    let summary = output.json();
    assert_eq!((&summary["datakit"], &summary["version"]), (&"files-bronze".into(), &"0.1.0".into()));
    assert_eq!(summary["rows"], 2);
    assert!(output.stderr.contains("files-bronze@0.1.0 from kit.wasm"), "{}", output.stderr);

    // The digest is that of the artifact that the file becomes.
    let inspected = world.host(&["inspect", "kit.wasm", "--output", "json"]).success().json();
    assert_eq!(inspected["digest"], summary["digest"]);
    let published = world.host(&["publish", "kit.wasm", "--output", "json"]).success().json();
    assert_eq!(published["digest"], summary["digest"]);
}

#[test]
fn file_that_is_no_datakit_says_what_it_is() {
    let world = world();
    fs::write(world.path().join("text.wasm"), "hello").unwrap();
    fs::write(world.path().join("module.wasm"), b"\0asm\x01\0\0\0").unwrap();
    fs::write(world.path().join("other.wasm"), b"\0asm\x0d\0\x01\0").unwrap();
    fs::create_dir(world.path().join("folder")).unwrap();
    let refused = |arguments: &[&str]| {
        let output = world.host(&[&["run"][..], arguments].concat());
        assert_eq!(output.code, Some(1), "{}", output.stderr);
        output.stderr
    };
    let files = ["missing.wasm", "text.wasm", "module.wasm", "other.wasm", "./folder", "./nothing", "folder"];
    let mut all: Vec<String> = files.iter().map(|file| refused(&[file])).collect();
    fs::copy(datakit("files-bronze"), world.path().join("kit.wasm")).unwrap();
    all.push(refused(&["kit.wasm", "--locked"]));
    insta::assert_snapshot!(all.join("\n"));
}

/// Changes the manifest and the name of the only artifact of an OCI image layout, as another tool would write them.
fn rewrite(layout: &Path, name: &str, change: impl FnOnce(&mut Value)) {
    let json = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let blob = |digest: &str| layout.join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
    let mut index = json(&layout.join("index.json"));
    let entry = &mut index["manifests"][0];
    let mut manifest = json(&blob(entry["digest"].as_str().unwrap()));
    change(&mut manifest);
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let hex: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    fs::write(blob(&hex), &bytes).unwrap();
    entry["digest"] = format!("sha256:{hex}").into();
    entry["size"] = bytes.len().into();
    entry["annotations"]["org.opencontainers.image.ref.name"] = name.into();
    fs::write(layout.join("index.json"), serde_json::to_vec(&index).unwrap()).unwrap();
}

#[test]
fn artifact_without_annotations_is_what_its_component_says() {
    let world = world();
    let layout = world.path().join("registry");
    rewrite(&layout, "files-bronze:0.1.0", |manifest| {
        let manifest = manifest.as_object_mut().unwrap();
        manifest.remove("annotations");
        manifest.remove("mediaType");
    });
    let pulled = world.host(&["pull", "files-bronze@0.1.0", "--output", "json"]).success().json();
    assert_eq!((&pulled["name"], &pulled["version"]), (&"files-bronze".into(), &"0.1.0".into()));
    world.host(&["lock"]).success();
    assert_eq!(world.run(&["--locked"])["rows"], 2);

    // A title for people is no name.
    rewrite(&layout, "files-bronze:0.1.0", |manifest| {
        manifest["annotations"] = serde_json::json!({ "org.opencontainers.image.title": "Files into Bronze" });
    });
    world.host(&["inspect", "files-bronze@0.1.0"]).success();

    // Whatever it is called in the registry, the component says what it is.
    rewrite(&layout, "orders-bronze:1.0.0", |_| {});
    let kit = "orders-bronze@1.0.0";
    let preview = ["preview", kit, "--tables", "*.*"];
    let refusals = [&["inspect", kit][..], &["pull", kit], &["lock", kit], &preview].map(|arguments| {
        let output = world.host(arguments);
        assert_eq!(output.code, Some(1), "{arguments:?}");
        output.stderr
    });
    insta::assert_snapshot!(refusals.join("\n"));
}

#[test]
fn standard_error_of_a_guest_is_in_the_log_and_in_the_error() {
    let world = world();
    let kit = datakit("standard-streams");
    let kit = kit.to_str().unwrap();
    let preview = |end: &str, more: &[&str]| {
        let output = world.host(&[&["preview", kit, "--tables", "*.*", "--settings", end][..], more].concat());
        let times = |line: &str| match line.split_once(' ') {
            Some((time, rest)) if time.ends_with('Z') => rest.trim_start().to_owned(),
            _ => line.to_owned(),
        };
        let hide = |line: &str| {
            line.split_once("run_id=").map_or(line.to_owned(), |(start, rest)| {
                format!("{start}run_id=[id] {}", rest.split_once(' ').map_or("", |(_, rest)| rest))
            })
        };
        output.stderr.lines().map(|line| hide(&times(line))).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(preview(r#"{"end":"trap"}"#, &[]));
    assert!(preview(r#"{"end":"exit"}"#, &["-v"]).contains("looking for tables"));
}

/// The blocks of a language in a page.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(indent) = line.strip_suffix(&format!("```{language}")) else { continue };
        let block = lines.by_ref().take_while(|line| line.trim() != "```");
        found.push(block.map(|line| format!("{}\n", line.strip_prefix(indent).unwrap_or(line))).collect());
    }
    found
}

/// The component that the steps of docs/wit.md make of its code.
fn component_of_the_page() -> PathBuf {
    let page = fs::read_to_string(root().join("docs/wit.md")).unwrap();
    let code = blocks(&page, "rust").remove(0);
    assert!(code.lines().count() <= 60, "the whole datakit has {} lines", code.lines().count());
    let [manifest, config] = <[String; 2]>::try_from(blocks(&page, "toml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("src/lib.rs", &code);
    write("Cargo.toml", &manifest.replace("/path/to/checkout", root().to_str().unwrap()));
    write(".cargo/config.toml", &config);
    // The versions that are on this machine.
    fs::copy(root().join("Cargo.lock"), folder.path().join("Cargo.lock")).unwrap();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("outside");
    // Stands for `rustup target add`, which needs a network.
    let mut build = Command::new(env!("CARGO"));
    build
        .current_dir(root())
        .args(["run", "--quiet", "--offline", "--package", "xtask", "--", "cargo"])
        .arg(folder.path());
    build.args(["build", "--release", "--offline", "--target", "wasm32-unknown-unknown", "--target-dir"]).arg(&target);
    assert!(build.status().unwrap().success());
    target.join("wasm32-unknown-unknown/release/one_table.wasm")
}

#[test]
fn steps_of_the_page_for_authors_make_a_component_that_runs() {
    let component = component_of_the_page();
    let component = component.to_str().unwrap();
    let world = World::new(
        "CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, name nvarchar(20) NULL)\nGO\n\
         INSERT INTO dbo.orders VALUES (1, N'a'), (2, NULL)\nGO\n",
    );
    let inspected = world.host(&["inspect", component, "--output", "json"]).success().json();
    assert_eq!(inspected["name"], "one-table");
    let chosen = ["--tables", "dbo.orders", "--settings", r#"{"table": "orders"}"#, "--output", "json"];
    let previewed = world.host(&[&["preview", component][..], &chosen].concat()).success().json();
    assert_eq!(previewed[0]["table"], "dbo.orders");
    let summary = world.host(&[&["run", component][..], &chosen].concat()).success().json();
    assert_eq!((&summary["datakit"], &summary["rows"]), (&"one-table".into(), &2.into()));
    let rows = world.delta("ERP/dbo/orders");
    assert!(rows.contains(r#""id": 1, "name": "a", "_bronze_loaded_at""#), "{rows}");
}
