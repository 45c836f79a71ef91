//! What a guest says to the operator.

use super::super::bindings::log::{Host, Level};
use super::convert;
use crate::state::State;

impl Host for State {
    async fn emit(&mut self, level: Level, message: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        let call = self.budget.host_call()?;
        self.log.emit(convert::level(level), &message, &fields);
        self.budget.host_call_ended(call);
        Ok(())
    }
}
