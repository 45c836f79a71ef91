//! From the messages of a table to batches of its changes.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringBuilder, TimestampMicrosecondBuilder};
use arrow::datatypes::{Schema, SchemaRef};
use datakit_connect::changes::roles::{self, Operation};
use datakit_connect::delivery::Stop;
use datakit_connect::rejects;
use datakit_model::ReadLimits;
use datakit_model::changes::ColumnRole;
use datakit_model::rejects::{Noted, RejectedRow, Rejecting, text};

use super::error::LogicalError;
use super::layout::Layout;
use super::lsn::Lsn;
use super::message::{Message, Old, Tuple, Value};
use super::spool::{Messages, Place};
use super::stream::malformed;
use crate::copy_format::EPOCH_MICROS;
use crate::source::copy::{ColumnBuilder, Wrong, row_bytes, shown};
use crate::source::error::PostgresError;
use crate::source::types::{self, Column};

type Delivery = datakit_connect::delivery::Delivery<PostgresError>;

/// What a row takes in the host's columns, about, in bytes.
const ROLES_BYTES: usize = 64;
/// Messages between two pauses.
const STEP_MESSAGES: usize = 4096;

/// Which changes of a table are read, and how.
pub(super) struct Wanted {
    /// The columns of the rows.
    pub(super) columns: Arc<[Column]>,
    /// The columns that tell rows apart.
    pub(super) keys: Vec<String>,
    /// Transactions whose commits begin from the one place on and before the other.
    pub(super) span: (Lsn, Lsn),
    /// What becomes of changes with a value that has no exact Arrow form; none: the load fails.
    pub(super) rejecting: Option<Rejecting>,
}

/// Delivers the changes of a span.
pub(super) async fn deliver(mut messages: Messages, wanted: Wanted, limits: ReadLimits, mut delivery: Delivery) {
    let mut rows = Rows::new(wanted, &limits);
    let outcome = ship(&mut messages, &mut rows, &mut delivery).await;
    delivery.finish(outcome).await;
}

async fn ship(messages: &mut Messages, rows: &mut Rows, delivery: &mut Delivery) -> Result<(), Stop<PostgresError>> {
    let closing = delivery.closing();
    loop {
        let step = rows.fill(messages).map_err(Stop::Failed)?;
        if rows.rows > 0 && !matches!(step, Step::Pause) {
            let (batch, rejected) = rows.finish().map_err(Stop::Failed)?;
            delivery.ship_split(batch, Vec::new(), rejected).await?;
        }
        match step {
            Step::End => return Ok(()),
            Step::Pause if closing.is_closed() => return Err(Stop::Dropped),
            Step::Pause => tokio::task::yield_now().await,
            Step::Full => {}
        }
    }
}

/// How far a step of reading came.
enum Step {
    Full,
    /// Others may have the thread for a moment: changes before the span are passed over without a batch.
    Pause,
    End,
}

