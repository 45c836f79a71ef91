//! The one sanitizer: names and messages come from servers, files, registries and guests, and a terminal obeys what it is sent.
//!
//! Control characters end lines and move cursors. Format characters (Unicode's category Cf and the two separators of lines and
//! paragraphs) reorder or hide what is read. Both are shown by their number; nothing else is changed.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character is shown as it is.
#[must_use]
pub fn is_printable(c: char) -> bool {
    !c.is_control() && !is_format(c)
}

/// Unicode 16, category Cf, and U+2028 and U+2029. Variation selectors and private use are left alone: fonts need them.
fn is_format(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
        | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

fn escaped(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().all(&keep) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if keep(c) { shown.push(c) } else { shown.extend(c.escape_default()) }
    }
    Cow::Owned(shown)
}

/// A text that stays on its line: for names, and for whatever a stranger wrote.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    escaped(text, is_printable)
}

/// A text of several lines whose line ends are ours.
#[must_use]
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_printable(c) || c == '\n' || c == '\t')
}

/// The beginning of a text, and how much of it is left out: a message is to be read.
#[must_use]
pub fn cut(text: &str, max_chars: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max_chars) {
        None => Cow::Borrowed(text),
        Some((end, _)) => {
            let more = text[end..].chars().count();
            Cow::Owned(format!("{}… and {more} more characters", &text[..end]))
        }
    }
}

/// The first of some names, and how many are left out.
pub fn some(names: impl IntoIterator<Item = impl AsRef<str>>, max_names: usize) -> String {
    let mut shown = String::new();
    let mut count = 0;
    for name in names {
        count += 1;
        if count <= max_names {
            shown.push_str(if count == 1 { "" } else { ", " });
            shown.push_str(&line(name.as_ref()));
        }
    }
    if count > max_names {
        let _ = write!(shown, " and {} more", count - max_names);
    }
    shown
}

/// JSON that was serialized already, with the same characters as `\u` escapes: the same document to every parser.
#[must_use]
pub fn json(text: &str) -> Cow<'_, str> {
    // Serializers escape the control characters of ASCII, and put line ends and tabs between values at most.
    let keep = |c: char| is_printable(c) || matches!(c, '\n' | '\t' | '\r');
    if text.chars().all(keep) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if keep(c) {
            shown.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a String cannot fail.
            let _ = write!(shown, "\\u{unit:04x}");
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_keeps_letters_of_every_script_and_shows_the_rest_by_number() {
        for text in ["dbo.orders", "Сайн_байна", "注文", "طلبات", "a b\u{a0}c", "naïve ✓ 😀", "\\u{1b}"]
        {
            assert_eq!(line(text), text);
        }
        assert_eq!(line("a\nb\tc\r"), "a\\nb\\tc\\r");
        assert_eq!(line("\u{1b}[2J\u{9b}1m\u{7}"), "\\u{1b}[2J\\u{9b}1m\\u{7}");
        assert_eq!(line("orders\u{202e}lqs"), "orders\\u{202e}lqs");
        for hidden in ["\u{200b}", "\u{feff}", "\u{2066}", "\u{e0041}", "\u{ad}", "\u{2028}", "\u{61c}"] {
            assert!(line(hidden).is_ascii(), "{}", line(hidden));
        }
    }

    #[test]
    fn lines_keep_line_ends_and_nothing_else() {
        assert_eq!(lines("a\n\tb\u{1b}\r"), "a\n\tb\\u{1b}\\r");
    }

    #[test]
    fn what_is_left_out_is_counted() {
        assert_eq!((cut("äöü", 3), cut("äöü", 2)), ("äöü".into(), "äö… and 1 more characters".into()));
        assert_eq!(some(["a", "b\n"], 2), "a, b\\n");
        assert_eq!(some((0..50_000).map(|n| n.to_string()), 3), "0, 1, 2 and 49997 more");
        assert_eq!(some(Vec::<String>::new(), 3), "");
    }

    #[test]
    fn json_stays_the_same_document() {
        let name = "a\u{202e}b\u{9b}c\u{e0041}\n";
        let text = format!("{{\n\t\"{}\": 1}}", name.trim_end());
        let shown = json(&text);
        assert_eq!(shown, "{\n\t\"a\\u202eb\\u009bc\\udb40\\udc41\": 1}");
    }
}
