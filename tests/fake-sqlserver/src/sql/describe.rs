//! What `sp_describe_first_result_set` answers: one row a column of the result.
//!
//! Source: "sp_describe_first_result_set (Transact-SQL)", result columns in its order and of its types. The three about
//! ORDER BY are null: the order is never "uniquely determined" here. `source_…` and `is_part_of_unique_key` are for
//! browsing, which is refused.

use super::types;
use crate::tds::{Features, type_info};
use crate::values::{Collation, Column, Length, SqlType, Value};

const INT: SqlType = SqlType::Int;
const BIT: SqlType = SqlType::Bit;
const SMALLINT: SqlType = SqlType::SmallInt;
const TINYINT: SqlType = SqlType::TinyInt;
const SYSNAME: SqlType = types::SYSNAME;

/// Name, type, whether null is allowed.
const COLUMNS: [(&str, SqlType, bool); 39] = [
    ("is_hidden", BIT, false),
    ("column_ordinal", INT, false),
    ("name", SYSNAME, true),
    ("is_nullable", BIT, false),
    ("system_type_id", INT, false),
    ("system_type_name", SqlType::NVarChar(Length::Limited(256)), true),
    ("max_length", SMALLINT, false),
    ("precision", TINYINT, false),
    ("scale", TINYINT, false),
    ("collation_name", SYSNAME, true),
    ("user_type_id", INT, true),
    ("user_type_database", SYSNAME, true),
    ("user_type_schema", SYSNAME, true),
    ("user_type_name", SYSNAME, true),
    ("assembly_qualified_type_name", SqlType::NVarChar(Length::Limited(4000)), true),
    ("xml_collection_id", INT, true),
    ("xml_collection_database", SYSNAME, true),
    ("xml_collection_schema", SYSNAME, true),
    ("xml_collection_name", SYSNAME, true),
    ("is_xml_document", BIT, false),
    ("is_case_sensitive", BIT, false),
    ("is_fixed_length_clr_type", BIT, false),
    ("source_server", SYSNAME, true),
    ("source_database", SYSNAME, true),
    ("source_schema", SYSNAME, true),
    ("source_table", SYSNAME, true),
    ("source_column", SYSNAME, true),
    ("is_identity_column", BIT, true),
    ("is_part_of_unique_key", BIT, true),
    ("is_updateable", BIT, true),
    ("is_computed_column", BIT, true),
    ("is_sparse_column_set", BIT, true),
    ("ordinal_in_order_by_list", SMALLINT, true),
    ("order_by_list_length", SMALLINT, true),
    ("order_by_is_descending", SMALLINT, true),
    ("tds_type_id", INT, false),
    ("tds_length", INT, false),
    ("tds_collation_id", INT, true),
    ("tds_collation_sort_id", TINYINT, true),
];

/// The columns of a description.
pub fn columns() -> Vec<Column> {
    COLUMNS.into_iter().map(|(name, sql_type, nullable)| Column { nullable, ..Column::new(name, sql_type) }).collect()
}

/// The rows of a description: one for each column of a result in the database.
pub fn rows(described: &[Column], database: &str) -> Vec<Vec<Value>> {
    (1..).zip(described).map(|(ordinal, column)| row(ordinal, column, database)).collect()
}

fn row(ordinal: i64, column: &Column, database: &str) -> Vec<Value> {
    let facts = types::facts(column.sql_type);
    let is_clr = facts.user_type_id != facts.system_type_id;
    let of_clr = |value: Value| if is_clr { value } else { Value::Null };
    let collated = types::is_text(column.sql_type) && !matches!(column.sql_type, SqlType::Xml | SqlType::Json);
    let collation = column.collation.bytes();
    let mut row = vec![
        Value::Bit(false),
        Value::Int(ordinal),
        if column.name.is_empty() { Value::Null } else { text(&column.name) },
        Value::Bit(column.nullable),
        Value::Int(facts.system_type_id),
        if is_clr { Value::Null } else { text(&types::declaration(column.sql_type)) },
        Value::Int(facts.max_length),
        Value::Int(facts.precision),
        Value::Int(facts.scale),
        if collated { collation_name(column.collation) } else { Value::Null },
        of_clr(Value::Int(facts.user_type_id)),
        of_clr(text(database)),
        of_clr(text("sys")),
        of_clr(text(facts.name)),
    ];
    // assembly_qualified_type_name … xml_collection_name
    row.extend(std::iter::repeat_n(Value::Null, 5));
    row.extend(std::iter::repeat_n(Value::Bit(false), 3));
    // source_server … source_column
    row.extend(std::iter::repeat_n(Value::Null, 5));
    row.extend([Value::Bit(column.identity), Value::Null, Value::Bit(!column.computed), Value::Bit(false)]);
    row.push(Value::Bit(false));
    // ordinal_in_order_by_list … order_by_is_descending
    row.extend(std::iter::repeat_n(Value::Null, 3));
    let mut type_info = Vec::new();
    type_info::write(&mut type_info, column, Features::default());
    row.push(Value::Int(type_info.first().copied().unwrap_or_default().into()));
    row.push(Value::Int(announced_bytes(column.sql_type, facts.max_length)));
    if collated {
        let id = i32::from_le_bytes([collation[0], collation[1], collation[2], collation[3]]);
        row.extend([Value::Int(id.into()), Value::Int(collation[4].into())]);
    } else {
        row.extend([Value::Null, Value::Null]);
    }
    row
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn collation_name(collation: Collation) -> Value {
    match collation {
        Collation::Latin1 => text("SQL_Latin1_General_CP1_CI_AS"),
        Collation::Utf8 => text("Latin1_General_100_CI_AS_SC_UTF8"),
        Collation::Raw(_) => Value::Null,
    }
}

/// The length that the type has on the wire.
fn announced_bytes(sql_type: SqlType, max_length: i64) -> i64 {
    match sql_type {
        SqlType::Text | SqlType::Image => i64::from(i32::MAX),
        SqlType::NText => i64::from(i32::MAX) - 1,
        _ if max_length < 0 => u16::MAX.into(),
        _ => max_length,
    }
}
