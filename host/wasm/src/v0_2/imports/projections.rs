//! Projections, and their making.

use std::sync::Arc;

use datakit_columnar::{
    ColumnExpression, Meter, Projection, compile_units, schema_from_wire, schema_to_wire, wire_units,
};
use datakit_model::source::Rejected;
use wasmtime::component::Resource;

use super::super::bindings::projections::{Host, HostProjection, HostProjectionBuilder};
use super::super::bindings::types::{Error, Field};
use super::convert::{fields_from_wire, fields_to_wire};
use crate::filled::ProjectionParts;
use crate::project::{Projected, project};
use crate::state::{BatchHandle, BuilderHandle, ProjectionHandle, State, Weight as _, compute};

impl Host for State {}

impl HostProjectionBuilder for State {
    async fn new(&mut self, input: Vec<Field>) -> wasmtime::Result<Resource<BuilderHandle>> {
        let call = self.budget.host_call()?;
        let input = fields_from_wire(input);
        let bytes = input.weight();
        let handle = self.push_filled(ProjectionParts { input, columns: Vec::new(), filter: None }, bytes)?;
        self.budget.host_call_ended(call);
        Ok(handle)
    }

    async fn add_input(
        &mut self,
        builder: Resource<BuilderHandle>,
        name: String,
        column: String,
    ) -> wasmtime::Result<()> {
        self.add(&builder, name, column.weight(), ColumnExpression::Input(column))
    }

    async fn add_sql(
        &mut self,
        builder: Resource<BuilderHandle>,
        name: String,
        expression: String,
    ) -> wasmtime::Result<()> {
        self.add(&builder, name, expression.weight(), ColumnExpression::Sql(expression))
    }

    async fn add_text(&mut self, builder: Resource<BuilderHandle>, name: String, text: String) -> wasmtime::Result<()> {
        self.add(&builder, name, text.weight(), ColumnExpression::Text(text))
    }

    async fn add_timestamp_micros(
        &mut self,
        builder: Resource<BuilderHandle>,
        name: String,
        micros: i64,
    ) -> wasmtime::Result<()> {
        self.add(&builder, name, 0, ColumnExpression::TimestampMicros(micros))
    }

    async fn add_uuid(&mut self, builder: Resource<BuilderHandle>, name: String, uuid: String) -> wasmtime::Result<()> {
        self.add(&builder, name, uuid.weight(), ColumnExpression::Uuid(uuid))
    }

    async fn add_load_id(&mut self, builder: Resource<BuilderHandle>, name: String) -> wasmtime::Result<()> {
        let load_id = self.session("projection-builder.add-load-id")?.run.batch_id;
        self.add(&builder, name, 0, ColumnExpression::LoadId(load_id.into_bytes()))
    }

    async fn add_row_hash(
        &mut self,
        builder: Resource<BuilderHandle>,
        name: String,
        columns: Vec<String>,
    ) -> wasmtime::Result<()> {
        self.add(&builder, name, columns.weight(), ColumnExpression::RowHash(columns))
    }

    async fn add_keyed_hash(
        &mut self,
        builder: Resource<BuilderHandle>,
        name: String,
        columns: Vec<String>,
        key: String,
    ) -> wasmtime::Result<()> {
        let bytes = columns.weight() + key.weight();
        self.add(&builder, name, bytes, ColumnExpression::KeyedHash { columns, key })
    }

    async fn set_filter(&mut self, builder: Resource<BuilderHandle>, expression: String) -> wasmtime::Result<()> {
        self.set(&builder, expression.weight(), |it| it.filter = Some(expression))
    }

    async fn compile(
        &mut self,
        builder: Resource<BuilderHandle>,
    ) -> wasmtime::Result<Result<Resource<ProjectionHandle>, Error>> {
        let call = self.budget.host_call()?;
        let ProjectionParts { input, columns, filter } = self.table.get(&builder)?.value.clone();
        let estimate = compile_units(input.len(), &columns, filter.as_deref());
        let (limits, meter) = (Arc::clone(&self.limits), self.budget.meter());
        let keys = self.session.as_ref().map(|session| session.keys.clone()).unwrap_or_default();
        let compile = move |meter: &Meter| {
            let input = schema_from_wire(&input, &limits)?;
            Projection::compile_counted(&input, &columns, filter.as_deref(), &keys, &limits, meter)
        };
        let compiled = compute(&meter, estimate, compile).await?;
        self.budget.settle(&meter)?;
        self.budget.host_call_ended(call);
        match self.guest_error(compiled) {
            Ok(projection) => {
                self.origins = projection.origins().to_vec();
                Ok(Ok(self.push_projection(projection)?))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    async fn drop(&mut self, builder: Resource<BuilderHandle>) -> wasmtime::Result<()> {
        self.take_filled(builder).map(drop)
    }
}

impl HostProjection for State {
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
        let rejecting = self.session.as_ref().and_then(|session| session.rejecting.clone());
        let apply = move |meter: &Meter| project(&compiled, &rows, rejecting, meter);
        let estimate = self.estimate(&projection, &input)?;
        let applied = compute(&meter, estimate, apply).await?;
        self.budget.settle(&meter)?;
        self.budget.host_call_ended(call);
        self.count_literals(&projection)?;
        match self.guest_error(applied) {
            Ok(Projected { rows, rejected }) => {
                self.note_rejected(Rejected::new(rejected))?;
                Ok(Ok(self.push_batch(rows)?))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    async fn drop(&mut self, projection: Resource<ProjectionHandle>) -> wasmtime::Result<()> {
        self.drop_projection(projection)
    }
}

impl State {
    /// One more column of a projection in the making.
    fn add(
        &mut self,
        builder: &Resource<BuilderHandle>,
        name: String,
        bytes: u64,
        value: ColumnExpression,
    ) -> wasmtime::Result<()> {
        let bytes = bytes + name.weight();
        self.set(builder, bytes, |it| it.columns.push((name, value)))
    }

    /// About the work of applying a projection to a batch.
    fn estimate(
        &self,
        projection: &Resource<ProjectionHandle>,
        input: &Resource<BatchHandle>,
    ) -> wasmtime::Result<u64> {
        Ok(self.table.get(projection)?.projection.estimate(self.table.get(input)?.rows.batch()))
    }
}
