//! The links of `host doctor` that several connectors have, and what they are reported to.
//!
//! A step of a driver or of the Kerberos library may show several links at once: which of them broke is told by its error
//! (docs/decisions/0092). Nothing is changed anywhere.

mod login;
mod tickets;

use std::future::Future;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use datakit_config::SecretSetting;
use datakit_model::Failure;

pub use login::{CHANNEL_BINDING, DATABASE, Encryption, LOGIN, TCP, TLS, login_broke, show_channel_binding, show_tls};
pub use tickets::{KDC_TIMEOUT, links as ticket_links, walk as walk_tickets};

use crate::presented::Greeting;

/// The link of the configuration.
pub const SETTINGS: &str = "settings";
/// The link of a password, or of what opens a store.
pub const SECRET: &str = "secret";
/// The link of Kerberos, as far as its own links are not known.
pub const KERBEROS: &str = "kerberos";

/// The way along a chain ended before its end.
#[derive(Debug)]
pub struct Broken;

/// Where a server is asked for its certificate.
#[derive(Debug, Clone, Copy)]
pub struct Presenting<'s> {
    /// Host name or address.
    pub host: &'s str,
    /// TCP port.
    pub port: u16,
    /// How it is asked for TLS.
    pub greeting: Greeting,
    /// The longest wait for it.
    pub timeout: Duration,
}

/// A chain of links that is being walked. Each link is reported once, in the order of the outline.
#[async_trait]
pub trait Walk: Send {
    /// The links not reported yet.
    fn open(&self) -> &[&'static str];

    /// A step begins that may take its time; none: it has ended.
    fn waiting(&mut self, on: Option<&str>);

    /// The next link holds. `took` is the time of the step that showed it.
    fn ok(&mut self, link: &'static str, took: Option<Duration>, detail: String);

    /// The next link does not apply to this chain.
    fn not_used(&mut self, link: &'static str, why: String);

    /// A link is broken; those before it that were not reported are not known.
    fn broken(&mut self, link: &'static str, took: Option<Duration>, failure: Failure) -> Broken;

    /// Whether the certificate is asked for in any case, to be saved.
    fn saves_certificate(&self) -> bool;

    /// Shows the certificate that a server presents, under the link that was reported last.
    async fn certificate(&mut self, server: Presenting<'_>);
}

impl dyn Walk + '_ {
    /// Does a step, with its time, saying what is waited for.
    pub async fn step<T>(&mut self, waits_for: &str, step: impl Future<Output = T> + Send) -> (T, Duration) {
        self.waiting(Some(waits_for));
        let begin = Instant::now();
        let done = step.await;
        self.waiting(None);
        (done, begin.elapsed())
    }

    /// A step that shows one link.
    ///
    /// # Errors
    /// The link is broken.
    pub async fn link<T, E: Into<Failure>>(
        &mut self,
        link: &'static str,
        waits_for: &str,
        step: impl Future<Output = Result<T, E>> + Send,
        detail: impl FnOnce(&T) -> String + Send,
    ) -> Result<T, Broken> {
        let (done, took) = self.step(waits_for, step).await;
        match done {
            Ok(done) => {
                self.ok(link, Some(took), detail(&done));
                Ok(done)
            }
            Err(error) => Err(self.broken(link, Some(took), error.into())),
        }
    }

    /// The link of a password: whether it can be had, from wherever it is, by a future that fetches it as a login does.
    ///
    /// Variables and files were read with the settings. What is in a vault is asked for here, before the server is, so that a
    /// vault that fails is not taken for the server's failure; the login finds it fetched.
    ///
    /// # Errors
    /// It cannot be had.
    pub async fn secret<E: Into<Failure>>(
        &mut self,
        setting: &SecretSetting,
        fetching: impl Future<Output = Result<(), E>> + Send,
    ) -> Result<(), Broken> {
        let place = setting.from.place();
        self.link(SECRET, &place, fetching, |()| place.clone()).await
    }
}
