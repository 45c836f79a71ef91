//! What the slot has, decoded once for a run.
//!
//! The server's function gives the messages up to a place in the log and leaves the slot as it is: nothing is consumed by reading.
//! The run reads up to where the log was on disk when its first table was asked for, and all its tables reach the same place.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::AsArray as _;
use datakit_connect::delivery::Message as Delivered;
use datakit_model::Failure;
use tokio::sync::Mutex;

use super::error::LogicalError;
use super::layout::Layout;
use super::lsn::Lsn;
use super::message::Message;
use super::setup::{self, Server};
use super::spool::{Messages, Place, Spool, Writer};
use crate::source::PostgresSession;
use crate::source::config::LogicalConfig;
use crate::source::error::PostgresError;
use crate::source::statement::{quote, quote_text};

/// The streams of a source's runs: one, unless a source serves several.
#[derive(Default)]
pub(in crate::source) struct Streams {
    runs: Mutex<Vec<(String, Arc<Stream>)>>,
}

/// What the slot had at a run.
pub(super) struct Stream {
    /// As it was when all was decoded: what the slot had then was read.
    pub(super) server: Server,
    /// Up to where; none: the slot cannot be read, and the server says why.
    pub(super) reached: Option<Lsn>,
    /// Why nothing could be decoded though the slot is there.
    pub(super) gap: Option<String>,
    spool: Option<Spool>,
    stories: HashMap<u32, Story>,
}

/// What happened to a table besides changes of single rows.
#[derive(Default)]
struct Story {
    /// Its columns, from a commit on.
    columns: Vec<(Lsn, Vec<String>)>,
    breaks: Vec<(Lsn, Break)>,
}

/// What cannot be told as changes of rows.
enum Break {
    Emptied,
    /// A row got another key, and the server did not send the values of these columns.
    Moved(Vec<String>),
}

impl Streams {
    /// The run's stream, decoded when it is first asked for, or when it has to reach further.
    pub(super) async fn of_run(
        &self,
        session: &PostgresSession,
        names: &LogicalConfig,
        upper: Option<Lsn>,
    ) -> Result<Arc<Stream>, Failure> {
        let run_id = &session.access.run_id;
        let mut runs = self.runs.lock().await;
        let reaches = |stream: &Stream| stream.reached >= upper;
        if let Some((_, known)) = runs.iter().find(|(id, stream)| id == run_id && reaches(stream)) {
            return Ok(Arc::clone(known));
        }
        let stream = Arc::new(Stream::decode(session, names).await?);
        // What another run does not hold it decodes again when it has to.
        runs.retain(|(id, stream)| id != run_id && Arc::strong_count(stream) > 1);
        runs.push((run_id.clone(), Arc::clone(&stream)));
        Ok(stream)
    }
}

impl Stream {
    async fn decode(session: &PostgresSession, names: &LogicalConfig) -> Result<Self, Failure> {
        let before = setup::server(session, names).await?;
        let target = before.slot.as_ref().filter(|slot| !slot.is_lost()).and(before.flushed);
        let Some(target) = target else {
            return Ok(Self { server: before, reached: None, gap: None, spool: None, stories: HashMap::new() });
        };
        let decoded = decode(session, names, target).await;
        // Asked last: a slot that was made anew or moved on meanwhile is seen.
        let server = setup::server(session, names).await?;
        match decoded.map_err(|error| meaning(error, names)) {
            Ok(decoding) => decoding.finish(server, target),
            Err(Undecoded::Gap(gap)) => {
                Ok(Self { server, reached: None, gap: Some(gap), spool: None, stories: HashMap::new() })
            }
            Err(Undecoded::Failed(error)) => Err(error.into()),
        }
    }

    /// The messages of a table from the beginning.
    pub(super) fn messages(&self, table: u32) -> Option<Messages> {
        self.spool.as_ref().map(|spool| spool.of(table))
    }

