//! The datakit against a server that answers from a list, in Arrow IPC as the host's answers come.

mod watermark;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int16Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::ipc::writer::StreamWriter;
use datakit_sdk::datakit::parse_settings;
use datakit_sdk::relational::{self, CommonSettings as _, Size, planning};
use datakit_sdk::testing::{self, FakeChanges, FakeQueries};
use datakit_sdk::{Datakit as _, DiscoveryRequest, ErrorKind, Rows, Table, TableKind, TablePlan};

use super::*;

type State = planning::RowsState<ReadAs, Part>;

fn discover(server: &FakeQueries, settings: &Settings) -> Result<Vec<Table>, Error> {
    relational::discover::<Postgres>(server, settings, &DiscoveryRequest::default())
}

fn plan(server: &FakeQueries, settings: &Settings, wanted: &[TableId]) -> Result<Vec<TablePlan>, Error> {
    relational::plan::<Postgres>(server, &FakeChanges::default(), settings, wanted)
}
use crate::statement::Blocks;

/// A server that answers from a list.
trait Server {
    fn answer(&mut self, sql: impl Into<String>, columns: Vec<(&str, ArrayRef)>);
    /// What was asked besides the catalog.
    fn asked_of_tables(&self) -> Vec<String>;
    /// Makes it a server of another version.
    fn of_version(self, version: &str) -> Self;
}

impl Server for FakeQueries {
    fn answer(&mut self, sql: impl Into<String>, columns: Vec<(&str, ArrayRef)>) {
        self.answers.entry(sql.into()).or_default().push(rows(columns));
    }

    fn asked_of_tables(&self) -> Vec<String> {
        let of_catalog = |sql: &String| sql.contains("pg_catalog.") || sql.contains("information_schema.");
        self.asked.borrow().iter().map(|(sql, _)| sql.clone()).filter(|sql| !of_catalog(sql)).collect()
    }

    fn of_version(mut self, version: &str) -> Self {
        self.answers.remove(catalog::VERSION);
        self.answer(catalog::VERSION, vec![("version", strings([version.to_owned()].into_iter()))]);
        self
    }
}

/// The question for all schemas, of one for some: the answer has all of them, as of a server that compares names by less.
fn for_all_schemas(sql: &str, schemas: usize) -> String {
    let (among, _) = relational::statement::and_among("n.nspname", "$", Some(&vec![String::new(); schemas]));
    sql.replace(&among, "")
}

fn rows(columns: Vec<(&str, ArrayRef)>) -> Rows {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    Rows::from_ipc(&writer.into_inner().unwrap()).unwrap()
}

fn ints(values: &[i32]) -> ArrayRef {
    Arc::new(Int32Array::from(values.to_vec()))
}

/// A column as the catalog has it: name, type's object id, declared type, kind, category, modifier, not null.
type CatalogColumn<'a> = (&'a str, i64, &'a str, &'a str, &'a str, i32, bool);

#[derive(Clone, Copy)]
struct CatalogTable<'a> {
    name: &'a str,
    kind: &'a str,
    columns: &'a [CatalogColumn<'a>],
    key: &'a str,
    rows: i64,
    pages: i32,
    toast_pages: Option<i32>,
    parent: Option<i64>,
    /// Whether its parent, if it has one, is a partitioned table.
    is_partition: bool,
    access_method: i64,
}

impl CatalogTable<'_> {
    fn is_partition(&self) -> bool {
        self.parent.is_some() && self.is_partition
    }
}

const ID: CatalogColumn<'_> = ("id", 23, "integer", "b", "N", -1, true);
const NAME: CatalogColumn<'_> = ("Name", 1043, "character varying(40)", "b", "S", 44, false);

