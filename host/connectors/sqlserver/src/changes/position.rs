//! The texts of positions: a head that names the strategy and the version of the text, what the position is of, and how far it is.
//!
//! | strategy | text |
//! |---|---|
//! | `row-version` | `r1:OBJECT:COLUMN=0x00000000000007D1` |
//! | `change-tracking` | `t1:OBJECT:BEGIN=VERSION` |
//! | `cdc`, `cdc-net` | `c1:OBJECT:CHANGES:CREATED:INSTANCE=0x…`; behind a copy `=copy:0x…`, later `=copy@TIME:0x…` |
//!
//! OBJECT is the table's `object_id`: a table that was dropped and made anew, or renamed into the place, is another one.

use datakit_connect::changes::ChangesError;
use datakit_model::changes::{ChangeRequest, Strategy};

/// A position of one strategy.
pub(super) trait Position: Sized {
    /// What its texts begin with, with the colon.
    const HEAD: &'static str;

    /// Reads what follows the head.
    fn parse(rest: &str) -> Option<Self>;
}

/// The positions of a request, as one strategy reads them.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Bounds<P> {
    /// Only changes after it, and up to it.
    Hold { position: Option<P>, upper: Option<P> },
    /// One is of another strategy, or of another version of this one.
    Other(String),
}

/// Reads the positions of a request.
///
/// # Errors
/// A text that is not a position of any strategy.
pub(super) fn bounds<P: Position>(request: &ChangeRequest) -> Result<Bounds<P>, ChangesError> {
    let [mut position, mut upper] = [None, None];
    for (text, bound) in [(&request.position, &mut position), (&request.upper, &mut upper)] {
        let Some(text) = text else { continue };
        match text.strip_prefix(P::HEAD) {
            Some(rest) => *bound = Some(P::parse(rest).ok_or_else(|| refused(text, &request.strategy))?),
            None if has_head(text) => return Ok(Bounds::Other(other(text, &request.strategy))),
            None => return Err(refused(text, &request.strategy)),
        }
    }
    Ok(Bounds::Hold { position, upper })
}

fn refused(text: &str, strategy: &Strategy) -> ChangesError {
    ChangesError::Position { position: text.to_owned(), strategy: strategy.name() }
}

/// Letters, the number of a version and a colon.
fn has_head(text: &str) -> bool {
    text.split_once(':').is_some_and(|(head, _)| {
        let version = head.trim_start_matches(|c: char| c.is_ascii_lowercase());
        version.len() < head.len() && !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn other(text: &str, strategy: &Strategy) -> String {
    let strategy = strategy.name();
    format!("the position `{text}` is of another strategy than `{strategy}`, or of another version of the host")
}

/// What a table that is another one says of a position.
pub(super) fn other_table(was: &str, is: &str) -> String {
    format!(
        "the table is another one than before: it was dropped and made anew, or renamed (object_id {was}, now {is})"
    )
}

#[cfg(test)]
mod tests {
    use datakit_model::TableId;

    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    struct Number(u64);

    impl Position for Number {
        const HEAD: &'static str = "n1:";

        fn parse(rest: &str) -> Option<Self> {
            rest.parse().ok().map(Self)
        }
    }

    fn read(position: Option<&str>, upper: Option<&str>) -> Result<Bounds<Number>, ChangesError> {
        let [position, upper] = [position, upper].map(|text| text.map(str::to_owned));
        let strategy = Strategy::ChangeTracking;
        bounds(&ChangeRequest { table: TableId::new("s", "t"), strategy, columns: None, position, upper })
    }

    #[test]
    fn position_of_another_strategy_is_told_from_a_text_that_is_none() {
        assert_eq!(
            read(Some("n1:7"), Some("n1:9")).unwrap(),
            Bounds::Hold { position: Some(Number(7)), upper: Some(Number(9)) }
        );
        assert_eq!(read(None, None).unwrap(), Bounds::Hold { position: None, upper: None });
        for text in ["w1:int:id=5", "n2:7", "c1:1:2:3:x=0x0"] {
            assert!(matches!(read(Some(text), None), Ok(Bounds::Other(reason)) if reason.contains(text)), "{text}");
            assert!(matches!(read(None, Some(text)), Ok(Bounds::Other(_))), "{text}");
        }
        for text in ["", "7", "n1:x", "n1:", ":", "0x00", "2026-01-01T00:00:00", "12:00"] {
            assert!(matches!(read(Some(text), None), Err(ChangesError::Position { .. })), "{text}");
        }
    }
}
