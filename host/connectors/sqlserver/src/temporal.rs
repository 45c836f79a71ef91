//! Dates and times: from SQL Server's counts to Arrow's, and from text to SQL Server's.
//!
//! SQL Server counts days from 0001-01-01 (date, time, datetime2, datetimeoffset) or from 1900-01-01 (datetime,
//! smalldatetime) in the proleptic Gregorian calendar, Arrow from 1970-01-01. Fractions are ticks of 100 ns, or of
//! 1/300 s for datetime (MS-TDS 2.2.5.5.1).

use datakit_connect::calendar::{civil, days_from_civil};

/// Days from 0001-01-01 to 1970-01-01.
const EPOCH_FROM_YEAR_1: i64 = 719_162;
/// Days from 1900-01-01 to 1970-01-01.
const EPOCH_FROM_1900: i64 = 25_567;
/// 1753-01-01 and 9999-12-31, the range of `datetime`, in days from 1900-01-01.
const DAYS_OF_DATETIME: std::ops::RangeInclusive<i32> = -53_690..=2_958_463;
/// 9999-12-31, in days from 0001-01-01.
const LAST_DAY: u32 = 3_652_058;
const MICROS_PER_DAY: i64 = 86_400_000_000;
/// Ticks of 100 ns in a day.
const TICKS_PER_DAY: u64 = 864_000_000_000;
/// Ticks of 1/300 s in a day.
const THREE_HUNDREDTHS_PER_DAY: u32 = 25_920_000;

/// Days from 1970-01-01 of a `date`; none outside of SQL Server's range.
pub(super) fn date(days: u32) -> Option<i32> {
    if days > LAST_DAY {
        return None;
    }
    i32::try_from(i64::from(days) - EPOCH_FROM_YEAR_1).ok()
}

/// Nanoseconds from midnight of a `time`.
pub(super) fn time(ticks: u64) -> Option<i64> {
    if ticks >= TICKS_PER_DAY {
        return None;
    }
    i64::try_from(ticks * 100).ok()
}

/// Microseconds from 1970-01-01 of a `datetime2`, and whether its seventh digit was cut.
pub(super) fn datetime2(days: u32, ticks: u64) -> Option<(i64, bool)> {
    if ticks >= TICKS_PER_DAY {
        return None;
    }
    let micros = i64::try_from(ticks / 10).ok()?;
    Some((i64::from(date(days)?) * MICROS_PER_DAY + micros, !ticks.is_multiple_of(10)))
}

/// Microseconds from 1970-01-01 of a `datetime`, whose 1/300 s are read as the milliseconds that SQL Server shows:
/// .000, .003, .007 (docs/decisions/0050). None outside of SQL Server's range.
pub(super) fn datetime(days: i32, three_hundredths: u32) -> Option<i64> {
    if three_hundredths >= THREE_HUNDREDTHS_PER_DAY || !DAYS_OF_DATETIME.contains(&days) {
        return None;
    }
    let millis = (i64::from(three_hundredths) * 10 + 1) / 3;
    Some((i64::from(days) - EPOCH_FROM_1900) * MICROS_PER_DAY + millis * 1000)
}

/// Microseconds from 1970-01-01 of a `smalldatetime`.
pub(super) fn smalldatetime(days: u16, minutes: u16) -> Option<i64> {
    if minutes >= 1440 {
        return None;
    }
    Some((i64::from(days) - EPOCH_FROM_1900) * MICROS_PER_DAY + i64::from(minutes) * 60_000_000)
}

/// A calendar date as text, from days since 0001-01-01.
pub(super) fn date_text(days: u32) -> Option<String> {
    let (year, month, day) = civil(i64::from(date(days)?));
    Some(format!("{year:04}-{month:02}-{day:02}"))
}

/// A time of day as text with `scale` digits (0–7), from ticks of 100 ns.
pub(super) fn time_text(ticks: u64, scale: u8) -> Option<String> {
    if ticks >= TICKS_PER_DAY {
        return None;
    }
    let (seconds, fraction) = (ticks / 10_000_000, ticks % 10_000_000);
    let mut text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if scale > 0 {
        let digits = format!("{fraction:07}");
        text.push('.');
        text.push_str(&digits[..usize::from(scale.min(7))]);
    }
    Some(text)
}

