//! The strategies `cdc` and `cdc-net`: what change data capture recorded, every change or the last one of each row.
//!
//! | module | about |
//! |---|---|
//! | `window` | which range of which capture instance is read |
//! | `query` | what is asked |

mod query;
mod window;

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datakit_connect::changes::ChangesError;
use datakit_model::changes::{ChangeFeed, ChangeRequest, Validity};
use datakit_model::source::{QueryOptions, ReadReport, Reader};
use datakit_model::{Failure, NameRule, TrackedBatch};

use self::query::{Capture, Changes};
use self::window::{Identity, Known, Lsn, Position, Segment, Window};
use super::error::TrackingError;
use super::feed::{Begun, Feed, Rows};
use super::missing::{Missing, WithMissing};
use super::position::{self, Bounds};
use super::table::{Column, Table, Whole};
use super::unexpected;
use super::verified::{Verified, Verify};
use crate::SqlServerConnection;

/// Asks for the capture instances, and decides what is read.
pub(super) async fn open(
    session: SqlServerConnection,
    request: &ChangeRequest,
    names: NameRule,
    net: bool,
) -> Result<Box<dyn ChangeFeed>, Failure> {
    let (position, asked) = match position::bounds::<Position>(request)? {
        Bounds::Hold { position, upper } => (position, upper),
        Bounds::Other(reason) => return Ok(Feed::gap(reason)),
    };
    let strategy = request.strategy.name();
    let table = Table::of(session, request, names).await?;
    let is_enabled = table.ask(query::ENABLED.to_owned()).await?.into_iter().flatten().next().flatten();
    if is_enabled.as_deref() != Some("1") {
        return Err(
            table.not_offered(strategy, "change data capture is off for the database: `EXEC sys.sp_cdc_enable_db`")
        );
    }
    let (captures, known) = ask(&table).await?;
    let capture = CaptureTable { table, captures, net, strategy };
    match known.window(position.as_ref(), asked.as_ref()) {
        Window::Whole { upper } => capture.whole(&upper),
        Window::Onward { segments, upper } => {
            // Net changes do not tell of a row that came and went meanwhile, and the copy may have read it.
            let follows_copy = position.as_ref().is_some_and(|position| position.copy.is_some());
            let changes = match (net, follows_copy) {
                (false, _) => Changes::All,
                (true, true) => Changes::Last,
                (true, false) => Changes::Net,
            };
            capture.onward(position.as_ref(), (segments, changes), &upper).await
        }
        Window::Gap(reason) => Ok(Feed::gap(reason)),
        Window::NotBegun { instance } => Err(TrackingError::NotBegun { table: capture.table.id, instance }.into()),
        Window::Refused(reason) => Err(capture.table.not_offered(strategy, reason)),
    }
}

/// The capture instances of a table as they are now, without their columns, and how far the capture process is.
async fn ask(table: &Table) -> Result<(Vec<Capture>, Known), Failure> {
    let answer = table.ask(query::instances(table)).await?;
    let rows: Option<Vec<_>> = answer.into_iter().map(query::capture).collect();
    let rows = rows.ok_or_else(unexpected)?;
    let end = rows.first().map(|(_, end)| end.clone()).unwrap_or_default();
    let captures: Vec<Capture> = rows.into_iter().map(|(capture, _)| capture).collect();
    let instances = captures.iter().map(|capture| capture.instance.clone()).collect();
    Ok((captures, Known { table: table.object_id.clone(), instances, end }))
}

/// A table and its capture instances.
struct CaptureTable {
    table: Table,
    captures: Vec<Capture>,
    net: bool,
    strategy: &'static str,
}

impl CaptureTable {
    fn whole(self, upper: &Position) -> Result<Box<dyn ChangeFeed>, Failure> {
        self.check_net(self.captures.iter().filter(|capture| capture.instance.identity == upper.instance))?;
        Ok(self.feed(Validity::Whole, upper, |capture| Box::new(Whole(capture.table))))
    }

    async fn onward(
        mut self,
        position: Option<&Position>,
        (segments, changes): (Vec<Segment>, Changes),
        upper: &Position,
    ) -> Result<Box<dyn ChangeFeed>, Failure> {
        self.check_net(segments.iter().filter_map(|segment| self.captures.get(segment.instance)))?;
        for row in self.table.ask(query::columns(&self.table)).await? {
            let [Some(object_id), Some(id), Some(name)] = <[_; 3]>::try_from(row).map_err(|_| unexpected())? else {
                return Err(unexpected().into());
            };
            let of = self.captures.iter_mut().find(|capture| capture.instance.identity.object_id == object_id);
            of.into_iter().for_each(|capture| capture.columns.push((id.clone(), name.clone())));
        }
        match self.newly_captured(position, &segments) {
            Some(reason) => Ok(Feed::gap(reason)),
            None => Ok(self.feed(Validity::Onward, upper, |capture| Box::new(Since { capture, segments, changes }))),
        }
    }

