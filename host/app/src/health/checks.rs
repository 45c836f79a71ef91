//! Whether a run could work now: three questions, each asked of every connection or sink, and answered again only after a while.
//!
//! However many ask, of each question one is under way: clients wait for it, and go away when it takes too long. A source
//! that does not answer holds up nothing but its own answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use datakit_connect::connector::ConnectedSource;
use datakit_kerberos::KerberosError;
use datakit_model::Failure;
use datakit_model::sink::Sink;
use serde::Serialize;
use tokio::sync::Notify;

use super::{Answer, Health};
use crate::error::AppError;

/// What was found out is good for this long.
const GOOD_FOR: Duration = Duration::from_secs(5);
/// The longest a client waits for a question; less than a client may take in all.
const TIMEOUT: Duration = Duration::from_secs(3);

type Asking = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    Ticket,
    Source,
    Bronze,
}

/// One question about one connection or sink.
struct Question {
    about: About,
    name: String,
    ask: Box<dyn Fn() -> Asking + Send + Sync>,
    state: Mutex<State>,
    answered: Notify,
}

#[derive(Default)]
struct State {
    last: Option<(Instant, Result<(), Failure>)>,
    is_asked: bool,
}

/// The questions of a process.
pub(crate) struct Checks {
    questions: Vec<Arc<Question>>,
    has_started: AtomicBool,
    /// What was answered last, so that a change can be logged.
    was_ready: Mutex<Option<bool>>,
}

/// What is told of the three questions.
#[derive(Debug, Serialize)]
pub(super) struct Readiness {
    ticket_valid: Found,
    source_reachable: Found,
    bronze_writable: Found,
}

#[derive(Debug, Serialize)]
struct Found {
    /// `yes`, `no`, or `not_used` where there is nothing to ask.
    answer: &'static str,
    /// One for each no.
    reasons: Vec<Reason>,
}

#[derive(Debug, Serialize)]
struct Reason {
    /// The connection or sink.
    name: String,
    code: String,
    message: String,
    causes: Vec<String>,
    hint: Option<String>,
}

impl Checks {
    /// Questions about these connections and sinks. Nothing is asked yet.
    pub(crate) fn new(
        connections: impl IntoIterator<Item = (String, Arc<dyn ConnectedSource>)>,
        sinks: impl IntoIterator<Item = (String, Arc<dyn Sink>)>,
    ) -> Self {
        let mut questions = Vec::new();
        let mut put = |about, name: String, ask: Box<dyn Fn() -> Asking + Send + Sync>| {
            let (state, answered) = (Mutex::default(), Notify::new());
            questions.push(Arc::new(Question { about, name, ask, state, answered }));
        };
        for (name, connected) in connections {
            if let Some(tickets) = connected.tickets().cloned() {
                let ask = move || {
                    let tickets = Arc::clone(&tickets);
                    // Waited for to its end, however long: a thread that waits for a KDC cannot be called back.
                    Box::pin(async move {
                        let granted = tokio::task::spawn_blocking(move || tickets.granted()).await;
                        let crashed = |error: tokio::task::JoinError| KerberosError::Library {
                            doing: "asking for a ticket",
                            reason: error.to_string(),
                        };
                        Ok(granted.map_err(crashed)?.map(drop)?)
                    }) as Asking
                };
                put(About::Ticket, name.clone(), Box::new(ask));
            }
            let ask = move || {
                let connected = Arc::clone(&connected);
                Box::pin(async move { connected.reach().await }) as Asking
            };
            put(About::Source, name, Box::new(ask));
        }
        for (name, sink) in sinks {
            let ask = move || {
                let sink = Arc::clone(&sink);
                Box::pin(async move { sink.probe().await }) as Asking
            };
            put(About::Bronze, name, Box::new(ask));
        }
        Self { questions, has_started: AtomicBool::new(false), was_ready: Mutex::default() }
    }

    /// The work has begun.
    pub(crate) fn start(&self) {
        self.has_started.store(true, Ordering::Relaxed);
    }

    async fn readiness(&self) -> Readiness {
        // All at once: each may take its time.
        let asking: Vec<_> =
            self.questions.iter().map(|question| tokio::spawn(Arc::clone(question).answer())).collect();
        let mut answers = Vec::new();
        for (question, asked) in self.questions.iter().zip(asking) {
            let answer = asked.await.unwrap_or_else(|error| Err(crashed(&error)));
            answers.push((question, answer));
        }
        let found = |about: About| {
            let of_it: Vec<_> = answers.iter().filter(|(question, _)| question.about == about).collect();
            let reason = |(question, answer): &&(&Arc<Question>, Result<(), Failure>)| {
                answer.as_ref().err().map(|failure| Reason::new(&question.name, failure))
            };
            let reasons: Vec<Reason> = of_it.iter().filter_map(reason).collect();
            let answer = if of_it.is_empty() {
                "not_used"
            } else if reasons.is_empty() {
                "yes"
            } else {
                "no"
            };
            Found { answer, reasons }
        };
        Readiness {
            ticket_valid: found(About::Ticket),
            source_reachable: found(About::Source),
            bronze_writable: found(About::Bronze),
        }
    }

