//! Decimals in Postgres' binary form of `numeric`.
//!
//! Source: `numeric_recv` in the server's `numeric.c`. Four 16-bit numbers (count of digits, weight of the first one, sign,
//! digits after the point to display), then the digits to base 10,000, aligned at the decimal point, without zeros at
//! either end.

use bytes::{BufMut, BytesMut};

use super::NEGATIVE;

const BASE_DIGITS: u32 = 4;
/// 38 digits, the point in the middle of a group: 10 groups before it or 10 after, and one for the cut.
const MAX_GROUPS: usize = 12;

/// Digits to base 10,000, the first one first.
struct Groups {
    digits: [u16; MAX_GROUPS],
    count: usize,
    /// The power of 10,000 of the first digit.
    weight: i16,
}

/// Appends the field: its length and its bytes. `scale` is 0 to 38, `unscaled` of at most 38 digits.
pub(crate) fn put_numeric(out: &mut BytesMut, unscaled: i128, scale: u32) {
    let magnitude = unscaled.unsigned_abs();
    // Most values fit 64 bits, where dividing is many times faster.
    let groups = match u64::try_from(magnitude) {
        Ok(small) if scale <= 18 => {
            let power = 10_u64.pow(scale);
            split(&mut Small(small / power), &mut Small(small % power), scale)
        }
        _ => {
            let power = 10_u128.pow(scale);
            split(&mut Large(magnitude / power), &mut Large(magnitude % power), scale)
        }
    };
    out.put_i32(8 + 2 * groups.count as i32);
    out.put_u16(groups.count as u16);
    out.put_i16(groups.weight);
    out.put_u16(if unscaled < 0 { NEGATIVE } else { 0 });
    out.put_u16(scale as u16);
    for digit in &groups.digits[..groups.count] {
        out.put_u16(*digit);
    }
}

/// A number that is taken apart group by group.
trait Magnitude {
    fn is_zero(&self) -> bool;
    /// Takes the lowest four digits off.
    fn low_group(&mut self) -> u16;
    /// Takes off what stands above `10^power`.
    fn high_part(&mut self, power: u32) -> u16;
    /// Times `10^power`, below 10,000 by the caller's account.
    fn shifted(&self, power: u32) -> u16;
}

struct Small(u64);
struct Large(u128);

macro_rules! magnitude {
    ($name:ident, $int:ty) => {
        impl Magnitude for $name {
            fn is_zero(&self) -> bool {
                self.0 == 0
            }
            fn low_group(&mut self) -> u16 {
                let digit = self.0 % 10_000;
                self.0 /= 10_000;
                digit as u16
            }
            fn high_part(&mut self, power: u32) -> u16 {
                let unit = <$int>::pow(10, power);
                let digit = self.0 / unit;
                self.0 %= unit;
                digit as u16
            }
            fn shifted(&self, power: u32) -> u16 {
                (self.0 * <$int>::pow(10, power)) as u16
            }
        }
    };
}

magnitude!(Small, u64);
magnitude!(Large, u128);

fn split<M: Magnitude>(whole: &mut M, fraction: &mut M, scale: u32) -> Groups {
    let mut groups = Groups { digits: [0; MAX_GROUPS], count: 0, weight: 0 };
    while !whole.is_zero() {
        groups.digits[groups.count] = whole.low_group();
        groups.count += 1;
    }
    groups.digits[..groups.count].reverse();
    let mut weight = groups.count as i16 - 1;

    let mut left = scale;
    while !fraction.is_zero() {
        let digit = if left >= BASE_DIGITS {
            left -= BASE_DIGITS;
            fraction.high_part(left)
        } else {
            let last = fraction.shifted(BASE_DIGITS - left);
            fraction.high_part(0);
            last
        };
        if groups.count == 0 && digit == 0 {
            // A zero in front only moves the first digit.
            weight -= 1;
        } else {
            groups.digits[groups.count] = digit;
            groups.count += 1;
        }
    }
    while groups.count > 0 && groups.digits[groups.count - 1] == 0 {
        groups.count -= 1;
    }
    groups.weight = if groups.count == 0 { 0 } else { weight };
    groups
}

#[cfg(test)]
mod tests {
    use bytes::Buf;
    use proptest::prelude::*;

    use super::*;

    /// `numeric_out`, near enough: the text of a binary numeric.
    fn text(mut bytes: BytesMut) -> String {
        assert_eq!(bytes.get_i32() as usize, bytes.len());
        let (count, weight, sign, scale) =
            (bytes.get_u16(), i32::from(bytes.get_i16()), bytes.get_u16(), bytes.get_u16());
        let digits: Vec<u16> = (0..count).map(|_| bytes.get_u16()).collect();
        assert!(bytes.is_empty());
        assert!(digits.first() != Some(&0) && digits.last() != Some(&0), "{digits:?}");
        let at = |power: i32| usize::try_from(weight - power).ok().and_then(|i| digits.get(i)).copied().unwrap_or(0);
        let mut whole: String = (0..=weight.max(0)).rev().map(|p| format!("{:04}", at(p))).collect();
        whole = whole.trim_start_matches('0').to_owned();
        let fraction: String = (1..=i32::from(scale.div_ceil(4))).map(|p| format!("{:04}", at(-p))).collect();
        assert!(fraction[usize::from(scale)..].chars().all(|c| c == '0'), "digits beyond the scale");
        let sign = if sign == NEGATIVE { "-" } else { "" };
        let whole = if whole.is_empty() { "0" } else { &whole };
        if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{}", &fraction[..usize::from(scale)]) }
    }

    fn encoded(unscaled: i128, scale: u32) -> BytesMut {
        let mut out = BytesMut::new();
        put_numeric(&mut out, unscaled, scale);
        out
    }

    fn expected(unscaled: i128, scale: u32) -> String {
        let sign = if unscaled < 0 { "-" } else { "" };
        let digits = format!("{:0width$}", unscaled.unsigned_abs(), width = scale as usize + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale as usize);
        if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
    }

    #[test]
    fn known_bytes() {
        // 12345.678 as the server sends it: 3 digits 1 2345 6780, weight 1, scale 3.
        assert_eq!(&encoded(12_345_678, 3)[..], [0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 3, 0, 1, 9, 41, 26, 124]);
        assert_eq!(&encoded(0, 2)[..], [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(&encoded(-1, 5)[..], [0, 0, 0, 10, 0, 1, 0xff, 0xfe, 0x40, 0, 0, 5, 3, 232]);
    }

    #[test]
    fn the_widest_fit() {
        let widest = 10_i128.pow(38) - 1;
        for scale in 0..=38 {
            assert_eq!(text(encoded(-widest, scale)), expected(-widest, scale));
            assert_eq!(text(encoded(1, scale)), expected(1, scale));
        }
    }

    proptest! {
        #[test]
        fn decimals_read_back(unscaled in -(10_i128.pow(38) - 1)..10_i128.pow(38), digits in 0_u32..38, scale in 0_u32..=38) {
            let unscaled = unscaled / 10_i128.pow(digits);
            prop_assert_eq!(text(encoded(unscaled, scale)), expected(unscaled, scale));
        }

        #[test]
        fn round_decimals_read_back(unscaled in -9_999_i128..10_000, zeros in 0_u32..34, scale in 0_u32..=38) {
            let unscaled = unscaled * 10_i128.pow(zeros);
            prop_assert_eq!(text(encoded(unscaled, scale)), expected(unscaled, scale));
        }
    }
}
