//! A server that speaks TDS and is not SQL Server.

use std::sync::Arc;

use arrow::array::AsArray;
use datakit_fake_sqlserver::foreign::Foreign;
use datakit_fake_sqlserver::sql::{SqlEngine, SqlEngineOptions};
use datakit_fake_sqlserver::{FakeSqlServer, Options, Running};
use datakit_model::Secret;
use datakit_sqlserver::{ReaderKind, SqlServerConfig, SqlServerSource};

use crate::common::{READERS, query, read, reported};

const TABLES: &str = "CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, note varchar(40) NULL);
INSERT INTO dbo.orders VALUES (1, 'café');
CREATE TABLE dbo.[größe] (id int NOT NULL)";

struct World {
    running: Running,
    engine: SqlEngine,
}

impl World {
    fn new() -> Self {
        let engine = SqlEngine::open(SqlEngineOptions::default()).unwrap();
        engine.run_script(TABLES).unwrap();
        let running = FakeSqlServer::start(Options::default(), Arc::new(Foreign(engine.clone()))).unwrap();
        Self { running, engine }
    }

    /// Without a pinned certificate, so that the catalog goes by tiberius.
    fn source(&self, reader: ReaderKind) -> SqlServerSource {
        let Options { user, password, .. } = Options::default();
        let mut config = SqlServerConfig::new("localhost", self.engine.database(), user, Secret::new(password));
        config.port = self.running.port();
        config.reader = reader;
        config.trust_certificate = true;
        SqlServerSource::new(config).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_is_read_without_a_pinned_certificate() {
    let world = World::new();
    let sql = "SELECT o.name AS name FROM sys.objects AS o WHERE o.type = 'U' ORDER BY o.name";
    for reader in READERS {
        let answer = read(&world.source(reader), query(sql, vec![])).await.unwrap();
        let batch = answer.one_batch();
        let names: Vec<Option<&str>> = batch.column(0).as_string::<i32>().iter().collect();
        assert_eq!(names, [Some("größe"), Some("orders")], "{reader:?}");
    }
    assert!(world.engine.take_records().iter().any(|record| record.text.contains("sp_describe_first_result_set")));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_the_same_through_both_readers() {
    let world = World::new();
    let mut answers = Vec::new();
    for reader in READERS {
        answers.push(read(&world.source(reader), query("SELECT id, note FROM dbo.orders", vec![])).await.unwrap());
    }
    assert_eq!(answers[0].one_batch(), answers[1].one_batch());
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_sees_tables_whose_names_are_varchar() {
    let world = World::new();
    for reader in READERS {
        let source = world.source(reader);
        let who = source.check().await.unwrap();
        assert_eq!((who.database.as_str(), who.login.as_str()), (world.engine.database(), "sa"), "{reader:?}");
        let permissions = source.permissions().await.unwrap();
        let names: Vec<String> = permissions.tables.iter().map(|it| it.table.to_string()).collect();
        assert_eq!(names, ["dbo.größe", "dbo.orders"], "{reader:?}");
        assert!(permissions.tables.iter().all(|it| it.missing_grants.is_empty()), "{permissions:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_for_everything_is_told_by_its_text() {
    let world = World::new();
    for reader in READERS {
        let failure = read(&world.source(reader), query("SELECT a FROM dbo.nothing", vec![])).await.unwrap_err();
        insta::allow_duplicates! {
            insta::assert_snapshot!(reported(&failure));
        }
    }
}
