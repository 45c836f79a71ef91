//! Batches and projections.

use std::sync::Arc;

use wasmtime::component::Resource;

use crate::bindings::batches::{Column, Expression, Host, HostBatch, HostProjection};
use crate::bindings::types::{Error, Field};
use crate::convert::{fields_from_wire, fields_to_wire};
use crate::state::{BatchHandle, ProjectionHandle, State, compute};
use datakit_columnar::{
    ColumnExpression, ColumnarError, Meter, Projection, compile_units, decode_ipc, encode_ipc, schema_from_wire,
    schema_to_wire, wire_units,
};

/// How often the bytes of a stream are looked at on their way in or out: copied, validated, checked.
const IPC_PASSES: u64 = 4;

impl Host for State {}

impl HostBatch for State {
    async fn rows(&mut self, batch: Resource<BatchHandle>) -> wasmtime::Result<u64> {
        let call = self.budget.host_call()?;
        let rows = self.table.get(&batch)?.rows.batch().num_rows() as u64;
        self.budget.host_call_ended(call);
        Ok(rows)
    }

    async fn bytes(&mut self, batch: Resource<BatchHandle>) -> wasmtime::Result<u64> {
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

    async fn to_arrow(&mut self, batch: Resource<BatchHandle>) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        let call = self.budget.host_call()?;
        let batch = self.table.get(&batch)?.rows.batch().clone();
        let units = (batch.get_array_memory_size() as u64).saturating_mul(IPC_PASSES);
        self.budget.charge_work(units)?;
        let limits = Arc::clone(&self.limits);
        let encoded = compute(&self.budget.meter(), units, move |_| encode_ipc(&batch, &limits)).await?;
        self.budget.host_call_ended(call);
        Ok(self.guest_error(encoded))
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

impl HostProjection for State {
    async fn compile(
        &mut self,
        input: Vec<Field>,
        columns: Vec<Column>,
        filter: Option<String>,
    ) -> wasmtime::Result<Result<Resource<ProjectionHandle>, Error>> {
        let call = self.budget.host_call()?;
        let columns: Vec<(String, ColumnExpression)> =
            columns.into_iter().map(|column| (column.name, expression(column.value))).collect();
        let estimate = compile_units(input.len(), &columns, filter.as_deref());
        let (limits, meter) = (Arc::clone(&self.limits), self.budget.meter());
        let keys = self.session.as_ref().map(|session| session.keys.clone()).unwrap_or_default();
        let compile = move |meter: &Meter| {
            let input = schema_from_wire(&fields_from_wire(input), &limits)?;
            Projection::compile_counted(&input, &columns, filter.as_deref(), &keys, &limits, meter)
        };
        let compiled = compute(&meter, estimate, compile).await?;
        self.budget.settle(&meter)?;
        self.budget.host_call_ended(call);
        match self.guest_error(compiled) {
            Ok(projection) => Ok(Ok(self.push_projection(projection)?)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn output(&mut self, projection: Resource<ProjectionHandle>) -> wasmtime::Result<Vec<Field>> {
        let call = self.budget.host_call()?;
        let fields = schema_to_wire(&self.table.get(&projection)?.projection.output());
        self.budget.charge_work(wire_units(&fields))?;
        self.budget.host_call_ended(call);
        Ok(fields_to_wire(fields))
    }

    async fn apply(
        &mut self,
        projection: Resource<ProjectionHandle>,
        input: Resource<BatchHandle>,
    ) -> wasmtime::Result<Result<Resource<BatchHandle>, Error>> {
        let call = self.budget.host_call()?;
        let compiled = self.table.get(&projection)?.projection.clone();
        let rows = self.table.get(&input)?.rows.clone();
        let meter = self.budget.meter();
        let apply = move |meter: &Meter| {
            let output = compiled.apply_counted(rows.batch(), meter);
            let output = output.map_err(|error| error.after_rows(rows.rows_before()))?;
            Ok::<_, ColumnarError>(rows.derive(output))
        };
        let estimate = self.estimate(&projection, &input)?;
        let applied = compute(&meter, estimate, apply).await?;
        self.budget.settle(&meter)?;
        self.budget.host_call_ended(call);
        self.count_literals(&projection)?;
        match self.guest_error(applied) {
            Ok(output) => Ok(Ok(self.push_batch(output)?)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn drop(&mut self, projection: Resource<ProjectionHandle>) -> wasmtime::Result<()> {
        self.drop_projection(projection)
    }
}

impl State {
    /// About the work of applying a projection to a batch.
    fn estimate(
        &self,
        projection: &Resource<ProjectionHandle>,
        input: &Resource<BatchHandle>,
    ) -> wasmtime::Result<u64> {
        Ok(self.table.get(projection)?.projection.estimate(self.table.get(input)?.rows.batch()))
    }
}

fn expression(expression: Expression) -> ColumnExpression {
    match expression {
        Expression::Input(column) => ColumnExpression::Input(column),
        Expression::Sql(text) => ColumnExpression::Sql(text),
        Expression::Text(text) => ColumnExpression::Text(text),
        Expression::TimestampMicros(micros) => ColumnExpression::TimestampMicros(micros),
        Expression::Uuid(text) => ColumnExpression::Uuid(text),
        Expression::RowHash(columns) => ColumnExpression::RowHash(columns),
    }
}
