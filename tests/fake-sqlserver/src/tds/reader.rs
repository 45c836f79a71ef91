//! A cursor over bytes that came from a client.

/// Input that is not what the protocol allows here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what} at byte {offset}")]
pub struct Malformed {
    /// The structure that was being read.
    pub what: &'static str,
    /// Where in the message.
    pub offset: usize,
}

/// Reads little-endian fields and never past the end.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// A reader over a message; `what` names it in errors.
    pub fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { bytes, offset: 0, what }
    }

    /// The error "malformed at this place".
    pub fn malformed(&self) -> Malformed {
        Malformed { what: self.what, offset: self.offset }
    }

    /// Bytes that are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.offset
    }

    /// Moves to an absolute place.
    pub fn seek(&mut self, offset: usize) -> Result<(), Malformed> {
        if offset > self.bytes.len() {
            return Err(self.malformed());
        }
        self.offset = offset;
        Ok(())
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let end = self.offset.checked_add(count).ok_or(self.malformed())?;
        let taken = self.bytes.get(self.offset..end).ok_or(self.malformed())?;
        self.offset = end;
        Ok(taken)
    }

    /// The next bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let error = self.malformed();
        self.take(N)?.try_into().map_err(|_| error)
    }

    /// The next byte, not consumed.
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.offset).copied()
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    /// Two bytes, little-endian.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Two bytes, big-endian: only PRELOGIN has them.
    pub fn u16_be(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Four bytes, little-endian, signed.
    pub fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(i32::from_le_bytes(self.array()?))
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// `units` UTF-16 code units; a lone surrogate is malformed here, where only names and SQL come.
    pub fn utf16(&mut self, units: usize) -> Result<String, Malformed> {
        let error = self.malformed();
        let bytes = self.take(units.checked_mul(2).ok_or(error)?)?;
        decode_utf16(bytes).ok_or(error)
    }

    /// A name of at most 255 units, its length before it in one byte (B_VARCHAR).
    pub fn short_name(&mut self) -> Result<String, Malformed> {
        let units = usize::from(self.u8()?);
        self.utf16(units)
    }

    /// Skips the ALL_HEADERS that precede batches, calls and transaction requests since TDS 7.2 (MS-TDS 2.2.5.3).
    pub fn skip_headers(&mut self) -> Result<(), Malformed> {
        let error = self.malformed();
        let length = usize::try_from(self.u32()?).map_err(|_| error)?;
        let rest = length.checked_sub(4).ok_or(error)?;
        self.take(rest)?;
        Ok(())
    }
}

/// Text of little-endian UTF-16; `None` for an odd number of bytes or a lone surrogate.
pub fn decode_utf16(bytes: &[u8]) -> Option<String> {
    let units = bytes.chunks_exact(2);
    if !units.remainder().is_empty() {
        return None;
    }
    char::decode_utf16(units.map(|pair| u16::from_le_bytes([pair[0], pair[1]]))).collect::<Result<_, _>>().ok()
}
