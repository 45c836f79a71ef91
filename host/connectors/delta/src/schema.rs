//! Arrow columns as Delta columns, decided once a table, and the comparison with the table that is there.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use datakit_model::TableId;
use deltalake::kernel::{DataType as DeltaType, MetadataValue, PrimitiveType, StructField, StructType};

use super::encode::Form;
use super::names;
use datakit_connect::sink::SinkError;
use datakit_connect::sink::columns::{EXTENSION_METADATA, EXTENSION_NAME, UUID_EXTENSION, check_columns, is_uuid};

/// Key of a Delta field's metadata: the source's name, where it is not the Delta name.
const ORIGINAL_NAME: &str = "datakit.original_name";
/// Key of a Delta field's metadata: the Arrow type, where Delta has no counterpart.
const ORIGINAL_TYPE: &str = "datakit.original_type";
/// A column with this metadata has a rule we would have to check.
const INVARIANTS: &str = "delta.invariants";
/// A column with this metadata gets a value where a row has none.
const DEFAULT: &str = "CURRENT_DEFAULT";

/// How the columns of one source table are written.
#[derive(Debug)]
pub(crate) struct TableSchema {
    /// What batches look like.
    pub(crate) source: SchemaRef,
    /// What the files look like.
    pub(crate) written: SchemaRef,
    /// What is done with each column.
    pub(crate) forms: Vec<Form>,
    /// What the table's log says of these columns.
    pub(crate) delta: StructType,
    /// The columns of the table after the commit; none: the commit changes none.
    pub(crate) altered: Option<StructType>,
}

impl TableSchema {
    /// Decides names, types and forms.
    pub(crate) fn new(table: &TableId, source: &SchemaRef) -> Result<Self, SinkError> {
        check_columns(table, source)?;
        let mut written = Vec::with_capacity(source.fields().len());
        let mut forms = Vec::with_capacity(source.fields().len());
        let mut delta = Vec::with_capacity(source.fields().len());
        for field in source.fields() {
            let (form, primitive) = map_type(field).ok_or_else(|| SinkError::UnsupportedType {
                table: table.to_string(),
                column: field.name().clone(),
                data_type: field.data_type().to_string(),
                sink: "delta",
            })?;
            let name = names::column(field.name());
            let data_type = match form {
                Form::Same => field.data_type().clone(),
                Form::UuidText | Form::TimeText => DataType::Utf8,
            };
            written.push(Field::new(&name, data_type, field.is_nullable()));
            delta.push(delta_field(field, name, primitive, form));
            forms.push(form);
        }
        let delta = StructType::try_new(delta)
            .map_err(|e| SinkError::Encode { location: table.to_string(), source: Box::new(e) })?;
        Ok(Self { source: Arc::clone(source), written: Arc::new(Schema::new(written)), forms, delta, altered: None })
    }

    /// The same for rows that are merged into the table that is there, as the commit alters it: each column may be null where it
    /// may be there, and the columns that only the table has are behind the others.
    pub(crate) fn merged_into(self, existing: &StructType) -> Self {
        let existing = self.altered.as_ref().unwrap_or(existing);
        let is_nullable = |name: &str| existing.field(name).is_none_or(StructField::is_nullable);
        let held = self
            .written
            .fields()
            .iter()
            .map(|field| -> FieldRef { Arc::new(Field::clone(field).with_nullable(is_nullable(field.name()))) });
        let kept = existing.fields().filter(|there| self.delta.field(there.name()).is_none());
        let kept = kept.filter_map(|there| {
            Some(Arc::new(Field::new(there.name(), arrow_type(there.data_type())?, true)) as FieldRef)
        });
        let written = held.chain(kept).collect::<Vec<_>>();
        Self { written: Arc::new(Schema::new(written)), ..self }
    }
}

/// The first column whose rows we would have to check against a rule.
pub(crate) fn column_with_invariant(existing: &StructType) -> Option<&str> {
    existing.fields().find(|f| f.metadata().contains_key(INVARIANTS)).map(|f| f.name().as_str())
}

pub(crate) fn has_default(field: &StructField) -> bool {
    field.metadata().contains_key(DEFAULT)
}

/// The Arrow type in which a column of the table is read; none: it is nested.
pub(crate) fn arrow_type(data_type: &DeltaType) -> Option<DataType> {
    let DeltaType::Primitive(primitive) = data_type else { return None };
    Some(match primitive {
        PrimitiveType::Boolean => DataType::Boolean,
        PrimitiveType::Byte => DataType::Int8,
        PrimitiveType::Short => DataType::Int16,
        PrimitiveType::Integer => DataType::Int32,
        PrimitiveType::Long => DataType::Int64,
        PrimitiveType::Float => DataType::Float32,
        PrimitiveType::Double => DataType::Float64,
        PrimitiveType::Decimal(decimal) => {
            DataType::Decimal128(decimal.precision(), i8::try_from(decimal.scale()).ok()?)
        }
        PrimitiveType::Date => DataType::Date32,
        PrimitiveType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        PrimitiveType::TimestampNtz => DataType::Timestamp(TimeUnit::Microsecond, None),
        PrimitiveType::String => DataType::Utf8,
        PrimitiveType::Binary => DataType::Binary,
        _ => return None,
    })
}

