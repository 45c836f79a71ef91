//! Values without an exact Arrow form: which of them a row may be rejected for, and how they read.

use datakit_connect::calendar::civil;
use datakit_model::rejects::text;

use super::column::{DAY_MICROS, Wrong};
use crate::copy_format::{EPOCH_DAYS, EPOCH_MICROS};
use crate::numeric;
use crate::source::types::Shape;

impl Wrong {
    /// Whether the value is one that the type has: it is in the data, and not a fault of the server or of the host.
    pub(in crate::source) fn is_of_the_data(self) -> bool {
        match self {
            Self::NotUtf8
            | Self::NotANumber
            | Self::Infinite
            | Self::TooManyDigits
            | Self::OutOfRange
            | Self::EndOfDay => true,
            Self::Malformed | Self::UnexpectedNull => false,
        }
    }
}

/// A bad value as the server would show it, in UTC.
#[cold]
pub(in crate::source) fn shown(shape: Shape, field: &[u8]) -> Option<String> {
    let number = || Some(i64::from_be_bytes(field.try_into().ok()?));
    match shape {
        Shape::Decimal { .. } => numeric::text(field),
        Shape::Date => Some(date(i32::from_be_bytes(field.try_into().ok()?))),
        Shape::Time => Some(time(number()?)),
        Shape::Timestamp => Some(timestamp(number()?, "")),
        Shape::TimestampUtc => Some(timestamp(number()?, "+00")),
        Shape::Text | Shape::Jsonb => Some(text::utf8(field)),
        _ => None,
    }
}

fn date(days: i32) -> String {
    match days {
        i32::MIN => "-infinity".to_owned(),
        i32::MAX => "infinity".to_owned(),
        days => {
            let (day, era) = day(i64::from(days) + i64::from(EPOCH_DAYS));
            format!("{day}{era}")
        }
    }
}

/// A day from 1970-01-01, and its era.
fn day(days: i64) -> (String, &'static str) {
    let (year, month, day) = civil(days);
    let (year, era) = if year < 1 { (1 - year, " BC") } else { (year, "") };
    (format!("{year:04}-{month:02}-{day:02}"), era)
}

fn time(micros: i64) -> String {
    let (seconds, fraction) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let fraction = if fraction == 0 { String::new() } else { format!(".{fraction:06}") };
    format!("{:02}:{:02}:{:02}{fraction}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn timestamp(micros: i64, zone: &str) -> String {
    match micros {
        i64::MIN => "-infinity".to_owned(),
        i64::MAX => "infinity".to_owned(),
        micros => {
            let days = micros.div_euclid(DAY_MICROS) + EPOCH_MICROS / DAY_MICROS;
            let (day, era) = day(days);
            format!("{day} {}{zone}{era}", time(micros.rem_euclid(DAY_MICROS)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_values_read_as_the_server_shows_them() {
        assert_eq!(date(i32::MAX), "infinity");
        assert_eq!(date(2_145_031_948), "5874897-12-31");
        assert_eq!(date(-730_120), "0001-12-31 BC");
        assert_eq!(time(DAY_MICROS), "24:00:00");
        assert_eq!(timestamp(i64::MIN, "+00"), "-infinity");
        assert_eq!(timestamp(9_223_371_331_199_999_999, "+00"), "294276-12-31 23:59:59.999999+00");
        assert_eq!(shown(Shape::Text, b"a\xff").unwrap(), "a\\xff");
        assert_eq!(shown(Shape::Int32, &[0; 4]), None);
    }
}
