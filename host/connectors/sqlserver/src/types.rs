//! Columns: from the server's metadata to Arrow fields.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datakit_model::source::Adjustment;
use mssql_tds::datatypes::sql_string::get_encoding_type;
use mssql_tds::datatypes::sqldatatypes::TdsDataType;
use mssql_tds::query::metadata::ColumnMetadata;

use super::error::SourceError;
use super::text::TextEncoding;

/// Field metadata: the type as the server declares it, `nvarchar(40)`.
pub const SOURCE_TYPE_KEY: &str = "datakit.source-type";
const EXTENSION_NAME_KEY: &str = "ARROW:extension:name";

/// The `user_type` of `timestamp`, alias `rowversion` (MS-TDS 2.2.7.4, as in `sys.types.user_type_id`: 189 on disk).
const USER_TYPE_TIMESTAMP: u32 = 0x50;
/// COLMETADATA flag `fNullableUnknown`.
const NULLABLE_UNKNOWN: u16 = 0x8000;

/// What the values of a column are, and how they are built.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    Boolean,
    /// `tinyint`, unsigned, widened to Int16.
    TinyInt,
    Int16,
    Int32,
    Int64,
    Float32,
    Float64,
    Decimal {
        precision: u8,
        scale: i8,
    },
    Date,
    Time,
    /// `datetime`, `smalldatetime`, `datetime2`.
    Timestamp,
    /// `datetimeoffset`.
    TimestampUtc,
    Text(TextEncoding),
    Binary,
    Uuid,
    Variant,
}

/// One column of a result.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    /// As the server declares it: `nvarchar(40)`.
    pub(super) source_type: String,
    pub(super) nullable: bool,
    pub(super) shape: Shape,
}

impl Column {
    /// Reads one column of the metadata.
    ///
    /// # Errors
    /// A type without an Arrow type, by the column's name.
    fn of(metadata: &ColumnMetadata) -> Result<Self, SourceError> {
        let (source_type, shape) = source_type_and_shape(metadata);
        let Some(shape) = shape else {
            return Err(SourceError::UnsupportedType { column: metadata.column_name.clone(), sql_type: source_type });
        };
        let nullable = metadata.is_nullable() || metadata.flags & NULLABLE_UNKNOWN != 0;
        Ok(Self { name: metadata.column_name.clone(), source_type, nullable, shape })
    }

    /// What it means when its values are cut.
    pub(super) fn cut(&self) -> Adjustment {
        let what = format!("{} cut to microseconds", self.source_type);
        Adjustment { column: self.name.clone(), what, values: 0 }
    }

    fn field(&self) -> Field {
        let mut metadata = HashMap::from([(SOURCE_TYPE_KEY.to_owned(), self.source_type.clone())]);
        if matches!(self.shape, Shape::Uuid) {
            metadata.insert(EXTENSION_NAME_KEY.to_owned(), "arrow.uuid".to_owned());
        }
        Field::new(&self.name, self.shape.data_type(), self.nullable).with_metadata(metadata)
    }
}

impl Shape {
    /// The Arrow type, by the type table.
    pub(super) fn data_type(&self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::TinyInt | Self::Int16 => DataType::Int16,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale),
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Nanosecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::TimestampUtc => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Text(_) | Self::Variant => DataType::Utf8,
            Self::Binary => DataType::Binary,
            Self::Uuid => DataType::FixedSizeBinary(16),
        }
    }
}

/// Reads all columns of a result.
///
/// # Errors
/// A type without an Arrow type, a column without a name, or two of one name.
pub(super) fn columns(metadata: &[ColumnMetadata]) -> Result<Arc<[Column]>, SourceError> {
    check_names(metadata.iter().map(|column| column.column_name.as_str()))?;
    metadata.iter().map(Column::of).collect()
}

/// Checks that each column has a name of its own.
///
/// # Errors
/// [`SourceError::ColumnName`] for the first that has none.
pub(super) fn check_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), SourceError> {
    let mut seen = HashMap::new();
    for (i, name) in names.enumerate() {
        if name.is_empty() {
            return Err(SourceError::ColumnName(format!("column {} of the query has no name", i + 1)));
        }
        if let Some(first) = seen.insert(name, i) {
            return Err(SourceError::ColumnName(format!(
                "columns {} and {} of the query have the same name `{name}`",
                first + 1,
                i + 1,
            )));
        }
    }
    Ok(())
}

/// The schema of every batch.
pub(super) fn schema(columns: &[Column]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(Column::field).collect::<Vec<_>>()))
}

