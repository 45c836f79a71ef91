//! From text to values: exact, or a reason why not.
//!
//! Numbers, dates and times are read in one form each, and nothing is rounded: a value that the type does not hold as it
//! stands is a reason to reject its row.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use arrow::datatypes::{DataType, TimeUnit};
use chrono::format::{Fixed, Item, Parsed, StrftimeItems};
use chrono::{Datelike as _, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use datakit_model::printable::is_printable;

/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59.999999Z.
const FIRST_MICROS: i64 = -62_135_596_800_000_000;
const LAST_MICROS: i64 = 253_402_300_799_999_999;
/// Decimals have at most so many digits.
const MAX_PRECISION: u8 = 38;
/// What an error shows of a value, in characters.
const SHOWN_CHARACTERS: usize = 40;

/// The types that a field can be read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldType {
    Boolean,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    Decimal { precision: u8, scale: i8 },
    Date,
    Time,
    Timestamp,
    TimestampUtc,
    Text,
}

impl TryFrom<&DataType> for FieldType {
    type Error = String;

    fn try_from(data_type: &DataType) -> Result<Self, String> {
        let found = match data_type {
            DataType::Boolean => Self::Boolean,
            DataType::Int16 => Self::Int16,
            DataType::Int32 => Self::Int32,
            DataType::Int64 => Self::Int64,
            DataType::Float32 => Self::Float32,
            DataType::Float64 => Self::Float64,
            DataType::Date32 => Self::Date,
            DataType::Time64(TimeUnit::Nanosecond) => Self::Time,
            DataType::Timestamp(TimeUnit::Microsecond, None) => Self::Timestamp,
            DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if &**zone == "UTC" => Self::TimestampUtc,
            DataType::Utf8 => Self::Text,
            DataType::Decimal128(precision, scale) if is_decimal(*precision, *scale) => {
                Self::Decimal { precision: *precision, scale: *scale }
            }
            _ => return Err(format!("files are not read as the type `{data_type}`")),
        };
        Ok(found)
    }
}

fn is_decimal(precision: u8, scale: i8) -> bool {
    (1..=MAX_PRECISION).contains(&precision) && u8::try_from(scale).is_ok_and(|scale| scale <= precision)
}

impl FieldType {
    pub(super) fn arrow(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int16 => DataType::Int16,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Decimal { precision, scale } => DataType::Decimal128(precision, scale),
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Nanosecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::TimestampUtc => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Text => DataType::Utf8,
        }
    }
}

impl fmt::Display for FieldType {
    /// For people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boolean => "true or false",
            Self::Int16 => "an integer of 16 bits",
            Self::Int32 => "an integer of 32 bits",
            Self::Int64 => "an integer of 64 bits",
            Self::Float32 | Self::Float64 => "a number",
            Self::Decimal { precision, scale } => {
                return write!(f, "a decimal of {precision} digits, {scale} of them after the point");
            }
            Self::Date => "a date (YYYY-MM-DD)",
            Self::Time => "a time (hh:mm:ss)",
            Self::Timestamp => "a timestamp without offset (YYYY-MM-DDThh:mm:ss, at most six digits of a second)",
            Self::TimestampUtc => "a timestamp with offset (YYYY-MM-DDThh:mm:ss+hh:mm, at most six digits of a second)",
            Self::Text => "text",
        })
    }
}

impl FieldType {
    /// Whether a format says how its values are written.
    pub(super) fn has_format(self) -> bool {
        matches!(self, Self::Date | Self::Time | Self::Timestamp | Self::TimestampUtc)
    }
}

/// How dates and times are written, in the notation of strftime: read once, and used for all values of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TimeFormat {
    text: String,
    items: Vec<Item<'static>>,
}

impl TryFrom<String> for TimeFormat {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let items = StrftimeItems::new(&text).parse_to_owned();
        let items = items.map_err(|_| format!("`{text}` is no format of dates and times"))?;
        // Its name is passed over by the library, and is no offset.
        if items.contains(&Item::Fixed(Fixed::TimezoneName)) && !text.contains('z') {
            return Err(format!("the format `{text}` has the name of a zone, which is not read, and no offset"));
        }
        Ok(Self { text, items })
    }
}

impl fmt::Display for TimeFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TimeFormat {
    fn parse(&self, text: &str) -> Option<Parsed> {
        let mut parsed = Parsed::new();
        chrono::format::parse(&mut parsed, text, self.items.iter()).ok()?;
        Some(parsed)
    }
}

