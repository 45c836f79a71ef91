//! What a guest may know of its run.

use super::super::bindings::run::Host;
use super::super::bindings::types::TableId;
use super::convert::table_from_wire;
use crate::error::WasmError;
use crate::state::State;

impl Host for State {
    async fn run_id(&mut self) -> wasmtime::Result<String> {
        let call = self.budget.host_call()?;
        let run_id = self.session("run.run-id")?.run.run_id.clone();
        self.budget.host_call_ended(call);
        Ok(run_id)
    }

    async fn load_id(&mut self) -> wasmtime::Result<String> {
        let call = self.budget.host_call()?;
        let load_id = self.session("run.load-id")?.run.batch_id.to_string();
        self.budget.host_call_ended(call);
        Ok(load_id)
    }

    async fn started_at_micros(&mut self) -> wasmtime::Result<i64> {
        let call = self.budget.host_call()?;
        let started_at_micros = self.session("run.started-at-micros")?.run.started_at_micros;
        self.budget.host_call_ended(call);
        Ok(started_at_micros)
    }

    async fn source_system(&mut self) -> wasmtime::Result<String> {
        let call = self.budget.host_call()?;
        let source_system = self.session("run.source-system")?.run.source_system.clone();
        self.budget.host_call_ended(call);
        Ok(source_system)
    }

    async fn settings(&mut self) -> wasmtime::Result<String> {
        let call = self.budget.host_call()?;
        let settings = self.session("run.settings")?.settings.clone();
        self.budget.charge_work(settings.len() as u64)?;
        self.budget.host_call_ended(call);
        Ok(settings)
    }

    async fn watermark(&mut self, table: TableId) -> wasmtime::Result<Option<String>> {
        let call = self.budget.host_call()?;
        let session = self.session("run.watermark")?;
        let watermark = session.watermarks.watermark(&table_from_wire(table)).await.map_err(WasmError::host)?;
        self.budget.host_call_ended(call);
        Ok(watermark)
    }
}
