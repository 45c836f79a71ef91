//! Functions of date and time.

use sqlparser::ast::Expr;

use super::{Binder, Bound, Scope};
use crate::sql::calendar::{Moment, TICKS_PER_DAY};
use crate::sql::{convert, errors, types};
use crate::values::{Length, SqlError, SqlType};

/// The parts of a date that DATEPART and its kin take, under all their names.
const PARTS: [(&str, &[&str]); 14] = [
    ("year", &["year", "yy", "yyyy"]),
    ("quarter", &["quarter", "qq", "q"]),
    ("month", &["month", "mm", "m"]),
    ("dayofyear", &["dayofyear", "dy", "y"]),
    ("day", &["day", "dd", "d"]),
    ("week", &["week", "wk", "ww"]),
    ("weekday", &["weekday", "dw", "w"]),
    ("hour", &["hour", "hh"]),
    ("minute", &["minute", "mi", "n"]),
    ("second", &["second", "ss", "s"]),
    ("millisecond", &["millisecond", "ms"]),
    ("microsecond", &["microsecond", "mcs"]),
    ("nanosecond", &["nanosecond", "ns"]),
    ("tzoffset", &["tzoffset", "tz"]),
];

fn part_name(expression: &Expr) -> Result<&'static str, SqlError> {
    let shown = expression.to_string();
    let name = shown.to_lowercase();
    PARTS
        .iter()
        .find(|(_, names)| names.contains(&name.as_str()))
        .map(|(part, _)| *part)
        .ok_or_else(|| SqlError::new(155, format!("'{shown}' is not a recognized datepart option.")).with_class(15))
}

