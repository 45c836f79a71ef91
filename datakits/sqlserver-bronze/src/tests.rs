//! The datakit against a server that answers from a list, in Arrow IPC as the host's answers come.

mod facts;
mod strategies;
mod watermark;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, FixedSizeBinaryArray, Int16Array, Int32Array, Int64Array, RecordBatch,
    StringArray,
};
use arrow::ipc::writer::StreamWriter;
use datakit_sdk::datakit::parse_settings;
use datakit_sdk::relational::{self, planning};
use datakit_sdk::testing::{self, FakeChanges, FakeQueries};
use datakit_sdk::{Datakit as _, DiscoveryRequest, ErrorKind, Rows, Table, TableKind, TablePlan, Value};

use super::*;

type State = planning::RowsState<ReadAs, KeyRange>;

fn discover(server: &FakeQueries, settings: &Settings) -> Result<Vec<Table>, Error> {
    relational::discover::<SqlServer>(server, settings, &DiscoveryRequest::default())
}

fn plan(server: &FakeQueries, settings: &Settings, wanted: &[TableId]) -> Result<Vec<TablePlan>, Error> {
    relational::plan::<SqlServer>(server, &FakeChanges::default(), settings, wanted)
}

/// A server that answers from a list.
trait Server {
    fn answer(&mut self, sql: impl Into<String>, columns: Vec<(&str, ArrayRef)>);
    /// What was asked besides the catalog.
    fn asked_of_tables(&self) -> Vec<String>;
}

impl Server for FakeQueries {
    fn answer(&mut self, sql: impl Into<String>, columns: Vec<(&str, ArrayRef)>) {
        self.answers.entry(sql.into()).or_default().push(rows(columns));
    }

    fn asked_of_tables(&self) -> Vec<String> {
        let asked = self.asked.borrow();
        asked.iter().map(|(sql, _)| sql.clone()).filter(|sql| !sql.contains("sys.")).collect()
    }
}

/// The question for all schemas, of one for some: the answer has all of them, as of a server that compares names by less.
fn for_all_schemas(sql: &str, schemas: usize) -> String {
    let (among, _) = relational::statement::and_among("s.name", "@P", Some(&vec![String::new(); schemas]));
    sql.replace(&among, "").replace(
        "INNER JOIN sys.schemas AS s ON s.schema_id = o.schema_id\nINNER JOIN sys.types",
        "INNER JOIN sys.types",
    )
}

fn rows(columns: Vec<(&str, ArrayRef)>) -> Rows {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    Rows::from_ipc(&writer.into_inner().unwrap()).unwrap()
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn ints(values: &[i32]) -> ArrayRef {
    Arc::new(Int32Array::from(values.to_vec()))
}

/// A column as the catalog has it: name, declared and base type, length, precision, scale, nullable.
type CatalogColumn<'a> = (&'a str, &'a str, Option<&'a str>, i16, i16, i16, bool);

struct CatalogTable<'a> {
    schema: &'a str,
    name: &'a str,
    kind: &'a str,
    columns: &'a [CatalogColumn<'a>],
    key: &'a [i32],
    rows: Option<i64>,
}

const INT: CatalogColumn<'_> = ("id", "int", Some("int"), 4, 10, 0, false);
const NAME: CatalogColumn<'_> = ("Name", "nvarchar", Some("nvarchar"), 80, 0, 0, true);

