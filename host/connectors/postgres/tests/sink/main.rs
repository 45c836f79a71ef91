//! The Postgres sink against the suite, on a real server.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod drift;
mod kept;
mod receipts;

use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use async_trait::async_trait;
use datakit_connect::conformance_tests;
use datakit_connect::sink::conformance::{Harness, TextRow, Violation, batch, field, identity, trimmed_time};
use datakit_model::sink::{CommitNote, Committed, Sink, Target, WriteMode};
use datakit_model::{DriftRule, Failure, Kind, Retry, Secret, TableId, TrackedBatch};
use datakit_postgres::sink::{PostgresSink, names};
use datakit_postgres::testing::{Certificate, PostgresServer};
use datakit_postgres::{Encrypt, Server};
use tokio_postgres::{Client, NoTls};

/// One server for all tests of the process.
fn server() -> &'static PostgresServer {
    static SERVER: OnceLock<PostgresServer> = OnceLock::new();
    SERVER.get_or_init(|| PostgresServer::start(None).unwrap())
}

async fn client(config: &Server) -> Client {
    let mut options = tokio_postgres::Config::new();
    options.host(&config.host).port(config.port).dbname(&config.database).user(&config.user);
    options.password(datakit_postgres::testing::PASSWORD);
    let (client, connection) = options.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// A database of the test's own.
async fn database() -> Server {
    let name = format!("test_{}", uuid::Uuid::new_v4().simple());
    let admin = client(&server().config("postgres")).await;
    admin.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
    server().config(&name)
}

struct PostgresHarness {
    config: Server,
}

fn quote(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

#[async_trait]
impl Harness for PostgresHarness {
    async fn sink(&self) -> Result<Box<dyn Sink>, Violation> {
        Ok(Box::new(PostgresSink::new(self.config.clone()).with_keep_partitions(true)))
    }

    async fn rows(&self, system: &str, table: &TableId, schema: &Schema) -> Result<Option<Vec<TextRow>>, Violation> {
        let client = client(&self.config).await;
        client.batch_execute("SET timezone = 'UTC'; SET bytea_output = hex").await.unwrap();
        let name = format!("{}.{}", quote(&format!("{system}_{}", table.schema)), quote(&table.name));
        let there: bool = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&name]).await.unwrap().get(0);
        if !there {
            return Ok(None);
        }
        let columns: Vec<String> = schema.fields().iter().map(|f| as_text(f)).collect();
        let rows = client.query(&format!("SELECT {} FROM {name}", columns.join(", ")), &[]).await.unwrap();
        let cell = |row: &tokio_postgres::Row, (i, field): (usize, &Arc<Field>)| {
            row.get::<_, Option<String>>(i).map(|text| canonical(&text, field.data_type()))
        };
        Ok(Some(rows.iter().map(|row| schema.fields().iter().enumerate().map(|c| cell(row, c)).collect()).collect()))
    }

    async fn leftovers(&self, _: &str, _: &TableId) -> Result<Vec<String>, Violation> {
        let sql = "SELECT l.locktype || ' ' || l.mode FROM pg_locks l JOIN pg_database d ON d.oid = l.database
            WHERE d.datname = current_database() AND l.locktype = 'advisory'";
        Ok(client(&self.config).await.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect())
    }

    fn time_digits(&self) -> u32 {
        6
    }

    fn unrepresentable(&self) -> Option<RecordBatch> {
        let schema = Arc::new(Schema::new(vec![field("bad", DataType::Utf8)]));
        Some(batch(&schema, vec![Arc::new(StringArray::from(vec![Some("fine"), None, Some("not\0fine")]))]).unwrap())
    }
}

/// A column as text in SQL.
fn as_text(field: &Field) -> String {
    let column = quote(&names::column(field.name()).unwrap());
    match field.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => format!("to_char({column}, 'YYYY-MM-DD\"T\"HH24:MI:SS.US')"),
        DataType::Binary | DataType::LargeBinary => format!("encode({column}, 'hex')"),
        _ => format!("{column}::text"),
    }
}

/// The server's text in the suite's form.
fn canonical(text: &str, data_type: &DataType) -> String {
    match data_type {
        DataType::Float32 => format!("{:?}", text.parse::<f32>().unwrap()),
        DataType::Float64 => format!("{:?}", text.parse::<f64>().unwrap()),
        DataType::Time64(_) => trimmed_time(text),
        _ => text.to_owned(),
    }
}

