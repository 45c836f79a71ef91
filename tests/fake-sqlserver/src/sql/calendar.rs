//! Days, ticks and their text: the proleptic Gregorian calendar from 0001-01-01 to 9999-12-31.
//!
//! A day is counted from 0001-01-01 (day 0), as `date` and `datetime2` do on the wire; a tick is 100 ns.

/// Ticks of 100 ns in one second.
pub const TICKS_PER_SECOND: i64 = 10_000_000;
/// Ticks of 100 ns in one minute.
pub const TICKS_PER_MINUTE: i64 = 60 * TICKS_PER_SECOND;
/// Ticks of 100 ns in one day.
pub const TICKS_PER_DAY: i64 = 86_400 * TICKS_PER_SECOND;
/// Day of 1900-01-01, where `datetime` and `smalldatetime` begin to count.
pub const DAY_1900: i64 = 693_595;
/// Day of 1753-01-01, the first one of `datetime`.
pub const DAY_1753: i64 = 639_905;
/// Day of 1970-01-01.
pub const DAY_1970: i64 = 719_162;
/// Day of 9999-12-31.
pub const LAST_DAY: i64 = 3_652_058;
/// `datetime` counts in units of 1/300 s; as many in one day.
pub const UNITS_PER_DAY: i64 = 86_400 * 300;

/// The day of a date, or `None` when there is no such date between years 1 and 9999.
pub fn day_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=9999).contains(&year) || !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    // Howard Hinnant's days_from_civil, shifted from 1970 to year 1.
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 306)
}

/// Year, month and day of a day.
pub fn civil_from_day(day: i64) -> (i64, i64, i64) {
    let shifted = day + 306;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted - era * 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_month)
}

/// Days in a month of a year.
pub fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// What a text of date and time says; parts that are missing take SQL Server's defaults (1900-01-01, midnight, UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Days since 0001-01-01.
    pub day: i64,
    /// Ticks of 100 ns since midnight.
    pub ticks: i64,
    /// Minutes east of UTC.
    pub offset_minutes: i16,
}

/// Reads the ISO forms `YYYY-MM-DD`, `YYYYMMDD`, `hh:mm[:ss[.fffffff]]`, both with a space or `T` between, and an
/// offset `Z` or `±hh:mm` after.
pub fn parse_moment(text: &str) -> Option<Moment> {
    let text = text.trim();
    if text.is_empty() {
        return Some(Moment { day: DAY_1900, ticks: 0, offset_minutes: 0 });
    }
    if !text.is_ascii() {
        return None;
    }
    let (day, rest) = if text.as_bytes().get(2) == Some(&b':') || text.as_bytes().get(1) == Some(&b':') {
        (DAY_1900, text)
    } else {
        let end = text.find(['T', 't', ' ']).unwrap_or(text.len());
        let (date, rest) = text.split_at(end);
        (parse_date(date)?, rest.get(1..).unwrap_or("").trim_start())
    };
    if rest.is_empty() {
        return Some(Moment { day, ticks: 0, offset_minutes: 0 });
    }
    let (time, offset_minutes) = split_offset(rest)?;
    Some(Moment { day, ticks: parse_time(time.trim_end())?, offset_minutes })
}

fn digits(text: &str) -> Option<i64> {
    if text.is_empty() || text.len() > 9 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn parse_date(text: &str) -> Option<i64> {
    if text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return day_from_civil(digits(&text[..4])?, digits(&text[4..6])?, digits(&text[6..])?);
    }
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || year.len() != 4 {
        return None;
    }
    day_from_civil(digits(year)?, digits(month)?, digits(day)?)
}

fn split_offset(text: &str) -> Option<(&str, i16)> {
    if let Some(time) = text.strip_suffix(['Z', 'z']) {
        return Some((time, 0));
    }
    let Some(at) = text.rfind(['+', '-']) else { return Some((text, 0)) };
    let (time, offset) = text.split_at(at);
    let (hours, minutes) = offset[1..].split_once(':')?;
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    if hours > 14 || minutes > 59 || hours * 60 + minutes > 14 * 60 {
        return None;
    }
    let total = i16::try_from(hours * 60 + minutes).ok()?;
    Some((time, if offset.starts_with('-') { -total } else { total }))
}

