//! Texts of a guest, made fit for people.

use datakit_model::printable::is_printable;

/// A text of a guest that is safe to show: control characters escaped, and cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text(String);

impl Text {
    /// Entries of an error's context that are kept.
    pub(crate) const CONTEXT_ENTRIES: usize = 32;

    /// An error message: up to 4 KiB.
    pub(crate) fn message(text: &str) -> Self {
        Self::escaped(text, 4096)
    }

    /// A value of an error's context: up to 1 KiB.
    pub(crate) fn short(text: &str) -> Self {
        Self::escaped(text, 1024)
    }

    /// A name that is shown: up to 256 bytes.
    pub(crate) fn name(text: &str) -> Self {
        Self::escaped(text, 256)
    }

    /// Escaped, and cut at `max_bytes` of what is shown: what it was cut from shows as `…`.
    pub(crate) fn escaped(text: &str, max_bytes: usize) -> Self {
        let mut escaped = String::with_capacity(text.len().min(max_bytes) + '…'.len_utf8());
        for character in text.chars() {
            let from = escaped.len();
            match character {
                c if is_printable(c) => escaped.push(c),
                c => escaped.extend(c.escape_default()),
            }
            if escaped.len() > max_bytes {
                escaped.truncate(from);
                escaped.push('…');
                break;
            }
        }
        Self(escaped)
    }

    pub(crate) fn into_inner(self) -> String {
        self.0
    }
}

/// The longest prefix of at most `max_bytes` that ends between characters.
pub(crate) fn cut(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}

/// A message that ends with `hint: …`, apart.
pub(crate) fn split_hint(message: &str) -> (&str, Option<&str>) {
    match message.rsplit_once("hint: ") {
        Some((message, hint)) if !hint.trim().is_empty() => {
            (message.trim_end().trim_end_matches([';', '.', ',', '\n']).trim_end(), Some(hint.trim()))
        }
        _ => (message, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters_and_escaped() {
        assert_eq!(Text::escaped("añb", 2).into_inner(), "a…");
        assert_eq!(Text::escaped("ab", 2).into_inner(), "ab");
        // What is shown is bounded, not what it was made of.
        let bell = Text::escaped(&"\u{7}".repeat(1_000), 20).into_inner();
        assert_eq!(bell, format!("{}…", "\\u{7}".repeat(4)));
        assert_eq!(Text::escaped("a\u{1b}[31m\u{202e}\r\n", 100).into_inner(), "a\\u{1b}[31m\\u{202e}\\r\\n");
        assert_eq!(Text::escaped("ünïcode 🦀", 100).into_inner(), "ünïcode 🦀");
    }

    #[test]
    fn a_hint_is_taken_from_the_end() {
        assert_eq!(split_hint("no table; hint: create it"), ("no table", Some("create it")));
        assert_eq!(split_hint("no table"), ("no table", None));
        assert_eq!(split_hint("hint: "), ("hint: ", None));
    }
}
