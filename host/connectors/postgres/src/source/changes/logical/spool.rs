//! Changes of one run, kept in a temporary file: the server decodes its log once, and each table reads its own part.
//!
//! The file has no name, so that nothing is left of it, however the process ends.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::lsn::Lsn;

/// Bytes of one table that are written at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// Bytes of all tables that wait to be written.
const WAITING_BYTES: usize = 8 * 1024 * 1024;
/// Length of the message, commit, time, ordinal.
const HEAD_BYTES: usize = 24;

/// Where a change is in its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Where the commit begins.
    pub(super) commit: Lsn,
    /// When it was committed, in microseconds from 2000-01-01.
    pub(super) time: i64,
    /// The change's number in its transaction.
    pub(super) ordinal: u32,
}

/// Messages of tables that are being written.
pub(super) struct Writer {
    file: File,
    end: u64,
    tables: HashMap<u32, Part>,
    waiting: usize,
}

/// Where the messages of a table are in the file, in their order.
#[derive(Default)]
struct Part {
    waiting: Vec<u8>,
    chunks: Vec<(u64, usize)>,
}

/// Messages of tables, complete.
pub(super) struct Spool {
    file: Arc<File>,
    tables: HashMap<u32, Arc<[(u64, usize)]>>,
}

impl Writer {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile()?, end: 0, tables: HashMap::new(), waiting: 0 })
    }

    /// Bytes that are kept.
    pub(super) fn bytes(&self) -> u64 {
        self.end + self.waiting as u64
    }

    /// Keeps a message of a table.
    pub(super) fn push(&mut self, table: u32, place: Place, message: &[u8]) -> io::Result<()> {
        let length = u32::try_from(message.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let part = self.tables.entry(table).or_default();
        part.waiting.extend_from_slice(&length.to_be_bytes());
        part.waiting.extend_from_slice(&place.commit.0.to_be_bytes());
        part.waiting.extend_from_slice(&place.time.to_be_bytes());
        part.waiting.extend_from_slice(&place.ordinal.to_be_bytes());
        part.waiting.extend_from_slice(message);
        self.waiting += HEAD_BYTES + message.len();
        if part.waiting.len() >= CHUNK_BYTES {
            self.waiting -= part.waiting.len();
            part.write(&mut self.file, &mut self.end)?;
        }
        if self.waiting >= WAITING_BYTES { self.write_all() } else { Ok(()) }
    }

    fn write_all(&mut self) -> io::Result<()> {
        self.waiting = 0;
        self.tables.values_mut().try_for_each(|part| part.write(&mut self.file, &mut self.end))
    }

    pub(super) fn finish(mut self) -> io::Result<Spool> {
        self.write_all()?;
        let tables = self.tables.into_iter().map(|(table, part)| (table, part.chunks.into())).collect();
        Ok(Spool { file: Arc::new(self.file), tables })
    }
}

impl Part {
    fn write(&mut self, file: &mut File, end: &mut u64) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        file.write_all(&self.waiting)?;
        self.chunks.push((*end, self.waiting.len()));
        *end += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }
}

impl Spool {
    /// The messages of a table from their beginning; none where nothing happened to it.
    pub(super) fn of(&self, table: u32) -> Messages {
        let chunks = self.tables.get(&table).cloned().unwrap_or_default();
        Messages { file: Arc::clone(&self.file), chunks, next: 0, chunk: Vec::new(), at: 0 }
    }
}

/// Messages of a table on their way from the file.
pub(super) struct Messages {
    file: Arc<File>,
    chunks: Arc<[(u64, usize)]>,
    /// The chunk after the one in memory.
    next: usize,
    chunk: Vec<u8>,
    at: usize,
}

impl Messages {
    /// The next message, and where it is in its transaction.
    pub(super) fn next(&mut self) -> io::Result<Option<(Place, &[u8])>> {
        if self.at == self.chunk.len() && !self.read()? {
            return Ok(None);
        }
        let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let (head, rest) = self.chunk[self.at..].split_first_chunk::<HEAD_BYTES>().ok_or_else(cut)?;
        let mut head = Head(head);
        let length = head.number() as usize;
        let place = Place { commit: Lsn(head.long()), time: head.long().cast_signed(), ordinal: head.number() };
        let message = rest.get(..length).ok_or_else(cut)?;
        self.at += HEAD_BYTES + length;
        Ok(Some((place, message)))
    }

    /// Reads the next chunk.
    fn read(&mut self) -> io::Result<bool> {
        let Some((start, length)) = self.chunks.get(self.next) else { return Ok(false) };
        self.chunk.resize(*length, 0);
        self.file.read_exact_at(&mut self.chunk, *start)?;
        (self.next, self.at) = (self.next + 1, 0);
        Ok(true)
    }
}

/// The numbers before a message.
struct Head<'a>(&'a [u8]);

impl Head<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let Some((taken, rest)) = self.0.split_first_chunk() else { return [0; N] };
        self.0 = rest;
        *taken
    }

    fn number(&mut self) -> u32 {
        u32::from_be_bytes(self.take())
    }

    fn long(&mut self) -> u64 {
        u64::from_be_bytes(self.take())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(number: usize) -> Place {
        Place { commit: Lsn(number as u64 * 3), time: -(number as i64), ordinal: 7 }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn each_table_gets_its_messages_in_their_order(
            messages in prop::collection::vec((0_u32..4, 0_usize..40_000), 0..200),
        ) {
            let mut writer = Writer::new().unwrap();
            for (number, (table, length)) in messages.iter().enumerate() {
                writer.push(*table, place(number), &vec![*table as u8; *length]).unwrap();
            }
            let bytes: u64 = messages.iter().map(|(_, length)| (length + HEAD_BYTES) as u64).sum();
            prop_assert_eq!(writer.bytes(), bytes);
            let spool = writer.finish().unwrap();
            for table in 0..4 {
                let mut read = spool.of(table);
                for (number, (_, length)) in messages.iter().enumerate().filter(|(_, (of, _))| *of == table) {
                    let (at, message) = read.next().unwrap().unwrap();
                    prop_assert_eq!((at, message.len()), (place(number), *length));
                    prop_assert!(message.iter().all(|byte| *byte == table as u8));
                }
                prop_assert!(read.next().unwrap().is_none());
            }
        }
    }

    #[test]
    fn table_without_changes_has_no_messages() {
        assert!(Writer::new().unwrap().finish().unwrap().of(5).next().unwrap().is_none());
    }
}
