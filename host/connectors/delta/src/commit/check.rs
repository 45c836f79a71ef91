//! Whether a load can be written into the table that is there.

use datakit_connect::sink::SinkError;
use datakit_model::sink::{Target, WriteMode};

use super::Log;
use crate::schema::{TableSchema, column_with_invariant};
use crate::{drift, protocol};

impl Log {
    /// Refuses a table that we cannot write, or that is partitioned by other columns.
    pub(crate) fn check(&self, partition_columns: &[String], mode: WriteMode) -> Result<(), SinkError> {
        let Some(snapshot) = &self.snapshot else { return Ok(()) };
        let foreign = |reason: String| SinkError::ForeignTable { location: self.location.clone(), reason };
        if let Some(column) = column_with_invariant(&snapshot.schema()) {
            return Err(foreign(format!("its column `{column}` has an invariant")));
        }
        let needs = protocol::not_honoured(snapshot.protocol(), snapshot.metadata(), &snapshot.schema());
        let needs = needs.map_err(|error| foreign(error.to_string()))?;
        if !needs.is_empty() {
            return Err(foreign(format!("it needs table features that are not supported here: {}", needs.join(", "))));
        }
        let there = snapshot.metadata().partition_columns();
        if there != partition_columns {
            let (location, wanted) = (self.location.clone(), partition_columns.to_vec());
            return Err(SinkError::OtherPartitions { location, there: there.to_vec(), wanted });
        }
        if mode != WriteMode::Append && snapshot.table_config().append_only == Some(true) {
            let does = if mode == WriteMode::Merge { "merges" } else { "overwrites" };
            return Err(foreign(format!("it is append-only, and the load {does}")));
        }
        Ok(())
    }

    /// Refuses columns that another writer has changed since they were `read`, unless the rows fit as they were written.
    pub(crate) fn check_columns(&self, read: &Self, target: &Target, schema: &TableSchema) -> Result<(), SinkError> {
        let (Some(now), before) = (self.columns(), read.columns()) else { return Ok(()) };
        if before.as_ref() == Some(&now) {
            return Ok(());
        }
        let conflict = SinkError::SchemaConflict { location: self.location.clone() };
        if schema.altered.is_some() {
            return Err(conflict);
        }
        match drift::refit(target, schema, &now, &self.location) {
            Ok(fit) if fit.changes_nothing() => Ok(()),
            Err(error) if before.is_none() => Err(error),
            _ => Err(conflict),
        }
    }
}
