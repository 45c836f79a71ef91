//! Loads by a watermark, one after another: no row is lost at the boundary of two, and none is read twice.

use arrow::array::AsArray as _;
use arrow::datatypes::Int32Type;
use datakit_model::TableId;
use datakit_model::changes::{ChangeRequest, Strategy};
use datakit_model::source::Source as _;

use crate::common::{READERS, access};
use crate::world::World;

const NONE: [i32; 0] = [];

/// Loads of the table `dbo.t` by its column `at`.
struct Loads<'w> {
    world: &'w World,
    overlap_ms: u64,
    position: Option<String>,
}

impl Loads<'_> {
    async fn load(&mut self) -> Vec<i32> {
        let strategy = Strategy::Watermark { column: "at".into(), lag: 0, overlap: self.overlap_ms };
        let position = self.position.clone();
        let request = ChangeRequest { table: TableId::new("dbo", "t"), strategy, columns: None, position, upper: None };
        let connection = self.world.source(READERS[0]).connect(access(&["dbo.*"])).await.unwrap();
        let mut feed = connection.changes(request).await.unwrap();
        let mut reader = feed.rows().await.unwrap();
        let mut ids = Vec::new();
        while let Some(batch) = reader.next().await.unwrap() {
            ids.extend_from_slice(batch.batch().column(0).as_primitive::<Int32Type>().values());
        }
        ids.sort_unstable();
        self.position = feed.upper().map(str::to_owned);
        ids
    }
}

/// A table whose column `at` is of this type, with these values.
fn table(sql_type: &str, values: &[&str]) -> World {
    let world = World::of(&format!("CREATE TABLE dbo.t (id int NOT NULL, note nvarchar(10) NULL, at {sql_type} NULL)"));
    values.iter().enumerate().for_each(|(id, value)| add(&world, id, &format!("'{value}'")));
    world
}

fn add(world: &World, id: usize, value: &str) {
    world.engine.run_script(&format!("INSERT INTO dbo.t VALUES ({id}, N'a', {value})")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn last_digit_of_a_datetime2_is_neither_lost_nor_read_again() {
    let world = table("datetime2(7)", &["2026-01-01T00:00:00.1234561", "2026-01-01T00:00:00.1234567"]);
    let mut loads = Loads { world: &world, overlap_ms: 0, position: None };
    assert_eq!(loads.load().await, [0, 1]);
    add(&world, 2, "'2026-01-01T00:00:00.1234569'");
    assert_eq!(loads.load().await, [2]);
    assert_eq!(loads.load().await, NONE);
}

#[tokio::test(flavor = "multi_thread")]
async fn thirds_of_a_datetime_are_compared_in_its_own_type() {
    let world = table("datetime", &["2026-01-01T00:00:00.833"]);
    for overlap_ms in [0, 1, 7] {
        let mut loads = Loads { world: &world, overlap_ms, position: None };
        loads.load().await;
        assert_eq!(loads.load().await, NONE, "{overlap_ms}");
    }
    let mut loads = Loads { world: &world, overlap_ms: 4, position: None };
    assert_eq!(loads.load().await, [0]);
    add(&world, 1, "'2026-01-01T00:00:00.837'");
    assert_eq!(loads.load().await, [1]);
    add(&world, 2, "'2026-01-01T00:00:00.833'");
    assert_eq!(loads.load().await, [2], "of the overlap");
    assert_eq!(loads.load().await, NONE);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_that_comes_late_is_read_within_the_overlap() {
    let world = table("datetimeoffset(3)", &["2026-01-01T00:00:10+00:00", "2026-01-01T02:00:20+02:00"]);
    let mut loads = Loads { world: &world, overlap_ms: 5_000, position: None };
    assert_eq!(loads.load().await, [0, 1]);
    add(&world, 2, "'2026-01-01T00:00:15+00:00'");
    add(&world, 3, "'2026-01-01T00:00:14.999+00:00'");
    add(&world, 4, "'2026-01-01T01:00:20+01:00'");
    assert_eq!(loads.load().await, [2, 4]);
    assert_eq!(loads.load().await, NONE);
}

#[tokio::test(flavor = "multi_thread")]
async fn value_of_the_future_does_not_hide_rows_of_now() {
    for sql_type in ["datetime2(7)", "datetime", "smalldatetime", "datetimeoffset(0)", "date"] {
        let world = table(sql_type, &["2079-01-01"]);
        let mut loads = Loads { world: &world, overlap_ms: 0, position: None };
        assert_eq!(loads.load().await, [0], "{sql_type}");
        add(&world, 1, "'2026-01-01'");
        assert_eq!(loads.load().await, [1], "{sql_type}");
        add(&world, 2, "'2078-01-01'");
        assert_eq!(loads.load().await, [2], "{sql_type}");
        assert_eq!(loads.load().await, NONE, "{sql_type}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn boundary_of_numbers_and_row_versions_is_read_once() {
    let world = table("decimal(9,2)", &[]);
    let mut loads = Loads { world: &world, overlap_ms: 1, position: None };
    assert_eq!(loads.load().await, NONE);
    add(&world, 1, "7.50");
    assert_eq!(loads.load().await, [1]);
    add(&world, 2, "6.50");
    add(&world, 3, "6.49");
    add(&world, 4, "7.50");
    assert_eq!(loads.load().await, [2, 4], "the overlap is one whole unit");
    assert_eq!(loads.load().await, NONE);
    let world = World::of(
        "CREATE TABLE dbo.t (id int NOT NULL, at rowversion NOT NULL); INSERT INTO dbo.t (id) VALUES (1), (2)",
    );
    let mut loads = Loads { world: &world, overlap_ms: 1, position: None };
    assert_eq!(loads.load().await, [1, 2]);
    assert_eq!(loads.load().await, NONE);
    world.engine.run_script("UPDATE dbo.t SET id = 3 WHERE id = 1").unwrap();
    assert_eq!(loads.load().await, [3]);
    assert_eq!(loads.load().await, NONE);
}
