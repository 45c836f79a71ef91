//! The columns that the host appends to the rows of changes.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, RecordBatch, RecordBatchOptions, StringArray, UInt32Array, new_null_array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datakit_model::changes::{ColumnRole, ROLE_KEY};
use datakit_model::source::{ReadReport, Reader};
use datakit_model::{Failure, TrackedBatch};

use super::error::ChangesError;

/// What the host's columns are called begins so: in no database a name is spelled like that by habit.
const PREFIX: &str = "datakit:";

/// The place of each change, as text, in a connector's query.
pub const VERSION_COLUMN: &str = "datakit:change-version";
/// What happened to each row, in a connector's query whose rows differ in it.
pub const OPERATION_COLUMN: &str = "datakit:operation";
/// When each change was committed, in a connector's query that knows it.
pub const COMMIT_TIME_COLUMN: &str = "datakit:commit-time";
/// The columns whose values a change does not carry, in a connector's query: a JSON array of their names.
pub const MISSING_COLUMNS_COLUMN: &str = "datakit:missing-columns";

/// Whether a row lies where rows are known from the last load, in a query of the strategy `watermark`.
pub const KNOWN_COLUMN: &str = "datakit:known";
/// Whether a row lies where rows are to be known by the next load, in a query of the strategy `watermark`.
pub const KEPT_COLUMN: &str = "datakit:kept";

/// The roles of a feed's rows, in their order.
const ROLES: [ColumnRole; 4] =
    [ColumnRole::Operation, ColumnRole::ChangeVersion, ColumnRole::CommitTime, ColumnRole::MissingColumns];

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It is of the first copy.
    Read,
    /// It was inserted.
    Insert,
    /// It was updated.
    Update,
    /// It was inserted or updated: the source does not say which, or it may have been read before.
    Upsert,
    /// It was deleted.
    Delete,
}

impl Operation {
    /// As rows have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Upsert => "upsert",
            Self::Delete => "delete",
        }
    }
}

/// Whether a column's name is one of the host's.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// What the rows of a feed have in common, where their query has no column for it.
#[derive(Debug, Clone, Copy)]
pub struct Common<'a> {
    /// What happened to them.
    pub operation: Operation,
    /// Their place; none: the query has [`VERSION_COLUMN`].
    pub version: Option<&'a str>,
}

/// The rows of a connector's query with the host's columns behind them: operation, version, commit time, missing columns. Each is
/// the query's column of its name, wherever that stands, else the same for all rows.
pub struct ChangeReader {
    inner: Box<dyn Reader>,
    schema: SchemaRef,
    /// What happened to rows of which the query does not say it.
    operation: Operation,
    /// Where each column of the schema is.
    columns: Vec<Place>,
    /// The columns that are the same for all rows. As long as the longest batch.
    constants: Vec<ArrayRef>,
}

/// Where a column of a feed is.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Among those of the query.
    Query(usize),
    /// Among the constants.
    Constant(usize),
}

impl ChangeReader {
    /// Of a query's rows.
    ///
    /// # Errors
    /// The query has no version where it has to, or a column of the host of another type: a bug of the connector.
    pub fn new(inner: Box<dyn Reader>, common: Common<'_>) -> Result<Self, ChangesError> {
        let query = inner.schema();
        let own = query.fields().iter().enumerate().filter(|(_, field)| !is_reserved(field.name()));
        let (mut columns, mut fields): (Vec<Place>, Vec<_>) =
            own.map(|(at, field)| (Place::Query(at), Arc::clone(field))).unzip();
        let mut constants = Vec::new();
        for role in ROLES {
            let field = field(role);
            columns.push(match query.column_with_name(field.name()) {
                Some((at, found)) if found.data_type() == field.data_type() => Place::Query(at),
                Some((_, found)) => return Err(wrong_type(&field, found)),
                None => {
                    constants.push(constant(role, common)?);
                    Place::Constant(constants.len() - 1)
                }
            });
            fields.push(Arc::new(field));
        }
        let (schema, operation) = (Arc::new(Schema::new(fields)), common.operation);
        Ok(Self { inner, schema, operation, columns, constants })
    }

    /// The same rows, of a strategy whose changes may lack values: all columns may be null but `keys` and those of the host. So the
    /// first copy and the changes have one shape.
    #[must_use]
    pub fn nullable_but(mut self, keys: &[String]) -> Self {
        let nullable = |field: &FieldRef| match keys.contains(field.name()) || is_reserved(field.name()) {
            true => Arc::clone(field),
            false => Arc::new(field.as_ref().clone().with_nullable(true)),
        };
        self.schema = Arc::new(Schema::new(self.schema.fields().iter().map(nullable).collect::<Vec<_>>()));
        self
    }

    /// The same rows, of which these columns are never null, whatever the query says: those of a primary key, of which a function
    /// of the server does not say so.
    #[must_use]
    pub fn never_null(mut self, keys: &[String]) -> Self {
        let not_null = |field: &FieldRef| match keys.contains(field.name()) {
            true => Arc::new(field.as_ref().clone().with_nullable(false)),
            false => Arc::clone(field),
        };
        self.schema = Arc::new(Schema::new(self.schema.fields().iter().map(not_null).collect::<Vec<_>>()));
        self
    }

    fn with_roles(&mut self, batch: &RecordBatch) -> Result<RecordBatch, ChangesError> {
        let rows = batch.num_rows();
        for constant in &mut self.constants {
            if constant.len() < rows {
                *constant = repeated(constant, rows)?;
            }
        }
        let column = |place: &Place| match *place {
            Place::Query(at) => Arc::clone(batch.column(at)),
            Place::Constant(at) => self.constants[at].slice(0, rows),
        };
        let columns = self.columns.iter().map(column).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|error| ChangesError::Internal(format!("rows of changes have another shape: {error}")))
    }
}

