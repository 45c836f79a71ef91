//! Change data capture.

use super::*;
use crate::sql::switches::{Capture, KeyUpdates};

/// `dbo.t`, captured as `dbo_t`, and a client.
fn captured() -> (SqlEngine, Client) {
    let engine = engine();
    engine
        .run_script(
            "CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, a int NULL, note nvarchar(max) NULL, old text NULL, flag bit NOT NULL \
             DEFAULT 0)\nGO\n\
             INSERT INTO dbo.t (id, a) VALUES (100, 1)\nGO\n\
             EXEC sys.sp_cdc_enable_db\n\
             EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N't', @role_name = NULL",
        )
        .unwrap();
    let client = Client::of(&engine);
    (engine, client)
}

const ALL: &str =
    "DECLARE @from binary(10) = sys.fn_cdc_get_min_lsn('dbo_t'), @to binary(10) = sys.fn_cdc_get_max_lsn(); ";

/// Operations, keys and values of all changes.
fn changes(client: &mut Client, option: &str) -> String {
    client
        .ask(&format!("{ALL}SELECT __$operation, id, a FROM cdc.fn_cdc_get_all_changes_dbo_t(@from, @to, N'{option}')"))
}

fn net(client: &mut Client, option: &str) -> String {
    client.ask(&format!(
        "{ALL}SELECT __$operation, id, a FROM cdc.fn_cdc_get_net_changes_dbo_t(@from, @to, N'{option}') AS n"
    ))
}

#[test]
fn changes_are_captured_in_order_of_commits() {
    let (engine, mut one) = captured();
    let mut other = Client::of(&engine);
    one.run("BEGIN TRAN; INSERT INTO dbo.t (id, a) VALUES (1, 1)");
    other.run("INSERT INTO dbo.t (id, a) VALUES (2, 2)");
    one.run("UPDATE dbo.t SET a = 10 WHERE id = 1; COMMIT");
    one.run("DELETE FROM dbo.t WHERE id = 2; BEGIN TRAN; DELETE FROM dbo.t; ROLLBACK");
    assert_eq!(changes(&mut one, "all"), "2 2 2; 2 1 1; 4 1 10; 1 2 2");
    assert_eq!(changes(&mut one, "all update old"), "2 2 2; 2 1 1; 3 1 1; 4 1 10; 1 2 2");
    assert_eq!(net(&mut one, "all"), "2 1 10");
    // One LSN a transaction, a mask of a bit a column.
    assert_eq!(
        one.ask(&format!(
            "{ALL}SELECT COUNT(DISTINCT __$start_lsn) AS n FROM cdc.fn_cdc_get_all_changes_dbo_t(@from, @to, 'all'); \
             SELECT __$update_mask FROM cdc.fn_cdc_get_all_changes_dbo_t(@from, @to, 'all') AS c"
        )),
        "3; 0x1F; 0x1F; 0x02; 0x1F"
    );
}

#[test]
fn net_changes_hold_the_last_state_of_each_key() {
    let (_, mut one) = captured();
    one.run("UPDATE dbo.t SET a = 2 WHERE id = 100; UPDATE dbo.t SET a = 3 WHERE id = 100");
    one.run("INSERT INTO dbo.t (id, a) VALUES (1, 1); DELETE FROM dbo.t WHERE id = 1; INSERT INTO dbo.t (id, a) VALUES (2, 2)");
    assert_eq!(net(&mut one, "all"), "4 100 3; 2 2 2");
    assert_eq!(net(&mut one, "all with merge"), "5 100 3; 5 2 2");
    one.run(
        "DELETE FROM dbo.t WHERE id = 100; INSERT INTO dbo.t (id, a) VALUES (100, 9); DELETE FROM dbo.t WHERE id = 2",
    );
    assert_eq!(net(&mut one, "all"), "4 100 9");
    one.run("DELETE FROM dbo.t WHERE id = 100");
    assert_eq!(net(&mut one, "all"), "1 100 9");
}

