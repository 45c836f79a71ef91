//! Names and values in T-SQL.

use crate::bindings::datakit::kit::types::TableId;

/// A name in brackets, a closing bracket inside doubled: any name will do, whatever QUOTED_IDENTIFIER says.
///
/// ```
/// assert_eq!(datakit_sdk::sqlserver::quote_name("odd]name"), "[odd]]name]");
/// ```
#[must_use]
pub fn quote_name(name: &str) -> String {
    let mut quoted = String::with_capacity(name.len() + 2);
    quoted.push('[');
    for c in name.chars() {
        quoted.push(c);
        if c == ']' {
            quoted.push(']');
        }
    }
    quoted.push(']');
    quoted
}

/// A table's names, each in brackets; the catalog first, where there is one.
#[must_use]
pub fn quote_table(table: &TableId) -> String {
    table.quoted(quote_name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads a bracketed name as the server does.
    fn unquote(quoted: &str) -> Option<(String, &str)> {
        let mut rest = quoted.strip_prefix('[')?;
        let mut name = String::new();
        loop {
            let end = rest.find(']')?;
            name.push_str(&rest[..end]);
            rest = &rest[end + 1..];
            match rest.strip_prefix(']') {
                Some(more) => {
                    name.push(']');
                    rest = more;
                }
                None => return Some((name, rest)),
            }
        }
    }

    #[test]
    fn odd_names_are_quoted() {
        for (name, quoted) in [
            ("plain", "[plain]"),
            ("a]b", "[a]]b]"),
            ("]]", "[]]]]]"),
            ("a.b", "[a.b]"),
            ("it's \"q\"", "[it's \"q\"]"),
            ("[x", "[[x]"),
            ("naïve Straße 日本 🦀", "[naïve Straße 日本 🦀]"),
            (" --; DROP TABLE x", "[ --; DROP TABLE x]"),
            ("", "[]"),
        ] {
            assert_eq!(quote_name(name), quoted);
        }
        let table = TableId::new("my.schema", "a]b");
        assert_eq!(quote_table(&table), "[my.schema].[a]]b]");
    }

    proptest! {
        #[test]
        fn quoting_is_reversible_and_ends_where_it_should(name in any::<String>(), after in "[^\\]]*") {
            let text = quote_name(&name) + &after;
            prop_assert_eq!(unquote(&text), Some((name, after.as_str())));
        }
    }
}
