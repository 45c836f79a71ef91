//! The protocol: what MS-TDS 7.4 says, and nothing about sockets or SQL.
//!
//! Reading: [`reader`], [`prelogin`], [`login`], [`rpc`] take bytes of clients, of which nothing is believed: each answers
//! [`Malformed`] instead of reading past its input. Writing: [`packet`], [`token`], [`metadata`], [`cell`], [`row`].

pub mod cell;
pub mod declaration;
pub mod login;
pub mod metadata;
pub mod packet;
pub mod prelogin;
pub mod reader;
pub mod row;
pub mod rpc;
pub mod token;
pub mod type_info;

pub use reader::Malformed;

/// Choices the protocol leaves to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoding {
    /// Which rows carry a bitmap of their nulls.
    pub null_bitmaps: NullBitmaps,
    /// Whether the length of a `(max)` value is announced before its chunks.
    pub announced_lengths: bool,
    /// Longest chunk of a `(max)` value in bytes, at least 1.
    pub chunk_bytes: usize,
    /// Whether decimals are sent in as few bytes as they need, or in as many as their precision may need.
    pub short_decimals: bool,
}

impl Default for Encoding {
    fn default() -> Self {
        Self {
            null_bitmaps: NullBitmaps::WhenShorter,
            announced_lengths: true,
            chunk_bytes: 32_000,
            short_decimals: false,
        }
    }
}

/// Which rows are sent as NBCROW, with a bitmap of their nulls, rather than as ROW.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NullBitmaps {
    /// Those where the bitmap is not longer than the nulls it replaces.
    #[default]
    WhenShorter,
    /// Every row.
    Always,
    /// None.
    Never,
}

/// What the login settled that results depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// The client knows the native `json` type.
    pub json: bool,
}

/// Types of packets (MS-TDS 2.2.3.1.1).
pub mod packet_type {
    /// A batch of SQL.
    pub const BATCH: u8 = 0x01;
    /// A remote procedure call.
    pub const RPC: u8 = 0x03;
    /// Whatever the server answers.
    pub const RESPONSE: u8 = 0x04;
    /// The client wants the current request stopped.
    pub const ATTENTION: u8 = 0x06;
    /// Rows of a bulk load.
    pub const BULK_LOAD: u8 = 0x07;
    /// Begin, commit, roll back.
    pub const TRANSACTION: u8 = 0x0e;
    /// LOGIN7.
    pub const LOGIN: u8 = 0x10;
    /// More of a login with tickets.
    pub const SSPI: u8 = 0x11;
    /// PRELOGIN, and the TLS handshake inside it.
    pub const PRELOGIN: u8 = 0x12;
}
