//! A chain of links, shown as it is walked.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use datakit_model::{Kind, Retry, printable};
use indicatif::ProgressBar;
use serde::Serialize;

use super::certificate::Certificate;
use crate::arguments::OutputFormat;
use crate::context::Context;
use crate::error::CliError;
use crate::report::{Report, Reports, Style};

/// How a link was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    /// It holds.
    Ok,
    /// It is broken: the chain ends here.
    Failed,
    /// An earlier one is broken, or what broke says nothing of it.
    NotReached,
    /// This chain does without.
    NotUsed,
}

impl Status {
    fn text(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::NotReached => "not reached",
            Self::NotUsed => "not used",
        }
    }

    fn paint(self, style: Style, text: &str) -> String {
        match self {
            Self::Ok => style.green(text),
            Self::Failed => style.red(text),
            Self::NotReached | Self::NotUsed => style.dim(text),
        }
    }
}

/// What is told of a link.
#[derive(Debug, Serialize)]
pub(super) struct Link {
    pub(super) link: &'static str,
    pub(super) status: Status,
    /// The time of the step that showed it; none where a later step showed it as well.
    pub(super) seconds: Option<f64>,
    pub(super) detail: Option<String>,
    pub(super) error: Option<LinkError>,
    /// What the server presents, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) certificate: Option<Certificate>,
}

/// Why a link is broken.
#[derive(Debug, Serialize)]
pub(super) struct LinkError {
    pub(super) code: String,
    pub(super) kind: Kind,
    pub(super) retry: Retry,
    pub(super) message: String,
    /// Where in the configuration, if it is there.
    pub(super) place: Option<String>,
    pub(super) causes: Vec<String>,
    pub(super) context: BTreeMap<String, String>,
    pub(super) hint: Option<String>,
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
#[derive(Debug, Serialize)]
pub(super) struct Subject {
    /// `configuration`, `connection`, `sink`, `registry`.
    pub(super) kind: &'static str,
    /// As the configuration has it.
    pub(super) name: String,
    /// What and where it is, for people.
    pub(super) target: String,
}

/// A chain that was walked.
#[derive(Debug, Serialize)]
pub(super) struct Walked {
    #[serde(flatten)]
    pub(super) subject: Subject,
    pub(super) in_order: bool,
    pub(super) links: Vec<Link>,
}

impl Walked {
    /// The broken link, if one is.
    pub(super) fn broken(&self) -> Option<(&Link, &LinkError)> {
        self.links.iter().find_map(|link| link.error.as_ref().map(|error| (link, error)))
    }
}

/// The way along a chain ended before its end.
#[derive(Debug)]
pub(super) struct Broken;

/// A chain that is being walked.
pub(super) struct Chain<'c> {
    context: &'c Context,
    shows_text: bool,
    subject: Subject,
    /// All links, in order; those not told of yet are from `links.len()` on.
    names: Vec<&'static str>,
    links: Vec<Link>,
    spinner: ProgressBar,
    /// Standard output that cannot be written is told once, at the end.
    trouble: Result<(), CliError>,
}

impl<'c> Chain<'c> {
    /// Begins, and says with what.
    pub(super) fn begin(
        context: &'c Context,
        output: OutputFormat,
        is_first: bool,
        subject: Subject,
        names: Vec<&'static str>,
    ) -> Self {
        let spinner = context.terminal.progress().add(ProgressBar::new_spinner());
        spinner.enable_steady_tick(Duration::from_millis(200));
        let shows_text = output == OutputFormat::Text;
        let mut chain = Self { context, shows_text, subject, names, links: Vec::new(), spinner, trouble: Ok(()) };
        let style = context.terminal.output_style;
        let Subject { kind, name, target } = &chain.subject;
        let title = if kind == name { name.clone() } else { format!("{kind} {name}") };
        let title = style.bold(&printable::line(&title));
        let space = if is_first { "" } else { "\n" };
        chain.print(&format!("{space}{title}: {}\n", printable::line(target)));
        chain
    }

    fn print(&mut self, text: &str) {
        if self.shows_text && self.trouble.is_ok() {
            self.trouble = self.context.terminal.print(text);
        }
    }

