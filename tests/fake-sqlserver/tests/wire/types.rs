//! Every type, with nulls and extremes, through both drivers, plain and in TLS, with every choice of encoding.

use std::sync::Arc;

use datakit_fake_sqlserver::engine::Event;
use datakit_fake_sqlserver::tds::{Encoding, NullBitmaps};
use datakit_fake_sqlserver::values::{Collation, Column, Length, SqlError, SqlType, Value, Variant};
use datakit_fake_sqlserver::{Encrypt, FakeSqlServer, Options};

use crate::common::scripted::{Scripted, emit, text};
use crate::common::{mssql, tib};

fn decimal(unscaled: i128, scale: u8) -> Value {
    Value::Decimal { unscaled, scale }
}

fn variant(sql_type: SqlType, value: Value) -> Value {
    Value::Variant(Box::new(Variant { sql_type, collation: Collation::Latin1, value }))
}

/// Each type with the values that strain it.
pub fn cases() -> Vec<(Column, Vec<Value>)> {
    let last_tick = 863_999_999_999;
    let max_decimal = 10i128.pow(38) - 1;
    let utf8 = |name: &str, sql_type| Column { collation: Collation::Utf8, ..Column::new(name, sql_type) };
    let long = |name: &str, sql_type| Column { table: vec!["dbo".into(), "t".into()], ..Column::new(name, sql_type) };
    let t = |text: &str| Value::Text(text.to_owned());
    let b = |bytes: &[u8]| Value::Bytes(bytes.to_vec());
    vec![
        (Column::new("bit", SqlType::Bit), vec![Value::Bit(true), Value::Bit(false)]),
        (Column::new("tinyint", SqlType::TinyInt), vec![Value::Int(0), Value::Int(255)]),
        (Column::new("smallint", SqlType::SmallInt), vec![Value::Int(-32_768), Value::Int(32_767)]),
        (Column::new("int", SqlType::Int), vec![Value::Int(i64::from(i32::MIN)), Value::Int(i64::from(i32::MAX))]),
        (Column::new("bigint", SqlType::BigInt), vec![Value::Int(i64::MIN), Value::Int(i64::MAX)]),
        (Column::new("real", SqlType::Real), vec![Value::Real(f32::MIN), Value::Real(1.0e-38)]),
        (Column::new("float", SqlType::Float), vec![Value::Float(f64::MAX), Value::Float(-0.0)]),
        (
            Column::new("decimal38_38", SqlType::Decimal { precision: 38, scale: 38 }),
            vec![decimal(max_decimal, 38), decimal(-1, 38)],
        ),
        (
            Column::new("decimal38_0", SqlType::Decimal { precision: 38, scale: 0 }),
            vec![decimal(-max_decimal, 0), decimal(0, 0)],
        ),
        (
            Column::new("numeric18_4", SqlType::Numeric { precision: 18, scale: 4 }),
            vec![decimal(-15, 1), decimal(999_999_999_999_999_999, 4)],
        ),
        (Column::new("numeric9_2", SqlType::Numeric { precision: 9, scale: 2 }), vec![decimal(123_456_789, 2)]),
        (
            Column::new("money", SqlType::Money),
            vec![decimal(i128::from(i64::MIN), 4), decimal(i128::from(i64::MAX), 4)],
        ),
        (
            Column::new("smallmoney", SqlType::SmallMoney),
            vec![decimal(i128::from(i32::MIN), 4), decimal(i128::from(i32::MAX), 4)],
        ),
        (Column::new("date", SqlType::Date), vec![Value::Date { days: 0 }, Value::Date { days: 3_652_058 }]),
        (Column::new("time0", SqlType::Time { scale: 0 }), vec![Value::Time { ticks: last_tick }]),
        (Column::new("time3", SqlType::Time { scale: 3 }), vec![Value::Time { ticks: last_tick }]),
        (
            Column::new("time7", SqlType::Time { scale: 7 }),
            vec![Value::Time { ticks: 0 }, Value::Time { ticks: last_tick }],
        ),
        (
            Column::new("datetime", SqlType::DateTime),
            vec![
                Value::DateTime { days: -53_690, three_hundredths: 0 },
                Value::DateTime { days: 2_958_463, three_hundredths: 25_919_999 },
            ],
        ),
        (
            Column::new("smalldatetime", SqlType::SmallDateTime),
            vec![Value::SmallDateTime { days: 0, minutes: 0 }, Value::SmallDateTime { days: 65_535, minutes: 1_439 }],
        ),
        (
            Column::new("datetime2_0", SqlType::DateTime2 { scale: 0 }),
            vec![Value::DateTime2 { days: 0, ticks: 0 }, Value::DateTime2 { days: 3_652_058, ticks: last_tick }],
        ),
        (
            Column::new("datetime2_7", SqlType::DateTime2 { scale: 7 }),
            vec![Value::DateTime2 { days: 0, ticks: 1 }, Value::DateTime2 { days: 3_652_058, ticks: last_tick }],
        ),
        (
            Column::new("datetimeoffset_7", SqlType::DateTimeOffset { scale: 7 }),
            vec![
                Value::DateTimeOffset { days: 1, ticks: 0, offset_minutes: -840 },
                Value::DateTimeOffset { days: 3_652_057, ticks: last_tick, offset_minutes: 840 },
            ],
        ),
        (Column::new("char", SqlType::Char { length: 10 }), vec![t("ab        "), t("€ÿ        ")]),
        (Column::new("varchar", SqlType::VarChar(Length::Limited(8000))), vec![t(""), t(&"é".repeat(8000))]),
        (utf8("varchar_utf8", SqlType::VarChar(Length::Limited(100))), vec![t("日本 🚀 é")]),
        (Column::new("varchar_max", SqlType::VarChar(Length::Max)), vec![t(""), t(&"abc".repeat(30_000))]),
        (Column::new("nchar", SqlType::NChar { length: 5 }), vec![t("日本   ")]),
        (Column::new("nvarchar", SqlType::NVarChar(Length::Limited(4000))), vec![t(""), t(&"🚀".repeat(2000))]),
        (Column::new("nvarchar_max", SqlType::NVarChar(Length::Max)), vec![t(""), t(&"日本x".repeat(20_000))]),
        (long("text", SqlType::Text), vec![t(""), t(&"Straße ".repeat(5_000))]),
        (long("ntext", SqlType::NText), vec![t(""), t(&"ещё ".repeat(5_000))]),
        (Column::new("xml", SqlType::Xml), vec![t("<a>1</a>"), t(&format!("<b>{}</b>", "ü".repeat(9_000)))]),
        (Column::new("json", SqlType::Json), vec![t("{\"a\":\"ü\"}")]),
        (Column::new("binary", SqlType::Binary { length: 4 }), vec![b(&[0xde, 0xad, 0xbe, 0xef])]),
        (Column::new("varbinary", SqlType::VarBinary(Length::Limited(8000))), vec![b(&[]), b(&[7; 8000])]),
        (Column::new("varbinary_max", SqlType::VarBinary(Length::Max)), vec![b(&[]), b(&[0x7a; 70_000])]),
        (long("image", SqlType::Image), vec![b(&[]), b(&[1, 2, 3, 4]), b(&[9; 40_000])]),
        (Column::new("rowversion", SqlType::RowVersion), vec![b(&[0, 0, 0, 0, 0, 0, 7, 0xd1])]),
        (
            Column::new("uniqueidentifier", SqlType::UniqueIdentifier),
            vec![Value::Uuid([
                0x6f, 0x96, 0x19, 0xff, 0x8b, 0x86, 0xd0, 0x11, 0xb4, 0x2d, 0, 0xc0, 0x4f, 0xc9, 0x64, 0xff,
            ])],
        ),
        (Column::new("hierarchyid", SqlType::HierarchyId), vec![b(&[0x5a, 0xc0]), b(&[])]),
        (Column::new("geometry", SqlType::Geometry), vec![b(&[0, 0, 0, 0, 1, 12, 0, 0])]),
        (Column::new("geography", SqlType::Geography), vec![b(&[0xe6, 0x10, 0, 0, 1, 12, 1, 2])]),
        (Column::new("variant", SqlType::SqlVariant), variants()),
    ]
}

