//! Sinks that run out of space: the run says so, and what was there stays as it was.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use datakit_tests::{World, host_binary};

use crate::{RUN, delta_ids, each};

/// Rows of `dbo.t` in a run that does not fit: about 40 MB, half of it after compression.
const ROWS: i64 = 40_000;

const SMALL_BYTES: u64 = 8 * 1024 * 1024;

/// `dbo.t` with three rows.
fn three_rows() -> World {
    World::new(
        "CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, note nvarchar(1000) NULL)\nGO\n\
         INSERT INTO dbo.t VALUES (1, N'a'), (2, NULL), (3, N'c')",
    )
}

/// The other rows of `dbo.t`, up to [`ROWS`].
fn insert_many(world: &World) {
    let rows: Vec<String> = (4..=ROWS).map(|id| format!("({id}, N'{}')", noise(id as u64))).collect();
    for part in rows.chunks(500) {
        world.mssql.execute(&[&format!("INSERT INTO dbo.t VALUES {}", part.join(", "))]);
    }
}

/// Text that no compression makes smaller than half.
fn noise(seed: u64) -> String {
    let mut state = seed;
    let word = |_| {
        // splitmix64
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        format!("{:016x}", mixed ^ (mixed >> 31))
    };
    (0..60).map(word).collect()
}

/// A file system of [`SMALL_BYTES`], gone when dropped. None, with the reason printed, where we may not mount one.
struct SmallFileSystem(PathBuf);

impl SmallFileSystem {
    fn mount(directory: &Path) -> Option<Self> {
        fs::create_dir_all(directory).unwrap();
        let options = format!("size={SMALL_BYTES},mode=0700");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(directory).output().unwrap();
        if mounted.status.success() {
            return Some(Self(directory.to_owned()));
        }
        eprintln!("skipped: a small file system cannot be mounted: {}", String::from_utf8_lossy(&mounted.stderr));
        None
    }

    /// Makes it large.
    fn grow(&self) {
        let grown = Command::new("mount").args(["-o", "remount,size=256m"]).arg(&self.0).status().unwrap();
        assert!(grown.success());
    }
}

impl Drop for SmallFileSystem {
    fn drop(&mut self) {
        // A server that is just ending may still hold it: detached at once, freed when it lets go.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_bound_on_file_sizes_loses_nothing() {
    let world = three_rows();
    world.run(&["--run-id", "before"]);
    insert_many(&world);
    let files = world.data_files("ERP/dbo/t");
    // No file may grow over 8 MiB. (Less, and the guest's memory could not be mapped: it is a file, too.)
    let host = world.command(&RUN);
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -f 16384; exec \"$@\"", "sh"]).arg(host_binary()).args(RUN);
    command.current_dir(world.path()).env_clear();
    command.envs(host.get_envs().filter_map(|(name, value)| Some((name, value?))));
    insta::assert_snapshot!(world.refusal(&world.finish(command)));
    assert_eq!(delta_ids(&world, "ERP/dbo/t"), each(1, 3, 1));
    assert_eq!(world.data_files("ERP/dbo/t"), files, "no leftovers");
}

#[test]
fn a_full_disk_under_delta_loses_nothing() {
    let world = three_rows();
    let Some(_full) = SmallFileSystem::mount(&world.path().join("bronze")) else { return };
    world.run(&["--run-id", "before"]);
    insert_many(&world);
    let files = world.data_files("ERP/dbo/t");
    insta::assert_snapshot!(world.refused(&RUN));
    assert_eq!(delta_ids(&world, "ERP/dbo/t"), each(1, 3, 1));
    assert_eq!(world.data_files("ERP/dbo/t"), files, "no leftovers");

    world.mssql.execute(&["DELETE FROM dbo.t WHERE id > 1000"]);
    world.run(&["--run-id", "after", "--mode", "overwrite"]);
    assert_eq!(delta_ids(&world, "ERP/dbo/t"), each(1, 1000, 1));
}

#[test]
fn a_full_disk_under_postgres_loses_nothing() {
    let world = three_rows().with_postgres();
    let directory = world.path().join("tablespace");
    let Some(full) = SmallFileSystem::mount(&directory) else { return };
    let owner = fs::metadata(world.postgres_directory()).unwrap();
    chown(&directory, Some(owner.uid()), Some(owner.gid())).unwrap();
    for folder in directory.ancestors().skip(1).take_while(|folder| folder.starts_with(world.path())) {
        fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    world.postgres_execute(&format!("CREATE TABLESPACE small LOCATION '{}'", directory.display()));
    world.postgres_execute("ALTER ROLE postgres SET default_tablespace = 'small'");
    world.run(&["--run-id", "before"]);
    insert_many(&world);
    insta::assert_snapshot!(world.refused(&RUN));
    assert_eq!(world.postgres("SELECT count(*)::text FROM \"ERP_dbo\".t"), "3");

    full.grow();
    world.run(&["--run-id", "after", "--mode", "overwrite"]);
    assert_eq!(world.postgres("SELECT count(*)::text FROM \"ERP_dbo\".t"), ROWS.to_string());
}
