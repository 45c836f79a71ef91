//! The header of a schema as Arrow fields, limited to the types the boundary carries.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use arrow::ipc;
use datakit_model::GuestLimits;

use super::invalid;
use crate::error::{ColumnarError, shorten};
use crate::type_text::{self, TypeBudget};
use crate::wire::{self, TextBudget};

/// Reads the fields of a verified schema message.
pub(super) fn read(message: &ipc::Message<'_>, limits: &GuestLimits) -> Result<Schema, ColumnarError> {
    let schema = message.header_as_schema().ok_or_else(|| invalid("the schema message has no schema"))?;
    if schema.endianness() != ipc::Endianness::Little {
        return Err(invalid("it is big-endian"));
    }
    if schema.features().is_some_and(|features| !features.is_empty()) {
        return Err(invalid("its schema asks for features (compression or dictionary replacement)"));
    }
    let fields = schema.fields().ok_or_else(|| invalid("its schema has no list of fields"))?;
    let what = || "columns of a batch".to_owned();
    ColumnarError::check(what, "limits.guest.max_columns", limits.max_columns, fields.len())?;
    let mut reader = Reader { limits, types: TypeBudget::new(limits), text: TextBudget::default() };
    let fields = fields.iter().map(|field| reader.field(field)).collect::<Result<Vec<_>, _>>()?;
    let schema = Schema::new(fields);
    wire::refuse_duplicates(&schema, "batch")?;
    Ok(schema)
}

struct Reader<'l> {
    limits: &'l GuestLimits,
    types: TypeBudget,
    text: TextBudget,
}

