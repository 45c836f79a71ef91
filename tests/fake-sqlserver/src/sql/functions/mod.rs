//! The functions that bound queries call in SQLite: T-SQL's conversions, arithmetic, text and dates.
//!
//! Types travel as declarations in literal arguments, read once a statement.

mod aggregate;
mod number;
mod temporal;
mod text;

use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{Value as Stored, ValueRef};

use super::{bind, capture, collate, convert, errors, image, store, tracking, types};
use crate::values::{SqlError, SqlType, Value};

const PURE: FunctionFlags = FunctionFlags::SQLITE_UTF8.union(FunctionFlags::SQLITE_DETERMINISTIC);

/// Registers collation and functions on a connection.
pub fn register(connection: &Connection) -> rusqlite::Result<()> {
    connection.create_collation(collate::NAME, collate::compare)?;
    add(connection, "t_convert", 4, |context| convert_call(context, false))?;
    add(connection, "t_try_convert", 4, |context| convert_call(context, true))?;
    add(connection, "t_like", 3, like)?;
    add(connection, "t_variant_property", 3, variant_property)?;
    add(connection, "t_datalength", 2, data_length)?;
    add(connection, "t_name_part", 2, name_part)?;
    add(connection, "t_cell", 2, |context| {
        let image = context.get_raw(0).as_blob().unwrap_or_default();
        Ok(image::cell(image, integer_at(context, 1).unwrap_or(0)))
    })?;
    add(connection, "t_cdc_neighbour", 2, |context| {
        let up = integer_at(context, 1) == Some(1);
        let lsn = context.get_raw(0).as_blob_or_null().ok().flatten();
        Ok(lsn.map_or(Stored::Null, |lsn| Stored::Blob(capture::neighbour(lsn, up))))
    })?;
    add(connection, "t_cdc_bit", 2, |context| {
        let mask = context.get_raw(1).as_blob_or_null().ok().flatten().unwrap_or_default();
        let place = integer_at(context, 0).and_then(|ordinal| usize::try_from(ordinal - 1).ok());
        let byte = place.and_then(|place| mask.iter().rev().nth(place / 8));
        Ok(Stored::Integer(byte.zip(place).map_or(0, |(byte, place)| i64::from(byte >> (place % 8) & 1))))
    })?;
    add(connection, "t_ct_mask", 1, |context| {
        Ok(str_at(context, 0).map_or(Stored::Null, |columns| Stored::Blob(tracking::column_mask(columns))))
    })?;
    add(connection, "t_ct_in_mask", 2, |context| {
        let mask = context.get_raw(1).as_blob_or_null().ok().flatten();
        let is_in = |mask| i64::from(tracking::is_in_mask(integer_at(context, 0).unwrap_or(0), mask));
        // Without a mask, every column has changed.
        Ok(Stored::Integer(mask.map_or(1, is_in)))
    })?;
    connection.create_scalar_function("t_newid", 0, FunctionFlags::SQLITE_UTF8, |_| {
        Ok(store::encode(SqlType::UniqueIdentifier, Value::Uuid(uuid::Uuid::new_v4().into_bytes())).ok())
    })?;
    number::register(connection)?;
    temporal::register(connection)?;
    text::register(connection)?;
    aggregate::register(connection)
}

