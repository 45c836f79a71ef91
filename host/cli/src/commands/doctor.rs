//! `host doctor`: shows each chain as it is walked.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use datakit_app::{
    Certificate, Diagnosis, DoctorEvent, DoctorObserver, DoctorRequest, Link, LinkError, LinkStatus, Report, Reports,
    Subject, Walked,
};
use datakit_model::{Exit, printable};
use indicatif::ProgressBar;

use super::Session;
use crate::arguments::{Doctor, OutputFormat};
use crate::error::CliError;
use crate::exit;
use crate::report::{Style, render_one};
use crate::terminal::Terminal;

pub(super) async fn doctor(arguments: Doctor, session: &Session) -> Result<Exit, Reports> {
    let shown = Shown::new(session.terminal.clone(), arguments.output);
    let request = DoctorRequest {
        name: arguments.name,
        tables: arguments.tables,
        save_certificate: arguments.save_certificate,
        write_probe: arguments.write_probe,
    };
    let diagnosis = datakit_app::doctor(&session.context, &request, &shown).await;
    shown.end()?;
    let diagnosis = diagnosis?;
    match arguments.output {
        OutputFormat::Json => session.terminal.print_json(&diagnosis)?,
        OutputFormat::Text => session.terminal.print(&summary(&diagnosis, session.terminal.output_style))?,
    }
    Ok(exit::of_diagnosis(&diagnosis))
}

/// Shows what happens: lines on standard output, unless that is to hold one JSON document, and what is waited for.
struct Shown {
    terminal: Terminal,
    shows_text: bool,
    state: Mutex<State>,
}

struct State {
    /// No chain has begun yet.
    is_first: bool,
    /// The width of the longest name of a link of this chain.
    width: usize,
    spinner: Option<ProgressBar>,
    /// Standard output that cannot be written is told once, at the end.
    trouble: Result<(), CliError>,
}

impl Shown {
    fn new(terminal: Terminal, output: OutputFormat) -> Self {
        let state = State { is_first: true, width: 0, spinner: None, trouble: Ok(()) };
        Self { terminal, shows_text: output == OutputFormat::Text, state: Mutex::new(state) }
    }

    fn end(self) -> Result<(), CliError> {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).trouble
    }

    fn print(&self, state: &mut State, text: &str) {
        if self.shows_text && state.trouble.is_ok() {
            state.trouble = self.terminal.print(text);
        }
    }

    fn began(&self, state: &mut State, subject: &Subject, links: &[&str]) {
        let spinner = self.terminal.progress().add(ProgressBar::new_spinner());
        spinner.enable_steady_tick(Duration::from_millis(200));
        state.spinner = Some(spinner);
        state.width = links.iter().map(|name| name.len()).max().unwrap_or(0);
        let Subject { kind, name, target } = subject;
        let title = if kind == name { name.clone() } else { format!("{kind} {name}") };
        let title = self.terminal.output_style.bold(&printable::line(&title));
        let space = if state.is_first { "" } else { "\n" };
        state.is_first = false;
        self.print(state, &format!("{space}{title}: {}\n", printable::line(target)));
    }

    fn link(&self, state: &mut State, link: &Link) {
        let (style, width) = (self.terminal.output_style, state.width);
        let time = link.seconds.map(time).unwrap_or_default();
        let word = paint(link.status, style, &format!("{:<11}", word(link.status)));
        let detail = printable::line(link.detail.as_deref().unwrap_or_default());
        let line = format!("  {word}  {:<width$}  {time:>8}  {detail}", link.link);
        self.print(state, &format!("{}\n", line.trim_end()));
    }

    fn broken(&self, state: &mut State, report: &Report, more: usize) {
        let text = render_one(report, self.terminal.output_style);
        let mut text: String = text.lines().map(|line| format!("    {line}\n")).collect();
        if more > 0 {
            text.push_str(&format!("    and {more} more\n"));
        }
        self.print(state, &text);
    }
}

