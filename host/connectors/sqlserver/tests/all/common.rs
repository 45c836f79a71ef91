//! A server that replays a recorded conversation, and short ways to read from a server.

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use datakit_model::source::{Access, Adjustment, Query, QueryOptions, Source, Value};
use datakit_model::{Failure, MemoryBudget, Secret, TablePatterns};
use datakit_sqlserver::{Encrypt, ReaderKind, SqlServerConfig, SqlServerSource};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::described;

/// Both readers.
pub const READERS: [ReaderKind; 2] = [ReaderKind::MssqlTds, ReaderKind::Tiberius];

/// What a query gave.
#[derive(Debug)]
pub struct Answer {
    pub schema: SchemaRef,
    pub batches: Vec<RecordBatch>,
    pub adjustments: Vec<Adjustment>,
}

impl Answer {
    pub fn one_batch(&self) -> RecordBatch {
        concat_batches(&self.schema, &self.batches).unwrap()
    }

    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

pub fn access(patterns: &[&str]) -> Access {
    Access {
        tables: TablePatterns::new(patterns.iter().map(|p| p.parse().unwrap()).collect()),
        run_id: "test-run".to_owned(),
        memory: MemoryBudget::new(64 << 20),
        rejecting: None,
    }
}

pub fn query(sql: &str, parameters: Vec<Value>) -> Query {
    Query { sql: sql.to_owned(), parameters, options: QueryOptions::default() }
}

/// Runs a query to its end; an error in the middle of the rows is the answer.
pub async fn read(source: &SqlServerSource, query: Query) -> Result<Answer, Failure> {
    let connection = source.connect(access(&["*.*"])).await?;
    let mut reader = connection.query(query).await?;
    let mut batches = Vec::new();
    while let Some(batch) = reader.next().await? {
        batches.push(batch.batch().clone());
    }
    Ok(Answer { schema: reader.schema(), batches, adjustments: reader.report().adjustments })
}

/// A failure in one text: code, kind, message, hint.
pub fn reported(failure: &Failure) -> String {
    format!(
        "{} {:?} {:?}: {}\nhint: {}",
        failure.code(),
        failure.kind(),
        failure.retry(),
        failure,
        failure.hint().unwrap_or("-")
    )
}

/// Replays the conversation of one capture to every connection. An attention, and the question for a description, are
/// answered as SQL Server would.
pub struct Replay {
    pub port: u16,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Replay {
    pub async fn start(capture: &str) -> Self {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../tests/fake-sqlserver/tests/captures");
        let text = std::fs::read_to_string(format!("{folder}/{capture}.json")).unwrap();
        let capture: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut answers: Vec<Vec<u8>> = capture["exchanges"]
            .as_array()
            .unwrap()
            .iter()
            .map(|exchange| hex::decode(exchange["server"].as_str().unwrap()).unwrap())
            .collect();
        if answers.len() > 2 {
            tell_packet_size(&mut answers[1]);
        }
        Self::of(answers).await
    }

    /// Answers each message of a connection with the next of these.
    pub async fn of(answers: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, answers.clone()));
            }
        });
        Self { port, task }
    }

    pub fn source(&self, reader: ReaderKind) -> SqlServerSource {
        SqlServerSource::new(self.config(reader)).unwrap()
    }

    pub fn config(&self, reader: ReaderKind) -> SqlServerConfig {
        let mut config = SqlServerConfig::new("127.0.0.1", "testdb", "babelfish_user", Secret::new("secret".into()));
        config.port = self.port;
        config.encrypt = Encrypt::Off;
        config.reader = reader;
        config
    }
}

/// The recorded client asked for the default packet size, so the server never named one; mssql-tds asks for another and
/// waits for the answer. Puts it before the DONE at the end of the login's answer.
fn tell_packet_size(login: &mut Vec<u8>) {
    const DONE_BYTES: usize = 13;
    let size: Vec<u8> = "4096".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut token = vec![0xE3, 19, 0, 4, 4];
    token.extend_from_slice(&size);
    token.push(4);
    token.extend_from_slice(&size);
    let at = login.len() - DONE_BYTES;
    login.splice(at..at, token);
    let length = u16::try_from(login.len()).unwrap().to_be_bytes();
    login[2..4].copy_from_slice(&length);
}

const ATTENTION: u8 = 6;
/// DONE with the attention bit, in a message of its own.
const ATTENTION_DONE: [u8; 21] = [4, 1, 0, 21, 0, 0, 1, 0, 0xFD, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

async fn converse(mut stream: TcpStream, answers: Vec<Vec<u8>>) {
    let mut answers = answers.into_iter().peekable();
    while let Some((kind, message)) = message(&mut stream).await {
        let answer = match kind {
            ATTENTION => Some(ATTENTION_DONE.to_vec()),
            _ if described::is_question(&message) => answers.peek().map(|answer| described::describe(answer)),
            _ => answers.next(),
        };
        let Some(answer) = answer else { return };
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

/// Reads one whole TDS message and returns its type and its bytes.
async fn message(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut message = Vec::new();
    loop {
        let mut header = [0; 8];
        stream.read_exact(&mut header).await.ok()?;
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let mut payload = vec![0; length - 8];
        stream.read_exact(&mut payload).await.ok()?;
        message.extend(payload);
        if header[1] & 1 == 1 {
            return Some((header[0], message));
        }
    }
}
