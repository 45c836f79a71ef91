//! The one renderer of errors: what happened, where, why, and what to do.

use std::fmt::Write;

use datakit_config::{ConfigError, ConfigErrors, Place};
use datakit_model::{Exit, Failure, Kind, Retry, TableId, printable};
use datakit_pipeline::TableError;

use crate::error::CliError;

/// An error as a person sees it.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) code: String,
    pub(crate) kind: Kind,
    pub(crate) retry: Retry,
    pub(crate) message: String,
    pub(crate) place: Option<Place>,
    pub(crate) causes: Vec<String>,
    pub(crate) context: Vec<(String, String)>,
    pub(crate) hint: Option<String>,
}

/// Everything that is wrong, at once. Never empty.
#[derive(Debug, Clone)]
pub(crate) struct Reports(Vec<Report>);

impl Reports {
    /// All of them, if there are any.
    pub(crate) fn of(reports: Vec<Report>) -> Option<Self> {
        if reports.is_empty() { None } else { Some(Self(reports)) }
    }

    /// One error for each table that failed, naming the table; none when no table failed.
    pub(crate) fn of_tables(failures: Vec<(TableId, Failure)>) -> Result<(), Self> {
        let report = |(table, failure): (TableId, Failure)| {
            let is_named = failure.context().iter().any(|(name, _)| name == "table");
            Report::from(if is_named { failure } else { failure.with_context("table", table) })
        };
        Self::of(failures.into_iter().map(report).collect()).map_or(Ok(()), Err)
    }

    /// By the one table of exit codes.
    pub(crate) fn exit(&self) -> Exit {
        self.0.iter().fold(Exit::Done, |exit, report| exit.or(Exit::of(report.kind, report.retry)))
    }

    pub(crate) fn all(&self) -> &[Report] {
        &self.0
    }

    pub(crate) fn render(&self, style: Style) -> String {
        let mut text = String::new();
        for (index, report) in self.0.iter().enumerate() {
            if index > 0 {
                text.push('\n');
            }
            text.push_str(&report.render(style));
        }
        if self.0.len() > 1 {
            text.push_str(&format!("\n{} errors\n", self.0.len()));
        }
        text
    }
}

/// Whether to use colours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    pub(crate) color: bool,
}

