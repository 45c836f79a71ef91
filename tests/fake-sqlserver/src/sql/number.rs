//! Exact numbers: an `i128` and a scale, with SQL Server's rules for the result of arithmetic.

/// The largest precision of `decimal`.
pub const MAX_PRECISION: u8 = 38;

/// Why exact arithmetic has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberError {
    /// The result needs more digits than its type has.
    Overflow,
    /// The divisor is zero.
    DivideByZero,
}

/// 10 to the power of `exponent`, for exponents up to 38.
pub fn power_of_ten(exponent: u8) -> i128 {
    10_i128.pow(u32::from(exponent.min(MAX_PRECISION)))
}

/// Whether `unscaled` has at most `precision` digits.
pub fn fits(unscaled: i128, precision: u8) -> bool {
    unscaled.unsigned_abs() < power_of_ten(precision).unsigned_abs()
}

/// Takes a number to another scale, rounding half away from zero.
pub fn rescale(unscaled: i128, from: u8, to: u8) -> Option<i128> {
    if to >= from {
        return unscaled.checked_mul(power_of_ten(to - from));
    }
    let unit = power_of_ten(from - to);
    let (quotient, remainder) = (unscaled / unit, unscaled % unit);
    let away = i128::from(remainder.unsigned_abs() * 2 >= unit.unsigned_abs()) * unscaled.signum();
    Some(quotient + away)
}

