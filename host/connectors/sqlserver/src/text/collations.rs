//! Which code page a collation stores `char`, `varchar` and `text` in: by its bytes on the wire, and by its name.
//!
//! The numbers are those of SQL Server's own maps, as Microsoft publishes them: LCIDs with their sort bits in `mssql-tds`
//! (`lcid_to_code_page`, after `x_rgLocaleMap`), sort ids in the JDBC driver (`SQLCollation.SortOrder`), designators in
//! "Windows Collation Name" and "SQL Server Collation Name" of the T-SQL reference. Windows locales that have no
//! collation of their own are those of the JDBC driver (`SQLCollation.WindowsLocale`) which have an ANSI code page in
//! Windows too (MS-LCID): a server that is not SQL Server may send them.

use std::ops::RangeInclusive;

use mssql_tds::token::tokens::SqlCollation;

use super::code_page::CodePage;
use super::code_page::CodePage::{
    Cp437, Cp850, Cp874, Cp932, Cp936, Cp949, Cp950, Cp1250, Cp1251, Cp1252, Cp1253, Cp1254, Cp1255, Cp1256, Cp1257,
    Cp1258,
};

/// What a collation stores text in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    /// Unicode, as UTF-8.
    Utf8,
    /// A code page.
    In(CodePage),
    /// A collation for `nchar` and `nvarchar` alone.
    UnicodeOnly,
}

