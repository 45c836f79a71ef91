//! The code pages of Windows: bytes to characters and back, exact, or not at all.
//!
//! The tables are `encoding_rs`', which are Microsoft's for the single-byte pages and for nearly all of the double-byte
//! ones. Where the two differ, Microsoft's count, since SQL Server converts by them: no sequences of four bytes in page 936,
//! none of the Hong Kong characters in page 950, and the areas for characters of one's own (EUDC) as the private use area.
//! Pages 437 and 850 are not in `encoding_rs`. What Microsoft does not assign is an error.

use std::sync::OnceLock;

use encoding_rs::Encoding;

/// A code page in which SQL Server stores text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum CodePage {
    Cp437,
    Cp850,
    Cp874,
    Cp932,
    Cp936,
    Cp949,
    Cp950,
    Cp1250,
    Cp1251,
    Cp1252,
    Cp1253,
    Cp1254,
    Cp1255,
    Cp1256,
    Cp1257,
    Cp1258,
}

/// Every page, in the order of the enum.
pub(crate) const ALL: [CodePage; 16] = [
    CodePage::Cp437,
    CodePage::Cp850,
    CodePage::Cp874,
    CodePage::Cp932,
    CodePage::Cp936,
    CodePage::Cp949,
    CodePage::Cp950,
    CodePage::Cp1250,
    CodePage::Cp1251,
    CodePage::Cp1252,
    CodePage::Cp1253,
    CodePage::Cp1254,
    CodePage::Cp1255,
    CodePage::Cp1256,
    CodePage::Cp1257,
    CodePage::Cp1258,
];

/// The upper half of page 437.
const UPPER_437: &str = "\
    ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒ\
    áíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐\
    └┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀\
    αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{A0}";
/// The upper half of page 850.
const UPPER_850: &str = "\
    ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜø£Ø×ƒ\
    áíóúñÑªº¿®¬½¼¡«»░▒▓│┤ÁÂÀ©╣║╗╝¢¥┐\
    └┴┬├─┼ãÃ╚╔╩╦╠═╬¤ðÐÊËÈıÍÎÏ┘┌█▄¦Ì▀\
    ÓßÔÒõÕµþÞÚÛÙýÝ¯´\u{AD}±‗¾¶§÷¸°¨·¹³²■\u{A0}";

/// Lead bytes begin here, and there is one row for each up to 0xFE.
const FIRST_LEAD: u8 = 0x81;
/// Second bytes begin here, and each row has one place for each up to 0xFE.
const FIRST_TRAIL: u8 = 0x40;
const ROW: usize = 0xFE - 0x40 + 1;

/// One character in UTF-8.
#[derive(Debug, Clone, Copy)]
struct Utf8Char {
    bytes: [u8; 4],
    length: u8,
}

/// What the bytes of a page mean.
#[derive(Debug)]
struct Table {
    /// Bytes from 0x80 on that are characters by themselves.
    upper: [Option<Utf8Char>; 128],
    /// Pairs of a lead byte and a second one, all in the Basic Multilingual Plane; 0: none. Empty for single-byte pages.
    pairs: Box<[u16]>,
}

impl CodePage {
    /// The page of a number.
    pub(super) fn of_number(number: u16) -> Option<Self> {
        ALL.into_iter().find(|page| page.number() == number)
    }

    /// Its number.
    pub(super) fn number(self) -> u16 {
        match self {
            Self::Cp437 => 437,
            Self::Cp850 => 850,
            Self::Cp874 => 874,
            Self::Cp932 => 932,
            Self::Cp936 => 936,
            Self::Cp949 => 949,
            Self::Cp950 => 950,
            Self::Cp1250 => 1250,
            Self::Cp1251 => 1251,
            Self::Cp1252 => 1252,
            Self::Cp1253 => 1253,
            Self::Cp1254 => 1254,
            Self::Cp1255 => 1255,
            Self::Cp1256 => 1256,
            Self::Cp1257 => 1257,
            Self::Cp1258 => 1258,
        }
    }