    fn log(&self, readiness: &Readiness) {
        let reason = readiness.reason();
        let is_ready = reason.is_none();
        let mut was_ready = self.was_ready.lock().unwrap_or_else(PoisonError::into_inner);
        if was_ready.replace(is_ready) == Some(is_ready) {
            return;
        }
        match reason {
            None => tracing::info!(target: "datakit", "ready"),
            Some(reason) => tracing::warn!(target: "datakit", reason, "not ready"),
        }
    }
}

#[async_trait]
impl Health for Checks {
    fn has_started(&self) -> Result<(), String> {
        if self.has_started.load(Ordering::Relaxed) { Ok(()) } else { Err("the datakit is being loaded".to_owned()) }
    }

    async fn is_ready(&self) -> Answer {
        let readiness = self.readiness().await;
        self.log(&readiness);
        readiness.into()
    }
}

impl Readiness {
    /// Why not.
    pub(super) fn reason(&self) -> Option<String> {
        let all = [&self.ticket_valid, &self.source_reachable, &self.bronze_writable];
        let said = all.into_iter().flat_map(|found| &found.reasons).map(|why| format!("{}: {}", why.name, why.message));
        let said: Vec<String> = said.collect();
        (!said.is_empty()).then(|| said.join("; "))
    }
}

impl Reason {
    fn new(name: &str, failure: &Failure) -> Self {
        Self {
            name: name.to_owned(),
            code: failure.code().to_owned(),
            message: failure.message().to_owned(),
            causes: failure.causes().to_vec(),
            hint: failure.hint().map(ToOwned::to_owned),
        }
    }
}

impl Question {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here can panic halfway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was found out a moment ago, else what is found out now.
    async fn answer(self: Arc<Self>) -> Result<(), Failure> {
        let until = tokio::time::Instant::now() + TIMEOUT;
        loop {
            // Before the look at the state: an answer that comes in between is heard.
            let answered = self.answered.notified();
            {
                let mut state = self.state();
                match &state.last {
                    Some((when, answer)) if when.elapsed() < GOOD_FOR => return answer.clone(),
                    _ if state.is_asked => {}
                    _ => {
                        state.is_asked = true;
                        tokio::spawn(Arc::clone(&self).find_out());
                    }
                }
            }
            if tokio::time::timeout_at(until, answered).await.is_err() {
                return Err(AppError::NoAnswer { name: self.name.clone(), seconds: TIMEOUT.as_secs() }.into());
            }
        }
    }

    async fn find_out(self: Arc<Self>) {
        // A task of its own: if it crashes, the question can be asked again.
        let answer = tokio::spawn((self.ask)()).await.unwrap_or_else(|error| Err(crashed(&error)));
        let mut state = self.state();
        state.last = Some((Instant::now(), answer));
        state.is_asked = false;
        drop(state);
        self.answered.notify_waiters();
    }
}

fn crashed(error: &tokio::task::JoinError) -> Failure {
    AppError::Crashed { message: error.to_string() }.into()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn question(ask: impl Fn() -> Asking + Send + Sync + 'static) -> Arc<Question> {
        let (state, answered) = (Mutex::default(), Notify::new());
        Arc::new(Question { about: About::Source, name: "erp".into(), ask: Box::new(ask), state, answered })
    }

    #[tokio::test]
    async fn many_who_ask_are_answered_by_one_question() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let question = question(move || {
            count.fetch_add(1, Ordering::SeqCst);
            Box::pin(async {
                tokio::task::yield_now().await;
                Ok(())
            })
        });
        let all: Vec<_> = (0..100).map(|_| tokio::spawn(Arc::clone(&question).answer())).collect();
        for one in all {
            assert!(one.await.unwrap().is_ok());
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_slow_one_is_asked_once_and_not_waited_for() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let question = question(move || {
            count.fetch_add(1, Ordering::SeqCst);
            Box::pin(std::future::pending())
        });
        let all: Vec<_> = (0..20).map(|_| tokio::spawn(Arc::clone(&question).answer())).collect();
        for one in all {
            assert_eq!(one.await.unwrap().unwrap_err().code(), "DK-CLI-041");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn one_that_crashes_is_asked_again() {
        let question = question(|| Box::pin(async { panic!("on purpose") }));
        assert_eq!(Arc::clone(&question).answer().await.unwrap_err().code(), "DK-CLI-012");
        assert!(!question.state().is_asked);
    }
}
