//! A place in the server's log.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A place in the server's log, in bytes from its beginning. Its text is that of the server: `16/B374D848`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(in crate::source) struct Lsn(pub(super) u64);

impl Lsn {
    /// A version whose order as text is the order of commits, and within a transaction the order of changes.
    pub(super) fn version(self, ordinal: u32) -> String {
        format!("{:016X}.{ordinal:08X}", self.0)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

impl FromStr for Lsn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let part = |part: &str| u32::from_str_radix(part, 16).ok().map(u64::from);
        let parts = text.split_once('/').and_then(|(high, low)| Some((part(high)?, part(low)?)));
        let (high, low) = parts.ok_or_else(|| format!("`{text}` is not a place in the log"))?;
        Ok(Self(high << 32 | low))
    }
}

impl TryFrom<String> for Lsn {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Lsn> for String {
    fn from(lsn: Lsn) -> Self {
        lsn.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_that_of_the_server() {
        assert_eq!("16/B374D848".parse(), Ok(Lsn(0x0016_b374_d848)));
        assert_eq!(Lsn(0x0016_b374_d848).to_string(), "16/B374D848");
        for text in ["", "0", "/", "0/x", "100000000/0", "0/0/0"] {
            assert!(text.parse::<Lsn>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_place_comes_back(place in any::<u64>()) {
            prop_assert_eq!(Lsn(place).to_string().parse(), Ok(Lsn(place)));
        }

        #[test]
        fn versions_are_ordered_as_changes_are(a in any::<(u64, u32)>(), b in any::<(u64, u32)>()) {
            prop_assert_eq!(Lsn(a.0).version(a.1).cmp(&Lsn(b.0).version(b.1)), a.cmp(&b));
        }
    }
}