#[test]
fn a_key_update_is_a_delete_and_an_insert() {
    let (engine, mut one) = captured();
    one.run("INSERT INTO dbo.t (id, a) VALUES (101, 2)");
    one.run("UPDATE dbo.t SET id = 5 WHERE id = 100");
    const ROWS: &str = "SELECT __$operation, id, __$command_id FROM cdc.dbo_t_CT WHERE __$start_lsn = sys.fn_cdc_get_max_lsn(); \
         SELECT COUNT(DISTINCT __$seqval) AS n FROM cdc.dbo_t_CT WHERE __$start_lsn = sys.fn_cdc_get_max_lsn()";
    assert_eq!(one.ask(ROWS), "1 100 1; 2 5 2; 1");
    // Of several rows: all deletes first, each at a place of its own.
    one.run("UPDATE dbo.t SET id = id + 1");
    assert_eq!(one.ask(ROWS), "1 5 1; 1 101 2; 2 6 3; 2 102 4; 4");
    engine.set_switches(|switches| switches.key_updates = KeyUpdates::InsertFirst);
    one.run("UPDATE dbo.t SET id = 7 WHERE id = 6");
    assert_eq!(one.ask(ROWS), "2 7 1; 1 6 2; 1");
}

#[test]
fn values_are_null_where_they_are_not_logged() {
    let (engine, mut one) = captured();
    one.run("INSERT INTO dbo.t VALUES (1, 1, N'note', 'old', 1)");
    one.run("UPDATE dbo.t SET a = 2 WHERE id = 1");
    one.run("UPDATE dbo.t SET note = N'new' WHERE id = 1");
    one.run("DELETE FROM dbo.t WHERE id = 1");
    const ROWS: &str = "SELECT __$operation, note, old, flag FROM cdc.dbo_t_CT";
    assert_eq!(one.ask(ROWS), "2 note old 1; 3 NULL NULL 1; 4 note old 1; 3 note NULL 1; 4 new old 1; 1 new NULL 1");
    engine.set_switches(|switches| switches.set("deleted-values", "bit-null").unwrap());
    one.run("INSERT INTO dbo.t VALUES (2, 1, N'note', 'old', 1); DELETE FROM dbo.t WHERE id = 2");
    assert!(one.ask(ROWS).ends_with("2 note old 1; 1 NULL NULL NULL"));
}

#[test]
fn ranges_that_are_not_valid_are_error_313() {
    let (engine, mut one) = captured();
    one.run("INSERT INTO dbo.t (id, a) VALUES (1, 1)");
    let ask = |client: &mut Client, from: &str, to: &str, option: &str| {
        client.ask(&format!(
            "{ALL}DECLARE @next binary(10) = sys.fn_cdc_increment_lsn(@to), @none binary(10); \
             SELECT id FROM cdc.fn_cdc_get_all_changes_dbo_t({from}, {to}, {option})"
        ))
    };
    assert_eq!(ask(&mut one, "@from", "@to", "'all'"), "1");
    for (from, to, option) in [
        ("@from", "@next", "'all'"),
        ("@next", "@to", "'all'"),
        ("sys.fn_cdc_decrement_lsn(@from)", "@to", "'all'"),
        ("@none", "@to", "'all'"),
        ("@from", "NULL", "'all'"),
        ("@from", "@to", "'some'"),
    ] {
        assert_eq!(ask(&mut one, from, to, option), "error 313", "{from} {to} {option}");
    }
    engine.set_switches(|switches| switches.set("invalid-range", "208").unwrap());
    assert_eq!(ask(&mut one, "@from", "@next", "'all'"), "error 208");
    engine.set_denied("dbo.t", true);
    assert_eq!(ask(&mut one, "@from", "@to", "'all'"), "error 229");
    assert_eq!(one.ask("SELECT sys.fn_cdc_get_min_lsn('dbo_t') AS l"), "0x00000000000000000000");
}

