//! From the bytes of a file to text: decompressed, decoded to UTF-8, in a window that parsers look at.
//!
//! Nothing is held but the window: a file that decompresses to terabytes costs time and, by `max_expansion`, not much of it.

use std::cell::Cell;
use std::io::{self, BufRead as _, BufReader, Chain, Cursor, Read};
use std::rc::Rc;

use encoding_rs::{DecoderResult, Encoding, UTF_8};
use flate2::bufread::MultiGzDecoder;

use super::config::FilesConfig;
use super::error::FilesError;
use super::request::{Compression, Format};

const WINDOW_BYTES: usize = 256 << 10;
/// Frames that need a larger window are written by `zstd --long` and `--ultra` alone: 32 MiB.
const MAX_ZSTD_WINDOW_LOG: u32 = 25;
/// Stands in the text for bytes that are none in the file's encoding: no UTF-8 has it, so that its record is found.
const INVALID: u8 = 0xff;

/// A file's start, for what its first bytes say, and the rest.
type Sniffed<R> = Chain<Cursor<Vec<u8>>, R>;

/// Reads a few bytes ahead without taking them away.
fn sniff<R: Read>(mut reader: R, count: usize) -> io::Result<(Vec<u8>, Sniffed<R>)> {
    let mut start = vec![0; count];
    let mut filled = 0;
    while filled < count {
        match reader.read(&mut start[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    start.truncate(filled);
    Ok((start.clone(), Cursor::new(start).chain(reader)))
}

/// Counts what is read.
struct Counted<R> {
    reader: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(into)?;
        self.count.set(self.count.get() + read as u64);
        Ok(read)
    }
}

/// Ends a decompression that makes far more than it is given.
struct Bounded<R> {
    reader: R,
    path: String,
    given: Rc<Cell<u64>>,
    made: u64,
    max_expansion: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(into)?;
        self.made += read as u64;
        if self.made > FilesConfig::EXPANSION_FLOOR_BYTES {
            let ratio = self.made / self.given.get().max(1);
            if ratio > self.max_expansion {
                return Err(io::Error::other(FilesError::Bomb { path: self.path.clone(), ratio }));
            }
        }
        Ok(read)
    }
}

/// Decompresses what is compressed.
fn decompressed(
    file: impl Read + 'static,
    path: &str,
    format: &Format,
    max_expansion: u64,
) -> io::Result<Box<dyn Read>> {
    let given = Rc::new(Cell::new(0));
    let (start, file) = sniff(Counted { reader: file, count: Rc::clone(&given) }, 4)?;
    let compression = match (format.compression, start.as_slice()) {
        (Compression::Auto, [0x1f, 0x8b, ..]) => Compression::Gzip,
        (Compression::Auto, [0x28, 0xb5, 0x2f, 0xfd]) => Compression::Zstd,
        (Compression::Auto, _) => Compression::None,
        (named, _) => named,
    };
    let bounded = |reader: Box<dyn Read>| Bounded { reader, path: path.to_owned(), given, made: 0, max_expansion };
    Ok(match compression {
        Compression::Gzip => Box::new(bounded(Box::new(MultiGzDecoder::new(BufReader::new(file))))),
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::new(file)?;
            decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
            Box::new(bounded(Box::new(decoder)))
        }
        Compression::Auto | Compression::None => Box::new(file),
    })
}

/// Decodes text to UTF-8, with [`INVALID`] for what is none.
struct Decoded<R> {
    reader: R,
    decoder: encoding_rs::Decoder,
    raw: Vec<u8>,
    start: usize,
    end: usize,
    text: Vec<u8>,
    taken: usize,
    last: bool,
    done: bool,
}

impl<R: Read> Decoded<R> {
    fn new(reader: R, encoding: &'static Encoding) -> Self {
        let decoder = encoding.new_decoder_with_bom_removal();
        Self {
            reader,
            decoder,
            raw: vec![0; WINDOW_BYTES / 4],
            start: 0,
            end: 0,
            text: Vec::with_capacity(WINDOW_BYTES),
            taken: 0,
            last: false,
            done: false,
        }
    }

