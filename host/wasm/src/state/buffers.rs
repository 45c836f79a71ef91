//! The memory behind an instance's live batches and the literal columns that projections keep, each buffer counted once.

use std::collections::HashMap;

use arrow::array::{Array as _, ArrayData, ArrayRef};
use arrow::buffer::Buffer;
use arrow::record_batch::RecordBatch;

/// Buffers by address. Columns a projection passes through, slices, and columns decoded from one IPC message share theirs.
#[derive(Default)]
pub(crate) struct LiveBuffers {
    uses: HashMap<usize, Use>,
    bytes: u64,
}

struct Use {
    count: u64,
    bytes: u64,
}

impl LiveBuffers {
    /// Bytes of all buffers.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn add(&mut self, batch: &RecordBatch) {
        batch.columns().iter().for_each(|column| self.add_array(column));
    }

    pub(crate) fn add_array(&mut self, array: &ArrayRef) {
        visit(&array.to_data(), &mut |buffer| {
            let bytes = buffer.capacity() as u64;
            let entry = self.uses.entry(address(buffer)).or_insert(Use { count: 0, bytes });
            if entry.count == 0 {
                self.bytes += bytes;
            }
            entry.count += 1;
        });
    }

    pub(crate) fn remove(&mut self, batch: &RecordBatch) {
        batch.columns().iter().for_each(|column| self.remove_array(column));
    }

    pub(crate) fn remove_array(&mut self, array: &ArrayRef) {
        visit(&array.to_data(), &mut |buffer| {
            let Some(entry) = self.uses.get_mut(&address(buffer)) else { return };
            entry.count -= 1;
            if entry.count == 0 {
                self.bytes -= entry.bytes;
                self.uses.remove(&address(buffer));
            }
        });
    }
}

/// Where the allocation begins, whatever part of it the buffer is.
fn address(buffer: &Buffer) -> usize {
    buffer.data_ptr().as_ptr() as usize
}

fn visit(data: &ArrayData, each: &mut impl FnMut(&Buffer)) {
    data.buffers().iter().for_each(&mut *each);
    if let Some(nulls) = data.nulls() {
        each(nulls.buffer());
    }
    for child in data.child_data() {
        visit(child, each);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter(columns).unwrap()
    }

    #[test]
    fn shared_buffers_count_once_and_are_gone_with_the_last_batch() {
        let shared: ArrayRef = Arc::new(Int64Array::from(vec![Some(1); 1000]));
        let input = batch(vec![("a", shared.clone())]);
        let output = batch(vec![("a", shared), ("b", Arc::new(StringArray::from(vec!["x"; 1000])))]);
        let mut live = LiveBuffers::default();
        live.add(&input);
        let alone = live.bytes();
        assert!(alone >= 8000);
        live.add(&output);
        assert!(live.bytes() >= alone + 5000);
        assert!(live.bytes() < 2 * alone + 5000);
        live.remove(&input);
        live.remove(&output);
        assert_eq!(live.bytes(), 0);
        assert!(live.uses.is_empty());
    }

    #[test]
    fn a_slice_counts_as_the_whole_it_keeps_alive() {
        let whole = batch(vec![("a", Arc::new(Int64Array::from(vec![1; 1000])))]);
        let mut live = LiveBuffers::default();
        live.add(&whole.slice(0, 1));
        assert!(live.bytes() >= 8000);
    }
}
