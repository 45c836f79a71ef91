//! The columns that the host appends to the rows of changes.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, RecordBatch, RecordBatchOptions, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datakit_model::changes::{ColumnRole, ROLE_KEY};
use datakit_model::source::{ReadReport, Reader};
use datakit_model::{Failure, TrackedBatch};

use super::error::ChangesError;

/// What the host's columns are called begins so: in no database a name is spelled like that by habit.
const PREFIX: &str = "datakit:";

/// The column that a connector's query has behind those that were asked for: the place of each change, as text.
pub const VERSION_COLUMN: &str = "datakit:change-version";

/// What happened to the rows of a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// They are of the first copy.
    Read,
    /// They were inserted or updated.
    Upsert,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Upsert => "upsert",
        }
    }
}

/// Whether a column's name is one of the host's.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// The rows of a connector's query, whose last column is [`VERSION_COLUMN`], with the host's columns in its place: operation,
/// version, commit time, changed columns.
pub struct ChangeReader {
    inner: Box<dyn Reader>,
    schema: SchemaRef,
    operation: Operation,
    /// The columns that are the same for all rows: operation, commit time, changed columns. As long as the longest batch.
    constants: [ArrayRef; 3],
}

impl ChangeReader {
    /// Of rows that all have the same operation.
    ///
    /// # Errors
    /// The query has another last column: a bug of the connector.
    pub fn new(inner: Box<dyn Reader>, operation: Operation) -> Result<Self, ChangesError> {
        let source = inner.schema();
        let Some((version, columns)) = source.fields().split_last() else { return Err(without_version()) };
        if version.name() != VERSION_COLUMN || version.data_type() != &DataType::Utf8 {
            return Err(without_version());
        }
        let roles =
            [ColumnRole::Operation, ColumnRole::ChangeVersion, ColumnRole::CommitTime, ColumnRole::ChangedColumns];
        let fields: Vec<_> = columns.iter().cloned().chain(roles.map(|role| Arc::new(field(role)))).collect();
        Ok(Self { inner, schema: Arc::new(Schema::new(fields)), operation, constants: constants(operation, 0) })
    }

    fn with_roles(&mut self, batch: &RecordBatch) -> Result<RecordBatch, ChangesError> {
        let rows = batch.num_rows();
        if self.constants[0].len() < rows {
            self.constants = constants(self.operation, rows);
        }
        let Some((version, columns)) = batch.columns().split_last() else { return Err(without_version()) };
        let [operation, commit_time, changed] = self.constants.each_ref().map(|constant| constant.slice(0, rows));
        let columns = columns.iter().cloned().chain([operation, Arc::clone(version), commit_time, changed]).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|error| ChangesError::Internal(format!("rows of changes have another shape: {error}")))
    }
}

fn without_version() -> ChangesError {
    ChangesError::Internal("a query for changes has no column of their places".to_owned())
}

fn field(role: ColumnRole) -> Field {
    let (data_type, nullable) = match role {
        ColumnRole::LoadId | ColumnRole::Operation | ColumnRole::ChangeVersion => (DataType::Utf8, false),
        ColumnRole::CommitTime => (DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        ColumnRole::ChangedColumns => (DataType::new_list(DataType::Utf8, true), true),
    };
    let metadata = HashMap::from([(ROLE_KEY.to_owned(), role.name().to_owned())]);
    Field::new(format!("{PREFIX}{}", role.name()), data_type, nullable).with_metadata(metadata)
}

fn constants(operation: Operation, rows: usize) -> [ArrayRef; 3] {
    let null = |role| new_null_array(field(role).data_type(), rows);
    let operations = StringArray::from_iter_values(std::iter::repeat_n(operation.name(), rows));
    [Arc::new(operations), null(ColumnRole::CommitTime), null(ColumnRole::ChangedColumns)]
}

#[async_trait]
impl Reader for ChangeReader {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    async fn next(&mut self) -> Result<Option<TrackedBatch>, Failure> {
        let Some(tracked) = self.inner.next().await? else { return Ok(None) };
        let batch = self.with_roles(tracked.batch())?;
        Ok(Some(tracked.derive(batch)))
    }

    fn report(&mut self) -> ReadReport {
        self.inner.report()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Batches(SchemaRef, Vec<RecordBatch>);

    #[async_trait]
    impl Reader for Batches {
        fn schema(&self) -> SchemaRef {
            Arc::clone(&self.0)
        }

        async fn next(&mut self) -> Result<Option<TrackedBatch>, Failure> {
            Ok(self.1.pop().map(TrackedBatch::untracked))
        }

        fn report(&mut self) -> ReadReport {
            ReadReport::default()
        }
    }

    fn query(last: &str, batches: &[&[&str]]) -> Box<dyn Reader> {
        let schema =
            Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8, true), Field::new(last, DataType::Utf8, true)]));
        let column = |texts: &[&str]| -> ArrayRef { Arc::new(StringArray::from_iter_values(texts)) };
        let batch =
            |texts: &&[&str]| RecordBatch::try_new(Arc::clone(&schema), vec![column(texts), column(texts)]).unwrap();
        let batches = batches.iter().rev().map(batch).collect();
        Box::new(Batches(schema, batches))
    }

    #[tokio::test]
    async fn batches_of_any_size_have_the_columns_of_the_host() {
        let rows = query(VERSION_COLUMN, &[&["1"], &["2", "3", "4"], &["5", "6"]]);
        let mut reader = ChangeReader::new(rows, Operation::Upsert).unwrap();
        let names: Vec<&str> = reader.schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["a", "datakit:operation", VERSION_COLUMN, "datakit:commit-time", "datakit:changed-columns"]);
        let mut sizes = Vec::new();
        while let Some(batch) = reader.next().await.unwrap() {
            let batch = batch.batch();
            assert_eq!(batch.schema(), reader.schema());
            assert_eq!(batch.column(1).as_ref(), &StringArray::from(vec!["upsert"; batch.num_rows()]));
            assert_eq!(batch.column(2), batch.column(0));
            assert_eq!([batch.column(3).null_count(), batch.column(4).null_count()], [batch.num_rows(); 2]);
            sizes.push(batch.num_rows());
        }
        assert_eq!(sizes, [1, 3, 2]);
    }

    #[test]
    fn query_without_places_is_refused() {
        assert!(ChangeReader::new(query("version", &[]), Operation::Read).is_err());
    }

    #[test]
    fn names_of_the_host_are_reserved_in_any_case() {
        assert!(["datakit:operation", "DATAKIT:x", "datakit:"].iter().all(|name| is_reserved(name)));
        assert!(["datakit", "operation", "", "\u{e9}", "data:kit"].iter().all(|name| !is_reserved(name)));
    }
}
