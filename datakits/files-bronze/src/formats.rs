//! How dates and times are written, in the notation of strftime, and whether their type holds all of it.
//!
//! The host reads what a format says and keeps what the type has: an offset that a `timestamp` cannot have, or the time of a
//! `date`, would go without a word. So such a format is refused before anything is read.

use datakit_sdk::files::FileColumn;
use datakit_sdk::{Error, TableId};

use crate::errors;

/// What a format says of a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Parts {
    date: bool,
    time: bool,
    offset: bool,
    /// Seconds since 1970, which are a moment without more.
    epoch: bool,
    /// The name of a zone, which nobody reads.
    zone: bool,
}

/// Refuses a format that says more than the column's type holds, or less than it needs.
///
/// # Errors
/// The settings' error, with what to declare instead.
pub fn check(table: &TableId, column: &FileColumn) -> Result<(), Error> {
    let Some(format) = &column.format else { return Ok(()) };
    let told = match parts(format) {
        Err(unknown) => Some((format!("`{unknown}` in it means nothing"), "see `format` in docs/files.md")),
        Ok(parts) => problem(parts, &column.arrow_type).map(|(what, hint)| (what.to_owned(), hint)),
    };
    let Some((what, hint)) = told else { return Ok(()) };
    let message = format!("the column `{}` of {table} cannot have the format `{format}`: {what}", column.name);
    Err(Error::config(errors::SETTING, message)
        .with_hint(hint)
        .with_context("table", table)
        .with_context("column", &column.name))
}

/// What is wrong with a format of a type, and what to do.
fn problem(parts: Parts, arrow_type: &str) -> Option<(&'static str, &'static str)> {
    let Parts { date, time, offset, epoch, zone } = parts;
    let told = match arrow_type {
        "Date32" if offset || zone => ("a date has no offset", "declare it as `timestamptz`"),
        "Date32" if time || epoch => ("a date has no time of day, which would be lost", "declare it as `timestamp`"),
        "Date32" if !date => ("it has no date", "see `format` in docs/files.md"),
        "Time64(ns)" if date || offset || zone || epoch => {
            ("a time has no date and no offset, which would be lost", "declare it as `timestamp` or `timestamptz`")
        }
        "Time64(ns)" if !time => ("it has no time of day", "declare it as `date`"),
        "Timestamp(us)" if offset => ("a timestamp has no offset, which would be lost", "declare it as `timestamptz`"),
        "Timestamp(us, UTC)" if !offset && !epoch => {
            ("a timestamptz needs an offset (`%z`)", "declare it as `timestamp`, whose times are of no zone")
        }
        "Timestamp(us)" if zone => ("the name of a zone is not read, and would be lost", "declare it as `text`"),
        "Timestamp(us)" | "Timestamp(us, UTC)" if !date && !epoch => ("it has no date", "declare it as `time`"),
        "Date32" | "Time64(ns)" | "Timestamp(us)" | "Timestamp(us, UTC)" => return None,
        _ => ("its type has none", "only `date`, `time`, `timestamp` and `timestamptz` have a `format`"),
    };
    Some(told)
}

/// What the specifiers of a format say, or the one that is none.
fn parts(format: &str) -> Result<Parts, String> {
    let mut parts = Parts::default();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        let specifier = &rest[at + 1..];
        // `%-d`, `%.3f`, `%:z` and their like.
        let modifiers =
            specifier.len() - specifier.trim_start_matches(['-', '_', '.', ':', '#', '0', '3', '6', '9']).len();
        let letter = specifier[modifiers..].chars().next();
        let length = modifiers + letter.map_or(0, char::len_utf8);
        match letter {
            Some(
                'C' | 'Y' | 'y' | 'q' | 'G' | 'g' | 'm' | 'b' | 'B' | 'h' | 'd' | 'e' | 'a' | 'A' | 'w' | 'u' | 'U'
                | 'W' | 'V' | 'j' | 'D' | 'x' | 'F' | 'v',
            ) => parts.date = true,
            Some('H' | 'k' | 'I' | 'l' | 'P' | 'p' | 'M' | 'S' | 'f' | 'R' | 'T' | 'X' | 'r') => parts.time = true,
            Some('c') => (parts.date, parts.time) = (true, true),
            Some('+') => (parts.date, parts.time, parts.offset) = (true, true, true),
            Some('z') => parts.offset = true,
            Some('Z') => parts.zone = true,
            Some('s') => parts.epoch = true,
            Some('t' | 'n' | '%') if modifiers == 0 => {}
            _ => return Err(format!("%{}", &specifier[..length])),
        }
        rest = &specifier[length..];
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use datakit_sdk::files::Origin;
    use proptest::prelude::*;

    use super::*;

    fn told(arrow_type: &str, format: &str) -> Option<String> {
        let table = TableId::new("files", "t");
        let column = FileColumn {
            name: "c".into(),
            arrow_type: arrow_type.into(),
            from: Origin::Field,
            format: Some(format.into()),
            strict: false,
        };
        let error = check(&table, &column).err()?;
        assert_eq!(error.code, errors::SETTING);
        let (_, told) = error.message.split_once("`: ").unwrap();
        Some(told.split("; hint: ").next().unwrap().to_owned())
    }

    #[test]
    fn a_format_says_what_its_type_holds() {
        let fine = [
            ("Date32", "%d.%m.%Y"),
            ("Date32", "100%% %-d %b %y"),
            ("Time64(ns)", "%I:%M:%S%.3f %p"),
            ("Timestamp(us)", "%Y%m%d%H%M%S%6f"),
            ("Timestamp(us)", "%d/%m/%Y"),
            ("Timestamp(us)", "%s"),
            ("Timestamp(us, UTC)", "%c %:z"),
            ("Timestamp(us, UTC)", "%+"),
            ("Timestamp(us, UTC)", "%F %T %z %Z"),
            ("Timestamp(us, UTC)", "%s"),
        ];
        for (arrow_type, format) in fine {
            assert_eq!(told(arrow_type, format), None, "{arrow_type} {format}");
        }
        let refused = [
            ("Timestamp(us)", "%F %T%z", "a timestamp has no offset, which would be lost"),
            ("Timestamp(us)", "%+", "a timestamp has no offset, which would be lost"),
            ("Timestamp(us)", "%F %T %Z", "the name of a zone is not read, and would be lost"),
            ("Date32", "%d.%m.%Y %H:%M", "a date has no time of day, which would be lost"),
            ("Date32", "%F%:z", "a date has no offset"),
            ("Date32", "%H", "a date has no time of day, which would be lost"),
            ("Date32", "day", "it has no date"),
            ("Time64(ns)", "%F %T", "a time has no date and no offset, which would be lost"),
            ("Timestamp(us, UTC)", "%F %T", "a timestamptz needs an offset (`%z`)"),
            ("Timestamp(us, UTC)", "%F %T %Z", "a timestamptz needs an offset (`%z`)"),
            ("Timestamp(us)", "%T", "it has no date"),
            ("Int64", "%d", "its type has none"),
            ("Date32", "%d.%m.%Ö", "`%Ö` in it means nothing"),
            ("Date32", "%Y-%m-%d%", "`%` in it means nothing"),
        ];
        for (arrow_type, format, expected) in refused {
            assert_eq!(told(arrow_type, format).as_deref(), Some(expected), "{arrow_type} {format}");
        }
    }

    proptest! {
        #[test]
        fn any_format_fits_or_does_not(format in any::<String>(), also in "[%a-zA-Z.:#0-9é-]{0,20}") {
            for format in [format, also] {
                let _ = told("Timestamp(us)", &format);
            }
        }
    }
}
