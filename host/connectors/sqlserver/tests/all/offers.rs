//! Which strategies tables have.

use datakit_model::TableId;
use datakit_model::source::Source as _;
use datakit_sqlserver::ReaderKind;

use crate::common::access;
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn strategies_are_offered_with_what_keeps_the_others_away() {
    let world = World::of(
        "ALTER DATABASE CURRENT SET CHANGE_TRACKING = ON (CHANGE_RETENTION = 2 DAYS); \
         CREATE TABLE dbo.plain (id int NOT NULL); CREATE TABLE dbo.tracked (id int NOT NULL PRIMARY KEY); \
         CREATE TABLE dbo.versioned (id int NOT NULL PRIMARY KEY, v rowversion NOT NULL); \
         ALTER TABLE dbo.tracked ENABLE CHANGE_TRACKING",
    );
    world.engine.run_script("CREATE VIEW dbo.view_of_all AS SELECT id FROM dbo.plain").unwrap();
    let mut said = Vec::new();
    for is_captured in [false, true] {
        if is_captured {
            world.engine.run_script("EXEC sys.sp_cdc_enable_db").unwrap();
            for (table, net) in [("plain", 0), ("tracked", 1)] {
                let call = format!(
                    "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'{table}', @role_name = NULL, @supports_net_changes = {net}"
                );
                world.engine.run_script(&call).unwrap();
            }
            world.engine.run_script("EXEC sys.sp_cdc_scan").unwrap();
        }
        let connection = world.source(ReaderKind::MssqlTds).connect(access(&["dbo.*"])).await.unwrap();
        let tables = ["plain", "tracked", "VERSIONED", "view_of_all"].map(|name| TableId::new("dbo", name));
        let offers = connection.offers(&tables).await.unwrap();
        for (table, offers) in tables.iter().zip(offers) {
            said.extend(offers.iter().map(|offer| {
                format!("{table} {}: {}", offer.strategy.name(), offer.refused.as_deref().unwrap_or("offered"))
            }));
        }
        said.push(String::new());
    }
    insta::assert_snapshot!(said.join("\n"));
    let narrow = world.source(ReaderKind::MssqlTds).connect(access(&["dbo.plain"])).await.unwrap();
    assert_eq!(narrow.offers(&[TableId::new("dbo", "tracked")]).await.err().unwrap().code(), "DK-SRC-406");
}