#[test]
fn capture_can_be_a_step_of_its_own() {
    let (engine, mut one) = captured();
    one.run("EXEC sys.sp_cdc_disable_table N'dbo', N't', N'all'");
    assert_eq!(changes(&mut one, "all"), "error 208");
    engine.set_switches(|switches| switches.capture = Capture::OnCommand);
    one.run("EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL, N'again'");
    const LSNS: &str = "SELECT sys.fn_cdc_get_min_lsn('again') AS low, sys.fn_cdc_get_max_lsn() AS high, \
         sys.fn_cdc_get_min_lsn('nothing') AS none";
    let before = one.ask(LSNS);
    assert!(before.starts_with("NULL 0x") && before.ends_with(" 0x00000000000000000000"), "{before}");
    one.run("INSERT INTO dbo.t (id, a) VALUES (1, 1)");
    assert_eq!(one.ask("SELECT COUNT(*) AS n FROM cdc.again_CT"), "0");
    one.run("EXEC sys.sp_cdc_scan");
    assert_eq!(one.ask("SELECT __$operation, id FROM cdc.again_CT"), "2 1");
    assert_eq!(
        one.ask("SELECT CASE WHEN sys.fn_cdc_get_max_lsn() > sys.fn_cdc_get_min_lsn('again') THEN 1 END AS ok"),
        "1"
    );
}

#[test]
fn clean_up_moves_the_low_end() {
    let (_, mut one) = captured();
    one.run("INSERT INTO dbo.t (id, a) VALUES (1, 1)");
    one.run("INSERT INTO dbo.t (id, a) VALUES (2, 2)");
    one.run(
        "DECLARE @low binary(10) = sys.fn_cdc_get_max_lsn(); EXEC sys.sp_cdc_cleanup_change_table 'dbo_t', @low, 5000",
    );
    assert_eq!(changes(&mut one, "all"), "2 2 2");
    one.run("EXEC sys.fake_idle; EXEC sys.fake_clean_captured");
    assert_eq!(changes(&mut one, "all"), "");
    assert_eq!(one.ask("SELECT COUNT(*) AS n FROM cdc.lsn_time_mapping"), "1");
    assert_eq!(
        one.ask(
            "SELECT sys.fn_cdc_map_time_to_lsn('largest less than or equal', \
                 sys.fn_cdc_map_lsn_to_time(sys.fn_cdc_get_max_lsn())) AS l"
        ),
        one.ask("SELECT sys.fn_cdc_get_max_lsn() AS l")
    );
}

#[test]
fn new_columns_are_for_a_second_instance() {
    let (_, mut one) = captured();
    one.run("ALTER TABLE dbo.t ADD n int NULL; UPDATE dbo.t SET n = 5 WHERE id = 100");
    assert_eq!(changes(&mut one, "all"), "");
    assert_eq!(one.ask("SELECT ddl_command FROM cdc.ddl_history"), "ALTER TABLE dbo.t ADD n INT NULL");
    one.run("EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL, @capture_instance = N'second', @captured_column_list = N'id, n'");
    assert_eq!(one.ask("EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL, @capture_instance = N'third'"), "error 22962");
    one.run("UPDATE dbo.t SET n = 6, a = 6 WHERE id = 100");
    assert_eq!(changes(&mut one, "all"), "4 100 6");
    assert_eq!(one.ask("SELECT __$operation, id, n FROM cdc.second_CT"), "3 100 5; 4 100 6");
}

#[test]
fn the_catalog_tells_what_is_captured() {
    let (_, mut one) = captured();
    assert_eq!(
        one.ask("SELECT name, is_tracked_by_cdc, is_ms_shipped FROM sys.tables ORDER BY name; \
                 SELECT is_cdc_enabled FROM sys.databases WHERE name = DB_NAME(); \
                 SELECT capture_instance, OBJECT_NAME(source_object_id) AS s, OBJECT_NAME(object_id) AS t, supports_net_changes \
                 FROM cdc.change_tables; \
                 SELECT column_name, column_ordinal FROM cdc.captured_columns ORDER BY column_ordinal; \
                 SELECT column_name, index_ordinal FROM cdc.index_columns; \
                 SELECT sys.fn_cdc_get_column_ordinal('dbo_t', 'note') AS o, sys.fn_cdc_is_bit_set(2, 0x02) AS b"),
        "dbo_t_CT 0 1; t 1 0; 1; dbo_t t dbo_t_CT 1; id 1; a 2; note 3; old 4; flag 5; id 1; 3 1"
    );
    assert_eq!(one.ask("TRUNCATE TABLE dbo.t"), "error 4711");
    one.run("DROP TABLE dbo.t");
    assert_eq!(one.ask("SELECT COUNT(*) AS n FROM cdc.change_tables"), "0");
    one.run("EXEC sys.sp_cdc_disable_db");
    assert_eq!(one.ask("SELECT COUNT(*) AS n FROM cdc.change_tables"), "error 208");
}

