//! What can go wrong with columns, in one table of codes.

use std::borrow::Cow;

use datakit_model::printable::is_printable;
use datakit_model::{Diagnostic, Kind};

/// An error of the columnar operations. The codes are `DK-KIT-101` and on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColumnarError {
    /// A bound of [`datakit_model::GuestLimits`] is exceeded; nothing was allocated or planned for it.
    #[error("{what}: {requested} exceeds the limit {limit} = {value}")]
    Limit {
        /// What is too large, with its unit.
        what: String,
        /// The operator's setting, `limits.guest.…`.
        limit: &'static str,
        /// The setting's value.
        value: u64,
        /// What was asked for, in the setting's unit.
        requested: u64,
    },
    /// An Arrow type that cannot cross the boundary, or a text that names no Arrow type.
    #[error("the type `{text}` of field `{field}` is not supported: {reason}")]
    UnsupportedType {
        /// The field, as far as known.
        field: String,
        /// The type as written.
        text: String,
        /// Why.
        reason: String,
    },
    /// A column that the input does not have.
    #[error("output column `{column}` names the {side} column `{input}`, which does not exist")]
    UnknownColumn {
        /// The output column, or `filter`.
        column: String,
        /// `input`, or `output` for a row hash.
        side: &'static str,
        /// The name not found.
        input: String,
    },
    /// A column that a batch does not have.
    #[error("the batch has no column `{column}`")]
    NoSuchColumn {
        /// The name not found.
        column: String,
    },
    /// Two columns of one name.
    #[error("the {side} has two columns named `{column}`")]
    DuplicateColumn {
        /// `input`, `output`, `batch`, `row hash`, `keyed hash` or `list of columns`.
        side: &'static str,
        /// The name.
        column: String,
    },
    /// Text that is no expression.
    #[error("the expression of `{column}` cannot be read: {message}")]
    Syntax {
        /// The output column, or `filter`.
        column: String,
        /// The parser's words.
        message: String,
    },
    /// Valid SQL that the frozen language does not have.
    #[error("the expression of `{column}` uses {what}, which is not part of the expression language")]
    NotInLanguage {
        /// The output column, or `filter`.
        column: String,
        /// What was found.
        what: String,
    },
    /// Operands whose types do not go together.
    #[error("the expression of `{column}` has a type error: {message}")]
    TypeMismatch {
        /// The output column, or `filter`.
        column: String,
        /// What does not fit what.
        message: String,
    },
    /// A literal or list given for a column that is not of its form.
    #[error("what is given for `{column}` is not {expected}: `{text}`")]
    InvalidArgument {
        /// The output column.
        column: String,
        /// The form wanted.
        expected: &'static str,
        /// What was given.
        text: String,
    },
    /// A row hash over a row hash.
    #[error("the row hash `{column}` names `{input}`, which is a row hash")]
    HashOfHash {
        /// The output column.
        column: String,
        /// The column that it names.
        input: String,
    },
    /// A key that the operator has not granted to the datakit.
    #[error("the keyed hash `{column}` uses the key `{key}`, which `keys` of the ingest does not grant")]
    UnknownKey {
        /// The output column.
        column: String,
        /// The name of the key.
        key: String,
        /// The names that are granted.
        granted: Vec<String>,
    },
    /// A type that has no canonical bytes for a hash.
    #[error("the {hash} `{column}` cannot cover `{input}`: {data_type} has no canonical form")]
    NoCanonicalForm {
        /// `row hash` or `keyed hash`.
        hash: &'static str,
        /// The output column.
        column: String,
        /// The input column.
        input: String,
        /// Its type.
        data_type: String,
    },
    /// A kernel refused a value: a cast that does not fit, an overflow, a division by zero.
    #[error("the expression of `{column}` fails on a value: {message}")]
    Evaluation {
        /// The output column, or `filter`.
        column: String,
        /// The kernel's words.
        message: String,
    },
    /// A value without a canonical form: a date outside the years 0001 to 9999, a time outside its day.
    #[error("row {row} of the query{}, column `{input}`: the value cannot be hashed: {message}", known_by(key))]
    ValueOutOfRange {
        /// The input column.
        input: String,
        /// The row, from 1: of the batch, until [`ColumnarError::after_rows`] knows the query's.
        row: u64,
        /// Name and value of the row's first column, by which a person finds it.
        key: Option<(String, String)>,
        /// What is wrong with it.
        message: String,
    },
    /// A value of a guest that its column's declared type does not have: too many digits, a time outside its day.
    #[error("row {row} of column `{column}` holds a value that is not {data_type}: {reason}")]
    ValueOutsideType {
        /// The column.
        column: String,
        /// Its type.
        data_type: String,
        /// The row within the batch, from 0.
        row: usize,
        /// Why the value does not fit.
        reason: String,
    },
    /// A batch of another shape than the projection was compiled for.
    #[error("the batch does not have the schema the projection was compiled for: {message}")]
    OtherSchema {
        /// The first difference.
        message: String,
    },
    /// Columns of a guest for a batch with another number of rows.
    #[error("the columns have {found} rows, and the batch has {expected}")]
    OtherRows {
        /// Rows of the guest's columns.
        found: usize,
        /// Rows of the batch.
        expected: usize,
    },
    /// A stream of a guest with a column that claims to be the host's.
    #[error("the column `{column}` claims the role `{role}`, which only the host gives")]
    ClaimedRole {
        /// The column.
        column: String,
        /// The role.
        role: String,
    },
    /// Bytes of a guest that are not one valid Arrow IPC stream.
    #[error("the Arrow IPC stream is refused: {0}")]
    InvalidIpc(String),
    /// A batch that cannot be written as Arrow IPC.
    #[error("the batch cannot be written as Arrow IPC: {0}")]
    Encode(String),
    /// A bug of ours or of a library.
    #[error("{what} failed unexpectedly: {message}")]
    Unexpected {
        /// The operation.
        what: &'static str,
        /// What it said.
        message: String,
    },
}