fn variants() -> Vec<Value> {
    let limited = Length::Limited;
    vec![
        variant(SqlType::Int, Value::Int(-5)),
        variant(SqlType::BigInt, Value::Int(i64::MAX)),
        variant(SqlType::SmallInt, Value::Int(-3)),
        variant(SqlType::TinyInt, Value::Int(200)),
        variant(SqlType::Bit, Value::Bit(true)),
        variant(SqlType::Real, Value::Real(1.5)),
        variant(SqlType::Float, Value::Float(-2.5)),
        variant(SqlType::Decimal { precision: 38, scale: 10 }, decimal(10i128.pow(37), 10)),
        variant(SqlType::Numeric { precision: 5, scale: 2 }, decimal(-12_345, 2)),
        variant(SqlType::Money, decimal(-12_345, 4)),
        variant(SqlType::SmallMoney, decimal(12_345, 4)),
        variant(SqlType::Date, Value::Date { days: 737_000 }),
        variant(SqlType::Time { scale: 3 }, Value::Time { ticks: 36_000_000_000 }),
        variant(SqlType::DateTime, Value::DateTime { days: 1, three_hundredths: 2 }),
        variant(SqlType::SmallDateTime, Value::SmallDateTime { days: 3, minutes: 4 }),
        variant(SqlType::DateTime2 { scale: 7 }, Value::DateTime2 { days: 737_000, ticks: 5 }),
        variant(
            SqlType::DateTimeOffset { scale: 7 },
            Value::DateTimeOffset { days: 737_000, ticks: 5, offset_minutes: 60 },
        ),
        variant(SqlType::VarChar(limited(20)), Value::Text("Straße".to_owned())),
        variant(SqlType::NVarChar(limited(20)), Value::Text("日本".to_owned())),
        variant(SqlType::VarBinary(limited(8)), Value::Bytes(vec![1, 2, 3])),
        variant(SqlType::UniqueIdentifier, Value::Uuid([3; 16])),
    ]
}

