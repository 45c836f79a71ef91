//! Arrow IPC streams that are not what they say. Each starts from one the host made of two columns, `id` and `name`.

/// Length of the mark after the last message.
const END_BYTES: usize = 8;

/// Cut in the middle of the batch.
pub fn truncated(mut good: Vec<u8>) -> Vec<u8> {
    good.truncate(good.len() - END_BYTES - 20);
    good
}

/// The first message says it is 2 GiB long.
pub fn lying_length(mut good: Vec<u8>) -> Vec<u8> {
    good[4..8].copy_from_slice(&0x7fff_fff0_u32.to_le_bytes());
    good
}

/// Something after the end.
pub fn trailing(mut good: Vec<u8>) -> Vec<u8> {
    good.extend_from_slice(b"and more");
    good
}

/// The same batch once more before the end.
pub fn two_batches(good: Vec<u8>) -> Vec<u8> {
    let schema_bytes = 8 + length_at(&good, 4);
    let end = good.len() - END_BYTES;
    let batch = good[schema_bytes..end].to_vec();
    [&good[..end], &batch, &good[end..]].concat()
}

/// The offsets of the names point far outside of their bytes. The names of the first batch are `a`, `bb` and `ccc`.
pub fn bad_offsets(mut good: Vec<u8>) -> Vec<u8> {
    let offsets: Vec<u8> = [0_i32, 1, 3, 6].iter().flat_map(|offset| offset.to_le_bytes()).collect();
    let at = good.windows(offsets.len()).rposition(|window| window == offsets).unwrap_or(0);
    good[at + 4..at + 8].copy_from_slice(&0x7000_0000_i32.to_le_bytes());
    good
}

fn length_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize
}
