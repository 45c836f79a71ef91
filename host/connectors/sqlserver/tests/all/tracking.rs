//! Changes by Change Tracking.

use std::sync::atomic::Ordering;

use datakit_fake_sqlserver::sql::switches::{InsertedAndDeleted, MinValidVersion, TruncateInSnapshot, UpdatedKeys};
use datakit_fake_sqlserver::sql::{Effect, Fault, Interruption, Place};
use datakit_fake_sqlserver::values::SqlError;
use datakit_model::changes::{ChangeRequest, Strategy};
use datakit_model::source::Source as _;
use datakit_sqlserver::ReaderKind;

use crate::common::{READERS, access, query, reported};
use crate::feeds::{Copy, Event, at_every_moment, feed, interrupt};
use crate::world::World;

const TRACKED: &str = "\
ALTER DATABASE CURRENT SET CHANGE_TRACKING = ON (CHANGE_RETENTION = 2 DAYS, AUTO_CLEANUP = OFF);
CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, a nvarchar(20) NULL, b int NOT NULL);
CREATE TABLE dbo.other (id int NOT NULL PRIMARY KEY);
ALTER TABLE dbo.t ENABLE CHANGE_TRACKING;
ALTER TABLE dbo.other ENABLE CHANGE_TRACKING;
INSERT INTO dbo.t VALUES (1, N'one', 1), (2, N'two', 2), (3, NULL, 3)";
const NO_SNAPSHOT: &str = "ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION OFF";
/// An insert, an update, a delete, an update of a key.
const CHANGES: &str = "\
INSERT INTO dbo.t VALUES (4, N'four', 4);
UPDATE dbo.t SET a = N'uno' WHERE id = 1;
DELETE FROM dbo.t WHERE id = 2;
UPDATE dbo.t SET id = 5 WHERE id = 3";

fn tracked(is_snapshot_allowed: bool) -> World {
    let world = World::of(TRACKED);
    if !is_snapshot_allowed {
        world.engine.run_script(NO_SNAPSHOT).unwrap();
    }
    world
}

fn copy() -> Copy {
    Copy::new(Strategy::ChangeTracking, &["id", "a", "b"])
}