mod conformance {
    use super::*;

    conformance_tests!(async { PostgresHarness { config: database().await } });
}

fn schema() -> Arc<Schema> {
    Arc::new(Schema::new(vec![field("name", DataType::Utf8)]))
}

fn target(system: &str, table: TableId) -> Target {
    let mut run = identity("1");
    run.source_system = system.to_owned();
    Target::new(table, schema(), WriteMode::Append, run)
}

async fn load(config: &Server, target: Target) -> Result<Committed, Failure> {
    let writer = PostgresSink::new(config.clone()).open(target).await?;
    let mut partition = writer.partition(0).await?;
    let rows = batch(&schema(), vec![Arc::new(StringArray::from(vec!["a", "b"]))]).unwrap();
    partition.write(TrackedBatch::untracked(rows)).await?;
    partition.finish().await?;
    writer.commit(CommitNote::default()).await
}

/// What a person sees of an error.
fn report(failure: &Failure) -> String {
    format!(
        "{} ({:?}, {:?})\n{failure}\n{}",
        failure.code(),
        failure.kind(),
        failure.retry(),
        failure.hint().unwrap_or("-")
    )
}

#[tokio::test]
async fn connecting_fails_with_reasons() {
    let good = server().config("postgres");
    let wrong_password = Server { password: Some(Secret::new("Pl4nted-wrong-password".into()).into()), ..good.clone() };
    let no_password = Server { password: None, ..good.clone() };
    let no_database = Server { database: "nowhere".into(), ..good.clone() };
    let no_tls = Server { encrypt: Encrypt::Required, ..good.clone() };
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let no_server = Server { port: closed, ..good.clone() };
    let no_file = Server { certificate_file: Some("/nowhere.pem".into()), ..no_tls.clone() };
    for (config, code) in [
        (wrong_password, "DK-SNK-021"),
        (no_password, "DK-SNK-021"),
        (no_database, "DK-SNK-023"),
        (no_tls, "DK-SNK-022"),
        (no_file, "DK-SNK-025"),
    ] {
        let failure = load(&config, target("ERP", TableId::new("dbo", "t"))).await.unwrap_err();
        assert_eq!(
            (failure.code(), failure.kind(), failure.retry()),
            (code, Kind::User, Retry::Never),
            "{}",
            report(&failure)
        );
        assert!(!format!("{failure:?}{config:?}").contains("planted-secret"));
    }
    let failure = load(&no_server, target("ERP", TableId::new("dbo", "t"))).await.unwrap_err();
    assert_eq!((failure.code(), failure.kind(), failure.retry()), ("DK-SNK-020", Kind::Sink, Retry::AfterBackoff));
}

#[tokio::test]
async fn encrypted_when_the_certificate_is_trusted() {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (certificate, key) = (key.cert.pem(), key.signing_key.serialize_pem());
    let server = PostgresServer::start(Some(Certificate { certificate: &certificate, key: &key })).unwrap();
    let file = server.directory().join("server.crt");
    let required = Server { host: "localhost".into(), encrypt: Encrypt::Required, ..server.config("postgres") };

    let untrusted = load(&required, target("ERP", TableId::new("dbo", "t"))).await.unwrap_err();
    assert_eq!(untrusted.code(), "DK-SNK-022", "{}", report(&untrusted));
    let trusted = Server { certificate_file: Some(file.clone()), ..required.clone() };
    load(&trusted, target("ERP", TableId::new("dbo", "t"))).await.unwrap();
    let other_name = Server { host: "127.0.0.1".into(), ..trusted };
    let failure = load(&other_name, target("ERP", TableId::new("dbo", "t"))).await.unwrap_err();
    assert_eq!(failure.code(), "DK-SNK-022", "{}", report(&failure));
    let whatever = Server { trust_certificate: true, host: "127.0.0.1".into(), ..required };
    assert_eq!(load(&whatever, target("ERP", TableId::new("dbo", "t"))).await.unwrap().state.sequence, 2);
}