/// Microseconds from 1970-01-01 as `YYYY-MM-DDThh:mm:ss.fff`.
pub(super) fn millis_text(micros: i64) -> Option<String> {
    let days = micros.div_euclid(MICROS_PER_DAY);
    let of_day = micros.rem_euclid(MICROS_PER_DAY);
    let (year, month, day) = civil(days);
    let ticks = u64::try_from(of_day).ok()? * 10;
    Some(format!("{year:04}-{month:02}-{day:02}T{}", time_text(ticks, 3)?))
}

/// A calendar day in days from 0001-01-01, from `YYYY-MM-DD`.
pub(super) fn parse_date(text: &str) -> Option<u32> {
    let bytes = text.as_bytes();
    if bytes.len() != 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let (year, month, day) = (digits(&text[..4])?, digits(&text[5..7])?, digits(&text[8..])?);
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if year == 0 || day == 0 || day > length {
        return None;
    }
    u32::try_from(days_from_civil(i64::from(year), i64::from(month), i64::from(day)) + EPOCH_FROM_YEAR_1).ok()
}

/// Ticks of 100 ns from `hh:mm:ss[.fffffff]`.
pub(super) fn parse_time(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    if bytes.len() < 8 || bytes[2] != b':' || bytes[5] != b':' {
        return None;
    }
    let (hours, minutes, seconds) = (digits(&text[..2])?, digits(&text[3..5])?, digits(text.get(6..8)?)?);
    let fraction = match text.get(8..)? {
        "" => 0,
        rest => {
            let rest = rest.strip_prefix('.').filter(|f| (1..=7).contains(&f.len()))?;
            digits(rest)? * 10_u32.pow(7 - u32::try_from(rest.len()).ok()?)
        }
    };
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    Some(u64::from(hours * 3600 + minutes * 60 + seconds) * 10_000_000 + u64::from(fraction))
}

/// Day and ticks from `YYYY-MM-DDThh:mm:ss[.fffffff]`.
pub(super) fn parse_timestamp(text: &str) -> Option<(u32, u64)> {
    let (date, time) = text.split_once('T')?;
    Some((parse_date(date)?, parse_time(time)?))
}

/// Day and ticks in UTC and the offset in minutes, from a timestamp with `±hh:mm` or `Z`.
pub(super) fn parse_timestamp_with_offset(text: &str) -> Option<(u32, u64, i16)> {
    let (local, offset) = match text.strip_suffix('Z') {
        Some(local) => (local, 0),
        None => {
            let split = text.len().checked_sub(6).filter(|at| text.is_char_boundary(*at))?;
            let (local, offset) = text.split_at(split);
            (local, parse_offset(offset)?)
        }
    };
    let (days, ticks) = parse_timestamp(local)?;
    let minute = 600_000_000_i64;
    let ticks = i64::try_from(ticks).ok()? - i64::from(offset) * minute;
    let day = i64::try_from(TICKS_PER_DAY).ok()?;
    let days = u32::try_from(i64::from(days) + ticks.div_euclid(day)).ok().filter(|days| *days <= LAST_DAY)?;
    Some((days, u64::try_from(ticks.rem_euclid(day)).ok()?, offset))
}

fn parse_offset(text: &str) -> Option<i16> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text[1..].split_once(':').filter(|(h, m)| h.len() == 2 && m.len() == 2)?;
    let total = i16::try_from(digits(hours)? * 60 + digits(minutes)?).ok()?;
    (total <= 14 * 60 && digits(minutes)? < 60).then_some(sign * total)
}

/// Days from 1900-01-01 and ticks of 1/300 s of a `datetime`, rounded as the server rounds; none outside of its range,
/// which begins in 1753.
pub(super) fn to_datetime(days: u32, ticks: u64) -> Option<(i32, u32)> {
    let rounded = (ticks * 3 + 50_000) / 100_000;
    let (days, of_day) = if rounded >= u64::from(THREE_HUNDREDTHS_PER_DAY) {
        (days + 1, 0)
    } else {
        (days, u32::try_from(rounded).ok()?)
    };
    let first = parse_date("1753-01-01")?;
    let since_1900 = i64::from(days) - EPOCH_FROM_YEAR_1 + EPOCH_FROM_1900;
    ((first..=LAST_DAY).contains(&days)).then_some((i32::try_from(since_1900).ok()?, of_day))
}

