//! Between the WIT's types and the host's.

use datakit_columnar::WireField;
use datakit_model::TableId;
use datakit_model::resume::FixedRows;
use datakit_model::sink::WriteMode;
use datakit_model::source::{Isolation, Value, ValueType};

use super::bindings::{changes, log, plans, sql, types};
use crate::guest_error::{ErrorKind, ErrorRecord};

pub(super) fn table_from_wire(table: types::TableId) -> TableId {
    TableId { catalog: table.catalog, schema: table.schema, name: table.name }
}

pub(super) fn table_to_wire(table: &TableId) -> types::TableId {
    types::TableId { catalog: table.catalog.clone(), schema: table.schema.clone(), name: table.name.clone() }
}

pub(super) fn fields_from_wire(fields: Vec<types::Field>) -> Vec<WireField> {
    fields
        .into_iter()
        .map(|field| WireField {
            name: field.name,
            arrow_type: field.arrow_type,
            nullable: field.nullable,
            metadata: field.metadata,
        })
        .collect()
}

pub(super) fn fields_to_wire(fields: Vec<WireField>) -> Vec<types::Field> {
    fields
        .into_iter()
        .map(|field| types::Field {
            name: field.name,
            arrow_type: field.arrow_type,
            nullable: field.nullable,
            metadata: field.metadata,
        })
        .collect()
}

impl From<types::Error> for ErrorRecord {
    fn from(error: types::Error) -> Self {
        Self {
            kind: match error.kind {
                types::ErrorKind::Config => ErrorKind::Config,
                types::ErrorKind::Denied => ErrorKind::Denied,
                types::ErrorKind::Source => ErrorKind::Source,
                types::ErrorKind::Data => ErrorKind::Data,
                types::ErrorKind::Datakit => ErrorKind::Datakit,
                types::ErrorKind::Internal => ErrorKind::Internal,
            },
            code: error.code,
            after_backoff: error.retry == types::Retry::AfterBackoff,
            message: error.message,
            context: error.context,
        }
    }
}

impl From<ErrorRecord> for types::Error {
    fn from(error: ErrorRecord) -> Self {
        Self {
            kind: match error.kind {
                ErrorKind::Config => types::ErrorKind::Config,
                ErrorKind::Denied => types::ErrorKind::Denied,
                ErrorKind::Source => types::ErrorKind::Source,
                ErrorKind::Data => types::ErrorKind::Data,
                ErrorKind::Datakit => types::ErrorKind::Datakit,
                ErrorKind::Internal => types::ErrorKind::Internal,
            },
            code: error.code,
            retry: if error.after_backoff { types::Retry::AfterBackoff } else { types::Retry::Never },
            message: error.message,
            context: error.context,
        }
    }
}

pub(super) fn value_from_wire(value: sql::Value) -> Value {
    match value {
        sql::Value::Null(of) => Value::Null(value_type(of)),
        sql::Value::Boolean(value) => Value::Boolean(value),
        sql::Value::Int32(value) => Value::Int32(value),
        sql::Value::Int64(value) => Value::Int64(value),
        sql::Value::Float64(value) => Value::Float64(value),
        sql::Value::Decimal(value) => Value::Decimal(value),
        sql::Value::Text(value) => Value::Text(value),
        sql::Value::AnsiText(value) => Value::AnsiText(value),
        sql::Value::Binary(value) => Value::Bytes(value),
        sql::Value::Uuid(value) => Value::Uuid(value),
        sql::Value::Date(value) => Value::Date(value),
        sql::Value::Timestamp(value) => Value::Timestamp(value),
        sql::Value::LegacyDatetime(value) => Value::LegacyDatetime(value),
        sql::Value::TimestampTz(value) => Value::TimestampTz(value),
    }
}

fn value_type(of: sql::ValueType) -> ValueType {
    match of {
        sql::ValueType::Boolean => ValueType::Boolean,
        sql::ValueType::Int32 => ValueType::Int32,
        sql::ValueType::Int64 => ValueType::Int64,
        sql::ValueType::Float64 => ValueType::Float64,
        sql::ValueType::Decimal => ValueType::Decimal,
        sql::ValueType::Text => ValueType::Text,
        sql::ValueType::AnsiText => ValueType::AnsiText,
        sql::ValueType::Binary => ValueType::Bytes,
        sql::ValueType::Uuid => ValueType::Uuid,
        sql::ValueType::Date => ValueType::Date,
        sql::ValueType::Timestamp => ValueType::Timestamp,
        sql::ValueType::LegacyDatetime => ValueType::LegacyDatetime,
        sql::ValueType::TimestampTz => ValueType::TimestampTz,
    }
}

pub(super) fn isolation_from_wire(isolation: sql::Isolation) -> Isolation {
    match isolation {
        sql::Isolation::ReadUncommitted => Isolation::ReadUncommitted,
        sql::Isolation::ReadCommitted => Isolation::ReadCommitted,
        sql::Isolation::RepeatableRead => Isolation::RepeatableRead,
        sql::Isolation::Snapshot => Isolation::Snapshot,
        sql::Isolation::Serializable => Isolation::Serializable,
    }
}

pub(super) fn write_mode(mode: plans::WriteMode) -> WriteMode {
    match mode {
        plans::WriteMode::Append => WriteMode::Append,
        plans::WriteMode::Overwrite => WriteMode::Overwrite,
        plans::WriteMode::Merge => WriteMode::Merge,
    }
}

pub(super) fn fixed_rows(by: plans::FixedRows) -> FixedRows {
    match by {
        plans::FixedRows::Versions => FixedRows::Versions,
        plans::FixedRows::Ranges => FixedRows::Ranges,
    }
}

pub(super) fn validity_to_wire(validity: &datakit_model::changes::Validity) -> changes::Validity {
    use datakit_model::changes::Validity;
    match validity {
        Validity::Whole => changes::Validity::Whole,
        Validity::Onward => changes::Validity::Onward,
        Validity::Gap(_) => changes::Validity::Gap,
    }
}

pub(super) fn level(level: log::Level) -> tracing::Level {
    match level {
        log::Level::Debug => tracing::Level::DEBUG,
        log::Level::Info => tracing::Level::INFO,
        log::Level::Warn => tracing::Level::WARN,
        log::Level::Error => tracing::Level::ERROR,
    }
}