#[tokio::test]
async fn two_sources_do_not_meet_in_one_table() {
    let config = database().await;
    load(&config, target("A_B", TableId::new("c", "t"))).await.unwrap();
    let failure = load(&config, target("A", TableId::new("B_c", "t"))).await.unwrap_err();
    assert_eq!(failure.code(), "DK-SNK-009");
    assert!(failure.message().contains("A_B: c.t"), "{failure}");
}

#[tokio::test]
async fn views_and_missing_rights_are_reported() {
    let config = database().await;
    let admin = client(&config).await;
    admin
        .batch_execute("CREATE SCHEMA \"ERP_dbo\"; CREATE VIEW \"ERP_dbo\".\"t\" AS SELECT ''::text AS name")
        .await
        .unwrap();
    let failure = load(&config, target("ERP", TableId::new("dbo", "t"))).await.unwrap_err();
    assert_eq!(failure.code(), "DK-SNK-009");
    assert!(failure.message().ends_with("it is a view"), "{failure}");

    admin.batch_execute("CREATE ROLE limited LOGIN PASSWORD 'Pl4nted test password'").await.ok();
    let limited = Server { user: "limited".into(), ..config.clone() };
    let failure = load(&limited, target("ERP", TableId::new("other", "t"))).await.unwrap_err();
    assert_eq!((failure.code(), failure.kind()), ("DK-SNK-024", Kind::User), "{}", report(&failure));
    assert!(failure.message().starts_with("user `limited` may not"), "{failure}");
}

#[tokio::test]
async fn names_are_never_cut() {
    let config = database().await;
    let failure = load(&config, target("ERP", TableId::new("dbo", "x".repeat(64)))).await.unwrap_err();
    assert_eq!((failure.code(), failure.kind()), ("DK-SNK-002", Kind::User));
    let sink = PostgresSink::new(config);
    assert_eq!(sink.locate("ERP", &TableId::new("dbo", "Order \"x\"")).unwrap(), "\"ERP_dbo\".\"Order \"\"x\"\"\"");
}

#[tokio::test]
async fn row_that_is_larger_than_a_page_says_what_helps() {
    let config = database().await;
    let fields: Vec<Field> = (0..1_500).map(|i| field(&format!("c{i}"), DataType::Int64)).collect();
    let wide = Arc::new(Schema::new(fields));
    let columns = (0..1_500).map(|i| Arc::new(Int64Array::from(vec![i])) as ArrayRef).collect();
    let row = batch(&wide, columns).unwrap();
    let sink = PostgresSink::new(config);
    let writer = sink.open(Target { schema: wide, ..target("ERP", TableId::new("dbo", "wide")) }).await.unwrap();
    let mut partition = writer.partition(0).await.unwrap();
    partition.write(TrackedBatch::untracked(row)).await.unwrap();
    partition.finish().await.unwrap();
    let failure = writer.commit(CommitNote::default()).await.unwrap_err();
    assert_eq!((failure.code(), failure.kind()), ("DK-SNK-038", Kind::User), "{}", report(&failure));
}

#[tokio::test]
async fn a_server_that_goes_away_commits_nothing() {
    let config = database().await;
    let writer = PostgresSink::new(config.clone()).open(target("ERP", TableId::new("dbo", "t"))).await.unwrap();
    let mut partition = writer.partition(0).await.unwrap();
    let admin = client(&config).await;
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'datakit'";
    admin.query(kill, &[]).await.unwrap();
    let rows = batch(&schema(), vec![Arc::new(StringArray::from(vec!["a"; 10_000]))]).unwrap();
    let mut outcome = Ok(());
    for _ in 0..50 {
        outcome = partition.write(TrackedBatch::untracked(rows.clone())).await;
        if outcome.is_err() {
            break;
        }
    }
    let failure = match outcome {
        Err(failure) => failure,
        Ok(()) => match partition.finish().await {
            Err(failure) => failure,
            Ok(_) => writer.commit(CommitNote::default()).await.unwrap_err(),
        },
    };
    assert_eq!((failure.code(), failure.retry()), ("DK-SNK-026", Retry::AfterBackoff), "{}", report(&failure));
    drop(writer);
    // The next attempt, as a retry would make it.
    assert_eq!(load(&config, target("ERP", TableId::new("dbo", "t"))).await.unwrap().state.sequence, 1);
}

