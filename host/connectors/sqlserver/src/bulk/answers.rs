//! Values of the host's own questions.

use mssql_tds::datatypes::column_values::ColumnValues;

use crate::config::SqlServerConfig;
use crate::error::SourceError;
use crate::text;

/// A text of whatever type and collation; none for NULL.
///
/// # Errors
/// Bytes that are not text of the column's encoding, or a value that is not text.
pub(crate) fn text_of(config: &SqlServerConfig, value: Option<&ColumnValues>) -> Result<Option<String>, SourceError> {
    let refused = |reason: String| SourceError::Protocol { address: config.address(), reason };
    match value {
        None | Some(ColumnValues::Null) => Ok(None),
        Some(ColumnValues::String(string)) => {
            text::decode(string).map(Some).map_err(|malformed| refused(malformed.reason()))
        }
        Some(other) => Err(refused(format!("a name was asked for, and {other:?} came"))),
    }
}