/// LCID and designator of each Windows collation. The sort bits (16 to 19) tell apart the orders of one locale.
const WINDOWS: &[(u32, &str, Option<CodePage>)] = &[
    (0x0401, "Arabic", Some(Cp1256)),
    (0x0404, "Chinese_Taiwan_Stroke", Some(Cp950)),
    (0x0404, "Chinese_Traditional_Stroke_Count", Some(Cp950)),
    (0x0405, "Czech", Some(Cp1250)),
    (0x0406, "Danish_Norwegian", Some(Cp1252)),
    (0x0406, "Danish_Greenlandic", Some(Cp1252)),
    (0x0408, "Greek", Some(Cp1253)),
    (0x0409, "Latin1_General", Some(Cp1252)),
    (0x040A, "Traditional_Spanish", Some(Cp1252)),
    (0x040B, "Finnish_Swedish", Some(Cp1252)),
    (0x040C, "French", Some(Cp1252)),
    (0x040D, "Hebrew", Some(Cp1255)),
    (0x040E, "Hungarian", Some(Cp1250)),
    (0x040F, "Icelandic", Some(Cp1252)),
    (0x0411, "Japanese", Some(Cp932)),
    (0x0411, "Japanese_XJIS", Some(Cp932)),
    (0x0412, "Korean", Some(Cp949)),
    (0x0412, "Korean_Wansung", Some(Cp949)),
    (0x0414, "Norwegian", Some(Cp1252)),
    (0x0415, "Polish", Some(Cp1250)),
    (0x0417, "Romansh", Some(Cp1252)),
    (0x0418, "Romanian", Some(Cp1250)),
    (0x0419, "Cyrillic_General", Some(Cp1251)),
    (0x041A, "Croatian", Some(Cp1250)),
    (0x041B, "Slovak", Some(Cp1250)),
    (0x041C, "Albanian", Some(Cp1250)),
    (0x041E, "Thai", Some(Cp874)),
    (0x041F, "Turkish", Some(Cp1254)),
    (0x0420, "Urdu", Some(Cp1256)),
    (0x0422, "Ukrainian", Some(Cp1251)),
    (0x0424, "Slovenian", Some(Cp1250)),
    (0x0425, "Estonian", Some(Cp1257)),
    (0x0426, "Latvian", Some(Cp1257)),
    (0x0427, "Lithuanian", Some(Cp1257)),
    (0x0429, "Persian", Some(Cp1256)),
    (0x042A, "Vietnamese", Some(Cp1258)),
    (0x042C, "Azeri_Latin", Some(Cp1254)),
    (0x042E, "Upper_Sorbian", Some(Cp1252)),
    (0x042F, "Macedonian", Some(Cp1251)),
    (0x042F, "Macedonian_FYROM", Some(Cp1251)),
    (0x0439, "Hindi", None),
    (0x0439, "Indic_General", None),
    (0x043A, "Maltese", None),
    (0x043B, "Sami_Norway", Some(Cp1252)),
    (0x043F, "Kazakh", Some(Cp1251)),
    (0x0442, "Turkmen", Some(Cp1250)),
    (0x0443, "Uzbek_Latin", Some(Cp1254)),
    (0x0444, "Tatar", Some(Cp1251)),
    (0x0445, "Bengali", None),
    (0x044D, "Assamese", None),
    (0x0451, "Tibetan", None),
    (0x0452, "Welsh", Some(Cp1252)),
    (0x0453, "Khmer", None),
    (0x0454, "Lao", None),
    (0x045A, "Syriac", None),
    (0x0461, "Nepali", None),
    (0x0462, "Frisian", Some(Cp1252)),
    (0x0463, "Pashto", None),
    (0x0465, "Divehi", None),
    (0x046D, "Bashkir", Some(Cp1251)),
    (0x047A, "Mapudungan", Some(Cp1252)),
    (0x047C, "Mohawk", Some(Cp1252)),
    (0x047E, "Breton", Some(Cp1252)),
    (0x0480, "Uighur", Some(Cp1256)),
    (0x0481, "Maori", None),
    (0x0483, "Corsican", Some(Cp1252)),
    (0x0485, "Yakut", Some(Cp1251)),
    (0x048C, "Dari", Some(Cp1256)),
    (0x0804, "Chinese_PRC", Some(Cp936)),
    (0x0804, "Chinese_Simplified_Pinyin", Some(Cp936)),
    (0x081A, "Serbian_Latin", Some(Cp1250)),
    (0x0827, "Lithuanian_Classic", Some(Cp1257)),
    (0x082C, "Azeri_Cyrillic", Some(Cp1251)),
    (0x083B, "Sami_Sweden_Finland", Some(Cp1252)),
    (0x085F, "Tamazight", Some(Cp1252)),
    (0x0C04, "Chinese_Hong_Kong_Stroke", Some(Cp950)),
    (0x0C0A, "Modern_Spanish", Some(Cp1252)),
    (0x0C1A, "Serbian_Cyrillic", Some(Cp1251)),
    (0x1404, "Chinese_Traditional_Pinyin", Some(Cp950)),
    (0x141A, "Bosnian_Latin", Some(Cp1250)),
    (0x201A, "Bosnian_Cyrillic", Some(Cp1251)),
    (0x1_0407, "German_PhoneBook", Some(Cp1252)),
    (0x1_040E, "Hungarian_Technical", Some(Cp1250)),
    (0x1_0411, "Japanese_Unicode", Some(Cp932)),
    (0x1_0412, "Korean_Wansung_Unicode", Some(Cp949)),
    (0x1_0437, "Georgian_Modern_Sort", Some(Cp1252)),
    (0x2_0804, "Chinese_PRC_Stroke", Some(Cp936)),
    (0x2_0804, "Chinese_Simplified_Stroke_Order", Some(Cp936)),
    (0x2_1404, "Chinese_Traditional_Stroke_Order", Some(Cp950)),
    (0x3_0404, "Chinese_Taiwan_Bopomofo", Some(Cp950)),
    (0x3_0404, "Chinese_Traditional_Bopomofo", Some(Cp950)),
    (0x4_0411, "Japanese_Bushu_Kakusu", Some(Cp932)),
];

/// Windows locales without a collation of their own.
const LOCALES: &[(CodePage, &[u32])] = &[
    (Cp1250, &[0x101A, 0x181A]),
    (Cp1251, &[0x0402, 0x0423, 0x0428, 0x0440, 0x0450, 0x0843, 0x1C1A, 0x281A]),
    (
        Cp1252,
        &[
            0x0403, 0x0407, 0x0410, 0x0413, 0x0416, 0x041D, 0x0421, 0x042D, 0x0432, 0x0434, 0x0435, 0x0436, 0x0438,
            0x043E, 0x0441, 0x0456, 0x0464, 0x0468, 0x046A, 0x046B, 0x046C, 0x046E, 0x046F, 0x0470, 0x0482, 0x0484,
            0x0486, 0x0487, 0x0488, 0x0807, 0x0809, 0x080A, 0x080C, 0x0810, 0x0813, 0x0814, 0x0816, 0x081D, 0x082E,
            0x083C, 0x083E, 0x085D, 0x086B, 0x0C07, 0x0C09, 0x0C0C, 0x0C3B, 0x0C6B, 0x1007, 0x1009, 0x100A, 0x100C,
            0x103B, 0x1407, 0x1409, 0x140A, 0x140C, 0x143B, 0x1809, 0x180A, 0x180C, 0x183B, 0x1C09, 0x1C0A, 0x1C3B,
            0x2009, 0x200A, 0x203B, 0x2409, 0x240A, 0x243B, 0x2809, 0x280A, 0x2C09, 0x2C0A, 0x3009, 0x300A, 0x3409,
            0x340A, 0x380A, 0x3C0A, 0x4009, 0x400A, 0x4409, 0x440A, 0x4809, 0x480A, 0x4C0A, 0x500A, 0x540A,
        ],
    ),
    (
        Cp1256,
        &[
            0x0801, 0x0C01, 0x1001, 0x1401, 0x1801, 0x1C01, 0x2001, 0x2401, 0x2801, 0x2C01, 0x3001, 0x3401, 0x3801,
            0x3C01, 0x4001,
        ],
    ),
    (Cp936, &[0x1004]),
];

