//! Text off the wire into UTF-8: exact, or an error; never a replacement character.

mod code_page;
mod collations;

use datakit_model::rejects::text;
use mssql_tds::datatypes::sql_string::{EncodingType, SqlString};
use mssql_tds::token::tokens::SqlCollation;

use self::code_page::CodePage;
use self::collations::Stored;

/// Why bytes are not text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Malformed {
    /// Half a character of UTF-16.
    LoneSurrogate,
    /// An odd number of bytes of UTF-16.
    OddLength,
    /// Bytes that are not UTF-8.
    Utf8,
    /// Bytes that the code page does not assign.
    CodePage(u16),
    /// A collation of which no code page is known, and text beyond ASCII.
    UnknownCollation(String),
}

impl Malformed {
    /// In words, for a message.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::LoneSurrogate => "the text holds half a character (a lone surrogate), which UTF-8 cannot hold".into(),
            Self::OddLength => "the text has an odd number of bytes, so it is not UTF-16".into(),
            Self::Utf8 => "the bytes are no text of the column's encoding UTF-8".into(),
            Self::CodePage(number) => format!("the bytes are no text of the column's code page {number}"),
            Self::UnknownCollation(collation) => {
                format!("the column's collation ({collation}) has no known code page, and the text is not ASCII")
            }
        }
    }

    /// The bytes as far as they are text; the others are escaped.
    pub(super) fn shown(&self, bytes: &[u8]) -> String {
        match self {
            Self::LoneSurrogate | Self::OddLength => text::utf16(bytes),
            Self::Utf8 => text::utf8(bytes),
            Self::CodePage(_) | Self::UnknownCollation(_) => text::ascii(bytes),
        }
    }
}

/// How the bytes of one column are read. Chosen once, from the metadata.
#[derive(Debug, Clone)]
pub(super) enum TextEncoding {
    Utf16,
    Utf8,
    CodePage(CodePage),
    /// Only ASCII can be read, which is the same in every code page of SQL Server.
    Unknown {
        collation: Box<str>,
    },
}

impl TextEncoding {
    /// The encoding that the metadata on the wire says.
    pub(super) fn of(encoding: &EncodingType) -> Self {
        match encoding {
            EncodingType::Utf8 => Self::Utf8,
            EncodingType::Utf16 => Self::Utf16,
            EncodingType::LcidBased(collation) => Self::of_collation(*collation),
            EncodingType::DelayedSet => Self::unknown("none was sent".to_owned()),
        }
    }

    fn of_collation(collation: SqlCollation) -> Self {
        let SqlCollation { sort_id, .. } = collation;
        Self::of_stored(collations::of_wire(collation), || match sort_id {
            0 => format!("LCID {:#06x}", collations::lcid(collation)),
            id => format!("sort id {id}"),
        })
    }

    /// The encoding of a collation by its name.
    pub(super) fn of_name(name: &str) -> Self {
        Self::of_stored(collations::of_name(name), || name.to_owned())
    }

    /// The encoding of text of which the server says no collation.
    pub(super) fn unknown(collation: String) -> Self {
        Self::Unknown { collation: collation.into() }
    }

    fn of_stored(stored: Option<Stored>, name: impl FnOnce() -> String) -> Self {
        match stored {
            Some(Stored::Utf8) => Self::Utf8,
            Some(Stored::In(page)) => Self::CodePage(page),
            Some(Stored::UnicodeOnly) => Self::unknown(format!("{}, for Unicode only", name())),
            None => Self::unknown(name()),
        }
    }

    /// Whether tiberius, which decodes by a table of its own, reads such text as we do. Its table agrees on every
    /// single-byte page of Windows; a double-byte one it reads by the rules of the web, UTF-8 and the pages of DOS not at all.
    pub(super) fn is_tiberius_alike(&self) -> bool {
        match self {
            Self::Utf16 => true,
            Self::CodePage(page) => page.encoding().is_some_and(encoding_rs::Encoding::is_single_byte),
            Self::Utf8 | Self::Unknown { .. } => false,
        }
    }

    /// Appends the text of `bytes` to `out`. On an error `out` may hold a part of it.
    #[inline]
    pub(super) fn append(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        match self {
            Self::Utf16 => append_utf16(bytes, out),
            _ if bytes.is_ascii() => {
                out.extend_from_slice(bytes);
                Ok(())
            }
            _ => self.append_beyond_ascii(bytes, out),
        }
    }

