//! Takes events to a file and to a server, in order, beside the run: no table waits for them.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use datakit_model::{Credential, Failure};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::redirect;
use serde_json::Value as Json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::AppError;

/// Events that wait to be delivered; more are left out.
const MAX_WAITING: usize = 4_096;
/// The longest wait for one event.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest wait for all that are left when a run has ended.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(15);
/// After so many events in a row that could not be delivered, no more are tried.
const MAX_FAILURES: u32 = 3;

/// Where events go.
pub(super) struct Places {
    pub(super) file: Option<PathBuf>,
    pub(super) server: Option<Endpoint>,
}

/// A server that takes events.
pub(super) struct Endpoint {
    url: String,
    key: Option<Credential>,
    client: reqwest::Client,
}

impl Endpoint {
    pub(super) fn new(url: String, key: Option<Credential>) -> Result<Self, Failure> {
        let built = reqwest::Client::builder()
            .user_agent(concat!("datakit-host/", env!("CARGO_PKG_VERSION")))
            .timeout(TIMEOUT)
            .redirect(redirect::Policy::none())
            .build();
        let client = built.map_err(|error| AppError::Lineage { place: shown(&url), message: error.to_string() })?;
        Ok(Self { url, key, client })
    }

    async fn post(&self, event: &str) -> Result<(), Failure> {
        let failed = |message: String| AppError::Lineage { place: shown(&self.url), message };
        let mut request = self.client.post(&self.url).header(CONTENT_TYPE, "application/json").body(event.to_owned());
        if let Some(key) = &self.key {
            let key = key.obtain().await?;
            let bearer = HeaderValue::from_str(&format!("Bearer {}", key.expose()));
            let mut bearer = bearer.map_err(|_| failed("the key is not a text of ASCII characters".to_owned()))?;
            bearer.set_sensitive(true);
            request = request.header(AUTHORIZATION, bearer);
        }
        let answer = request.send().await.map_err(|error| failed(in_full(&error.without_url())))?;
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(failed(format!("it answered {status}")).into()) }
    }
}

/// An address for messages: without its query, which may hold a key.
fn shown(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or_default().to_owned()
}

/// An error with all of its causes.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// What became of the events.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    pub(super) lost: u64,
    /// Why, of the first that was lost.
    pub(super) why: Option<Failure>,
}

impl Delivered {
    fn note(&mut self, outcome: Result<(), Failure>) {
        if let Err(failure) = outcome {
            self.lost += 1;
            self.why.get_or_insert(failure);
        }
    }
}

/// A task that delivers.
pub(super) struct Delivery {
    events: mpsc::Sender<Json>,
    task: JoinHandle<Delivered>,
}

impl Delivery {
    pub(super) fn start(places: Places) -> Self {
        let (events, waiting) = mpsc::channel(MAX_WAITING);
        Self { events, task: tokio::spawn(deliver(places, waiting)) }
    }

    /// Where events are handed in.
    pub(super) fn events(&self) -> mpsc::Sender<Json> {
        self.events.clone()
    }

    /// Waits until all are delivered. To be called when nobody else has a sender any more.
    pub(super) async fn end(self) -> Delivered {
        drop(self.events);
        let late = || Delivered {
            lost: 1,
            why: Some(
                AppError::Lineage { place: "OpenLineage".to_owned(), message: "it took too long".to_owned() }.into(),
            ),
        };
        match tokio::time::timeout(FLUSH_TIMEOUT, self.task).await {
            Ok(Ok(delivered)) => delivered,
            Ok(Err(_)) | Err(_) => late(),
        }
    }
}

async fn deliver(places: Places, mut waiting: mpsc::Receiver<Json>) -> Delivered {
    let (mut delivered, mut failures_in_a_row) = (Delivered::default(), 0);
    while let Some(event) = waiting.recv().await {
        let text = event.to_string();
        if let Some(file) = &places.file {
            delivered.note(append(file, &text));
        }
        let Some(server) = &places.server else { continue };
        if failures_in_a_row >= MAX_FAILURES {
            delivered.lost += 1;
            continue;
        }
        let posted = server.post(&text).await;
        failures_in_a_row = if posted.is_err() { failures_in_a_row + 1 } else { 0 };
        delivered.note(posted);
    }
    delivered
}

/// One write: lines of runs that share a file do not mix.
fn append(file: &Path, event: &str) -> Result<(), Failure> {
    let write = || OpenOptions::new().create(true).append(true).open(file)?.write_all(format!("{event}\n").as_bytes());
    write().map_err(|source: std::io::Error| {
        AppError::Lineage { place: file.display().to_string(), message: source.to_string() }.into()
    })
}
