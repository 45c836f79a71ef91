//! Columns: from the server's description of a query to Arrow fields.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use tokio_postgres::Column as Described;
use tokio_postgres::types::{Kind, Type};

use super::error::PostgresError;

/// Field metadata: the type as the server declares it, `varchar(40)`.
pub const SOURCE_TYPE_KEY: &str = "datakit.source-type";
const EXTENSION_NAME_KEY: &str = "ARROW:extension:name";

/// What a type modifier counts besides what was declared (`VARHDRSZ`).
const HEADER_BYTES: i32 = 4;
/// The widest decimal of Arrow's 128 bits.
const MAX_PRECISION: u8 = 38;

/// What the values of a column are, and how they are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Boolean,
    Int16,
    Int32,
    Int64,
    /// `oid`, unsigned, widened to Int64.
    Oid,
    Float32,
    Float64,
    Decimal {
        precision: u8,
        scale: i8,
    },
    Date,
    Time,
    Timestamp,
    /// `timestamptz`, a moment.
    TimestampUtc,
    Text,
    /// `jsonb`: text after a byte of its version.
    Jsonb,
    Binary,
    Uuid,
}

/// One column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// As the server declares it: `varchar(40)`.
    pub(super) source_type: String,
    pub(super) nullable: bool,
    pub(super) shape: Shape,
}

impl Column {
    fn field(&self) -> Field {
        let mut metadata = HashMap::from([(SOURCE_TYPE_KEY.to_owned(), self.source_type.clone())]);
        if self.shape == Shape::Uuid {
            metadata.insert(EXTENSION_NAME_KEY.to_owned(), "arrow.uuid".to_owned());
        }
        Field::new(&self.name, self.shape.data_type(), self.nullable).with_metadata(metadata)
    }
}

impl Shape {
    /// The Arrow type, by the type table.
    pub(super) fn data_type(self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int16 => DataType::Int16,
            Self::Int32 => DataType::Int32,
            Self::Int64 | Self::Oid => DataType::Int64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Decimal { precision, scale } => DataType::Decimal128(precision, scale),
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Nanosecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::TimestampUtc => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Text | Self::Jsonb => DataType::Utf8,
            Self::Binary => DataType::Binary,
            Self::Uuid => DataType::FixedSizeBinary(16),
        }
    }
}

/// Reads all columns of a result. `names_all` says that the query's text names each of its expressions; `not_null` which
/// columns of which tables (object id and number) are declared so.
///
/// # Errors
/// A type that is not read, a column without a name, or two of one name.
pub(super) fn columns(
    described: &[Described],
    names_all: bool,
    not_null: impl Fn(u32, i16) -> bool,
) -> Result<Arc<[Column]>, PostgresError> {
    if described.is_empty() {
        return Err(PostgresError::NoResult);
    }
    let mut seen = HashMap::new();
    for (i, column) in described.iter().enumerate() {
        // What the server calls a column that nobody named; CREATE TABLE AS makes it the name of a table's column.
        if column.name() == "?column?" && !names_all && column.table_oid().is_none() {
            return Err(PostgresError::ColumnName(format!("column {} of the query has no name", i + 1)));
        }
        if let Some(first) = seen.insert(column.name(), i) {
            return Err(PostgresError::ColumnName(format!(
                "columns {} and {} of the query have the same name `{}`",
                first + 1,
                i + 1,
                column.name()
            )));
        }
    }
    described
        .iter()
        .map(|column| {
            let modifier = column.type_modifier();
            let source_type = source_type(column.type_(), modifier);
            let Some(shape) = shape(column.type_(), modifier) else {
                return Err(PostgresError::UnsupportedType { column: column.name().to_owned(), sql_type: source_type });
            };
            let declared = column.table_oid().zip(column.column_id()).is_some_and(|(table, id)| not_null(table, id));
            Ok(Column { name: column.name().to_owned(), source_type, nullable: !declared, shape })
        })
        .collect()
}

/// The schema of every batch.
pub(super) fn schema(columns: &[Column]) -> SchemaRef {
    Arc::new(Schema::new(columns.iter().map(Column::field).collect::<Vec<_>>()))
}

