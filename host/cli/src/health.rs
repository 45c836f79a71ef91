//! An endpoint for whoever watches: `/health/live`, `/health/startup`, `/health/ready`, as Kubernetes' probes ask.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The longest request that is read, in bytes.
const MAX_REQUEST_BYTES: u64 = 8 << 10;
/// The longest a client may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What there is to answer. That there is an answer says that the process lives.
pub(crate) trait Health: Send + Sync {
    /// Whether it has begun its work, or why not yet.
    fn has_started(&self) -> Result<(), String>;
    /// Whether it does its work, or why not now.
    fn is_ready(&self) -> Result<(), String>;
}

#[derive(Serialize)]
struct Answer {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// Listens from now on, until the runtime ends; the answer is where.
pub(crate) async fn serve(address: SocketAddr, health: Arc<dyn Health>) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let health = Arc::clone(&health);
                    // A client that goes away is its own affair.
                    tokio::spawn(async move { tokio::time::timeout(PATIENCE, answer(stream, health.as_ref())).await });
                }
                Err(error) => {
                    tracing::warn!(target: "datakit", %error, "the health endpoint cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    });
    Ok(address)
}

async fn answer(mut stream: TcpStream, health: &dyn Health) -> std::io::Result<()> {
    let (reading, mut writing) = stream.split();
    let mut lines = BufReader::new(reading.take(MAX_REQUEST_BYTES)).lines();
    let request = lines.next_line().await?.unwrap_or_default();
    // The headers say nothing of interest, but a client may not like to be cut off while it writes them.
    while lines.next_line().await?.is_some_and(|line| !line.is_empty()) {}
    let path = request.strip_prefix("GET ").and_then(|rest| rest.split(' ').next());
    let state = match path {
        Some("/health/live") => Some(Ok(())),
        Some("/health/startup") => Some(health.has_started()),
        Some("/health/ready") => Some(health.is_ready()),
        _ => None,
    };
    let (status, answer) = match state {
        Some(Ok(())) => ("200 OK", Answer { status: "ok", reason: None }),
        Some(Err(reason)) => ("503 Service Unavailable", Answer { status: "unavailable", reason: Some(reason) }),
        None => {
            let known = "one of /health/live, /health/startup, /health/ready".to_owned();
            ("404 Not Found", Answer { status: "unknown", reason: Some(known) })
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