    /// The encoding that its table is made from; none for the pages of DOS.
    pub(super) fn encoding(self) -> Option<&'static Encoding> {
        Some(match self {
            Self::Cp437 | Self::Cp850 => return None,
            Self::Cp874 => encoding_rs::WINDOWS_874,
            Self::Cp932 => encoding_rs::SHIFT_JIS,
            Self::Cp936 => encoding_rs::GBK,
            Self::Cp949 => encoding_rs::EUC_KR,
            Self::Cp950 => encoding_rs::BIG5,
            Self::Cp1250 => encoding_rs::WINDOWS_1250,
            Self::Cp1251 => encoding_rs::WINDOWS_1251,
            Self::Cp1252 => encoding_rs::WINDOWS_1252,
            Self::Cp1253 => encoding_rs::WINDOWS_1253,
            Self::Cp1254 => encoding_rs::WINDOWS_1254,
            Self::Cp1255 => encoding_rs::WINDOWS_1255,
            Self::Cp1256 => encoding_rs::WINDOWS_1256,
            Self::Cp1257 => encoding_rs::WINDOWS_1257,
            Self::Cp1258 => encoding_rs::WINDOWS_1258,
        })
    }

    fn table(self) -> &'static Table {
        static TABLES: [OnceLock<Table>; ALL.len()] = [const { OnceLock::new() }; ALL.len()];
        TABLES[self as usize].get_or_init(|| Table::of(self))
    }

    /// Appends the text of `bytes`; false where they are not text of this page. Then `out` may hold a part of it.
    pub(super) fn append(self, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        let table = self.table();
        let mut bytes = bytes.iter().copied();
        while let Some(byte) = bytes.next() {
            let Some(index) = byte.checked_sub(0x80) else {
                out.push(byte);
                continue;
            };
            if let Some(c) = table.upper[usize::from(index)] {
                out.extend_from_slice(&c.bytes[..usize::from(c.length)]);
                continue;
            }
            let Some(c) = bytes.next().and_then(|trail| table.pair(byte, trail)) else { return false };
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        true
    }

    /// The bytes of a text, where all of it can be stored and read back.
    pub(super) fn encode(self, text: &str) -> Option<Vec<u8>> {
        let bytes = match self.encoding() {
            Some(encoding) => match encoding.encode(text) {
                (bytes, _, false) => bytes.into_owned(),
                (_, _, true) => return None,
            },
            None => {
                let upper = self.upper_text();
                let byte = |c: char| match u8::try_from(c) {
                    Ok(byte) if byte.is_ascii() => Some(byte),
                    _ => upper.chars().position(|known| known == c).and_then(|at| u8::try_from(at + 0x80).ok()),
                };
                text.chars().map(byte).collect::<Option<_>>()?
            }
        };
        let mut read_back = Vec::with_capacity(text.len());
        (self.append(&bytes, &mut read_back) && read_back == text.as_bytes()).then_some(bytes)
    }

    /// The upper half of a page of DOS.
    fn upper_text(self) -> &'static str {
        if self == Self::Cp437 { UPPER_437 } else { UPPER_850 }
    }

    /// Where users define characters of their own, and the first code point of the private use area for them: ranges of
    /// lead and second bytes, row by row. (Microsoft, Windows DDK, "Mapping EUDC to Unicode"; the Unicode Consortium's
    /// best-fit table of page 936.)
    fn user_defined(self) -> &'static [UserDefined] {
        const fn rows(lead: (u8, u8), trails: &'static [(u8, u8)], first: u16) -> UserDefined {
            UserDefined { lead, trails, first }
        }
        const BIG5: &[(u8, u8)] = &[(0x40, 0x7E), (0xA1, 0xFE)];
        match self {
            Self::Cp932 => const { &[rows((0xF0, 0xF9), &[(0x40, 0x7E), (0x80, 0xFC)], 0xE000)] },
            Self::Cp936 => {
                const {
                    &[
                        rows((0xAA, 0xAF), &[(0xA1, 0xFE)], 0xE000),
                        rows((0xF8, 0xFE), &[(0xA1, 0xFE)], 0xE234),
                        rows((0xA1, 0xA7), &[(0x40, 0x7E), (0x80, 0xA0)], 0xE4C6),
                    ]
                }
            }
            Self::Cp949 => {
                const { &[rows((0xC9, 0xC9), &[(0xA1, 0xFE)], 0xE000), rows((0xFE, 0xFE), &[(0xA1, 0xFE)], 0xE05E)] }
            }
            Self::Cp950 => {
                const {
                    &[
                        rows((0xFA, 0xFE), BIG5, 0xE000),
                        rows((0x8E, 0xA0), BIG5, 0xE311),
                        rows((0x81, 0x8D), BIG5, 0xEEB8),
                        rows((0xC6, 0xC6), &[(0xA1, 0xFE)], 0xF6B1),
                        rows((0xC7, 0xC8), BIG5, 0xF70F),
                    ]
                }
            }
            _ => &[],
        }
    }
}

