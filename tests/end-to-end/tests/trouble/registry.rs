//! Artifacts that are not what they should be, and registries that do not answer.

use std::fs;
use std::path::{Path, PathBuf};

use datakit_tests::{OciRegistry, World, datakit};
use sha2::{Digest as _, Sha256};

use crate::{RUN, TABLE, run};

/// A core module without anything in it.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";
/// A component without anything in it.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

fn component() -> Vec<u8> {
    fs::read(datakit("sqlserver-bronze")).unwrap()
}

/// The same for a WIT version that is to come: names of the same length, nothing else to adapt.
fn of_the_future() -> Vec<u8> {
    let (known, unknown) = (b"@0.2.0", b"@0.9.0");
    let mut bytes = component();
    let prefix = b"datakit:kit/";
    let version_of = |at: usize| {
        let name = bytes[at + prefix.len()..].iter().take_while(|c| c.is_ascii_lowercase() || **c == b'-').count();
        at + prefix.len() + name
    };
    let places: Vec<usize> = (0..bytes.len())
        .filter(|&at| bytes[at..].starts_with(prefix))
        .map(version_of)
        .filter(|&at| bytes[at..].starts_with(known))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + unknown.len()].copy_from_slice(unknown);
    }
    bytes
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The one published artifact of a world's OCI image layout.
struct Layout(PathBuf);

impl Layout {
    fn of(world: &World) -> Self {
        Self(world.path().join("registry"))
    }

    fn json(path: &Path) -> serde_json::Value {
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    }

    fn blob(&self, digest: &str) -> PathBuf {
        self.0.join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
    }

    fn manifest(&self) -> serde_json::Value {
        let index = Self::json(&self.0.join("index.json"));
        Self::json(&self.blob(index["manifests"][0]["digest"].as_str().unwrap()))
    }

    fn component(&self) -> PathBuf {
        self.blob(self.manifest()["layers"][0]["digest"].as_str().unwrap())
    }

    /// Names other bytes in manifest and index, with all digests as they should be: what a foreign tool would push.
    fn replace_component(&self, bytes: &[u8]) {
        let write = |bytes: &[u8]| {
            let digest = format!("sha256:{}", hex(bytes));
            fs::write(self.blob(&digest), bytes).unwrap();
            (digest, bytes.len())
        };
        let mut manifest = self.manifest();
        let (digest, size) = write(bytes);
        manifest["layers"][0]["digest"] = digest.into();
        manifest["layers"][0]["size"] = size.into();
        let (digest, size) = write(&serde_json::to_vec(&manifest).unwrap());
        let path = self.0.join("index.json");
        let mut index = Self::json(&path);
        index["manifests"][0]["digest"] = digest.into();
        index["manifests"][0]["size"] = size.into();
        fs::write(path, serde_json::to_vec(&index).unwrap()).unwrap();
    }
}

/// What the cache holds of artifacts.
fn cached(world: &World) -> usize {
    fs::read_dir(world.path().join(".cache/datakit/blobs/sha256")).into_iter().flatten().count()
}

#[test]
fn damaged_bytes_never_run_and_are_never_kept() {
    let world = World::new(TABLE);
    let blob = Layout::of(&world).component();
    let whole = fs::read(&blob).unwrap();

    let mut tampered = whole.clone();
    let middle = tampered.len() / 2;
    tampered[middle] ^= 1;
    fs::write(&blob, &tampered).unwrap();
    insta::assert_snapshot!("tampered_artifact", world.refused(&RUN));
    assert_eq!(cached(&world), 0);

    fs::write(&blob, &whole[..whole.len() - 1]).unwrap();
    insta::assert_snapshot!("truncated_artifact", world.refused(&RUN));
    fs::write(&blob, [whole.as_slice(), b"more"].concat()).unwrap();
    insta::assert_snapshot!("artifact_with_more_bytes", world.refused(&RUN));
    fs::write(&blob, &whole).unwrap();
    let limit = "[limits.guest]\nmax_component_bytes = 100000\n\n[warehouse]";
    let variant = world.variant("[warehouse]", limit);
    let oversized = world.refused(&run(&["--config", variant]));
    insta::assert_snapshot!("oversized_artifact", oversized.replace(&whole.len().to_string(), "[size]"));
    assert_eq!(cached(&world), 0);
    assert!(world.nothing_written());

    world.host(&RUN).success();
    // A copy in the cache that went bad is fetched again, with a warning.
    let copy = world.path().join(".cache/datakit/blobs/sha256").join(hex(&whole));
    fs::write(&copy, &tampered).unwrap();
    let output = world.host(&["run", "--output", "json"]).success();
    assert!(output.stderr.contains("damaged"), "{}", output.stderr);
    assert_eq!(fs::read(&copy).unwrap(), whole);
}

