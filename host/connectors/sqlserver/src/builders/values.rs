//! The typed entrances of a [`BatchBuilder`], and the text form of `sql_variant`.

use super::BatchBuilder;
use super::column::Values;
use crate::temporal;
use datakit_connect::arrays::offset;

const OUT_OF_RANGE: &str = "this is a bug of the server or of the driver: please report it";

/// A value where the column's builder does not take it: inside a `sql_variant`, or out of place.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scalar<'a> {
    Boolean(bool),
    Integer(i64),
    Float32(f32),
    Float64(f64),
    Decimal(i128, u8),
    Date(u32),
    Time(u64, u8),
    /// Microseconds of a `datetime` or `smalldatetime`.
    Datetime(i64),
    Datetime2(u32, u64, u8),
    DatetimeOffset(u32, u64, u8, i16),
    Uuid([u8; 16]),
    Binary(&'a [u8]),
}

macro_rules! plain {
    ($(#[$doc:meta])* $name:ident, $native:ty, $variant:ident, $scalar:expr) => {
        $(#[$doc])*
        #[inline]
        pub(crate) fn $name(&mut self, col: usize, value: $native) {
            if let Some(column) = self.columns.get_mut(col)
                && let Values::$variant(values) = &mut column.values
            {
                values.push(value.into());
                column.valid();
            } else {
                self.unexpected(col, $scalar(value));
            }
        }
    };
}

impl BatchBuilder {
    plain!(/** A `tinyint`. */ tinyint, u8, TinyInt, |v: u8| Scalar::Integer(v.into()));
    plain!(/** A `smallint`. */ int16, i16, Int16, |v: i16| Scalar::Integer(v.into()));
    plain!(/** An `int`. */ int32, i32, Int32, |v: i32| Scalar::Integer(v.into()));
    plain!(/** A `bigint`. */ int64, i64, Int64, Scalar::Integer);
    plain!(/** A `real`. */ float32, f32, Float32, Scalar::Float32);
    plain!(/** A `float`. */ float64, f64, Float64, Scalar::Float64);

    /// A `bit`.
    #[inline]
    pub(crate) fn boolean(&mut self, col: usize, value: bool) {
        if let Some(column) = self.columns.get_mut(col)
            && let Values::Boolean(values) = &mut column.values
        {
            values.append(value);
            column.valid();
        } else {
            self.unexpected(col, Scalar::Boolean(value));
        }
    }

    /// A `decimal`, `numeric` or money value, unscaled, with its own scale. It is brought to the column's; one that has more
    /// digits than the column declares is an error.
    #[inline]
    pub(crate) fn decimal(&mut self, col: usize, unscaled: i128, scale: u8) {
        if let Some(column) = self.columns.get_mut(col)
            && let Values::Decimal { values, form } = &mut column.values
        {
            let value = form.fit(unscaled, scale);
            values.push(value.unwrap_or_default());
            column.valid();
            if value.is_none() {
                self.reject_decimal(col, unscaled, scale);
            }
        } else {
            self.unexpected(col, Scalar::Decimal(unscaled, scale));
        }
    }

    #[cold]
    fn reject_decimal(&mut self, col: usize, unscaled: i128, scale: u8) {
        let (value, declared) = (decimal_text(unscaled, scale), self.declared(col));
        // Where a row may be rejected its reason does not quote the value, which may be masked.
        let reason = match self.noted {
            Some(_) => format!("a number with more digits than {declared} declares"),
            None => format!("the server declared {declared} and sent {value}"),
        };
        self.reject_value(col, reason, OUT_OF_RANGE, || Some(value));
    }

    /// A `uniqueidentifier`, its bytes in the order of RFC 4122.
    #[inline]
    pub(crate) fn uuid(&mut self, col: usize, bytes: &[u8; 16]) {
        if let Some(column) = self.columns.get_mut(col)
            && let Values::Uuid(values) = &mut column.values
        {
            values.extend_from_slice(bytes);
            column.valid();
        } else {
            self.unexpected(col, Scalar::Uuid(*bytes));
        }
    }

    /// A `date`, in days from 0001-01-01.
    #[inline]
    pub(crate) fn date(&mut self, col: usize, days: u32) {
        if let Some(column) = self.columns.get_mut(col)
            && let Values::Date(values) = &mut column.values
        {
            let value = temporal::date(days);
            values.push(value.unwrap_or_default());
            column.valid();
            self.check(col, value.is_some(), || format!("day {days} after 0001-01-01"));
        } else {
            self.unexpected(col, Scalar::Date(days));
        }
    }

    /// A `time`, in ticks of 100 ns.
    #[inline]
    pub(crate) fn time(&mut self, col: usize, ticks: u64, scale: u8) {
        if let Some(column) = self.columns.get_mut(col)
            && let Values::Time(values) = &mut column.values
        {
            let value = temporal::time(ticks);
            values.push(value.unwrap_or_default());
            column.valid();
            self.check(col, value.is_some(), || format!("{ticks} units of 100 ns"));
        } else {
            self.unexpected(col, Scalar::Time(ticks, scale));
        }
    }

    /// A `datetime`: days from 1900-01-01 and 1/300 s.
    #[inline]
    pub(crate) fn datetime(&mut self, col: usize, days: i32, three_hundredths: u32) {
        self.micros(col, temporal::datetime(days, three_hundredths), || {
            format!("day {days} after 1900-01-01, {three_hundredths}/300 s")
        });
    }

    /// A `smalldatetime`: days from 1900-01-01 and minutes.
    #[inline]
    pub(crate) fn smalldatetime(&mut self, col: usize, days: u16, minutes: u16) {
        self.micros(col, temporal::smalldatetime(days, minutes), || {
            format!("day {days} after 1900-01-01, {minutes} minutes")
        });
    }

    fn micros(&mut self, col: usize, value: Option<i64>, shown: impl FnOnce() -> String) {
        if let Some(column) = self.columns.get_mut(col)
            && let Values::Timestamp(values) = &mut column.values
        {
            values.push(value.unwrap_or_default());
            column.valid();
            self.check(col, value.is_some(), shown);
        } else {
            self.check(col, value.is_some(), shown);
            self.unexpected(col, Scalar::Datetime(value.unwrap_or_default()));
        }
    }

    /// A `datetime2`: days from 0001-01-01 and ticks of 100 ns.
    #[inline]
    pub(crate) fn datetime2(&mut self, col: usize, days: u32, ticks: u64, scale: u8) {
        if let Some(column) = self.columns.get_mut(col)
            && let Values::Timestamp(values) = &mut column.values
        {
            let value = temporal::datetime2(days, ticks);
            let (micros, cut) = value.unwrap_or_default();
            values.push(micros);
            column.cut += u64::from(cut);
            column.valid();
            self.check(col, value.is_some(), || moment(days, ticks));
        } else {
            self.unexpected(col, Scalar::Datetime2(days, ticks, scale));
        }
    }

    /// A `datetimeoffset`: day and ticks in UTC, the offset in minutes.
    #[inline]
    pub(crate) fn datetimeoffset(&mut self, col: usize, days: u32, ticks: u64, scale: u8, offset: i16) {
        if let Some(column) = self.columns.get_mut(col)
            && let Values::TimestampUtc(values) = &mut column.values
        {
            let value = temporal::datetime2(days, ticks);
            let (micros, cut) = value.unwrap_or_default();
            values.push(micros);
            column.cut += u64::from(cut);
            column.valid();
            self.check(col, value.is_some(), || moment(days, ticks));
        } else {
            self.unexpected(col, Scalar::DatetimeOffset(days, ticks, scale, offset));
        }
    }

    #[inline]
    fn check(&mut self, col: usize, fine: bool, shown: impl FnOnce() -> String) {
        if !fine {
            let reason = "a date or time outside of SQL Server's range".to_owned();
            self.reject_value(col, reason, OUT_OF_RANGE, || Some(shown()));
        }
    }

    /// A value that the column's builder does not take as it is: in a `sql_variant` it becomes text.
    #[cold]
    pub(super) fn unexpected(&mut self, col: usize, value: Scalar<'_>) {
        let Some(column) = self.columns.get_mut(col) else { return };
        let Values::Variant { offsets, data } = &mut column.values else {
            return self.fail_type_in_place(col, &format!("{value:?}"));
        };
        let text = value.text();
        data.extend_from_slice(text.as_deref().unwrap_or_default().as_bytes());
        offsets.push(offset(data.len()));
        column.valid();
        self.value_bytes += text.as_ref().map_or(0, String::len);
        self.check(col, text.is_some(), || format!("{value:?}"));
    }
}

impl Scalar<'_> {
    /// The text form in a `sql_variant`: that of the row hash where it has one, with the type's own digits.
    fn text(self) -> Option<String> {
        Some(match self {
            Self::Boolean(value) => u8::from(value).to_string(),
            Self::Integer(value) => value.to_string(),
            // The shortest text that reads back as the same number.
            Self::Float32(value) => format!("{value:?}"),
            Self::Float64(value) => format!("{value:?}"),
            Self::Decimal(unscaled, scale) => decimal_text(unscaled, scale),
            Self::Date(days) => temporal::date_text(days)?,
            Self::Time(ticks, scale) => temporal::time_text(ticks, scale)?,
            Self::Datetime(micros) => temporal::millis_text(micros)?,
            Self::Datetime2(days, ticks, scale) => {
                format!("{}T{}", temporal::date_text(days)?, temporal::time_text(ticks, scale)?)
            }
            Self::DatetimeOffset(days, ticks, scale, offset) => {
                let (days, ticks) = local(days, ticks, offset)?;
                let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.unsigned_abs());
                format!(
                    "{}T{}{sign}{:02}:{:02}",
                    temporal::date_text(days)?,
                    temporal::time_text(ticks, scale)?,
                    minutes / 60,
                    minutes % 60
                )
            }
            Self::Uuid(bytes) => uuid::Uuid::from_bytes(bytes).hyphenated().to_string(),
            Self::Binary(bytes) => {
                let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
                format!("0x{hex}")
            }
        })
    }
}

/// A day and a time as the server counts them.
fn moment(days: u32, ticks: u64) -> String {
    format!("day {days} after 0001-01-01, {ticks} units of 100 ns")
}

/// Day and ticks at an offset from UTC.
fn local(days: u32, ticks: u64, offset: i16) -> Option<(u32, u64)> {
    const DAY: i64 = 864_000_000_000;
    let ticks = i64::try_from(ticks).ok().filter(|ticks| *ticks < DAY)? + i64::from(offset) * 600_000_000;
    let days = i64::from(days) + ticks.div_euclid(DAY);
    Some((u32::try_from(days).ok()?, u64::try_from(ticks.rem_euclid(DAY)).ok()?))
}

/// Plain text with all digits of the scale.
fn decimal_text(unscaled: i128, scale: u8) -> String {
    let scale = usize::from(scale);
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if unscaled < 0 { "-" } else { "" };
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}
