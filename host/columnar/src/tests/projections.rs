//! Projections: what is passed through, made, filtered and refused.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datakit_model::{Diagnostic, GuestLimits, HashKey, HashKeys, Secret};

use super::{batch, sample};
use crate::ColumnExpression::{Input, KeyedHash, RowHash, Sql, Text, TimestampMicros, Uuid};
use crate::{ColumnExpression, ColumnarError, Projection, schema_to_wire};

fn compile(columns: &[(&str, ColumnExpression)], filter: Option<&str>) -> Result<Projection, ColumnarError> {
    compile_for(&sample().schema(), columns, filter, &GuestLimits::default())
}

fn compile_for(
    schema: &SchemaRef,
    columns: &[(&str, ColumnExpression)],
    filter: Option<&str>,
    limits: &GuestLimits,
) -> Result<Projection, ColumnarError> {
    let columns: Vec<_> = columns.iter().map(|(name, column)| ((*name).to_owned(), column.clone())).collect();
    Projection::compile(schema, &columns, filter, &keys(), limits)
}

/// One key is granted.
fn keys() -> HashKeys {
    let key = HashKey::new(Secret::new("an example key, of 32 characters".to_owned())).unwrap();
    HashKeys::from_iter([("pii".to_owned(), key)])
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn keyed(columns: &[&str], key: &str) -> ColumnExpression {
    KeyedHash { columns: names(columns), key: key.to_owned() }
}

fn texts(output: &RecordBatch, column: &str) -> Vec<Option<String>> {
    let array = output.column_by_name(column).unwrap();
    array.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
}

fn input(name: &str) -> ColumnExpression {
    Input(name.to_owned())
}

fn sql(text: &str) -> ColumnExpression {
    Sql(text.to_owned())
}

fn same_memory(left: &ArrayRef, right: &ArrayRef) -> bool {
    left.to_data().buffers().iter().zip(right.to_data().buffers()).all(|(a, b)| a.as_ptr() == b.as_ptr())
}

#[test]
fn a_bronze_projection_has_the_schema_and_values_it_should() {
    let uuid = "6F9619FF-8b86-d011-b42d-00c04fc964ff";
    let projection = compile(
        &[
            ("Odd \"name\" ]", input("Odd \"name\" ]")),
            ("quantity", input("quantity")),
            ("name", input("name")),
            ("price", sql("CAST(price AS DECIMAL(10, 2))")),
            ("_bronze_loaded_at", TimestampMicros(1_700_000_000_000_000)),
            ("_bronze_source_system", Text("ERP".to_owned())),
            ("_bronze_batch_id", Uuid(uuid.to_owned())),
            ("_bronze_row_hash", RowHash(vec!["quantity".to_owned(), "name".to_owned()])),
            ("no_hash", sql("CAST(NULL AS VARCHAR)")),
        ],
        Some("quantity IS NOT NULL"),
    )
    .unwrap();
    let output = projection.apply(&sample()).unwrap();
    assert_eq!(output.schema(), projection.output());
    let fields: Vec<_> = schema_to_wire(&projection.output()).iter().map(|field| format!("{field:?}")).collect();
    let table = arrow::util::pretty::pretty_format_batches(&[output]).unwrap();
    insta::assert_snapshot!(format!("{}\n\n{table}", fields.join("\n")));
}

#[test]
fn passing_through_copies_nothing_and_keeps_the_field() {
    let id = Field::new("Id", DataType::Int32, false).with_metadata([("k".to_owned(), "v".to_owned())].into());
    let schema = Arc::new(Schema::new(vec![id.clone(), Field::new("other", DataType::Utf8, true)]));
    let arrays: Vec<ArrayRef> =
        vec![Arc::new(Int32Array::from(vec![1, 2])), Arc::new(StringArray::from(vec!["a", "b"]))];
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
    let columns = [("Id", input("Id")), ("renamed", input("Id"))];
    for filter in [None, Some("other <> 'c'")] {
        let projection = compile_for(&schema, &columns, filter, &GuestLimits::default()).unwrap();
        let output = projection.apply(&batch).unwrap();
        assert_eq!(output.schema().field(0), &id);
        assert_eq!(output.schema().field(1), &id.clone().with_name("renamed"));
        assert!(same_memory(output.column(0), batch.column(0)));
        assert!(same_memory(output.column(1), batch.column(0)));
    }
}

#[test]
fn a_filter_keeps_the_rows_where_it_is_true() {
    let rows = |filter: &str| {
        let projection = compile(&[("quantity", input("quantity")), ("text", Text("t".into()))], Some(filter)).unwrap();
        let output = projection.apply(&sample()).unwrap();
        assert_eq!(output.column(1).len(), output.num_rows());
        output.column(0).as_primitive::<arrow::datatypes::Int32Type>().iter().collect::<Vec<_>>()
    };
    assert_eq!(rows("TRUE"), [Some(3), Some(0), None]);
    assert_eq!(rows("quantity > 0"), [Some(3)]);
    assert_eq!(rows("NOT quantity > 0"), [Some(0)]);
    assert_eq!(rows("quantity IS NULL"), [None]);
    assert_eq!(rows("CAST(NULL AS BOOLEAN)"), []);
}

#[test]
fn a_filtered_row_is_hashed_and_computed_as_alone() {
    let columns = [("hash", RowHash(names(&["name"]))), ("name", input("name")), ("n", sql("6 / quantity"))];
    let filtered = compile(&columns, Some("quantity <> 0")).unwrap().apply(&sample()).unwrap();
    let alone = compile(&columns, None).unwrap().apply(&sample().slice(0, 1)).unwrap();
    assert_eq!(filtered.columns(), alone.columns());
}

#[test]
fn a_row_hash_covers_what_the_projection_gives_away() {
    let hash = ("hash", RowHash(names(&["name", "constant", "digits"])));
    let others = [("constant", Text("x".to_owned())), ("digits", keyed(&["digits"], "pii"))];
    let apply = |name: ColumnExpression, hash_is_first: bool| {
        let mut columns = vec![("name", name)];
        columns.extend(others.clone());
        columns.insert(if hash_is_first { 0 } else { 3 }, hash.clone());
        compile(&columns, None).unwrap().apply(&sample()).unwrap()
    };
    let masked = apply(sql("CASE WHEN name IS NOT NULL THEN '***' END"), true);
    let passed_on = masked.schema();
    let columns = [("name", input("name")), ("constant", input("constant")), ("digits", input("digits")), hash.clone()];
    let again = compile_for(&passed_on, &columns, None, &GuestLimits::default()).unwrap().apply(&masked).unwrap();
    assert_eq!(texts(&masked, "hash"), texts(&again, "hash"), "whoever reads the output can compute it");
    assert_ne!(texts(&masked, "hash"), texts(&apply(input("name"), true), "hash"));
    assert_eq!(texts(&masked, "hash"), texts(&apply(sql("CASE WHEN name IS NOT NULL THEN '***' END"), false), "hash"));
}

#[test]
fn a_keyed_hash_is_declared_nullable_and_null_of_null() {
    let columns = [("who", keyed(&["name"], "pii")), ("both", keyed(&["digits", "name"], "pii"))];
    let projection = compile(&columns, Some("flag IS NULL OR flag")).unwrap();
    let output = projection.apply(&sample()).unwrap();
    assert_eq!(projection.output().field(0), &Field::new("who", DataType::Utf8, true));
    insta::assert_snapshot!(
        arrow::util::pretty::pretty_format_batches(std::slice::from_ref(&output)).unwrap().to_string()
    );
    assert!(projection.estimate(&sample()) > 0);
    let shown = format!("{projection:?} {:?}", keys());
    assert!(!shown.contains("an example key") && !shown.contains("97, 110, 32"), "{shown}");
}

#[test]
fn an_error_of_a_keyed_hash_shows_no_value() {
    let outside = batch(vec![
        ("who", Arc::new(StringArray::from(vec!["somebody"])) as ArrayRef),
        ("day", Arc::new(arrow::array::Date32Array::from(vec![i32::MIN]))),
    ]);
    let error = |columns: &[(&str, ColumnExpression)]| {
        compile_for(&outside.schema(), columns, None, &GuestLimits::default()).unwrap().apply(&outside).unwrap_err()
    };
    let keyed = error(&[("key", keyed(&["who", "day"], "pii"))]);
    assert!(!format!("{keyed} {:?}", keyed.context()).contains("somebody"), "{keyed}");
    let masked =
        error(&[("who", Text("***".to_owned())), ("day", input("day")), ("h", RowHash(names(&["who", "day"])))]);
    assert!(masked.to_string().contains("(`who` is ***)"), "{masked}");
}

#[test]
fn no_rows_and_no_columns_are_fine() {
    let columns = [("n", sql("quantity + 1")), ("t", Text("x".to_owned())), ("h", RowHash(names(&["n"])))];
    let output = compile(&columns, Some("flag")).unwrap().apply(&sample().slice(0, 0)).unwrap();
    assert_eq!((output.num_rows(), output.num_columns()), (0, 3));
    let output = compile(&[], None).unwrap().apply(&sample()).unwrap();
    assert_eq!((output.num_rows(), output.num_columns()), (3, 0));
    let output = compile(&[("t", Text(String::new()))], None).unwrap().apply(&sample()).unwrap();
    assert_eq!(output.column(0).as_string::<i32>().value(2), "");
}

#[test]
fn literal_columns_are_built_once() {
    let projection = compile(&[("t", Text("ERP".to_owned()))], None).unwrap();
    let long = projection.apply(&sample()).unwrap();
    let short = projection.clone().apply(&sample().slice(0, 2)).unwrap();
    assert!(same_memory(long.column(0), short.column(0)));
    assert_eq!(short.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["ERP", "ERP"]);
}

#[test]
fn what_does_not_compile_says_why() {
    let twice = batch(vec![
        ("a", Arc::new(Int32Array::from(vec![1])) as ArrayRef),
        ("a", Arc::new(Int32Array::from(vec![1])) as ArrayRef),
    ]);
    let defaults = GuestLimits::default();
    let two = GuestLimits { max_columns: 2, ..defaults.clone() };
    let one = batch(vec![("a", Arc::new(Int32Array::from(vec![1])) as ArrayRef)]).schema();
    let hash = |list: &[&str]| RowHash(names(list));
    let many: Vec<_> = (0..17).map(|_| vec!["1"; 2_000].join(",")).collect();
    let many: Vec<_> = many.iter().map(|list| sql(&format!("1 IN ({list})"))).collect();
    let numbered: Vec<_> = (0..many.len()).map(|index| format!("c{index}")).collect();
    let many: Vec<_> = numbered.iter().map(String::as_str).zip(many).collect();
    let errors = [
        compile(&[("a", input("Quantity"))], None),
        compile(&[("a", input("quantity")), ("a", input("name"))], None),
        compile_for(&twice.schema(), &[("a", input("a"))], None, &defaults),
        compile(&[("a", sql("quantity + name"))], None),
        compile(&[("a", input("quantity"))], Some("quantity")),
        compile(&[("a", input("quantity"))], Some("sum(quantity) > 1")),
        compile(&[("a", Uuid("6f9619ff8b86d011b42d00c04fc964ff".to_owned()))], None),
        compile(&[("a", Uuid("6f9619ff-8b86-d011-b42d-00c04fc964fg".to_owned()))], None),
        compile(&[("a", Uuid("é".repeat(18)))], None),
        compile(&[("a", hash(&[]))], None),
        compile(&[("a", hash(&["numbers"])), ("numbers", input("numbers"))], None),
        compile(&[("a", hash(&["quantity"]))], None),
        compile(&[("a", hash(&["a"]))], None),
        compile(&[("a", hash(&["b"])), ("b", hash(&["a"]))], None),
        compile(&[("a", keyed(&[], "pii"))], None),
        compile(&[("a", keyed(&["nothing"], "pii"))], None),
        compile(&[("a", keyed(&["numbers"], "pii"))], None),
        compile(&[("a", keyed(&["name", "name"], "pii"))], None),
        compile(&[("a", keyed(&["name"], "other"))], None),
        compile_for(&one, &[("x", input("a")), ("y", input("a")), ("z", input("a"))], None, &two),
        compile_for(&one, &[("x", hash(&["a", "a"])), ("y", hash(&["a"]))], None, &two),
        compile_for(&sample().schema(), &[], None, &two),
        compile_for(
            &one,
            &many,
            None,
            &GuestLimits { max_expression_bytes: 1 << 20, max_tokens: 4_010, ..defaults.clone() },
        ),
        compile_for(&one, &[("x", sql(&"1".repeat(9_000)))], None, &defaults),
    ];
    let lines: Vec<_> = errors
        .into_iter()
        .map(|result| {
            let error = result.unwrap_err();
            format!("{} {error}\n  hint: {}", error.code(), error.hint().unwrap_or_default())
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_batch_of_another_schema_is_refused() {
    let ints = |name: &str| batch(vec![(name, Arc::new(Int32Array::from(vec![1])) as ArrayRef)]);
    let strict = Arc::new(Schema::new(vec![Field::new("a", DataType::Int32, false)]));
    let projection = compile_for(&strict, &[("a", input("a"))], None, &GuestLimits::default()).unwrap();
    let text = batch(vec![("a", Arc::new(StringArray::from(vec!["x"])) as ArrayRef)]);
    let errors: Vec<_> = [&ints("b"), &ints("a"), &text, &sample()]
        .into_iter()
        .map(|batch| projection.apply(batch).unwrap_err().to_string())
        .collect();
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn what_is_made_of_one_batch_is_bounded() {
    let limits = GuestLimits { max_live_batch_bytes: 1_000, ..GuestLimits::default() };
    let numbers = batch(vec![("n", Arc::new(Int32Array::from_iter_values(0..100)) as ArrayRef)]);
    let apply = |columns: &[(&str, ColumnExpression)]| {
        compile_for(&numbers.schema(), columns, None, &limits).unwrap().apply(&numbers).unwrap_err()
    };
    let errors = [
        apply(&[("h", RowHash(vec!["n".to_owned()])), ("n", input("n"))]),
        apply(&[("k", keyed(&["n"], "pii"))]),
        apply(&[("t", Text("x".repeat(20)))]),
        apply(&[("a", sql("n + 1")), ("b", sql("n + 2")), ("c", sql("n + 3"))]),
        apply(&[("a", sql("CAST(n AS DECIMAL(38, 0))"))]),
    ];
    let lines: Vec<_> = errors.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn errors_say_who_and_what_to_do() {
    let error = compile(&[("big", sql("CAST(big AS INT)"))], None).unwrap().apply(&sample()).unwrap_err();
    assert_eq!(error.code(), "DK-KIT-110");
    assert_eq!(error.kind(), datakit_model::Kind::Data);
    assert_eq!(error.context(), [("column".to_owned(), "big".to_owned())]);
    assert!(error.hint().is_some());
}
