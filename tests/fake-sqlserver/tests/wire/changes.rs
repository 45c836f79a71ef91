//! What changes in tables, as both drivers read it: transactions, change tracking, change data capture.

use std::sync::Arc;

use datakit_fake_sqlserver::sql::{Interruption, Place, SqlEngine, SqlEngineOptions};
use datakit_fake_sqlserver::{FakeSqlServer, Options, Running};

use crate::common::{mssql, tib};

fn fake_sqlserver() -> (Running, SqlEngine) {
    let options = SqlEngineOptions { database: "testdb".to_owned(), ..SqlEngineOptions::default() };
    let engine = SqlEngine::open(options).unwrap();
    engine
        .run_script(
            "CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, v nvarchar(20) NULL, rv rowversion)\nGO\n\
             ALTER DATABASE testdb SET CHANGE_TRACKING = ON\nGO\nALTER TABLE dbo.t ENABLE CHANGE_TRACKING\nGO\n\
             EXEC sys.sp_cdc_enable_db; EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL\nGO\n\
             INSERT INTO dbo.t (id, v) VALUES (1, N'a'), (2, N'b')",
        )
        .unwrap();
    (FakeSqlServer::start(Options::default(), Arc::new(engine.clone())).unwrap(), engine)
}

#[tokio::test]
async fn transactions_of_two_drivers_are_apart() {
    let (running, _) = fake_sqlserver();
    let mut one = tib::to(&running).await;
    let mut other = mssql::to(&running).await;
    one.begin_transaction().await.unwrap();
    assert_eq!(
        tib::lines(one.simple_query("UPDATE dbo.t SET v = N'x' WHERE id = 1").await).await,
        Vec::<String>::new()
    );
    let rows = "SELECT id, v FROM dbo.t ORDER BY id";
    assert_eq!(mssql::batch(&mut other, rows).await, ["columns id v", "row 1 | \"a\"", "row 2 | \"b\""]);
    let locked = mssql::batch(&mut other, "SET LOCK_TIMEOUT 10; DELETE FROM dbo.t WHERE id = 1").await;
    assert_eq!(locked, ["error 1222 class 16 state 51: Lock request time out period exceeded."]);
    one.rollback_transaction().await.unwrap();
    assert_eq!(tib::lines(one.simple_query(rows).await).await, ["columns id v", "row 1 | \"a\"", "row 2 | \"b\""]);
}

#[tokio::test]
async fn both_drivers_read_the_same_changes() {
    let (running, _) = fake_sqlserver();
    let mut one = tib::to(&running).await;
    let mut other = mssql::to(&running).await;
    tib::lines(one.simple_query("DELETE FROM dbo.t WHERE id = 1; UPDATE dbo.t SET v = N'c' WHERE id = 2").await).await;
    let text = "SELECT CHANGE_TRACKING_CURRENT_VERSION() AS v, CHANGE_TRACKING_MIN_VALID_VERSION(OBJECT_ID('dbo.t')) AS m, \
         MIN_ACTIVE_ROWVERSION() AS r; \
         DECLARE @v bigint = 0; SELECT ct.*, t.v FROM CHANGETABLE(CHANGES dbo.t, @v) AS ct LEFT JOIN dbo.t AS t ON t.id = ct.id; \
         DECLARE @from binary(10) = sys.fn_cdc_get_min_lsn('dbo_t'), @to binary(10) = sys.fn_cdc_get_max_lsn(); \
         SELECT * FROM cdc.fn_cdc_get_all_changes_dbo_t(@from, @to, N'all'); \
         SELECT * FROM cdc.fn_cdc_get_net_changes_dbo_t(@from, @to, N'all')";
    let read = tib::lines(one.simple_query(text).await).await;
    assert_eq!(mssql::batch(&mut other, text).await, read);
    insta::assert_snapshot!(read.join("\n"));
}

#[tokio::test]
async fn a_commit_arrives_between_two_statements_of_a_client() {
    let (running, engine) = fake_sqlserver();
    engine.add_interruption(Interruption {
        statement: "CURRENT_VERSION".to_owned(),
        place: Place::After,
        script: "INSERT INTO dbo.t (id, v) VALUES (3, N'late')".to_owned(),
        times: 2,
    });
    let mut client = tib::to(&running).await;
    let read = "SELECT CHANGE_TRACKING_CURRENT_VERSION() AS v; SELECT ct.id FROM CHANGETABLE(CHANGES dbo.t, 1) AS ct";
    let without = tib::lines(client.simple_query(read).await).await;
    assert_eq!(without, ["columns v", "row 1", "columns id", "row 3"]);
    tib::lines(client.simple_query("DELETE FROM dbo.t WHERE id = 3").await).await;
    let snapshot = format!("SET TRANSACTION ISOLATION LEVEL SNAPSHOT; BEGIN TRAN; {read}; COMMIT");
    let within = tib::lines(client.simple_query(snapshot.replace(", 1)", ", 3)").as_str()).await).await;
    assert_eq!(within, ["columns v", "row 3", "columns id"]);
}