fn shape(declared: &Type, modifier: i32) -> Option<Shape> {
    match declared.kind() {
        // The labels of an enum travel as text.
        Kind::Enum(_) => return Some(Shape::Text),
        Kind::Domain(base) => return shape(base, modifier),
        Kind::Simple => {}
        _ => return None,
    }
    Some(match *declared {
        Type::BOOL => Shape::Boolean,
        Type::INT2 => Shape::Int16,
        Type::INT4 => Shape::Int32,
        Type::INT8 => Shape::Int64,
        Type::OID => Shape::Oid,
        Type::FLOAT4 => Shape::Float32,
        Type::FLOAT8 => Shape::Float64,
        Type::NUMERIC => decimal(modifier)?,
        Type::DATE => Shape::Date,
        Type::TIME => Shape::Time,
        Type::TIMESTAMP => Shape::Timestamp,
        Type::TIMESTAMPTZ => Shape::TimestampUtc,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::JSON => Shape::Text,
        Type::JSONB => Shape::Jsonb,
        Type::BYTEA => Shape::Binary,
        Type::UUID => Shape::Uuid,
        // An extension's type has no fixed object id; this one is sent as `text` is.
        _ if declared.name() == "citext" => Shape::Text,
        _ => return None,
    })
}

/// Precision and scale as declared; none without a declaration.
///
/// Since version 15 a scale may be negative or above the precision. Source: `numerictypmodin` in `numeric.c`.
fn precision_and_scale(modifier: i32) -> Option<(i32, i32)> {
    let declared = modifier.checked_sub(HEADER_BYTES).filter(|declared| *declared >= 0)?;
    Some((declared >> 16 & 0xffff, ((declared & 0x7ff) ^ 1024) - 1024))
}

/// The Arrow decimal that holds every value of the declared type; none when there is no such.
pub(super) fn decimal(modifier: i32) -> Option<Shape> {
    let (precision, scale) = precision_and_scale(modifier)?;
    let (precision, scale) = if scale < 0 { (precision - scale, 0) } else { (precision.max(scale), scale) };
    let precision = u8::try_from(precision).ok().filter(|precision| (1..=MAX_PRECISION).contains(precision))?;
    Some(Shape::Decimal { precision, scale: i8::try_from(scale).ok()? })
}

/// The type in PostgreSQL's short words.
fn source_type(declared: &Type, modifier: i32) -> String {
    let name = match declared.kind() {
        Kind::Array(item) => return format!("{}[]", item.name()),
        _ => declared.name(),
    };
    match *declared {
        Type::NUMERIC => match precision_and_scale(modifier) {
            Some((precision, scale)) => format!("numeric({precision},{scale})"),
            None => name.to_owned(),
        },
        Type::VARCHAR | Type::BPCHAR if modifier > HEADER_BYTES => {
            let name = if *declared == Type::BPCHAR { "char" } else { name };
            format!("{name}({})", modifier - HEADER_BYTES)
        }
        Type::TIME | Type::TIMETZ | Type::TIMESTAMP | Type::TIMESTAMPTZ if modifier >= 0 => {
            format!("{name}({modifier})")
        }
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modifier(precision: i32, scale: i32) -> i32 {
        (precision << 16 | (scale & 0x7ff)) + HEADER_BYTES
    }

    #[test]
    fn numerics_become_the_decimal_that_holds_them() {
        let decimal_of = |precision, scale| match decimal(modifier(precision, scale)) {
            Some(Shape::Decimal { precision, scale }) => Some((precision, scale)),
            _ => None,
        };
        assert_eq!(decimal_of(18, 4), Some((18, 4)));
        assert_eq!(decimal_of(38, 38), Some((38, 38)));
        assert_eq!(decimal_of(3, 5), Some((5, 5)), "0.00999 at most");
        assert_eq!(decimal_of(3, -2), Some((5, 0)), "99900 at most");
        assert_eq!(decimal_of(39, 2), None);
        assert_eq!(decimal_of(37, -2), None);
        assert_eq!(decimal(-1), None);
    }

    #[test]
    fn types_are_named_as_declared() {
        assert_eq!(source_type(&Type::NUMERIC, modifier(18, 4)), "numeric(18,4)");
        assert_eq!(source_type(&Type::NUMERIC, modifier(3, -2)), "numeric(3,-2)");
        assert_eq!(source_type(&Type::NUMERIC, -1), "numeric");
        assert_eq!(source_type(&Type::VARCHAR, 44), "varchar(40)");
        assert_eq!(source_type(&Type::BPCHAR, 14), "char(10)");
        assert_eq!(source_type(&Type::TIMESTAMPTZ, 3), "timestamptz(3)");
        assert_eq!(source_type(&Type::TEXT, -1), "text");
        assert_eq!(source_type(&Type::INT4_ARRAY, -1), "int4[]");
    }
}