/// One result with every case as a column: its values from the top, nulls below them.
fn everything() -> (Vec<Column>, Vec<Vec<Value>>) {
    let cases = cases();
    let height = cases.iter().map(|(_, values)| values.len()).max().unwrap() + 1;
    let rows = (0..height)
        .map(|row| cases.iter().map(|(_, values)| values.get(row).cloned().unwrap_or(Value::Null)).collect())
        .collect();
    (cases.into_iter().map(|(column, _)| column).collect(), rows)
}

fn fake_sqlserver(options: Options) -> datakit_fake_sqlserver::Running {
    let engine = Scripted::new(|request, out| match text(request) {
        "everything" => {
            let (columns, rows) = everything();
            emit(out, &columns, &rows);
        }
        "not null" => {
            let full: Vec<(Column, Vec<Value>)> = cases();
            let columns: Vec<Column> = full.iter().map(|(column, _)| column.clone().not_null()).collect();
            let row = full.into_iter().map(|(_, values)| values[0].clone()).collect();
            emit(out, &columns, &[row]);
        }
        other => {
            let error = SqlError::new(2812, format!("no answer to {other}"));
            let _stop = out(Event::Error(error));
        }
    });
    FakeSqlServer::start(options, engine).unwrap()
}

async fn both(options: Options, sql: &str) -> Vec<String> {
    let running = fake_sqlserver(options);
    let by_tiberius = tib::lines(tib::to(&running).await.simple_query(sql).await).await;
    let by_mssql = mssql::batch(&mut mssql::to(&running).await, sql).await;
    let (kept_by_tiberius, utf8_by_tiberius) = without_utf8(&by_tiberius);
    let (kept_by_mssql, utf8_by_mssql) = without_utf8(&by_mssql);
    assert_eq!(kept_by_tiberius, kept_by_mssql);
    // tiberius 0.13 takes every `varchar` for the code page of its collation's language, also where the collation says
    // UTF-8. The bytes are right, as the other driver shows.
    assert_eq!(utf8_by_tiberius[1], ["\"æ—¥æœ¬ ðŸš€ Ã©\"", "\"{\\\"a\\\":\\\"Ã¼\\\"}\""]);
    assert_eq!(utf8_by_mssql[1], ["\"日本 🚀 é\"", "\"{\\\"a\\\":\\\"ü\\\"}\""]);
    by_mssql
}

/// Splits lines into what both drivers read alike and the cells of UTF-8 columns.
fn without_utf8(lines: &[String]) -> (Vec<Vec<String>>, Vec<Vec<String>>) {
    let columns: Vec<String> = cases().into_iter().map(|(column, _)| column.name).collect();
    let mut kept = Vec::new();
    let mut utf8 = Vec::new();
    for line in lines {
        let separator = if line.starts_with("row ") { " | " } else { " " };
        let cells: Vec<&str> = line.split_once(' ').unwrap().1.split(separator).collect();
        assert_eq!(cells.len(), columns.len(), "{line}");
        let is_utf8 = |index: &usize| matches!(columns[*index].as_str(), "varchar_utf8" | "json");
        let pick = |utf8: bool| -> Vec<String> {
            (0..cells.len()).filter(|index| is_utf8(index) == utf8).map(|index| cells[index].to_owned()).collect()
        };
        kept.push(pick(false));
        utf8.push(pick(true));
    }
    (kept, utf8)
}

