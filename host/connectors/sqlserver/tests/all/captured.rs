//! Changes by change data capture.

use std::sync::atomic::Ordering;

use datakit_fake_sqlserver::sql::Place;
use datakit_fake_sqlserver::sql::switches::{
    Capture, CommandId, DeletedValues, InvalidRange, KeyUpdates, MaxLsn, MinLsn, Seqval,
};
use datakit_model::changes::Strategy;
use datakit_sqlserver::{ReaderKind, SqlServerSource};

use crate::common::{READERS, reported};
use crate::feeds::{Copy, Event, Outcome, at_every_moment, feed, interrupt};
use crate::world::World;

const TABLE: &str = "\
EXEC sys.sp_cdc_enable_db;
CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, a nvarchar(20) NULL, b int NOT NULL);
CREATE TABLE dbo.other (id int NOT NULL PRIMARY KEY)";
const ENABLE: &str = "\
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N't', @role_name = NULL, @supports_net_changes = 1";
const DISABLE: &str =
    "EXEC sys.sp_cdc_disable_table @source_schema = N'dbo', @source_name = N't', @capture_instance = N'dbo_t'";
const ENABLE_OTHER: &str = "\
EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'other', @role_name = NULL";
const ROWS: &str = "INSERT INTO dbo.t VALUES (1, N'one', 1), (2, N'two', 2), (3, NULL, 3)";
/// An insert, an update, a delete, an update of a key.
const CHANGES: &str = "\
INSERT INTO dbo.t VALUES (4, N'four', 4);
UPDATE dbo.t SET a = N'uno' WHERE id = 1;
DELETE FROM dbo.t WHERE id = 2;
UPDATE dbo.t SET id = 5 WHERE id = 3";
const STRATEGIES: [Strategy; 2] = [Strategy::Cdc { net: false }, Strategy::Cdc { net: true }];

/// A captured table with three rows.
fn captured() -> World {
    let world = World::of(TABLE);
    world.engine.run_script(ENABLE).unwrap();
    world.engine.run_script(ENABLE_OTHER).unwrap();
    capture(&world.engine);
    world.engine.run_script(ROWS).unwrap();
    world
}