impl DoctorObserver for Shown {
    fn event(&self, event: DoctorEvent) {
        // A panic elsewhere leaves at worst an odd line.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        match event {
            DoctorEvent::Began { subject, links } => self.began(state, &subject, &links),
            DoctorEvent::Waiting { on } => {
                if let Some(spinner) = &state.spinner {
                    spinner.set_message(on.unwrap_or_default());
                }
            }
            DoctorEvent::Link(link) => self.link(state, &link),
            DoctorEvent::Broken { report, more } => self.broken(state, &report, more),
            DoctorEvent::Certificate(certificate) => {
                let lines = certificate_lines(&certificate);
                let lines: String = lines.iter().map(|line| format!("    {}\n", printable::line(line))).collect();
                self.print(state, &lines);
            }
            DoctorEvent::Remark { text } => self.print(state, &format!("    {}\n", printable::line(&text))),
            DoctorEvent::Ended => {
                if let Some(spinner) = state.spinner.take() {
                    spinner.finish_and_clear();
                }
            }
        }
    }
}

fn word(status: LinkStatus) -> &'static str {
    match status {
        LinkStatus::Ok => "ok",
        LinkStatus::Failed => "failed",
        LinkStatus::NotReached => "not reached",
        LinkStatus::NotUsed => "not used",
    }
}

fn paint(status: LinkStatus, style: Style, text: &str) -> String {
    match status {
        LinkStatus::Ok => style.green(text),
        LinkStatus::Failed => style.red(text),
        LinkStatus::NotReached | LinkStatus::NotUsed => style.dim(text),
    }
}

fn time(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1e3) } else { format!("{seconds:.1} s") }
}

/// A line a fact.
fn certificate_lines(certificate: &Certificate) -> Vec<String> {
    let Certificate { presented, saved_to, can_be_pinned } = certificate;
    let names = if presented.names.is_empty() { "none".to_owned() } else { presented.names.join(", ") };
    let mut lines = vec![
        "the certificate that the server presents:".to_owned(),
        format!("  subject  {}", presented.subject),
        format!("  issuer   {}", presented.issuer),
        format!("  names    {names}"),
        format!("  valid    from {} to {}", presented.not_before, presented.not_after),
        format!("  SHA-256  {}", presented.sha256),
    ];
    let saved = saved_to.as_ref().map(|file| format!("saved to {file}; ")).unwrap_or_default();
    lines.push(match (can_be_pinned, saved_to) {
        (false, _) => format!("  {saved}`certificate_file` takes the certificate of the issuer, not this one"),
        (true, None) => "  `host doctor NAME --save-certificate FILE` saves it, for `certificate_file`".to_owned(),
        (true, Some(_)) => {
            format!("  {saved}compare the SHA-256 with that of the server's owner, then set `certificate_file`")
        }
    });
    lines
}

/// The end of the report.
fn summary(diagnosis: &Diagnosis, style: Style) -> String {
    let chains = &diagnosis.chains;
    let failures: Vec<(&Walked, &Link, &LinkError)> =
        chains.iter().filter_map(|walked| walked.broken().map(|(link, error)| (walked, link, error))).collect();
    if failures.is_empty() {
        let links = chains.iter().map(|walked| walked.links.len()).sum::<usize>();
        return format!("\n{}: {links} links of {} chains\n", style.green("in order"), chains.len());
    }
    let broken = failures.iter().map(|(walked, link, error)| {
        let Subject { kind, name, .. } = &walked.subject;
        format!("{kind} {} at `{}` ({})", printable::line(name), link.link, error.code)
    });
    format!("\n{}: {}\n", style.red("broken"), broken.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!(time(Duration::from_micros(1_250).as_secs_f64()), "1.2 ms");
        assert_eq!(time(Duration::from_millis(15_020).as_secs_f64()), "15.0 s");
    }
}
