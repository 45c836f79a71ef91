//! Batches and projections.

use wasmtime::component::Resource;

use crate::bindings::batches::{Column, Expression, Host, HostBatch, HostProjection};
use crate::bindings::types::{Error, Field};
use crate::columnar::{ColumnExpression, Projection, decode_ipc, encode_ipc, schema_from_wire, schema_to_wire};
use crate::convert::{fields_from_wire, fields_to_wire};
use crate::state::{BatchHandle, ProjectionHandle, State};

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
        self.budget.host_call_ended(call);
        Ok(fields_to_wire(fields))
    }

    async fn to_arrow(&mut self, batch: Resource<BatchHandle>) -> wasmtime::Result<Result<Vec<u8>, Error>> {
        let call = self.budget.host_call()?;
        let encoded = encode_ipc(self.table.get(&batch)?.rows.batch(), &self.limits);
        self.budget.host_call_ended(call);
        Ok(self.tell(encoded))
    }

    async fn from_arrow(&mut self, ipc_stream: Vec<u8>) -> wasmtime::Result<Result<Resource<BatchHandle>, Error>> {
        let call = self.budget.host_call()?;
        let decoded = decode_ipc(&ipc_stream, &self.limits);
        drop(ipc_stream);
        self.budget.host_call_ended(call);
        match self.tell(decoded) {
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
        let compiled = schema_from_wire(&fields_from_wire(input), &self.limits)
            .and_then(|input| Projection::compile(&input, &columns, filter.as_deref(), &self.limits));
        self.budget.host_call_ended(call);
        match self.tell(compiled) {
            Ok(projection) => Ok(Ok(self.push(ProjectionHandle { projection })?)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn output(&mut self, projection: Resource<ProjectionHandle>) -> wasmtime::Result<Vec<Field>> {
        let call = self.budget.host_call()?;
        let fields = schema_to_wire(&self.table.get(&projection)?.projection.output());
        self.budget.host_call_ended(call);
        Ok(fields_to_wire(fields))
    }

    async fn apply(
        &mut self,
        projection: Resource<ProjectionHandle>,
        input: Resource<BatchHandle>,
    ) -> wasmtime::Result<Result<Resource<BatchHandle>, Error>> {
        let call = self.budget.host_call()?;
        let projection = self.table.get(&projection)?.projection.clone();
        let rows = &self.table.get(&input)?.rows;
        let applied = projection
            .apply(rows.batch())
            .map(|output| rows.derive(output))
            .map_err(|error| error.after_rows(rows.rows_before()));
        self.budget.host_call_ended(call);
        match self.tell(applied) {
            Ok(output) => Ok(Ok(self.push_batch(output)?)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn drop(&mut self, projection: Resource<ProjectionHandle>) -> wasmtime::Result<()> {
        self.delete(projection)?;
        Ok(())
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
