//! Text off the wire into UTF-8: exact, or an error; never a replacement character.

use encoding_rs::Encoding;
use mssql_tds::datatypes::sql_string::{EncodingType, ResolvedEncoding};

/// Why bytes are not text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Malformed {
    /// Half a character of UTF-16.
    LoneSurrogate,
    /// An odd number of bytes of UTF-16.
    OddLength,
    /// Bytes that the code page does not assign.
    CodePage(&'static str),
    /// A collation of which no code page is known, and text beyond ASCII.
    UnknownCollation(u32),
}

impl Malformed {
    /// In words, for a message.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::LoneSurrogate => "the text holds half a character (a lone surrogate), which UTF-8 cannot hold".into(),
            Self::OddLength => "the text has an odd number of bytes, so it is not UTF-16".into(),
            Self::CodePage(name) => format!("the bytes are no text of the column's code page {name}"),
            Self::UnknownCollation(lcid) => {
                format!("the column's collation (LCID {lcid:#06x}) has no known code page, and the text is not ASCII")
            }
        }
    }
}

/// How the bytes of one column are read. Chosen once, from the metadata.
#[derive(Debug, Clone)]
pub(super) enum TextEncoding {
    Utf16,
    Utf8,
    /// A code page of single bytes: the upper half as UTF-8, none where it assigns nothing.
    SingleByte {
        name: &'static str,
        upper: Box<[Option<Utf8Char>; 128]>,
    },
    /// A code page with double bytes.
    MultiByte(&'static Encoding),
    /// Only ASCII can be read.
    Unknown {
        lcid: u32,
    },
}

/// One character in UTF-8.
#[derive(Debug, Clone, Copy)]
pub(super) struct Utf8Char {
    bytes: [u8; 4],
    length: u8,
}

impl TextEncoding {
    /// The encoding that the column's metadata says.
    pub(super) fn of(encoding: &EncodingType) -> Self {
        if let EncodingType::LcidBased(collation) = encoding {
            let lcid = collation.info & 0x000F_FFFF;
            // mssql-tds would read these as Windows-1252; tiberius' table says which it does not know.
            if tiberius::Collation::new(collation.info, collation.sort_id).encoding().is_err() && collation.sort_id == 0
            {
                return Self::Unknown { lcid };
            }
        }
        match encoding.resolved_encoding() {
            None => Self::Unknown { lcid: 0 },
            Some(ResolvedEncoding::EncodingRs(e)) if e == encoding_rs::UTF_8 => Self::Utf8,
            Some(ResolvedEncoding::EncodingRs(e)) if e == encoding_rs::UTF_16LE => Self::Utf16,
            Some(ResolvedEncoding::EncodingRs(e)) if !e.is_single_byte() => Self::MultiByte(e),
            Some(single) => Self::single_byte(single),
        }
    }

    fn single_byte(encoding: ResolvedEncoding) -> Self {
        let upper = std::array::from_fn(|i| {
            let byte = u8::try_from(i + 128).unwrap_or(u8::MAX);
            let bytes = [byte];
            let (text, malformed) = encoding.decode_without_bom_handling(&bytes);
            let c = text.chars().next().filter(|_| !malformed)?;
            let mut utf8 = [0; 4];
            let length = u8::try_from(c.encode_utf8(&mut utf8).len()).ok()?;
            Some(Utf8Char { bytes: utf8, length })
        });
        Self::SingleByte { name: encoding.name(), upper: Box::new(upper) }
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
                std::str::from_utf8(bytes).map_err(|_| Malformed::CodePage("UTF-8"))?;
                out.extend_from_slice(bytes);
                Ok(())
            }
            Self::SingleByte { name, upper } => {
                for byte in bytes {
                    match byte.checked_sub(128) {
                        None => out.push(*byte),
                        Some(index) => {
                            let c = upper[usize::from(index)].ok_or(Malformed::CodePage(name))?;
                            out.extend_from_slice(&c.bytes[..usize::from(c.length)]);
                        }
                    }
                }
                Ok(())
            }
            Self::MultiByte(encoding) => {
                let text = encoding
                    .decode_without_bom_handling_and_without_replacement(bytes)
                    .ok_or(Malformed::CodePage(encoding.name()))?;
                out.extend_from_slice(text.as_bytes());
                Ok(())
            }
            Self::Unknown { lcid } => Err(Malformed::UnknownCollation(*lcid)),
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
    use mssql_tds::token::tokens::SqlCollation;
    use proptest::prelude::*;

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    fn read(encoding: &TextEncoding, bytes: &[u8]) -> Result<String, Malformed> {
        let mut out = Vec::new();
        encoding.append(bytes, &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    fn collation(lcid: u32, sort_id: u8) -> EncodingType {
        let info = lcid.to_le_bytes();
        let bytes = [info[0], info[1], info[2], info[3], sort_id];
        EncodingType::LcidBased(SqlCollation::try_from(bytes.as_slice()).unwrap())
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
        assert_eq!(read(&greek, b"\xD2"), Err(Malformed::CodePage("windows-1253")));
        let utf8 = TextEncoding::of(&EncodingType::Utf8);
        assert_eq!(read(&utf8, "日本".as_bytes()).unwrap(), "日本");
        assert_eq!(read(&utf8, b"\xFF"), Err(Malformed::CodePage("UTF-8")));
    }

    #[test]
    fn an_unknown_collation_reads_ascii_and_nothing_else() {
        let unknown = TextEncoding::of(&collation(0x0F_FFFF, 0));
        assert_eq!(read(&unknown, b"plain").unwrap(), "plain");
        assert_eq!(read(&unknown, b"caf\xE9"), Err(Malformed::UnknownCollation(0x0F_FFFF)));
    }
}