/// Rows of pairs for characters of a user's own.
#[derive(Debug)]
struct UserDefined {
    lead: (u8, u8),
    trails: &'static [(u8, u8)],
    first: u16,
}

impl Table {
    fn of(page: CodePage) -> Self {
        let mut upper = [None; 128];
        let Some(encoding) = page.encoding() else {
            for (place, c) in upper.iter_mut().zip(page.upper_text().chars()) {
                *place = Some(Utf8Char::of(c));
            }
            return Self { upper, pairs: Box::default() };
        };
        for (byte, place) in (0x80..=0xFF).zip(&mut upper) {
            *place = one(encoding, &[byte]).map(Utf8Char::of);
        }
        if encoding.is_single_byte() {
            return Self { upper, pairs: Box::default() };
        }
        let mut pairs = vec![0; (0xFE - usize::from(FIRST_LEAD) + 1) * ROW].into_boxed_slice();
        for lead in FIRST_LEAD..=0xFE {
            for trail in FIRST_TRAIL..=0xFE {
                let c = one(encoding, &[lead, trail]).and_then(|c| u16::try_from(u32::from(c)).ok());
                if let (Some(place), Some(c)) = (place(lead, trail).and_then(|at| pairs.get_mut(at)), c) {
                    *place = c;
                }
            }
        }
        for (lead, from, to) in unassigned(page) {
            for trail in *from..=*to {
                if let Some(place) = place(*lead, trail).and_then(|at| pairs.get_mut(at)) {
                    *place = 0;
                }
            }
        }
        if page == CodePage::Cp950
            && let Some(place) = place(0xF9, 0xFE).and_then(|at| pairs.get_mut(at))
        {
            // Hong Kong's extension has U+FFED here.
            *place = 0x2593;
        }
        for UserDefined { lead, trails, first } in page.user_defined() {
            let rows = (lead.0..=lead.1).flat_map(|lead| trails.iter().map(move |trails| (lead, trails)));
            let places = rows.flat_map(|(lead, (from, to))| (*from..=*to).map(move |trail| (lead, trail)));
            for ((lead, trail), c) in places.zip(*first..) {
                if let Some(place) = place(lead, trail).and_then(|at| pairs.get_mut(at)) {
                    *place = c;
                }
            }
        }
        Self { upper, pairs }
    }

    fn pair(&self, lead: u8, trail: u8) -> Option<char> {
        let code = *self.pairs.get(place(lead, trail)?)?;
        char::from_u32(code.into()).filter(|_| code != 0)
    }
}

