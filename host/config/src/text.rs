//! Source text with places in it, shown without what must not be shown.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How much of a string an excerpt shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Nothing, ever.
    Never,
    /// The string, when the error is about it.
    Alone,
    /// The string.
    Always,
}

/// What stands where a value is hidden.
const HIDDEN: &str = "\"***\"";

/// Keys of which any of these is a part hold secrets; so do keys a few slips away from `password`.
const SECRET_WORDS: [&str; 10] =
    ["pass", "pwd", "secret", "token", "credential", "access_key", "account_key", "master_key", "customer_key", "sas_"];

/// Keys whose strings may stand in an excerpt; those of all others may be misplaced secrets.
const SHOWN_KEYS: [&str; 21] = [
    "extends",
    "name",
    "registry",
    "cache",
    "kind",
    "source_system",
    "server",
    "database",
    "auth",
    "user",
    "encrypt",
    "certificate_file",
    "host_name_in_certificate",
    "reader",
    "host",
    "uri",
    "datakit",
    "sink",
    "tables",
    "env",
    "file",
];

/// Whether values of the key must never be shown.
pub(crate) fn is_secret_key(key: &str) -> bool {
    let key = key.to_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word)) || strsim::osa_distance(&key, "password") <= 3
}

/// Whether strings of the key may stand beside an error.
pub(crate) fn is_shown_key(key: &str) -> bool {
    SHOWN_KEYS.contains(&key)
}

/// Whether a text looks like a connection string or URI with a password in it, whatever its key.
pub(crate) fn may_hold_secret(text: &str) -> bool {
    let folded: String = text.to_lowercase().split_whitespace().collect();
    let user_and_password = text.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'));
    user_and_password || ["password=", "pwd=", "secret=", "token="].iter().any(|word| folded.contains(word))
}

/// One file's text.
pub(crate) struct SourceText {
    path: PathBuf,
    text: String,
    line_starts: Vec<usize>,
    /// Spans of all strings, and what excerpts show of them.
    strings: Vec<(Range<usize>, Shown)>,
    /// No line of it is shown.
    is_hidden: bool,
}