#[tokio::test(flavor = "multi_thread")]
async fn each_changed_row_is_read_once_as_it_is_now_and_deletes_by_their_key() {
    for (reader, is_snapshot_allowed) in READERS.into_iter().flat_map(|reader| [(reader, true), (reader, false)]) {
        let world = tracked(is_snapshot_allowed);
        let source = world.source(reader);
        let mut copy = copy();
        assert_eq!(copy.run(&source).await.rows(), 3, "{reader:?}");
        copy.agrees(&source).await;
        world.engine.run_script(CHANGES).unwrap();
        let fed = feed(&source, copy.request()).await.unwrap();
        let mut rows: Vec<String> = fed
            .rows(&["datakit:operation", "id", "a", "b", "datakit:missing-columns", "datakit:commit-time"])
            .split(", ")
            .map(str::to_owned)
            .collect();
        rows.sort();
        let expected = [
            r#"delete 2 - - ["a","b"] -"#,
            r#"delete 3 - - ["a","b"] -"#,
            "upsert 1 uno 1 - -",
            "upsert 4 four 4 - -",
            "upsert 5 - 3 - -",
        ];
        assert_eq!(rows, expected, "{reader:?} {is_snapshot_allowed}");
        assert_eq!(copy.run(&source).await.rows(), 5);
        copy.agrees(&source).await;
        assert_eq!(copy.run(&source).await.rows(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn first_copy_and_changes_have_one_shape() {
    let world = tracked(true);
    let source = world.source(ReaderKind::MssqlTds);
    let mut copy = copy();
    let whole = feed(&source, copy.request()).await.unwrap();
    assert_eq!(whole.rows(&["datakit:operation", "id"]), "read 1, read 2, read 3");
    copy.run(&source).await.rows();
    world.engine.run_script(CHANGES).unwrap();
    let changes = feed(&source, copy.request()).await.unwrap();
    let shape = |fed: &crate::feeds::Fed| -> Vec<_> {
        let fields = fed.batch.schema();
        fields.fields().iter().map(|it| (it.name().clone(), it.data_type().clone(), it.is_nullable())).collect()
    };
    assert_eq!(shape(&whole), shape(&changes));
    assert!(!shape(&whole)[0].2 && shape(&whole)[2].2, "all columns may be null but the key");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_a_first_copy_are_rows_of_the_feed() {
    let world = tracked(true);
    let connection = world.source(ReaderKind::MssqlTds).connect(access(&["dbo.*"])).await.unwrap();
    let whole = connection.changes(copy().request()).await.unwrap();
    let part = connection.query(query("SELECT id, a, b FROM dbo.t WHERE id < 3", vec![])).await.unwrap();
    let mut part = whole.copied(part).unwrap();
    let batch = part.next().await.unwrap().unwrap();
    assert_eq!(batch.batch().num_rows(), 2);
    assert!(batch.batch().column_by_name("datakit:change-version").is_some());
    drop((batch, part));
    let onward = ChangeRequest { position: whole.upper().map(str::to_owned), ..copy().request() };
    let onward = connection.changes(onward).await.unwrap();
    let part = connection.query(query("SELECT id FROM dbo.t", vec![])).await.unwrap();
    assert_eq!(onward.copied(part).err().unwrap().code(), "DK-SRC-405");
}

#[tokio::test(flavor = "multi_thread")]
async fn quiet_table_follows_the_version_of_the_database() {
    let world = tracked(true);
    let source = world.source(ReaderKind::MssqlTds);
    let mut copy = copy();
    assert_eq!(copy.run(&source).await.rows(), 3);
    let first = copy.position.clone().unwrap();
    assert_eq!((copy.run(&source).await.rows(), copy.position.as_ref()), (0, Some(&first)));
    world.engine.run_script("INSERT INTO dbo.other VALUES (1)").unwrap();
    assert_eq!(copy.run(&source).await.rows(), 0);
    assert_ne!(copy.position.as_ref(), Some(&first), "another table's change moved the version");
    let version: i64 = copy.position.as_ref().unwrap().rsplit_once('=').unwrap().1.parse().unwrap();
    world.engine.clean_change_tracking(None, version).unwrap();
    assert_eq!(copy.run(&source).await.rows(), 0, "all that was cleaned up had been read");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_were_forgotten_are_a_gap() {
    for is_snapshot_allowed in [true, false] {
        for (event, reason) in [
            ("ALTER TABLE dbo.t DISABLE CHANGE_TRACKING; ALTER TABLE dbo.t ENABLE CHANGE_TRACKING", "began anew"),
            ("TRUNCATE TABLE dbo.t", "began anew"),
            ("TRUNCATE TABLE dbo.t; INSERT INTO dbo.t VALUES (7, NULL, 7)", "began anew"),
            (
                "DROP TABLE dbo.t; CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, a nvarchar(20) NULL, b int NOT NULL); \
                 ALTER TABLE dbo.t ENABLE CHANGE_TRACKING",
                "dropped and made anew",
            ),
        ] {
            let world = tracked(is_snapshot_allowed);
            let source = world.source(ReaderKind::MssqlTds);
            let mut copy = copy();
            copy.run(&source).await.rows();
            world.engine.run_script(event).unwrap();
            let gap = copy.run(&source).await.gap();
            assert!(gap.contains(reason), "{event}: {gap}");
        }
        let world = tracked(is_snapshot_allowed);
        let source = world.source(ReaderKind::MssqlTds);
        let mut copy = copy();
        copy.run(&source).await.rows();
        world.engine.run_script(CHANGES).unwrap();
        world.engine.clean_change_tracking(None, 3).unwrap();
        assert!(copy.run(&source).await.gap().contains("its retention is over"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn version_that_went_back_is_a_gap() {
    let world = tracked(true);
    let source = world.source(ReaderKind::MssqlTds);
    let mut copy = copy();
    world.engine.set_change_tracking_version(600).unwrap();
    copy.run(&source).await.rows();
    world.engine.set_change_tracking_version(0).unwrap();
    world.engine.run_script(CHANGES).unwrap();
    assert!(copy.run(&source).await.gap().contains("went back, from 600"));
}

#[tokio::test(flavor = "multi_thread")]
async fn table_that_is_not_tracked_says_what_is_missing_whatever_the_position() {
    let world = tracked(true);
    let source = world.source(ReaderKind::MssqlTds);
    let mut copy = copy();
    copy.run(&source).await.rows();
    world.engine.set_switches(|switches| switches.min_valid_version = MinValidVersion::Null);
    let failure = copy.run(&source).await.failure();
    assert_eq!(failure.code(), "DK-SRC-410");
    assert!(reported(&failure).contains("VIEW CHANGE TRACKING"), "{}", reported(&failure));
    world.engine.set_switches(|switches| switches.min_valid_version = MinValidVersion::Known);
    assert_eq!(copy.run(&source).await.rows(), 0, "a permission that came back needs no new copy");
    world.engine.run_script("ALTER TABLE dbo.t DISABLE CHANGE_TRACKING").unwrap();
    let off = copy.run(&source).await.failure();
    assert!(reported(&off).contains("off for the table"), "{}", reported(&off));
    world.engine.run_script("ALTER TABLE dbo.other DISABLE CHANGE_TRACKING").unwrap();
    world.engine.run_script("ALTER DATABASE CURRENT SET CHANGE_TRACKING = OFF").unwrap();
    let off = copy.run(&source).await.failure();
    assert!(reported(&off).contains("off for the database"), "{}", reported(&off));
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_of_a_change_decide_nothing() {
    let letters = [UpdatedKeys::One, UpdatedKeys::DeleteFirst, UpdatedKeys::InsertFirst];
    let ghosts = [InsertedAndDeleted::Deleted, InsertedAndDeleted::Nothing];
    for (updated, ghost) in letters.into_iter().flat_map(|letter| ghosts.map(|ghost| (letter, ghost))) {
        let world = tracked(true);
        let source = world.source(ReaderKind::MssqlTds);
        let mut copy = copy();
        copy.run(&source).await.rows();
        world.engine.set_switches(|switches| {
            switches.updated_keys = updated;
            switches.inserted_and_deleted = ghost;
        });
        world.engine.run_script(CHANGES).unwrap();
        world.engine.run_script("INSERT INTO dbo.t VALUES (8, NULL, 8); DELETE FROM dbo.t WHERE id = 8").unwrap();
        world.engine.run_script("UPDATE dbo.t SET b = 9 WHERE id = 4; DELETE FROM dbo.t WHERE id = 4").unwrap();
        let fed = feed(&source, copy.request()).await.unwrap();
        let ids = fed.texts("id");
        let mut distinct = ids.clone();
        distinct.dedup();
        assert_eq!(ids, distinct, "each key once: {updated:?}");
        copy.run(&source).await.rows();
        copy.agrees(&source).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_at_any_moment_loses_a_change_in_silence() {
    let events: [(&str, Event); 5] = [
        ("commit", |engine| {
            engine
                .run_script("INSERT INTO dbo.t VALUES (9, NULL, 9); UPDATE dbo.t SET b = 8 WHERE id = 4; DELETE FROM dbo.t WHERE id = 1")
                .map(drop)
                .unwrap();
        }),
        ("clean-up", |engine| engine.clean_change_tracking(None, 4).unwrap()),
        ("truncate", |engine| {
            engine.run_script("TRUNCATE TABLE dbo.t; INSERT INTO dbo.t VALUES (7, NULL, 7)").map(drop).unwrap();
        }),
        ("off and on", |engine| {
            let script = "ALTER TABLE dbo.t DISABLE CHANGE_TRACKING; INSERT INTO dbo.t VALUES (7, NULL, 7); \
                          ALTER TABLE dbo.t ENABLE CHANGE_TRACKING";
            engine.run_script(script).map(drop).unwrap();
        }),
        ("alter", |engine| {
            engine.run_script("ALTER TABLE dbo.t ADD c int NULL").map(drop).unwrap();
        }),
    ];
    let mut said = Vec::new();
    for is_snapshot_allowed in [true, false] {
        // To alter a table, and to end and begin its tracking, is no different without a snapshot from what comes before.
        let events = if is_snapshot_allowed { &events[..] } else { &events[..3] };
        for &(name, event) in events {
            let outcomes = at_every_moment(|| tracked(is_snapshot_allowed), &copy(), CHANGES, event).await;
            said.push(format!("{name}, snapshot {is_snapshot_allowed}: {}", outcomes.join("; ")));
        }
    }
    insta::assert_snapshot!(said.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn change_at_any_moment_is_read_once() {
    let event: Event = |engine| {
        engine
            .run_script("UPDATE dbo.t SET b = b + 1 WHERE id = 1; INSERT INTO dbo.t VALUES (9, NULL, 9)")
            .map(drop)
            .unwrap();
    };
    for n in 0.. {
        let world = tracked(true);
        let source = world.source(ReaderKind::MssqlTds);
        let mut copy = copy();
        copy.run(&source).await.rows();
        world.engine.run_script(CHANGES).unwrap();
        let moments = interrupt(&world, n, event);
        let mut read = Vec::new();
        for load in 0..3 {
            if load == 2 {
                world.engine.set_hook(None);
            }
            let planned = copy.request();
            let reach = source.connect(access(&["dbo.*"])).await.unwrap().changes(planned.clone()).await.unwrap();
            let request = ChangeRequest { upper: reach.upper().map(str::to_owned), ..planned };
            let fed = feed(&source, request).await.unwrap();
            let (ids, versions) = (fed.column("id"), fed.column("datakit:change-version"));
            read.extend(ids.into_iter().zip(versions));
            copy.position = fed.upper.clone();
        }
        if moments.load(Ordering::SeqCst) <= n {
            break;
        }
        let distinct: std::collections::BTreeSet<_> = read.iter().collect();
        assert_eq!(distinct.len(), read.len(), "moment {n}: {read:?}");
        assert!(distinct.iter().any(|(id, _)| id.as_deref() == Some("9")), "moment {n}: {read:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clean_up_does_no_harm_to_a_snapshot() {
    for (is_snapshot_allowed, code) in [(true, None), (false, Some("DK-SRC-413"))] {
        for place in [Place::Before, Place::Row(1), Place::After] {
            let world = tracked(is_snapshot_allowed);
            let source = world.source(ReaderKind::MssqlTds);
            let mut copy = copy();
            copy.run(&source).await.rows();
            world.engine.run_script(CHANGES).unwrap();
            let engine = world.engine.clone();
            world.engine.set_hook(Some(std::sync::Arc::new(move |moment| {
                if moment.statement.contains("CHANGETABLE") && moment.place == place {
                    engine.clean_change_tracking(None, 4).unwrap();
                }
            })));
            let outcome = copy.run(&source).await;
            world.engine.set_hook(None);
            match code {
                Some(code) => assert_eq!(outcome.failure().code(), code, "{place:?}"),
                None => {
                    outcome.rows();
                    copy.agrees(&source).await;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn truncate_under_the_rows_of_a_snapshot_is_an_error() {
    for truncate in [TruncateInSnapshot::Versioned, TruncateInSnapshot::Error] {
        let world = tracked(true);
        let source = world.source(ReaderKind::MssqlTds);
        let mut copy = copy();
        copy.run(&source).await.rows();
        world.engine.set_switches(|switches| switches.truncate_in_snapshot = truncate);
        world.engine.run_script(CHANGES).unwrap();
        world.engine.add_interruption(Interruption {
            statement: "CHANGETABLE".into(),
            place: Place::Before,
            script: "TRUNCATE TABLE dbo.t".into(),
            times: 1,
        });
        let failure = copy.run(&source).await.failure();
        assert_eq!(failure.code(), "DK-SRC-413", "{truncate:?}: {}", reported(&failure));
        assert!(copy.run(&source).await.gap().contains("began anew"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn error_after_most_of_the_rows_fails_the_run() {
    let world = tracked(true);
    let source = world.source_with(ReaderKind::MssqlTds, |config| config.pool.max_connections = 2);
    let mut copy = copy();
    copy.run(&source).await.rows();
    world.engine.run_script(CHANGES).unwrap();
    let altered = SqlError::new(3961, "Snapshot isolation transaction failed in database 'erp'").with_class(16);
    world.engine.add_fault(Fault { table: "dbo.t".into(), after_rows: 4, effect: Effect::Error(altered), times: 1 });
    let position = copy.position.clone();
    let mut outcome = copy.run(&source).await;
    // The fault may meet the row that begins the snapshot.
    if let crate::feeds::Outcome::Read(_) = outcome {
        outcome = copy.run(&source).await;
    }
    let failure = outcome.failure();
    assert_eq!((failure.code(), failure.retry()), ("DK-SRC-414", datakit_model::Retry::AfterBackoff));
    assert_eq!(copy.position, position);
    for _ in 0..3 {
        copy.run(&source).await.rows();
    }
    copy.agrees(&source).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn setting_that_is_turned_off_is_asked_for_each_time() {
    let world = tracked(true);
    let source = world.source(ReaderKind::MssqlTds);
    let mut copy = copy();
    copy.run(&source).await.rows();
    world.engine.run_script(CHANGES).unwrap();
    // READ_COMMITTED_SNAPSHOT stays on, and does not allow SNAPSHOT.
    world.engine.run_script(NO_SNAPSHOT).unwrap();
    copy.run(&source).await.rows();
    copy.agrees(&source).await;
    world.engine.run_script("ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION ON; UPDATE dbo.t SET b = 0").unwrap();
    world.engine.add_interruption(Interruption {
        statement: "BEGIN TRANSACTION".into(),
        place: Place::Before,
        script: NO_SNAPSHOT.into(),
        times: 1,
    });
    let failure = copy.run(&source).await.failure();
    assert_eq!(failure.code(), "DK-SRC-037");
    assert!(reported(&failure).contains("ALLOW_SNAPSHOT_ISOLATION"), "{}", reported(&failure));
}

#[tokio::test(flavor = "multi_thread")]
async fn transaction_that_is_left_early_is_of_no_connection_of_the_pool() {
    let world = tracked(true);
    let source = world.source_with(ReaderKind::MssqlTds, |config| config.pool.max_connections = 1);
    let mut copy = copy();
    copy.run(&source).await.rows();
    for round in 0..3 {
        world.engine.run_script("UPDATE dbo.t SET b = b + 1").unwrap();
        let connection = source.connect(access(&["dbo.*"])).await.unwrap();
        let mut feed = connection.changes(copy.request()).await.unwrap();
        let reader = feed.rows().await.unwrap();
        if round == 1 {
            drop(feed);
        }
        drop(reader);
    }
    assert_eq!(copy.run(&source).await.rows(), 3);
    copy.agrees(&source).await;
    let records = world.engine.take_records();
    assert!(records.iter().any(|record| record.text.contains("COMMIT TRANSACTION")));
}

#[tokio::test(flavor = "multi_thread")]
async fn table_without_a_key_or_with_the_key_left_out_is_refused() {
    let world = tracked(true);
    world.engine.run_script("CREATE TABLE dbo.heap (id int NOT NULL, a int NULL)").unwrap();
    let source = world.source(ReaderKind::MssqlTds);
    let without = ChangeRequest { columns: Some(vec!["a".into()]), ..copy().request() };
    let mut verdicts = vec![feed(&source, without).await.err().unwrap()];
    let heap = ChangeRequest { table: datakit_model::TableId::new("dbo", "heap"), columns: None, ..copy().request() };
    verdicts.push(feed(&source, heap).await.err().unwrap());
    let gone = ChangeRequest { table: datakit_model::TableId::new("dbo", "gone"), columns: None, ..copy().request() };
    verdicts.push(feed(&source, gone).await.err().unwrap());
    let garbage = ChangeRequest { position: Some("7".into()), ..copy().request() };
    verdicts.push(feed(&source, garbage).await.err().unwrap());
    insta::assert_snapshot!(verdicts.iter().map(reported).collect::<Vec<_>>().join("\n"));
    let mut of_another = copy();
    of_another.position = Some("w1:int:id=5".into());
    assert!(of_another.run(&source).await.gap().contains("of another strategy"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_asked_for_before_their_rows() {
    let world = tracked(true);
    let source = world.source(ReaderKind::MssqlTds);
    let mut copy = copy();
    copy.run(&source).await.rows();
    world.engine.run_script(CHANGES).unwrap();
    world.engine.take_records();
    copy.run(&source).await.rows();
    let texts: Vec<String> = world
        .engine
        .take_records()
        .into_iter()
        .filter(|record| record.text.contains("dbo") || record.text.contains("CHANGE_TRACKING"))
        .map(|record| record.text)
        .collect();
    insta::assert_snapshot!(texts.join("\n---\n"));
}