    #[cold]
    fn append_beyond_ascii(&self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
        match self {
            Self::Utf16 => append_utf16(bytes, out),
            Self::Utf8 => {
                std::str::from_utf8(bytes).map_err(|_| Malformed::Utf8)?;
                out.extend_from_slice(bytes);
                Ok(())
            }
            Self::CodePage(page) if page.append(bytes, out) => Ok(()),
            Self::CodePage(page) => Err(Malformed::CodePage(page.number())),
            Self::Unknown { collation } => Err(Malformed::UnknownCollation(collation.to_string())),
        }
    }
}

/// A text that `mssql-tds` handed over as its bytes.
///
/// # Errors
/// [`Malformed`].
pub(super) fn decode(text: &SqlString) -> Result<String, Malformed> {
    let mut out = Vec::with_capacity(text.bytes.len());
    TextEncoding::of(text.encoding_type()).append(&text.bytes, &mut out)?;
    String::from_utf8(out).map_err(|_| Malformed::Utf8)
}

/// A text in the code page of a collation, exact.
///
/// # Errors
/// Why it cannot be stored there.
pub(super) fn encode(text: &str, collation: SqlCollation) -> Result<Vec<u8>, String> {
    if text.is_ascii() {
        return Ok(text.as_bytes().to_vec());
    }
    match TextEncoding::of_collation(collation) {
        TextEncoding::Utf8 => Ok(text.as_bytes().to_vec()),
        TextEncoding::CodePage(page) => page.encode(text).ok_or_else(|| {
            format!("the text does not fit the database's code page {}: send it as text", page.number())
        }),
        TextEncoding::Utf16 | TextEncoding::Unknown { .. } => {
            Err("the database's collation has no known code page: send it as text".to_owned())
        }
    }
}

/// Appends UTF-16LE as UTF-8: eight ASCII characters at a time, the rest one by one.
pub(super) fn append_utf16(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    const NOT_ASCII: u64 = 0xFF80_FF80_FF80_FF80;
    if !bytes.len().is_multiple_of(2) {
        return Err(Malformed::OddLength);
    }
    out.reserve(bytes.len() / 2);
    let (chunks, tail) = bytes.as_chunks::<16>();
    for (i, chunk) in chunks.iter().enumerate() {
        let (halves, _) = chunk.as_chunks::<8>();
        let any = halves.iter().fold(0, |any, half| any | u64::from_le_bytes(*half));
        if any & NOT_ASCII != 0 {
            return append_utf16_units(&bytes[i * 16..], out);
        }
        let narrow: [u8; 8] = std::array::from_fn(|j| chunk[2 * j]);
        out.extend_from_slice(&narrow);
    }
    append_utf16_units(tail, out)
}

fn append_utf16_units(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let (units, _) = bytes.as_chunks::<2>();
    let mut units = units.iter().map(|unit| u16::from_le_bytes(*unit));
    while let Some(unit) = units.next() {
        let code = u32::from(unit);
        match unit {
            0..0x80 => out.push(unit.to_le_bytes()[0]),
            0x80..0x800 => out.extend_from_slice(&[0xC0 | low(code >> 6), 0x80 | low(code & 0x3F)]),
            0xD800..0xDC00 => {
                let trail = units.next().filter(|u| (0xDC00..0xE000).contains(u)).ok_or(Malformed::LoneSurrogate)?;
                let code = 0x1_0000 + ((code - 0xD800) << 10) + (u32::from(trail) - 0xDC00);
                out.extend_from_slice(&[
                    0xF0 | low(code >> 18),
                    0x80 | low(code >> 12 & 0x3F),
                    0x80 | low(code >> 6 & 0x3F),
                    0x80 | low(code & 0x3F),
                ]);
            }
            0xDC00..0xE000 => return Err(Malformed::LoneSurrogate),
            _ => {
                out.extend_from_slice(&[0xE0 | low(code >> 12), 0x80 | low(code >> 6 & 0x3F), 0x80 | low(code & 0x3F)])
            }
        }
    }
    Ok(())
}

