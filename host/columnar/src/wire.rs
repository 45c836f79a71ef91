//! Schemas as the WIT carries them: names, type texts, nullability, metadata.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datakit_model::GuestLimits;

use super::error::{ColumnarError, shorten};
use super::type_text::{self, TypeBudget, TypeRefusal};

/// The record `field` of the WIT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireField {
    /// The column's name, exactly.
    pub name: String,
    /// The type in its one text form, for example `Decimal128(18, 4)`.
    pub arrow_type: String,
    /// Whether nulls may occur.
    pub nullable: bool,
    /// Metadata, each key once.
    pub metadata: Vec<(String, String)>,
}

/// Bytes of names and metadata a schema may have for each column it may have.
const TEXT_BYTES_PER_COLUMN: u64 = 1024;

/// Names and metadata of a schema, counted while it is read.
#[derive(Debug, Default)]
pub(super) struct TextBudget(usize);

impl TextBudget {
    pub(super) fn add(&mut self, bytes: usize, limits: &GuestLimits) -> Result<(), ColumnarError> {
        self.0 = self.0.saturating_add(bytes);
        let value = limits.max_columns.saturating_mul(TEXT_BYTES_PER_COLUMN);
        let what = || format!("bytes of names and metadata in a schema (at most {TEXT_BYTES_PER_COLUMN} × columns)");
        ColumnarError::check(what, "limits.guest.max_columns", value, self.0)
    }
}

/// Names the field in a refusal.
pub(super) fn refuse(refusal: TypeRefusal, field: &str, text: &str) -> ColumnarError {
    match refusal {
        TypeRefusal::Unsupported(reason) => {
            ColumnarError::UnsupportedType { field: shorten(field), text: shorten(text), reason: shorten(&reason) }
        }
        TypeRefusal::Depth(value) => ColumnarError::Limit {
            what: format!("nesting of the type of `{}`", shorten(field)),
            limit: "limits.guest.max_type_depth",
            value,
            requested: value.saturating_add(1),
        },
        TypeRefusal::Fields(value) => ColumnarError::Limit {
            what: "columns of a schema, nested ones included".to_owned(),
            limit: "limits.guest.max_columns",
            value,
            requested: value.saturating_add(1),
        },
    }
}

/// Reads a schema a guest handed over.
///
/// # Errors
/// A limit (columns, nesting, names and metadata), a type text that is none, a name twice.
pub fn schema_from_wire(fields: &[WireField], limits: &GuestLimits) -> Result<SchemaRef, ColumnarError> {
    let what = || "columns of a schema".to_owned();
    ColumnarError::check(what, "limits.guest.max_columns", limits.max_columns, fields.len())?;
    let mut types = TypeBudget::new(limits);
    let mut text = TextBudget::default();
    let mut arrow_fields = Vec::with_capacity(fields.len());
    for field in fields {
        let metadata_bytes: usize = field.metadata.iter().map(|(key, value)| key.len() + value.len()).sum();
        text.add(field.name.len() + field.arrow_type.len() + metadata_bytes, limits)?;
        let data_type = type_text::parse(&field.arrow_type, &mut types)
            .map_err(|refusal| refuse(refusal, &field.name, &field.arrow_type))?;
        let metadata: HashMap<String, String> = field.metadata.iter().cloned().collect();
        if metadata.len() != field.metadata.len() {
            return Err(ColumnarError::DuplicateColumn { side: "metadata", column: shorten(&field.name) });
        }
        arrow_fields.push(Field::new(&field.name, data_type, field.nullable).with_metadata(metadata));
    }
    let schema = Schema::new(arrow_fields);
    refuse_duplicates(&schema, "input")?;
    Ok(Arc::new(schema))
}

/// Refuses two columns of exactly one name.
pub(super) fn refuse_duplicates(schema: &Schema, side: &'static str) -> Result<(), ColumnarError> {
    let mut seen = HashSet::with_capacity(schema.fields().len());
    for field in schema.fields() {
        if !seen.insert(field.name()) {
            return Err(ColumnarError::DuplicateColumn { side, column: shorten(field.name()) });
        }
    }
    Ok(())
}

/// Writes a schema for the guest; metadata in the order of its keys.
///
/// A type the boundary does not carry is written as Arrow prints it, which [`schema_from_wire`] refuses.
#[must_use]
pub fn schema_to_wire(schema: &Schema) -> Vec<WireField> {
    let wire = |field: &Arc<Field>| WireField {
        name: field.name().clone(),
        arrow_type: type_text::print(field.data_type()),
        nullable: field.is_nullable(),
        metadata: field.metadata().clone().into_iter().collect::<BTreeMap<_, _>>().into_iter().collect(),
    };
    schema.fields().iter().map(wire).collect()
}

/// What handing a schema to a guest costs, in units of work.
#[must_use]
pub fn wire_units(fields: &[WireField]) -> u64 {
    const FIELD_UNITS: usize = 500;
    let metadata = |field: &WireField| field.metadata.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
    let bytes = fields.iter().map(|field| field.name.len() + field.arrow_type.len() + metadata(field) + FIELD_UNITS);
    bytes.sum::<usize>() as u64
}