fn server(tables: &[CatalogTable<'_>]) -> FakeQueries {
    let mut server = FakeQueries { without_parameters: Some(for_all_schemas), ..FakeQueries::default() };
    let ids: Vec<i32> = (1..).take(tables.len()).collect();
    // Pairs of a table's id and one of its columns, with the column's id.
    let columns: Vec<(i32, i32, &CatalogColumn<'_>)> =
        ids.iter().zip(tables).flat_map(|(id, table)| (1..).zip(table.columns).map(|(i, c)| (*id, i, c))).collect();
    let keys: Vec<(i32, i16, i32)> =
        ids.iter().zip(tables).flat_map(|(id, table)| (1..).zip(table.key).map(|(i, c)| (*id, i, *c))).collect();
    let counts: Vec<(i32, i64)> = ids.iter().zip(tables).filter_map(|(id, table)| Some((*id, table.rows?))).collect();
    let each = |f: fn(&CatalogTable<'_>) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(tables.iter().map(f)))
    };
    server.answer(
        catalog::OBJECTS,
        vec![
            ("schema_name", each(|table| table.schema.into())),
            ("object_name", each(|table| table.name.into())),
            ("object_id", ints(&ids)),
            ("object_type", each(|table| format!("{:2}", table.kind))),
        ],
    );
    let small = |f: fn(&CatalogColumn<'_>) -> i16| -> ArrayRef {
        Arc::new(columns.iter().map(|c| Some(f(c.2))).collect::<Int16Array>())
    };
    server.answer(catalog::KNOWN_FACTS, vec![("column_name", texts(&[]))]);
    server.answer(
        catalog::columns(&[], ""),
        vec![
            ("object_id", Arc::new(columns.iter().map(|c| Some(c.0)).collect::<Int32Array>())),
            ("column_id", Arc::new(columns.iter().map(|c| Some(c.1)).collect::<Int32Array>())),
            ("column_name", Arc::new(columns.iter().map(|c| Some(c.2.0)).collect::<StringArray>())),
            ("declared_type", Arc::new(columns.iter().map(|c| Some(c.2.1)).collect::<StringArray>())),
            ("base_type", Arc::new(columns.iter().map(|c| c.2.2).collect::<StringArray>())),
            ("max_length", small(|c| c.3)),
            ("numeric_precision", small(|c| c.4)),
            ("numeric_scale", small(|c| c.5)),
            ("is_nullable", Arc::new(columns.iter().map(|c| Some(c.2.6)).collect::<BooleanArray>())),
        ],
    );
    server.answer(
        catalog::PRIMARY_KEYS,
        vec![
            ("object_id", Arc::new(keys.iter().map(|k| Some(k.0)).collect::<Int32Array>())),
            ("key_ordinal", Arc::new(keys.iter().map(|k| Some(k.1)).collect::<Int16Array>())),
            ("column_id", Arc::new(keys.iter().map(|k| Some(k.2)).collect::<Int32Array>())),
        ],
    );
    server.answer(
        catalog::ROW_COUNTS,
        vec![
            ("object_id", Arc::new(counts.iter().map(|c| Some(c.0)).collect::<Int32Array>())),
            ("row_count", Arc::new(counts.iter().map(|c| Some(c.1)).collect::<Int64Array>())),
        ],
    );
    server
}

fn table<'a>(name: &'a str, columns: &'a [CatalogColumn<'a>], key: &'a [i32], rows: i64) -> CatalogTable<'a> {
    CatalogTable { schema: "dbo", name, kind: "U", columns, key, rows: Some(rows) }
}

fn id(name: &str) -> TableId {
    TableId::new("dbo", name)
}

fn settings(json: &str) -> Settings {
    parse_settings(json).unwrap()
}

/// Small tables cut in parts: what a large one would do.
const CUT: &str = r#"{"partition_row_threshold": 100, "partition_rows": 100}"#;

fn states(plan: &TablePlan) -> Vec<State> {
    let rows = |state| match state {
        planning::State::Rows(state) => state,
        planning::State::Changes(changes) => panic!("{changes:?}"),
    };
    testing::states(plan).unwrap().into_iter().map(rows).collect()
}

fn bounds(plan: &TablePlan) -> Vec<(Option<String>, Option<String>)> {
    states(plan).into_iter().map(|state| state.part.unwrap()).map(|range| (range.lower, range.upper)).collect()
}

/// Lower and upper bounds of the ranges between these.
fn between(texts: &[&str]) -> Vec<(Option<String>, Option<String>)> {
    let some: Vec<Option<String>> = texts.iter().map(|text| Some((*text).to_owned())).collect();
    let lowers = [None].into_iter().chain(some.clone());
    lowers.zip(some.into_iter().chain([None])).collect()
}

#[test]
fn the_catalog_becomes_tables() {
    let server = server(&[
        table("orders 🦀]", &[INT, ("line", "smallint", Some("smallint"), 2, 5, 0, false), NAME], &[2, 1], 42),
        CatalogTable { kind: "V", key: &[], rows: None, ..table("a view", &[NAME], &[], 0) },
        table(
            "odd",
            &[
                ("phone", "PhoneNumber", Some("varchar"), 20, 0, 0, true),
                ("place", "geography", None, -1, 0, 0, true),
                ("key", "uniqueidentifier", Some("uniqueidentifier"), 16, 0, 0, false),
                ("price", "money", Some("money"), 8, 19, 4, false),
            ],
            &[],
            0,
        ),
    ]);
    let tables = discover(&server, &Settings::default()).unwrap();
    let names: Vec<&str> = tables.iter().map(|table| table.id.name.as_str()).collect();
    assert_eq!(names, ["a view", "odd", "orders 🦀]"]);
    assert_eq!(tables[0].kind, TableKind::View);
    assert_eq!((tables[0].estimated_rows, tables[0].primary_key.len()), (None, 0));
    assert_eq!(tables[2].primary_key, ["line", "id"], "in key order, not in column order");
    assert_eq!(tables[2].estimated_rows, Some(42));
    let fields: Vec<String> = tables[1]
        .columns
        .iter()
        .map(|f| format!("{} {} {} {:?}", f.name, f.arrow_type, f.nullable, f.metadata))
        .collect();
    insta::assert_debug_snapshot!(fields);
}

#[test]
fn the_catalog_is_asked_for_the_schemas_of_the_request() {
    let sales = CatalogTable { schema: "Sales", ..table("orders", &[INT], &[1], 1) };
    let mut server = server(&[table("t", &[INT], &[1], 1), sales]);
    server.answer(catalog::SCHEMAS, vec![("schema_name", texts(&["dbo", "Sales", "sys"]))]);
    let discovered = |include: &[&str]| -> Vec<String> {
        let include = include.iter().map(|pattern| (*pattern).to_owned()).collect();
        let request = DiscoveryRequest { include, ..DiscoveryRequest::default() };
        let tables = relational::discover::<SqlServer>(&server, &Settings::default(), &request).unwrap();
        tables.iter().map(|table| table.id.to_string()).collect()
    };
    assert_eq!(discovered(&["sales.*"]), ["Sales.orders"], "as the server spells it");
    assert_eq!(*server.parameters.borrow(), [Value::Text("Sales".into())]);
    assert_eq!(discovered(&["*.orders"]), ["Sales.orders", "dbo.t"]);
    assert_eq!(discovered(&["sale.*"]), ["Sales.orders", "dbo.t"], "the host shows names that are near");
    assert_eq!(*server.parameters.borrow(), [Value::Text("Sales".into())], "no other question names a schema");
    plan(&server, &Settings::default(), &[id("t")]).unwrap();
    assert_eq!(*server.parameters.borrow(), [Value::Text("dbo".into())]);
}

#[test]
fn excluded_tables_are_neither_listed_nor_planned() {
    let server = server(&[table("orders", &[INT], &[1], 1), table("audit_log", &[INT], &[1], 1)]);
    let settings = settings(r#"{"exclude": ["dbo.audit_*"]}"#);
    let tables = discover(&server, &settings).unwrap();
    assert_eq!(tables.len(), 1);
    let error = plan(&server, &settings, &[id("audit_log")]).unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Config, errors::CODES.no_table));
    assert!(error.message.contains("dbo.audit_log"), "{}", error.message);
}