/// Whether a text has said something of the time of day.
fn has_time(parsed: &Parsed) -> bool {
    let fields = [parsed.hour_div_12(), parsed.hour_mod_12(), parsed.minute(), parsed.second(), parsed.nanosecond()];
    fields.iter().any(Option::is_some) || parsed.timestamp().is_some()
}

/// A value as the start of what a person sees of it.
pub(super) fn shown(text: &str) -> String {
    let mut start: String =
        text.chars().take(SHOWN_CHARACTERS).map(|c| if is_printable(c) { c } else { '\u{fffd}' }).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    start
}

/// How a value may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// In any form that means the value: `+7`, `007`, `1` for true.
    Lenient,
    /// As the type is written, so that nothing of the text is lost: numbers as in JSON, `true` and `false`.
    Strict,
}

/// An integer: digits, without zeros before them and only with a minus where the form is strict.
pub(super) fn integer<T: FromStr>(text: &str, form: Form) -> Option<T> {
    let is_own_form = || match text.strip_prefix('-').unwrap_or(text).as_bytes() {
        [b'0'] => text == "0",
        digits => digits.first() != Some(&b'0') && digits.iter().all(u8::is_ascii_digit),
    };
    if form == Form::Strict && !is_own_form() { None } else { text.parse().ok() }
}

/// Whether a text is a number of JSON.
fn is_json_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.strip_prefix(['+', '-']).unwrap_or(exponent)),
        None => (text, "0"),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    is_digits(whole) && (whole == "0" || !whole.starts_with('0')) && is_digits(fraction) && is_digits(exponent)
}

/// `true` and `false` in any case, and where the form is not strict `1` and `0`.
pub(super) fn boolean(text: &str, form: Form) -> Option<bool> {
    match text {
        "1" if form == Form::Lenient => Some(true),
        "0" if form == Form::Lenient => Some(false),
        _ if text.eq_ignore_ascii_case("true") => Some(true),
        _ if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// With a point where it has a comma.
pub(super) fn with_point(text: &str, decimal_comma: bool) -> Option<Cow<'_, str>> {
    if !decimal_comma {
        return Some(Cow::Borrowed(text));
    }
    // A point would be a mark of thousands: one place of it means another number.
    (!text.contains('.')).then(|| Cow::Owned(text.replacen(',', ".", 1)))
}

/// A number of 64 bits, rounded to the nearest there is: but neither infinite nor nothing in the place of another. Where the
/// form is strict, rounding must lose no digit.
pub(super) fn double(text: &str, form: Form) -> Option<f64> {
    if form == Form::Strict && !is_json_number(text) {
        return None;
    }
    let value = text.parse().ok().filter(|value: &f64| is_near(text, value.is_infinite(), *value == 0.0))?;
    (form == Form::Lenient || keeps_digits(text, value)).then_some(value)
}

/// Digits that every number of 64 bits keeps.
const DOUBLE_DIGITS: usize = 15;

/// Whether a number of JSON and the shortest text of its value have the same digits in the same places.
fn keeps_digits(text: &str, value: f64) -> bool {
    let digits = significant(text);
    digits.0.len() <= DOUBLE_DIGITS || digits == significant(&format!("{value:e}"))
}

/// The digits of a number of JSON without the zeros around them, and the place of the point before the first of them.
fn significant(text: &str) -> (Vec<u8>, i64) {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    let Some(first) = digits.iter().position(|digit| *digit != b'0') else { return (Vec::new(), 0) };
    let last = digits.iter().rposition(|digit| *digit != b'0').unwrap_or(first);
    let place = i64::try_from(whole.len()).unwrap_or(i64::MAX) - i64::try_from(first).unwrap_or(i64::MAX);
    (digits[first..=last].to_vec(), place.saturating_add(exponent.parse().unwrap_or(i64::MAX)))
}

/// A number of 32 bits, likewise.
pub(super) fn real(text: &str) -> Option<f32> {
    text.parse().ok().filter(|value: &f32| is_near(text, value.is_infinite(), *value == 0.0))
}

fn is_near(text: &str, is_infinite: bool, is_zero: bool) -> bool {
    // `inf` has no digits.
    let is_finite_text = || text.bytes().any(|byte| byte.is_ascii_digit());
    let mantissa = || text.split(['e', 'E']).next().unwrap_or_default();
    let is_zero_text = || !mantissa().bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    !(is_infinite && is_finite_text()) && (!is_zero || is_zero_text())
}

/// All digits, or none: no exponent, no blank, no digit that is lost.
pub(super) fn decimal(text: &str, precision: u8, scale: i8, form: Form) -> Option<i128> {
    if form == Form::Strict && !is_json_number(text) {
        return None;
    }
    let (negative, digits) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let scale = usize::try_from(scale).ok()?;
    let (whole, fraction) = match memchr::memchr(b'.', digits) {
        Some(point) => (&digits[..point], &digits[point + 1..]),
        None => (digits, &[][..]),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (kept, lost) = fraction.split_at(fraction.len().min(scale));
    if lost.iter().any(|digit| *digit != b'0') {
        return None;
    }
    let mut value: i128 = 0;
    for digit in whole.iter().chain(kept) {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        value = value.checked_mul(10)?.checked_add(i128::from(digit))?;
    }
    let missing = u32::try_from(scale - kept.len()).ok()?;
    value = value.checked_mul(10_i128.checked_pow(missing)?)?;
    let bound = 10_i128.checked_pow(u32::from(precision))?;
    (value < bound).then_some(if negative { -value } else { value })
}

/// Days since 1970-01-01, of `YYYY-MM-DD` or the format.
pub(super) fn date(text: &str, format: Option<&TimeFormat>) -> Option<i32> {
    let date = match format {
        Some(format) => {
            let parsed = format.parse(text)?;
            // What a date does not hold is not dropped.
            let is_date = !has_time(&parsed) && parsed.offset().is_none();
            is_date.then(|| parsed.to_naive_date().ok())??
        }
        None => iso_date(text)?,
    };
    days(date)
}

/// Of the years 0001 to 9999, which are all that SQL and the row hash have.
fn days(date: NaiveDate) -> Option<i32> {
    if !(1..=9999).contains(&date.year()) {
        return None;
    }
    i32::try_from(date.signed_duration_since(NaiveDate::default()).num_days()).ok()
}

fn iso_date(text: &str) -> Option<NaiveDate> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let number = |from: usize, to: usize| digits(&bytes[from..to]);
    NaiveDate::from_ymd_opt(i32::try_from(number(0, 4)?).ok()?, number(5, 7)?, number(8, 10)?)
}

fn digits(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0_u32, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        value.checked_mul(10)?.checked_add(u32::from(digit))
    })
}

