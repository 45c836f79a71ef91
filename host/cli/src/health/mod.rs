//! An endpoint for whoever watches: `/health/live`, `/health/startup`, `/health/ready`, as Kubernetes' probes ask.

mod checks;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datakit_model::printable;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

pub(crate) use self::checks::Checks;
use self::checks::Readiness;
use crate::error::CliError;

/// The longest request that is read, in bytes.
const MAX_REQUEST_BYTES: u64 = 8 << 10;
/// The longest a client may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connections open at one time. Whoever connects gets a place: where all are taken, the one that is open longest is closed, so that
/// no number of half-sent requests keeps a liveness answer from being given.
const MAX_CLIENTS: usize = 256;

/// Clients that wait for readiness at one time: each for a few seconds at most. The others are told to ask again.
const MAX_WAITING: usize = 32;

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
    let listening = tokio::spawn(listen(listener, health));
    Ok(Endpoint { address, listening })
}

async fn listen(listener: TcpListener, health: Arc<dyn Health>) {
    let waiting = Arc::new(Semaphore::new(MAX_WAITING));
    let mut clients = Clients::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (health, waiting) = (Arc::clone(&health), Arc::clone(&waiting));
                clients.make_room(MAX_CLIENTS);
                clients.begin(async move {
                    // A client that goes away is its own affair.
                    let _ = tokio::time::timeout(PATIENCE, answer(stream, health.as_ref(), &waiting)).await;
                });
            }
            Err(error) => {
                tracing::warn!(target: "datakit", %error, "the health endpoint cannot accept");
                // Where the process is out of files, a client less is a file more.
                clients.make_room(clients.oldest_first.len());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// The clients that are being answered.
#[derive(Default)]
struct Clients {
    tasks: JoinSet<()>,
    oldest_first: VecDeque<AbortHandle>,
}

impl Clients {
    fn begin(&mut self, work: impl Future<Output = ()> + Send + 'static) {
        let handle = self.tasks.spawn(work);
        self.oldest_first.push_back(handle);
    }

    /// Closes as many of the oldest as are too many for one more.
    fn make_room(&mut self, max_clients: usize) {
        while self.tasks.try_join_next().is_some() {}
        self.oldest_first.retain(|client| !client.is_finished());
        while self.oldest_first.len() >= max_clients.max(1) {
            if let Some(oldest) = self.oldest_first.pop_front() {
                oldest.abort();
            }
        }
    }
}

async fn answer(mut stream: TcpStream, health: &dyn Health, waiting: &Semaphore) -> std::io::Result<()> {
    let (reading, mut writing) = stream.split();
    let mut lines = BufReader::new(reading.take(MAX_REQUEST_BYTES)).lines();
    let request = lines.next_line().await?.unwrap_or_default();
    // The headers say nothing of interest, but a client may not like to be cut off while it writes them.
    while lines.next_line().await?.is_some_and(|line| !line.is_empty()) {}
    let path = request.strip_prefix("GET ").and_then(|rest| rest.split(' ').next());
    let answer = match path {
        Some("/health/live") => Some(Ok(()).into()),
        Some("/health/startup") => Some(health.has_started().into()),
        Some("/health/ready") => Some(match waiting.try_acquire() {
            Ok(_place) => health.is_ready().await,
            Err(_) => Err("too many clients ask at one time: ask again".to_owned()).into(),
        }),
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
    // Reasons hold names and messages of others, and somebody reads them in a terminal.
    let body = printable::json(&body);
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    writing.write_all(head.as_bytes()).await?;
    writing.write_all(body.as_bytes()).await?;
    writing.shutdown().await
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Never ready, and never answers whether it is.
    struct Slow;

    #[async_trait]
    impl Health for Slow {
        fn has_started(&self) -> Result<(), String> {
            Err("table a\u{202e}b".to_owned())
        }

        async fn is_ready(&self) -> Answer {
            std::future::pending().await
        }
    }

    async fn endpoint() -> Endpoint {
        serve(([127, 0, 0, 1], 0).into(), Arc::new(Slow)).await.unwrap()
    }

    async fn begun(endpoint: &Endpoint, bytes: &str) -> TcpStream {
        let mut stream = TcpStream::connect(endpoint.address()).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        stream
    }

    async fn get(endpoint: &Endpoint, path: &str) -> String {
        let mut stream = begun(endpoint, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn half_sent_requests_take_no_place_from_a_liveness_question() {
        let endpoint = endpoint().await;
        let mut half = Vec::new();
        for _ in 0..MAX_CLIENTS + 50 {
            half.push(begun(&endpoint, "GET /health/live HTTP/1.1\r\nHo").await);
        }
        let begin = Instant::now();
        let answer = get(&endpoint, "/health/live").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(begin.elapsed() < PATIENCE / 2, "{:?}", begin.elapsed());
        // The oldest were closed for the younger ones.
        let mut rest = Vec::new();
        let _ = half.remove(0).read_to_end(&mut rest).await;
        assert!(rest.is_empty() && begin.elapsed() < PATIENCE / 2);
    }

    #[tokio::test]
    async fn readiness_has_places_of_its_own() {
        let endpoint = endpoint().await;
        let mut waiting = Vec::new();
        for _ in 0..MAX_WAITING {
            waiting.push(begun(&endpoint, "GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n").await);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        let answer = get(&endpoint, "/health/ready").await;
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("ask again"), "{answer}");
        assert!(get(&endpoint, "/health/live").await.starts_with("HTTP/1.1 200"));
        let started = get(&endpoint, "/health/startup").await;
        assert!(started.contains("table a\\u202eb"), "{started}");
    }
}
