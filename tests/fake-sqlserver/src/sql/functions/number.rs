//! Arithmetic and functions of numbers.

use rusqlite::Connection;
use rusqlite::functions::Context;
use rusqlite::types::Value as Stored;

use super::{add, integer_at, is_null, str_at, type_at, value_at};
use crate::sql::number::{self, NumberError, Operator};
use crate::sql::{convert, errors, store, types};
use crate::values::{SqlError, SqlType, Value};

pub(super) fn register(connection: &Connection) -> rusqlite::Result<()> {
    add(connection, "t_arithmetic", 6, arithmetic)?;
    add(connection, "t_number", 5, function)
}

fn arithmetic(context: &Context<'_>) -> Result<Stored, SqlError> {
    if is_null(context, 1) || is_null(context, 3) {
        return Ok(Stored::Null);
    }
    let operator = str_at(context, 0)
        .and_then(Operator::from_sign)
        .ok_or_else(|| errors::unsupported("an operator without a sign"))?;
    let (left_type, right_type, result) = (type_at(context, 2)?, type_at(context, 4)?, type_at(context, 5)?);
    let (left, right) = (value_at(context, 1, left_type)?, value_at(context, 3, right_type)?);
    let value = match result {
        SqlType::Float | SqlType::Real => {
            let (left, right) =
                (convert::float_of(&left).unwrap_or(f64::NAN), convert::float_of(&right).unwrap_or(f64::NAN));
            let float = match operator {
                Operator::Add => left + right,
                Operator::Subtract => left - right,
                Operator::Multiply => left * right,
                Operator::Divide | Operator::Modulo if right == 0.0 => return Err(errors::divide_by_zero()),
                Operator::Divide => left / right,
                Operator::Modulo => left % right,
            };
            convert::convert(Value::Float(float), SqlType::Float, result, None)?
        }
        _ => {
            let (left, right) = (exact(&left), exact(&right));
            let scale = types::as_decimal(result).map_or(0, |(_, scale)| scale);
            let unscaled = operator.apply(left, right, scale).map_err(|error| match error {
                NumberError::DivideByZero => errors::divide_by_zero(),
                NumberError::Overflow => errors::overflow(result),
            })?;
            if types::is_integer(result) {
                convert::integer_in_range(unscaled, result)?
            } else {
                Value::Decimal { unscaled, scale }
            }
        }
    };
    store::encode(result, value)
}

fn exact(value: &Value) -> (i128, u8) {
    match value {
        Value::Bit(bit) => (i128::from(*bit), 0),
        Value::Int(integer) => (i128::from(*integer), 0),
        Value::Decimal { unscaled, scale } => (*unscaled, *scale),
        _ => (0, 0),
    }
}

fn function(context: &Context<'_>) -> Result<Stored, SqlError> {
    if is_null(context, 1) || is_null(context, 3) {
        return Ok(Stored::Null);
    }
    let (from, result) = (type_at(context, 2)?, type_at(context, 4)?);
    let value = value_at(context, 1, from)?;
    let name = str_at(context, 0).unwrap_or_default();
    let value = match value {
        Value::Float(float) => Value::Float(of_float(name, float, context)?),
        Value::Int(integer) => {
            let (unscaled, _) = of_exact(name, i128::from(integer), 0, context)?;
            convert::integer_in_range(unscaled, result)?
        }
        Value::Decimal { unscaled, scale } => {
            let (unscaled, scale) = of_exact(name, unscaled, scale, context)?;
            Value::Decimal { unscaled, scale }
        }
        _ => return Err(errors::clash(from, SqlType::Float)),
    };
    store::encode(result, value)
}

fn domain(name: &str) -> SqlError {
    SqlError::new(3623, format!("An invalid floating point operation occurred in {name}."))
}

fn of_float(name: &str, float: f64, context: &Context<'_>) -> Result<f64, SqlError> {
    let power = || context.get_raw(3).as_f64().or_else(|_| context.get_raw(3).as_i64().map(|integer| integer as f64));
    let result = match name {
        "ABS" => float.abs(),
        "SIGN" if float == 0.0 => 0.0,
        "SIGN" => float.signum(),
        "FLOOR" => float.floor(),
        "CEILING" => float.ceil(),
        "SQRT" => float.sqrt(),
        "EXP" => float.exp(),
        "LOG" => float.ln(),
        "LOG10" => float.log10(),
        "POWER" => float.powf(power().unwrap_or(1.0)),
        _ => {
            let unit = 10_f64.powi(i32::try_from(integer_at(context, 3).unwrap_or(0)).unwrap_or(0));
            (float * unit).round() / unit
        }
    };
    if result.is_finite() { Ok(result) } else { Err(domain(name)) }
}

fn of_exact(name: &str, unscaled: i128, scale: u8, context: &Context<'_>) -> Result<(i128, u8), SqlError> {
    let unit = number::power_of_ten(scale);
    Ok(match name {
        "ABS" => (unscaled.abs(), scale),
        "SIGN" => (unscaled.signum() * unit, scale),
        "FLOOR" => (unscaled.div_euclid(unit), 0),
        "CEILING" => (-(-unscaled).div_euclid(unit), 0),
        "ROUND" => {
            let digits = integer_at(context, 3).unwrap_or(0);
            let Ok(cut) = u8::try_from(i64::from(scale).saturating_sub(digits).max(0)) else { return Ok((0, scale)) };
            if cut > number::MAX_PRECISION {
                return Ok((0, scale));
            }
            let rounded = number::rescale(unscaled, cut, 0).unwrap_or(0);
            (rounded.saturating_mul(number::power_of_ten(cut)), scale)
        }
        "POWER" => {
            let float = of_float(name, number::to_f64(unscaled, scale), context)?;
            (number::from_f64(float, scale).ok_or_else(|| domain(name))?, scale)
        }
        _ => return Err(errors::unknown_function(name)),
    })
}
