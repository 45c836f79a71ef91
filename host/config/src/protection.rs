//! `protection` of a connection: what a run may ask of the source, whatever a datakit wants.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeZone as _, Timelike as _, Utc};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::problem::Problem;
use crate::settings::{Checks, Settings};

/// What a run may ask of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Protection {
    /// Queries that are read at one time. Of connections to one server the lowest counts, for all of them together.
    #[schemars(range(min = 1, max = 1_000))]
    pub max_queries: Option<u64>,
    /// Rows a second, over all tables and partitions that a run reads here.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub max_rows_per_second: Option<u64>,
    /// When it may be read: `22:00-06:00`, in `time_zone`. A query that is not at its end by then is cancelled.
    pub allowed_hours: Option<Hours>,
    /// The time zone of `allowed_hours`, by its name: `Europe/Berlin`, `UTC`.
    pub time_zone: Option<TimeZone>,
}

impl Settings for Protection {
    fn check(at: &Checks<'_>) {
        check_text::<Hours>(at, "allowed_hours");
        check_text::<TimeZone>(at, "time_zone");
        if at.is_set("allowed_hours") && !at.is_set("time_zone") {
            let hint = "write `time_zone = \"Europe/Berlin\"`: hours mean nothing without it".to_owned();
            at.report("time_zone", |path| Problem::Missing { path, hint });
        }
    }
}

/// A text that its type does not take is said at its place.
fn check_text<T: FromStr<Err = String>>(at: &Checks<'_>, key: &str) {
    if let Some(message) = at.get::<String>(key).and_then(|text| text.parse::<T>().err()) {
        at.report(key, |path| Problem::Refused { path, message });
    }
}

impl Protection {
    /// Whether the source may be read at this time; none: always. With it, the time of day there.
    #[must_use]
    pub fn is_allowed_at(&self, now: DateTime<Utc>) -> Option<(bool, String)> {
        let (hours, zone) = (self.allowed_hours?, self.time_zone?);
        let local = zone.0.from_utc_datetime(&now.naive_utc());
        let minute = local.hour() * 60 + local.minute();
        Some((hours.contains(minute), local.format("%H:%M").to_string()))
    }
}

/// A span of the day, from the first minute up to the last, which is not a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct Hours {
    from_minute: u32,
    to_minute: u32,
}

impl Hours {
    fn contains(self, minute: u32) -> bool {
        let Self { from_minute, to_minute } = self;
        match from_minute < to_minute {
            true => (from_minute..to_minute).contains(&minute),
            false => minute >= from_minute || minute < to_minute,
        }
    }
}

impl FromStr for Hours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let minute = |text: &str| -> Option<u32> {
            let (hours, minutes) = text.trim().split_once(':')?;
            let is_number = |text: &str| text.len() == 2 && text.bytes().all(|c| c.is_ascii_digit());
            let numbers = Some((hours, minutes)).filter(|(h, m)| is_number(h) && is_number(m))?;
            let (hours, minutes): (u32, u32) = (numbers.0.parse().ok()?, numbers.1.parse().ok()?);
            (hours < 24 && minutes < 60 || (hours, minutes) == (24, 0)).then_some(hours * 60 + minutes)
        };
        let span = text.split_once('-').and_then(|(from, to)| Some((minute(from)?, minute(to)?)));
        let wrong = || format!("`{text}` is no span of hours, such as `22:00-06:00`");
        let (from_minute, to_minute) = span.filter(|(from, to)| from != to).ok_or_else(wrong)?;
        Ok(Self { from_minute, to_minute })
    }
}

impl TryFrom<String> for Hours {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from_minute: from, to_minute: to } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

/// A time zone of the IANA database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct TimeZone(chrono_tz::Tz);

impl FromStr for TimeZone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |_| format!("`{text}` is no time zone, such as `Europe/Berlin`");
        text.parse().map(Self).map_err(wrong)
    }
}

impl TryFrom<String> for TimeZone {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(hours: &str, zone: &str, at: &str) -> (bool, String) {
        let protection = Protection {
            allowed_hours: Some(hours.parse().unwrap()),
            time_zone: Some(zone.parse().unwrap()),
            ..Protection::default()
        };
        let now = DateTime::parse_from_rfc3339(at).unwrap().to_utc();
        protection.is_allowed_at(now).unwrap()
    }

    #[test]
    fn hours_are_of_the_time_zone_and_may_pass_midnight() {
        let night = "22:00-06:00";
        assert_eq!(allowed(night, "Europe/Berlin", "2026-01-15T20:59:00Z"), (false, "21:59".to_owned()));
        assert_eq!(allowed(night, "Europe/Berlin", "2026-01-15T21:00:00Z"), (true, "22:00".to_owned()));
        // In summer the same hour of the clock is an hour earlier.
        assert_eq!(allowed(night, "Europe/Berlin", "2026-07-15T20:00:00Z"), (true, "22:00".to_owned()));
        assert_eq!(allowed(night, "Europe/Berlin", "2026-07-15T04:00:00Z"), (false, "06:00".to_owned()));
        assert_eq!(allowed("09:00-17:30", "UTC", "2026-07-15T17:29:59Z"), (true, "17:29".to_owned()));
        assert_eq!(allowed("18:00-24:00", "UTC", "2026-07-15T23:59:59Z"), (true, "23:59".to_owned()));
        assert_eq!(Protection::default().is_allowed_at(Utc::now()), None);
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in
            ["", "22:00", "22:00-22:00", "25:00-06:00", "22:60-06:00", "8:00-9:00", "22:00-06:00-07:00", "24:01-06:00"]
        {
            assert!(text.parse::<Hours>().is_err(), "{text}");
        }
        assert_eq!("22:00 - 06:00".parse::<Hours>().unwrap().to_string(), "22:00-06:00");
        assert!("Mars/Phobos".parse::<TimeZone>().is_err());
    }
}