/// Pairs that `encoding_rs` reads and Microsoft's page does not assign: later additions of GB 18030, and control pictures.
fn unassigned(page: CodePage) -> &'static [(u8, u8, u8)] {
    match page {
        CodePage::Cp936 => &[
            (0xA2, 0xAB, 0xB0),
            (0xA2, 0xE3, 0xE4),
            (0xA2, 0xEF, 0xF0),
            (0xA2, 0xFD, 0xFE),
            (0xA4, 0xF4, 0xFE),
            (0xA5, 0xF7, 0xFE),
            (0xA6, 0xB9, 0xC0),
            (0xA6, 0xD9, 0xDF),
            (0xA6, 0xEC, 0xED),
            (0xA6, 0xF3, 0xF3),
            (0xA6, 0xF6, 0xFE),
            (0xA7, 0xC2, 0xD0),
            (0xA7, 0xF2, 0xFE),
            (0xA8, 0x96, 0xA0),
            (0xA8, 0xBC, 0xBC),
            (0xA8, 0xBF, 0xBF),
            (0xA8, 0xC1, 0xC4),
            (0xA8, 0xEA, 0xFE),
            (0xA9, 0x58, 0x58),
            (0xA9, 0x5B, 0x5B),
            (0xA9, 0x5D, 0x5F),
            (0xA9, 0x89, 0x95),
            (0xA9, 0x97, 0xA3),
            (0xA9, 0xF0, 0xFE),
            (0xD7, 0xFA, 0xFE),
            (0xFE, 0x50, 0x7E),
            (0xFE, 0x80, 0xA0),
        ],
        CodePage::Cp950 => &[(0xA3, 0xC0, 0xE0)],
        _ => &[],
    }
}

fn place(lead: u8, trail: u8) -> Option<usize> {
    let row = lead.checked_sub(FIRST_LEAD)?;
    let column = trail.checked_sub(FIRST_TRAIL).filter(|_| trail != 0xFF)?;
    Some(usize::from(row) * ROW + usize::from(column))
}

/// The one character that the bytes are.
fn one(encoding: &'static Encoding, bytes: &[u8]) -> Option<char> {
    let text = encoding.decode_without_bom_handling_and_without_replacement(bytes)?;
    let mut chars = text.chars();
    chars.next().filter(|_| chars.next().is_none())
}

