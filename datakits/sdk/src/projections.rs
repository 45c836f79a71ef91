//! The shape of batches as plain data, and its way to the host.

use crate::bindings::datakit::kit::projections::{Projection, ProjectionBuilder};
use crate::bindings::datakit::kit::types::{Error, Field};

/// One column of a projection's output.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its values.
    pub value: Expression,
}

/// What a column of the output is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    /// The input column of this name, unchanged: type, nullability, metadata, role.
    Input(String),
    /// One scalar expression of the frozen language: docs/expressions.md.
    Sql(String),
    /// A literal `Utf8`, not null.
    Text(String),
    /// A literal `Timestamp(us, UTC)`, not null: microseconds since 1970-01-01T00:00:00Z.
    TimestampMicros(i64),
    /// A literal UUID, from its hyphenated text form.
    Uuid(String),
    /// The id of this run's load, with the role `load-id`.
    LoadId,
    /// SHA-256 of these output columns, in lower-case hexadecimal.
    RowHash(Vec<String>),
    /// HMAC-SHA-256 of these input columns with a key of the operator.
    KeyedHash {
        /// The input columns.
        columns: Vec<String>,
        /// The key's name.
        key: String,
    },
}

impl Column {
    /// The input column of this name, unchanged.
    pub fn input(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { value: Expression::Input(name.clone()), name }
    }
}

impl Projection {
    /// Compiles columns and a filter for batches of the schema `input`.
    ///
    /// # Errors
    /// Unknown columns, a name that is there twice, an expression outside of the language, a type error; going over a limit.
    pub fn compile(input: &[Field], columns: &[Column], filter: Option<&str>) -> Result<Self, Error> {
        let builder = ProjectionBuilder::new(input);
        for Column { name, value } in columns {
            match value {
                Expression::Input(column) => builder.add_input(name, column),
                Expression::Sql(expression) => builder.add_sql(name, expression),
                Expression::Text(text) => builder.add_text(name, text),
                Expression::TimestampMicros(micros) => builder.add_timestamp_micros(name, *micros),
                Expression::Uuid(uuid) => builder.add_uuid(name, uuid),
                Expression::LoadId => builder.add_load_id(name),
                Expression::RowHash(columns) => builder.add_row_hash(name, columns),
                Expression::KeyedHash { columns, key } => builder.add_keyed_hash(name, columns, key),
            }
        }
        if let Some(filter) = filter {
            builder.set_filter(filter);
        }
        builder.compile()
    }
}
