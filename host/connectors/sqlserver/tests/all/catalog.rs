//! Which driver a query goes by, and what both have in common: their connections.

use std::sync::Arc;

use datakit_fake_sqlserver::Options;
use datakit_fake_sqlserver::sql::SqlEngineOptions;
use datakit_model::source::{Source, Value};
use datakit_sqlserver::{ReaderKind, SqlServerSource};

use crate::common::{READERS, access, query, read};
use crate::world::World;

const TABLE: &str = "CREATE TABLE dbo.t (id int NOT NULL PRIMARY KEY, note varchar(40) NULL);
INSERT INTO dbo.t VALUES (1, 'a'), (2, NULL)";

/// Queries of the catalog, as datakits send them.
const CATALOG: [&str; 3] = [
    "SELECT s.name AS schema_name, o.name AS object_name, RTRIM(o.type) AS kind FROM sys.objects AS o \
     INNER JOIN sys.schemas AS s ON s.schema_id = o.schema_id WHERE o.type IN ('U', 'V')",
    "SELECT c.name AS name, c.max_length AS max_length, c.precision AS numeric_precision, c.is_nullable AS is_nullable \
     FROM sys.columns AS c WHERE c.object_id = OBJECT_ID(N'dbo.t') AND c.name <> @P1",
    "WITH q AS (SELECT TABLE_NAME AS n FROM INFORMATION_SCHEMA.TABLES) SELECT n AS n FROM q",
];

fn parameters(sql: &str) -> Vec<Value> {
    if sql.contains("@P1") { vec![Value::Text("dbo.t".into())] } else { Vec::new() }
}

/// A source that trusts the fake SQL Server's certificate without a pin.
fn trusting(world: &World, reader: ReaderKind, max_connections: usize) -> SqlServerSource {
    world.source_with(reader, |config| {
        config.certificate_file = None;
        config.trust_certificate = true;
        config.pool.max_connections = max_connections;
    })
}

/// Whether the queries since the last look went by tiberius, which alone asks for a description.
fn went_by_tiberius(world: &World) -> bool {
    let records = world.engine.take_records();
    assert!(!records.is_empty());
    records.iter().any(|record| record.text.contains("sp_describe_first_result_set"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_is_read_by_tiberius_and_rows_by_the_reader_asked_for() {
    let world = World::of(TABLE);
    world.engine.take_records();
    let pinned = world.source(ReaderKind::MssqlTds);
    for sql in CATALOG {
        let mut answers = Vec::new();
        for reader in READERS {
            answers.push(read(&trusting(&world, reader, 8), query(sql, parameters(sql))).await.unwrap());
            assert!(went_by_tiberius(&world), "{reader:?}: {sql}");
        }
        // tiberius cannot pin a certificate.
        answers.push(read(&pinned, query(sql, parameters(sql))).await.unwrap());
        assert!(!went_by_tiberius(&world), "{sql}");
        for other in &answers[1..] {
            assert_eq!(answers[0].schema, other.schema, "{sql}");
            assert_eq!(answers[0].one_batch(), other.one_batch(), "{sql}");
        }
    }
    for (reader, by_tiberius) in [(ReaderKind::MssqlTds, false), (ReaderKind::Tiberius, true)] {
        for sql in ["SELECT id, note FROM dbo.t", "SELECT t.id AS id FROM dbo.t AS t CROSS JOIN sys.types AS y"] {
            read(&trusting(&world, reader, 8), query(sql, vec![])).await.unwrap();
            assert_eq!(went_by_tiberius(&world), by_tiberius, "{reader:?}: {sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_serves_both_drivers_in_turn() {
    let world = World::of(TABLE);
    let source = trusting(&world, ReaderKind::MssqlTds, 1);
    for _ in 0..3 {
        for sql in CATALOG {
            assert!(read(&source, query(sql, parameters(sql))).await.unwrap().rows() > 0);
        }
        assert_eq!(read(&source, query("SELECT id FROM dbo.t", vec![])).await.unwrap().rows(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_both_drivers_share_few_connections() {
    let world = World::start(Options::default(), SqlEngineOptions::default(), TABLE);
    let source = Arc::new(trusting(&world, ReaderKind::MssqlTds, 2));
    let sessions: Vec<_> = (0..24)
        .map(|i| {
            let source = Arc::clone(&source);
            tokio::spawn(async move {
                let sql = if i % 2 == 0 { CATALOG[0] } else { "SELECT id FROM dbo.t" };
                let connection = source.connect(access(&["*.*"])).await.unwrap();
                let mut reader = connection.query(query(sql, vec![])).await.unwrap();
                let mut rows = 0;
                while let Some(batch) = reader.next().await.unwrap() {
                    rows += batch.batch().num_rows();
                }
                rows
            })
        })
        .collect();
    for session in sessions {
        assert!(session.await.unwrap() > 0);
    }
}