fn digits(text: &str) -> Option<u32> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_ends_of_each_type_survive() {
        assert_eq!(date(0), Some(-719_162));
        assert_eq!(date(LAST_DAY), Some(2_932_896));
        assert_eq!(date(LAST_DAY + 1), None);
        assert_eq!(time(TICKS_PER_DAY - 1), Some(86_399_999_999_900));
        assert_eq!(time(TICKS_PER_DAY), None);
        assert_eq!(datetime2(0, 0), Some((-62_135_596_800_000_000, false)));
        assert_eq!(datetime2(LAST_DAY, TICKS_PER_DAY - 1), Some((253_402_300_799_999_999, true)));
        assert_eq!(smalldatetime(u16::MAX, 1439), Some(3_453_321_540_000_000));
        assert_eq!(datetime(-53_690, 0).and_then(millis_text).as_deref(), Some("1753-01-01T00:00:00.000"));
        assert_eq!(
            datetime(2_958_463, THREE_HUNDREDTHS_PER_DAY - 1).and_then(millis_text).as_deref(),
            Some("9999-12-31T23:59:59.997")
        );
        for outside in [i32::MIN, -53_691, 2_958_464, i32::MAX] {
            assert_eq!(datetime(outside, 0), None);
        }
    }

    #[test]
    fn datetime_reads_as_the_server_shows_it() {
        let millis = |ticks| datetime(25_567, ticks).map(|micros| micros / 1000);
        assert_eq!((0..7).map(millis).collect::<Option<Vec<_>>>().unwrap(), [0, 3, 7, 10, 13, 17, 20]);
    }

    #[test]
    fn texts_are_parsed_or_refused() {
        assert_eq!(parse_date("0001-01-01"), Some(0));
        assert_eq!(parse_date("9999-12-31"), Some(LAST_DAY));
        for bad in ["2023-02-29", "0000-01-01", "2023-13-01", "2023-1-1", "2023-01-01 ", "äää-01-01", ""] {
            assert_eq!(parse_date(bad), None, "{bad}");
        }
        assert_eq!(parse_time("23:59:59.9999999"), Some(TICKS_PER_DAY - 1));
        assert_eq!(parse_time("00:00:00.5"), Some(5_000_000));
        for bad in ["24:00:00", "00:60:00", "00:00:00.", "00:00:00.12345678", "00:00", "00:00:0é"] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
        let day = parse_date("2024-03-01").unwrap();
        assert_eq!(
            parse_timestamp_with_offset("2024-03-01T00:30:00+02:00"),
            Some((day - 1, 22 * 36_000_000_000 + 18_000_000_000, 120))
        );
        assert_eq!(parse_timestamp_with_offset("2024-03-01T00:30:00Z"), Some((day, 18_000_000_000, 0)));
        assert_eq!(parse_timestamp_with_offset("2024-03-01T00:30:00+15:00"), None);
        assert_eq!(parse_timestamp_with_offset("é"), None);
        assert_eq!(to_datetime(day, 9_999_999), Some((45_350, 300)));
        assert_eq!(to_datetime(0, 0), None);
    }

    proptest! {
        #[test]
        fn a_day_and_its_text_are_one(days in 0..=LAST_DAY) {
            prop_assert_eq!(parse_date(&date_text(days).unwrap()), Some(days));
        }

        #[test]
        fn a_time_and_its_text_are_one(ticks in 0..TICKS_PER_DAY) {
            prop_assert_eq!(parse_time(&time_text(ticks, 7).unwrap()), Some(ticks));
        }

        #[test]
        fn a_datetime_comes_back_from_its_own_text(days in -53_690..2_958_463_i32, ticks in 0..THREE_HUNDREDTHS_PER_DAY) {
            let text = millis_text(datetime(days, ticks).unwrap()).unwrap();
            let (day, hundred_ns) = parse_timestamp(&text).unwrap();
            prop_assert_eq!(to_datetime(day, hundred_ns), Some((days, ticks)));
        }

        #[test]
        fn no_text_is_a_panic(text in "\\PC{0,40}") {
            let _ = (parse_date(&text), parse_time(&text), parse_timestamp(&text), parse_timestamp_with_offset(&text));
        }
    }
}
