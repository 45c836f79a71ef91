//! Types from texts: no type that would change what a text says.
//!
//! Leading zeros stay text, since `007` is no number but a name. Numbers of the same count of decimals are decimals,
//! others floats while those are exact, dates and times are ISO 8601 or text. The count says nothing in JSON, whose writers
//! leave out zeros: there all numbers with decimals are floats while those are exact.

use std::borrow::Cow;

/// What the texts of one column have in common.
#[derive(Debug, Clone)]
pub struct Guess {
    values: u64,
    boolean: bool,
    number: bool,
    exponent: bool,
    /// A float is neither infinite nor nothing in their place.
    float: bool,
    /// Their count of decimals says nothing.
    free_scale: bool,
    bigint: bool,
    date: bool,
    timestamp: bool,
    timestamptz: bool,
    /// One of them is `-0`, which no integer is.
    negative_zero: bool,
    /// The least and the most digits after the point.
    scales: Option<(usize, usize)>,
    /// The most digits before the point, and in all.
    whole_digits: usize,
    digits: usize,
}

/// Digits that a float keeps.
const FLOAT_DIGITS: usize = 15;
/// Digits that a decimal has.
const DECIMAL_DIGITS: usize = 38;

impl Default for Guess {
    fn default() -> Self {
        Self {
            values: 0,
            boolean: true,
            number: true,
            exponent: false,
            float: true,
            free_scale: false,
            bigint: true,
            date: true,
            timestamp: true,
            timestamptz: true,
            negative_zero: false,
            scales: None,
            whole_digits: 0,
            digits: 0,
        }
    }
}

impl Guess {
    /// Takes one more value into account.
    pub fn see(&mut self, text: &str) {
        self.see_written(text, false);
    }

    /// The same of a value whose numbers may be written with a comma; a point is then a mark of thousands.
    pub fn see_written(&mut self, text: &str, decimal_comma: bool) {
        let with_point = match decimal_comma {
            true if text.contains('.') => None,
            true => Some(Cow::Owned(text.replacen(',', ".", 1))),
            false => Some(Cow::Borrowed(text)),
        };
        self.see_value(text, with_point.as_deref());
    }

    fn see_value(&mut self, text: &str, as_number: Option<&str>) {
        self.values += 1;
        self.boolean &= text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false");
        match as_number.and_then(|text| Some((text, number(text)?))) {
            Some((text, Number { whole, fraction, exponent })) => {
                self.exponent |= exponent;
                self.float &= is_float(text);
                self.negative_zero |= text == "-0";
                self.bigint &= fraction == 0 && !exponent && text != "-0" && text.parse::<i64>().is_ok();
                let (least, most) = self.scales.unwrap_or((fraction, fraction));
                self.scales = Some((least.min(fraction), most.max(fraction)));
                self.whole_digits = self.whole_digits.max(whole);
                self.digits = self.digits.max(whole + fraction);
            }
            None => self.number = false,
        }
        let moment = moment(text);
        self.date &= moment == Some(Moment::Date);
        self.timestamp &= matches!(moment, Some(Moment::Date | Moment::Timestamp));
        self.timestamptz &= moment == Some(Moment::WithOffset);
    }

    /// Takes one more number of a JSON document into account.
    pub fn see_json_number(&mut self, text: &str) {
        self.see(text);
        self.free_scale = true;
    }

    /// The Arrow type that holds all of them as they are.
    #[must_use]
    pub fn arrow_type(&self) -> String {
        let simple = match self {
            Self { values: 0, .. } => "Utf8",
            Self { boolean: true, .. } => "Boolean",
            Self { number: true, .. } => return self.numeric_type(),
            Self { date: true, .. } => "Date32",
            Self { timestamp: true, .. } => "Timestamp(us)",
            Self { timestamptz: true, .. } => "Timestamp(us, UTC)",
            _ => "Utf8",
        };
        simple.to_owned()
    }

    fn numeric_type(&self) -> String {
        let (least, most) = self.scales.unwrap_or_default();
        if self.negative_zero && !self.free_scale {
            return "Utf8".to_owned();
        }
        let fits_decimal = !self.exponent && !self.negative_zero && self.whole_digits + most <= DECIMAL_DIGITS;
        let is_one_scale = least == most && (most == 0 || !self.free_scale);
        if self.bigint {
            "Int64".to_owned()
        } else if is_one_scale && fits_decimal {
            format!("Decimal128({DECIMAL_DIGITS}, {most})")
        } else if self.float && self.digits <= FLOAT_DIGITS {
            "Float64".to_owned()
        } else if fits_decimal {
            format!("Decimal128({DECIMAL_DIGITS}, {most})")
        } else {
            "Utf8".to_owned()
        }
    }
}