/// The lowest byte.
const fn low(code: u32) -> u8 {
    code.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    fn read(encoding: &TextEncoding, bytes: &[u8]) -> Result<String, Malformed> {
        let mut out = Vec::new();
        encoding.append(bytes, &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    fn wire(lcid: u32, sort_id: u8) -> SqlCollation {
        let [a, b, c, d] = lcid.to_le_bytes();
        SqlCollation::try_from([a, b, c, d, sort_id].as_slice()).unwrap()
    }

    fn collation(lcid: u32, sort_id: u8) -> EncodingType {
        EncodingType::LcidBased(wire(lcid, sort_id))
    }

    proptest! {
        #[test]
        fn utf16_becomes_the_same_text(text in ".*") {
            prop_assert_eq!(read(&TextEncoding::Utf16, &utf16(&text)).unwrap(), text);
        }

        #[test]
        fn long_ascii_becomes_the_same_text(text in "[ -~]{0,100}é?[ -~]{0,40}") {
            prop_assert_eq!(read(&TextEncoding::Utf16, &utf16(&text)).unwrap(), text);
        }

        #[test]
        fn any_units_are_text_exactly_when_the_standard_library_says_so(units in proptest::collection::vec(any::<u16>(), 0..40)) {
            let bytes: Vec<u8> = units.iter().flat_map(|u| u.to_le_bytes()).collect();
            prop_assert_eq!(read(&TextEncoding::Utf16, &bytes).ok(), String::from_utf16(&units).ok());
        }
    }

    #[test]
    fn half_a_character_is_an_error() {
        for units in [&[0xD800][..], &[0x41, 0xDC00], &[0xD800, 0x41], &[0xD83D, 0xD83D, 0xDE00]] {
            let bytes: Vec<u8> = units.iter().flat_map(|u: &u16| u.to_le_bytes()).collect();
            assert_eq!(read(&TextEncoding::Utf16, &bytes), Err(Malformed::LoneSurrogate));
        }
        assert_eq!(read(&TextEncoding::Utf16, b"abc"), Err(Malformed::OddLength));
    }

    #[test]
    fn code_pages_come_from_the_collation() {
        let latin = TextEncoding::of(&collation(0x0409, 52));
        assert_eq!(read(&latin, b"caf\xE9 \x80").unwrap(), "café €");
        let cyrillic = TextEncoding::of(&collation(0x0419, 0));
        assert_eq!(read(&cyrillic, b"\xCF\xF0\xE8").unwrap(), "При");
        let japanese = TextEncoding::of(&collation(0x0411, 0));
        assert_eq!(read(&japanese, b"\x93\xFA\x96\x7B").unwrap(), "日本");
        assert!(matches!(read(&japanese, b"\x93"), Err(Malformed::CodePage(_))));
        let greek = TextEncoding::of(&collation(0x0408, 0));
        assert_eq!(read(&greek, b"\xD2"), Err(Malformed::CodePage(1253)));
        // Bytes that the tables of the drivers read as page 1252, or as nothing.
        let mongolian = TextEncoding::of(&collation(0x0450, 0));
        assert_eq!(read(&mongolian, b"\xD1\xE0\xE9\xED").unwrap(), "Сайн");
        let (latin, cyrillic) = (TextEncoding::of(&collation(0x081A, 0)), TextEncoding::of(&collation(0x201A, 0)));
        assert_eq!(read(&latin, b"\xE8\xE6\x9E\xF0").unwrap(), "čćžđ");
        assert_eq!(read(&cyrillic, b"\xE8\xE6\x9E\xF0").unwrap(), "ижћр");
        let dos = TextEncoding::of(&collation(0x0409, 41));
        assert_eq!(read(&dos, b"\x91r\x9B").unwrap(), "ærø");
        let utf8 = TextEncoding::of(&EncodingType::Utf8);
        assert_eq!(read(&utf8, "日本".as_bytes()).unwrap(), "日本");
        assert_eq!(read(&utf8, b"\xFF"), Err(Malformed::Utf8));
    }

    #[test]
    fn an_unknown_collation_reads_ascii_and_nothing_else() {
        for (lcid, sort_id, name) in
            [(0x0F_FFFF, 0, "LCID 0xfffff"), (0x0409, 250, "sort id 250"), (0x0439, 0, "LCID 0x0439, for Unicode only")]
        {
            let unknown = TextEncoding::of(&collation(lcid, sort_id));
            assert_eq!(read(&unknown, b"plain").unwrap(), "plain");
            assert_eq!(read(&unknown, b"caf\xE9"), Err(Malformed::UnknownCollation(name.into())));
        }
    }

    #[test]
    fn a_text_is_stored_in_the_code_page_or_refused() {
        let latin = wire(0x0409, 52);
        assert_eq!(encode("abc", latin).unwrap(), b"abc");
        assert_eq!(encode("é€", latin).unwrap(), b"\xE9\x80");
        assert_eq!(
            encode("日", latin).unwrap_err(),
            "the text does not fit the database's code page 1252: send it as text"
        );
        assert_eq!(encode("Сайн", wire(0x0450, 0)).unwrap(), b"\xD1\xE0\xE9\xED");
        assert!(encode("é", wire(0x0F_FFFF, 0)).is_err());
    }
}
