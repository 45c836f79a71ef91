//! Changes of tables, as far as connectors share them.
//!
//! | module | about |
//! |---|---|
//! | `error` | what can go wrong, with codes and hints |
//! | [`measure`] | values of a watermark column as exact numbers: read, written, made less by a lag |
//! | `position` | the text of a position |
//! | [`columns`] | which columns a table has and which are asked for |
//! | [`roles`] | the columns that the host appends |
//! | [`watermark`] | the strategy `watermark`: bounds, and a feed over what a connector asks its server |
//! | [`window`], `loaded`, `fresh` | where its rows lie, which of them are loaded, and a reader of the others |

pub mod columns;
mod error;
mod fresh;
pub(crate) mod loaded;
pub mod measure;
mod position;
pub mod roles;
pub mod watermark;
#[cfg(test)]
mod watermark_tests;
pub mod window;

pub use self::columns::{Chosen, SourceColumn, WatermarkColumn};
pub use self::error::ChangesError;
pub use self::measure::{Form, Measure};
pub use self::watermark::{Distances, Span, WatermarkTable};
pub use self::window::{Later, Range, RangeStart};

use arrow::array::{Array as _, AsArray as _};
use datakit_model::Failure;
use datakit_model::source::Reader;

/// A row of texts.
pub type Texts = Vec<Option<String>>;

/// All rows of an answer whose columns are texts, for questions that a connector asks of a catalog.
///
/// # Errors
/// What the reader reports; a column that is not `Utf8`; a value that cannot be read.
pub async fn texts(mut reader: Box<dyn Reader>) -> Result<Vec<Texts>, Failure> {
    let mut rows = Vec::new();
    while let Some(batch) = reader.next().await? {
        let batch = batch.batch();
        let columns: Option<Vec<_>> = batch.columns().iter().map(|column| column.as_string_opt::<i32>()).collect();
        let columns =
            columns.ok_or_else(|| ChangesError::Internal("an answer of the catalog is not text".to_owned()))?;
        for row in 0..batch.num_rows() {
            let text =
                |column: &&arrow::array::StringArray| (!column.is_null(row)).then(|| column.value(row).to_owned());
            rows.push(columns.iter().map(text).collect());
        }
    }
    match reader.report().rejected.rows().first() {
        None => Ok(rows),
        Some(bad) => {
            Err(ChangesError::Internal(format!("an answer of the catalog is not readable: {}", bad.reason)).into())
        }
    }
}
