//! The members of a JSON object with the text of their values.
//!
//! What type a number needs is told by its digits, and a number that was parsed has lost those that no float keeps.

use serde::de::IgnoredAny;

/// Key and text of each member, in the order they are written in.
///
/// # Errors
/// A text that is no JSON object.
pub fn split(text: &str) -> Result<Vec<(String, &str)>, serde_json::Error> {
    // From here on it is known that strings close and brackets match.
    serde_json::from_str::<std::collections::BTreeMap<String, IgnoredAny>>(text)?;
    let mut scan = Scan { text, at: 0 };
    let mut members = Vec::new();
    scan.skip(b'{');
    while !scan.skip(b'}') && scan.at < text.len() {
        let key = serde_json::from_str(scan.value())?;
        scan.skip(b':');
        members.push((key, scan.value()));
        scan.skip(b',');
    }
    Ok(members)
}

/// A walk through text that is known to be JSON.
struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn blanks(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    }

    /// Passes over this byte, if it is the next one.
    fn skip(&mut self, byte: u8) -> bool {
        self.blanks();
        let found = self.text.as_bytes().get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    /// The text of the next value.
    fn value(&mut self) -> &'a str {
        self.blanks();
        let start = self.at;
        let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
        for byte in &self.text.as_bytes()[start..] {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                _ if quoted => {}
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth > 0 => depth -= 1,
                b'}' | b']' | b',' | b':' if depth == 0 => break,
                _ => {}
            }
            self.at += 1;
        }
        self.text.get(start..self.at).unwrap_or_default().trim_ascii_end()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_keep_their_text() {
        let members =
            split(r#" {"a" : 12345678901234.567 ,"b\n":{"x":[1,"}\""]}, "c":1e400,"d":null,"a":"x" } "#).unwrap();
        let members: Vec<(&str, &str)> = members.iter().map(|(key, value)| (key.as_str(), *value)).collect();
        assert_eq!(
            members,
            [("a", "12345678901234.567"), ("b\n", r#"{"x":[1,"}\""]}"#), ("c", "1e400"), ("d", "null"), ("a", "\"x\"")]
        );
        assert_eq!(split("{}").unwrap(), []);
        for wrong in ["", "[1]", "1", "{\"a\":}", "{\"a\":1}x"] {
            assert!(split(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_object_or_none(text in any::<String>(), json in "[\\[\\]{}\",:a1 \\\\]{0,40}") {
            for text in [text, json] {
                let _ = split(&text);
            }
        }

        #[test]
        fn objects_come_back(pairs in prop::collection::vec((any::<String>(), any::<String>(), any::<i64>()), 0..6)) {
            let member = |(key, value, number): &(String, String, i64)| {
                format!("{}\t: {}", serde_json::json!(key), serde_json::json!([value, number, {"x": value}]))
            };
            let object = format!("{{{}}}", pairs.iter().map(member).collect::<Vec<_>>().join(" , "));
            let members = split(&object).unwrap();
            prop_assert_eq!(members.len(), pairs.len());
            for ((key, text), (k, v, n)) in members.iter().zip(&pairs) {
                prop_assert_eq!(key, k);
                let value: serde_json::Value = serde_json::from_str(text).unwrap();
                prop_assert_eq!(value, serde_json::json!([v, n, {"x": v}]));
            }
        }
    }
}