impl Reader<'_> {
    fn field(&mut self, field: ipc::Field<'_>) -> Result<Field, ColumnarError> {
        let name = field.name().unwrap_or_default();
        self.text.add(name.len(), self.limits)?;
        if field.dictionary().is_some() {
            return Err(unsupported(name, "Dictionary", "dictionaries are not carried"));
        }
        // The same table may be named as a child again and again: nesting and number are bounded before it is entered.
        self.types.enter().map_err(|refusal| wire::refuse(refusal, name, ""))?;
        let data_type = self.data_type(name, field)?;
        self.types.leave();
        // Arrow counts no nulls in such an array, so nothing after this would refuse it.
        if data_type == DataType::Null && !field.nullable() {
            return Err(unsupported(name, "Null", "a column of nulls is nullable"));
        }
        let mut metadata = HashMap::new();
        for pair in field.custom_metadata().iter().flatten() {
            let (key, value) = (pair.key().unwrap_or_default(), pair.value().unwrap_or_default());
            self.text.add(key.len() + value.len(), self.limits)?;
            metadata.insert(key.to_owned(), value.to_owned());
        }
        // Parameters are out of the same ranges as in the text form.
        type_text::check(&data_type, &mut TypeBudget::new(self.limits))
            .map_err(|refusal| wire::refuse(refusal, name, &type_text::print(&data_type)))?;
        Ok(Field::new(name, data_type, field.nullable()).with_metadata(metadata))
    }

    /// A field of a list or struct. The text form of a type has no place for its metadata.
    fn nested(&mut self, field: ipc::Field<'_>) -> Result<Field, ColumnarError> {
        Ok(self.field(field)?.with_metadata(HashMap::new()))
    }

    fn data_type(&mut self, name: &str, field: ipc::Field<'_>) -> Result<DataType, ColumnarError> {
        let refuse = || {
            let text = field.type_type().variant_name().unwrap_or("unknown");
            unsupported(name, text, "its parameters are missing, out of range or not carried")
        };
        let data_type = match field.type_type() {
            ipc::Type::Null => DataType::Null,
            ipc::Type::Bool => DataType::Boolean,
            ipc::Type::Int => {
                let int = field.type_as_int().ok_or_else(refuse)?;
                match (int.bitWidth(), int.is_signed()) {
                    (8, true) => DataType::Int8,
                    (16, true) => DataType::Int16,
                    (32, true) => DataType::Int32,
                    (64, true) => DataType::Int64,
                    (8, false) => DataType::UInt8,
                    (16, false) => DataType::UInt16,
                    (32, false) => DataType::UInt32,
                    (64, false) => DataType::UInt64,
                    _ => return Err(refuse()),
                }
            }
            ipc::Type::FloatingPoint => match field.type_as_floating_point().ok_or_else(refuse)?.precision() {
                ipc::Precision::SINGLE => DataType::Float32,
                ipc::Precision::DOUBLE => DataType::Float64,
                _ => return Err(refuse()),
            },
            ipc::Type::Utf8 => DataType::Utf8,
            ipc::Type::LargeUtf8 => DataType::LargeUtf8,
            ipc::Type::Binary => DataType::Binary,
            ipc::Type::LargeBinary => DataType::LargeBinary,
            ipc::Type::FixedSizeBinary => {
                DataType::FixedSizeBinary(field.type_as_fixed_size_binary().ok_or_else(refuse)?.byteWidth())
            }
            ipc::Type::Decimal => {
                let decimal = field.type_as_decimal().ok_or_else(refuse)?;
                let precision = u8::try_from(decimal.precision()).map_err(|_| refuse())?;
                let scale = i8::try_from(decimal.scale()).map_err(|_| refuse())?;
                if decimal.bitWidth() != 128 {
                    return Err(refuse());
                }
                DataType::Decimal128(precision, scale)
            }
            ipc::Type::Date => match field.type_as_date().ok_or_else(refuse)?.unit() {
                ipc::DateUnit::DAY => DataType::Date32,
                _ => return Err(refuse()),
            },
            ipc::Type::Time => {
                let time = field.type_as_time().ok_or_else(refuse)?;
                match (time.bitWidth(), time.unit()) {
                    (32, ipc::TimeUnit::SECOND) => DataType::Time32(TimeUnit::Second),
                    (32, ipc::TimeUnit::MILLISECOND) => DataType::Time32(TimeUnit::Millisecond),
                    (64, ipc::TimeUnit::MICROSECOND) => DataType::Time64(TimeUnit::Microsecond),
                    (64, ipc::TimeUnit::NANOSECOND) => DataType::Time64(TimeUnit::Nanosecond),
                    _ => return Err(refuse()),
                }
            }
            ipc::Type::Timestamp => {
                let timestamp = field.type_as_timestamp().ok_or_else(refuse)?;
                let zone = timestamp.timezone();
                self.text.add(zone.map_or(0, str::len), self.limits)?;
                let unit = match timestamp.unit() {
                    ipc::TimeUnit::SECOND => TimeUnit::Second,
                    ipc::TimeUnit::MILLISECOND => TimeUnit::Millisecond,
                    ipc::TimeUnit::MICROSECOND => TimeUnit::Microsecond,
                    ipc::TimeUnit::NANOSECOND => TimeUnit::Nanosecond,
                    _ => return Err(refuse()),
                };
                DataType::Timestamp(unit, zone.map(Into::into))
            }
            ipc::Type::List => {
                let mut children = field.children().into_iter().flatten();
                match (children.next(), children.next()) {
                    (Some(item), None) => DataType::List(Arc::new(self.nested(item)?)),
                    _ => return Err(unsupported(name, "List", "a list has one child")),
                }
            }
            ipc::Type::Struct_ => {
                let children = field.children().into_iter().flatten().map(|child| self.nested(child));
                DataType::Struct(children.collect::<Result<Fields, _>>()?)
            }
            _ => return Err(refuse()),
        };
        Ok(data_type)
    }
}

fn unsupported(field: &str, text: &str, reason: &str) -> ColumnarError {
    ColumnarError::UnsupportedType { field: shorten(field), text: text.to_owned(), reason: reason.to_owned() }
}
