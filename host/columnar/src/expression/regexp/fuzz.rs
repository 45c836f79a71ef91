//! Fuzz target: any text as a pattern and as a replacement.

use super::{Pattern, pattern, replace};

const TEXTS: &[&str] =
    &["", "a", "aab-12", "Žluťoučký kůň 🐎", "a\nb\\^$.|?*+()[]{}", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"];

#[test]
fn fuzz_patterns() {
    bolero::check!().for_each(|input: &[u8]| {
        let text = String::from_utf8_lossy(input);
        let (written, replacement) = text.split_once('\0').unwrap_or((&text, "\\&"));
        let Ok(translated) = pattern::translate(written) else { return };
        assert!(translated.text.is_ascii(), "{written:?}");
        let compiled = match Pattern::compile(written) {
            Ok(compiled) => compiled,
            Err(reason) => return assert_eq!(reason, "the pattern is too large", "{written:?}: {}", translated.text),
        };
        assert_eq!(compiled.regex.captures_len(), compiled.groups + 1, "{written:?}");
        for text in TEXTS {
            let found = compiled.regex.find(text);
            assert_eq!(found.is_some(), compiled.regex.is_match(text), "{written:?} in {text:?}");
        }
        drop(replace(written, replacement, "g"));
    });
}
