//! The rules for column names that every sink shares.

use std::collections::HashMap;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::Schema;
use datakit_model::TableId;
use datakit_model::sink::{Target, WriteMode};

use crate::sink::SinkError;
use crate::sink::merge::MergeColumns;

/// Key of an Arrow field's metadata that names its extension type.
pub const EXTENSION_NAME: &str = "ARROW:extension:name";
/// Key of an Arrow field's metadata that describes its extension type.
pub const EXTENSION_METADATA: &str = "ARROW:extension:metadata";
/// The extension type of a uniqueidentifier.
pub const UUID_EXTENSION: &str = "arrow.uuid";

/// Whether a field is a UUID: 16 bytes, marked as such.
#[must_use]
pub fn is_uuid(field: &arrow::datatypes::Field) -> bool {
    *field.data_type() == arrow::datatypes::DataType::FixedSizeBinary(16)
        && field.metadata().get(EXTENSION_NAME).is_some_and(|name| name == UUID_EXTENSION)
}

/// Refuses a batch whose columns are not of the announced types, or null where they may not be.
///
/// # Errors
/// [`SinkError::Misuse`].
pub fn check_batch(schema: &Schema, batch: &RecordBatch, location: &str) -> Result<(), SinkError> {
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

/// Refuses a partitioned table, for a sink that writes none.
///
/// # Errors
/// [`SinkError::PartitionBy`].
pub fn check_partitioning(target: &Target, sink: &'static str) -> Result<(), SinkError> {
    if target.partition_by.is_empty() {
        return Ok(());
    }
    Err(SinkError::PartitionBy { table: target.table.to_string(), columns: target.partition_by.clone(), sink })
}

/// Refuses a load that merges, where nothing says by which columns.
///
/// # Errors
/// [`SinkError::NoKey`], [`SinkError::MergeColumn`].
pub fn check_mode(target: &Target, sink: &'static str) -> Result<(), SinkError> {
    match target.mode {
        WriteMode::Append | WriteMode::Overwrite => Ok(()),
        WriteMode::Merge => MergeColumns::new(target, sink).map(|_| ()),
    }
}

/// Refuses a schema without columns, and columns whose names differ only in case.
///
/// # Errors
/// [`SinkError::NoColumns`], [`SinkError::Collision`].
pub fn check_columns(table: &TableId, schema: &Schema) -> Result<(), SinkError> {
    if schema.fields().is_empty() {
        return Err(SinkError::NoColumns(table.to_string()));
    }
    let mut seen: HashMap<String, &str> = HashMap::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let name = field.name();
        if let Some(first) = seen.insert(name.to_lowercase(), name) {
            return Err(SinkError::Collision {
                table: table.to_string(),
                first: first.to_owned(),
                second: name.clone(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};
    use datakit_model::Diagnostic;

    use super::*;

    fn check(names: &[&str]) -> Result<(), String> {
        let schema = Schema::new(names.iter().map(|n| Field::new(*n, DataType::Int32, true)).collect::<Vec<_>>());
        check_columns(&TableId::new("dbo", "t"), &schema).map_err(|e| format!("{} {e}", e.code()))
    }

    #[test]
    fn any_order_of_any_names_is_accepted() {
        assert_eq!(check(&["id", "Name", "_bronze_loaded_at", "_bronze_row_hash"]), Ok(()));
        assert_eq!(check(&["_bronze_row_hash", "id", "_bronze_loaded_at"]), Ok(()));
    }

    #[test]
    fn names_that_differ_only_in_case_are_refused() {
        let error = |names: &[&str]| check(names).unwrap_err();
        assert!(error(&[]).starts_with("DK-SNK-007"));
        assert_eq!(
            error(&["Id", "x", "iD"]),
            "DK-SNK-004 table `dbo.t` has the columns `Id` and `iD`, which a sink cannot tell apart"
        );
        assert!(error(&["x", "_bronze_loaded_at", "_bronze_loaded_at"]).starts_with("DK-SNK-004"));
    }
}
