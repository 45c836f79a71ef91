//! The order of text: without regard to case and to spaces at the end, as SQL Server's default collation has it.
//!
//! Letters are compared by code point once lowered. The real collation sorts by language (`a`, `ä`, `b`); equality, which
//! keys and joins rest on, differs only in width and kana, and in letters that expand (`ß`).

use std::cmp::Ordering;

/// Name of the collation in SQLite.
pub const NAME: &str = "CI";

/// Compares two texts.
pub fn compare(left: &str, right: &str) -> Ordering {
    let (left, right) = (left.trim_end_matches(' '), right.trim_end_matches(' '));
    if left.is_ascii() && right.is_ascii() {
        return left.bytes().map(lowered).cmp(right.bytes().map(lowered));
    }
    left.chars().flat_map(char::to_lowercase).cmp(right.chars().flat_map(char::to_lowercase))
}

fn lowered(byte: u8) -> u8 {
    byte.to_ascii_lowercase()
}

/// Whether two names are the same to SQL Server.
pub fn same(left: &str, right: &str) -> bool {
    compare(left, right) == Ordering::Equal
}

/// Whether a text matches a pattern of LIKE: `%`, `_`, `[a-f]`, `[^x]`, and an escape character.
pub fn like(text: &str, pattern: &str, escape: Option<char>) -> bool {
    let lowered = |text: &str| text.chars().flat_map(char::to_lowercase).collect::<Vec<char>>();
    matches(&lowered(text), &parse_pattern(&lowered(pattern), escape))
}

#[derive(Debug)]
enum Piece {
    AnyNumber,
    One,
    Exactly(char),
    Set { ranges: Vec<(char, char)>, negated: bool },
}

fn parse_pattern(pattern: &[char], escape: Option<char>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some(&character) = pattern.get(at) {
        at += 1;
        if Some(character) == escape {
            if let Some(&next) = pattern.get(at) {
                pieces.push(Piece::Exactly(next));
                at += 1;
            }
            continue;
        }
        match character {
            '%' => pieces.push(Piece::AnyNumber),
            '_' => pieces.push(Piece::One),
            '[' => match pattern[at..].iter().skip(1).position(|&c| c == ']') {
                Some(length) => {
                    pieces.push(parse_set(&pattern[at..at + length + 1]));
                    at += length + 2;
                }
                None => pieces.push(Piece::Exactly('[')),
            },
            other => pieces.push(Piece::Exactly(other)),
        }
    }
    pieces
}

fn parse_set(content: &[char]) -> Piece {
    let negated = content.first() == Some(&'^');
    let content = if negated { &content[1..] } else { content };
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Some(&from) = content.get(at) {
        match (content.get(at + 1), content.get(at + 2)) {
            (Some('-'), Some(&to)) => {
                ranges.push((from, to));
                at += 3;
            }
            _ => {
                ranges.push((from, from));
                at += 1;
            }
        }
    }
    Piece::Set { ranges, negated }
}

fn matches(text: &[char], pattern: &[Piece]) -> bool {
    // Greedy with one point to come back to: linear in text × pattern, whatever the number of `%`.
    let (mut t, mut p) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    loop {
        match pattern.get(p) {
            Some(Piece::AnyNumber) => {
                back = Some((t, p + 1));
                p += 1;
                continue;
            }
            Some(piece) if t < text.len() && one(piece, text[t]) => {
                t += 1;
                p += 1;
                continue;
            }
            None if t == text.len() => return true,
            _ => {}
        }
        match back {
            Some((from, after)) if from < text.len() => {
                back = Some((from + 1, after));
                t = from + 1;
                p = after;
            }
            _ => return false,
        }
    }
}

fn one(piece: &Piece, character: char) -> bool {
    match piece {
        Piece::AnyNumber => false,
        Piece::One => true,
        Piece::Exactly(wanted) => *wanted == character,
        Piece::Set { ranges, negated } => {
            ranges.iter().any(|(from, to)| (*from..=*to).contains(&character)) != *negated
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_final_spaces_do_not_count() {
        assert!(same("Straße  ", "STRAßE"));
        assert!(same("Éa", "éA"));
        assert!(!same(" a", "a"));
        assert_eq!(compare("a", "B"), Ordering::Less);
    }

    #[test]
    fn patterns_match_as_in_t_sql() {
        for (text, pattern) in
            [("Order_1", "order[_]%"), ("abc", "a%c"), ("abc", "[a-c]__"), ("x", "[^a-c]"), ("a]", "a]"), ("", "%")]
        {
            assert!(like(text, pattern, None), "{text} {pattern}");
        }
        for (text, pattern) in [("Order1", "order[_]%"), ("abd", "a%c"), ("b", "[^a-c]"), ("", "_")] {
            assert!(!like(text, pattern, None), "{text} {pattern}");
        }
        assert!(like("50%", "50!%", Some('!')));
        assert!(!like("500", "50!%", Some('!')));
    }
}