/// Nanoseconds since midnight, of `hh:mm:ss[.f]` or the format.
pub(super) fn time(text: &str, format: Option<&TimeFormat>) -> Option<i64> {
    let time = match format {
        Some(format) => {
            let parsed = format.parse(text)?;
            let is_time = parsed.to_naive_date().is_err() && parsed.offset().is_none();
            is_time.then(|| parsed.to_naive_time().ok())??
        }
        None => iso_time(text)?,
    };
    nanoseconds(time)
}

fn nanoseconds(time: NaiveTime) -> Option<i64> {
    // A leap second is a time that Arrow's type does not have.
    (time.nanosecond() < 1_000_000_000)
        .then(|| i64::from(time.num_seconds_from_midnight()) * 1_000_000_000 + i64::from(time.nanosecond()))
}

/// `hh:mm[:ss[.fffffffff]]`
fn iso_time(text: &str) -> Option<NaiveTime> {
    let bytes = text.as_bytes();
    if bytes.len() < 5 || bytes[2] != b':' {
        return None;
    }
    let (hours, minutes) = (digits(&bytes[..2])?, digits(&bytes[3..5])?);
    let (seconds, fraction) = match &bytes[5..] {
        [] => (0, &[][..]),
        [b':', a, b] => (digits(&[*a, *b])?, &[][..]),
        [b':', a, b, b'.', fraction @ ..] if (1..=9).contains(&fraction.len()) => (digits(&[*a, *b])?, fraction),
        _ => return None,
    };
    let missing = u32::try_from(9 - fraction.len()).ok()?;
    NaiveTime::from_hms_nano_opt(hours, minutes, seconds, digits(fraction)? * 10_u32.pow(missing))
}