impl Binder<'_> {
    /// The present moment as a value of a type.
    pub(super) fn now(&self, sql_type: SqlType) -> Result<Bound, SqlError> {
        let now = self.surroundings.now;
        let moment =
            Moment { day: now.div_euclid(TICKS_PER_DAY), ticks: now.rem_euclid(TICKS_PER_DAY), offset_minutes: 0 };
        let value = convert::temporal(moment, sql_type)
            .ok_or_else(|| errors::out_of_range(SqlType::DateTime2 { scale: 7 }, sql_type))?;
        Ok(Bound { constant: None, ..Bound::constant(sql_type, value)? })
    }

    /// Binds a function of date and time; `None` when the name is no such function.
    pub(super) fn temporal_call(
        &self,
        name: &str,
        arguments: &[&Expr],
        scope: &Scope<'_>,
    ) -> Result<Option<Bound>, SqlError> {
        let wrong_count = |expected: &str| errors::argument_count(&name.to_lowercase(), expected);
        Ok(Some(match (name, arguments) {
            ("GETDATE" | "GETUTCDATE" | "CURRENT_TIMESTAMP", []) => self.now(SqlType::DateTime)?,
            ("SYSDATETIME" | "SYSUTCDATETIME", []) => self.now(SqlType::DateTime2 { scale: 7 })?,
            ("SYSDATETIMEOFFSET", []) => self.now(SqlType::DateTimeOffset { scale: 7 })?,
            ("DATEPART", [part, value]) => self.date_part(part_name(part)?, value, scope)?,
            ("YEAR", [value]) => self.date_part("year", value, scope)?,
            ("MONTH", [value]) => self.date_part("month", value, scope)?,
            ("DAY", [value]) => self.date_part("day", value, scope)?,
            ("DATEADD", [part, number, value]) => {
                let part = part_name(part)?;
                let number = self.expression(number, scope)?;
                let number = self.coerce(&number, SqlType::BigInt)?;
                let value = self.temporal_argument(value, scope)?;
                let sql =
                    format!("t_dateadd('{part}', {number}, {}, '{}')", value.sql, types::declaration(value.sql_type));
                Bound::new(sql, value.sql_type)
            }
            ("DATEDIFF" | "DATEDIFF_BIG", [part, from, to]) => {
                let part = part_name(part)?;
                let (from, to) = (self.temporal_argument(from, scope)?, self.temporal_argument(to, scope)?);
                let sql_type = if name == "DATEDIFF" { SqlType::Int } else { SqlType::BigInt };
                let sql = format!(
                    "t_datediff('{part}', {}, '{}', {}, '{}', '{}')",
                    from.sql,
                    types::declaration(from.sql_type),
                    to.sql,
                    types::declaration(to.sql_type),
                    types::declaration(sql_type)
                );
                Bound::new(sql, sql_type)
            }
            ("SWITCHOFFSET", [value, offset]) => {
                let scale = SqlType::DateTimeOffset { scale: 7 };
                let bound = self.expression(value, scope)?;
                let target =
                    if matches!(bound.sql_type, SqlType::DateTimeOffset { .. }) { bound.sql_type } else { scale };
                let value = self.coerce(&bound, target)?;
                let offset = self.expression(offset, scope)?;
                let offset = self.coerce(&offset, SqlType::NVarChar(Length::Max))?;
                Bound::new(format!("t_switchoffset({value}, {offset})"), target)
            }
            ("TODATETIMEOFFSET", [value, offset]) => {
                let value = self.temporal_argument(value, scope)?;
                let scale = match value.sql_type {
                    SqlType::DateTime2 { scale } | SqlType::DateTimeOffset { scale } => scale,
                    SqlType::DateTime => 3,
                    _ => 0,
                };
                let offset = self.expression(offset, scope)?;
                let offset = self.coerce(&offset, SqlType::NVarChar(Length::Max))?;
                let declared = types::declaration(value.sql_type);
                let sql = format!("t_todatetimeoffset({}, '{declared}', {offset}, {scale})", value.sql);
                Bound::new(sql, SqlType::DateTimeOffset { scale })
            }
            ("DATEFROMPARTS", [year, month, day]) => {
                let mut parts = Vec::new();
                for part in [year, month, day] {
                    let bound = self.expression(part, scope)?;
                    parts.push(self.coerce(&bound, SqlType::Int)?);
                }
                Bound::new(format!("t_datefromparts({})", parts.join(", ")), SqlType::Date)
            }
            ("GETDATE" | "GETUTCDATE" | "SYSDATETIME" | "SYSUTCDATETIME" | "SYSDATETIMEOFFSET", _) => {
                return Err(wrong_count("0"));
            }
            ("YEAR" | "MONTH" | "DAY", _) => return Err(wrong_count("1")),
            ("DATEPART" | "SWITCHOFFSET" | "TODATETIMEOFFSET", _) => return Err(wrong_count("2")),
            ("DATEADD" | "DATEDIFF" | "DATEDIFF_BIG" | "DATEFROMPARTS", _) => return Err(wrong_count("3")),
            _ => return Ok(None),
        }))
    }

    fn date_part(&self, part: &str, value: &Expr, scope: &Scope<'_>) -> Result<Bound, SqlError> {
        let value = self.temporal_argument(value, scope)?;
        let sql = format!("t_datepart('{part}', {}, '{}')", value.sql, types::declaration(value.sql_type));
        Ok(Bound { nullable: value.nullable, ..Bound::new(sql, SqlType::Int) })
    }

    /// An argument that is a date: text is read as one, a number counts days since 1900.
    fn temporal_argument(&self, expression: &Expr, scope: &Scope<'_>) -> Result<Bound, SqlError> {
        let bound = self.expression(expression, scope)?;
        if types::is_temporal(bound.sql_type) {
            return Ok(bound);
        }
        let target =
            if types::is_text(bound.sql_type) { SqlType::DateTimeOffset { scale: 7 } } else { SqlType::DateTime };
        let sql = self.coerce(&bound, target)?;
        Ok(Bound { sql, sql_type: target, constant: None, column: None, ..bound })
    }

    /// `AT TIME ZONE 'UTC'`, the one zone that needs no rules.
    pub(super) fn at_time_zone(&self, value: &Expr, zone: &Expr, scope: &Scope<'_>) -> Result<Bound, SqlError> {
        let zone = self.literal_text(zone, scope)?;
        if !zone.as_deref().is_some_and(|zone| zone.eq_ignore_ascii_case("UTC")) {
            return Err(errors::unsupported("AT TIME ZONE with another zone than UTC"));
        }
        let bound = self.expression(value, scope)?;
        let scale = match bound.sql_type {
            SqlType::DateTime2 { scale } | SqlType::DateTimeOffset { scale } => scale,
            SqlType::DateTime => 3,
            SqlType::SmallDateTime => 0,
            other => return Err(errors::clash(other, SqlType::DateTimeOffset { scale: 7 })),
        };
        let target = SqlType::DateTimeOffset { scale };
        let coerced = self.coerce(&bound, target)?;
        let sql = match bound.sql_type {
            SqlType::DateTimeOffset { .. } => format!("t_switchoffset({coerced}, '+00:00')"),
            _ => coerced,
        };
        Ok(Bound { nullable: bound.nullable, ..Bound::new(sql, target) })
    }
}
