//! Rules of quality that a guest fills in.

use datakit_model::quality::{Check, Severity};
use wasmtime::component::Resource;

use super::super::bindings::plans::HostQualityRule;
use super::super::bindings::types::TableId;
use super::convert::table_from_wire;
use crate::filled;
use crate::state::{RuleHandle, State, Weight as _};

impl State {
    fn set_check(&mut self, rule: &Resource<RuleHandle>, bytes: u64, check: Check) -> wasmtime::Result<()> {
        self.set(rule, bytes, |it| it.check = Some(check))
    }
}

impl HostQualityRule for State {
    async fn new(&mut self, name: String, columns: Vec<String>) -> wasmtime::Result<Resource<RuleHandle>> {
        let call = self.budget.host_call()?;
        let bytes = name.weight() + columns.weight();
        let rule = filled::QualityRule { name, columns, check: None, severity: Severity::Warn };
        let handle = self.push_filled(rule, bytes)?;
        self.budget.host_call_ended(call);
        Ok(handle)
    }

    async fn set_stop(&mut self, rule: Resource<RuleHandle>) -> wasmtime::Result<()> {
        self.set(&rule, 0, |it| it.severity = Severity::Stop)
    }

    async fn set_not_null(&mut self, rule: Resource<RuleHandle>) -> wasmtime::Result<()> {
        self.set_check(&rule, 0, Check::NotNull)
    }

    async fn set_unique(&mut self, rule: Resource<RuleHandle>, in_target: bool) -> wasmtime::Result<()> {
        self.set_check(&rule, 0, Check::Unique { in_target })
    }

    async fn set_range(
        &mut self,
        rule: Resource<RuleHandle>,
        min: Option<String>,
        max: Option<String>,
    ) -> wasmtime::Result<()> {
        self.set_check(&rule, min.weight() + max.weight(), Check::Range { min, max })
    }

    async fn set_pattern(&mut self, rule: Resource<RuleHandle>, pattern: String) -> wasmtime::Result<()> {
        self.set_check(&rule, pattern.weight(), Check::Pattern(pattern))
    }

    async fn set_row_count(
        &mut self,
        rule: Resource<RuleHandle>,
        min: Option<u64>,
        max: Option<u64>,
        max_change_percent: Option<u64>,
    ) -> wasmtime::Result<()> {
        self.set_check(&rule, 0, Check::RowCount { min, max, max_change_percent })
    }

    async fn set_freshness(&mut self, rule: Resource<RuleHandle>, max_age_seconds: u64) -> wasmtime::Result<()> {
        self.set_check(&rule, 0, Check::Freshness { max_age_seconds })
    }

    async fn set_reference(
        &mut self,
        rule: Resource<RuleHandle>,
        table: TableId,
        columns: Vec<String>,
    ) -> wasmtime::Result<()> {
        let table = table_from_wire(table);
        let bytes = table.catalog.weight() + table.schema.weight() + table.name.weight() + columns.weight();
        self.set_check(&rule, bytes, Check::Reference { table, columns })
    }

    async fn drop(&mut self, rule: Resource<RuleHandle>) -> wasmtime::Result<()> {
        self.take_filled(rule).map(drop)
    }
}
