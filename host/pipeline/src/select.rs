use datakit_model::{TableId, TablePatterns};
use datakit_wasm::Table;

use crate::error::RunError;

const EXAMPLES: usize = 5;

/// The discovered tables that the selection holds, by name.
pub(crate) fn select(discovered: Vec<Table>, patterns: &TablePatterns) -> Result<Vec<Table>, RunError> {
    let count = discovered.len();
    let (mut selected, others): (Vec<Table>, Vec<Table>) = discovered.into_iter().partition(|t| patterns.allows(&t.id));
    if selected.is_empty() {
        let examples: Vec<TableId> = others.into_iter().take(EXAMPLES).map(|t| t.id).collect();
        return Err(RunError::NoTable { patterns: patterns.clone(), discovered: count, examples });
    }
    selected.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(selected)
}