    /// The links not told of yet.
    pub(super) fn open(&self) -> &[&'static str] {
        self.names.get(self.links.len()..).unwrap_or_default()
    }

    /// Does a step, with its time, saying on a terminal what is waited for.
    pub(super) async fn step<T>(&self, waits_for: &str, step: impl Future<Output = T>) -> (T, Duration) {
        self.spinner.set_message(waits_for.to_owned());
        let begin = Instant::now();
        let done = step.await;
        self.spinner.set_message("");
        (done, begin.elapsed())
    }

    /// The next link holds.
    pub(super) fn ok(&mut self, link: &'static str, took: Option<Duration>, detail: impl Into<Cow<'static, str>>) {
        self.tell(link, Status::Ok, took, detail.into().into_owned());
    }

    /// The next link is not there in this chain.
    pub(super) fn not_used(&mut self, link: &'static str, why: impl Into<String>) {
        self.tell(link, Status::NotUsed, None, why.into());
    }

    /// A link is broken; those before it that were not told of are not known.
    pub(super) fn broken(&mut self, link: &'static str, took: Option<Duration>, error: impl Into<Reports>) -> Broken {
        while self.open().first().is_some_and(|next| *next != link) {
            self.skip();
        }
        self.tell(link, Status::Failed, took, String::new());
        let reports: Reports = error.into();
        if let Some(report) = reports.all().first() {
            let more = reports.all().len() - 1;
            let text = report.render(self.context.terminal.output_style);
            let mut text: String = text.lines().map(|line| format!("    {line}\n")).collect();
            if more > 0 {
                text.push_str(&format!("    and {more} more\n"));
            }
            self.print(&text);
            if let Some(link) = self.links.last_mut() {
                link.error = Some(report.into());
                link.detail = (more > 0).then(|| format!("and {more} more"));
            }
        }
        Broken
    }

    /// What the server presents, under the link that was told last.
    pub(super) fn certificate(&mut self, certificate: Certificate) {
        let lines: String = certificate.lines().iter().map(|line| format!("    {}\n", printable::line(line))).collect();
        self.print(&lines);
        if let Some(link) = self.links.last_mut() {
            link.certificate = Some(certificate);
        }
    }

    /// Something to know, under the link that was told last.
    pub(super) fn remark(&mut self, text: &str) {
        self.print(&format!("    {}\n", printable::line(text)));
    }

    /// Something that was asked for besides cannot be done: told at the end, and the command fails.
    pub(super) fn trouble(&mut self, error: CliError) {
        if self.trouble.is_ok() {
            self.trouble = Err(error);
        }
    }

    fn skip(&mut self) {
        if let Some(link) = self.open().first().copied() {
            self.tell(link, Status::NotReached, None, String::new());
        }
    }

    fn tell(&mut self, link: &'static str, status: Status, took: Option<Duration>, detail: String) {
        let style = self.context.terminal.output_style;
        let width = self.names.iter().map(|name| name.len()).max().unwrap_or(0);
        let time = took.map(time).unwrap_or_default();
        let word = status.paint(style, &format!("{:<11}", status.text()));
        let line = format!("  {word}  {link:<width$}  {time:>8}  {}", printable::line(&detail));
        self.print(&format!("{}\n", line.trim_end()));
        let detail = (!detail.is_empty()).then_some(detail);
        self.links.push(Link {
            link,
            status,
            seconds: took.map(|took| took.as_secs_f64()),
            detail,
            error: None,
            certificate: None,
        });
    }

    /// Tells of what was not reached.
    pub(super) fn end(mut self) -> Result<Walked, CliError> {
        while !self.open().is_empty() {
            self.skip();
        }
        self.spinner.finish_and_clear();
        self.trouble?;
        let in_order = self.links.iter().all(|link| matches!(link.status, Status::Ok | Status::NotUsed));
        Ok(Walked { subject: self.subject, in_order, links: self.links })
    }
}

fn time(took: Duration) -> String {
    let seconds = took.as_secs_f64();
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1e3) } else { format!("{seconds:.1} s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!(time(Duration::from_micros(1_250)), "1.2 ms");
        assert_eq!(time(Duration::from_millis(15_020)), "15.0 s");
    }
}