fn parse_time(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let (hours, minutes) = (digits(parts.next()?)?, digits(parts.next()?)?);
    let (seconds, fraction) = match parts.next() {
        None => (0, 0),
        Some(text) => match text.split_once('.') {
            None => (digits(text)?, 0),
            Some((whole, fraction)) => (digits(whole)?, parse_fraction(fraction)?),
        },
    };
    if parts.next().is_some() || hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    Some(((hours * 60 + minutes) * 60 + seconds) * TICKS_PER_SECOND + fraction)
}

fn parse_fraction(text: &str) -> Option<i64> {
    if text.is_empty() || text.len() > 7 {
        return None;
    }
    Some(digits(text)? * 10_i64.pow(7 - u32::try_from(text.len()).ok()?))
}

/// Rounds ticks to `scale` fraction digits of a second, half up, as SQL Server does.
pub fn round_ticks(ticks: i64, scale: u8) -> i64 {
    let unit = 10_i64.pow(7 - u32::from(scale.min(7)));
    (ticks + unit / 2).div_euclid(unit) * unit
}

/// `YYYY-MM-DD`.
pub fn format_day(day: i64) -> String {
    let (year, month, day) = civil_from_day(day);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `hh:mm:ss`, with `scale` fraction digits after it.
pub fn format_ticks(ticks: i64, scale: u8) -> String {
    let seconds = ticks / TICKS_PER_SECOND;
    let whole = format!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if scale == 0 {
        return whole;
    }
    let fraction = format!("{:07}", ticks % TICKS_PER_SECOND);
    format!("{whole}.{}", &fraction[..usize::from(scale.min(7))])
}

/// `±hh:mm`.
pub fn format_offset(minutes: i16) -> String {
    let sign = if minutes < 0 { '-' } else { '+' };
    let minutes = minutes.unsigned_abs();
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

/// 1/300 s units of a `datetime` as ticks of 100 ns, rounded as the server shows them (milliseconds .000, .003, .007).
pub fn ticks_from_units(units: i64) -> i64 {
    (units * 10 + 1).div_euclid(3) * 10_000
}

/// The nearest 1/300 s unit to ticks of 100 ns.
pub fn units_from_ticks(ticks: i64) -> i64 {
    (ticks * 3 + 50_000).div_euclid(100_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_named_days_are_where_they_should_be() {
        assert_eq!(day_from_civil(1, 1, 1), Some(0));
        assert_eq!(day_from_civil(1753, 1, 1), Some(DAY_1753));
        assert_eq!(day_from_civil(1900, 1, 1), Some(DAY_1900));
        assert_eq!(day_from_civil(1970, 1, 1), Some(DAY_1970));
        assert_eq!(day_from_civil(9999, 12, 31), Some(LAST_DAY));
        assert_eq!(day_from_civil(1900, 2, 29), None);
    }

    #[test]
    fn iso_texts_are_read() {
        let moment = parse_moment("2024-02-29T23:59:59.9999999+05:30").unwrap();
        assert_eq!(moment.offset_minutes, 330);
        assert_eq!(format_day(moment.day), "2024-02-29");
        assert_eq!(format_ticks(moment.ticks, 7), "23:59:59.9999999");
        assert_eq!(parse_moment("20240229"), parse_moment("2024-02-29 00:00"));
        assert_eq!(parse_moment("12:30").unwrap().day, DAY_1900);
        for wrong in ["2023-02-29", "x", "2024-01-01 25:00", "2024-1", "12:60", "2024-01-01 10:00+15:00"] {
            assert_eq!(parse_moment(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn datetime_rounds_to_three_hundredths() {
        let shown: Vec<String> = (0..4).map(|units| format_ticks(ticks_from_units(units), 3)).collect();
        assert_eq!(shown, ["00:00:00.000", "00:00:00.003", "00:00:00.007", "00:00:00.010"]);
        assert_eq!(units_from_ticks(TICKS_PER_DAY - TICKS_PER_SECOND / 1000 * 3), UNITS_PER_DAY - 1);
    }

    proptest! {
        #[test]
        fn every_day_survives_its_text(day in 0..=LAST_DAY, ticks in 0..TICKS_PER_DAY) {
            let text = format!("{} {}", format_day(day), format_ticks(ticks, 7));
            prop_assert_eq!(parse_moment(&text), Some(Moment { day, ticks, offset_minutes: 0 }));
        }
    }
}