/// Microseconds since 1970-01-01T00:00:00, of `YYYY-MM-DD[T ]hh:mm[:ss[.ffffff]]`, a date alone, or the format.
pub(super) fn timestamp(text: &str, format: Option<&TimeFormat>) -> Option<i64> {
    let moment = match format {
        Some(format) => {
            let parsed = format.parse(text)?;
            match (parsed.offset(), has_time(&parsed)) {
                // An offset makes it another moment than the one without.
                (Some(_), _) => return None,
                (None, true) => parsed.to_naive_datetime_with_offset(0).ok()?,
                (None, false) => parsed.to_naive_date().ok()?.and_hms_opt(0, 0, 0)?,
            }
        }
        None => iso_timestamp(text)?,
    };
    micros(moment)
}

fn iso_timestamp(text: &str) -> Option<NaiveDateTime> {
    let date = iso_date(text.get(..10)?)?;
    let time = match text.get(10..)? {
        "" => NaiveTime::default(),
        rest => iso_time(rest.strip_prefix(['T', ' '])?)?,
    };
    Some(date.and_time(time))
}

fn micros(moment: NaiveDateTime) -> Option<i64> {
    let nanoseconds = nanoseconds(moment.time())?;
    // A seventh digit would be lost.
    if nanoseconds % 1000 != 0 {
        return None;
    }
    i64::from(days(moment.date())?).checked_mul(86_400_000_000)?.checked_add(nanoseconds / 1000)
}

/// Microseconds since 1970-01-01T00:00:00Z, of the same form with `Z` or an offset, or the format with an offset.
pub(super) fn timestamp_utc(text: &str, format: Option<&TimeFormat>) -> Option<i64> {
    let (moment, offset_seconds) = match format {
        Some(format) => (format.parse(text)?.to_datetime().ok()?.naive_utc(), 0),
        None => {
            // The date's own hyphens are before.
            let at = text.get(10..)?.find(['Z', 'z', '+', '-'])? + 10;
            (iso_timestamp(text.get(..at)?.trim_end_matches(' '))?, offset_seconds(text.get(at..)?)?)
        }
    };
    let micros = micros(moment)?.checked_sub(offset_seconds * 1_000_000)?;
    // The offset may lead out of the years there are.
    (FIRST_MICROS..=LAST_MICROS).contains(&micros).then_some(micros)
}

