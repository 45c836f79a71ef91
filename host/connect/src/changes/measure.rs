//! Values of a watermark column as whole numbers, so that they are compared and made less without a digit lost.

use std::fmt::Write as _;

use crate::calendar::{civil, days_from_civil};

const MILLIS_PER_DAY: i128 = 86_400_000;
const SECONDS_PER_DAY: i128 = 86_400;
/// Digits of a second that a server's clock shows.
const CLOCK_DIGITS: u8 = 7;
/// Seconds that the first zone is ahead of UTC.
const MAX_SECONDS_AHEAD: i128 = 14 * 3600;
/// Days that a text may have: beyond them no server has a date.
const MAX_DAYS: i128 = 10_000_000_000;

/// How values are written, and what number each is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `-7`
    Integer,
    /// `-12.50`: times 10^`scale`.
    Decimal {
        /// Digits behind the point.
        scale: u8,
    },
    /// `2026-01-31`: days from 1970-01-01. A year before 1 ends with ` BC`.
    Date,
    /// `2026-01-31T23:59:59.123`: seconds from 1970-01-01T00:00:00, times 10^`digits`.
    Moment {
        /// Digits of a second, 0 to 7.
        digits: u8,
        /// Written with `Z`.
        of_utc: bool,
    },
    /// `0x00000000000007D1`: eight bytes, unsigned.
    Bytes,
}

/// The values that a column can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measure {
    /// How they are written.
    pub form: Form,
    /// The least of them.
    pub least: i128,
    /// Numbers between two of them: 60 where seconds are whole minutes.
    pub step: i128,
}

impl Measure {
    /// Of values from `least` on, each of which the column can hold.
    #[must_use]
    pub fn new(form: Form, least: i128) -> Self {
        Self { form, least, step: 1 }
    }

    /// The number of a text: as [`Self::print`] writes it, or as a server does (a blank for `T`, `+00` or `+00:00` for `Z`, digits
    /// of a second left out). None: the text is not a value.
    #[must_use]
    pub fn parse(&self, text: &str) -> Option<i128> {
        match self.form {
            Form::Integer => text.parse().ok(),
            Form::Decimal { scale } => fixed(text, scale),
            Form::Date => date(text),
            Form::Moment { digits, .. } => moment(text, digits),
            Form::Bytes => {
                let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 16)?;
                digits
                    .bytes()
                    .all(|byte| byte.is_ascii_hexdigit())
                    .then(|| u64::from_str_radix(digits, 16).ok())?
                    .map(i128::from)
            }
        }
    }

    /// The text of a number.
    #[must_use]
    pub fn print(&self, value: i128) -> String {
        match self.form {
            Form::Integer => value.to_string(),
            Form::Decimal { scale } => print_fixed(value, scale),
            Form::Date => print_date(value, "", ""),
            Form::Moment { digits, of_utc } => {
                let second = 10_i128.pow(u32::from(digits));
                let (seconds, fraction) = (value.div_euclid(second), value.rem_euclid(second));
                let of_day = seconds.rem_euclid(SECONDS_PER_DAY);
                let mut time = format!("T{:02}:{:02}:{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60);
                if digits > 0 {
                    // Writing to a String cannot fail.
                    let _ = write!(time, ".{fraction:0width$}", width = usize::from(digits));
                }
                print_date(seconds.div_euclid(SECONDS_PER_DAY), &time, if of_utc { "Z" } else { "" })
            }
            Form::Bytes => format!("0x{value:016X}"),
        }
    }

    /// Whether values are dates or times, which a clock shows too.
    #[must_use]
    pub fn is_of_time(&self) -> bool {
        matches!(self.form, Form::Date | Form::Moment { .. })
    }

    /// The greatest value that is not of the future while the server's clock shows this, in UTC: of values without a zone, the time
    /// in the first zone that has it. None: the text is no time, or values are not dates or times.
    #[must_use]
    pub fn latest(&self, clock: &str) -> Option<i128> {
        let ticks = moment(clock, CLOCK_DIGITS)?;
        let ahead = ticks + MAX_SECONDS_AHEAD * power(CLOCK_DIGITS);
        let latest = match self.form {
            Form::Date => ahead.div_euclid(SECONDS_PER_DAY * power(CLOCK_DIGITS)),
            Form::Moment { digits, of_utc } => {
                let ticks = if of_utc { ticks } else { ahead };
                ticks.div_euclid(power(CLOCK_DIGITS.saturating_sub(digits)))
            }
            Form::Integer | Form::Decimal { .. } | Form::Bytes => return None,
        };
        Some(latest - latest.rem_euclid(self.step))
    }

    /// The greatest value that is less than `newest` by at least the lag: milliseconds of dates and times, else units. Without a
    /// lag it is `newest`; the least value has none below it.
    #[must_use]
    pub fn behind(&self, newest: i128, lag: u64) -> i128 {
        if lag == 0 {
            return newest;
        }
        let lag = i128::from(lag);
        let below = match self.form {
            Form::Integer | Form::Bytes => newest.saturating_sub(lag),
            Form::Decimal { scale } => newest.saturating_sub(lag.saturating_mul(power(scale))),
            Form::Date => newest.saturating_mul(MILLIS_PER_DAY).saturating_sub(lag).div_euclid(MILLIS_PER_DAY),
            Form::Moment { digits, .. } if digits >= 3 => newest.saturating_sub(lag.saturating_mul(power(digits - 3))),
            Form::Moment { digits, .. } => {
                let millis = power(3 - digits);
                newest.saturating_mul(millis).saturating_sub(lag).div_euclid(millis)
            }
        };
        (below - below.rem_euclid(self.step)).max(self.least)
    }
}