/// ` (\`id\` is 42)`
fn known_by(key: &Option<(String, String)>) -> String {
    key.as_ref().map_or_else(String::new, |(name, value)| format!(" (`{name}` is {value})"))
}

impl ColumnarError {
    /// The same error, of a batch that this many rows of its query came before.
    #[must_use]
    pub fn after_rows(mut self, rows: u64) -> Self {
        if let Self::ValueOutOfRange { row, .. } = &mut self {
            *row = row.saturating_add(rows);
        }
        self
    }

    /// Refuses `requested` above `value`.
    pub(super) fn check(
        what: impl FnOnce() -> String,
        limit: &'static str,
        value: u64,
        requested: usize,
    ) -> Result<(), Self> {
        let requested = u64::try_from(requested).unwrap_or(u64::MAX);
        if requested > value { Err(Self::Limit { what: what(), limit, value, requested }) } else { Ok(()) }
    }
}

impl Diagnostic for ColumnarError {
    fn code(&self) -> Cow<'static, str> {
        match self {
            Self::Limit { .. } => "DK-KIT-101",
            Self::UnsupportedType { .. } => "DK-KIT-102",
            Self::UnknownColumn { .. } | Self::NoSuchColumn { .. } => "DK-KIT-103",
            Self::DuplicateColumn { .. } => "DK-KIT-104",
            Self::Syntax { .. } => "DK-KIT-105",
            Self::NotInLanguage { .. } => "DK-KIT-106",
            Self::TypeMismatch { .. } => "DK-KIT-107",
            Self::InvalidArgument { .. } => "DK-KIT-108",
            Self::NoCanonicalForm { .. } => "DK-KIT-109",
            Self::Evaluation { .. } => "DK-KIT-110",
            Self::ValueOutOfRange { .. } => "DK-KIT-111",
            Self::OtherSchema { .. } => "DK-KIT-112",
            Self::InvalidIpc(_) => "DK-KIT-113",
            Self::Encode(_) => "DK-KIT-114",
            Self::Unexpected { .. } => "DK-KIT-115",
            Self::ValueOutsideType { .. } => "DK-KIT-116",
            Self::HashOfHash { .. } => "DK-KIT-117",
            Self::UnknownKey { .. } => "DK-KIT-118",
            Self::OtherRows { .. } => "DK-KIT-119",
            Self::ClaimedRole { .. } => "DK-KIT-120",
        }
        .into()
    }

    fn kind(&self) -> Kind {
        match self {
            // A value in the data, not the datakit's text, decides over these two.
            Self::Evaluation { .. } | Self::ValueOutOfRange { .. } => Kind::Data,
            Self::Encode(_) | Self::Unexpected { .. } => Kind::Internal,
            // The operator grants it, or corrects the datakit's settings.
            Self::UnknownKey { .. } => Kind::User,
            _ => Kind::Datakit,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Limit { limit, .. } => format!("let the datakit ask for less, or raise {limit}"),
            Self::UnsupportedType { .. } => "the types and their one text form are listed in docs/types.md".into(),
            Self::UnknownColumn { .. } | Self::NoSuchColumn { .. } => "names are compared exactly, upper and lower case included".into(),
            Self::DuplicateColumn { .. } => "give every column a name of its own, in the query with AS".into(),
            Self::Syntax { .. } => {
                "write text in single quotes and column names that are not plain words in double quotes".into()
            }
            Self::NotInLanguage { .. } => "the whole language is in docs/expressions.md".into(),
            Self::TypeMismatch { .. } => "convert one side with CAST; docs/expressions.md has the rules".into(),
            Self::NoCanonicalForm { .. } => "leave the column out of the hash, or CAST it to text first".into(),
            Self::HashOfHash { .. } => "name the columns themselves that the row hash is to cover".into(),
            Self::UnknownKey { key, granted, .. } => {
                let granted = if granted.is_empty() { "none".to_owned() } else { granted.join(", ") };
                format!(
                    "add `{key}` to `keys` of the [[ingest]], and a table [keys.{key}] with a `secret` where there is none; granted are: {granted}"
                )
            }
            Self::Evaluation { .. } => {
                "TRY_CAST gives null instead of failing, NULLIF avoids a zero divisor; or correct the value".into()
            }
            Self::ValueOutOfRange { .. } => {
                "correct the value in the source, leave the column out, or turn the row hash off by the datakit's setting (`row_hash = false` of the bronze datakits)".into()
            }
            Self::ValueOutsideType { .. } => "give the column a type that holds its values".into(),
            Self::OtherRows { .. } => "send one value for each row of the batch, in its order".into(),
            Self::ClaimedRole { .. } => {
                "leave `datakit.role` out of the stream's metadata: the column of a reader, or of `add-load-id`, has it".into()
            }
            Self::OtherSchema { .. } => "compile a projection for this reader's schema".into(),
            Self::InvalidIpc(_) => {
                "send one uncompressed stream: the schema, one batch, the end marker, and nothing after it".into()
            }
            Self::InvalidArgument { .. } | Self::Encode(_) | Self::Unexpected { .. } => return None,
        })
    }

    fn context(&self) -> Vec<(String, String)> {
        let pair = |name: &str, value: &dyn ToString| (name.to_owned(), value.to_string());
        match self {
            Self::Limit { limit, value, requested, .. } => {
                vec![pair("limit", limit), pair("value", value), pair("requested", requested)]
            }
            Self::UnsupportedType { field, .. } => vec![pair("field", field)],
            Self::UnknownColumn { column, input, .. }
            | Self::HashOfHash { column, input }
            | Self::NoCanonicalForm { column, input, .. } => {
                vec![pair("column", column), pair("input", input)]
            }
            Self::UnknownKey { column, key, .. } => vec![pair("column", column), pair("key", key)],
            Self::NoSuchColumn { column }
            | Self::DuplicateColumn { column, .. }
            | Self::ClaimedRole { column, .. }
            | Self::Syntax { column, .. }
            | Self::NotInLanguage { column, .. }
            | Self::TypeMismatch { column, .. }
            | Self::InvalidArgument { column, .. }
            | Self::Evaluation { column, .. } => vec![pair("column", column)],
            Self::ValueOutOfRange { input, row, key, message } => {
                let mut context = vec![pair("input", input), pair("row", row), pair("reason", message)];
                context.extend(key.iter().map(|(name, value)| ("key".to_owned(), format!("{name} = {value}"))));
                context
            }
            Self::ValueOutsideType { column, row, reason, .. } => {
                vec![pair("column", column), pair("row", row), pair("reason", reason)]
            }
            Self::OtherRows { found, expected } => vec![pair("found", found), pair("expected", expected)],
            Self::OtherSchema { .. } | Self::InvalidIpc(_) | Self::Encode(_) | Self::Unexpected { .. } => Vec::new(),
        }
    }
}

/// Text that came from a guest or a library, fit for a message: short, and without control characters, which could
/// write over a terminal.
pub(super) fn shorten(text: &str) -> String {
    const MAX_CHARS: usize = 300;
    let mut short = String::with_capacity(text.len().min(MAX_CHARS));
    for (count, c) in text.chars().enumerate() {
        if count == MAX_CHARS {
            short.push('…');
            break;
        }
        if is_printable(c) { short.push(c) } else { short.extend(c.escape_default()) }
    }
    short
}