/// Reads `[+-]digits[.digits]`: the unscaled number and its scale. Digits beyond the 38th of the fraction are cut.
pub fn parse(text: &str) -> Option<(i128, u8)> {
    let text = text.trim();
    let (negative, body) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, fraction) = body.split_once('.').unwrap_or((body, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let fraction = fraction.get(..fraction.len().min(38))?;
    let mut unscaled = 0_i128;
    for byte in whole.bytes().chain(fraction.bytes()) {
        if !byte.is_ascii_digit() {
            return None;
        }
        unscaled = unscaled.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
    }
    Some((if negative { -unscaled } else { unscaled }, u8::try_from(fraction.len()).ok()?))
}

/// Plain text with all `scale` fraction digits.
pub fn format(unscaled: i128, scale: u8) -> String {
    let digits = format!("{:0width$}", unscaled.unsigned_abs(), width = usize::from(scale) + 1);
    let sign = if unscaled < 0 { "-" } else { "" };
    let (whole, fraction) = digits.split_at(digits.len() - usize::from(scale));
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// The nearest `f64`.
pub fn to_f64(unscaled: i128, scale: u8) -> f64 {
    // Text, because dividing two rounded floats would round twice.
    format(unscaled, scale).parse().unwrap_or(f64::NAN)
}

/// The decimal of `scale` nearest to a float, or `None` when it has more than 38 digits.
pub fn from_f64(value: f64, scale: u8) -> Option<i128> {
    if !value.is_finite() || value.abs() >= 1e38 {
        return None;
    }
    // 17 significant digits are all a double holds; SQL Server rounds there as well.
    let (unscaled, found) = parse(&format!("{value:.*}", usize::from(scale.min(38))))?;
    rescale(unscaled, found, scale)
}

/// An operator of arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`
    Modulo,
}

impl Operator {
    /// The operator written as `sign`.
    pub fn from_sign(sign: &str) -> Option<Self> {
        Some(match sign {
            "+" => Self::Add,
            "-" => Self::Subtract,
            "*" => Self::Multiply,
            "/" => Self::Divide,
            "%" => Self::Modulo,
            _ => return None,
        })
    }

    /// Precision and scale of the result, by the table "Precision, scale, and length" of the T-SQL reference.
    pub fn result(self, left: (u8, u8), right: (u8, u8)) -> (u8, u8) {
        let ((p1, s1), (p2, s2)) = ((i32::from(left.0), i32::from(left.1)), (i32::from(right.0), i32::from(right.1)));
        let (precision, scale) = match self {
            Self::Add | Self::Subtract => (s1.max(s2) + (p1 - s1).max(p2 - s2) + 1, s1.max(s2)),
            Self::Multiply => (p1 + p2 + 1, s1 + s2),
            Self::Divide => {
                let scale = 6.max(s1 + p2 + 1);
                (p1 - s1 + s2 + scale, scale)
            }
            Self::Modulo => ((p1 - s1).min(p2 - s2) + s1.max(s2), s1.max(s2)),
        };
        let (precision, scale) = if precision > 38 {
            let whole = precision - scale;
            match self {
                Self::Add | Self::Subtract => (38, scale.min(38 - (whole - 1).min(38))),
                _ => (38, if whole < 32 { scale.min(38 - whole) } else { scale.min(6) }),
            }
        } else {
            (precision, scale)
        };
        (u8::try_from(precision.clamp(1, 38)).unwrap_or(38), u8::try_from(scale.clamp(0, 38)).unwrap_or(0))
    }

    /// Computes `left operator right`, each `(unscaled, scale)`, at the scale of the result.
    pub fn apply(self, left: (i128, u8), right: (i128, u8), result_scale: u8) -> Result<i128, NumberError> {
        let common = left.1.max(right.1);
        let align = |number: (i128, u8)| rescale(number.0, number.1, common).ok_or(NumberError::Overflow);
        match self {
            Self::Add => align(left)?.checked_add(align(right)?),
            Self::Subtract => align(left)?.checked_sub(align(right)?),
            Self::Modulo if right.0 == 0 => return Err(NumberError::DivideByZero),
            Self::Modulo => align(left)?.checked_rem(align(right)?),
            Self::Multiply => {
                let product = left.0.checked_mul(right.0).ok_or(NumberError::Overflow)?;
                return rescale(product, left.1 + right.1, result_scale).ok_or(NumberError::Overflow);
            }
            Self::Divide if right.0 == 0 => return Err(NumberError::DivideByZero),
            Self::Divide => return divide(left, right, result_scale),
        }
        .and_then(|sum| rescale(sum, common, result_scale))
        .ok_or(NumberError::Overflow)
    }
}

fn divide(left: (i128, u8), right: (i128, u8), result_scale: u8) -> Result<i128, NumberError> {
    // Long division digit by digit: scaling the numerator up front would overflow long before the quotient does.
    let digits = i32::from(result_scale) + i32::from(right.1) - i32::from(left.1);
    let divisor = right.0.unsigned_abs();
    let mut quotient = left.0.unsigned_abs() / divisor;
    let mut remainder = left.0.unsigned_abs() % divisor;
    for _ in 0..digits.max(0) {
        remainder = remainder.checked_mul(10).ok_or(NumberError::Overflow)?;
        let digit = remainder / divisor;
        remainder %= divisor;
        quotient = quotient.checked_mul(10).and_then(|value| value.checked_add(digit)).ok_or(NumberError::Overflow)?;
    }
    for _ in digits..0 {
        quotient /= 10;
    }
    let quotient = i128::try_from(quotient).map_err(|_| NumberError::Overflow)?;
    Ok(if (left.0 < 0) == (right.0 < 0) { quotient } else { -quotient })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn results_have_the_documented_types() {
        assert_eq!(Operator::Add.result((10, 2), (5, 4)), (13, 4));
        assert_eq!(Operator::Multiply.result((10, 2), (5, 4)), (16, 6));
        assert_eq!(Operator::Divide.result((10, 2), (5, 4)), (20, 8));
        assert_eq!(Operator::Multiply.result((38, 10), (38, 10)), (38, 6));
        assert_eq!(Operator::Add.result((38, 10), (38, 10)), (38, 10));
    }

    #[test]
    fn arithmetic_is_exact() {
        assert_eq!(Operator::Divide.apply((1, 0), (3, 0), 6), Ok(333_333));
        assert_eq!(Operator::Divide.apply((-100, 2), (3, 1), 6), Ok(-3_333_333));
        assert_eq!(Operator::Divide.apply((1, 0), (0, 0), 6), Err(NumberError::DivideByZero));
        assert_eq!(Operator::Add.apply((125, 2), (1, 0), 2), Ok(225));
        assert_eq!(Operator::Modulo.apply((75, 1), (2, 0), 1), Ok(15));
        assert_eq!(Operator::Multiply.apply((i128::MAX, 0), (2, 0), 0), Err(NumberError::Overflow));
        assert_eq!(rescale(-25, 1, 0), Some(-3));
    }

    proptest! {
        #[test]
        fn text_round_trips(unscaled in -(10_i128.pow(38) - 1)..10_i128.pow(38), scale in 0_u8..=38) {
            prop_assert_eq!(parse(&format(unscaled, scale)), Some((unscaled, scale)));
        }
    }
}
