//! Between the WIT's types and the model's, and texts of a guest made fit for people.

use std::time::Duration;

use datakit_model::printable::is_printable;
use datakit_model::source::{Isolation, QueryOptions, Value};
use datakit_model::{Kind, Retry, TableId};

use crate::bindings::{connections, types};
use datakit_columnar::WireField;

/// A text of a guest that is safe to show: control characters escaped, and cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text(String);

impl Text {
    /// Entries of an error's context that are kept.
    pub(crate) const CONTEXT_ENTRIES: usize = 32;

    /// An error message: up to 4 KiB.
    pub(crate) fn message(text: &str) -> Self {
        Self::escaped(text, 4096)
    }

    /// A value of an error's context: up to 1 KiB.
    pub(crate) fn short(text: &str) -> Self {
        Self::escaped(text, 1024)
    }

    /// A name that is shown: up to 256 bytes.
    pub(crate) fn name(text: &str) -> Self {
        Self::escaped(text, 256)
    }

    /// Escaped, and cut at `max_bytes` of what is shown: what it was cut from shows as `…`.
    pub(crate) fn escaped(text: &str, max_bytes: usize) -> Self {
        let mut escaped = String::with_capacity(text.len().min(max_bytes) + '…'.len_utf8());
        for character in text.chars() {
            let from = escaped.len();
            match character {
                c if is_printable(c) => escaped.push(c),
                c => escaped.extend(c.escape_default()),
            }
            if escaped.len() > max_bytes {
                escaped.truncate(from);
                escaped.push('…');
                break;
            }
        }
        Self(escaped)
    }

    pub(crate) fn into_inner(self) -> String {
        self.0
    }
}

/// The longest prefix of at most `max_bytes` that ends between characters.
pub(crate) fn cut(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}

/// A message that ends with `hint: …`, apart.
pub(crate) fn split_hint(message: &str) -> (&str, Option<&str>) {
    match message.rsplit_once("hint: ") {
        Some((message, hint)) if !hint.trim().is_empty() => {
            (message.trim_end().trim_end_matches([';', '.', ',', '\n']).trim_end(), Some(hint.trim()))
        }
        _ => (message, None),
    }
}

pub(crate) fn table_from_wire(table: types::TableId) -> TableId {
    TableId::new(table.schema, table.name)
}

pub(crate) fn table_to_wire(table: &TableId) -> types::TableId {
    types::TableId { schema: table.schema.clone(), name: table.name.clone() }
}

pub(crate) fn fields_from_wire(fields: Vec<types::Field>) -> Vec<WireField> {
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

pub(crate) fn fields_to_wire(fields: Vec<WireField>) -> Vec<types::Field> {
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

/// The kind a guest is told.
pub(crate) fn kind_to_wire(kind: Kind) -> types::ErrorKind {
    match kind {
        Kind::User => types::ErrorKind::Config,
        Kind::Source => types::ErrorKind::Source,
        Kind::Data => types::ErrorKind::Data,
        Kind::Datakit => types::ErrorKind::Datakit,
        Kind::Sink | Kind::Internal => types::ErrorKind::Internal,
    }
}

/// Who has to act on a guest's error. `internal` of a guest is a bug of the datakit, not of the host.
pub(crate) fn kind_from_wire(kind: types::ErrorKind) -> Kind {
    match kind {
        types::ErrorKind::Config | types::ErrorKind::Denied => Kind::User,
        types::ErrorKind::Source => Kind::Source,
        types::ErrorKind::Data => Kind::Data,
        types::ErrorKind::Datakit | types::ErrorKind::Internal => Kind::Datakit,
    }
}

pub(crate) fn retry_from_wire(retry: types::Retry) -> Retry {
    match retry {
        types::Retry::Never => Retry::Never,
        types::Retry::AfterBackoff => Retry::AfterBackoff,
    }
}

pub(crate) fn value_from_wire(value: types::Value) -> Value {
    match value {
        types::Value::Null => Value::Null,
        types::Value::Boolean(value) => Value::Boolean(value),
        types::Value::Int32(value) => Value::Int32(value),
        types::Value::Int64(value) => Value::Int64(value),
        types::Value::Float64(value) => Value::Float64(value),
        types::Value::Decimal(value) => Value::Decimal(value),
        types::Value::Text(value) => Value::Text(value),
        types::Value::AnsiText(value) => Value::AnsiText(value),
        types::Value::Bytes(value) => Value::Bytes(value),
        types::Value::Uuid(value) => Value::Uuid(value),
        types::Value::Date(value) => Value::Date(value),
        types::Value::Timestamp(value) => Value::Timestamp(value),
        types::Value::LegacyDatetime(value) => Value::LegacyDatetime(value),
        types::Value::TimestampTz(value) => Value::TimestampTz(value),
    }
}

pub(crate) fn options_from_wire(options: connections::QueryOptions) -> QueryOptions {
    QueryOptions {
        isolation: options.isolation.map(|isolation| match isolation {
            connections::Isolation::ReadUncommitted => Isolation::ReadUncommitted,
            connections::Isolation::ReadCommitted => Isolation::ReadCommitted,
            connections::Isolation::RepeatableRead => Isolation::RepeatableRead,
            connections::Isolation::Snapshot => Isolation::Snapshot,
            connections::Isolation::Serializable => Isolation::Serializable,
        }),
        timeout: options.timeout_ms.map(|ms| Duration::from_millis(u64::from(ms))),
        max_parallelism: options.max_parallelism,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters_and_escaped() {
        assert_eq!(Text::escaped("añb", 2).into_inner(), "a…");
        assert_eq!(Text::escaped("ab", 2).into_inner(), "ab");
        // What is shown is bounded, not what it was made of.
        let bell = Text::escaped(&"\u{7}".repeat(1_000), 20).into_inner();
        assert_eq!(bell, format!("{}…", "\\u{7}".repeat(4)));
        assert_eq!(Text::escaped("a\u{1b}[31m\u{202e}\r\n", 100).into_inner(), "a\\u{1b}[31m\\u{202e}\\r\\n");
        assert_eq!(Text::escaped("ünïcode 🦀", 100).into_inner(), "ünïcode 🦀");
    }

    #[test]
    fn a_hint_is_taken_from_the_end() {
        assert_eq!(split_hint("no table; hint: create it"), ("no table", Some("create it")));
        assert_eq!(split_hint("no table"), ("no table", None));
        assert_eq!(split_hint("hint: "), ("hint: ", None));
    }
}