impl Style {
    fn paint(self, codes: &str, text: &str) -> String {
        if self.color { format!("\u{1b}[{codes}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(crate) fn red(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    pub(crate) fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(crate) fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }
}

impl Report {
    pub(crate) fn render(&self, style: Style) -> String {
        let mut text = String::new();
        let code = style.red(&format!("error[{}]", printable::line(&self.code)));
        under(&mut text, "", &format!("{code}:"), &self.message);
        if let Some(place) = &self.place {
            line(&mut text, &format!("--> {}", printable::line(&place.to_string())));
            if let Place::File(location) = place {
                location.lines().iter().for_each(|shown| line(&mut text, &printable::line(shown)));
            }
        }
        for cause in &self.causes {
            under(&mut text, "  ", &style.dim("caused by:"), cause);
        }
        for (name, value) in &self.context {
            under(&mut text, "  ", &style.dim(&format!("{}:", printable::line(name))), value);
        }
        if let Some(hint) = &self.hint {
            line(&mut text, &format!("{} {}", style.bold("hint:"), printable::lines(hint)));
        }
        text
    }
}

/// A text that may be a stranger's: further lines of it stand behind a bar, so that none passes for a line of ours.
fn under(text: &mut String, indent: &str, title: &str, content: &str) {
    let content = printable::lines(content);
    let mut lines = content.lines();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{indent}{title} {}", lines.next().unwrap_or_default());
    for more in lines {
        let _ = writeln!(text, "  | {more}");
    }
}

/// One line under the message; further lines of a text are indented alike.
fn line(text: &mut String, content: &str) {
    for part in content.lines() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {part}");
    }
}

/// What is said of one thing is to be read: the longest text, in characters.
const MAX_TEXT_CHARS: usize = 4_000;

fn bounded(text: &str) -> String {
    printable::cut(text, MAX_TEXT_CHARS).into_owned()
}

impl From<Failure> for Report {
    fn from(failure: Failure) -> Self {
        let context = failure.context().iter().map(|(name, value)| (bounded(name), bounded(value)));
        Self {
            code: failure.code().to_owned(),
            kind: failure.kind(),
            retry: failure.retry(),
            message: bounded(failure.message()),
            place: None,
            causes: failure.causes().iter().map(|cause| bounded(cause)).collect(),
            context: context.collect(),
            hint: failure.hint().map(bounded),
        }
    }
}

impl From<ConfigError> for Report {
    fn from(error: ConfigError) -> Self {
        let place = error.place().cloned();
        // The place says what the context would.
        Self { place, context: Vec::new(), ..Self::from(Failure::from(error)) }
    }
}

impl From<&TableError> for Report {
    fn from(error: &TableError) -> Self {
        Self {
            code: error.code.clone(),
            kind: error.kind,
            retry: error.retry,
            message: bounded(&error.message),
            place: None,
            causes: error.causes.iter().map(|cause| bounded(cause)).collect(),
            context: Vec::new(),
            hint: error.hint.as_deref().map(bounded),
        }
    }
}

impl From<ConfigErrors> for Reports {
    fn from(errors: ConfigErrors) -> Self {
        Self(errors.into_iter().map(Report::from).collect())
    }
}

impl From<Failure> for Reports {
    fn from(failure: Failure) -> Self {
        Self(vec![failure.into()])
    }
}

impl From<Vec<ConfigError>> for Reports {
    fn from(errors: Vec<ConfigError>) -> Self {
        Self(errors.into_iter().map(Report::from).collect())
    }
}

macro_rules! reports_from_coded {
    ($($error:ty),*) => {
        $(impl From<$error> for Reports {
            fn from(error: $error) -> Self {
                Failure::from(error).into()
            }
        })*
    };
}

reports_from_coded!(
    CliError,
    datakit_kerberos::KerberosError,
    datakit_registry::RegistryError,
    datakit_connect::sink::SinkError,
    datakit_files::FilesError,
    datakit_postgres::source::PostgresError,
    datakit_sqlserver::SourceError,
    datakit_wasm::WasmError
);

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Failure {
        Failure::new("DK-SRC-001", Kind::Source, Retry::AfterBackoff, "cannot reach sql01:1433")
            .with_context("connection", "erp")
            .with_hint("check the name, the port and the firewall")
    }

    #[test]
    fn an_error_is_rendered_with_all_it_says() {
        let reports = Reports::from(failure());
        insta::assert_snapshot!(reports.render(Style { color: false }));
        insta::assert_snapshot!(reports.render(Style { color: true }).replace('\u{1b}', "ESC"));
        assert_eq!(reports.exit(), Exit::Transient);
    }

    #[test]
    fn our_bugs_have_an_exit_code_of_their_own() {
        let crash = CliError::Crashed { message: "index out of bounds".into() };
        assert_eq!(Reports::from(crash).exit(), Exit::Bug);
    }

    #[test]
    fn a_terminal_is_sent_no_control_characters_of_others() {
        let evil = Failure::new("DK-KIT-001", Kind::Datakit, Retry::Never, "table \u{1b}[2J\u{7} is gone");
        let text = Reports::from(evil).render(Style { color: false });
        assert_eq!(text, "error[DK-KIT-001]: table \\u{1b}[2J\\u{7} is gone\n");
    }

    #[test]
    fn a_message_of_several_lines_forges_no_line_of_ours() {
        let message = "no table `a\nerror[DK-RUN-001]: forged\n\u{202e}x`";
        let evil = Failure::new("DK-KIT-001", Kind::Datakit, Retry::Never, message)
            .with_context("table", "b\n✓ dbo.orders: 1 rows");
        let text = Reports::from(evil).render(Style { color: false });
        assert_eq!(
            text,
            "error[DK-KIT-001]: no table `a\n  | error[DK-RUN-001]: forged\n  | \\u{202e}x`\n  table: b\n  | ✓ dbo.orders: 1 rows\n"
        );
    }
}