/// The counterpart of a column's type, by the type table of the contract.
fn map_type(field: &Field) -> Option<(Form, PrimitiveType)> {
    Some(match field.data_type() {
        DataType::Boolean => (Form::Same, PrimitiveType::Boolean),
        DataType::Int8 => (Form::Same, PrimitiveType::Byte),
        DataType::Int16 => (Form::Same, PrimitiveType::Short),
        DataType::Int32 => (Form::Same, PrimitiveType::Integer),
        DataType::Int64 => (Form::Same, PrimitiveType::Long),
        DataType::Float32 => (Form::Same, PrimitiveType::Float),
        DataType::Float64 => (Form::Same, PrimitiveType::Double),
        DataType::Decimal128(precision, scale) => {
            (Form::Same, PrimitiveType::decimal(*precision, u8::try_from(*scale).ok()?).ok()?)
        }
        DataType::Date32 => (Form::Same, PrimitiveType::Date),
        DataType::Timestamp(TimeUnit::Microsecond, None) => (Form::Same, PrimitiveType::TimestampNtz),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => (Form::Same, PrimitiveType::Timestamp),
        DataType::Time64(TimeUnit::Nanosecond | TimeUnit::Microsecond) => (Form::TimeText, PrimitiveType::String),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => (Form::Same, PrimitiveType::String),
        DataType::FixedSizeBinary(_) if is_uuid(field) => (Form::UuidText, PrimitiveType::String),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => (Form::Same, PrimitiveType::Binary),
        _ => return None,
    })
}

/// The log's entry of a column: the Arrow field's metadata stays, but for its extension type, which would no longer fit.
fn delta_field(field: &Field, name: String, primitive: PrimitiveType, form: Form) -> StructField {
    let mut metadata: Vec<(String, MetadataValue)> = field
        .metadata()
        .iter()
        .filter(|(key, _)| *key != EXTENSION_NAME && *key != EXTENSION_METADATA && !key.starts_with("delta."))
        .map(|(key, value)| (key.clone(), MetadataValue::String(value.clone())))
        .collect();
    if name != *field.name() {
        metadata.push((ORIGINAL_NAME.to_owned(), MetadataValue::String(field.name().clone())));
    }
    match form {
        Form::Same => {}
        Form::UuidText => metadata.push((ORIGINAL_TYPE.to_owned(), MetadataValue::String(UUID_EXTENSION.to_owned()))),
        Form::TimeText => {
            metadata.push((ORIGINAL_TYPE.to_owned(), MetadataValue::String(field.data_type().to_string())));
        }
    }
    StructField::new(name, DeltaType::Primitive(primitive), field.is_nullable()).with_metadata(metadata)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn schema(fields: Vec<Field>) -> Result<TableSchema, SinkError> {
        TableSchema::new(&TableId::new("dbo", "t"), &Arc::new(Schema::new(fields)))
    }

    #[test]
    fn names_and_lost_types_are_kept_in_the_field_metadata() {
        let uuid = Field::new("row id", DataType::FixedSizeBinary(16), false).with_metadata(HashMap::from([
            (EXTENSION_NAME.to_owned(), UUID_EXTENSION.to_owned()),
            ("sqlserver.type".to_owned(), "uniqueidentifier".to_owned()),
        ]));
        let schema = schema(vec![uuid, Field::new("at", DataType::Time64(TimeUnit::Nanosecond), true)]).unwrap();
        assert_eq!(
            serde_json::to_value(schema.delta.field("row%20id").unwrap()).unwrap(),
            serde_json::json!({
                "name": "row%20id", "type": "string", "nullable": false,
                "metadata": {
                    "datakit.original_name": "row id",
                    "datakit.original_type": "arrow.uuid",
                    "sqlserver.type": "uniqueidentifier",
                },
            })
        );
        assert_eq!(schema.written.field(1).data_type(), &DataType::Utf8);
    }

    #[test]
    fn what_has_no_counterpart_is_refused_by_name() {
        for data_type in [
            DataType::UInt64,
            DataType::Decimal256(76, 2),
            DataType::Decimal128(10, -2),
            DataType::Timestamp(TimeUnit::Nanosecond, None),
            DataType::FixedSizeBinary(16),
            DataType::Null,
        ] {
            let error = schema(vec![Field::new("odd", data_type, true)]).unwrap_err();
            assert!(matches!(&error, SinkError::UnsupportedType { column, .. } if column == "odd"), "{error:?}");
        }
    }
}