/// The sort ids of the SQL collations (`SQL_…`), which count before the LCID.
const SORT_IDS: &[(RangeInclusive<u8>, CodePage)] = &[
    (30..=35, Cp437),
    (40..=45, Cp850),
    (49..=49, Cp850),
    (50..=54, Cp1252),
    (55..=61, Cp850),
    (71..=75, Cp1252),
    (80..=98, Cp1250),
    (104..=108, Cp1251),
    (112..=114, Cp1253),
    (120..=122, Cp1253),
    (124..=124, Cp1253),
    (128..=130, Cp1254),
    (136..=138, Cp1255),
    (144..=146, Cp1256),
    (152..=160, Cp1257),
    (183..=186, Cp1252),
    (192..=193, Cp932),
    (194..=195, Cp949),
    (196..=197, Cp950),
    (198..=199, Cp936),
    (200..=200, Cp932),
    (201..=201, Cp949),
    (202..=202, Cp950),
    (203..=203, Cp936),
    (204..=206, Cp874),
    (210..=217, Cp1252),
];

/// The parts of a name that say how it compares, not which language's letters it holds.
const STYLES: &[&str] = &[
    "80", "90", "100", "140", "160", "BIN", "BIN2", "CI", "CS", "AI", "AS", "KS", "KI", "WS", "WI", "VSS", "SC",
    "UTF8", "PREF",
];

/// The flag of a UTF-8 collation in the bytes on the wire (MS-TDS 2.2.5.1.2: fUTF8).
const UTF8: u32 = 0x0400_0000;

/// By the bytes on the wire; none: not in the tables.
pub(crate) fn of_wire(collation: SqlCollation) -> Option<Stored> {
    if collation.info & UTF8 != 0 {
        return Some(Stored::Utf8);
    }
    if collation.sort_id != 0 {
        let found = SORT_IDS.iter().find(|(ids, _)| ids.contains(&collation.sort_id));
        return found.map(|(_, page)| Stored::In(*page));
    }
    let lcid = lcid(collation);
    if let Some((_, _, page)) = WINDOWS.iter().find(|(id, ..)| *id == lcid) {
        return Some(page.map_or(Stored::UnicodeOnly, Stored::In));
    }
    LOCALES.iter().find(|(_, ids)| ids.contains(&lcid)).map(|(page, _)| Stored::In(*page))
}

/// The 20 bits of the locale and its order.
pub(crate) fn lcid(collation: SqlCollation) -> u32 {
    collation.info & 0x000F_FFFF
}

