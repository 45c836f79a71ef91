//! A server of one's own, and short ways to read from it.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datakit_model::source::{Access, Connection, Query, QueryOptions, Reader, Source, Value};
use datakit_model::{Failure, MemoryBudget, TablePatterns};
use datakit_postgres::source::{PostgresConfig, PostgresSource};
use datakit_postgres::testing::{Certificate, PostgresServer};
use tokio_postgres::{Client, NoTls};

pub struct World {
    pub server: PostgresServer,
    pub admin: Client,
}

impl World {
    /// A server that has run this script.
    pub async fn of(script: &str) -> Self {
        let server = PostgresServer::start(None).unwrap();
        let admin = admin(&server).await;
        admin.batch_execute(script).await.unwrap();
        Self { server, admin }
    }

    /// A server that takes encrypted connections too.
    pub async fn with_certificate(certificate: Certificate<'_>) -> Self {
        let server = PostgresServer::start(Some(certificate)).unwrap();
        let admin = admin(&server).await;
        Self { server, admin }
    }

    /// A server for logical decoding that has run this script.
    pub async fn logical(script: &str) -> Self {
        let server =
            PostgresServer::start_with("wal_level=logical\nmax_wal_senders=20\nmax_replication_slots=20\n").unwrap();
        let admin = admin(&server).await;
        admin.batch_execute(script).await.unwrap();
        Self { server, admin }
    }

    pub fn config(&self) -> PostgresConfig {
        PostgresConfig::new(self.server.config("postgres"))
    }

    pub fn source(&self) -> PostgresSource {
        PostgresSource::new(self.config()).unwrap()
    }

    /// A source with a change to its configuration.
    pub fn source_with(&self, change: impl FnOnce(&mut PostgresConfig)) -> PostgresSource {
        let mut config = self.config();
        change(&mut config);
        PostgresSource::new(config).unwrap()
    }

    /// One value of the server, as text.
    pub async fn ask(&self, query: &str) -> String {
        self.admin.query_one(query, &[]).await.unwrap().get(0)
    }

    /// Waits until a query answers `true`.
    pub async fn wait_until(&self, query: &str) {
        while !self.admin.query_one(query, &[]).await.unwrap().get::<_, bool>(0) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }
}

pub async fn admin(server: &PostgresServer) -> Client {
    let config = server.config("postgres");
    let mut options = tokio_postgres::Config::new();
    options.host(&config.host).port(config.port).dbname("postgres").user(&config.user);
    options.password(datakit_postgres::testing::PASSWORD);
    let (client, connection) = options.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// What a query gave.
#[derive(Debug)]
pub struct Answer {
    pub schema: SchemaRef,
    pub batches: Vec<RecordBatch>,
}

impl Answer {
    pub fn one_batch(&self) -> RecordBatch {
        concat_batches(&self.schema, &self.batches).unwrap()
    }

    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// A line a column: name, declared type, Arrow type, values.
    pub fn columns(&self) -> String {
        let batch = self.one_batch();
        let options = FormatOptions::default().with_null("null");
        let line = |(field, array): (&arrow::datatypes::FieldRef, &arrow::array::ArrayRef)| {
            let formatter = ArrayFormatter::try_new(array, &options).unwrap();
            let values: Vec<String> = (0..array.len()).map(|row| formatter.value(row).to_string()).collect();
            let null = if field.is_nullable() { "" } else { " not null" };
            let declared = &field.metadata()["datakit.source-type"];
            format!("{} {declared}: {}{null} = {}", field.name(), field.data_type(), values.join(" | "))
        };
        self.schema.fields().iter().zip(batch.columns()).map(line).collect::<Vec<_>>().join("\n")
    }
}

pub fn access(run_id: &str) -> Access {
    Access {
        tables: TablePatterns::new(vec!["*.*".parse().unwrap()]),
        run_id: run_id.to_owned(),
        memory: MemoryBudget::new(64 << 20),
        rejecting: None,
    }
}

pub fn query(sql: &str) -> Query {
    Query { sql: sql.to_owned(), parameters: Vec::new(), options: QueryOptions::default() }
}

/// Starts a query of a run.
pub async fn start(
    source: &PostgresSource,
    run_id: &str,
    sql: &str,
) -> Result<(Box<dyn Connection>, Box<dyn Reader>), Failure> {
    let connection = source.connect(access(run_id)).await?;
    let reader = connection.query(query(sql)).await?;
    Ok((connection, reader))
}

/// Reads what is left.
pub async fn rest(mut reader: Box<dyn Reader>) -> Result<Answer, Failure> {
    let mut batches = Vec::new();
    while let Some(batch) = reader.next().await? {
        batches.push(batch.batch().clone());
    }
    Ok(Answer { schema: reader.schema(), batches })
}

/// Runs a query to its end; an error in the middle of the rows is the answer.
pub async fn read(source: &PostgresSource, sql: &str) -> Result<Answer, Failure> {
    read_with(source, sql, Vec::new()).await
}

pub async fn read_with(source: &PostgresSource, sql: &str, parameters: Vec<Value>) -> Result<Answer, Failure> {
    let connection = source.connect(access("test-run")).await?;
    rest(connection.query(Query { parameters, ..query(sql) }).await?).await
}

/// A failure in one text: code, kind, retry, message, hint.
pub fn reported(failure: &Failure) -> String {
    format!(
        "{} {:?} {:?}: {failure}\nhint: {}",
        failure.code(),
        failure.kind(),
        failure.retry(),
        failure.hint().unwrap_or("-")
    )
}
