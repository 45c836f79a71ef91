//! What patterns mean and which there are.

use regex::Regex;

use super::{Pattern, parts, pattern};
use crate::work::Meter;

fn found<'t>(pattern: &str, text: &'t str) -> Option<&'t str> {
    Pattern::compile(pattern).unwrap().regex.find(text).map(|found| found.as_str())
}

#[test]
fn a_pattern_is_written_anew_with_nothing_left_open() {
    let translated = pattern::translate("^a.(?:\\d|[^b-dé\\w])+$").unwrap();
    insta::assert_snapshot!(translated.text);
    assert_eq!((translated.groups, translated.positions), (0, 6));
}

#[test]
fn patterns_mean_what_the_docs_say() {
    for (pattern, text, expected) in [
        ("", "abc", Some("")),
        ("b", "abc", Some("b")),
        ("b|", "abc", Some("")),
        ("a|ab", "abc", Some("a")),
        (".", "\n", Some("\n")),
        ("^b", "a\nb", None),
        ("a$", "a\n", None),
        ("a{2}", "aaa", Some("aa")),
        ("a{2,}", "aaa", Some("aaa")),
        ("a{0,1}b", "aab", Some("ab")),
        ("(ab)+", "xababx", Some("abab")),
        ("\\d+", "a٣42", Some("42")),
        ("\\w+", "éab_1é", Some("ab_1")),
        ("\\s", "\u{a0} ", Some(" ")),
        ("\\S", " \u{a0}", Some("\u{a0}")),
        ("[^a]", "a\n", Some("\n")),
        ("[a-c-]+", "-bd", Some("-b")),
        ("[\\]\\-x]+", "ax]-", Some("x]-")),
        ("[.|$]", "a$", Some("$")),
        ("\\.", "a.", Some(".")),
        ("é{2}", "éé", Some("éé")),
        ("ab{2}", "abab", None),
        ("É", "é", None),
        ("(?:)", "x", Some("")),
        ("()x", "x", Some("x")),
    ] {
        assert_eq!(found(pattern, text), expected, "{pattern:?} in {text:?}");
    }
}

#[test]
fn what_is_no_pattern_of_the_language_says_why() {
    let deep = "(".repeat(40);
    let wide = "a{255}".repeat(5);
    let patterns = [
        "(",
        ")",
        "a)",
        "[",
        "[]",
        "[a",
        "[b-a]",
        "[a-\\d]",
        "[[:alpha:]]",
        "[\\D]",
        "*",
        "a**",
        "a*?",
        "a{",
        "a{1",
        "a{256}",
        "a{2,1}",
        "^*",
        "(?i)a",
        "(?=a)",
        "\\",
        "\\b",
        "\\p{L}",
        "\\1",
        "{",
        "}",
        "]",
        "(a{100}){100}",
        &deep,
        &wide,
    ];
    let lines = patterns.iter().map(|text| format!("{text}\n    {}", pattern::translate(text).unwrap_err()));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
    let replacements = ["\\", "\\0", "\\2", "\\x"].map(|text| parts(text, 1).unwrap_err());
    insta::assert_snapshot!(replacements.join("\n"));
}

/// The `regex` crate reads the same texts; on ASCII both mean the same.
#[test]
fn the_regex_crate_agrees_on_ascii() {
    let patterns = ["a+b", "(a|b)*c", "[a-c]{2,3}", "^a|b$", "\\d\\D", "\\w+\\W", "x?y", "[^abc]", "a{0}b"];
    for pattern in patterns {
        let theirs = Regex::new(&format!("(?s){pattern}")).unwrap();
        for text in ["", "aab", "abc", "bca1-", "12x", "a b", "xxy", "ccb", "b\n"] {
            assert_eq!(found(pattern, text), theirs.find(text).map(|found| found.as_str()), "{pattern} in {text:?}");
        }
    }
}

#[test]
fn replacing_is_counted_before_it_takes_long() {
    let meter = Meter::new(50_000_000);
    let _entered = meter.enter();
    let text = "a".repeat(200_000);
    let pattern = Pattern::compile("a.*b|a").unwrap();
    let kernel = super::Kernel::Replace { parts: Vec::new(), every: true };
    let signature = datafusion_expr::Signature::any(1, datafusion_expr::Volatility::Immutable);
    let regexp = super::Regexp { pattern, kernel, signature };
    let _text = super::functions::Meter::start(u64::MAX / 16);
    assert!(regexp.replace(&text, &[], true, &mut String::new()).is_err());
    assert!(meter.is_exhausted());
}
