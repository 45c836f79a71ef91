//! Entries in the order of their bytes: a few in memory, more in a temporary file that has no name and ends with the process.
//!
//! What is in memory is sorted and written as a run when there is much of it. In the end all runs are read side by side.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};

/// What waits in memory to be sorted, in bytes.
const MAX_IN_MEMORY_BYTES: usize = 32 * 1024 * 1024;
/// So much of a run is read at one time, in bytes.
const READ_BYTES: usize = 64 * 1024;
/// The three lengths before the bytes of an entry.
const HEADER_BYTES: usize = 12;

/// A key, the place of its row among those of the key, and what is known of the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    bytes: Vec<u8>,
    lengths: Lengths,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lengths {
    key: u32,
    order: u32,
    payload: u32,
}

impl Lengths {
    fn of(key: &[u8], order: &[u8], payload: &[u8]) -> io::Result<Self> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidData));
        Ok(Self { key: length(key)?, order: length(order)?, payload: length(payload)? })
    }

    fn sorted(self) -> usize {
        self.key as usize + self.order as usize
    }

    fn all(self) -> usize {
        self.sorted() + self.payload as usize
    }

    fn header(self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        let numbers = [self.key, self.order, self.payload];
        header.chunks_exact_mut(4).zip(numbers).for_each(|(to, number)| to.copy_from_slice(&number.to_le_bytes()));
        header
    }

    fn read(header: &[u8]) -> Self {
        let mut numbers = header.chunks_exact(4).map(|it| it.try_into().map_or(0, u32::from_le_bytes));
        let mut next = || numbers.next().unwrap_or_default();
        Self { key: next(), order: next(), payload: next() }
    }
}

impl Entry {
    pub(super) fn key(&self) -> &[u8] {
        &self.bytes[..self.lengths.key as usize]
    }

    pub(super) fn payload(&self) -> &[u8] {
        &self.bytes[self.lengths.sorted()..]
    }

    fn sorted(&self) -> &[u8] {
        &self.bytes[..self.lengths.sorted()]
    }
}

/// Takes entries in any order.
#[derive(Debug)]
pub(super) struct Sorter {
    bytes: Vec<u8>,
    places: Vec<(usize, Lengths)>,
    runs: Vec<Run>,
    file: Option<File>,
    max_bytes: usize,
}

/// Sorted entries in the file.
#[derive(Debug, Clone, Copy)]
struct Run {
    at: u64,
    end: u64,
}

impl Default for Sorter {
    fn default() -> Self {
        Self::with_max_bytes(MAX_IN_MEMORY_BYTES)
    }
}

impl Sorter {
    fn with_max_bytes(max_bytes: usize) -> Self {
        Self { bytes: Vec::new(), places: Vec::new(), runs: Vec::new(), file: None, max_bytes }
    }

    /// Adds an entry. No key is the beginning of another one.
    pub(super) fn add(&mut self, key: &[u8], order: &[u8], payload: &[u8]) -> io::Result<()> {
        self.places.push((self.bytes.len(), Lengths::of(key, order, payload)?));
        [key, order, payload].into_iter().for_each(|part| self.bytes.extend_from_slice(part));
        let held = self.bytes.len() + self.places.len() * size_of::<(usize, Lengths)>();
        if held < self.max_bytes { Ok(()) } else { self.write_run() }
    }

    fn sort(&mut self) {
        let bytes = &self.bytes;
        let sorted = |(at, lengths): &(usize, Lengths)| &bytes[*at..*at + lengths.sorted()];
        self.places.sort_unstable_by(|one, other| sorted(one).cmp(sorted(other)));
    }

    fn write_run(&mut self) -> io::Result<()> {
        self.sort();
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile()?),
        };
        let at = file.seek(SeekFrom::End(0))?;
        let mut written = io::BufWriter::with_capacity(READ_BYTES, &mut *file);
        for (at, lengths) in &self.places {
            written.write_all(&lengths.header())?;
            written.write_all(&self.bytes[*at..*at + lengths.all()])?;
        }
        written.flush()?;
        drop(written);
        self.runs.push(Run { at, end: file.stream_position()? });
        self.bytes.clear();
        self.places.clear();
        Ok(())
    }

    /// The entries in their order.
    pub(super) fn finish(mut self) -> io::Result<Sorted> {
        if self.file.is_some() && !self.places.is_empty() {
            self.write_run()?;
        }
        let Some(file) = self.file.take() else {
            self.sort();
            return Ok(Sorted::Memory { bytes: self.bytes, places: self.places.into_iter() });
        };
        let runs = self.runs.iter().map(|run| RunReader { left: *run, buffer: Vec::new(), position: 0 }).collect();
        let mut merge = Merge { file, runs, first: BinaryHeap::new() };
        (0..merge.runs.len()).try_for_each(|run| merge.advance(run))?;
        Ok(Sorted::Runs(merge))
    }
}

/// Entries in their order.
#[derive(Debug)]
pub(super) enum Sorted {
    Memory { bytes: Vec<u8>, places: std::vec::IntoIter<(usize, Lengths)> },
    Runs(Merge),
}

