//! The one renderer of errors: what happened, where, why, and what to do.

use std::fmt::Write;

use datakit_app::{Report, Reports};
use datakit_config::Place;
use datakit_model::printable;

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

/// All errors, one after the other, and their number.
pub(crate) fn render(reports: &Reports, style: Style) -> String {
    let mut text = String::new();
    for (index, report) in reports.all().iter().enumerate() {
        if index > 0 {
            text.push('\n');
        }
        text.push_str(&render_one(report, style));
    }
    if reports.all().len() > 1 {
        text.push_str(&format!("\n{} errors\n", reports.all().len()));
    }
    text
}

/// One error.
pub(crate) fn render_one(report: &Report, style: Style) -> String {
    let mut text = String::new();
    let code = style.red(&format!("error[{}]", printable::line(&report.code)));
    under(&mut text, "", &format!("{code}:"), &report.message);
    if let Some(place) = &report.place {
        line(&mut text, &format!("--> {}", printable::line(&place.to_string())));
        if let Place::File(location) = place {
            location.lines().iter().for_each(|shown| line(&mut text, &printable::line(shown)));
        }
    }
    for cause in &report.causes {
        under(&mut text, "  ", &style.dim("caused by:"), cause);
    }
    for (name, value) in &report.context {
        under(&mut text, "  ", &style.dim(&format!("{}:", printable::line(name))), value);
    }
    if let Some(hint) = &report.hint {
        line(&mut text, &format!("{} {}", style.bold("hint:"), printable::lines(hint)));
    }
    text
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

#[cfg(test)]
mod tests {
    use datakit_app::AppError;
    use datakit_model::{Exit, Failure, Kind, Retry};

    use super::*;
    use crate::exit::of_reports;

    fn failure() -> Failure {
        Failure::new("DK-SRC-001", Kind::Source, Retry::AfterBackoff, "cannot reach sql01:1433")
            .with_context("connection", "erp")
            .with_hint("check the name, the port and the firewall")
    }

    #[test]
    fn an_error_is_rendered_with_all_it_says() {
        let reports = Reports::from(failure());
        insta::assert_snapshot!(render(&reports, Style { color: false }));
        insta::assert_snapshot!(render(&reports, Style { color: true }).replace('\u{1b}', "ESC"));
        assert_eq!(of_reports(&reports), Exit::Transient);
    }

    #[test]
    fn our_bugs_have_an_exit_code_of_their_own() {
        let crash = AppError::Crashed { message: "index out of bounds".into() };
        assert_eq!(of_reports(&Reports::from(crash)), Exit::Bug);
    }

    #[test]
    fn a_terminal_is_sent_no_control_characters_of_others() {
        let evil = Failure::new("DK-KIT-001", Kind::Datakit, Retry::Never, "table \u{1b}[2J\u{7} is gone");
        let text = render(&Reports::from(evil), Style { color: false });
        assert_eq!(text, "error[DK-KIT-001]: table \\u{1b}[2J\\u{7} is gone\n");
    }

    #[test]
    fn a_message_of_several_lines_forges_no_line_of_ours() {
        let message = "no table `a\nerror[DK-RUN-001]: forged\n\u{202e}x`";
        let evil = Failure::new("DK-KIT-001", Kind::Datakit, Retry::Never, message)
            .with_context("table", "b\n✓ dbo.orders: 1 rows");
        let text = render(&Reports::from(evil), Style { color: false });
        assert_eq!(
            text,
            "error[DK-KIT-001]: no table `a\n  | error[DK-RUN-001]: forged\n  | \\u{202e}x`\n  table: b\n  | ✓ dbo.orders: 1 rows\n"
        );
    }
}
