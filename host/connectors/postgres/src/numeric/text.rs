//! `numeric` in its binary form, as the text that the server shows.

use super::NEGATIVE;
use super::read::{NAN, NEGATIVE_INFINITY, POSITIVE_INFINITY};

/// Groups of four digits on either side of the point that are shown: more than a text that is kept has.
const MAX_GROUPS: i32 = 400;

/// The number; none for bytes that are none.
pub(crate) fn text(field: &[u8]) -> Option<String> {
    let (head, digits) = field.split_first_chunk::<8>()?;
    let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    let (weight, sign, shown) = (i32::from(word(2).cast_signed()), word(4), usize::from(word(6)));
    match sign {
        NAN => return Some("NaN".to_owned()),
        POSITIVE_INFINITY => return Some("infinity".to_owned()),
        NEGATIVE_INFINITY => return Some("-infinity".to_owned()),
        _ => {}
    }
    let group = |power: i32| {
        let at = usize::try_from(weight - power).ok()?;
        let pair = digits.get(at * 2..at * 2 + 2)?;
        Some(u16::from_be_bytes([pair[0], pair[1]]))
    };
    let whole: String = (weight.saturating_sub(MAX_GROUPS).max(0)..=weight)
        .rev()
        .map(|power| format!("{:04}", group(power).unwrap_or(0)))
        .collect();
    let groups = i32::try_from(shown.div_ceil(4)).unwrap_or(MAX_GROUPS).min(MAX_GROUPS);
    let mut fraction: String = (1..=groups).map(|at| format!("{:04}", group(-at).unwrap_or(0))).collect();
    fraction.truncate(shown);
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    let sign = if sign == NEGATIVE { "-" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{sign}{whole}{point}{fraction}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numeric(weight: i16, sign: u16, shown: u16, digits: &[u16]) -> String {
        let mut bytes = (digits.len() as u16).to_be_bytes().to_vec();
        bytes.extend(weight.to_be_bytes());
        bytes.extend(sign.to_be_bytes());
        bytes.extend(shown.to_be_bytes());
        digits.iter().for_each(|digit| bytes.extend(digit.to_be_bytes()));
        text(&bytes).unwrap()
    }

    #[test]
    fn numbers_read_as_the_server_shows_them() {
        assert_eq!(numeric(0, 0, 0, &[]), "0");
        assert_eq!(numeric(1, 0, 2, &[12, 3456, 7000]), "123456.70");
        assert_eq!(numeric(-1, NEGATIVE, 5, &[12]), "-0.00120");
        assert_eq!(numeric(-2, 0, 8, &[1]), "0.00000001");
        assert_eq!(numeric(2, 0, 0, &[1]), "100000000");
        assert_eq!(numeric(0, NAN, 0, &[]), "NaN");
        assert_eq!(numeric(0, NEGATIVE_INFINITY, 0, &[]), "-infinity");
        assert_eq!(text(b"short"), None);
    }
}
