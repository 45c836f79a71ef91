//! Routes for whoever watches: `/health/live`, `/health/startup`, `/health/ready`, as Kubernetes' probes ask, and `/metrics`.

mod checks;

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use datakit_http::axum::Router;
use datakit_http::axum::extract::State;
use datakit_http::axum::http::StatusCode;
use datakit_http::axum::http::header::CONTENT_TYPE;
use datakit_http::axum::response::{IntoResponse, Response};
use datakit_http::axum::routing::get;
use datakit_http::{Bounds, Endpoint, bounded, raw_json};
use datakit_model::printable;
use serde::Serialize;

pub(crate) use self::checks::Checks;
use self::checks::Readiness;
use crate::error::AppError;
use crate::metrics::Metrics;

/// No more clients wait for readiness at one time: each for a few seconds at most.
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

/// Listens from now on.
pub(crate) async fn serve(
    address: SocketAddr,
    health: Arc<dyn Health>,
    metrics: Option<Arc<Metrics>>,
) -> Result<Endpoint, AppError> {
    let failed = |source| AppError::Listen { address, source };
    let routes = match metrics {
        Some(metrics) => routes(health).merge(Router::new().route("/metrics", get(page)).with_state(metrics)),
        None => routes(health),
    };
    datakit_http::serve(address, routes, Bounds::default()).await.map_err(failed)
}

/// The text format of Prometheus.
async fn page(State(metrics): State<Arc<Metrics>>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.page())
}

fn routes(health: Arc<dyn Health>) -> Router {
    let ready = Router::new().route("/health/ready", get(ready)).with_state(Arc::clone(&health));
    Router::new()
        .route("/health/live", get(|| async { response(Ok(()).into()) }))
        .route("/health/startup", get(started))
        .with_state(health)
        .merge(bounded(ready, MAX_WAITING))
        .fallback(unknown)
}

async fn started(State(health): State<Arc<dyn Health>>) -> Response {
    response(health.has_started().into())
}

async fn ready(State(health): State<Arc<dyn Health>>) -> Response {
    response(health.is_ready().await)
}

async fn unknown() -> Response {
    let known = "one of /health/live, /health/startup, /health/ready".to_owned();
    as_json(StatusCode::NOT_FOUND, &Answer { status: "unknown", reason: Some(known), readiness: None })
}

fn response(answer: Answer) -> Response {
    as_json(if answer.is_ok() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &answer)
}

/// Reasons hold names and messages of others, and somebody reads them in a terminal.
fn as_json(status: StatusCode, answer: &Answer) -> Response {
    match serde_json::to_string(answer) {
        Ok(text) => raw_json(status, printable::json(&text).into_owned()),
        Err(error) => raw_json(StatusCode::INTERNAL_SERVER_ERROR, format!("{{\"status\":\"{error}\"}}")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);

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
        serve(([127, 0, 0, 1], 0).into(), Arc::new(Slow), None).await.unwrap()
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
        for _ in 0..Bounds::default().max_connections + 50 {
            half.push(begun(&endpoint, "GET /health/live HTTP/1.1\r\nHo").await);
        }
        let begin = Instant::now();
        let answer = get(&endpoint, "/health/live").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(begin.elapsed() < TIMEOUT / 2, "{:?}", begin.elapsed());
        // The oldest were closed for the younger ones.
        let mut rest = Vec::new();
        let _ = half.remove(0).read_to_end(&mut rest).await;
        assert!(rest.is_empty() && begin.elapsed() < TIMEOUT / 2);
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
        let unknown = get(&endpoint, "/health").await;
        assert!(unknown.starts_with("HTTP/1.1 404") && unknown.contains("/health/ready"), "{unknown}");
        let started = get(&endpoint, "/health/startup").await;
        assert!(started.contains("table a\\u202eb"), "{started}");
    }
}
