//! Numbers that look random and are the same in every run.

use crate::values::Value;

/// splitmix64: small, fast, and good enough for rows that should look alike a company's.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The numbers of one row of one table.
    pub fn of(table: u64, row: u64) -> Self {
        Self(super::SEED ^ (table << 48) ^ row.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let n = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.bits() % limit.max(1)
    }

    /// A number below `limit`, as `i64`.
    pub fn int(&mut self, limit: u32) -> i64 {
        i64::try_from(self.below(u64::from(limit))).unwrap_or(0)
    }

    /// One of some values.
    pub fn one<'v, T: ?Sized>(&mut self, values: &[&'v T]) -> &'v T {
        let at = usize::try_from(self.below(values.len() as u64)).unwrap_or(0);
        values[at]
    }

    /// True once in `n` times.
    pub fn rarely(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// A value that is null once in `n` times.
    pub fn or_null(&mut self, n: u64, value: impl FnOnce(&mut Self) -> Value) -> Value {
        if self.rarely(n) { Value::Null } else { value(self) }
    }

    /// An identifier of version 4.
    pub fn uuid(&mut self) -> Value {
        let mut bytes = [0_u8; 16];
        bytes[..8].copy_from_slice(&self.bits().to_be_bytes());
        bytes[8..].copy_from_slice(&self.bits().to_be_bytes());
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Value::Uuid(bytes)
    }

    /// A day from 2019 to 2024, as days since 0001-01-01.
    pub fn day(&mut self) -> u32 {
        737_059 + u32::try_from(self.below(2_192)).unwrap_or(0)
    }

    /// A money amount or decimal of four fraction digits.
    pub fn amount(&mut self, limit: u64) -> Value {
        Value::Decimal { unscaled: i128::from(self.below(limit)), scale: 4 }
    }
}

/// A text.
pub fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}
