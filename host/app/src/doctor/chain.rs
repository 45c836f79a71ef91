//! A chain of links, told of as it is walked.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use datakit_connect::presented::presented;
use datakit_connect::probe::{Broken, Presenting, Walk};
use datakit_model::{Failure, Kind, Retry};
use serde::Serialize;

use super::certificate::{self, Certificate, Shown};
use super::event::{DoctorEvent, DoctorObserver};
use crate::error::AppError;
use crate::reports::{Report, Reports};

/// How a link was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkStatus {
    /// It holds.
    Ok,
    /// It is broken: the chain ends here.
    Failed,
    /// An earlier one is broken, or what broke says nothing of it.
    NotReached,
    /// This chain does without.
    NotUsed,
}

/// What is known of a link.
#[derive(Debug, Clone, Serialize)]
pub struct Link {
    /// Its name.
    pub link: &'static str,
    /// How it was found.
    pub status: LinkStatus,
    /// The time of the step that showed it; none where a later step showed it as well.
    pub seconds: Option<f64>,
    /// What was found.
    pub detail: Option<String>,
    /// Why it is broken.
    pub error: Option<LinkError>,
    /// What the server presents, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
}

/// Why a link is broken.
#[derive(Debug, Clone, Serialize)]
pub struct LinkError {
    /// The stable code.
    pub code: String,
    /// Who has to act.
    pub kind: Kind,
    /// Whether trying again can help.
    pub retry: Retry,
    /// What happened.
    pub message: String,
    /// Where in the configuration, if it is there.
    pub place: Option<String>,
    /// The errors below, outermost first.
    pub causes: Vec<String>,
    /// Named facts.
    pub context: BTreeMap<String, String>,
    /// What to do.
    pub hint: Option<String>,
}

impl From<&Report> for LinkError {
    fn from(report: &Report) -> Self {
        Self {
            code: report.code.clone(),
            kind: report.kind,
            retry: report.retry,
            message: report.message.clone(),
            place: report.place.as_ref().map(ToString::to_string),
            causes: report.causes.clone(),
            context: report.context.iter().cloned().collect(),
            hint: report.hint.clone(),
        }
    }
}

/// What a chain is about.
#[derive(Debug, Clone, Serialize)]
pub struct Subject {
    /// `configuration`, `connection`, `sink`, `registry`.
    pub kind: &'static str,
    /// As the configuration has it.
    pub name: String,
    /// What and where it is, for people.
    pub target: String,
}

/// A chain that was walked.
#[derive(Debug, Clone, Serialize)]
pub struct Walked {
    /// What it is about.
    #[serde(flatten)]
    pub subject: Subject,
    /// Whether every link holds.
    pub in_order: bool,
    /// Its links, in order.
    pub links: Vec<Link>,
}

impl Walked {
    /// The broken link, if one is.
    #[must_use]
    pub fn broken(&self) -> Option<(&Link, &LinkError)> {
        self.links.iter().find_map(|link| link.error.as_ref().map(|error| (link, error)))
    }
}

/// A chain that is being walked.
pub(super) struct Chain<'c> {
    observer: &'c dyn DoctorObserver,
    subject: Subject,
    /// All links, in order; those not told of yet are from `links.len()` on.
    names: Vec<&'static str>,
    links: Vec<Link>,
    /// Where the certificate of the server goes.
    save: Option<&'c Path>,
    /// What was asked for besides, and failed: the chain ends with it.
    trouble: Result<(), AppError>,
}

impl<'c> Chain<'c> {
    /// Begins, and says with what. The certificate of a server goes to `save`.
    pub(super) fn begin(
        observer: &'c dyn DoctorObserver,
        subject: Subject,
        names: Vec<&'static str>,
        save: Option<&'c Path>,
    ) -> Self {
        observer.event(DoctorEvent::Began { subject: subject.clone(), links: names.clone() });
        Self { observer, subject, names, links: Vec::new(), save, trouble: Ok(()) }
    }

    /// Does a step, with its time, saying what is waited for.
    pub(super) async fn step<T>(&mut self, waits_for: &str, step: impl Future<Output = T> + Send) -> (T, Duration) {
        (self as &mut dyn Walk).step(waits_for, step).await
    }

    /// A link is broken for these reasons; those before it that were not reported are not known.
    pub(super) fn fail(&mut self, link: &'static str, took: Option<Duration>, reports: Reports) -> Broken {
        while self.open().first().is_some_and(|next| *next != link) {
            self.skip();
        }
        self.report(link, LinkStatus::Failed, took, String::new());
        if let Some(report) = reports.all().first() {
            let more = reports.all().len() - 1;
            self.observer.event(DoctorEvent::Broken { report: report.clone(), more });
            if let Some(link) = self.links.last_mut() {
                link.error = Some(report.into());
                link.detail = (more > 0).then(|| format!("and {more} more"));
            }
        }
        Broken
    }

    fn skip(&mut self) {
        if let Some(link) = self.open().first().copied() {
            self.report(link, LinkStatus::NotReached, None, String::new());
        }
    }

    fn report(&mut self, link: &'static str, status: LinkStatus, took: Option<Duration>, detail: String) {
        let detail = (!detail.is_empty()).then_some(detail);
        let seconds = took.map(|took| took.as_secs_f64());
        let link = Link { link, status, seconds, detail, error: None, certificate: None };
        self.observer.event(DoctorEvent::Link(link.clone()));
        self.links.push(link);
    }

    /// Reports what was not reached.
    pub(super) fn end(mut self) -> Result<Walked, AppError> {
        while !self.open().is_empty() {
            self.skip();
        }
        self.observer.event(DoctorEvent::Ended);
        self.trouble?;
        let in_order = self.links.iter().all(|link| matches!(link.status, LinkStatus::Ok | LinkStatus::NotUsed));
        Ok(Walked { subject: self.subject, in_order, links: self.links })
    }
}

#[async_trait]
impl Walk for Chain<'_> {
    fn open(&self) -> &[&'static str] {
        self.names.get(self.links.len()..).unwrap_or_default()
    }

    fn waiting(&mut self, on: Option<&str>) {
        self.observer.event(DoctorEvent::Waiting { on: on.map(str::to_owned) });
    }

    fn ok(&mut self, link: &'static str, took: Option<Duration>, detail: String) {
        self.report(link, LinkStatus::Ok, took, detail);
    }

    fn not_used(&mut self, link: &'static str, why: String) {
        self.report(link, LinkStatus::NotUsed, None, why);
    }

    fn broken(&mut self, link: &'static str, took: Option<Duration>, failure: Failure) -> Broken {
        self.fail(link, took, failure.into())
    }

    fn saves_certificate(&self) -> bool {
        self.save.is_some()
    }

    async fn certificate(&mut self, server: Presenting<'_>) {
        let presented = presented(server.host, server.port, server.greeting, server.timeout);
        let (found, _) = self.step("the server's certificate", presented).await;
        match certificate::shown(&server, found, self.save) {
            Ok(Shown::Certificate(certificate)) => {
                self.observer.event(DoctorEvent::Certificate(certificate.clone()));
                if let Some(link) = self.links.last_mut() {
                    link.certificate = Some(certificate);
                }
            }
            Ok(Shown::Remark(text)) => self.observer.event(DoctorEvent::Remark { text }),
            // Asked for besides: reported at the end, and the walk fails.
            Err(error) if self.trouble.is_ok() => self.trouble = Err(error),
            Err(_) => {}
        }
    }
}