fn power(digits: u8) -> i128 {
    10_i128.checked_pow(u32::from(digits)).unwrap_or(i128::MAX)
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A decimal with at most so many digits behind the point that say something.
fn fixed(text: &str, scale: u8) -> Option<i128> {
    let (is_negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let (whole, fraction) = match digits.split_once('.') {
        Some(("", fraction)) => ("0", fraction),
        Some(parts) => parts,
        None => (digits, "0"),
    };
    if !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let missing = usize::from(scale).checked_sub(fraction.len())?;
    let value: i128 = format!("{whole}{fraction}{}", "0".repeat(missing)).parse().ok()?;
    Some(if is_negative { -value } else { value })
}

fn print_fixed(value: i128, scale: u8) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let (magnitude, unit) = (value.unsigned_abs(), power(scale).unsigned_abs());
    let (whole, fraction) = (magnitude / unit, magnitude % unit);
    match scale {
        0 => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{fraction:0width$}", width = usize::from(scale)),
    }
}

/// Days from 1970-01-01.
fn date(text: &str) -> Option<i128> {
    let (text, is_before_christ) = text.strip_suffix(" BC").map_or((text, false), |text| (text, true));
    day(text, is_before_christ)
}

fn day(text: &str, is_before_christ: bool) -> Option<i128> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let is_date = year.len() >= 4 && month.len() == 2 && day.len() == 2 && parts.next().is_none();
    if !is_date || ![year, month, day].iter().all(|part| all_digits(part)) {
        return None;
    }
    let year: i64 = year.parse().ok().filter(|year| (1..=MAX_YEAR).contains(year))?;
    let (year, month, day) = (if is_before_christ { 1 - year } else { year }, month.parse().ok()?, day.parse().ok()?);
    let days = days_from_civil(year, month, day);
    // No day of the calendar comes back as another.
    (civil(days) == (year, month, day)).then_some(i128::from(days))
}

/// No server has a year beyond.
const MAX_YEAR: i64 = 10_000_000;