impl Sorted {
    pub(super) fn next(&mut self) -> io::Result<Option<Entry>> {
        match self {
            Self::Memory { bytes, places } => {
                Ok(places.next().map(|(at, lengths)| Entry { bytes: bytes[at..at + lengths.all()].to_vec(), lengths }))
            }
            Self::Runs(merge) => merge.next(),
        }
    }
}

/// Runs that are read side by side.
#[derive(Debug)]
pub(super) struct Merge {
    file: File,
    runs: Vec<RunReader>,
    /// The next entry of each run.
    first: BinaryHeap<First>,
}

impl Merge {
    fn next(&mut self) -> io::Result<Option<Entry>> {
        let Some(First { entry, run }) = self.first.pop() else { return Ok(None) };
        self.advance(run)?;
        Ok(Some(entry))
    }

    fn advance(&mut self, run: usize) -> io::Result<()> {
        let Some(reader) = self.runs.get_mut(run) else { return Ok(()) };
        if let Some(entry) = reader.next(&mut self.file)? {
            self.first.push(First { entry, run });
        }
        Ok(())
    }
}

/// The least is the greatest: a heap gives that one first.
#[derive(Debug, PartialEq, Eq)]
struct First {
    entry: Entry,
    run: usize,
}

impl Ord for First {
    fn cmp(&self, other: &Self) -> Ordering {
        other.entry.sorted().cmp(self.entry.sorted()).then(other.run.cmp(&self.run))
    }
}

impl PartialOrd for First {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Debug)]
struct RunReader {
    left: Run,
    buffer: Vec<u8>,
    position: usize,
}

impl RunReader {
    fn next(&mut self, file: &mut File) -> io::Result<Option<Entry>> {
        if self.position == self.buffer.len() && self.left.at == self.left.end {
            return Ok(None);
        }
        let lengths = Lengths::read(self.take(HEADER_BYTES, file)?);
        let bytes = self.take(lengths.all(), file)?.to_vec();
        Ok(Some(Entry { bytes, lengths }))
    }

    /// The next bytes of the run.
    fn take(&mut self, bytes: usize, file: &mut File) -> io::Result<&[u8]> {
        if self.buffer.len() - self.position < bytes {
            self.fill(bytes, file)?;
        }
        let from = self.position;
        self.position += bytes;
        self.buffer.get(from..self.position).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn fill(&mut self, bytes: usize, file: &mut File) -> io::Result<()> {
        self.buffer.drain(..self.position);
        self.position = 0;
        let wanted = (bytes - self.buffer.len()).max(READ_BYTES) as u64;
        let wanted = wanted.min(self.left.end - self.left.at);
        file.seek(SeekFrom::Start(self.left.at))?;
        file.take(wanted).read_to_end(&mut self.buffer)?;
        self.left.at += wanted;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys with their payloads.
    type Entries = Vec<(Vec<u8>, Vec<u8>)>;

    fn sorted(max_bytes: usize, numbers: &[u32]) -> (Entries, usize) {
        let mut sorter = Sorter::with_max_bytes(max_bytes);
        for number in numbers {
            let payload = number.to_string().repeat(*number as usize % 5).into_bytes();
            sorter.add(&number.to_be_bytes(), &[7], &payload).unwrap();
        }
        let runs = sorter.runs.len();
        let mut sorted = sorter.finish().unwrap();
        let mut entries = Vec::new();
        while let Some(entry) = sorted.next().unwrap() {
            entries.push((entry.key().to_vec(), entry.payload().to_vec()));
        }
        (entries, runs)
    }

    #[test]
    fn entries_of_several_runs_come_in_one_order() {
        let numbers: Vec<u32> = (0..20_000_u32).map(|number| number.wrapping_mul(2_654_435_761) % 5_000).collect();
        let (in_memory, none) = sorted(MAX_IN_MEMORY_BYTES, &numbers);
        let (merged, runs) = sorted(10_000, &numbers);
        assert_eq!(none, 0);
        assert!(runs > 50, "{runs}");
        assert_eq!(in_memory, merged);
        assert!(in_memory.is_sorted_by_key(|(key, _)| key.clone()));
        assert_eq!(in_memory.len(), 20_000);
    }

    #[test]
    fn entry_that_is_longer_than_the_buffer_is_read_whole() {
        let mut sorter = Sorter::with_max_bytes(1_000);
        let long = vec![9; 3 * READ_BYTES];
        sorter.add(b"b", b"", &long).unwrap();
        sorter.add(b"a", b"", b"x").unwrap();
        let mut sorted = sorter.finish().unwrap();
        assert_eq!(sorted.next().unwrap().unwrap().payload(), b"x");
        assert_eq!(sorted.next().unwrap().unwrap().payload(), long);
        assert!(sorted.next().unwrap().is_none() && sorted.next().unwrap().is_none());
    }

    #[test]
    fn rows_of_one_key_come_by_their_place() {
        let mut sorter = Sorter::default();
        for order in [3_u8, 1, 2] {
            sorter.add(b"key", &[order], &[order]).unwrap();
        }
        let mut sorted = sorter.finish().unwrap();
        let places: Vec<u8> = std::iter::from_fn(|| sorted.next().unwrap()).map(|entry| entry.payload()[0]).collect();
        assert_eq!(places, [1, 2, 3]);
    }
}
