//! Hashes of keys until the end of a load: a few in memory, more in a temporary file that has no name and ends with the process.
//!
//! They are sorted in blocks, and each block is cut into buckets by the first bits of the hash. In the end one bucket of all blocks is
//! compared at a time, or a part of it.

use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::{Mutex, PoisonError};

use tempfile::SpooledTempFile;

/// Hashes of one partition that wait to be sorted: half a MiB.
const MAX_WAITING: usize = 32 * 1024;
/// What stays in memory of all blocks of a rule, in bytes.
const MAX_IN_MEMORY_BYTES: usize = 4 * 1024 * 1024;
/// Each block is cut into so many buckets.
const BUCKETS: usize = 64;
/// Entries that are compared at one time: 64 MiB.
const MAX_COMPARED: u64 = 2 * 1024 * 1024;
/// A hash and the number of its rows, in the file.
const ENTRY_BYTES: usize = 20;

/// The hash of a key.
pub(crate) type KeyHash = u128;

/// A hash and how many rows have it.
type Entry = (KeyHash, u32);

/// The hashes of one rule.
#[derive(Debug)]
pub(crate) struct Spool(Mutex<Store>);

#[derive(Debug)]
struct Store {
    file: SpooledTempFile,
    bytes: u64,
}

/// Which hashes of a spool are those of one partition.
#[derive(Debug, Default)]
pub(crate) struct Spooled {
    waiting: Vec<KeyHash>,
    blocks: Vec<Block>,
    /// Rows that were added.
    pub(crate) rows: u64,
}

/// Sorted entries in the file.
#[derive(Debug)]
struct Block {
    at: u64,
    /// Where each bucket ends, in entries.
    ends: [u32; BUCKETS],
}

impl Block {
    fn bucket(&self, bucket: usize) -> std::ops::Range<u32> {
        let start = bucket.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or_default();
        start..self.ends.get(bucket).copied().unwrap_or(start)
    }
}

impl Default for Spool {
    fn default() -> Self {
        Self(Mutex::new(Store { file: SpooledTempFile::new(MAX_IN_MEMORY_BYTES), bytes: 0 }))
    }
}

impl Spool {
    /// Adds rows of a partition.
    pub(crate) fn add(&self, to: &mut Spooled, hashes: Vec<KeyHash>) -> io::Result<()> {
        to.rows += hashes.len() as u64;
        if to.waiting.is_empty() {
            to.waiting = hashes;
        } else {
            to.waiting.extend(hashes);
        }
        if to.waiting.len() >= MAX_WAITING { self.flush(to) } else { Ok(()) }
    }

    /// Writes what waits: the partition has ended.
    pub(crate) fn flush(&self, of: &mut Spooled) -> io::Result<()> {
        let mut hashes = std::mem::take(&mut of.waiting);
        if hashes.is_empty() {
            return Ok(());
        }
        hashes.sort_unstable();
        let mut bytes = Vec::with_capacity(hashes.len() * ENTRY_BYTES);
        let mut ends = [0; BUCKETS];
        for same in hashes.chunk_by(|a, b| a == b) {
            let Some(hash) = same.first() else { continue };
            bytes.extend_from_slice(&hash.to_le_bytes());
            bytes.extend_from_slice(&number(same.len()).to_le_bytes());
            if let Some(end) = ends.get_mut(bucket_of(*hash)) {
                *end = number(bytes.len() / ENTRY_BYTES);
            }
        }
        // A bucket without entries ends where the one before it does.
        for bucket in 1..BUCKETS {
            ends[bucket] = ends[bucket].max(ends[bucket - 1]);
        }
        let mut store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = store.bytes;
        store.file.seek(SeekFrom::Start(at))?;
        store.file.write_all(&bytes)?;
        store.bytes += bytes.len() as u64;
        of.blocks.push(Block { at, ends });
        Ok(())
    }

    /// Rows of the load that fail: `failing` says how many of the rows of one key, and is told whether `others` has the key.
    pub(crate) fn compare(
        &self,
        load: &[&Spooled],
        others: Option<&Spooled>,
        failing: impl Fn(u64, bool) -> u64,
    ) -> io::Result<u64> {
        let mut failed = 0;
        for bucket in 0..BUCKETS {
            let blocks = load.iter().copied().chain(others).flat_map(|spooled| &spooled.blocks);
            let entries: u64 = blocks.map(|block| block.bucket(bucket).len() as u64).sum();
            let parts = entries.div_ceil(MAX_COMPARED);
            for part in 0..parts {
                let is_in_part = |hash: KeyHash| (hash as u64) % parts == part;
                let rows = self.bucket(load, bucket, is_in_part)?;
                let found = self.bucket(others.as_slice(), bucket, is_in_part)?;
                failed += failed_of(&rows, &found, &failing);
            }
        }
        Ok(failed)
    }