fn strings(values: impl Iterator<Item = String>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn longs(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(values.map(Some).collect::<Int64Array>())
}

/// A server of version 15 with tables of the schema `public`, numbered from 1; a domain `percent` (900) over numeric(5,2), and `share` (901) over it.
fn server(tables: &[CatalogTable<'_>]) -> FakeQueries {
    let mut server = FakeQueries { without_parameters: Some(for_all_schemas), ..FakeQueries::default() };
    let numbered = || (1_i64..).zip(tables);
    server.answer(
        catalog::RELATIONS,
        vec![
            ("schema_name", strings(tables.iter().map(|_| "public".to_owned()))),
            ("table_name", strings(tables.iter().map(|table| table.name.to_owned()))),
            ("table_id", longs(numbered().map(|(id, _)| id))),
            ("kind", strings(tables.iter().map(|table| table.kind.to_owned()))),
            ("pages", ints(&tables.iter().map(|table| table.pages).collect::<Vec<_>>())),
            ("toast_pages", Arc::new(tables.iter().map(|table| table.toast_pages).collect::<Int32Array>())),
            ("row_count", longs(tables.iter().map(|table| table.rows))),
            ("is_partition", Arc::new(tables.iter().map(|table| Some(table.is_partition())).collect::<BooleanArray>())),
            ("access_method", longs(tables.iter().map(|table| table.access_method))),
        ],
    );
    let columns: Vec<(i64, i16, &CatalogColumn<'_>)> = numbered()
        .filter(|(_, table)| !table.is_partition())
        .flat_map(|(id, table)| (1..).zip(table.columns).map(move |(number, column)| (id, number, column)))
        .collect();
    let each = |f: fn(&CatalogColumn<'_>) -> String| strings(columns.iter().map(|(_, _, column)| f(column)));
    server.answer(
        catalog::COLUMNS,
        vec![
            ("table_id", longs(columns.iter().map(|(id, ..)| *id))),
            ("column_number", Arc::new(columns.iter().map(|(_, number, _)| Some(*number)).collect::<Int16Array>())),
            ("column_name", each(|column| column.0.to_owned())),
            ("type_id", longs(columns.iter().map(|(_, _, column)| column.1))),
            ("declared_type", each(|column| column.2.to_owned())),
            ("type_kind", each(|column| column.3.to_owned())),
            ("type_category", each(|column| column.4.to_owned())),
            ("type_modifier", ints(&columns.iter().map(|(_, _, column)| column.5).collect::<Vec<_>>())),
            ("is_not_null", Arc::new(columns.iter().map(|(_, _, column)| Some(column.6)).collect::<BooleanArray>())),
        ],
    );
    server.answer(
        catalog::DOMAINS,
        vec![
            ("type_id", longs([900, 901].into_iter())),
            ("base_id", longs([1700, 900].into_iter())),
            ("type_modifier", ints(&[(5 << 16 | 2) + 4, -1])),
            ("base_kind", strings(["b", "d"].map(str::to_owned).into_iter())),
            ("base_category", strings(["N", "N"].map(str::to_owned).into_iter())),
        ],
    );
    let keys: Vec<(i64, &CatalogTable<'_>)> = numbered().filter(|(_, table)| !table.key.is_empty()).collect();
    server.answer(
        catalog::PRIMARY_KEYS,
        vec![
            ("table_id", longs(keys.iter().map(|(id, _)| *id))),
            ("column_numbers", strings(keys.iter().map(|(_, table)| table.key.to_owned()))),
            ("key_columns", Arc::new(keys.iter().map(|_| Some(2)).collect::<Int16Array>())),
        ],
    );
    let children: Vec<(i64, i64)> = numbered().filter_map(|(id, table)| Some((id, table.parent?))).collect();
    server.answer(
        catalog::CHILDREN,
        vec![
            ("child_id", longs(children.iter().map(|(child, _)| *child))),
            ("parent_id", longs(children.iter().map(|(_, parent)| *parent))),
        ],
    );
    server.of_version("15.08.0000")
}

fn table<'a>(name: &'a str, columns: &'a [CatalogColumn<'a>], key: &'a str, rows: i64, pages: i32) -> CatalogTable<'a> {
    CatalogTable {
        name,
        kind: "r",
        columns,
        key,
        rows,
        pages,
        toast_pages: None,
        parent: None,
        is_partition: true,
        access_method: 2,
    }
}

fn id(name: &str) -> TableId {
    TableId::new("public", name)
}

fn settings(json: &str) -> Settings {
    parse_settings(json).unwrap()
}

/// Small tables cut in parts: what a large one would do.
const CUT: &str = r#"{"partition_row_threshold": 100, "partition_rows": 100}"#;
const CUT_BY_KEY: &str = r#"{"partition_row_threshold": 100, "partition_rows": 100, "partition_by": "key"}"#;

fn states(plan: &TablePlan) -> Vec<State> {
    let rows = |state| match state {
        planning::State::Rows(state) => state,
        planning::State::Changes(changes) => panic!("{changes:?}"),
    };
    testing::states(plan).unwrap().into_iter().map(rows).collect()
}

fn blocks(plan: &TablePlan) -> Vec<(Option<u32>, Option<u32>)> {
    let range = |state: State| match state.part {
        Some(Part::Blocks(Blocks { first, end })) => (first, end),
        other => panic!("{other:?}"),
    };
    states(plan).into_iter().map(range).collect()
}

fn keys(plan: &TablePlan) -> Vec<(Option<String>, Option<String>)> {
    let range = |state: State| match state.part {
        Some(Part::Key(range)) => (range.lower, range.upper),
        other => panic!("{other:?}"),
    };
    states(plan).into_iter().map(range).collect()
}

#[test]
fn the_catalog_becomes_tables() {
    let server = server(&[
        table("orders", &[ID, ("line", 21, "smallint", "b", "N", -1, true), NAME], "2 1 3", 42, 1),
        CatalogTable { kind: "v", rows: -1, access_method: 0, ..table("a view", &[NAME], "", 0, 0) },
        CatalogTable { kind: "p", rows: 7, access_method: 0, ..table("parts", &[ID], "1", 0, 0) },
        CatalogTable { parent: Some(3), ..table("parts_1", &[ID], "1", 30, 3) },
        CatalogTable { parent: Some(3), ..table("parts_2", &[ID], "1", 12, 5) },
        table("never counted", &[ID], "", -1, 0),
        CatalogTable { toast_pages: Some(20), ..table("wide", &[ID], "", 1, 2) },
        CatalogTable { kind: "f", access_method: 0, ..table("elsewhere", &[ID], "", 5, 2) },
    ]);
    let tables = discovery::read(&server, None, Settings::default().common().catalog_options()).unwrap();
    let names: Vec<&str> = tables.iter().map(|table| table.id.name.as_str()).collect();
    assert_eq!(
        names,
        ["a view", "elsewhere", "never counted", "orders", "parts", "wide"],
        "partitions are no tables of their own"
    );
    assert_eq!(tables[0].kind, TableKind::View);
    assert_eq!(tables[3].primary_key, ["line", "id"], "in key order, without the columns an index only carries");
    let size = |rows, pages, bytes| Size { rows, pages, bytes };
    let sizes: Vec<Size> = tables.iter().map(|table| table.size).collect();
    assert_eq!(sizes[0], size(None, None, None));
    assert_eq!(sizes[1], size(Some(5), None, None), "another server has the rows");
    assert_eq!(sizes[2], size(None, Some(0), None));
    assert_eq!(sizes[3], size(Some(42), Some(1), Some(8192)));
    assert_eq!(sizes[4], size(Some(42), Some(5), Some(8 * 8192)), "all of all, but the pages of the largest");
    assert_eq!(sizes[5], size(Some(1), Some(2), Some(22 * 8192)), "with its long values");
}

#[test]
fn every_type_has_its_reading() {
    let columns: Vec<CatalogColumn<'_>> = vec![
        ID,
        NAME,
        ("share", 901, "share", "d", "N", -1, true),
        ("price", 1700, "numeric(18,4)", "b", "N", (18 << 16 | 4) + 4, true),
        ("fine", 1700, "numeric(3,5)", "b", "N", (3 << 16 | 5) + 4, false),
        ("until", 1184, "timestamp with time zone", "b", "D", -1, true),
        ("day", 1082, "date", "b", "D", -1, true),
        ("at", 1083, "time without time zone", "b", "D", -1, false),
        ("lead", 1186, "interval", "b", "T", -1, true),
        ("tags", 1009, "text[]", "b", "A", -1, true),
        ("pair", 5000, "pair", "c", "C", -1, false),
        ("mood", 5001, "mood", "e", "E", -1, true),
        ("cost", 790, "money", "b", "N", -1, false),
        ("key", 2950, "uuid", "b", "U", -1, true),
        ("span", 3904, "int4range", "r", "R", -1, false),
        ("own", 5002, "public.date", "b", "U", -1, false),
    ];
    let server = server(&[table("t", &columns, "1", 1, 1)]);
    let shown = |json: &str| -> Vec<String> {
        let settings = settings(json);
        let fields = discover(&server, &settings).unwrap().remove(0).columns;
        let plan = plan(&server, &settings, &[id("t")]).unwrap().remove(0);
        let (sql, _) = statement::select(&id("t"), &states(&plan).remove(0).columns, None).unwrap();
        let fields = fields.iter().map(|f| {
            let null = if f.nullable { "" } else { " not null" };
            format!("{} {}{null} {:?}", f.name, f.arrow_type, f.metadata)
        });
        fields.chain([sql]).collect()
    };
    insta::assert_debug_snapshot!("types", shown("{}"));
    let nulls = r#"{"infinity": "null", "nan": "null", "end_of_day": "null"}"#;
    insta::assert_debug_snapshot!("types_with_nulls", shown(nulls));
    let texts = shown(r#"{"end_of_day": "text"}"#);
    assert!(texts.iter().any(|field| field.starts_with("at Utf8 ")), "{texts:?}");
    assert!(texts.last().unwrap().contains("\"at\"::text AS \"at\""), "{texts:?}");
}

#[test]
fn numerics_without_bounds_need_a_decision() {
    let free = ("free", 1700, "numeric", "b", "N", -1, true);
    let wide = ("wide", 1700, "numeric(39,2)", "b", "N", (39 << 16 | 2) + 4, true);
    let server = server(&[table("t", &[ID, free], "1", 1, 1), table("u", &[ID, wide], "1", 1, 1)]);
    assert_eq!(discover(&server, &Settings::default()).unwrap().len(), 2, "a table that cannot be read hides no other");
    for (name, column) in [("t", "`free`"), ("u", "`wide`")] {
        let error = plan(&server, &Settings::default(), &[id(name)]).unwrap_err();
        assert_eq!((error.kind, error.code.as_str()), (ErrorKind::Data, errors::UNSUPPORTED_TYPE));
        assert!(error.message.contains(column) && error.message.contains("numeric = \"text\""), "{}", error.message);
    }
    let plans = plan(&server, &settings(r#"{"numeric": "text"}"#), &[id("t"), id("u")]).unwrap();
    let (sql, _) = statement::select(&id("t"), &states(&plans[0])[0].columns, None).unwrap();
    assert_eq!(sql, "SELECT \"id\", \"free\"::text AS \"free\" FROM \"public\".\"t\"");
    assert!(
        plan(&server, &settings(r#"{"columns": {"*.*": {"exclude": ["free", "wide"]}}}"#), &[id("t"), id("u")]).is_ok()
    );
}

#[test]
fn what_cannot_be_planned_says_why() {
    let server = server(&[table("t", &[ID, NAME], "1", 1, 1), table("audit", &[ID], "1", 1, 1)]);
    let fails = |json: &str, name: &str| plan(&server, &settings(json), &[id(name)]).unwrap_err().code;
    assert_eq!(fails(r#"{"columns": {"public.t": {"exclude": ["nam"]}}}"#, "t"), errors::CODES.unknown_column);
    assert_eq!(fails(r#"{"columns": {"public.t": {"exclude": ["*"]}}}"#, "t"), errors::CODES.no_columns);
    assert_eq!(fails(r#"{"exclude": ["public.audit"]}"#, "audit"), errors::CODES.no_table);
    assert_eq!(fails("{}", "gone"), errors::CODES.no_table);
}

#[test]
fn large_tables_are_cut_by_blocks() {
    let server = server(&[table("t", &[ID], "1", 400, 80), table("flat", &[ID], "1", 400, 0)]);
    let plans = plan(&server, &settings(CUT), &[id("t"), id("flat")]).unwrap();
    assert_eq!(
        blocks(&plans[0]),
        [(None, Some(20)), (Some(20), Some(40)), (Some(40), Some(60)), (Some(60), None)],
        "the last has no end: the file may have grown"
    );
    assert_eq!(plans[0].partitions[3].estimated_rows, Some(100));
    assert_eq!(states(&plans[1]).len(), 1, "never measured");
    assert_eq!(server.asked_of_tables(), Vec::<String>::new(), "nothing has to be asked");
    let asked = server.asked.borrow().iter().filter(|(sql, _)| sql == catalog::VERSION).count();
    assert_eq!(asked, 1, "for all tables");
}

/// Before version 14 every range of blocks costs a scan of the whole table.
#[test]
fn servers_without_ranges_of_blocks_cut_by_the_key_or_not_at_all() {
    for (version, by_blocks) in
        [("12.01.0000", false), ("13.22.0000)", false), ("14.00.0000", true), ("18.01.0000", true), ("Postgre", false)]
    {
        let server = server(&[table("t", &[ID], "1", 400, 80), table("no key", &[NAME], "", 400, 80)]);
        let mut server = server.of_version(version);
        let extent = "SELECT min(\"id\") AS low, max(\"id\") AS high FROM \"public\".\"t\"";
        server.answer(extent, vec![("low", ints(&[1])), ("high", ints(&[400]))]);
        let plans = plan(&server, &settings(CUT), &[id("t"), id("no key")]).unwrap();
        let parts: Vec<usize> = plans.iter().map(|plan| states(plan).len()).collect();
        if by_blocks {
            assert_eq!((parts, blocks(&plans[0]).len()), (vec![4, 4], 4), "{version}");
        } else {
            assert_eq!((parts, keys(&plans[0]).len()), (vec![4, 1], 4), "{version}");
        }
    }
    // Who does not cut by blocks does not ask.
    let server = server(&[table("t", &[ID], "1", 1, 1)]);
    plan(&server, &settings(CUT), &[id("t")]).unwrap();
    assert!(server.asked.borrow().iter().all(|(sql, _)| sql != catalog::VERSION));
}

#[test]
fn declarations_nobody_holds_a_table_to_are_not_believed() {
    let foreign = CatalogTable { kind: "f", access_method: 0, ..table("foreign", &[ID], "", 1, 0) };
    let parted = |name| CatalogTable { kind: "p", access_method: 0, ..table(name, &[ID], "", 0, 0) };
    let server = server(&[
        foreign,
        table("alone", &[ID], "", 1, 1),
        parted("parted"),
        CatalogTable { parent: Some(3), ..table("parted_1", &[ID], "", 1, 1) },
        parted("parted over there"),
        CatalogTable { kind: "p", access_method: 0, parent: Some(5), ..table("part", &[ID], "", 0, 0) },
        CatalogTable { parent: Some(6), ..CatalogTable { name: "part over there", ..foreign } },
        table("inherited", &[ID], "", 1, 1),
        CatalogTable { parent: Some(8), is_partition: false, ..table("heir", &[ID], "", 1, 1) },
    ]);
    let tables = discovery::read(&server, None, Settings::default().common().catalog_options()).unwrap();
    let nullable: Vec<(&str, bool)> = tables.iter().map(|t| (t.id.name.as_str(), t.columns[0].nullable)).collect();
    assert_eq!(
        nullable,
        [
            ("alone", false),
            ("foreign", true),
            ("heir", false),
            ("inherited", true),
            ("parted", false),
            ("parted over there", true)
        ]
    );
}

#[test]
fn without_a_shared_snapshot_or_a_heap_tables_are_cut_by_their_key() {
    let columnar = CatalogTable { access_method: 77, ..table("columnar", &[ID], "1", 400, 80) };
    let mut server = server(&[table("t", &[ID], "1", 400, 80), columnar, table("no key", &[NAME], "", 400, 80)]);
    let extent = |name: &str| format!("SELECT min(\"id\") AS low, max(\"id\") AS high FROM \"public\".\"{name}\"");
    for name in ["t", "columnar"] {
        server.answer(extent(name), vec![("low", ints(&[1])), ("high", ints(&[400]))]);
    }
    let some = |text: &str| Some(text.to_owned());
    let expected = [(None, some("101")), (some("101"), some("201")), (some("201"), some("301")), (some("301"), None)];
    let committed = r#"{"partition_row_threshold": 100, "partition_rows": 100, "isolation": "read_committed"}"#;
    assert_eq!(keys(&plan(&server, &settings(committed), &[id("t")]).unwrap()[0]), expected);
    assert_eq!(keys(&plan(&server, &settings(CUT_BY_KEY), &[id("t")]).unwrap()[0]), expected);
    assert_eq!(keys(&plan(&server, &settings(CUT), &[id("columnar")]).unwrap()[0]), expected);
    assert_eq!(states(&plan(&server, &settings(CUT_BY_KEY), &[id("no key")]).unwrap()[0]).len(), 1);
    let options = server.asked.borrow().iter().find(|(sql, _)| *sql == extent("t")).unwrap().1;
    assert_eq!(options.isolation, Some(datakit_sdk::Isolation::ReadCommitted), "bounds and rows by the same rule");
}

#[test]
fn small_tables_views_and_those_not_to_be_cut_are_one_partition() {
    let server = server(&[
        table("small", &[ID], "1", 100, 80),
        CatalogTable { kind: "v", access_method: 0, ..table("view", &[ID], "", -1, 0) },
        table("large", &[ID], "1", 400, 80),
    ]);
    let nothing = r#"{"partition_row_threshold": 100, "partition_rows": 100, "partition_by": "nothing"}"#;
    let plans = plan(&server, &settings(nothing), &[id("view"), id("small"), id("large")]).unwrap();
    for (plan, wanted) in plans.iter().zip(["view", "small", "large"]) {
        assert_eq!(plan.table, id(wanted), "in the order asked for");
        assert_eq!(states(plan).len(), 1);
        assert_eq!(states(plan)[0].part, None);
    }
}

#[test]
fn an_answer_of_another_shape_is_an_error() {
    let mut server = server(&[table("t", &[ID], "1", 400, 80)]);
    let wrong = strings(["a"].map(str::to_owned).into_iter());
    server.answer(
        "SELECT min(\"id\") AS low, max(\"id\") AS high FROM \"public\".\"t\"",
        vec![("low", Arc::clone(&wrong)), ("high", wrong)],
    );
    assert_eq!(plan(&server, &settings(CUT_BY_KEY), &[id("t")]).unwrap_err().code, errors::CODES.unexpected_answer);
}

#[test]
fn the_description_is_of_this_package() {
    let description = PostgresBronze::describe();
    assert_eq!(description.name, "postgres-bronze");
    assert_eq!(description.version, "0.1.0");
    assert_eq!(description.roles[0].kinds, ["postgres"]);
}
