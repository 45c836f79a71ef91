//! Names in the SQL of PostgreSQL.

use crate::bindings::datakit::kit::types::TableId;

/// A name in double quotes, a quote inside doubled: any name will do.
///
/// ```
/// assert_eq!(datakit_sdk::postgres::quote_name("odd\"name"), "\"odd\"\"name\"");
/// ```
#[must_use]
pub fn quote_name(name: &str) -> String {
    let mut quoted = String::with_capacity(name.len() + 2);
    quoted.push('"');
    for c in name.chars() {
        quoted.push(c);
        if c == '"' {
            quoted.push('"');
        }
    }
    quoted.push('"');
    quoted
}

/// A table's names, each in quotes; the catalog first, where there is one.
#[must_use]
pub fn quote_table(table: &TableId) -> String {
    table.quoted(quote_name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn odd_names_are_quoted() {
        for (name, quoted) in [
            ("plain", r#""plain""#),
            ("Mixed", r#""Mixed""#),
            (r#"a"b"#, r#""a""b""#),
            ("a.b", r#""a.b""#),
            ("naïve Straße 日本 🦀", r#""naïve Straße 日本 🦀""#),
            (" --; DROP TABLE x", r#"" --; DROP TABLE x""#),
        ] {
            assert_eq!(quote_name(name), quoted);
        }
        let table = TableId::new("my.schema", r#"a"b"#);
        assert_eq!(quote_table(&table), r#""my.schema"."a""b""#);
    }

    proptest! {
        #[test]
        fn quoting_is_reversible(name in any::<String>()) {
            let quoted = quote_name(&name);
            let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap();
            prop_assert_eq!(inner.replace("\"\"", "\""), name);
            prop_assert!(!inner.replace("\"\"", "").contains('"'));
        }
    }
}