    /// The entries of one bucket, sorted.
    fn bucket(&self, of: &[&Spooled], bucket: usize, wanted: impl Fn(KeyHash) -> bool) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut bytes = Vec::new();
        for block in of.iter().flat_map(|spooled| &spooled.blocks) {
            let range = block.bucket(bucket);
            if range.is_empty() {
                continue;
            }
            bytes.resize(range.len() * ENTRY_BYTES, 0);
            let mut store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            store.file.seek(SeekFrom::Start(block.at + u64::from(range.start) * ENTRY_BYTES as u64))?;
            store.file.read_exact(&mut bytes)?;
            drop(store);
            entries.extend(bytes.chunks_exact(ENTRY_BYTES).filter_map(entry).filter(|(hash, _)| wanted(*hash)));
        }
        entries.sort_unstable();
        Ok(entries)
    }
}

fn failed_of(rows: &[Entry], found: &[Entry], failing: &impl Fn(u64, bool) -> u64) -> u64 {
    let mut found = found.iter().peekable();
    let mut failed = 0;
    for same in rows.chunk_by(|a, b| a.0 == b.0) {
        let Some((hash, _)) = same.first() else { continue };
        while found.next_if(|other| other.0 < *hash).is_some() {}
        let is_found = found.peek().is_some_and(|other| other.0 == *hash);
        failed += failing(same.iter().map(|(_, rows)| u64::from(*rows)).sum(), is_found);
    }
    failed
}

fn entry(bytes: &[u8]) -> Option<Entry> {
    let (hash, rest) = bytes.split_first_chunk::<16>()?;
    Some((KeyHash::from_le_bytes(*hash), u32::from_le_bytes(*rest.first_chunk::<4>()?)))
}

/// By other bits than the parts of a bucket.
fn bucket_of(hash: KeyHash) -> usize {
    const SHIFT: u32 = KeyHash::BITS - BUCKETS.trailing_zeros();
    (hash >> SHIFT) as usize
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    /// A hash of a small number that spreads over all bits.
    fn hash(number: u64) -> KeyHash {
        KeyHash::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
    }

    fn spooled(spool: &Spool, numbers: impl IntoIterator<Item = u64>) -> Spooled {
        let mut spooled = Spooled::default();
        let hashes: Vec<KeyHash> = numbers.into_iter().map(hash).collect();
        for hashes in hashes.chunks(1000) {
            spool.add(&mut spooled, hashes.to_vec()).unwrap();
        }
        spool.flush(&mut spooled).unwrap();
        spooled
    }

    #[test]
    fn repeated_keys_are_found_across_partitions_and_blocks() {
        let spool = Spool::default();
        let first = spooled(&spool, 0..100_000);
        let dropped = spooled(&spool, 0..50_000);
        drop(dropped);
        let second = spooled(&spool, (99_990..150_000).chain([5, 5]));
        let repeated = spool.compare(&[&first, &second], None, |rows, _| rows - 1).unwrap();
        assert_eq!(repeated, 12);
        assert_eq!(spool.compare(&[&second], None, |rows, _| rows - 1).unwrap(), 1);
        assert_eq!(spool.compare(&[], None, |rows, _| rows).unwrap(), 0);
    }

    #[test]
    fn one_key_of_all_rows_takes_one_entry_a_block() {
        let spool = Spool::default();
        let rows = spooled(&spool, std::iter::repeat_n(7, 200_000));
        assert_eq!(spool.compare(&[&rows], None, |rows, _| rows - 1).unwrap(), 199_999);
        assert!(spool.0.lock().unwrap().bytes < 1000);
    }

    #[test]
    fn keys_of_others_are_found_as_a_set_would() {
        let spool = Spool::default();
        let mut seed = 1_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let load: Vec<u64> = (0..40_000).map(|_| random(30_000)).collect();
        let others: Vec<u64> = (0..20_000).map(|_| random(60_000)).collect();
        let (one, two) = load.split_at(11_111);
        let parts = [spooled(&spool, one.iter().copied()), spooled(&spool, two.iter().copied())];
        let held = spooled(&spool, others.iter().copied());
        let set: HashSet<u64> = others.into_iter().collect();
        let mut counts: HashMap<u64, u64> = HashMap::new();
        load.iter().for_each(|number| *counts.entry(*number).or_default() += 1);
        let missing = |rows: u64, is_found: bool| if is_found { 0 } else { rows };
        let taken = |rows: u64, is_found: bool| rows - u64::from(!is_found);
        let [first, second] = &parts;
        for failing in [&missing as &dyn Fn(u64, bool) -> u64, &taken] {
            let expected: u64 = counts.iter().map(|(number, rows)| failing(*rows, set.contains(number))).sum();
            assert_eq!(spool.compare(&[first, second], Some(&held), failing).unwrap(), expected);
        }
    }
}
