//! LOGIN7: who the client is and what it wants (MS-TDS 2.2.6.4).

use super::reader::{Malformed, Reader};

/// The fields of a login that the server looks at.
#[derive(Clone, PartialEq, Eq)]
pub struct LoginRequest {
    /// TDS version, as on the wire: `0x7400_0004` for 7.4.
    pub tds_version: u32,
    /// Packet size the client wants; 0 leaves it to the server.
    pub packet_bytes: u32,
    /// Client's host name.
    pub host: String,
    /// SQL login name.
    pub user: String,
    /// Password in clear.
    pub password: String,
    /// Program name.
    pub application: String,
    /// Database to start in; empty for the default one.
    pub database: String,
    /// The client wants Windows or Kerberos authentication.
    pub integrated: bool,
    /// What it proves that with.
    pub sspi: Vec<u8>,
    /// The client declares that it only reads.
    pub read_only: bool,
    /// Identifiers of the features the client asks for, with their data.
    pub features: Vec<(u8, Vec<u8>)>,
}

impl std::fmt::Debug for LoginRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginRequest")
            .field("user", &self.user)
            .field("database", &self.database)
            .field("application", &self.application)
            .finish_non_exhaustive()
    }
}

/// Features of the login that this server acknowledges.
pub mod feature {
    /// UTF-8 in `char` and `varchar`.
    pub const UTF8: u8 = 0x0a;
    /// The native `json` type.
    pub const JSON: u8 = 0x0d;
    /// End of the list.
    pub const TERMINATOR: u8 = 0xff;
}

/// Reads the message.
pub fn parse(bytes: &[u8]) -> Result<LoginRequest, Malformed> {
    let mut reader = Reader::new(bytes, "LOGIN7");
    let length = reader.u32()?;
    if usize::try_from(length).ok() != Some(bytes.len()) {
        return Err(reader.malformed());
    }
    let tds_version = reader.u32()?;
    let packet_bytes = reader.u32()?;
    reader.take(12)?; // client version, process, connection
    let _option_flags_1 = reader.u8()?;
    let option_flags_2 = reader.u8()?;
    let type_flags = reader.u8()?;
    let option_flags_3 = reader.u8()?;
    reader.take(8)?; // time zone, locale
    let text = |index: usize| {
        field(bytes, index).and_then(|(start, length)| {
            let mut reader = Reader::new(bytes, "LOGIN7");
            reader.seek(start)?;
            reader.utf16(length)
        })
    };
    let has_features = option_flags_3 & 0x10 != 0;
    Ok(LoginRequest {
        tds_version,
        packet_bytes,
        host: text(0)?,
        user: text(1)?,
        password: password(bytes)?,
        application: text(3)?,
        database: text(8)?,
        integrated: option_flags_2 & 0x80 != 0,
        sspi: sspi(bytes)?,
        read_only: type_flags & 0x20 != 0,
        features: if has_features { features(bytes)? } else { Vec::new() },
    })
}

/// Place and length of variable field number `index`: 0 host, 1 user, 2 password, 3 program, 4 server, 5 extension,
/// 6 library, 7 language, 8 database.
fn field(bytes: &[u8], index: usize) -> Result<(usize, usize), Malformed> {
    let mut reader = Reader::new(bytes, "LOGIN7");
    reader.seek(36 + 4 * index)?;
    Ok((usize::from(reader.u16()?), usize::from(reader.u16()?)))
}

/// Undoes the coding of the password: each byte XOR 0xA5, then its halves swapped.
fn password(bytes: &[u8]) -> Result<String, Malformed> {
    let (start, units) = field(bytes, 2)?;
    let mut reader = Reader::new(bytes, "LOGIN7");
    reader.seek(start)?;
    let coded = reader.take(units * 2)?;
    let clear: Vec<u8> = coded.iter().map(|byte| (byte ^ 0xa5).rotate_left(4)).collect();
    super::reader::decode_utf16(&clear).ok_or(reader.malformed())
}

/// The SSPI field; its length of 65,535 says that the true one is in the four bytes after the fields.
fn sspi(bytes: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut reader = Reader::new(bytes, "LOGIN7");
    reader.seek(78)?;
    let (start, short_length) = (usize::from(reader.u16()?), reader.u16()?);
    reader.seek(90)?;
    let long_length = reader.u32()?;
    let length = if short_length == u16::MAX && long_length != 0 { long_length } else { u32::from(short_length) };
    let error = reader.malformed();
    if length == 0 {
        return Ok(Vec::new());
    }
    reader.seek(start)?;
    Ok(reader.take(usize::try_from(length).map_err(|_| error)?)?.to_vec())
}

fn features(bytes: &[u8]) -> Result<Vec<(u8, Vec<u8>)>, Malformed> {
    let (start, _) = field(bytes, 5)?;
    let mut reader = Reader::new(bytes, "LOGIN7");
    reader.seek(start)?;
    let error = reader.malformed();
    let list = usize::try_from(reader.u32()?).map_err(|_| error)?;
    reader.seek(list)?;
    let mut features = Vec::new();
    loop {
        let identifier = reader.u8()?;
        if identifier == feature::TERMINATOR {
            return Ok(features);
        }
        let length = usize::try_from(reader.u32()?).map_err(|_| error)?;
        features.push((identifier, reader.take(length)?.to_vec()));
    }
}

/// Compares without telling by its time where the first difference is.
pub fn same_secret(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let mut difference = left.len() ^ right.len();
    for index in 0..left.len() {
        let other = right.get(index % right.len().max(1)).copied().unwrap_or(0);
        difference |= usize::from(left.get(index).copied().unwrap_or(0) ^ other);
    }
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_compared_whole() {
        assert!(same_secret("Pässword1!", "Pässword1!"));
        assert!(same_secret("", ""));
        for (left, right) in [("a", "b"), ("abc", "ab"), ("ab", "abc"), ("", "a"), ("a", ""), ("aa", "a")] {
            assert!(!same_secret(left, right), "{left:?} {right:?}");
        }
    }
}
