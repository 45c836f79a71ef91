//! Rows with a bad value: they count as read.

use datakit_model::rejects::TooManyRejected;
use datakit_model::{Failure, Fault, Kind, Retry};

use super::*;

/// An error that no test meets.
#[derive(Debug)]
pub(super) struct Fails;

impl From<TooManyRejected> for Fails {
    fn from(_: TooManyRejected) -> Self {
        Self
    }
}

impl From<Fails> for Failure {
    fn from(_: Fails) -> Self {
        Failure::new("DK-TST-001", Kind::Internal, Retry::Never, "a reader of a test failed")
    }
}

impl Fault for Fails {
    fn query_timeout(_: f64) -> Self {
        Self
    }

    fn pool_timeout(_: String, _: f64, _: usize) -> Self {
        Self
    }

    fn internal(_: String) -> Self {
        Self
    }
}

#[tokio::test]
async fn rejected_row_counts_as_read_and_is_rejected_once() {
    let bad = |id, at| Row { id, note: BAD, at: Some(at) };
    let table = Memory::of([row(1, 10), bad(2, 10), row(3, 20), bad(4, 20)]);
    let mut loads = Loads::of(&table, 0, 5);
    assert_eq!(loads.ids().await, [1, 3]);
    assert_eq!(loads.rejected, ["{\"id\":2}", "{\"id\":4}"]);
    assert_eq!(loads.ids().await, NONE);
    assert!(loads.rejected.is_empty(), "the row of the boundary is known");
    table.now().rows.push(bad(5, 18));
    assert_eq!(loads.ids().await, NONE);
    assert_eq!(loads.rejected, ["{\"id\":5}"]);
    table.now().rows[3].note = 7;
    assert_eq!(loads.load().await, [(4, 7)], "a row that was repaired is read");
    assert!(loads.rejected.is_empty());
}

#[tokio::test]
async fn rejected_rows_among_very_many_stay_known() {
    let most = i64::try_from(MAX_REMEMBERED_ROWS).unwrap();
    let table = Memory::of((0..=most).map(|id| row(id, 20)));
    table.now().rows.push(Row { id: -1, note: BAD, at: Some(20) });
    let mut loads = Loads::of(&table, 0, 0);
    loads.load().await;
    assert_eq!(loads.rejected.len(), 1);
    table.add(-2, 30);
    assert_eq!(loads.ids().await, [-2]);
    assert!(loads.rejected.is_empty());
}
