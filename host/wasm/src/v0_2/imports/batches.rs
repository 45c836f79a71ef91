//! Batches, and readers that give them.

use std::sync::Arc;

use datakit_columnar::{
    ColumnarError, decode_ipc, encode_ipc, schema_to_wire, select_columns, wire_units, with_columns,
};
use datakit_model::{Failure, TrackedBatch};
use wasmtime::component::Resource;

use super::super::bindings::batches::{Host, HostBatch, HostReader};
use super::super::bindings::types::{Error, Field};
use super::convert::fields_to_wire;
use crate::state::{BatchHandle, ReaderHandle, State, compute};

/// How often the bytes of a stream are looked at on their way in or out: copied, validated, checked.
const IPC_PASSES: u64 = 4;

impl Host for State {}

impl HostBatch for State {
    async fn row_count(&mut self, batch: Resource<BatchHandle>) -> wasmtime::Result<u64> {
        let call = self.budget.host_call()?;
        let rows = self.table.get(&batch)?.rows.batch().num_rows() as u64;
        self.budget.host_call_ended(call);
        Ok(rows)
    }

    async fn byte_size(&mut self, batch: Resource<BatchHandle>) -> wasmtime::Result<u64> {
        let call = self.budget.host_call()?;
        let bytes = self.table.get(&batch)?.rows.batch().get_array_memory_size() as u64;
        self.budget.host_call_ended(call);
        Ok(bytes)
    }

    async fn schema(&mut self, batch: Resource<BatchHandle>) -> wasmtime::Result<Vec<Field>> {
        let call = self.budget.host_call()?;
        let fields = schema_to_wire(self.table.get(&batch)?.rows.batch().schema_ref());
        self.budget.charge_work(wire_units(&fields))?;
        self.budget.host_call_ended(call);
        Ok(fields_to_wire(fields))
    }

    async fn to_arrow(
        &mut self,
        batch: Resource<BatchHandle>,
        columns: Option<Vec<String>>,
    ) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        let call = self.budget.host_call()?;
        let batch = self.table.get(&batch)?.rows.batch().clone();
        let units = (batch.get_array_memory_size() as u64).saturating_mul(IPC_PASSES);
        self.budget.charge_work(units)?;
        let limits = Arc::clone(&self.limits);
        let encode = move |_: &_| match columns {
            Some(columns) => encode_ipc(&select_columns(&batch, &columns)?, &limits),
            None => encode_ipc(&batch, &limits),
        };
        let encoded = compute(&self.budget.meter(), units, encode).await?;
        self.budget.host_call_ended(call);
        Ok(self.guest_error(encoded))
    }

    async fn with_columns(
        &mut self,
        batch: Resource<BatchHandle>,
        ipc_stream: Vec<u8>,
    ) -> wasmtime::Result<Result<Resource<BatchHandle>, Error>> {
        let call = self.budget.host_call()?;
        let units = (ipc_stream.len() as u64).saturating_mul(IPC_PASSES);
        self.budget.charge_work(units)?;
        let (limits, rows) = (Arc::clone(&self.limits), self.table.get(&batch)?.rows.clone());
        let join = move |_: &_| {
            let joined = with_columns(rows.batch(), &ipc_stream, &limits)?;
            Ok::<_, ColumnarError>(rows.derive(joined))
        };
        let joined = compute(&self.budget.meter(), units, join).await?;
        self.budget.host_call_ended(call);
        match self.guest_error(joined) {
            Ok(rows) => Ok(Ok(self.push_batch(rows)?)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn from_arrow(&mut self, ipc_stream: Vec<u8>) -> wasmtime::Result<Result<Resource<BatchHandle>, Error>> {
        let call = self.budget.host_call()?;
        let units = (ipc_stream.len() as u64).saturating_mul(IPC_PASSES);
        self.budget.charge_work(units)?;
        let limits = Arc::clone(&self.limits);
        let decoded = compute(&self.budget.meter(), units, move |_| decode_ipc(&ipc_stream, &limits)).await?;
        self.budget.host_call_ended(call);
        match self.guest_error(decoded) {
            Ok(batch) => Ok(Ok(self.push_batch(self.cover(batch))?)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn drop(&mut self, batch: Resource<BatchHandle>) -> wasmtime::Result<()> {
        self.take_batch(batch)?;
        Ok(())
    }
}

impl HostReader for State {
    async fn schema(&mut self, reader: Resource<ReaderHandle>) -> wasmtime::Result<Vec<Field>> {
        let call = self.budget.host_call()?;
        let fields = schema_to_wire(&self.table.get(&reader)?.schema);
        self.budget.charge_work(wire_units(&fields))?;
        self.budget.host_call_ended(call);
        Ok(fields_to_wire(fields))
    }

    async fn next(
        &mut self,
        reader: Resource<ReaderHandle>,
    ) -> wasmtime::Result<Result<Option<Resource<BatchHandle>>, Error>> {
        let call = self.budget.host_call()?;
        self.release_covering();
        let read = self.read_next(&reader).await?;
        self.budget.host_call_ended(call);
        match self.guest_error(read) {
            Ok(Some(rows)) => {
                self.read(&rows);
                Ok(Ok(Some(self.push_batch(rows)?)))
            }
            Ok(None) => Ok(Ok(None)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn drop(&mut self, reader: Resource<ReaderHandle>) -> wasmtime::Result<()> {
        let number = self.delete(reader)?.number;
        self.end_reader(number)?;
        Ok(())
    }
}

impl State {
    /// The reader's next batch; at its end, and after an error, it has no more.
    async fn read_next(
        &mut self,
        reader: &Resource<ReaderHandle>,
    ) -> wasmtime::Result<Result<Option<TrackedBatch>, Failure>> {
        let number = self.table.get(reader)?.number;
        let (held_bytes, idle) = self.held_while_waiting(Some(number));
        let memory = self.live_readers.get(&number).cloned();
        let (starved, handle) = (self.starved(), self.table.get_mut(reader)?);
        if handle.ended {
            return Ok(Ok(None));
        }
        let next = handle.reader.next();
        let read = match memory {
            Some(memory) => memory.holding(held_bytes, &idle, next).await.map_err(starved)?,
            None => next.await,
        };
        handle.ended = !matches!(read, Ok(Some(_)));
        let report = handle.reader.report();
        if let Ok(Some(rows)) = &read {
            rows.delivered();
            self.note_rows(number);
        }
        self.note_report(number, report)?;
        Ok(read)
    }
}
