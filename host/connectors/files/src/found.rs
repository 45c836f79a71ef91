//! What a file seems to be of which no record can be read, and what reads it.

use super::request::{Format, FormatKind};

/// Starts of files that are no text, and what they are.
const KINDS: [(&[u8], &str, &str); 8] = [
    (b"PK\x03\x04", "a ZIP archive, as Excel workbooks are", "unpack it, or save its sheets as CSV"),
    (b"PAR1", "an Apache Parquet file", "files of this kind are not read"),
    (b"ORC", "an Apache ORC file", "files of this kind are not read"),
    (b"Obj\x01", "an Apache Avro file", "files of this kind are not read"),
    (b"BZh", "compressed by bzip2", "compress it with gzip or zstd"),
    (b"\xfd7zXZ\0", "compressed by xz", "compress it with gzip or zstd"),
    (b"\x04\x22\x4d\x18", "compressed by lz4", "compress it with gzip or zstd"),
    (b"%PDF", "a PDF document", "files of this kind are not read"),
];

/// What to do about a file with this start, of which no record can be read in this format.
pub(super) fn advice(start: &[u8], format: &Format) -> String {
    if let Some((_, what, remedy)) = KINDS.iter().find(|(magic, ..)| start.starts_with(magic)) {
        return format!("the file is {what}: {remedy}");
    }
    let first = start.trim_ascii_start().first().copied();
    let is_json = format.kind != FormatKind::Csv;
    if start.contains(&0) {
        // The characters of most texts have a zero in one of their two bytes.
        let zeros = |odd: usize| start.iter().skip(odd).step_by(2).filter(|byte| **byte == 0).count();
        let encoding = if zeros(1) >= zeros(0) { "utf-16le" } else { "utf-16be" };
        return format!("the file holds U+0000: set `encoding`, for example to \"{encoding}\"");
    }
    match (format.kind, first) {
        (FormatKind::JsonLines, Some(b'[' | b'{')) => {
            "the file begins as a JSON document does: set `format = \"json\"`".to_owned()
        }
        (FormatKind::Csv, Some(b'[' | b'{')) => {
            "the file begins as JSON does: set `format = \"json\"`, or `\"json_lines\"`".to_owned()
        }
        (_, Some(b'<')) => "the file begins as XML or HTML does: files of this kind are not read".to_owned(),
        _ if std::str::from_utf8(start).is_err_and(|error| error.error_len().is_some()) => {
            "the file is not UTF-8: set `encoding`, for example to \"windows-1252\"".to_owned()
        }
        (_, Some(byte)) if is_json && !matches!(byte, b'[' | b'{') => {
            "the file does not begin as JSON does: set `format = \"csv\"`".to_owned()
        }
        _ => "check `format`, `encoding`, `delimiter` and `quote` of the datakit's settings".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_what_was_found_and_the_setting() {
        let of = |kind, start: &[u8]| advice(start, &Format { kind, ..Format::default() });
        let utf16: Vec<u8> = "{\"a\":1}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = "a,b".encode_utf16().flat_map(u16::to_be_bytes).collect();
        for (kind, start, expected) in [
            (FormatKind::JsonLines, &b" [1]"[..], "format = \"json\""),
            (FormatKind::Csv, b"{\"a\":1}", "format = \"json\""),
            (FormatKind::Json, b"a,b\n1,2", "format = \"csv\""),
            (FormatKind::Csv, b"caf\xe9,x", "windows-1252"),
            (FormatKind::JsonLines, &utf16, "utf-16le"),
            (FormatKind::Csv, &big, "utf-16be"),
            (FormatKind::Csv, b"PK\x03\x04\x14\0", "ZIP archive"),
            (FormatKind::Csv, b"PAR1\x15\0", "Parquet"),
            (FormatKind::Csv, b"<html>", "HTML"),
            (FormatKind::Csv, b"a,b", "check `format`"),
        ] {
            assert!(of(kind, start).contains(expected), "{start:?}: {}", of(kind, start));
        }
    }
}