/// `Z`, `±hh:mm`, `±hhmm` or `±hh`
fn offset_seconds(text: &str) -> Option<i64> {
    let (sign, rest) = match text.as_bytes() {
        [b'Z' | b'z'] => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = match rest {
        [a, b] => (digits(&[*a, *b])?, 0),
        [a, b, b':', c, d] | [a, b, c, d] => (digits(&[*a, *b])?, digits(&[*c, *d])?),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then(|| sign * (i64::from(hours) * 3600 + i64::from(minutes) * 60))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use proptest::prelude::*;

    #[test]
    fn decimals_are_exact_or_refused() {
        assert_eq!(decimal("12.50", 18, 2, Form::Lenient), Some(1250));
        assert_eq!(decimal("-0.5", 18, 2, Form::Lenient), Some(-50));
        assert_eq!(decimal("+7", 3, 2, Form::Lenient), Some(700));
        assert_eq!(decimal(".5", 3, 2, Form::Lenient), Some(50));
        assert_eq!(decimal("1.500", 18, 1, Form::Lenient), Some(15), "zeros are no digits lost");
        let largest = "9".repeat(38);
        assert_eq!(decimal(&largest, 38, 0, Form::Lenient), Some(10_i128.pow(38) - 1));
        for refused in ["", "-", ".", "1.234", "1e3", "1,5", "0x10", "1 ", "١", "10.00"] {
            assert_eq!(decimal(refused, 3, 2, Form::Lenient), None, "{refused}");
        }
        assert_eq!(decimal(&format!("1{largest}"), 38, 0, Form::Lenient), None);
    }

    #[test]
    fn dates_and_times_have_one_form() {
        assert_eq!(date("1970-01-02", None), Some(1));
        assert_eq!(date("0001-01-01", None), Some(-719_162));
        assert_eq!(time("23:59:59.5", None), Some(86_399_500_000_000));
        assert_eq!(timestamp("1970-01-01 00:00:01.5", None), Some(1_500_000));
        assert_eq!(timestamp("1970-01-02", None), Some(86_400_000_000));
        assert_eq!(timestamp("9999-12-31T23:59:59.999999", None), Some(253_402_300_799_999_999));
        assert_eq!(timestamp_utc("1970-01-01T01:00:00+01:00", None), Some(0));
        assert_eq!(timestamp_utc("1970-01-01T00:00:00Z", None), Some(0));
        assert_eq!(timestamp_utc("1969-12-31 19:00:00 -0500", None), Some(0));
        for refused in ["2024-2-9", "2023-02-29", "20240229", "2024-02-29x", "2024/02/29", "+024-01-01"] {
            assert_eq!(date(refused, None), None, "{refused}");
        }
        for refused in ["2024-02-29T25:00:00", "2024-02-29T10:00:00.1234567", "2024-02-29T10:00:00Z", "2024-02-29 1:00"]
        {
            assert_eq!(timestamp(refused, None), None, "{refused}");
        }
        assert_eq!(timestamp_utc("2024-02-29T10:00:00", None), None, "no offset is no moment");
        assert_eq!(time("23:59:60", None), None);
    }

    #[test]
    fn what_a_format_says_is_kept_or_refused() {
        let format = |text: &str| Some(TimeFormat::try_from(text.to_owned()).unwrap());
        let (day, minute) = (format("%d.%m.%Y"), format("%d.%m.%Y %H:%M"));
        let (hour, offset) = (format("%d.%m.%Y %H"), format("%d.%m.%Y %H:%M %z"));
        let (clock, twelve) = (format("%H:%M"), format("%d.%m.%Y %I:%M"));
        assert_eq!(date("29.02.2024", day.as_ref()), date("2024-02-29", None));
        assert_eq!(date("29.02.2024 10:30", minute.as_ref()), None, "the time would be lost");
        assert_eq!(timestamp("29.02.2024 10:30", minute.as_ref()), timestamp("2024-02-29T10:30", None));
        assert_eq!(timestamp("29.02.2024", day.as_ref()), timestamp("2024-02-29", None));
        assert_eq!(timestamp("29.02.2024 10", hour.as_ref()), None, "an hour is no time");
        assert_eq!(timestamp("29.02.2024 10:30", twelve.as_ref()), None, "of which half of the day?");
        assert_eq!(timestamp("29.02.2024 10:30 +0200", offset.as_ref()), None, "the offset would be lost");
        let moment = timestamp_utc("29.02.2024 10:30 +0200", offset.as_ref());
        assert_eq!(moment, timestamp_utc("2024-02-29T08:30Z", None));
        assert_eq!(timestamp_utc("29.02.2024 10:30", minute.as_ref()), None);
        assert_eq!(time("10:30", clock.as_ref()), time("10:30", None));
        assert_eq!(time("29.02.2024 10:30", minute.as_ref()), None, "the date would be lost");
        for wrong in ["%d.%Ö", "%", "%d.%m.%Y %H:%M %Z"] {
            assert!(TimeFormat::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_number_is_not_infinite_because_it_is_large() {
        assert_eq!(double("0.1", Form::Lenient), Some(0.1));
        assert_eq!(double("-inf", Form::Lenient), Some(f64::NEG_INFINITY));
        assert!(double("NaN", Form::Lenient).is_some_and(f64::is_nan));
        assert_eq!((double("-0.0e5", Form::Lenient), real("0")), (Some(-0.0), Some(0.0)));
        for refused in ["1e400", "-1e400", "1e-400", "0.1e-400", "", "1,5"] {
            assert_eq!(double(refused, Form::Lenient), None, "{refused}");
        }
        assert_eq!((real("1e39"), real("1e-60"), real("1e38")), (None, None, Some(1e38)));
    }

    #[test]
    fn strict_form_keeps_every_character_that_means_something() {
        for (text, value) in [("0", 0), ("7", 7), ("-70", -70), ("9223372036854775807", i64::MAX)] {
            assert_eq!(integer(text, Form::Strict), Some(value));
        }
        for refused in ["00737", "+7", "-0", "", "-", "07", "-07", "1.0", " 1", "9223372036854775808"] {
            assert_eq!(integer::<i64>(refused, Form::Strict), None, "{refused}");
        }
        assert_eq!((integer("+7", Form::Lenient), integer("007", Form::Lenient)), (Some(7), Some(7)));
        assert_eq!((boolean("TRUE", Form::Strict), boolean("1", Form::Strict)), (Some(true), None));
        assert_eq!(decimal("12.5", 38, 2, Form::Strict), Some(1250));
        for refused in ["012.50", "+1.50", ".50", "1."] {
            assert_eq!(decimal(refused, 38, 2, Form::Strict), None, "{refused}");
        }
        let shortest =
            ["0.30000000000000004", "1e300", "-0.0", "123456789012345000000", "5e-324", "1.7976931348623157e308"];
        for exact in shortest {
            assert_eq!(double(exact, Form::Strict), exact.parse().ok(), "{exact}");
        }
        for refused in
            ["0.1234567890123456789", "12345678901234567.25", "NaN", "inf", ".5", "5.", "+1.5", "01.5", "1e400"]
        {
            assert_eq!(double(refused, Form::Strict), None, "{refused}");
        }
    }

    #[test]
    fn years_that_no_table_has_are_refused() {
        for refused in ["0000-12-31", "0000-01-01"] {
            assert_eq!((date(refused, None), timestamp(refused, None)), (None, None), "{refused}");
        }
        assert_eq!(timestamp_utc("9999-12-31T23:30:00-01:00", None), None, "the year 10000 of UTC");
        assert_eq!(timestamp_utc("0001-01-01T00:30:00+01:00", None), None, "before the year 1 of UTC");
        assert_eq!(timestamp_utc("9999-12-31T23:59:59.999999Z", None), Some(LAST_MICROS));
        assert_eq!(timestamp_utc("0001-01-01T00:00:00Z", None), Some(FIRST_MICROS));
        let far = TimeFormat::try_from("%Y-%m-%d".to_owned()).unwrap();
        assert_eq!(date("+12345-01-01", Some(&far)), None);
    }

    #[test]
    fn a_comma_takes_the_place_of_a_point() {
        assert_eq!(with_point("1,5", true).as_deref(), Some("1.5"));
        assert_eq!(with_point("1.234,5", true), None, "thousands are not marked");
        assert_eq!(with_point("1,5", false).as_deref(), Some("1,5"));
    }

    #[test]
    fn types_that_no_field_is_read_as_are_refused() {
        let decimal = DataType::Decimal128(18, 2);
        assert_eq!(FieldType::try_from(&decimal), Ok(FieldType::Decimal { precision: 18, scale: 2 }));
        let berlin = DataType::Timestamp(TimeUnit::Microsecond, Some("Europe/Berlin".into()));
        let milliseconds = DataType::Timestamp(TimeUnit::Millisecond, None);
        for wrong in [
            DataType::Decimal128(39, 2),
            DataType::Decimal128(2, 3),
            DataType::UInt8,
            DataType::Null,
            berlin,
            milliseconds,
        ] {
            assert!(FieldType::try_from(&wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_value_or_none(text in any::<String>(), also in "[-+0-9:TZ. ]{0,32}") {
            for text in [text.as_str(), also.as_str()] {
                let _ = (decimal(text, 38, 10, Form::Lenient), date(text, None), time(text, None), timestamp(text, None));
                let _ = (timestamp_utc(text, None), boolean(text, Form::Lenient), shown(text));
            }
        }

        #[test]
        fn strict_doubles_print_as_they_were_written(value in any::<f64>().prop_filter("a number", |value| value.is_finite())) {
            prop_assert_eq!(double(&format!("{value:e}"), Form::Strict).map(f64::to_bits), Some(value.to_bits()));
            prop_assert_eq!(double(&format!("{value:?}"), Form::Strict).map(f64::to_bits), Some(value.to_bits()));
        }

        #[test]
        fn timestamps_come_back(micros in -62_135_596_800_000_000_i64..253_402_300_800_000_000) {
            let moment = DateTime::from_timestamp_micros(micros).unwrap();
            prop_assert_eq!(timestamp(&moment.format("%Y-%m-%dT%H:%M:%S%.6f").to_string(), None), Some(micros));
            prop_assert_eq!(timestamp_utc(&moment.to_rfc3339(), None), Some(micros));
            prop_assert_eq!(date(&moment.format("%Y-%m-%d").to_string(), None), days(moment.date_naive()));
        }

        #[test]
        fn decimals_come_back(unscaled in -99_999_999_999_999_999_999_i128..99_999_999_999_999_999_999, scale in 0_i8..10) {
            let divisor = 10_i128.pow(u32::try_from(scale).unwrap());
            let sign = if unscaled < 0 { "-" } else { "" };
            let (whole, fraction) = (unscaled.abs() / divisor, unscaled.abs() % divisor);
            let width = usize::try_from(scale).unwrap();
            let text = if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction:0width$}") };
            prop_assert_eq!(decimal(&text, 38, scale, Form::Lenient), Some(unscaled));
        }
    }
}