    /// Why the changes of a table between two places cannot be told as changes of these columns; `filled` are those whose older rows
    /// have a default.
    pub(super) fn gap_of_table(
        &self,
        table: u32,
        (after, upto): (Lsn, Lsn),
        chosen: &[String],
        filled: &[&str],
    ) -> Option<String> {
        let story = self.stories.get(&table)?;
        let is_within = |at: &Lsn| (after..upto).contains(at);
        let broken =
            story.breaks.iter().filter(|(at, _)| is_within(at)).find_map(|(at, found)| found.reason(*at, chosen));
        let lacking = || {
            let columns = story.columns.iter().filter(|(at, _)| is_within(at));
            let mut lacking =
                columns.flat_map(|(_, names)| filled.iter().filter(|name| !names.iter().any(|it| it == *name)));
            lacking.next().map(|name| format!("the column `{name}` was added since the position, with a default"))
        };
        broken.or_else(lacking)
    }
}

impl Break {
    fn reason(&self, at: Lsn, chosen: &[String]) -> Option<String> {
        match self {
            Self::Emptied => Some(format!("the table was emptied (TRUNCATE) at {at}")),
            Self::Moved(columns) => {
                let column = columns.iter().find(|column| chosen.contains(column))?;
                Some(format!(
                    "a row got another key at {at}, and the server does not send its unchanged value of `{column}`, which is stored \
                     apart: ALTER TABLE … REPLICA IDENTITY FULL sends such values"
                ))
            }
        }
    }
}

/// Why there is nothing decoded.
enum Undecoded {
    Gap(String),
    Failed(PostgresError),
}

/// What an error of the server means for a slot.
fn meaning(error: PostgresError, names: &LogicalConfig) -> Undecoded {
    let PostgresError::Server { state, message, .. } = error else { return Undecoded::Failed(error) };
    Undecoded::Failed(match state.as_str() {
        // undefined_object: the log is read by the catalog of its own time.
        "42704" => {
            return Undecoded::Gap(format!(
                "the publication `{}` was not there at some change since the position: {message}",
                names.publication
            ));
        }
        // object_in_use
        "55006" => LogicalError::SlotInUse { slot: names.slot.clone(), message }.into(),
        _ => PostgresError::Server { state, message, rows_before: 0 },
    })
}

fn question(names: &LogicalConfig, target: Lsn) -> String {
    let (slot, publication) = (quote_text(&names.slot), quote_text(&quote(&names.publication)));
    format!(
        "SELECT s.data AS change FROM pg_catalog.pg_logical_slot_peek_binary_changes({slot}, '{target}', NULL, \
         'proto_version', '1', 'publication_names', {publication}, 'binary', 'true') AS s"
    )
}

async fn decode(session: &PostgresSession, names: &LogicalConfig, target: Lsn) -> Result<Decoding, PostgresError> {
    let _busy = session.take_place()?;
    let mut messages = session.stream(question(names, target)).await?;
    let mut decoding = Decoding::new(target, session.shared.config.read.max_spooled_bytes)?;
    loop {
        match messages.recv().await {
            Some(Delivered::Batch(batch, _)) => {
                let Some(changes) = batch.batch().column(0).as_binary_opt::<i32>() else {
                    return Err(PostgresError::Internal("the changes of a slot are not binary".to_owned()));
                };
                for change in changes.iter().flatten() {
                    if decoding.is_full() {
                        // The query is cancelled: nobody waits for it any more.
                        return Ok(decoding);
                    }
                    decoding.take(change)?;
                }
            }
            Some(Delivered::End) => {
                decoding.reached = Some(target);
                return Ok(decoding);
            }
            Some(Delivered::Failed(error)) => return Err(error),
            Some(Delivered::Rejected(_)) => {
                return Err(PostgresError::Internal("the changes of a slot were rejected".to_owned()));
            }
            None => return Err(PostgresError::Internal("the task that reads a slot is gone".to_owned())),
        }
    }
}

/// Messages on their way from the server to their tables.
struct Decoding {
    writer: Writer,
    stories: HashMap<u32, Story>,
    layouts: HashMap<u32, Layout>,
    /// Where the next change is; none: no transaction is open, or it is not of this run.
    place: Option<Place>,
    /// Transactions begin behind it that are not of this run.
    target: Lsn,
    /// Where the last whole transaction ends.
    reached: Option<Lsn>,
    max_bytes: u64,
}

