//! The text of a position: `w1:TYPE:COLUMN=VALUE`, for example `w1:datetime2(7):changed_at=2026-01-01T00:00:00.1234567`.
//!
//! Column and type are in it since a value of another column says nothing of this one.

use std::fmt;

/// Strategy and version.
const HEAD: &str = "w1:";

/// A value of a column of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    /// As the server declares it, without colons.
    pub(super) type_name: String,
    /// The column.
    pub(super) column: String,
    /// As [`super::Measure::print`] writes it, without `=`.
    pub(super) value: String,
}

impl Position {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (type_name, rest) = text.strip_prefix(HEAD)?.split_once(':')?;
        let (column, value) = rest.rsplit_once('=')?;
        let is_whole = ![type_name, column, value].contains(&"");
        is_whole.then(|| Self { type_name: type_name.to_owned(), column: column.to_owned(), value: value.to_owned() })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HEAD}{}:{}={}", self.type_name, self.column, self.value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_of_others_are_refused() {
        for text in ["", "w1:", "w1:int", "w1:int:a", "w1:int:=1", "w1::a=1", "w1:int:a=", "w2:int:a=1", "2026-01-01"] {
            assert_eq!(Position::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn position_of_any_column_comes_back(type_name in "[a-z0-9(),]{1,16}", column in any::<String>(), value in "[0-9A-Zx:.+ -]{1,32}") {
            prop_assume!(!column.is_empty());
            let position = Position { type_name, column, value };
            prop_assert_eq!(Position::parse(&position.to_string()), Some(position));
        }

        #[test]
        fn any_text_is_a_position_or_none(text in any::<String>()) {
            if let Some(position) = Position::parse(&text) {
                prop_assert_eq!(position.to_string(), text);
            }
        }
    }
}
