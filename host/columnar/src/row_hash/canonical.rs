//! Canonical bytes of single values, written without allocation.

use datakit_model::canonical::{FIRST_DAY, LAST_DAY};

const SECONDS_PER_DAY: i64 = 86_400;
const NANOS_PER_DAY: i64 = SECONDS_PER_DAY * 1_000_000_000;

/// Two decimal digits for each number below 100.
static DIGIT_PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut value = 0;
    while value < 100 {
        pairs[value] = [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8];
        value += 1;
    }
    pairs
};

/// Two lower-case hex digits for each byte.
static HEX_PAIRS: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut value = 0;
    while value < 256 {
        pairs[value] = [digits[value >> 4], digits[value & 15]];
        value += 1;
    }
    pairs
};

/// Appends a hash in hex.
#[inline]
pub(super) fn push_hex(hash: &[u8; 32], out: &mut Vec<u8>) {
    let mut hex = [0; 64];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(hash) {
        pair.copy_from_slice(&HEX_PAIRS[usize::from(*byte)]);
    }
    out.extend_from_slice(&hex);
}

/// Four bytes, little-endian; one zero and one NaN.
#[inline]
pub(super) fn float32(value: f32) -> [u8; 4] {
    if value.is_nan() {
        0x7fc0_0000_u32.to_le_bytes()
    } else if value == 0.0 {
        [0; 4]
    } else {
        value.to_le_bytes()
    }
}

/// Eight bytes, little-endian; one zero and one NaN.
#[inline]
pub(super) fn float64(value: f64) -> [u8; 8] {
    if value.is_nan() {
        0x7ff8_0000_0000_0000_u64.to_le_bytes()
    } else if value == 0.0 {
        [0; 8]
    } else {
        value.to_le_bytes()
    }
}

/// Room for the longest text of a number or a time: 39 digits, a sign, a point and leading zeros fit.
#[derive(Debug)]
pub(super) struct Scratch([u8; 80]);

impl Default for Scratch {
    fn default() -> Self {
        Self([0; 80])
    }
}

impl Scratch {
    /// Decimal text.
    #[inline]
    pub(super) fn integer(&mut self, value: i64) -> &[u8] {
        let mut start = self.digits(self.0.len(), value.unsigned_abs());
        if value < 0 {
            start -= 1;
            self.0[start] = b'-';
        }
        &self.0[start..]
    }

    /// Decimal text.
    #[inline]
    pub(super) fn unsigned(&mut self, value: u64) -> &[u8] {
        let start = self.digits(self.0.len(), value);
        &self.0[start..]
    }

    /// Plain text with all fraction digits, one digit before the point at least, and no minus before zero.
    #[inline]
    pub(super) fn decimal(&mut self, value: i128, scale: usize) -> &[u8] {
        let end = self.0.len();
        let magnitude = value.unsigned_abs();
        let mut start = self.wide_digits(end, magnitude);
        while end - start <= scale {
            start -= 1;
            self.0[start] = b'0';
        }
        if scale > 0 {
            let point = end - scale - 1;
            self.0.copy_within(start..=point, start - 1);
            self.0[point] = b'.';
            start -= 1;
        }
        if value < 0 {
            start -= 1;
            self.0[start] = b'-';
        }
        &self.0[start..]
    }

    /// `YYYY-MM-DD` of days since 1970-01-01.
    #[inline]
    pub(super) fn date(&mut self, days: i64) -> Result<&[u8], &'static str> {
        self.write_date(days)?;
        Ok(&self.0[..10])
    }

    /// `hh:mm:ss.fffffffff` of units since midnight, each of `nanos` nanoseconds.
    #[inline]
    pub(super) fn time(&mut self, value: i64, nanos: i64) -> Result<&[u8], &'static str> {
        let nanos = value
            .checked_mul(nanos)
            .filter(|nanos| (0..NANOS_PER_DAY).contains(nanos))
            .ok_or("the time is not within one day")?;
        self.write_clock(0, nanos / 1_000_000_000);
        self.0[8] = b'.';
        let fraction = nanos % 1_000_000_000;
        self.0[9] = b'0' + (fraction / 100_000_000) as u8;
        self.pairs(10, fraction % 100_000_000, 4);
        Ok(&self.0[..18])
    }

    /// `YYYY-MM-DDThh:mm:ss.ffffff` of units since 1970-01-01, `per_second` (1, 1,000 or 1,000,000) in one second.
    #[inline]
    pub(super) fn timestamp(&mut self, value: i64, per_second: i64) -> Result<&[u8], &'static str> {
        let seconds = value.div_euclid(per_second);
        let micros = value.rem_euclid(per_second) * (1_000_000 / per_second);
        self.write_date(seconds.div_euclid(SECONDS_PER_DAY))?;
        self.0[10] = b'T';
        self.write_clock(11, seconds.rem_euclid(SECONDS_PER_DAY));
        self.0[19] = b'.';
        self.pairs(20, micros, 3);
        Ok(&self.0[..26])
    }

    /// Writes the digits of a number so that they end before `end`; returns where they start.
    #[inline]
    fn digits(&mut self, end: usize, mut value: u64) -> usize {
        let mut start = end;
        while value >= 100 {
            start -= 2;
            self.0[start..start + 2].copy_from_slice(&DIGIT_PAIRS[(value % 100) as usize]);
            value /= 100;
        }
        if value >= 10 {
            start -= 2;
            self.0[start..start + 2].copy_from_slice(&DIGIT_PAIRS[value as usize]);
        } else {
            start -= 1;
            self.0[start] = b'0' + value as u8;
        }
        start
    }

    /// As [`Self::digits`]; 128-bit division is slow, so it is done at most twice.
    #[inline]
    fn wide_digits(&mut self, end: usize, mut value: u128) -> usize {
        const CHUNK: u128 = 10_000_000_000_000_000_000;
        const CHUNK_DIGITS: usize = 19;
        let mut end = end;
        while value >= CHUNK {
            let start = self.digits(end, (value % CHUNK) as u64);
            let chunk_start = end - CHUNK_DIGITS;
            self.0[chunk_start..start].fill(b'0');
            end = chunk_start;
            value /= CHUNK;
        }
        self.digits(end, value as u64)
    }

    /// Writes `count` digit pairs of a number from `start` on.
    #[inline]
    fn pairs(&mut self, start: usize, mut value: i64, count: usize) {
        for pair in (0..count).rev() {
            let at = start + pair * 2;
            self.0[at..at + 2].copy_from_slice(&DIGIT_PAIRS[(value % 100) as usize]);
            value /= 100;
        }
    }

    #[inline]
    fn write_clock(&mut self, start: usize, second_of_day: i64) {
        self.pairs(start, second_of_day / 3600, 1);
        self.0[start + 2] = b':';
        self.pairs(start + 3, second_of_day / 60 % 60, 1);
        self.0[start + 5] = b':';
        self.pairs(start + 6, second_of_day % 60, 1);
    }

    /// Proleptic Gregorian, by the algorithm of Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
    #[inline]
    fn write_date(&mut self, days: i64) -> Result<(), &'static str> {
        if !(FIRST_DAY..=LAST_DAY).contains(&days) {
            return Err("the date is outside the years 0001 to 9999");
        }
        // Days since 0000-03-01, never negative here.
        let days = days + 719_468;
        let era = days / 146_097;
        let day_of_era = days % 146_097;
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        self.pairs(0, year, 2);
        self.0[4] = b'-';
        self.pairs(5, month, 1);
        self.0[7] = b'-';
        self.pairs(8, day, 1);
        Ok(())
    }
}