#[tokio::test]
async fn tables_of_one_schema_are_loaded_side_by_side() {
    let config = database().await;
    let sink = PostgresSink::new(config.clone());
    let mut writers = Vec::new();
    // All transactions are open at once: none may wait for another's schema or ledger.
    for i in 0..4 {
        writers.push(sink.open(target("ERP", TableId::new("dbo", format!("t{i}")))).await.unwrap());
    }
    for writer in &writers {
        writer.partition(0).await.unwrap().finish().await.unwrap();
    }
    for writer in writers.iter().rev() {
        writer.commit(CommitNote::default()).await.unwrap();
    }
}

async fn state(config: &Server) -> Option<datakit_model::TableState> {
    PostgresSink::new(config.clone()).state("ERP", &TableId::new("dbo", "t")).await.unwrap()
}

fn as_run(run_id: &str, mode: WriteMode) -> Target {
    let mut target = target("ERP", TableId::new("dbo", "t"));
    target.run.run_id = run_id.to_owned();
    target.mode = mode;
    target
}

/// What makes of a table none that earlier runs have loaded.
#[tokio::test]
async fn a_state_counts_as_long_as_its_table_has_its_rows() {
    for change in [
        r#"DROP TABLE "ERP_dbo".t"#,
        r#"ALTER TABLE "ERP_dbo".t RENAME TO aside"#,
        r#"ALTER TABLE "ERP_dbo".t SET SCHEMA public"#,
        r#"TRUNCATE "ERP_dbo".t"#,
        r#"DELETE FROM "ERP_dbo".t"#,
        r#"DROP TABLE "ERP_dbo".t; CREATE TABLE "ERP_dbo".t (name text)"#,
        r#"DROP SCHEMA "ERP_dbo" CASCADE"#,
    ] {
        let config = database().await;
        load(&config, as_run("1", WriteMode::Append)).await.unwrap();
        assert_eq!(state(&config).await.unwrap().run_id, "1");
        client(&config).await.batch_execute(change).await.unwrap();
        assert_eq!(state(&config).await, None, "after {change}");
        let again = load(&config, as_run("1", WriteMode::Append)).await.unwrap();
        assert_eq!((again.state.sequence, again.state.earlier_run_ids.len()), (1, 0), "after {change}");
        assert_eq!(state(&config).await.unwrap().run_id, "1", "after {change}");
    }
}

/// What keeps the table's rows, keeps its state.
#[tokio::test]
async fn a_state_survives_what_keeps_the_rows() {
    let config = database().await;
    load(&config, as_run("1", WriteMode::Append)).await.unwrap();
    let admin = client(&config).await;
    for change in [
        r#"VACUUM FULL "ERP_dbo".t"#,
        r#"CREATE INDEX i ON "ERP_dbo".t (name); CLUSTER "ERP_dbo".t USING i"#,
        r#"DELETE FROM "ERP_dbo".t WHERE name = 'a'"#,
        r#"ALTER TABLE "ERP_dbo".t RENAME TO x; ALTER TABLE "ERP_dbo".x RENAME TO t"#,
    ] {
        for statement in change.split("; ") {
            admin.batch_execute(statement).await.unwrap();
        }
        assert_eq!(state(&config).await.unwrap().run_id, "1", "after {change}");
    }
    assert_eq!(load(&config, as_run("2", WriteMode::Append)).await.unwrap().state.sequence, 2);
    // No rows were loaded, and none are there: that is no loss.
    let config = database().await;
    let writer = PostgresSink::new(config.clone()).open(as_run("1", WriteMode::Append)).await.unwrap();
    writer.partition(0).await.unwrap().finish().await.unwrap();
    writer.commit(CommitNote::default()).await.unwrap();
    assert_eq!(state(&config).await.unwrap().run_id, "1");
}

