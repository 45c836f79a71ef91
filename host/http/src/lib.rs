//! The one place that listens for HTTP. Other rooms mount their routes on it; how much a client may take is decided here.
//!
//! - Whoever connects gets a place: where all are taken, the connection that is open longest is closed. A liveness answer takes no
//!   more than a moment, so that no number of clients that send half a request keeps it from being given.
//! - A request has to arrive within [`Bounds::header_timeout`], whole, and to be answered within [`Bounds::answer_timeout`].
//! - Routes that wait for others are [`bounded`]: a client that finds all places taken is told so at once, with 503.
//! - A connection carries one request: one that stays open would keep its place.
//!
//! There is no encryption and no login here.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

/// What a client may take.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Connections open at one time.
    pub max_connections: usize,
    /// How long a client may take to send its request's head.
    pub header_timeout: Duration,
    /// How long an answer may take, from the head to its last byte.
    pub answer_timeout: Duration,
    /// The longest head, in bytes; at least 8 KiB.
    pub max_header_bytes: usize,
    /// The most headers.
    pub max_headers: usize,
    /// The longest body that a route reads, in bytes.
    pub max_body_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            max_connections: 256,
            header_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(10),
            max_header_bytes: 8 << 10,
            max_headers: 64,
            max_body_bytes: 64 << 10,
        }
    }
}

/// An endpoint that answers; closed, with all its connections, when dropped.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    listening: JoinHandle<()>,
}

impl Endpoint {
    /// Where: with the port that was free, where port 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// Listens from now on.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(address: SocketAddr, routes: Router, bounds: Bounds) -> std::io::Result<Endpoint> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let routes = routes.layer(DefaultBodyLimit::max(bounds.max_body_bytes));
    Ok(Endpoint { address, listening: tokio::spawn(listen(listener, routes, bounds)) })
}

async fn listen(listener: TcpListener, routes: Router, bounds: Bounds) {
    let mut connections = Connections { tasks: JoinSet::new(), oldest_first: VecDeque::new() };
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.make_room(bounds.max_connections);
                let handle = connections.tasks.spawn(answer(stream, routes.clone(), bounds.clone()));
                connections.oldest_first.push_back(handle);
            }
            Err(error) => {
                tracing::warn!(target: "datakit", %error, "the HTTP endpoint cannot accept");
                // Where the process is out of files, a connection less is a file more.
                connections.make_room(connections.oldest_first.len());
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// The connections that are open.
struct Connections {
    tasks: JoinSet<()>,
    oldest_first: VecDeque<AbortHandle>,
}

impl Connections {
    /// Closes as many of the oldest as are too many for one more.
    fn make_room(&mut self, max_connections: usize) {
        while self.tasks.try_join_next().is_some() {}
        self.oldest_first.retain(|connection| !connection.is_finished());
        while self.oldest_first.len() >= max_connections.max(1) {
            if let Some(oldest) = self.oldest_first.pop_front() {
                oldest.abort();
            }
        }
    }
}

async fn answer(stream: TcpStream, routes: Router, bounds: Bounds) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.header_timeout)
        .max_buf_size(bounds.max_header_bytes.max(8 << 10))
        .max_headers(bounds.max_headers)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    // A client that goes away, or takes too long, is its own affair.
    let _ = tokio::time::timeout(bounds.header_timeout + bounds.answer_timeout, connection).await;
}

/// Routes that are answered to so many clients at one time; the others are told to come back.
pub fn bounded(routes: Router, places: usize) -> Router {
    routes.layer(from_fn_with_state(Arc::new(Semaphore::new(places)), within_places))
}

async fn within_places(State(places): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    #[derive(Serialize)]
    struct Busy {
        status: &'static str,
        reason: &'static str,
    }
    match places.try_acquire() {
        Ok(_place) => next.run(request).await,
        Err(_) => {
            let reason = "too many clients ask at one time: ask again";
            json(StatusCode::SERVICE_UNAVAILABLE, &Busy { status: "unavailable", reason })
        }
    }
}