#[test]
fn what_is_no_datakit_is_not_published() {
    let world = World::new(TABLE);
    let refused = |name: &str, bytes: &[u8]| {
        fs::write(world.path().join(name), bytes).unwrap();
        world.refused(&["publish", name])
    };
    insta::assert_snapshot!("publish_module", refused("module.wasm", MODULE));
    insta::assert_snapshot!("publish_component_that_is_no_datakit", refused("component.wasm", COMPONENT));
    insta::assert_snapshot!("publish_unknown_wit_version", refused("future.wasm", &of_the_future()));
    // The same name and version with other bytes: a custom section more.
    let other = [component().as_slice(), &[0, 5, 4], b"test"].concat();
    insta::assert_snapshot!("publish_over_a_version", refused("other.wasm", &other));
    assert_eq!(fs::read(Layout::of(&world).component()).unwrap(), component());
    world.host(&RUN).success();
}

#[test]
fn what_is_no_datakit_is_not_run() {
    let world = World::new(TABLE);
    let refused = |bytes: &[u8]| {
        Layout::of(&world).replace_component(bytes);
        world.refused(&RUN)
    };
    insta::assert_snapshot!("run_module", refused(MODULE));
    insta::assert_snapshot!("run_component_that_is_no_datakit", refused(COMPONENT));
    insta::assert_snapshot!("run_unknown_wit_version", refused(&of_the_future()));
    assert_eq!(cached(&world), 0);
    assert!(world.nothing_written());
}

#[test]
fn a_locked_run_takes_the_pinned_bytes_only() {
    let world = World::new(TABLE);
    insta::assert_snapshot!("locked_without_a_pin", world.refused(&run(&["--locked"])));
    assert!(world.nothing_written());
    world.host(&["lock"]).success();
    let pinned = world.host(&run(&["--locked"])).success().json()["digest"].clone();

    // Someone moves the version: a locked run does not follow.
    let other = [component().as_slice(), &[0, 5, 4], b"test"].concat();
    Layout::of(&world).replace_component(&other);
    let locked = world.host(&["run", "--output", "json", "--locked"]).success().json();
    assert_eq!(locked["digest"], pinned);
    // Nor does the lock file, unless somebody says so.
    let lock = fs::read_to_string(world.path().join("datakits.lock")).unwrap();
    insta::assert_snapshot!("lock_of_a_swapped_version", world.refused(&["lock"]));
    assert_eq!(fs::read_to_string(world.path().join("datakits.lock")).unwrap(), lock);
    world.host(&["lock", "--accept-replaced"]).success();
    assert_ne!(fs::read_to_string(world.path().join("datakits.lock")).unwrap(), lock);
    fs::remove_file(world.path().join("datakits.lock")).unwrap();
    let unlocked = world.host(&["run", "--output", "json"]).success().json();
    assert_ne!(unlocked["digest"], pinned);
}

#[test]
fn a_registry_that_is_down_stops_only_what_is_not_cached() {
    let world = World::new(TABLE);
    let mut server = OciRegistry::start();
    let location = format!("127.0.0.1:{}/team/kits", server.port());
    world.edit("oci:registry", &location);
    let port = server.port().to_string();
    let shown = |text: &str| text.replace(&location, "[registry]").replace(&port, "[port]");
    world.host(&["publish", datakit("sqlserver-bronze").to_str().unwrap()]).success();
    server.stop();
    insta::assert_snapshot!("registry_down_without_a_copy", shown(&world.refused(&RUN)));
    assert!(world.nothing_written());

    server.restart();
    world.host(&["run", "--run-id", "up"]).success();
    server.stop();
    // The version is known from before: the run says that it could not ask, and goes on.
    let output = world.host(&["run", "--run-id", "down"]).success();
    assert!(output.stderr.contains("the registry cannot be reached: the cached copy is used"), "{}", output.stderr);
    // Another version was never asked for.
    let unknown = world.refused(&["run", "--config", world.variant("@0.1.0", "@0.2.0")]);
    insta::assert_snapshot!("registry_down_for_an_unknown_version", shown(&unknown));
}