#[test]
fn columns_are_selected_and_added() {
    let columns = [
        INT,
        ("at", "datetimeoffset", Some("datetimeoffset"), 10, 34, 7, true),
        ("exact", "datetime2", Some("datetime2"), 8, 27, 7, false),
        ("coarse", "datetime2", Some("datetime2"), 8, 26, 6, false),
        ("password", "varbinary", Some("varbinary"), 64, 0, 0, true),
    ];
    let server = server(&[table("t", &columns, &[1], 10)]);
    let settings = settings(
        r#"{"datetimeoffset_offset": true, "datetime2_as_text": true, "columns": {"*.*": {"exclude": ["password", "id"]}}}"#,
    );
    let listed = discover(&server, &settings).unwrap().remove(0);
    let types: Vec<String> =
        listed.columns.iter().map(|field| format!("{} {}", field.name, field.arrow_type)).collect();
    assert_eq!(types, ["at Timestamp(us, UTC)", "at_offset_minutes Int32", "exact Utf8", "coarse Timestamp(us)"]);
    assert_eq!(listed.primary_key, Vec::<String>::new(), "its column is not read");
    let plan = plan(&server, &settings, &[id("t")]).unwrap().remove(0);
    let state = states(&plan).remove(0);
    let (sql, _) = statement::select(&id("t"), &state.columns, false, state.part.as_ref()).unwrap();
    assert_eq!(
        sql,
        "SELECT [at], DATEPART(TZOFFSET, [at]) AS [at_offset_minutes], CONVERT(varchar(27), [exact], 121) AS [exact], \
         [coarse] FROM [dbo].[t]"
    );
}