#[test]
fn doubtful_lsns_are_switches() {
    let (engine, mut one) = captured();
    let switch = |name: &str, value: &str| engine.set_switches(|switches| switches.set(name, value).unwrap());
    switch("min-lsn", "zero");
    switch("max-lsn", "null");
    const LSNS: &str = "SELECT sys.fn_cdc_get_min_lsn('dbo_t') AS low, sys.fn_cdc_get_max_lsn() AS high";
    assert_eq!(one.ask(LSNS), "0x00000000000000000000 NULL");
    switch("min-lsn", "null");
    switch("max-lsn", "below-start");
    assert_eq!(one.ask(LSNS), "NULL 0x0000002A000000000001");
    switch("max-lsn", "known");
    switch("seqval", "falling");
    one.run("BEGIN TRAN; INSERT INTO dbo.t (id) VALUES (1); INSERT INTO dbo.t (id) VALUES (2); COMMIT");
    assert_eq!(one.ask("SELECT id FROM cdc.dbo_t_CT ORDER BY __$seqval"), "2; 1");
    assert_eq!(one.ask("SELECT id FROM cdc.dbo_t_CT ORDER BY __$command_id"), "1; 2");
    switch("command-id", "absent");
    one.run("EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL, N'old'");
    assert_eq!(one.ask("SELECT __$command_id FROM cdc.old_CT"), "error 207");
}

#[test]
fn an_instance_comes_back_under_its_name_without_its_history() {
    let (engine, mut one) = captured();
    one.run("INSERT INTO dbo.t (id, a) VALUES (1, 1)");
    let identity = "SELECT object_id FROM cdc.change_tables";
    let before = one.ask(identity);
    engine
        .run_script(
            "EXEC sys.sp_cdc_disable_table N'dbo', N't', N'dbo_t'; EXEC sys.sp_cdc_enable_table N'dbo', N't', NULL",
        )
        .unwrap();
    assert_ne!(one.ask(identity), before);
    assert_eq!(changes(&mut one, "all"), "");
    one.run("INSERT INTO dbo.t (id, a) VALUES (2, 2)");
    assert_eq!(changes(&mut one, "all"), "2 2 2");
}

#[test]
fn a_dropped_column_is_null_from_then_on() {
    let (_, mut one) = captured();
    one.run("UPDATE dbo.t SET a = 5 WHERE id = 100");
    one.run("ALTER TABLE dbo.t DROP COLUMN a; INSERT INTO dbo.t (id) VALUES (1)");
    assert_eq!(changes(&mut one, "all"), "4 100 5; 2 1 NULL");
}

#[test]
fn a_new_type_reaches_the_change_table_with_the_scan() {
    let (engine, mut one) = captured();
    engine.set_switches(|switches| switches.capture = Capture::OnCommand);
    one.run("UPDATE dbo.t SET a = 2 WHERE id = 100; ALTER TABLE dbo.t ALTER COLUMN a decimal(20, 2); UPDATE dbo.t SET a = 2.5 WHERE id = 100");
    const COLUMN: &str = "SELECT column_type FROM cdc.captured_columns WHERE column_name = 'a'";
    assert_eq!(one.ask(COLUMN), "int");
    one.run("EXEC sys.sp_cdc_scan");
    assert_eq!(one.ask(COLUMN), "decimal");
    assert_eq!(changes(&mut one, "all"), "4 100 2.00; 4 100 2.50");
    assert_eq!(one.ask("SELECT required_column_update FROM cdc.ddl_history"), "1");
}
