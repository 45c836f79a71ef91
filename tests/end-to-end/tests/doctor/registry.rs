//! Registry and lock file.

use datakit_tests::{OciRegistry, World, datakit};

use crate::{SCRIPT, expect};

const REGISTRY: [&str; 4] = ["doctor", "registry", "--output", "json"];

#[test]
fn a_registry_that_is_down_or_lacks_the_datakit() {
    let world = World::new(SCRIPT);
    let mut server = OciRegistry::start();
    world.edit("oci:registry", &format!("127.0.0.1:{}/team/kits", server.port()));
    let absent = expect(&world.host(&REGISTRY), "datakits", "DK-REG-011", "host list");
    assert_eq!(absent.status("reachable"), "ok");
    world.host(&["publish", datakit("sqlserver-bronze").to_str().unwrap()]).success();
    world.host(&REGISTRY).success();
    server.stop();
    expect(&world.host(&REGISTRY), "reachable", "DK-REG-014", "network");
}

#[test]
fn a_directory_that_is_not_there_is_not_reachable() {
    let world = World::new(SCRIPT);
    world.edit("oci:registry", "oci:elsewhere");
    expect(&world.host(&REGISTRY), "reachable", "DK-REG-020", "host publish");
    // Nor where no ingest names a datakit.
    let text = std::fs::read_to_string(world.path().join("warehouse.toml")).unwrap();
    world.write("warehouse.toml", text.split("[[ingest]]").next().unwrap());
    expect(&world.host(&REGISTRY), "reachable", "DK-REG-020", "host publish");
}

#[test]
fn a_lock_file_that_does_not_agree() {
    let world = World::new(SCRIPT);
    world.host(&["lock"]).success();
    world.host(&REGISTRY).success();
    let path = world.path().join("datakits.lock");
    let lock = std::fs::read_to_string(&path).unwrap();
    let digest = lock.split("sha256:").nth(1).unwrap().split('"').next().unwrap();
    world.write("datakits.lock", &lock.replace(digest, &"0".repeat(64)));
    let other =
        expect(&world.host(&REGISTRY), "lock file", "DK-REG-021", "host lock --accept-replaced sqlserver-bronze@0.1.0");
    assert_eq!(other.status("datakits"), "ok");
    world.write("datakits.lock", "[[datakit]]\nname = 1\n");
    expect(&world.host(&REGISTRY), "lock file", "DK-REG-019", "version control");
    std::fs::remove_file(path).unwrap();
    world.edit("oci:registry", "host name/with spaces");
    expect(&world.host(&REGISTRY), "settings", "DK-REG-003", "oci:PATH");
}
