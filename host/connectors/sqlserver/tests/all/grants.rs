//! Whether case counts in a grant is the database's to say, and it is asked only where that decides.

use datakit_model::source::Source;

use crate::common::{READERS, access, query};
use crate::world::World;

const TABLE: &str = "CREATE TABLE dbo.orders (id int NOT NULL); INSERT INTO dbo.orders VALUES (1)";

#[tokio::test(flavor = "multi_thread")]
async fn collation_is_asked_for_once_and_only_where_case_decides() {
    let world = World::of(TABLE);
    for reader in READERS {
        let source = world.source(reader);
        let read = async |pattern: &str, table: &str| {
            let session = source.connect(access(&[pattern])).await.unwrap();
            session.query(query(&format!("SELECT id FROM {table}"), vec![])).await.err().map(|it| it.code().to_owned())
        };
        let asked = || world.engine.take_records().iter().filter(|it| it.text.contains("DATABASEPROPERTYEX")).count();
        asked();
        assert_eq!(read("dbo.orders", "dbo.orders").await, None);
        assert_eq!(read("dbo.*", "dbo.Orders").await, None);
        assert_eq!(read("hr.*", "dbo.orders").await.as_deref(), Some("DK-SRC-075"));
        assert_eq!(asked(), 0, "{reader:?}");
        // The fake SQL Server's database ignores case.
        assert_eq!(read("DBO.Orders", "dbo.orders").await, None);
        assert_eq!(read("dbo.orders", "dbo.ORDERS").await, None);
        assert_eq!(asked(), 1, "{reader:?}");
    }
}
