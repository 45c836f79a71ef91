//! An endpoint for whoever watches: `/health/live`, `/health/startup`, `/health/ready`, as Kubernetes' probes ask.

mod checks;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

pub(crate) use self::checks::Checks;
use self::checks::Readiness;
use crate::error::CliError;

/// The longest request that is read, in bytes.
const MAX_REQUEST_BYTES: u64 = 8 << 10;
/// The longest a client may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// No more clients are answered at one time: each waits a few seconds at most, the others for their turn.
const MAX_CLIENTS: usize = 32;

/// What there is to answer. That there is an answer says that the process lives.
#[async_trait]
pub(crate) trait Health: Send + Sync {
    /// Whether it has begun its work, or why not yet.
    fn has_started(&self) -> Result<(), String>;
    /// Whether it does its work, or why not now.
    async fn is_ready(&self) -> Answer;
}

/// An answer: the status, and why.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// What was asked to find out, if it was more than one thing.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    readiness: Option<Readiness>,
}

impl Answer {
    /// All is well, and there is something to be said.
    pub(crate) fn ok_but(reason: Option<String>) -> Self {
        Self { status: OK, reason, readiness: None }
    }

    fn is_ok(&self) -> bool {
        self.status == OK
    }
}

const OK: &str = "ok";

impl From<Result<(), String>> for Answer {
    fn from(state: Result<(), String>) -> Self {
        let status = if state.is_ok() { OK } else { "unavailable" };
        Self { status, reason: state.err(), readiness: None }
    }
}

impl From<Readiness> for Answer {
    fn from(readiness: Readiness) -> Self {
        Self { readiness: Some(readiness), ..Self::from(Ok(())) }.with_reason()
    }
}

impl Answer {
    fn with_reason(self) -> Self {
        match self.readiness.as_ref().and_then(Readiness::reason) {
            Some(reason) => Self { readiness: self.readiness, ..Self::from(Err(reason)) },
            None => self,
        }
    }
}

/// An endpoint that answers; closed when dropped.
pub(crate) struct Endpoint {
    address: SocketAddr,
    listening: JoinHandle<()>,
}

impl Endpoint {
    /// Where.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Listens from now on.
pub(crate) async fn serve(address: SocketAddr, health: Arc<dyn Health>) -> Result<Endpoint, CliError> {
    let failed = |source| CliError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let listening = tokio::spawn(async move {
        let clients = Arc::new(Semaphore::new(MAX_CLIENTS));
        // The semaphore is never closed.
        while let Ok(client) = Arc::clone(&clients).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let health = Arc::clone(&health);
                    tokio::spawn(async move {
                        // A client that goes away is its own affair.
                        let _ = tokio::time::timeout(PATIENCE, answer(stream, health.as_ref())).await;
                        drop(client);
                    });
                }
                Err(error) => {
                    tracing::warn!(target: "datakit", %error, "the health endpoint cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    });
    Ok(Endpoint { address, listening })
}

async fn answer(mut stream: TcpStream, health: &dyn Health) -> std::io::Result<()> {
    let (reading, mut writing) = stream.split();
    let mut lines = BufReader::new(reading.take(MAX_REQUEST_BYTES)).lines();
    let request = lines.next_line().await?.unwrap_or_default();
    // The headers say nothing of interest, but a client may not like to be cut off while it writes them.
    while lines.next_line().await?.is_some_and(|line| !line.is_empty()) {}
    let path = request.strip_prefix("GET ").and_then(|rest| rest.split(' ').next());
    let answer = match path {
        Some("/health/live") => Some(Ok(()).into()),
        Some("/health/startup") => Some(health.has_started().into()),
        Some("/health/ready") => Some(health.is_ready().await),
        _ => None,
    };
    let (status, answer) = match answer {
        Some(answer) if answer.is_ok() => ("200 OK", answer),
        Some(answer) => ("503 Service Unavailable", answer),
        None => {
            let known = "one of /health/live, /health/startup, /health/ready".to_owned();
            ("404 Not Found", Answer { status: "unknown", reason: Some(known), readiness: None })
        }
    };
    let body = serde_json::to_string(&answer)?;
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    writing.write_all(head.as_bytes()).await?;
    writing.write_all(body.as_bytes()).await?;
    writing.shutdown().await
}