/// By its name, in any case; none: not in the tables.
///
/// A name that says its code page (`SQL_Latin1_General_CP850_BIN`) has it; CP1 is 1252. Other names are a designator of the
/// table and how it compares.
pub(crate) fn of_name(name: &str) -> Option<Stored> {
    let parts: Vec<&str> = name.split('_').collect();
    if parts.iter().any(|part| part.eq_ignore_ascii_case("UTF8")) {
        return Some(Stored::Utf8);
    }
    let said = parts.iter().find_map(|part| {
        let digits = part.strip_prefix("CP").or_else(|| part.strip_prefix("cp"))?;
        digits.parse::<u16>().ok()
    });
    if let Some(number) = said {
        return CodePage::of_number(if number == 1 { 1252 } else { number }).map(Stored::In);
    }
    let is_style = |part: &&&str| STYLES.iter().any(|style| style.eq_ignore_ascii_case(part));
    let kept = parts.len() - parts.iter().rev().take_while(is_style).count();
    let designator = parts[..kept].join("_");
    let (_, _, page) = WINDOWS.iter().find(|(_, known, _)| known.eq_ignore_ascii_case(&designator))?;
    Some(page.map_or(Stored::UnicodeOnly, Stored::In))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(lcid: u32, sort_id: u8) -> SqlCollation {
        let [a, b, c, d] = lcid.to_le_bytes();
        SqlCollation::try_from([a, b, c, d, sort_id].as_slice()).unwrap()
    }

    /// tiberius has a table of its own, of the 16 bits without the order. It reads no code page of DOS.
    fn by_tiberius(collation: SqlCollation) -> Option<&'static encoding_rs::Encoding> {
        tiberius::Collation::new(collation.info, collation.sort_id).encoding().ok()
    }

    fn single_byte(stored: Option<Stored>) -> Option<&'static encoding_rs::Encoding> {
        match stored {
            Some(Stored::In(page)) => page.encoding().filter(|encoding| encoding.is_single_byte()),
            _ => None,
        }
    }

    #[test]
    fn no_lcid_stands_twice_with_two_code_pages() {
        let mut seen = std::collections::BTreeMap::new();
        for (lcid, name, page) in WINDOWS {
            assert_eq!(*seen.entry(*lcid).or_insert(*page), *page, "{name}");
        }
        for (page, lcids) in LOCALES {
            for lcid in *lcids {
                assert_eq!(seen.insert(*lcid, Some(*page)), None, "{lcid:#x}");
            }
        }
    }

    #[test]
    fn tiberius_decodes_every_single_byte_collation_as_we_do() {
        let lcids =
            WINDOWS.iter().map(|(lcid, ..)| *lcid).chain(LOCALES.iter().flat_map(|(_, lcids)| lcids.iter().copied()));
        // en-Cyrl-RS is newer than its table.
        for collation in
            lcids.filter(|lcid| *lcid != 0x281A).map(|lcid| wire(lcid, 0)).chain((1..=255).map(|id| wire(0x0409, id)))
        {
            if let Some(ours) = single_byte(of_wire(collation)) {
                assert_eq!(by_tiberius(collation), Some(ours), "{collation:?}");
            }
        }
    }

    #[test]
    fn every_sort_id_that_tiberius_knows_is_known() {
        for id in 1..=255 {
            if by_tiberius(wire(0x0409, id)).is_some() {
                assert!(of_wire(wire(0x0409, id)).is_some(), "{id}");
            }
        }
    }

    #[test]
    fn names_and_bytes_say_the_same() {
        for (lcid, designator, _) in WINDOWS {
            for style in ["CI_AS", "100_CS_AS_KS_WS_SC", "90_BIN", "BIN2", "140_CI_AI_VSS"] {
                assert_eq!(of_name(&format!("{designator}_{style}")), of_wire(wire(*lcid, 0)), "{designator}");
            }
            assert_eq!(of_name(&format!("{designator}_100_CI_AS_SC_UTF8")), Some(Stored::Utf8));
        }
        for (name, page) in [
            ("SQL_Latin1_General_CP1_CI_AS", Cp1252),
            ("SQL_Latin1_General_Pref_CP437_CI_AS", Cp437),
            ("SQL_1xCompat_CP850_CI_AS", Cp850),
            ("SQL_EBCDIC037_CP1_CS_AS", Cp1252),
            ("sql_latin1_general_cp1250_cs_as", Cp1250),
            ("bbf_unicode_cp1_ci_as", Cp1252),
        ] {
            assert_eq!(of_name(name), Some(Stored::In(page)), "{name}");
        }
        for unknown in ["", "CI_AS", "Klingon_CI_AS", "bbf_unicode_general_ci_as", "SQL_Latin1_General_CP1047_BIN"] {
            assert_eq!(of_name(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn unknown_bytes_are_unknown() {
        for (lcid, sort_id) in
            [(0, 0), (0x0F_FFFF, 0), (0x0409, 1), (0x0409, 99), (0x0409, 255), (0x5_0411, 0), (0x1_0409, 0)]
        {
            assert_eq!(of_wire(wire(lcid, sort_id)), None, "{lcid:#x} {sort_id}");
        }
        assert_eq!(of_wire(wire(0x0439, 0)), Some(Stored::UnicodeOnly));
        // The SQL collation counts, whatever the locale.
        assert_eq!(of_wire(wire(0x0419, 52)), Some(Stored::In(Cp1252)));
    }
}