/// Counts of digits, and whether there is an exponent.
struct Number {
    whole: usize,
    fraction: usize,
    exponent: bool,
}

/// `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`: the numbers of JSON.
fn number(text: &str) -> Option<Number> {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let plain = digits(whole) && (whole == "0" || !whole.starts_with('0'));
    let is_number = plain && fraction.is_none_or(digits) && exponent.is_none_or(digits);
    is_number.then(|| Number {
        whole: whole.len(),
        fraction: fraction.map_or(0, str::len),
        exponent: exponent.is_some(),
    })
}

/// Whether a float can stand for a number: `1e400` would be infinite, `1e-400` nothing.
fn is_float(text: &str) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let is_zero = mantissa.bytes().all(|byte| matches!(byte, b'-' | b'.' | b'0'));
    text.parse::<f64>().is_ok_and(|value| value.is_finite() && (value != 0.0 || is_zero))
}

/// What a text says of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Date,
    Timestamp,
    WithOffset,
}

fn moment(text: &str) -> Option<Moment> {
    if !is_date(text.get(..10)?) {
        return None;
    }
    let rest = &text[10..];
    if rest.is_empty() {
        return Some(Moment::Date);
    }
    let rest = rest.strip_prefix(['T', ' '])?;
    let end = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (time, offset) = rest.split_at(end);
    match offset {
        _ if !is_time(time.trim_end_matches(' ')) => None,
        "" if time.ends_with(' ') => None,
        "" => Some(Moment::Timestamp),
        offset => is_offset(offset).then_some(Moment::WithOffset),
    }
}

/// The text's digits in the places of `0` in the pattern, as numbers parted by all else.
fn numbers(text: &str, pattern: &str) -> Option<Vec<u32>> {
    let fits = |(c, p): (char, char)| if p == '0' { c.is_ascii_digit() } else { c == p };
    let matches = text.len() == pattern.len() && text.chars().zip(pattern.chars()).all(fits);
    matches.then(|| text.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect())
}

fn is_date(text: &str) -> bool {
    let Some(parts) = numbers(text, "0000-00-00") else { return false };
    let [year, month, day] = parts[..] else { return false };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    year > 0 && (1..=days).contains(&day)
}

/// To the microsecond, which is what a timestamp holds.
fn is_time(text: &str) -> bool {
    let (clock, fraction) = match text.split_once('.') {
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (text, None),
    };
    let fits = |fraction: &str| (1..=6).contains(&fraction.len()) && fraction.bytes().all(|b| b.is_ascii_digit());
    let parts = match fraction {
        Some(fraction) if !fits(fraction) => None,
        Some(_) => numbers(clock, "00:00:00"),
        None => numbers(clock, "00:00:00").or_else(|| numbers(clock, "00:00")),
    };
    parts.is_some_and(|parts| parts[0] < 24 && parts[1..].iter().all(|part| *part < 60))
}

