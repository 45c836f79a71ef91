//! What drivers ask of the catalog by procedures, and what they need around it.

use super::*;

fn shop() -> SqlEngine {
    let engine = engine();
    engine
        .run_script(
            "CREATE TABLE dbo.orders (id int IDENTITY(1, 1) NOT NULL, region nvarchar(10) NOT NULL, price decimal(18,4) NULL, \
             made datetime2(6) NULL, doc nvarchar(max) NULL, PRIMARY KEY (region, id))\nGO\n\
             CREATE TABLE dbo.[order_s] (a float NULL)\nGO\n\
             CREATE VIEW dbo.shown AS SELECT id FROM dbo.orders\nGO\n\
             EXEC sys.sp_cdc_enable_db\n\
             EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'orders', @role_name = NULL",
        )
        .unwrap();
    engine
}

#[test]
fn procedures_of_the_catalog_answer_with_its_rows() {
    insta::assert_snapshot!(
        run(
            &shop(),
            "EXEC sp_tables @table_owner = 'dbo', @table_type = '''TABLE'''
         EXEC sp_tables 'order[_]s'
         EXEC sys.sp_columns_100 'orders', 'dbo', NULL, '%'
         EXEC sp_pkeys 'orders', 'dbo'
         EXEC sp_statistics_100 'orders', 'dbo'
         EXEC sys.sp_cdc_help_jobs
         SELECT status_desc FROM sys.dm_server_services WHERE servicename LIKE N'SQL Server Agent (%'"
        )
        .lines()
        .map(|line| if line.contains("cdc.") { line.split_once(" | ").unwrap().1 } else { line })
        .collect::<Vec<_>>()
        .join("\n")
    );
}

#[test]
fn capture_instances_are_shown_with_their_columns() {
    let mut client = Client::of(&shop());
    let shown = client.ask("EXEC sys.sp_cdc_help_change_data_capture");
    for part in ["dbo orders dbo_orders", "[region], [id]", "[id], [region], [price], [made], [doc]"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
}

#[test]
fn table_variable_holds_the_rows_of_a_procedure() {
    let mut client = Client::of(&shop());
    let text = "DECLARE @t TABLE (q sysname, o sysname, t sysname, c sysname, seq smallint, pk sysname) \
                INSERT INTO @t EXEC sp_pkeys 'orders', 'dbo' SELECT c, seq FROM @t AS t ORDER BY seq DESC";
    assert_eq!(client.ask(text), "id 2; region 1");
    assert_eq!(client.ask("SELECT 1 FROM @t"), "error 1087", "it ends with the batch");
}

#[test]
fn implicit_transaction_begins_with_the_first_table() {
    let engine = shop();
    let (mut one, mut other) = (Client::of(&engine), Client::of(&engine));
    one.run("SET IMPLICIT_TRANSACTIONS ON");
    assert_eq!(one.ask("SELECT 1; SELECT @@TRANCOUNT"), "1; 0");
    one.run("INSERT INTO dbo.order_s VALUES (1.5)");
    assert_eq!(one.ask("SELECT @@TRANCOUNT"), "1");
    one.run("IF @@TRANCOUNT > 0 ROLLBACK TRAN");
    assert_eq!(other.ask("SELECT COUNT(*) FROM dbo.order_s"), "0");
    one.run(
        "INSERT INTO dbo.order_s VALUES (1.5) COMMIT SET IMPLICIT_TRANSACTIONS OFF DELETE FROM dbo.order_s WHERE a = 2",
    );
    assert_eq!(one.ask("SELECT @@TRANCOUNT"), "0");
    assert_eq!(other.ask("SELECT COUNT(*) FROM dbo.order_s"), "1");
}

#[test]
fn functions_of_this_database_may_be_named_with_it() {
    let mut client = Client::of(&shop());
    let database = client.ask("SELECT DB_NAME()");
    let text = format!(
        "SELECT [{database}].sys.fn_cdc_increment_lsn(0x00000000000000000001); \
         SELECT COUNT(*) FROM [{database}].cdc.[fn_cdc_get_all_changes_dbo_orders]([{database}].sys.fn_cdc_get_min_lsn('dbo_orders'), \
         [{database}].sys.fn_cdc_get_max_lsn(), N'all update old'); \
         SELECT TODATETIMEOFFSET(CAST('2026-01-02T03:04:05.5' AS datetime2(1)), -90), TODATETIMEOFFSET('2026-01-02', '+05:30')"
    );
    assert_eq!(
        client.ask(&text),
        "0x00000000000000000002; 0; 2026-01-02 03:04:05.5 -01:30 2026-01-02 00:00:00.0000000 +05:30"
    );
}