    /// Why an instance with more of the columns cannot go on from one with less: changes of such a column alone, and the values that
    /// rows got with it, are in neither.
    fn newly_captured(&self, position: Option<&Position>, segments: &[Segment]) -> Option<String> {
        let before = position
            .and_then(|position| self.captures.iter().find(|capture| capture.instance.identity == position.instance));
        let read = segments.iter().filter_map(|segment| self.captures.get(segment.instance));
        let used: Vec<&Capture> = before.into_iter().chain(read).collect();
        used.windows(2).find_map(|pair| {
            let [older, newer] = pair else { return None };
            let is_new = |column: &&Column| newer.captured(column).is_some() && older.captured(column).is_none();
            let (column, newer) = (&self.table.columns.iter().find(is_new)?.name, &newer.instance.identity.name);
            let older = &older.instance.identity.name;
            Some(format!(
                "the capture instance `{newer}` captures the column `{column}`, and `{older}`, which was read before it, does not: changes of the column from before are not known"
            ))
        })
    }

    /// Refuses net changes where an instance does not have them.
    fn check_net<'c>(&self, mut captures: impl Iterator<Item = &'c Capture>) -> Result<(), Failure> {
        match captures.find(|capture| self.net && !capture.has_net) {
            Some(Capture { instance, .. }) => {
                let name = &instance.identity.name;
                let reason = format!("the capture instance `{name}` was made without `@supports_net_changes = 1`");
                Err(self.table.not_offered(self.strategy, reason))
            }
            None => Ok(()),
        }
    }

    fn feed(
        self,
        validity: Validity,
        upper: &Position,
        rows: impl FnOnce(Self) -> Box<dyn Rows>,
    ) -> Box<dyn ChangeFeed> {
        let (text, version, keys) = (upper.to_string(), upper.lsn.to_string(), Some(self.table.keys.clone()));
        Box::new(Feed { validity, upper: Some(text), version, keys, rows: Some(rows(self)) })
    }

    /// The changes of a range.
    async fn changes(
        &self,
        session: &SqlServerConnection,
        segment: &Segment,
        changes: Changes,
    ) -> Result<Box<dyn Reader>, Failure> {
        let Self { table, captures, strategy, .. } = self;
        let capture = captures.get(segment.instance);
        let capture = capture.ok_or_else(|| ChangesError::Internal("a range is of no capture instance".to_owned()))?;
        let text = capture.changes(table, segment, changes);
        let query = session.ask(text, &[], QueryOptions::default(), false).await;
        let identity = capture.instance.identity.clone();
        let verify = StillKnown { table: table.clone(), capture: identity, from: segment.from, strategy };
        let rows = Verified::of(query, verify).await?;
        Ok(Box::new(WithMissing::new(rows, capture.missing(table))?))
    }
}

/// The changes since a position.
struct Since {
    capture: CaptureTable,
    segments: Vec<Segment>,
    changes: Changes,
}

#[async_trait]
impl Rows for Since {
    async fn rows(self: Box<Self>) -> Result<Begun, Failure> {
        let Self { capture, segments, changes } = *self;
        let mut rest = segments.into_iter();
        let Some(first) = rest.next() else {
            let none = capture.table.read(query::nothing(&capture.table), &[]).await?;
            return Ok(WithMissing::new(none, Missing::default())?.into());
        };
        let first = capture.changes(&capture.table.session, &first, changes).await?;
        let rest: Vec<Segment> = rest.rev().collect();
        Ok(match rest.is_empty() {
            true => Begun { reader: first, reached: None },
            false => Chain { capture, changes, readers: vec![first], rest }.into(),
        })
    }
}

/// Ranges of several instances, one after another.
struct Chain {
    capture: CaptureTable,
    changes: Changes,
    /// Those begun, never empty. The first stays for as long as the session is to be busy.
    readers: Vec<Box<dyn Reader>>,
    /// Those to come, the next one last.
    rest: Vec<Segment>,
}

#[async_trait]
impl Reader for Chain {
    fn schema(&self) -> SchemaRef {
        self.readers.first().map_or_else(|| Arc::new(Schema::empty()), |reader| reader.schema())
    }

    async fn next(&mut self) -> Result<Option<TrackedBatch>, Failure> {
        loop {
            if let Some(reader) = self.readers.last_mut()
                && let Some(batch) = reader.next().await?
            {
                return Ok(Some(batch));
            }
            let Some(segment) = self.rest.last() else { return Ok(None) };
            let next = self.capture.changes(&self.capture.table.session.aside(), segment, self.changes).await?;
            self.readers.push(next);
            self.rest.pop();
        }
    }

    fn report(&mut self) -> ReadReport {
        let mut whole = ReadReport::default();
        for report in self.readers.iter_mut().map(|reader| reader.report()) {
            whole.adjustments.extend(report.adjustments);
            whole.rejected.append(report.rejected);
            whole.approximate |= report.approximate;
            whole.filtered |= report.filtered;
        }
        whole
    }
}

/// Asks whether a range is still known when its rows have ended. The low end is moved before changes are deleted.
/// (sys.sp_cdc_cleanup_change_table)
struct StillKnown {
    table: Table,
    capture: Identity,
    from: Lsn,
    strategy: &'static str,
}

#[async_trait]
impl Verify for StillKnown {
    async fn verify(&self) -> Result<(), Failure> {
        let Self { table, capture, from, strategy } = self;
        let (_, known) = ask(table).await?;
        match known.lost(capture, *from) {
            Some(reason) => Err(TrackingError::Lost { table: table.id.clone(), strategy, reason }.into()),
            None => Ok(()),
        }
    }
}