fn is_offset(text: &str) -> bool {
    if text.eq_ignore_ascii_case("z") {
        return true;
    }
    let rest = &text[1..];
    let parts = numbers(rest, "00:00").or_else(|| numbers(rest, "00"));
    match (parts.as_deref(), numbers(rest, "0000").as_deref()) {
        (Some([hours]), _) => *hours < 24,
        (Some([hours, minutes]), _) => *hours < 24 && *minutes < 60,
        (_, Some([both])) => both / 100 < 24 && both % 100 < 60,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(texts: &[&str]) -> String {
        let mut guess = Guess::default();
        texts.iter().for_each(|text| guess.see(text));
        guess.arrow_type()
    }

    #[test]
    fn no_type_changes_what_a_text_says() {
        assert_eq!(of(&[]), "Utf8");
        assert_eq!(of(&["1", "-20", "0"]), "Int64");
        assert_eq!(of(&["1", "007"]), "Utf8", "leading zeros");
        assert_eq!(of(&["1", "+7"]), "Utf8");
        assert_eq!(of(&["1", "-0"]), "Utf8", "no integer is a negative zero");
        assert_eq!(of(&["1", "-00.5"]), "Utf8");
        assert_eq!(of(&["9223372036854775808", "1"]), "Decimal128(38, 0)", "more than 64 bits");
        assert_eq!(of(&["1".repeat(39).as_str()]), "Utf8", "more than a decimal");
        assert_eq!(of(&["12.50", "-3.99"]), "Decimal128(38, 2)", "one scale is money");
        assert_eq!(of(&["12.5", "3.25", "7"]), "Float64");
        assert_eq!(of(&["1e5", "2"]), "Float64");
        assert_eq!(of(&["1234567890123456.5", "1.25"]), "Decimal128(38, 2)", "a float would lose digits");
        assert_eq!(of(&["true", "FALSE"]), "Boolean");
        assert_eq!(of(&["1", "0"]), "Int64", "no booleans");
        assert_eq!(of(&["true", "1"]), "Utf8");
        assert_eq!(of(&["2026-02-28", "2024-02-29"]), "Date32");
        assert_eq!(of(&["2026-02-29"]), "Utf8", "no such day");
        assert_eq!(of(&["0000-01-01"]), "Utf8", "no such year");
        assert_eq!(of(&["28.02.2026"]), "Utf8");
        assert_eq!(of(&["2026-02-28", "2026-02-28T10:00"]), "Timestamp(us)");
        assert_eq!(of(&["2026-02-28 10:00:00.123456"]), "Timestamp(us)");
        assert_eq!(of(&["2026-02-28 10:00:00.1234567"]), "Utf8", "a digit would be lost");
        assert_eq!(
            of(&["2026-02-28T10:00:00Z", "2026-02-28T10:00:00+02:00", "2026-02-28T10:00:00-0500"]),
            "Timestamp(us, UTC)"
        );
        assert_eq!(of(&["2026-02-28T10:00:00Z", "2026-02-28T10:00:00"]), "Utf8");
        assert_eq!(of(&["1", "x"]), "Utf8");
    }

    #[test]
    fn no_type_changes_what_a_number_of_json_says() {
        let of = |texts: &[&str]| {
            let mut guess = Guess::default();
            texts.iter().for_each(|text| guess.see_json_number(text));
            guess.arrow_type()
        };
        assert_eq!(of(&["1", "-20"]), "Int64");
        assert_eq!(of(&["18446744073709551616", "1"]), "Decimal128(38, 0)", "more than 64 bits");
        assert_eq!(of(&["1.5", "2.5"]), "Float64", "2.25 may come, and 2.50 is written 2.5");
        assert_eq!(of(&["12345678901234.567"]), "Decimal128(38, 3)", "a float would lose digits");
        assert_eq!(of(&["12345678901234.567", "1"]), "Decimal128(38, 3)");
        assert_eq!(of(&["1.2345678901234567e-7"]), "Utf8", "neither holds it");
        assert_eq!(of(&["1e400"]), "Utf8", "a float would be infinite");
        assert_eq!(of(&["1e-400"]), "Utf8", "a float would be nothing");
        assert_eq!(of(&["0e10", "-0.0"]), "Float64");
        assert_eq!(of(&["1", "-0"]), "Float64", "keeps the sign");
    }

    #[test]
    fn point_marks_thousands_where_numbers_have_a_comma() {
        let of = |texts: &[&str]| {
            let mut guess = Guess::default();
            texts.iter().for_each(|text| guess.see_written(text, true));
            guess.arrow_type()
        };
        assert_eq!(of(&["1,50", "2,25"]), "Decimal128(38, 2)");
        assert_eq!(of(&["1.500", "2.250"]), "Utf8", "1,500 or 1.5?");
        assert_eq!(of(&["2026-02-28 10:00:00.5"]), "Timestamp(us)");
        assert_eq!(of(&["2026-02-28 10:00:00,5"]), "Utf8");
    }

    proptest! {
        #[test]
        fn any_text_has_a_type(texts in prop::collection::vec(any::<String>(), 0..4), also in "[-+0-9:TZe. ]{0,30}") {
            let texts: Vec<&str> = texts.iter().map(String::as_str).chain([also.as_str()]).collect();
            prop_assert!(!of(&texts).is_empty());
        }

        #[test]
        fn integers_are_integers(values in prop::collection::vec(any::<i64>(), 1..5)) {
            let texts: Vec<String> = values.iter().map(ToString::to_string).collect();
            prop_assert_eq!(of(&texts.iter().map(String::as_str).collect::<Vec<_>>()), "Int64");
        }
    }
}