/// Seconds from 1970-01-01T00:00:00, times 10^`digits`.
fn moment(text: &str, digits: u8) -> Option<i128> {
    let (text, is_before_christ) = text.strip_suffix(" BC").map_or((text, false), |text| (text, true));
    let text = ["Z", "+00:00", "+00"].iter().find_map(|zone| text.strip_suffix(zone)).unwrap_or(text);
    let (date, time) = text.split_once(['T', ' '])?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut parts = time.split(':');
    let mut part = |most: i128| -> Option<i128> {
        let text = parts.next().filter(|text| text.len() == 2 && all_digits(text))?;
        text.parse().ok().filter(|value| *value <= most)
    };
    let seconds = part(23)? * 3600 + part(59)? * 60 + part(59)?;
    if parts.next().is_some() {
        return None;
    }
    let seconds = day(date, is_before_christ)? * SECONDS_PER_DAY + seconds;
    Some(seconds * power(digits) + fixed(&format!("0.{fraction}"), digits)?)
}

/// A day with what follows it, and behind all of it the era.
fn print_date(days: i128, time: &str, zone: &str) -> String {
    let days = i64::try_from(days.clamp(-MAX_DAYS, MAX_DAYS)).unwrap_or_default();
    let (year, month, day) = civil(days);
    let (year, era) = if year < 1 { (1 - year, " BC") } else { (year, "") };
    format!("{year:04}-{month:02}-{day:02}{time}{zone}{era}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TICKS: Form = Form::Moment { digits: 7, of_utc: false };
    const MICROS: Form = Form::Moment { digits: 6, of_utc: true };

    fn of(form: Form) -> Measure {
        Measure::new(form, i128::MIN)
    }

    fn behind(form: Form, text: &str, lag: u64) -> String {
        of(form).print(of(form).behind(of(form).parse(text).unwrap(), lag))
    }

    #[test]
    fn texts_of_servers_are_read() {
        let micros = |text: &str| of(MICROS).parse(text).map(|value| of(MICROS).print(value)).unwrap_or_default();
        assert_eq!(micros("2026-01-31 23:59:59.5+00"), "2026-01-31T23:59:59.500000Z");
        assert_eq!(micros("4713-01-01 00:00:00+00 BC"), "4713-01-01T00:00:00.000000Z BC");
        assert_eq!(micros("294276-12-31 23:59:59.999999+00"), "294276-12-31T23:59:59.999999Z");
        assert_eq!(micros("0001-12-31 23:59:59.999999+00 BC"), "0001-12-31T23:59:59.999999Z BC");
        assert_eq!(of(TICKS).parse("0001-01-01T00:00:00.0000001"), Some(-621_355_968_000_000_000 + 1));
        assert_eq!(of(Form::Bytes).parse("0x00000000000007D1"), Some(2001));
        assert_eq!(of(Form::Bytes).print(i128::from(u64::MAX)), "0xFFFFFFFFFFFFFFFF");
        assert_eq!(of(Form::Decimal { scale: 2 }).parse("-.5"), Some(-50));
    }

    #[test]
    fn what_is_not_a_value_is_refused() {
        for text in [
            "",
            "2026-02-30",
            "2026-1-1",
            "26-01-01",
            "0000-01-01",
            "infinity",
            "2026-01-01T00:00:00",
            "99999999-01-01",
        ] {
            assert_eq!(of(Form::Date).parse(text), None, "{text}");
        }
        for text in
            ["2026-01-01", "2026-01-01T24:00:00", "2026-01-01T00:00:00+01", "2026-01-01T00:00:00.12345678", "infinity"]
        {
            assert_eq!(of(TICKS).parse(text), None, "{text}");
        }
        for text in ["NaN", "1.001", "1e3", "", "-", ".", &"9".repeat(40)] {
            assert_eq!(of(Form::Decimal { scale: 2 }).parse(text), None, "{text}");
        }
        for text in ["0x1", "0x+000000000007D1", "00000000000007D1", "0x00000000000007DG"] {
            assert_eq!(of(Form::Bytes).parse(text), None, "{text}");
        }
    }

    #[test]
    fn lag_is_taken_off_in_the_column_s_own_unit_and_rounded_down() {
        assert_eq!(behind(TICKS, "2026-01-01T00:00:00.1234567", 1500), "2025-12-31T23:59:58.6234567");
        assert_eq!(
            behind(Form::Moment { digits: 0, of_utc: false }, "2026-01-01T00:00:05", 500),
            "2026-01-01T00:00:04"
        );
        assert_eq!(behind(Form::Date, "2026-01-05", 1), "2026-01-04");
        assert_eq!(behind(Form::Date, "2026-01-05", 86_400_000), "2026-01-04");
        assert_eq!(behind(Form::Date, "2026-01-05", 86_400_001), "2026-01-03");
        assert_eq!(behind(Form::Integer, "5", 7), "-2");
        assert_eq!(behind(Form::Decimal { scale: 3 }, "1.250", 1), "0.250");
        assert_eq!(behind(Form::Bytes, "0x00000000000007D1", 1), "0x00000000000007D0");
        assert_eq!(behind(TICKS, "2026-01-01T00:00:00.1234567", 0), "2026-01-01T00:00:00.1234567");
    }

    #[test]
    fn lag_stops_at_the_least_value_and_between_two_minutes() {
        assert_eq!(Measure::new(Form::Integer, 0).behind(5, u64::MAX), 0);
        assert_eq!(Measure::new(Form::Decimal { scale: 38 }, 0).behind(5, u64::MAX), 0);
        let minutes = Measure { step: 60, ..Measure::new(Form::Moment { digits: 0, of_utc: false }, i128::MIN) };
        assert_eq!(
            minutes.print(minutes.behind(minutes.parse("2026-01-01T10:05:00").unwrap(), 1)),
            "2026-01-01T10:04:00"
        );
    }

    #[test]
    fn latest_value_is_that_of_the_clock_in_the_first_zone_that_has_it() {
        let latest = |measure: Measure, clock: &str| measure.latest(clock).map(|value| measure.print(value));
        let of_clock = |form: Form| latest(of(form), "2026-01-01T10:00:00.1234567").unwrap_or_default();
        assert_eq!(of_clock(MICROS), "2026-01-01T10:00:00.123456Z");
        assert_eq!(of_clock(TICKS), "2026-01-02T00:00:00.1234567");
        assert_eq!(of_clock(Form::Moment { digits: 0, of_utc: false }), "2026-01-02T00:00:00");
        assert_eq!(of_clock(Form::Date), "2026-01-02");
        assert_eq!(of_clock(Form::Integer), "");
        let minutes = Measure { step: 60, ..of(Form::Moment { digits: 0, of_utc: false }) };
        assert_eq!(latest(minutes, "2026-01-01T10:00:59").unwrap(), "2026-01-02T00:00:00");
        assert_eq!(latest(of(MICROS), "soon"), None);
    }

    proptest! {
        #[test]
        fn value_and_text_are_one(days in -1_700_000_i128..2_000_000_000, ticks in -2_000_000_000_000_000_000_i128..90_000_000_000_000_000_000, digits in 0_u8..8) {
            prop_assert_eq!(of(Form::Date).parse(&of(Form::Date).print(days)), Some(days));
            let moment = of(Form::Moment { digits, of_utc: true });
            let value = ticks / 10_i128.pow(7 - u32::from(digits));
            prop_assert_eq!(moment.parse(&moment.print(value)), Some(value));
        }

        #[test]
        fn decimal_and_text_are_one(value in -99_999_999_999_999_999_999_999_999_999_999_999_999_i128..=99_999_999_999_999_999_999_999_999_999_999_999_999, scale in 0_u8..=38) {
            let decimal = of(Form::Decimal { scale });
            prop_assert_eq!(decimal.parse(&decimal.print(value)), Some(value));
        }

        #[test]
        fn no_text_is_a_panic(text in "\\PC{0,40}", like in "[-+0-9:TZ. BC]{0,32}") {
            for text in [&text, &like] {
                for form in [Form::Integer, Form::Decimal { scale: 38 }, Form::Date, TICKS, Form::Bytes] {
                    let _ = of(form).parse(text).map(|value| of(form).behind(value, u64::MAX));
                }
            }
        }
    }
}
