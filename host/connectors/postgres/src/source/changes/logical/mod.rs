//! Every change of a table, from the server's log.
//!
//! | module | about |
//! |---|---|
//! | [`error`] | what can go wrong, with codes and hints |
//! | [`lsn`], `position` | places in the log; positions, and what is a gap |
//! | `setup` | whether server, publication and table are set up for it |
//! | [`slot`] | the slot: made with a snapshot, moved on when all is committed |
//! | [`stream`], `message`, `spool` | what the slot has, decoded once for a run |
//! | `layout`, `rows` | from messages to batches |
//!
//! A transaction is of the span whose first place is not behind the beginning of its commit, and whose end is: by the same rule the
//! server leaves out what a slot has confirmed.

pub mod error;
mod layout;
pub(in crate::source) mod lsn;
mod message;
mod position;
mod rows;
mod setup;
pub(in crate::source) mod slot;
mod spool;
pub(in crate::source) mod stream;

use std::sync::Arc;

use async_trait::async_trait;
use datakit_connect::changes::ChangesError;
use datakit_connect::changes::columns::choose_columns;
use datakit_connect::changes::roles::{ChangeReader, Common, Operation};
use datakit_connect::delivery::Delivery;
use datakit_connect::reader::BatchReader;
use datakit_model::changes::{ChangeFeed, ChangeRequest, Validity};
use datakit_model::source::Reader;
use datakit_model::{Failure, NameRule, TableId};

pub use self::error::LogicalError;
use self::lsn::Lsn;
use self::position::{Origin, Position};
use self::setup::{Server, Table};
use self::stream::Stream;
use crate::source::PostgresSession;
use crate::source::config::LogicalConfig;
use crate::source::error::PostgresError;
use crate::source::snapshot::Snapshot;
use crate::source::statement::{quote, quote_table};
use crate::source::types::Column;

/// Opens the changes of a table.
pub(super) async fn open(session: PostgresSession, request: ChangeRequest) -> Result<Box<dyn ChangeFeed>, Failure> {
    let names = session.shared.config.logical.clone().ok_or(PostgresError::from(LogicalError::NotConfigured))?;
    let [position, upper] = [&request.position, &request.upper].map(|text| text.as_deref().map(parse));
    let (position, upper) = (position.transpose()?, upper.transpose()?);
    let opening = Opening { session, names, request };
    match position {
        None => opening.whole(upper).await,
        Some(position) => opening.onward(position, upper).await,
    }
}

fn parse(text: &str) -> Result<Position, ChangesError> {
    let refused = || ChangesError::Position { position: text.to_owned(), strategy: "logical" };
    Position::parse(text).ok_or_else(refused)
}

/// Why each of these tables cannot be read, in one sentence; none: it can.
pub(super) async fn offers(session: &PostgresSession, tables: &[TableId]) -> Result<Vec<Option<String>>, Failure> {
    let config = &session.shared.config;
    let all = |reason: String| Ok(tables.iter().map(|_| Some(reason.clone())).collect());
    let Some(names) = &config.logical else {
        return all("the connection names no `slot` and no `publication`".to_owned());
    };
    let server = setup::server(session, names).await?;
    if let Some(reason) = setup::unfit_server(&server, names, &config.server.user) {
        return all(reason);
    }
    let found = setup::tables(session, names, tables).await?;
    let reason = |table: &Table| {
        let readable: Vec<String> = table.readable().into_iter().map(str::to_owned).collect();
        let missing = || "it is not there, or the login does not see it".to_owned();
        if table.is_there() { setup::unfit_table(table, names, &readable) } else { Some(missing()) }
    };
    Ok(found.iter().map(reason).collect())
}

/// Whether server, role, slot and publication are set up; what there is of them, in words.
pub(in crate::source) async fn check(session: &PostgresSession, names: &LogicalConfig) -> Result<String, Failure> {
    let server = setup::server(session, names).await?;
    match setup::unfit_server(&server, names, &session.shared.config.server.user) {
        Some(reason) => Err(PostgresError::from(LogicalError::UnfitServer(reason)).into()),
        None => Ok(setup::describe(&server, names)),
    }
}

/// A request that is being opened.
struct Opening {
    session: PostgresSession,
    names: LogicalConfig,
    request: ChangeRequest,
}