#[tokio::test]
async fn every_type_reads_alike_whatever_the_encoding() {
    let plain = Options { encrypt: Encrypt::Off, ..Options::default() };
    let expected = both(plain.clone(), "everything").await;
    insta::assert_snapshot!("every-type", expected.join("\n"));
    let choices = [
        Encoding { null_bitmaps: NullBitmaps::Always, ..Encoding::default() },
        Encoding { null_bitmaps: NullBitmaps::Never, ..Encoding::default() },
        Encoding { announced_lengths: false, chunk_bytes: 1_001, ..Encoding::default() },
        Encoding { short_decimals: true, chunk_bytes: 1 << 20, ..Encoding::default() },
    ];
    for encoding in choices {
        assert_eq!(both(Options { encoding, ..plain.clone() }, "everything").await, expected, "{encoding:?}");
    }
    assert_eq!(both(Options { encrypt: Encrypt::Required, ..plain }, "everything").await, expected);
}

#[tokio::test]
async fn fixed_types_that_are_never_null_read_alike() {
    let read = both(Options { encrypt: Encrypt::Off, ..Options::default() }, "not null").await;
    let nullable = both(Options { encrypt: Encrypt::Off, ..Options::default() }, "everything").await;
    assert_eq!(read[..2], nullable[..2]);
}

#[tokio::test]
async fn a_lone_surrogate_arrives_as_it_is() {
    let engine = Scripted::new(|_, out| {
        let column = Column::new("s", SqlType::NVarChar(Length::Limited(5)));
        emit(out, &[column], &[vec![Value::Utf16(vec![0x61, 0xd800])]]);
    });
    let running = FakeSqlServer::start(Options { encrypt: Encrypt::Off, ..Options::default() }, engine).unwrap();
    let mut client = mssql::to(&running).await;
    client.execute("surrogate".to_owned(), ()).await.unwrap();
    let row = mssql_tds::connection::tds_client::ResultSet::next_row(&mut client).await.unwrap().unwrap();
    let mssql_tds::datatypes::column_values::ColumnValues::String(text) = &row[0] else {
        panic!("{row:?}");
    };
    assert_eq!(text.as_utf16_bytes(), Some([0x61, 0, 0, 0xd8].as_slice()));
    let error = tib::lines(tib::to(&running).await.simple_query("surrogate").await).await;
    assert!(error[1].starts_with("error "), "{error:?}");
}

#[tokio::test]
async fn values_that_do_not_fit_end_the_result_with_an_error() {
    let wrong: [(SqlType, Value, i32); 8] = [
        (SqlType::TinyInt, Value::Int(256), 220),
        (SqlType::Int, Value::Int(1 << 31), 220),
        (SqlType::Int, Value::Text("1".to_owned()), 8114),
        (SqlType::Decimal { precision: 4, scale: 2 }, decimal(10_000, 2), 8115),
        (SqlType::Decimal { precision: 4, scale: 2 }, decimal(1, 3), 8115),
        (SqlType::NVarChar(Length::Limited(2)), Value::Text("abc".to_owned()), 2628),
        (SqlType::Date, Value::Date { days: 3_652_059 }, 8115),
        (SqlType::Time { scale: 7 }, Value::Time { ticks: 864_000_000_000 }, 8115),
    ];
    let expected: Vec<String> = wrong.iter().map(|(_, _, number)| format!("error {number} ")).collect();
    let wrong = Arc::new(wrong);
    let engine = Scripted::new(move |request, out| {
        let (sql_type, value, _) = &wrong[text(request).parse::<usize>().unwrap()];
        let good = Value::Null;
        emit(out, &[Column::new("c", *sql_type)], &[vec![good], vec![value.clone()], vec![Value::Null]]);
    });
    let running = FakeSqlServer::start(Options { encrypt: Encrypt::Off, ..Options::default() }, engine).unwrap();
    let mut tiberius = tib::to(&running).await;
    let mut mssql = mssql::to(&running).await;
    for (index, expected) in expected.iter().enumerate() {
        let lines = tib::lines(tiberius.simple_query(index.to_string()).await).await;
        assert_eq!(lines[..2], ["columns c".to_owned(), "row null".to_owned()]);
        assert!(lines.len() == 3 && lines[2].starts_with(expected), "{lines:?}");
        assert_eq!(mssql::batch(&mut mssql, &index.to_string()).await, lines);
    }
}
