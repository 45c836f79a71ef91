//! Where a key is cut: two ways to find bounds, each one query.
//!
//! - the extent, two index seeks, when keys are dense: with a width of at most `MAX_SPARSENESS` times the rows, ranges of
//!   equal width cannot hold more than that many times the mean, since keys are unique;
//! - else quantiles, one ordered pass over the key's index: exact whatever the skew. Always so for UUIDs, whose order only the
//!   server knows.

use super::{KeyType, date_text, equal_widths, thin};
use crate::bindings::datakit::kit::types::Error;
use crate::queries::{Queries, QueryOptions};
use crate::rows::Cell;

/// Keys are dense when their extent is at most so many times the number of rows.
const MAX_SPARSENESS: u128 = 2;

/// A table to be cut, and the questions its server understands.
#[derive(Debug, Clone, Copy)]
pub struct Cut<'a, Q> {
    /// The type of the key.
    pub key_type: KeyType,
    /// Rows, as estimated.
    pub rows: u64,
    /// At least two.
    pub parts: u32,
    /// Asks for the lowest and highest key, as `low` and `high`. Of days, those of the years 1 to 9999 only: no other is a
    /// bound, and the first and the last range have no end.
    pub extent: &'a str,
    /// Asks for every n-th of these keys in the server's order, without the first, as `bound`.
    pub quantiles: Q,
    /// Of both questions.
    pub options: QueryOptions,
    /// The datakit's code for an answer that is none to the question.
    pub unexpected_answer: &'static str,
}

impl<Q: Fn(u64) -> String> Cut<'_, Q> {
    /// The bounds, in ascending order: of equal width where keys are dense, else the server's quantiles.
    ///
    /// # Errors
    /// A server that does not answer, or not to the question.
    pub fn bounds(&self, queries: &impl Queries) -> Result<Vec<String>, Error> {
        match self.dense_bounds(queries)? {
            Some(bounds) => Ok(bounds),
            None => self.quantiles(queries),
        }
    }

    /// Bounds of ranges of equal width; none when keys are too sparse for it, or have no width the guest can compute.
    fn dense_bounds(&self, queries: &impl Queries) -> Result<Option<Vec<String>>, Error> {
        if self.key_type == KeyType::Uuid {
            return Ok(None);
        }
        let mut extent = None;
        for batch in queries.query(self.extent, &[], self.options)? {
            let (low, high) = (batch.column("low")?, batch.column("high")?);
            for row in 0..batch.len() {
                extent = Some((self.ordinal(low.cell(row)?)?, self.ordinal(high.cell(row)?)?));
            }
        }
        let Some((Some(low), Some(high))) = extent else {
            // No keys at all, whatever the estimate says.
            return Ok(Some(Vec::new()));
        };
        let width = (i128::from(high) - i128::from(low) + 1).unsigned_abs();
        if width > MAX_SPARSENESS * u128::from(self.rows) {
            return Ok(None);
        }
        let bounds = equal_widths(low, high, self.parts);
        Ok(Some(bounds.into_iter().map(|bound| bound_text(self.key_type, bound)).collect()))
    }

    fn quantiles(&self, queries: &impl Queries) -> Result<Vec<String>, Error> {
        let step = self.rows.div_ceil(u64::from(self.parts));
        let sql = (self.quantiles)(step);
        let mut bounds = Vec::new();
        for batch in queries.query(&sql, &[], self.options)? {
            let bound = batch.column("bound")?;
            for row in 0..batch.len() {
                bounds.push(match (self.key_type, bound.cell(row)?) {
                    (KeyType::Uuid, Cell::Bytes(bytes)) => self.uuid_text(bytes)?,
                    (key_type, cell) => match self.ordinal(cell)? {
                        Some(number) => bound_text(key_type, number),
                        None => continue,
                    },
                });
            }
        }
        // There may be more rows than estimated.
        Ok(thin(bounds, self.parts as usize - 1))
    }

    /// A key as a number: itself, or the day since 1970-01-01.
    fn ordinal(&self, cell: Cell<'_>) -> Result<Option<i64>, Error> {
        match cell {
            Cell::Null => Ok(None),
            Cell::Integer(number) => Ok(Some(number)),
            Cell::Date(days) => Ok(Some(days.into())),
            other => {
                Err(Error::source(self.unexpected_answer, format!("{other:?} is no key of the type the catalog says")))
            }
        }
    }

    /// The hyphenated form of 16 bytes in RFC 4122 order.
    fn uuid_text(&self, bytes: &[u8]) -> Result<String, Error> {
        if bytes.len() != 16 {
            return Err(Error::source(self.unexpected_answer, format!("a UUID of {} bytes", bytes.len())));
        }
        let mut text = String::with_capacity(36);
        for (i, byte) in bytes.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                text.push('-');
            }
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
            }
        }
        Ok(text)
    }
}

fn bound_text(key_type: KeyType, bound: i64) -> String {
    if key_type == KeyType::Date { date_text(bound) } else { bound.to_string() }
}
