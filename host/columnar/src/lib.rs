//! Columns: what a datakit may have done to rows that stay in the host, and rows on their way in and out of a guest.
//!
//! - [`Projection`]: a list of named columns and a filter, compiled once per schema, run vectorised on every batch;
//! - [`decode_ipc`], [`encode_ipc`]: a batch as Arrow IPC bytes, hostile on the way in;
//! - [`select_columns`], [`with_columns`]: some columns of a batch on their way out, and new ones on their way in;
//! - [`KeyEncoder`], [`TextPattern`]: keys that can be compared, and regular expressions of the frozen language;
//! - [`schema_from_wire`], [`schema_to_wire`]: a schema with every type in its one text form.
//!
//! Everything a guest hands over is bounded before anything is planned or allocated for it, and no input can panic.

mod constant;
mod error;
mod expression;
mod ipc;
mod keys;
mod projection;
mod row_hash;
#[cfg(test)]
mod tests;
mod type_text;
mod values;
mod wire;
mod work;

pub use error::ColumnarError;
pub use expression::TextPattern;
pub use ipc::{decode_ipc, encode_ipc, select_columns, with_columns};
pub use keys::KeyEncoder;
pub use projection::{ColumnExpression, Projection, compile_units};
pub use wire::{WireField, schema_from_wire, schema_to_wire, wire_units};
pub use work::Meter;
