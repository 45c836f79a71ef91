//! Components that would keep the host busy or fill it when they are compiled or validated: each command ends with its error, and the host's
//! own process stays small.

use std::fs;
use std::path::Path;

use datakit_tests::{World, datakit};
use sha2::{Digest as _, Sha256};

use crate::bombs::{component_holding, leb, module_of_loops, section};
use crate::{RUN, measured};

/// Of the host's own process, whatever the component.
const MAX_PEAK_BYTES: u64 = 250 << 20;

/// A component that offers what a datakit offers, by its names, and holds this besides.
fn datakit_with(sections: &[u8]) -> Vec<u8> {
    let name = b"datakit:kit/extractor@0.2.0";
    let empty_instance = section(5, &[1, 1, 0]);
    let export = section(11, &[&[1, 0][..], &leb(name.len()), name, &[5, 0, 0]].concat());
    component_holding(&[sections, &empty_instance, &export].concat())
}

/// A component in a component, and so on.
fn nested(depth: usize) -> Vec<u8> {
    let mut inner = component_holding(&[]);
    for _ in 0..depth {
        inner = component_holding(&section(4, &inner));
    }
    section(4, &inner)
}

/// Types of records, each of which has the one before twice: small to write, of 2^n parts.
fn doubling_types(steps: u8) -> Vec<u8> {
    let mut types = [&leb(usize::from(steps))[..], &[0x72, 1, 1, b'a', 0x7f]].concat();
    for step in 0..steps - 1 {
        types.extend([0x72, 2, 1, b'a', step, 1, b'b', step]);
    }
    section(7, &types)
}

fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

/// Puts other bytes in the place of a published component, with all digests as they should be: what a foreign tool would push.
fn replace_published(registry: &Path, bytes: &[u8]) {
    let blob = |digest: &str| registry.join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
    let json = |path: &Path| serde_json::from_slice::<serde_json::Value>(&fs::read(path).unwrap()).unwrap();
    let write = |bytes: &[u8]| {
        fs::write(blob(&sha256(bytes)), bytes).unwrap();
        serde_json::json!([sha256(bytes), bytes.len()])
    };
    let index_path = registry.join("index.json");
    let mut index = json(&index_path);
    let mut manifest = json(&blob(index["manifests"][0]["digest"].as_str().unwrap()));
    let layer = write(bytes);
    manifest["layers"][0]["digest"] = layer[0].clone();
    manifest["layers"][0]["size"] = layer[1].clone();
    let written = write(&serde_json::to_vec(&manifest).unwrap());
    index["manifests"][0]["digest"] = written[0].clone();
    index["manifests"][0]["size"] = written[1].clone();
    fs::write(index_path, serde_json::to_vec(&index).unwrap()).unwrap();
}

#[test]
fn each_command_ends_at_a_bomb_with_its_error_and_little_memory() {
    let world = World::new("CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY)");
    let limits = "[limits.guest]\nmax_compile_cpu_ms = 1000\nmax_compile_memory_bytes = 8589934592\n\n[warehouse]";
    world.edit("[warehouse]", limits);
    let loops = datakit_with(&section(1, &module_of_loops(3_000, 2_000)));
    assert!(loops.len() < 100_000);
    let bombs = [
        ("loops", loops),
        ("nested", datakit_with(&nested(20_000))),
        ("beside", datakit_with(&section(4, &component_holding(&[])).repeat(15_000))),
        (
            "beside-within",
            datakit_with(&section(4, &component_holding(&section(4, &component_holding(&[])).repeat(15_000)))),
        ),
        ("types", datakit_with(&doubling_types(60))),
        ("names", component_holding(&exports(50_000))),
    ];
    let mut text = String::new();
    for (name, bomb) in &bombs {
        let file = format!("{name}.wasm");
        fs::write(world.path().join(&file), bomb).unwrap();
        replace_published(&world.path().join("registry"), bomb);
        let pull = ["pull", "sqlserver-bronze@0.1.0"];
        let commands: [&[&str]; 5] =
            [&["inspect", &file], &["publish", &file], &pull, &["lock", "sqlserver-bronze@0.1.0"], &RUN];
        for arguments in commands {
            // What one command has pinned is not for the next.
            let _ = fs::remove_file(world.path().join("datakits.lock"));
            let process = world.start(world.command(arguments));
            let (output, peak_bytes) = measured(&format!("{} of {name}", arguments[0]), process);
            assert!(peak_bytes < MAX_PEAK_BYTES, "{} of {name}: {peak_bytes} bytes", arguments[0]);
            text += &format!("{} of {name}\n{}\n\n", arguments[0], world.normalise(output.failure().trim_end()));
        }
    }
    insta::assert_snapshot!(text);
    assert!(world.nothing_written());
}

/// Exports of one instance under so many names.
fn exports(count: usize) -> Vec<u8> {
    let export = |index: usize| {
        let name = format!("n{index}");
        [&[0][..], &leb(name.len()), name.as_bytes(), &[5, 0, 0]].concat()
    };
    section(11, &[leb(count), (0..count).flat_map(export).collect()].concat())
}

#[test]
fn an_honest_component_is_inspected_pulled_and_locked() {
    let world = World::new("CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY)");
    for arguments in [
        &["inspect", datakit("hostile").to_str().unwrap()][..],
        &["pull", "sqlserver-bronze@0.1.0"],
        &["lock", "sqlserver-bronze@0.1.0"],
    ] {
        let (output, peak_bytes) = measured(arguments[0], world.start(world.command(arguments)));
        output.success();
        assert!(peak_bytes < MAX_PEAK_BYTES, "{}: {peak_bytes} bytes", arguments[0]);
    }
}
