//! What the tests share: an engine made of a closure, both drivers, and one way to print what they read.

pub mod mssql;
pub mod scripted;
pub mod tib;

/// Decimal digits with a point, as both drivers' values print.
pub fn decimal(unscaled: i128, scale: u8) -> String {
    format!("{unscaled}e-{scale}")
}

/// Long text by its ends and length.
pub fn shorten(text: &str) -> String {
    let count = text.chars().count();
    if count <= 60 {
        return format!("{text:?}");
    }
    let head: String = text.chars().take(8).collect();
    let tail: String = text.chars().skip(count - 8).collect();
    format!("{head:?}…{tail:?} ({count} characters, sum {:x})", sum(text.as_bytes()))
}

/// The same for bytes.
pub fn shorten_bytes(bytes: &[u8]) -> String {
    if bytes.len() <= 40 {
        return format!("0x{}", hex::encode(bytes));
    }
    format!("0x{}… ({} bytes, sum {:x})", hex::encode(&bytes[..8]), bytes.len(), sum(bytes))
}

/// FNV-1a: enough to see that two long values are the same.
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
