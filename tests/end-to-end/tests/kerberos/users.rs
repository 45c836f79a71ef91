//! Who may read what: other users and groups of this machine. The tests are of root, who may become anybody.

use std::fs::{File, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use datakit_tests::{KerberosWorld, Output};

use crate::SCRIPT;
use crate::sidecar::start;

/// A user and groups that nobody has.
const USER: u32 = 4700;
const GROUP: u32 = 4711;
const OTHER_GROUP: u32 = 4712;

/// The command as another user, who need not see the folders on the way to the program.
fn as_user(world: &KerberosWorld, command: &Command, user: u32, group: u32) -> Output {
    let program = File::open(command.get_program()).unwrap();
    let mut other = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    other.args(command.get_args()).env_clear().uid(user).gid(group);
    for (name, value) in command.get_envs() {
        other.env(name, value.unwrap_or_default());
    }
    other.current_dir(command.get_current_dir().unwrap());
    world.world.finish(other)
}

fn let_others_in(folder: &Path) {
    std::fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
}

/// A world whose folders anybody may look into.
fn open_world() -> Option<KerberosWorld> {
    let world = KerberosWorld::new(SCRIPT)?;
    let_others_in(world.world.path());
    let_others_in(&world.kdc.path(""));
    Some(world)
}

#[test]
fn a_cache_is_read_by_the_group_it_is_for_and_by_nobody_else() {
    let Some(world) = open_world() else { return };
    let cache = world.kdc.path("shared-cache");
    let once = start(&world, &cache, &["--once", "--group", &GROUP.to_string()]).end();
    assert_eq!(once.code, Some(0), "{}", once.stderr);
    let metadata = std::fs::metadata(&cache).unwrap();
    assert_eq!((metadata.gid(), metadata.mode() & 0o777), (GROUP, 0o640));

    let command = world.command(&["kerberos", "status", "--cache", cache.to_str().unwrap()]);
    let read = as_user(&world, &command, USER, GROUP).success();
    assert!(read.stdout.contains("svc-etl@CORP.EXAMPLE"), "{}", read.stdout);
    let refused = as_user(&world, &command, USER, OTHER_GROUP);
    assert!(refused.code == Some(1) && refused.stderr.contains("DK-KRB-002"), "{refused:?}");
    assert!(refused.stderr.contains("--group"), "the hint: {}", refused.stderr);
}

#[test]
fn the_cache_and_the_keytab_of_another_user_are_reported() {
    let Some(world) = open_world() else { return };
    let cache = world.kdc.kinit("svc-etl", &world.keytab, "cache", &[]).unwrap();
    let doctor = world.command(&["doctor", "erp"]);
    let reported = |code: &str| {
        assert_eq!(as_user(&world, &doctor, 0, 0).code, Some(0), "as root it works");
        let refused = as_user(&world, &doctor, USER, GROUP);
        let said = format!("{}{}", refused.stdout, refused.stderr);
        assert!(refused.code != Some(0) && said.contains(code), "{said}");
    };
    world.log_in_with(&format!("ticket_cache = \"{}\"", cache.display()));
    reported("DK-KRB-002");
    world.log_in_with_keytab("");
    reported("DK-KRB-011");
}
