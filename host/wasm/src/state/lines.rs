//! Lines of a guest's standard streams.

use std::collections::VecDeque;

use crate::text::{Text, cut};

/// Lines that are kept to explain a trap.
const TAIL_LINES: usize = 24;
/// How much is kept of all of them, in bytes: an error's message is cut at the end, where the reason is.
const TAIL_BYTES: usize = 3_000;
/// How much is kept of each, in bytes.
const TAIL_LINE_BYTES: usize = 1_000;

/// A line that a guest has begun to write.
#[derive(Default)]
pub(super) struct PartialLine {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl PartialLine {
    /// Adds what was written; returns the lines that end in it, each escaped and of at most `max_bytes`.
    pub(super) fn write(&mut self, bytes: &[u8], max_bytes: usize) -> Vec<String> {
        let mut ended = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            let room = max_bytes.saturating_sub(self.bytes.len());
            self.is_cut |= text.len() > room;
            self.bytes.extend_from_slice(&text[..text.len().min(room)]);
            if text.len() < part.len() {
                ended.extend(self.take(max_bytes));
            }
        }
        ended
    }

    /// The line so far, escaped and of at most `max_bytes`; none where nothing but blanks was written.
    pub(super) fn take(&mut self, max_bytes: usize) -> Option<String> {
        let (bytes, is_cut) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.is_cut));
        let line = Text::escaped(String::from_utf8_lossy(&bytes).trim_end(), max_bytes).into_inner();
        let mark = if is_cut && !line.ends_with('…') { "…" } else { "" };
        (!line.is_empty()).then(|| line + mark)
    }
}

/// The last lines, bounded in number and bytes.
#[derive(Default)]
pub(super) struct Tail {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Tail {
    pub(super) fn push(&mut self, mut line: String) {
        line.truncate(cut(&line, TAIL_LINE_BYTES).len());
        self.bytes += line.len();
        self.lines.push_back(line);
        while self.lines.len() > TAIL_LINES || self.bytes > TAIL_BYTES {
            self.bytes -= self.lines.pop_front().map_or(0, |line| line.len());
        }
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_where_the_guest_ends_them() {
        let mut line = PartialLine::default();
        assert!(line.write(b"one", 100).is_empty());
        assert_eq!(line.write(b" line\r\n\n  two\nthr", 100), ["one line", "  two"]);
        assert_eq!(line.take(100).as_deref(), Some("thr"));
        assert_eq!(line.take(100), None);
        line.write(b"\x07", 100);
        assert_eq!(line.take(100).as_deref(), Some("\\u{7}"));
    }

    #[test]
    fn long_line_is_cut_and_the_next_one_is_whole() {
        let mut line = PartialLine::default();
        let written = [b"y".repeat(1_000), b"\nnext\n".to_vec()].concat();
        assert_eq!(line.write(&written, 10), ["y".repeat(10) + "…", "next".to_owned()]);
        assert!(line.write(&b"\x07".repeat(1_000), 10).is_empty());
        assert!(line.bytes.len() <= 10);
    }

    #[test]
    fn bytes_that_are_not_text_are_shown_as_such() {
        assert_eq!(PartialLine::default().write(b"\xff\x1b[2J\n", 100), ["\u{fffd}\\u{1b}[2J"]);
    }

    #[test]
    fn tail_is_bounded() {
        let mut tail = Tail::default();
        (0..100).for_each(|i| tail.push(format!("line {i}")));
        assert_eq!((tail.lines().len(), tail.lines().last().unwrap().as_str()), (TAIL_LINES, "line 99"));
        (0..100).for_each(|_| tail.push("z".repeat(10_000)));
        assert_eq!(tail.lines().len(), TAIL_BYTES / TAIL_LINE_BYTES);
    }
}