impl SourceText {
    pub(crate) fn new(path: PathBuf, text: String) -> Self {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { path, text, line_starts, strings: Vec::new(), is_hidden: false }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Shows no line of it from now on.
    pub(crate) fn hide(&mut self) {
        self.is_hidden = true;
    }

    /// Notes the strings of the parsed file.
    pub(crate) fn set_strings(&mut self, mut strings: Vec<(Range<usize>, Shown)>) {
        strings.sort_by_key(|(span, _)| span.start);
        self.strings = strings;
    }

    /// The place of a span.
    pub(crate) fn location(&self, span: &Range<usize>) -> Location {
        let (line, line_range) = self.line_of(span.start);
        let column = self.text[line_range.start..span.start].chars().count() + 1;
        let excerpt = (!self.is_hidden).then(|| self.excerpt(span, line_range));
        Location { file: self.path.clone(), line, column, excerpt }
    }

    /// The place of a syntax error. Nothing is known of what is a string there, so a line that may hold a secret is not shown.
    pub(crate) fn location_of_syntax_error(&self, span: &Range<usize>) -> Location {
        let (line, line_range) = self.line_of(span.start);
        let shown = &self.text[line_range.clone()];
        // What ends a line is no part of it.
        let start = span.start.clamp(line_range.start, line_range.end);
        let column = self.text[line_range.start..start].chars().count() + 1;
        let may_continue_a_secret = self.text.contains("\"\"\"") || self.text.contains("'''");
        let mut words = shown.split([' ', '=', '.', '{', ',', '"', '\'', '[', ']']);
        let may_be_secret = may_hold_secret(shown) || words.any(is_secret_key);
        let excerpt = if self.is_hidden || may_continue_a_secret || may_be_secret {
            None
        } else {
            Some(excerpt_of(shown, column, span.len().min(line_range.end.saturating_sub(span.start))))
        };
        Location { file: self.path.clone(), line, column, excerpt }
    }

    /// The number (from 1) and range of the line a position is in; a position in a multi-byte character moves to its start.
    fn line_of(&self, position: usize) -> (usize, Range<usize>) {
        let line = self.line_starts.partition_point(|start| *start <= position).max(1);
        let start = self.line_starts[line - 1];
        let end = self.text[start..].find('\n').map_or(self.text.len(), |length| start + length);
        let end = if self.text[start..end].ends_with('\r') { end - 1 } else { end };
        (line, start..end)
    }

    fn excerpt(&self, span: &Range<usize>, line: Range<usize>) -> Excerpt {
        let mut shown = String::new();
        let mut columns: Option<(usize, usize)> = None;
        for (piece, hidden) in self.pieces(span, &line) {
            let before = shown.chars().count();
            let text = &self.text[piece.clone()];
            shown.push_str(if hidden { HIDDEN } else { text });
            if piece.start >= span.end || piece.end <= span.start {
                continue;
            }
            let (start, end) = if hidden {
                (before, before + HIDDEN.len())
            } else {
                let column_of = |at: usize| before + self.text[piece.start..at].chars().count();
                (column_of(span.start.max(piece.start)), column_of(span.end.min(piece.end)))
            };
            columns = Some((columns.map_or(start, |(first, _)| first), end));
        }
        let (start, end) = columns.unwrap_or_else(|| (shown.chars().count(), shown.chars().count() + 1));
        excerpt_of(&shown, start + 1, end - start)
    }

    /// The line in pieces, each with whether it is hidden.
    fn pieces(&self, span: &Range<usize>, line: &Range<usize>) -> Vec<(Range<usize>, bool)> {
        let mut pieces = Vec::new();
        let mut position = line.start;
        for (string, shown) in &self.strings {
            let (start, end) = (string.start.max(position), string.end.min(line.end));
            let visible = match shown {
                Shown::Never => false,
                Shown::Alone => string == span,
                Shown::Always => true,
            };
            if start >= end || visible {
                continue;
            }
            pieces.push((position..start, false));
            pieces.push((start..end, true));
            position = end;
        }
        pieces.push((position..line.end, false));
        pieces
    }
}

/// Tabs count as one character above and below, so that the caret stays under its text.
fn excerpt_of(line: &str, column: usize, length: usize) -> Excerpt {
    Excerpt { line: line.replace('\t', " "), column, length: length.max(1) }
}

impl fmt::Debug for SourceText {
    /// Without the text: it may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceText").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Where a value came from.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// A span of a file.
    File(Arc<SourceText>, Range<usize>),
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(&'static str),
}

impl Origin {
    pub(crate) fn place(&self) -> Place {
        match self {
            Self::File(text, span) => Place::File(text.location(span)),
            Self::Variable(name) => Place::Variable(name.clone()),
            Self::Flag(name) => Place::Flag(name),
        }
    }

    /// The folder relative paths of this value start from; none: the working directory.
    pub(crate) fn folder(&self) -> Option<&Path> {
        match self {
            Self::File(text, _) => text.path().parent(),
            Self::Variable(_) | Self::Flag(_) => None,
        }
    }
}

/// Where an error is, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a file.
    File(Location),
    /// In the value of an environment variable.
    Variable(String),
    /// In the value of a flag.
    Flag(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(at) => write!(f, "{}:{}:{}", at.file.display(), at.line, at.column),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "{name} on the command line"),
        }
    }
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The file, as it was named.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// The line itself; none where it may hold a secret.
    pub excerpt: Option<Excerpt>,
}

/// A line of a file, without the strings that are or may be secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excerpt {
    /// The line.
    pub line: String,
    /// The first character to point at, from 1, in `line`.
    pub column: usize,
    /// How many characters to point at, at least 1.
    pub length: usize,
}

impl Location {
    /// The lines under an error: the source line with its number, and a caret under what is wrong; empty without an excerpt.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let Some(excerpt) = &self.excerpt else { return Vec::new() };
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let indent = " ".repeat(excerpt.column - 1);
        vec![
            format!("{margin} |"),
            format!("{number} | {}", excerpt.line),
            format!("{margin} | {indent}{}", "^".repeat(excerpt.length)),
        ]
    }
}
