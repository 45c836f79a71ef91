//! Changes: requests and feeds.

use datakit_model::changes::{ChangeRequest, Offer, Strategy, Validity};
use wasmtime::component::Resource;

use super::super::bindings::changes::{self, Host, HostChangeFeed, HostChangeRequest};
use super::super::bindings::types::{Error, TableId};
use super::convert::{table_from_wire, validity_to_wire};
use crate::error::WasmError;
use crate::filled::ChangeParts;
use crate::state::{ChangesHandle, FeedHandle, ReaderHandle, State, Weight as _};
use crate::text::Text;

impl Host for State {
    async fn strategy_of(&mut self, position: String) -> wasmtime::Result<Option<String>> {
        let call = self.budget.host_call()?;
        let strategy = Strategy::of_position(&position).map(str::to_owned);
        self.budget.host_call_ended(call);
        Ok(strategy)
    }

    async fn offers(
        &mut self,
        role: String,
        tables: Vec<TableId>,
    ) -> wasmtime::Result<Result<Vec<Vec<changes::Offer>>, Error>> {
        let call = self.budget.host_call()?;
        let session = match self.connect("changes.offers", &role).await? {
            Ok(session) => session,
            Err(error) => return Ok(Err(error.into())),
        };
        let tables: Vec<_> = tables.into_iter().map(table_from_wire).collect();
        let (held_bytes, idle) = self.held_while_waiting(None);
        let (starved, memory) = (self.starved(), session.memory.clone());
        let offers = memory.holding(held_bytes, &idle, session.connection.offers(&tables)).await.map_err(starved)?;
        self.budget.host_call_ended(call);
        let to_wire = |offers: Vec<Offer>| offers.into_iter().map(offer_to_wire).collect();
        Ok(self.guest_error(offers).map(|tables| tables.into_iter().map(to_wire).collect()))
    }
}

fn offer_to_wire(Offer { strategy, refused }: Offer) -> changes::Offer {
    changes::Offer { strategy: strategy.name().to_owned(), refused }
}

impl HostChangeRequest for State {
    async fn new(&mut self, table: TableId, strategy: String) -> wasmtime::Result<Resource<ChangesHandle>> {
        let call = self.budget.host_call()?;
        let table = table_from_wire(table);
        let bytes = table.catalog.weight() + table.schema.weight() + table.name.weight() + strategy.weight();
        let parts = ChangeParts {
            table,
            strategy,
            columns: Vec::new(),
            watermark_column: None,
            lag: None,
            overlap: None,
            position: None,
            upper: None,
        };
        let handle = self.push_filled(parts, bytes)?;
        self.budget.host_call_ended(call);
        Ok(handle)
    }

    async fn add_column(&mut self, request: Resource<ChangesHandle>, name: String) -> wasmtime::Result<()> {
        self.set(&request, name.weight(), |it| it.columns.push(name))
    }

    async fn set_watermark_column(&mut self, request: Resource<ChangesHandle>, name: String) -> wasmtime::Result<()> {
        self.set(&request, name.weight(), |it| it.watermark_column = Some(name))
    }

    async fn set_lag(&mut self, request: Resource<ChangesHandle>, lag: u64) -> wasmtime::Result<()> {
        self.set(&request, 0, |it| it.lag = Some(lag))
    }

    async fn set_overlap(&mut self, request: Resource<ChangesHandle>, overlap: u64) -> wasmtime::Result<()> {
        self.set(&request, 0, |it| it.overlap = Some(overlap))
    }

    async fn set_position(&mut self, request: Resource<ChangesHandle>, position: String) -> wasmtime::Result<()> {
        self.set(&request, position.weight(), |it| it.position = Some(position))
    }

    async fn set_upper(&mut self, request: Resource<ChangesHandle>, position: String) -> wasmtime::Result<()> {
        self.set(&request, position.weight(), |it| it.upper = Some(position))
    }

    async fn drop(&mut self, request: Resource<ChangesHandle>) -> wasmtime::Result<()> {
        self.take_filled(request).map(drop)
    }
}