impl Opening {
    /// The first copy: the rows of a snapshot, and its place in the log.
    async fn whole(self, upper: Option<Position>) -> Result<Box<dyn ChangeFeed>, Failure> {
        let server = setup::server(&self.session, &self.names).await?;
        self.check_server(&server)?;
        // Before a slot is made for it.
        self.table().await?;
        let snapshot = self.snapshot(&server, upper.as_ref()).await?;
        let lsn = snapshot.lsn().ok_or_else(|| self.other_snapshot())?;
        // After the snapshot: what the catalog got later is found by the next run.
        let (table, columns) = self.table().await?;
        let of = Origin::now(&self.names, &server, &table, &columns);
        let upper = upper.unwrap_or(Position { lsn, of });
        let list: Vec<String> = columns.iter().map(|column| quote(column)).collect();
        let text = format!("SELECT {} FROM {}", list.join(", "), quote_table(&self.request.table));
        Ok(Box::new(FirstCopy {
            text: Some(text),
            table: self.request.table,
            keys: table.keys,
            snapshot,
            upper: upper.to_string(),
            version: lsn.version(0),
            session: self.session,
        }))
    }

    /// The run's snapshot whose place in the log is known; that of a retry must be the same.
    async fn snapshot(&self, server: &Server, upper: Option<&Position>) -> Result<Arc<Snapshot>, Failure> {
        let shared = &self.session.shared;
        let (run_id, table) = (&self.session.access.run_id, &self.request.table);
        if let Some(upper) = upper {
            let known = shared.snapshots.placed(run_id).await?.filter(|known| known.lsn() == Some(upper.lsn));
            return known.ok_or_else(|| self.other_snapshot());
        }
        let is_lost = server.slot.as_ref().is_some_and(setup::Slot::is_lost);
        if is_lost {
            drained(self.session.ask(slot::drop_question(&self.names), Vec::new()).await?).await?;
        }
        let lasting = (server.slot.is_none() || is_lost).then_some(self.names.slot.as_str());
        Ok(shared.snapshots.placed_for(&shared.config, run_id, table, lasting).await?)
    }

    fn other_snapshot(&self) -> Failure {
        PostgresError::from(LogicalError::OtherSnapshot { table: self.request.table.clone() }).into()
    }

    /// The changes since a position.
    async fn onward(self, position: Position, upper: Option<Position>) -> Result<Box<dyn ChangeFeed>, Failure> {
        let streams = &self.session.shared.streams;
        let asked = upper.as_ref().map(|upper| upper.lsn);
        let stream = streams.of_run(&self.session, &self.names, asked).await?;
        self.check_server(&stream.server)?;
        if let Some(reason) =
            position::gap_of_slot(&position, &self.names, &stream.server).or_else(|| stream.gap.clone())
        {
            return Ok(Box::new(Gap(Validity::Gap(reason))));
        }
        // After the log was read: it has no column that the catalog does not have.
        let (table, columns) = self.table().await?;
        let of = Origin::now(&self.names, &stream.server, &table, &columns);
        let reached = stream.reached.max(Some(position.lsn));
        let (Some(reached), true) = (asked.or(reached), reached >= asked) else {
            let upper = asked.map(|asked| asked.to_string()).unwrap_or_default();
            return Err(PostgresError::from(LogicalError::Unreached { upper }).into());
        };
        let span = (position.lsn, reached);
        let gap = position::gap_of_table(&position, &of, &table).or_else(|| {
            let read = table.columns.iter().filter(|column| column.is_filled && columns.contains(&column.name));
            let filled: Vec<&str> = read.map(|column| column.name.as_str()).collect();
            stream.gap_of_table(table.oid(), span, &columns, &filled)
        });
        if let Some(reason) = gap {
            return Ok(Box::new(Gap(Validity::Gap(reason))));
        }
        let upper = upper.unwrap_or(Position { lsn: reached, of });
        Ok(Box::new(Changes {
            columns,
            table: self.request.table,
            oid: table.oid(),
            keys: table.keys,
            span,
            upper: upper.to_string(),
            stream: Some(stream),
            session: self.session,
        }))
    }

    fn check_server(&self, server: &Server) -> Result<(), Failure> {
        let user = &self.session.shared.config.server.user;
        setup::unfit_server(server, &self.names, user).map_or(Ok(()), |reason| Err(self.unfit(reason)))
    }

    /// The table as the catalog has it now, and the columns that are read.
    async fn table(&self) -> Result<(Table, Vec<String>), Failure> {
        let table = setup::table(&self.session, &self.names, &self.request.table).await?;
        let readable = table.readable();
        if readable.is_empty() {
            return Err(ChangesError::TableMissing { table: self.request.table.clone() }.into());
        }
        let columns = choose_columns(&readable, &self.request, NameRule::Bytes)?;
        match setup::unfit_table(&table, &self.names, &columns) {
            Some(reason) => Err(self.unfit(reason)),
            None => Ok((table, columns)),
        }
    }

    fn unfit(&self, reason: String) -> Failure {
        PostgresError::from(LogicalError::Unfit { table: self.request.table.clone(), reason }).into()
    }
}

