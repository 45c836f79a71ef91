//! `sp_describe_first_result_set` as a call and as a batch, by every client there is.

use std::sync::Arc;

use datakit_fake_sqlserver::fast::FastTable;
use datakit_fake_sqlserver::sql::{SqlEngine, SqlEngineOptions};
use datakit_fake_sqlserver::{FakeSqlServer, Options, Running};
use mssql_tds::datatypes::sql_string::SqlString;
use mssql_tds::datatypes::sqltypes::SqlType;
use mssql_tds::message::parameters::rpc_parameters::{RpcParameter, StatusFlags};

use crate::common::{mssql, tib};
use crate::tsql::tsql;

const QUERY: &str = "SELECT id, @P1 AS p, note FROM fast.orders";

fn fake_sqlserver() -> Running {
    let fast_tables = vec![Arc::new(FastTable::orders("orders", 1000))];
    let options = SqlEngineOptions { database: "testdb".to_owned(), fast_tables, ..SqlEngineOptions::default() };
    let engine = SqlEngine::open(options).unwrap();
    engine.run_script("CREATE TABLE dbo.t (id int NOT NULL, note nvarchar(20) NULL)").unwrap();
    FakeSqlServer::start(Options::default(), Arc::new(engine)).unwrap()
}

fn text(name: Option<&str>, value: &str) -> RpcParameter {
    let value = SqlType::NVarcharMax(Some(SqlString::from_utf8_string(value.to_owned())));
    RpcParameter::new(name.map(str::to_owned), StatusFlags::NONE, value)
}

#[tokio::test]
async fn calls_and_batches_describe_alike() {
    let running = fake_sqlserver();
    let mut client = mssql::to(&running).await;
    let batch = format!("EXEC sys.sp_describe_first_result_set @tsql = N'{QUERY}', @params = N'@P1 decimal(9,2)'");
    let described = mssql::batch(&mut client, &batch).await;
    insta::assert_snapshot!(described.join("\n"));

    let name = || "sp_describe_first_result_set".to_owned();
    let named = vec![text(Some("@params"), "@P1 decimal(9,2)"), text(Some("@tsql"), QUERY)];
    let called = client.execute_stored_procedure(name(), None, Some(named), ()).await;
    assert_eq!(mssql::lines(&mut client, called).await, described);
    let by_place = vec![text(None, QUERY), text(None, "@P1 decimal(9,2)")];
    let called = client.execute_stored_procedure(name(), Some(by_place), None, ()).await;
    assert_eq!(mssql::lines(&mut client, called).await, described);

    // As tiberius can: a batch inside sp_executesql.
    let mut second = tib::to(&running).await;
    let answer = second
        .query("EXEC sys.sp_describe_first_result_set @tsql = @P1, @params = @P2", &[&QUERY, &"@P1 decimal(9,2)"])
        .await;
    assert_eq!(tib::lines(answer).await, described);

    let missing = vec![text(None, "SELECT a FROM dbo.missing")];
    let called = client.execute_stored_procedure(name(), Some(missing), None, ()).await;
    assert_eq!(
        mssql::lines(&mut client, called).await,
        ["error 208 class 16 state 1: Invalid object name 'dbo.missing'."]
    );
}

#[tokio::test]
async fn tsql_reads_a_description() {
    let sql = "EXEC sp_describe_first_result_set @tsql = N'SELECT id, note AS [the note] FROM dbo.t WHERE id > @P1', @params = N'@P1 int'";
    insta::assert_snapshot!(tsql(&fake_sqlserver(), "require", "Pl4nted 1!", sql).await);
}
