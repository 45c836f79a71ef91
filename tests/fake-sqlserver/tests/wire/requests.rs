//! Batches, calls, prepared statements and transactions, as drivers send them.

use std::sync::{Arc, Mutex};

use datakit_fake_sqlserver::engine::{Event, Parameter, Request};
use datakit_fake_sqlserver::values::{Column, Length, SqlError, SqlType, Value};
use datakit_fake_sqlserver::{Encrypt, FakeSqlServer, Options, Running};
use mssql_tds::connection::tds_client::PreparedStatement;
use mssql_tds::datatypes::sqltypes::SqlType as Sent;
use mssql_tds::message::parameters::rpc_parameters::{RpcParameter, StatusFlags};
use tiberius::{ColumnData, ToSql};

use crate::common::scripted::{Scripted, emit, text};
use crate::common::{mssql, tib};

type Seen = Arc<Mutex<Vec<Request>>>;

/// A server that remembers requests and answers them with their number of parameters.
fn remembering() -> (Running, Seen) {
    let seen = Seen::default();
    let remember = Arc::clone(&seen);
    let engine = Scripted::new(move |request, out| {
        remember.lock().unwrap().push(request.clone());
        let count = match request {
            Request::Parameterized { parameters, .. } | Request::Procedure { parameters, .. } => parameters.len(),
            Request::Batch { .. } => 0,
        };
        emit(out, &[Column::new("count", SqlType::Int)], &[vec![Value::Int(count as i64)]]);
    });
    let running = FakeSqlServer::start(Options { encrypt: Encrypt::Off, ..Options::default() }, engine).unwrap();
    (running, seen)
}

/// A parameter as tiberius sends it, without a detour over other crates' types.
struct Raw(ColumnData<'static>);

impl ToSql for Raw {
    fn to_sql(&self) -> ColumnData<'_> {
        self.0.clone()
    }
}