async fn drained(mut reader: Box<dyn Reader>) -> Result<(), Failure> {
    while reader.next().await?.is_some() {}
    Ok(())
}

/// A feed whose changes are lost.
struct Gap(Validity);

#[async_trait]
impl ChangeFeed for Gap {
    fn validity(&self) -> &Validity {
        &self.0
    }

    fn upper(&self) -> Option<&str> {
        None
    }

    async fn rows(&mut self) -> Result<Box<dyn Reader>, Failure> {
        Err(ChangesError::NoRows("a feed with a gap has no rows").into())
    }

    fn copied(&self, _rows: Box<dyn Reader>) -> Result<Box<dyn Reader>, Failure> {
        Err(ChangesError::NoRows("a feed with a gap is no first copy").into())
    }
}

/// A first copy.
struct FirstCopy {
    session: PostgresSession,
    table: TableId,
    keys: Vec<String>,
    /// None: the rows were taken.
    text: Option<String>,
    snapshot: Arc<Snapshot>,
    upper: String,
    /// The version of its rows, before that of each change.
    version: String,
}

#[async_trait]
impl ChangeFeed for FirstCopy {
    fn validity(&self) -> &Validity {
        &Validity::Whole
    }

    fn upper(&self) -> Option<&str> {
        Some(&self.upper)
    }

    async fn rows(&mut self) -> Result<Box<dyn Reader>, Failure> {
        let text = self.text.take().ok_or(ChangesError::NoRows("the rows of the feed were taken already"))?;
        let rows = self.session.ask(text, vec![self.table.clone()]).await?;
        self.copied(rows)
    }

    fn copied(&self, mut rows: Box<dyn Reader>) -> Result<Box<dyn Reader>, Failure> {
        if rows.report().snapshot.as_ref() != Some(self.snapshot.id()) {
            return Err(PostgresError::from(LogicalError::OtherSnapshot { table: self.table.clone() }).into());
        }
        let common = Common { operation: Operation::Read, version: Some(&self.version) };
        Ok(Box::new(ChangeReader::new(rows, common)?.nullable_but(&self.keys)))
    }
}

/// The changes of a span.
struct Changes {
    session: PostgresSession,
    table: TableId,
    oid: u32,
    columns: Vec<String>,
    keys: Vec<String>,
    span: (Lsn, Lsn),
    upper: String,
    /// None: the rows were taken.
    stream: Option<Arc<Stream>>,
}

impl Changes {
    /// The columns as a query of the table has them; a change may lack all but those of the key.
    async fn described(&self) -> Result<Arc<[Column]>, PostgresError> {
        let list: Vec<String> = self.columns.iter().map(|column| quote(column)).collect();
        let text = format!("SELECT {} FROM {} LIMIT 0", list.join(", "), quote_table(&self.table));
        let described = self.session.described(text, self.table.clone()).await?;
        let of_change = |column: &Column| Column {
            nullable: column.nullable || !self.keys.contains(&column.name),
            ..column.clone()
        };
        Ok(described.iter().map(of_change).collect())
    }
}

#[async_trait]
impl ChangeFeed for Changes {
    fn validity(&self) -> &Validity {
        &Validity::Onward
    }

    fn upper(&self) -> Option<&str> {
        Some(&self.upper)
    }

    async fn rows(&mut self) -> Result<Box<dyn Reader>, Failure> {
        let stream = self.stream.take().ok_or(ChangesError::NoRows("the rows of the feed were taken already"))?;
        let busy = self.session.take_place()?;
        let columns = self.described().await?;
        let config = &self.session.shared.config;
        let (delivery, messages) =
            Delivery::<PostgresError>::new(self.session.access.memory.clone(), config.timeouts.of_query(None));
        let schema = rows::schema(&columns);
        let rejecting = self.session.access.rejecting.clone();
        let wanted = rows::Wanted { columns, keys: self.keys.clone(), span: self.span, rejecting };
        match stream.messages(self.oid) {
            Some(changes) => {
                tokio::spawn(rows::deliver(changes, wanted, config.read.clone(), delivery));
            }
            None => return Err(PostgresError::Internal("a slot without changes has no gap".to_owned()).into()),
        }
        let reader = BatchReader::new(schema, Vec::new(), messages, busy);
        let common = Common { operation: Operation::Upsert, version: None };
        Ok(Box::new(ChangeReader::new(Box::new(reader), common)?.nullable_but(&self.keys)))
    }

    fn copied(&self, _rows: Box<dyn Reader>) -> Result<Box<dyn Reader>, Failure> {
        Err(ChangesError::NoRows("the changes since a position are no first copy").into())
    }
}
