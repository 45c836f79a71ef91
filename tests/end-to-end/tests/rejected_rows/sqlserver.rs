//! Values of SQL Server that are no text, or none that the sink holds.

use datakit_tests::World;
use serde_json::json;

use super::{column_texts, counts, error, rejected};

const NOTES: &str = "CREATE TABLE dbo.notes (id int NOT NULL PRIMARY KEY, note nvarchar(40) NULL, big nvarchar(max) NULL)\nGO\n\
    INSERT INTO dbo.notes VALUES (1, N'fine', N'fine'), (2, N'a' + NCHAR(55357), NULL), (3, N'b', N'c' + NCHAR(55357)), \
    (4, N'd' + NCHAR(0) + N'e', NULL)";

#[test]
fn halves_of_characters_reject_their_rows() {
    let world = World::new(NOTES);
    let failed = world.host(&["run", "--output", "json"]);
    assert_eq!(error(&failed.json()).0, "DK-SRC-051");
    world.edit("mode = \"append\"", &rejected("max_rows = 2, max_share = 1"));
    let summary = world.run(&[]);
    assert_eq!(counts(&summary), (2, 2), "{summary}");
    assert_eq!(summary["tables"][0]["receipt"]["delivered"], json!(4));
    assert_eq!(column_texts(&world.delta("ERP/dbo/notes"), &["id"]), ["1", "4"], "Delta holds U+0000");
    let found = column_texts(&world.delta("ERP/dbo/notes__rejected"), &["key", "column", "value"]);
    assert_eq!(found, ["{\"id\":2} | note | a\\ud83d", "{\"id\":3} | big | c\\ud83d"]);
}

#[test]
fn text_that_postgres_cannot_hold_rejects_its_row() {
    let world = World::new(NOTES).with_postgres();
    world.edit("mode = \"append\"", &rejected("max_rows = 3, max_share = 1"));
    let summary = world.run(&[]);
    assert_eq!(counts(&summary), (1, 3), "{summary}");
    assert_eq!(world.postgres("SELECT string_agg(id::text, ' ') FROM \"ERP_dbo\".notes"), "1");
    let listed =
        "SELECT string_agg(concat_ws(' ', key, \"column\", value), ', ' ORDER BY key) FROM \"ERP_dbo\".notes__rejected";
    assert_eq!(world.postgres(listed), "{\"id\":2} note a\\ud83d, {\"id\":3} big c\\ud83d, {\"id\":4} note d\\x00e");
    let reason = "SELECT reason FROM \"ERP_dbo\".notes__rejected WHERE key LIKE '%4%'";
    assert_eq!(world.postgres(reason), "it holds U+0000, which Postgres text cannot hold");
}

#[test]
fn merge_keeps_the_old_row_of_a_rejected_one() {
    let world = World::new(NOTES).with_postgres();
    world.edit("mode = \"append\"", "mode = \"merge\"\nrejected = { max_rows = 3, max_share = 1 }");
    assert_eq!(counts(&world.run(&[])), (1, 3));
    world.mssql.execute(&[
        "UPDATE dbo.notes SET note = N'x' + NCHAR(0) WHERE id = 1",
        "UPDATE dbo.notes SET note = N'repaired' WHERE id = 4",
    ]);
    assert_eq!(counts(&world.run(&[])), (1, 3));
    let rows = "SELECT string_agg(concat_ws(' ', id, note), ', ' ORDER BY id) FROM \"ERP_dbo\".notes";
    assert_eq!(world.postgres(rows), "1 fine, 4 repaired", "the row that was rejected stays as it was");
    let count = "SELECT count(*)::text FROM \"ERP_dbo\".notes__rejected";
    assert_eq!(world.postgres(count), "6", "rejected rows of each load are added");
}

#[test]
fn driver_that_ends_the_query_at_a_bad_value_fails_its_table_and_others_are_rejected() {
    let world = World::new(NOTES).with_postgres();
    world.edit("[connections.erp]\n", "[connections.erp]\nreader = \"tiberius\"\n");
    world.edit("mode = \"append\"", &rejected("max_rows = 3, max_share = 1"));
    let failed = world.host(&["run", "--output", "json"]);
    assert_eq!(failed.json()["tables"][0]["status"], "failed", "{}", failed.stdout);
    let tables = "SELECT count(*)::text FROM pg_tables WHERE schemaname = 'ERP_dbo'";
    assert_eq!(world.postgres(tables), "0", "nothing is written");
    world.mssql.execute(&["DELETE FROM dbo.notes WHERE id IN (2, 3)"]);
    assert_eq!(counts(&world.run(&[])), (1, 1));
    assert_eq!(world.postgres("SELECT string_agg(id::text, ' ') FROM \"ERP_dbo\".notes"), "1");
    let listed = "SELECT string_agg(concat_ws(' ', key, \"column\", value), ', ') FROM \"ERP_dbo\".notes__rejected";
    assert_eq!(world.postgres(listed), "{\"id\":4} note d\\x00e");
}