fn parameters(seen: &Seen) -> Vec<Parameter> {
    match seen.lock().unwrap().last() {
        Some(Request::Parameterized { parameters, .. }) => parameters.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn tiberius_parameters_of_every_type_arrive() {
    let (running, seen) = remembering();
    let mut client = tib::to(&running).await;
    let numeric = tiberius::numeric::Numeric::new_with_scale(-12_345, 3);
    let uuid = uuid::Uuid::from_u128(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
    let date = tiberius::time::Date::new(737_000);
    let time = tiberius::time::Time::new(36_000, 0);
    let datetime2 = tiberius::time::DateTime2::new(date, tiberius::time::Time::new(7, 7));
    let offset = tiberius::time::DateTimeOffset::new(datetime2, -60);
    let datetime = tiberius::time::DateTime::new(5, 6);
    let answer = client
        .query(
            "SELECT @P1",
            &[
                &true,
                &7u8,
                &-7i16,
                &-70_000i32,
                &i64::MIN,
                &1.5f32,
                &-2.5f64,
                &"日本",
                &Vec::<u8>::from([1, 2]).as_slice(),
                &numeric,
                &uuid,
                &Raw(ColumnData::Date(Some(date))),
                &Raw(ColumnData::Time(Some(time))),
                &Raw(ColumnData::DateTime2(Some(datetime2))),
                &Raw(ColumnData::DateTimeOffset(Some(offset))),
                &Raw(ColumnData::DateTime(Some(datetime))),
                &Option::<i32>::None,
                &"long".repeat(3000).as_str(),
            ],
        )
        .await;
    assert_eq!(tib::lines(answer).await, ["columns count", "row 18"]);
    let parameters = parameters(&seen);
    let printed: Vec<String> = parameters
        .iter()
        .map(|parameter| {
            let value: String = format!("{:?}", parameter.value).chars().take(80).collect();
            format!("{} {:?} {value}", parameter.name, parameter.sql_type)
        })
        .collect();
    insta::assert_snapshot!(printed.join("\n"));
}

#[tokio::test]
async fn mssql_tds_parameters_arrive_by_name_and_null() {
    let (running, seen) = remembering();
    let mut client = mssql::to(&running).await;
    let parameter = |name: &str, value| RpcParameter::new(Some(name.to_owned()), StatusFlags::NONE, value);
    let sent = vec![
        parameter("@b", Sent::BigInt(Some(-9))),
        parameter("@n", Sent::Int(None)),
        parameter("@v", Sent::VarBinary(Some(vec![1, 2, 3]), 10)),
        parameter("@max", Sent::VarBinaryMax(Some(vec![5; 100_000]))),
        parameter("@d", Sent::Decimal(Some(mssql_tds::datatypes::decoder::DecimalParts::new(false, 10, 2, 12_345)))),
    ];
    let answer = client.execute_sp_executesql("SELECT @n".to_owned(), sent, ()).await;
    assert_eq!(mssql::lines(&mut client, answer).await, ["columns count", "row 5"]);
    let values: Vec<(String, SqlType, Value)> =
        parameters(&seen).into_iter().map(|parameter| (parameter.name, parameter.sql_type, parameter.value)).collect();
    let one = |name: &str, sql_type, value| (name.to_owned(), sql_type, value);
    assert_eq!(
        values,
        [
            one("@b", SqlType::BigInt, Value::Int(-9)),
            one("@n", SqlType::Int, Value::Null),
            one("@v", SqlType::VarBinary(Length::Limited(10)), Value::Bytes(vec![1, 2, 3])),
            one("@max", SqlType::VarBinary(Length::Max), Value::Bytes(vec![5; 100_000])),
            one("@d", SqlType::Decimal { precision: 10, scale: 2 }, Value::Decimal { unscaled: -12_345, scale: 2 }),
        ]
    );
}

#[tokio::test]
async fn a_prepared_statement_is_executed_again_and_let_go() {
    let (running, seen) = remembering();
    let mut client = mssql::to(&running).await;
    let parameter = |n| vec![RpcParameter::new(Some("@P1".to_owned()), StatusFlags::NONE, Sent::Int(Some(n)))];
    let mut statement = PreparedStatement::new("SELECT @P1");
    let mut displaced = None;
    for n in 1..=3 {
        let answer = client.execute_prepared(&mut statement, parameter(n), &mut displaced, ()).await;
        assert_eq!(mssql::lines(&mut client, answer).await, ["columns count", "row 1"]);
        assert_eq!(parameters(&seen)[0].value, Value::Int(i64::from(n)));
    }
    let id = statement.take_id().unwrap();
    client.unprepare(id, ()).await.unwrap();
    assert_eq!(seen.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_procedure_is_the_engines() {
    let (running, seen) = remembering();
    let mut client = mssql::to(&running).await;
    let named = vec![RpcParameter::new(Some("@table_name".to_owned()), StatusFlags::NONE, Sent::Int(Some(1)))];
    let answer = client.execute_stored_procedure("sp_columns".to_owned(), None, Some(named), ()).await;
    assert_eq!(mssql::lines(&mut client, answer).await, ["columns count", "row 1"]);
    let seen = seen.lock().unwrap();
    assert!(
        matches!(&seen[0], Request::Procedure { name, parameters } if name == "sp_columns" && parameters.len() == 1)
    );
}

#[tokio::test]
async fn transactions_begin_and_end_once() {
    let (running, _) = remembering();
    let mut client = tib::to(&running).await;
    client.begin_transaction().await.unwrap();
    assert_eq!(tib::lines(client.simple_query("x").await).await, ["columns count", "row 0"]);
    client.commit_transaction().await.unwrap();
    let error = client.commit_transaction().await.unwrap_err();
    assert!(tib::error_text(&error).starts_with("3902 "), "{error}");
    client.begin_transaction().await.unwrap();
    client.rollback_transaction().await.unwrap();
    assert_eq!(tib::lines(client.simple_query("x").await).await, ["columns count", "row 0"]);
}

#[tokio::test]
async fn results_messages_and_errors_come_in_the_engines_order() {
    let engine = Scripted::new(|request, out| {
        let column = [Column::new("a", SqlType::Int)];
        let row = |n| Event::Row(vec![Value::Int(n)]);
        let columns = || Event::Columns(Arc::new(column.to_vec()));
        let events = match text(request) {
            "two" => vec![
                Event::Info(SqlError::new(0, "hello").with_class(0)),
                Event::Done { rows: None },
                columns(),
                row(1),
                Event::Done { rows: Some(1) },
                columns(),
                Event::Done { rows: Some(0) },
            ],
            "middle" => vec![
                columns(),
                row(1),
                row(2),
                Event::Error(SqlError::new(8134, "Divide by zero error encountered.").at_line(3)),
            ],
            "before" => vec![Event::Error(SqlError::new(208, "Invalid object name 'x'."))],
            "fatal" => vec![columns(), row(1), Event::Error(SqlError::new(596, "Killed.").with_class(21)), row(2)],
            _ => vec![],
        };
        for event in events {
            if out(event).is_break() {
                return;
            }
        }
    });
    let running = FakeSqlServer::start(Options { encrypt: Encrypt::Off, ..Options::default() }, engine).unwrap();
    let mut tiberius = tib::to(&running).await;
    let mut mssql = mssql::to(&running).await;
    for (sql, expected) in [
        ("two", vec!["columns a", "row 1", "columns a"]),
        (
            "middle",
            vec!["columns a", "row 1", "row 2", "error 8134 class 16 state 1: Divide by zero error encountered."],
        ),
        ("before", vec!["error 208 class 16 state 1: Invalid object name 'x'."]),
        ("nothing", vec![]),
        ("fatal", vec!["columns a", "row 1", "error 596 class 21 state 1: Killed."]),
    ] {
        assert_eq!(tib::lines(tiberius.simple_query(sql).await).await, expected, "{sql}");
        assert_eq!(mssql::batch(&mut mssql, sql).await, expected, "{sql}");
    }
    // A fatal error ends the connection.
    assert!(tiberius.simple_query("two").await.is_err());
}

#[tokio::test]
async fn a_five_megabyte_value_and_a_long_result_arrive_whole() {
    let engine = Scripted::new(|request, out| match text(request) {
        "large" => {
            let column = Column::new("v", SqlType::VarBinary(Length::Max));
            let bytes: Vec<u8> = (0..5_000_000u32).map(|n| (n * 7 % 251) as u8).collect();
            emit(out, &[column], &[vec![Value::Bytes(bytes)]]);
        }
        _ => {
            let columns = [Column::new("n", SqlType::Int), Column::new("s", SqlType::NVarChar(Length::Limited(50)))];
            if out(Event::Columns(Arc::new(columns.to_vec()))).is_break() {
                return;
            }
            for n in 0..50_000 {
                let text = if n % 3 == 0 { Value::Null } else { Value::Text(format!("row {n} é")) };
                if out(Event::Row(vec![Value::Int(n), text])).is_break() {
                    return;
                }
            }
            let _stop = out(Event::Done { rows: Some(50_000) });
        }
    });
    let running = FakeSqlServer::start(Options::default(), engine).unwrap();
    let mut tiberius = tib::to(&running).await;
    let mut mssql = mssql::to(&running).await;
    let large = tib::lines(tiberius.simple_query("large").await).await;
    assert!(large[1].contains("(5000000 bytes"), "{large:?}");
    assert_eq!(mssql::batch(&mut mssql, "large").await, large);
    let many = tib::lines(tiberius.simple_query("many").await).await;
    assert_eq!((many.len(), many[50_000].as_str()), (50_001, "row 49999 | \"row 49999 é\""));
    assert_eq!(mssql::batch(&mut mssql, "many").await, many);
}
