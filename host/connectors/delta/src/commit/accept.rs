//! A commit without rows: the state is that of the rows that are there.

use datakit_connect::sink::SinkError;
use datakit_model::state::{SourceTable, StateDocument, TargetTable, WrittenRows};
use deltalake::kernel::transaction::CommitData;
use deltalake::logstore::CommitOrBytes;
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::table::state::DeltaTableState;
use deltalake::{DeltaResult, DeltaTableError};
use uuid::Uuid;

use super::{Log, lost_the_race};
use crate::state;
use datakit_model::sink::WriteMode;

impl Log {
    /// The table's document, if it fits the rows.
    pub(crate) fn document(&self) -> Result<Option<StateDocument>, SinkError> {
        Ok(self.held.checked(&self.location)?.cloned())
    }

    /// Makes the last document one of the rows that are there, if it does not fit them: loads go on from it. None: there is no
    /// state.
    pub(crate) async fn accept(&self) -> Result<Option<StateDocument>, SinkError> {
        let checked = self.document();
        let (Some(snapshot), Some(last), Err(error)) = (&self.snapshot, &self.held.document, &checked) else {
            return checked;
        };
        tracing::info!(location = %self.location, %error, "accepting the rows that are there");
        self.restate(snapshot, last).await.map(Some)
    }

    /// Makes the last document one without a watermark of this source table. None: there is no state.
    pub(crate) async fn forget(&self, source: &SourceTable) -> Result<Option<StateDocument>, SinkError> {
        let (Some(snapshot), Some(last)) = (&self.snapshot, &self.held.document) else { return Ok(None) };
        tracing::info!(location = %self.location, "forgetting how far the source table is read");
        self.restate(snapshot, &last.without_watermark(source)).await.map(Some)
    }

    /// Commits a document as that of the rows that are there.
    async fn restate(&self, snapshot: &DeltaTableState, last: &StateDocument) -> Result<StateDocument, SinkError> {
        let to = TargetTable::Delta { id: snapshot.metadata().id().to_owned(), read_version: Some(snapshot.version()) };
        let written = WrittenRows { rows: last.written.rows, files: Vec::new() };
        let document = StateDocument { target: Some(to), written, ..last.clone() };
        let number = self.documents.write(self.first_number(), &document).await?;
        let Err(error) = self.name(number).await else { return Ok(document) };
        match self.newest().await {
            Ok(now) if now.held.number == Some(number) => return Ok(document),
            Ok(_) if lost_the_race(&error) => {}
            _ => return Err(SinkError::Unknown { location: self.location.clone(), source: Box::new(error) }),
        }
        self.documents.discard(number).await;
        Err(SinkError::Conflict { location: self.location.clone() })
    }

    /// The lowest number that the next document may have.
    pub(super) fn first_number(&self) -> i64 {
        let version = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.version().saturating_add(1));
        let next = state::number_of(version);
        self.held.number.map_or(next, |number| next.max(number.saturating_add(1)))
    }

    /// Commits the number of a document, and nothing else.
    async fn name(&self, number: i64) -> DeltaResult<()> {
        let Some(snapshot) = &self.snapshot else { return Err(DeltaTableError::NotATable(self.location.clone())) };
        let actions = Self::continuation(snapshot, None, WriteMode::Append)?;
        let operation = DeltaOperation::Write { mode: SaveMode::Append, partition_by: None, predicate: None };
        let data = CommitData::new(actions, operation, Default::default(), vec![self.transaction(number)]);
        let entry = CommitOrBytes::LogBytes(data.get_bytes()?);
        self.store.write_commit_entry(snapshot.version() + 1, entry, Uuid::new_v4()).await?;
        Ok(())
    }
}
