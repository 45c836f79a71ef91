//! Functions of date and time.

use rusqlite::Connection;
use rusqlite::functions::Context;
use rusqlite::types::Value as Stored;

use super::{add, integer_at, is_null, str_at, type_at, value_at};
use crate::sql::calendar::{self, Moment, TICKS_PER_DAY, TICKS_PER_MINUTE, TICKS_PER_SECOND};
use crate::sql::{convert, errors, store};
use crate::values::{SqlError, SqlType, Value};

pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    add(connection, "t_datepart", 3, date_part)?;
    add(connection, "t_dateadd", 4, date_add)?;
    add(connection, "t_datediff", 6, date_difference)?;
    add(connection, "t_switchoffset", 2, switch_offset)?;
    add(connection, "t_todatetimeoffset", 4, to_date_time_offset)?;
    add(connection, "t_datefromparts", 3, date_from_parts)
}

fn moment_at(context: &Context<'_>, at: usize) -> Result<Option<(Moment, SqlType)>, SqlError> {
    let sql_type = type_at(context, at + 1)?;
    Ok(convert::moment_of(&value_at(context, at, sql_type)?).map(|moment| (moment, sql_type)))
}

/// Whole days since 1900-01-01, a Monday.
fn weekday(day: i64) -> i64 {
    (day - calendar::DAY_1900 + 1).rem_euclid(7) + 1
}

fn date_part(context: &Context<'_>) -> Result<Stored, SqlError> {
    let Some((moment, _)) = moment_at(context, 1)? else { return Ok(Stored::Null) };
    let (year, month, day) = calendar::civil_from_day(moment.day);
    let first_day = calendar::day_from_civil(year, 1, 1).unwrap_or(0);
    let fraction = moment.ticks % TICKS_PER_SECOND;
    Ok(Stored::Integer(match str_at(context, 0).unwrap_or_default() {
        "year" => year,
        "quarter" => (month + 2) / 3,
        "month" => month,
        "dayofyear" => moment.day - first_day + 1,
        "day" => day,
        "week" => (moment.day - first_day + weekday(first_day) - 1) / 7 + 1,
        "weekday" => weekday(moment.day),
        "hour" => moment.ticks / (60 * TICKS_PER_MINUTE),
        "minute" => moment.ticks / TICKS_PER_MINUTE % 60,
        "second" => moment.ticks / TICKS_PER_SECOND % 60,
        "millisecond" => fraction / 10_000,
        "microsecond" => fraction / 10,
        "nanosecond" => fraction * 100,
        "tzoffset" => i64::from(moment.offset_minutes),
        other => return Err(errors::unknown_function(other)),
    }))
}

/// Ticks in one of the parts that are always as long.
fn ticks_of(part: &str) -> Option<i64> {
    Some(match part {
        "week" => 7 * TICKS_PER_DAY,
        "day" | "dayofyear" | "weekday" => TICKS_PER_DAY,
        "hour" => 60 * TICKS_PER_MINUTE,
        "minute" => TICKS_PER_MINUTE,
        "second" => TICKS_PER_SECOND,
        "millisecond" => 10_000,
        "microsecond" => 10,
        _ => return None,
    })
}

fn months_of(part: &str) -> Option<i64> {
    Some(match part {
        "year" => 12,
        "quarter" => 3,
        "month" => 1,
        _ => return None,
    })
}

fn date_add(context: &Context<'_>) -> Result<Stored, SqlError> {
    if is_null(context, 1) {
        return Ok(Stored::Null);
    }
    let Some((moment, sql_type)) = moment_at(context, 2)? else { return Ok(Stored::Null) };
    let number = integer_at(context, 1).unwrap_or(0);
    let part = str_at(context, 0).unwrap_or_default();
    let overflow = || SqlError::new(517, "Adding a value to a date column caused an overflow.".to_owned());
    let moved = if let Some(months) = months_of(part) {
        let (year, month, day) = calendar::civil_from_day(moment.day);
        let months = number.checked_mul(months).and_then(|months| months.checked_add(year * 12 + month - 1));
        let months = months.ok_or_else(overflow)?;
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
        let day = day.min(calendar::days_in_month(year, month));
        calendar::day_from_civil(year, month, day).map(|day| Moment { day, ..moment })
    } else {
        let ticks = match part {
            "nanosecond" => Some(number.saturating_add(50).div_euclid(100)),
            _ => ticks_of(part).and_then(|ticks| number.checked_mul(ticks)),
        };
        ticks
            .and_then(|ticks| (moment.day * TICKS_PER_DAY + moment.ticks).checked_add(ticks))
            .map(|total| Moment {
                day: total.div_euclid(TICKS_PER_DAY),
                ticks: total.rem_euclid(TICKS_PER_DAY),
                ..moment
            })
            .filter(|moved| (0..=calendar::LAST_DAY).contains(&moved.day))
    };
    let value = moved.and_then(|moved| convert::temporal(moved, sql_type)).ok_or_else(overflow)?;
    store::encode(sql_type, value)
}

