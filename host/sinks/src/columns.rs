//! The rules for column names that every sink shares.

use std::collections::HashMap;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::Schema;
use datakit_model::TableId;

use crate::error::SinkError;

/// The prefix no source column may have.
const RESERVED_PREFIX: &str = "_bronze_";

/// The Bronze columns, in their order at the end of a schema. A datakit may leave some out.
pub const BRONZE_COLUMNS: [&str; 6] = [
    "_bronze_loaded_at",
    "_bronze_source_system",
    "_bronze_source_schema",
    "_bronze_source_table",
    "_bronze_batch_id",
    "_bronze_row_hash",
];

/// Key of an Arrow field's metadata that names its extension type.
pub(crate) const EXTENSION_NAME: &str = "ARROW:extension:name";
/// Key of an Arrow field's metadata that describes its extension type.
pub(crate) const EXTENSION_METADATA: &str = "ARROW:extension:metadata";
/// The extension type of a uniqueidentifier.
pub(crate) const UUID_EXTENSION: &str = "arrow.uuid";

/// Whether a field is a UUID: 16 bytes, marked as such.
pub(crate) fn is_uuid(field: &arrow::datatypes::Field) -> bool {
    *field.data_type() == arrow::datatypes::DataType::FixedSizeBinary(16)
        && field.metadata().get(EXTENSION_NAME).is_some_and(|name| name == UUID_EXTENSION)
}

/// Refuses a batch whose columns are not of the announced types, or null where they may not be.
pub(crate) fn check_batch(schema: &Schema, batch: &RecordBatch, location: &str) -> Result<(), SinkError> {
    let misuse = |what: String| Err(SinkError::Misuse { location: location.to_owned(), what });
    if batch.num_columns() != schema.fields().len() {
        return misuse(format!("a batch has {} columns, not {}", batch.num_columns(), schema.fields().len()));
    }
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if column.data_type() != field.data_type() {
            return misuse(format!(
                "a batch's column `{}` is {}, not {}",
                field.name(),
                column.data_type(),
                field.data_type()
            ));
        }
        if !field.is_nullable() && column.null_count() > 0 {
            return misuse(format!("a batch's column `{}` holds nulls, and may not", field.name()));
        }
    }
    Ok(())
}

/// Refuses a schema without columns, columns that differ in case at most, and source columns with a reserved name.
///
/// The Bronze columns stand at the end, in their order; whatever else begins with their prefix came from the source.
pub(crate) fn check_columns(table: &TableId, schema: &Schema) -> Result<(), SinkError> {
    if schema.fields().is_empty() {
        return Err(SinkError::NoColumns(table.to_string()));
    }
    let mut seen: HashMap<String, &str> = HashMap::with_capacity(schema.fields().len());
    let mut next_bronze = 0;
    for field in schema.fields() {
        let name = field.name();
        if let Some(first) = seen.insert(name.to_lowercase(), name) {
            return Err(if name.to_lowercase().starts_with(RESERVED_PREFIX) {
                SinkError::Reserved { table: table.to_string(), column: name.clone() }
            } else {
                SinkError::Collision { table: table.to_string(), first: first.to_owned(), second: name.clone() }
            });
        }
        match BRONZE_COLUMNS[next_bronze..].iter().position(|bronze| bronze == name) {
            Some(at) => next_bronze += at + 1,
            None if name.to_lowercase().starts_with(RESERVED_PREFIX) => {
                return Err(SinkError::Reserved { table: table.to_string(), column: name.clone() });
            }
            None if next_bronze > 0 => {
                // A source column after a Bronze one: the earlier column cannot be the Bronze column it looks like.
                let column = BRONZE_COLUMNS[next_bronze - 1].to_owned();
                return Err(SinkError::Reserved { table: table.to_string(), column });
            }
            None => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};
    use datakit_model::Coded;

    use super::*;

    fn check(names: &[&str]) -> Result<(), String> {
        let schema = Schema::new(names.iter().map(|n| Field::new(*n, DataType::Int32, true)).collect::<Vec<_>>());
        check_columns(&TableId::new("dbo", "t"), &schema).map_err(|e| format!("{} {e}", e.code()))
    }

    #[test]
    fn bronze_columns_may_follow_source_columns() {
        assert_eq!(check(&["id", "Name", "_bronze_loaded_at", "_bronze_batch_id", "_bronze_row_hash"]), Ok(()));
        assert_eq!(check(&["id"]), Ok(()));
    }

    #[test]
    fn colliding_and_reserved_names_are_refused_by_name() {
        let error = |names: &[&str]| check(names).unwrap_err();
        assert!(error(&[]).starts_with("DK-SNK-007"));
        assert_eq!(
            error(&["Id", "x", "iD"]),
            "DK-SNK-004 table `dbo.t` has the columns `Id` and `iD`, which a sink cannot tell apart"
        );
        for names in [
            &["_bronze_mine", "x"][..],
            &["_BRONZE_loaded_at"],
            &["_bronze_row_hash", "x"],
            &["x", "_bronze_row_hash", "_bronze_loaded_at"],
            &["x", "_bronze_loaded_at", "_bronze_loaded_at"],
        ] {
            assert!(error(names).starts_with("DK-SNK-005"), "{names:?}");
        }
    }
}
