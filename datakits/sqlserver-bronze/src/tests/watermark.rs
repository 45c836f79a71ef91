//! Tables that are loaded by watermark.

use datakit_sdk::WriteMode;
use datakit_sdk::changes::{ChangeRequest, Reach, Strategy, Validity};
use datakit_sdk::relational::changes::ChangesState;

use super::facts::{flags, server_of_facts};
use super::*;

const MODIFIED: CatalogColumn<'_> = ("Modified_At", "datetime2", Some("datetime2"), 8, 23, 3, false);
const BY_WATERMARK: &str =
    r#"{"watermark": {"dbo.*": {"column": "id"}, "dbo.t": {"column": "modified_at", "lag": 60000, "overlap": 5}}}"#;

fn changes(position: Option<&str>, validity: Validity, upper: Option<&str>) -> FakeChanges {
    let of_table = |text: &str| HashMap::from([("dbo.t".to_owned(), text.to_owned())]);
    FakeChanges {
        positions: position.map(of_table).unwrap_or_default(),
        reaches: HashMap::from([("dbo.t".to_owned(), Reach { validity, upper: upper.map(str::to_owned) })]),
        ..FakeChanges::default()
    }
}

fn planned(columns: &[CatalogColumn<'_>], changes: &FakeChanges, json: &str) -> Result<TablePlan, Error> {
    let server = server(&[table("t", columns, &[1], 2_000_000)]);
    let plans = relational::plan::<SqlServer>(&server, changes, &settings(json), &[id("t")]);
    assert_eq!(server.asked_of_tables(), Vec::<String>::new(), "the connector asks");
    plans.map(|mut plans| plans.remove(0))
}

fn state(plan: &TablePlan) -> ChangesState {
    match testing::states(plan).unwrap().remove(0) {
        planning::State::<ReadAs, KeyRange>::Changes(state) => state,
        planning::State::Rows(rows) => panic!("{rows:?}"),
    }
}

#[test]
fn first_load_reads_the_whole_table_up_to_a_bound_and_leaves_the_position_to_the_rows() {
    let changes = changes(None, Validity::Whole, Some("5"));
    let plan = planned(&[INT, NAME, MODIFIED], &changes, BY_WATERMARK).unwrap();
    let asked = ChangeRequest {
        table: id("t"),
        strategy: Strategy::Watermark { column: "Modified_At".into(), lag: 60_000, overlap: 5 },
        columns: vec!["id".into(), "Name".into(), "Modified_At".into()],
        position: None,
        upper: None,
    };
    assert_eq!(changes.asked.borrow().as_slice(), std::slice::from_ref(&asked));
    assert_eq!(state(&plan).request(&id("t")), ChangeRequest { upper: Some("5".into()), ..asked });
    assert_eq!(plan.partitions.len(), 1, "whatever its size");
    assert_eq!(plan.partitions[0].estimated_rows, Some(2_000_000));
    assert_eq!(plan.watermark, None, "the position says which rows were read");
    let texts = [&plan.strategy, &plan.load_id_column, &plan.operation_column, &plan.version_column];
    let expected = ["watermark Modified_At", "_bronze_batch_id", "_bronze_operation", "_bronze_change_version"];
    assert_eq!(texts.map(|text| text.as_deref().unwrap()), expected);
    assert_eq!((plan.write, plan.keys.as_slice()), (Some(WriteMode::Append), &["id".to_owned()][..]));
}

#[test]
fn next_load_goes_on_from_the_committed_position() {
    let changes = changes(Some("5"), Validity::Onward, Some("5"));
    let plan = planned(&[INT, MODIFIED], &changes, BY_WATERMARK).unwrap();
    let state = state(&plan);
    assert_eq!((state.position.as_deref(), state.upper.as_deref()), (Some("5"), Some("5")));
    assert_eq!((plan.watermark, plan.partitions[0].estimated_rows), (None, None));
}

#[test]
fn table_without_a_row_leaves_the_bound_to_the_extraction() {
    let plan = planned(&[INT, MODIFIED], &changes(None, Validity::Whole, None), BY_WATERMARK).unwrap();
    assert_eq!((plan.watermark.clone(), state(&plan).upper), (None, None));
}

#[test]
fn lost_changes_fail_the_table_and_name_the_ways_on() {
    let gap = Validity::Gap("the table was truncated".into());
    let error = planned(&[INT, MODIFIED], &changes(Some("5"), gap, None), BY_WATERMARK).unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Source, errors::CODES.lost_changes));
    for part in ["dbo.t", "the table was truncated", "--full-refresh", "strategy"] {
        assert!(error.message.contains(part), "{}", error.message);
    }
}

#[test]
fn rules_that_do_not_fit_the_table_are_errors() {
    let none = FakeChanges::default();
    let error = planned(&[INT], &none, BY_WATERMARK).unwrap_err();
    assert_eq!(error.code, errors::CODES.unknown_column);
    assert!(error.message.contains("`modified_at`"), "{}", error.message);
    let exact = ("exact", "datetime2", Some("datetime2"), 8, 27, 7, false);
    let json = r#"{"datetime2_as_text": true, "watermark": {"dbo.t": {"column": "id"}}}"#;
    let error = planned(&[INT, exact], &none, json).unwrap_err();
    assert_eq!(error.code, errors::CODES.not_by_changes);
    assert!(error.message.contains("`exact`"), "{}", error.message);
    let server = server_of_facts(&[INT, NAME], &[("is_masked", flags(&[true, false]))]);
    let masked = settings(r#"{"watermark": {"dbo.t": {"column": "id"}}}"#);
    let error = relational::plan::<SqlServer>(&server, &none, &masked, &[id("t")]).unwrap_err();
    assert_eq!(error.code, errors::CODES.not_by_changes);
    assert!(error.message.contains("`id`") && error.message.contains("UNMASK"), "{}", error.message);
    assert!(none.asked.borrow().is_empty());
}

#[test]
fn tables_without_a_rule_are_read_by_queries() {
    let json = r#"{"partition_row_threshold": 3000000, "watermark": {"sales.*": {"column": "id"}}}"#;
    let plan = planned(&[INT], &FakeChanges::default(), json).unwrap();
    assert_eq!((plan.strategy.as_deref(), plan.write, plan.watermark), (Some("full"), None, None));
    assert_eq!(plan.keys, ["id"]);
    assert_eq!((plan.operation_column, plan.version_column), (None, None));
}
