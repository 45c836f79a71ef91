use std::collections::BTreeMap;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Int32Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Int64Type, TimeUnit};
use datakit_model::Diagnostic;
use proptest::prelude::*;

use super::*;

fn partitioning(fields: Vec<Field>, columns: &[&str]) -> Result<Partitioning, SinkError> {
    let table = TableId::new("dbo", "t");
    let schema = TableSchema::new(&table, &Arc::new(Schema::new(fields)))?;
    Partitioning::new(&table, &schema, columns.iter().map(|name| (*name).to_owned()).collect())
}

/// A batch of these partition columns and `row`, split by them.
fn split(columns: Vec<(&str, ArrayRef)>) -> Result<FormedBatch, SinkError> {
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let rows = columns.first().map_or(0, |(_, column)| column.len());
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values((0..rows).map(|row| row as i64)));
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.iter().map(|(name, column)| (*name, Arc::clone(column), true)).chain([("row", numbers, false)]),
    )
    .unwrap();
    let fields = batch.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    partitioning(fields, &names).unwrap().split(batch, "t")
}

/// Folder → the rows in it.
fn by_folder(formed: &FormedBatch) -> Vec<(String, Vec<i64>)> {
    let numbers = formed.rows.column(0).as_primitive::<Int64Type>();
    let rows = |rows: &Rows| match rows {
        Rows::All => numbers.values().to_vec(),
        Rows::Ranges(ranges) => ranges.iter().cloned().flatten().map(|row| numbers.value(row)).collect(),
    };
    formed.folders.iter().map(|(folder, part)| (folder.path.clone(), rows(part))).collect()
}

fn values(column: ArrayRef) -> Vec<Option<String>> {
    split(vec![("c", column)]).unwrap().folders.into_iter().map(|(folder, _)| folder.values[0].clone()).collect()
}

fn texts(expected: &[&str]) -> Vec<Option<String>> {
    expected.iter().map(|text| Some((*text).to_owned())).collect()
}

#[test]
fn values_have_the_protocols_text() {
    assert_eq!(values(Arc::new(BooleanArray::from(vec![true, false]))), texts(&["true", "false"]));
    assert_eq!(values(Arc::new(Int32Array::from(vec![i32::MIN, 7]))), texts(&["-2147483648", "7"]));
    let decimals = Decimal128Array::from(vec![-5, 150, 0]).with_precision_and_scale(9, 2).unwrap();
    assert_eq!(values(Arc::new(decimals)), texts(&["-0.05", "1.50", "0.00"]));
    assert_eq!(values(Arc::new(Date32Array::from(vec![-1, 0]))), texts(&["1969-12-31", "1970-01-01"]));
    let times = || TimestampMicrosecondArray::from(vec![-1, 1_000_000]);
    assert_eq!(
        values(Arc::new(times().with_timezone("Europe/Zurich"))),
        texts(&["1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:01.000000Z"])
    );
    assert_eq!(
        values(Arc::new(times())),
        texts(&["1969-12-31 23:59:59.999999", "1970-01-01 00:00:01.000000"]),
        "without zone"
    );
    assert_eq!(values(Arc::new(StringArray::from(vec![None, Some(" ")]))), [None, Some(" ".to_owned())]);
}

#[test]
fn equal_rows_meet_in_one_folder() {
    let country: ArrayRef = Arc::new(StringArray::from(vec![Some("a/b"), None, Some("a/b"), Some("Ö."), None]));
    let open: ArrayRef = Arc::new(BooleanArray::from(vec![true, true, true, true, false]));
    assert_eq!(
        by_folder(&split(vec![("country", country), ("open", open)]).unwrap()),
        [
            ("country=a%2Fb/open=true".to_owned(), vec![0, 2]),
            ("country=__HIVE_DEFAULT_PARTITION__/open=true".to_owned(), vec![1]),
            ("country=Ö./open=true".to_owned(), vec![3]),
            ("country=__HIVE_DEFAULT_PARTITION__/open=false".to_owned(), vec![4]),
        ]
    );
}

#[test]
fn one_value_copies_no_row() {
    let formed = split(vec![("c", Arc::new(Int32Array::from(vec![1, 1, 1])) as ArrayRef)]).unwrap();
    assert_eq!(formed.folders.len(), 1);
    assert_eq!(formed.folders[0].1, Rows::Ranges(vec![0..3]));
    assert!(split(vec![("c", Arc::new(Int32Array::from(Vec::<i32>::new())) as ArrayRef)]).unwrap().folders.is_empty());
}

