//! Whether quotes stand where they may.
//!
//! `csv-core` takes text behind a closing quote for more of the field. Then a quote too many that is closed by the next quoted field
//! makes one record of all between them, which has as many fields as any other.

use super::request::Format;

/// Where in a record one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    Plain,
    Quoted,
    /// Behind the escape within quotes.
    Escaped,
    /// Behind a quote within quotes: the end of the field, or half of a quote in it.
    Closed,
    /// Behind a closed field, in blanks that are left out.
    Blank,
}

/// The quotes of one record, followed part by part.
#[derive(Debug)]
pub(super) struct Quotes {
    quote: u8,
    escape: Option<u8>,
    delimiter: u8,
    trim: bool,
    state: State,
}

impl Quotes {
    /// None where nothing is quoted.
    pub(super) fn of(format: &Format) -> Option<Self> {
        let (delimiter, escape) = (Format::byte(format.delimiter), format.escape.map(Format::byte));
        let quote = Format::byte(format.quote?);
        Some(Self { quote, escape, delimiter, trim: format.trim, state: State::FieldStart })
    }

    /// Starts another record.
    pub(super) fn begin(&mut self) {
        self.state = State::FieldStart;
    }

    /// Goes on with more of the record; false where text follows a closing quote.
    pub(super) fn follow(&mut self, part: &[u8]) -> bool {
        let mut rest = part;
        let mut is_well = true;
        while let Some((first, after)) = rest.split_first() {
            (self.state, rest) = match self.state {
                State::FieldStart if *first == self.quote => (State::Quoted, after),
                State::FieldStart | State::Plain => match self.next_field(rest) {
                    Some(field) => (State::FieldStart, field),
                    None => (State::Plain, &[][..]),
                },
                State::Quoted => match memchr::memchr2(self.quote, self.escape.unwrap_or(self.quote), rest) {
                    Some(at) if rest[at] == self.quote => (State::Closed, &rest[at + 1..]),
                    Some(at) => (State::Escaped, &rest[at + 1..]),
                    None => return is_well,
                },
                State::Escaped => (State::Quoted, after),
                State::Closed if *first == self.quote => (State::Quoted, after),
                State::Closed | State::Blank if *first == self.delimiter => (State::FieldStart, after),
                State::Closed | State::Blank if matches!(first, b'\r' | b'\n') => (State::Plain, after),
                State::Closed | State::Blank if self.trim && matches!(first, b' ' | b'\t') => (State::Blank, after),
                State::Closed | State::Blank => {
                    is_well = false;
                    (State::Plain, after)
                }
            };
        }
        is_well
    }

    /// What is behind the next delimiter of a text outside of quotes; fields without quotes are passed over as one.
    fn next_field<'a>(&self, text: &'a [u8]) -> Option<&'a [u8]> {
        let Some(quote) = memchr::memchr(self.quote, text) else {
            return text.last().is_some_and(|last| *last == self.delimiter).then_some(&[]);
        };
        let behind = match memchr::memrchr(self.delimiter, &text[..quote]) {
            Some(before) => before,
            None => quote + memchr::memchr(self.delimiter, &text[quote..])?,
        };
        Some(&text[behind + 1..])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_are_followed_as_the_whole(text in "[a,\"\\\\ \n]{0,24}", cut in 0_usize..24, trim: bool, is_escaped: bool) {
            let format = Format { trim, escape: is_escaped.then_some('\\'), ..Format::default() };
            let (head, tail) = text.as_bytes().split_at(cut.min(text.len()));
            let (mut whole, mut parts) = (Quotes::of(&format).unwrap(), Quotes::of(&format).unwrap());
            let is_well = whole.follow(text.as_bytes());
            let head = parts.follow(head);
            prop_assert_eq!((parts.follow(tail) && head, parts.state), (is_well, whole.state));
        }

        #[test]
        fn quoted_fields_are_well(fields in proptest::collection::vec("[a,\" \n]{0,8}", 1..5)) {
            let quoted: Vec<String> = fields.iter().map(|field| format!("\"{}\"", field.replace('"', "\"\""))).collect();
            let line = quoted.join(",") + "\n";
            prop_assert!(Quotes::of(&Format::default()).unwrap().follow(line.as_bytes()));
        }
    }
}