/// Adds a function whose result depends on its arguments only.
fn add(
    connection: &Connection,
    name: &str,
    arguments: std::ffi::c_int,
    body: fn(&Context<'_>) -> Result<Stored, SqlError>,
) -> rusqlite::Result<()> {
    connection.create_scalar_function(name, arguments, PURE, move |context| {
        body(context).map_err(|error| errors::to_sqlite(&error))
    })
}

/// The type an argument declares.
fn type_at(context: &Context<'_>, at: usize) -> Result<SqlType, SqlError> {
    let index = std::ffi::c_int::try_from(at).unwrap_or(0);
    let parsed: Arc<SqlType> = context
        .get_or_create_aux(index, |value| {
            value.as_str().ok().and_then(types::from_declaration).ok_or("an unknown type reached a function")
        })
        .map_err(|error| errors::storage(&error))?;
    Ok(*parsed)
}

/// An argument as a value of a type.
fn value_at(context: &Context<'_>, at: usize, sql_type: SqlType) -> Result<Value, SqlError> {
    store::decode(sql_type, context.get_raw(at))
}

/// An argument that is a whole number.
fn integer_at(context: &Context<'_>, at: usize) -> Option<i64> {
    context.get_raw(at).as_i64().ok()
}

/// An argument that is a text of valid characters.
fn str_at<'c>(context: &'c Context<'_>, at: usize) -> Option<&'c str> {
    context.get_raw(at).as_str().ok()
}

fn is_null(context: &Context<'_>, at: usize) -> bool {
    matches!(context.get_raw(at), ValueRef::Null)
}

fn convert_call(context: &Context<'_>, is_try: bool) -> Result<Stored, SqlError> {
    if is_null(context, 0) {
        return Ok(Stored::Null);
    }
    let (from, to) = (type_at(context, 1)?, type_at(context, 2)?);
    let value = value_at(context, 0, from)?;
    let converted =
        convert::convert(value, from, to, integer_at(context, 3)).and_then(|value| store::encode(to, value));
    match converted {
        Err(error) if is_try && error.number != errors::UNSUPPORTED && error.number != 529 => Ok(Stored::Null),
        other => other,
    }
}

fn like(context: &Context<'_>) -> Result<Stored, SqlError> {
    let (Some(text), Some(pattern)) = (str_at(context, 0), str_at(context, 1)) else { return Ok(Stored::Null) };
    let escape = str_at(context, 2).and_then(|text| text.chars().next());
    Ok(Stored::Integer(i64::from(collate::like(text, pattern, escape))))
}

fn variant_property(context: &Context<'_>) -> Result<Stored, SqlError> {
    let declared = type_at(context, 1)?;
    let base = match value_at(context, 0, declared)? {
        Value::Null => return Ok(Stored::Null),
        Value::Variant(variant) => variant.sql_type,
        _ => declared,
    };
    let facts = types::facts(base);
    let (sql_type, value) = match str_at(context, 2).unwrap_or_default().to_lowercase().as_str() {
        "basetype" => (types::SYSNAME, Value::Text(facts.name.to_owned())),
        "precision" => (SqlType::Int, Value::Int(facts.precision)),
        "scale" => (SqlType::Int, Value::Int(facts.scale)),
        "maxlength" => (SqlType::Int, Value::Int(facts.max_length)),
        "collation" if types::is_text(base) => (types::SYSNAME, Value::Text("SQL_Latin1_General_CP1_CI_AS".to_owned())),
        _ => return Ok(Stored::Null),
    };
    let variant = crate::values::Variant { sql_type, collation: Default::default(), value };
    store::encode(SqlType::SqlVariant, Value::Variant(Box::new(variant)))
}

fn data_length(context: &Context<'_>) -> Result<Stored, SqlError> {
    let declared = type_at(context, 1)?;
    let bytes = match value_at(context, 0, declared)? {
        Value::Null => return Ok(Stored::Null),
        Value::Text(text) if types::is_unicode(declared) => text.encode_utf16().count() * 2,
        Value::Text(text) => text.chars().count(),
        Value::Utf16(units) => units.len() * 2,
        Value::Bytes(bytes) => bytes.len(),
        _ => usize::try_from(types::facts(declared).max_length).unwrap_or(0),
    };
    Ok(Stored::Integer(i64::try_from(bytes).unwrap_or(i64::MAX)))
}

fn name_part(context: &Context<'_>) -> Result<Stored, SqlError> {
    let Some((schema, table)) = str_at(context, 0).and_then(bind::object_parts) else { return Ok(Stored::Null) };
    Ok(Stored::Text(match str_at(context, 1) {
        Some("schema") => schema.unwrap_or_else(|| "dbo".to_owned()),
        _ => table,
    }))
}