    fn refill(&mut self) -> io::Result<()> {
        self.text.clear();
        self.taken = 0;
        while self.text.is_empty() && !self.done {
            if self.start == self.end && !self.last {
                self.start = 0;
                self.end = self.reader.read(&mut self.raw)?;
                self.last = self.end == 0;
            }
            self.text.resize(WINDOW_BYTES, 0);
            let (result, read, written) = self.decoder.decode_to_utf8_without_replacement(
                &self.raw[self.start..self.end],
                &mut self.text,
                self.last,
            );
            self.text.truncate(written);
            self.start += read;
            match result {
                DecoderResult::InputEmpty => self.done = self.last,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => self.text.push(INVALID),
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.text.len() {
            self.refill()?;
        }
        let count = into.len().min(self.text.len() - self.taken);
        into[..count].copy_from_slice(&self.text[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

/// The text of a file as UTF-8 (but for what is no text in it), without a byte order mark.
///
/// The second is the length of the mark, where bytes of the text are bytes of the file but for it.
fn decoded(reader: Box<dyn Read>, format: &Format) -> io::Result<(Box<dyn Read>, u64)> {
    let (start, mut reader) = sniff(reader, 3)?;
    let named = Encoding::for_label(format.encoding.as_bytes()).unwrap_or(UTF_8);
    let (encoding, mark) = Encoding::for_bom(&start).unwrap_or((named, 0));
    if encoding == UTF_8 {
        // Checked record by record, where it can be told which one is wrong.
        io::copy(&mut (&mut reader).take(mark as u64), &mut io::sink())?;
        return Ok((Box::new(reader), mark as u64));
    }
    Ok((Box::new(Decoded::new(reader, encoding)), 0))
}

/// What ends a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineEnds {
    /// `\n`: of JSON lines, where `\r` alone is a blank.
    Newline,
    /// `\n`, `\r` or both of them: of delimited fields.
    NewlineOrReturn,
}

impl LineEnds {
    fn find(self, text: &[u8]) -> Option<usize> {
        match self {
            Self::Newline => memchr::memchr(b'\n', text),
            Self::NewlineOrReturn => memchr::memchr2(b'\n', b'\r', text),
        }
    }

    /// How many lines end in a text, whose start is the start of a line.
    pub(super) fn count(self, text: impl Read) -> io::Result<u64> {
        let mut text = BufReader::with_capacity(WINDOW_BYTES, text);
        let (mut lines, mut after_return) = (0, false);
        loop {
            let window = text.fill_buf()?;
            if window.is_empty() {
                return Ok(lines);
            }
            match self {
                Self::Newline => lines += memchr::memchr_iter(b'\n', window).count() as u64,
                Self::NewlineOrReturn => {
                    for end in memchr::memchr2_iter(b'\n', b'\r', window) {
                        let follows_return = if end == 0 { after_return } else { window[end - 1] == b'\r' };
                        lines += u64::from(window[end] == b'\r' || !follows_return);
                    }
                    after_return = window.last() == Some(&b'\r');
                }
            }
            let count = window.len();
            text.consume(count);
        }
    }
}

/// The length of the mark of UTF-8 that a file begins with.
pub(super) fn mark_bytes(start: &[u8]) -> u64 {
    if start.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 }
}

/// Whether a file that begins like this cannot be read from its middle: compressed, or of two bytes a character.
pub(super) fn is_whole_only(start: &[u8]) -> bool {
    matches!(start, [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] | [0xff, 0xfe, ..] | [0xfe, 0xff, ..])
}

/// A window on the text of a file, which grows no further than it has to.
pub(super) struct Input {
    reader: Box<dyn Read>,
    window: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes before the window: of the file, where its text is neither compressed nor decoded, else of the text.
    passed: u64,
    ended: bool,
}

impl Input {
    /// The text of a file.
    pub(super) fn new(file: impl Read + 'static, path: &str, format: &Format, max_expansion: u64) -> io::Result<Self> {
        let (reader, passed) = decoded(decompressed(file, path, format, max_expansion)?, format)?;
        Ok(Self::over(reader, passed))
    }

    /// The text of a plain file from its middle on: behind the first end of a line that the reader gives, which begins at this
    /// byte of the file. What would be a mark at the start of a file is text here.
    pub(super) fn within(file: impl Read + 'static, offset: u64, ends: LineEnds) -> io::Result<Self> {
        let mut input = Self::over(Box::new(file), offset);
        input.pass_line(ends)?;
        Ok(input)
    }

    fn over(reader: Box<dyn Read>, passed: u64) -> Self {
        Self { reader, window: vec![0; WINDOW_BYTES], start: 0, end: 0, passed, ended: false }
    }

    /// What has been read and not been taken.
    pub(super) fn window(&self) -> &[u8] {
        &self.window[self.start..self.end]
    }

    /// Takes bytes from the window's start.
    pub(super) fn take(&mut self, count: usize) {
        self.start += count;
        self.passed += count as u64;
    }

    /// Passes over the rest of a line and what ends it; false at the end of the text without one.
    pub(super) fn pass_line(&mut self, ends: LineEnds) -> io::Result<bool> {
        loop {
            if let Some(end) = ends.find(self.window()) {
                let is_return = self.window()[end] == b'\r';
                self.take(end + 1);
                if is_return && (!self.window().is_empty() || self.fill()?) && self.window().first() == Some(&b'\n') {
                    self.take(1);
                }
                return Ok(true);
            }
            self.take(self.window().len());
            if !self.fill()? {
                return Ok(false);
            }
        }
    }

    /// Bytes taken so far, a byte order mark included.
    pub(super) fn position(&self) -> u64 {
        self.passed
    }

    /// Reads more behind the window; false at the end of the file.
    pub(super) fn fill(&mut self) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.window.len() {
            self.window.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.end == self.window.len() {
                self.window.resize(self.window.len() * 2, 0);
            }
        }
        let read = loop {
            match self.reader.read(&mut self.window[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.end += read;
        self.ended = read == 0;
        Ok(read > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn text(bytes: Vec<u8>, format: &Format) -> io::Result<Vec<u8>> {
        let mut input = Input::new(Cursor::new(bytes), "f", format, 1000)?;
        while input.fill()? {}
        Ok(input.window().to_vec())
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn utf16(text: &str, mark: bool, big: bool) -> Vec<u8> {
        let units = mark.then_some(0xfeff).into_iter().chain(text.encode_utf16());
        units.flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
    }

    #[test]
    fn marks_decide_and_labels_say_the_rest() {
        let format = Format::default();
        assert_eq!(text(b"\xef\xbb\xbfa".to_vec(), &format).unwrap(), b"a");
        assert_eq!(text(utf16("aé😀", true, false), &format).unwrap(), "aé😀".as_bytes());
        assert_eq!(text(utf16("aé😀", true, true), &format).unwrap(), "aé😀".as_bytes());
        let labelled = |label: &str| Format { encoding: label.into(), ..Format::default() };
        assert_eq!(text(utf16("aé", false, false), &labelled("utf-16le")).unwrap(), "aé".as_bytes());
        assert_eq!(text(b"caf\xe9 \x80".to_vec(), &labelled("latin1")).unwrap(), "café €".as_bytes());
        assert_eq!(text(b"\x83e\x83X\x83g".to_vec(), &labelled("shift_jis")).unwrap(), "テスト".as_bytes());
        assert_eq!(text(b"a\x81\xffb".to_vec(), &labelled("shift_jis")).unwrap(), b"a\xffb", "marked, not replaced");
        assert_eq!(text(Vec::new(), &format).unwrap(), b"");
    }

    #[test]
    fn within_a_file_nothing_is_a_mark() {
        for text in ["\u{feff}a\nb".as_bytes(), b"\x1f\x8b\nb", b"\x28\xb5\x2f\xfd\nb"] {
            let mut input = Input::within(Cursor::new(text.to_vec()), 10, LineEnds::Newline).unwrap();
            let at = 10 + text.len() as u64 - 1;
            assert_eq!((input.position(), input.window()), (at, &b"b"[..]), "{text:?}");
            assert!(!input.fill().unwrap());
        }
    }

    #[test]
    fn lines_end_at_what_their_format_says() {
        let text = &b"a\r\nb\rc\n\r\n\r\rd"[..];
        assert_eq!(LineEnds::Newline.count(text).unwrap(), 3);
        assert_eq!(LineEnds::NewlineOrReturn.count(text).unwrap(), 6);
        let mut input = Input::new(Cursor::new(text), "f", &Format::default(), 1000).unwrap();
        let mut starts = Vec::new();
        while input.pass_line(LineEnds::NewlineOrReturn).unwrap() {
            starts.push(input.position());
        }
        assert_eq!(starts, [3, 5, 7, 9, 10, 11]);
    }

    #[test]
    fn compression_is_seen_and_may_be_named() {
        let zstd = zstd::encode_all(&b"abc"[..], 3).unwrap();
        let twice = [gzip(b"ab"), gzip(b"c")].concat();
        for bytes in [zstd.clone(), twice, b"abc".to_vec()] {
            assert_eq!(text(bytes, &Format::default()).unwrap(), b"abc");
        }
        let none = Format { compression: Compression::None, ..Format::default() };
        assert_eq!(text(zstd.clone(), &none).unwrap(), zstd);
        let broken = gzip(b"abcdefgh");
        assert!(text(broken[..broken.len() - 6].to_vec(), &Format::default()).is_err(), "cut off");
        let named = Format { compression: Compression::Gzip, ..Format::default() };
        assert!(text(b"abc".to_vec(), &named).is_err());
    }

    #[test]
    fn bombs_end_early() {
        let zeros = vec![0; 1 << 20];
        let mut writer = zstd::Encoder::new(Vec::new(), 3).unwrap();
        for _ in 0..200 {
            writer.write_all(&zeros).unwrap();
        }
        let bomb = writer.finish().unwrap();
        assert!(bomb.len() < 100_000, "{}", bomb.len());
        let mut input = Input::new(Cursor::new(bomb), "f", &Format::default(), 1000).unwrap();
        let error = loop {
            match input.fill() {
                Ok(true) => input.take(input.window().len()),
                Ok(false) => panic!("all of it was read"),
                Err(error) => break super::super::bytes::file_error("f", error),
            }
        };
        assert!(matches!(error, FilesError::Bomb { .. }), "{error}");
        assert!(input.position() < 2 * FilesConfig::EXPANSION_FLOOR_BYTES);
        assert_eq!(input.window.len(), WINDOW_BYTES);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn text_survives_encodings_and_compression(content in "\\PC{0,200}", repeat in 1_usize..3000, big in any::<bool>()) {
            let content = content.repeat(repeat);
            let encoded = utf16(&content, true, big);
            prop_assert!(text(encoded.clone(), &Format::default()).unwrap() == content.as_bytes());
            prop_assert!(text(gzip(&encoded), &Format::default()).unwrap() == content.as_bytes());
            let zstd = zstd::encode_all(content.as_bytes(), 1).unwrap();
            // A text that begins with a byte order mark loses it.
            let marked = content.starts_with(char::from_u32(0xfeff).unwrap());
            prop_assert!(marked || text(zstd, &Format::default()).unwrap() == content.as_bytes());
        }
    }
}
