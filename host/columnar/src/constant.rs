//! Literal columns: one value in every row, built once and sliced for each batch.

use std::sync::{Arc, PoisonError, RwLock};

use arrow::array::{ArrayRef, FixedSizeBinaryArray, StringArray, TimestampMicrosecondArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, TimeUnit};

use datakit_model::changes::{ColumnRole, ROLE_KEY};

use super::error::{ColumnarError, shorten};

/// The name of the canonical extension type for UUIDs.
const UUID_EXTENSION: &str = "arrow.uuid";
const EXTENSION_NAME_KEY: &str = "ARROW:extension:name";
const UUID_BYTES: usize = 16;

/// A literal.
#[derive(Debug)]
pub(super) enum Value {
    Text(String),
    TimestampMicros(i64),
    Uuid([u8; UUID_BYTES]),
    LoadId([u8; UUID_BYTES]),
}

impl Value {
    /// A uuid from its hyphenated form, in either case.
    pub(super) fn uuid(column: &str, text: &str) -> Result<Self, ColumnarError> {
        let invalid = || ColumnarError::InvalidArgument {
            column: shorten(column),
            expected: "a hyphenated uuid",
            text: shorten(text),
        };
        let hyphens = [8, 13, 18, 23];
        let bytes = text.as_bytes();
        if bytes.len() != 36 || hyphens.iter().any(|at| bytes[*at] != b'-') {
            return Err(invalid());
        }
        let mut uuid = [0; UUID_BYTES];
        hex::decode_to_slice(text.replace('-', ""), &mut uuid).map_err(|_| invalid())?;
        Ok(Self::Uuid(uuid))
    }

    /// The output column.
    pub(super) fn field(&self, name: &str) -> Field {
        match self {
            Self::Text(_) => Field::new(name, DataType::Utf8, false),
            Self::TimestampMicros(_) => {
                Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false)
            }
            Self::Uuid(_) => uuid_field(name, &[]),
            Self::LoadId(_) => uuid_field(name, &[(ROLE_KEY, ColumnRole::LoadId.name())]),
        }
    }

    /// Bytes of `rows` rows.
    fn bytes(&self, rows: usize) -> usize {
        match self {
            Self::Text(text) => rows.saturating_mul(text.len() + size_of::<i32>()),
            Self::TimestampMicros(_) => rows.saturating_mul(size_of::<i64>()),
            Self::Uuid(_) | Self::LoadId(_) => rows.saturating_mul(UUID_BYTES),
        }
    }

    fn build(&self, rows: usize) -> Result<ArrayRef, String> {
        Ok(match self {
            Self::Text(text) => {
                i32::try_from(rows.saturating_mul(text.len())).map_err(|error| error.to_string())?;
                let offsets: Vec<i32> = (0..=rows).map(|row| (row * text.len()) as i32).collect();
                let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
                let values = Buffer::from_vec(text.as_bytes().repeat(rows));
                Arc::new(StringArray::try_new(offsets, values, None).map_err(|error| error.to_string())?)
            }
            Self::TimestampMicros(micros) => {
                Arc::new(TimestampMicrosecondArray::from_value(*micros, rows).with_timezone("UTC"))
            }
            Self::Uuid(uuid) | Self::LoadId(uuid) => {
                let values = Buffer::from_vec(uuid.repeat(rows));
                let array = FixedSizeBinaryArray::try_new(UUID_BYTES as i32, values, None);
                Arc::new(array.map_err(|error| error.to_string())?)
            }
        })
    }
}

/// A column of uuids, with more metadata than that it is one.
fn uuid_field(name: &str, metadata: &[(&str, &str)]) -> Field {
    let pairs = [(EXTENSION_NAME_KEY, UUID_EXTENSION)].iter().chain(metadata);
    let metadata = pairs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Field::new(name, DataType::FixedSizeBinary(UUID_BYTES as i32), false).with_metadata(metadata)
}

/// A literal with the longest array of it so far.
#[derive(Debug)]
pub(super) struct Constant {
    value: Value,
    built: RwLock<Built>,
}

/// What is kept for the next batch, and how often it was made.
#[derive(Debug, Default)]
struct Built {
    array: Option<ArrayRef>,
    builds: u64,
}

impl Constant {
    pub(super) fn new(value: Value) -> Self {
        Self { value, built: RwLock::default() }
    }

    pub(super) fn output_bytes(&self, rows: usize) -> usize {
        self.value.bytes(rows)
    }

    /// `rows` times the value. Batches of one reader have much the same length, so that this is a slice as a rule.
    pub(super) fn evaluate(&self, rows: usize) -> Result<ArrayRef, ColumnarError> {
        {
            // A poisoned lock holds a whole array or none: it is replaced, never changed.
            let built = self.built.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(array) = built.array.as_ref().filter(|array| array.len() >= rows) {
                return Ok(array.slice(0, rows));
            }
        }
        let array = self
            .value
            .build(rows)
            .map_err(|message| ColumnarError::Unexpected { what: "building a literal column", message })?;
        let mut built = self.built.write().unwrap_or_else(PoisonError::into_inner);
        *built = Built { array: Some(Arc::clone(&array)), builds: built.builds + 1 };
        Ok(array)
    }

    /// How often the array was built.
    pub(super) fn builds(&self) -> u64 {
        self.built.read().unwrap_or_else(PoisonError::into_inner).builds
    }

    /// The array that is kept.
    pub(super) fn built(&self) -> Option<ArrayRef> {
        self.built.read().unwrap_or_else(PoisonError::into_inner).array.clone()
    }
}
