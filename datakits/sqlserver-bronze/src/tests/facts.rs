//! What the catalog says of columns besides their types.

use super::*;

/// The server of one table, with what its `sys.columns` says besides of each column.
pub(super) fn server_of_facts(columns: &[CatalogColumn<'_>], facts: &[(&'static str, ArrayRef)]) -> FakeQueries {
    let mut server = server(&[table("t", columns, &[1], 1_000)]);
    let names: Vec<&str> = facts.iter().map(|(name, _)| *name).collect();
    server.answers.remove(catalog::KNOWN_FACTS);
    server.answer(catalog::KNOWN_FACTS, vec![("column_name", texts(&names))]);
    let plain = server.answers.remove(&catalog::columns(&[], "")).unwrap().remove(0);
    let known: Vec<&str> = catalog::FACTS.into_iter().filter(|fact| names.contains(fact)).collect();
    let mut answer = batch_of(&plain);
    answer.extend(facts.iter().map(|(name, values)| (*name, Arc::clone(values))));
    server.answer(catalog::columns(&known, ""), answer);
    server
}

/// The columns of the catalog's answer, to be told again with more.
fn batch_of(rows: &Rows) -> Vec<(&'static str, ArrayRef)> {
    let integers = |name: &str| -> ArrayRef {
        let view = rows.column(name).unwrap();
        Arc::new((0..rows.len()).map(|row| view.integer(row).unwrap()).collect::<Int64Array>())
    };
    let names = |name: &str| -> ArrayRef {
        let view = rows.column(name).unwrap();
        Arc::new((0..rows.len()).map(|row| view.text(row).unwrap().map(str::to_owned)).collect::<StringArray>())
    };
    let nullable = rows.column("is_nullable").unwrap();
    let nullable = (0..rows.len()).map(|row| nullable.boolean(row).unwrap()).collect::<BooleanArray>();
    vec![
        ("object_id", integers("object_id")),
        ("column_id", integers("column_id")),
        ("column_name", names("column_name")),
        ("declared_type", names("declared_type")),
        ("base_type", names("base_type")),
        ("max_length", integers("max_length")),
        ("numeric_precision", integers("numeric_precision")),
        ("numeric_scale", integers("numeric_scale")),
        ("is_nullable", Arc::new(nullable)),
    ]
}

pub(super) fn flags(values: &[bool]) -> ArrayRef {
    Arc::new(BooleanArray::from(values.to_vec()))
}

fn kinds(values: &[Option<i32>]) -> ArrayRef {
    Arc::new(Int32Array::from(values.to_vec()))
}

fn read_names(plan: &TablePlan) -> Vec<String> {
    states(plan).remove(0).columns.into_iter().map(|column| column.name).collect()
}

#[test]
fn internal_columns_of_graphs_are_left_out() {
    let text = |name| (name, "nvarchar", Some("nvarchar"), 2000, 0, 0, true);
    let number = |name| (name, "bigint", Some("bigint"), 8, 19, 0, false);
    let columns = [
        INT,
        number("graph_id_A"),
        text("$edge_id_A"),
        number("from_id_A"),
        text("$from_id_A"),
        number("to_id_A"),
        text("$to_id_A"),
    ];
    let kinds = kinds(&[None, Some(1), Some(2), Some(4), Some(5), Some(7), Some(8)]);
    let server = server_of_facts(&columns, &[("graph_type", kinds)]);
    let plan = plan(&server, &Settings::default(), &[id("t")]).unwrap().remove(0);
    assert_eq!(read_names(&plan), ["id", "$edge_id_A", "$from_id_A", "$to_id_A"]);
    let listed = discover(&server, &Settings::default()).unwrap().remove(0);
    assert_eq!(listed.columns.len(), 4);
}

#[test]
fn column_sets_are_left_out_and_hidden_columns_are_read() {
    let xml = ("all_sparse", "xml", Some("xml"), -1, 0, 0, true);
    let period = ("valid_from", "datetime2", Some("datetime2"), 8, 27, 6, false);
    let server = server_of_facts(
        &[INT, NAME, xml, period],
        &[("is_column_set", flags(&[false, false, true, false])), ("is_hidden", flags(&[false, false, false, true]))],
    );
    let plan = plan(&server, &Settings::default(), &[id("t")]).unwrap().remove(0);
    assert_eq!(read_names(&plan), ["id", "Name", "valid_from"]);
    let listed = discover(&server, &Settings::default()).unwrap().remove(0);
    assert!(listed.columns[2].metadata.contains(&("datakit.hidden".into(), "true".into())));
}

#[test]
fn masked_columns_are_marked_and_no_ranges_are_cut_from_them() {
    let server = server_of_facts(&[INT, NAME], &[("is_masked", flags(&[true, true]))]);
    let listed = discover(&server, &Settings::default()).unwrap().remove(0);
    for field in &listed.columns {
        let altered = field.metadata.iter().find(|(key, _)| key == "datakit.altered");
        assert!(altered.is_some_and(|(_, what)| what.contains("dynamic data masking")), "{field:?}");
    }
    let plan = plan(&server, &settings(CUT), &[id("t")]).unwrap().remove(0);
    assert_eq!(states(&plan)[0].part, None);
    assert_eq!(server.asked_of_tables(), Vec::<String>::new());
}

#[test]
fn an_encrypted_column_is_an_error_that_says_so() {
    let secret = ("ssn", "nvarchar", Some("nvarchar"), 22, 0, 0, true);
    let server = server_of_facts(&[INT, secret], &[("encryption_type", kinds(&[None, Some(2)]))]);
    let error = plan(&server, &Settings::default(), &[id("t")]).unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Data, errors::ENCRYPTED));
    assert!(error.message.contains("`ssn` of dbo.t is encrypted (Always Encrypted)"), "{}", error.message);
    let listed = discover(&server, &Settings::default()).unwrap().remove(0);
    assert_eq!(listed.columns.len(), 1);
    let settings = settings(r#"{"columns": {"dbo.t": {"exclude": ["ssn"]}}}"#);
    assert_eq!(read_names(&plan_one(&server, &settings)), ["id"]);
}