#[test]
fn what_cannot_be_read_is_an_error_of_the_plan() {
    let vector = ("embedding", "vector", Some("vector"), 24, 0, 0, true);
    let offset = ("AT_offset_minutes", "int", Some("int"), 4, 10, 0, true);
    let at = ("at", "datetimeoffset", Some("datetimeoffset"), 10, 34, 7, true);
    let server = server(&[table("v", &[INT, vector], &[1], 1), table("t", &[INT, at, offset], &[1], 1)]);
    let fails = |json: &str, table: &str| {
        // A table that cannot be read does not hide the others.
        assert_eq!(discover(&server, &settings(json)).unwrap().len(), 2);
        let error = plan(&server, &settings(json), &[id(table)]).unwrap_err();
        assert!(error.message.contains(&format!("dbo.{table}")), "{}", error.message);
        error
    };
    let error = fails("{}", "v");
    assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Data, errors::UNSUPPORTED_TYPE));
    assert!(error.message.contains("`embedding`") && error.message.contains("vector"), "{}", error.message);
    assert!(plan(&server, &settings(r#"{"columns": {"dbo.v": {"exclude": ["embedding"]}}}"#), &[id("v")]).is_ok());
    assert_eq!(fails(r#"{"datetimeoffset_offset": true}"#, "t").code, errors::COLUMN_COLLISION);
    assert_eq!(fails(r#"{"columns": {"dbo.t": {"exclude": ["pasword"]}}}"#, "t").code, errors::CODES.unknown_column);
    assert_eq!(fails(r#"{"columns": {"dbo.t": {"exclude": ["*"]}}}"#, "t").code, errors::CODES.no_columns);
}

#[test]
fn a_table_of_more_columns_than_a_query_returns_fails_alone() {
    let names: Vec<String> = (0..4_097).map(|number| format!("c{number}")).collect();
    let columns: Vec<CatalogColumn<'_>> =
        names.iter().map(|name| (name.as_str(), "int", Some("int"), 4, 10, 0, true)).collect();
    let server = server(&[table("wide", &columns, &[], 1), table("t", &[INT], &[1], 1)]);
    assert_eq!(discover(&server, &Settings::default()).unwrap().len(), 2);
    let error = plan(&server, &Settings::default(), &[id("wide")]).unwrap_err();
    assert_eq!(error.code, errors::TOO_MANY_COLUMNS);
    assert!(error.message.contains("4097 columns of dbo.wide"), "{}", error.message);
    assert_eq!(plan_one(&server, &Settings::default()).partitions.len(), 1);
    let fewer = settings(r#"{"columns": {"dbo.wide": {"exclude": ["c0"]}}}"#);
    assert!(plan(&server, &fewer, &[id("wide")]).is_ok());
}

fn plan_one(server: &FakeQueries, settings: &Settings) -> TablePlan {
    plan(server, settings, &[id("t")]).unwrap().remove(0)
}

#[test]
fn small_tables_views_and_other_keys_are_one_partition() {
    let text_key = ("code", "nvarchar", Some("nvarchar"), 20, 0, 0, false);
    let server = server(&[
        table("small", &[INT], &[1], 100),
        table("no key", &[INT], &[], 1_000),
        table("two keys", &[INT, text_key], &[1, 2], 1_000),
        table("text key", &[text_key], &[1], 1_000),
        CatalogTable { kind: "V", rows: None, ..table("view", &[INT], &[], 0) },
    ]);
    let wanted = ["view", "small", "no key", "two keys", "text key"].map(id);
    let plans = plan(&server, &settings(CUT), &wanted).unwrap();
    for (plan, wanted) in plans.iter().zip(&wanted) {
        assert_eq!(plan.table, *wanted, "in the order asked for");
        assert_eq!(plan.partitions.len(), 1);
        assert_eq!(states(plan)[0].part, None);
    }
    assert_eq!(server.asked_of_tables(), Vec::<String>::new());
}

#[test]
fn dense_keys_are_cut_by_their_extent() {
    let mut server = server(&[table("t", &[INT], &[1], 400)]);
    server.answer(
        "SELECT MIN([id]) AS [low], MAX([id]) AS [high] FROM [dbo].[t]",
        vec![("low", ints(&[1])), ("high", ints(&[400]))],
    );
    let plan = plan(&server, &settings(CUT), &[id("t")]).unwrap().remove(0);
    assert_eq!(bounds(&plan), between(&["101", "201", "301"]));
    let estimates: Vec<Option<u64>> = plan.partitions.iter().map(|partition| partition.estimated_rows).collect();
    assert_eq!(estimates, [Some(100); 4]);
    assert_eq!(plan.watermark, None);
}

#[test]
fn dense_dates_are_cut_by_days() {
    let day = ("day", "date", Some("date"), 3, 10, 0, false);
    let mut server = server(&[table("t", &[day], &[1], 366)]);
    let dates = |day: i32| -> ArrayRef { Arc::new(Date32Array::from(vec![day])) };
    // The year 2024.
    server.answer(
        "SELECT MIN([day]) AS [low], MAX([day]) AS [high] FROM [dbo].[t]",
        vec![("low", dates(19_723)), ("high", dates(20_088))],
    );
    let settings = settings(r#"{"partition_row_threshold": 100, "partition_rows": 183}"#);
    let plan = plan(&server, &settings, &[id("t")]).unwrap().remove(0);
    assert_eq!(bounds(&plan), between(&["2024-07-02"]));
}

#[test]
fn skewed_keys_are_cut_by_the_servers_quantiles() {
    let key = ("id", "bigint", Some("bigint"), 8, 19, 0, false);
    let mut server = server(&[table("t", &[key], &[1], 400)]);
    let bigints = |values: &[i64]| -> ArrayRef { Arc::new(Int64Array::from(values.to_vec())) };
    server.answer(
        "SELECT MIN([id]) AS [low], MAX([id]) AS [high] FROM [dbo].[t] WITH (NOLOCK)",
        vec![("low", bigints(&[1])), ("high", bigints(&[9_000_000_000_000]))],
    );
    let quantiles = statement::key_quantiles(&id("t"), "id", true, 100);
    // In two batches, as a reader may cut them.
    server.answer(quantiles.clone(), vec![("bound", bigints(&[101, 201]))]);
    server.answer(quantiles, vec![("bound", bigints(&[8_999_999_999_900]))]);
    let settings = settings(r#"{"partition_row_threshold": 100, "partition_rows": 100, "nolock": true, "maxdop": 2}"#);
    let plan = plan(&server, &settings, &[id("t")]).unwrap().remove(0);
    assert_eq!(bounds(&plan), between(&["101", "201", "8999999999900"]));
    let options = server.asked.borrow().last().unwrap().1;
    assert_eq!((options.isolation, options.max_parallelism), (Some(datakit_sdk::Isolation::ReadUncommitted), Some(2)));
}

#[test]
fn uniqueidentifiers_are_cut_by_the_servers_order() {
    let key = ("id", "uniqueidentifier", Some("uniqueidentifier"), 16, 0, 0, false);
    let mut server = server(&[table("t", &[key], &[1], 250)]);
    // 250 rows in 3 parts: every 84th key. The server's order compares the last six bytes first.
    let (first, second) = ([0xff_u8; 16], [0x01_u8; 16]);
    let bound = FixedSizeBinaryArray::try_from_iter([first, second].into_iter()).unwrap();
    server.answer(statement::key_quantiles(&id("t"), "id", false, 84), vec![("bound", Arc::new(bound))]);
    let plan = plan(&server, &settings(CUT), &[id("t")]).unwrap().remove(0);
    assert_eq!(
        bounds(&plan),
        between(&["ffffffff-ffff-ffff-ffff-ffffffffffff", "01010101-0101-0101-0101-010101010101"]),
        "in the server's order, which is not that of the text"
    );
    let state = states(&plan).remove(1);
    let (sql, parameters) = statement::select(&id("t"), &state.columns, false, state.part.as_ref()).unwrap();
    assert_eq!(sql, "SELECT [id] FROM [dbo].[t] WHERE [id] >= @P1 AND [id] < @P2");
    assert_eq!(parameters[0], Value::Uuid("ffffffff-ffff-ffff-ffff-ffffffffffff".into()));
}

#[test]
fn estimates_may_be_wrong() {
    let mut server = server(&[table("gone", &[INT], &[1], 400), table("grown", &[INT], &[1], 200)]);
    let nothing = || -> ArrayRef { Arc::new(Int32Array::from(vec![None])) };
    server.answer(
        "SELECT MIN([id]) AS [low], MAX([id]) AS [high] FROM [dbo].[gone]",
        vec![("low", nothing()), ("high", nothing())],
    );
    server.answer(
        "SELECT MIN([id]) AS [low], MAX([id]) AS [high] FROM [dbo].[grown]",
        vec![("low", ints(&[1])), ("high", ints(&[10_000]))],
    );
    let many: Vec<i32> = (1..100).map(|i| i * 100 + 1).collect();
    server.answer(statement::key_quantiles(&id("grown"), "id", false, 100), vec![("bound", ints(&many))]);
    let plans = plan(&server, &settings(CUT), &[id("gone"), id("grown")]).unwrap();
    assert_eq!(states(&plans[0]).len(), 1);
    assert_eq!(states(&plans[0])[0].part, None, "an empty table is read whole: rows may come");
    assert_eq!(bounds(&plans[1]), between(&["5001"]), "no more partitions than wanted");
}

#[test]
fn an_answer_of_another_shape_is_an_error() {
    let mut server = server(&[table("t", &[INT], &[1], 400)]);
    server.answer(
        "SELECT MIN([id]) AS [low], MAX([id]) AS [high] FROM [dbo].[t]",
        vec![("low", texts(&["a"])), ("high", texts(&["b"]))],
    );
    assert_eq!(plan(&server, &settings(CUT), &[id("t")]).unwrap_err().code, errors::CODES.unexpected_answer);
    server.answers.insert(catalog::OBJECTS.into(), vec![rows(vec![("name", texts(&["t"]))])]);
    assert!(discover(&server, &Settings::default()).is_err());
}

#[test]
fn the_description_is_of_this_package() {
    let description = SqlServerBronze::describe();
    assert_eq!(description.name, "sqlserver-bronze");
    assert_eq!(description.version, "0.1.0");
    assert_eq!(description.roles[0].kinds, ["sqlserver"]);
}
