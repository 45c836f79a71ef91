//! Loads by a watermark, one after another: no row is lost at the boundary of two, and none is read twice.

use arrow::array::AsArray as _;
use arrow::datatypes::Int32Type;
use datakit_model::TableId;
use datakit_model::changes::{ChangeFeed, ChangeRequest, Strategy};
use datakit_model::source::{Reader, Source as _};

use crate::world::{World, access, admin};

const NONE: [i32; 0] = [];
const TABLE: &str = "CREATE SCHEMA s; CREATE TABLE s.t (id int PRIMARY KEY, note text, at timestamptz DEFAULT now())";

/// Loads of the table `s.t`, each in a run of its own.
struct Loads<'w> {
    world: &'w World,
    overlap_ms: u64,
    position: Option<String>,
    runs: u32,
}

impl<'w> Loads<'w> {
    fn of(world: &'w World, overlap_ms: u64) -> Self {
        Self { world, overlap_ms, position: None, runs: 0 }
    }

    async fn open(&mut self) -> Box<dyn ChangeFeed> {
        self.runs += 1;
        let strategy = Strategy::Watermark { column: "at".into(), lag: 0, overlap: self.overlap_ms };
        let position = self.position.clone();
        let request = ChangeRequest { table: TableId::new("s", "t"), strategy, columns: None, position, upper: None };
        let connection = self.world.source().connect(access(&self.runs.to_string())).await.unwrap();
        connection.changes(request).await.unwrap()
    }

    /// The ids of all rows of a feed.
    async fn read(&mut self, mut feed: Box<dyn ChangeFeed>) -> Vec<i32> {
        let mut reader = feed.rows().await.unwrap();
        let mut ids = Vec::new();
        while let Some(read) = batch(reader.as_mut()).await {
            ids.extend(read);
        }
        ids.sort_unstable();
        self.position = feed.upper().map(str::to_owned);
        ids
    }

    async fn load(&mut self) -> Vec<i32> {
        let feed = self.open().await;
        self.read(feed).await
    }
}

async fn batch(reader: &mut dyn Reader) -> Option<Vec<i32>> {
    let batch = reader.next().await.unwrap()?;
    Some(batch.batch().column(0).as_primitive::<Int32Type>().values().to_vec())
}

#[tokio::test]
async fn row_of_a_transaction_that_commits_late_is_read_within_the_overlap() {
    let world = World::of(TABLE).await;
    let mut loads = Loads::of(&world, 60_000);
    let late = admin(&world.server).await;
    late.batch_execute("BEGIN; INSERT INTO s.t (id) VALUES (4)").await.unwrap();
    world.admin.batch_execute("INSERT INTO s.t (id) VALUES (5)").await.unwrap();
    assert_eq!(loads.load().await, [5]);
    late.batch_execute("COMMIT").await.unwrap();
    assert_eq!(loads.load().await, [4], "its value is that of its transaction's start");
    assert_eq!(loads.load().await, NONE);
}

#[tokio::test]
async fn rows_that_are_committed_around_the_snapshot_are_read_by_the_next_load() {
    let world = World::of(&format!("{TABLE}; INSERT INTO s.t VALUES (1, '', '2026-01-01 00:00:10+00')")).await;
    let around = |id: i32| {
        let values = ["09", "10", "11"].iter().enumerate();
        let values: Vec<String> =
            values.map(|(n, second)| format!("({id}{n}, '', '2026-01-01 00:00:{second}+00')")).collect();
        format!("INSERT INTO s.t VALUES {}", values.join(", "))
    };
    let mut loads = Loads::of(&world, 5_000);
    let bounded = loads.open().await;
    world.admin.batch_execute(&around(1)).await.unwrap();
    assert_eq!(loads.read(bounded).await, [1]);
    let bounded = loads.open().await;
    world.admin.batch_execute(&around(2)).await.unwrap();
    assert_eq!(loads.read(bounded).await, [10, 11, 12]);
    world.admin.batch_execute(&around(3)).await.unwrap();
    assert_eq!(loads.load().await, [20, 21, 22, 30, 31, 32]);
    assert_eq!(loads.load().await, NONE);
}

#[tokio::test]
async fn load_that_breaks_off_within_rows_of_one_value_loses_none_of_them() {
    let world = World::of(&format!("{TABLE}; INSERT INTO s.t (id) SELECT generate_series(1, 20000)")).await;
    let mut loads = Loads::of(&world, 0);
    let mut broken = loads.open().await;
    let mut reader = broken.rows().await.unwrap();
    assert!(batch(reader.as_mut()).await.unwrap().len() < 20_000);
    drop(reader);
    drop(broken);
    assert_eq!(loads.load().await, (1..=20_000).collect::<Vec<_>>());
    assert_eq!(loads.load().await, NONE);
    world.admin.batch_execute("INSERT INTO s.t SELECT 20001, '', at FROM s.t WHERE id = 1").await.unwrap();
    assert_eq!(loads.load().await, [20_001], "of the same value as all others");
}

#[tokio::test]
async fn more_rows_of_one_value_than_are_remembered_are_not_read_again_without_a_change() {
    let world = World::of(&format!("{TABLE}; INSERT INTO s.t (id) SELECT generate_series(1, 20001)")).await;
    let mut loads = Loads::of(&world, 0);
    assert_eq!(loads.load().await.len(), 20_001);
    assert_eq!(loads.load().await, NONE);
    world.admin.batch_execute("INSERT INTO s.t (id) VALUES (20002)").await.unwrap();
    assert_eq!(loads.load().await, [20_002]);
    assert_eq!(loads.load().await, NONE);
}

#[tokio::test]
async fn value_of_the_future_does_not_hide_rows_of_now() {
    let ahead = "INSERT INTO s.t VALUES (1, '', now() + interval '30 days'), (2, '', now())";
    let world = World::of(&format!("{TABLE}; {ahead}")).await;
    let mut loads = Loads::of(&world, 0);
    assert_eq!(loads.load().await, [1, 2]);
    world.admin.batch_execute("INSERT INTO s.t (id) VALUES (3)").await.unwrap();
    assert_eq!(loads.load().await, [3]);
    world.admin.batch_execute("UPDATE s.t SET note = 'changed', at = now() WHERE id = 1").await.unwrap();
    assert_eq!(loads.load().await, [1], "the row with the wrong value is mended");
    assert_eq!(loads.load().await, NONE);
}

#[tokio::test]
async fn update_that_leaves_the_value_is_read_at_the_boundary() {
    let world =
        World::of(&format!("{TABLE}; INSERT INTO s.t VALUES (1, 'a', '2026-01-01'), (2, 'b', '2026-01-02')")).await;
    let mut loads = Loads::of(&world, 0);
    assert_eq!(loads.load().await, [1, 2]);
    world.admin.batch_execute("UPDATE s.t SET note = note || '!'").await.unwrap();
    assert_eq!(loads.load().await, [2], "row 1 lies below the overlap");
    assert_eq!(loads.load().await, NONE);
}