#[tokio::test]
async fn a_table_that_took_the_place_of_another_is_not_added_to() {
    let config = database().await;
    load(&config, as_run("1", WriteMode::Append)).await.unwrap();
    let admin = client(&config).await;
    let swap = r#"CREATE TABLE "ERP_dbo".n AS SELECT 'restored'::text AS name; DROP TABLE "ERP_dbo".t;
        ALTER TABLE "ERP_dbo".n RENAME TO t"#;
    admin.batch_execute(swap).await.unwrap();
    assert_eq!(state(&config).await, None);
    let failure = load(&config, as_run("2", WriteMode::Append)).await.unwrap_err();
    assert_eq!((failure.code(), failure.kind()), ("DK-SNK-028", Kind::User), "{}", report(&failure));
    insta::assert_snapshot!(report(&failure));
    // What the hint says makes the table the ledger's.
    let hint = failure.hint().unwrap();
    admin.batch_execute(&hint[hint.find("UPDATE").unwrap()..]).await.unwrap();
    assert_eq!(state(&config).await.unwrap().run_id, "1");
    assert_eq!(load(&config, as_run("2", WriteMode::Append)).await.unwrap().state.sequence, 2);
    assert_eq!(state(&config).await.unwrap().run_id, "2");
    // An overwrite replaces whatever is there.
    admin.batch_execute(swap).await.unwrap();
    assert_eq!(load(&config, as_run("3", WriteMode::Overwrite)).await.unwrap().state.sequence, 1);
    let rows: i64 = admin.query_one(r#"SELECT count(*) FROM "ERP_dbo".t"#, &[]).await.unwrap().get(0);
    assert_eq!((rows, state(&config).await.unwrap().run_id.as_str()), (2, "3"));
}

/// All object ids differ, also the ledger's.
#[tokio::test]
async fn a_database_restored_from_a_dump_keeps_its_states() {
    let config = database().await;
    load(&config, as_run("1", WriteMode::Append)).await.unwrap();
    let restored = database().await;
    let url =
        |config: &Server| format!("host=127.0.0.1 port={} user=postgres dbname={}", server().port(), config.database);
    let pipe = format!("pg_dump -d '{}' | psql -q -v ON_ERROR_STOP=1 -d '{}'", url(&config), url(&restored));
    let mut command = std::process::Command::new("sh");
    let output = command.args(["-c", &pipe]).env("PGPASSWORD", datakit_postgres::testing::PASSWORD).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(state(&restored).await.unwrap().run_id, "1");
    assert_eq!(load(&restored, as_run("2", WriteMode::Append)).await.unwrap().state.sequence, 2);
    client(&restored).await.batch_execute(r#"DROP TABLE "ERP_dbo".t"#).await.unwrap();
    assert_eq!(state(&restored).await, None, "bound to the restored table since the last commit");
}

/// A ledger of an earlier version knows no object ids.
#[tokio::test]
async fn a_row_without_an_object_id_counts_by_name() {
    let config = database().await;
    load(&config, as_run("1", WriteMode::Append)).await.unwrap();
    let admin = client(&config).await;
    let earlier = r#"UPDATE "_datakit"."ledger" SET state = (state::jsonb - 'target')::json"#;
    admin.batch_execute(earlier).await.unwrap();
    assert_eq!(state(&config).await.unwrap().run_id, "1");
    admin.batch_execute(r#"DROP TABLE "ERP_dbo".t"#).await.unwrap();
    assert_eq!(state(&config).await, None);
}

/// A policy would hide the ledger's row, and everything would be loaded again.
#[tokio::test]
async fn policies_hide_no_state_and_no_rows() {
    let config = database().await;
    let admin = client(&config).await;
    let role = format!("role_{}", uuid::Uuid::new_v4().simple());
    admin
        .batch_execute(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD '{}'; GRANT CREATE ON DATABASE {} TO {role}",
            datakit_postgres::testing::PASSWORD,
            config.database
        ))
        .await
        .unwrap();
    let config = Server { user: role, ..config };
    load(&config, as_run("1", WriteMode::Append)).await.unwrap();
    let sink = PostgresSink::new(config.clone());
    let force = |table: &str| format!("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY");
    let end = |table: &str| format!("ALTER TABLE {table} DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY");
    let ledger = r#""_datakit"."ledger""#;
    admin.batch_execute(&force(ledger)).await.unwrap();
    let failure = sink.state("ERP", &TableId::new("dbo", "t")).await.unwrap_err();
    assert_eq!(failure.code(), "DK-SNK-024", "{}", report(&failure));
    admin.batch_execute(&end(ledger)).await.unwrap();
    admin.batch_execute(&force(r#""ERP_dbo".t"#)).await.unwrap();
    let failure = load(&config, as_run("2", WriteMode::Overwrite)).await.unwrap_err();
    assert_eq!(failure.code(), "DK-SNK-024", "{}", report(&failure));
    assert!(failure.causes().concat().contains("row-level security"), "{failure:?}");
}
