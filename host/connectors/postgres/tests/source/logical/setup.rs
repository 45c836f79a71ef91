//! Whether server, role, publication and table are set up: said before anything is made or read.

use datakit_model::TableId;
use datakit_model::changes::{ChangeRequest, Strategy};
use datakit_model::source::Source as _;
use datakit_postgres::source::PostgresSource;
use datakit_postgres::testing::PostgresServer;

use super::{each, feed, request, source, source_with};
use crate::world::{World, access, admin, reported};

/// What a table's first strategy says.
async fn offered(source: &PostgresSource, table: &str) -> String {
    let connection = source.connect(access("offers")).await.unwrap();
    let offers = connection.offers(&[TableId::new("s", table)]).await.unwrap().pop().unwrap();
    assert_eq!(offers[0].strategy, Strategy::Logical);
    assert_eq!(offers[1].strategy, Strategy::RowVersion);
    assert!(offers[1].refused.as_ref().unwrap().contains("`xmin` starts again"), "{offers:?}");
    offers[0].refused.clone().unwrap_or_else(|| "offered".to_owned())
}

const TABLES: &str = "\
CREATE SCHEMA s;
CREATE TABLE s.fine (id int PRIMARY KEY);
CREATE TABLE s.whole (a int, b int); ALTER TABLE s.whole REPLICA IDENTITY FULL;
CREATE TABLE s.indexed (a int NOT NULL); CREATE UNIQUE INDEX i ON s.indexed (a); ALTER TABLE s.indexed REPLICA IDENTITY USING INDEX i;
CREATE TABLE s.unpublished (id int PRIMARY KEY);
CREATE TABLE s.keyless (id int);
CREATE TABLE s.nothing (id int PRIMARY KEY); ALTER TABLE s.nothing REPLICA IDENTITY NOTHING;
CREATE TABLE s.generated (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED);
CREATE TABLE s.filtered (id int PRIMARY KEY);
CREATE TABLE s.listed (id int PRIMARY KEY, a int, b int);
CREATE TABLE s.parted (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE s.leaf PARTITION OF s.parted FOR VALUES FROM (0) TO (10);
CREATE TABLE s.parent (id int PRIMARY KEY); CREATE TABLE s.child (PRIMARY KEY (id)) INHERITS (s.parent);
CREATE UNLOGGED TABLE s.unlogged (id int PRIMARY KEY);
CREATE VIEW s.v AS SELECT 1 AS id;
CREATE PUBLICATION shop FOR TABLE s.fine, s.whole, s.indexed, s.keyless, s.nothing, s.generated, s.filtered WHERE (id > 3),
    s.listed (id, a), s.parted, s.parent";

#[tokio::test]
async fn each_table_says_why_it_cannot_be_read_by_the_log() {
    let world = World::logical(TABLES).await;
    let names = [
        "fine",
        "whole",
        "indexed",
        "unpublished",
        "keyless",
        "nothing",
        "generated",
        "filtered",
        "listed",
        "parted",
        "leaf",
        "parent",
        "child",
        "unlogged",
        "v",
        "gone",
    ];
    let source = source(&world);
    let mut lines = Vec::new();
    for name in names {
        let offered = offered(&source, name).await;
        // A feed says the same.
        let opened = feed(&source, name, request(name, None)).await;
        match opened {
            Ok(_) => assert_eq!(offered, "offered", "{name}"),
            Err(failure) if name == "gone" => assert_eq!(failure.code(), "DK-SRC-401"),
            Err(failure) => {
                assert_eq!(
                    (failure.code(), failure.to_string()),
                    ("DK-SRC-431", format!("the strategy `logical` cannot read s.{name}: {offered}"))
                );
            }
        }
        lines.push(format!("{name}: {offered}"));
    }
    insta::assert_snapshot!(lines.join("\n"));
    let some = |table: &str| ChangeRequest { columns: Some(vec!["id".to_owned()]), ..request(table, None) };
    for table in ["generated", "listed"] {
        assert!(feed(&source, table, some(table)).await.is_ok(), "{table}: the other columns can be read");
    }
    let xmin = ChangeRequest { strategy: Strategy::RowVersion, ..request("fine", None) };
    assert_eq!(feed(&source, "xmin", xmin).await.unwrap_err().code(), "DK-SRC-437");
}

#[tokio::test]
async fn leaves_are_read_as_tables_unless_changes_come_under_the_root() {
    let world = World::logical(
        "CREATE SCHEMA s; CREATE TABLE s.parted (id int PRIMARY KEY, v int) PARTITION BY RANGE (id); \
         CREATE TABLE s.low PARTITION OF s.parted FOR VALUES FROM (0) TO (10); \
         CREATE TABLE s.high PARTITION OF s.parted FOR VALUES FROM (10) TO (20); \
         INSERT INTO s.parted VALUES (1, 1), (11, 11); CREATE PUBLICATION shop FOR TABLE s.parted",
    )
    .await;
    let (mut low, mut high) = (super::Mirror::new("low", &["id"]), super::Mirror::new("high", &["id"]));
    low.run_beside_others(&world).await;
    high.run_beside_others(&world).await;
    each(&world, &["INSERT INTO s.parted VALUES (2, 2)", "UPDATE s.parted SET id = 12 WHERE id = 1"]).await;
    let run = source(&world);
    for mirror in [&mut low, &mut high] {
        let fed = mirror.read(&run).await;
        mirror.apply(&fed);
        mirror.assert_same(&world).await;
    }
    // What changes while it is no partition is not published.
    each(
        &world,
        &[
            "ALTER TABLE s.parted DETACH PARTITION s.low",
            "DELETE FROM s.low",
            "ALTER TABLE s.parted ATTACH PARTITION s.low FOR VALUES FROM (0) TO (10)",
        ],
    )
    .await;
    let gap = low.read(&source(&world)).await;
    assert_eq!(gap.gap(), "the publication, or the table's place in it, was changed since the position");
    each(&world, &["ALTER PUBLICATION shop SET (publish_via_partition_root = true)"]).await;
    assert!(offered(&source(&world), "low").await.starts_with("it is not in the publication"));
    assert!(offered(&source(&world), "parted").await.starts_with("it is partitioned"));
}

#[tokio::test]
async fn server_that_is_not_set_up_says_what_to_do() {
    let world = World::of("CREATE SCHEMA s; CREATE TABLE s.fine (id int PRIMARY KEY)").await;
    let without = source_with(&world, |config| config.logical = None);
    let mut lines = vec![offered(&without, "fine").await];
    lines.push(reported(&feed(&without, "run", request("fine", None)).await.unwrap_err()));
    lines.push(offered(&source(&world), "fine").await);
    lines.push(reported(&feed(&source(&world), "run", request("fine", None)).await.unwrap_err()));
    let world = World::logical("CREATE SCHEMA s; CREATE TABLE s.fine (id int PRIMARY KEY)").await;
    lines.push(offered(&source(&world), "fine").await);
    each(&world, &["CREATE PUBLICATION shop FOR TABLE s.fine WITH (publish = 'insert')"]).await;
    lines.push(offered(&source(&world), "fine").await);
    each(&world, &["DROP PUBLICATION shop", "CREATE PUBLICATION shop FOR ALL TABLES"]).await;
    lines.push(offered(&source(&world), "fine").await);
    each(&world, &["DROP PUBLICATION shop", "CREATE PUBLICATION shop FOR TABLES IN SCHEMA s"]).await;
    lines.push(offered(&source(&world), "fine").await);
    each(&world, &["SELECT pg_create_logical_replication_slot('shop', 'test_decoding')"]).await;
    lines.push(offered(&source(&world), "fine").await);
    insta::assert_snapshot!(lines.join("\n"));
    assert_eq!(world.ask("SELECT count(*)::text FROM pg_replication_slots").await, "1", "nothing was made");
}

#[tokio::test]
async fn role_needs_replication_and_select_and_the_error_says_so() {
    let world = World::logical(
        "CREATE SCHEMA s; CREATE TABLE s.fine (id int PRIMARY KEY, secret int); CREATE PUBLICATION shop FOR TABLE s.fine; \
         CREATE ROLE reader LOGIN PASSWORD 'Pl4nted test password'; GRANT USAGE ON SCHEMA s TO reader; \
         GRANT SELECT (id) ON s.fine TO reader",
    )
    .await;
    let source = || source_with(&world, |config| config.server.user = "reader".to_owned());
    assert_eq!(
        offered(&source(), "fine").await,
        "the role may not use replication slots: ALTER ROLE \"reader\" REPLICATION"
    );
    assert_eq!(feed(&source(), "run", request("fine", None)).await.unwrap_err().code(), "DK-SRC-431");
    each(&world, &["ALTER ROLE reader REPLICATION"]).await;
    let found = source().check_logical().await.unwrap();
    assert_eq!(found.as_deref(), Some("slot `shop` is made by the first copy, publication `shop`"));
    let first = feed(&source(), "first", request("fine", None)).await.unwrap();
    each(&world, &["INSERT INTO s.fine VALUES (1, 7)"]).await;
    // The log has what the role may not read: it is not told.
    let next = feed(&source(), "next", request("fine", first.upper.as_deref())).await.unwrap();
    assert_eq!(next.rows[0].values.keys().collect::<Vec<_>>(), ["id"]);
    let position = next.upper.unwrap();
    source().confirm(std::slice::from_ref(&position)).await.unwrap();
    let secret = ChangeRequest { columns: Some(vec!["secret".to_owned()]), ..request("fine", Some(&position)) };
    assert_eq!(feed(&source(), "secret", secret).await.unwrap_err().code(), "DK-SRC-402");
    each(&world, &["ALTER TABLE s.fine ENABLE ROW LEVEL SECURITY"]).await;
    assert!(offered(&source(), "fine").await.starts_with("row-level security hides rows"));
    each(&world, &["REVOKE ALL ON s.fine FROM reader", "ALTER TABLE s.fine DISABLE ROW LEVEL SECURITY"]).await;
    let failure = feed(&source(), "revoked", request("fine", Some(&position))).await.unwrap_err();
    assert_eq!(failure.code(), "DK-SRC-401", "{failure}");
}

#[tokio::test]
async fn replica_is_refused_and_a_promoted_one_has_a_gap() {
    let world = World::logical(
        "CREATE SCHEMA s; CREATE TABLE s.fine (id int PRIMARY KEY); CREATE PUBLICATION shop FOR TABLE s.fine",
    )
    .await;
    let first = feed(&source(&world), "first", request("fine", None)).await.unwrap();
    let replica: PostgresServer = world.server.replica("").unwrap();
    let replica = World { admin: admin(&replica).await, server: replica };
    assert_eq!(offered(&source(&replica), "fine").await, "the server is a replica: connect to its primary");
    replica.admin.batch_execute("SELECT pg_promote()").await.unwrap();
    let promoted = feed(&source(&replica), "promoted", request("fine", first.upper.as_deref())).await.unwrap();
    assert_eq!(promoted.gap(), "the server is another one, was restored, or was promoted since the position");
    assert_eq!(feed(&source(&replica), "anew", request("fine", None)).await.unwrap().rows.len(), 0);
}
