//! What a guest may know of its run.

use crate::bindings::run::{Host, RunInfo};
use crate::bindings::types::TableId;
use crate::convert::table_from_wire;
use crate::error::WasmError;
use crate::state::State;

impl Host for State {
    async fn info(&mut self) -> wasmtime::Result<RunInfo> {
        let call = self.budget.host_call()?;
        let session = self.session("run.info")?;
        let info = RunInfo {
            run_id: session.run.run_id.clone(),
            batch_id: session.run.batch_id.to_string(),
            started_at_micros: session.run.started_at_micros,
            source_system: session.run.source_system.clone(),
            settings: session.settings.clone(),
        };
        self.budget.charge_work(info.settings.len() as u64)?;
        self.budget.host_call_ended(call);
        Ok(info)
    }

    async fn watermark(&mut self, table: TableId) -> wasmtime::Result<Option<String>> {
        let call = self.budget.host_call()?;
        let session = self.session("run.watermark")?;
        let watermark = session.watermarks.watermark(&table_from_wire(table)).await.map_err(WasmError::host)?;
        self.budget.host_call_ended(call);
        Ok(watermark)
    }
}