fn wrong_type(expected: &Field, found: &Field) -> ChangesError {
    let (name, expected, found) = (expected.name(), expected.data_type(), found.data_type());
    ChangesError::Internal(format!("a query for changes has `{name}` as {found} instead of {expected}"))
}

/// The column of a role in the rows of a feed.
#[must_use]
pub fn field(role: ColumnRole) -> Field {
    let (data_type, nullable) = match role {
        ColumnRole::LoadId | ColumnRole::Operation | ColumnRole::ChangeVersion => (DataType::Utf8, false),
        ColumnRole::MissingColumns => (DataType::Utf8, true),
        ColumnRole::CommitTime => (DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
    };
    let metadata = HashMap::from([(ROLE_KEY.to_owned(), role.name().to_owned())]);
    Field::new(format!("{PREFIX}{}", role.name()), data_type, nullable).with_metadata(metadata)
}

/// One value of a role that all rows have.
fn constant(role: ColumnRole, common: Common<'_>) -> Result<ArrayRef, ChangesError> {
    let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    Ok(match (role, common.version) {
        (ColumnRole::Operation, _) => text(common.operation.name()),
        (ColumnRole::ChangeVersion, Some(version)) => text(version),
        (ColumnRole::ChangeVersion, None) => {
            return Err(ChangesError::Internal("a query for changes has no column of their places".to_owned()));
        }
        (role, _) => new_null_array(field(role).data_type(), 1),
    })
}

/// The first value of an array, so many times.
fn repeated(array: &ArrayRef, rows: usize) -> Result<ArrayRef, ChangesError> {
    let first = UInt32Array::from_value(0, rows);
    take(array, &first, None).map_err(|error| ChangesError::Internal(error.to_string()))
}

/// The names of columns that a change does not carry, as rows have them.
#[must_use]
pub fn missing_columns<'n>(names: impl IntoIterator<Item = &'n str>) -> Option<String> {
    let names: Vec<&str> = names.into_iter().collect();
    (!names.is_empty()).then(|| serde_json::Value::from(names).to_string())
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
        let mut report = self.inner.report();
        for row in report.rejected.rows_mut() {
            row.operation.get_or_insert_with(|| self.operation.name().to_owned());
        }
        report
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

    const UPSERTS: Common<'_> = Common { operation: Operation::Upsert, version: None };

    async fn read(mut reader: ChangeReader) -> Vec<RecordBatch> {
        let mut batches = Vec::new();
        while let Some(batch) = reader.next().await.unwrap() {
            assert_eq!(batch.batch().schema(), reader.schema());
            batches.push(batch.batch().clone());
        }
        batches
    }

    #[tokio::test]
    async fn batches_of_any_size_have_the_columns_of_the_host() {
        let rows = query(VERSION_COLUMN, &[&["1"], &["2", "3", "4"], &["5", "6"]]);
        let reader = ChangeReader::new(rows, UPSERTS).unwrap();
        let names: Vec<&str> = reader.schema.fields().iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["a", OPERATION_COLUMN, VERSION_COLUMN, COMMIT_TIME_COLUMN, MISSING_COLUMNS_COLUMN]);
        let batches = read(reader).await;
        for batch in &batches {
            assert_eq!(batch.column(1).as_ref(), &StringArray::from(vec!["upsert"; batch.num_rows()]));
            assert_eq!(batch.column(2), batch.column(0));
            assert_eq!([batch.column(3).null_count(), batch.column(4).null_count()], [batch.num_rows(); 2]);
        }
        assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [1, 3, 2]);
    }

    #[tokio::test]
    async fn columns_of_the_query_count_before_what_rows_have_in_common() {
        let rows = query(OPERATION_COLUMN, &[&["delete", "insert"]]);
        let copied = Common { operation: Operation::Read, version: Some("7") };
        let batches = read(ChangeReader::new(rows, copied).unwrap()).await;
        assert_eq!(batches[0].column(1).as_ref(), &StringArray::from(vec!["delete", "insert"]));
        assert_eq!(batches[0].column(2).as_ref(), &StringArray::from(vec!["7", "7"]));
    }

    #[test]
    fn rows_that_may_lack_values_are_null_but_in_their_keys() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int32, false),
            Field::new("a", DataType::Utf8, false),
        ]));
        let copied = Common { operation: Operation::Read, version: Some("7") };
        let reader = ChangeReader::new(Box::new(Batches(schema, Vec::new())), copied).unwrap();
        let reader = reader.nullable_but(&["id".to_owned()]).never_null(&["id".to_owned()]);
        let nullable: Vec<bool> = reader.schema.fields().iter().map(|field| field.is_nullable()).collect();
        assert_eq!(nullable, [false, true, false, false, true, true]);
    }

    #[test]
    fn query_without_places_or_of_another_type_is_refused() {
        assert!(ChangeReader::new(query("version", &[]), UPSERTS).is_err());
        assert!(ChangeReader::new(query(COMMIT_TIME_COLUMN, &[]), Common { version: Some("1"), ..UPSERTS }).is_err());
    }

    #[test]
    fn missing_columns_are_a_json_array() {
        assert_eq!(missing_columns(["a", "b\"c"]).unwrap(), r#"["a","b\"c"]"#);
        assert_eq!(missing_columns([]), None);
    }

    #[test]
    fn names_of_the_host_are_reserved_in_any_case() {
        assert!(["datakit:operation", "DATAKIT:x", "datakit:"].iter().all(|name| is_reserved(name)));
        assert!(["datakit", "operation", "", "\u{e9}", "data:kit"].iter().all(|name| !is_reserved(name)));
    }
}