#[test]
fn value_that_readers_take_for_another_is_refused_by_column_and_row() {
    let refused = |column: ArrayRef| split(vec![("c", column)]).unwrap_err().to_string();
    insta::assert_snapshot!(
        [
            refused(Arc::new(StringArray::from(vec!["a", "a", ""]))),
            refused(Arc::new(StringArray::from(vec![Some("a"), None, Some("__HIVE_DEFAULT_PARTITION__")]))),
            refused(Arc::new(Date32Array::from(vec![0, 3_000_000]))),
            refused(Arc::new(TimestampMicrosecondArray::from(vec![i64::MIN]))),
            refused(Arc::new(StringArray::from(vec!["x", &"x".repeat(253), &"x".repeat(254)]))),
            refused(Arc::new(StringArray::from(vec!["%".repeat(85)]))),
        ]
        .join("\n"),
        @r"
    column `c` of table `dbo.t`, row 2 of a batch: an empty text in a partition column would be read as null
    column `c` of table `dbo.t`, row 2 of a batch: the text stands for null in the folders of partitioned tables
    column `c` of table `dbo.t`, row 1 of a batch: a partition column holds the years 0001 to 9999 only
    column `c` of table `dbo.t`, row 0 of a batch: a partition column holds the years 0001 to 9999 only
    column `c` of table `dbo.t`, row 2 of a batch: the folder of a partition value has a name of at most 255 bytes
    column `c` of table `dbo.t`, row 0 of a batch: the folder of a partition value has a name of at most 255 bytes
    "
    );
}

#[test]
fn column_that_cannot_partition_is_refused_by_its_reason() {
    let nullable = |name: &str, data_type: DataType| Field::new(name, data_type, true);
    let fields = || {
        vec![
            nullable("id", DataType::Int32),
            nullable("ratio", DataType::Float64),
            nullable("bytes", DataType::Binary),
            nullable("at", DataType::Timestamp(TimeUnit::Microsecond, None)),
        ]
    };
    let refused = |columns: &[&str]| {
        let error = partitioning(fields(), columns).unwrap_err();
        format!("{} {error}", error.code())
    };
    insta::assert_snapshot!(
        [
            refused(&["ratio"]),
            refused(&["bytes"]),
            refused(&["none"]),
            refused(&["id", "id"]),
        ]
        .join("\n"),
        @r"
    DK-SNK-041 table `dbo.t` cannot be partitioned by `ratio`: its values are floating-point numbers
    DK-SNK-041 table `dbo.t` cannot be partitioned by `bytes`: its values are bytes
    DK-SNK-041 table `dbo.t` cannot be partitioned by `none`: the table has no such column
    DK-SNK-041 table `dbo.t` cannot be partitioned by `id`: the column is named twice
    "
    );
    let error = partitioning(vec![nullable("id", DataType::Int32)], &["id"]).unwrap_err();
    insta::assert_snapshot!(error, @"table `dbo.t` cannot be partitioned by `id`: no column would be left for the files");
    assert_eq!(partitioning(fields(), &["at", "id"]).unwrap().file_schema.fields().len(), 2);
}

proptest! {
    #[test]
    fn every_row_is_in_the_folder_of_its_values(
        rows in proptest::collection::vec((proptest::option::of("[a-c]"), proptest::option::of(0_i32..3)), 1..60),
    ) {
        let texts: ArrayRef = Arc::new(rows.iter().map(|(text, _)| text.clone()).collect::<StringArray>());
        let numbers: ArrayRef = Arc::new(rows.iter().map(|(_, number)| *number).collect::<Int32Array>());
        let mut expected: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for (row, (text, number)) in rows.iter().enumerate() {
            let null = || folder::NULL.to_owned();
            let number = number.map_or_else(null, |number| number.to_string());
            let folder = format!("t={}/n={number}", text.clone().unwrap_or_else(null));
            expected.entry(folder).or_default().push(row as i64);
        }
        let split = by_folder(&split(vec![("t", texts), ("n", numbers)]).unwrap());
        prop_assert_eq!(split.len(), expected.len());
        prop_assert_eq!(split.into_iter().collect::<BTreeMap<_, _>>(), expected);
    }
}
