//! Memory and tables of an instance.

use datakit_model::GuestLimits;
use wasmtime::ResourceLimiter;

use crate::error::{Call, Limit, WasmError};

/// Allows growth up to the limits, and remembers what it denied: a guest told "no" usually traps, and the trap should
/// say why.
pub(crate) struct Growth {
    max_memory_bytes: u64,
    max_table_elements: u64,
    memory_bytes: u64,
    table_elements: u64,
    denied: Option<Denied>,
}

struct Denied {
    limit: Limit,
    value: u64,
    what: String,
}

impl Growth {
    pub(crate) fn new(limits: &GuestLimits) -> Self {
        Self {
            max_memory_bytes: limits.max_guest_memory_bytes,
            max_table_elements: limits.max_guest_table_elements,
            memory_bytes: 0,
            table_elements: 0,
            denied: None,
        }
    }

    pub(crate) fn forget_denied(&mut self) {
        self.denied = None;
    }

    /// The limit a trap of this call is due to, if it is due to one.
    pub(crate) fn denied(&mut self, call: Call) -> Option<WasmError> {
        self.denied.take().map(|denied| WasmError::over(denied.limit, denied.value, denied.what, call))
    }
}

impl ResourceLimiter for Growth {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.memory_bytes + (desired as u64).saturating_sub(current as u64);
        if total > self.max_memory_bytes {
            let what = format!("the datakit's memory would grow to {total} bytes");
            self.denied = Some(Denied { limit: Limit::Memory, value: self.max_memory_bytes, what });
            return Ok(false);
        }
        self.memory_bytes = total;
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.table_elements + (desired as u64).saturating_sub(current as u64);
        if total > self.max_table_elements {
            let what = format!("the datakit's tables would grow to {total} elements");
            self.denied = Some(Denied { limit: Limit::TableElements, value: self.max_table_elements, what });
            return Ok(false);
        }
        self.table_elements = total;
        Ok(true)
    }

    // A component is a handful of core instances with a memory and a table each; these bound absurd ones.
    fn instances(&self) -> usize {
        256
    }

    fn tables(&self) -> usize {
        256
    }

    fn memories(&self) -> usize {
        64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_memories_share_the_limit_and_a_denial_is_remembered() {
        let limits = GuestLimits { max_guest_memory_bytes: 3 * 65_536, ..GuestLimits::default() };
        let mut growth = Growth::new(&limits);
        assert!(growth.memory_growing(0, 65_536, None).unwrap());
        assert!(growth.memory_growing(0, 2 * 65_536, None).unwrap());
        assert!(growth.denied(Call::Plan).is_none());
        assert!(!growth.memory_growing(65_536, 2 * 65_536, None).unwrap());
        assert_eq!(
            growth.denied(Call::Plan).unwrap().to_string(),
            "the datakit's memory would grow to 262144 bytes in `plan`; limits.guest.max_guest_memory_bytes = 196608"
        );
    }
}
