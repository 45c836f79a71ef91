//! `numeric` in its binary form, as an unscaled number.
//!
//! Source: `numeric_send` in the server's `numeric.c`. Four 16-bit numbers (count of digits, weight of the first one, sign,
//! digits after the point to display), then the digits to base 10,000.

use super::NEGATIVE;

pub(super) const NAN: u16 = 0xc000;
pub(super) const POSITIVE_INFINITY: u16 = 0xd000;
pub(super) const NEGATIVE_INFINITY: u16 = 0xf000;

/// Why a field has no unscaled number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Bytes that are no numeric.
    Malformed,
    /// NaN.
    NotANumber,
    /// An infinity.
    Infinite,
    /// More digits than the type has.
    TooManyDigits,
}

/// Powers of ten that fit 128 bits.
const POWERS: [i128; 39] = {
    let mut powers = [1; 39];
    let mut i = 1;
    while i < 39 {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// 10 to the power of the precision: what an unscaled number stays below.
pub(crate) fn bound(precision: u8) -> i128 {
    // Of 38 digits, and so is no power within reach of the largest precision missing.
    POWERS.get(usize::from(precision)).copied().unwrap_or(i128::MAX)
}

/// The number times 10 to the power of `scale`, below `bound` in size.
#[inline]
pub(crate) fn unscaled(field: &[u8], scale: i32, bound: i128) -> Result<i128, Unreadable> {
    let Some((head, digits)) = field.split_first_chunk::<8>() else { return Err(Unreadable::Malformed) };
    let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let (count, weight, sign) = (usize::from(word(0)), i32::from(word(2) as i16), word(4));
    if digits.len() != count * 2 || sign & !NEGATIVE != 0 {
        return Err(match sign {
            NAN => Unreadable::NotANumber,
            POSITIVE_INFINITY | NEGATIVE_INFINITY => Unreadable::Infinite,
            _ => Unreadable::Malformed,
        });
    }
    if count == 0 {
        return Ok(0);
    }
    // The power of ten of the last digit's group, in the unscaled number.
    let last = 4 * (weight - count as i32 + 1) + scale;
    let magnitude = match small(digits, last) {
        Some(magnitude) => i128::from(magnitude),
        None => large(digits, last).ok_or(Unreadable::TooManyDigits)?,
    };
    if magnitude >= bound {
        return Err(Unreadable::TooManyDigits);
    }
    Ok(if sign == NEGATIVE { -magnitude } else { magnitude })
}

/// Up to 18 digits by 64-bit arithmetic, which most numbers are.
#[inline]
fn small(digits: &[u8], last: i32) -> Option<i64> {
    if digits.len() > 8 || !(-3..=2).contains(&last) {
        return None;
    }
    let mut value = 0_i64;
    for digit in digits.chunks_exact(2) {
        value = value * 10_000 + i64::from(u16::from_be_bytes([digit[0], digit[1]]));
    }
    const TENS: [i64; 4] = [1, 10, 100, 1000];
    if last >= 0 {
        return Some(value * TENS[last as usize]);
    }
    let divisor = TENS[-last as usize];
    (value % divisor == 0).then_some(value / divisor)
}

/// Any number; none when it has digits below the scale, or more than 128 bits hold.
fn large(digits: &[u8], last: i32) -> Option<i128> {
    let count = digits.len() / 2;
    let mut value = 0_i128;
    let mut power = last + 4 * (count as i32 - 1);
    for digit in digits.chunks_exact(2) {
        let digit = i128::from(u16::from_be_bytes([digit[0], digit[1]]));
        if power >= 0 {
            value = value.checked_mul(10_000)?.checked_add(digit)?;
        } else if power > -4 {
            // The group stands across the scale: below it there may be zeros only.
            let below = POWERS[power.unsigned_abs() as usize];
            if digit % below != 0 {
                return None;
            }
            value = value.checked_mul(10_000 / below)?.checked_add(digit / below)?;
        } else if digit != 0 {
            return None;
        }
        power -= 4;
    }
    if last > 0 && value != 0 {
        value = value.checked_mul(*POWERS.get(last as usize)?)?;
    }
    Some(value)
}