fn copy(strategy: &Strategy) -> Copy {
    Copy::new(strategy.clone(), &["id", "a", "b"])
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_is_read_in_the_order_of_commits() {
    for reader in READERS {
        let world = captured();
        let source = world.source(reader);
        let mut copy = copy(&STRATEGIES[0]);
        assert_eq!(copy.run(&source).await.rows(), 3, "{reader:?}");
        world.engine.run_script(CHANGES).unwrap();
        let fed = feed(&source, copy.request()).await.unwrap();
        assert_eq!(
            fed.rows(&["datakit:operation", "id", "a", "b"]),
            "insert 4 four 4, update 1 uno 1, delete 2 two 2, delete 3 - 3, insert 5 - 3",
            "{reader:?}"
        );
        let versions = fed.column("datakit:change-version");
        assert_eq!(versions.iter().collect::<std::collections::BTreeSet<_>>().len(), 5, "each has a place of its own");
        assert!(fed.column("datakit:commit-time").iter().all(Option::is_none));
        assert!(fed.column("datakit:missing-columns").iter().all(Option::is_none));
        assert_eq!(copy.run(&source).await.rows(), 5);
        copy.agrees(&source).await;
        assert_eq!(copy.run(&source).await.rows(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn net_changes_are_one_row_of_a_key() {
    for reader in READERS {
        let world = captured();
        let source = world.source(reader);
        let mut copy = copy(&STRATEGIES[1]);
        beyond_the_copy(&world, &mut copy, &source).await;
        world.engine.run_script(CHANGES).unwrap();
        world.engine.run_script("UPDATE dbo.t SET b = 10 WHERE id = 1; UPDATE dbo.t SET b = 11 WHERE id = 1").unwrap();
        world.engine.run_script("INSERT INTO dbo.t VALUES (9, NULL, 9); DELETE FROM dbo.t WHERE id = 9").unwrap();
        let fed = feed(&source, copy.request()).await.unwrap();
        assert_eq!(fed.texts("id"), ["1", "2", "3", "4", "5"], "{reader:?}");
        copy.run(&source).await.rows();
        copy.agrees(&source).await;
        // The other strategy goes on from there.
        let mut every = self::copy(&STRATEGIES[0]);
        (every.position, every.rows) = (copy.position.clone(), copy.rows.clone());
        world.engine.run_script("DELETE FROM dbo.t WHERE id = 1").unwrap();
        assert_eq!(every.run(&source).await.rows(), 1);
        every.agrees(&source).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn quiet_table_reads_nothing_and_follows_the_database() {
    let world = captured();
    let source = world.source(ReaderKind::MssqlTds);
    for strategy in STRATEGIES {
        let mut copy = copy(&strategy);
        copy.run(&source).await.rows();
        assert_eq!(copy.run(&source).await.rows(), 0);
        let first = copy.position.clone();
        world.engine.run_script("INSERT INTO dbo.other VALUES (1); DELETE FROM dbo.other").unwrap();
        assert_eq!(copy.run(&source).await.rows(), 0);
        assert_ne!(copy.position, first);
        clean_up(&world, copy.position.as_ref().unwrap().rsplit(['=', ':']).next().unwrap());
        assert_eq!(copy.run(&source).await.rows(), 0, "nothing was missed");
        world.engine.run_script("UPDATE dbo.t SET b = b + 1 WHERE id = 1").unwrap();
        assert_eq!(copy.run(&source).await.rows(), 1);
        copy.agrees(&source).await;
    }
}

/// Reads the changes of the time of the first copy, and some more: from then on changes are of rows that were there before.
async fn beyond_the_copy(world: &World, copy: &mut Copy, source: &SqlServerSource) {
    for _ in 0..3 {
        copy.run(source).await.rows();
        // The server's clock has steps of 3 milliseconds.
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        world.engine.run_script("UPDATE dbo.t SET b = b + 1").unwrap();
        capture(&world.engine);
    }
    copy.run(source).await.rows();
    assert!(!copy.position.as_ref().unwrap().contains("copy"), "{:?}", copy.position);
}

/// Has the capture process handle all that was committed.
fn capture(engine: &crate::feeds::Engine) {
    engine.run_script("EXEC sys.sp_cdc_scan").map(drop).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn row_that_the_first_copy_has_read_is_deleted_with_its_source_whenever_it_came() {
    let come: Event = |engine| {
        engine
            .run_script("INSERT INTO dbo.t VALUES (9, NULL, 9); UPDATE dbo.t SET b = 20 WHERE id = 2")
            .map(drop)
            .unwrap();
    };
    for (strategy, is_late) in STRATEGIES.iter().flat_map(|strategy| [(strategy, false), (strategy, true)]) {
        let mut read = 0;
        for n in 0.. {
            let world = captured();
            let source = world.source(ReaderKind::MssqlTds);
            let mut copy = copy(strategy);
            if is_late {
                world.engine.set_switches(|switches| switches.capture = Capture::OnCommand);
            }
            let moments = interrupt(&world, n, come);
            copy.run(&source).await.rows();
            world.engine.set_hook(None);
            if moments.load(Ordering::SeqCst) <= n {
                break;
            }
            read += usize::from(copy.rows.contains_key("9"));
            world.engine.run_script("DELETE FROM dbo.t WHERE id = 9").unwrap();
            // The capture process may come to the copy's time only after the next load.
            copy.run(&source).await.rows();
            capture(&world.engine);
            copy.run(&source).await.rows();
            copy.agrees(&source).await;
            beyond_the_copy(&world, &mut copy, &source).await;
            copy.agrees(&source).await;
        }
        assert!(read > 0, "{} {is_late}: the copy has read the row at none of the moments", strategy.name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn last_change_of_each_row_is_read_in_every_order_of_the_server() {
    for key_updates in [KeyUpdates::DeleteFirst, KeyUpdates::InsertFirst] {
        for command_id in [CommandId::Present, CommandId::Absent] {
            let world = World::of(TABLE);
            world.engine.set_switches(|switches| {
                switches.key_updates = key_updates;
                switches.command_id = command_id;
            });
            world.engine.run_script(ENABLE).unwrap();
            capture(&world.engine);
            world.engine.run_script(ROWS).unwrap();
            let source = world.source(ReaderKind::MssqlTds);
            let mut copy = copy(&STRATEGIES[1]);
            copy.run(&source).await.rows();
            world
                .engine
                .run_script(
                    "BEGIN TRANSACTION; UPDATE dbo.t SET id = 7 WHERE id = 2; DELETE FROM dbo.t WHERE id = 3; \
                     INSERT INTO dbo.t VALUES (3, N'anew', 30); UPDATE dbo.t SET id = 2 WHERE id = 7; COMMIT; \
                     INSERT INTO dbo.t VALUES (9, NULL, 9); DELETE FROM dbo.t WHERE id = 9; UPDATE dbo.t SET b = 21 WHERE id = 2",
                )
                .unwrap();
            let fed = feed(&source, copy.request()).await.unwrap();
            assert_eq!(
                fed.rows(&["datakit:operation", "id", "b"]),
                "delete 7 2, upsert 3 30, delete 9 9, upsert 2 21",
                "{key_updates:?} {command_id:?}"
            );
            copy.run(&source).await.rows();
            copy.agrees(&source).await;
        }
    }
}

/// Moves the low end of all instances.
fn clean_up(world: &World, lsn: &str) {
    clean_up_by(&world.engine, lsn);
}

fn clean_up_by(engine: &crate::feeds::Engine, lsn: &str) {
    for instance in ["dbo_t", "dbo_other"] {
        let call = format!(
            "EXEC sys.sp_cdc_cleanup_change_table @capture_instance = N'{instance}', @low_water_mark = {lsn}, @threshold = 5000"
        );
        engine.run_script(&call).map(drop).unwrap();
    }
}

/// The last LSN that the capture process has handled.
fn max_lsn(engine: &crate::feeds::Engine) -> String {
    let results = engine.run_script("SELECT CONVERT(nvarchar(22), sys.fn_cdc_get_max_lsn(), 1) AS high").unwrap();
    match &results[0].rows[0][0] {
        datakit_fake_sqlserver::values::Value::Text(text) => text.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_position_and_missing_instance_are_gaps_with_different_texts() {
    for range in [InvalidRange::Arguments, InvalidRange::Object] {
        let world = captured();
        world.engine.set_switches(|switches| switches.invalid_range = range);
        let source = world.source(ReaderKind::MssqlTds);
        let mut copy = copy(&STRATEGIES[0]);
        copy.run(&source).await.rows();
        world.engine.run_script(CHANGES).unwrap();
        clean_up(&world, &max_lsn(&world.engine));
        let gap = copy.run(&source).await.gap();
        assert!(gap.contains("`dbo_t` knows changes since") && gap.contains("retention"), "{gap}");
        world.engine.run_script(DISABLE).unwrap();
        let gone = copy.run(&source).await.gap();
        assert!(gone.contains("`dbo_t` is gone"), "{gone}");
        world.engine.run_script("UPDATE dbo.t SET b = 100 WHERE id = 1").unwrap();
        world.engine.run_script(ENABLE).unwrap();
        capture(&world.engine);
        let anew = copy.run(&source).await.gap();
        assert!(anew.contains("made anew"), "{anew}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clean_up_right_before_the_function_is_called_says_that_changes_are_lost() {
    for range in [InvalidRange::Arguments, InvalidRange::Object] {
        for place in [Place::Before, Place::Row(2)] {
            let world = captured();
            world.engine.set_switches(|switches| switches.invalid_range = range);
            let source = world.source(ReaderKind::MssqlTds);
            let mut copy = copy(&STRATEGIES[0]);
            copy.run(&source).await.rows();
            world.engine.run_script(CHANGES).unwrap();
            let (engine, high) = (world.engine.clone(), max_lsn(&world.engine));
            world.engine.set_hook(Some(std::sync::Arc::new(move |moment| {
                if moment.statement.contains("fn_cdc_get_all_changes_dbo_t") && moment.place == place {
                    clean_up_by(&engine, &high);
                }
            })));
            let failure = copy.run(&source).await.failure();
            world.engine.set_hook(None);
            assert_eq!(failure.code(), "DK-SRC-413", "{range:?} {place:?}: {}", reported(&failure));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_and_insert_of_one_update_end_with_the_insert_in_every_order() {
    for key_updates in [KeyUpdates::DeleteFirst, KeyUpdates::InsertFirst] {
        for command_id in [CommandId::Present, CommandId::Absent] {
            for seqval in [Seqval::Rising, Seqval::Falling] {
                // Without a command the documented order is that of `__$seqval`.
                if (command_id, seqval) == (CommandId::Absent, Seqval::Falling) {
                    continue;
                }
                let world = World::of(TABLE);
                world.engine.set_switches(|switches| {
                    switches.key_updates = key_updates;
                    switches.command_id = command_id;
                    switches.seqval = seqval;
                });
                world.engine.run_script(ENABLE).unwrap();
                capture(&world.engine);
                world.engine.run_script(ROWS).unwrap();
                let source = world.source(ReaderKind::MssqlTds);
                let mut copy = copy(&STRATEGIES[0]);
                copy.run(&source).await.rows();
                world
                    .engine
                    .run_script(
                        "BEGIN TRANSACTION; UPDATE dbo.t SET b = 10 WHERE id = 1; UPDATE dbo.t SET b = 20 WHERE id = 1; \
                         UPDATE dbo.t SET id = 7 WHERE id = 2; DELETE FROM dbo.t WHERE id = 3; INSERT INTO dbo.t VALUES (3, N'anew', 30); \
                         UPDATE dbo.t SET id = 2 WHERE id = 7; UPDATE dbo.t SET b = 21 WHERE id = 1; COMMIT",
                    )
                    .unwrap();
                copy.run(&source).await.rows();
                assert_eq!(copy.rows, copy.source_rows(&source).await, "{key_updates:?} {command_id:?} {seqval:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fresh_instance_is_copied_once() {
    let world = World::of(TABLE);
    world.engine.set_switches(|switches| switches.capture = Capture::OnCommand);
    world.engine.run_script(ROWS).unwrap();
    world.engine.run_script(ENABLE).unwrap();
    let source = world.source(ReaderKind::MssqlTds);
    let mut copy = copy(&STRATEGIES[0]);
    let early = copy.run(&source).await.failure();
    assert_eq!((early.code(), early.retry()), ("DK-SRC-412", datakit_model::Retry::AfterBackoff));
    world.engine.run_script("INSERT INTO dbo.t VALUES (6, N'six', 6)").unwrap();
    capture(&world.engine);
    world.engine.run_script("INSERT INTO dbo.t VALUES (7, N'seven', 7)").unwrap();
    assert_eq!(copy.run(&source).await.rows(), 5);
    assert_eq!(copy.run(&source).await.rows(), 0, "the capture process has nothing new");
    capture(&world.engine);
    assert_eq!(copy.run(&source).await.rows(), 1, "the copy had it already");
    copy.agrees(&source).await;
    assert_eq!(copy.run(&source).await.rows(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_that_the_server_does_not_say_lose_nothing() {
    let world = captured();
    let source = world.source(ReaderKind::MssqlTds);
    let mut copy = copy(&STRATEGIES[0]);
    world.engine.set_switches(|switches| switches.min_lsn = MinLsn::Null);
    assert_eq!(copy.run(&source).await.failure().code(), "DK-SRC-412");
    world.engine.set_switches(|switches| switches.min_lsn = MinLsn::Zero);
    let hidden = copy.run(&source).await.failure();
    assert_eq!(hidden.code(), "DK-SRC-410", "{}", reported(&hidden));
    world.engine.set_switches(|switches| switches.min_lsn = MinLsn::Known);
    copy.run(&source).await.rows();
    copy.run(&source).await.rows();
    // The capture process stands still.
    world.engine.set_switches(|switches| switches.capture = Capture::OnCommand);
    world.engine.run_script(CHANGES).unwrap();
    let position = copy.position.clone();
    assert_eq!((copy.run(&source).await.rows(), &copy.position), (0, &position));
    world.engine.set_switches(|switches| switches.max_lsn = MaxLsn::Null);
    assert_eq!((copy.run(&source).await.rows(), &copy.position), (0, &position));
    world.engine.set_switches(|switches| switches.max_lsn = MaxLsn::BelowStart);
    assert!(copy.run(&source).await.gap().contains("went back"));
    capture(&world.engine);
    for min_lsn in [MinLsn::Null, MinLsn::Zero] {
        world.engine.set_switches(|switches| (switches.min_lsn, switches.max_lsn) = (min_lsn, MaxLsn::Known));
        assert!(!matches!(copy.run(&source).await, Outcome::Read(_)), "{min_lsn:?}");
    }
    world.engine.set_switches(|switches| switches.min_lsn = MinLsn::Known);
    assert_eq!(copy.run(&source).await.rows(), 5);
    copy.agrees(&source).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn capture_process_that_stands_before_the_beginning_is_waited_for() {
    let world = captured();
    let source = world.source(ReaderKind::MssqlTds);
    world.engine.set_switches(|switches| switches.max_lsn = MaxLsn::BelowStart);
    let mut copy = copy(&STRATEGIES[0]);
    assert_eq!(copy.run(&source).await.rows(), 3);
    assert_eq!(copy.run(&source).await.rows(), 0);
    world.engine.run_script(CHANGES).unwrap();
    world.engine.set_switches(|switches| switches.max_lsn = MaxLsn::Known);
    assert_eq!(copy.run(&source).await.rows(), 8, "three rows of the copy are there again");
    copy.agrees(&source).await;
    assert_eq!(copy.run(&source).await.rows(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_instance_is_read_from_its_beginning_and_each_change_once() {
    for strategy in STRATEGIES {
        let world = captured();
        let source = world.source(ReaderKind::MssqlTds);
        let mut copy = copy(&strategy);
        copy.run(&source).await.rows();
        world.engine.run_script("UPDATE dbo.t SET b = 30 WHERE id = 3").unwrap();
        world.engine.run_script("ALTER TABLE dbo.t ADD n int NULL").unwrap();
        world.engine.run_script("UPDATE dbo.t SET n = 45 WHERE id < 3").unwrap();
        let second = "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N't', @role_name = NULL, \
                      @supports_net_changes = 1, @capture_instance = N'second one'";
        world.engine.run_script(second).unwrap();
        capture(&world.engine);
        world.engine.run_script("UPDATE dbo.t SET n = 60 WHERE id = 3").unwrap();
        let fed = feed(&source, copy.request()).await.unwrap();
        assert_eq!(fed.rows(&["id", "b"]), "3 30, 3 30", "{strategy:?}: by the older, then by the newer instance");
        let mut with_n = Copy::new(strategy.clone(), &["id", "a", "b", "n"]);
        with_n.position = copy.position.clone();
        let gap = with_n.run(&source).await.gap();
        assert!(gap.contains("`second one` captures the column `n`"), "{gap}");
        copy.run(&source).await.rows();
        copy.agrees(&source).await;
        let mut anew = Copy::new(strategy.clone(), &["id", "a", "b", "n"]);
        anew.run(&source).await.rows();
        assert!(anew.position.as_ref().unwrap().contains("second one"), "{:?}", anew.position);
        world.engine.run_script("UPDATE dbo.t SET n = 61 WHERE id = 3").unwrap();
        assert_eq!(anew.run(&source).await.rows(), 1);
        anew.agrees(&source).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn column_that_no_instance_captures_is_missing_in_each_change() {
    let world = captured();
    let source = world.source(ReaderKind::MssqlTds);
    world.engine.run_script("ALTER TABLE dbo.t ADD n int NULL").unwrap();
    let mut copy = Copy::new(STRATEGIES[0].clone(), &["id", "a", "b", "n"]);
    copy.run(&source).await.rows();
    world.engine.run_script("UPDATE dbo.t SET b = 30, n = 1 WHERE id = 3; DELETE FROM dbo.t WHERE id = 1").unwrap();
    let fed = feed(&source, copy.request()).await.unwrap();
    assert_eq!(
        fed.rows(&["datakit:operation", "id", "b", "n", "datakit:missing-columns"]),
        r#"update 3 30 - ["n"], delete 1 1 - ["n"]"#
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_a_delete_does_not_carry_are_missing() {
    for deleted in [DeletedValues::Documented, DeletedValues::MaxNull, DeletedValues::BitNull] {
        let world = World::of(
            "EXEC sys.sp_cdc_enable_db; \
             CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, note ntext NOT NULL, x bit NOT NULL, y bit NOT NULL, long nvarchar(max) NOT NULL)",
        );
        world.engine.set_switches(|switches| switches.deleted_values = deleted);
        world.engine.run_script(ENABLE).unwrap();
        capture(&world.engine);
        world
            .engine
            .run_script("INSERT INTO dbo.t VALUES (1, N'note', 1, 0, N'long'), (2, N'note', 0, 1, N'long')")
            .unwrap();
        for reader in READERS {
            let source = world.source(reader);
            let mut copy = Copy::new(STRATEGIES[0].clone(), &["id", "note", "x", "y", "long"]);
            copy.run(&source).await.rows();
            world.engine.run_script("UPDATE dbo.t SET x = 0 WHERE id = 1; DELETE FROM dbo.t WHERE id = 1").unwrap();
            let fed = feed(&source, copy.request()).await.unwrap();
            let lacks = match deleted {
                DeletedValues::Documented => r#"["note"]"#,
                DeletedValues::MaxNull => r#"["note","long"]"#,
                DeletedValues::BitNull => r#"["note","x","y","long"]"#,
            };
            assert_eq!(
                fed.rows(&["datakit:operation", "id", "datakit:missing-columns"]),
                format!("update 1 -, delete 1 {lacks}"),
                "{deleted:?}"
            );
            copy.run(&source).await.rows();
            copy.agrees(&source).await;
            world.engine.run_script("INSERT INTO dbo.t VALUES (1, N'note', 1, 0, N'long')").unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn table_that_is_not_captured_says_what_is_missing() {
    let world = World::of("CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, a nvarchar(20) NULL, b int NOT NULL)");
    let source = world.source(ReaderKind::MssqlTds);
    let mut verdicts = vec![copy(&STRATEGIES[0]).run(&source).await.failure()];
    world.engine.run_script("EXEC sys.sp_cdc_enable_db").unwrap();
    verdicts.push(copy(&STRATEGIES[0]).run(&source).await.failure());
    let without_net = ENABLE.replace("@supports_net_changes = 1", "@supports_net_changes = 0");
    world.engine.run_script(&without_net).unwrap();
    capture(&world.engine);
    verdicts.push(copy(&STRATEGIES[1]).run(&source).await.failure());
    copy(&STRATEGIES[0]).run(&source).await.rows();
    insta::assert_snapshot!(verdicts.iter().map(reported).collect::<Vec<_>>().join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_at_any_moment_loses_a_change_in_silence() {
    let events: [(&str, Event); 3] = [
        ("commit", |engine| {
            let script = "INSERT INTO dbo.t VALUES (9, NULL, 9); UPDATE dbo.t SET b = 8 WHERE id = 4; DELETE FROM dbo.t WHERE id = 1";
            engine.run_script(script).map(drop).unwrap();
        }),
        ("clean-up", |engine| clean_up_by(engine, &max_lsn(engine))),
        ("made anew", |engine| {
            engine.run_script(DISABLE).map(drop).unwrap();
            engine.run_script("UPDATE dbo.t SET b = 100 WHERE id = 1").map(drop).unwrap();
            engine.run_script(ENABLE).map(drop).unwrap();
            capture(engine);
        }),
    ];
    let mut said = Vec::new();
    let [every, net] = &STRATEGIES;
    let [commit, cleaned, anew] = events;
    for (strategy, (name, event)) in [(every, commit), (every, cleaned), (every, anew), (net, cleaned)] {
        let outcomes = at_every_moment(captured, &copy(strategy), CHANGES, event).await;
        said.push(format!("{name}, {}: {}", strategy.name(), outcomes.join("; ")));
    }
    insta::assert_snapshot!(said.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn range_is_part_of_the_text_and_the_table_is_not_read() {
    let world = captured();
    let source = world.source(ReaderKind::MssqlTds);
    for strategy in STRATEGIES {
        let mut copy = copy(&strategy);
        copy.run(&source).await.rows();
        beyond_the_copy(&world, &mut copy, &source).await;
        world.engine.run_script("UPDATE dbo.t SET b = b + 1").unwrap();
        world.engine.take_records();
        copy.run(&source).await.rows();
        let kind = if strategy == STRATEGIES[0] { "all" } else { "net" };
        let records = world.engine.take_records();
        let rows =
            records.iter().find(|record| record.text.contains(&format!("fn_cdc_get_{kind}_changes_dbo_t]("))).unwrap();
        assert!(!rows.text.contains("dbo].[t]"), "{}", rows.text);
        assert!(rows.text.contains("N'all'"), "{}", rows.text);
    }
}