/// An answer as JSON, which no cache keeps.
pub fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_string(body) {
        Ok(text) => raw_json(status, text),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// The same of JSON that is serialized already.
pub fn raw_json(status: StatusCode, text: String) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, text).into_response()
}

pub use axum;

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn routes() -> Router {
        let slow = Router::new().route("/slow", get(std::future::pending::<()>));
        Router::new().route("/live", get(|| async { "yes" })).merge(bounded(slow, 2))
    }

    async fn endpoint(bounds: Bounds) -> Endpoint {
        serve(([127, 0, 0, 1], 0).into(), routes(), bounds).await.unwrap()
    }

    /// The connection after these bytes.
    async fn begun(endpoint: &Endpoint, bytes: &str) -> TcpStream {
        let mut stream = TcpStream::connect(endpoint.address()).await.unwrap();
        stream.write_all(bytes.as_bytes()).await.unwrap();
        stream
    }

    /// All that comes, until the server closes.
    async fn rest(mut stream: TcpStream) -> String {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        String::from_utf8(bytes).unwrap()
    }

    async fn get_path(endpoint: &Endpoint, path: &str) -> String {
        rest(begun(endpoint, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await).await
    }

    #[tokio::test]
    async fn half_sent_requests_take_no_place_from_a_liveness_question() {
        let endpoint = endpoint(Bounds { max_connections: 16, ..Bounds::default() }).await;
        let mut half = Vec::new();
        for _ in 0..200 {
            half.push(begun(&endpoint, "GET /live HTTP/1.1\r\nHo").await);
        }
        let begin = Instant::now();
        let answer = get_path(&endpoint, "/live").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("yes"), "{answer}");
        assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
        // The oldest of them were closed for the younger ones.
        assert_eq!(rest(half.remove(0)).await, "");
    }

    #[tokio::test]
    async fn a_request_that_does_not_arrive_in_time_is_cut_off() {
        let bounds = Bounds { header_timeout: Duration::from_millis(200), ..Bounds::default() };
        let endpoint = endpoint(bounds).await;
        let answer = tokio::time::timeout(Duration::from_secs(5), rest(begun(&endpoint, "GET /li").await)).await;
        assert!(!answer.unwrap().contains(" 200 "));
        let silent = tokio::time::timeout(Duration::from_secs(5), rest(begun(&endpoint, "").await)).await;
        assert_eq!(silent.unwrap(), "");
    }

    #[tokio::test]
    async fn an_answer_that_does_not_come_is_cut_off() {
        let short = Duration::from_millis(200);
        let endpoint = endpoint(Bounds { header_timeout: short, answer_timeout: short, ..Bounds::default() }).await;
        let answer = tokio::time::timeout(Duration::from_secs(5), get_path(&endpoint, "/slow")).await;
        assert_eq!(answer.unwrap(), "");
    }

    #[tokio::test]
    async fn a_route_that_waits_has_places_of_its_own() {
        let endpoint = endpoint(Bounds::default()).await;
        let request = "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n";
        let _first = begun(&endpoint, request).await;
        let _second = begun(&endpoint, request).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let third = get_path(&endpoint, "/slow").await;
        assert!(third.starts_with("HTTP/1.1 503") && third.contains("ask again"), "{third}");
        assert!(get_path(&endpoint, "/live").await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn heads_have_bounds() {
        let endpoint = endpoint(Bounds::default()).await;
        let long = format!("GET /live HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(20 << 10));
        assert!(rest(begun(&endpoint, &long).await).await.starts_with("HTTP/1.1 431"));
        let many: String = (0..100).map(|n| format!("X-{n}: y\r\n")).collect();
        let many = format!("GET /live HTTP/1.1\r\nHost: x\r\n{many}\r\n");
        assert!(rest(begun(&endpoint, &many).await).await.starts_with("HTTP/1.1 431"));
        assert!(get_path(&endpoint, "/live").await.starts_with("HTTP/1.1 200"));
    }

    #[tokio::test]
    async fn a_dropped_endpoint_answers_no_more() {
        let endpoint = endpoint(Bounds::default()).await;
        let address = endpoint.address();
        drop(endpoint);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(TcpStream::connect(address).await.is_err());
    }
}