impl Utf8Char {
    fn of(c: char) -> Self {
        let mut bytes = [0; 4];
        let length = c.encode_utf8(&mut bytes).len().to_le_bytes()[0];
        Self { bytes, length }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::process::Command;

    use super::*;

    /// What Python's codecs, which are made from the Unicode Consortium's tables of Microsoft's pages, read: bytes from 0x80
    /// on, and pairs of them with a second byte.
    fn by_python(page: CodePage) -> HashMap<Vec<u8>, String> {
        const SCRIPT: &str = r"
import sys
name = {936: 'gbk'}.get(int(sys.argv[1]), 'cp' + sys.argv[1])
for a in range(0x80, 0x100):
    for raw in [bytes([a])] + [bytes([a, b]) for b in range(0x40, 0x100)]:
        try:
            text = raw.decode(name)
        except UnicodeDecodeError:
            continue
        if len(text) == 1:
            print(raw.hex(), ord(text))
";
        let python = std::env::var_os("DATAKIT_TEST_PYTHON").unwrap_or_else(|| "python3".into());
        let output = Command::new(python).args(["-c", SCRIPT, &page.number().to_string()]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout).unwrap();
        let read = |line: &str| {
            let (bytes, code) = line.split_once(' ')?;
            Some((hex(bytes), char::from_u32(code.parse().ok()?)?.to_string()))
        };
        lines.lines().map(|line| read(line).unwrap()).collect()
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    fn read(page: CodePage, bytes: &[u8]) -> Option<String> {
        let mut out = Vec::new();
        page.append(bytes, &mut out).then(|| String::from_utf8(out).unwrap())
    }

    /// Whether Python and Microsoft differ here: characters of a user's own, C1 controls in holes of single-byte pages, and
    /// single bytes of page 932 that are for vendors.
    fn differs(page: CodePage, bytes: &[u8], ours: Option<&str>, theirs: Option<&String>) -> bool {
        let private = |text: &str| text.chars().all(|c| ('\u{E000}'..='\u{F8FF}').contains(&c));
        match (bytes, ours, theirs) {
            ([lead, trail], Some(ours), _) if private(ours) => {
                let rows = page.user_defined();
                rows.iter().any(|rows| {
                    (rows.lead.0..=rows.lead.1).contains(lead)
                        && rows.trails.iter().any(|(from, to)| (from..=to).contains(&trail))
                })
            }
            ([byte], Some(ours), None) => {
                // The euro sign is younger than the table of page 936, U+05BA than that of page 1255.
                ours.chars().eq([char::from(*byte)])
                    || (page, *byte, ours) == (CodePage::Cp936, 0x80, "€")
                    || (page, *byte, ours) == (CodePage::Cp1255, 0xCA, "\u{5BA}")
            }
            ([_], None, Some(theirs)) => page == CodePage::Cp932 && private(theirs),
            _ => false,
        }
    }

    #[test]
    fn every_code_page_reads_as_pythons_codec_does() {
        for page in ALL {
            let theirs = by_python(page);
            let is_double = page.encoding().is_some_and(|encoding| !encoding.is_single_byte());
            let mut agreed = 0;
            for lead in 0x80..=0xFF {
                let single = [lead];
                let pairs = (0x40..=0xFF).map(|trail| vec![lead, trail]);
                let pairs = pairs.filter(|_| is_double && read(page, &single).is_none());
                for bytes in [single.to_vec()].into_iter().chain(pairs) {
                    let ours = read(page, &bytes);
                    if differs(page, &bytes, ours.as_deref(), theirs.get(&bytes)) {
                        continue;
                    }
                    assert_eq!(ours.as_ref(), theirs.get(&bytes), "page {} {bytes:x?}", page.number());
                    agreed += u32::from(ours.is_some());
                }
            }
            // Page 932 has 7,000 characters of two bytes, the others have 13,000 and more.
            let expected = if page == CodePage::Cp932 {
                7_000
            } else if is_double {
                13_000
            } else {
                90
            };
            assert!(agreed > expected, "page {}: {agreed}", page.number());
        }
    }

    #[test]
    fn characters_of_a_users_own_are_where_microsoft_puts_them() {
        for (page, bytes, code) in [
            (CodePage::Cp932, [0xF0, 0x40], 0xE000),
            (CodePage::Cp932, [0xF9, 0xFC], 0xE757),
            (CodePage::Cp936, [0xAF, 0xFE], 0xE233),
            (CodePage::Cp936, [0xFE, 0xFE], 0xE4C5),
            (CodePage::Cp936, [0xA7, 0xA0], 0xE765),
            (CodePage::Cp949, [0xC9, 0xFE], 0xE05D),
            (CodePage::Cp949, [0xFE, 0xFE], 0xE0BB),
            (CodePage::Cp950, [0xFE, 0xFE], 0xE310),
            (CodePage::Cp950, [0xA0, 0xFE], 0xEEB7),
            (CodePage::Cp950, [0x8D, 0xFE], 0xF6B0),
            (CodePage::Cp950, [0xC6, 0xA1], 0xF6B1),
            (CodePage::Cp950, [0xC8, 0xFE], 0xF848),
        ] {
            let expected = char::from_u32(code).unwrap().to_string();
            assert_eq!(read(page, &bytes), Some(expected), "{page:?} {bytes:x?}");
        }
    }

    #[test]
    fn half_a_pair_and_four_bytes_of_gb18030_are_no_text() {
        assert_eq!(read(CodePage::Cp932, b"\x93"), None);
        assert_eq!(read(CodePage::Cp936, b"\x81\x30\x81\x30"), None);
        assert_eq!(read(CodePage::Cp950, b"\xA4\xA4\xFF"), None);
        assert_eq!(read(CodePage::Cp949, b"a\xB0\xA1b").as_deref(), Some("a가b"));
    }

    #[test]
    fn what_is_encoded_reads_back() {
        for (page, text) in [
            (CodePage::Cp437, "naïve ░ ≥"),
            (CodePage::Cp850, "Ærø ¾"),
            (CodePage::Cp1251, "Сайн"),
            (CodePage::Cp932, "日本 ｱ ①"),
            (CodePage::Cp936, "中文 €"),
            (CodePage::Cp949, "한국어 똠"),
            (CodePage::Cp950, "中文 碁"),
        ] {
            let bytes = page.encode(text).unwrap();
            assert_eq!(read(page, &bytes).as_deref(), Some(text), "{page:?}");
        }
        for (page, text) in
            [(CodePage::Cp437, "€"), (CodePage::Cp1252, "ш"), (CodePage::Cp936, "\u{1F9}"), (CodePage::Cp950, "粵㗎")]
        {
            assert_eq!(page.encode(text), None, "{page:?} {text}");
        }
    }
}
