//! How a table is written: what the operator says, then what the plan proposes, then what the source says.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datakit_model::datakit::{RoleColumns, TablePlan};
use datakit_model::receipt::Delivered;
use datakit_model::sink::{CommitNote, Sink, Target, WriteMode};
use datakit_model::{Failure, RunIdentity, TrackedBatch};

use crate::error::RunError;
use crate::job::Destination;

/// What happens to the rows that are there, as the operator says and the plan proposes.
///
/// Only the operator's word removes rows. A proposed overwrite counts for a table without rows, and there it is an append: rows
/// that another writer adds meanwhile stay.
pub(crate) fn mode(said: Option<WriteMode>, proposed: Option<WriteMode>) -> WriteMode {
    match (said, proposed) {
        (Some(mode), _) => mode,
        (None, Some(WriteMode::Merge)) => WriteMode::Merge,
        (None, Some(WriteMode::Append | WriteMode::Overwrite) | None) => WriteMode::Append,
    }
}

/// The target of a load with this schema. `source_keys` count where the plan proposes no keys.
///
/// # Errors
/// The plan proposes columns that the schema does not have.
pub(crate) fn target(
    destination: &Destination,
    run: &RunIdentity,
    plan: &TablePlan,
    source_keys: &[String],
    schema: SchemaRef,
) -> Result<Target, RunError> {
    check(plan, "key", &plan.keys, &schema)?;
    check(plan, "partition", &plan.partition_by, &schema)?;
    let keys = if plan.keys.is_empty() { source_keys } else { &plan.keys };
    // A key of which a column is left out identifies no row.
    let keys = if keys.iter().all(|key| is_column(&schema, key)) { keys.to_vec() } else { Vec::new() };
    let partition_by =
        if destination.sink.writes_partitioned_tables() { plan.partition_by.clone() } else { Vec::new() };
    let target = Target::new(plan.table.clone(), schema, mode(destination.mode, plan.write), run.clone());
    Ok(Target { keys, partition_by, roles: plan.roles.clone(), ..target })
}

/// The same before the datakit has said what its output is, with the source's columns: the others are not looked at.
///
/// # Errors
/// The plan proposes a column twice.
pub(crate) fn expected_target(
    destination: &Destination,
    run: &RunIdentity,
    plan: &TablePlan,
    source_keys: &[String],
    columns: &SchemaRef,
) -> Result<Target, RunError> {
    let known = |names: &[String]| names.iter().filter(|name| is_column(columns, name)).cloned().collect();
    let plan = TablePlan { keys: known(&plan.keys), partition_by: known(&plan.partition_by), ..plan.clone() };
    let target = target(destination, run, &plan, source_keys, SchemaRef::clone(columns))?;
    // The host fills columns of the output.
    Ok(Target { roles: RoleColumns::default(), ..target })
}

/// Writes one batch of the host's own and commits it, when the sink has counted its rows.
///
/// # Errors
/// What the sink says; nothing is visible then, unless the error leaves that open.
pub async fn commit_batch(sink: &Arc<dyn Sink>, target: Target, batch: RecordBatch) -> Result<(), Failure> {
    let writer = sink.open(target).await?;
    let delivered = Delivered { rows: batch.num_rows() as u64, checksum: None };
    let written = async {
        let mut partition = writer.partition(0).await?;
        partition.write(TrackedBatch::untracked(batch)).await?;
        partition.finish().await?;
        writer.commit(CommitNote { delivered: Some(delivered), ..CommitNote::default() }).await
    };
    match written.await {
        Ok(_) => Ok(()),
        Err(failure) => {
            writer.abort().await;
            Err(failure)
        }
    }
}