impl Decoding {
    fn new(target: Lsn, max_bytes: u64) -> Result<Self, PostgresError> {
        Ok(Self {
            writer: Writer::new().map_err(|error| LogicalError::Spool(error.to_string()))?,
            stories: HashMap::new(),
            layouts: HashMap::new(),
            place: None,
            target,
            reached: None,
            max_bytes,
        })
    }

    /// Whether there is as much as one run may keep, and it ends with a whole transaction: what remains is for the next run.
    fn is_full(&self) -> bool {
        self.writer.bytes() > self.max_bytes && self.reached.is_some()
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), PostgresError> {
        let message = Message::parse(bytes).ok_or_else(|| malformed("a change that is none"))?;
        match message {
            Message::Begin { commit, time } => {
                self.place = (commit < self.target).then_some(Place { commit, time, ordinal: 0 });
            }
            Message::Commit { end } => {
                if self.place.take().is_some() {
                    self.reached = Some(end);
                }
            }
            Message::Other => {}
            Message::Relation(relation) => {
                let Some(place) = self.place else { return Ok(()) };
                let id = relation.id;
                self.keep(id, place, bytes)?;
                let layout = Layout::new(relation, &[]);
                self.stories.entry(id).or_default().columns.push((place.commit, layout.names.clone()));
                self.layouts.insert(id, layout);
            }
            Message::Truncate { relations } => {
                let Some(place) = self.place else { return Ok(()) };
                for relation in relations {
                    self.stories.entry(relation).or_default().breaks.push((place.commit, Break::Emptied));
                }
            }
            Message::Update { relation, old: Some(old), mut new } => {
                let Some(place) = self.next_place() else { return Ok(()) };
                let layout = self.layouts.get(&relation).ok_or_else(|| malformed("a change of an unknown table"))?;
                layout.complete(&old, &mut new);
                if layout.is_moved(&old, &new) {
                    let unsent: Vec<String> = layout.unsent(&new).into_iter().map(str::to_owned).collect();
                    let moved = (place.commit, Break::Moved(unsent));
                    self.stories.entry(relation).or_default().breaks.push(moved);
                }
                self.keep(relation, place, bytes)?;
            }
            Message::Insert { relation, .. } | Message::Update { relation, .. } | Message::Delete { relation, .. } => {
                let Some(place) = self.next_place() else { return Ok(()) };
                self.keep(relation, place, bytes)?;
            }
        }
        Ok(())
    }

    /// Where a change of a row is. A change takes two numbers: an update may be told as two rows.
    fn next_place(&mut self) -> Option<Place> {
        let place = self.place.as_mut()?;
        place.ordinal = place.ordinal.saturating_add(2);
        Some(*place)
    }

    fn keep(&mut self, table: u32, place: Place, bytes: &[u8]) -> Result<(), PostgresError> {
        let kept = self.writer.push(table, place, bytes);
        kept.map_err(|error| LogicalError::Spool(error.to_string()))?;
        let bytes = self.writer.bytes();
        if bytes > self.max_bytes && self.reached.is_none() {
            return Err(LogicalError::TransactionTooLarge { bytes, limit: self.max_bytes }.into());
        }
        Ok(())
    }

    fn finish(self, server: Server, target: Lsn) -> Result<Stream, Failure> {
        let spool = self.writer.finish();
        let spool = spool.map_err(|error| PostgresError::from(LogicalError::Spool(error.to_string())))?;
        if self.reached != Some(target) {
            tracing::warn!(
                max_spooled_bytes = self.max_bytes,
                "the changes of the slot are more than one run may keep: the next run reads on"
            );
        }
        Ok(Stream { server, reached: self.reached, gap: None, spool: Some(spool), stories: self.stories })
    }
}

pub(super) fn malformed(reason: &str) -> PostgresError {
    PostgresError::Protocol { address: "the server".to_owned(), reason: format!("its slot has {reason}") }
}