fn source_type_and_shape(metadata: &ColumnMetadata) -> (String, Option<Shape>) {
    use TdsDataType as T;
    let length = metadata.type_info.length;
    let plain = |name: &str, shape: Shape| (name.to_owned(), Some(shape));
    match metadata.data_type {
        T::Bit | T::BitN => plain("bit", Shape::Boolean),
        T::Int1 => plain("tinyint", Shape::TinyInt),
        T::Int2 => plain("smallint", Shape::Int16),
        T::Int4 => plain("int", Shape::Int32),
        T::Int8 => plain("bigint", Shape::Int64),
        T::IntN => match length {
            1 => plain("tinyint", Shape::TinyInt),
            2 => plain("smallint", Shape::Int16),
            4 => plain("int", Shape::Int32),
            8 => plain("bigint", Shape::Int64),
            _ => (format!("int of {length} bytes"), None),
        },
        T::Flt4 => plain("real", Shape::Float32),
        T::Flt8 => plain("float", Shape::Float64),
        T::FltN if length == 4 => plain("real", Shape::Float32),
        T::FltN => plain("float", Shape::Float64),
        T::Money4 => plain("smallmoney", Shape::Decimal { precision: 10, scale: 4 }),
        T::MoneyN if length == 4 => plain("smallmoney", Shape::Decimal { precision: 10, scale: 4 }),
        T::Money | T::MoneyN => plain("money", Shape::Decimal { precision: 19, scale: 4 }),
        T::DecimalN | T::Decimal | T::NumericN | T::Numeric => decimal(metadata),
        T::DateN => plain("date", Shape::Date),
        T::TimeN => (format!("time({})", scale(metadata)), Some(Shape::Time)),
        T::DateTim4 => plain("smalldatetime", Shape::Timestamp),
        T::DateTimeN if length == 4 => plain("smalldatetime", Shape::Timestamp),
        T::DateTime | T::DateTimeN => plain("datetime", Shape::Timestamp),
        T::DateTime2N => {
            let scale = scale(metadata);
            (format!("datetime2({scale})"), Some(Shape::Timestamp))
        }
        T::DateTimeOffsetN => {
            let scale = scale(metadata);
            (format!("datetimeoffset({scale})"), Some(Shape::TimestampUtc))
        }
        T::Guid => plain("uniqueidentifier", Shape::Uuid),
        T::SsVariant => plain("sql_variant", Shape::Variant),
        _ => text_or_binary(metadata),
    }
}

fn text_or_binary(metadata: &ColumnMetadata) -> (String, Option<Shape>) {
    use TdsDataType as T;
    let text = || Some(Shape::Text(TextEncoding::of(&get_encoding_type(metadata))));
    match metadata.data_type {
        T::NVarChar => (sized(metadata, "nvarchar", 2), text()),
        T::NChar => (sized(metadata, "nchar", 2), text()),
        T::BigVarChar | T::VarChar => (sized(metadata, "varchar", 1), text()),
        T::BigChar | T::Char => (sized(metadata, "char", 1), text()),
        T::Text => ("text".into(), text()),
        T::NText => ("ntext".into(), Some(Shape::Text(TextEncoding::Utf16))),
        T::Xml => ("xml".into(), Some(Shape::Text(TextEncoding::Utf16))),
        T::Json => ("json".into(), Some(Shape::Text(TextEncoding::Utf8))),
        T::BigBinary | T::Binary if metadata.user_type == USER_TYPE_TIMESTAMP => {
            ("rowversion".into(), Some(Shape::Binary))
        }
        T::BigVarBinary | T::VarBinary => (sized(metadata, "varbinary", 1), Some(Shape::Binary)),
        T::BigBinary | T::Binary => (sized(metadata, "binary", 1), Some(Shape::Binary)),
        T::Image => ("image".into(), Some(Shape::Binary)),
        T::Udt => {
            let name = metadata.type_info.udt_info().map_or("udt", |info| info.type_name());
            (name.to_owned(), Some(Shape::Binary))
        }
        other => (other.get_meta_type_name().map_or_else(|_| format!("{other:?}"), str::to_owned), None),
    }
}

fn decimal(metadata: &ColumnMetadata) -> (String, Option<Shape>) {
    let name = match metadata.data_type {
        TdsDataType::NumericN | TdsDataType::Numeric => "numeric",
        _ => "decimal",
    };
    let (precision, scale) = (metadata.get_precision().unwrap_or(0), scale(metadata));
    let text = format!("{name}({precision},{scale})");
    let valid = (1..=38).contains(&precision) && scale <= precision;
    match i8::try_from(scale) {
        Ok(scale) if valid => (text, Some(Shape::Decimal { precision, scale })),
        _ => (text, None),
    }
}

fn scale(metadata: &ColumnMetadata) -> u8 {
    metadata.get_scale().unwrap_or(0)
}

/// `nvarchar(40)` or `nvarchar(max)`; lengths on the wire are bytes.
fn sized(metadata: &ColumnMetadata, name: &str, bytes_per_unit: usize) -> String {
    if metadata.is_plp() {
        format!("{name}(max)")
    } else {
        format!("{name}({})", metadata.type_info.length / bytes_per_unit)
    }
}