/// The columns that the plan names for what the host fills are those that the host fills.
///
/// # Errors
/// A column that is named for a role and does not have it.
pub(crate) fn check_roles(plan: &TablePlan, found: &RoleColumns) -> Result<(), RunError> {
    for (role, column) in plan.roles.named() {
        if !found.named().any(|(has, name)| (has, name) == (role, column)) {
            let (table, column) = (plan.table.clone(), column.to_owned());
            return Err(RunError::PlannedRole { table, role: role.name(), column });
        }
    }
    Ok(())
}

fn is_column(schema: &Schema, name: &str) -> bool {
    schema.column_with_name(name).is_some()
}

fn check(plan: &TablePlan, what: &'static str, columns: &[String], schema: &Schema) -> Result<(), RunError> {
    let mut seen = HashSet::with_capacity(columns.len());
    for column in columns {
        let problem = match (is_column(schema, column), seen.insert(column)) {
            (true, true) => continue,
            (false, _) => "the rows have no such column",
            (true, false) => "it is named twice",
        };
        return Err(RunError::PlannedColumn { table: plan.table.to_string(), what, column: column.clone(), problem });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};
    use datakit_model::{Diagnostic, TableId};

    use super::*;

    #[test]
    fn operators_mode_decides_over_the_proposal() {
        for proposed in [None, Some(WriteMode::Append), Some(WriteMode::Overwrite), Some(WriteMode::Merge)] {
            for said in [WriteMode::Append, WriteMode::Overwrite, WriteMode::Merge] {
                assert_eq!(mode(Some(said), proposed), said, "{proposed:?}");
            }
        }
    }

    #[test]
    fn proposed_overwrite_alone_removes_no_rows() {
        assert_eq!(mode(None, Some(WriteMode::Overwrite)), WriteMode::Append);
        assert_eq!(mode(None, Some(WriteMode::Merge)), WriteMode::Merge, "it neither doubles nor loses rows");
        assert_eq!(mode(None, None), WriteMode::Append);
    }

    #[test]
    fn column_that_the_datakit_filled_itself_has_no_role() {
        let named = |name: &str| RoleColumns { load_id: Some(name.to_owned()), ..RoleColumns::default() };
        let plan = TablePlan {
            table: TableId::new("dbo", "t"),
            partitions: Vec::new(),
            watermark_after: None,
            write: None,
            keys: Vec::new(),
            partition_by: Vec::new(),
            strategy: None,
            why: None,
            roles: named("batch"),
            fixed: None,
            rules: Vec::new(),
        };
        assert!(check_roles(&plan, &named("batch")).is_ok());
        for found in [RoleColumns::default(), named("other")] {
            assert_eq!(check_roles(&plan, &found).unwrap_err().code(), "DK-RUN-016");
        }
        let other_role = RoleColumns { operation: Some("batch".to_owned()), ..RoleColumns::default() };
        assert!(check_roles(&plan, &other_role).is_err());
    }

    #[test]
    fn proposed_columns_are_columns_of_the_rows() {
        let schema =
            Schema::new(vec![Field::new("id", DataType::Int32, false), Field::new("day", DataType::Date32, true)]);
        let plan = TablePlan {
            table: TableId::new("dbo", "t"),
            partitions: Vec::new(),
            watermark_after: None,
            write: None,
            keys: Vec::new(),
            partition_by: Vec::new(),
            strategy: None,
            why: None,
            roles: RoleColumns::default(),
            fixed: None,
            rules: Vec::new(),
        };
        let check = |columns: &[&str]| {
            let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
            check(&plan, "partition", &columns, &schema).map_err(|e| format!("{} {e}", e.code()))
        };
        assert_eq!(check(&["day", "id"]), Ok(()));
        let error = |columns: &[&str]| check(columns).unwrap_err();
        assert_eq!(
            error(&["day", "Day"]),
            "DK-RUN-015 the plan of dbo.t names `Day` as a partition column: the rows have no such column"
        );
        assert_eq!(
            error(&["day", "day"]),
            "DK-RUN-015 the plan of dbo.t names `day` as a partition column: it is named twice"
        );
    }
}
