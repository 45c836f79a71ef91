//! Tables that are loaded by a strategy of their own.

use datakit_sdk::changes::{Offer, Reach, Strategy, Validity};
use datakit_sdk::relational::changes::ChangesState;

use super::*;

type PlannedState = planning::State<ReadAs, KeyRange>;

fn changes(position: Option<&str>, validity: Validity, upper: &str) -> FakeChanges {
    let offer =
        |strategy: &str, refused: Option<&str>| Offer { strategy: strategy.into(), refused: refused.map(Into::into) };
    let of_table = |text: &str| HashMap::from([("dbo.t".to_owned(), text.to_owned())]);
    let offers = vec![offer("cdc", Some("it is off for the database")), offer("change-tracking", None)];
    FakeChanges {
        positions: position.map(of_table).unwrap_or_default(),
        reaches: HashMap::from([("dbo.t".to_owned(), Reach { validity, upper: Some(upper.to_owned()) })]),
        offers: HashMap::from([("dbo.t".to_owned(), offers)]),
        ..FakeChanges::default()
    }
}

/// A table of 40 rows and keys from 1 to 40, in parts of 20.
fn planned(changes: &FakeChanges, strategy: &str) -> Result<TablePlan, Error> {
    let json =
        format!(r#"{{"strategy": {{"dbo.*": "{strategy}"}}, "partition_row_threshold": 10, "partition_rows": 20}}"#);
    let mut server = server(&[table("t", &[INT, NAME], &[1], 40)]);
    server.answer(
        "SELECT MIN([id]) AS [low], MAX([id]) AS [high] FROM [dbo].[t]",
        vec![("low", ints(&[1])), ("high", ints(&[40]))],
    );
    let plans = relational::plan::<SqlServer>(&server, changes, &settings(&json), &[id("t")]);
    plans.map(|mut plans| plans.remove(0))
}

#[test]
fn auto_takes_the_best_offer_and_cuts_its_first_copy() {
    let changes = changes(None, Validity::Whole, "change-tracking:7");
    let plan = planned(&changes, "auto").unwrap();
    assert_eq!(plan.strategy.as_deref(), Some("change-tracking"));
    assert_eq!(plan.why.as_deref(), Some("cdc: it is off for the database"));
    assert_eq!(plan.watermark.as_deref(), Some("change-tracking:7"));
    let states: Vec<PlannedState> = testing::states(&plan).unwrap();
    assert_eq!(states.len(), 2);
    for state in states {
        let planning::State::Rows(rows) = state else { panic!("{state:?}") };
        let copy = ChangesState {
            columns: vec!["id".into(), "Name".into()],
            strategy: Strategy::ChangeTracking,
            position: None,
            upper: Some("change-tracking:7".into()),
        };
        assert_eq!((rows.copy, rows.part.is_some()), (Some(copy), true));
    }
}

#[test]
fn changes_after_the_first_copy_are_one_partition() {
    let changes = changes(Some("change-tracking:7"), Validity::Onward, "change-tracking:9");
    let plan = planned(&changes, "auto").unwrap();
    assert_eq!((plan.why.as_deref(), plan.partitions.len()), (Some("as the last load"), 1));
    assert_eq!(plan.watermark, None, "the snapshot that reads the rows says how far they reach");
    let named = [&plan.operation_column, &plan.version_column, &plan.commit_time_column, &plan.missing_columns_column];
    let expected = ["_bronze_operation", "_bronze_change_version", "_bronze_commit_time", "_bronze_missing_columns"];
    assert_eq!(named.map(|name| name.as_deref().unwrap()), expected);
}

#[test]
fn load_by_another_strategy_than_the_last_is_refused_with_the_ways_on() {
    let changes = changes(Some("cdc:1"), Validity::Onward, "change-tracking:9");
    for strategy in ["auto", "change-tracking"] {
        let error = planned(&changes, strategy).unwrap_err();
        assert_eq!(error.code, errors::CODES.lost_changes);
        assert!(error.message.contains("`cdc`") && error.message.contains("--full-refresh"), "{}", error.message);
    }
    changes.looked_up.take();
    let plan = planned(&changes, "full").unwrap();
    assert_eq!(changes.looked_up.take(), Vec::<String>::new(), "the last load does not matter");
    assert_eq!((plan.strategy.as_deref(), plan.watermark), (Some("full"), None));
}
