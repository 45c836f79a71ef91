//! The text of a position: `w2:TYPE:COLUMN=PLACE`, for example `w2:bigint:id=7/7/o8BvMOT4dDRHmSnFqhHhXg`.
//!
//! Column and type are in it since a value of another column says nothing of this one. `w1` is of hosts that did not remember
//! rows; its place is a value.

use std::fmt;

/// What a place is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// A value: all rows up to it were read.
    First,
    /// As [`super::window::Reached`] writes it.
    Second,
}

impl Version {
    const ALL: [Self; 2] = [Self::First, Self::Second];

    fn head(self) -> &'static str {
        match self {
            Self::First => "w1:",
            Self::Second => "w2:",
        }
    }
}

/// A place in the order of a column of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) version: Version,
    /// As the server declares it, without colons.
    pub(super) type_name: String,
    /// The column.
    pub(super) column: String,
    /// Without `=`.
    pub(super) place: String,
}

impl Position {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let version = Version::ALL.into_iter().find(|version| text.starts_with(version.head()))?;
        let (type_name, rest) = text.strip_prefix(version.head())?.split_once(':')?;
        let (column, place) = rest.rsplit_once('=')?;
        let is_whole = ![type_name, column, place].contains(&"");
        is_whole.then(|| Self {
            version,
            type_name: type_name.to_owned(),
            column: column.to_owned(),
            place: place.to_owned(),
        })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}:{}={}", self.version.head(), self.type_name, self.column, self.place)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_of_others_are_refused() {
        for text in ["", "w1:", "w1:int", "w1:int:a", "w1:int:=1", "w1::a=1", "w2:int:a=", "w3:int:a=1", "2026-01-01"] {
            assert_eq!(Position::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn position_of_any_column_comes_back(first in any::<bool>(), type_name in "[a-z0-9(),]{1,16}", column in any::<String>(), place in "[0-9A-Za-z:.+ ~>/_-]{1,32}") {
            prop_assume!(!column.is_empty());
            let version = if first { Version::First } else { Version::Second };
            let position = Position { version, type_name, column, place };
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