/// The shape of the rows: the columns, then those of the host.
pub(super) fn schema(columns: &[Column]) -> SchemaRef {
    let roles = [ColumnRole::Operation, ColumnRole::ChangeVersion, ColumnRole::CommitTime, ColumnRole::MissingColumns];
    let own = types::schema(columns);
    let fields = own.fields().iter().cloned().chain(roles.into_iter().map(|role| Arc::new(roles::field(role))));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Rows of a batch being built.
struct Rows {
    wanted: Wanted,
    schema: SchemaRef,
    layout: Option<Shown>,
    columns: Vec<ColumnBuilder>,
    operations: StringBuilder,
    versions: StringBuilder,
    times: TimestampMicrosecondBuilder,
    missing: StringBuilder,
    rows: usize,
    rows_finished: u64,
    bytes: usize,
    row_bytes: usize,
    max_batch_bytes: usize,
    max_batch_rows: usize,
    max_cell_bytes: usize,
    /// Changes of the batch with a bad value; none: a bad value is an error.
    noted: Option<Noted>,
}

/// A layout as the wanted columns see it.
struct Shown {
    layout: Layout,
    /// Where each wanted column is; none: the table did not have it.
    places: Vec<Option<usize>>,
}

/// A row to be appended.
struct Row<'r, 'a> {
    operation: Operation,
    place: Place,
    values: &'r Tuple<'a>,
    /// The columns that have no value in it.
    missing: Option<String>,
}

impl Rows {
    fn new(wanted: Wanted, limits: &ReadLimits) -> Self {
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let (max_batch_bytes, max_batch_rows) = (size(limits.max_batch_bytes), size(limits.max_batch_rows).max(1));
        let row_bytes = wanted.columns.iter().map(|column| row_bytes(column.shape)).sum::<usize>() + ROLES_BYTES;
        let rows = (max_batch_bytes / row_bytes).clamp(1, max_batch_rows).min(1024);
        Self {
            schema: schema(&wanted.columns),
            layout: None,
            columns: wanted.columns.iter().map(|column| ColumnBuilder::new(column, rows)).collect(),
            operations: StringBuilder::new(),
            versions: StringBuilder::new(),
            times: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            missing: StringBuilder::new(),
            rows: 0,
            rows_finished: 0,
            bytes: 0,
            row_bytes,
            max_batch_bytes,
            max_batch_rows,
            max_cell_bytes: size(limits.max_cell_bytes),
            noted: wanted.rejecting.clone().map(Noted::new),
            wanted,
        }
    }

    fn is_full(&self) -> bool {
        self.rows >= self.max_batch_rows || self.rows * self.row_bytes + self.bytes >= self.max_batch_bytes
    }

    /// Takes messages until the batch is full, the span ends, or it is time for a pause.
    fn fill(&mut self, messages: &mut Messages) -> Result<Step, PostgresError> {
        let (after, upto) = self.wanted.span;
        for _ in 0..STEP_MESSAGES {
            if self.is_full() {
                return Ok(Step::Full);
            }
            let next = messages.next().map_err(|error| LogicalError::Spool(error.to_string()))?;
            let Some((place, bytes)) = next.filter(|(place, _)| place.commit < upto) else { return Ok(Step::End) };
            match Message::parse(bytes).ok_or_else(|| malformed("a change that is none"))? {
                Message::Relation(relation) => self.show(Layout::new(relation, &self.wanted.keys)),
                _ if place.commit < after => {}
                message => self.change(place, message)?,
            }
        }
        Ok(Step::Pause)
    }

    fn show(&mut self, layout: Layout) {
        let place = |column: &Column| layout.names.iter().position(|name| *name == column.name);
        let places = self.wanted.columns.iter().map(place).collect();
        self.layout = Some(Shown { layout, places });
    }

    fn change(&mut self, place: Place, message: Message<'_>) -> Result<(), PostgresError> {
        let shown = self.layout.take().ok_or_else(|| malformed("a change of an unknown table"))?;
        let changed = self.change_of(&shown, place, message);
        self.layout = Some(shown);
        changed
    }

    fn change_of(&mut self, shown: &Shown, place: Place, message: Message<'_>) -> Result<(), PostgresError> {
        match message {
            Message::Insert { new, .. } => self.put(shown, Operation::Insert, place, &new),
            Message::Update { old: None, new, .. } => self.put(shown, Operation::Update, place, &new),
            Message::Update { old: Some(old), mut new, .. } => {
                shown.layout.complete(&old, &mut new);
                if !shown.layout.is_moved(&old, &new) {
                    return self.put(shown, Operation::Update, place, &new);
                }
                // Of the two numbers of the change the first is the old row's.
                self.delete(shown, Place { ordinal: place.ordinal - 1, ..place }, &old)?;
                self.put(shown, Operation::Insert, place, &new)
            }
            Message::Delete { old, .. } => self.delete(shown, place, &old),
            _ => Err(malformed("a message of no row among those of a table")),
        }
    }

    /// Appends a row as it is after a change.
    fn put(
        &mut self,
        shown: &Shown,
        operation: Operation,
        place: Place,
        values: &Tuple<'_>,
    ) -> Result<(), PostgresError> {
        let missing = self.missing_of(shown, |at| values.get(at) == Some(&Value::Unchanged));
        self.push(shown, Row { operation, place, values, missing })
    }

    /// Appends a row that is not there any more.
    fn delete(&mut self, shown: &Shown, place: Place, old: &Old<'_>) -> Result<(), PostgresError> {
        let missing = self.missing_of(shown, |at| !shown.layout.says(old, at));
        self.push(shown, Row { operation: Operation::Delete, place, values: &old.values, missing })
    }

    /// The wanted columns of which this holds, as rows name them.
    fn missing_of(&self, shown: &Shown, is_missing: impl Fn(usize) -> bool) -> Option<String> {
        let columns = self.wanted.columns.iter().zip(&shown.places);
        let missing = columns.filter(|(_, place)| place.is_some_and(&is_missing));
        roles::missing_columns(missing.map(|(column, _)| column.name.as_str()))
    }

    fn push(&mut self, shown: &Shown, row: Row<'_, '_>) -> Result<(), PostgresError> {
        if !shown.layout.fits(row.values) {
            return Err(malformed("a row of another number of columns than its table"));
        }
        for (index, place) in shown.places.iter().enumerate() {
            let value = place.map_or(Value::Null, |at| row.values[at]);
            self.bytes += self.push_value(index, value)?;
        }
        self.operations.append_value(row.operation.name());
        self.versions.append_value(row.place.commit.version(row.place.ordinal));
        self.times.append_option(row.place.time.checked_add(EPOCH_MICROS));
        self.bytes += row.missing.as_ref().map_or(0, String::len);
        self.missing.append_option(row.missing);
        self.rows += 1;
        Ok(())
    }

    /// Appends a value; returns the bytes it takes besides those of every row.
    fn push_value(&mut self, index: usize, value: Value<'_>) -> Result<usize, PostgresError> {
        let column = &mut self.columns[index];
        let pushed = match value {
            Value::Binary(bytes) if bytes.len() > self.max_cell_bytes => return Err(self.too_large(index, bytes.len())),
            Value::Binary(bytes) => column.push(bytes),
            Value::Null | Value::Unchanged if column.push_null() => Ok(0),
            Value::Null | Value::Unchanged => Err(Wrong::UnexpectedNull),
            Value::Text => Err(Wrong::Malformed),
        };
        match (pushed, value) {
            (Ok(added), _) => Ok(added),
            (Err(wrong), Value::Binary(bytes)) => self.reject(index, wrong, bytes).map(|()| 0),
            (Err(wrong), _) => Err(self.wrong(index, wrong)),
        }
    }

    /// Rejects the change at hand for a value, and fills its place.
    #[cold]
    fn reject(&mut self, index: usize, wrong: Wrong, field: &[u8]) -> Result<(), PostgresError> {
        let column = &self.wanted.columns[index];
        match &mut self.noted {
            Some(noted) if wrong.is_of_the_data() => {
                let (reason, _) = wrong.words(&column.source_type);
                noted.note(self.rows, &column.name, reason, shown(column.shape, field));
                self.columns[index].fill();
                Ok(())
            }
            _ => Err(self.wrong(index, wrong)),
        }
    }

    /// Refuses a column with a text that is no UTF-8, or rejects the changes with such texts.
    fn check_texts(&mut self, index: usize) -> Result<(), PostgresError> {
        let Some(noted) = &mut self.noted else {
            let Some(row) = self.columns[index].first_malformed_text() else { return Ok(()) };
            self.rows = row;
            return Err(self.wrong(index, Wrong::NotUtf8));
        };
        let column = &self.wanted.columns[index];
        for (row, bytes) in self.columns[index].take_malformed_texts() {
            let (reason, _) = Wrong::NotUtf8.words(&column.source_type);
            noted.note(row, &column.name, reason, Some(text::utf8(&bytes)));
        }
        Ok(())
    }

    /// The batch, and the changes that are rejected.
    fn finish(&mut self) -> Result<(RecordBatch, Vec<RejectedRow>), PostgresError> {
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for index in 0..self.columns.len() {
            self.check_texts(index)?;
            arrays.push(self.columns[index].finish().map_err(|error| unclosed(&error))?);
        }
        arrays.push(Arc::new(self.operations.finish()));
        arrays.push(Arc::new(self.versions.finish()));
        arrays.push(Arc::new(self.times.finish()));
        arrays.push(Arc::new(self.missing.finish()));
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays).map_err(|error| unclosed(&error))?;
        self.rows_finished += self.rows as u64;
        (self.rows, self.bytes) = (0, 0);
        match &mut self.noted {
            Some(noted) => rejects::split(noted, batch),
            None => Ok((batch, Vec::new())),
        }
    }

    fn row(&self) -> u64 {
        self.rows_finished + self.rows as u64 + 1
    }

    #[cold]
    fn wrong(&self, index: usize, wrong: Wrong) -> PostgresError {
        let column = &self.wanted.columns[index];
        let (reason, hint) = wrong.words(&column.source_type);
        PostgresError::Value { row: self.row(), column: column.name.clone(), reason, hint }
    }

    #[cold]
    fn too_large(&self, index: usize, bytes: usize) -> PostgresError {
        let (column, limit) = (self.wanted.columns[index].name.clone(), self.max_cell_bytes as u64);
        PostgresError::CellTooLarge { row: self.row(), column, bytes: bytes as u64, limit }
    }
}

fn unclosed(error: &arrow::error::ArrowError) -> PostgresError {
    PostgresError::Internal(format!("cannot close a batch of changes: {error}"))
}
