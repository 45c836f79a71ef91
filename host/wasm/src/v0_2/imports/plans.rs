//! What a guest says of itself, its tables and how to read them. Only what it costs is checked here.

use wasmtime::component::Resource;

use super::super::bindings::plans::{
    FixedRows, Host, HostDescription, HostDiscoveryRequest, HostPartition, HostTableDescription, HostTablePlan,
    WriteMode,
};
use super::super::bindings::types::{Field, TableId};
use super::convert::{fields_from_wire, fixed_rows, table_from_wire, table_to_wire, write_mode};
use crate::check::{MAX_RULES, too_many_rules};
use crate::error::Limit;
use crate::filled::{self, Part, Role};
use crate::state::{
    DescriptionHandle, DiscoveryHandle, PartitionHandle, PlanHandle, RuleHandle, State, TableHandle, Weight as _,
};

impl Host for State {}

impl HostDescription for State {
    async fn new(
        &mut self,
        name: String,
        version: String,
        summary: String,
    ) -> wasmtime::Result<Resource<DescriptionHandle>> {
        let call = self.budget.host_call()?;
        let bytes = name.weight() + version.weight() + summary.weight();
        let description = filled::Description { name, version, summary, ..Default::default() };
        let handle = self.push_filled(description, bytes)?;
        self.budget.host_call_ended(call);
        Ok(handle)
    }

    async fn add_role(
        &mut self,
        description: Resource<DescriptionHandle>,
        name: String,
        kinds: Vec<String>,
        purpose: String,
    ) -> wasmtime::Result<()> {
        let bytes = name.weight() + kinds.weight() + purpose.weight();
        self.set(&description, bytes, |it| it.roles.push(Role { name, kinds, purpose }))
    }

    async fn set_settings_schema(
        &mut self,
        description: Resource<DescriptionHandle>,
        schema: String,
    ) -> wasmtime::Result<()> {
        self.set(&description, schema.weight(), |it| it.settings_schema = Some(schema))
    }

    async fn drop(&mut self, description: Resource<DescriptionHandle>) -> wasmtime::Result<()> {
        self.take_filled(description).map(drop)
    }
}

impl HostDiscoveryRequest for State {
    async fn include(&mut self, request: Resource<DiscoveryHandle>) -> wasmtime::Result<Vec<String>> {
        let call = self.budget.host_call()?;
        let include = self.table.get(&request)?.include.clone();
        self.budget.charge_work(include.weight())?;
        self.budget.host_call_ended(call);
        Ok(include)
    }

    async fn exclude(&mut self, request: Resource<DiscoveryHandle>) -> wasmtime::Result<Vec<String>> {
        let call = self.budget.host_call()?;
        let exclude = self.table.get(&request)?.exclude.clone();
        self.budget.charge_work(exclude.weight())?;
        self.budget.host_call_ended(call);
        Ok(exclude)
    }

    async fn drop(&mut self, request: Resource<DiscoveryHandle>) -> wasmtime::Result<()> {
        self.table.delete(request)?;
        Ok(())
    }
}

impl HostTableDescription for State {
    async fn new(&mut self, id: TableId) -> wasmtime::Result<Resource<TableHandle>> {
        let call = self.budget.host_call()?;
        let id = table_from_wire(id);
        let bytes = id.catalog.weight() + id.schema.weight() + id.name.weight();
        let handle = self.push_filled(filled::TableDescription::new(id), bytes)?;
        self.budget.host_call_ended(call);
        Ok(handle)
    }

    async fn set_view(&mut self, table: Resource<TableHandle>) -> wasmtime::Result<()> {
        self.set(&table, 0, |it| it.is_view = true)
    }

    async fn set_columns(&mut self, table: Resource<TableHandle>, columns: Vec<Field>) -> wasmtime::Result<()> {
        let columns = fields_from_wire(columns);
        self.set(&table, columns.weight(), |it| it.columns = columns)
    }

    async fn set_primary_key(&mut self, table: Resource<TableHandle>, columns: Vec<String>) -> wasmtime::Result<()> {
        self.set(&table, columns.weight(), |it| it.primary_key = columns)
    }

    async fn set_estimated_rows(&mut self, table: Resource<TableHandle>, rows: u64) -> wasmtime::Result<()> {
        self.set(&table, 0, |it| it.estimated_rows = Some(rows))
    }

    async fn set_estimated_bytes(&mut self, table: Resource<TableHandle>, bytes: u64) -> wasmtime::Result<()> {
        self.set(&table, 0, |it| it.estimated_bytes = Some(bytes))
    }

    async fn drop(&mut self, table: Resource<TableHandle>) -> wasmtime::Result<()> {
        self.take_filled(table).map(drop)
    }
}

impl HostTablePlan for State {
    async fn new(&mut self, table: TableId) -> wasmtime::Result<Resource<PlanHandle>> {
        let call = self.budget.host_call()?;
        let table = table_from_wire(table);
        let bytes = table.catalog.weight() + table.schema.weight() + table.name.weight();
        let handle = self.push_filled(filled::TablePlan::new(table), bytes)?;
        self.budget.host_call_ended(call);
        Ok(handle)
    }

