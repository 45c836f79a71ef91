//! The files of one partition, encoded on a thread beside the caller.
//!
//! The thread takes batches from a channel, so that decoding, projection and encoding of different batches overlap; a
//! batch's reservation is held until its rows are encoded. When the channel closes without a [`Message::Finish`], the thread
//! removes what it wrote.
//!
//! A partitioned table has a file open for each folder that rows come for, up to a number: then the one that was written
//! longest ago is closed. Where all files being encoded hold more memory than they may, the largest ends its row group, and
//! is closed when what it has encoded is waiting for the rest of a part of its upload.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datakit_model::TrackedBatch;
use parquet::errors::ParquetError;
use tokio::runtime::Handle;
use tokio::sync::mpsc::Receiver;

use crate::file::{DataFile, FilePlan, OpenFile, RowForm};
use crate::folders::Folder;

/// What a partition's thread is told.
#[derive(Debug)]
pub enum Message {
    /// Encode these rows.
    Batch(TrackedBatch),
    /// There are no more; close the files.
    Finish,
}

/// The body of a partition's thread. None: the channel closed without a finish, and everything was removed.
///
/// # Errors
/// Values that the files cannot hold, a store or file system that fails; everything was removed then.
pub fn write_partition<F: RowForm>(
    plan: &FilePlan<F>,
    ordinal: u32,
    mut messages: Receiver<Message>,
    runtime: &Handle,
) -> Result<Option<Vec<DataFile>>, F::Error> {
    let mut partition =
        Partition { plan, ordinal, runtime, open: HashMap::new(), writes: 0, created: 0, files: Vec::new() };
    let result = partition.run(&mut messages);
    if !matches!(result, Ok(true)) {
        partition.remove();
    }
    Ok(result?.then_some(partition.files))
}

struct Partition<'a, F> {
    plan: &'a FilePlan<F>,
    ordinal: u32,
    runtime: &'a Handle,
    /// One a folder, with the number of its last write.
    open: HashMap<Arc<Folder>, (OpenFile, u64)>,
    writes: u64,
    created: usize,
    files: Vec<DataFile>,
}

impl<F: RowForm> Partition<'_, F> {
    /// Whether the partition was finished.
    fn run(&mut self, messages: &mut Receiver<Message>) -> Result<bool, F::Error> {
        while let Some(message) = messages.blocking_recv() {
            match message {
                Message::Batch(batch) => self.write(&batch)?,
                Message::Finish => {
                    let folders: Vec<_> = self.open.keys().cloned().collect();
                    folders.iter().try_for_each(|folder| self.close(folder))?;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn write(&mut self, batch: &TrackedBatch) -> Result<(), F::Error> {
        let formed = self.plan.form.encode(batch.batch())?;
        for (folder, rows) in &formed.folders {
            let rows = rows.of(&formed.rows).map_err(|e| self.plan.encode_error(ParquetError::from(e)))?;
            self.append(folder, &rows)?;
        }
        Ok(())
    }

    fn append(&mut self, folder: &Arc<Folder>, rows: &RecordBatch) -> Result<(), F::Error> {
        if !self.open.contains_key(folder) {
            self.make_room()?;
            let file = OpenFile::create(self.plan, folder, self.ordinal, self.created, rows, self.runtime)?;
            self.created += 1;
            self.open.insert(Arc::clone(folder), (file, 0));
        }
        let is_alone = self.open.len() == 1;
        let Some((file, last_write)) = self.open.get_mut(folder) else { return Ok(()) };
        self.writes += 1;
        *last_write = self.writes;
        file.write(rows, self.plan, self.runtime)?;
        file.share.hold(held_bytes(file, is_alone));
        if file.bytes() >= self.plan.options.max_file_bytes {
            return self.close(folder);
        }
        self.release_memory()
    }

    /// Closes the file that was written longest ago, where there is no room for another one.
    fn make_room(&mut self) -> Result<(), F::Error> {
        if self.open.len() < self.plan.options.max_open_files.max(1) {
            return Ok(());
        }
        let oldest = self.open.iter().min_by_key(|(_, (_, last_write))| *last_write);
        let Some(folder) = oldest.map(|(folder, _)| Arc::clone(folder)) else { return Ok(()) };
        self.close(&folder)
    }

    /// Makes the largest file smaller for as long as all of them hold too much, and it more than its share.
    fn release_memory(&mut self) -> Result<(), F::Error> {
        let is_alone = self.open.len() == 1;
        loop {
            let largest = self.open.iter_mut().max_by_key(|(_, (file, _))| file.share.bytes());
            let Some((folder, (file, _))) = largest.filter(|(_, (file, _))| file.share.is_over()) else {
                return Ok(());
            };
            if !is_alone && file.waiting_bytes() > file.encoding_bytes() {
                let folder = Arc::clone(folder);
                self.close(&folder)?;
                continue;
            }
            file.flush(self.plan)?;
            file.share.hold(held_bytes(file, is_alone));
        }
    }

    fn close(&mut self, folder: &Arc<Folder>) -> Result<(), F::Error> {
        if let Some((file, _)) = self.open.remove(folder) {
            self.files.push(file.close(self.plan, self.runtime)?);
        }
        Ok(())
    }

    fn remove(&mut self) {
        self.runtime.block_on(async {
            for (_, (file, _)) in self.open.drain() {
                let folder = file.abort(&self.plan.location).await;
                self.plan.remove_empty(&folder);
            }
            self.plan.remove(&self.files).await;
        });
    }
}

/// Of many files, what waits to be uploaded counts too: each has a part of its own.
fn held_bytes(file: &OpenFile, is_alone: bool) -> u64 {
    file.encoding_bytes() + if is_alone { 0 } else { file.waiting_bytes() }
}
