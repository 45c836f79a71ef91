//! Tables that are loaded by watermark.

use datakit_sdk::changes::{Reach, Validity};

use super::*;

#[test]
fn case_counts_in_rules_of_watermarks() {
    let server = server(&[table("t", &[ID, NAME], "1", 1, 1), table("T", &[ID], "1", 1, 1)]);
    let reach = Reach { validity: Validity::Whole, upper: Some("7".into()) };
    let changes = FakeChanges { reaches: HashMap::from([("public.t".to_owned(), reach)]), ..FakeChanges::default() };
    let settings = settings(r#"{"watermark": {"public.t": {"column": "id"}}}"#);
    let plans = relational::plan::<Postgres>(&server, &changes, &settings, &[id("t"), id("T")]).unwrap();
    assert_eq!(plans[0].strategy.as_deref(), Some("watermark id"));
    assert_eq!(plans[1].strategy.as_deref(), Some("full"));
    assert_eq!(changes.asked.borrow()[0].columns, ["id", "Name"]);
}

#[test]
fn a_column_that_a_query_converts_is_not_read_by_watermark() {
    let lead = ("lead", 1186, "interval", "b", "T", -1, true);
    let server = server(&[table("t", &[ID, lead], "1", 1, 1)]);
    let settings = settings(r#"{"watermark": {"public.t": {"column": "id"}}}"#);
    let error = relational::plan::<Postgres>(&server, &FakeChanges::default(), &settings, &[id("t")]).unwrap_err();
    assert_eq!(error.code, errors::CODES.not_by_changes);
    assert!(error.message.contains("`lead`") && error.message.contains("exclude"), "{}", error.message);
}