impl HostChangeFeed for State {
    async fn open(
        &mut self,
        role: String,
        request: Resource<ChangesHandle>,
    ) -> wasmtime::Result<Result<Resource<FeedHandle>, Error>> {
        let call = self.budget.host_call()?;
        let request = checked(self.take_filled(request)?);
        let request = match self.guest_error(request) {
            Ok(request) => request,
            Err(error) => return Ok(Err(error)),
        };
        let session = match self.connect("changes.change-feed.open", &role).await? {
            Ok(session) => session,
            Err(error) => return Ok(Err(error.into())),
        };
        self.release_covering();
        let (held_bytes, idle) = self.held_while_waiting(None);
        let (starved, memory) = (self.starved(), session.memory.clone());
        let opened = memory.holding(held_bytes, &idle, session.connection.changes(request)).await.map_err(starved)?;
        self.budget.host_call_ended(call);
        match self.guest_error(opened) {
            Ok(feed) => Ok(Ok(self.push(FeedHandle { feed, memory })?)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn validity(&mut self, feed: Resource<FeedHandle>) -> wasmtime::Result<changes::Validity> {
        let call = self.budget.host_call()?;
        let validity = validity_to_wire(self.table.get(&feed)?.feed.validity());
        self.budget.host_call_ended(call);
        Ok(validity)
    }

    async fn gap_reason(&mut self, feed: Resource<FeedHandle>) -> wasmtime::Result<Option<String>> {
        let call = self.budget.host_call()?;
        let reason = match self.table.get(&feed)?.feed.validity() {
            Validity::Gap(reason) => Some(reason.clone()),
            Validity::Whole | Validity::Onward => None,
        };
        self.budget.host_call_ended(call);
        Ok(reason)
    }

    async fn upper(&mut self, feed: Resource<FeedHandle>) -> wasmtime::Result<Option<String>> {
        let call = self.budget.host_call()?;
        let upper = self.table.get(&feed)?.feed.upper().map(str::to_owned);
        self.budget.host_call_ended(call);
        Ok(upper)
    }

    async fn rows(&mut self, feed: Resource<FeedHandle>) -> wasmtime::Result<Result<Resource<ReaderHandle>, Error>> {
        let call = self.budget.host_call()?;
        self.release_covering();
        let (held_bytes, idle) = self.held_while_waiting(None);
        let (starved, handle) = (self.starved(), self.table.get_mut(&feed)?);
        let memory = handle.memory.clone();
        let started = memory.holding(held_bytes, &idle, handle.feed.rows()).await.map_err(starved)?;
        self.budget.host_call_ended(call);
        self.started(started, memory)
    }

    async fn copied(
        &mut self,
        feed: Resource<FeedHandle>,
        rows: Resource<ReaderHandle>,
    ) -> wasmtime::Result<Result<Resource<ReaderHandle>, Error>> {
        let call = self.budget.host_call()?;
        let ReaderHandle { reader, number, ended, .. } = self.delete(rows)?;
        let copied = self.table.get(&feed)?.feed.copied(reader);
        self.budget.host_call_ended(call);
        match self.guest_error(copied) {
            Ok(reader) => Ok(Ok(self.push(ReaderHandle { schema: reader.schema(), reader, number, ended })?)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn drop(&mut self, feed: Resource<FeedHandle>) -> wasmtime::Result<()> {
        self.delete(feed)?;
        Ok(())
    }
}

/// The request, if it holds what its strategy needs and nothing else.
fn checked(parts: ChangeParts) -> Result<ChangeRequest, WasmError> {
    let bad = |problem: &str| WasmError::BadChangeRequest { problem: problem.to_owned() };
    let strategy = match (parts.strategy.as_str(), parts.watermark_column) {
        ("watermark", Some(column)) => {
            let (lag, overlap) = (parts.lag.unwrap_or_default(), parts.overlap.unwrap_or_default());
            Strategy::Watermark { column, lag, overlap }
        }
        ("watermark", None) => return Err(bad("the strategy `watermark` needs `set-watermark-column`")),
        ("row-version", None) => Strategy::RowVersion,
        ("change-tracking", None) => Strategy::ChangeTracking,
        ("cdc", None) => Strategy::Cdc { net: false },
        ("cdc-net", None) => Strategy::Cdc { net: true },
        ("logical", None) => Strategy::Logical,
        ("row-version" | "change-tracking" | "cdc" | "cdc-net" | "logical", Some(_)) => {
            return Err(bad("only the strategy `watermark` has a watermark column"));
        }
        (other, _) => return Err(WasmError::UnknownStrategy { strategy: Text::name(other).into_inner() }),
    };
    Ok(ChangeRequest {
        table: parts.table,
        strategy,
        columns: (!parts.columns.is_empty()).then_some(parts.columns),
        position: parts.position,
        upper: parts.upper,
    })
}
