//! The binary form of COPY: what reading and writing it have in common.
//!
//! Source: "Binary Format" of COPY in the manual; for dates and timestamps `POSTGRES_EPOCH_JDATE` in the server's `timestamp.h`.

/// What every binary COPY begins with, before its flags.
pub(crate) const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// What ours begin with: signature, flags, length of the header's extension.
pub(crate) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What they end with: a row of -1 fields.
pub(crate) const TRAILER: &[u8] = &[0xff, 0xff];
/// Days from 1970-01-01 to PostgreSQL's 2000-01-01.
pub(crate) const EPOCH_DAYS: i32 = 10_957;
/// The same in microseconds.
pub(crate) const EPOCH_MICROS: i64 = 946_684_800_000_000;