    async fn add_partition(
        &mut self,
        plan: Resource<PlanHandle>,
        state: Vec<u8>,
        estimated_rows: Option<u64>,
    ) -> wasmtime::Result<()> {
        let partitions = self.table.get(&plan)?.value.partitions.len();
        self.check_count(partitions, Limit::Partitions, self.limits.max_partitions, "partitions of a plan")?;
        self.set(&plan, state.weight(), |it| it.partitions.push(Part { state, estimated_rows }))
    }

    async fn set_write(&mut self, plan: Resource<PlanHandle>, mode: WriteMode) -> wasmtime::Result<()> {
        self.set(&plan, 0, |it| it.write = Some(write_mode(mode)))
    }

    async fn set_keys(&mut self, plan: Resource<PlanHandle>, columns: Vec<String>) -> wasmtime::Result<()> {
        self.set(&plan, columns.weight(), |it| it.keys = columns)
    }

    async fn set_partition_by(&mut self, plan: Resource<PlanHandle>, columns: Vec<String>) -> wasmtime::Result<()> {
        self.set(&plan, columns.weight(), |it| it.partition_by = columns)
    }

    async fn add_rule(&mut self, plan: Resource<PlanHandle>, rule: Resource<RuleHandle>) -> wasmtime::Result<()> {
        let rules = self.table.get(&plan)?.value.rules.len() as u64;
        if rules >= MAX_RULES {
            return Err(too_many_rules(rules + 1).into());
        }
        let (rule, bytes) = self.take_weighed(rule)?;
        self.set(&plan, bytes, |it| it.rules.push(rule))
    }

    async fn set_strategy(&mut self, plan: Resource<PlanHandle>, strategy: String) -> wasmtime::Result<()> {
        self.set(&plan, strategy.weight(), |it| it.strategy = Some(strategy))
    }

    async fn set_why(&mut self, plan: Resource<PlanHandle>, reason: String) -> wasmtime::Result<()> {
        self.set(&plan, reason.weight(), |it| it.why = Some(reason))
    }

    async fn set_watermark(&mut self, plan: Resource<PlanHandle>, watermark: String) -> wasmtime::Result<()> {
        self.set(&plan, watermark.weight(), |it| it.watermark = Some(watermark))
    }

    async fn set_load_id_column(&mut self, plan: Resource<PlanHandle>, name: String) -> wasmtime::Result<()> {
        self.set(&plan, name.weight(), |it| it.load_id_column = Some(name))
    }

    async fn set_operation_column(&mut self, plan: Resource<PlanHandle>, name: String) -> wasmtime::Result<()> {
        self.set(&plan, name.weight(), |it| it.operation_column = Some(name))
    }

    async fn set_version_column(&mut self, plan: Resource<PlanHandle>, name: String) -> wasmtime::Result<()> {
        self.set(&plan, name.weight(), |it| it.version_column = Some(name))
    }

    async fn set_commit_time_column(&mut self, plan: Resource<PlanHandle>, name: String) -> wasmtime::Result<()> {
        self.set(&plan, name.weight(), |it| it.commit_time_column = Some(name))
    }

    async fn set_missing_columns_column(&mut self, plan: Resource<PlanHandle>, name: String) -> wasmtime::Result<()> {
        self.set(&plan, name.weight(), |it| it.missing_columns_column = Some(name))
    }

    async fn set_fixed_rows(&mut self, plan: Resource<PlanHandle>, by: FixedRows) -> wasmtime::Result<()> {
        self.set(&plan, 0, |it| it.fixed = Some(fixed_rows(by)))
    }

    async fn drop(&mut self, plan: Resource<PlanHandle>) -> wasmtime::Result<()> {
        self.take_filled(plan).map(drop)
    }
}

impl HostPartition for State {
    async fn table(&mut self, partition: Resource<PartitionHandle>) -> wasmtime::Result<TableId> {
        let call = self.budget.host_call()?;
        let table = table_to_wire(&self.table.get(&partition)?.0.table);
        self.budget.host_call_ended(call);
        Ok(table)
    }

    async fn ordinal(&mut self, partition: Resource<PartitionHandle>) -> wasmtime::Result<u32> {
        let call = self.budget.host_call()?;
        let ordinal = self.table.get(&partition)?.0.ordinal;
        self.budget.host_call_ended(call);
        Ok(ordinal)
    }

    async fn state(&mut self, partition: Resource<PartitionHandle>) -> wasmtime::Result<Vec<u8>> {
        let call = self.budget.host_call()?;
        let state = self.table.get(&partition)?.0.state.clone();
        self.budget.charge_work(state.len() as u64)?;
        self.budget.host_call_ended(call);
        Ok(state)
    }

    async fn drop(&mut self, partition: Resource<PartitionHandle>) -> wasmtime::Result<()> {
        self.table.delete(partition)?;
        Ok(())
    }
}