fn date_difference(context: &Context<'_>) -> Result<Stored, SqlError> {
    let (Some((from, _)), Some((to, _))) = (moment_at(context, 1)?, moment_at(context, 3)?) else {
        return Ok(Stored::Null);
    };
    let part = str_at(context, 0).unwrap_or_default();
    let months = |moment: Moment| {
        let (year, month, _) = calendar::civil_from_day(moment.day);
        year * 12 + month - 1
    };
    // Boundaries crossed are counted, in UTC, and not whole parts that have passed.
    let utc = |moment: Moment| {
        i128::from(moment.day) * i128::from(TICKS_PER_DAY) + i128::from(moment.ticks)
            - i128::from(moment.offset_minutes) * i128::from(TICKS_PER_MINUTE)
    };
    let crossed = |ticks: i128| utc(to).div_euclid(ticks) - utc(from).div_euclid(ticks);
    let difference = match (months_of(part), ticks_of(part)) {
        (Some(length), _) => i128::from(months(to).div_euclid(length) - months(from).div_euclid(length)),
        // Weeks begin on Sunday.
        (None, Some(_)) if part == "week" => i128::from((to.day + 1).div_euclid(7) - (from.day + 1).div_euclid(7)),
        (None, Some(ticks)) => crossed(i128::from(ticks)),
        (None, None) => (utc(to) - utc(from)) * 100,
    };
    let result = type_at(context, 5)?;
    let value = convert::integer_in_range(difference, result).map_err(|_| {
        SqlError::new(
            535,
            "The datediff function resulted in an overflow. The number of dateparts separating two date/time instances is \
             too large. Try to use datediff with a less precise datepart.",
        )
    })?;
    store::encode(result, value)
}

fn switch_offset(context: &Context<'_>) -> Result<Stored, SqlError> {
    let sql_type = SqlType::DateTimeOffset { scale: 7 };
    let Value::DateTimeOffset { days, ticks, .. } = value_at(context, 0, sql_type)? else { return Ok(Stored::Null) };
    let Some(text) = str_at(context, 1) else { return Ok(Stored::Null) };
    let offset_minutes = offset_of(text, "switchoffset")?;
    store::encode(sql_type, Value::DateTimeOffset { days, ticks, offset_minutes })
}

/// An offset as `+hh:mm`, or in minutes ("SWITCHOFFSET", "TODATETIMEOFFSET").
fn offset_of(text: &str, function: &str) -> Result<i16, SqlError> {
    let in_minutes = text.trim().parse::<i16>().ok().filter(|minutes| (-840..=840).contains(minutes));
    let as_time = || {
        let moment = calendar::parse_moment(&format!("00:00{text}"))?;
        text.starts_with(['+', '-']).then_some(moment.offset_minutes)
    };
    in_minutes
        .or_else(as_time)
        .ok_or_else(|| SqlError::new(9812, format!("The timezone provided to builtin function {function} is invalid.")))
}

/// The moment of a local time at an offset.
fn to_date_time_offset(context: &Context<'_>) -> Result<Stored, SqlError> {
    let Some((moment, _)) = moment_at(context, 0)? else { return Ok(Stored::Null) };
    let Some(text) = str_at(context, 2) else { return Ok(Stored::Null) };
    let moment = Moment { offset_minutes: offset_of(text, "todatetimeoffset")?, ..moment };
    let scale = u8::try_from(integer_at(context, 3).unwrap_or(7)).unwrap_or(7);
    let sql_type = SqlType::DateTimeOffset { scale };
    let value = convert::temporal(moment, sql_type)
        .ok_or_else(|| errors::out_of_range(SqlType::DateTime2 { scale: 7 }, sql_type))?;
    store::encode(sql_type, value)
}

fn date_from_parts(context: &Context<'_>) -> Result<Stored, SqlError> {
    let (Some(year), Some(month), Some(day)) = (integer_at(context, 0), integer_at(context, 1), integer_at(context, 2))
    else {
        return Ok(Stored::Null);
    };
    calendar::day_from_civil(year, month, day).map(Stored::Integer).ok_or_else(|| {
        SqlError::new(289, "Cannot construct data type date, some of the arguments have values which are not valid.")
    })
}
