//! What tests of datakits share: they run natively, without a host.

use std::cell::RefCell;
use std::collections::HashMap;

use serde::de::DeserializeOwned;

use crate::bindings::datakit::kit::types::{Error, TableId};
use crate::changes::{ChangeRequest, Changes, Reach};
use crate::plans::TablePlan;

/// Changes by the names of tables, and what was asked of them.
#[derive(Debug, Default)]
pub struct FakeChanges {
    /// What the last commit left, by `schema.name`.
    pub positions: HashMap<String, String>,
    /// How far changes reach, by `schema.name`.
    pub reaches: HashMap<String, Reach>,
    /// What was asked, in order.
    pub asked: RefCell<Vec<ChangeRequest>>,
}

impl Changes for FakeChanges {
    fn reach(&self, request: &ChangeRequest) -> Result<Reach, Error> {
        self.asked.borrow_mut().push(request.clone());
        let reach = self.reaches.get(&request.table.to_string()).cloned();
        reach.ok_or_else(|| Error::source("DK-SRC-900", format!("{} has no changes", request.table)))
    }

    fn position(&self, table: &TableId) -> Option<String> {
        self.positions.get(&table.to_string()).cloned()
    }
}

/// The states of a plan's partitions, in order.
///
/// # Errors
/// A state that is not of this type.
pub fn states<S: DeserializeOwned>(plan: &TablePlan) -> Result<Vec<S>, serde_json::Error> {
    plan.partitions.iter().map(|partition| serde_json::from_slice(&partition.state)).collect()
}
